//! The tracer process of a run without --trace: it only waits. It reaps what becomes its child, and after
//! the command's end gives the rest of the tree `grace_ms` before it kills it.
const std = @import("std");
const linux = std.os.linux;
const sys = @import("sys.zig");
const children = @import("children.zig");
const Session = @import("session.zig").Session;

/// SIGCHLD: look at the children. SIGTERM: the front end died (PR_SET_PDEATHSIG) or wants everything dead.
const wake_signals = sys.signalSet(&.{ .CHLD, .TERM });

/// Returns when nothing of the build is alive. All signals are blocked.
pub fn watch(session: *Session) void {
    // A signal that we can act upon, where the traced run has SIGKILL: without ptrace nobody else would kill the tree.
    _ = sys.prctl(.SET_PDEATHSIG, @backingInt(linux.SIG.TERM)) catch {};
    session.announceSeized();
    session.setPhase(.running);
    var deadline: ?u64 = null;
    while (true) {
        // The front end may have died before the signal was set up, or our SIGTERM may be somebody else's: ask, do not infer.
        if (sys.parentPid() != session.front_pid) {
            _ = children.killUntilNone(.{ .reap_all = true });
            sys.exit(0);
        }
        if (session.killRequested()) {
            _ = children.killUntilNone(.{ .reap_all = true });
            return;
        }
        reap(session, &deadline) catch |e| {
            if (e == error.NoChild) return;
            // No such failure is known; what cannot be waited for cannot be said to have ended.
            session.setError(.wait, sys.errnoNumber(.IO));
            _ = children.killUntilNone(.{ .reap_all = true });
            return;
        };
        const now = sys.nowNs();
        if (deadline) |limit| {
            if (now >= limit) {
                session.control.survivors_killed = children.killUntilNone(.{ .reap_all = true });
                return;
            }
            _ = sys.waitSignal(wake_signals, @intCast((limit - now) / std.time.ns_per_ms + 1));
        } else {
            _ = sys.waitSignal(wake_signals, null);
        }
    }
}

/// Takes every status that is there; `error.NoChild` when there is no child any more.
fn reap(session: *Session, deadline: *?u64) sys.Error!void {
    const flags: u32 = linux.W.NOHANG | linux.W.UNTRACED | linux.W.CONTINUED | sys.wait_all;
    while (try sys.wait(-1, flags)) |waited| {
        if (waited.pid != session.command_pid) continue;
        const status = waited.status;
        if (status == continued_status) { // first: std's IFSTOPPED is true for it
            sys.kill(session.front_pid, .CONT) catch {};
        } else if (linux.W.IFSTOPPED(status)) {
            // A shell waits for our front end, not for the command: it must see the stop, or `fg` has nothing to continue.
            sys.kill(session.front_pid, .STOP) catch {};
        } else {
            const is_executed = @atomicLoad(u32, &session.control.seized, .acquire) == 2; // pairs with spawn.zig's store
            if (!is_executed and status & 0x7f != 0 and !session.hasError()) session.setError(.killed, status & 0x7f);
            session.control.command_status = @bitCast(status);
            session.setPhase(.draining);
            deadline.* = sys.nowNs() + @as(u64, session.control.grace_ms) * std.time.ns_per_ms;
        }
    }
}

/// What wait4(2) reports for WCONTINUED.
const continued_status = 0xffff;
