//! The file that an exec named. What the kernel runs is asked of /proc/PID/exe, but of a script nothing is left there: it is
//! the file that its path leads to, looked at before the kernel has done so and again afterwards.
const std = @import("std");
const linux = std.os.linux;
const abi = @import("abi.zig");
const calls = @import("calls.zig");
const descriptors_mod = @import("descriptors.zig");
const file_systems = @import("file_systems.zig");
const name_changes = @import("name_changes.zig");
const paths = @import("paths.zig");
const records = @import("records.zig");
const sys = @import("sys.zig");
const syscalls = @import("syscalls.zig");
const tracee = @import("tracee.zig");
const Tracer = @import("tracer.zig").Tracer;
const Thread = tracee.Thread;
const Row = syscalls.Row;

const file_at = 2 * paths.max;

comptime {
    std.debug.assert(file_at + @sizeOf(abi.FileIdentity) <= tracee.buffer_size);
}

// ---------------------------------------------------------------------------------------------
// Before the call

/// Keeps the path for exec's event, `paths.max` behind it the directory that it starts from (or the file itself, where
/// the path is empty), and behind that the identity of the file.
pub fn before(tracer: *Tracer, thread: *Thread, row: *const Row) sys.Error!void {
    const call = &thread.call;
    call.names_mark = tracer.names.mark();
    call.alone = tracer.tracees.processOf(thread).threads == 1 and !tracer.shares_places;
    const buffer = tracer.tracees.takeBuffer(call) orelse return calls.limit(tracer, thread, "calls at once");
    const given = tracer.memory.string(thread.tid, call.arguments[row.arguments[0].index], buffer[0..paths.max]) catch |e| {
        if (e == error.TraceeGone) return e;
        if (e == error.Denied or e == error.TimedOut) calls.reportUnreadable(tracer, thread);
        call.flags |= records.bit(.unreadable);
        return;
    };
    if (given.truncated) call.flags |= records.bit(.truncated);
    call.length = @intCast(given.bytes.len);
    keepDirectory(tracer, thread, row, buffer);
    const descriptor = open(tracer, thread) orelse return;
    defer tracer.descriptors.close(descriptor);
    const file = tracer.descriptors.identify(descriptor) catch return;
    @memcpy(buffer[file_at..][0..@sizeOf(abi.FileIdentity)], std.mem.asBytes(&file));
    call.file_known = true;
}

/// exec closes a descriptor that has CLOEXEC: where it leads to can only be asked now. And it may close the process to us, its
/// working directory too.
fn keepDirectory(tracer: *Tracer, thread: *Thread, row: *const Row, buffer: []u8) void {
    const call = &thread.call;
    if (call.length > 0 and buffer[0] == '/') return;
    const start = calls.placeOf(tracer, thread, row.arguments[0].at);
    call.from_cwd = start.directory == linux.AT.FDCWD;
    const directory = paths.base(start, buffer[paths.max..][0..paths.max]) orelse return;
    call.directory_length = @intCast(directory.len);
}

/// O_PATH, as the kernel finds it for the thread.
fn open(tracer: *Tracer, thread: *const Thread) ?i32 {
    const argument = tracer.tracees.bufferOf(&thread.call);
    if (argument.len == 0) return openDescriptor(tracer, thread);
    return openPath(place(tracer, thread), argument);
}

/// fexecve(3)
fn openDescriptor(tracer: *Tracer, thread: *const Thread) ?i32 {
    const call = &thread.call;
    const row = &syscalls.rows[call.row];
    const at = row.arguments[0].at;
    if (at == syscalls.Argument.none or call.arguments[row.arguments[0].flags] & linux.AT.EMPTY_PATH == 0) return null;
    const owner = tracer.owner(thread);
    const taken = tracer.descriptors.take(owner, @bitCast(@as(u32, @truncate(call.arguments[at])))) catch return null;
    return taken.descriptor;
}

pub fn openPath(start: paths.Place, path: []const u8) ?i32 {
    const flags: linux.O = .{ .PATH = true, .CLOEXEC = true };
    if (paths.openInPlace(start, path, flags)) |descriptor| return descriptor;
    // With another root its own entry of proc is not to be had there; here it is the same.
    if (!start.roots_differ or !std.mem.startsWith(u8, path, "/proc/") and !std.mem.startsWith(u8, path, "/dev/")) return null;
    var here = start;
    here.roots_differ = false;
    return paths.openInPlace(here, path, flags);
}

fn place(tracer: *Tracer, thread: *const Thread) paths.Place {
    const call = &thread.call;
    var start = calls.placeOf(tracer, thread, syscalls.rows[call.row].arguments[0].at);
    if (call.directory_length > 0 and !call.from_cwd) start.directory_path = keptDirectory(tracer, thread);
    return start;
}

fn keptDirectory(tracer: *Tracer, thread: *const Thread) []const u8 {
    return tracer.tracees.buffers[thread.call.buffer][paths.max..][0..thread.call.directory_length];
}

// ---------------------------------------------------------------------------------------------
// After it

pub const Program = union(enum) {
    /// What the kernel runs.
    executable,
    /// Something that another file is the interpreter of; the descriptor is the caller's to close.
    file: struct { descriptor: i32, identity: abi.FileIdentity },
    /// Nobody can say which file it was.
    unknown,
};

/// `address`: of the path as the kernel has read it, in the new image. What we had read can have been changed by another
/// thread before the kernel read it; then only this one counts, and nobody has looked where it led.
pub fn correctPath(tracer: *Tracer, leader: *Thread, address: u64) sys.Error!void {
    const call = &leader.call;
    if (address == 0 or call.class != .exec) return;
    const buffer = tracer.tracees.takeBuffer(call) orelse return;
    var text: [paths.max]u8 = undefined;
    const given = tracer.memory.string(leader.tid, address, &text) catch |e| return if (e == error.TraceeGone) e else {};
    const path = withoutDirectory(leader, given.bytes);
    if (given.truncated or call.flags & records.bit(.truncated) != 0) return;
    const known = buffer[0..call.length];
    if (std.mem.eql(u8, path, known) or std.mem.eql(u8, given.bytes, known)) return;
    @memcpy(buffer[0..path.len], path);
    call.length = @intCast(path.len);
    call.file_known = false;
    call.flags &= ~records.bit(.unreadable);
}

/// The kernel calls a path that starts at a descriptor `/dev/fd/N/path`, and the file of a descriptor `/dev/fd/N` (execveat(2)).
fn withoutDirectory(leader: *const Thread, path: []const u8) []const u8 {
    const call = &leader.call;
    const at = syscalls.rows[call.row].arguments[0].at;
    if (at == syscalls.Argument.none) return path;
    var start: [32]u8 = undefined;
    const length = sys.appendNumber(&start, sys.append(&start, 0, "/dev/fd/"), @as(u32, @truncate(call.arguments[at])));
    if (!std.mem.startsWith(u8, path, start[0..length])) return path;
    const rest = path[length..];
    if (rest.len == 0) return rest;
    return if (rest[0] == '/') rest[1..] else path;
}

pub fn find(
    tracer: *Tracer,
    leader: *const Thread,
    executable: *const abi.FileIdentity,
    executable_path: []const u8,
    since: *const name_changes.Since,
) Program {
    const call = &leader.call;
    // Closed to us: its own gap says so.
    if (executable.inode == 0) return .executable;
    // Before anybody has looked, the call was not one of the build.
    if (call.class != .exec or call.buffer == tracee.Call.no_buffer or call.flags & records.bit(.unreadable) != 0) return .executable;
    const argument = tracer.tracees.bufferOf(call);
    if (argument.len > 0 and since.touches(place(tracer, leader), argument)) return .unknown;
    const seen = if (call.file_known) identityBefore(tracer, leader) else null;
    if (seen) |file| if (isSame(&file, executable)) return .executable;
    const descriptor = open(tracer, leader) orelse return if (isCalled(tracer, leader, argument, executable, executable_path)) .executable else .unknown;
    const identity = tracer.descriptors.identify(descriptor) catch {
        sys.close(descriptor);
        return .unknown;
    };
    const is_executable = seen == null and isSame(&identity, executable);
    // What a process of the build serves is not looked up before the kernel has done so; afterwards it knows the name that it has found.
    const is_it = if (seen) |file| isSame(&identity, &file) else isServed(tracer, &identity);
    if (is_executable or !is_it or !call.alone and (tracer.roots_differ or !isAbsolute(argument))) {
        sys.close(descriptor);
        return if (is_executable) .executable else .unknown;
    }
    return .{ .file = .{ .descriptor = descriptor, .identity = identity } };
}

fn isServed(tracer: *const Tracer, file: *const abi.FileIdentity) bool {
    return tracer.patience.needed and file_systems.isServedByProcess(file.file_system);
}

/// Where the name cannot be looked up, since a process of the build would have to be asked: whether the executable has that very name.
fn isCalled(tracer: *Tracer, leader: *const Thread, argument: []const u8, executable: *const abi.FileIdentity, executable_path: []const u8) bool {
    if (argument.len == 0 or !isServed(tracer, executable)) return false;
    var buffer: [paths.max]u8 = undefined;
    return std.mem.eql(u8, paths.calledBy(&tracer.descriptors, place(tracer, leader), argument, &buffer).path, executable_path);
}

/// Not from a directory or a descriptor, which another thread can exchange meanwhile, and back. (So can it its root, where that differs.)
fn isAbsolute(path: []const u8) bool {
    if (path.len == 0 or path[0] != '/') return false;
    for ([_][]const u8{ "/proc/", "/dev/" }) |top| if (std.mem.startsWith(u8, path, top)) return false;
    return true;
}

fn identityBefore(tracer: *Tracer, leader: *const Thread) abi.FileIdentity {
    const bytes = tracer.tracees.buffers[leader.call.buffer][file_at..][0..@sizeOf(abi.FileIdentity)];
    return std.mem.bytesToValue(abi.FileIdentity, bytes);
}

pub fn isSame(one: *const abi.FileIdentity, other: *const abi.FileIdentity) bool {
    return one.inode == other.inode and one.device == other.device;
}

/// The argument made absolute, as text: it is what the program was called by. Empty: it has no name but the executable's.
pub fn pathOf(tracer: *Tracer, leader: *Thread, executable: []const u8, program: *const Program, buffer: []u8, flags: *u16) []const u8 {
    const call = &leader.call;
    const argument = tracer.tracees.bufferOf(call);
    if (call.class != .exec or call.buffer == tracee.Call.no_buffer) return "";
    if (argument.len == 0) return switch (program.*) {
        .executable, .unknown => "",
        .file => |file| (tracer.descriptors.linkOf(file.descriptor, &file.identity, buffer) catch return "").path,
    };
    if (isStartUnknown(leader, argument)) return executable;
    var start = place(tracer, leader);
    if (executable.len == 0) start.directory_path = keptDirectory(tracer, leader);
    const resolved = paths.calledBy(&tracer.descriptors, start, argument, buffer);
    if (resolved.truncated) flags.* |= records.bit(.truncated);
    return resolved.path;
}

/// A path that starts at a descriptor which could not be asked before the call. Now the number may be another file's.
fn isStartUnknown(leader: *const Thread, argument: []const u8) bool {
    const call = &leader.call;
    const at = syscalls.rows[call.row].arguments[0].at;
    if (argument[0] == '/' or at == syscalls.Argument.none or call.directory_length > 0) return false;
    return @as(i32, @bitCast(@as(u32, @truncate(call.arguments[at])))) != linux.AT.FDCWD;
}
