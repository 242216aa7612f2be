//! Turns on its tracer and on the process that started it: reads and writes memory and environment, takes descriptors, sends
//! signals, traces. Each line says what was answered; nothing of it may succeed.
const t = @import("lib/tracee.zig");
const lineage = @import("lib/lineage.zig");
const std = @import("std");
pub const panic = t.panic;

pub fn main(init: std.process.Init.Minimal) void {
    const tracer = lineage.tracer();
    if (tracer == 0) return; // nobody to attack
    const front_end = lineage.frontEnd();
    if (t.Arguments.of(init).at(1)) |mode| {
        if (!std.mem.eql(u8, mode, "look")) return threaded(tracer, std.mem.eql(u8, mode, "flipped"));
        for ([_]i32{ tracer, front_end }) |process| look(process);
        return;
    }
    // Signals come last: if one gets through there is nobody left to see it.
    for ([_]i32{ tracer, front_end }) |victim| {
        links(victim);
        files(victim);
        memory(victim);
        descriptors(victim);
        tracing(victim);
        owners(victim);
        mounts(victim);
    }
    helpers(tracer);
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

/// By a name that says nothing. Before anything is mounted, since then every open is looked at more closely.
fn links(victim: i32) void {
    var path: [64]u8 = undefined;
    for ([_][]const u8{ "mem", "environ" }) |name| {
        _ = t.call(.unlink, .{"link"});
        _ = t.must(.symlink, .{ t.format(&path, "/proc/{d}/{s}", .{ victim, name }).ptr, "link" });
        tryOpen("symbolic link", victim, "link");
        say("symbolic link, to write", victim, t.call(.openat, .{ t.at_cwd, "link", t.O.rdwr, 0 }));
    }
}

/// Threads of the tracer's own, which are there once somebody may have to be asked before we open a file.
fn helpers(victim: i32) void {
    _ = t.call(.fanotify_init, .{ 0, 0 });
    t.close(t.open(".", t.O.rdonly | t.O.directory, 0));
    var path: [64]u8 = undefined;
    const tasks = t.call(.openat, .{ t.at_cwd, t.format(&path, "/proc/{d}/task", .{victim}).ptr, t.O.rdonly | t.O.directory, 0 });
    if (tasks < 0) return;
    var buffer: [4096]u8 align(8) = undefined;
    const length = t.must(.getdents64, .{ tasks, &buffer, buffer.len });
    var at: usize = 0;
    while (at < length) {
        const entry: *align(8) t.linux.dirent64 = @ptrCast(@alignCast(&buffer[at]));
        at += entry.reclen;
        const name = std.mem.span(@as([*:0]const u8, @ptrCast(&entry.name)));
        const thread = std.fmt.parseInt(i32, name, 10) catch continue; // "." and ".."
        if (thread == victim) continue;
        for ([_][]const u8{ "task/", "../" }) |way| {
            _ = t.call(.unlink, .{"link"});
            _ = t.must(.symlink, .{ t.format(&path, "/proc/{d}/{s}{d}/mem", .{ victim, way, thread }).ptr, "link" });
            tryOpen("a thread's memory, by a symbolic link", thread, "link");
        }
        tryOpen("a thread's memory", thread, t.format(&path, "/proc/{d}/mem", .{thread}));
    }
    t.close(@intCast(tasks));
}

/// What lists of processes read of everybody.
fn look(process: i32) void {
    for ([_][]const u8{ "environ", "maps", "smaps", "smaps_rollup", "fd", "fdinfo", "fdinfo/0", "ns", "ns/net", "auxv" }) |name| {
        var path: [64]u8 = undefined;
        tryOpen("a look", process, t.format(&path, "/proc/{d}/{s}", .{ process, name }));
    }
    var path: [64]u8 = undefined;
    tryOpen("a look", process, t.format(&path, "/proc/{d}/task/{d}/fd", .{ process, process }));
    const entry = t.open(t.format(&path, "/proc/{d}", .{process}).ptr, t.O.rdonly | t.O.directory, 0);
    say("a look from there", process, t.call(.openat, .{ entry, "environ", t.O.rdonly, 0 }));
    t.close(entry);
    // What everybody may read.
    t.close(t.open(t.format(&path, "/proc/{d}/stat", .{process}).ptr, t.O.rdonly, 0));
}

/// The same with a second thread, which uses what it can get. `flipped`: the link leads to us only now and then.
fn threaded(victim: i32, flipped: bool) void {
    var path: [64]u8 = undefined;
    t.makeFile("harmless", "nothing\n");
    _ = t.must(.symlink, .{ t.format(&path, "/proc/{d}/mem", .{victim}).ptr, "link" });
    _ = t.must(.symlink, .{ "harmless", "other" });
    var user: t.Thread = .{};
    user.start(use, 0);
    var flipper: t.Thread = .{};
    if (flipped) flipper.start(exchange, 0);
    var opened: isize = 0;
    const start = t.must(.openat, .{ t.at_cwd, "harmless", t.O.rdonly, 0 });
    t.close(start);
    lowest = start;
    for (0..if (flipped) 600 else 5) |_| {
        const result = t.call(.openat, .{ t.at_cwd, "link", t.O.rdonly, 0 });
        if (result < 0) continue;
        opened += 1;
        t.close(@intCast(result));
    }
    @atomicStore(u32, &over, 1, .release);
    user.join();
    if (flipped) flipper.join() else say("symbolic link, a second thread", victim, if (opened > 0) 0 else -1);
    var line: t.Line = .{};
    line.begin("answer").text("what", "used").number("value", used).end();
}

var over: u32 = 0;
var used: u32 = 0;
var lowest: usize = 3;

/// Memory begins where nothing is: what can be read there is a file, not ours.
fn use(_: usize) callconv(.c) u8 {
    var byte: [1]u8 = undefined;
    while (@atomicLoad(u32, &over, .acquire) == 0) {
        if (t.call(.pread64, .{ lowest, &byte, 1, 0 }) == -@as(isize, @backingInt(t.linux.E.IO))) used += 1;
    }
    return 0;
}

fn exchange(_: usize) callconv(.c) u8 {
    const rename_exchange = 2;
    while (@atomicLoad(u32, &over, .acquire) == 0) _ = t.call(.renameat2, .{ t.at_cwd, "link", t.at_cwd, "other", rename_exchange });
    return 0;
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
    single(victim);
    detached(victim);
    elsewhere(victim);
    if (t.call(.chdir, .{t.format(&path, "again/{d}/fd", .{victim}).ptr}) >= 0) tryOpen("from within", victim, "0");
    t.exit(0);
}

/// One file of a proc, mounted alone; of the second proc, which is then gone.
fn single(victim: i32) void {
    const bind = 1 << 12;
    var path: [64]u8 = undefined;
    for ([_][*:0]const u8{ "one", "two", "three" }) |name| t.close(t.open(name, t.O.wronly | t.O.creat, 0o600));
    _ = t.must(.mkdir, .{ "tasks", 0o700 });
    _ = t.must(.mkdir, .{ "third", 0o700 });
    _ = t.must(.mount, .{ "proc", "third", "proc", 0, null });
    _ = t.must(.mount, .{ t.format(&path, "/proc/{d}/mem", .{victim}).ptr, "one", null, bind, null });
    _ = t.must(.mount, .{ t.format(&path, "third/{d}/mem", .{victim}).ptr, "two", null, bind, null });
    _ = t.must(.mount, .{ t.format(&path, "third/{d}/task/{d}/environ", .{ victim, victim }).ptr, "three", null, bind, null });
    _ = t.must(.mount, .{ t.format(&path, "third/{d}/task", .{victim}).ptr, "tasks", null, bind, null });
    _ = t.must(.umount2, .{ "third", 2 });
    for ([_][:0]const u8{ "one", "two", "three" }) |name| tryOpen("a file of proc alone", victim, name);
    say("a file of proc alone, to write", victim, t.call(.openat, .{ t.at_cwd, "two", t.O.rdwr, 0 }));
    tryOpen("its threads alone", victim, t.format(&path, "tasks/{d}/mem", .{victim}));
    // What is not private is not ours to keep.
    t.close(t.open(t.format(&path, "tasks/{d}/stat", .{victim}).ptr, t.O.rdonly, 0));
    for ([_][*:0]const u8{ "one", "two", "three", "tasks" }) |name| _ = t.must(.umount2, .{ name, 2 });
    for ([_][*:0]const u8{ "tasks", "third" }) |name| _ = t.must(.rmdir, .{name});
}

/// On a mount that is nowhere.
fn detached(victim: i32) void {
    const clone_tree = 1; // OPEN_TREE_CLONE
    var path: [64]u8 = undefined;
    for ([_][]const u8{ "/mem", "/environ", "" }) |name| {
        const tree = t.call(.open_tree, .{ t.at_cwd, t.format(&path, "/proc/{d}{s}", .{ victim, name }).ptr, clone_tree });
        if (tree < 0) return;
        const part = if (name.len == 0) "/mem" else "";
        tryOpen("a detached mount", victim, t.format(&path, "/proc/self/fd/{d}{s}", .{ tree, part }));
        if (name.len == 0) say("a detached mount, from there", victim, t.call(.openat, .{ tree, "mem", t.O.rdonly, 0 }));
        t.close(@intCast(tree));
    }
}

/// In a pid namespace of its own, by the proc of the first.
fn elsewhere(victim: i32) void {
    if (t.call(.unshare, .{t.linux.CLONE.NEWPID}) < 0) return;
    const child = t.fork();
    if (child != 0) {
        _ = t.reap(child);
        return;
    }
    var path: [64]u8 = undefined;
    for ([_][]const u8{ "mem", "environ" }) |name| tryOpen("another pid namespace", victim, t.format(&path, "/proc/{d}/{s}", .{ victim, name }));
    say("another pid namespace, to write", victim, t.call(.openat, .{ t.at_cwd, t.format(&path, "/proc/{d}/mem", .{victim}).ptr, t.O.rdwr, 0 }));
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
    if (victim > 0) changedOwner(victim, pair[0]);
    for (pair) |end| t.close(@intCast(end));
}

var owner_word: u64 align(8) = 0;
var flipping: bool = true;

/// Another thread changes the number after it was looked at.
fn changedOwner(victim: i32, descriptor: i32) void {
    @atomicStore(bool, &flipping, true, .release);
    var flipper: t.Thread = .{};
    flipper.start(flip, @intCast(victim));
    var won: isize = -1;
    for (0..2000) |_| {
        if (t.call(.fcntl, .{ descriptor, 15, &owner_word }) < 0) continue;
        var now: [2]i32 = .{ 0, 0 };
        _ = t.must(.fcntl, .{ descriptor, 16, &now });
        if (now[1] == victim) won = 0;
    }
    @atomicStore(bool, &flipping, false, .release);
    flipper.join();
    say("F_SETOWN_EX, changed meanwhile", victim, won);
}

/// struct f_owner_ex as one word: a process, and its number.
fn flip(victim: usize) callconv(.c) u8 {
    const own: u64 = @intCast(t.pid());
    while (@atomicLoad(bool, &flipping, .acquire)) {
        @atomicStore(u64, &owner_word, 1 | own << 32, .monotonic);
        @atomicStore(u64, &owner_word, 1 | @as(u64, victim) << 32, .monotonic);
    }
    return 0;
}

fn signals(victim: i32) void {
    const handle = t.call(.pidfd_open, .{ victim, 0 });
    var path: [64]u8 = undefined;
    // The kernel takes a process's directory for its pidfd.
    const directory = t.open(t.format(&path, "/proc/{d}", .{victim}).ptr, t.O.rdonly | t.O.directory, 0);
    for ([_]u32{ 19, 9 }) |signal| {
        say("pidfd_send_signal to a directory", victim, t.call(.pidfd_send_signal, .{ directory, signal, null, 0 }));
        if (handle >= 0) say("pidfd_send_signal", victim, t.call(.pidfd_send_signal, .{ handle, signal, null, 0 }));
        say("tgkill", victim, t.call(.tgkill, .{ victim, victim, signal }));
        say("kill", victim, t.call(.kill, .{ victim, signal }));
    }
}
