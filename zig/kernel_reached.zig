//! Ways into the kernel itself: code that it is given (a module, a BPF program, another kernel), its memory, its ports and its disks.
//! What is done that way passes by every tracer, and can change what a tracer is shown. Nearly all of it takes root.
//!
//!     the call has succeeded ── onCall ──▶ gap     a file was opened ── onOpen ──▶ gap
//!
//! What was refused has reached nothing, and is only an event.
const std = @import("std");
const linux = std.os.linux;
const abi = @import("abi.zig");
const decode = @import("decode.zig");
const file_systems = @import("file_systems.zig");
const kernel_programs = @import("kernel_programs.zig");
const status_file = @import("status.zig");
const sys = @import("sys.zig");
const syscalls = @import("syscalls.zig");
const tracee = @import("tracee.zig");
const Tracer = @import("tracer.zig").Tracer;
const Thread = tracee.Thread;

// ---------------------------------------------------------------------------------------------
// Files

const Access = enum { any, writing };

/// Documentation/admin-guide/devices.txt of Linux.
const Device = struct { mode: u32, major: ?u32 = null, minor: ?u32 = null, access: Access };

const character = 0o020000;
const block = 0o060000;

const devices = [_]Device{
    .{ .mode = character, .major = 1, .minor = 1, .access = .any }, // mem
    .{ .mode = character, .major = 1, .minor = 2, .access = .any }, // kmem
    .{ .mode = character, .major = 1, .minor = 4, .access = .any }, // port
    .{ .mode = character, .major = 21, .access = .writing }, // sg: commands for disks
    .{ .mode = character, .major = 202, .access = .writing }, // cpu/N/msr
    // Files of whoever has mounted it change without a call that names them. Who only reads one is in the record as having opened it.
    .{ .mode = block, .access = .writing },
};

const Named = struct {
    file_system: u32,
    /// Empty: every file.
    name: []const u8 = "",
    access: Access,

    fn isOf(row: *const Named, file_system: u32, for_writing: bool) bool {
        return row.file_system == file_system and (row.access == .any or for_writing);
    }
};

const named = [_]Named{
    .{ .file_system = file_systems.proc, .name = "kcore", .access = .any },
    .{ .file_system = file_systems.proc, .name = "sysrq-trigger", .access = .writing },
    .{ .file_system = 0x6462_6720, .access = .writing }, // debugfs: faults of the kernel's functions and the like
    .{ .file_system = 0x6265_6570, .name = "aml", .access = .writing }, // configfs: code for the ACPI interpreter
};

/// `path` is what the descriptor's link shows. `descriptor`: ours.
pub fn onOpen(tracer: *Tracer, thread: *Thread, descriptor: i32, file: *const abi.FileIdentity, path: []const u8, for_writing: bool) void {
    if (isDevice(file.mode)) {
        var stat: linux.Statx = undefined;
        if (sys.statx(descriptor, "", linux.AT.EMPTY_PATH | linux.AT.STATX_DONT_SYNC, &stat) != .SUCCESS) return;
        if (isReachedBy(file.mode, stat.rdev_major, stat.rdev_minor, for_writing)) tracer.gap(thread, .kernel_reached, 0, path);
    } else for (&named) |*row| {
        if (!row.isOf(file.file_system, for_writing)) continue;
        if (row.name.len > 0 and !kernel_programs.isNamed(thread, descriptor, path, row.name)) continue;
        return tracer.gap(thread, .kernel_reached, 0, path);
    }
}

fn isDevice(mode: u32) bool {
    const kind = mode & 0o170000;
    return kind == character or kind == block;
}

fn isReachedBy(mode: u32, major: u32, minor: u32, for_writing: bool) bool {
    for (devices) |row| {
        if (row.mode != mode & 0o170000 or (row.access == .writing and !for_writing)) continue;
        if (row.major) |wanted| if (wanted != major) continue;
        if (row.minor) |wanted| if (wanted != minor) continue;
        return true;
    }
    return false;
}

// ---------------------------------------------------------------------------------------------
// Calls

const Call = enum { init_module, finit_module, kexec_load, kexec_file_load, bpf, iopl, ioperm, swapon, acct, request_key };

/// At the exit of a call that the table says is `.kernel`.
pub fn onCall(tracer: *Tracer, thread: *Thread, row: *const syscalls.Row, result: i64) void {
    const call = std.meta.stringToEnum(Call, row.name) orelse unreachable; // the test below compares the two
    switch (reachOf(call, &thread.call.arguments, result)) {
        .nothing => {},
        .kernel => tracer.gap(thread, .kernel_reached, 0, row.name),
        .helper => tracer.gap(thread, .kernel_delegated, 0, "/sbin/request-key"),
        .program => onBpf(tracer, thread, result),
    }
}

const Reach = enum {
    nothing,
    kernel,
    /// A program that the kernel starts.
    helper,
    /// By BPF, perhaps: its arguments in memory say.
    program,
};

fn reachOf(call: Call, arguments: *const [6]u64, result: i64) Reach {
    // The kernel starts /sbin/request-key for a key that it has not, whatever that says of it then.
    if (call == .request_key) return if (arguments[2] != 0 and isAnswerOfHelper(result)) .helper else .nothing;
    if (result < 0) return .nothing;
    const is_reached = switch (call) {
        .init_module, .finit_module, .swapon => true,
        .kexec_load => arguments[1] != 0, // else it is taken out again
        .kexec_file_load => arguments[4] & kexec_file_unload == 0,
        .iopl => arguments[0] != 0,
        .ioperm => arguments[2] != 0,
        .acct => arguments[0] != 0, // else it is turned off
        .bpf => return .program,
        .request_key => unreachable, // above
    };
    return if (is_reached) .kernel else .nothing;
}

const kexec_file_unload = 1;

/// request_key(2). Where there is no such program it is ENOENT.
fn isAnswerOfHelper(result: i64) bool {
    if (result >= 0) return true;
    const e: linux.E = @fromBackingInt(@intCast(@min(-result, 4095)));
    return switch (e) {
        .NOKEY, .KEYREJECTED, .KEYEXPIRED, .KEYREVOKED, .INTR => true,
        else => false,
    };
}

// ---------------------------------------------------------------------------------------------
// bpf(2)

const Command = enum(u32) { prog_load = 5, prog_attach = 8, raw_tracepoint_open = 17, link_create = 28, link_update = 29, _ };

/// enum bpf_prog_type of linux/bpf.h.
const ProgramType = enum(u32) {
    unspec,
    socket_filter,
    kprobe,
    sched_cls,
    sched_act,
    tracepoint,
    xdp,
    perf_event,
    cgroup_skb,
    cgroup_sock,
    lwt_in,
    lwt_out,
    lwt_xmit,
    sock_ops,
    sk_skb,
    cgroup_device,
    sk_msg,
    raw_tracepoint,
    cgroup_sock_addr,
    lwt_seg6local,
    lirc_mode2,
    sk_reuseport,
    flow_dissector,
    cgroup_sysctl,
    raw_tracepoint_writable,
    cgroup_sockopt,
    tracing,
    struct_ops,
    ext,
    lsm,
    sk_lookup,
    syscall,
    netfilter,
    _,
};

/// They say yes or no, to a packet or to the opening of a device, or choose one of the sockets of a group: nothing that a call of
/// the build does is done differently for it but refused, which the record has. Container engines and libraries load them.
fn isHarmless(kind: ProgramType) bool {
    return switch (kind) {
        .socket_filter, .cgroup_skb, .cgroup_device, .sk_reuseport => true,
        else => false,
    };
}

/// The places where such programs are put (enum bpf_attach_type): CGROUP_INET_INGRESS and _EGRESS, CGROUP_DEVICE, SK_REUSEPORT_SELECT, _OR_MIGRATE.
const harmless_places = [_]u32{ 0, 1, 6, 39, 40 };

fn onBpf(tracer: *Tracer, thread: *Thread, result: i64) void {
    const attributes = decode.bytesOf(tracer.tracees.bufferOf(&thread.call), 1) orelse "";
    const command: Command = @fromBackingInt(@as(u32, @truncate(thread.call.arguments[0])));
    switch (command) {
        .prog_load => {
            // Another thread may have changed the memory that this was read from, and may have put another file at the number of that one.
            const asked: ?ProgramType = if (wordAt(attributes, 0)) |word| @fromBackingInt(word) else null;
            const loaded = typeOfLoaded(thread.tid, @truncate(result));
            const kinds = [_]?ProgramType{ loaded, asked };
            for (kinds) |kind| if (kind) |known| if (!isHarmless(known)) return report(tracer, thread, known);
            if (asked == null and loaded == null) report(tracer, thread, .unspec);
        },
        .prog_attach, .link_create, .raw_tracepoint_open, .link_update => if (attaches(command, attributes))
            tracer.gap(thread, .kernel_reached, 0, "bpf: a program is attached"),
        _ => {}, // maps, and questions
    }
}

/// Where it can change what others do or see.
fn attaches(command: Command, attributes: []const u8) bool {
    return switch (command) {
        .prog_attach, .link_create => {
            const place = wordAt(attributes, 8) orelse return true;
            return std.mem.findScalar(u32, &harmless_places, place) == null;
        },
        .raw_tracepoint_open, .link_update => true,
        .prog_load, _ => false,
    };
}

fn report(tracer: *Tracer, thread: *Thread, kind: ProgramType) void {
    var text: [64]u8 = undefined;
    var at = sys.append(&text, 0, "bpf: a program of type ");
    at = if (std.enums.tagName(ProgramType, kind)) |name| sys.append(&text, at, name) else sys.appendNumber(&text, at, @backingInt(kind));
    tracer.gap(thread, .kernel_reached, 0, text[0..at]);
}

fn wordAt(bytes: []const u8, at: usize) ?u32 {
    return if (bytes.len < at + 4) null else std.mem.readInt(u32, bytes[at..][0..4], .little);
}

/// Null: it cannot be asked, or is no program any more.
fn typeOfLoaded(tid: i32, number: i32) ?ProgramType {
    var path: [64]u8 = undefined;
    var at = sys.procPath(&path, tid, "fdinfo/").len;
    at = sys.appendNumber(&path, at, @intCast(@max(0, number)));
    path[at] = 0;
    var buffer: [1024]u8 = undefined;
    const text = status_file.readFile(path[0..at :0], &buffer) catch return null;
    return parseType(text);
}

fn parseType(text: []const u8) ?ProgramType {
    var lines = std.mem.splitScalar(u8, text, '\n');
    while (lines.next()) |line| {
        const key = "prog_type:";
        if (!std.mem.startsWith(u8, line, key)) continue;
        const number = std.fmt.parseInt(u32, std.mem.trim(u8, line[key.len..], " \t"), 10) catch return null;
        return @fromBackingInt(number);
    }
    return null;
}

// ---------------------------------------------------------------------------------------------

const testing = std.testing;

test "devices" {
    const Row = struct { mode: u32, major: u32, minor: u32, for_writing: bool, reached: bool };
    const rows = [_]Row{
        .{ .mode = character, .major = 1, .minor = 1, .for_writing = false, .reached = true }, // mem
        .{ .mode = character, .major = 1, .minor = 2, .for_writing = true, .reached = true }, // kmem
        .{ .mode = character, .major = 1, .minor = 4, .for_writing = true, .reached = true }, // port
        .{ .mode = character, .major = 1, .minor = 3, .for_writing = true, .reached = false }, // null
        .{ .mode = character, .major = 1, .minor = 11, .for_writing = true, .reached = false }, // kmsg
        .{ .mode = character, .major = 5, .minor = 0, .for_writing = true, .reached = false }, // tty
        .{ .mode = character, .major = 10, .minor = 229, .for_writing = true, .reached = false }, // fuse
        .{ .mode = character, .major = 202, .minor = 0, .for_writing = false, .reached = false }, // msr
        .{ .mode = character, .major = 202, .minor = 3, .for_writing = true, .reached = true },
        .{ .mode = block, .major = 8, .minor = 1, .for_writing = false, .reached = false }, // sda1
        .{ .mode = block, .major = 8, .minor = 1, .for_writing = true, .reached = true },
        .{ .mode = 0o100644, .major = 0, .minor = 0, .for_writing = true, .reached = false },
    };
    for (rows) |row| {
        errdefer std.debug.print("row: {any}\n", .{row});
        try testing.expectEqual(row.reached, isReachedBy(row.mode | 0o600, row.major, row.minor, row.for_writing));
    }
}

test "files" {
    const Row = struct { file_system: u32, for_writing: bool, rows: usize };
    const rows = [_]Row{
        .{ .file_system = file_systems.proc, .for_writing = false, .rows = 1 }, // kcore
        .{ .file_system = file_systems.proc, .for_writing = true, .rows = 2 },
        .{ .file_system = 0x6462_6720, .for_writing = false, .rows = 0 },
        .{ .file_system = 0x6462_6720, .for_writing = true, .rows = 1 },
        .{ .file_system = 0xef53, .for_writing = true, .rows = 0 }, // ext4
    };
    for (rows) |row| {
        var found: usize = 0;
        for (&named) |*one| found += @intFromBool(one.isOf(row.file_system, row.for_writing));
        try testing.expectEqual(row.rows, found);
    }
}

test "the rows of the table that are said to reach the kernel are those that are told apart here" {
    var found: usize = 0;
    for (syscalls.rows) |row| if (row.special == .kernel) {
        errdefer std.debug.print("row: {s}\n", .{row.name});
        try testing.expect(std.meta.stringToEnum(Call, row.name) != null);
        found += 1;
    };
    try testing.expectEqual(std.enums.values(Call).len, found);
}

test "what calls reach" {
    const Row = struct { Call, [6]u64, i64, Reach };
    const rows = [_]Row{
        .{ .init_module, @splat(0), 0, .kernel },
        .{ .finit_module, @splat(0), 0, .kernel },
        .{ .finit_module, @splat(0), -1, .nothing },
        .{ .kexec_load, .{ 0, 1, 0, 0, 0, 0 }, 0, .kernel },
        .{ .kexec_load, .{ 0, 0, 0, 0, 0, 0 }, 0, .nothing },
        .{ .kexec_file_load, @splat(0), 0, .kernel },
        .{ .kexec_file_load, .{ 0, 0, 0, 0, 1, 0 }, 0, .nothing },
        .{ .iopl, .{ 3, 0, 0, 0, 0, 0 }, 0, .kernel },
        .{ .iopl, @splat(0), 0, .nothing },
        .{ .ioperm, .{ 0x80, 1, 1, 0, 0, 0 }, 0, .kernel },
        .{ .ioperm, .{ 0x80, 1, 0, 0, 0, 0 }, 0, .nothing },
        .{ .swapon, @splat(0), 0, .kernel },
        .{ .acct, .{ 1, 0, 0, 0, 0, 0 }, 0, .kernel },
        .{ .acct, @splat(0), 0, .nothing },
        .{ .bpf, @splat(0), 3, .program },
        .{ .bpf, @splat(0), -1, .nothing },
        .{ .request_key, .{ 1, 1, 1, 0, 0, 0 }, 77, .helper },
        .{ .request_key, .{ 1, 1, 1, 0, 0, 0 }, -126, .helper }, // ENOKEY
        .{ .request_key, .{ 1, 1, 0, 0, 0, 0 }, 77, .nothing }, // nothing for a helper
        .{ .request_key, .{ 1, 1, 1, 0, 0, 0 }, -2, .nothing }, // there is none
    };
    for (rows, 0..) |row, i| {
        errdefer std.debug.print("row {d}\n", .{i});
        try testing.expectEqual(row[3], reachOf(row[0], &row[1], row[2]));
    }
}

test "where a BPF program is attached" {
    const Row = struct { Command, []const u8, bool };
    const to_connect = [_]u8{ 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0 }; // CGROUP_INET4_CONNECT
    const to_devices = [_]u8{ 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0 };
    const rows = [_]Row{
        .{ .prog_attach, &to_connect, true },
        .{ .prog_attach, &to_devices, false },
        .{ .prog_attach, "", true },
        .{ .link_create, &to_connect, true },
        .{ .link_create, &to_devices, false },
        .{ .raw_tracepoint_open, &to_devices, true },
        .{ .link_update, &to_devices, true },
        .{ .prog_load, &to_connect, false },
        .{ @fromBackingInt(0), &to_connect, false },
    };
    for (rows, 0..) |row, i| {
        errdefer std.debug.print("row {d}\n", .{i});
        try testing.expectEqual(row[2], attaches(row[0], row[1]));
    }
}

test "a helper's answers" {
    for ([_]i64{ 0, 12345, -126, -127, -128, -129, -4 }) |result| try testing.expect(isAnswerOfHelper(result));
    for ([_]i64{ -1, -2, -13, -14, -22, -38, -516, std.math.minInt(i64) + 1 }) |result| try testing.expect(!isAnswerOfHelper(result));
}

test "a program's type" {
    try testing.expectEqual(ProgramType.lsm, parseType("pos:\t0\nflags:\t02000002\nprog_type:\t29\nprog_jited:\t1\n").?);
    try testing.expectEqual(null, parseType("pos:\t0\nflags:\t02000002\n"));
    try testing.expectEqual(@as(u32, 32), @backingInt(ProgramType.netfilter));
    try testing.expect(!isHarmless(@fromBackingInt(@as(u32, 77))));
}
