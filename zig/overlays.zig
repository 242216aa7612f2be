//! The upper directory of an overlayfs that the build mounts: what is written through the overlay is also a file in there, which no call
//! names. The front end looks in it at the end.
const std = @import("std");
const linux = std.os.linux;
const decode = @import("decode.zig");
const descriptors_mod = @import("descriptors.zig");
const paths = @import("paths.zig");
const sys = @import("sys.zig");
const syscalls = @import("syscalls.zig");

const option = "upperdir";
/// enum fsconfig_command
const set_string = 1;
const set_descriptor = 5;

/// Before the call. No item: the call names none, or it could not be looked at.
pub fn addUpper(context: *const decode.Context, row: *const syscalls.Row, items: *decode.Items) sys.Error!void {
    if (std.mem.eql(u8, row.name, "mount")) {
        const kind = decode.bytesOf(items.written(), 2) orelse return;
        if (!std.mem.eql(u8, kind, "overlay")) return;
        addPath(context, upperIn(decode.bytesOf(items.written(), 4) orelse return) orelse return, items);
    } else if (std.mem.eql(u8, row.name, "fsconfig")) {
        const key = decode.bytesOf(items.written(), 2) orelse return;
        if (!std.mem.eql(u8, key, option)) return;
        switch (@as(u32, @truncate(context.word(1)))) {
            set_string => addPath(context, decode.bytesOf(items.written(), 3) orelse return, items),
            // Since Linux 6.13.
            set_descriptor => try decode.addDescriptor(context, decode.upper_directory, @bitCast(@as(u32, @truncate(context.word(4)))), items),
            else => {},
        }
    }
}

/// The last one counts. Null: none, or it is written with escapes, about which kernels differ.
fn upperIn(data: []const u8) ?[]const u8 {
    if (std.mem.findScalar(u8, data, '\\') != null) return null;
    var found: ?[]const u8 = null;
    var options = std.mem.splitScalar(u8, data, ',');
    while (options.next()) |text| {
        if (std.mem.startsWith(u8, text, option ++ "=")) found = text[option.len + 1 ..];
    }
    return found;
}

fn addPath(context: *const decode.Context, path: []const u8, items: *decode.Items) void {
    if (path.len == 0) return;
    const place = context.place(syscalls.Argument.none);
    const descriptor = paths.openInPlace(place, path, .{ .PATH = true, .DIRECTORY = true, .CLOEXEC = true }) orelse return;
    defer sys.close(descriptor);
    const taken: descriptors_mod.Taken = .{ .descriptor = descriptor, .by_path = true, .from = context.descriptors };
    decode.addTaken(context, decode.upper_directory, taken, items, 0);
}

test "which of them counts" {
    const expectEqual = std.testing.expectEqualDeep;
    try expectEqual(@as(?[]const u8, "/u"), upperIn("lowerdir=/l:/m,upperdir=/u,workdir=/w"));
    try expectEqual(@as(?[]const u8, "v"), upperIn("upperdir=u,upperdir=v"));
    try expectEqual(@as(?[]const u8, null), upperIn("lowerdir=/upperdir=/l"));
    try expectEqual(@as(?[]const u8, null), upperIn("upperdir=/a\\,b,workdir=/w"));
    try expectEqual(@as(?[]const u8, null), upperIn(""));
}
