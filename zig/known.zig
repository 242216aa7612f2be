//! Content that was handed over before: a header that a thousand compilations read is digested once.
//!
//! An entry is a file (device, inode) as it was when a descriptor of it went to the front end. It stands for an
//! open only if size, mtime and ctime are what they were, and ctime can be trusted to have moved with any later write:
//!   * it was older than 20 ms then (before Linux 6.13 it moves once a tick, and a tick can hold two writes), and
//!   * nobody had the file open for writing then. A writer's mapping changes content without moving ctime, and lives
//!     longer than any call that we see. Whether writers are left is what the kernel knows: it grants a read lease only if there are none.
//!
//! Once an open for writing was seen, the file has no entry until a later reader finds it without writers.
const std = @import("std");
const linux = std.os.linux;
const abi = @import("abi.zig");
const sys = @import("sys.zig");
const assert = std.debug.assert;

const set_count = 16 * 1024;
const ways = 4;
/// Files that are remembered at the same time; of more, the longest unused are forgotten and digested again.
pub const capacity = set_count * ways;

const settled_ns = 20 * std.time.ns_per_ms;

const State = enum(u32) {
    empty = 0,
    /// The record `sequence` holds the content.
    usable = 1,
    /// Opened for writing, and not yet found without writers.
    written = 2,
};

const Entry = struct {
    device: u64,
    inode: u64,
    size: u64,
    mtime_ns: i64,
    ctime_ns: i64,
    sequence: u64,
    state: State,
    used: u32,
};

pub const Known = struct {
    entries: *[capacity]Entry,
    /// Counts look-ups, to find the longest unused.
    clock: u32 = 0,
    /// A `written` entry had to go: from then on every unknown file may have writers.
    writers_forgotten: bool = false,

    pub fn init() sys.Error!Known {
        // Anonymous memory is zero, which is `empty`; pages that are never touched cost nothing.
        return .{ .entries = @ptrCast(@alignCast(try sys.mapPrivate(@sizeOf([capacity]Entry)))) };
    }

    pub fn deinit(known: *Known) void {
        sys.unmap(@ptrCast(@alignCast(known.entries)), @sizeOf([capacity]Entry));
    }

    /// Sequence number of the record whose descriptor has this very content.
    pub fn find(known: *Known, file: *const abi.FileIdentity) ?u64 {
        const entry = known.lookup(file.device, file.inode) orelse return null;
        if (entry.state != .usable) return null;
        if (entry.size != file.size or entry.mtime_ns != file.mtime_ns or entry.ctime_ns != file.ctime_ns) return null;
        return entry.sequence;
    }

    pub const HandOver = struct {
        file: *const abi.FileIdentity,
        /// Ours, open for reading, not yet given away.
        descriptor: i32,
        now_ns: i64,
    };

    /// Whether the content of a descriptor that goes to the front end may stand for later opens. To be asked
    /// before it goes, since the front end closes it.
    pub fn mayStand(known: *Known, over: HandOver) bool {
        if (hasForeignContent(over.file.file_system)) return false;
        if (over.file.ctime_ns > over.now_ns - settled_ns) return false;
        const entry = known.lookup(over.file.device, over.file.inode);
        const suspect = if (entry) |e| e.state == .written else known.writers_forgotten;
        return !suspect or hasNoWriters(over.descriptor);
    }

    /// After the record was published: its content stands for later opens of the same file.
    pub fn remember(known: *Known, file: *const abi.FileIdentity, sequence: u64) void {
        const entry = known.lookup(file.device, file.inode) orelse known.place(file.device, file.inode);
        entry.size = file.size;
        entry.mtime_ns = file.mtime_ns;
        entry.ctime_ns = file.ctime_ns;
        entry.sequence = sequence;
        entry.state = .usable;
    }

    /// Somebody opened, mapped or cut the file for writing.
    pub fn written(known: *Known, device: u64, inode: u64) void {
        const entry = known.lookup(device, inode) orelse known.place(device, inode);
        entry.state = .written;
    }

    fn lookup(known: *Known, device: u64, inode: u64) ?*Entry {
        for (known.setOf(device, inode)) |*entry| {
            if (entry.state == .empty or entry.device != device or entry.inode != inode) continue;
            known.clock +%= 1;
            entry.used = known.clock;
            return entry;
        }
        return null;
    }

    /// A free entry, or the longest unused one; of a file with writers only if there is no other.
    fn place(known: *Known, device: u64, inode: u64) *Entry {
        var best: ?*Entry = null;
        for (known.setOf(device, inode)) |*entry| {
            if (best == null or known.isBetterToLose(entry, best.?)) best = entry;
        }
        const entry = best.?;
        if (entry.state == .written) known.writers_forgotten = true;
        known.clock +%= 1;
        entry.* = .{ .device = device, .inode = inode, .size = 0, .mtime_ns = 0, .ctime_ns = 0, .sequence = 0, .state = .empty, .used = known.clock };
        return entry;
    }

    fn isBetterToLose(known: *const Known, a: *const Entry, b: *const Entry) bool {
        if (a.state != b.state) return @backingInt(a.state) < @backingInt(b.state);
        return known.clock -% a.used > known.clock -% b.used;
    }

    fn setOf(known: *Known, device: u64, inode: u64) []Entry {
        const hash = std.hash.int(inode) ^ std.hash.int(device *% 0x9e37_79b9_7f4a_7c15);
        const first: usize = @intCast((hash % set_count) * ways);
        return known.entries[first..][0..ways];
    }
};

/// Whether nobody, in the build or outside, has the file open or mapped for writing: only then is a read lease
/// granted (fcntl(2)). It is given back at once; who opens the file for writing in between waits that long.
/// Refused as well where the file is not ours and we have no CAP_LEASE: then we do not know.
fn hasNoWriters(descriptor: i32) bool {
    const set_lease = 1024;
    const read_lease = 0;
    const unlock = 2;
    _ = sys.fcntl(descriptor, set_lease, read_lease) catch return false;
    _ = sys.fcntl(descriptor, set_lease, unlock) catch {};
    return true;
}

/// File systems whose content a server can change behind the kernel's back.
pub fn hasForeignContent(file_system: u32) bool {
    return switch (file_system) {
        0, // it has not said what it is
        0x6969, // nfs
        0x6573_5546, // fuse
        0xff53_4d42, // cifs
        0xfe53_4d42, // smb2
        0x0102_1997, // 9p
        0x00c3_6400, // ceph
        0x5346_414f, // afs
        0x0bd0_0bd0, // lustre
        0x4750_4653, // gpfs
        => true,
        else => false,
    };
}

// ---------------------------------------------------------------------------------------------

const testing = std.testing;

fn example(inode: u64) abi.FileIdentity {
    return .{ .device = 1, .inode = inode, .size = 10, .mtime_ns = 5, .ctime_ns = 6, .file_system = 0xef53 };
}

test "the same file is known, any change of it is not" {
    var known = try Known.init();
    defer known.deinit();
    const file = example(7);
    try testing.expectEqual(null, known.find(&file));
    known.remember(&file, 42);
    try testing.expectEqual(@as(?u64, 42), known.find(&file));

    const changes = .{ .{ "size", 11 }, .{ "mtime_ns", 6 }, .{ "ctime_ns", 7 }, .{ "inode", 8 }, .{ "device", 2 } };
    inline for (changes) |change| {
        var other = file;
        @field(other, change[0]) = change[1];
        try testing.expectEqual(null, known.find(&other));
    }

    known.written(file.device, file.inode);
    try testing.expectEqual(null, known.find(&file));
}

test "what may stand for later opens" {
    var known = try Known.init();
    defer known.deinit();
    const path = "/tmp/cilock-known-test";
    const open_flags: linux.O = .{ .ACCMODE = .RDWR, .CREAT = true, .CLOEXEC = true };
    const writer: i32 = @intCast(try sys.check(linux.openat(linux.AT.FDCWD, path, open_flags, 0o600)));
    defer _ = linux.unlink(path);
    const reader = sys.openReadOnly(path).descriptor;
    defer sys.close(reader);

    const file = example(9);
    const later = file.ctime_ns + settled_ns;
    try testing.expect(known.mayStand(.{ .file = &file, .descriptor = reader, .now_ns = later }));
    try testing.expect(!known.mayStand(.{ .file = &file, .descriptor = reader, .now_ns = later - 1 }));
    var served = file;
    served.file_system = 0x6969;
    try testing.expect(!known.mayStand(.{ .file = &served, .descriptor = reader, .now_ns = later }));

    // Seen written: it depends on whether a writer is left, be it only a mapping.
    known.written(file.device, file.inode);
    try testing.expect(!known.mayStand(.{ .file = &file, .descriptor = reader, .now_ns = later }));
    _ = linux.ftruncate(writer, 4096);
    const mapping = try sys.check(linux.mmap(null, 4096, .{ .READ = true, .WRITE = true }, .{ .TYPE = .SHARED }, writer, 0));
    sys.close(writer);
    try testing.expect(!known.mayStand(.{ .file = &file, .descriptor = reader, .now_ns = later }));
    _ = linux.munmap(@ptrFromInt(mapping), 4096);
    try testing.expect(known.mayStand(.{ .file = &file, .descriptor = reader, .now_ns = later }));
    known.remember(&file, 3);
    try testing.expectEqual(@as(?u64, 3), known.find(&file));
}

test "a full set forgets the longest unused, and says when it forgets a writer" {
    var known = try Known.init();
    defer known.deinit();
    var in_one_set: [ways + 1]u64 = undefined;
    var count: usize = 0;
    var inode: u64 = 1;
    const wanted = known.setOf(1, 1).ptr;
    while (count < in_one_set.len) : (inode += 1) {
        if (known.setOf(1, inode).ptr != wanted) continue;
        in_one_set[count] = inode;
        count += 1;
    }
    for (in_one_set[0..ways]) |i| known.remember(&example(i), i);
    known.written(1, in_one_set[0]);
    _ = known.find(&example(in_one_set[1]));
    known.remember(&example(in_one_set[ways]), 99);
    try testing.expect(!known.writers_forgotten);
    try testing.expectEqual(null, known.find(&example(in_one_set[2]))); // longest unused
    try testing.expect(known.find(&example(in_one_set[1])) != null);
    for (in_one_set[1..]) |i| known.written(1, i);
    try testing.expect(known.writers_forgotten);
}
