//! Mounts, as /proc/PID/mountinfo lists those of a process (proc_pid_mountinfo(5)).
const std = @import("std");
const descriptors_mod = @import("descriptors.zig");
const status_file = @import("status.zig");
const sys = @import("sys.zig");
const Lines = @import("lines.zig").Lines;

/// Bytes of a list that are read: some thousand mounts.
const list_max = 1 << 20;

/// Of a descriptor of ours: the mount that it was opened on. Null: not told.
pub fn idOf(descriptor: i32) ?u64 {
    var path: [64]u8 = undefined;
    var at = sys.append(&path, 0, "/proc/self/fdinfo/");
    at = sys.appendNumber(&path, at, @intCast(descriptor));
    path[at] = 0;
    var buffer: [512]u8 = undefined;
    const text = status_file.readFile(path[0..at :0], &buffer) catch return null;
    var lines = std.mem.splitScalar(u8, text, '\n');
    while (lines.next()) |line| {
        const name = "mnt_id:";
        if (!std.mem.startsWith(u8, line, name)) continue;
        return std.fmt.parseInt(u64, std.mem.trim(u8, line[name.len..], " \t"), 10) catch null;
    }
    return null;
}

pub const Which = union(enum) {
    id: u64,
    /// One that shows a whole file system, by its device number.
    top_of: u64,
};

/// Both as the process sees them, which may have escapes (`\040`).
pub const Mount = struct {
    /// The directory or file of its file system that it shows.
    root: []const u8,
    /// Where it is.
    point: []const u8,
};

/// The last such mount of a process: it covers the others. In `buffer`; null: none, or not to be found out.
pub fn find(pid: i32, which: Which, buffer: []u8) ?Mount {
    var path: [64]u8 = undefined;
    const list = sys.openReadOnly(sys.procPath(&path, pid, "mountinfo")).orNull() orelse return null;
    defer sys.close(list);
    var lines: Lines = .{ .descriptor = list, .max = list_max };
    var found: ?Mount = null;
    while (lines.next() catch return null) |line| {
        const mount = parse(line, which) orelse continue;
        if (mount.root.len + mount.point.len > buffer.len) return null;
        const end = sys.append(buffer, 0, mount.root);
        found = .{ .root = buffer[0..end], .point = buffer[end..sys.append(buffer, end, mount.point)] };
        if (which == .id) return found;
    }
    return found;
}

/// `36 35 98:0 /root /point rw,noatime master:1 - ext4 /dev/root rw`
fn parse(line: []const u8, which: Which) ?Mount {
    var words = std.mem.tokenizeScalar(u8, line, ' ');
    const id = std.fmt.parseInt(u64, words.next() orelse return null, 10) catch return null;
    _ = words.next();
    const device = words.next() orelse return null;
    const mount: Mount = .{ .root = words.next() orelse return null, .point = words.next() orelse return null };
    const is_it = switch (which) {
        .id => |wanted| id == wanted,
        .top_of => |wanted| std.mem.eql(u8, mount.root, "/") and wanted == deviceOf(device),
    };
    return if (is_it) mount else null;
}

fn deviceOf(text: []const u8) ?u64 {
    const colon = std.mem.findScalar(u8, text, ':') orelse return null;
    const major = std.fmt.parseInt(u32, text[0..colon], 10) catch return null;
    const minor = std.fmt.parseInt(u32, text[colon + 1 ..], 10) catch return null;
    return descriptors_mod.deviceNumber(major, minor);
}

const testing = std.testing;

test "lines" {
    const line = "36 35 98:3 /a\\040b /mnt/point rw,noatime master:1 - ext3 /dev/root rw";
    try testing.expectEqualStrings("/a\\040b", parse(line, .{ .id = 36 }).?.root);
    try testing.expectEqual(null, parse(line, .{ .id = 35 }));
    try testing.expectEqual(null, parse(line, .{ .top_of = descriptors_mod.deviceNumber(98, 3) }));
    const top = "36 35 0:3 / /proc rw - proc proc rw";
    try testing.expectEqualStrings("/proc", parse(top, .{ .top_of = descriptors_mod.deviceNumber(0, 3) }).?.point);
    try testing.expectEqual(null, parse("", .{ .id = 1 }));
}

test "our own proc" {
    const descriptor = sys.openReadOnly("/proc/self/status").descriptor;
    defer sys.close(descriptor);
    var buffer: [4096]u8 = undefined;
    const mount = find(sys.ownPid(), .{ .id = idOf(descriptor).? }, &buffer).?;
    try testing.expectEqualStrings("/", mount.root);
    try testing.expectEqualStrings("/proc", mount.point);
    try testing.expectEqual(null, find(sys.ownPid(), .{ .id = std.math.maxInt(u64) }, &buffer));
}
