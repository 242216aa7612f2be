//! The end of a tree of processes. The caller is a child subreaper: whoever loses its parent becomes its
//! child, so "no children" means that nothing of the tree is alive, and killing children until there are
//! none reaches every descendant.
//!
//! Children are found by asking waitid(2) about each pid that there may be: those that /proc lists, or,
//! where there is no /proc of our pid namespace, all.
const std = @import("std");
const linux = std.os.linux;
const status_file = @import("status.zig");
const sys = @import("sys.zig");

/// PID_MAX_LIMIT of 64-bit kernels; the actual kernel.pid_max is below /proc.
const pid_limit = 4 << 20;

/// When none of those that were killed dies for so long, they are given up: they wait in the kernel (for a file server that hangs, for
/// a device), or are frozen by a cgroup of version 1. They die when that ends.
const give_up_ns = 5 * std.time.ns_per_s;

/// Kills the caller's children, and what becomes its child thereby, until none is left; returns how many
/// it killed. What refuses to be killed (a set-uid program, for an ordinary user) is left alone.
/// `reap_all`: the caller has no other children whose status somebody else waits for.
pub fn killUntilNone(options: struct { reap_all: bool }) u32 {
    var since = sys.nowNs();
    var pass: Pass = .{};
    while (true) {
        const before = pass.left;
        pass.left = 0;
        pass.refused = 0;
        forEachListed(&pass) catch forEachPid(&pass);
        if (options.reap_all) while (sys.wait(-1, linux.W.NOHANG | sys.wait_all) catch null) |_| {};
        if (!sys.hasChildren()) return pass.killed;
        // There are children that /proc does not show (hidepid=): ask for every number.
        if (pass.left == 0) forEachPid(&pass);
        if (pass.left > 0 and pass.left == pass.refused) return pass.killed;
        if (pass.left != before) since = sys.nowNs();
        if (sys.nowNs() - since > give_up_ns) return pass.killed;
        sys.sleepMs(1);
    }
}

/// Kills whatever a process traces, which need not be below us. For a tracer that hangs in the kernel and cannot die: with it would
/// die its tracees, but what it hangs on may be one of them. One that dies meanwhile has perhaps just made another: to be repeated.
pub fn killTracedBy(tracer: i32) void {
    var pass: TracedPass = .{ .tracer = tracer };
    forEachListed(&pass) catch {};
}

const TracedPass = struct {
    tracer: i32,

    fn visit(pass: *TracedPass, process: i32) void {
        const status = status_file.read(process) catch return;
        if (status.tracer == pass.tracer) sys.kill(process, .KILL) catch {};
    }
};

const Pass = struct {
    killed: u32 = 0,
    /// Children that were there in this round, and how many of them may not be killed by us.
    left: u32 = 0,
    refused: u32 = 0,
    /// Pids that got a signal already, as far as they fit: a process that takes its time to die counts once.
    signalled: [64]i32 = @splat(0),

    fn visit(pass: *Pass, process: i32) void {
        switch (sys.childState(process)) {
            .not_ours => {},
            .exited => {
                // Its children have become ours: another round.
                pass.left += 1;
                _ = sys.wait(process, linux.W.NOHANG | sys.wait_all) catch {};
            },
            .alive => {
                pass.left += 1;
                sys.kill(process, .KILL) catch |e| {
                    if (e == error.Denied) pass.refused += 1;
                    return;
                };
                const slot = &pass.signalled[@as(u32, @intCast(process)) % 64];
                if (slot.* != process) pass.killed += 1;
                slot.* = process;
            },
        }
    }
};

fn forEachPid(pass: *Pass) void {
    var process: i32 = 1;
    while (process < pid_limit) : (process += 1) pass.visit(process);
}

/// An error where /proc is missing or numbers other processes than our pid namespace does.
fn forEachListed(pass: anytype) sys.Error!void {
    var link: [16]u8 = undefined;
    const own = parsePid(try sys.readLink(linux.AT.FDCWD, "/proc/self", &link));
    if (own != sys.ownPid()) return error.NotFound;
    const directory = switch (sys.open(linux.AT.FDCWD, "/proc", .{ .ACCMODE = .RDONLY, .DIRECTORY = true, .CLOEXEC = true })) {
        .descriptor => |descriptor| descriptor,
        .failed => return error.NotFound,
    };
    defer sys.close(directory);
    var buffer: [4096]u8 align(8) = undefined;
    while (true) {
        const length = try sys.check(linux.getdents64(directory, &buffer, buffer.len));
        if (length == 0) return;
        var at: usize = 0;
        while (at < length) {
            const entry: *align(8) linux.dirent64 = @ptrCast(@alignCast(&buffer[at]));
            const name: [*:0]const u8 = @ptrCast(&entry.name);
            if (parsePid(std.mem.span(name))) |process| pass.visit(process);
            at += entry.reclen;
        }
    }
}

fn parsePid(text: []const u8) ?i32 {
    if (text.len == 0 or text.len > 10) return null;
    var value: i64 = 0;
    for (text) |c| {
        if (c < '0' or c > '9') return null;
        value = value * 10 + (c - '0');
    }
    return std.math.cast(i32, value);
}

test "pids are decimal numbers" {
    try std.testing.expectEqual(@as(?i32, 4194304), parsePid("4194304"));
    try std.testing.expectEqual(@as(?i32, null), parsePid("self"));
    try std.testing.expectEqual(@as(?i32, null), parsePid(""));
    try std.testing.expectEqual(@as(?i32, null), parsePid("99999999999"));
}

test "what a process traces is found, and killed" {
    const parent = try sys.fork();
    if (parent == 0) while (true) sys.sleepMs(1000);
    try std.testing.expectEqual(linux.E.SUCCESS, linux.errno(linux.ptrace(linux.PTRACE.SEIZE, parent, 0, 0, 0)));
    killTracedBy(std.math.maxInt(i32));
    try std.testing.expectEqual(null, try sys.wait(parent, linux.W.NOHANG));
    killTracedBy(sys.ownPid());
    try std.testing.expectEqual(@as(u32, 9), (try sys.wait(parent, 0)).?.status);
}

test "a chain of processes dies from the top" {
    _ = try sys.prctl(.SET_CHILD_SUBREAPER, 1);
    const ends = try sys.pipe(.{ .CLOEXEC = true });
    for (0..3) |_| {
        if (try sys.fork() != 0) continue;
        // Each makes a child of its own, and that one another.
        for (0..2) |_| if ((sys.fork() catch sys.exit(1)) != 0) break;
        _ = sys.write(ends[1], "x") catch {};
        while (true) sys.sleepMs(1000);
    }
    sys.close(ends[1]);
    var byte: [1]u8 = undefined;
    for (0..9) |_| _ = try sys.read(ends[0], &byte);
    try std.testing.expectEqual(@as(u32, 9), killUntilNone(.{ .reap_all = true }));
    // All write ends are closed: nobody is alive.
    try std.testing.expectEqual(@as(usize, 0), try sys.read(ends[0], &byte));
}
