//! /proc/PID/status and /proc/PID/comm: read seldom, since each costs more than a stop.
const std = @import("std");
const linux = std.os.linux;
const sys = @import("sys.zig");

pub const Status = struct {
    /// Tgid and PPid.
    process: i32 = 0,
    parent: i32 = 0,
    /// TracerPid.
    tracer: i32 = 0,
    uid: u32 = 0,
    euid: u32 = 0,
    gid: u32 = 0,
    egid: u32 = 0,
    /// CapPrm.
    capabilities: u64 = 0,
    /// CapBnd.
    bounding: u64 = 0,
    no_new_privs: bool = false,
    speculation_vulnerable: bool = false,
    zombie: bool = false,
};

pub fn read(pid: i32) sys.Error!Status {
    var path: [64]u8 = undefined;
    return readPath(sys.procPath(&path, pid, "status"));
}

/// Of some proc.
pub fn readPath(path: [*:0]const u8) sys.Error!Status {
    var text: [8192]u8 = undefined;
    return parse(try readFile(path, &text));
}

/// No such process, or only its body.
pub fn isGone(pid: i32) bool {
    const status = read(pid) catch return true;
    return status.zombie;
}

/// Whether a process and we number processes alike.
pub fn isSamePidNamespace(pid: i32) bool {
    return isSameNamespace(pid, "ns/pid", "/proc/self/ns/pid") orelse true;
}

/// Whether a thread has the queues and segments of System V and POSIX that we have.
pub fn isSameIpc(tid: i32) bool {
    return isSameNamespace(tid, "ns/ipc", "/proc/self/ns/ipc") orelse true;
}

/// Whether a thread's network is ours.
pub fn isSameNetwork(tid: i32) bool {
    return isSameNamespace(tid, "ns/net", "/proc/self/ns/net") orelse false;
}

/// Null: it cannot be asked.
fn isSameNamespace(pid: i32, name: []const u8, own: [*:0]const u8) ?bool {
    var path: [64]u8 = undefined;
    var theirs: [64]u8 = undefined;
    var ours: [64]u8 = undefined;
    const their = sys.readLink(linux.AT.FDCWD, sys.procPath(&path, pid, name), &theirs) catch return null;
    const our = sys.readLink(linux.AT.FDCWD, own, &ours) catch return null;
    return std.mem.eql(u8, their, our);
}

/// Whose a pidfd of a process is, as we number processes; 0: it is none, or that process is gone.
pub fn processOfPidfd(tid: i32, descriptor: i32) i32 {
    if (descriptor < 0) return 0;
    var path: [64]u8 = undefined;
    var at = sys.procPath(&path, tid, "fdinfo/").len;
    at = sys.appendNumber(&path, at, @intCast(descriptor));
    path[at] = 0;
    var buffer: [1024]u8 = undefined;
    const text = readFile(path[0..at :0], &buffer) catch return 0;
    var lines = std.mem.splitScalar(u8, text, '\n');
    while (lines.next()) |line| {
        if (std.mem.startsWith(u8, line, "Pid:")) return number(i32, std.mem.trim(u8, line["Pid:".len..], " \t"), 10);
    }
    return 0;
}

pub const Entry = struct { process: i32, file: []const u8 };

/// The process or thread whose entry below /proc a path leads into, and to what in it.
pub fn entryOf(path: []const u8) ?Entry {
    const top = "/proc/";
    if (!std.mem.startsWith(u8, path, top)) return null;
    var parts = std.mem.tokenizeScalar(u8, path[top.len..], '/');
    var process = number(i32, parts.next() orelse return null, 10);
    var file = parts.next() orelse return null;
    if (std.mem.eql(u8, file, "task")) {
        process = number(i32, parts.next() orelse return null, 10);
        file = parts.next() orelse return null;
    }
    return if (process == 0) null else .{ .process = process, .file = file };
}

/// The next entry of a process behind `at`, where it is not known at which directory a proc is mounted.
pub fn entryBelow(path: []const u8, at: *usize) ?Entry {
    while (std.mem.findScalarPos(u8, path, at.*, '/')) |slash| {
        at.* = slash + 1;
        var parts = std.mem.tokenizeScalar(u8, path[slash..], '/');
        const process = number(i32, parts.next() orelse return null, 10);
        const file = parts.next() orelse return null;
        if (process > 0) return .{ .process = process, .file = file };
    }
    return null;
}

/// What the kernel shows of a process only to those who may trace it. Whoever may read the rest sees no secret.
pub fn isPrivate(file: []const u8) bool {
    for (private_names) |name| if (std.mem.eql(u8, name, file)) return true;
    return false;
}

pub const private_names = [_][]const u8{
    "mem",         "environ", "auxv",        "syscall",       "stack",      "maps",    "smaps",   "smaps_rollup",
    "numa_maps",   "pagemap", "map_files",   "fd",            "fdinfo",     "root",    "cwd",     "exe",
    "personality", "ns",      "patch_state", "timerslack_ns", "clear_refs", "uid_map", "gid_map",
};

/// Of these, what lists of processes read of everybody. It tells how a process is made; what is in it is `mem`.
pub fn isListed(file: []const u8) bool {
    return isPrivate(file) and !std.mem.eql(u8, file, "mem") and !std.mem.eql(u8, file, "pagemap") and !std.mem.eql(u8, file, "clear_refs");
}

/// The name of a process, without the newline that the kernel adds.
pub fn comm(pid: i32, buffer: []u8) []const u8 {
    var path: [64]u8 = undefined;
    const text = readFile(sys.procPath(&path, pid, "comm"), buffer) catch return "";
    return if (std.mem.endsWith(u8, text, "\n")) text[0 .. text.len - 1] else text;
}

/// Of an entry of a process: that is gone, or somebody has mounted something over our /proc, and what is there we may not see.
pub fn whyMissing() sys.Error {
    var link: [16]u8 = undefined;
    const self = sys.readLink(linux.AT.FDCWD, "/proc/self", &link) catch return error.Denied;
    return if (number(i32, self, 10) == sys.ownPid()) error.TraceeGone else error.Denied;
}

/// As much of a file below /proc as fits.
pub fn readFile(path: [*:0]const u8, buffer: []u8) sys.Error![]u8 {
    const descriptor = switch (sys.openReadOnly(path)) {
        .descriptor => |opened| opened,
        .failed => |e| return switch (e) {
            .NOENT, .SRCH => whyMissing(),
            .MFILE, .NFILE => error.OutOfDescriptors,
            else => error.Denied,
        },
    };
    defer sys.close(descriptor);
    var length: usize = 0;
    while (length < buffer.len) {
        const got = try sys.read(descriptor, buffer[length..]);
        if (got == 0) break;
        length += got;
    }
    return buffer[0..length];
}

fn parse(text: []const u8) Status {
    var status: Status = .{};
    var lines = std.mem.splitScalar(u8, text, '\n');
    while (lines.next()) |line| {
        const colon = std.mem.findScalar(u8, line, ':') orelse continue;
        const value = std.mem.trim(u8, line[colon + 1 ..], " \t");
        const key = line[0..colon];
        if (std.mem.eql(u8, key, "Tgid")) {
            status.process = number(i32, value, 10);
        } else if (std.mem.eql(u8, key, "PPid")) {
            status.parent = number(i32, value, 10);
        } else if (std.mem.eql(u8, key, "TracerPid")) {
            status.tracer = number(i32, value, 10);
        } else if (std.mem.eql(u8, key, "State")) {
            status.zombie = value.len > 0 and (value[0] == 'Z' or value[0] == 'X');
        } else if (std.mem.eql(u8, key, "Uid")) {
            status.uid, status.euid = firstTwo(value);
        } else if (std.mem.eql(u8, key, "Gid")) {
            status.gid, status.egid = firstTwo(value);
        } else if (std.mem.eql(u8, key, "CapPrm")) {
            status.capabilities = number(u64, value, 16);
        } else if (std.mem.eql(u8, key, "CapBnd")) {
            status.bounding = number(u64, value, 16);
        } else if (std.mem.eql(u8, key, "NoNewPrivs")) {
            status.no_new_privs = number(u8, value, 10) != 0;
        } else if (std.mem.eql(u8, key, "Speculation_Store_Bypass")) {
            status.speculation_vulnerable = std.mem.find(u8, value, "vulnerable") != null;
        }
    }
    return status;
}

fn number(comptime T: type, text: []const u8, base: u8) T {
    return std.fmt.parseInt(T, text, base) catch 0;
}

fn firstTwo(text: []const u8) struct { u32, u32 } {
    var words = std.mem.tokenizeAny(u8, text, " \t");
    const first = number(u32, words.next() orelse "", 10);
    return .{ first, number(u32, words.next() orelse "", 10) };
}

test "a status" {
    const status = parse("Name:\ta\\nUid:\t7\nState:\tS (sleeping)\nTgid:\t42\nPid:\t43\nPPid:\t1\nTracerPid:\t77\n" ++
        "Uid:\t1000\t0\t1000\t1000\nGid:\t100\t5\t100\t100\nCapPrm:\t000001ffffffffff\nCapBnd:\t0000000000000003\nNoNewPrivs:\t1\n" ++
        "Speculation_Store_Bypass:\tthread vulnerable\n");
    try std.testing.expectEqual(Status{
        .process = 42,
        .parent = 1,
        .tracer = 77,
        .uid = 1000,
        .euid = 0,
        .gid = 100,
        .egid = 5,
        .capabilities = 0x1ff_ffff_ffff,
        .bounding = 3,
        .no_new_privs = true,
        .speculation_vulnerable = true,
    }, status);
}

test "whose entry a path leads into" {
    const rows = [_]struct { []const u8, ?i32, []const u8 }{
        .{ "/proc/12/mem", 12, "mem" },
        .{ "/proc//12/task/13/environ", 13, "environ" },
        .{ "/proc/12/fd/0", 12, "fd" },
        .{ "/proc/12", null, "" },
        .{ "/proc/12/task", null, "" },
        .{ "/proc/self/mem", null, "" },
        .{ "/proc/sys/kernel", null, "" },
        .{ "/x/proc/12/mem", null, "" },
        .{ "", null, "" },
    };
    for (rows) |row| {
        const found = entryOf(row[0]);
        try std.testing.expectEqual(row[1], if (found) |entry| entry.process else null);
        if (found) |entry| try std.testing.expectEqualStrings(row[2], entry.file);
    }
    try std.testing.expect(isPrivate("mem") and !isPrivate("status"));
}

test "whose a pidfd is" {
    const pidfd = try sys.pidfdOpen(linux.getpid());
    defer sys.close(pidfd);
    try std.testing.expectEqual(linux.getpid(), processOfPidfd(linux.getpid(), pidfd));
    try std.testing.expectEqual(@as(i32, 0), processOfPidfd(linux.getpid(), 1));
    try std.testing.expectEqual(@as(i32, 0), processOfPidfd(linux.getpid(), -1));
    try std.testing.expect(isSamePidNamespace(linux.getppid()));
}

test "our own" {
    const status = try read(linux.getpid());
    try std.testing.expectEqual(linux.getppid(), status.parent);
    try std.testing.expect(!isGone(linux.getpid()));
    try std.testing.expect(isGone(std.math.maxInt(i32)));
}
