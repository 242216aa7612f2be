//! Which file is behind an address of a tracee: asked of /proc/TID/maps by ioctl (Linux 6.11), or read line by line.
const std = @import("std");
const linux = std.os.linux;
const sys = @import("sys.zig");

pub const File = struct { major: u32, minor: u32, inode: u64 };

/// Bytes of /proc/TID/maps that are read to find one mapping: some two thousand lines.
const text_max = 256 << 10;

/// Null: memory without a file, no memory at all, or not to be found out.
pub fn fileAt(tid: i32, address: u64) ?File {
    var path: [64]u8 = undefined;
    const maps = switch (sys.openReadOnly(sys.procPath(&path, tid, "maps"))) {
        .descriptor => |number| number,
        .failed => return null,
    };
    defer sys.close(maps);
    return query(maps, address) catch |e| switch (e) {
        error.NotFound => null, // nothing is mapped there
        else => search(maps, address),
    };
}

/// struct procmap_query.
const Query = extern struct {
    size: u64 = @sizeOf(Query),
    flags: u64 = 0, // the mapping that covers the address
    address: u64,
    start: u64 = 0,
    end: u64 = 0,
    protection: u64 = 0,
    page_size: u64 = 0,
    offset: u64 = 0,
    inode: u64 = 0,
    major: u32 = 0,
    minor: u32 = 0,
    name_size: u32 = 0,
    build_id_size: u32 = 0,
    name_address: u64 = 0,
    build_id_address: u64 = 0,

    comptime {
        std.debug.assert(@sizeOf(Query) == 104);
    }
};

fn query(maps: i32, address: u64) sys.Error!?File {
    const procmap_query = 0xc068_6611;
    var q: Query = .{ .address = address };
    _ = sys.check(linux.ioctl(maps, procmap_query, @intFromPtr(&q))) catch |e| return if (e == error.Unexpected) error.NotSupported else e;
    return if (q.inode == 0) null else .{ .major = q.major, .minor = q.minor, .inode = q.inode };
}

fn search(maps: i32, address: u64) ?File {
    var buffer: [8192]u8 = undefined;
    var kept: usize = 0;
    var total: usize = 0;
    while (total < text_max) {
        const got = sys.read(maps, buffer[kept..]) catch return null;
        if (got == 0) return null;
        total += got;
        const text = buffer[0 .. kept + got];
        var at: usize = 0;
        while (std.mem.findScalarPos(u8, text, at, '\n')) |end| : (at = end + 1) {
            switch (parse(text[at..end], address)) {
                .before => {},
                .found => |file| return file,
                .past => return null,
            }
        }
        kept = text.len - at;
        if (kept == buffer.len) return null; // no line is that long
        std.mem.copyForwards(u8, buffer[0..kept], text[at..]);
    }
    return null;
}

const Parsed = union(enum) { before, found: ?File, past };

/// `7f0000000000-7f0000001000 r-xp 00000000 08:01 1234   /path`
fn parse(line: []const u8, address: u64) Parsed {
    var words = std.mem.tokenizeScalar(u8, line, ' ');
    const range = words.next() orelse return .before;
    const dash = std.mem.findScalar(u8, range, '-') orelse return .before;
    const start = std.fmt.parseInt(u64, range[0..dash], 16) catch return .before;
    const end = std.fmt.parseInt(u64, range[dash + 1 ..], 16) catch return .before;
    if (address >= end) return .before;
    if (address < start) return .past;
    _ = words.next();
    _ = words.next();
    const device = words.next() orelse return .{ .found = null };
    const inode = std.fmt.parseInt(u64, words.next() orelse "0", 10) catch 0;
    if (inode == 0) return .{ .found = null };
    const colon = std.mem.findScalar(u8, device, ':') orelse return .{ .found = null };
    return .{ .found = .{
        .major = std.fmt.parseInt(u32, device[0..colon], 16) catch 0,
        .minor = std.fmt.parseInt(u32, device[colon + 1 ..], 16) catch 0,
        .inode = inode,
    } };
}

const testing = std.testing;

test "both ways find the file of our own code, and none behind the stack" {
    const own = linux.gettid();
    const code = @intFromPtr(&fileAt);
    var local: u8 = 0;
    const by_any = fileAt(own, code).?;
    try testing.expect(by_any.inode != 0);
    try testing.expectEqual(null, fileAt(own, @intFromPtr(&local)));
    try testing.expectEqual(null, fileAt(own, 4096));
    var path: [64]u8 = undefined;
    for ([_]u64{ code, @intFromPtr(&local), 4096 }, [_]?File{ by_any, null, null }) |address, expected| {
        const maps = sys.openReadOnly(sys.procPath(&path, own, "maps")).descriptor;
        defer sys.close(maps);
        try testing.expectEqual(expected, search(maps, address));
    }
}
