//! Message queues and shared memory of System V and POSIX. `queues own`: made, found again and used by ourselves and a child.
//! `queues hold KEY NAME`: makes a queue and a segment with KEY, and /NAME, says their numbers, and takes them away at its stdin's end;
//! `queues find KEY NAME`: looks all of them up; `queues send NUMBER`: sends to the queue of that number, without looking it up; `queues old KEY`: looks the
//! queue up by the older 32-bit call.
const t = @import("lib/tracee.zig");
const std = @import("std");
const linux = t.linux;
pub const panic = t.panic;

const private = 0;
const creat = 0o1000;
const exclusive = 0o2000;
const remove = 0; // IPC_RMID
const no_wait = 0o4000; // IPC_NOWAIT
const page = 4096;
const Message = extern struct { kind: u64 = 1, text: [8]u8 = "message\x00".* };

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    const Mode = enum { own, hold, find, send, old };
    const key = arguments.number(2, 0);
    const name: [*:0]const u8 = arguments.at(3) orelse "";
    switch (std.meta.stringToEnum(Mode, arguments.at(1) orelse "") orelse t.fail("queues MODE", 0)) {
        .own => own(),
        .hold => hold(key, name),
        .find => find(key, name),
        .send => send(key),
        .old => old(key),
    }
    t.exit(0);
}

fn own() void {
    const key = 0x7e57_0000 + @as(usize, @intCast(t.pid()));
    const unnamed = t.must(.msgget, .{ private, 0o600 });
    send(unnamed);
    _ = t.must(.msgctl, .{ unnamed, remove, null });
    const queue = t.must(.msgget, .{ key, creat | 0o600 });
    const segment = t.must(.shmget, .{ key, page, creat | exclusive | 0o600 });
    var buffer: [32]u8 = undefined;
    const name = t.format(&buffer, "queues-{d}", .{t.pid()});
    t.close(t.must(.mq_open, .{ name.ptr, t.O.rdwr | t.O.creat, 0o600, null }));
    const child = t.fork();
    if (child == 0) {
        find(key, name.ptr);
        t.exit(0);
    }
    if (t.reap(child) != 0) t.fail("the child", 0);
    _ = t.must(.msgctl, .{ queue, remove, null });
    _ = t.must(.shmctl, .{ segment, remove, null });
    _ = t.must(.mq_unlink, .{name.ptr});
}

fn hold(key: usize, name: [*:0]const u8) void {
    const queue = t.must(.msgget, .{ key, creat | exclusive | 0o666 });
    const segment = t.must(.shmget, .{ key, page, creat | exclusive | 0o666 });
    t.close(t.must(.mq_open, .{ name, t.O.rdwr | t.O.creat | t.O.excl, 0o666, null }));
    var line: t.Line = .{};
    line.begin("answer").text("what", "queue").number("value", queue).end();
    var byte: [1]u8 = undefined;
    _ = t.must(.read, .{ 0, &byte, 1 });
    _ = t.must(.msgctl, .{ queue, remove, null });
    _ = t.must(.shmctl, .{ segment, remove, null });
    _ = t.must(.mq_unlink, .{name});
}

fn find(key: usize, name: [*:0]const u8) void {
    send(t.must(.msgget, .{ key, 0 }));
    const segment = t.must(.shmget, .{ key, page, creat | 0o600 });
    _ = t.must(.shmat, .{ segment, null, 0 });
    t.close(t.must(.mq_open, .{ name, t.O.rdwr, 0, null }));
}

/// ipc(2): MSGGET, with a version above it that the kernel does not look at.
fn old(key: usize) void {
    const found = asm volatile ("int $0x80"
        : [result] "={eax}" (-> i32),
        : [number] "{eax}" (@as(u32, 117)),
          [call] "{ebx}" (@as(u32, 13 | 1 << 16)),
          [key] "{ecx}" (@as(u32, @truncate(key))),
          [flags] "{edx}" (@as(u32, 0)),
        : .{ .memory = true });
    if (found < 0) t.fail("ipc", found);
}

fn send(queue: usize) void {
    var message: Message = .{};
    _ = t.must(.msgsnd, .{ queue, &message, message.text.len, no_wait });
    _ = t.must(.msgrcv, .{ queue, &message, message.text.len, 0, no_wait });
}
