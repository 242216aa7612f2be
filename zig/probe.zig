//! What this place allows a tracer to do, found out by doing it: `cilock doctor` shows the answers, and a run that could
//! not trace explains itself by them.
//!
//!     caller ──clone──▶ prober (as the tracer: not dumpable) ──fork──▶ tracee (as the command: dumpable, waits for `go`)
//!       ◀──────────────── one page of shared memory: the answer ────────────────┘
//!
//! Each probe has processes of its own, since a seccomp profile may answer a call with a signal that kills, and since
//! under some sandbox a stop may never come: who does not answer in time is killed, and that is the answer.
const std = @import("std");
const linux = std.os.linux;
const ptrace = @import("ptrace.zig");
const seccomp = @import("seccomp.zig");
const sys = @import("sys.zig");

/// By name, so that src/native/probe.ts and this list can be compared: a name that is not here is `unknown`.
pub const Probe = enum {
    // Is the call itself let through? Asked in a way to which the kernel's own answer is known: any other is a filter's.
    ptrace_call,
    seccomp_call,
    // Done to a child.
    seize,
    call_info,
    filter_plain,
    filter_no_new_privs,
    /// A call that our filter sends to the tracer stops, can be read, and can be refused.
    filter_stop,
    set_call_info,
    process_vm_readv,
    proc_mem,
    pidfd_open,
    pidfd_getfd,
    proc_fd,
    user_namespace,
    /// /proc is there and numbers processes as we do: ENOENT, or EXDEV.
    proc_self,
    // Asked, not tried: the answer is a number.
    capabilities,
    no_new_privs,
    seccomp_mode,
    descriptor_limit,
    /// Of this process: 0 once its memory is nobody else's.
    dumpable,
};

/// Below this: -(killed + n) says that signal n killed who tried.
pub const killed = 4096;
pub const unknown = -2 * killed;
/// There is no process to try it in.
pub const not_tried = -3 * killed;
/// No answer within `patience_ms`.
const no_answer = -@as(i64, @backingInt(linux.E.TIMEDOUT));
const patience_ms = 2000;

const Shared = struct {
    answer: i64 = no_answer,
    /// 1 once the tracee is as a command would be, and waits for `go`. Futex words.
    ready: u32 = 0,
    go: u32 = 0,
    /// What the tracee's memory is read for.
    secret: u64 = 0x7472_6163_6565,
};

/// 0 or the number that was asked for, or a negative errno, or see `killed`.
pub fn run(name: []const u8) i64 {
    const probe = std.meta.stringToEnum(Probe, name) orelse return unknown;
    if (asked(probe)) |value| return value;
    const page = sys.mapShared(@sizeOf(Shared)) catch return not_tried;
    defer sys.unmap(page, @sizeOf(Shared));
    const shared: *Shared = @ptrCast(@alignCast(page));
    shared.* = .{};

    // A signal must not run the caller's handlers in a copy of it. And no SIGCHLD: the caller's children are not ours.
    const mask = sys.setSignalMask(sys.all_signals);
    defer _ = sys.setSignalMask(mask);
    const parent = sys.ownPid();
    const prober = sys.forkSilently() catch return not_tried;
    if (prober == 0) {
        dieWith(parent);
        _ = sys.prctl(.SET_DUMPABLE, 0) catch {};
        shared.answer = answer(probe, shared);
        sys.exit(0);
    }
    return watch(prober, shared);
}

/// What can be asked without a process to try it in.
fn asked(probe: Probe) ?i64 {
    return switch (probe) {
        .proc_self => procSelf(),
        .capabilities => @intCast(ptrace.ownCapabilities()),
        .no_new_privs => number(sys.prctl(.GET_NO_NEW_PRIVS, 0)),
        .seccomp_mode => number(sys.prctl(.GET_SECCOMP, 0)),
        .dumpable => number(sys.prctl(.GET_DUMPABLE, 0)),
        .descriptor_limit => if (sys.limit(.NOFILE)) |limit| @intCast(@min(limit.max, std.math.maxInt(u32))) else |e| errnoOf(e),
        else => null,
    };
}

fn number(result: sys.Error!usize) i64 {
    return if (result) |value| @intCast(value) else |e| errnoOf(e);
}

fn procSelf() i64 {
    var link: [16]u8 = undefined;
    var own: [16]u8 = undefined;
    const self = sys.readLink(linux.AT.FDCWD, "/proc/self", &link) catch |e| return errnoOf(e);
    const matches = std.mem.eql(u8, self, own[0..sys.appendNumber(&own, 0, @intCast(sys.ownPid()))]);
    return if (matches) 0 else code(.XDEV);
}

fn watch(prober: i32, shared: *const Shared) i64 {
    const deadline = sys.nowNs() + patience_ms * std.time.ns_per_ms;
    while (true) {
        const waited = sys.wait(prober, linux.W.NOHANG | sys.wait_all) catch return no_answer;
        if (waited) |end| {
            const signal = end.status & 0x7f;
            return if (signal == 0) shared.answer else -@as(i64, killed + signal);
        }
        if (sys.nowNs() > deadline) {
            sys.kill(prober, .KILL) catch {};
            _ = sys.wait(prober, sys.wait_all) catch {};
            return no_answer;
        }
        sys.sleepUs(200);
    }
}

fn dieWith(parent: i32) void {
    _ = sys.prctl(.SET_PDEATHSIG, @backingInt(linux.SIG.KILL)) catch {};
    if (sys.parentPid() != parent) sys.exit(0);
}

fn errnoOf(e: sys.Error) i64 {
    return -@as(i64, @backingInt(@as(linux.E, switch (e) {
        error.TraceeGone => .SRCH,
        error.Denied => .PERM,
        error.NotFound => .NOENT,
        error.NotSupported => .NOSYS,
        error.OutOfDescriptors => .MFILE,
        error.OutOfMemory => .NOMEM,
        error.WouldBlock => .AGAIN,
        error.BadAddress => .FAULT,
        error.BadDescriptor => .BADF,
        error.NoChild => .CHILD,
        error.Interrupted => .INTR,
        error.TimedOut => .TIMEDOUT,
        error.BrokenPipe => .PIPE,
        error.Unexpected => .IO,
    })));
}

fn code(e: linux.E) i64 {
    return -@as(i64, @backingInt(e));
}

// ---------------------------------------------------------------------------------------------
// In the prober

fn answer(probe: Probe, shared: *Shared) i64 {
    const descriptor = (sys.pipe(.{ .CLOEXEC = true }) catch |e| return errnoOf(e))[0];
    return switch (probe) {
        .ptrace_call => unlessExpected(ptrace.callOnNobody(), .SRCH),
        .seccomp_call => unlessExpected(sys.seccompOfNoMeaning(), .INVAL),
        .filter_plain, .filter_no_new_privs, .user_namespace => alone(probe),
        .seize, .call_info, .filter_stop, .set_call_info => traced(probe, shared),
        .process_vm_readv, .proc_mem, .pidfd_open, .pidfd_getfd, .proc_fd => beside(probe, shared, descriptor),
        .proc_self, .capabilities, .no_new_privs, .seccomp_mode, .descriptor_limit, .dumpable => unreachable, // `asked` has answered
    };
}

fn unlessExpected(got: linux.E, expected: linux.E) i64 {
    return if (got == expected) 0 else code(got);
}

/// What changes the process that does it, in one of its own.
fn alone(probe: Probe) i64 {
    const parent = sys.ownPid();
    const child = sys.fork() catch |e| return errnoOf(e);
    if (child == 0) {
        dieWith(parent);
        exitWith(switch (probe) {
            .filter_plain => switch (seccomp.install(true)) {
                .without_no_new_privs => .SUCCESS,
                .with_no_new_privs => .ACCES, // what the kernel said to the first try
                .failed => |e| e,
            },
            .filter_no_new_privs => switch (seccomp.install(false)) {
                .without_no_new_privs, .with_no_new_privs => .SUCCESS,
                .failed => |e| e,
            },
            .user_namespace => sys.newUserNamespace(),
            else => unreachable, // `answer` calls this for no other
        });
    }
    return exitOf(child);
}

/// errnos fit into an exit status.
fn exitWith(e: linux.E) noreturn {
    sys.exit(@truncate(@backingInt(e)));
}

fn exitOf(child: i32) i64 {
    const end = (sys.wait(child, sys.wait_all) catch |e| return errnoOf(e)) orelse return no_answer;
    const signal = end.status & 0x7f;
    return if (signal == 0) -@as(i64, end.status >> 8 & 0xff) else -@as(i64, killed + signal);
}

/// A child that is as the command is before its exec: dumpable, whatever we are, and waiting.
fn makeTracee(shared: *Shared) sys.Error!i32 {
    const parent = sys.ownPid();
    const child = try sys.fork();
    if (child == 0) tracee(shared, parent);
    while (@atomicLoad(u32, &shared.ready, .acquire) == 0) { // pairs with the tracee's store
        if (sys.childState(child) != .alive) return error.TraceeGone;
        sys.futexWait(&shared.ready, 0, 10);
    }
    return child;
}

fn endTracee(child: i32) void {
    sys.kill(child, .KILL) catch {};
    _ = sys.wait(child, sys.wait_all) catch {};
}

/// What looks at a child from outside.
fn beside(probe: Probe, shared: *Shared, descriptor: i32) i64 {
    const child = makeTracee(shared) catch |e| return errnoOf(e);
    defer endTracee(child);
    look(probe, shared, child, descriptor) catch |e| return errnoOf(e);
    return 0;
}

fn look(probe: Probe, shared: *Shared, child: i32, descriptor: i32) sys.Error!void {
    var path: [64]u8 = undefined;
    var word: u64 = 0;
    switch (probe) {
        .process_vm_readv => if (try sys.readProcessMemory(child, @intFromPtr(&shared.secret), std.mem.asBytes(&word)) != 8 or word != shared.secret) return error.BadAddress,
        .proc_mem => {
            const mem = try opened(sys.openReadOnly(sys.procPath(&path, child, "mem")));
            if (try sys.readAt(mem, std.mem.asBytes(&word), @intFromPtr(&shared.secret)) != 8 or word != shared.secret) return error.BadAddress;
        },
        .pidfd_open => _ = try sys.pidfdOpen(child),
        .pidfd_getfd => _ = try opened(sys.pidfdGetfd(try sys.pidfdOpen(child), descriptor)),
        .proc_fd => {
            var at = sys.procPath(&path, child, "fd/").len;
            at = sys.appendNumber(&path, at, @intCast(descriptor));
            path[at] = 0;
            _ = try opened(sys.open(linux.AT.FDCWD, path[0..at :0], .{ .PATH = true, .CLOEXEC = true }));
        },
        else => unreachable, // `answer` calls this for no other
    }
}

fn opened(result: sys.Opened) sys.Error!i32 {
    return switch (result) {
        .descriptor => |descriptor| descriptor,
        .failed => |e| switch (e) {
            .NOSYS => error.NotSupported,
            .NOENT, .NOTDIR => error.NotFound,
            else => error.Denied,
        },
    };
}

/// What a tracer does.
fn traced(probe: Probe, shared: *Shared) i64 {
    const child = makeTracee(shared) catch |e| return errnoOf(e);
    defer endTracee(child);
    const seized = ptrace.seize(child);
    if (probe == .seize or seized != .SUCCESS) return code(seized);
    if (probe == .call_info) {
        readCallInfo(child) catch |e| return errnoOf(e);
        return 0;
    }
    @atomicStore(u32, &shared.go, 1, .release); // pairs with the tracee's load
    sys.futexWake(&shared.go);
    return atFilterStop(probe, child) catch |e| errnoOf(e);
}

fn readCallInfo(child: i32) sys.Error!void {
    try ptrace.interrupt(child);
    _ = try sys.wait(child, sys.wait_all);
    var info: ptrace.CallInfo = undefined;
    _ = try ptrace.callInfo(child, &info);
}

/// No errno of openat.
const refusal: linux.E = .DOM;

fn atFilterStop(probe: Probe, child: i32) sys.Error!i64 {
    const stop = (try sys.wait(child, sys.wait_all)) orelse return no_answer;
    if (stop.status & 0xff != 0x7f) return @as(i64, -1) * (stop.status >> 8 & 0xff); // it ended: `tracee` says why
    if (stop.status >> 16 != linux.PTRACE.EVENT.SECCOMP) return error.NotSupported;
    var info: ptrace.CallInfo = undefined;
    if (try ptrace.callInfo(child, &info) != .seccomp) return error.NotSupported;
    if (info.of.seccomp.number != @backingInt(linux.SYS.openat)) return error.NotSupported;
    if (probe == .set_call_info) {
        try ptrace.setCallInfo(child, &info);
        return 0;
    }
    try ptrace.skipCall(child, -@as(i64, @backingInt(refusal)));
    try ptrace.goOn(child, .run, 0); // ours, and of no build
    const got = exitOf(child);
    return if (got == code(refusal)) 0 else error.NotSupported;
}

// ---------------------------------------------------------------------------------------------
// In the tracee

fn tracee(shared: *Shared, parent: i32) noreturn {
    dieWith(parent);
    _ = sys.prctl(.SET_DUMPABLE, 1) catch {};
    @atomicStore(u32, &shared.ready, 1, .release); // pairs with makeTracee's load
    sys.futexWake(&shared.ready);
    while (@atomicLoad(u32, &shared.go, .acquire) == 0) sys.futexWait(&shared.go, 0, null);
    switch (seccomp.install(true)) {
        .without_no_new_privs, .with_no_new_privs => {},
        .failed => |e| exitWith(e),
    }
    exitWith(switch (sys.open(linux.AT.FDCWD, "/", .{ .CLOEXEC = true })) {
        .descriptor => .SUCCESS,
        .failed => |e| e,
    });
}

// ---------------------------------------------------------------------------------------------

const testing = std.testing;

test "every probe answers, and what Linux always has works" {
    for (std.enums.values(Probe)) |probe| {
        errdefer std.debug.print("probe: {t}\n", .{probe});
        try testing.expect(run(@tagName(probe)) > no_answer - 1000);
    }
    try testing.expectEqual(@as(i64, 0), run("pidfd_open"));
    try testing.expectEqual(@as(i64, 0), run("filter_no_new_privs"));
    try testing.expectEqual(@as(i64, 0), run("proc_self"));
    try testing.expect(run("descriptor_limit") > 0);
    try testing.expectEqual(@as(i64, unknown), run("nonsense"));
    try testing.expectError(error.NoChild, sys.wait(-1, linux.W.NOHANG | sys.wait_all));
}

/// Runs `probe` in a child with this filter: what call number `denied` is answered with.
fn under(denied: linux.SYS, verdict: u32, probe: Probe) !i64 {
    const Instruction = seccomp.Instruction;
    const filter = [_]Instruction{
        .{ .code = 0x20, .k = 0 },
        .{ .code = 0x15, .jt = 0, .jf = 1, .k = @intCast(@backingInt(denied)) },
        .{ .code = 0x06, .k = verdict },
        .{ .code = 0x06, .k = linux.SECCOMP.RET.ALLOW },
    };
    const program: extern struct { length: u16, filter: [*]const Instruction } = .{ .length = filter.len, .filter = &filter };
    const page = try sys.mapShared(8);
    defer sys.unmap(page, 8);
    const result: *i64 = @ptrCast(page);
    const child = try sys.fork();
    if (child == 0) {
        _ = linux.prctl(@backingInt(linux.PR.SET_NO_NEW_PRIVS), 1, 0, 0, 0);
        if (linux.errno(linux.seccomp(linux.SECCOMP.SET_MODE_FILTER, 0, &program)) != .SUCCESS) sys.exit(1);
        result.* = run(@tagName(probe));
        sys.exit(0);
    }
    try testing.expectEqual(@as(u32, 0), (try sys.wait(child, 0)).?.status);
    return result.*;
}

test "a seccomp profile that refuses is told from a kernel that does" {
    const errno = linux.SECCOMP.RET.ERRNO;
    const rows = .{
        .{ linux.SYS.ptrace, errno | 1, Probe.ptrace_call, code(.PERM) },
        .{ linux.SYS.ptrace, errno | 38, Probe.ptrace_call, code(.NOSYS) },
        .{ linux.SYS.ptrace, errno | 1, Probe.seize, code(.PERM) },
        .{ linux.SYS.ptrace, linux.SECCOMP.RET.KILL_PROCESS, Probe.ptrace_call, -(killed + 31) },
        .{ linux.SYS.seccomp, errno | 38, Probe.seccomp_call, code(.NOSYS) },
        .{ linux.SYS.seccomp, errno | 1, Probe.filter_no_new_privs, code(.PERM) },
        .{ linux.SYS.seccomp, linux.SECCOMP.RET.KILL_PROCESS, Probe.filter_no_new_privs, -(killed + 31) },
        .{ linux.SYS.process_vm_readv, errno | 1, Probe.process_vm_readv, code(.PERM) },
        .{ linux.SYS.pidfd_getfd, errno | 38, Probe.pidfd_getfd, code(.NOSYS) },
        .{ linux.SYS.pidfd_open, errno | 1, Probe.pidfd_open, code(.PERM) },
        // Others are not touched by it.
        .{ linux.SYS.pidfd_getfd, errno | 1, Probe.proc_fd, 0 },
        .{ linux.SYS.process_vm_readv, errno | 1, Probe.proc_mem, 0 },
        .{ linux.SYS.ptrace, errno | 1, Probe.proc_mem, 0 },
    };
    inline for (rows) |row| {
        errdefer std.debug.print("{t} {x} {t}\n", .{ row[0], row[1], row[2] });
        try testing.expectEqual(@as(i64, row[3]), try under(row[0], row[1], row[2]));
    }
}

test "who does not answer is given up" {
    // A sandbox that says yes to ptrace and does nothing: the stop never comes.
    try testing.expectEqual(no_answer, try under(.ptrace, linux.SECCOMP.RET.ERRNO, .call_info));
    // Without a tracer the filter answers the call itself, and no stop comes either.
    try testing.expectEqual(code(.NOSYS), try under(.ptrace, linux.SECCOMP.RET.ERRNO, .filter_stop));
}
