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
const families = @import("families.zig");
const guards = @import("guards.zig");
const ipc = @import("ipc.zig");
const kernel_programs = @import("kernel_programs.zig");
const kernel_reached = @import("kernel_reached.zig");
const name_changes = @import("name_changes.zig");
const name_checks = @import("name_checks.zig");
const opens = @import("opens.zig");
const outside = @import("outside.zig");
const paths = @import("paths.zig");
const programs = @import("programs.zig");
const ptrace = @import("ptrace.zig");
const received = @import("received.zig");
const records = @import("records.zig");
const seccomp = @import("seccomp.zig");
const sockets = @import("sockets.zig");
const sys = @import("sys.zig");
const syscalls = @import("syscalls.zig");
const tracee = @import("tracee.zig");
const unmounts = @import("unmounts.zig");
const writes = @import("writes.zig");
const Tracer = @import("tracer.zig").Tracer;
const Call = tracee.Call;
const Thread = tracee.Thread;
const Row = syscalls.Row;

const Error = sys.Error || error{TooManyTracees};

pub const errno = struct {
    const intr: i64 = -@as(i64, @backingInt(linux.E.INTR));
    pub const nosys: i64 = -@as(i64, @backingInt(linux.E.NOSYS));
    const fault: i64 = -@as(i64, @backingInt(linux.E.FAULT));
    const name_too_long: i64 = -@as(i64, @backingInt(linux.E.NAMETOOLONG));
    pub const perm: i64 = -@as(i64, @backingInt(linux.E.PERM));
};

pub fn onStop(tracer: *Tracer, thread: *Thread) Error!void {
    var info: ptrace.CallInfo = undefined;
    switch (try ptrace.callInfo(thread.tid, &info)) {
        .seccomp => try onSeccomp(tracer, thread, &info),
        .entry => try onEntry(tracer, thread, &info),
        .exit => try onExit(tracer, thread, info.of.exit.result),
        // It stood at a call when we were told of it. Now it is gone, and the thread that has its number since an exec stands at that: not to
        // be let go before that is reported. Since Linux 5.13 the kernel itself answers so.
        else => return error.TraceeGone,
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
        // What was begun at the entry ends with that answer, which is an attempt's result.
        _ => return ptrace.skipCall(thread.tid, errno.nosys),
    }
    thread.call.passed = true;
    if (!thread.call.entered) {
        begin(tracer, thread, info.arch, seen.number, &seen.arguments) catch |e| switch (e) {
            error.NotWatched => return,
            else => |other| return other,
        };
    }
    defer forgetEntry(tracer, thread);
    try guards.guard(tracer, thread);
}

/// Without a stop at its exit nobody else will, and the next call would be taken for this one.
fn forgetEntry(tracer: *Tracer, thread: *Thread) void {
    if (!tracer.stopsAtCalls(thread)) thread.call.entered = false;
}

/// Every call of a thread that has other filters, or watched sockets: our filter is asked here whether it is one to be seen.
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
    if (seccomp.classOf(seccomp.evaluate(&tracer.filter, &data)) == null) {
        note(&thread.call, info.arch, seen.number, &seen.arguments);
        if (tracer.tracees.processOf(thread).watched != 0) sockets.onEntry(tracer, thread);
        return forgetEntry(tracer, thread);
    }
    // The filter's own stop follows. What is not watched (a socketcall may be) may still send.
    begin(tracer, thread, info.arch, seen.number, &seen.arguments) catch |e| switch (e) {
        error.NotWatched => {},
        else => |other| return other,
    };
    thread.call.entered = true;
    if (tracer.tracees.processOf(thread).watched != 0) sockets.onEntry(tracer, thread);
}

fn note(call: *Call, arch: u32, number: u64, arguments: *const [6]u64) void {
    call.abi = abiOf(arch, number);
    call.number = @truncate(number);
    call.arguments = arguments.*;
    if (call.abi == .i386) for (&call.arguments) |*word| {
        word.* &= std.math.maxInt(u32);
    };
}

/// Notes the call, and reads what must be read before it is done.
fn begin(tracer: *Tracer, thread: *Thread, arch: u32, number: u64, arguments: *const [6]u64) (Error || error{NotWatched})!void {
    tracer.tracees.releaseBuffer(&thread.call);
    const call = &thread.call;
    call.* = .{};
    note(call, arch, number, arguments);
    try readArguments(tracer, thread);
    const row: *const Row = switch (syscalls.verdict(call.abi, tracer.detail, call.number)) {
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
            try opens.before(tracer, thread, row);
        },
        .exec => try programs.before(tracer, thread, row),
        .call => {
            call.outside = outside.targetOf(tracer, thread, row);
            try readBefore(tracer, thread, row);
            if (row.names.len > 0) {
                name_checks.before(tracer, thread, row);
                call.name_change = tracer.names.beginCall(row, tracer.tracees.bufferOf(call));
            }
            if (row.special == .truncate) try opens.beforeWriting(tracer, thread, .{ .path = 0, .truncates = true });
            if (row.special == .mounts) unmounts.before(tracer, thread, row);
            if (row.special == .times) try opens.beforeTimes(tracer, thread, row.arguments[0]);
            if (row.special == .segment) {
                _ = try ipc.before(tracer, thread);
                if (call.arguments[2] & syscalls.shm_exec == 0) return;
            }
            if (row.stops == .entry_and_exit) {
                call.at_exit = .record;
            } else {
                if (row.special != .map or isOfInterest(tracer, call)) record(tracer, thread, 0, &.{ .entry_only = true });
                if (row.special == .map) if (decode.writableIn(tracer.tracees.bufferOf(call))) |file| tracer.descriptors.known.mapped(&file);
                tracer.tracees.releaseBuffer(call);
            }
        },
        .guard => {},
        .ipc => if (try ipc.before(tracer, thread)) {
            call.at_exit = .ipc;
        },
        .write => if (try writes.before(tracer, thread, row)) {
            call.at_exit = .write;
        },
    }
    if (row.event == .call and tracer.detail == .full) _ = try writes.before(tracer, thread, row);
    if ((row.special == .clone3 or row.special == .clone) and !makesNamespace(tracer, call, row)) call.at_exit = .guard;
    if (call.at_exit == .record and isUninteresting(tracer, thread, row)) {
        call.at_exit = .nothing;
        tracer.tracees.releaseBuffer(call);
        call.items = 0; // a guard may record it yet
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
    switch (row.layout) {
        .registers => return,
        .ia32_ipc => {
            call.number = ipc.numberOf(call.arguments[0]) orelse return error.NotWatched;
            ipc.reorder(&call.arguments);
            return;
        },
        .ia32_mmap, .ia32_socketcall => {},
    }
    const address = call.arguments[if (row.layout == .ia32_mmap) 0 else 1];
    const which = call.arguments[0];
    var words: [6]u32 = @splat(0);
    const got = tracer.memory.read(thread.tid, address, std.mem.asBytes(&words)) catch |e| {
        if (e == error.TraceeGone) return e;
        call.flags |= records.bit(.unreadable);
        return;
    };
    if (got < @sizeOf(@TypeOf(words))) @memset(std.mem.asBytes(&words)[got..], 0);
    if (row.layout == .ia32_socketcall) {
        call.number = @intCast(syscalls.socketcallNumber(which) orelse return error.NotWatched);
        @memset(words[syscalls.socketcallArguments(which)..], 0);
    }
    for (&call.arguments, words) |*word, value| word.* = value;
    if (row.layout == .ia32_mmap and !syscalls.holds(syscalls.mmap_when, .i386, &call.arguments, .{ 0, 0 })) return error.NotWatched;
}

/// Where a path argument starts; `directory` is the argument with the descriptor, if there is one.
pub fn placeOf(tracer: *Tracer, thread: *const Thread, directory: u8) paths.Place {
    return .{
        .owner = tracer.owner(thread),
        .directory = if (directory == syscalls.Argument.none) linux.AT.FDCWD else @bitCast(@as(u32, @truncate(thread.call.arguments[directory]))),
        .roots_differ = tracer.roots_differ,
        .patience = tracer.patience,
    };
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

pub fn context(tracer: *Tracer, thread: *const Thread) decode.Context {
    return .{
        .memory = tracer.memory,
        .descriptors = &tracer.descriptors,
        .owner = tracer.owner(thread),
        .abi = thread.call.abi,
        .arguments = &thread.call.arguments,
        .roots_differ = tracer.roots_differ,
        .patience = tracer.patience,
    };
}

/// Then the call is recorded. Else only an escaped child is of interest.
fn makesNamespace(tracer: *Tracer, call: *const Call, row: *const Row) bool {
    const flags = cloneFlags(tracer, call, row);
    // The low byte of clone's flags is the signal of the child's end, not CLONE_NEWTIME.
    return flags & syscalls.clone_new_any & ~@as(u64, if (row.special == .clone) 0xff else 0) != 0;
}

/// clone's are in a register; of clone3's there is a copy among the items.
pub fn cloneFlags(tracer: *Tracer, call: *const Call, row: *const Row) u64 {
    if (row.special == .clone) return call.arguments[0];
    const items = tracer.tracees.bufferOf(call);
    const at = @sizeOf(abi.Item);
    return if (items.len < at + 8) 0 else std.mem.readInt(u64, items[at..][0..8], .little);
}

/// Of a map: most of those that are shared and can only be read stay so.
fn isOfInterest(tracer: *Tracer, call: *const Call) bool {
    if (call.arguments[2] & syscalls.prot_write_exec != 0 or call.flags & records.bit(.unreadable) != 0) return true;
    return decode.inodeIn(tracer.tracees.bufferOf(call)) != 0;
}

/// Watched only for some descriptors, or for what the guards make of it.
fn isUninteresting(tracer: *Tracer, thread: *Thread, row: *const Row) bool {
    if (guards.setsOwner(&thread.call, row)) return true;
    for (row.arguments) |argument| if (argument.kind == .socket) return !decode.hasSocket(tracer.tracees.bufferOf(&thread.call));
    return false;
}

// ---------------------------------------------------------------------------------------------
// After the call

fn onExit(tracer: *Tracer, thread: *Thread, returned: i64) Error!void {
    const call = &thread.call;
    checkNames(tracer, thread, returned);
    defer if (call.at_exit != .closing and !comesAgain(thread)) {
        tracer.tracees.releaseBuffer(call);
        call.* = .{};
    };
    if (call.at_exit == .closing) return guards.finishClosing(tracer, thread);
    // ERESTARTSYS and its like: the call is made again, or the tracee sees EINTR.
    const interrupted = returned <= -512 and returned >= -516;
    var result = if (interrupted) errno.intr else returned;
    if (isTrapped(tracer, thread, returned)) result = errno.nosys;
    // By ourselves: it is made again, and recorded then.
    if (thread.interrupted and (interrupted or returned == errno.intr)) return;
    if (call.role != .none and try sockets.onExit(tracer, thread, returned)) return;
    if (tracer.detail == .full and call.row != Call.no_row) try writes.after(tracer, thread, &syscalls.rows[call.row], result);
    switch (call.at_exit) {
        .nothing, .write => {},
        .open => if (result < 0) {
            if (!interrupted) tracer.tracees.processOf(thread).failed_opens += 1;
        } else try opens.after(tracer, thread, @truncate(result)),
        .record => try finishCall(tracer, thread, result),
        .ipc => try ipc.after(tracer, thread, result),
        .guard => if (guards.setsOwner(call, &syscalls.rows[call.row]))
            try guards.checkOwner(tracer, thread, result)
        else
            try lookForEscaped(tracer, thread, result),
        .closing => unreachable, // returned above
    }
}

fn comesAgain(thread: *const Thread) bool {
    const delay = thread.delayed orelse return false;
    return delay.until == .later;
}

fn checkNames(tracer: *Tracer, thread: *Thread, returned: i64) void {
    const call = &thread.call;
    if (call.name_change == name_changes.none) return;
    if (returned < 0) return endNameChange(tracer, thread, .failed);
    switch (name_checks.after(tracer, thread)) {
        .as_read => endNameChange(tracer, thread, .done),
        .unknown => endNameChange(tracer, thread, .unknown),
        .otherwise => {
            tracer.gap(thread, .arguments_changed, call.number, syscalls.rows[call.row].name);
            endNameChange(tracer, thread, .unknown);
        },
    }
}

/// Once for each call that has begun one, however it ends.
pub fn endNameChange(tracer: *Tracer, thread: *Thread, outcome: name_changes.NameChanges.Outcome) void {
    const call = &thread.call;
    if (call.name_change == name_changes.none) return;
    const is_late = tracer.names.end(call.name_change, outcome);
    call.name_change = name_changes.none;
    if (is_late) tracer.gap(thread, .program_unknown, 0, syscalls.rows[call.row].name);
}

/// SECCOMP_RET_TRAP of a filter of the build's own: the call was not done, and what looks like its result is its number.
fn isTrapped(tracer: *Tracer, thread: *Thread, returned: i64) bool {
    const call = &thread.call;
    // Without such a filter nobody but the kernel answers.
    if (!thread.every_call or !call.entered or call.passed or returned != call.number) return false;
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
    decode.after(&context(tracer, thread), row, result, tracer.tracees.bufferOf(call), &items) catch |e| {
        // Killed since: that it was done, and with which result, is known.
        if (e != error.TraceeGone) return e;
        tracer.gap(thread, .tracee_gone, call.number, call.name());
        record(tracer, thread, result, &.{ .items = &items });
        return e;
    };
    if (row.special == .connect or row.special == .send) try sockets.onContact(tracer, thread, result, tracer.tracees.bufferOf(call), &items);
    switch (row.special) {
        .send => try received.onSent(tracer, thread, result),
        .receive => if (!try received.onReceived(tracer, thread, result, &items)) return,
        .socket => if (result >= 0) sockets.onMade(tracer, thread, &items),
        .accept => if (result >= 0) sockets.onAccepted(tracer, thread, @truncate(result), &items),
        .take => if (result >= 0) try received.add(tracer, thread, decode.returned, @truncate(result), &items),
        else => {},
    }
    if (call.outside != 0 and result >= 0) outside.report(tracer, thread, row);
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
        .none, .map, .times, .socket, .connect, .accept, .send, .receive, .take, .userfaultfd, .fanotify, .ioctl, .fcntl, .io_submit, .perf, .segment => {},
        .truncate => if (result >= 0) opens.afterTruncate(tracer, thread),
        .kernel => kernel_reached.onCall(tracer, thread, row, result),
        .root => if (result >= 0) {
            tracer.roots_differ = true;
        },
        .mounts => if (result >= 0) {
            tracer.roots_differ = true;
            tracer.mounted = true;
            tracer.descriptors.forgetFileSystems();
            tracer.patience.forgetFileSystems();
            kernel_programs.onMount(tracer, thread, tracer.tracees.bufferOf(call));
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
        sockets.interruptAll(tracer, tracer.tracees.processOf(thread), thread);
        for (tracer.tracees.all()) |*other| {
            if ((other.state == .running or other.state == .expected) and other.process == thread.process) other.every_call = true;
        }
    }
    if (flags & linux.SECCOMP.FILTER_FLAG.NEW_LISTENER != 0) tracer.gap(thread, .seccomp_listener, 0, "");
}

/// A clone that has succeeded without the event that announces its child.
fn lookForEscaped(tracer: *Tracer, thread: *Thread, result: i64) Error!void {
    if (result <= 0 or thread.call.child_seen) return;
    try families.adoptEscaped(tracer, thread, @truncate(result));
}

// ---------------------------------------------------------------------------------------------
// Ends

/// The thread was killed in the middle of a call: whether that was done is not known.
pub fn onDeath(tracer: *Tracer, thread: *Thread) void {
    const call = &thread.call;
    endNameChange(tracer, thread, .unknown);
    switch (call.at_exit) {
        .nothing, .guard, .ipc, .closing => {},
        .write => if (call.writes != null) tracer.gap(thread, .tracee_gone, call.number, call.name()),
        // A descriptor for reading that nobody lived to use has told the build nothing.
        .open => if (opens.leavesTraces(call)) tracer.gap(thread, .tracee_gone, call.number, call.name()),
        .record => {
            // What came with a message was nobody's any more.
            if (call.row != Call.no_row and syscalls.rows[call.row].special == .receive) return;
            if (!canWait(call) and !endsWithCaller(call)) tracer.gap(thread, .tracee_gone, call.number, call.name());
            record(tracer, thread, 0, &.{ .entry_only = true });
        },
    }
}

/// What the call would have done is gone with who made it. A program whose main thread ends while another one gives itself a name
/// (every rustc) has not lost anything, and the record has the call, without its result.
fn endsWithCaller(call: *const Call) bool {
    if (call.row == Call.no_row) return false;
    // Another thread may have brought the filter into effect for those that an exec leaves alive.
    if (syscalls.rows[call.row].special == .prctl) return call.arguments[0] != syscalls.pr.set_seccomp;
    return syscalls.rows[call.row].ends_with_caller;
}

/// Calls in which a process is ordinarily killed: a server in accept.
fn canWait(call: *const Call) bool {
    if (call.row == Call.no_row) return false;
    for (syscalls.rows[call.row].arguments) |argument| switch (argument.kind) {
        .address, .peer, .message, .messages => return true,
        else => {},
    };
    return false;
}

pub fn reportUnreadable(tracer: *Tracer, thread: *Thread) void {
    const process = tracer.tracees.processOf(thread);
    if (process.unreadable_reported) return;
    process.unreadable_reported = true;
    tracer.gap(thread, .unreadable_memory, thread.call.number, thread.call.name());
}

pub fn limit(tracer: *Tracer, thread: *Thread, name: []const u8) void {
    thread.call.flags |= records.bit(.truncated);
    tracer.gap(thread, .limit, tracee.buffer_count, name);
}

pub const RecordOptions = struct {
    entry_only: bool = false,
    /// Read after the call; those from before it are the call's own.
    items: ?*const decode.Items = null,
};

/// The Syscall record. What happens before the command's first image is our own doing.
pub fn record(tracer: *Tracer, thread: *Thread, result: i64, options: *const RecordOptions) void {
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
