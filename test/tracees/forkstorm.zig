//! Parents that die as soon as they have forked: `forkstorm ROUNDS`. Who made the grandchild must be known all the same.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    var alive: [2]i32 = undefined;
    _ = t.must(.pipe2, .{ &alive, 0 });
    for (0..arguments.number(1, 200)) |round| {
        const child = t.fork();
        if (child == 0) {
            const parent = t.pid();
            if (t.fork() == 0) {
                t.seeProcess(t.pid(), parent, "fork, the parent gone");
                t.exit(0);
            }
            // Half of them end by a signal, in the middle of what their tracer does about the fork.
            if (round % 2 == 0) _ = t.call(.kill, .{ parent, 9 });
            t.exit(0);
        }
        if (round % 8 == 7) while (t.call(.wait4, .{ -1, null, 1, null }) > 0) {};
    }
    while (t.call(.wait4, .{ -1, null, 0, null }) > 0) {}
    t.close(@intCast(alive[1]));
    var byte: [1]u8 = undefined;
    _ = t.must(.read, .{ alive[0], &byte, 1 });
}
