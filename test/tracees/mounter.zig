//! mounter TYPE KEY=VALUE,… TARGET : mounts by fsopen(2) and its like, as mount(8) does since util-linux 2.39.
const std = @import("std");
const t = @import("lib/tracee.zig");
pub const panic = t.panic;

const set_string = 1;
const create = 6;
const empty_path = 4; // MOVE_MOUNT_F_EMPTY_PATH

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    const kind = arguments.at(1) orelse t.fail("type?", 0);
    const options = arguments.at(2) orelse t.fail("options?", 0);
    const target = arguments.at(3) orelse t.fail("target?", 0);
    const context = t.must(.fsopen, .{ kind.ptr, 0 });
    var all = std.mem.splitScalar(u8, options, ',');
    while (all.next()) |option| {
        const equals = std.mem.findScalar(u8, option, '=') orelse t.fail("no value", 0);
        var key: [64]u8 = @splat(0);
        var value: [256]u8 = @splat(0);
        @memcpy(key[0..equals], option[0..equals]);
        @memcpy(value[0 .. option.len - equals - 1], option[equals + 1 ..]);
        _ = t.must(.fsconfig, .{ context, @as(usize, set_string), &key, &value, 0 });
    }
    _ = t.must(.fsconfig, .{ context, @as(usize, create), 0, 0, 0 });
    const mount = t.must(.fsmount, .{ context, 0, 0 });
    _ = t.must(.move_mount, .{ mount, "", @as(isize, -100), target.ptr, @as(usize, empty_path) });
}
