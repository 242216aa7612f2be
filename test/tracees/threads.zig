//! Many threads at once: `threads COUNT`. Each opens a file of its own; all are one process.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

var all: [4096]t.Thread = @splat(.{});
var path_buffer: [4096]u8 = undefined;
var gate: u32 align(4) = 0;

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    const count: usize = @intCast(arguments.number(1, 800));
    _ = t.must(.mkdirat, .{ t.at_cwd, "files", 0o755 });
    for (all[0..count], 0..) |*thread, i| thread.start(work, i);
    // All are there at once before the first goes on.
    @atomicStore(u32, &gate, 1, .release);
    _ = t.call(.futex, .{ &gate, 1, 0x7fffffff, null });
    for (all[0..count]) |*thread| thread.join();
    for (0..count) |i| {
        var name: [32]u8 = undefined;
        t.seeOpen(t.absolute(&path_buffer, t.format(&name, "files/{d}", .{i})), "write", "in a thread");
    }
}

fn work(index: usize) callconv(.c) u8 {
    while (@atomicLoad(u32, &gate, .acquire) == 0) _ = t.call(.futex, .{ &gate, 0, 0, null });
    var name: [32]u8 = undefined;
    const path = t.format(&name, "files/{d}", .{index});
    t.makeFile(path.ptr, path);
    return 0;
}
