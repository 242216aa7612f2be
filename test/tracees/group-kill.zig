//! Ends its process group, in which tracer and front end are: `group-kill zero|group|pidfd|everybody SIGNAL`. A child that waits is ended by it;
//! so is the caller, but by `everybody`.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    const Mode = enum { zero, group, pidfd, everybody };
    const mode = std.meta.stringToEnum(Mode, arguments.at(1) orelse "") orelse t.fail("group-kill MODE SIGNAL", 0);
    const signal = arguments.number(2, 9);
    const group: i32 = @intCast(t.must(.getpgid, .{0}));
    const child = t.fork();
    if (child == 0) while (true) t.sleepMs(1000);
    var line: t.Line = .{};
    line.begin("answer").text("what", "child").number("value", child).end();
    const result = switch (mode) {
        .zero => t.call(.kill, .{ 0, signal }),
        .group => t.call(.kill, .{ -group, signal }),
        .everybody => t.call(.kill, .{ -1, signal }),
        .pidfd => t.call(.pidfd_send_signal, .{ t.must(.pidfd_open, .{ group, 0 }), signal, null, 4 }), // PIDFD_SIGNAL_PROCESS_GROUP
    };
    if (result < 0) t.fail("the signal", result);
    if (t.reap(child) != signal) t.fail("the child's status", 0);
    t.exit(0);
}
