//! The functions that TypeScript calls (src/native/library.ts): the one list for the development .so, which
//! exports them, and for the static binary, where stub.zig answers dlsym() from it.
//!
//! The control block and the rings are read and written in place; a function is here only where a system
//! call or memory of ours is involved. Errors are negative errnos, or -1.
const std = @import("std");
const builtin = @import("builtin");
const linux = std.os.linux;
const abi = @import("abi.zig");
const sys = @import("sys.zig");
const ring = @import("ring.zig");
const start_mod = @import("start.zig");
const signals = @import("signals.zig");
const pump_mod = @import("pump.zig");
const probe = @import("probe.zig");
const terminal = @import("terminal.zig");
const redact = @import("redact.zig");
const layout = @import("layout.zig");
const testing = @import("testing.zig");
const session_mod = @import("session.zig");
const Session = session_mod.Session;
const Closer = @import("closer.zig").Closer;

pub const panic = if (builtin.is_test) std.debug.FullPanic(std.debug.defaultPanic) else @import("panic.zig").Panic;

const Strings = [*:null]const ?[*:0]const u8;

var session: ?*Session = null;
/// Why there is no session though one was wanted.
var start_error: i32 = 0;
var pump: pump_mod.Pump = undefined;
var closer: Closer = .{};
/// Mapped at the first one.
var secrets: [][]const u8 = &.{};
var secret_count: usize = 0;
var begins: [1 << 16]bool = undefined;

/// More than an environment can hold.
const secrets_max = 1 << 16;

/// Called once: by stub.zig before main, or by `cilock_open` in development.
pub fn begin(argv: Strings, environment: Strings) void {
    signals.rememberIgnored();
    session = start_mod.start(argv, environment) catch |e| {
        start_error = -@as(i32, @intCast(sys.errnoNumber(switch (e) {
            error.OutOfDescriptors => .MFILE,
            error.OutOfMemory => .NOMEM,
            error.Denied => .PERM,
            error.NotSupported => .NOSYS,
            error.WouldBlock => .AGAIN,
            else => .IO,
        })));
        return;
    };
}

pub fn lacksProcesses() bool {
    return start_error == -@as(i32, @intCast(sys.errnoNumber(.AGAIN)));
}

pub fn hasSession() bool {
    return session != null;
}

// ---------------------------------------------------------------------------------------------
// Opening

fn cilock_layout_hash() callconv(.c) u64 {
    return layout.layoutHash();
}

/// 0 when there is a session. In development (`argv` not null: NUL after each string) it is made here, from inside
/// Bun: good for tests, but the command then inherits what Bun changed.
fn cilock_open(argv: ?[*]const u8, argv_length: usize, environment: ?[*]const u8, environment_length: usize) callconv(.c) i32 {
    if (session == null and start_error == 0) {
        const words = tableOf((argv orelse return -1)[0..argv_length]) catch return -@as(i32, @intCast(sys.errnoNumber(.NOMEM)));
        const variables = tableOf((environment orelse return -1)[0..environment_length]) catch return -@as(i32, @intCast(sys.errnoNumber(.NOMEM)));
        begin(words, variables);
    }
    return start_error;
}

fn tableOf(bytes: []const u8) sys.Error!Strings {
    const count = std.mem.countScalar(u8, bytes, 0);
    const text = try sys.mapPrivate(@max(bytes.len, 1));
    @memcpy(text[0..bytes.len], bytes);
    const table: [*]?[*:0]const u8 = @ptrCast(try sys.mapPrivate((count + 1) * @sizeOf(usize)));
    var at: usize = 0;
    for (table[0..count]) |*entry| {
        entry.* = @ptrCast(text + at);
        at += std.mem.len(entry.*.?) + 1;
    }
    table[count] = null;
    return table[0..count :null];
}

fn cilock_mapping() callconv(.c) usize {
    return if (session) |s| @intFromPtr(s.mapping.ptr) else 0;
}

fn cilock_mapping_size() callconv(.c) u64 {
    return if (session) |s| s.mapping.len else 0;
}

/// Size of the original argv (0) or environment (1), NUL after each string; copied if it fits `capacity`.
fn cilock_strings(which: u32, into: [*]u8, capacity: usize) callconv(.c) u64 {
    const s = session orelse return 0;
    const table = if (which == 0) s.argv else s.environment;
    var size: usize = 0;
    var i: usize = 0;
    while (table[i]) |entry| : (i += 1) {
        const text = std.mem.span(entry);
        if (size + text.len + 1 <= capacity) @memcpy(into[size..][0 .. text.len + 1], text.ptr[0 .. text.len + 1]);
        size += text.len + 1;
    }
    return size;
}

// ---------------------------------------------------------------------------------------------
// Starting

/// A value that must not be captured. Copied; -1 when there are too many, or it cannot be looked for.
fn cilock_add_secret(bytes: [*]const u8, length: usize) callconv(.c) i32 {
    if (secret_count == secrets_max or length < 2 or length > redact.secret_max) return -1;
    if (secret_count == 0) {
        const table: [*][]const u8 = @ptrCast(sys.mapPrivate(secrets_max * @sizeOf([]const u8)) catch return -1);
        secrets = table[0..secrets_max];
    }
    const copy = sys.mapPrivate(length) catch return -1;
    @memcpy(copy[0..length], bytes[0..length]);
    secrets[secret_count] = copy[0..length];
    secret_count += 1;
    return 0;
}

/// The control block has been filled in. Decides about descriptors 1 and 2, installs the signal handlers, starts
/// the pump, and lets the command go.
fn cilock_start(capture_limit: u64, stdout_to_stderr: u32) callconv(.c) i32 {
    const s = session orelse return -1;
    go(s, capture_limit, stdout_to_stderr != 0) catch return -1;
    return 0;
}

fn go(s: *Session, capture_limit: u64, stdout_to_stderr: bool) sys.Error!void {
    pump = .{
        .session = s,
        .streams = .{ .{}, .{} },
        .patterns = .init(secrets[0..secret_count], &begins),
        .stop = try eventDescriptor(),
        .window = try eventDescriptor(),
        .tracer_pidfd = try sys.pidfdOpen(s.tracer_pid),
    };
    for (&pump.streams, 1..) |*stream, number| {
        const target: i32 = if (stdout_to_stderr) 2 else @intCast(number);
        try connect(s, stream, @intCast(number), target);
        try stream.init(&pump.patterns, capture_limit);
    }
    try signals.install(s, pump.window);
    try pump.begin();
    s.start(.go);
}

/// Chooses where the command's descriptor `number` leads, and from where it is captured.
fn connect(s: *Session, stream: *pump_mod.Stream, number: u32, target: i32) sys.Error!void {
    const control = s.control;
    const pipe_end = s.descriptors.capture_read[number - 1];
    if (!wasOpen(control, number)) {
        // Closed for us means closed for the command.
        control.stdio[number] = @backingInt(abi.Stdio.inherit);
        sys.close(pipe_end);
        return;
    }
    stream.target = if (wasOpen(control, @intCast(target))) target else -1;
    if (stream.target >= 0 and terminal.isTerminal(stream.target)) {
        // Without /dev/ptmx the command sees a pipe: less, but not nothing.
        if (terminal.openPair(stream.target)) |pair| {
            defer sys.close(pair.slave);
            try sys.sendDescriptor(s.descriptors.hand_front, @intCast(number), pair.slave);
            control.stdio[number] = @backingInt(abi.Stdio.sent);
            stream.source = pair.master;
            stream.is_terminal = true;
            sys.close(pipe_end);
        } else |_| {}
    }
    if (stream.source < 0) {
        control.stdio[number] = @backingInt(abi.Stdio.capture);
        stream.source = pipe_end;
    }
    try sys.setNonBlocking(stream.source);
}

fn wasOpen(control: *const abi.Control, number: u32) bool {
    return control.initial_stdio & (@as(u32, 1) << @intCast(number)) != 0;
}

fn eventDescriptor() sys.Error!i32 {
    return @intCast(try sys.check(linux.eventfd(0, linux.EFD.CLOEXEC | linux.EFD.NONBLOCK)));
}

/// Nothing was started: lets tracer and command go away, and waits for it.
fn cilock_cancel() callconv(.c) void {
    const s = session orelse return;
    s.start(.cancel);
    _ = sys.wait(s.tracer_pid, sys.wait_all) catch {};
}

// ---------------------------------------------------------------------------------------------
// Running

/// The reader has moved its tail, and the writer's `writer_waits` was set.
fn cilock_wake_writer(index: u32) callconv(.c) void {
    if (session) |s| ring.wakeWriter(s.ringHeader(index));
}

/// Closes a descriptor that a record handed over.
fn cilock_close(descriptor: i32) callconv(.c) void {
    const s = session orelse return;
    // A file server may take its time: not ours.
    if (@atomicLoad(u32, &s.control.foreign_handed, .acquire) != 0 and closer.post(s, descriptor)) return; // pairs with Descriptors.hold
    sys.close(descriptor);
    s.countReleased();
}

/// Nothing of the build is to live on. The tracer's end is reported as usual.
fn cilock_kill_all() callconv(.c) void {
    if (session) |s| signals.killAll(s);
}

// ---------------------------------------------------------------------------------------------
// End

/// After the tracer is gone and the pump is done: a signal means us again.
fn cilock_finish() callconv(.c) void {
    signals.uninstall();
}

/// `index` 0: stdout, 1: stderr. Once for each, after the pump is done.
fn cilock_stream(index: u32, into: *pump_mod.Summary) callconv(.c) void {
    into.* = pump.streams[index].summary();
}

// ---------------------------------------------------------------------------------------------
// Before a run, or instead of it

/// Tries what `name` says; see `probe.run`.
fn cilock_probe(name: [*]const u8, length: usize) callconv(.c) i64 {
    return probe.run(name[0..length]);
}

pub const Export = struct { name: []const u8, address: *const anyopaque };

const functions = .{
    "cilock_layout_hash", "cilock_open",   "cilock_mapping", "cilock_mapping_size", "cilock_strings",
    "cilock_add_secret",  "cilock_start",  "cilock_cancel",  "cilock_wake_writer",  "cilock_close",
    "cilock_kill_all",    "cilock_finish", "cilock_stream",  "cilock_probe",
};

pub const exports = blk: {
    var table: [functions.len]Export = undefined;
    for (functions, &table) |name, *entry| entry.* = .{ .name = name, .address = &@field(@This(), name) };
    break :blk table;
};

comptime {
    if (builtin.output_mode == .Lib) {
        for (functions) |name| @export(&@field(@This(), name), .{ .name = name });
        testing.exportAll();
    }
}
