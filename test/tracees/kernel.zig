//! Reaches into the kernel: `kernel MODE [NUMBER]`. What it does to the machine ends with it.
//!   load TYPE: loads a BPF program of this type (enum bpf_prog_type) that does nothing.
//!   keep: loads one for a raw tracepoint, says its number, and waits for the end of its input.
//!   attach NUMBER: takes up that one, which is somebody else's, and attaches it; `look NUMBER` only takes it up.
//!   flip: processes each load a program while a thread changes its type in memory; those whose program traces the kernel say so.
//!   disk: opens a block device for writing, and writes nothing; `look-disk` for reading.
//!   ports: asks for the machine's ports.
//!   perf NUMBER: counts what a process does; 0 means all processes.
//!   account: has the kernel write accounts into a file, and stops that again.
//!   key: asks for a key that only a helper of the kernel could make.
//!   refused: what is not given, and what is given and reaches nothing.
//! Prints what came of it.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

const Mode = enum { load, keep, attach, look, flip, disk, @"look-disk", ports, perf, account, key, refused };

const Command = struct {
    const map_create = 0;
    const prog_load = 5;
    const prog_get_fd_by_id = 13;
    const obj_get_info_by_fd = 15;
    const raw_tracepoint_open = 17;
};
const socket_filter = 1;
const kprobe = 2;
const cgroup_device = 15;
const raw_tracepoint = 17;
const cgroup_sock_addr = 18;
const cgroup_inet4_connect = 10;

/// r0 = 0 (1: a socket address may be used); exit
const instructions = [2][8]u8{ .{ 0xb7, 0, 0, 0, 1, 0, 0, 0 }, .{ 0x95, 0, 0, 0, 0, 0, 0, 0 } };

/// union bpf_attr as BPF_PROG_LOAD has it.
const Load = extern struct {
    kind: u32,
    count: u32 = instructions.len,
    instructions: u64,
    license: u64,
    rest: [11]u32 = @splat(0),
    expected_attach_type: u32 = 0,
};

fn loadOf(kind: u32) Load {
    var load: Load = .{ .kind = kind, .instructions = @intFromPtr(&instructions), .license = @intFromPtr("GPL") };
    if (kind == cgroup_sock_addr) load.expected_attach_type = cgroup_inet4_connect;
    return load;
}

fn bpf(command: u32, attributes: anytype) isize {
    return t.call(.bpf, .{ command, attributes, @sizeOf(@TypeOf(attributes.*)) });
}

var line: t.Line = .{};

fn say(what: []const u8, value: isize) void {
    line.begin("answer").text("what", what).number("value", value).end();
}

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    const mode = std.meta.stringToEnum(Mode, arguments.at(1) orelse "") orelse t.fail("kernel MODE", 0);
    const number = arguments.number(2, 0);
    switch (mode) {
        .load => say("load", bpf(Command.prog_load, &loadOf(@intCast(number)))),
        .keep => keep(),
        .attach, .look => takeUp(@intCast(number), mode == .attach),
        .flip => flip(),
        .disk => say("disk", t.call(.openat, .{ t.at_cwd, "/dev/loop0", t.O.wronly, 0 })),
        .@"look-disk" => say("disk", t.call(.openat, .{ t.at_cwd, "/dev/loop0", t.O.rdonly, 0 })),
        .ports => say("ports", t.call(.ioperm, .{ 0x80, 1, 1 })),
        .perf => say("perf", count(if (number == 0) -1 else @intCast(number), if (number == 0) 0 else -1)),
        .account => {
            t.makeFile("accounts", "");
            say("account", t.call(.acct, .{"accounts"}));
            _ = t.call(.acct, .{0});
        },
        .key => say("key", t.call(.request_key, .{ "user", "cilock-test:none", "callout", -3 })), // KEY_SPEC_SESSION_KEYRING
        .refused => refused(),
    }
}

fn keep() void {
    const descriptor = bpf(Command.prog_load, &loadOf(raw_tracepoint));
    if (descriptor < 0) return say("load", descriptor);
    var info: [64]u32 = @splat(0); // struct bpf_prog_info: the type, and the number
    var asked: extern struct { descriptor: u32, length: u32, info: u64 } = .{ .descriptor = @intCast(descriptor), .length = @sizeOf(@TypeOf(info)), .info = @intFromPtr(&info) };
    if (bpf(Command.obj_get_info_by_fd, &asked) < 0) t.fail("info", 0);
    say("number", info[1]);
    var byte: [1]u8 = undefined;
    _ = t.call(.read, .{ 0, &byte, 1 });
}

fn takeUp(number: u32, is_attached: bool) void {
    var asked: [3]u32 = .{ number, 0, 0 };
    const descriptor = bpf(Command.prog_get_fd_by_id, &asked);
    if (descriptor < 0 or !is_attached) return say("taken", descriptor);
    var attributes: extern struct { name: u64, descriptor: u32, padding: u32 = 0 } = .{ .name = @intFromPtr("sys_enter"), .descriptor = @intCast(descriptor) };
    say("attached", bpf(Command.raw_tracepoint_open, &attributes));
}

var flipped: Load = undefined;

fn flip() void {
    for (0..40) |_| {
        const child = t.fork();
        if (child != 0) {
            _ = t.reap(child);
            continue;
        }
        flipped = loadOf(socket_filter);
        var thread: t.Thread = .{};
        thread.start(change, 0);
        const descriptor = bpf(Command.prog_load, &flipped);
        if (descriptor >= 0 and isTracing(@intCast(descriptor))) say("tracing", t.pid());
        t.exit(0);
    }
    say("done", 0);
}

fn change(_: usize) callconv(.c) u8 {
    while (true) {
        @atomicStore(u32, &flipped.kind, kprobe, .monotonic);
        @atomicStore(u32, &flipped.kind, socket_filter, .monotonic);
    }
}

fn isTracing(descriptor: u32) bool {
    var info: [64]u32 = @splat(0);
    var asked: extern struct { descriptor: u32, length: u32, info: u64 } = .{ .descriptor = descriptor, .length = @sizeOf(@TypeOf(info)), .info = @intFromPtr(&info) };
    return bpf(Command.obj_get_info_by_fd, &asked) >= 0 and info[0] == kprobe;
}

/// By the processor's clock.
fn count(process: i32, processor: i32) isize {
    const software = 1;
    var attributes: extern struct { kind: u32 = software, size: u32 = 64, config: u64 = 0, rest: [6]u64 = @splat(0) } = .{};
    return t.call(.perf_event_open, .{ &attributes, process, processor, -1, 0 });
}

fn refused() void {
    const no_module = "no module";
    for ([_]isize{
        t.call(.init_module, .{ no_module, no_module.len, "" }),
        t.call(.finit_module, .{ t.open("/proc/self/exe", t.O.rdonly, 0), "", 0 }),
        t.call(.kexec_load, .{ 0, 99, 0, 0 }),
        bpf(Command.prog_load, &loadOf(999)),
        t.call(.acct, .{"nowhere/account"}),
        t.call(.swapon, .{ "nowhere/swap", 0 }),
        t.call(.request_key, .{ "user", "cilock-test:none", null, -3 }),
    }) |result| if (result >= 0) t.fail("it was not refused", result);
    var map: [5]u32 = .{ 2, 4, 8, 1, 0 }; // an array
    _ = bpf(Command.map_create, &map);
    _ = bpf(Command.prog_load, &loadOf(socket_filter));
    _ = bpf(Command.prog_load, &loadOf(cgroup_device));
    _ = count(0, -1);
    _ = t.call(.acct, .{0});
    const socket = t.must(.socket, .{ 2, 2, 0 });
    const filter = [1][8]u8{.{ 6, 0, 0, 0, 0xff, 0xff, 0, 0 }};
    var program: extern struct { count: u64 = 1, filter: u64 } = .{ .filter = @intFromPtr(&filter) };
    _ = t.must(.setsockopt, .{ socket, 1, 26, &program, 16 }); // SO_ATTACH_FILTER
    _ = t.open("/dev/null", t.O.wronly, 0);
    say("done", 0);
}
