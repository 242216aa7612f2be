//! What a ctime proves that does not move. File systems take it from a clock that the timer's tick moves on, every 1 to 10 ms: of two writes
//! in one tick the second shows in nothing, unless the size changes. Since Linux 6.13 some tell a change apart from one that stat(2) has
//! shown (multigrain timestamps); which do no call says.
const std = @import("std");
const linux = std.os.linux;
const abi = @import("abi.zig");
const sys = @import("sys.zig");

/// Whether any change from now on will move the file's ctime, as far as it is known to us.
pub fn willMove(file: *const abi.FileIdentity, has_multigrain: bool) bool {
    if (has_multigrain and isMultigrain(file)) return true;
    // The very clock that changes are stamped with.
    return sys.clockNs(.REALTIME_COARSE) >= @as(u64, @intCast(@max(file.ctime_ns, 0))) + granuleOf(file);
}

/// Some file systems keep no more of it than so many nanoseconds; where it only looks so, no harm is done.
pub fn granuleOf(file: *const abi.FileIdentity) u64 {
    if (@rem(file.ctime_ns, std.time.ns_per_s) == 0) return 2 * std.time.ns_per_s; // vfat, ext4 with small inodes
    if (@rem(file.ctime_ns, 10 * std.time.ns_per_ms) == 0) return 10 * std.time.ns_per_ms; // exfat
    return 1;
}

fn isMultigrain(file: *const abi.FileIdentity) bool {
    return switch (file.file_system) {
        0xef53 => file.birth_ns != 0, // ext4; what has no birth may be ext2, which is another driver's
        0x5846_5342, // xfs
        0x9123_683e, // btrfs
        0x0102_1994, // tmpfs
        => true,
        else => false,
    };
}

pub fn hasMultigrain() bool {
    var name: linux.utsname = undefined;
    return (sys.check(linux.uname(&name)) catch return false) == 0 and isSince613(std.mem.sliceTo(&name.release, 0));
}

fn isSince613(release: []const u8) bool {
    var parts = std.mem.splitAny(u8, release, ".-+");
    const major = std.fmt.parseInt(u32, parts.next() orelse return false, 10) catch return false;
    const minor = std.fmt.parseInt(u32, parts.next() orelse return false, 10) catch return false;
    return major > 6 or (major == 6 and minor >= 13);
}

const testing = std.testing;

test "releases" {
    for ([_][]const u8{ "6.13.0", "6.18.44-fc", "7.0", "10.1.2", "6.13-rc1" }) |release| try testing.expect(isSince613(release));
    for ([_][]const u8{ "6.12.99", "5.4.0-42-generic", "5.14.0-503.el9", "6", "", "x.y" }) |release| try testing.expect(!isSince613(release));
}

test "a ctime of this tick may stay, one of an earlier tick moves" {
    const s = std.time.ns_per_s;
    const now: i64 = @intCast(sys.clockNs(.REALTIME));
    const whole = @divTrunc(now, s) * s;
    const Row = struct { file_system: u32 = 0x8584_58f6, ctime: i64, birth: i64 = 1, has: bool = true, moves: bool };
    for ([_]Row{
        .{ .ctime = now + s, .moves = false },
        .{ .ctime = now - s | 1, .moves = true },
        // Some multiple of a second, one after which a second has not passed for sure, and one of a hundredth.
        .{ .ctime = whole - s, .moves = false },
        .{ .ctime = whole - 2 * s, .moves = true },
        .{ .ctime = whole - s + 10 * std.time.ns_per_ms, .moves = true },
        .{ .file_system = 0xef53, .ctime = now + s, .moves = true },
        .{ .file_system = 0xef53, .ctime = now + s, .has = false, .moves = false },
        .{ .file_system = 0xef53, .ctime = now + s, .birth = 0, .moves = false },
    }) |row| {
        const file: abi.FileIdentity = .{ .file_system = row.file_system, .ctime_ns = row.ctime, .birth_ns = row.birth };
        try testing.expectEqual(row.moves, willMove(&file, row.has));
    }
}
