//! A descriptor that was opened outside of the build: `outsider serve SOCKET FILE` opens a file and gives its descriptor to one who
//! connects; `outsider take SOCKET` connects, receives and reads it. `outsider hold FILE` opens and waits for its stdin's end;
//! `outsider steal PID NUMBER` takes that process's descriptor by pidfd_getfd and reads it. `outsider datagrams COUNT PORT` sends so many to a
//! socket of its own and one more to that port, all by one sendmmsg.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

const Address = extern struct { family: u16 = 1, path: [108]u8 = @splat(0) };
/// cmsghdr with one descriptor: SOL_SOCKET, SCM_RIGHTS.
const Control = extern struct { length: u64 = 20, level: u32 = 1, kind: u32 = 1, descriptor: i32 align(8) = -1 };
const Message = extern struct {
    name: u64 = 0,
    name_length: u64 = 0,
    parts: *const [1]std.posix.iovec,
    count: u64 = 1,
    control: *Control,
    control_length: u64 = @sizeOf(Control),
    flags: u64 = 0,
};

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    const Mode = enum { serve, take, hold, steal, datagrams };
    switch (std.meta.stringToEnum(Mode, arguments.at(1) orelse "") orelse t.fail("outsider MODE", 0)) {
        .serve => serve(arguments.at(2).?, arguments.at(3).?),
        .take => take(arguments.at(2).?),
        .hold => hold(arguments.at(2).?),
        .steal => steal(arguments.number(2, 0), arguments.number(3, 0)),
        .datagrams => datagrams(arguments.number(2, 1), @intCast(arguments.number(3, 0))),
    }
    t.exit(0);
}

/// struct sockaddr_in, of 127.0.0.1; the port as it is sent.
const Port = extern struct { family: u16 = 2, port: u16 = 0, address: [4]u8 = .{ 127, 0, 0, 1 }, rest: u64 = 0 };
const Several = extern struct {
    name: *const Port,
    name_length: u64 = @sizeOf(Port),
    parts: *const [1]std.posix.iovec,
    count: u64 = 1,
    control: u64 = 0,
    control_length: u64 = 0,
    flags: u64 = 0,
    sent: u64 = 0,
};

fn datagrams(count: u64, port: u16) void {
    var own: Port = .{};
    const receiver = t.must(.socket, .{ 2, 2, 0 });
    _ = t.must(.bind, .{ receiver, &own, @sizeOf(Port) });
    var length: u32 = @sizeOf(Port);
    _ = t.must(.getsockname, .{ receiver, &own, &length });
    const other: Port = .{ .port = std.mem.nativeToBig(u16, port) };
    var byte: u8 = 'x';
    const parts = [1]std.posix.iovec{.{ .base = @ptrCast(&byte), .len = 1 }};
    var messages: [64]Several = @splat(.{ .name = &own, .parts = &parts });
    messages[count].name = &other;
    const sent = t.must(.sendmmsg, .{ t.must(.socket, .{ 2, 2, 0 }), &messages, count + 1, 0 });
    if (sent != count + 1) t.fail("sendmmsg", @intCast(sent));
}

fn addressOf(path: []const u8) Address {
    var address: Address = .{};
    @memcpy(address.path[0..path.len], path);
    return address;
}

fn serve(socket_path: []const u8, file: [:0]const u8) void {
    const descriptor = t.open(file.ptr, t.O.rdonly, 0);
    const listener = t.must(.socket, .{ 1, 1, 0 });
    const address = addressOf(socket_path);
    _ = t.must(.bind, .{ listener, &address, @sizeOf(Address) });
    _ = t.must(.listen, .{ listener, 1 });
    const connection = t.must(.accept4, .{ listener, null, null, 0 });
    var byte: u8 = 0;
    const parts = [1]std.posix.iovec{.{ .base = @ptrCast(&byte), .len = 1 }};
    var control: Control = .{ .descriptor = @intCast(descriptor) };
    const message: Message = .{ .parts = &parts, .control = &control };
    _ = t.must(.sendmsg, .{ connection, &message, 0 });
}

fn take(socket_path: []const u8) void {
    const socket = t.must(.socket, .{ 1, 1, 0 });
    const address = addressOf(socket_path);
    _ = t.must(.connect, .{ socket, &address, @sizeOf(Address) });
    var byte: u8 = 0;
    const parts = [1]std.posix.iovec{.{ .base = @ptrCast(&byte), .len = 1 }};
    var control: Control = .{};
    const message: Message = .{ .parts = &parts, .control = &control };
    _ = t.must(.recvmsg, .{ socket, &message, 0 });
    readAndSay("SCM_RIGHTS", @intCast(control.descriptor));
}

fn hold(file: [:0]const u8) void {
    var line: t.Line = .{};
    const descriptor = t.open(file.ptr, t.O.rdonly, 0);
    line.begin("answer").text("what", "descriptor").number("value", descriptor).end();
    var byte: [1]u8 = undefined;
    _ = t.must(.read, .{ 0, &byte, 1 });
}

fn steal(process: u64, number: u64) void {
    const handle = t.must(.pidfd_open, .{ process, 0 });
    const taken = t.call(.pidfd_getfd, .{ handle, number, 0 });
    var line: t.Line = .{};
    line.begin("event").number("pid", t.pid()).text("syscall", "pidfd_getfd").end();
    if (taken >= 0) readAndSay("pidfd_getfd", @intCast(taken));
}

/// The content did reach us.
fn readAndSay(what: []const u8, descriptor: usize) void {
    var buffer: [64]u8 = undefined;
    var line: t.Line = .{};
    line.begin("answer").text("what", what).number("value", t.must(.pread64, .{ descriptor, &buffer, buffer.len, 0 })).end();
}
