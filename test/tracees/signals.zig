//! Signals in the middle of calls: what arrives, how often, in which order, and which calls are interrupted by it, must not depend
//! on being traced. Every line is deterministic; a run that is bare and one that is traced are compared as text.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

const E = t.linux.E;
var counts: [65]u32 = @splat(0);
var values: [16]i32 = @splat(0);
var value_count: u32 = 0;

fn onSignal(number: i32, info: *const [32]i32, _: ?*anyopaque) callconv(.c) void {
    counts[@intCast(number)] += 1;
    if (number >= 34 and value_count < values.len) { // a real-time signal carries a value: si_value at 24
        values[value_count] = info[6];
        value_count += 1;
    }
}

fn restore() callconv(.naked) void {
    asm volatile (
        \\ movl $15, %%eax
        \\ syscall
    );
}

fn handle(number: u32, flags: u64) void {
    // The kernel's struct: handler, flags, restorer, mask.
    const action = [4]u64{ @intFromPtr(&onSignal), flags | 0x4000004, @intFromPtr(&restore), 0 };
    _ = t.must(.rt_sigaction, .{ number, &action, null, 8 });
}

const restart = 0x10000000;

fn say(what: []const u8, value: i64) void {
    var line: t.Line = .{};
    line.begin("signal").text("what", what).number("value", value).end();
}

pub fn main() void {
    queued();
    interruptedRead(false);
    interruptedRead(true);
    interruptedSleep();
    genuineTrap();
    deathByDefault();
    childEnds();
}

/// Blocked, sent three times each: a classic signal comes once, real-time ones come all and in order.
fn queued() void {
    handle(10, 0);
    handle(34, 0);
    const mask = @as(u64, 1) << 9 | @as(u64, 1) << 33;
    _ = t.must(.rt_sigprocmask, .{ 0, &mask, null, 8 });
    for (0..3) |i| {
        _ = t.must(.kill, .{ t.pid(), 10 });
        var info: [32]i32 = @splat(0);
        info[0] = 34;
        info[2] = -1; // SI_QUEUE
        info[4] = t.pid();
        info[6] = @intCast(100 + i);
        _ = t.must(.rt_sigqueueinfo, .{ t.pid(), 34, &info });
    }
    _ = t.must(.rt_sigprocmask, .{ 1, &mask, null, 8 });
    say("SIGUSR1 sent three times while blocked", counts[10]);
    say("real-time signal sent three times while blocked", counts[34]);
    for (values[0..value_count]) |value| say("its value", value);
}

/// A read from a pipe, interrupted by a signal of another process: EINTR, or gone on with SA_RESTART.
fn interruptedRead(with_restart: bool) void {
    handle(12, if (with_restart) restart else 0);
    var pipe: [2]i32 = undefined;
    _ = t.must(.pipe2, .{ &pipe, 0 });
    const reader = t.pid();
    const child = t.fork();
    if (child == 0) {
        waitUntilItSleeps(reader);
        _ = t.must(.kill, .{ reader, 12 });
        if (with_restart) {
            waitUntilItSleeps(reader);
            _ = t.must(.write, .{ pipe[1], "x", 1 });
        }
        t.exit(0);
    }
    var byte: [1]u8 = undefined;
    const result = t.call(.read, .{ pipe[0], &byte, 1 });
    say(if (with_restart) "read with SA_RESTART" else "read without SA_RESTART", result);
    _ = t.reap(child);
    say("SIGUSR2 so far", counts[12]);
    t.close(@intCast(pipe[0]));
    t.close(@intCast(pipe[1]));
}

/// State S in /proc/PID/stat, seen twice running: in its call, not on the way to it.
fn waitUntilItSleeps(process: i32) void {
    var seen: u32 = 0;
    while (seen < 20) {
        t.sleepMs(1);
        var path: [64]u8 = undefined;
        const name = t.format(&path, "/proc/{d}/stat", .{process});
        const descriptor = t.open(name, 0, 0);
        var text: [512]u8 = undefined;
        const length = t.must(.read, .{ descriptor, &text, text.len });
        t.close(descriptor);
        const end = std.mem.findScalarLast(u8, text[0..length], ')') orelse t.fail("stat", 0);
        seen = if (text[end + 2] == 'S') seen + 1 else 0;
    }
}

/// nanosleep answers EINTR when a handler ran, and goes on (restart_syscall) after a stop and SIGCONT.
fn interruptedSleep() void {
    handle(12, restart);
    const sleeper = t.pid();
    const child = t.fork();
    if (child == 0) {
        waitUntilItSleeps(sleeper);
        _ = t.must(.kill, .{ sleeper, 12 });
        t.exit(0);
    }
    var time: t.linux.timespec = .{ .sec = 600, .nsec = 0 };
    say("nanosleep with a handler", t.call(.nanosleep, .{ &time, &time }));
    _ = t.reap(child);

    const stopping = t.fork();
    if (stopping == 0) {
        waitUntilItSleeps(sleeper);
        _ = t.must(.kill, .{ sleeper, 19 });
        while (state(sleeper) != 'T' and state(sleeper) != 't') t.sleepMs(1);
        _ = t.must(.kill, .{ sleeper, 18 });
        t.exit(0);
    }
    var short: t.linux.timespec = .{ .sec = 0, .nsec = 300_000_000 };
    say("nanosleep over stop and continue", t.call(.nanosleep, .{ &short, &short }));
    _ = t.reap(stopping);
}

fn state(process: i32) u8 {
    var path: [64]u8 = undefined;
    const name = t.format(&path, "/proc/{d}/stat", .{process});
    const descriptor = t.open(name, 0, 0);
    var text: [512]u8 = undefined;
    const length = t.must(.read, .{ descriptor, &text, text.len });
    t.close(descriptor);
    const end = std.mem.findScalarLast(u8, text[0..length], ')') orelse t.fail("stat", 0);
    return text[end + 2];
}

/// A SIGTRAP of the program's own, by int3 and by kill: it is not ptrace's.
fn genuineTrap() void {
    handle(5, 0);
    asm volatile ("int3");
    _ = t.must(.kill, .{ t.pid(), 5 });
    say("SIGTRAP by int3 and by kill", counts[5]);
}

fn deathByDefault() void {
    for ([_]u32{ 1, 6, 11, 13, 34, 64 }) |signal| {
        const child = t.fork();
        if (child == 0) {
            var none: t.linux.rlimit = .{ .cur = 0, .max = 0 };
            _ = t.must(.prlimit64, .{ 0, @as(u32, 4), &none, null });
            const default: [4]u64 = @splat(0);
            _ = t.must(.rt_sigaction, .{ signal, &default, null, 8 });
            _ = t.must(.kill, .{ t.pid(), signal });
            t.exit(0);
        }
        say("wait status after a deadly signal", t.reap(child) & 0x7f);
    }
}

/// One SIGCHLD for each child's end, when each is waited for before the next ends.
fn childEnds() void {
    handle(17, restart);
    counts[17] = 0;
    for (0..3) |_| {
        const child = t.fork();
        if (child == 0) t.exit(0);
        _ = t.reap(child);
    }
    say("SIGCHLD for three children", counts[17]);
}
