//! From the arguments of a watched call to the items of its record, as the table says (syscalls.zig).
//!
//! Before the call: what it could change or what another thread could change under it (paths, addresses, the file that
//! is about to lose its name). After it: what it has made, and what descriptors refer to.
const std = @import("std");
const linux = std.os.linux;
const abi = @import("abi.zig");
const descriptors_mod = @import("descriptors.zig");
const mappings = @import("mappings.zig");
const overlays = @import("overlays.zig");
const paths = @import("paths.zig");
const records = @import("records.zig");
const sys = @import("sys.zig");
const syscalls = @import("syscalls.zig");
const Argument = syscalls.Argument;
const Memory = @import("memory.zig").Memory;
const watch = @import("watch.zig");
const Patience = @import("patience.zig").Patience;

/// Of data that a call sends: enough for a name server's question. What is cut is marked in the item, not in the record.
pub const bytes_max = 512;
/// Of a datagram with an address: a packet that QUIC begins with, which can only be opened whole.
const datagram_max = 1536;
const address_max = 128; // struct sockaddr_storage
/// Whose data is looked at, of the messages of one call; whom the others are for is as well.
const messages_max = 8;
/// UIO_MAXIOV: more the kernel does not send at once.
const addressed_max = 1024;

/// Set in `Item.flags`: there was more.
pub const item_cut = 1;
/// The same, of a file that is mapped: through the map it can be written to, be it only after mprotect(2).
pub const item_writable = 2;

/// `Item.argument` of what does not belong to one of the six.
pub const returned = Argument.result;
pub const message_data = 7;
pub const received = 8;
pub const peer_address = 9;
pub const own_address = 10;
pub const upper_directory = 11;
/// Of several messages: the socket as `facts` of each further address, in their order (sockets.zig).
pub const other_receiver = 12;

/// Where the call is made.
pub const Context = struct {
    memory: Memory,
    descriptors: *descriptors_mod.Descriptors,
    owner: descriptors_mod.Owner,
    abi: abi.Abi,
    arguments: *const [6]u64,
    roots_differ: bool,
    patience: ?*Patience = null,

    pub fn word(context: *const Context, index: u8) u64 {
        return context.arguments[index];
    }

    fn number(context: *const Context, index: u8) i32 {
        return @bitCast(@as(u32, @truncate(context.arguments[index])));
    }

    fn hasFlag(context: *const Context, index: u8, flag: u32) bool {
        return index != Argument.none and context.arguments[index] & flag != 0;
    }

    pub fn place(context: *const Context, at: u8) paths.Place {
        return .{
            .owner = context.owner,
            .directory = if (at == Argument.none) linux.AT.FDCWD else context.number(at),
            .roots_differ = context.roots_differ,
            .patience = context.patience,
        };
    }
};

/// Items in the making. What does not fit is left out, and the record says `truncated`.
pub const Items = struct {
    buffer: []u8,
    length: usize = 0,
    count: u16 = 0,
    /// bits of abi.Flag
    flags: u16 = 0,
    /// Memory could not be read because nobody may, or its server did not answer; not because the address is wrong.
    denied: bool = false,

    pub fn written(items: *const Items) []u8 {
        return items.buffer[0..items.length];
    }

    pub fn add(items: *Items, kind: abi.ItemKind, argument: u8, parts: []const []const u8, flags: u8) void {
        var length: usize = 0;
        for (parts) |part| length += part.len;
        const total = std.mem.alignForward(usize, @sizeOf(abi.Item) + length, 8);
        if (items.buffer.len - items.length < total) {
            items.flags |= records.bit(.truncated);
            return;
        }
        const at = items.buffer[items.length..][0..total];
        const item: abi.Item = .{ .kind = @backingInt(kind), .argument = argument, .flags = flags, .length = @intCast(length) };
        @memcpy(at[0..@sizeOf(abi.Item)], std.mem.asBytes(&item));
        var end: usize = @sizeOf(abi.Item);
        for (parts) |part| {
            @memcpy(at[end..][0..part.len], part);
            end += part.len;
        }
        @memset(at[end..], 0);
        items.length += total;
        items.count += 1;
    }

    fn addPath(items: *Items, argument: u8, resolved: paths.Resolved) void {
        items.add(.path, argument, &.{resolved.path}, 0);
        if (!resolved.exact) items.flags |= records.bit(.unresolved);
        if (resolved.truncated) items.flags |= records.bit(.truncated);
    }

    pub fn unreadable(items: *Items, e: sys.Error) sys.Error!void {
        if (e == error.TraceeGone) return e;
        if (e == error.Denied or e == error.TimedOut) items.denied = true;
        items.flags |= records.bit(.unreadable);
    }
};

// ---------------------------------------------------------------------------------------------
// Before the call

pub fn before(context: *const Context, row: *const syscalls.Row, items: *Items) sys.Error!void {
    for (row.arguments) |argument| {
        switch (argument.kind) {
            .file, .link, .new_name, .new_file, .old_file => try addName(context, argument, items),
            .text => try addText(context, argument.index, items),
            .bytes => if (row.special == .send)
                try addData(context, argument.index, context.word(argument.index), context.word(argument.length), true, items)
            else
                try addBytes(context, argument.index, context.word(argument.index), context.word(argument.length), items),
            .address => try addAddress(context, argument.index, context.word(argument.index), context.word(argument.length), items),
            .message => try addMessage(context, argument.index, context.word(argument.index), items, false),
            .messages => try addMessages(context, argument, items),
            // Where there is no second stop, this is the only one.
            .descriptor => if (row.special == .map)
                try addMapped(context, argument.index, items)
            else if (row.stops == .entry)
                try addDescriptor(context, argument.index, context.number(argument.index), items),
            .socket => try addDescriptor(context, argument.index, context.number(argument.index), items),
            .mapping => addMapping(context, argument.index, items),
            .peer, .pair, .received => {},
        }
    }
    if (row.special == .prctl and context.number(0) == syscalls.pr.set_name) try addThreadName(context, items);
    if (row.special == .mounts) try overlays.addUpper(context, row, items);
    if (row.stops == .entry) addRoot(context, items);
}

fn addName(context: *const Context, argument: Argument, items: *Items) sys.Error!void {
    const address = context.word(argument.index);
    var text: [paths.max]u8 = undefined;
    // utimensat(fd, NULL, …) means the descriptor itself, and so does an empty path with AT_EMPTY_PATH.
    if (address == 0 and argument.at != Argument.none) return addDescriptor(context, argument.at, context.number(argument.at), items);
    const given = context.memory.string(context.owner.tid, address, &text) catch |e| {
        if (address == 0 and e == error.BadAddress) return; // acct(NULL); for others it is EFAULT
        return items.unreadable(e);
    };
    if (given.truncated) items.flags |= records.bit(.truncated);
    if (given.bytes.len == 0 and argument.at != Argument.none and context.hasFlag(argument.flags, linux.AT.EMPTY_PATH))
        return addDescriptor(context, argument.at, context.number(argument.at), items);

    const follow = switch (argument.kind) {
        .file => !context.hasFlag(argument.flags, linux.AT.SYMLINK_NOFOLLOW),
        .link => context.hasFlag(argument.flags, linux.AT.SYMLINK_FOLLOW),
        else => false,
    };
    var buffer: [paths.max]u8 = undefined;
    const resolved = paths.resolve(context.descriptors, context.place(argument.at), given.bytes, if (follow) .file else .name, &buffer);
    items.addPath(argument.index, resolved);
    if (argument.kind == .old_file) addFile(context, argument.index, resolved.path, items);
}

fn addText(context: *const Context, index: u8, items: *Items) sys.Error!void {
    const address = context.word(index);
    if (address == 0) return;
    var text: [paths.max]u8 = undefined;
    const given = context.memory.string(context.owner.tid, address, &text) catch |e| return items.unreadable(e);
    items.add(.bytes, index, &.{given.bytes}, if (given.truncated) item_cut else 0);
}

/// PR_SET_NAME reads 16 bytes at most.
fn addThreadName(context: *const Context, items: *Items) sys.Error!void {
    var text: [16]u8 = undefined;
    const given = context.memory.string(context.owner.tid, context.word(1), &text) catch |e| return items.unreadable(e);
    items.add(.bytes, 1, &.{given.bytes}, 0);
}

fn addBytes(context: *const Context, index: u8, address: u64, length: u64, items: *Items) sys.Error!void {
    if (address == 0 or length == 0) return;
    var bytes: [bytes_max]u8 = undefined;
    const wanted = bytes[0..@intCast(@min(length, bytes.len))];
    const got = context.memory.read(context.owner.tid, address, wanted) catch |e| return items.unreadable(e);
    items.add(.bytes, index, &.{wanted[0..got]}, if (got < length) item_cut else 0);
}

fn addAddress(context: *const Context, index: u8, address: u64, length: u64, items: *Items) sys.Error!void {
    const size: u32 = @truncate(length); // socklen_t
    if (address == 0 or size == 0) return;
    var bytes: [address_max]u8 = undefined;
    const wanted = bytes[0..@min(size, address_max)];
    const got = context.memory.read(context.owner.tid, address, wanted) catch |e| return items.unreadable(e);
    items.add(.bytes, index, &.{wanted[0..got]}, 0);
}

/// struct msghdr of both word sizes.
pub const Message = struct {
    name: u64,
    name_length: u64,
    vector: u64,
    vector_length: u64,
    control: u64,
    control_length: u64,

    fn Layout(comptime Word: type) type {
        return extern struct { name: Word, name_length: u32, vector: Word, vector_length: Word, control: Word, control_length: Word, flags: u32 };
    }

    pub fn read(context: *const Context, address: u64) sys.Error!Message {
        if (context.abi == .i386) return of(try context.memory.readValue(context.owner.tid, address, Layout(u32)));
        return of(try context.memory.readValue(context.owner.tid, address, Layout(u64)));
    }

    fn of(raw: anytype) Message {
        return .{
            .name = raw.name,
            .name_length = raw.name_length,
            .vector = raw.vector,
            .vector_length = raw.vector_length,
            .control = raw.control,
            .control_length = raw.control_length,
        };
    }

    /// Behind it, in a struct mmsghdr, is how many bytes went through.
    fn headSize(context: *const Context) u64 {
        return if (context.abi == .i386) @sizeOf(Layout(u32)) else @sizeOf(Layout(u64));
    }

    /// struct mmsghdr, which is a msghdr and a count.
    pub fn stride(context: *const Context) u64 {
        return if (context.abi == .i386) @sizeOf(Layout(u32)) + 4 else @sizeOf(Layout(u64)) + 8;
    }
};

/// One of several has an address item in any case, so that its data is not taken for another's.
fn addMessage(context: *const Context, index: u8, address: u64, items: *Items, is_one_of_several: bool) sys.Error!void {
    const message = Message.read(context, address) catch |e| return items.unreadable(e);
    const has_address = message.name != 0 and message.name_length != 0;
    if (has_address) try addAddress(context, index, message.name, message.name_length, items);
    if (!has_address and is_one_of_several) items.add(.bytes, index, &.{""}, 0);
    if (message.vector_length == 0) return;
    const Vector = struct { base: u64, length: u64 };
    const first: Vector = if (context.abi == .i386) blk: {
        const raw = context.memory.readValue(context.owner.tid, message.vector, [2]u32) catch |e| return items.unreadable(e);
        break :blk .{ .base = raw[0], .length = raw[1] };
    } else blk: {
        const raw = context.memory.readValue(context.owner.tid, message.vector, [2]u64) catch |e| return items.unreadable(e);
        break :blk .{ .base = raw[0], .length = raw[1] };
    };
    try addData(context, message_data, first.base, first.length, has_address, items);
}

/// Data that is sent. What there is no room for is cut, which is no gap: only its beginning is of interest.
fn addData(context: *const Context, index: u8, address: u64, length: u64, has_address: bool, items: *Items) sys.Error!void {
    if (address == 0 or length == 0) return;
    var bytes: [datagram_max]u8 = undefined;
    const room = items.buffer.len - items.length -| data_reserve;
    const wanted = bytes[0..@intCast(@min(length, room, if (has_address) @as(u64, datagram_max) else bytes_max))];
    const got = if (wanted.len == 0) 0 else context.memory.read(context.owner.tid, address, wanted) catch |e| return items.unreadable(e);
    items.add(.bytes, index, &.{wanted[0..got]}, if (got < length) item_cut else 0);
}

/// For the items behind it.
const data_reserve = 1024;

fn addMessages(context: *const Context, argument: Argument, items: *Items) sys.Error!void {
    const count: u32 = @truncate(context.word(argument.length));
    for (0..@min(count, messages_max)) |i| {
        try addMessage(context, argument.index, context.word(argument.index) +% i * Message.stride(context), items, true);
    }
    try addOtherAddresses(context, argument.index, count, items);
}

/// Of the messages behind the first few: each address once. What there is no room for makes the record `truncated`.
fn addOtherAddresses(context: *const Context, index: u8, count: u64, items: *Items) sys.Error!void {
    var last: [address_max]u8 = undefined;
    var last_length: usize = 0;
    for (messages_max..@max(messages_max, @min(count, addressed_max))) |i| {
        const message = Message.read(context, context.word(index) +% i * Message.stride(context)) catch |e| return items.unreadable(e);
        if (message.name == 0 or message.name_length == 0) continue;
        var bytes: [address_max]u8 = undefined;
        const wanted = bytes[0..@intCast(@min(message.name_length, address_max))];
        const address = wanted[0 .. context.memory.read(context.owner.tid, message.name, wanted) catch |e| return items.unreadable(e)];
        if (std.mem.eql(u8, address, last[0..last_length])) continue;
        @memcpy(last[0..address.len], address);
        last_length = address.len;
        if (!hasBytes(items.written(), index, address)) items.add(.bytes, index, &.{address}, 0);
        if (items.flags & records.bit(.truncated) != 0) return;
    }
}

// ---------------------------------------------------------------------------------------------
// After the call

/// `earlier`: the items from before the call.
pub fn after(context: *const Context, row: *const syscalls.Row, result: i64, earlier: []const u8, items: *Items) sys.Error!void {
    for (row.arguments) |argument| {
        switch (argument.kind) {
            .file, .link, .new_file => {
                if (result < 0) continue;
                // What is mounted there now may be served by this very process, which answers when it goes on.
                if (row.special == .mounts) continue;
                const path = pathOf(earlier, argument.index) orelse continue;
                addFile(context, argument.index, path, items);
            },
            .descriptor => {
                if (argument.index == Argument.result) {
                    if (result >= 0) try addDescriptor(context, returned, @truncate(result), items);
                } else try addDescriptor(context, argument.index, context.number(argument.index), items);
            },
            .peer => if (result >= 0) try addPeer(context, argument, items),
            .pair => if (result >= 0) try addPair(context, context.word(argument.index), items),
            else => {},
        }
    }
    addRoot(context, items);
}

fn addPeer(context: *const Context, argument: Argument, items: *Items) sys.Error!void {
    const address = context.word(argument.index);
    const length_at = context.word(argument.length);
    if (address == 0 or length_at == 0) return;
    const length = context.memory.readValue(context.owner.tid, length_at, u32) catch |e| return items.unreadable(e);
    try addAddress(context, argument.index, address, length, items);
}

fn addPair(context: *const Context, address: u64, items: *Items) sys.Error!void {
    const pair = context.memory.readValue(context.owner.tid, address, [2]i32) catch |e| return items.unreadable(e);
    for (pair) |number| try addDescriptor(context, returned, number, items);
}

/// A descriptor without its name, and whatever it is.
pub fn addSocket(context: *const Context, argument: u8, number: i32, items: *Items) sys.Error!void {
    const taken = context.descriptors.take(context.owner, number) catch |e| return if (e == error.TraceeGone) e else {};
    defer taken.close();
    const file = context.descriptors.identify(taken.descriptor) catch return;
    items.add(.descriptor, argument, &.{std.mem.asBytes(&file)}, 0);
}

/// Of the first descriptor item.
pub fn inodeIn(items: []const u8) u64 {
    if (items.len < @sizeOf(abi.Item) + @sizeOf(abi.FileIdentity)) return 0;
    const item = std.mem.bytesToValue(abi.Item, items[0..@sizeOf(abi.Item)]);
    if (item.kind != @backingInt(abi.ItemKind.descriptor)) return 0;
    return std.mem.bytesToValue(abi.FileIdentity, items[@sizeOf(abi.Item)..][0..@sizeOf(abi.FileIdentity)]).inode;
}

/// Of a map's: the file that it can write to.
pub fn writableIn(items: []const u8) ?abi.FileIdentity {
    if (inodeIn(items) == 0) return null;
    const item = std.mem.bytesToValue(abi.Item, items[0..@sizeOf(abi.Item)]);
    if (item.flags & item_writable == 0) return null;
    return std.mem.bytesToValue(abi.FileIdentity, items[@sizeOf(abi.Item)..][0..@sizeOf(abi.FileIdentity)]);
}

// ---------------------------------------------------------------------------------------------
// What went through a watched socket

pub const Room = struct {
    buffer: []u8,
    /// Bytes that may still be recorded.
    room: u64,
};

/// Items with the bytes that a call has sent or received, its address before them. Returns how many there were in all.
pub fn addTransfer(context: *const Context, role: watch.Role, is_addressed: bool, result: i64, room: Room, items: *Items) sys.Error!u64 {
    const length: u64 = @intCast(@max(result, 0));
    switch (role) {
        .send, .receive => {
            if (role == .send and is_addressed)
                try addAddress(context, 4, context.word(4), context.word(5), items);
            try addGathered(context, .{ .base = context.word(1), .length = length }, length, room, items);
        },
        .send_vector, .receive_vector => try addVector(context, context.word(1), context.word(2), length, room, items),
        .send_message, .receive_message => {
            const message = Message.read(context, context.word(1)) catch |e| {
                try items.unreadable(e);
                return length;
            };
            if (role == .send_message) try addAddress(context, 1, message.name, message.name_length, items);
            try addVector(context, message.vector, message.vector_length, length, room, items);
        },
        .send_messages, .receive_messages => for (0..@min(length, messages_max)) |i| {
            const at = context.word(1) +% i * Message.stride(context);
            const message = Message.read(context, at) catch |e| {
                try items.unreadable(e);
                return length;
            };
            if (role == .send_messages) {
                if (message.name == 0) items.add(.bytes, 1, &.{""}, 0) else try addAddress(context, 1, message.name, message.name_length, items);
            }
            const sent = context.memory.readValue(context.owner.tid, at +% Message.headSize(context), u32) catch |e| {
                try items.unreadable(e);
                return length;
            };
            try addVector(context, message.vector, message.vector_length, sent, room, items);
        } else if (role == .send_messages) try addOtherAddresses(context, 1, length, items),
        .option => try addBytes(context, 3, context.word(3), 4, items),
        .blind, .blind_into, .none, .duplicate, .duplicate_onto, .command, .close, .close_range => {},
    }
    return length;
}

const Part = struct { base: u64, length: u64 };

/// The parts of an iovec one after the other, up to `length`.
fn addVector(context: *const Context, vector: u64, count: u64, length: u64, room: Room, items: *Items) sys.Error!void {
    var filled: usize = 0;
    const wanted: usize = @intCast(@min(length, room.room, room.buffer.len));
    for (0..@min(count, vector_max)) |i| {
        if (filled == wanted) break;
        const part = readPart(context, vector, i) catch |e| return items.unreadable(e);
        const into = room.buffer[filled..wanted];
        const piece = into[0..@intCast(@min(into.len, part.length))];
        if (piece.len == 0) continue;
        const got = context.memory.read(context.owner.tid, part.base, piece) catch |e| return items.unreadable(e);
        filled += got;
        if (got < piece.len) break;
    }
    items.add(.bytes, message_data, &.{room.buffer[0..filled]}, if (filled < length) item_cut else 0);
}

/// UIO_MAXIOV.
const vector_max = 1024;

fn readPart(context: *const Context, vector: u64, index: usize) sys.Error!Part {
    if (context.abi == .i386) {
        const raw = try context.memory.readValue(context.owner.tid, vector +% 8 * index, [2]u32);
        return .{ .base = raw[0], .length = raw[1] };
    }
    const raw = try context.memory.readValue(context.owner.tid, vector +% 16 * index, [2]u64);
    return .{ .base = raw[0], .length = raw[1] };
}

fn addGathered(context: *const Context, part: Part, length: u64, room: Room, items: *Items) sys.Error!void {
    const wanted = room.buffer[0..@intCast(@min(length, room.room, room.buffer.len))];
    const got = if (wanted.len == 0) 0 else context.memory.read(context.owner.tid, part.base, wanted) catch |e| return items.unreadable(e);
    items.add(.bytes, message_data, &.{wanted[0..got]}, if (got < length) item_cut else 0);
}

pub fn addDescriptor(context: *const Context, argument: u8, number: i32, items: *Items) sys.Error!void {
    const taken = try takeFor(context, number, items) orelse return;
    defer taken.close();
    addTaken(context, argument, taken, items, 0);
}

/// Of mmap(2): none for a map through which the file cannot be written to and which is no code.
fn addMapped(context: *const Context, argument: u8, items: *Items) sys.Error!void {
    const number = context.number(argument);
    const taken = try takeFor(context, number, items) orelse return;
    defer taken.close();
    const is_shared = context.hasFlag(3, syscalls.map_shared);
    // Not known: then it can.
    const can_write = is_shared and (descriptors_mod.flagsOf(context.owner, number, taken) catch read_write) & access_mode == read_write;
    if (can_write or context.hasFlag(2, syscalls.prot_write_exec)) addTaken(context, argument, taken, items, if (can_write) item_writable else 0);
}

const access_mode = 3;
const read_write = 2;

/// Null: there is none.
fn takeFor(context: *const Context, number: i32, items: *Items) sys.Error!?descriptors_mod.Taken {
    if (number < 0) return null; // AT_FDCWD, or none
    return context.descriptors.take(context.owner, number) catch |e| switch (e) {
        error.BadDescriptor => null, // the call's own failure
        else => {
            try items.unreadable(e);
            return null;
        },
    };
}

pub fn addTaken(context: *const Context, argument: u8, taken: descriptors_mod.Taken, items: *Items, flags: u8) void {
    const file = context.descriptors.identify(taken.descriptor) catch return;
    var buffer: [paths.max]u8 = undefined;
    const link = context.descriptors.linkOf(taken.descriptor, &file, &buffer) catch descriptors_mod.Link{ .path = "" };
    items.add(.descriptor, argument, &.{ std.mem.asBytes(&file), link.path }, flags);
}

fn addMapping(context: *const Context, index: u8, items: *Items) void {
    const mapped = mappings.fileAt(context.owner.tid, context.word(index)) orelse return;
    const file: abi.FileIdentity = .{
        .device = sys.deviceNumber(mapped.major, mapped.minor),
        .inode = mapped.inode,
    };
    items.add(.file, index, &.{std.mem.asBytes(&file)}, 0);
}

/// The file that a resolved path names.
fn addFile(context: *const Context, argument: u8, path: []const u8, items: *Items) void {
    const descriptor = openResolved(context, path) orelse return;
    defer sys.close(descriptor);
    const file = context.descriptors.identify(descriptor) catch return;
    items.add(.file, argument, &.{std.mem.asBytes(&file)}, 0);
}

pub fn openResolved(context: *const Context, path: []const u8) ?i32 {
    if (path.len == 0 or path[0] != '/') return null;
    const place = context.place(Argument.none);
    var root: [paths.max]u8 = undefined;
    const below = if (place.roots_differ) paths.belowRoot(path, paths.rootOf(context.owner.tid, &root)) else path;
    return paths.openInPlace(place, below, .{ .PATH = true, .NOFOLLOW = true, .CLOEXEC = true });
}

fn addRoot(context: *const Context, items: *Items) void {
    if (!context.roots_differ) return;
    var buffer: [paths.max]u8 = undefined;
    const root = paths.rootOf(context.owner.tid, &buffer);
    if (root.len > 0) items.add(.root, 0, &.{root}, 0);
}

/// Items that were written, in their order.
const Walk = struct {
    items: []const u8,
    at: usize = 0,

    const Found = struct { kind: u32, argument: u8, bytes: []const u8 };

    fn next(walk: *Walk) ?Found {
        if (walk.at >= walk.items.len) return null;
        const item = std.mem.bytesToValue(abi.Item, walk.items[walk.at..][0..@sizeOf(abi.Item)]);
        const bytes = walk.items[walk.at + @sizeOf(abi.Item) ..][0..item.length];
        walk.at += std.mem.alignForward(usize, @sizeOf(abi.Item) + item.length, 8);
        return .{ .kind = item.kind, .argument = item.argument, .bytes = bytes };
    }

    fn nextOf(walk: *Walk, kind: abi.ItemKind, argument: u8) ?[]const u8 {
        while (walk.next()) |found| {
            if (found.kind == @backingInt(kind) and found.argument == argument) return found.bytes;
        }
        return null;
    }
};

/// The path item of an argument.
pub fn pathOf(items: []const u8, argument: u8) ?[]const u8 {
    var walk: Walk = .{ .items = items };
    return walk.nextOf(.path, argument);
}

/// The first bytes item of an argument.
pub fn bytesOf(items: []const u8, argument: u8) ?[]const u8 {
    var walk: Walk = .{ .items = items };
    return walk.nextOf(.bytes, argument);
}

/// Of the messages of a call, which have their addresses as bytes of the same argument: the next that was not among those before it.
/// `at`: 0, and what it is set to.
pub fn nextAddress(items: []const u8, argument: u8, at: *usize) ?[]const u8 {
    var walk: Walk = .{ .items = items, .at = at.* };
    defer at.* = walk.at;
    var from = walk.at;
    while (walk.nextOf(.bytes, argument)) |bytes| : (from = walk.at) {
        if (bytes.len > 0 and !hasBytes(items[0..from], argument, bytes)) return bytes;
    }
    return null;
}

fn hasBytes(items: []const u8, argument: u8, wanted: []const u8) bool {
    var walk: Walk = .{ .items = items };
    while (walk.nextOf(.bytes, argument)) |bytes| if (std.mem.eql(u8, bytes, wanted)) return true;
    return false;
}

/// Whether a socket's descriptor is among the items: what dup2 and its like are watched for.
pub fn hasSocket(items: []const u8) bool {
    var walk: Walk = .{ .items = items };
    while (walk.next()) |found| {
        if (found.kind != @backingInt(abi.ItemKind.descriptor)) continue;
        const file = std.mem.bytesToValue(abi.FileIdentity, found.bytes[0..@sizeOf(abi.FileIdentity)]);
        if (descriptors_mod.isSocket(file.mode)) return true;
    }
    return false;
}
