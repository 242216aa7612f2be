//! Job control without a terminal: a parent that stops and continues its child, and sees each state by waitid.
//! A tracer must neither swallow a stop nor keep what is to go on.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

const stopped = 2; // WSTOPPED of waitid
const continued = 8;
const exited = 4;
const p_pid = 1;

pub fn main() void {
    for ([_]u32{ 19, 20, 21, 22 }) |signal| stopAndGoOn(signal);
    stopItself();
    killWhileStopped();
    threadsStop();
}

/// si_code and si_status of the child's next change of state.
fn change(child: i32, states: u32) struct { code: i32, status: i32 } {
    var info: [32]i32 align(8) = @splat(0); // siginfo_t: code at 8, status at 24
    while (true) {
        const result = t.call(.waitid, .{ p_pid, child, &info, states, null });
        if (result == -@as(isize, @backingInt(t.linux.E.INTR))) continue;
        if (result < 0) t.fail("waitid", result);
        return .{ .code = info[2], .status = info[6] };
    }
}

fn expect(what: []const u8, found: anytype, code: i32, status: i32) void {
    if (found.code != code or found.status != status) {
        var line: t.Line = .{};
        line.begin("broken").text("what", what).number("code", found.code).number("status", found.status).end();
        t.exit(t.broken_status);
    }
}

/// In a process group of its own, whose parent is in our session but not in the group: in an orphaned group, as a
/// test runner without a terminal may have, the kernel ignores TSTP, TTIN and TTOU.
fn counting() i32 {
    const child = t.fork();
    if (child == 0) while (true) t.sleepMs(1);
    _ = t.must(.setpgid, .{ child, child });
    return child;
}

fn stopAndGoOn(signal: u32) void {
    const child = counting();
    _ = t.must(.kill, .{ child, signal });
    expect("stopped", change(child, stopped), 5, @intCast(signal)); // CLD_STOPPED
    _ = t.must(.kill, .{ child, 18 });
    expect("continued", change(child, continued), 6, 18); // CLD_CONTINUED
    _ = t.must(.kill, .{ child, 15 });
    expect("killed", change(child, exited), 2, 15); // CLD_KILLED
    var line: t.Line = .{};
    line.begin("exit").number("pid", child).number("status", 128 + 15).end();
}

fn stopItself() void {
    const child = t.fork();
    if (child == 0) {
        _ = t.must(.kill, .{ t.pid(), 19 });
        t.exit(4);
    }
    expect("stopped itself", change(child, stopped), 5, 19);
    _ = t.must(.kill, .{ child, 18 });
    expect("went on", change(child, exited), 1, 4); // CLD_EXITED
    var line: t.Line = .{};
    line.begin("exit").number("pid", child).number("status", 4).end();
}

fn killWhileStopped() void {
    const child = counting();
    _ = t.must(.kill, .{ child, 19 });
    expect("stopped", change(child, stopped), 5, 19);
    _ = t.must(.kill, .{ child, 9 });
    expect("killed while stopped", change(child, exited), 2, 9);
    var line: t.Line = .{};
    line.begin("exit").number("pid", child).number("status", 128 + 9).end();
}

/// All threads of a process stop and go on together.
fn threadsStop() void {
    const child = t.fork();
    if (child == 0) {
        var threads: [3]t.Thread = .{ .{}, .{}, .{} };
        for (&threads) |*thread| thread.start(tick, 0);
        while (true) t.sleepMs(1);
    }
    _ = t.must(.kill, .{ child, 19 });
    expect("threads stopped", change(child, stopped), 5, 19);
    _ = t.must(.kill, .{ child, 18 });
    expect("threads continued", change(child, continued), 6, 18);
    _ = t.must(.kill, .{ child, 9 });
    expect("threads killed", change(child, exited), 2, 9);
}

fn tick(_: usize) callconv(.c) u8 {
    while (true) t.sleepMs(1);
}
