//! Who waits at a port of this machine, or is connected to it: the inode of the socket, from /proc/TID/net, which is the tracee's network
//! namespace. In the lists of TCP those that listen come first.
const std = @import("std");
const sys = @import("sys.zig");

pub const Protocol = enum { tcp, udp };

/// An address and port of this machine, as they are in memory. IPv4 counts as IPv6 too: a socket for all addresses has both.
pub const Place = struct {
    protocol: Protocol,
    /// Null: an IPv6 address.
    v4: ?u32,
    v6: [4]u32 = @splat(0),
    port: u16,

    /// Of a struct sockaddr. Null for any other family.
    pub fn of(address: []const u8, is_stream: bool) ?Place {
        if (address.len < 8) return null;
        const port = std.mem.readInt(u16, address[2..4], .big);
        const protocol: Protocol = if (is_stream) .tcp else .udp;
        switch (std.mem.readInt(u16, address[0..2], .little)) {
            2 => return .{ .protocol = protocol, .v4 = std.mem.readInt(u32, address[4..8], .little), .port = port },
            10 => {
                if (address.len < 24) return null;
                const words = std.mem.bytesToValue([4]u32, address[8..24]);
                const is_mapped = words[0] == 0 and words[1] == 0 and words[2] == 0xffff_0000;
                return .{ .protocol = protocol, .v4 = if (is_mapped) words[3] else null, .v6 = words, .port = port };
            },
            else => return null,
        }
    }

    /// 127.0.0.0/8, ::1, and the two that mean it to connect.
    pub fn isLoopback(place: Place) bool {
        if (place.v4) |word| return word & 0xff == 127 or word == 0;
        const words = place.v6;
        return words[0] == 0 and words[1] == 0 and words[2] == 0 and (words[3] == 0 or words[3] == 0x0100_0000);
    }

    fn at(words: [4]u32, port: u16) Place {
        const is_mapped = words[0] == 0 and words[1] == 0 and words[2] == 0xffff_0000;
        return .{ .protocol = .tcp, .v4 = if (is_mapped) words[3] else null, .v6 = words, .port = port };
    }

    /// struct sockaddr_in, or struct sockaddr_in6.
    pub fn write(place: Place, into: *[28]u8) usize {
        @memset(into, 0);
        std.mem.writeInt(u16, into[2..4], place.port, .big);
        if (place.v4) |word| {
            into[0] = 2;
            @memcpy(into[4..8], std.mem.asBytes(&word));
            return 16;
        }
        into[0] = 10;
        @memcpy(into[8..24], std.mem.asBytes(&place.v6));
        return 28;
    }

    /// The same of both families.
    pub fn v6Words(place: Place) [4]u32 {
        return if (place.v4) |word| .{ 0, 0, 0xffff_0000, word } else place.v6;
    }
};

const list_max = 1 << 20;
const listening = 0x0a;
const unconnected = 0x07;

/// 0: nobody. `own` is the socket that asks.
pub fn holderOf(tid: i32, place: Place, own: u64) u64 {
    var best: Best = .{ .place = place, .own = own };
    if (place.v4 != null) search(tid, if (place.protocol == .tcp) "net/tcp" else "net/udp", &best);
    if (!best.is_exact) search(tid, if (place.protocol == .tcp) "net/tcp6" else "net/udp6", &best);
    return best.inode;
}

/// The socket at `client` that is connected to `server`. 0: it is closed, or there is none, or too many are before it.
pub fn clientOf(tid: i32, client: Place, server: Place) u64 {
    var pair: Pair = .{ .client = client.v6Words(), .server = server.v6Words(), .ports = .{ client.port, server.port } };
    if (client.v4 != null) search(tid, "net/tcp", &pair);
    if (!pair.is_found) search(tid, "net/tcp6", &pair);
    return pair.inode;
}

/// Both ends of the connection by TCP that a socket is, where it cannot be asked itself.
pub fn endsOf(tid: i32, inode: u64) ?struct { own: Place, peer: Place } {
    var socket: Connected = .{ .inode = inode };
    search(tid, "net/tcp", &socket);
    if (socket.line == null) search(tid, "net/tcp6", &socket);
    const line = socket.line orelse return null;
    if (line.state == listening) return null;
    return .{ .own = .at(line.asV6(line.words), line.port), .peer = .at(line.asV6(line.peer), line.peer_port) };
}

/// Whether a socket is one of these, and is bound or connected.
pub fn isListed(tid: i32, protocol: Protocol, inode: u64) bool {
    var socket: Connected = .{ .inode = inode };
    search(tid, if (protocol == .tcp) "net/tcp" else "net/udp", &socket);
    if (socket.line == null) search(tid, if (protocol == .tcp) "net/tcp6" else "net/udp6", &socket);
    return socket.line != null;
}

const Connected = struct {
    inode: u64,
    line: ?Line = null,

    /// Whether more lines are of interest.
    fn consider(socket: *Connected, line: Line) bool {
        if (line.inode != socket.inode or line.inode == 0) return true;
        socket.line = line;
        return false;
    }
};

const Pair = struct {
    client: [4]u32,
    server: [4]u32,
    ports: [2]u16,
    inode: u64 = 0,
    is_found: bool = false,

    /// Whether more lines are of interest.
    fn consider(pair: *Pair, line: Line) bool {
        if (line.port != pair.ports[0] or line.peer_port != pair.ports[1]) return true;
        if (!std.mem.eql(u32, &line.asV6(line.words), &pair.client)) return true;
        if (!std.mem.eql(u32, &line.asV6(line.peer), &pair.server)) return true;
        pair.inode = line.inode;
        pair.is_found = true;
        return false;
    }
};

const Best = struct {
    place: Place,
    own: u64,
    inode: u64 = 0,
    is_exact: bool = false,

    /// Whether more lines are of interest.
    fn consider(best: *Best, line: Line) bool {
        if (best.place.protocol == .tcp and line.state != listening) return false; // no more of those follow
        best.weigh(line);
        return true;
    }

    fn weigh(best: *Best, line: Line) void {
        if (line.port != best.place.port or line.inode == 0 or line.inode == best.own) return;
        if (line.state != if (best.place.protocol == .tcp) @as(u8, listening) else unconnected) return;
        const is_any = line.words[0] == 0 and line.words[1] == 0 and line.words[2] == 0 and line.words[3] == 0;
        const is_exact = if (best.place.v4) |word|
            line.words[3] == word and (line.count == 1 or line.words[2] == 0xffff_0000)
        else
            line.count == 4 and std.mem.eql(u32, &line.words, &best.place.v6);
        // 0.0.0.0 is whichever address the waiting one has.
        const is_meant = if (best.place.v4) |word| word == 0 else std.mem.allEqual(u32, &best.place.v6, 0);
        if (!is_exact and !is_any and !is_meant) return;
        if (best.inode != 0 and !is_exact) return;
        best.inode = line.inode;
        best.is_exact = is_exact;
    }
};

/// `best` considers one line after the other.
fn search(tid: i32, list: []const u8, best: anytype) void {
    var path: [64]u8 = undefined;
    const descriptor = switch (sys.openReadOnly(sys.procPath(&path, tid, list))) {
        .descriptor => |number| number,
        .failed => return,
    };
    defer sys.close(descriptor);
    var buffer: [8192]u8 = undefined;
    var filled: usize = 0;
    var total: usize = 0;
    while (total < list_max) {
        const got = sys.read(descriptor, buffer[filled..]) catch return;
        if (got == 0) return;
        total += got;
        filled += got;
        var from: usize = 0;
        while (std.mem.findScalar(u8, buffer[from..filled], '\n')) |length| {
            if (Line.parse(buffer[from..][0..length])) |line| {
                if (!best.consider(line)) return;
            }
            from += length + 1;
        }
        std.mem.copyForwards(u8, &buffer, buffer[from..filled]);
        filled -= from;
        if (filled == buffer.len) return; // no line is that long
    }
}

const Line = struct {
    /// As in memory; of IPv4 only the last one.
    words: [4]u32,
    peer: [4]u32,
    count: u8,
    port: u16,
    peer_port: u16,
    state: u8,
    inode: u64,

    /// `  0: 0100007F:1F90 00000000:0000 0A … uid timeout inode …`; null for the headings.
    fn parse(text: []const u8) ?Line {
        var fields = std.mem.tokenizeScalar(u8, text, ' ');
        _ = fields.next() orelse return null;
        const local = End.parse(fields.next() orelse return null) orelse return null;
        const remote = End.parse(fields.next() orelse return null) orelse return null;
        const state = fields.next() orelse return null;
        for (0..5) |_| _ = fields.next() orelse return null; // queues, timer, retransmissions, uid, timeout
        const inode = fields.next() orelse return null;
        return .{
            .words = local.words,
            .peer = remote.words,
            .count = local.count,
            .port = local.port,
            .peer_port = remote.port,
            .state = std.fmt.parseInt(u8, state, 16) catch return null,
            .inode = std.fmt.parseInt(u64, inode, 10) catch return null,
        };
    }

    fn asV6(line: *const Line, words: [4]u32) [4]u32 {
        return if (line.count == 4) words else .{ 0, 0, 0xffff_0000, words[3] };
    }
};

const End = struct {
    words: [4]u32,
    count: u8,
    port: u16,

    fn parse(text: []const u8) ?End {
        const colon = std.mem.findScalar(u8, text, ':') orelse return null;
        if (colon != 8 and colon != 32) return null;
        var end: End = .{
            .words = @splat(0),
            .count = @intCast(colon / 8),
            .port = std.fmt.parseInt(u16, text[colon + 1 ..], 16) catch return null,
        };
        for (0..end.count) |i| {
            end.words[4 - end.count + i] = std.fmt.parseInt(u32, text[8 * i ..][0..8], 16) catch return null;
        }
        return end;
    }
};

// ---------------------------------------------------------------------------------------------

const testing = std.testing;

test "places" {
    const v4 = Place.of(&.{ 2, 0, 0x1f, 0x90, 127, 0, 0, 1 }, true).?;
    try testing.expectEqual(@as(u16, 8080), v4.port);
    try testing.expect(v4.isLoopback());
    try testing.expect(!Place.of(&.{ 2, 0, 0, 80, 192, 0, 2, 1 }, true).?.isLoopback());
    const mapped = [_]u8{ 10, 0, 0, 80, 0, 0, 0, 0 } ++ [_]u8{ 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1 };
    try testing.expect(Place.of(&mapped, true).?.isLoopback());
    const six = [_]u8{ 10, 0, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 };
    try testing.expect(Place.of(&six, true).?.isLoopback());
    try testing.expectEqual(null, Place.of(&.{ 1, 0, 47, 97, 0, 0, 0, 0 }, true));
}

test "lines" {
    const line = Line.parse("   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 00 100 0 0 10 0").?;
    try testing.expectEqual(@as(u64, 4711), line.inode);
    try testing.expectEqual(@as(u16, 0x1f90), line.port);
    try testing.expectEqual(@as(u32, 0x0100007f), line.words[3]);
    try testing.expectEqual(null, Line.parse("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"));
    try testing.expectEqual(null, Line.parse(""));
}

test "the exact address wins over all addresses, and the asker is nobody" {
    const place = Place.of(&.{ 2, 0, 0, 80, 127, 0, 0, 1 }, true).?;
    var best: Best = .{ .place = place, .own = 9 };
    const any: Line = .{ .words = @splat(0), .peer = @splat(0), .count = 1, .port = 80, .peer_port = 0, .state = listening, .inode = 1 };
    var exact = any;
    exact.words[3] = 0x0100007f;
    exact.inode = 2;
    var own = exact;
    own.inode = 9;
    var other = any;
    other.port = 81;
    for ([_]Line{ other, any, exact, any, own }) |line| try testing.expect(best.consider(line));
    try testing.expectEqual(@as(u64, 2), best.inode);
}

test "places as struct sockaddr" {
    var bytes: [28]u8 = undefined;
    const v4 = [_]u8{ 2, 0, 0, 80, 127, 0, 0, 1 };
    try testing.expectEqual(@as(usize, 16), Place.at(Place.of(&v4, true).?.v6Words(), 80).write(&bytes));
    try testing.expectEqualSlices(u8, &v4, bytes[0..8]);
    const v6 = [_]u8{ 10, 0, 0, 80, 0, 0, 0, 0, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 };
    try testing.expectEqual(@as(usize, 28), Place.of(&v6, true).?.write(&bytes));
    try testing.expectEqualSlices(u8, &v6, bytes[0..24]);
}

test "a client is known by both ends, whichever family either has" {
    const client = Place.of(&.{ 2, 0, 0x80, 1, 127, 0, 0, 1 }, true).?;
    const server = Place.of(&.{ 2, 0, 0x1f, 0x90, 127, 0, 0, 1 }, true).?;
    const lines = [_][]const u8{
        "0: 0100007F:1F90 0100007F:8001 01 0:0 0:0 0 0 0 1 1", // the accepted one
        "1: 0100007F:8001 0100007F:1F91 01 0:0 0:0 0 0 0 2 1", // to another port
        "2: 0200007F:8001 0100007F:1F90 01 0:0 0:0 0 0 0 3 1", // from another address
        "3: 0000000000000000FFFF00000100007F:8001 0000000000000000FFFF00000100007F:1F90 01 0:0 0:0 0 0 0 4 1",
        "4: 0100007F:8001 0100007F:1F90 01 0:0 0:0 0 0 0 4 1",
    };
    for (lines, 0..) |text, i| {
        var pair: Pair = .{ .client = client.v6Words(), .server = server.v6Words(), .ports = .{ client.port, server.port } };
        try testing.expectEqual(i < 3, pair.consider(Line.parse(text).?));
        try testing.expectEqual(@as(u64, if (i < 3) 0 else 4), pair.inode);
    }
}
