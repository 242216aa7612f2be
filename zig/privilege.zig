//! Privilege that the file of a program asks for (set-user-ID, set-group-ID, file capabilities), and whether tracing has cost it: it has not where
//! the kernel would not have given it to anybody. execve(2), capabilities(7), user_namespaces(7).
const std = @import("std");
const linux = std.os.linux;
const abi = @import("abi.zig");
const file_systems = @import("file_systems.zig");
const status_file = @import("status.zig");
const sys = @import("sys.zig");
const Tracer = @import("tracer.zig").Tracer;

pub const Privilege = struct {
    uid: ?u32 = null,
    gid: ?u32 = null,
    /// The file's owners: where a process's user namespace does not have both, it gains neither.
    owners: Owners = .{},
    capabilities: Capabilities = .{},

    const Owners = struct { uid: u32 = 0, gid: u32 = 0 };

    const set_uid = 0o4000;
    const set_gid = 0o2000;
    const group_execute = 0o10;
    const st_nosuid = 2;

    /// What an exec of the file would give. A server that does not answer has given nothing: privilege is of files on file systems that the
    /// machine itself has mounted.
    pub fn of(tracer: *Tracer, descriptor: i32, identity: *const abi.FileIdentity) Privilege {
        const is_foreign = file_systems.isServed(identity.file_system);
        var privilege: Privilege = .{ .capabilities = tracer.patience.about(Capabilities, Capabilities.of, descriptor, is_foreign) catch .{} };
        const mode = identity.mode;
        const is_set_gid = mode & set_gid != 0 and mode & group_execute != 0;
        if (mode & set_uid != 0 or is_set_gid) {
            const gid = groupOf(descriptor) orelse return privilege;
            privilege.owners = .{ .uid = identity.uid, .gid = gid };
            if (mode & set_uid != 0) privilege.uid = identity.uid;
            if (is_set_gid) privilege.gid = gid;
        }
        if (!privilege.isAny()) return privilege;
        const is_without = tracer.patience.about(bool, isNosuid, descriptor, is_foreign) catch false;
        return if (is_without) .{} else privilege;
    }

    fn isAny(privilege: *const Privilege) bool {
        return privilege.uid != null or privilege.gid != null or privilege.capabilities.permitted != 0;
    }

    /// `status`: of the process after the exec. `is_filter_alone`: we have not set no_new_privs ourselves.
    pub fn isLost(privilege: *const Privilege, pid: i32, status: *const status_file.Status, is_filter_alone: bool) bool {
        if (!privilege.isMissing(status)) return false;
        // Then the build has.
        if (is_filter_alone and status.no_new_privs) return false;
        var buffer: [2][maps_max]u8 = undefined;
        const uids = readMap(pid, "uid_map", &buffer[0]) orelse return true;
        const gids = readMap(pid, "gid_map", &buffer[1]) orelse return true;
        return privilege.within(uids, gids).isMissing(status);
    }

    fn isMissing(privilege: *const Privilege, status: *const status_file.Status) bool {
        if (privilege.uid) |uid| if (uid != status.euid) return true;
        if (privilege.gid) |gid| if (gid != status.egid) return true;
        return privilege.capabilities.permitted & status.bounding & ~status.capabilities != 0;
    }

    /// What is left of it in a user namespace, given its maps.
    fn within(privilege: *const Privilege, uids: []const u8, gids: []const u8) Privilege {
        var left = privilege.*;
        if (insideOf(uids, privilege.owners.uid) == null or insideOf(gids, privilege.owners.gid) == null) {
            left.uid = null;
            left.gid = null;
        }
        if (privilege.capabilities.root) |root| if (insideOf(uids, root) != 0) {
            left.capabilities = .{};
        };
        return left;
    }

    fn groupOf(descriptor: i32) ?u32 {
        var stat: linux.Statx = undefined;
        return if (sys.statx(descriptor, "", linux.AT.EMPTY_PATH | linux.AT.STATX_DONT_SYNC, &stat) == .SUCCESS) stat.gid else null;
    }

    /// On such a mount nobody gains anything, traced or not.
    fn isNosuid(descriptor: i32) bool {
        const StatFs = extern struct { before: [10]u64, flags: u64, spare: [4]u64 };
        var result: StatFs = undefined;
        _ = sys.check(linux.syscall2(.fstatfs, @as(u32, @bitCast(descriptor)), @intFromPtr(&result))) catch return false;
        return result.flags & st_nosuid != 0;
    }
};

const Capabilities = struct {
    permitted: u64 = 0,
    /// Only for user namespaces whose root this is, as we number users (VFS_CAP_REVISION_3). Of ours the kernel does not tell it.
    root: ?u32 = null,

    fn of(descriptor: i32) Capabilities {
        var path: [64]u8 = undefined;
        var at = sys.append(&path, 0, "/proc/self/fd/");
        at = sys.appendNumber(&path, at, @intCast(descriptor));
        path[at] = 0;
        var words: [6]u32 = @splat(0);
        const length = sys.check(linux.getxattr(path[0..at :0], "security.capability", @ptrCast(&words), @sizeOf(@TypeOf(words)))) catch return .{};
        return parse(words, length);
    }

    /// struct vfs_cap_data: a magic number, then permitted and inheritable sets, 32 bits at a time, and the root.
    fn parse(words: [6]u32, length: usize) Capabilities {
        return .{
            .permitted = if (length < 20) words[1] else words[1] | @as(u64, words[3]) << 32,
            .root = if (length < 24) null else words[5],
        };
    }
};

/// Of a user namespace: 340 lines at most (user_namespaces(7)).
const maps_max = 16 << 10;

fn readMap(pid: i32, name: []const u8, buffer: []u8) ?[]const u8 {
    var path: [64]u8 = undefined;
    return status_file.readFile(sys.procPath(&path, pid, name), buffer) catch null;
}

/// What one of our numbers is in a user namespace. Lines `inside outside count`, as we read them. Null: it has none.
fn insideOf(map: []const u8, number: u32) ?u32 {
    var lines = std.mem.tokenizeScalar(u8, map, '\n');
    while (lines.next()) |line| {
        var words = std.mem.tokenizeScalar(u8, line, ' ');
        var fields: [3]u32 = undefined;
        for (&fields) |*field| field.* = std.fmt.parseInt(u32, words.next() orelse return null, 10) catch return null;
        const inside, const outside, const count = fields;
        if (number >= outside and number - outside < count) return inside + (number - outside);
    }
    return null;
}

// ---------------------------------------------------------------------------------------------

const testing = std.testing;

test "what is left in a user namespace" {
    const whole = "         0          0 4294967295\n";
    const one_user = "         0       1000          1\n";
    const container = "0 1000 1\n1 100000 65536\n";
    const of_root: Privilege = .{ .uid = 0, .owners = .{ .uid = 0, .gid = 0 } };
    const of_group: Privilege = .{ .gid = 5, .owners = .{ .uid = 1000, .gid = 5 } };
    const of_container: Privilege = .{ .uid = 100_001, .owners = .{ .uid = 100_001, .gid = 1000 } };
    const any_root: Privilege = .{ .capabilities = .{ .permitted = 1 } };
    const its_root: Privilege = .{ .capabilities = .{ .permitted = 1, .root = 1000 } };
    const Row = struct { Privilege, []const u8, bool };
    const rows = [_]Row{
        .{ of_root, whole, true },
        .{ of_root, one_user, false },
        .{ of_root, container, false },
        .{ of_group, whole, true },
        .{ of_group, one_user, false }, // its user is there, its group is not
        .{ of_container, container, true },
        .{ of_container, one_user, false },
        .{ any_root, one_user, true },
        .{ its_root, one_user, true },
        .{ its_root, container, true },
        .{ its_root, whole, false },
    };
    for (rows, 0..) |row, i| {
        errdefer std.debug.print("row {d}\n", .{i});
        try testing.expectEqual(row[2], row[0].within(row[1], row[1]).isAny());
    }
}

test "what is missing" {
    const wants: Privilege = .{ .uid = 0, .capabilities = .{ .permitted = 0b110 } };
    const all = std.math.maxInt(u64);
    try testing.expect(!wants.isMissing(&.{ .euid = 0, .capabilities = 0b110, .bounding = all }));
    try testing.expect(wants.isMissing(&.{ .euid = 1, .capabilities = 0b110, .bounding = all }));
    try testing.expect(wants.isMissing(&.{ .euid = 0, .capabilities = 0b100, .bounding = all }));
    try testing.expect(!wants.isMissing(&.{ .euid = 0, .capabilities = 0b100, .bounding = ~@as(u64, 0b10) })); // nobody is given that here
}

test "capabilities of a file" {
    try testing.expectEqual(Capabilities{ .permitted = 1 << 40 | 2 }, Capabilities.parse(.{ 0x2000001, 2, 0, 1 << 8, 0, 0 }, 20));
    try testing.expectEqual(Capabilities{ .permitted = 2, .root = 1000 }, Capabilities.parse(.{ 0x3000001, 2, 0, 0, 0, 1000 }, 24));
}
