//! Signals its child and then its whole process group, as timeout(1) does it: `twofold PROGRAM ARGUMENT…`, at SIGUSR1.
//! Ends with the child's status.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    const program = arguments.at(1) orelse t.fail("twofold PROGRAM", 0);
    _ = t.must(.setpgid, .{ 0, 0 });
    const child = t.fork();
    if (child == 0) t.fail("execve", t.call(.execve, .{ program.ptr, arguments.from(1), arguments.environment.ptr }));

    // The group's signal must not end us. Set after the fork: the child keeps its own dispositions.
    const ignore = [4]u64{ 1, 0, 0, 0 };
    _ = t.must(.rt_sigaction, .{ @as(u32, 15), &ignore, null, 8 });
    const wanted = @as(u64, 1) << 9;
    _ = t.must(.rt_sigprocmask, .{ 0, &wanted, null, 8 });
    while (t.call(.rt_sigtimedwait, .{ &wanted, null, null, 8 }) != 10) {}
    _ = t.must(.kill, .{ child, 15 });
    // Not before it has taken the first one: two that are pending at once become one.
    while (isPending(child)) _ = t.call(.sched_yield, .{});
    _ = t.must(.kill, .{ 0, 15 });
    const status = t.reap(child);
    t.exit(@intCast(if (status & 0x7f == 0) status >> 8 & 0xff else 128 + (status & 0x7f)));
}

/// SIGTERM among the process's pending signals.
fn isPending(process: i32) bool {
    var path: [64]u8 = undefined;
    const descriptor = t.open(t.format(&path, "/proc/{d}/status", .{process}).ptr, t.O.rdonly, 0);
    defer t.close(descriptor);
    var buffer: [4096]u8 = undefined;
    const text = buffer[0..t.must(.read, .{ descriptor, &buffer, buffer.len })];
    const key = "ShdPnd:\t";
    const start = (std.mem.find(u8, text, key) orelse t.fail(key, 0)) + key.len;
    const set = std.fmt.parseInt(u64, text[start..][0..16], 16) catch t.fail(key, 1);
    return set & 1 << 14 != 0;
}
