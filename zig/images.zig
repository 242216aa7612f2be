//! A new image: what runs now, as the kernel sees it at PTRACE_EVENT_EXEC. At the entry of exec everything
//! in /proc still described the old image; only the path argument was kept from there.
const std = @import("std");
const linux = std.os.linux;
const abi = @import("abi.zig");
const auxv = @import("auxv.zig");
const descriptors_mod = @import("descriptors.zig");
const interpreters = @import("interpreters.zig");
const file_systems = @import("file_systems.zig");
const known = @import("known.zig");
const opens = @import("opens.zig");
const paths = @import("paths.zig");
const Privilege = @import("privilege.zig").Privilege;
const programs = @import("programs.zig");
const records = @import("records.zig");
const status_file = @import("status.zig");
const sys = @import("sys.zig");
const tracee = @import("tracee.zig");
const Tracer = @import("tracer.zig").Tracer;
const Thread = tracee.Thread;

const Error = sys.Error || error{TooManyTracees};

/// One of the two files of an exec: what the kernel runs, and what was named.
const File = struct {
    identity: abi.FileIdentity = .{},
    held: descriptors_mod.Held = .{ .not_held = .gone },
    link: descriptors_mod.Link = .{ .path = "" },
    gid: u32 = 0,
};

/// `former`: the number that the calling thread had.
pub fn onExec(tracer: *Tracer, leader: *Thread, former: i32) Error!void {
    const call = &leader.call;
    defer {
        tracer.tracees.releaseBuffer(call);
        call.* = .{};
    }
    const owner = tracer.owner(leader);
    var flags: u16 = call.flags;
    const process = tracer.tracees.processOf(leader);
    process.unreadable_reported = false;

    var executable_link: [paths.max]u8 = undefined;
    var lost = Privilege{};
    const executable = takeExecutable(tracer, owner, &executable_link, &lost) catch |e| blk: {
        if (e == error.TraceeGone) return e;
        // Without read permission for its user the process is closed to us: pitfall of an unprivileged tracer.
        flags |= records.bit(.unreadable);
        break :blk File{ .held = .{ .not_held = .unreadable, .errno = sys.errnoNumber(.ACCES) } };
    };
    if (executable.link.deleted) flags |= records.bit(.deleted);

    var program_buffer: [paths.max]u8 = undefined;
    // Nothing can be asked of a process that is closed to us: its gap says so.
    try programs.correctPath(tracer, leader, auxv.pathAddress(owner.pid) catch 0);
    const since = tracer.names.since(leader.call.names_mark);
    const found = programs.find(tracer, leader, &executable.identity, executable.link.path, &since);
    defer if (found == .file) sys.close(found.file.descriptor);
    const program_path = programs.pathOf(tracer, leader, executable.link.path, &found, &program_buffer, &flags);
    const program = fileOf(tracer, &found, &executable);

    const status = status_file.read(owner.pid) catch status_file.Status{};
    var comm_buffer: [64]u8 = undefined;
    const comm = status_file.comm(owner.pid, &comm_buffer);
    var cwd_buffer: [paths.max]u8 = undefined;
    const cwd = paths.base(.{ .owner = owner, .directory = linux.AT.FDCWD, .roots_differ = false }, &cwd_buffer) orelse "";
    var root_buffer: [paths.max]u8 = undefined;
    const root = paths.rootOf(owner.tid, &root_buffer);
    if (root.len > 0) tracer.roots_differ = true;
    const argv = try readStrings(owner.pid, "cmdline", &tracer.scratch.argv, &flags);
    const environment = try readStrings(owner.pid, "environ", &tracer.scratch.environment, &flags);
    if (flags & records.bit(.unreadable) != 0) {
        process.unreadable_reported = true;
        tracer.gap(leader, .unreadable_memory, call.number, program_path);
    }

    const privilege_lost = lost.isLost(owner.pid, &status, tracer.session.hasFeature(.without_no_new_privs));
    const sequence = tracer.records.emit(.exec, tracer.who(leader), flags, .{
        .header = undefined,
        .executable = executable.identity,
        .executable_held = executable.held.descriptor,
        .executable_not_held = @backingInt(executable.held.not_held),
        .executable_held_errno = executable.held.errno,
        .program_held = program.held.descriptor,
        .executable_content = executable.held.content,
        .program = program.identity,
        .program_not_held = @backingInt(program.held.not_held),
        .program_held_errno = program.held.errno,
        .program_content = program.held.content,
        .former_tid = if (former == leader.tid) 0 else former,
        .uid = status.uid,
        .euid = status.euid,
        .gid = status.gid,
        .egid = status.egid,
        .speculation_vulnerable = @intFromBool(status.speculation_vulnerable),
        .executable_path_length = @intCast(executable.link.path.len),
        .program_path_length = @intCast(program_path.len),
        .comm_length = @intCast(comm.len),
        .cwd_length = @intCast(cwd.len),
        .root_length = @intCast(root.len),
        .argv_length = @intCast(argv.len),
        .environment_length = @intCast(environment.len),
        .privilege_lost = @intFromBool(privilege_lost),
    }, &.{ executable.link.path, program_path, comm, cwd, root, argv, environment });
    const contents = &tracer.descriptors.known;
    if (executable.held.may_stand) contents.remember(&executable.identity, sequence);
    if (program.held.may_stand) contents.remember(&program.identity, sequence);
    if (privilege_lost) tracer.gap(leader, .privilege_not_gained, 0, program_path);
    switch (found) {
        .executable => {},
        .unknown => tracer.gap(leader, .program_unknown, 0, program_path),
        .file => |file| interpreters.reportChain(tracer, leader, file.descriptor, &executable.identity, &since),
    }
    const loaded: interpreters.Executable = .{ .identity = &executable.identity, .path = executable.link.path };
    if (executable.identity.inode != 0) interpreters.reportLoader(tracer, leader, &loaded, &since);
}

/// The named file, where it is another than the one that runs: a script, whose interpreter runs.
fn fileOf(tracer: *Tracer, found: *const programs.Program, executable: *const File) File {
    return switch (found.*) {
        .executable => .{
            .identity = executable.identity,
            .held = .{ .not_held = executable.held.not_held, .errno = executable.held.errno, .content = executable.held.content },
        },
        .unknown => .{ .held = .{ .not_held = .gone } },
        .file => |file| .{
            .identity = file.identity,
            .held = tracer.descriptors.hold(file.descriptor, &file.identity, .{ .for_writing = false, .process = 0 }),
        },
    };
}

/// /proc/PID/exe is the file itself, also where it has no name (memfd) or another one by now.
fn takeExecutable(tracer: *Tracer, owner: descriptors_mod.Owner, buffer: []u8, lost: *Privilege) sys.Error!File {
    var path: [64]u8 = undefined;
    const taken = switch (sys.open(linux.AT.FDCWD, sys.procPath(&path, owner.pid, "exe"), .{ .PATH = true, .CLOEXEC = true })) {
        .descriptor => |number| number,
        .failed => |e| return if (e == .NOENT or e == .SRCH) status_file.whyMissing() else error.Denied,
    };
    defer sys.close(taken);
    const identity = try tracer.descriptors.identify(taken);
    lost.* = .of(tracer, taken, &identity);
    return .{
        .identity = identity,
        .link = tracer.descriptors.linkOf(taken, &identity, buffer) catch .{ .path = "" },
        .held = tracer.descriptors.hold(taken, &identity, .{ .for_writing = false, .process = 0 }),
    };
}

fn readStrings(pid: i32, comptime name: []const u8, buffer: []u8, flags: *u16) sys.Error![]const u8 {
    var path: [64]u8 = undefined;
    const text = status_file.readFile(sys.procPath(&path, pid, name), buffer) catch |e| {
        if (e == error.TraceeGone) return e;
        flags.* |= records.bit(.unreadable);
        return "";
    };
    if (text.len == buffer.len) flags.* |= records.bit(.truncated);
    return text;
}

// ---------------------------------------------------------------------------------------------
// What the command was started with

/// Every descriptor that it has at its first image, except our own pipes.
pub fn reportInherited(tracer: *Tracer, leader: *Thread) Error!void {
    const owner = tracer.owner(leader);
    var path: [64]u8 = undefined;
    const directory = switch (sys.open(linux.AT.FDCWD, sys.procPath(&path, owner.pid, "fd"), .{ .DIRECTORY = true, .CLOEXEC = true })) {
        .descriptor => |number| number,
        .failed => return tracer.gap(leader, .unreadable_descriptor, 0, ""),
    };
    defer sys.close(directory);
    var buffer: [4096]u8 align(8) = undefined;
    while (true) {
        const length = try sys.check(linux.getdents64(directory, &buffer, buffer.len));
        if (length == 0) return;
        var at: usize = 0;
        while (at < length) {
            const entry: *align(8) linux.dirent64 = @ptrCast(@alignCast(&buffer[at]));
            at += entry.reclen;
            const name = std.mem.span(@as([*:0]const u8, @ptrCast(&entry.name)));
            const number = std.fmt.parseInt(i32, name, 10) catch continue; // "." and ".."
            try reportDescriptor(tracer, leader, owner, number);
        }
    }
}

fn reportDescriptor(tracer: *Tracer, leader: *Thread, owner: descriptors_mod.Owner, number: i32) Error!void {
    const taken = tracer.descriptors.take(owner, number) catch |e| {
        if (e == error.TraceeGone) return e;
        return tracer.gap(leader, .unreadable_descriptor, @intCast(number), "");
    };
    defer taken.close();
    const file = tracer.descriptors.identify(taken.descriptor) catch
        return tracer.gap(leader, .unreadable_descriptor, @intCast(number), "");
    if (isOurs(tracer, &file)) return;
    const flags = descriptors_mod.flagsOf(owner, number, taken) catch 0;
    var link_buffer: [paths.max]u8 = undefined;
    const link = tracer.descriptors.linkOf(taken.descriptor, &file, &link_buffer) catch descriptors_mod.Link{ .path = "" };
    if (std.mem.eql(u8, link.path, "anon_inode:[fanotify]")) tracer.patience.needed = true; // who has it may be asked for our opens
    const held = tracer.descriptors.hold(taken.descriptor, &file, .{ .for_writing = opens.isForWriting(flags), .process = owner.process });
    const socket: descriptors_mod.Socket = if (descriptors_mod.isSocket(file.mode)) .of(taken.descriptor) else .{ .facts = null };
    const record_flags = (if (link.deleted) records.bit(.deleted) else 0) | (if (held.has_writers) records.bit(.has_writers) else 0);
    const sequence = tracer.records.emit(.inherited, tracer.who(leader), record_flags, .{
        .header = undefined,
        .file = file,
        .flags = flags,
        .descriptor = number,
        .held = held.descriptor,
        .not_held = @backingInt(held.not_held),
        .held_errno = held.errno,
        .content = held.content,
        .domain = if (socket.facts) |facts| facts.domain else 0,
        .type = if (socket.facts) |facts| facts.type else 0,
        .path_length = @intCast(link.path.len),
        .peer_length = @intCast(socket.peer().len),
    }, &.{ link.path, socket.peer() });
    if (held.may_stand) tracer.descriptors.known.remember(&file, sequence);
}

/// A pipe is one inode at both ends.
fn isOurs(tracer: *Tracer, file: *const abi.FileIdentity) bool {
    for (tracer.session.descriptors.capture_read) |end| {
        if (end < 0) continue;
        const own = tracer.descriptors.identify(end) catch continue;
        if (own.device == file.device and own.inode == file.inode) return true;
    }
    return false;
}
