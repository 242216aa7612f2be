//! Signals to a group, or to everybody, that would end or stop the tracer and the front end too: a record of the build's end needs
//! both. The tracer sends them in the kernel's place to the processes of the build, and to nobody else.
//!
//! Those that programs send to groups, which the front end handles (signals.zig) and the tracer has blocked go through.
const std = @import("std");
const linux = std.os.linux;
const abi = @import("abi.zig");
const signals = @import("signals.zig");
const status_file = @import("status.zig");
const sys = @import("sys.zig");
const syscalls = @import("syscalls.zig");
const tracee = @import("tracee.zig");
const Tracer = @import("tracer.zig").Tracer;
const Thread = tracee.Thread;

pub const Target = union(enum) {
    group: i32,
    everybody,
};

/// Null: not to a group with us in it, or nothing that we would not survive.
pub fn targetOf(tracer: *Tracer, thread: *const Thread, reach: syscalls.Reach) ?Target {
    const arguments = &thread.call.arguments;
    if (reach.signal == syscalls.Argument.none) return null;
    const signal: u32 = @truncate(arguments[reach.signal]);
    if (signal == 0 or signal > 64 or signals.isOfGroups(signal)) return null;
    const word: i32 = @bitCast(@as(u32, @truncate(arguments[reach.argument])));
    const target: Target = switch (reach.groups) {
        .none => return null,
        .zero_or_below => switch (word) {
            std.math.minInt(i32)...-2 => .{ .group = 0 -| word },
            -1 => .everybody,
            0 => .{ .group = sys.groupOf(thread.tid) },
            1...std.math.maxInt(i32) => return null,
        },
        .by_flag => |flag| if (arguments[flag.argument] & flag.mask == 0)
            return null
        else
            .{ .group = status_file.processOfPidfd(thread.tid, word) },
    };
    // A group's number means nothing in another pid namespace, and everybody is everybody of that one.
    if (word != 0 and reach.groups == .zero_or_below and !status_file.isSamePidNamespace(thread.tid)) return null;
    return switch (target) {
        .everybody => target,
        .group => |group| if (hasUs(tracer, group)) target else null,
    };
}

pub fn hasUs(tracer: *const Tracer, group: i32) bool {
    const session = tracer.session;
    return group > 0 and (sys.groupOf(session.tracer_pid) == group or sys.groupOf(session.front_pid) == group);
}

/// To all but the caller's own process. Returns what the kernel would answer.
pub fn send(tracer: *Tracer, thread: *const Thread, target: Target, signal: u32) i64 {
    const own = tracer.tracees.processOf(thread).pid;
    const sender = status_file.read(own) catch status_file.Status{};
    var found = false;
    var sent = target == .group; // the caller's process is in it, or may be signalled by itself
    // One that is forked meanwhile is seen the second time, and its parent cannot fork any more.
    for (0..2) |_| for (tracer.tracees.all()) |*other| {
        const is_alive = other.state == .running or other.state == .expected or other.state == .parked;
        if (!is_alive or other.tid == own or !isIn(other.tid, target) or !leads(other.tid)) continue;
        found = true;
        if (!maySignal(&sender, other.tid)) continue;
        sys.kill(other.tid, @fromBackingInt(signal)) catch continue;
        sent = true;
    };
    if (sent) return 0;
    return -@as(i64, @backingInt(if (found) linux.E.PERM else linux.E.SRCH));
}

/// kill(-1) spares whoever calls it.
pub fn includesCaller(tracer: *Tracer, thread: *const Thread, target: Target) bool {
    return target == .group and isIn(tracer.tracees.processOf(thread).pid, target);
}

fn isIn(process: i32, target: Target) bool {
    return switch (target) {
        .everybody => true,
        .group => |group| sys.groupOf(process) == group,
    };
}

/// A number of a process and not only of one of its threads.
fn leads(tid: i32) bool {
    return (status_file.read(tid) catch return false).process == tid;
}

/// kill(2), without the saved set-user-ID.
fn maySignal(sender: *const status_file.Status, process: i32) bool {
    if (sender.euid == 0) return true;
    const receiver = status_file.read(process) catch return false;
    for ([_]u32{ sender.uid, sender.euid }) |one| for ([_]u32{ receiver.uid, receiver.euid }) |other| if (one == other) return true;
    return false;
}
