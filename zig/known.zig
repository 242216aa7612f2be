//! Content that was handed over before: a header that a thousand compilations read is digested once.
//!
//! An entry is a file (device, inode) as it was when a descriptor of it went to the front end. It stands for an
//! open only if size, mtime and ctime are what they were, and ctime can be trusted to have moved with any later write:
//!   * it was older than 20 ms then (before Linux 6.13 it moves once a tick, and a tick can hold two writes), and
//!   * nobody had the file open for writing then. A writer's mapping changes content without moving ctime, and lives
//!     longer than any call that we see. Whether writers are left is what the kernel knows: it grants a read lease only if there are none.
//!     Of a file that is not ours it does not say; then what we have seen counts.
//!     On overlayfs it does not count maps; there we ask who has one.
//!
//! Once an open for writing was seen, the file has no entry until a later reader finds it without writers.
const std = @import("std");
const linux = std.os.linux;
const abi = @import("abi.zig");
const file_systems = @import("file_systems.zig");
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
    /// Mapped so that stores change it, on overlayfs (`mapped`).
    is_mapped: bool,
    used: u32,
};

pub const Known = struct {
    entries: *[capacity]Entry,
    /// Counts look-ups, to find the longest unused.
    clock: u32 = 0,
    /// A `written` entry had to go: from then on every unknown file may have writers.
    writers_forgotten: bool = false,
    /// The same of one that is mapped.
    maps_forgotten: bool = false,
    /// Where our root directory is.
    root_device: u64,

    pub fn init() sys.Error!Known {
        var root: linux.Statx = undefined;
        const is_known = sys.statx(linux.AT.FDCWD, "/", linux.AT.STATX_DONT_SYNC, &root) == .SUCCESS;
        return .{
            // Anonymous memory is zero, which is `empty`; pages that are never touched cost nothing.
            .entries = @ptrCast(@alignCast(try sys.mapPrivate(@sizeOf([capacity]Entry)))),
            .root_device = if (is_known) sys.deviceNumber(root.dev_major, root.dev_minor) else 0,
        };
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

    pub const Judgement = struct {
        /// The content may stand for later opens.
        may_stand: bool,
        /// Somebody has the file open or mapped for writing, as far as can be known: what is read now need not be what the opener finds.
        has_writers: bool,
        /// The kernel has said so.
        is_certain: bool,
    };

    /// Of a descriptor that goes to the front end. To be asked before it goes, since the front end closes it.
    pub fn judge(known: *Known, over: HandOver) Judgement {
        const entry = known.lookup(over.file.device, over.file.inode);
        const suspect = if (entry) |e| e.state == .written else known.writers_forgotten;
        // A server is not asked: it may be one of our stopped tracees.
        const writers = if (file_systems.isServed(over.file.file_system)) Writers.unknown else writersOf(over.descriptor);
        const has_writers = switch (writers) {
            .nobody => false,
            .somebody => true,
            .unknown => suspect,
        };
        const is_settled = over.file.ctime_ns <= over.now_ns - settled_ns;
        return .{
            .may_stand = is_settled and !has_writers and !known.hasForeignContent(over.file),
            .has_writers = has_writers,
            .is_certain = writers != .unknown,
        };
    }

    /// Content that can change while the kernel knows of no writer: a server changes it, or somebody who has the file of a
    /// lower or upper layer. The layers of our own root directory are below it, where nobody of the build comes.
    fn hasForeignContent(known: *const Known, file: *const abi.FileIdentity) bool {
        if (file.file_system == file_systems.overlay) return file.device != known.root_device;
        return file_systems.isServed(file.file_system);
    }

    /// After the record was published: its content stands for later opens of the same file.
    pub fn remember(known: *Known, file: *const abi.FileIdentity, sequence: u64) void {
        const entry = known.lookup(file.device, file.inode) orelse known.place(file.device, file.inode);
        entry.size = file.size;
        entry.mtime_ns = file.mtime_ns;
        entry.ctime_ns = file.ctime_ns;
        entry.sequence = sequence;
        entry.state = .usable;
        entry.is_mapped = false;
    }

    /// Somebody opened, mapped or cut the file for writing.
    pub fn written(known: *Known, device: u64, inode: u64) void {
        const entry = known.lookup(device, inode) orelse known.place(device, inode);
        entry.state = .written;
    }

    /// Somebody has made a shared map of it that can write. On overlayfs the map holds the layer's file: once the descriptor is closed the kernel
    /// counts no writer of the overlay's. Whether there still is one only the maps of the living say (shared_maps.zig).
    pub fn mapped(known: *Known, file: *const abi.FileIdentity) void {
        if (file.file_system != file_systems.overlay) return;
        known.written(file.device, file.inode);
        known.lookup(file.device, file.inode).?.is_mapped = true;
    }

    /// Ask before a lease that was granted is believed.
    pub fn mayBeMapped(known: *Known, file: *const abi.FileIdentity) bool {
        if (file.file_system != file_systems.overlay) return false;
        return if (known.lookup(file.device, file.inode)) |entry| entry.is_mapped else known.maps_forgotten;
    }

    /// Nobody has a map of it, nor a descriptor to make one with.
    pub fn notMapped(known: *Known, file: *const abi.FileIdentity) void {
        if (known.lookup(file.device, file.inode)) |entry| entry.is_mapped = false;
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
        if (entry.is_mapped) known.maps_forgotten = true;
        known.clock +%= 1;
        entry.* = .{ .device = device, .inode = inode, .size = 0, .mtime_ns = 0, .ctime_ns = 0, .sequence = 0, .state = .empty, .is_mapped = false, .used = known.clock };
        return entry;
    }

    fn isBetterToLose(known: *const Known, a: *const Entry, b: *const Entry) bool {
        if (a.state != b.state) return @backingInt(a.state) < @backingInt(b.state);
        if (a.is_mapped != b.is_mapped) return b.is_mapped;
        return known.clock -% a.used > known.clock -% b.used;
    }

    fn setOf(known: *Known, device: u64, inode: u64) []Entry {
        const hash = std.hash.int(inode) ^ std.hash.int(device *% 0x9e37_79b9_7f4a_7c15);
        const first: usize = @intCast((hash % set_count) * ways);
        return known.entries[first..][0..ways];
    }
};

/// Who has a file open or mapped for writing, in the build or outside.
pub const Writers = enum {
    nobody,
    somebody,
    /// The file is not ours and we have no CAP_LEASE, or its file system has no leases.
    unknown,
};

/// `descriptor` is open for reading only. A read lease is granted only if nobody writes (fcntl(2)). It is given back at once;
/// who opens the file for writing in between waits that long, and we get a signal that nobody minds instead of SIGIO, which kills.
pub fn writersOf(descriptor: i32) Writers {
    const set_signal = 10;
    const set_lease = 1024;
    const read_lease = 0;
    const unlock = 2;
    _ = sys.fcntl(descriptor, set_signal, @backingInt(linux.SIG.URG)) catch return .unknown;
    _ = sys.fcntl(descriptor, set_lease, read_lease) catch |e| return if (e == error.WouldBlock) .somebody else .unknown;
    _ = sys.fcntl(descriptor, set_lease, unlock) catch {};
    return .nobody;
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
    const over: Known.HandOver = .{ .file = &file, .descriptor = reader, .now_ns = later };

    // It depends on whether a writer is left, be it only a mapping, and not on whether we have seen it come.
    const with_writer: Known.Judgement = .{ .may_stand = false, .has_writers = true, .is_certain = true };
    const without: Known.Judgement = .{ .may_stand = true, .has_writers = false, .is_certain = true };
    try testing.expectEqual(with_writer, known.judge(over));
    known.written(file.device, file.inode);
    try testing.expectEqual(with_writer, known.judge(over));
    _ = linux.ftruncate(writer, 4096);
    const mapping = try sys.check(linux.mmap(null, 4096, .{ .READ = true, .WRITE = true }, .{ .TYPE = .SHARED }, writer, 0));
    sys.close(writer);
    try testing.expectEqual(with_writer, known.judge(over));
    _ = linux.munmap(@ptrFromInt(mapping), 4096);
    try testing.expectEqual(without, known.judge(over));

    try testing.expect(!known.judge(.{ .file = &file, .descriptor = reader, .now_ns = later - 1 }).may_stand);
    var foreign = file;
    for ([_]u32{ 0x6969, file_systems.overlay }) |file_system| {
        foreign.file_system = file_system;
        try testing.expect(!known.judge(.{ .file = &foreign, .descriptor = reader, .now_ns = later }).may_stand);
    }
    foreign.device = known.root_device;
    try testing.expect(known.judge(.{ .file = &foreign, .descriptor = reader, .now_ns = later }).may_stand);

    // Where the kernel does not say, what was seen does: a descriptor by O_PATH has no leases.
    const silent: i32 = @intCast(try sys.check(linux.openat(linux.AT.FDCWD, path, .{ .PATH = true, .CLOEXEC = true }, 0)));
    defer sys.close(silent);
    const perhaps: Known.Judgement = .{ .may_stand = false, .has_writers = true, .is_certain = false };
    try testing.expectEqual(perhaps, known.judge(.{ .file = &file, .descriptor = silent, .now_ns = later }));
    known.remember(&file, 2);
    try testing.expect(known.judge(.{ .file = &file, .descriptor = silent, .now_ns = later }).may_stand);
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
