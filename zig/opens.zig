//! Opens: what is looked at before one that wants to write, and what has become of one that succeeded. Whatever path was
//! given, what counts is the descriptor that came out.
const std = @import("std");
const linux = std.os.linux;
const abi = @import("abi.zig");
const calls = @import("calls.zig");
const decode = @import("decode.zig");
const change_times = @import("change_times.zig");
const descriptors_mod = @import("descriptors.zig");
const guards = @import("guards.zig");
const ipc = @import("ipc.zig");
const kernel_programs = @import("kernel_programs.zig");
const kernel_reached = @import("kernel_reached.zig");
const own_files = @import("own_files.zig");
const paths = @import("paths.zig");
const records = @import("records.zig");
const sys = @import("sys.zig");
const syscalls = @import("syscalls.zig");
const tracee = @import("tracee.zig");
const Tracer = @import("tracer.zig").Tracer;
const Call = tracee.Call;
const Thread = tracee.Thread;
const Row = syscalls.Row;

const Error = sys.Error || error{TooManyTracees};

const o_accmode = 0o3;
const o_wronly = 0o1;
const o_creat: u64 = @as(u32, @bitCast(linux.O{ .CREAT = true }));
const o_trunc: u64 = @as(u32, @bitCast(linux.O{ .TRUNC = true }));
const o_path: u64 = @as(u32, @bitCast(linux.O{ .PATH = true }));

pub fn isForWriting(flags: u64) bool {
    return flags & o_accmode != 0 or flags & o_trunc != 0;
}

/// A descriptor for reading that nobody lived to use has told the build nothing; other opens may have changed something.
pub fn leavesTraces(call: *const Call) bool {
    const flags = flagsOf(call, &syscalls.rows[call.row]);
    return isForWriting(flags) or flags & o_creat != 0;
}

pub fn before(tracer: *Tracer, thread: *Thread, row: *const Row) sys.Error!void {
    if (row.open.how != syscalls.Argument.none) try readHow(tracer, thread, row);
    const flags = flagsOf(&thread.call, row);
    if (isForWriting(flags)) try beforeWriting(tracer, thread, .{ .path = row.open.path, .directory = directoryOf(row), .truncates = flags & o_trunc != 0 });
}

fn readHow(tracer: *Tracer, thread: *Thread, row: *const Row) sys.Error!void {
    const call = &thread.call;
    const how = tracer.memory.readValue(thread.tid, call.arguments[row.open.how], [2]u64) catch |e| {
        if (e == error.TraceeGone) return e;
        return; // F_GETFL still says how it was opened
    };
    call.how_flags = how[0];
    call.how_mode = how[1];
}

/// Positions of arguments.
const Target = struct { path: u8, directory: u8 = syscalls.Argument.none, truncates: bool };

/// The content that a reader was given must be digested before somebody changes it: "as it was at the open".
/// The call waits at this stop; nobody else does.
pub fn beforeWriting(tracer: *Tracer, thread: *Thread, target: Target) sys.Error!void {
    if (target.path == syscalls.Argument.none) return;
    const call = &thread.call;
    var text: [paths.max]u8 = undefined;
    const given = tracer.memory.string(thread.tid, call.arguments[target.path], &text) catch |e| {
        return if (e == error.TraceeGone) e else {};
    };
    if (given.bytes.len == 0) return;
    const place = calls.placeOf(tracer, thread, target.directory);
    const descriptor = paths.openInPlace(place, given.bytes, .{ .PATH = true, .CLOEXEC = true }) orelse return;
    defer sys.close(descriptor);
    if (tracer.privileged and own_files.isPrivateDescriptor(tracer, thread, descriptor, "", true)) {
        call.aims_at_us = own_files.leadsToUs(tracer, thread, place, given.bytes, "", true);
    }
    const file = tracer.descriptors.identify(descriptor) catch return;
    if (!descriptors_mod.isRegular(file.mode)) return;
    call.target = .{ .device = file.device, .inode = file.inode };
    call.size_before = file.size;
    // The Open record tells the size before, so that of an empty file all is known.
    if (target.truncates and file.size > 0) recordOverwrite(tracer, thread, descriptor, &file);
    waitForReading(tracer, thread, &file);
}

/// Also of a reader, after its open, while somebody has the file open for writing: we see no write(2), and the usual writer is one who
/// waits for the reader's end before it goes on (a shell whose log a command looks through).
fn waitForReading(tracer: *Tracer, thread: *Thread, file: *const abi.FileIdentity) void {
    if (!tracer.descriptors.isBeingRead(file.device, file.inode)) return;
    tracer.tracees.setDelay(thread, .{ .device = file.device, .inode = file.inode, .since_ns = sys.nowNs() });
}

/// As above. Without a path it is the descriptor's file.
pub fn beforeTimes(tracer: *Tracer, thread: *Thread, argument: syscalls.Argument) sys.Error!void {
    const call = &thread.call;
    if (call.arguments[argument.index] != 0) {
        return beforeWriting(tracer, thread, .{ .path = argument.index, .directory = argument.at, .truncates = false });
    }
    if (argument.at == syscalls.Argument.none) return;
    const number: i32 = @bitCast(@as(u32, @truncate(call.arguments[argument.at])));
    const taken = tracer.descriptors.take(tracer.owner(thread), number) catch |e| return if (e == error.TraceeGone) e else {};
    defer taken.close();
    const file = tracer.descriptors.identify(taken.descriptor) catch return;
    waitForReading(tracer, thread, &file);
}

/// Whether some open for writing of this file has begun and not been recorded: the kernel counts it already.
pub fn isUnderWay(tracer: *Tracer, device: u64, inode: u64) bool {
    for (tracer.tracees.all()) |*thread| {
        const target = thread.call.target orelse continue;
        if (thread.state == .running and thread.call.at_exit == .open and target.inode == inode and target.device == device) return true;
    }
    return false;
}

/// What a living writer has made of it so far is gone in a moment.
fn recordOverwrite(tracer: *Tracer, thread: *Thread, descriptor: i32, file: *const abi.FileIdentity) void {
    const process = tracer.owner(thread).process;
    if (!tracer.descriptors.hasLivingWriter(file.device, file.inode, process)) return;
    var link_buffer: [paths.max]u8 = undefined;
    const link: descriptors_mod.Link = tracer.descriptors.linkOf(descriptor, file, &link_buffer) catch .{ .path = "" };
    const held = tracer.descriptors.hold(descriptor, file, .{ .for_writing = false, .process = process });
    _ = tracer.records.emit(.overwrite, tracer.who(thread), 0, .{
        .header = undefined,
        .file = file.*,
        .content = held.content,
        .held = held.descriptor,
        .not_held = @backingInt(held.not_held),
        .held_errno = held.errno,
        .path_length = @intCast(link.path.len),
    }, &.{link.path});
}

pub fn directoryOf(row: *const Row) u8 {
    return if (row.open.path == 1) 0 else syscalls.Argument.none;
}

pub fn after(tracer: *Tracer, thread: *Thread, number: i32) Error!void {
    const call = &thread.call;
    const row = &syscalls.rows[call.row];
    const owner = tracer.owner(thread);
    var argument_buffer: [paths.max]u8 = undefined;
    const argument = argumentOf(tracer, thread, row, &argument_buffer) catch |e| return lose(tracer, thread, e);
    var fixed: abi.Open = .{
        .header = undefined,
        .file = .{},
        .flags = flagsOf(call, row),
        .mode = modeOf(call, row),
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
        if (e == error.TraceeGone) return lose(tracer, thread, e);
        return recordUnidentified(tracer, thread, &fixed, argument, e);
    };
    defer taken.close();
    fixed.file = tracer.descriptors.identify(taken.descriptor) catch .{};
    if (row.open.how != syscalls.Argument.none) fixed.flags |= descriptors_mod.flagsOf(owner, number, taken) catch 0;

    var flags: u16 = 0;
    var link_buffer: [paths.max]u8 = undefined;
    const link: descriptors_mod.Link = tracer.descriptors.linkOf(taken.descriptor, &fixed.file, &link_buffer) catch blk: {
        flags |= records.bit(.unresolved) | records.bit(.truncated); // the kernel's links end at a page
        break :blk .{ .path = paths.resolve(&tracer.descriptors, calls.placeOf(tracer, thread, directoryOf(row)), argument, .name, &link_buffer).path };
    };
    if (link.deleted) flags |= records.bit(.deleted);
    const opened: own_files.Opened = .{
        .descriptor = taken.descriptor,
        .file = &fixed.file,
        .text = link.path,
        .for_writing = isForWriting(fixed.flags),
    };
    // For others the kernel keeps them closed: we are not dumpable.
    if (tracer.privileged and own_files.isPrivate(tracer, thread, opened)) return guards.takeBack(tracer, thread, number, link.path);
    if (fixed.flags & o_path == 0) {
        if (opened.for_writing) kernel_programs.report(tracer, thread, taken.descriptor, &fixed.file, link.path);
        kernel_reached.onOpen(tracer, thread, taken.descriptor, &fixed.file, link.path, opened.for_writing);
        ipc.opened(tracer, thread, &fixed.file, fixed.flags);
    }
    const held: descriptors_mod.Held = if (fixed.flags & o_path != 0)
        .{ .not_held = .path_only }
    else
        tracer.descriptors.hold(taken.descriptor, &fixed.file, .{
            .for_writing = isForWriting(fixed.flags),
            .process = owner.process,
            .only_settled = maySettle(call, &fixed.file),
        });
    if (held.unsettled) {
        if (maySettle(call, &fixed.file)) return letSettle(tracer, thread, &fixed.file);
        flags |= records.bit(.unsettled);
    }
    if (held.has_writers) flags |= records.bit(.has_writers);
    fixed.held = held.descriptor;
    fixed.not_held = @backingInt(held.not_held);
    fixed.held_errno = held.errno;
    fixed.content = held.content;
    if (leavesTraces(call)) tracer.writes.opened(&tracer.records, fixed.file.device, fixed.file.inode);
    const sequence = record(tracer, thread, &fixed, link.path, argument, flags);
    if (held.may_stand) tracer.descriptors.known.remember(&fixed.file, sequence);
    // A writer again: whose file it is going to change can have been opened, or left by its writer, since it was looked at before the call.
    if (opened.for_writing or (held.may_change and fixed.file.size <= held_up_max)) waitForReading(tracer, thread, &fixed.file);
}

/// Digesting that much takes about as long as reading it.
const held_up_max = 64 << 20;

/// truncate(2), which has succeeded: recorded as an open for writing too, so that whoever cuts a file by its name leaves what is in it
/// like other writers.
pub fn afterTruncate(tracer: *Tracer, thread: *Thread) void {
    const call = &thread.call;
    const path = decode.pathOf(tracer.tracees.bufferOf(call), 0) orelse return; // the call could not be read, which is said
    const descriptor = decode.openResolved(&calls.context(tracer, thread), path) orelse return tracer.gap(thread, .unreadable_descriptor, 0, path);
    defer sys.close(descriptor);
    const file = tracer.descriptors.identify(descriptor) catch abi.FileIdentity{};
    const target = call.target orelse Call.Target{ .device = file.device, .inode = file.inode };
    // Another file has the name by now, or had it before.
    if (target.device != file.device or target.inode != file.inode) tracer.gap(thread, .unreadable_descriptor, 0, path);
    const held = tracer.descriptors.hold(descriptor, &file, .{ .for_writing = true, .process = tracer.owner(thread).process });
    recordOwn(tracer, thread, descriptor, .{ .file = &file, .held = &held, .flags = o_wronly | o_trunc, .number = call.number, .abi = call.abi, .size_before = call.size_before });
}

/// So long a reader waits at most for a file whose writers leave no tick out.
const settle_max_ns = 100 * std.time.ns_per_ms;

fn maySettle(call: *const Call, file: *const abi.FileIdentity) bool {
    return call.unsettled_since_ns == 0 or sys.nowNs() - call.unsettled_since_ns < settle_max_ns + change_times.granuleOf(file);
}

/// Somebody may write to it in this tick of the clock without a trace, before the reader has read or while we digest. So the reader waits, a tick
/// or two, and is given what is there then: `after` comes again.
fn letSettle(tracer: *Tracer, thread: *Thread, file: *const abi.FileIdentity) void {
    const now = sys.nowNs();
    if (thread.call.unsettled_since_ns == 0) thread.call.unsettled_since_ns = now;
    tracer.tracees.setDelay(thread, .{ .device = file.device, .inode = file.inode, .since_ns = now, .until = .later });
}

/// A file that the kernel opens in the course of an exec, without a call. `descriptor`: ours, and stays the caller's.
pub fn byKernel(tracer: *Tracer, thread: *Thread, descriptor: i32) void {
    const call = &thread.call;
    const file = tracer.descriptors.identify(descriptor) catch abi.FileIdentity{};
    const held = tracer.descriptors.hold(descriptor, &file, .{ .for_writing = false, .process = tracer.owner(thread).process });
    const is_exec = call.class == .exec;
    recordOwn(tracer, thread, descriptor, .{
        .file = &file,
        .held = &held,
        .flags = 0,
        .number = if (is_exec) call.number else @backingInt(linux.SYS.execve),
        .abi = if (is_exec) call.abi else syscalls.native_abi,
        .size_before = abi.size_unknown,
    });
}

const Own = struct { file: *const abi.FileIdentity, held: *const descriptors_mod.Held, flags: u64, number: u32, abi: abi.Abi, size_before: u64 };

/// Of an open that has given the tracee no descriptor.
fn recordOwn(tracer: *Tracer, thread: *Thread, descriptor: i32, own: Own) void {
    var link_buffer: [paths.max]u8 = undefined;
    const link = tracer.descriptors.linkOf(descriptor, own.file, &link_buffer) catch descriptors_mod.Link{ .path = "" };
    var fixed: abi.Open = .{
        .header = undefined,
        .file = own.file.*,
        .flags = own.flags,
        .mode = 0,
        .descriptor = -1,
        .held = own.held.descriptor,
        .not_held = @backingInt(own.held.not_held),
        .held_errno = own.held.errno,
        .number = own.number,
        .abi = @backingInt(own.abi),
        .root_length = 0,
        .content = own.held.content,
        .size_before = own.size_before,
        .path_length = @intCast(link.path.len),
        .argument_length = 0,
    };
    const sequence = record(tracer, thread, &fixed, link.path, "", if (link.deleted) records.bit(.deleted) else 0);
    if (own.held.may_stand) tracer.descriptors.known.remember(own.file, sequence);
}

/// Killed before we could look at what it has opened.
fn lose(tracer: *Tracer, thread: *Thread, e: sys.Error) sys.Error {
    if (e == error.TraceeGone and leavesTraces(&thread.call)) tracer.gap(thread, .tracee_gone, thread.call.number, thread.call.name());
    return e;
}

fn record(tracer: *Tracer, thread: *Thread, fixed: *abi.Open, path: []const u8, argument: []const u8, flags: u16) u64 {
    var root_buffer: [paths.max]u8 = undefined;
    const root: []const u8 = if (tracer.roots_differ) paths.rootOf(thread.tid, &root_buffer) else "";
    fixed.root_length = @intCast(root.len);
    fixed.path_length = @intCast(path.len);
    return tracer.records.emit(.open, tracer.who(thread), flags | thread.call.flags, fixed.*, &.{ root, path, argument });
}

/// Another thread has closed it, or nobody may look at this process.
fn recordUnidentified(tracer: *Tracer, thread: *Thread, fixed: *abi.Open, argument: []const u8, e: sys.Error) void {
    const call = &thread.call;
    if (e == error.Denied or e == error.TimedOut) calls.reportUnreadable(tracer, thread) else tracer.gap(thread, .unreadable_descriptor, @intCast(fixed.descriptor), "");
    if (argument.len == 0) {
        call.flags |= records.bit(.unreadable);
        return calls.record(tracer, thread, fixed.descriptor, &.{});
    }
    const row = &syscalls.rows[call.row];
    var buffer: [paths.max]u8 = undefined;
    const resolved = paths.resolve(&tracer.descriptors, calls.placeOf(tracer, thread, directoryOf(row)), argument, .file, &buffer);
    _ = record(tracer, thread, fixed, resolved.path, argument, records.bit(.unresolved));
}

/// Only of an open that succeeded: half of all opens look for what is not there.
pub fn argumentOf(tracer: *Tracer, thread: *Thread, row: *const Row, buffer: []u8) sys.Error![]const u8 {
    if (row.open.path == syscalls.Argument.none) return "";
    const given = tracer.memory.string(thread.tid, thread.call.arguments[row.open.path], buffer) catch |e| {
        if (e == error.TraceeGone) return e;
        if (e == error.Denied or e == error.TimedOut) calls.reportUnreadable(tracer, thread);
        return "";
    };
    return given.bytes;
}

pub fn flagsOf(call: *const Call, row: *const Row) u64 {
    if (row.open.how != syscalls.Argument.none) return call.how_flags;
    const given = if (row.open.flags == syscalls.Argument.none) 0 else call.arguments[row.open.flags] & std.math.maxInt(u32);
    return given | row.open.always;
}

fn modeOf(call: *const Call, row: *const Row) u32 {
    if (row.open.how != syscalls.Argument.none) return @truncate(call.how_mode);
    return if (row.open.mode == syscalls.Argument.none) 0 else @truncate(call.arguments[row.open.mode]);
}
