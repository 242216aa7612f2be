//! `socketcall PORT`: connects to that port of 127.0.0.1 and asks for a page by HTTP, all through socketcall(2) of the 32-bit table: one
//! connection by send, one by sendmsg in two parts, one with a Host that the descriptor's second number gets.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

const Which = enum(u32) { socket = 1, connect = 3, send = 9, recv = 10, shutdown = 13, sendmsg = 16 };

/// In the low 4 GiB, where 32-bit pointers reach.
const Low = extern struct {
    words: [6]u32 = @splat(0),
    address: [16]u8 = @splat(0),
    text: [256]u8 = @splat(0),
    parts: [2][2]u32 = @splat(@splat(0)),
    message: [7]u32 = @splat(0),
};
var low: *Low = undefined;

fn socketcall(which: Which, arguments: anytype) i32 {
    low.words = @splat(0);
    inline for (arguments, 0..) |argument, i| low.words[i] = argument;
    return asm volatile ("int $0x80"
        : [result] "={eax}" (-> i32),
        : [number] "{eax}" (@as(u32, 102)),
          [a] "{ebx}" (@backingInt(which)),
          [b] "{ecx}" (at(&low.words)),
        : .{ .r8 = true, .r9 = true, .r10 = true, .r11 = true, .memory = true });
}

fn at(pointer: anytype) u32 {
    return @intCast(@intFromPtr(pointer));
}

fn request(comptime host: []const u8) u32 {
    const text = "GET / HTTP/1.1\r\nHost: " ++ host ++ "\r\n\r\n";
    @memcpy(low.text[0..text.len], text);
    return text.len;
}

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    const port: u16 = @intCast(arguments.number(1, 0));
    low = @ptrFromInt(t.must(.mmap, .{ 0, 4096, 3, 0x62, -1, 0 })); // MAP_32BIT
    low.* = .{};
    low.address[0] = 2;
    std.mem.writeInt(u16, low.address[2..4], port, .big);
    low.address[4..8].* = .{ 127, 0, 0, 1 };

    const first = connected() orelse t.exit(0); // a kernel without IA32 emulation
    expect(socketcall(.send, .{ first, at(&low.text), request("send.example"), 0 }));
    expect(socketcall(.shutdown, .{ first, 1 }));

    const second = connected().?;
    const length = request("sendmsg.example");
    low.parts = .{ .{ at(&low.text), 9 }, .{ at(&low.text) + 9, length - 9 } };
    low.message = .{ 0, 0, at(&low.parts), 2, 0, 0, 0 };
    expect(socketcall(.sendmsg, .{ second, at(&low.message), 0 }));

    const third = connected().?;
    const copy: u32 = @intCast(t.must(.dup, .{third}));
    t.close(third);
    expect(socketcall(.send, .{ copy, at(&low.text), request("dup.example"), 0 }));
    expect(socketcall(.recv, .{ copy, at(&low.text), 1, 0 }));
    t.exit(0);
}

fn connected() ?u32 {
    const socket = socketcall(.socket, .{ 2, 1, 0 });
    if (socket == -@as(i32, @backingInt(t.linux.E.NOSYS))) return null;
    expect(socket);
    expect(socketcall(.connect, .{ @as(u32, @intCast(socket)), at(&low.address), 16 }));
    return @intCast(socket);
}

fn expect(result: i32) void {
    if (result < 0) t.fail("socketcall", result);
}
