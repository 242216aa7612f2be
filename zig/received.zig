//! Descriptors that a process got from another one: with a message (SCM_RIGHTS), or taken by pidfd_getfd. Of a socket among them the
//! record says whom it is connected to, and if its first bytes are waited for, they are from now on in the new process too.
//!
//!     sender: sendmsg ──its watched sockets──▶ under way ──▶ recvmsg: watched here
//!
//! The sender may close its own before the message is read, so the tracer keeps what is under way.
const std = @import("std");
const linux = std.os.linux;
const abi = @import("abi.zig");
const calls = @import("calls.zig");
const decode = @import("decode.zig");
const descriptors_mod = @import("descriptors.zig");
const paths = @import("paths.zig");
const records = @import("records.zig");
const sharers = @import("sharers.zig");
const sockets = @import("sockets.zig");
const sys = @import("sys.zig");
const syscalls = @import("syscalls.zig");
const tracee = @import("tracee.zig");
const Tracer = @import("tracer.zig").Tracer;
const Thread = tracee.Thread;

const Error = sys.Error || error{TooManyTracees};

const sol_socket = 1;
const scm_rights = 1;
/// SCM_MAX_FD descriptors, and whatever else the kernel says about a message.
const control_max = 4096;
/// UIO_MAXIOV: so many messages a call can take.
const messages_max = 1024;

/// After a send.
pub fn onSent(tracer: *Tracer, thread: *Thread, result: i64) Error!void {
    const process = tracer.tracees.processOf(thread);
    if (result < 0 or !hasMessage(thread)) return;
    var rights: Rights = .{ .context = calls.context(tracer, thread) };
    for (0..countOf(thread, result)) |i| {
        rights.read(i) catch |e| if (e == error.TraceeGone) return e else return;
        while (rights.next()) |number| {
            if (tracer.watch.find(process, number)) |entry| tracer.watch.handOver(entry);
            // It may be connected later.
            const inode = sharers.socketAt(thread.tid, number);
            if (inode != 0) tracer.sharers.onPassed(inode);
        }
    }
}

fn hasMessage(thread: *const Thread) bool {
    for (syscalls.rows[thread.call.row].arguments) |argument| switch (argument.kind) {
        .message, .messages => return true,
        else => {},
    };
    return false;
}

/// False: no descriptor came, so there is nothing to be recorded.
pub fn onReceived(tracer: *Tracer, thread: *Thread, result: i64, items: *decode.Items) Error!bool {
    if (result < 0) return false;
    var rights: Rights = .{ .context = calls.context(tracer, thread) };
    var any = false;
    for (0..countOf(thread, result)) |i| {
        rights.read(i) catch |e| {
            try items.unreadable(e);
            return true;
        };
        if (rights.is_cut) items.flags |= records.bit(.truncated);
        while (rights.next()) |number| {
            any = true;
            items.add(.bytes, decode.received, &.{std.mem.asBytes(&number)}, 0);
            try decode.addDescriptor(&rights.context, decode.received, number, items);
            try add(tracer, thread, decode.received, number, items);
        }
    }
    if (any) try decode.addDescriptor(&rights.context, 0, @bitCast(@as(u32, @truncate(rights.context.word(0)))), items);
    return any or rights.is_cut;
}

/// How many messages the call was about.
fn countOf(thread: *const Thread, result: i64) usize {
    const row = &syscalls.rows[thread.call.row];
    for (row.arguments) |argument| if (argument.kind == .message) return 1;
    return if (std.mem.eql(u8, row.name, "recvmsg")) 1 else @intCast(@min(result, messages_max));
}

/// What the kernel says about a socket that has come, and its bytes are watched as they were where it came from.
pub fn add(tracer: *Tracer, thread: *Thread, argument: u8, number: i32, items: *decode.Items) Error!void {
    const taken = tracer.descriptors.takeSocket(tracer.owner(thread), number) catch |e| return if (e == error.TraceeGone) e else {};
    defer taken.close();
    const file = tracer.descriptors.identify(taken.descriptor) catch return;
    if (!descriptors_mod.isSocket(file.mode)) return;
    const socket: descriptors_mod.Socket = .of(taken.descriptor);
    if (socket.facts) |facts| items.add(.socket, argument, &.{std.mem.asBytes(&facts)}, 0);
    if (socket.peer().len > 0) items.add(.bytes, decode.peer_address, &.{socket.peer()}, 0);
    tracer.sharers.onPassed(file.inode);
    if (tracer.watch.findSocket(file.device, file.inode)) |entry| sockets.adopt(tracer, thread, number, entry.*);
}

/// The descriptors in the ancillary data of one message after the other.
const Rights = struct {
    context: decode.Context,
    buffer: [control_max]u8 align(8) = undefined,
    rest: []const u8 = "",
    numbers: []const u8 = "",
    /// There was more than `control_max`.
    is_cut: bool = false,

    fn read(rights: *Rights, index: usize) sys.Error!void {
        const context = &rights.context;
        rights.rest = "";
        rights.numbers = "";
        const message = try decode.Message.read(context, context.word(1) +% index * decode.Message.stride(context));
        if (message.control == 0 or message.control_length == 0) return;
        if (message.control_length > control_max) rights.is_cut = true;
        const wanted = rights.buffer[0..@intCast(@min(message.control_length, control_max))];
        rights.rest = wanted[0..try context.memory.read(context.owner.tid, message.control, wanted)];
    }

    fn next(rights: *Rights) ?i32 {
        while (rights.numbers.len < 4) {
            const part = takePart(&rights.rest, rights.context.abi == .i386) orelse return null;
            rights.numbers = if (part.level == sol_socket and part.kind == scm_rights) part.data else "";
        }
        defer rights.numbers = rights.numbers[4..];
        return std.mem.readInt(i32, rights.numbers[0..4], .little);
    }
};

const Part = struct { level: i32, kind: i32, data: []const u8 };

/// struct cmsghdr of both word sizes, and what is behind it.
fn takePart(rest: *[]const u8, is_narrow: bool) ?Part {
    const word: usize = if (is_narrow) 4 else 8;
    const head = word + 8;
    if (rest.len < head) return null;
    const length = if (is_narrow) std.mem.readInt(u32, rest.*[0..4], .little) else std.mem.readInt(u64, rest.*[0..8], .little);
    if (length < head or length > rest.len) return null;
    const part: Part = .{
        .level = std.mem.readInt(i32, rest.*[word..][0..4], .little),
        .kind = std.mem.readInt(i32, rest.*[word + 4 ..][0..4], .little),
        .data = rest.*[head..@intCast(length)],
    };
    rest.* = rest.*[@min(rest.len, std.mem.alignForward(usize, @intCast(length), word))..];
    return part;
}

// ---------------------------------------------------------------------------------------------

const testing = std.testing;

fn header(comptime Word: type, length: Word, level: i32, kind: i32) [@sizeOf(Word) + 8]u8 {
    var bytes: [@sizeOf(Word) + 8]u8 = undefined;
    std.mem.writeInt(Word, bytes[0..@sizeOf(Word)], length, .little);
    std.mem.writeInt(i32, bytes[@sizeOf(Word)..][0..4], level, .little);
    std.mem.writeInt(i32, bytes[@sizeOf(Word) + 4 ..][0..4], kind, .little);
    return bytes;
}

test "the parts of ancillary data, in both word sizes" {
    inline for (.{ u64, u32 }) |Word| {
        const head = @sizeOf(Word) + 8;
        // Credentials, then two descriptors.
        const padding: [if (Word == u64) 4 else 0]u8 = @splat(0);
        const bytes = header(Word, head + 12, 1, 2) ++ @as([12]u8, @splat(9)) ++ padding ++ header(Word, head + 8, 1, 1) ++ [_]u8{ 5, 0, 0, 0, 6, 0, 0, 0 };
        var rest: []const u8 = &bytes;
        try testing.expectEqual(@as(i32, 2), takePart(&rest, Word == u32).?.kind);
        const rights = takePart(&rest, Word == u32).?;
        try testing.expectEqual(@as(i32, scm_rights), rights.kind);
        try testing.expectEqualSlices(u8, &.{ 5, 0, 0, 0, 6, 0, 0, 0 }, rights.data);
        try testing.expectEqual(null, takePart(&rest, Word == u32));
    }
}

test "ancillary data whose lengths are wrong ends there" {
    for ([_]u64{ 0, 15, 17, 1 << 63, std.math.maxInt(u64) }) |length| {
        var rest: []const u8 = &header(u64, length, 1, 1);
        try testing.expectEqual(null, takePart(&rest, false));
    }
    var rest: []const u8 = header(u64, 16, 1, 1)[0..9];
    try testing.expectEqual(null, takePart(&rest, false));
}
