//! How many bytes went through the TCP connections of the build. Nobody counts them while they go: when a socket is gone the kernel tells
//! whoever listens to its group of sock_diag(7), which takes no privilege, and with what was counted on it to the end. A socket has a
//! number for life there, its cookie, which is asked for when it connects.
//!
//! What is not told (another network namespace, a message lost, a socket that is still there when the run is over) is not known.
const std = @import("std");
const linux = std.os.linux;
const abi = @import("abi.zig");
const sys = @import("sys.zig");
const Records = @import("records.zig").Records;
const assert = std.debug.assert;

/// Connections whose end is waited for at the same time; of more the bytes are not known.
const expected_max = 8192;
const slots = 2 * expected_max;
/// The kernel tells it in a work queue, mostly before the process has returned from its close.
const last_words_ms = 100;

pub const Traffic = struct {
    /// -1: this kernel does not tell.
    socket: i32,
    /// By their hash, with linear probing; 0 is free. Nobody has cookie 0.
    expected: *[slots]u64,
    count: u32 = 0,

    pub fn init() sys.Error!Traffic {
        return .{
            .socket = sys.listenToEndedConnections() catch -1,
            .expected = @ptrCast(@alignCast(try sys.mapPrivate(@sizeOf([slots]u64)))),
        };
    }

    pub fn deinit(traffic: *Traffic) void {
        if (traffic.socket >= 0) sys.close(traffic.socket);
        sys.unmap(@ptrCast(@alignCast(traffic.expected)), @sizeOf([slots]u64));
    }

    /// A connection of the build, in our own network namespace.
    pub fn expect(traffic: *Traffic, cookie: u64) void {
        if (traffic.socket < 0 or cookie == 0 or traffic.count == expected_max) return;
        var at = slotOf(cookie);
        while (traffic.expected[at] != 0) : (at = (at + 1) % slots) if (traffic.expected[at] == cookie) return;
        traffic.expected[at] = cookie;
        traffic.count += 1;
    }

    /// Records of what has been told meanwhile.
    pub fn drain(traffic: *Traffic, records: *const Records) void {
        if (traffic.socket < 0) return;
        var buffer: [8192]u8 align(8) = undefined;
        while (true) {
            const length = sys.read(traffic.socket, &buffer) catch |e| switch (e) {
                error.Interrupted => continue,
                else => return, // nothing more; or some were lost, and are not known
            };
            const end = Ended.parse(buffer[0..length]) orelse continue;
            if (!traffic.take(end.cookie)) continue;
            _ = records.emit(.traffic, .{ .tid = 0, .process = 0 }, 0, .{
                .header = undefined,
                .cookie = end.cookie,
                .sent = end.sent,
                .received = end.received,
            }, &.{});
        }
    }

    /// After the last process.
    pub fn finish(traffic: *Traffic, records: *const Records) void {
        if (traffic.socket < 0) return;
        traffic.drain(records);
        while (traffic.count > 0) {
            var ready = [1]linux.pollfd{.{ .fd = traffic.socket, .events = linux.POLL.IN, .revents = 0 }};
            const any = sys.poll(&ready, last_words_ms) catch return;
            if (any == 0) return;
            traffic.drain(records);
        }
    }

    fn take(traffic: *Traffic, cookie: u64) bool {
        var at = slotOf(cookie);
        while (traffic.expected[at] != cookie) : (at = (at + 1) % slots) if (traffic.expected[at] == 0) return false;
        traffic.count -= 1;
        // Close the hole, so that those behind it are still found.
        var hole = at;
        while (true) {
            at = (at + 1) % slots;
            const other = traffic.expected[at];
            if (other == 0) break;
            const wanted = slotOf(other);
            const may_stay = if (hole <= at) wanted > hole and wanted <= at else wanted > hole or wanted <= at;
            if (may_stay) continue;
            traffic.expected[hole] = other;
            hole = at;
        }
        traffic.expected[hole] = 0;
        return true;
    }

    fn slotOf(cookie: u64) usize {
        return @intCast(std.hash.int(cookie) % slots);
    }
};

/// struct nlmsghdr, struct inet_diag_msg, attributes.
const Ended = struct {
    cookie: u64,
    sent: u64,
    received: u64,

    const header_size = 16;
    const cookie_at = header_size + 44;
    const attributes_at = header_size + 72;
    const inet_diag_info = 2;
    // struct tcp_info, which only grows at its end: Linux 4.19 has all of these.
    const bytes_received_at = 128;
    const bytes_sent_at = 200;
    const bytes_retransmitted_at = 208;

    fn parse(message: []const u8) ?Ended {
        if (message.len < attributes_at) return null;
        var at: usize = attributes_at;
        while (at + 4 <= message.len) {
            const length = std.mem.readInt(u16, message[at..][0..2], .little);
            const kind = std.mem.readInt(u16, message[at + 2 ..][0..2], .little);
            if (length < 4 or at + length > message.len) return null;
            const info = message[at + 4 .. at + length];
            if (kind == inet_diag_info and info.len >= bytes_retransmitted_at + 8) return .{
                .cookie = std.mem.readInt(u64, message[cookie_at..][0..8], .little),
                .sent = word(info, bytes_sent_at) -| word(info, bytes_retransmitted_at),
                .received = word(info, bytes_received_at),
            };
            at += std.mem.alignForward(usize, length, 4);
        }
        return null;
    }

    fn word(info: []const u8, at: usize) u64 {
        return std.mem.readInt(u64, info[at..][0..8], .little);
    }
};

// ---------------------------------------------------------------------------------------------

const testing = std.testing;

test "cookies are expected once, found among others, and gone when taken" {
    var traffic = try Traffic.init();
    defer traffic.deinit();
    if (traffic.socket < 0) return error.SkipZigTest;
    for (1..expected_max + 2) |cookie| traffic.expect(cookie);
    traffic.expect(7);
    try testing.expectEqual(@as(u32, expected_max), traffic.count);
    try testing.expect(!traffic.take(expected_max + 1)); // one too many
    for (1..expected_max + 1) |i| {
        const cookie = expected_max + 1 - i;
        try testing.expect(traffic.take(cookie));
        try testing.expect(!traffic.take(cookie));
    }
    try testing.expectEqual(@as(u32, 0), traffic.count);
    try testing.expect(std.mem.allEqual(u64, traffic.expected, 0));
}

test "messages that are too short, or whose attributes lie, say nothing" {
    var message: [Ended.attributes_at + 4 + 216]u8 = @splat(0);
    std.mem.writeInt(u16, message[Ended.attributes_at..][0..2], 4 + 216, .little);
    message[Ended.attributes_at + 2] = Ended.inet_diag_info;
    message[Ended.cookie_at] = 9;
    message[Ended.attributes_at + 4 + Ended.bytes_sent_at] = 100;
    message[Ended.attributes_at + 4 + Ended.bytes_retransmitted_at] = 30;
    message[Ended.attributes_at + 4 + Ended.bytes_received_at] = 5;
    try testing.expectEqual(Ended{ .cookie = 9, .sent = 70, .received = 5 }, Ended.parse(&message).?);
    for (0..message.len) |length| try testing.expectEqual(null, Ended.parse(message[0..length]));
    std.mem.writeInt(u16, message[Ended.attributes_at..][0..2], 3, .little);
    try testing.expectEqual(null, Ended.parse(&message));
}
