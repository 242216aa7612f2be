//! The tracer: `wait → classify → handle → go`, until nothing of the build is alive.
//!
//!     wait4(-1) ──▶ classify (stop.zig) ──▶ handle: families here, calls (calls.zig), images (images.zig) ──▶ go
//!        ▲                                                                                              │
//!        └──────────────────────────────────────────────────────────────────────────────────────────────┘
//!
//! It never waits for one thread: exec waits until all other threads of the process have been reaped by us, a vfork's
//! parent until its child has called exec. Whatever is asked of a tracee can be answered "gone", since SIGKILL ends a
//! stop: that is handled in `dispatch`, and the death status follows.
//!
//! Nor does it wait for what a tracee may have to answer: from the moment a server is seen in the build, what a stop means is
//! found out in a turn of its own, and while that waits others are served (turns.zig).
//!
//! `go` is the only place that resumes. Everything is in an instance; only the tick's flag is global, since a signal handler has no arguments.
const std = @import("std");
const linux = std.os.linux;
const abi = @import("abi.zig");
const calls = @import("calls.zig");
const children = @import("children.zig");
const descriptors_mod = @import("descriptors.zig");
const families = @import("families.zig");
const images = @import("images.zig");
const NameChanges = @import("name_changes.zig").NameChanges;
const ipc_mod = @import("ipc.zig");
const own_files = @import("own_files.zig");
const ptrace = @import("ptrace.zig");
const records_mod = @import("records.zig");
const patience_mod = @import("patience.zig");
const stop_mod = @import("stop.zig");
const seccomp = @import("seccomp.zig");
const sys = @import("sys.zig");
const status_file = @import("status.zig");
const tracee = @import("tracee.zig");
const Spin = @import("spin.zig").Spin;
const turns_mod = @import("turns.zig");
const Memory = @import("memory.zig").Memory;
const Session = @import("session.zig").Session;
const sockets = @import("sockets.zig");
const unmounts = @import("unmounts.zig");
const watch_mod = @import("watch.zig");
const Writes = @import("writes.zig").Writes;
const Clients = @import("clients.zig").Clients;
const Sharers = @import("sharers.zig").Sharers;
const Traffic = @import("traffic.zig").Traffic;
const Watch = watch_mod.Watch;
const Stop = stop_mod.Stop;
const Thread = tracee.Thread;
const assert = std.debug.assert;

/// Seizes the session's command and records what it and its descendants do. Returns when nothing of it is alive.
pub fn trace(session: *Session) void {
    assert(session.command_pid > 0); // 0 would mean ourselves to kill(2)
    ptrace.takeSignals(onTick);
    var tracer = Tracer.start(session) catch |e| return giveUp(session, switch (e) {
        error.NoProc => .proc,
        error.OutOfMemory => .memory,
        else => .seize,
    }, switch (e) {
        error.NoProc, error.TraceeGone => .SRCH,
        error.OutOfMemory => .NOMEM,
        else => .PERM, // its memory is closed to us
    });
    defer tracer.deinit();
    tracer.descriptors.tracees = &tracer.tracees;
    const seized = ptrace.seize(session.command_pid);
    if (seized != .SUCCESS) return giveUp(session, .seize, seized);
    tracer.addCommand();
    session.announceSeized();
    defer tracer.setFrontStopped(false); // whatever ends the loop
    tracer.loop();
    tracer.traffic.finish(&tracer.records);
}

/// Nothing of the command has run.
fn giveUp(session: *Session, stage: abi.Stage, e: linux.E) void {
    // Somebody was faster.
    const status = if (sys.wait(session.command_pid, linux.W.NOHANG | sys.wait_all) catch null) |waited| waited.status else 0;
    if (status != 0) session.setError(.killed, status & 0x7f) else session.setError(stage, sys.errnoNumber(e));
    sys.kill(session.command_pid, .KILL) catch {};
    _ = sys.wait(session.command_pid, sys.wait_all) catch {};
}

var ticked: u32 = 0;

fn onTick(_: linux.SIG) callconv(.c) void {
    @atomicStore(u32, &ticked, 1, .monotonic); // read by the same thread
}

/// While there is something to look after, wait4 is interrupted this often. Otherwise never.
pub const tick_ms = 50;
/// After that it is our children who are killed, not those we know of.
const killing_max_ns = 2 * std.time.ns_per_s;
/// How often the front end is looked at while a process waits for it, and how long one waits at most.
const delay_tick_ms = 1;
/// wait4 reports the youngest first. Where several stop faster than we come round, the others would never have their turn: after so many
/// stops all that there are are taken at once, at most so many.
const unfair_max = 16;
const events_max = 1024;
/// While a turn waits: a helper says when it is done, but a signal before wait4 is soon forgotten.
const turn_tick_ms = 1;
const delay_max_ns = 5 * std.time.ns_per_s;

pub const Tracer = struct {
    session: *Session,
    records: records_mod.Records,
    tracees: tracee.Tracees,
    memory: Memory,
    descriptors: descriptors_mod.Descriptors,
    watch: Watch,
    traffic: Traffic,
    clients: Clients,
    sharers: Sharers,
    names: NameChanges,
    detail: abi.Detail,
    writes: Writes,
    scratch: *Scratch,
    patience: *patience_mod.Patience,
    turns: turns_mod.Turns,
    /// CAP_SYS_PTRACE: what a tracee makes unreadable for its user is readable for us.
    privileged: bool,
    /// The command's filter, to be asked where the kernel does not.
    filter: seccomp.Filter,
    /// The command's first image runs.
    command_running: bool = false,
    /// The front end is stopped since the command is.
    front_stopped: bool = false,
    /// Some process may see other files under a path than we do.
    roots_differ: bool = false,
    /// Processes may have directories or descriptors in common, which each can change for the other.
    shares_places: bool = false,
    /// Somebody has mounted something: a file of proc may have any path.
    mounted: bool = false,
    own_files: own_files.OwnFiles,
    ipc: ipc_mod.Ipc = .{},
    /// A filter of the build's own was installed somewhere.
    filters_seen: bool = false,
    /// When those that outlive the command are killed.
    deadline_ns: ?u64 = null,
    killing: bool = false,
    killing_since_ns: u64 = 0,
    /// Interval of the ticks; 0: none.
    ticking_ms: u32 = 0,

    pub const Scratch = struct {
        items: [64 << 10]u8,
        /// What is sent or received on a watched socket.
        data: [watch_mod.piece_bytes]u8,
        argv: [abi.exec_strings_max]u8,
        environment: [abi.exec_strings_max]u8,
    };

    const StartError = sys.Error || error{NoProc};

    fn start(session: *Session) StartError!Tracer {
        var link: [16]u8 = undefined;
        var own: [16]u8 = undefined;
        const self = sys.readLink(linux.AT.FDCWD, "/proc/self", &link) catch return error.NoProc;
        // A /proc of another pid namespace numbers tracees as we do not.
        if (!std.mem.eql(u8, self, own[0..sys.appendNumber(&own, 0, @intCast(sys.ownPid()))])) return error.NoProc;

        const command = session.command_pid;
        const patience = try patience_mod.Patience.init();
        var memory = try Memory.probe(command, session);
        memory.patience = patience;
        if (memory.way == .process_vm_readv) session.setFeature(.process_vm_readv);
        const pidfd_getfd = canTakeDescriptors(session);
        if (pidfd_getfd) session.setFeature(.pidfd_getfd);
        session.setFeature(.get_syscall_info);
        const privileged = ptrace.ownCapabilities() >> ptrace.cap_sys_ptrace & 1 != 0;
        if (privileged) session.setFeature(.privileged);
        var descriptors: descriptors_mod.Descriptors = try .init(session, pidfd_getfd);
        descriptors.patience = patience;
        return .{
            .session = session,
            .own_files = .init(session, &descriptors),
            .patience = patience,
            .turns = try .init(patience),
            .records = .{ .writer = session.writer(0) },
            .tracees = try .init(),
            .memory = memory,
            .descriptors = descriptors,
            .watch = try .init(),
            .traffic = try .init(),
            .clients = .init(),
            .sharers = try .init(),
            .names = try .init(),
            .detail = session.detail(),
            .writes = try .init(),
            .scratch = @ptrCast(@alignCast(try sys.mapPrivate(@sizeOf(Scratch)))),
            .privileged = privileged,
            .filter = seccomp.filterFor(session.detail(), .{ @intCast(session.tracer_pid), @intCast(session.front_pid) }),
        };
    }

    fn deinit(tracer: *Tracer) void {
        if (tracer.ticking_ms != 0) ptrace.stopTicks();
        tracer.turns.deinit();
        tracer.descriptors.deinit();
        tracer.watch.deinit();
        tracer.traffic.deinit();
        tracer.clients.deinit();
        tracer.sharers.deinit();
        tracer.names.deinit();
        tracer.writes.deinit();
        tracer.tracees.deinit();
        sys.unmap(@ptrCast(@alignCast(tracer.scratch)), @sizeOf(Scratch));
    }

    /// Tried on the command, which holds a copy of our descriptors and waits.
    fn canTakeDescriptors(session: *Session) bool {
        const pidfd = sys.pidfdOpen(session.command_pid) catch return false;
        defer sys.close(pidfd);
        return switch (sys.pidfdGetfd(pidfd, session.descriptors.hand_command)) {
            .descriptor => |copy| {
                sys.close(copy);
                return true;
            },
            .failed => false,
        };
    }

    fn addCommand(tracer: *Tracer) void {
        const session = tracer.session;
        const thread = tracer.tracees.add(session.command_pid, .running) catch unreachable; // the table is empty
        _ = tracer.tracees.addProcess(thread);
        _ = tracer.records.emit(.process, tracer.who(thread), 0, .{
            .header = undefined,
            .parent = 0,
            .pid = thread.tid,
            .parent_pid = session.front_pid,
            .event = 0,
            .clone_flags = 0,
        }, &.{});
    }

    pub fn who(tracer: *Tracer, thread: *const Thread) records_mod.Who {
        return .{ .tid = thread.tid, .process = tracer.tracees.processOf(thread).serial };
    }

    pub fn owner(tracer: *Tracer, thread: *const Thread) descriptors_mod.Owner {
        const process = tracer.tracees.processOf(thread);
        return .{ .tid = thread.tid, .pid = process.pid, .process = process.serial };
    }

    pub fn gap(tracer: *Tracer, thread: *const Thread, kind: abi.GapKind, value: u64, text: []const u8) void {
        tracer.records.gap(tracer.who(thread), kind, value, text);
    }

    // -----------------------------------------------------------------------------------------
    // The loop

    fn loop(tracer: *Tracer) void {
        var unfair: u32 = 0;
        var spin: Spin = .{};
        while (true) {
            tracer.attend() catch |e| {
                tracer.onFailure(e);
                continue;
            };
            const waited = spin.wait() catch |e| switch (e) {
                error.Interrupted => continue,
                error.NoChild => return tracer.endAll(), // no tracee is left, nor anything else below us
                else => {
                    tracer.session.setError(.wait, 0);
                    tracer.killAll();
                    return;
                },
            };
            const event = waited orelse continue;
            unfair += 1;
            if (unfair < unfair_max) {
                tracer.dispatch(event.pid, event.status) catch |e| tracer.onFailure(e);
            } else {
                unfair = 0;
                tracer.dispatchAll(event);
            }
        }
    }

    /// Everybody who stands still now gets his turn: first one that has been waited for already.
    fn dispatchAll(tracer: *Tracer, first: sys.Waited) void {
        var events: [events_max]sys.Waited = undefined;
        events[0] = first;
        var count: usize = 1;
        while (count < events.len) : (count += 1) {
            const next = (sys.wait(-1, linux.W.NOHANG | sys.wait_all) catch break) orelse break;
            // Whoever is heard of twice was killed where he stood, or his number is that of a thread which has executed a program:
            // what was heard first is out of date, and must not let the other one go.
            for (events[0..count]) |*earlier| if (earlier.pid == next.pid) {
                earlier.pid = 0;
            };
            events[count] = next;
        }
        for (events[0..count]) |event| {
            if (event.pid == 0) continue;
            tracer.dispatch(event.pid, event.status) catch |e| tracer.onFailure(e);
        }
    }

    fn onFailure(tracer: *Tracer, e: HandleError) void {
        switch (e) {
            error.TraceeGone => return, // its death is reported to the next wait
            error.TooManyTracees => tracer.session.setError(.too_many_tracees, 0),
            // A request that never fails on a stopped tracee of a kernel that we know.
            else => tracer.session.setError(.wait, @intFromError(e)),
        }
        tracer.killAll();
    }

    /// Nothing is alive. Whose death came before it was announced, and was forgotten in a storm of them, ends here.
    fn endAll(tracer: *Tracer) void {
        for (tracer.tracees.all()) |*thread| {
            if (thread.state == .expected or thread.state == .running) families.endThread(tracer, thread, @backingInt(linux.SIG.KILL));
        }
    }

    const HandleError = sys.Error || error{TooManyTracees};

    fn dispatch(tracer: *Tracer, tid: i32, status: u32) HandleError!void {
        const message = if (stop_mod.hasMessage(status)) try ptrace.eventMessage(tid) else 0;
        const stop = stop_mod.classify(status, message);
        if (tracer.turns.isBusy()) if (tracer.tracees.find(tid)) |thread| switch (stop) {
            .gone => tracer.turns.cancel(thread),
            .exec => tracer.turns.cancelProcess(tracer, thread),
            else => {},
        };
        if (stop == .gone) return families.onGone(tracer, tid, status);
        const thread = tracer.tracees.find(tid) orelse return families.park(tracer, tid, stop);
        switch (thread.state) {
            .running => try tracer.give(thread, stop),
            .expected => {
                tracer.tracees.setState(thread, .running);
                thread.in_group_stop = stop == .group;
                try tracer.go(thread, 0);
            },
            .dead => {
                // The number of one that died before anybody had announced it is another's now.
                tracer.tracees.remove(thread);
                try families.park(tracer, tid, stop);
            },
            .parked => {}, // it is stopped already
            .free => unreachable, // `find` returns none
        }
    }

    fn give(tracer: *Tracer, thread: *Thread, stop: Stop) HandleError!void {
        if (!tracer.patience.needed) return tracer.handleAndGo(thread, stop);
        try tracer.turns.take(tracer, thread, stop);
        if (tracer.turns.isBusy()) tracer.keepTicking(turn_tick_ms);
    }

    pub fn handleAndGo(tracer: *Tracer, thread: *Thread, stop: Stop) HandleError!void {
        const signal = try tracer.handle(thread, stop);
        if (thread.delayed != null) return tracer.keepTicking(delay_tick_ms);
        try tracer.go(thread, signal);
    }

    /// What the stop means. Returns the signal to go on with.
    fn handle(tracer: *Tracer, thread: *Thread, stop: Stop) HandleError!u32 {
        switch (stop) {
            .seccomp, .syscall => try calls.onStop(tracer, thread),
            .created => |created| try families.onCreated(tracer, thread, created),
            .exec => |former| try tracer.onExec(thread, former),
            .trap => {
                tracer.setGroupStop(thread, false);
                if (thread.interrupted) try ptrace.continueInterrupted(thread.tid);
                thread.interrupted = false;
            },
            .group => tracer.setGroupStop(thread, true),
            .signal => |signal| return signal,
            .other => {},
            .gone => unreachable, // `dispatch` has taken it
        }
        return 0;
    }

    /// Whether it goes on to the next entry or exit of any call, the exit of the one that it is in included.
    pub fn stopsAtCalls(tracer: *Tracer, thread: *const Thread) bool {
        return thread.every_call or thread.call.at_exit != .nothing or tracer.tracees.processOf(thread).watched != 0;
    }

    /// The one place that resumes.
    pub fn go(tracer: *Tracer, thread: *Thread, signal: u32) ptrace.Error!void {
        const how: ptrace.Resume = if (thread.in_group_stop)
            .listen
        else if (tracer.stopsAtCalls(thread))
            .to_call
        else
            .run;
        try ptrace.goOn(thread.tid, how, signal);
    }

    fn setGroupStop(tracer: *Tracer, thread: *Thread, stopped: bool) void {
        if (thread.in_group_stop == stopped) return;
        thread.in_group_stop = stopped;
        if (thread.tid == tracer.session.command_pid) tracer.setFrontStopped(stopped);
    }

    /// The shell waits for our front end, not for the command: it must see the stop, or `fg` has nothing to continue. What ends
    /// a stop without a word, a death or an exec, ends it here too: nobody else would.
    pub fn setFrontStopped(tracer: *Tracer, stopped: bool) void {
        if (tracer.front_stopped == stopped) return;
        tracer.front_stopped = stopped;
        sys.kill(tracer.session.front_pid, if (stopped) .STOP else .CONT) catch {};
    }

    // -----------------------------------------------------------------------------------------
    // Families

    /// Whether a number means the tracer, the front end or a thread of it, for a tracee that counts processes as we do.
    pub fn isOurs(tracer: *Tracer, thread: *const Thread, number: i32) bool {
        return own_files.isOurNumber(tracer, number) and status_file.isSamePidNamespace(thread.tid);
    }

    fn onExec(tracer: *Tracer, leader: *Thread, former: i32) HandleError!void {
        if (former != leader.tid) {
            // The leader's end is not reported, nor are others' in time.
            calls.onDeath(tracer, leader);
            for (tracer.tracees.all()) |*thread| {
                if (thread.process == leader.process and thread.state != .free) calls.endNameChange(tracer, thread, .unknown);
            }
            tracer.tracees.becomeLeader(leader, tracer.tracees.find(former));
        }
        leader.in_group_stop = false;
        if (leader.tid == tracer.session.command_pid) tracer.setFrontStopped(false);
        const is_first = !tracer.command_running and leader.tid == tracer.session.command_pid;
        if (is_first) tracer.command_running = true;
        if (tracer.tracees.processOf(leader).watched != 0) sockets.onExec(tracer, leader);
        try images.onExec(tracer, leader, former);
        if (!is_first) return;
        try images.reportInherited(tracer, leader);
        tracer.session.setPhase(.running);
    }

    // -----------------------------------------------------------------------------------------
    // What no stop tells us

    pub fn keepTicking(tracer: *Tracer, every_ms: u32) void {
        if (tracer.ticking_ms != 0 and tracer.ticking_ms <= every_ms) return;
        tracer.ticking_ms = every_ms;
        ptrace.startTicks(every_ms, every_ms);
    }

    /// Looks after what could otherwise wait for ever. Cheap unless a tick has come.
    fn attend(tracer: *Tracer) HandleError!void {
        if (tracer.ticking_ms == 0 or @atomicRmw(u32, &ticked, .Xchg, 0, .monotonic) == 0) return;
        try tracer.turns.attend(tracer, sys.nowNs());
        const tracees = &tracer.tracees;
        const now = sys.nowNs();
        if (tracees.parked_count > 0) families.adoptParked(tracer, now);
        if (tracees.delayed_count > 0) try tracer.resumeDelayed(now);
        if (tracer.session.killRequested()) {
            tracer.killAll();
        } else if (tracer.deadline_ns) |deadline| {
            if (now >= deadline) tracer.killSurvivors();
        }
        if (tracees.delayed_count > 0 or tracer.turns.isBusy()) return;
        tracer.ticking_ms = 0;
        if (tracees.parked_count > 0 or tracer.deadline_ns != null or tracer.killing) tracer.keepTicking(tick_ms) else ptrace.stopTicks();
    }

    /// Those whose file the front end has read by now, and readers whose file may have settled.
    fn resumeDelayed(tracer: *Tracer, now: u64) HandleError!void {
        for (tracer.tracees.all()) |*thread| {
            const delay = thread.delayed orelse continue;
            switch (delay.until) {
                .read => {
                    if (now - delay.since_ns < delay_max_ns and tracer.descriptors.isBeingRead(delay.device, delay.inode)) continue;
                    tracer.tracees.setDelay(thread, null);
                    tracer.go(thread, 0) catch {}; // gone: its death is reported
                },
                .unheld => {
                    if (now - delay.since_ns < unmounts.wait_max_ns and tracer.descriptors.isReadOn(delay.inode)) continue;
                    tracer.tracees.setDelay(thread, null);
                    tracer.go(thread, 0) catch {}; // as above
                },
                .later => {
                    if (now <= delay.since_ns) continue;
                    tracer.tracees.setDelay(thread, null);
                    tracer.give(thread, .syscall) catch |e| if (e != error.TraceeGone) return e;
                },
            }
        }
    }

    /// The grace period is over. Whom nothing survives is named.
    fn killSurvivors(tracer: *Tracer) void {
        for (tracer.tracees.all()) |*thread| {
            if (thread.state != .running and thread.state != .expected) continue;
            const process = tracer.tracees.processOf(thread);
            if (process.kill_reported) continue;
            process.kill_reported = true;
            var comm: [64]u8 = undefined;
            const name = status_file.comm(process.pid, &comm);
            tracer.gap(thread, .survivor_killed, @intCast(process.pid), name);
            tracer.session.control.survivors_killed += 1;
        }
        tracer.killAll();
    }

    /// Again at every tick until nothing is left: a child can appear while its parent dies.
    fn killAll(tracer: *Tracer) void {
        const now = sys.nowNs();
        if (!tracer.killing) tracer.killing_since_ns = now;
        tracer.killing = true;
        tracer.keepTicking(tick_ms);
        for (tracer.tracees.all()) |*thread| {
            if (thread.state != .free and thread.state != .dead) sys.kill(thread.tid, .KILL) catch {};
        }
        // What escaped being traced and lost its parent is our child all the same.
        const nothing_known = tracer.tracees.thread_count == 0 or now - tracer.killing_since_ns > killing_max_ns;
        if (nothing_known) _ = children.killUntilNone(.{ .reap_all = true });
    }
};

test {
    _ = @import("tracer_test.zig");
}
