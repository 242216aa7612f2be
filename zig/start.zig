//! The beginning of a run: from one process that nothing has touched yet to three.
//!
//!     front end ──clone(CLONE_FILES)──> tracer ──fork──> command
//!     │ Bun's main()                    │ subreaper      │ waits for control.start, then control.seized
//!
//! The order is what it is for these reasons:
//! * The command is forked before Bun's main(): Bun ignores SIGPIPE, raises limits, marks descriptors.
//! * It is the tracer's child: Yama lets an ordinary user trace descendants only.
//! * It is forked before anything is made non-dumpable: the flag is inherited until exec, and an ordinary
//!   user cannot seize a non-dumpable process.
//! * It has a copy of the descriptor table, made before the other two share theirs with Bun's descriptors.
const std = @import("std");
const builtin = @import("builtin");
const linux = std.os.linux;
const abi = @import("abi.zig");
const limits = @import("limits.zig");
const sys = @import("sys.zig");
const spawn = @import("spawn.zig");
const tracer = @import("tracer.zig");
const untraced = @import("untraced.zig");
const layout = @import("layout.zig");
const session_mod = @import("session.zig");
const Session = session_mod.Session;

const ring_count = 1;

/// Where our descriptors go if the limit allows: out of the way of numbers that scripts and shells use.
const preferred_descriptor = 200;

/// Makes session, tracer and command; returns in the front end only, when the command exists. Called once.
pub fn start(
    argv: [*:null]const ?[*:0]const u8,
    environment: [*:null]const ?[*:0]const u8,
) sys.Error!*Session {
    const session = try create(argv, environment);
    const mask = sys.setSignalMask(sys.all_signals); // a signal between the forks would reach only some of us
    defer _ = sys.setSignalMask(mask);
    errdefer for (session.descriptors.all()) |descriptor| sys.close(descriptor);

    // Like fork, but for the descriptor table. Memory is apart.
    const flags: u32 = linux.CLONE.FILES | @as(u32, @backingInt(linux.SIG.CHLD));
    const rc = try sys.check(linux.syscall5(.clone, flags, 0, 0, 0, 0));
    if (rc == 0) tracerMain(session, mask);
    session.tracer_pid = @intCast(rc);

    try waitUntilStarting(session);
    session.command_pid = session.control.command_pid;
    // From here on the command has its own copies of these.
    for (session.descriptors.capture_write) |descriptor| sys.close(descriptor);
    sys.close(session.descriptors.hand_command);

    // An inherited "ignore" would reap the tracer before we can look at its status.
    sys.setDefaultDisposition(.CHLD);
    // When the tracer is killed, its orphans come to us.
    _ = try sys.prctl(.SET_CHILD_SUBREAPER, 1);
    // The build may run as our own user: it must not read our memory, where the key will be.
    _ = try sys.prctl(.SET_DUMPABLE, 0);
    limits.raise();
    return session;
}

fn waitUntilStarting(session: *Session) sys.Error!void {
    const word = &session.control.phase;
    while (true) {
        const phase: abi.Phase = @fromBackingInt(@atomicLoad(u32, word, .acquire)); // pairs with setPhase
        if (phase == .failed) {
            _ = sys.wait(session.tracer_pid, sys.wait_all) catch {};
            return error.OutOfMemory; // only fork can have failed: for want of memory or of processes
        }
        if (phase != .waiting) return;
        if (sys.childState(session.tracer_pid) != .alive) return error.Unexpected;
        sys.futexWait(word, @backingInt(abi.Phase.waiting), 100);
    }
}

// ---------------------------------------------------------------------------------------------
// What is shared

fn create(argv: [*:null]const ?[*:0]const u8, environment: [*:null]const ?[*:0]const u8) sys.Error!*Session {
    const memory = try sys.mapPrivate(@sizeOf(Session));
    const session: *Session = @ptrCast(@alignCast(memory));
    const size = session_mod.mappingSize(ring_count);
    const mapping = (try sys.mapShared(size))[0..size];
    session.* = .{
        .control = @ptrCast(@alignCast(mapping.ptr)),
        .mapping = mapping,
        .argv = argv,
        .environment = try copyTable(environment),
        .front_pid = sys.ownPid(),
        .descriptors = .{},
    };
    session.control.* = .{
        .layout_hash = layout.layoutHash(),
        .realtime_offset_ns = @as(i64, @intCast(sys.clockNs(.REALTIME))) - @as(i64, @intCast(sys.nowNs())),
        .ring_count = ring_count,
        .initial_stdio = openStdio(),
    };
    for (0..ring_count) |index| session.ringHeader(@intCast(index)).* = .{};
    try openDescriptors(session);
    session.control.event_descriptor = session.descriptors.event;
    return session;
}

/// A table of our own: stub.zig takes BUN_* out of the original one.
fn copyTable(table: [*:null]const ?[*:0]const u8) sys.Error![*:null]const ?[*:0]const u8 {
    var count: usize = 0;
    while (table[count] != null) count += 1;
    const copy: [*]?[*:0]const u8 = @ptrCast(try sys.mapPrivate((count + 1) * @sizeOf(usize)));
    @memcpy(copy[0 .. count + 1], table[0 .. count + 1]);
    return copy[0..count :null];
}

fn openStdio() u32 {
    var open: u32 = 0;
    for (0..3) |number| {
        if (sys.isOpen(@intCast(number))) open |= @as(u32, 1) << @intCast(number);
    }
    return open;
}

fn openDescriptors(session: *Session) sys.Error!void {
    const descriptors = &session.descriptors;
    const lowest = lowestDescriptor();
    descriptors.event = try moved(@intCast(try sys.check(linux.eventfd(0, linux.EFD.CLOEXEC | linux.EFD.NONBLOCK))), lowest);
    for (0..2) |index| {
        const ends = try sys.pipe(.{ .CLOEXEC = true });
        descriptors.capture_read[index] = try moved(ends[0], lowest);
        descriptors.capture_write[index] = try moved(ends[1], lowest);
    }
    var pair: [2]i32 = undefined;
    _ = try sys.check(linux.socketpair(linux.AF.UNIX, linux.SOCK.SEQPACKET | linux.SOCK.CLOEXEC, 0, &pair));
    descriptors.hand_front = try moved(pair[0], lowest);
    descriptors.hand_command = try moved(pair[1], lowest);
}

/// Ours never sit on 0, 1 or 2, even where those were closed.
fn moved(descriptor: i32, lowest: u32) sys.Error!i32 {
    defer sys.close(descriptor);
    return sys.duplicateAbove(descriptor, lowest);
}

fn lowestDescriptor() u32 {
    const limit = sys.limit(.NOFILE) catch return 3;
    if (limit.cur >= preferred_descriptor + 56) return preferred_descriptor;
    return @intCast(@max(3, limit.cur / 2));
}

// ---------------------------------------------------------------------------------------------
// Tracer process

fn tracerMain(session: *Session, mask: linux.sigset_t) noreturn {
    // With the front end dies the tracer, and with the tracer what it traces (PTRACE_O_EXITKILL).
    _ = sys.prctl(.SET_PDEATHSIG, @backingInt(linux.SIG.KILL)) catch {};
    if (sys.parentPid() != session.front_pid) sys.exit(0);
    _ = sys.prctl(.SET_CHILD_SUBREAPER, 1) catch {};

    const own = sys.ownPid();
    const command = sys.fork() catch |e| {
        session.setError(.fork, sys.errnoNumber(if (e == error.OutOfMemory) .NOMEM else .AGAIN));
        session.setPhase(.failed);
        sys.exit(0);
    };
    if (command == 0) spawn.run(session, own, mask);

    session.tracer_pid = own;
    session.command_pid = command;
    session.control.tracer_pid = own;
    session.control.command_pid = command;
    sys.setDefaultDisposition(.CHLD); // an inherited "ignore" would reap the command unseen
    _ = linux.prctl(@backingInt(linux.PR.SET_NAME), @intFromPtr("cilock-tracer"), 0, 0, 0);
    _ = sys.prctl(.SET_DUMPABLE, 0) catch {};
    limits.raise();
    raiseDescriptorLimit();
    session.setPhase(.starting);

    const state = session.waitForStart();
    if (state == .cancel) {
        _ = sys.wait(command, sys.wait_all) catch {};
        sys.exit(0);
    }
    session.control.started_ns = sys.nowNs();
    if (session.control.trace != 0) tracer.trace(session) else untraced.watch(session);
    finish(session);
}

fn finish(session: *Session) noreturn {
    const control = session.control;
    control.ended_ns = sys.nowNs();
    for (0..control.ring_count) |index| session.writer(@intCast(index)).end();
    session.setPhase(if (session.hasError()) .failed else .done);
    sys.exit(0);
}

/// Descriptors of opened files wait here for their digest (`abi.handed_over_max`). The table is the front end's too,
/// so some room is left to it.
fn raiseDescriptorLimit() void {
    const wanted = abi.handed_over_max * 4;
    const room = 64;
    const limit = sys.limit(.NOFILE) catch return;
    // Raising the hard limit needs CAP_SYS_RESOURCE; without it what there is must do.
    sys.setLimit(.NOFILE, .{ .cur = @max(wanted, limit.max), .max = @max(wanted, limit.max) }) catch {
        sys.setLimit(.NOFILE, .{ .cur = @max(limit.cur, limit.max -| room), .max = limit.max }) catch {};
    };
}
