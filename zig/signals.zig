//! Signals that somebody sends to the front end reach the command once; those of the terminal have
//! reached it already, since it is in our process group.
//!
//! | signal                | from a process (si_code <= 0)                              | from the terminal |
//! |-----------------------|------------------------------------------------------------|-------------------|
//! | HUP, INT, QUIT, TERM  | first: passed on, noted; second: everything is killed       | noted             |
//! | USR1, USR2, CONT      | passed on                                                  | nothing           |
//! | ALRM                  | passed on, noted; a timer that was set before our start too |                   |
//! | VTALRM, PROF          | passed on, a timer's too                                   |                   |
//! | XCPU, IO, STKFLT, 35… | passed on                                                  |                   |
//! | WINCH                 | nothing                                                    | size of the ptys  |
//!
//! But when a terminal hangs up the kernel tells the leader of its session, and nobody else until that one has ended. Where we lead
//! it (`ssh -t`, script(1)) the command would: it gets its SIGHUP from us, and after its end the rest of our group (pump.zig).
//!
//! Not caught: KILL and STOP; those of faults; PIPE, CHLD, URG and XFSZ, which say something about ourselves; 32 to 34 and PWR,
//! which the C library and the JavaScript engine need.
//!
//! What was ignored when we were started (nohup) stays ignored. TSTP is not caught: the terminal's stops
//! us together with the command. The handlers may run in any thread of Bun's: system calls and atomics only.
const std = @import("std");
const linux = std.os.linux;
const sys = @import("sys.zig");
const Session = @import("session.zig").Session;

/// Programs send these to whole groups; the tracer lets them through (group_signals.zig).
const of_groups = [_]linux.SIG{ .HUP, .INT, .QUIT, .TERM, .USR1, .USR2, .CONT, .WINCH };
const real_time = [2]u32{ 35, 64 };
const handled = of_groups ++ [_]linux.SIG{ .ALRM, .VTALRM, .PROF, .XCPU, .IO, .STKFLT } ++ realTime();

fn realTime() [real_time[1] - real_time[0] + 1]linux.SIG {
    var list: [real_time[1] - real_time[0] + 1]linux.SIG = undefined;
    for (&list, real_time[0]..) |*signal, number| signal.* = @fromBackingInt(@as(u32, number));
    return list;
}

pub fn isOfGroups(signal: u32) bool {
    for (of_groups) |one| if (@backingInt(one) == signal) return true;
    return false;
}

const Role = enum { interrupt, alarm, timer, pass_on, window };

fn roleOf(signal: linux.SIG) Role {
    return switch (signal) {
        .HUP, .INT, .QUIT, .TERM => .interrupt,
        .ALRM => .alarm,
        .VTALRM, .PROF => .timer,
        .WINCH => .window,
        else => .pass_on,
    };
}

/// A sender that signals us and then our process group (timeout(1) does) means one signal. Generous, since on a loaded
/// machine the two can be far apart; a second signal that somebody means comes later, or from another process.
const same_signal_ms = 1000;

/// Of kill(2). Nobody can claim it for another (rt_sigqueueinfo(2)).
const si_user = 0;

var session: ?*Session = null;
var command_pidfd: i32 = -1;
var window: i32 = -1;
var hung_up = false;
/// The last interrupt: one word, since two handlers can run at the same time in two threads.
var last_interrupt: u64 = @bitCast(Interrupt{});

const Interrupt = packed struct(u64) {
    signal: u8 = 0,
    /// Process numbers have 22 bits (PID_MAX_LIMIT).
    sender: u24 = 0,
    /// Milliseconds of the monotonic clock, wrapping.
    at: u32 = 0,
};
var former: [handled.len]linux.Sigaction = undefined;

/// Dispositions that the process was started with: read before Bun changes any.
var ignored_at_start: [handled.len]bool = @splat(false);

pub fn rememberIgnored() void {
    for (handled, &ignored_at_start) |signal, *ignored| {
        var action: linux.Sigaction = undefined;
        _ = linux.sigaction(signal, null, &action);
        ignored.* = action.handler.handler == linux.SIG.IGN;
    }
}

/// `window_event`: an eventfd that is written when the terminal's size may have changed.
pub fn install(of: *Session, window_event: i32) sys.Error!void {
    // By pidfd: the command's number may be another process's once the tracer has reaped it.
    command_pidfd = try sys.pidfdOpen(of.command_pid);
    window = window_event;
    session = of;
    for (handled, ignored_at_start, &former) |signal, ignored, *before| {
        const action: linux.Sigaction = .{
            .handler = .{ .sigaction = onSignal },
            .mask = comptime sys.signalSet(&handled),
            .flags = linux.SA.SIGINFO | linux.SA.RESTART,
        };
        _ = linux.sigaction(signal, if (ignored) null else &action, before);
    }
}

/// After the run: a signal means us again.
pub fn uninstall() void {
    if (session == null) return;
    for (handled, ignored_at_start, &former) |signal, ignored, *before| {
        if (!ignored) _ = linux.sigaction(signal, before, null);
    }
    session = null;
    sys.close(command_pidfd);
}

fn onSignal(signal: linux.SIG, info: *const linux.siginfo_t, _: ?*anyopaque) callconv(.c) void {
    const of = session orelse return;
    const role = roleOf(signal);
    if (role == .window) return sys.notify(window);
    if (info.code == si_user and senderOf(info) == @as(u32, @bitCast(of.front_pid))) return; // to our group, by ourselves
    const is_timer = role == .alarm or role == .timer;
    // The terminal's or the kernel's: the command has it. But timers outlive an exec (`perl -e 'alarm 9; exec @ARGV'`) and no fork.
    const is_kernels = info.code > 0 and !is_timer;
    if (is_kernels and role != .interrupt) return;
    if (!is_kernels and role == .interrupt and isRepetition(signal, senderOf(info))) return;
    const control = of.control;
    const ends = role == .interrupt or role == .alarm;
    if (ends) _ = @cmpxchgStrong(u32, &control.first_signal, 0, @backingInt(signal), .acq_rel, .acquire);
    if (is_kernels) {
        if (signal == .HUP and sys.leadsSession()) passHangUp();
        return;
    }
    if (role == .interrupt) {
        if (@atomicRmw(u32, &control.signals_received, .Add, 1, .acq_rel) > 0) {
            killAll(of);
            return;
        }
        of.wakeFrontEnd();
    }
    toCommand(signal);
}

fn toCommand(signal: linux.SIG) void {
    _ = linux.syscall4(.pidfd_send_signal, @as(u32, @bitCast(command_pidfd)), @backingInt(signal), 0, 0);
}

/// One that is stopped is to see it too: the kernel sends both.
fn passHangUp() void {
    toCommand(.HUP);
    toCommand(.CONT);
    @atomicStore(bool, &hung_up, true, .release); // pairs with hasHungUp
    sys.notify(window); // the pump's watching thread looks
}

/// Whether the terminal of the session that we lead is gone.
pub fn hasHungUp() bool {
    return @atomicLoad(bool, &hung_up, .acquire); // pairs with passHangUp
}

fn senderOf(info: *const linux.siginfo_t) u32 {
    return @bitCast(info.fields.common.first.piduid.pid);
}

fn isRepetition(signal: linux.SIG, sender: u32) bool {
    const now: Interrupt = .{
        .signal = @intCast(@backingInt(signal)),
        .sender = @truncate(sender),
        .at = @truncate(sys.nowNs() / std.time.ns_per_ms),
    };
    const before: Interrupt = @bitCast(@atomicRmw(u64, &last_interrupt, .Xchg, @as(u64, @bitCast(now)), .acq_rel));
    return before.signal == now.signal and before.sender == now.sender and now.at -% before.at < same_signal_ms;
}

/// With the tracer die its tracees (PTRACE_O_EXITKILL); what is not traced becomes our child, and the
/// pump's watching thread kills it before it says that the tracer is gone.
pub fn killAll(of: *Session) void {
    @atomicStore(u32, &of.control.kill_all, 1, .seq_cst);
    if (@atomicLoad(u32, &of.control.tracer_gone, .seq_cst) == 0) sys.kill(of.tracer_pid, .KILL) catch {};
    of.wakeFrontEnd();
}
