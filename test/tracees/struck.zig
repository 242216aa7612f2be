//! Does one thing that a tracer stops at, when the test says so, and survives whatever happens to it meanwhile: `struck WHAT`.
//!
//!     command ── worker ── what WHAT makes
//!
//! The worker waits for a byte on stdin, does it, and ends with 5. The command says how its worker has really ended.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

const linux = t.linux;
var self_path: [:0]const u8 = undefined;
var environment: [*:null]const ?[*:0]const u8 = undefined;

const What = enum { open, write, fork, vfork, thread, exec, @"thread-exec", @"exec-below", signal, stop, filter, watched };

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    self_path = arguments.at(0) orelse t.fail("argv[0]", 0);
    environment = arguments.environment.ptr;
    const name = arguments.at(1) orelse t.fail("struck WHAT", 0);
    // A second image.
    if (std.mem.eql(u8, name, "image")) t.exit(5);
    const what = std.meta.stringToEnum(What, name) orelse t.fail("struck WHAT", 0);

    const worker = t.fork();
    if (worker == 0) {
        if (what == .filter) installFilter();
        var executor: t.Thread = .{};
        if (what == .@"exec-below") executor.start(executeLater, 0);
        var line: t.Line = .{};
        line.begin("answer").text("what", "worker").number("value", t.pid()).end();
        var byte: [1]u8 = undefined;
        while (t.call(.read, .{ 0, &byte, 1 }) == -@as(isize, @backingInt(linux.E.INTR))) {}
        do(what);
        t.exit(5);
    }
    const status = t.reap(worker);
    var line: t.Line = .{};
    const code = if (status & 0x7f != 0) 128 + (status & 0x7f) else status >> 8;
    line.begin("exit").number("pid", worker).number("status", code).end();
    // Who is watched goes on to be watched.
    t.makeFile("after", "written behind the worker's end");
    var buffer: [4096]u8 = undefined;
    line.begin("written").number("pid", t.pid()).text("path", t.absolute(&buffer, "after")).end();
}

fn do(what: What) void {
    switch (what) {
        .open, .filter => {
            const opened = t.call(.openat, .{ t.at_cwd, "opened", t.O.wronly | t.O.creat, 0o644 });
            if (opened >= 0) t.close(@intCast(opened));
        },
        .write => { // its next open waits for the reader's digest
            t.makeFile("read", "first content");
            t.readFile("read");
            t.makeFile("read", "second content");
        },
        .fork => {
            const child = t.fork();
            if (child == 0) {
                t.makeFile("child", "a child's");
                t.exit(3);
            }
            _ = t.reap(child);
        },
        .vfork => {
            const flags = linux.CLONE.VM | linux.CLONE.VFORK | @as(u32, @backingInt(linux.SIG.CHLD));
            const child: isize = @bitCast(linux.clone(execute, @intFromPtr(t.memory(t.stack_size)) + t.stack_size, flags, 0, null, 0, null));
            if (child > 0) _ = t.reap(@intCast(child));
        },
        .thread => {
            var thread: t.Thread = .{};
            thread.start(nothing, 0);
            thread.join();
        },
        .exec => _ = execute(0),
        .@"thread-exec" => {
            var sleepers: [2]t.Thread = .{ .{}, .{} };
            for (&sleepers) |*sleeper| sleeper.start(sleep, 0);
            var executor: t.Thread = .{};
            executor.start(execute, 0);
            while (true) t.sleepMs(10_000);
        },
        .@"exec-below" => { // its thread executes a program while the leader is about to open a file
            @atomicStore(u32, &begun, 1, .release);
            while (true) _ = t.call(.openat, .{ t.at_cwd, "opened", t.O.rdonly, 0 });
        },
        .signal => {
            const handled = [4]u64{ @intFromPtr(&onSignal), 0x4000000, @intFromPtr(&restore), 0 };
            _ = t.must(.rt_sigaction, .{ 10, &handled, null, 8 });
            _ = t.must(.kill, .{ t.pid(), 10 });
        },
        .stop => _ = t.must(.kill, .{ t.pid(), 19 }), // the test wakes it up
        .watched => connect(),
    }
}

fn nothing(_: usize) callconv(.c) u8 {
    return 0;
}

var begun: u32 = 0;

fn executeLater(_: usize) callconv(.c) u8 {
    while (@atomicLoad(u32, &begun, .acquire) == 0) std.atomic.spinLoopHint();
    return execute(0);
}

var asleep: u32 = 0;

fn sleep(_: usize) callconv(.c) u8 {
    @atomicStore(u32, &asleep, 1, .release);
    while (true) t.sleepMs(10_000);
}

fn execute(_: usize) callconv(.c) u8 {
    const argv = [_:null]?[*:0]const u8{ self_path.ptr, "image" };
    _ = t.call(.execve, .{ self_path.ptr, &argv, environment });
    return 127;
}

fn onSignal(_: i32) callconv(.c) void {}

fn restore() callconv(.naked) void {
    asm volatile (
        \\ movl $15, %%eax
        \\ syscall
    );
}

/// A thread sleeps while another one connects: from then on each call of both is looked at, so the sleeper is interrupted.
fn connect() void {
    const server = t.must(.socket, .{ 2, 1, 0 });
    var place: [16]u8 = .{ 2, 0, 0, 0, 127, 0, 0, 1 } ++ @as([8]u8, @splat(0));
    _ = t.must(.bind, .{ server, &place, place.len });
    _ = t.must(.listen, .{ server, 5 });
    var length: u32 = place.len;
    _ = t.must(.getsockname, .{ server, &place, &length });
    var sleeper: t.Thread = .{};
    sleeper.start(sleep, 0);
    while (@atomicLoad(u32, &asleep, .acquire) == 0) t.sleepMs(1);
    const client = t.must(.socket, .{ 2, 1, 0 });
    _ = t.must(.connect, .{ client, &place, place.len });
    t.writeAll(client, "hello");
    t.close(client);
}

/// Under a filter of its own every call of a process stops at entry and exit.
fn installFilter() void {
    const Filter = extern struct { code: u16, jt: u8 = 0, jf: u8 = 0, k: u32 };
    const Program = extern struct { length: u16, filter: [*]const Filter };
    const filter = [_]Filter{.{ .code = 0x06, .k = 0x7fff0000 }};
    const program: Program = .{ .length = filter.len, .filter = &filter };
    _ = t.must(.prctl, .{ 38, 1, 0, 0, 0 });
    _ = t.must(.seccomp, .{ 1, 0, &program });
}
