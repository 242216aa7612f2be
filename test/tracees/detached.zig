//! detached opened|changed|attached : a copy of the mount of the directory `d`, and a file in it.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

const clone = 1; // OPEN_TREE_CLONE
const empty_path = 4; // MOVE_MOUNT_F_EMPTY_PATH

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    const way = arguments.at(1) orelse t.fail("way?", 0);
    const tree = t.must(.open_tree, .{ t.at_cwd, "d", @as(usize, clone) });
    if (std.mem.eql(u8, way, "attached")) _ = t.must(.move_mount, .{ tree, "", t.at_cwd, "at", @as(usize, empty_path) });
    if (std.mem.eql(u8, way, "changed")) {
        _ = t.must(.renameat, .{ tree, "f", tree, "g" });
    } else {
        _ = t.must(.openat, .{ tree, "f", t.O.rdonly, 0 });
    }
}
