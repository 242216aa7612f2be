//! exec by a thread that is not the leader, while siblings are alive: one of them in a system call, one in a loop.
//! The new image keeps the process's id and none of the threads.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

var self_path: [:0]const u8 = undefined;
var environment: [*:null]const ?[*:0]const u8 = undefined;
var started: u32 = 0;

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    if (arguments.at(1)) |before| {
        // The second image.
        if (t.pid() != (std.fmt.parseInt(i32, before, 10) catch 0)) t.fail("another pid after exec", t.pid());
        if (t.tid() != t.pid()) t.fail("not the leader after exec", t.tid());
        t.seeProgram(t.pid(), arguments.at(0).?, &.{ arguments.at(0).?, before });
        t.exit(0);
    }
    self_path = arguments.at(0) orelse t.fail("argv[0]", 0);
    environment = arguments.environment.ptr;

    var sleeper: t.Thread = .{};
    var spinner: t.Thread = .{};
    var executor: t.Thread = .{};
    sleeper.start(sleep, 0);
    spinner.start(spin, 0);
    executor.start(execute, 0);
    while (true) t.sleepMs(10_000);
}

fn sleep(_: usize) callconv(.c) u8 {
    _ = @atomicRmw(u32, &started, .Add, 1, .acq_rel);
    while (true) t.sleepMs(10_000);
}

fn spin(_: usize) callconv(.c) u8 {
    _ = @atomicRmw(u32, &started, .Add, 1, .acq_rel);
    while (true) std.atomic.spinLoopHint();
}

fn execute(_: usize) callconv(.c) u8 {
    while (@atomicLoad(u32, &started, .acquire) < 2) t.sleepMs(1);
    t.seeThread(t.tid(), t.pid());
    var buffer: [16]u8 = undefined;
    const text = t.format(&buffer, "{d}", .{t.pid()});
    const argv = [_:null]?[*:0]const u8{ self_path.ptr, text.ptr };
    t.fail("execve", t.call(.execve, .{ self_path.ptr, &argv, environment }));
}
