//! Who has connected to a port of this machine: the inode of the client's socket. The kernel is asked for the one whose two ends are those
//! of the accepted one, the other way round: by sock_diag(7), which finds it at once but tells of our own network namespace only; else
//! by the lists in /proc/TID/net (holders.zig). A socket that its process has closed has no inode any more.
const std = @import("std");
const linux = std.os.linux;
const holders = @import("holders.zig");
const status_file = @import("status.zig");
const sys = @import("sys.zig");
const Place = holders.Place;
const assert = std.debug.assert;

/// The two ends of a connection by TCP, as the kernel has them.
pub const Ends = struct {
    own_bytes: [address_max]u8 = undefined,
    peer_bytes: [address_max]u8 = undefined,
    own_length: usize,
    peer_length: usize,

    const address_max = 28; // struct sockaddr_in6

    /// Null: not connected, or by something else than IP.
    pub fn of(descriptor: i32, domain: u32) ?Ends {
        const length: usize = switch (domain) {
            linux.AF.INET => 16,
            linux.AF.INET6 => 28,
            else => return null,
        };
        var ends: Ends = .{ .own_length = length, .peer_length = length };
        sys.socketPeerName(descriptor, ends.peer_bytes[0..length]) catch return null;
        const own_length = sys.ownAddressOf(descriptor, ends.own_bytes[0..length]) catch return null;
        return if (own_length == length) ends else null;
    }

    /// Of a socket that cannot be asked. Null: it is none of TCP, or its other side is gone.
    pub fn ofInode(tid: i32, inode: u64) ?Ends {
        const found = holders.endsOf(tid, inode) orelse return null;
        var ends: Ends = .{ .own_length = 0, .peer_length = 0 };
        ends.own_length = found.own.write(&ends.own_bytes);
        ends.peer_length = found.peer.write(&ends.peer_bytes);
        return ends;
    }

    pub fn own(ends: *const Ends) []const u8 {
        return ends.own_bytes[0..ends.own_length];
    }

    pub fn peer(ends: *const Ends) []const u8 {
        return ends.peer_bytes[0..ends.peer_length];
    }

    /// Both on this machine: loopback, or any other address of its own.
    pub fn areLocal(ends: *const Ends) bool {
        const near = Place.of(ends.own(), true) orelse return false;
        const far = Place.of(ends.peer(), true) orelse return false;
        return far.isLoopback() or std.mem.eql(u32, &near.v6Words(), &far.v6Words());
    }
};

pub const Clients = struct {
    /// -1: this kernel does not answer.
    socket: i32,

    pub fn init() Clients {
        return .{ .socket = sys.openSocketDiag() catch -1 };
    }

    pub fn deinit(clients: *Clients) void {
        if (clients.socket >= 0) sys.close(clients.socket);
    }

    /// Of the accepted socket that has these ends; 0: it is closed, or was not found.
    pub fn socketOf(clients: *const Clients, tid: i32, ends: *const Ends) u64 {
        const server = Place.of(ends.own(), true) orelse return 0;
        const client = Place.of(ends.peer(), true) orelse return 0;
        if (clients.socket >= 0 and status_file.isSameNetwork(tid)) {
            if (clients.ask(client, server)) |inode| return inode;
        }
        return holders.clientOf(tid, client, server);
    }

    /// Null: no answer.
    fn ask(clients: *const Clients, client: Place, server: Place) ?u64 {
        const question = Question.about(client, server);
        const sent = sys.write(clients.socket, std.mem.asBytes(&question)) catch return null;
        if (sent != @sizeOf(Question)) return null;
        var buffer: [4096]u8 align(8) = undefined;
        while (true) {
            const length = sys.read(clients.socket, &buffer) catch |e| switch (e) {
                error.Interrupted => continue,
                else => return null,
            };
            return inodeIn(buffer[0..length], &question.id);
        }
    }
};

/// struct inet_diag_sockid
const Id = extern struct {
    source_port: u16,
    destination_port: u16,
    source: [4]u32,
    destination: [4]u32,
    interface: u32 = 0,
    cookie: [2]u32 = @splat(std.math.maxInt(u32)), // INET_DIAG_NOCOOKIE
};

/// struct nlmsghdr, struct inet_diag_req_v2
const Question = extern struct {
    length: u32 = @sizeOf(Question),
    kind: u16 = sock_diag_by_family,
    flags: u16 = 1, // NLM_F_REQUEST: one socket, not a list
    sequence: u32 = 0,
    port: u32 = 0,
    family: u8,
    protocol: u8 = 6, // IPPROTO_TCP
    extensions: u8 = 0,
    pad: u8 = 0,
    states: u32 = std.math.maxInt(u32),
    id: Id,

    fn about(client: Place, server: Place) Question {
        const is_v4 = client.v4 != null and server.v4 != null;
        return .{
            .family = if (is_v4) linux.AF.INET else linux.AF.INET6,
            .id = .{
                .source_port = std.mem.nativeToBig(u16, client.port),
                .destination_port = std.mem.nativeToBig(u16, server.port),
                .source = if (is_v4) .{ client.v4.?, 0, 0, 0 } else client.v6,
                .destination = if (is_v4) .{ server.v4.?, 0, 0, 0 } else server.v6,
            },
        };
    }
};

const sock_diag_by_family = 20;
const header_size = 16;
/// In struct inet_diag_msg.
const id_at = header_size + 4;
const inode_at = header_size + 68;

comptime {
    assert(@sizeOf(Id) == 48);
    assert(@sizeOf(Question) == 72);
}

/// Null where it is about another socket: where none has these ends, the one that waits at the port answers.
fn inodeIn(message: []const u8, id: *const Id) ?u64 {
    if (message.len < inode_at + 4 or std.mem.readInt(u16, message[4..6], .little) != sock_diag_by_family) return null;
    const ends = @offsetOf(Id, "interface");
    if (!std.mem.eql(u8, message[id_at..][0..ends], std.mem.asBytes(id)[0..ends])) return null;
    return std.mem.readInt(u32, message[inode_at..][0..4], .little);
}

// ---------------------------------------------------------------------------------------------

const testing = std.testing;

test "answers are about the socket that was asked for, or say nothing" {
    const client = Place.of(&.{ 2, 0, 0x80, 1, 127, 0, 0, 1 }, true).?;
    const server = Place.of(&.{ 2, 0, 0x1f, 0x90, 127, 0, 0, 1 }, true).?;
    const question = Question.about(client, server);
    var message: [inode_at + 4]u8 = @splat(0);
    std.mem.writeInt(u16, message[4..6], sock_diag_by_family, .little);
    @memcpy(message[id_at..][0..@sizeOf(Id)], std.mem.asBytes(&question.id));
    std.mem.writeInt(u32, message[inode_at..][0..4], 4711, .little);
    try testing.expectEqual(@as(?u64, 4711), inodeIn(&message, &question.id));
    for (0..message.len) |length| try testing.expectEqual(null, inodeIn(message[0..length], &question.id));
    message[id_at + 2] ^= 1; // another port at the other end
    try testing.expectEqual(null, inodeIn(&message, &question.id));
    message[id_at + 2] ^= 1;
    message[4] = 2; // NLMSG_ERROR
    try testing.expectEqual(null, inodeIn(&message, &question.id));
}

test "the client of a real connection, by both ways, and nobody when it is closed" {
    var clients: Clients = .init();
    defer clients.deinit();
    var address = [_]u8{ 2, 0, 0, 0, 127, 0, 0, 1 } ++ @as([8]u8, @splat(0));
    const listener: i32 = @intCast(try sys.check(linux.socket(linux.AF.INET, linux.SOCK.STREAM, 0)));
    defer sys.close(listener);
    _ = try sys.check(linux.bind(listener, @ptrCast(@alignCast(&address)), address.len));
    _ = try sys.check(linux.listen(listener, 1));
    _ = try sys.ownAddressOf(listener, &address);
    const caller: i32 = @intCast(try sys.check(linux.socket(linux.AF.INET, linux.SOCK.STREAM, 0)));
    _ = try sys.check(linux.connect(caller, @ptrCast(@alignCast(&address)), address.len));
    const accepted: i32 = @intCast(try sys.check(linux.accept4(listener, null, null, 0)));
    defer sys.close(accepted);

    const ends = Ends.of(accepted, linux.AF.INET).?;
    var other: linux.Statx = undefined;
    try testing.expectEqual(linux.E.SUCCESS, sys.statx(accepted, "", linux.AT.EMPTY_PATH, &other));
    const again = Ends.ofInode(sys.ownPid(), other.ino).?;
    try testing.expectEqualSlices(u8, ends.own(), again.own());
    try testing.expectEqualSlices(u8, ends.peer(), again.peer());
    try testing.expectEqual(null, Ends.ofInode(sys.ownPid(), other.ino + 1 << 40));
    try testing.expect(ends.areLocal());
    const client = Place.of(ends.peer(), true).?;
    const server = Place.of(ends.own(), true).?;
    var stat: linux.Statx = undefined;
    try testing.expectEqual(linux.E.SUCCESS, sys.statx(caller, "", linux.AT.EMPTY_PATH, &stat));
    try testing.expectEqual(stat.ino, holders.clientOf(sys.ownPid(), client, server));
    if (clients.socket >= 0) try testing.expectEqual(stat.ino, clients.ask(client, server).?);
    try testing.expectEqual(stat.ino, clients.socketOf(sys.ownPid(), &ends));
    sys.close(caller);
    try testing.expectEqual(@as(u64, 0), clients.socketOf(sys.ownPid(), &ends));
}
