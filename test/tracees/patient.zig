//! Counts the signals that reach it and says each: `patient [die]`. Ends with status 0 when its stdin ends, after a line with the
//! totals. With `die` it handles nothing. The first line says that it is ready, and its pid.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

const watched = [_]u8{ 1, 2, 3, 10, 12, 15, 18, 20, 28 };
var counts: [32]u32 = @splat(0);

fn onSignal(number: i32) callconv(.c) void {
    _ = @atomicRmw(u32, &counts[@intCast(number)], .Add, 1, .monotonic);
}

fn restore() callconv(.naked) void {
    asm volatile (
        \\ movl $15, %%eax
        \\ syscall
    );
}

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    if (arguments.at(1) == null) for (watched) |signal| {
        if (signal == 20) continue; // SIGTSTP keeps its effect: a shell's job control is under test
        // No SA_RESTART: a signal wakes us from the read below.
        const action = [4]u64{ @intFromPtr(&onSignal), 0x4000000, @intFromPtr(&restore), 0 };
        _ = t.must(.rt_sigaction, .{ @as(u32, signal), &action, null, 8 });
    };
    var line: t.Line = .{};
    line.begin("ready").number("pid", t.pid()).end();

    var said: [32]u32 = @splat(0);
    var buffer: [256]u8 = undefined;
    while (true) {
        const result = t.call(.read, .{ 0, &buffer, buffer.len });
        for (watched) |signal| {
            const count = @atomicLoad(u32, &counts[signal], .monotonic);
            if (count != said[signal]) line.begin("got").number("signal", signal).number("count", count).end();
            said[signal] = count;
        }
        if (result == -@as(isize, @backingInt(t.linux.E.INTR))) continue;
        if (result <= 0) break;
    }
    line = .{};
    _ = line.begin("totals");
    inline for (watched) |signal| _ = line.number(std.fmt.comptimePrint("{d}", .{signal}), counts[signal]);
    line.end();
}
