//! What the kernel tells a new image about itself (getauxval(3)). At exec's event nobody but the kernel has written it yet.
const std = @import("std");
const status_file = @import("status.zig");
const sys = @import("sys.zig");

const at_execfn = 31;

/// AT_EXECFN: address of the path that the kernel was given; 0: not told.
pub fn pathAddress(pid: i32) sys.Error!u64 {
    var path: [64]u8 = undefined;
    var buffer: [1024]u8 = undefined; // some 25 entries
    return find(at_execfn, try status_file.readFile(sys.procPath(&path, pid, "auxv"), &buffer));
}

/// The words are those of the program.
fn find(entry: u32, bytes: []const u8) u64 {
    if (bytes.len < 16) return 0;
    // The first entry has a type and a value: as one word of 64 bits, a pair of 32 is larger than any type.
    const first = std.mem.readInt(u64, bytes[0..8], .little);
    return if (first > std.math.maxInt(u32)) findIn(u32, entry, bytes) else findIn(u64, entry, bytes);
}

fn findIn(comptime Word: type, entry: u32, bytes: []const u8) u64 {
    const size = @sizeOf(Word);
    var at: usize = 0;
    while (at + 2 * size <= bytes.len) : (at += 2 * size) {
        if (std.mem.readInt(Word, bytes[at..][0..size], .little) != entry) continue;
        return std.mem.readInt(Word, bytes[at + size ..][0..size], .little);
    }
    return 0;
}

test "vectors of both word sizes" {
    const Row = struct { words: []const u32, expected: u64 };
    const rows = [_]Row{
        .{ .words = &.{ 33, 0, 0x7000, 0, 31, 0, 0x1000, 0x7f00, 0, 0, 0, 0 }, .expected = 0x7f00_0000_1000 },
        .{ .words = &.{ 32, 0xf7f0_0000, 31, 9, 0, 0 }, .expected = 9 },
        .{ .words = &.{ 33, 0, 0x7000, 0, 7, 0, 0, 0, 0, 0, 0, 0 }, .expected = 0 },
        .{ .words = &.{}, .expected = 0 },
    };
    for (rows) |row| try std.testing.expectEqual(row.expected, find(at_execfn, std.mem.sliceAsBytes(row.words)));
}

test "our own" {
    const address = try pathAddress(sys.ownPid());
    try std.testing.expect(std.mem.span(@as([*:0]const u8, @ptrFromInt(address))).len > 0);
}
