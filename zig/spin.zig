//! Waiting for the next stop. It mostly comes within microseconds of the last one, and a processor that has gone to sleep takes longer
//! than that to wake, a virtual one most of all: so the tracer looks for a while before it sleeps. It yields between two looks: whoever
//! else has work gets the processor at once.
//!
//! Where stops come seldom, looking would only cost: after some waits in vain all but a few sleep at once.
const std = @import("std");
const linux = std.os.linux;
const sys = @import("sys.zig");
const assert = std.debug.assert;

/// A processor's waking and the tracee's way to its next call. 30 µs gained a third less, 150 µs no more.
const look_ns = 60 * std.time.ns_per_us;
/// So many waits in vain, one after the other, and we sleep at once …
const misses_max = 4;
/// … but for one wait in so many, to see whether that has changed.
const retry_every = 16;

pub const Spin = struct {
    misses: u32 = 0,
    asleep: u32 = 0,

    /// As `sys.wait`, for every child. `error.Interrupted` only where it slept.
    pub fn wait(spin: *Spin) sys.Error!?sys.Waited {
        if (spin.isWorthIt()) {
            if (try look()) |event| {
                spin.misses = 0;
                return event;
            }
            spin.misses = @min(spin.misses + 1, misses_max);
        }
        return sys.wait(-1, sys.wait_all);
    }

    fn isWorthIt(spin: *Spin) bool {
        if (spin.misses < misses_max) return true;
        spin.asleep += 1;
        if (spin.asleep < retry_every) return false;
        spin.asleep = 0;
        return true;
    }

    fn look() sys.Error!?sys.Waited {
        const begun = sys.nowNs();
        while (true) {
            if (try sys.wait(-1, linux.W.NOHANG | sys.wait_all)) |event| return event;
            if (sys.nowNs() - begun >= look_ns) return null;
            sys.yield();
        }
    }
};

// ---------------------------------------------------------------------------------------------
// Tests

test "after waits in vain one in sixteen looks, after one that was worth it all do" {
    var spin: Spin = .{ .misses = misses_max };
    var looks: u32 = 0;
    for (0..4 * retry_every) |_| looks += @intFromBool(spin.isWorthIt());
    try std.testing.expectEqual(@as(u32, 4), looks);
    spin.misses = 0;
    for (0..retry_every) |_| assert(spin.isWorthIt());
}

test "a child that ends is reported, whether we look or sleep; without one there is an error" {
    for ([_]u32{ 0, misses_max }) |misses| {
        var spin: Spin = .{ .misses = misses };
        const child: i32 = @intCast(linux.fork());
        if (child == 0) linux.exit(7);
        const waited = (try spin.wait()).?;
        try std.testing.expectEqual(child, waited.pid);
        try std.testing.expectEqual(@as(u32, 7), waited.status >> 8);
        try std.testing.expectError(error.NoChild, spin.wait());
    }
}
