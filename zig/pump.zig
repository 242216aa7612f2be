//! The command's output in the front end: passed on as it comes, byte for byte, and at the same time
//! redacted, digested and captured.
//!
//!     command ── pipe or pty ──> stream thread ──> our own stdout or stderr
//!                                     └──> redactor ──> SHA-256, capture
//!
//! One thread for each stream, with blocking writes: a slow reader of one holds up that stream's writers,
//! as a bare pipe would, and nothing else. (One thread with poll would have to make our stdout
//! non-blocking, and that flag belongs to everyone who shares it.) A third thread watches the tracer.
const std = @import("std");
const linux = std.os.linux;
const abi = @import("abi.zig");
const sys = @import("sys.zig");
const thread = @import("thread.zig");
const terminal = @import("terminal.zig");
const children = @import("children.zig");
const signals = @import("signals.zig");
const redact = @import("redact.zig");
const Sha256 = @import("sha256.zig").Sha256;
const Session = @import("session.zig").Session;
const assert = std.debug.assert;

/// What is read at once, and what the capture pipe is made to hold: an unprivileged user may ask for that much.
const chunk_size = 1 << 20;

/// What TypeScript reads of a stream at the end; see src/native/session.ts.
pub const Summary = extern struct {
    capture: u64,
    captured: u64,
    length: u64,
    redactions: u64,
    sha256: [32]u8,
    /// Bytes that the command has written and that could not be passed on, at least, and why. 0: none.
    lost: u64,
    errno: u64,
};

const F_SETPIPE_SZ = 1031;

/// The watching thread is woken by the tracer's end. So often it looks whether that should have come.
const look_again_ms = 500;
const killing_pause_ms = 50;
/// Of a tracer that has said its last word, and of one that is killed, which takes its tracees' memory away.
const end_max_ns = 2 * std.time.ns_per_s;
const killing_max_ns = 5 * std.time.ns_per_s;

pub const Pump = struct {
    session: *Session,
    streams: [2]Stream,
    patterns: redact.Patterns,
    /// An eventfd that becomes readable, and stays so, when the tracer is gone: nobody of the build writes any more.
    stop: i32,
    /// An eventfd written by the SIGWINCH handler.
    window: i32,
    tracer_pidfd: i32,
    running: u32 = 0,

    /// Begins to read; the command may run from now on.
    pub fn begin(pump: *Pump) sys.Error!void {
        for (&pump.streams) |*stream| {
            stream.pump = pump;
            if (stream.source >= 0) pump.running += 1;
        }
        if (pump.running == 0) pump.announceDone();
        for (&pump.streams) |*stream| {
            if (stream.source >= 0) try thread.start(Stream, Stream.run, stream);
        }
        try thread.start(Pump, watchTracer, pump);
    }

    fn announceDone(pump: *Pump) void {
        @atomicStore(u32, &pump.session.control.pump_done, 1, .seq_cst); // pairs with the front end's load
        pump.session.wakeFrontEnd();
    }

    /// The watching thread. Reaps the tracer, so that its cost shows in our caller's rusage, and if it ended
    /// before its time sees to it that nothing of the build survives it.
    fn watchTracer(pump: *Pump) void {
        const session = pump.session;
        const control = session.control;
        const is_gone = pump.waitForTracer();
        if (is_gone) {
            if (sys.wait(session.tracer_pid, sys.wait_all) catch null) |waited| control.tracer_status = @bitCast(waited.status);
            const phase = @atomicLoad(u32, &control.phase, .acquire);
            if (phase < @backingInt(abi.Phase.done)) _ = children.killUntilNone(.{ .reap_all = false });
        }
        @atomicStore(u32, &control.tracer_gone, if (is_gone) 1 else 2, .seq_cst); // pairs with the front end's load
        sys.notify(pump.stop);
        session.wakeFrontEnd();
    }

    /// False: it is killed, or at its end, and does not go: a thread of it hangs in the kernel, on a file server that does not
    /// answer (D state). Whatever it traces is dead then, and we end without it.
    fn waitForTracer(pump: *Pump) bool {
        const session = pump.session;
        var ending_since_ns: ?u64 = null;
        var group_told = false;
        while (true) {
            var descriptors = [2]linux.pollfd{
                .{ .fd = pump.tracer_pidfd, .events = linux.POLL.IN, .revents = 0 },
                .{ .fd = pump.window, .events = linux.POLL.IN, .revents = 0 },
            };
            const awaits_end = signals.hasHungUp() and !group_told;
            const timeout: i32 = if (ending_since_ns == null and !awaits_end) look_again_ms else killing_pause_ms;
            const ready = sys.poll(&descriptors, timeout) catch continue;
            if (ready > 0 and descriptors[1].revents != 0) pump.copyWindowSize();
            if (ready > 0 and descriptors[0].revents != 0) return true;
            const phase = @atomicLoad(u32, &session.control.phase, .acquire); // pairs with setPhase
            const is_over = phase >= @backingInt(abi.Phase.done);
            if (awaits_end and !is_over and phase >= @backingInt(abi.Phase.draining)) {
                group_told = true;
                tellGroupOfHangUp();
            }
            if (!is_over and !session.killRequested()) continue;
            const since = ending_since_ns orelse sys.nowNs();
            ending_since_ns = since;
            if (session.killRequested()) children.killTracedBy(session.tracer_pid);
            if (sys.nowNs() - since > @as(u64, if (is_over) end_max_ns else killing_max_ns)) return false;
        }
    }

    /// As the kernel does when the leader of the session has ended: in a bare run that is the command.
    fn tellGroupOfHangUp() void {
        for ([_]linux.SIG{ .HUP, .CONT }) |signal| sys.kill(0, signal) catch {};
    }

    /// The command got its SIGWINCH from the real terminal at the same time as we did, and may have asked its own
    /// for the size too early: it is told again.
    fn copyWindowSize(pump: *Pump) void {
        var counter: u64 = 0;
        _ = sys.read(pump.window, std.mem.asBytes(&counter)) catch {};
        var changed = false;
        for (&pump.streams) |*stream| {
            if (!stream.is_terminal or stream.source < 0) continue;
            const size = terminal.sizeOf(stream.target) orelse continue;
            if (std.meta.eql(size, terminal.sizeOf(stream.source) orelse continue)) continue;
            terminal.setSize(stream.source, size);
            changed = true;
        }
        // The whole group, as the terminal does it. Ours comes back to us and finds nothing changed.
        if (changed) sys.kill(0, .WINCH) catch {};
    }
};

pub const Stream = struct {
    pump: *Pump = undefined,
    /// Read end of the capture pipe, or the pty's master. -1: the command has no such descriptor.
    source: i32 = -1,
    /// Where it is passed on to; -1: nowhere.
    target: i32 = -1,
    is_terminal: bool = false,
    redactor: Redactor = undefined,
    hash: Sha256 = undefined,
    length: u64 = 0,
    capture: []align(4096) u8 = &.{},
    captured: usize = 0,
    capture_limit: usize = 0,
    lost: u64 = 0,
    errno: u32 = 0,

    const Redactor = redact.Redactor(Stream);

    pub fn init(stream: *Stream, patterns: *const redact.Patterns, capture_limit: usize) sys.Error!void {
        const size = chunk_size + patterns.longest;
        stream.redactor = .{ .patterns = patterns, .sink = stream, .buffer = (try sys.mapPrivate(size))[0..size] };
        stream.hash = .init();
        stream.capture_limit = capture_limit;
    }

    /// Valid once the pump is done.
    pub fn summary(stream: *Stream) Summary {
        return .{
            .capture = @intFromPtr(stream.capture.ptr),
            .captured = stream.captured,
            .length = stream.length,
            .redactions = stream.redactor.count,
            .sha256 = stream.hash.final(),
            .lost = stream.lost,
            .errno = stream.errno,
        };
    }

    fn run(stream: *Stream) void {
        stream.pumpUntilEnd();
        stream.redactor.end();
        if (@atomicRmw(u32, &stream.pump.running, .Sub, 1, .acq_rel) == 1) stream.pump.announceDone();
    }

    fn pumpUntilEnd(stream: *Stream) void {
        defer sys.close(stream.source);
        // Fewer and larger turns between the command and us. Refused for a pty, and where a user has too many pipes already.
        _ = sys.fcntl(stream.source, F_SETPIPE_SZ, chunk_size) catch {};
        while (true) {
            const space = stream.redactor.space();
            const into = space[0..@min(space.len, chunk_size)];
            const length = sys.read(stream.source, into) catch |e| switch (e) {
                error.Interrupted => continue,
                error.WouldBlock => if (stream.waitForInput()) continue else return,
                else => return, // EIO: the last slave of the pty was closed
            };
            if (length == 0) return;
            const passed = stream.passOn(into[0..length]);
            stream.redactor.push(length);
            // The command is to find that out as it would have without us, where nobody reads any more: by SIGPIPE.
            if (!passed) {
                if (stream.errno != 0) stream.takeRest();
                return;
            }
        }
    }

    /// What is in the pipe: the command was told that it is written. Once, since a writer may go on until its pipe is closed.
    fn takeRest(stream: *Stream) void {
        var left: usize = chunk_size;
        while (left > 0) {
            const space = stream.redactor.space();
            const length = sys.read(stream.source, space[0..@min(space.len, left)]) catch |e| switch (e) {
                error.Interrupted => continue,
                else => return,
            };
            if (length == 0) return;
            stream.redactor.push(length);
            stream.lost += length;
            left -= length;
        }
    }

    /// False when the tracer is gone and there is nothing to read: what still holds the other end is not of the build.
    fn waitForInput(stream: *Stream) bool {
        while (true) {
            var descriptors = [2]linux.pollfd{
                .{ .fd = stream.source, .events = linux.POLL.IN, .revents = 0 },
                .{ .fd = stream.pump.stop, .events = linux.POLL.IN, .revents = 0 },
            };
            _ = sys.poll(&descriptors, -1) catch continue;
            if (descriptors[0].revents != 0) return true;
            if (descriptors[1].revents != 0) return false;
        }
    }

    /// False: no more can be passed on. That a reader has gone is no error, as in a bare run.
    fn passOn(stream: *Stream, bytes: []const u8) bool {
        if (stream.target < 0) return true;
        var rest = bytes;
        while (rest.len > 0) {
            const e = switch (sys.tryWrite(stream.target, rest)) {
                .length => |length| {
                    rest = rest[length..];
                    continue;
                },
                .failed => |e| e,
            };
            switch (e) {
                .INTR => {},
                // Somebody who shares our stdout has made it non-blocking.
                .AGAIN => {
                    var descriptors = [1]linux.pollfd{.{ .fd = stream.target, .events = linux.POLL.OUT, .revents = 0 }};
                    _ = sys.poll(&descriptors, -1) catch {};
                },
                .PIPE => return false,
                else => {
                    stream.errno = sys.errnoNumber(e);
                    stream.lost = rest.len;
                    return false;
                },
            }
        }
        return true;
    }

    /// Called by the redactor.
    pub fn write(stream: *Stream, bytes: []const u8) void {
        stream.hash.update(bytes);
        stream.length += bytes.len;
        const wanted = @min(bytes.len, stream.capture_limit - stream.captured);
        if (wanted == 0) return;
        if (!stream.grow(stream.captured + wanted)) {
            stream.capture_limit = stream.captured; // no memory: the rest is only digested, and the record says how much was kept
            return;
        }
        @memcpy(stream.capture[stream.captured..][0..wanted], bytes[0..wanted]);
        stream.captured += wanted;
    }

    fn grow(stream: *Stream, needed: usize) bool {
        if (needed <= stream.capture.len) return true;
        const size = std.mem.alignForward(usize, @max(needed, stream.capture.len * 2, 1 << 20), 4096);
        if (stream.capture.len == 0) {
            stream.capture = (sys.mapPrivate(size) catch return false)[0..size];
            return true;
        }
        const rc = sys.check(linux.mremap(stream.capture.ptr, stream.capture.len, size, .{ .MAYMOVE = true }, null)) catch return false;
        stream.capture = @as([*]align(4096) u8, @ptrFromInt(rc))[0..size];
        return true;
    }
};
