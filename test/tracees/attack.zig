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
        owners(victim);
        mounts(victim);
    }
    owners(-@as(i32, @intCast(t.must(.getpgid, .{tracer}))));
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

/// Another proc, and a part of the first at another place: for those who may mount.
fn mounts(victim: i32) void {
    const child = t.fork();
    if (child != 0) {
        _ = t.reap(child);
        return;
    }
    const private = 1 << 18 | 1 << 14; // MS_PRIVATE | MS_REC
    const bind = 1 << 12;
    for ([_][*:0]const u8{ "again", "part" }) |name| _ = t.call(.mkdir, .{ name, 0o700 });
    var of_victim: [64]u8 = undefined;
    if (t.call(.unshare, .{t.linux.CLONE.NEWNS}) < 0 or t.call(.mount, .{ "none", "/", null, private, null }) < 0) t.exit(0);
    if (t.call(.mount, .{ "proc", "again", "proc", 0, null }) < 0) t.exit(0);
    if (t.call(.mount, .{ t.format(&of_victim, "/proc/{d}", .{victim}).ptr, "part", null, bind, null }) < 0) t.exit(0);
    for ([_][]const u8{ "mem", "environ", "maps", "fd/0", "fd" }) |name| {
        var path: [64]u8 = undefined;
        tryOpen("proc mounted again", victim, t.format(&path, "again/{d}/{s}", .{ victim, name }));
        tryOpen("part of proc mounted again", victim, t.format(&path, "part/{s}", .{name}));
    }
    var path: [64]u8 = undefined;
    if (t.call(.chdir, .{t.format(&path, "again/{d}/fd", .{victim}).ptr}) >= 0) tryOpen("from within", victim, "0");
    t.exit(0);
}

fn tryOpen(what: []const u8, victim: i32, path: [:0]const u8) void {
    const result = t.call(.openat, .{ t.at_cwd, path.ptr, t.O.rdonly | t.O.nonblock, 0 });
    say(what, victim, result);
    if (result >= 0) t.close(@intCast(result));
}

/// Whoever gets a descriptor's signals gets the one that F_SETSIG chooses; `victim` below zero: a group.
fn owners(victim: i32) void {
    const setown = 8;
    const setown_ex = 15;
    var pair: [2]i32 = undefined;
    _ = t.must(.socketpair, .{ 1, 1, 0, &pair });
    // To oneself it is nobody's affair.
    for ([_]u32{ 0x8901, 0x8902 }) |command| _ = t.must(.ioctl, .{ pair[0], command, &t.pid() });
    _ = t.must(.fcntl, .{ pair[0], setown, t.pid() });
    _ = t.must(.fcntl, .{ pair[0], setown_ex, &[2]i32{ 1, t.pid() } });

    say("F_SETOWN", victim, t.call(.fcntl, .{ pair[0], setown, victim }));
    for ([_]u32{ 0x8901, 0x8902 }) |command| say("FIOSETOWN, SIOCSPGRP", victim, t.call(.ioctl, .{ pair[0], command, &victim }));
    for ([_]i32{ 0, 1, 2 }) |kind| {
        if ((kind == 2) != (victim < 0)) continue;
        const owner: [2]i32 = .{ kind, if (victim < 0) -victim else victim };
        say("F_SETOWN_EX", victim, t.call(.fcntl, .{ pair[0], setown_ex, &owner }));
    }
    for (pair) |end| t.close(@intCast(end));
}

fn signals(victim: i32) void {
    const handle = t.call(.pidfd_open, .{ victim, 0 });
    for ([_]u32{ 19, 9 }) |signal| {
        if (handle >= 0) say("pidfd_send_signal", victim, t.call(.pidfd_send_signal, .{ handle, signal, null, 0 }));
        say("tgkill", victim, t.call(.tgkill, .{ victim, victim, signal }));
        say("kill", victim, t.call(.kill, .{ victim, signal }));
    }
}
