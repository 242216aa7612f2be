//! Counts the signals that reach it and says each: `patient [die]`. Ends with status 0 when its stdin ends, after a line with the
//! totals. With `die` it handles nothing. The first line says that it is ready, and its pid.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

const watched = [_]u8{ 1, 2, 3, 10, 12, 14, 15, 18, 20, 28 };
var counts: [32]u32 = @splat(0);

/// Each signal is a byte in here: one that comes between two calls is not slept over, and none is blocked, which would
/// make two of them one.
var arrived: [2]i32 = undefined;

fn onSignal(number: i32) callconv(.c) void {
    const byte: u8 = @intCast(number);
    _ = t.call(.write, .{ arrived[1], &byte, 1 });
}

fn restore() callconv(.naked) void {
    asm volatile (
        \\ movl $15, %%eax
        \\ syscall
    );
}

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    _ = t.must(.pipe2, .{ &arrived, t.O.cloexec });
    if (arguments.at(1) == null) for (watched) |signal| {
        if (signal == 20) continue; // SIGTSTP keeps its effect: a shell's job control is under test
        const action = [4]u64{ @intFromPtr(&onSignal), 0x4000000, @intFromPtr(&restore), 0 };
        _ = t.must(.rt_sigaction, .{ @as(u32, signal), &action, null, 8 });
    };
    var line: t.Line = .{};
    line.begin("ready").number("pid", t.pid()).end();

    while (true) {
        var polled = [2]t.linux.pollfd{
            .{ .fd = arrived[0], .events = 1, .revents = 0 },
            .{ .fd = 0, .events = 1, .revents = 0 },
        };
        if (t.call(.poll, .{ &polled, polled.len, -1 }) < 0) continue;
        if (polled[0].revents != 0) {
            var signal: u8 = 0;
            _ = t.must(.read, .{ arrived[0], &signal, 1 });
            counts[signal] += 1;
            line.begin("got").number("signal", signal).number("count", counts[signal]).end();
            continue;
        }
        var buffer: [256]u8 = undefined;
        if (polled[1].revents != 0 and t.call(.read, .{ 0, &buffer, buffer.len }) <= 0) break;
    }
    line = .{};
    _ = line.begin("totals");
    inline for (watched) |signal| _ = line.number(std.fmt.comptimePrint("{d}", .{signal}), counts[signal]);
    line.end();
}
