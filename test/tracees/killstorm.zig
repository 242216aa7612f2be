//! Kills children in whatever they are doing: `killstorm COUNT SEED`. Each opens files without end; a tracer's every request to
//! one of them may find it dead.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    const count = arguments.number(1, 100);
    var random: u64 = arguments.number(2, 1) *% 0x9e3779b97f4a7c15 | 1;
    t.makeFile("file", "opened again and again\n");
    const parent = t.pid();
    for (0..count) |_| {
        const child = t.fork();
        if (child == 0) busy();
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        var time: t.linux.timespec = .{ .sec = 0, .nsec = @intCast(random % 2_000_000) };
        _ = t.call(.nanosleep, .{ &time, null });
        _ = t.must(.kill, .{ child, 9 });
        if (t.reap(child) != 9) t.fail("the child's status", 0);
        var line: t.Line = .{};
        t.seeProcess(child, parent, "fork");
        line.begin("exit").number("pid", child).number("status", 128 + 9).end();
    }
}

fn busy() noreturn {
    while (true) {
        const descriptor = t.call(.openat, .{ t.at_cwd, "file", t.O.rdonly, 0 });
        if (descriptor >= 0) _ = t.call(.close, .{descriptor});
        const child = t.call(.fork, .{});
        if (child == 0) t.exit(0);
        _ = t.call(.wait4, .{ -1, null, 0, null });
    }
}
