//! Turns on its tracer and on the process that started it: reads and writes memory and environment, takes descriptors, sends
//! signals, traces. Each line says what was answered; nothing of it may succeed.
const t = @import("lib/tracee.zig");
const lineage = @import("lib/lineage.zig");
const std = @import("std");
pub const panic = t.panic;

pub fn main() void {
    const tracer = lineage.tracer();
    if (tracer == 0) return; // nobody to attack
    const front_end = lineage.frontEnd();
    // Signals come last: if one gets through there is nobody left to see it.
    for ([_]i32{ tracer, front_end }) |victim| {
        files(victim);
        memory(victim);
        descriptors(victim);
        tracing(victim);
    }
    for ([_]i32{ tracer, front_end }) |victim| signals(victim);
}

/// `done`: the attack went through.
fn say(what: []const u8, victim: i32, result: isize) void {
    var line: t.Line = .{};
    line.begin("attack").text("what", what).number("victim", victim).number("result", result).boolean("done", result >= 0).end();
}

fn files(victim: i32) void {
    for ([_][]const u8{ "mem", "environ", "fd/0", "auxv", "syscall", "stack" }) |name| {
        var path: [64]u8 = undefined;
        const result = t.call(.openat, .{ t.at_cwd, t.format(&path, "/proc/{d}/{s}", .{ victim, name }).ptr, t.O.rdonly | t.O.nonblock, 0 });
        say(name, victim, result);
        if (result >= 0) t.close(@intCast(result));
    }
    var path: [64]u8 = undefined;
    say("mem, to write", victim, t.call(.openat, .{ t.at_cwd, t.format(&path, "/proc/{d}/mem", .{victim}).ptr, t.O.rdwr, 0 }));
}

fn memory(victim: i32) void {
    var word: u64 = 0;
    const local = [1]std.posix.iovec{.{ .base = @ptrCast(&word), .len = 8 }};
    const remote = [1]std.posix.iovec{.{ .base = @ptrFromInt(0x400000), .len = 8 }};
    say("process_vm_readv", victim, t.call(.process_vm_readv, .{ victim, &local, 1, &remote, 1, 0 }));
    say("process_vm_writev", victim, t.call(.process_vm_writev, .{ victim, &local, 1, &remote, 1, 0 }));
}

fn descriptors(victim: i32) void {
    const handle = t.call(.pidfd_open, .{ victim, 0 });
    if (handle < 0) return;
    const taken = t.call(.pidfd_getfd, .{ handle, 0, 0 });
    say("pidfd_getfd", victim, taken);
    t.close(@intCast(handle));
}

fn tracing(victim: i32) void {
    const seize = 0x4206;
    const attach = 16;
    say("PTRACE_SEIZE", victim, t.call(.ptrace, .{ seize, victim, 0, 0 }));
    say("PTRACE_ATTACH", victim, t.call(.ptrace, .{ attach, victim, 0, 0 }));
}

fn signals(victim: i32) void {
    const handle = t.call(.pidfd_open, .{ victim, 0 });
    for ([_]u32{ 19, 9 }) |signal| {
        if (handle >= 0) say("pidfd_send_signal", victim, t.call(.pidfd_send_signal, .{ handle, signal, null, 0 }));
        say("tgkill", victim, t.call(.tgkill, .{ victim, victim, signal }));
        say("kill", victim, t.call(.kill, .{ victim, signal }));
    }
}
