//! What the tracer answers in the kernel's place: calls that would get a process out of our sight, and calls that reach
//! for the tracer or the front end.
const std = @import("std");
const linux = std.os.linux;
const abi = @import("abi.zig");
const calls = @import("calls.zig");
const decode = @import("decode.zig");
const group_signals = @import("group_signals.zig");
const inject = @import("inject.zig");
const opens = @import("opens.zig");
const own_files = @import("own_files.zig");
const paths = @import("paths.zig");
const ptrace = @import("ptrace.zig");
const records = @import("records.zig");
const status_file = @import("status.zig");
const sys = @import("sys.zig");
const syscalls = @import("syscalls.zig");
const tracee = @import("tracee.zig");
const Tracer = @import("tracer.zig").Tracer;
const Call = tracee.Call;
const Thread = tracee.Thread;
const Row = syscalls.Row;
const errno = calls.errno;

const Error = sys.Error || error{TooManyTracees};

/// At a seccomp stop only: there a call can still be left out.
pub fn guard(tracer: *Tracer, thread: *Thread) Error!void {
    const call = &thread.call;
    if (call.abi == .x32) {
        tracer.gap(thread, .x32_refused, call.number, "");
        return deny(tracer, thread, errno.nosys);
    }
    if (call.row == Call.no_row) return;
    const row = &syscalls.rows[call.row];
    if (row.reaches) |reach| {
        if (group_signals.targetOf(tracer, thread, reach)) |target| return sendToGroup(tracer, thread, reach, target);
        if (isAimedAtUs(tracer, thread, reach)) {
            tracer.gap(thread, .attack_refused, call.number, row.name);
            return deny(tracer, thread, errno.perm);
        }
    }
    if (row.event == .open) try guardPath(tracer, thread, row);
    if (row.special == .clone or row.special == .clone3) {
        if (syscalls.sharesPlaces(calls.cloneFlags(tracer, call, row))) tracer.shares_places = true;
    }
    switch (row.special) {
        .clone => if (call.arguments[0] & linux.CLONE.UNTRACED != 0) {
            // In a register: nobody else can put it back.
            try ptrace.setArgument(thread.tid, call.abi == .i386, 0, call.arguments[0] & ~@as(u64, linux.CLONE.UNTRACED));
        },
        .clone3 => if (calls.cloneFlags(tracer, call, row) & linux.CLONE.UNTRACED != 0) try deny(tracer, thread, errno.nosys),
        .io_uring => if (tracer.session.control.allow_io_uring == 0) {
            tracer.gap(thread, .io_uring_refused, 0, "");
            try deny(tracer, thread, errno.nosys);
        },
        .prctl => if (!tracer.privileged and call.arguments[0] == syscalls.pr.set_dumpable and call.arguments[1] == 0) {
            tracer.gap(thread, .dumpable_kept, 0, "");
            try deny(tracer, thread, 0);
        },
        .userfaultfd => try restrictFaults(tracer, thread, 0),
        .ioctl, .fcntl => if (setsOwner(call, row)) {
            if (!try isOwnedByUs(tracer, thread)) {
                // Where it is in memory another thread may still change it.
                if (@as(u32, @truncate(call.arguments[1])) != syscalls.owner.f_setown) call.at_exit = .guard;
                return;
            }
            tracer.gap(thread, .attack_refused, call.number, row.name);
            try deny(tracer, thread, errno.perm);
        } else if (@as(u32, @truncate(call.arguments[1])) == syscalls.userfaultfd_new) {
            try restrictFaults(tracer, thread, 2);
        },
        .fanotify => tracer.patience.needed = true,
        .mounts => if (mayBeServed(tracer, call, row)) {
            tracer.patience.needed = true;
        },
        .none, .seccomp, .root, .ptrace, .truncate, .map, .times, .socket, .connect, .accept, .send, .receive, .take, .io_submit, .kernel, .perf, .segment => {},
    }
}

/// What is mounted may ask a process for what is in it, one of the build perhaps: by its type, which is the text argument of mount and
/// fsopen. FUSE was noticed when /dev/fuse was opened (descriptors.zig).
fn mayBeServed(tracer: *Tracer, call: *const Call, row: *const Row) bool {
    const index: u8 = if (std.mem.eql(u8, row.name, "mount")) 2 else if (std.mem.eql(u8, row.name, "fsopen")) 0 else return false;
    const kind = decode.bytesOf(tracer.tracees.bufferOf(call), index) orelse return false; // a bind mount, or a change of one
    for (unserved_kinds) |name| if (std.mem.eql(u8, kind, name)) return false;
    return true;
}

/// Types that no process has to answer for.
const unserved_kinds = [_][]const u8{
    "",      "none",     "proc",    "sysfs",   "tmpfs",   "ramfs",      "devtmpfs", "devpts",   "mqueue",  "hugetlbfs",   "cgroup",  "cgroup2",
    "bpf",   "ext2",     "ext3",    "ext4",    "xfs",     "btrfs",      "f2fs",     "vfat",     "exfat",   "ntfs3",       "iso9660", "udf",
    "erofs", "squashfs", "overlay", "tracefs", "debugfs", "securityfs", "configfs", "efivarfs", "fusectl", "binfmt_misc", "pstore",  "zfs",
};

/// A page registered with it makes whoever touches it wait for an answer that may never come: the kernel on behalf of the
/// process, and us when we read the process's memory. With this flag (Linux 5.11) both get EFAULT, and the process's own
/// code waits as before. An ordinary user is given nothing else by the kernel itself.
/// `index`: the argument with its flags.
fn restrictFaults(tracer: *Tracer, thread: *Thread, index: usize) Error!void {
    const user_mode_only = 1; // UFFD_USER_MODE_ONLY
    const call = &thread.call;
    if (call.arguments[index] & user_mode_only != 0) return;
    tracer.gap(thread, .userfault_restricted, 0, "");
    try ptrace.setArgument(thread.tid, call.abi == .i386, index, call.arguments[index] | user_mode_only);
}

fn sendToGroup(tracer: *Tracer, thread: *Thread, reach: syscalls.Reach, target: group_signals.Target) Error!void {
    const call = &thread.call;
    const signal: u32 = @truncate(call.arguments[reach.signal]);
    tracer.gap(thread, .group_signal_kept, signal, syscalls.rows[call.row].name);
    const result = group_signals.send(tracer, thread, target, signal);
    const own = tracer.tracees.processOf(thread).pid;
    const is_for_itself = group_signals.includesCaller(tracer, thread, target);
    try deny(tracer, thread, result);
    if (is_for_itself) sys.kill(own, @fromBackingInt(signal)) catch {};
}

fn isAimedAtUs(tracer: *Tracer, thread: *const Thread, reach: syscalls.Reach) bool {
    const arguments = &thread.call.arguments;
    if (reach.signal != syscalls.Argument.none and @as(u32, @truncate(arguments[reach.signal])) == 0) return false;
    const row = &syscalls.rows[thread.call.row];
    if (row.special == .perf and arguments[4] & syscalls.perf_of_cgroup != 0) return false;
    const word: i32 = @bitCast(@as(u32, @truncate(arguments[reach.argument])));
    return switch (reach.by) {
        .number => tracer.isOurs(thread, word),
        .pidfd => switch (status_file.processOfPidfd(thread.tid, word)) {
            0 => own_files.isOurDirectory(tracer, thread, word),
            else => |process| tracer.isOurs(thread, process),
        },
    };
}

/// Whether the call says who gets a descriptor's signals. Of no interest to a record.
pub fn setsOwner(call: *const Call, row: *const Row) bool {
    const owner = syscalls.owner;
    const command: u32 = @truncate(call.arguments[1]);
    return switch (row.special) {
        .fcntl => command == owner.f_setown or command == owner.f_setown_ex,
        .ioctl => command == owner.fiosetown or command == owner.siocspgrp,
        else => false,
    };
}

const f_owner_pgrp = 2;

/// It is as good as kill: F_SETSIG chooses the signal, and writing to the descriptor's other end sends it.
fn isOwnedByUs(tracer: *Tracer, thread: *const Thread) sys.Error!bool {
    const call = &thread.call;
    const command: u32 = @truncate(call.arguments[1]);
    if (command == syscalls.owner.f_setown) return isOursOrGroup(tracer, thread, @bitCast(@as(u32, @truncate(call.arguments[2]))));
    // struct f_owner_ex: a type, and the number.
    var words: [2]i32 = .{ 0, 0 };
    const in_memory = if (command == syscalls.owner.f_setown_ex) std.mem.asBytes(&words) else std.mem.asBytes(&words)[4..];
    const got = tracer.memory.read(thread.tid, call.arguments[2], in_memory) catch |e| switch (e) {
        error.TraceeGone => return e,
        error.Denied, error.TimedOut => return true, // what we may not read the kernel may
        else => return false,
    };
    if (got < in_memory.len) return false;
    return isOursOrGroup(tracer, thread, if (words[0] == f_owner_pgrp) 0 -| words[1] else words[1]);
}

/// After such a call: who gets the signals now, by our own numbers. If it is us, nobody does.
pub fn checkOwner(tracer: *Tracer, thread: *Thread, result: i64) sys.Error!void {
    if (result < 0) return;
    const call = &thread.call;
    const number: i32 = @bitCast(@as(u32, @truncate(call.arguments[0])));
    const taken = tracer.descriptors.takeSocket(tracer.owner(thread), number) catch |e| {
        return if (e == error.TraceeGone) e else tracer.gap(thread, .unreadable_descriptor, @intCast(@max(0, number)), "");
    };
    defer taken.close();
    const f_getown_ex = 16;
    var owner: [2]i32 = .{ 0, 0 };
    _ = sys.fcntl(taken.descriptor, f_getown_ex, @intFromPtr(&owner)) catch
        return tracer.gap(thread, .unreadable_descriptor, @intCast(@max(0, number)), "");
    const is_ours = if (owner[0] == f_owner_pgrp) group_signals.hasUs(tracer, owner[1]) else own_files.isOurNumber(tracer, owner[1]);
    if (!is_ours) return;
    _ = sys.fcntl(taken.descriptor, syscalls.owner.f_setown, 0) catch {};
    tracer.gap(thread, .attack_refused, call.number, syscalls.rows[call.row].name);
}

/// `number`: of a process, or minus that of a group.
fn isOursOrGroup(tracer: *Tracer, thread: *const Thread, number: i32) bool {
    if (number >= 0) return tracer.isOurs(thread, number);
    const session = tracer.session;
    for ([_]i32{ session.tracer_pid, session.front_pid }) |process| {
        if (sys.groupOf(process) == 0 -| number) return status_file.isSamePidNamespace(thread.tid);
    }
    return false;
}

/// The kernel skips the call, and the tracee gets `result`.
fn deny(tracer: *Tracer, thread: *Thread, result: i64) sys.Error!void {
    const call = &thread.call;
    try ptrace.skipCall(thread.tid, result);
    call.flags |= records.bit(.denied);
    call.at_exit = .nothing;
    calls.record(tracer, thread, result, &.{});
    tracer.tracees.releaseBuffer(call);
}

fn guardPath(tracer: *Tracer, thread: *Thread, row: *const Row) sys.Error!void {
    if (!tracer.privileged or row.open.path == syscalls.Argument.none) return;
    var buffer: [paths.max]u8 = undefined;
    const given = try opens.argumentOf(tracer, thread, row, &buffer);
    const aim = own_files.aimOf(tracer, thread, given, opens.flagsOf(&thread.call, row));
    if (aim == .nothing) return;
    var resolved: [paths.max]u8 = undefined;
    const path = paths.resolve(&tracer.descriptors, calls.placeOf(tracer, thread, opens.directoryOf(row)), given, .name, &resolved).path;
    // Of one that only looks its record says enough.
    if (aim == .attack) tracer.gap(thread, .attack_refused, thread.call.number, path);
    const kept = tracer.tracees.takeBuffer(&thread.call) orelse return calls.limit(tracer, thread, "calls at once");
    var items: decode.Items = .{ .buffer = kept };
    items.add(.path, row.open.path, &.{path}, 0);
    thread.call.length = @intCast(items.length);
    thread.call.items = items.count;
    return deny(tracer, thread, errno.perm);
}

/// By a way that its path did not show (a symbolic link, a path that changed meanwhile): which file it is shows only now. Until it is
/// closed again other threads have it too, so that nobody can vouch for us any more.
pub fn takeBack(tracer: *Tracer, thread: *Thread, number: i32, path: []const u8) Error!void {
    const call = &thread.call;
    tracer.gap(thread, .own_file_opened, call.number, path);
    var items: decode.Items = .{ .buffer = &tracer.scratch.items };
    items.add(.path, syscalls.rows[call.row].open.path, &.{path}, 0);
    call.flags |= records.bit(.denied);
    calls.record(tracer, thread, errno.perm, &.{ .items = &items });
    const buffer = tracer.tracees.takeBuffer(call) orelse return calls.limit(tracer, thread, "calls at once");
    const saved = try inject.begin(thread.tid, call.abi == .i386, number);
    @memcpy(buffer[0..@sizeOf(inject.Saved)], std.mem.asBytes(&saved));
    call.length = @sizeOf(inject.Saved);
    call.at_exit = .closing;
}

pub fn finishClosing(tracer: *Tracer, thread: *Thread) Error!void {
    const call = &thread.call;
    call.at_exit = .nothing;
    defer {
        tracer.tracees.releaseBuffer(call);
        call.* = .{};
    }
    const saved = std.mem.bytesToValue(inject.Saved, tracer.tracees.bufferOf(call)[0..@sizeOf(inject.Saved)]);
    try inject.end(thread.tid, &saved, errno.perm);
}
