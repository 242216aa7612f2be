//! A chain of processes: `generations DEPTH wait|orphan`. Each makes the next; with `wait` it stays until that has ended, with
//! `orphan` it is gone at once, so that a child may be seen before, or after the end of, its parent.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    const depth = arguments.number(1, 200);
    const waits = std.mem.eql(u8, arguments.at(2) orelse "wait", "wait");
    // Open as long as one of the chain is alive.
    var alive: [2]i32 = undefined;
    _ = t.must(.pipe2, .{ &alive, 0 });
    const root = t.pid();
    for (0..depth) |_| {
        const parent = t.pid();
        const child = t.fork();
        if (child == 0) {
            t.seeProcess(t.pid(), parent, "fork in a chain");
            continue;
        }
        if (parent == root) break;
        if (waits) _ = t.reap(child);
        t.exit(0);
    }
    if (t.pid() != root) t.exit(0);
    t.close(@intCast(alive[1]));
    var byte: [1]u8 = undefined;
    _ = t.must(.read, .{ alive[0], &byte, 1 });
}
