//! Calls that reach into a process outside of the build: its memory, its descriptors, or all of it (ptrace). What the
//! build learns or does there is not seen.
const std = @import("std");
const linux = std.os.linux;
const paths = @import("paths.zig");
const status_file = @import("status.zig");
const sys = @import("sys.zig");
const syscalls = @import("syscalls.zig");
const tracee = @import("tracee.zig");
const Tracer = @import("tracer.zig").Tracer;
const Thread = tracee.Thread;

/// Of no number: all processes, or those of a cgroup.
const everybody = -1;

/// Before the call, while the target is there to be asked about. 0: it is one of ours, or nobody.
pub fn targetOf(tracer: *Tracer, thread: *const Thread, row: *const syscalls.Row) i32 {
    const reach = row.reaches orelse return 0;
    const arguments = &thread.call.arguments;
    if (row.special == .perf and isOfEverybody(arguments)) return everybody;
    if (row.special == .ptrace and !begins(arguments[0])) return 0;
    const word: i32 = @bitCast(@as(u32, @truncate(arguments[reach.argument])));
    const target = switch (reach.by) {
        // In a pid namespace of the build's own there is nobody else to be reached.
        .number => if (status_file.isSamePidNamespace(thread.tid)) word else return 0,
        .pidfd => status_file.processOfPidfd(thread.tid, word),
    };
    if (target <= 0) return 0;
    const is_known = if (tracer.tracees.find(target)) |known| known.state != .dead else false;
    return if (is_known) 0 else target;
}

/// The other requests need one of these first.
fn begins(request: u64) bool {
    return request == linux.PTRACE.ATTACH or request == linux.PTRACE.SEIZE;
}

/// perf_event_open(2): of all processes on a processor, or of a cgroup, which others are in too.
fn isOfEverybody(arguments: *const [6]u64) bool {
    return @as(u32, @truncate(arguments[1])) == std.math.maxInt(u32) or arguments[4] & syscalls.perf_of_cgroup != 0;
}

/// It has succeeded.
pub fn report(tracer: *Tracer, thread: *Thread, row: *const syscalls.Row) void {
    const target = thread.call.outside;
    if (target == everybody) return tracer.gap(thread, .outside_reached, 0, row.name);
    var text: [paths.max + 64]u8 = undefined;
    var at = sys.append(&text, 0, row.name);
    at = sys.append(&text, at, " ");
    var path: [64]u8 = undefined;
    if (sys.readLink(linux.AT.FDCWD, sys.procPath(&path, target, "exe"), text[at..])) |program| {
        at += program.len;
    } else |_| {
        at += status_file.comm(target, text[at..][0..64]).len;
    }
    tracer.gap(thread, .outside_reached, @intCast(target), text[0..at]);
}
