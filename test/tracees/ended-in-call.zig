//! Processes that end while another of their threads is in a watched call, over and over: `ended-in-call COUNT own|file`.
//! `own`: the calls change nothing but their caller; `file`: they make directories.
const t = @import("lib/tracee.zig");
const std = @import("std");
const linux = std.os.linux;
pub const panic = t.panic;

var makes_files = false;
var started: u32 align(4) = 0;

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    const count = arguments.number(1, 200);
    makes_files = std.mem.eql(u8, arguments.at(2) orelse "own", "file");
    for (0..count) |i| {
        const child = t.fork();
        if (child != 0) {
            _ = t.reap(child);
            continue;
        }
        var thread: t.Thread = .{};
        thread.start(work, i);
        while (@atomicLoad(u32, &started, .acquire) == 0) _ = t.call(.futex, .{ &started, 0, 0, null });
        t.exit(0);
    }
}

fn work(index: usize) callconv(.c) u8 {
    @atomicStore(u32, &started, 1, .release);
    _ = t.call(.futex, .{ &started, 1, 1, null });
    for (0..1000) |turn| {
        if (makes_files) {
            var name: [64]u8 = undefined;
            _ = t.call(.mkdirat, .{ t.at_cwd, t.format(&name, "made-{d}-{d}", .{ index, turn }).ptr, 0o755 });
        } else {
            _ = t.call(.prctl, .{ @backingInt(linux.PR.SET_NAME), "worker" });
        }
    }
    return 0;
}
