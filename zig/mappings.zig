//! Which files are mapped into a tracee: asked of /proc/TID/maps by ioctl (Linux 6.11) for one address, or read line by line.
const std = @import("std");
const linux = std.os.linux;
const sys = @import("sys.zig");
const Lines = @import("lines.zig").Lines;

pub const File = struct { major: u32, minor: u32, inode: u64 };

/// Bytes of /proc/TID/maps that are read to find one mapping: some two thousand lines.
const text_max = 256 << 10;

/// Null: memory without a file, no memory at all, or not to be found out.
pub fn fileAt(tid: i32, address: u64) ?File {
    var path: [64]u8 = undefined;
    const maps = sys.openReadOnly(sys.procPath(&path, tid, "maps")).orNull() orelse return null;
    defer sys.close(maps);
    return query(maps, address) catch |e| switch (e) {
        error.NotFound => null, // nothing is mapped there
        else => search(maps, address),
    };
}

/// Whether others may write to the memory at an address: a shared mapping. False also where that cannot be found out.
pub fn isShared(tid: i32, address: u64) bool {
    var path: [64]u8 = undefined;
    const maps = sys.openReadOnly(sys.procPath(&path, tid, "maps")).orNull() orelse return false;
    defer sys.close(maps);
    var all: Mappings = .of(maps);
    while (all.next() catch return false) |mapping| {
        if (address < mapping.start) return false;
        if (address < mapping.end) return mapping.is_shared;
    }
    return false;
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
    var all: Mappings = .of(maps);
    while (all.next() catch return null) |mapping| {
        if (address < mapping.start) return null;
        if (address < mapping.end) return mapping.file;
    }
    return null;
}

pub const Mapping = struct {
    start: u64,
    end: u64,
    /// As it is now; mprotect(2) can change it.
    is_writable: bool = false,
    is_shared: bool = false,
    file: ?File,
    /// As the kernel shows it to us, with ` (deleted)` behind it where that is so; a newline in it is `\\012`.
    name: []const u8,
};

/// A mapping's name as the file had it, if it still is or was there.
pub fn withoutSuffix(name: []const u8) []const u8 {
    const suffix = " (deleted)";
    return if (std.mem.endsWith(u8, name, suffix)) name[0 .. name.len - suffix.len] else name;
}

/// All mappings in their order. What `next` returns is valid until it is called again.
pub const Mappings = struct {
    lines: Lines,

    pub fn of(maps: i32) Mappings {
        return .{ .lines = .{ .descriptor = maps, .max = text_max } };
    }

    pub fn next(all: *Mappings) error{TooLong}!?Mapping {
        while (try all.lines.next()) |line| if (parse(line)) |mapping| return mapping;
        return null;
    }
};

/// `7f0000000000-7f0000001000 r-xp 00000000 08:01 1234   /path`
fn parse(line: []const u8) ?Mapping {
    var words = std.mem.tokenizeScalar(u8, line, ' ');
    const range = words.next() orelse return null;
    const dash = std.mem.findScalar(u8, range, '-') orelse return null;
    var mapping: Mapping = .{
        .start = std.fmt.parseInt(u64, range[0..dash], 16) catch return null,
        .end = std.fmt.parseInt(u64, range[dash + 1 ..], 16) catch return null,
        .file = null,
        .name = "",
    };
    const permissions = words.next() orelse return mapping;
    mapping.is_writable = permissions.len > 1 and permissions[1] == 'w';
    mapping.is_shared = permissions.len > 3 and permissions[3] == 's';
    _ = words.next();
    const device = words.next() orelse return mapping;
    const inode = std.fmt.parseInt(u64, words.next() orelse "0", 10) catch 0;
    mapping.name = std.mem.trimStart(u8, words.rest(), " ");
    const colon = std.mem.findScalar(u8, device, ':') orelse return mapping;
    if (inode != 0) mapping.file = .{
        .major = std.fmt.parseInt(u32, device[0..colon], 16) catch 0,
        .minor = std.fmt.parseInt(u32, device[colon + 1 ..], 16) catch 0,
        .inode = inode,
    };
    return mapping;
}

/// By mprotect(2): its file was opened for writing (`mw` in proc_pid_smaps(5)). Not in `max` bytes, or not to be found out: true.
pub fn canBecomeWritable(tid: i32, mapping: *const Mapping, max: usize) bool {
    var path: [64]u8 = undefined;
    const list = sys.openReadOnly(sys.procPath(&path, tid, "smaps")).orNull() orelse return true;
    defer sys.close(list);
    var lines: Lines = .{ .descriptor = list, .max = max };
    var is_it = false;
    while (lines.next() catch return true) |line| {
        const flags = "VmFlags:";
        if (is_it and std.mem.startsWith(u8, line, flags)) return std.mem.find(u8, line[flags.len..], " mw") != null;
        if (parse(line)) |other| is_it = other.start == mapping.start;
    }
    return true;
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

test "lines" {
    const row = parse("7f0000000000-7f0000001000 r-xp 00000000 08:1f 1234                       /a file").?;
    try testing.expectEqual(Mapping{
        .start = 0x7f00_0000_0000,
        .end = 0x7f00_0000_1000,
        .file = .{ .major = 8, .minor = 0x1f, .inode = 1234 },
        .name = row.name,
    }, row);
    try testing.expectEqualStrings("/a file", row.name);
    const stack = parse("7ffd0000-7ffe0000 rw-p 00000000 00:00 0                          [stack]").?;
    try testing.expectEqual(null, stack.file);
    try testing.expect(stack.is_writable and !stack.is_shared);
    const shared = parse("7ffd0000-7ffe0000 r--s 00000000 08:1f 7 /b (deleted)").?;
    try testing.expect(!shared.is_writable and shared.is_shared);
    try testing.expectEqualStrings("/b", withoutSuffix(shared.name));
    try testing.expectEqual(null, parse("no such line"));
    try testing.expect(!isShared(linux.gettid(), @intFromPtr(row.name.ptr)));

    var path: [64]u8 = undefined;
    const maps = sys.openReadOnly(sys.procPath(&path, linux.gettid(), "maps")).descriptor;
    defer sys.close(maps);
    var all: Mappings = .of(maps);
    var exe: [4096]u8 = undefined;
    const name = try sys.readLink(linux.AT.FDCWD, "/proc/self/exe", &exe);
    var found = false;
    while (try all.next()) |mapping| {
        if (std.mem.eql(u8, mapping.name, name)) found = true;
    }
    try testing.expect(found);
}
