//! Who of the build has a map through which a file can be written to, read from /proc/TID/maps of all. The kernel counts those as writers, and
//! refuses a lease (writersOf in known.zig), but on overlayfs: there a map holds the layer's file, not the overlay's.
const std = @import("std");
const linux = std.os.linux;
const mappings = @import("mappings.zig");
const sys = @import("sys.zig");
const tracee = @import("tracee.zig");

pub const Sought = struct {
    inode: u64,
    /// As the tracer sees it.
    path: []const u8,

    /// Kernels before 6.8 show the layer's numbers, of which the inode's is the overlay's too unless the file was copied up.
    fn is(sought: *const Sought, mapping: *const mappings.Mapping) bool {
        const file = mapping.file orelse return false;
        return file.inode == sought.inode or std.mem.eql(u8, mappings.withoutSuffix(mapping.name), mappings.withoutSuffix(sought.path));
    }
};

/// Bytes of a list that are read: some 20,000 maps.
const list_max = 2 << 20;

/// Where that cannot be found out: true. To be asked after a lease was granted: by then nobody is left who is about to make a map.
pub fn has(tracees: *tracee.Tracees, sought: Sought) bool {
    for (tracees.all()) |*thread| {
        switch (thread.state) {
            .free, .dead => continue,
            .parked => {}, // whose it is nobody has said
            .expected, .running => {
                const process = tracees.processOf(thread);
                // All threads have the same maps, but a leader that has ended has none.
                if (process.pid != thread.tid and hasMaps(process.pid)) continue;
            },
        }
        if (isIn(thread.tid, &sought)) return true;
    }
    return false;
}

fn hasMaps(tid: i32) bool {
    const maps = (openMaps(tid) catch return true) orelse return false;
    defer sys.close(maps);
    var byte: [1]u8 = undefined;
    return (sys.read(maps, &byte) catch 0) > 0;
}

/// Null: it is gone.
fn openMaps(tid: i32) error{Denied}!?i32 {
    var path: [64]u8 = undefined;
    return switch (sys.openReadOnly(sys.procPath(&path, tid, "maps"))) {
        .descriptor => |number| number,
        .failed => |e| if (e == .NOENT or e == .SRCH) null else error.Denied,
    };
}

fn isIn(tid: i32, sought: *const Sought) bool {
    const maps = (openMaps(tid) catch return true) orelse return false;
    defer sys.close(maps);
    var all: mappings.Mappings = .of(maps);
    all.lines.max = list_max;
    while (all.next() catch return true) |mapping| {
        if (mapping.is_shared and sought.is(&mapping) and (mapping.is_writable or mappings.canBecomeWritable(tid, &mapping, list_max))) return true;
    }
    return false;
}

// ---------------------------------------------------------------------------------------------

const testing = std.testing;

test "a map counts while it can be written to, and only a shared one" {
    const path = "/tmp/cilock-shared-maps-test";
    const flags: linux.O = .{ .ACCMODE = .RDWR, .CREAT = true, .TRUNC = true, .CLOEXEC = true };
    const writer: i32 = @intCast(try sys.check(linux.openat(linux.AT.FDCWD, path, flags, 0o600)));
    defer _ = linux.unlink(path);
    defer sys.close(writer);
    _ = linux.ftruncate(writer, 4096);
    const reader = sys.openReadOnly(path).descriptor;
    defer sys.close(reader);
    var stat: linux.Statx = undefined;
    try testing.expectEqual(.SUCCESS, sys.statx(reader, "", linux.AT.EMPTY_PATH, &stat));
    const by_inode: Sought = .{ .inode = stat.ino, .path = "" };
    const by_path: Sought = .{ .inode = 0, .path = path };

    const Row = struct { descriptor: i32, writable: bool, shared: bool, counts: bool };
    for ([_]Row{
        .{ .descriptor = writer, .writable = true, .shared = true, .counts = true },
        .{ .descriptor = writer, .writable = false, .shared = true, .counts = true },
        .{ .descriptor = reader, .writable = false, .shared = true, .counts = false },
        .{ .descriptor = writer, .writable = true, .shared = false, .counts = false },
    }) |row| {
        const map: linux.MAP = .{ .TYPE = if (row.shared) .SHARED else .PRIVATE };
        const address = try sys.check(linux.mmap(null, 4096, .{ .READ = true, .WRITE = row.writable }, map, row.descriptor, 0));
        defer _ = linux.munmap(@ptrFromInt(address), 4096);
        for ([_]*const Sought{ &by_inode, &by_path }) |sought| try testing.expectEqual(row.counts, isIn(linux.gettid(), sought));
    }
    try testing.expect(!isIn(linux.gettid(), &by_path));
    try testing.expect(!isIn(std.math.maxInt(i32), &by_path));
}
