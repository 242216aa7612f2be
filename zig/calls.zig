//! Watched calls: what is done at the stop before one, and at the stop after it.
//!
//!     seccomp stop ── guard (may answer in the kernel's place) ── begin (reads what the call could change) ──▶ …
//!     exit stop ───── finish (takes what it has made, and records) ──▶ …
//!
//! A thread under a seccomp filter of the build's own is stopped at every call, since that filter can answer before ours:
//! then `begin` happens at the entry stop, which comes before all filters, for the calls that our filter would have sent.
const std = @import("std");
const linux = std.os.linux;
const abi = @import("abi.zig");
const decode = @import("decode.zig");
const descriptors_mod = @import("descriptors.zig");
const inject = @import("inject.zig");
const paths = @import("paths.zig");
const ptrace = @import("ptrace.zig");
const records = @import("records.zig");
const seccomp = @import("seccomp.zig");
const status_file = @import("status.zig");
const sys = @import("sys.zig");
const syscalls = @import("syscalls.zig");
const tracee = @import("tracee.zig");
const Tracer = @import("tracer.zig").Tracer;
const Call = tracee.Call;
const Thread = tracee.Thread;
const Row = syscalls.Row;

const Error = sys.Error || error{TooManyTracees};

const errno = struct {
    const intr: i64 = -@as(i64, @backingInt(linux.E.INTR));
    const nosys: i64 = -@as(i64, @backingInt(linux.E.NOSYS));
    const fault: i64 = -@as(i64, @backingInt(linux.E.FAULT));
    const name_too_long: i64 = -@as(i64, @backingInt(linux.E.NAMETOOLONG));
    const perm: i64 = -@as(i64, @backingInt(linux.E.PERM));
};

pub fn onStop(tracer: *Tracer, thread: *Thread) Error!void {
    var info: ptrace.CallInfo = undefined;
    switch (try ptrace.callInfo(thread.tid, &info)) {
        .seccomp => try onSeccomp(tracer, thread, &info),
        .entry => try onEntry(tracer, thread, &info),
        .exit => try onExit(tracer, thread, info.of.exit.result),
        else => {},
    }
}

// ---------------------------------------------------------------------------------------------
// Before the call

/// The filters have run, and one of them wants a tracer.
fn onSeccomp(tracer: *Tracer, thread: *Thread, info: *const ptrace.CallInfo) Error!void {
    const seen = &info.of.seccomp;
    switch (@as(seccomp.Class, @fromBackingInt(@as(u16, @truncate(seen.data))))) {
        .row, .unknown, .x32 => {},
        // A filter of the build's own, which has no tracer but us: without one the call does not exist.
        _ => {
            tracer.tracees.releaseBuffer(&thread.call);
            thread.call.at_exit = .nothing;
            return ptrace.skipCall(thread.tid, errno.nosys);
        },
    }
    thread.call.passed = true;
    if (!thread.call.entered) {
        begin(tracer, thread, info.arch, seen.number, &seen.arguments) catch |e| switch (e) {
            error.NotWatched => return,
            else => |other| return other,
        };
    }
    try guard(tracer, thread);
}

/// Every call of a thread that has other filters: ours is asked here whether it is one to be seen.
fn onEntry(tracer: *Tracer, thread: *Thread, info: *const ptrace.CallInfo) Error!void {
    const seen = &info.of.entry;
    if (thread.call.at_exit == .closing) return;
    tracer.tracees.releaseBuffer(&thread.call);
    thread.call = .{ .entered = true };
    const data: seccomp.Data = .{
        .nr = @bitCast(@as(u32, @truncate(seen.number))),
        .arch = info.arch,
        .instruction_pointer = info.instruction_pointer,
        .arg0 = seen.arguments[0],
        .arg1 = seen.arguments[1],
        .arg2 = seen.arguments[2],
        .arg3 = seen.arguments[3],
        .arg4 = seen.arguments[4],
        .arg5 = seen.arguments[5],
    };
    if (seccomp.classOf(seccomp.evaluate(&tracer.filter, &data)) == null) return;
    begin(tracer, thread, info.arch, seen.number, &seen.arguments) catch |e| switch (e) {
        error.NotWatched => return,
        else => |other| return other,
    };
    thread.call.entered = true;
}

/// Notes the call, and reads what must be read before it is done.
fn begin(tracer: *Tracer, thread: *Thread, arch: u32, number: u64, arguments: *const [6]u64) (Error || error{NotWatched})!void {
    tracer.tracees.releaseBuffer(&thread.call);
    const call = &thread.call;
    call.* = .{ .abi = abiOf(arch, number), .number = @truncate(number), .arguments = arguments.* };
    if (call.abi == .i386) for (&call.arguments) |*word| {
        word.* &= std.math.maxInt(u32);
    };
    try readArguments(tracer, thread);
    const row: *const Row = switch (syscalls.verdict(call.abi, call.number)) {
        .watched => |index| blk: {
            call.row = index;
            break :blk &syscalls.rows[index];
        },
        .not_watched => return error.NotWatched,
        .unknown => {
            call.at_exit = .record;
            return;
        },
    };
    call.class = row.event;
    switch (row.event) {
        .open => {
            call.at_exit = .open;
            if (row.open.how != syscalls.Argument.none) try readOpenHow(tracer, thread, row);
            if (isForWriting(openFlags(call, row))) try beforeWriting(tracer, thread, row.open.path, openDirectory(row));
        },
        .exec => try keepPath(tracer, thread, row),
        .call => {
            try readBefore(tracer, thread, row);
            if (row.special == .truncate) try beforeWriting(tracer, thread, 0, syscalls.Argument.none);
            if (row.stops == .entry_and_exit) {
                call.at_exit = .record;
            } else {
                record(tracer, thread, 0, &.{ .entry_only = true });
                tracer.tracees.releaseBuffer(call);
            }
        },
        .guard => {},
    }
    if ((row.special == .clone3 or row.special == .clone) and !makesNamespace(tracer, call, row)) call.at_exit = .guard;
    if (call.at_exit == .record and isUninteresting(tracer, thread, row)) {
        call.at_exit = .nothing;
        tracer.tracees.releaseBuffer(call);
    }
}

fn abiOf(arch: u32, number: u64) abi.Abi {
    if (arch == ptrace.audit.ia32) return .i386;
    if (arch == ptrace.audit.x86_64 and number & 0x4000_0000 != 0) return .x32;
    return syscalls.native_abi;
}

/// Where the registers only hold a pointer to the arguments, or another call's number.
fn readArguments(tracer: *Tracer, thread: *Thread) (sys.Error || error{NotWatched})!void {
    const call = &thread.call;
    const row = syscalls.rowOf(call.abi, call.number) orelse return;
    const count: usize = 6;
    switch (row.layout) {
        .registers => return,
        .ia32_mmap, .ia32_socketcall => {},
    }
    const address = call.arguments[if (row.layout == .ia32_mmap) 0 else 1];
    const which = call.arguments[0];
    var words: [count]u32 = @splat(0);
    const got = tracer.memory.read(thread.tid, address, std.mem.asBytes(&words)) catch |e| {
        if (e == error.TraceeGone) return e;
        call.flags |= records.bit(.unreadable);
        return;
    };
    if (got < @sizeOf(@TypeOf(words))) @memset(std.mem.asBytes(&words)[got..], 0);
    if (row.layout == .ia32_socketcall) {
        call.number = @intCast(syscalls.socketcallNumber(which) orelse return error.NotWatched);
        if (which == syscalls.socketcall_accept) words[3] = 0;
    }
    for (&call.arguments, words) |*word, value| word.* = value;
    if (row.layout == .ia32_mmap and !syscalls.holds(syscalls.mmap_when, .i386, &call.arguments, .{ 0, 0 })) return error.NotWatched;
}

fn readOpenHow(tracer: *Tracer, thread: *Thread, row: *const Row) sys.Error!void {
    const call = &thread.call;
    const how = tracer.memory.readValue(thread.tid, call.arguments[row.open.how], [2]u64) catch |e| {
        if (e == error.TraceeGone) return e;
        return; // F_GETFL still says how it was opened
    };
    call.how_flags = how[0];
    call.how_mode = how[1];
}

/// The content that a reader was given must be digested before somebody changes it: "as it was at the open".
/// The call waits at this stop; nobody else does.
fn beforeWriting(tracer: *Tracer, thread: *Thread, path: u8, directory: u8) sys.Error!void {
    if (path == syscalls.Argument.none) return;
    const call = &thread.call;
    var text: [paths.max]u8 = undefined;
    const given = tracer.memory.string(thread.tid, call.arguments[path], &text) catch |e| {
        return if (e == error.TraceeGone) e else {};
    };
    if (given.bytes.len == 0) return;
    const descriptor = paths.openInPlace(placeOf(tracer, thread, directory), given.bytes, .{ .PATH = true, .CLOEXEC = true }) orelse return;
    defer sys.close(descriptor);
    const file = tracer.descriptors.identify(descriptor) catch return;
    if (!descriptors_mod.isRegular(file.mode)) return;
    call.size_before = file.size;
    if (!tracer.descriptors.isBeingRead(file.device, file.inode)) return;
    tracer.tracees.setDelay(thread, .{ .device = file.device, .inode = file.inode, .since_ns = sys.nowNs() });
}

/// Where a path argument starts; `directory` is the argument with the descriptor, if there is one.
fn placeOf(tracer: *Tracer, thread: *Thread, directory: u8) paths.Place {
    return .{
        .owner = tracer.owner(thread),
        .directory = if (directory == syscalls.Argument.none) linux.AT.FDCWD else @bitCast(@as(u32, @truncate(thread.call.arguments[directory]))),
        .roots_differ = tracer.roots_differ,
    };
}

fn openDirectory(row: *const Row) u8 {
    return if (row.open.path == 1) 0 else syscalls.Argument.none;
}

/// The argument of an exec, for its event; `arguments` has the directory.
fn keepPath(tracer: *Tracer, thread: *Thread, row: *const Row) sys.Error!void {
    const call = &thread.call;
    const buffer = tracer.tracees.takeBuffer(call) orelse return limit(tracer, thread, "calls at once");
    const given = tracer.memory.string(thread.tid, call.arguments[row.arguments[0].index], buffer[0..paths.max]) catch |e| {
        if (e == error.TraceeGone) return e;
        if (e == error.Denied) reportUnreadable(tracer, thread);
        call.flags |= records.bit(.unreadable);
        return;
    };
    if (given.truncated) call.flags |= records.bit(.truncated);
    call.length = @intCast(given.bytes.len);
}

fn readBefore(tracer: *Tracer, thread: *Thread, row: *const Row) sys.Error!void {
    const call = &thread.call;
    if (row.arguments.len == 0 and row.special != .prctl) return;
    const buffer = tracer.tracees.takeBuffer(call) orelse return limit(tracer, thread, "calls at once");
    var items: decode.Items = .{ .buffer = buffer };
    try decode.before(&context(tracer, thread), row, &items);
    if (items.denied) reportUnreadable(tracer, thread);
    call.length = @intCast(items.length);
    call.items = items.count;
    call.flags |= items.flags;
    if (items.count == 0) tracer.tracees.releaseBuffer(call);
}

fn context(tracer: *Tracer, thread: *const Thread) decode.Context {
    return .{
        .memory = tracer.memory,
        .descriptors = &tracer.descriptors,
        .owner = tracer.owner(thread),
        .abi = thread.call.abi,
        .arguments = &thread.call.arguments,
        .roots_differ = tracer.roots_differ,
    };
}

/// Then the call is recorded. Else only an escaped child is of interest.
fn makesNamespace(tracer: *Tracer, call: *const Call, row: *const Row) bool {
    const flags = cloneFlags(tracer, call, row);
    // The low byte of clone's flags is the signal of the child's end, not CLONE_NEWTIME.
    return flags & syscalls.clone_new_any & ~@as(u64, if (row.special == .clone) 0xff else 0) != 0;
}

/// clone's are in a register; of clone3's there is a copy among the items.
fn cloneFlags(tracer: *Tracer, call: *const Call, row: *const Row) u64 {
    if (row.special == .clone) return call.arguments[0];
    const items = tracer.tracees.bufferOf(call);
    const at = @sizeOf(abi.Item);
    return if (items.len < at + 8) 0 else std.mem.readInt(u64, items[at..][0..8], .little);
}

/// Watched only for some descriptors.
fn isUninteresting(tracer: *Tracer, thread: *Thread, row: *const Row) bool {
    for (row.arguments) |argument| if (argument.kind == .socket) return !decode.hasSocket(tracer.tracees.bufferOf(&thread.call));
    return false;
}

// ---------------------------------------------------------------------------------------------
// In the kernel's place

/// At a seccomp stop only: there a call can still be left out.
fn guard(tracer: *Tracer, thread: *Thread) Error!void {
    const call = &thread.call;
    if (call.abi == .x32) {
        tracer.gap(thread, .x32_refused, call.number, "");
        return deny(tracer, thread, errno.nosys);
    }
    if (call.row == Call.no_row) return;
    const row = &syscalls.rows[call.row];
    if (row.reaches) |reach| if (isAimedAtUs(tracer, thread, reach)) {
        tracer.gap(thread, .attack_refused, call.number, row.name);
        return deny(tracer, thread, errno.perm);
    };
    if (row.event == .open) try guardPath(tracer, thread, row);
    switch (row.special) {
        .clone => if (call.arguments[0] & linux.CLONE.UNTRACED != 0) {
            // In a register: nobody else can put it back.
            try ptrace.setArgument(thread.tid, call.abi == .i386, 0, call.arguments[0] & ~@as(u64, linux.CLONE.UNTRACED));
        },
        .clone3 => if (cloneFlags(tracer, call, row) & linux.CLONE.UNTRACED != 0) try deny(tracer, thread, errno.nosys),
        .io_uring => if (tracer.session.control.allow_io_uring == 0) {
            tracer.gap(thread, .io_uring_refused, 0, "");
            try deny(tracer, thread, errno.nosys);
        },
        .prctl => if (!tracer.privileged and call.arguments[0] == syscalls.pr.set_dumpable and call.arguments[1] == 0) {
            tracer.gap(thread, .dumpable_kept, 0, "");
            try deny(tracer, thread, 0);
        },
        .none, .seccomp, .root, .mounts, .ptrace, .truncate => {},
    }
}

fn isAimedAtUs(tracer: *Tracer, thread: *const Thread, reach: syscalls.Reach) bool {
    const arguments = &thread.call.arguments;
    if (reach.signal != syscalls.Argument.none and @as(u32, @truncate(arguments[reach.signal])) == 0) return false;
    const word: i32 = @bitCast(@as(u32, @truncate(arguments[reach.argument])));
    return tracer.isOurs(thread, switch (reach.by) {
        .number => word,
        .pidfd => status_file.processOfPidfd(thread.tid, word),
    });
}

/// The kernel skips the call, and the tracee gets `result`.
fn deny(tracer: *Tracer, thread: *Thread, result: i64) sys.Error!void {
    const call = &thread.call;
    try ptrace.skipCall(thread.tid, result);
    call.flags |= records.bit(.denied);
    call.at_exit = .nothing;
    record(tracer, thread, result, &.{});
    tracer.tracees.releaseBuffer(call);
}

// ---------------------------------------------------------------------------------------------
// After the call

fn onExit(tracer: *Tracer, thread: *Thread, returned: i64) Error!void {
    const call = &thread.call;
    defer if (call.at_exit != .closing) {
        tracer.tracees.releaseBuffer(call);
        call.* = .{};
    };
    if (call.at_exit == .closing) return finishClosing(tracer, thread);
    // ERESTARTSYS and its like: the call is made again, or the tracee sees EINTR.
    const interrupted = returned <= -512 and returned >= -516;
    var result = if (interrupted) errno.intr else returned;
    if (isTrapped(tracer, thread, returned)) result = errno.nosys;
    switch (call.at_exit) {
        .nothing => {},
        .open => if (result < 0) {
            if (!interrupted) tracer.tracees.processOf(thread).failed_opens += 1;
        } else try finishOpen(tracer, thread, @truncate(result)),
        .record => try finishCall(tracer, thread, result),
        .guard => try lookForEscaped(tracer, thread, result),
        .closing => unreachable, // returned above
    }
}

/// SECCOMP_RET_TRAP of a filter of the build's own: the call was not done, and what looks like its result is its number.
fn isTrapped(tracer: *Tracer, thread: *Thread, returned: i64) bool {
    const call = &thread.call;
    if (!call.entered or call.passed or returned != call.number) return false;
    if (call.at_exit != .open) return true;
    // It may be that number's descriptor after all.
    const taken = tracer.descriptors.take(tracer.owner(thread), @truncate(returned)) catch return true;
    taken.close();
    return false;
}

fn finishCall(tracer: *Tracer, thread: *Thread, result: i64) Error!void {
    const call = &thread.call;
    if (call.row == Call.no_row) {
        if (result != errno.nosys) tracer.gap(thread, .unknown_syscall, call.number, "");
        return record(tracer, thread, result, &.{});
    }
    const row = &syscalls.rows[call.row];
    var items: decode.Items = .{ .buffer = &tracer.scratch.items };
    try decode.after(&context(tracer, thread), row, result, tracer.tracees.bufferOf(call), &items);
    if (items.denied) reportUnreadable(tracer, thread);
    call.flags |= items.flags;
    // What the kernel could not read either is the program's affair.
    if (result == errno.fault) call.flags &= ~records.bit(.unreadable);
    if (result == errno.name_too_long) call.flags &= ~records.bit(.truncated);
    record(tracer, thread, result, &.{ .items = &items });
    try consequences(tracer, thread, row, result);
}

/// What a call means for how we go on.
fn consequences(tracer: *Tracer, thread: *Thread, row: *const Row, result: i64) Error!void {
    const call = &thread.call;
    switch (row.special) {
        .none, .truncate => {},
        .root => if (result >= 0) {
            tracer.roots_differ = true;
        },
        .mounts => if (result >= 0) {
            tracer.roots_differ = true;
            tracer.descriptors.forgetFileSystems();
        },
        .clone, .clone3 => {
            if (result > 0) tracer.roots_differ = true;
            try lookForEscaped(tracer, thread, result);
        },
        .seccomp => if (result >= 0) onFilter(tracer, thread, call.arguments[0], call.arguments[1]),
        .prctl => if (result >= 0 and call.arguments[0] == syscalls.pr.set_seccomp) onFilter(tracer, thread, 1, 0),
        .io_uring => if (result >= 0) tracer.gap(thread, .io_uring_allowed, 0, ""),
        .ptrace => if (result == errno.perm and wantsTracing(call.arguments[0])) tracer.gap(thread, .nested_tracer, 0, ""),
    }
}

fn wantsTracing(request: u64) bool {
    return switch (request) {
        linux.PTRACE.TRACEME, linux.PTRACE.ATTACH, linux.PTRACE.SEIZE => true,
        else => false,
    };
}

/// Filters say ERRNO or USER_NOTIF before ours says TRACE: from now on the thread, its filter's other threads and all
/// their children are stopped at every entry.
fn onFilter(tracer: *Tracer, thread: *Thread, operation: u64, flags: u64) void {
    const set_mode_filter = 1;
    if (operation > set_mode_filter) return; // a question
    tracer.filters_seen = true;
    thread.every_call = true;
    if (operation != set_mode_filter) return;
    if (flags & linux.SECCOMP.FILTER_FLAG.TSYNC != 0) {
        for (tracer.tracees.all()) |*other| {
            if ((other.state == .running or other.state == .expected) and other.process == thread.process) other.every_call = true;
        }
    }
    if (flags & linux.SECCOMP.FILTER_FLAG.NEW_LISTENER != 0) tracer.gap(thread, .seccomp_listener, 0, "");
}

/// A clone that has succeeded without the event that announces its child.
fn lookForEscaped(tracer: *Tracer, thread: *Thread, result: i64) Error!void {
    if (result <= 0 or thread.call.child_seen) return;
    try tracer.adoptEscaped(thread, @truncate(result));
}

fn finishOpen(tracer: *Tracer, thread: *Thread, number: i32) Error!void {
    const call = &thread.call;
    const row = &syscalls.rows[call.row];
    const owner = tracer.owner(thread);
    var argument_buffer: [paths.max]u8 = undefined;
    const argument = try openArgument(tracer, thread, row, &argument_buffer);
    var fixed: abi.Open = .{
        .header = undefined,
        .file = .{},
        .flags = openFlags(call, row),
        .mode = openMode(call, row),
        .descriptor = number,
        .held = -1,
        .not_held = @backingInt(abi.NotHeld.gone),
        .held_errno = 0,
        .number = call.number,
        .abi = @backingInt(call.abi),
        .root_length = 0,
        .content = 0,
        .size_before = call.size_before,
        .path_length = 0,
        .argument_length = @intCast(argument.len),
    };
    const taken = tracer.descriptors.take(owner, number) catch |e| {
        if (e == error.TraceeGone) {
            tracer.gap(thread, .tracee_gone, call.number, "");
            return e;
        }
        return recordUnidentified(tracer, thread, &fixed, argument, e);
    };
    defer taken.close();
    fixed.file = tracer.descriptors.identify(taken.descriptor) catch .{};
    if (row.open.how != syscalls.Argument.none) fixed.flags |= descriptors_mod.flagsOf(owner, number, taken) catch 0;

    var flags: u16 = 0;
    var link_buffer: [paths.max]u8 = undefined;
    const link: descriptors_mod.Link = tracer.descriptors.linkOf(taken.descriptor, &fixed.file, &link_buffer) catch blk: {
        flags |= records.bit(.unresolved) | records.bit(.truncated); // the kernel's links end at a page
        break :blk .{ .path = argument };
    };
    if (link.deleted) flags |= records.bit(.deleted);
    if (isPrivateOfOurs(tracer, thread, link.path, fixed.flags)) return takeBack(tracer, thread, number, link.path);
    const held: descriptors_mod.Held = if (fixed.flags & o_path != 0)
        .{ .not_held = .path_only }
    else
        tracer.descriptors.hold(taken.descriptor, &fixed.file, .{ .for_writing = isForWriting(fixed.flags) });
    fixed.held = held.descriptor;
    fixed.not_held = @backingInt(held.not_held);
    fixed.held_errno = held.errno;
    fixed.content = held.content;
    const sequence = recordOpen(tracer, thread, &fixed, link.path, argument, flags);
    if (held.may_stand) tracer.descriptors.known.remember(&fixed.file, sequence);
}

/// Files of the tracer and the front end below /proc: their memory, say. Only root can open them.
fn isPrivateOfOurs(tracer: *Tracer, thread: *const Thread, path: []const u8, flags: u64) bool {
    const entry = status_file.entryOf(path) orelse return false;
    return (isForWriting(flags) or status_file.isPrivate(entry.file)) and tracer.isOurs(thread, entry.process);
}

/// Before the call for those who could succeed: a link below fd/ leads to a file that shows no more where it was found.
fn guardPath(tracer: *Tracer, thread: *Thread, row: *const Row) sys.Error!void {
    if (!tracer.privileged or row.open.path == syscalls.Argument.none) return;
    var buffer: [paths.max]u8 = undefined;
    const path = try openArgument(tracer, thread, row, &buffer);
    if (!isPrivateOfOurs(tracer, thread, path, openFlags(&thread.call, row))) return;
    tracer.gap(thread, .attack_refused, thread.call.number, path);
    const kept = tracer.tracees.takeBuffer(&thread.call) orelse return limit(tracer, thread, "calls at once");
    var items: decode.Items = .{ .buffer = kept };
    items.add(.path, row.open.path, &.{path}, 0);
    thread.call.length = @intCast(items.length);
    thread.call.items = items.count;
    return deny(tracer, thread, errno.perm);
}

/// By another way than its path (a directory descriptor, a path that changed meanwhile): which file it is shows only now.
fn takeBack(tracer: *Tracer, thread: *Thread, number: i32, path: []const u8) Error!void {
    const call = &thread.call;
    tracer.gap(thread, .attack_refused, call.number, path);
    var items: decode.Items = .{ .buffer = &tracer.scratch.items };
    items.add(.path, syscalls.rows[call.row].open.path, &.{path}, 0);
    call.flags |= records.bit(.denied);
    record(tracer, thread, errno.perm, &.{ .items = &items });
    const buffer = tracer.tracees.takeBuffer(call) orelse return limit(tracer, thread, "calls at once");
    const saved = try inject.begin(thread.tid, call.abi == .i386, number);
    @memcpy(buffer[0..@sizeOf(inject.Saved)], std.mem.asBytes(&saved));
    call.length = @sizeOf(inject.Saved);
    call.at_exit = .closing;
}

fn finishClosing(tracer: *Tracer, thread: *Thread) Error!void {
    const call = &thread.call;
    call.at_exit = .nothing;
    defer {
        tracer.tracees.releaseBuffer(call);
        call.* = .{};
    }
    const saved = std.mem.bytesToValue(inject.Saved, tracer.tracees.bufferOf(call)[0..@sizeOf(inject.Saved)]);
    try inject.end(thread.tid, &saved, errno.perm);
}

fn recordOpen(tracer: *Tracer, thread: *Thread, fixed: *abi.Open, path: []const u8, argument: []const u8, flags: u16) u64 {
    var root_buffer: [paths.max]u8 = undefined;
    const root: []const u8 = if (tracer.roots_differ) paths.rootOf(thread.tid, &root_buffer) else "";
    fixed.root_length = @intCast(root.len);
    fixed.path_length = @intCast(path.len);
    return tracer.records.emit(.open, tracer.who(thread), flags | thread.call.flags, fixed.*, &.{ root, path, argument });
}

/// Another thread has closed it, or nobody may look at this process.
fn recordUnidentified(tracer: *Tracer, thread: *Thread, fixed: *abi.Open, argument: []const u8, e: sys.Error) void {
    const call = &thread.call;
    if (e == error.Denied) reportUnreadable(tracer, thread) else tracer.gap(thread, .unreadable_descriptor, @intCast(fixed.descriptor), "");
    if (argument.len == 0) {
        call.flags |= records.bit(.unreadable);
        return record(tracer, thread, fixed.descriptor, &.{});
    }
    const row = &syscalls.rows[call.row];
    var buffer: [paths.max]u8 = undefined;
    const resolved = paths.resolve(&tracer.descriptors, placeOf(tracer, thread, openDirectory(row)), argument, .file, &buffer);
    _ = recordOpen(tracer, thread, fixed, resolved.path, argument, records.bit(.unresolved));
}

/// Only of an open that succeeded: half of all opens look for what is not there.
fn openArgument(tracer: *Tracer, thread: *Thread, row: *const Row, buffer: []u8) sys.Error![]const u8 {
    if (row.open.path == syscalls.Argument.none) return "";
    const given = tracer.memory.string(thread.tid, thread.call.arguments[row.open.path], buffer) catch |e| {
        if (e == error.TraceeGone) return e;
        if (e == error.Denied) reportUnreadable(tracer, thread);
        return "";
    };
    return given.bytes;
}

fn openFlags(call: *const Call, row: *const Row) u64 {
    if (row.open.how != syscalls.Argument.none) return call.how_flags;
    const given = if (row.open.flags == syscalls.Argument.none) 0 else call.arguments[row.open.flags] & std.math.maxInt(u32);
    return given | row.open.always;
}

fn openMode(call: *const Call, row: *const Row) u32 {
    if (row.open.how != syscalls.Argument.none) return @truncate(call.how_mode);
    return if (row.open.mode == syscalls.Argument.none) 0 else @truncate(call.arguments[row.open.mode]);
}

const o_accmode = 0o3;
const o_trunc: u64 = @as(u32, @bitCast(linux.O{ .TRUNC = true }));
const o_path: u64 = @as(u32, @bitCast(linux.O{ .PATH = true }));

pub fn isForWriting(flags: u64) bool {
    return flags & o_accmode != 0 or flags & o_trunc != 0;
}

// ---------------------------------------------------------------------------------------------
// Ends

/// The thread was killed in the middle of a call: whether that was done is not known.
pub fn onDeath(tracer: *Tracer, thread: *Thread) void {
    const call = &thread.call;
    switch (call.at_exit) {
        .nothing, .guard, .closing => {},
        // A descriptor for reading that nobody lived to use has told the build nothing.
        .open => if (isForWriting(openFlags(call, &syscalls.rows[call.row])) or openFlags(call, &syscalls.rows[call.row]) & o_creat != 0)
            tracer.gap(thread, .tracee_gone, call.number, ""),
        .record => {
            if (!canWait(call)) tracer.gap(thread, .tracee_gone, call.number, "");
            record(tracer, thread, 0, &.{ .entry_only = true });
        },
    }
}

const o_creat: u64 = @as(u32, @bitCast(linux.O{ .CREAT = true }));

/// Calls in which a process is ordinarily killed: a server in accept.
fn canWait(call: *const Call) bool {
    if (call.row == Call.no_row) return false;
    for (syscalls.rows[call.row].arguments) |argument| switch (argument.kind) {
        .address, .peer, .message, .messages => return true,
        else => {},
    };
    return false;
}

fn reportUnreadable(tracer: *Tracer, thread: *Thread) void {
    const process = tracer.tracees.processOf(thread);
    if (process.unreadable_reported) return;
    process.unreadable_reported = true;
    tracer.gap(thread, .unreadable_memory, thread.call.number, "");
}

fn limit(tracer: *Tracer, thread: *Thread, name: []const u8) void {
    thread.call.flags |= records.bit(.truncated);
    tracer.gap(thread, .limit, tracee.buffer_count, name);
}

const RecordOptions = struct {
    entry_only: bool = false,
    /// Read after the call; those from before it are the call's own.
    items: ?*const decode.Items = null,
};

/// The Syscall record. What happens before the command's first image is our own doing.
fn record(tracer: *Tracer, thread: *Thread, result: i64, options: *const RecordOptions) void {
    if (!tracer.command_running) return;
    const call = &thread.call;
    const later: []const u8 = if (options.items) |items| items.written() else "";
    _ = tracer.records.emit(.syscall, tracer.who(thread), call.flags, .{
        .header = undefined,
        .number = call.number,
        .abi = @backingInt(call.abi),
        .arguments = call.arguments,
        .result = result,
        .entry_only = @intFromBool(options.entry_only),
        .item_count = call.items + if (options.items) |items| items.count else 0,
    }, &.{ tracer.tracees.bufferOf(call), later });
}
