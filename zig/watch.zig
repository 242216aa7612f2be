//! Which descriptors of which processes are watched: those whose first bytes may say whom a connection is made to. While a
//! process has one, its threads stop at every call; the filter cannot be loosened for them and tightened again.
//!
//!     connect, or a datagram to a name server ──▶ watched ──▶ understood (says the front end), closed, or a limit ──▶ not watched
//!
//! Numbers alone would be wrong soon: each has the inode of its socket, and is compared with it. No system calls here.
const std = @import("std");
const linux = std.os.linux;
const abi = @import("abi.zig");
const sys = @import("sys.zig");
const syscalls = @import("syscalls.zig");
const tracee = @import("tracee.zig");
const Process = tracee.Process;
const assert = std.debug.assert;

pub const Kind = enum(u8) {
    /// The beginning of what is sent.
    stream,
    /// Questions and answers.
    names,
    /// The first datagrams.
    datagrams,
};

pub const Entry = struct {
    descriptor: i32 = -1,
    next: u16 = end,
    kind: Kind = .stream,
    /// The front end has understood it.
    done: bool = false,
    device: u64 = 0,
    inode: u64 = 0,
    /// What may still be recorded of it.
    bytes: u32 = 0,
    calls: u32 = 0,
};

/// Of a list: positions count from 1.
const end = 0;
const entries_max = 4096;
const under_way_max = 64;

/// Of one call. Past the largest hello in use; src/trace/protocols/first-bytes.ts has the same figure.
pub const piece_bytes = 16 << 10;
/// Of a stream: the requests to a proxy go on. The front end says long before this that it has understood anything else.
const stream_bytes = 64 << 10;
const stream_calls = 1024;
const names_calls = 1024;
const datagrams_calls = 64;
/// Calls of a process after its last connect: who says nothing for so long is not waited for.
pub const stops_max = 40_000;

/// What a call does with a watched descriptor.
pub const Role = enum(u8) {
    none,
    /// Sends memory: (descriptor, buffer, length).
    send,
    send_vector,
    send_message,
    send_messages,
    receive,
    receive_vector,
    receive_message,
    receive_messages,
    /// Sends what the caller has not in its memory, or is the end of sending.
    blind,
    /// splice, whose second descriptor it is.
    blind_into,
    /// getsockopt, for SO_ERROR.
    option,
    duplicate,
    duplicate_onto,
    command,
    close,
    close_range,

    pub fn isSending(role: Role) bool {
        return switch (role) {
            .send, .send_vector, .send_message, .send_messages => true,
            else => false,
        };
    }

    pub fn isReceiving(role: Role) bool {
        return switch (role) {
            .receive, .receive_vector, .receive_message, .receive_messages => true,
            else => false,
        };
    }
};

const roles = .{
    .{ "write", .send },                .{ "sendto", .send },             .{ "writev", .send_vector },
    .{ "sendmsg", .send_message },      .{ "sendmmsg", .send_messages },  .{ "read", .receive },
    .{ "recvfrom", .receive },          .{ "readv", .receive_vector },    .{ "recvmsg", .receive_message },
    .{ "recvmmsg", .receive_messages }, .{ "shutdown", .blind },          .{ "sendfile", .blind },
    .{ "sendfile64", .blind },          .{ "vmsplice", .blind },          .{ "splice", .blind_into },
    .{ "getsockopt", .option },         .{ "dup", .duplicate },           .{ "dup2", .duplicate_onto },
    .{ "dup3", .duplicate_onto },       .{ "fcntl", .command },           .{ "fcntl64", .command },
    .{ "close", .close },               .{ "close_range", .close_range }, .{ "recvmmsg_time64", .receive_messages },
};

fn makeRoles(comptime of: abi.Abi) [syscalls.tableSize(of)]Role {
    @setEvalBranchQuota(20_000);
    var table: [syscalls.tableSize(of)]Role = @splat(.none);
    for (roles) |row| {
        if (@hasField(syscalls.Names(of), row[0])) table[@backingInt(@field(syscalls.Names(of), row[0]))] = row[1];
    }
    return table;
}

fn rolesOf(comptime of: abi.Abi) *const [syscalls.tableSize(of)]Role {
    return &struct {
        const table = makeRoles(of);
    }.table;
}

pub fn roleOf(of: abi.Abi, number: u64) Role {
    switch (of) {
        inline .x86_64, .i386, .aarch64 => |known| {
            const table = rolesOf(known);
            return if (number < table.len) table[@intCast(number)] else .none;
        },
        .x32 => return .none,
    }
}

pub const Watch = struct {
    entries: *[entries_max]Entry,
    /// Positions up to here have been used; those that are free again are a list.
    used: u16 = 0,
    free: u16 = end,
    /// How many of the front end's words have been read.
    words_read: u32 = 0,
    /// Sockets in messages that nobody may have received yet, the oldest written over. Inode 0: none.
    under_way: [under_way_max]Entry = @splat(.{}),
    under_way_next: u32 = 0,

    pub fn init() sys.Error!Watch {
        return .{ .entries = @ptrCast(@alignCast(try sys.mapPrivate(@sizeOf([entries_max]Entry)))) };
    }

    pub fn deinit(watch: *Watch) void {
        sys.unmap(@ptrCast(@alignCast(watch.entries)), @sizeOf([entries_max]Entry));
    }

    fn at(watch: *Watch, position: u16) *Entry {
        assert(position != end);
        return &watch.entries[position - 1];
    }

    pub fn find(watch: *Watch, process: *const Process, descriptor: i32) ?*Entry {
        var position = process.watched;
        while (position != end) : (position = watch.at(position).next) {
            const entry = watch.at(position);
            if (entry.descriptor == descriptor) return if (entry.done) null else entry;
        }
        return null;
    }

    /// Under whichever number.
    pub fn findInode(watch: *Watch, process: *const Process, inode: u64) ?*Entry {
        var position = process.watched;
        while (position != end) : (position = watch.at(position).next) {
            const entry = watch.at(position);
            if (entry.inode == inode and !entry.done) return entry;
        }
        return null;
    }

    pub const What = struct { descriptor: i32, kind: Kind, device: u64, inode: u64 };

    /// False if there are too many.
    pub fn add(watch: *Watch, process: *Process, what: What) bool {
        watch.remove(process, what.descriptor);
        process.watch_stops = 0;
        return watch.put(process, .{
            .descriptor = what.descriptor,
            .kind = what.kind,
            .device = what.device,
            .inode = what.inode,
            .bytes = if (what.kind == .stream) stream_bytes else std.math.maxInt(u32),
            .calls = switch (what.kind) {
                .stream => stream_calls,
                .names => names_calls,
                .datagrams => datagrams_calls,
            },
        });
    }

    /// Whatever number it had where it comes from.
    pub fn adopt(watch: *Watch, process: *Process, descriptor: i32, entry: Entry) bool {
        watch.remove(process, descriptor);
        process.watch_stops = 0;
        var own = entry;
        own.descriptor = descriptor;
        return watch.put(process, own);
    }

    /// It was sent to another process, and may be closed here before that has it.
    pub fn handOver(watch: *Watch, entry: *const Entry) void {
        for (watch.under_way) |other| if (other.inode == entry.inode and other.device == entry.device) return;
        watch.under_way[watch.under_way_next % under_way_max] = entry.*;
        watch.under_way_next +%= 1;
    }

    /// Wherever it is watched.
    pub fn findSocket(watch: *Watch, device: u64, inode: u64) ?*const Entry {
        for ([_][]Entry{ watch.entries[0..watch.used], &watch.under_way }) |list| for (list) |*entry| {
            if (entry.inode == inode and entry.device == device and inode != 0 and !entry.done and entry.descriptor >= 0) return entry;
        };
        return null;
    }

    fn put(watch: *Watch, process: *Process, entry: Entry) bool {
        const position = if (watch.free != end) watch.free else blk: {
            if (watch.used == entries_max) return false;
            watch.used += 1;
            break :blk watch.used;
        };
        if (position == watch.free) watch.free = watch.at(position).next;
        watch.at(position).* = entry;
        watch.at(position).next = process.watched;
        process.watched = position;
        return true;
    }

    /// Another number for the same socket. False if there are too many.
    pub fn duplicate(watch: *Watch, process: *Process, from: i32, to: i32) bool {
        if (from == to) return true;
        watch.remove(process, to);
        const entry = watch.find(process, from) orelse return true;
        var copy = entry.*;
        copy.descriptor = to;
        return watch.put(process, copy);
    }

    pub fn remove(watch: *Watch, process: *Process, descriptor: i32) void {
        watch.removeAll(process, descriptor, descriptor);
    }

    /// Every number of a range, and those that are done.
    pub fn removeAll(watch: *Watch, process: *Process, first: i32, last: i32) void {
        var link = &process.watched;
        while (link.* != end) {
            const position = link.*;
            const entry = watch.at(position);
            if (!entry.done and (entry.descriptor < first or entry.descriptor > last)) {
                link = &entry.next;
                continue;
            }
            link.* = entry.next;
            entry.* = .{ .next = watch.free };
            watch.free = position;
        }
    }

    pub fn forget(watch: *Watch, process: *Process) void {
        watch.removeAll(process, 0, std.math.maxInt(i32));
    }

    /// A fork's descriptors are copies. False if there are too many.
    pub fn inherit(watch: *Watch, child: *Process, parent: *const Process) bool {
        var position = parent.watched;
        while (position != end) : (position = watch.at(position).next) {
            const entry = watch.at(position).*;
            if (!entry.done and !watch.put(child, entry)) return false;
        }
        return true;
    }

    /// The next number behind `after`, for whoever looks at all of them.
    pub fn nextDescriptor(watch: *Watch, process: *const Process, after: i32) ?*Entry {
        var lowest: ?*Entry = null;
        var position = process.watched;
        while (position != end) : (position = watch.at(position).next) {
            const entry = watch.at(position);
            if (entry.descriptor > after and (lowest == null or entry.descriptor < lowest.?.descriptor)) lowest = entry;
        }
        return lowest;
    }

    /// At each stop of a process that is watched: what the front end has said meanwhile, and how long that is now. Whether it still is one.
    pub fn onStop(watch: *Watch, process: *Process, control: *abi.Control) bool {
        const words = @atomicLoad(u32, &control.understood_count, .acquire); // pairs with ControlBlock.understood's add
        // Those that were written over before they were read run into a limit.
        if (words -% watch.words_read > abi.understood_max) watch.words_read = words -% abi.understood_max;
        while (watch.words_read != words) : (watch.words_read +%= 1) {
            // One that is written over in this moment is a later one: it is read again in its turn.
            const inode = @atomicLoad(u64, &control.understood[watch.words_read % abi.understood_max], .monotonic);
            for (watch.entries[0..watch.used]) |*entry| {
                if (entry.inode == inode and entry.descriptor >= 0) entry.done = true;
            }
            for (&watch.under_way) |*entry| if (entry.inode == inode) {
                entry.* = .{};
            };
        }
        process.watch_stops += 1;
        if (process.watch_stops > stops_max) watch.forget(process) else watch.removeAll(process, 1, 0);
        return process.watched != end;
    }
};

// ---------------------------------------------------------------------------------------------

const testing = std.testing;

test "roles" {
    try testing.expectEqual(Role.send, roleOf(.x86_64, 1));
    try testing.expectEqual(Role.close, roleOf(.i386, 6));
    try testing.expectEqual(Role.send_vector, roleOf(.aarch64, 66));
    try testing.expectEqual(Role.none, roleOf(.x86_64, 257));
    try testing.expectEqual(Role.none, roleOf(.x86_64, 1 << 40));
}

test "numbers are added, duplicated, inherited and closed" {
    var watch = try Watch.init();
    defer watch.deinit();
    var parent: Process = .{};
    var child: Process = .{};
    try testing.expect(watch.add(&parent, .{ .descriptor = 3, .kind = .stream, .device = 8, .inode = 77 }));
    try testing.expect(watch.add(&parent, .{ .descriptor = 5, .kind = .names, .device = 8, .inode = 78 }));
    try testing.expect(watch.duplicate(&parent, 3, 9));
    try testing.expect(watch.duplicate(&parent, 4, 5)); // what was there is closed by it
    try testing.expect(watch.inherit(&child, &parent));
    watch.remove(&parent, 3);
    try testing.expectEqual(null, watch.find(&parent, 3));
    try testing.expectEqual(null, watch.find(&parent, 5));
    try testing.expectEqual(@as(u64, 77), watch.find(&parent, 9).?.inode);
    try testing.expectEqual(@as(u64, 77), watch.find(&child, 3).?.inode);
    try testing.expectEqual(@as(i32, 3), watch.findInode(&child, 77).?.descriptor);
    try testing.expectEqual(null, watch.findInode(&child, 79));
    try testing.expectEqual(@as(i32, 3), watch.nextDescriptor(&child, -1).?.descriptor);
    try testing.expectEqual(@as(i32, 9), watch.nextDescriptor(&child, 3).?.descriptor);
    watch.forget(&parent);
    watch.removeAll(&child, 3, 8);
    try testing.expectEqual(null, watch.find(&child, 3));
    watch.forget(&child);
    try testing.expectEqual(@as(u16, end), parent.watched);
    try testing.expectEqual(@as(u16, end), child.watched);
    try testing.expectEqual(@as(u16, 4), watch.used); // the places are used again
}

test "what the front end has understood is no longer watched, in every process" {
    var watch = try Watch.init();
    defer watch.deinit();
    var control: abi.Control = .{};
    var parent: Process = .{};
    var child: Process = .{};
    try testing.expect(watch.add(&parent, .{ .descriptor = 3, .kind = .stream, .device = 8, .inode = 77 }));
    try testing.expect(watch.inherit(&child, &parent));
    try testing.expect(watch.add(&parent, .{ .descriptor = 4, .kind = .stream, .device = 8, .inode = 78 }));
    try testing.expect(watch.onStop(&parent, &control));
    control.understood[0] = 77;
    control.understood_count = 1;
    try testing.expect(watch.onStop(&parent, &control));
    try testing.expectEqual(null, watch.find(&parent, 3));
    try testing.expect(!watch.onStop(&child, &control));
    watch.forget(&parent);
}

test "a socket that is handed over is found though its sender has closed it, until it is understood" {
    var watch = try Watch.init();
    defer watch.deinit();
    var control: abi.Control = .{};
    var sender: Process = .{};
    var receiver: Process = .{};
    try testing.expect(watch.add(&sender, .{ .descriptor = 3, .kind = .stream, .device = 8, .inode = 77 }));
    watch.handOver(watch.find(&sender, 3).?);
    watch.remove(&sender, 3);
    try testing.expectEqual(null, watch.findSocket(8, 78));
    try testing.expectEqual(null, watch.findSocket(9, 77));
    try testing.expect(watch.adopt(&receiver, 12, watch.findSocket(8, 77).?.*));
    try testing.expectEqual(@as(u64, 77), watch.find(&receiver, 12).?.inode);
    control.understood[0] = 77;
    control.understood_count = 1;
    try testing.expect(!watch.onStop(&receiver, &control));
    try testing.expectEqual(null, watch.findSocket(8, 77));
    for (1..under_way_max + 2) |i| watch.handOver(&.{ .descriptor = 3, .inode = i, .device = 8 });
    try testing.expectEqual(null, watch.findSocket(8, 1));
    try testing.expect(watch.findSocket(8, under_way_max + 1) != null);
}

test "there is room for so many, and not for more" {
    var watch = try Watch.init();
    defer watch.deinit();
    var process: Process = .{};
    for (0..entries_max) |i| try testing.expect(watch.put(&process, .{ .descriptor = @intCast(i) }));
    try testing.expect(!watch.add(&process, .{ .descriptor = 9999, .kind = .stream, .device = 8, .inode = 77 }));
    try testing.expect(!watch.duplicate(&process, 1, 9999));
    var child: Process = .{};
    try testing.expect(!watch.inherit(&child, &process));
    watch.forget(&process);
    try testing.expect(watch.add(&process, .{ .descriptor = 9999, .kind = .stream, .device = 8, .inode = 77 }));
}
