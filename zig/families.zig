//! Who belongs to whom: new threads and processes, in whichever order they and their creators are heard of, and their ends.
const std = @import("std");
const linux = std.os.linux;
const calls = @import("calls.zig");
const opens = @import("opens.zig");
const ptrace = @import("ptrace.zig");
const records_mod = @import("records.zig");
const sockets = @import("sockets.zig");
const status_file = @import("status.zig");
const stop_mod = @import("stop.zig");
const sys = @import("sys.zig");
const tracee = @import("tracee.zig");
const tracer_mod = @import("tracer.zig");
const Thread = tracee.Thread;
const Tracer = tracer_mod.Tracer;

const Error = sys.Error || error{TooManyTracees};

/// A new thread that nobody has announced for so long has lost its creator.
const parked_ns = 100 * std.time.ns_per_ms;
/// As above, if its parent is alive: a creator that passed its own parent on (CLONE_PARENT) and died.
const parked_long_ns = 2 * std.time.ns_per_s;

/// The first stop of a thread that nobody has announced yet.
pub fn park(tracer: *Tracer, tid: i32, stop: stop_mod.Stop) Error!void {
    const thread = try tracer.tracees.add(tid, .parked);
    thread.in_group_stop = stop == .group; // its process was stopped before it began
    thread.since_ns = sys.nowNs();
    thread.leads = ptrace.isThreadOf(tid, tid);
    if (tracer.killing) sys.kill(tid, .KILL) catch {};
    tracer.keepTicking(tracer_mod.tick_ms);
}

pub fn onCreated(tracer: *Tracer, creator: *Thread, created: stop_mod.Created) Error!void {
    creator.call.child_seen = true;
    // Its child is attached to us: whether one escaped need not be asked at the exit.
    if (creator.call.at_exit == .guard) {
        creator.call.at_exit = .nothing;
        tracer.tracees.releaseBuffer(&creator.call);
    }
    const child = created.child;
    const thread = tracer.tracees.find(child) orelse return expect(tracer, creator, created);
    switch (thread.state) {
        .parked => {
            if (thread.leads) addChild(tracer, thread, creator, created.event) else tracer.tracees.join(thread, creator);
            tracer.tracees.setState(thread, .running);
            thread.every_call = creator.every_call;
            // It can have been killed since; that says nothing about its creator.
            tracer.go(thread, 0) catch |e| if (e != error.TraceeGone) return e;
        },
        .dead => {
            const status = thread.status;
            addChild(tracer, thread, creator, created.event);
            tracer.tracees.setState(thread, .running);
            endThread(tracer, thread, status);
        },
        // It was taken in without its creator's word, which comes late.
        .expected, .running => {},
        .free => unreachable, // `find` returns none
    }
}

/// Announced, not yet seen.
fn expect(tracer: *Tracer, creator: *Thread, created: stop_mod.Created) Error!void {
    const death = tracer.tracees.takeDeath(created.child);
    const thread = try tracer.tracees.add(created.child, .expected);
    thread.every_call = creator.every_call;
    const gone = if (death != null) status_file.isGone(created.child) else false;
    // Of a dead one nothing can be asked any more; a thread's death means nothing to a record.
    const is_thread = if (gone) created.event == linux.PTRACE.EVENT.CLONE else ptrace.isThreadOf(tracer.tracees.processOf(creator).pid, created.child);
    if (is_thread) tracer.tracees.join(thread, creator) else addChild(tracer, thread, creator, created.event);
    if (gone) endThread(tracer, thread, death.?);
}

fn addChild(tracer: *Tracer, thread: *Thread, creator: *const Thread, event: u32) void {
    const parent = tracer.tracees.processOf(creator).*;
    const process = tracer.tracees.addProcess(thread);
    if (parent.watched != 0 and !tracer.watch.inherit(process, &parent)) sockets.tooMany(tracer, thread);
    _ = tracer.records.emit(.process, .{ .tid = thread.tid, .process = process.serial }, 0, .{
        .header = undefined,
        .parent = parent.serial,
        .pid = thread.tid,
        .parent_pid = parent.pid,
        .event = event,
        .clone_flags = 0,
    }, &.{});
}

/// A child that runs though no event announced it: CLONE_UNTRACED got past us. What it did until now is not known.
pub fn adoptEscaped(tracer: *Tracer, creator: *Thread, tid: i32) Error!void {
    tracer.gap(creator, .untraced_child, @intCast(tid), "");
    const pid = tracer.tracees.processOf(creator).pid;
    const is_thread = ptrace.isThreadOf(pid, tid);
    // In a pid namespace of its own the creator was told another number than ours.
    const is_child = is_thread or (status_file.read(tid) catch status_file.Status{}).parent == pid;
    if (!is_child or !status_file.isSamePidNamespace(creator.tid)) return;
    if (tracer.tracees.find(tid) != null or ptrace.seize(tid) != .SUCCESS) return;
    const thread = try tracer.tracees.add(tid, .running);
    if (is_thread) tracer.tracees.join(thread, creator) else addChild(tracer, thread, creator, linux.PTRACE.EVENT.CLONE);
}

/// Threads whose creator has died without announcing them: /proc knows whose they are.
pub fn adoptParked(tracer: *Tracer, now: u64) void {
    for (tracer.tracees.all()) |*thread| {
        if (thread.state != .parked or now - thread.since_ns < parked_ns) continue;
        const status = status_file.read(thread.tid) catch continue;
        const relative = tracer.tracees.find(if (thread.leads) status.parent else status.process);
        const is_known = if (relative) |r| r.state == .running or r.state == .expected else false;
        if (thread.leads) {
            if (is_known and now - thread.since_ns < parked_long_ns) continue;
            adoptProcess(tracer, thread, if (is_known) relative else null, status.parent);
        } else {
            if (!is_known) continue; // its process is dying, and it too
            tracer.tracees.join(thread, relative.?);
        }
        thread.every_call = tracer.filters_seen or (is_known and relative.?.every_call);
        tracer.tracees.setState(thread, .running);
        tracer.go(thread, 0) catch {}; // gone: its death is reported
    }
}

fn adoptProcess(tracer: *Tracer, thread: *Thread, parent: ?*Thread, parent_pid: i32) void {
    const serial = if (parent) |p| tracer.tracees.processOf(p).serial else 0;
    const process = tracer.tracees.addProcess(thread);
    const about: records_mod.Who = .{ .tid = thread.tid, .process = process.serial };
    _ = tracer.records.emit(.process, about, 0, .{
        .header = undefined,
        // The command is the ancestor of all: better than none.
        .parent = if (serial == 0) 1 else serial,
        .pid = thread.tid,
        .parent_pid = parent_pid,
        .event = 0,
        .clone_flags = 0,
    }, &.{});
    tracer.records.gap(about, .parent_unknown, @intCast(thread.tid), "");
}

pub fn onGone(tracer: *Tracer, tid: i32, status: u32) void {
    const thread = tracer.tracees.find(tid) orelse {
        // Either the end of one that was killed before its first stop, or a zombie that we had reported
        // and whose parent left it to us.
        tracer.tracees.noteDeath(tid, status);
        return;
    };
    switch (thread.state) {
        .parked => {
            if (!thread.leads) return tracer.tracees.remove(thread);
            thread.status = status;
            tracer.tracees.setState(thread, .dead);
        },
        .expected, .running => {
            calls.onDeath(tracer, thread);
            endThread(tracer, thread, status);
        },
        .dead => {}, // its parent left the zombie to us
        .free => unreachable, // `find` returns none
    }
}

/// Its descriptors are closed. What it has written can still be written to: by who has inherited, shared or been sent one.
fn reportWritersLeft(tracer: *Tracer, about: records_mod.Who) void {
    var from: u32 = 0;
    while (tracer.descriptors.nextOfEnded(about.process, &from)) |kept| {
        const writers = tracer.descriptors.writersOf(kept.descriptor);
        if (writers == .nobody) continue;
        // Who is about to have it open waits for the digest of what this one has left, at the exit of its open; others do not.
        const others_live = tracer.descriptors.hasLivingWriter(kept.device, kept.inode, about.process);
        if (opens.isUnderWay(tracer, kept.device, kept.inode) and !others_live) continue;
        _ = tracer.records.emit(.writers_left, about, 0, .{
            .header = undefined,
            .held = kept.descriptor,
            .unknown = @intFromBool(writers == .unknown),
        }, &.{});
    }
}

pub fn endThread(tracer: *Tracer, thread: *Thread, status: u32) void {
    const tid = thread.tid;
    if (tid == tracer.session.command_pid) tracer.setFrontStopped(false);
    const process = tracer.tracees.leave(thread, status) orelse return;
    const about: records_mod.Who = .{ .tid = tid, .process = process.serial };
    tracer.writes.ended(&tracer.records, process.serial);
    reportWritersLeft(tracer, about);
    _ = tracer.records.emit(.exit, about, 0, .{
        .header = undefined,
        .status = @bitCast(process.status),
        .failed_opens = process.failed_opens,
    }, &.{});
    tracer.descriptors.forget(process.serial);
    tracer.watch.forget(process);
    const is_command = process.serial == 1;
    const command_status: i32 = @bitCast(process.status);
    tracer.tracees.removeProcess(process);
    if (!is_command) return;
    _ = tracer.records.emit(.command_end, about, 0, .{ .header = undefined, .status = command_status }, &.{});
    const session = tracer.session;
    session.control.command_status = command_status;
    const signal: u32 = @bitCast(command_status & 0x7f);
    if (!tracer.command_running and signal != 0 and !session.hasError()) session.setError(.killed, signal);
    session.setPhase(.draining);
    tracer.deadline_ns = sys.nowNs() + @as(u64, session.control.grace_ms) * std.time.ns_per_ms;
    tracer.keepTicking(tracer_mod.tick_ms);
}
