//! Whether a call that takes a name away was done with the names that we have read.
//!
//! Between our reading of a path and the kernel's another thread can change it in memory. What was opened is asked of the descriptor;
//! a rename or an unlink leaves none. So the names are looked at before the call and after it: a file that is still there under
//! its old name, though the call has succeeded, was not the one that was moved or deleted.
//!
//!     stop before ── before: what is at both names ──▶ [ the kernel ] ──▶ after: what is there now
//!
//! Somebody else may do at the same time what this call claims to have done, in order to hide what it did: of two that take the same
//! name away at once none is believed. What others honestly do meanwhile is not taken for a change by those who could not make one: who has one
//! thread, whose memory nobody shares, gives the kernel what we have read.
const std = @import("std");
const linux = std.os.linux;
const abi = @import("abi.zig");
const calls = @import("calls.zig");
const decode = @import("decode.zig");
const file_systems = @import("file_systems.zig");
const mappings = @import("mappings.zig");
const sys = @import("sys.zig");
const syscalls = @import("syscalls.zig");
const tracee = @import("tracee.zig");
const Rivals = @import("name_changes.zig").NameChanges.Rivals;
const Tracer = @import("tracer.zig").Tracer;
const Thread = tracee.Thread;

/// What is at a name. Times tell a file from a later one that has its number.
pub const Found = struct {
    device: u64 = 0,
    inode: u64 = 0,
    ctime_ns: i64 = 0,
    birth_ns: i64 = 0,
    /// It could not be looked up, or the path could not be read.
    is_unknown: bool = false,

    fn isThere(found: *const Found) bool {
        return found.inode != 0;
    }

    fn isFile(found: *const Found, other: *const Found) bool {
        return found.inode == other.inode and found.device == other.device and found.birth_ns == other.birth_ns and found.isThere();
    }

    /// The same file, of which no name was given or taken since.
    fn isUntouched(found: *const Found, other: *const Found) bool {
        return found.isFile(other) and found.ctime_ns == other.ctime_ns;
    }
};

/// At both names of a call; of one that has a single name the second is nothing.
pub const Both = struct { old: Found = .{}, new: Found = .{} };

pub const Kind = enum { move, exchange, delete };

pub const Verdict = enum {
    /// What was there under the old name is gone from there.
    as_read,
    /// It is still there.
    otherwise,
    /// Something else than either.
    unknown,
};

/// Null: not a call of this kind.
fn kindOf(thread: *const Thread, row: *const syscalls.Row) ?Kind {
    const rename_exchange = 2;
    if (std.mem.startsWith(u8, row.name, "rename")) {
        const flags = if (std.mem.eql(u8, row.name, "renameat2")) thread.call.arguments[4] else 0;
        return if (flags & rename_exchange != 0) .exchange else .move;
    }
    return if (std.mem.startsWith(u8, row.name, "unlink") or std.mem.eql(u8, row.name, "rmdir")) .delete else null;
}

/// At the stop before a call that the table gives `names`, whose paths have been read.
pub fn before(tracer: *Tracer, thread: *Thread, row: *const syscalls.Row) void {
    thread.call.names_before = null;
    const kind = kindOf(thread, row) orelse return;
    // What could not be read is a gap already, and there is nothing to compare.
    for (row.names) |argument| if (decode.pathOf(tracer.tracees.bufferOf(&thread.call), argument) == null) return;
    thread.call.names_before = look(tracer, thread, row, kind);
}

fn look(tracer: *Tracer, thread: *const Thread, row: *const syscalls.Row, kind: Kind) Both {
    return .{ .old = find(tracer, thread, row.names[0]), .new = if (kind == .delete) .{} else find(tracer, thread, row.names[1]) };
}

fn find(tracer: *Tracer, thread: *const Thread, argument: u8) Found {
    const path = decode.pathOf(tracer.tracees.bufferOf(&thread.call), argument) orelse return .{ .is_unknown = true };
    const context = calls.context(tracer, thread);
    const descriptor = decode.openResolved(&context, path) orelse return .{ .is_unknown = !isAbsent(tracer, &context, path) };
    defer sys.close(descriptor);
    const file = tracer.descriptors.identify(descriptor) catch return .{ .is_unknown = true };
    // On overlayfs a file is born again when it is copied up, as it is when it gets another name.
    const birth = if (file.file_system == file_systems.overlay) 0 else file.birth_ns;
    return .{ .device = file.device, .inode = file.inode, .ctime_ns = file.ctime_ns, .birth_ns = birth };
}

/// Not only not to be opened by us.
fn isAbsent(tracer: *Tracer, context: *const decode.Context, path: []const u8) bool {
    const slash = std.mem.findScalarLast(u8, path, '/') orelse return false;
    var buffer: [256]u8 = undefined; // NAME_MAX
    const name = path[slash + 1 ..];
    if (name.len == 0 or name.len >= buffer.len) return false;
    buffer[sys.append(&buffer, 0, name)] = 0;
    const directory = decode.openResolved(context, if (slash == 0) "/" else path[0..slash]) orelse return false;
    defer sys.close(directory);
    const file = tracer.descriptors.identify(directory) catch return false;
    if (file_systems.isServed(file.file_system)) return false;
    var stat: linux.Statx = undefined;
    return sys.statx(directory, buffer[0..name.len :0], linux.AT.SYMLINK_NOFOLLOW, &stat) == .NOENT;
}

/// After it has succeeded. `.as_read` unless there is a reason to think otherwise.
pub fn after(tracer: *Tracer, thread: *const Thread) Verdict {
    const row = &syscalls.rows[thread.call.row];
    const earlier = thread.call.names_before orelse return .as_read;
    const kind = kindOf(thread, row) orelse return .as_read;
    const now = look(tracer, thread, row, kind);
    const verdict = judge(kind, &earlier, &now, tracer.names.rivalsOf(thread.call.name_change));
    return if (verdict == .as_read or canBeChanged(tracer, thread, row)) verdict else .as_read;
}

fn judge(kind: Kind, earlier: *const Both, now: *const Both, rivals: Rivals) Verdict {
    if (rivals.old) return .unknown;
    for ([_]*const Both{ earlier, now }) |both| if (both.old.is_unknown or both.new.is_unknown) return .unknown;
    if (!earlier.old.isThere()) return if (now.old.isThere()) .unknown else .otherwise;
    // Two names of one file: nothing is done, and nothing can be seen.
    if (kind != .delete and earlier.old.isFile(&earlier.new)) return .unknown;
    if (now.old.isUntouched(&earlier.old)) return .otherwise;
    if (now.old.isFile(&earlier.old)) return .unknown;
    const is_as_said = switch (kind) {
        .delete => true,
        .move => now.new.isFile(&earlier.old),
        .exchange => now.new.isFile(&earlier.old) and now.old.isFile(&earlier.new),
    };
    if (is_as_said) return .as_read;
    return if (rivals.new) .unknown else .otherwise;
}

/// Whether somebody else can write where the paths of a call are.
fn canBeChanged(tracer: *Tracer, thread: *const Thread, row: *const syscalls.Row) bool {
    const own = tracer.tracees.processOf(thread);
    if (own.threads > 1) return true;
    for (row.names) |argument| if (mappings.isShared(thread.tid, thread.call.arguments[argument])) return true;
    for (tracer.tracees.all()) |*other| {
        const is_alive = other.state == .running or other.state == .expected;
        if (is_alive and other.process != thread.process and sys.sharesMemory(thread.tid, other.tid)) return true;
    }
    return false;
}

// ---------------------------------------------------------------------------------------------

const testing = std.testing;

test "what is found under the names" {
    const a: Found = .{ .device = 1, .inode = 10, .ctime_ns = 5, .birth_ns = 1 };
    const moved: Found = .{ .device = 1, .inode = 10, .ctime_ns = 6, .birth_ns = 1 };
    const later: Found = .{ .device = 1, .inode = 10, .ctime_ns = 7, .birth_ns = 7 };
    const b: Found = .{ .device = 1, .inode = 11, .ctime_ns = 5, .birth_ns = 2 };
    const none: Found = .{};
    const unseen: Found = .{ .is_unknown = true };
    const old: Rivals = .{ .old = true };
    const new: Rivals = .{ .new = true };
    const Row = struct { kind: Kind, before: [2]Found, after: [2]Found, rivals: Rivals = .{}, verdict: Verdict };
    const rows = [_]Row{
        .{ .kind = .move, .before = .{ a, none }, .after = .{ none, moved }, .verdict = .as_read },
        .{ .kind = .move, .before = .{ a, b }, .after = .{ none, moved }, .verdict = .as_read },
        .{ .kind = .move, .before = .{ a, b }, .after = .{ later, moved }, .verdict = .as_read }, // another file has the old name, and the number
        .{ .kind = .move, .before = .{ a, b }, .after = .{ a, b }, .verdict = .otherwise },
        .{ .kind = .move, .before = .{ a, b }, .after = .{ none, b }, .verdict = .otherwise }, // it has another new name
        .{ .kind = .move, .before = .{ a, none }, .after = .{ none, none }, .verdict = .otherwise },
        .{ .kind = .move, .before = .{ a, b }, .after = .{ none, later }, .rivals = new, .verdict = .unknown }, // or another one has been moved there since
        .{ .kind = .move, .before = .{ none, b }, .after = .{ none, b }, .verdict = .otherwise },
        .{ .kind = .move, .before = .{ a, a }, .after = .{ a, a }, .verdict = .unknown },
        .{ .kind = .move, .before = .{ a, b }, .after = .{ none, moved }, .rivals = old, .verdict = .unknown },
        .{ .kind = .move, .before = .{ a, b }, .after = .{ moved, b }, .verdict = .unknown },
        .{ .kind = .exchange, .before = .{ a, b }, .after = .{ b, moved }, .verdict = .as_read },
        .{ .kind = .exchange, .before = .{ a, b }, .after = .{ a, b }, .verdict = .otherwise },
        .{ .kind = .exchange, .before = .{ a, b }, .after = .{ later, moved }, .verdict = .otherwise },
        .{ .kind = .exchange, .before = .{ a, b }, .after = .{ none, moved }, .rivals = new, .verdict = .unknown },
        .{ .kind = .delete, .before = .{ unseen, none }, .after = .{ none, none }, .verdict = .unknown },
        .{ .kind = .move, .before = .{ a, unseen }, .after = .{ none, moved }, .verdict = .unknown },
        .{ .kind = .move, .before = .{ a, none }, .after = .{ none, unseen }, .verdict = .unknown },
        .{ .kind = .delete, .before = .{ a, none }, .after = .{ none, none }, .verdict = .as_read },
        .{ .kind = .delete, .before = .{ a, none }, .after = .{ later, none }, .verdict = .as_read },
        .{ .kind = .delete, .before = .{ a, none }, .after = .{ a, none }, .verdict = .otherwise },
        .{ .kind = .delete, .before = .{ none, none }, .after = .{ none, none }, .verdict = .otherwise },
        .{ .kind = .delete, .before = .{ none, none }, .after = .{ b, none }, .verdict = .unknown },
        .{ .kind = .delete, .before = .{ a, none }, .after = .{ none, none }, .rivals = old, .verdict = .unknown },
        .{ .kind = .delete, .before = .{ a, none }, .after = .{ none, none }, .rivals = new, .verdict = .as_read },
    };
    for (rows, 0..) |row, i| {
        errdefer std.debug.print("row {d}\n", .{i});
        const earlier: Both = .{ .old = row.before[0], .new = row.before[1] };
        const now: Both = .{ .old = row.after[0], .new = row.after[1] };
        try testing.expectEqual(row.verdict, judge(row.kind, &earlier, &now, row.rivals));
    }
}
