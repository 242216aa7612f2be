//! Stops whose handling may have to wait for an answer from the build itself: each has a stack of its own, and while one waits
//! the others, and the loop, go on (patience.zig says why). Used only once a server was seen in the build.
//!
//!     loop ── take ──▶ handled at once, or waiting ── attend, at every tick ──▶ …
//!               └─ all turns taken ──▶ queued
//!
//! A thread whose turn waits is stopped: nothing more is heard of it until it goes on, but its death, or an exec by another thread
//! of its process, which ends it without a word. Then the rest of its turn is run at once, in which everything is answered "gone".
const std = @import("std");
const abi = @import("abi.zig");
const patience_mod = @import("patience.zig");
const ptrace = @import("ptrace.zig");
const stop_mod = @import("stop.zig");
const sys = @import("sys.zig");
const tracee = @import("tracee.zig");
const Fiber = @import("fiber.zig").Fiber;
const Patience = patience_mod.Patience;
const Tracer = @import("tracer.zig").Tracer;
const Stop = stop_mod.Stop;
const Thread = tracee.Thread;
const assert = std.debug.assert;

/// Fewer than there are helpers, so that some may be held up for ever.
pub const turns_max = 32;

comptime {
    assert(turns_max < patience_mod.helpers_max);
}

pub const Error = sys.Error || error{TooManyTracees};

const Turn = struct {
    waiter: patience_mod.Waiter = .{},
    tracer: *Tracer = undefined,
    thread: *Thread = undefined,
    stop: Stop = undefined,
    scratch: ?*Tracer.Scratch = null,
    result: Error!void = {},

    fn run(fiber: *Fiber) void {
        const waiter: *patience_mod.Waiter = @fieldParentPtr("fiber", fiber);
        const turn: *Turn = @fieldParentPtr("waiter", waiter);
        turn.result = turn.tracer.handleAndGo(turn.thread, turn.stop);
    }
};

pub const Turns = struct {
    turns: *[turns_max]Turn,
    patience: *Patience,
    waiting: u32 = 0,
    queued: u32 = 0,

    pub fn init(patience: *Patience) sys.Error!Turns {
        const turns: *[turns_max]Turn = @ptrCast(@alignCast(try sys.mapPrivate(@sizeOf([turns_max]Turn))));
        turns.* = @splat(.{});
        return .{ .turns = turns, .patience = patience };
    }

    pub fn deinit(turns: *Turns) void {
        for (turns.turns) |*turn| {
            turn.waiter.fiber.deinit();
            if (turn.scratch) |scratch| sys.unmap(@ptrCast(@alignCast(scratch)), @sizeOf(Tracer.Scratch));
        }
        sys.unmap(@ptrCast(@alignCast(turns.turns)), @sizeOf([turns_max]Turn));
    }

    pub fn isBusy(turns: *const Turns) bool {
        return turns.waiting > 0 or turns.queued > 0;
    }

    /// A stop of a thread that has none waiting. Its error, if it is handled at once.
    pub fn take(turns: *Turns, tracer: *Tracer, thread: *Thread, stop: Stop) Error!void {
        assert(thread.turn == .none);
        const turn = turns.free() orelse {
            thread.turn = .{ .queued = stop };
            turns.queued += 1;
            return;
        };
        if (turn.scratch == null) turn.scratch = @ptrCast(@alignCast(try sys.mapPrivate(@sizeOf(Tracer.Scratch))));
        turn.tracer = tracer;
        turn.thread = thread;
        turn.stop = stop;
        turn.waiter.cancelled = false;
        thread.turn = .{ .waiting = @intCast(turn - &turns.turns[0]) };
        turns.waiting += 1;
        turns.enter(turn, true) catch |e| return e;
    }

    fn free(turns: *Turns) ?*Turn {
        for (turns.turns) |*turn| if (turn.waiter.fiber.is_done) return turn;
        return null;
    }

    fn enter(turns: *Turns, turn: *Turn, is_first: bool) Error!void {
        const tracer = turn.tracer;
        const scratch = tracer.scratch;
        tracer.scratch = turn.scratch.?;
        turns.patience.current = &turn.waiter;
        ptrace.is_forbidden = turn.waiter.cancelled;
        const begun: sys.Error!void = if (is_first) turn.waiter.fiber.begin(Turn.run) else turn.waiter.fiber.enter();
        ptrace.is_forbidden = false;
        turns.patience.current = null;
        tracer.scratch = scratch;
        if (begun) |_| {} else |e| turn.result = e;
        if (!turn.waiter.fiber.is_done) return;
        turns.waiting -= 1;
        turn.thread.turn = .none;
        return turn.result;
    }

    /// Those who have their answer, or have waited long enough, and then those who are queued. An error is that of one of them: to
    /// be called again.
    pub fn attend(turns: *Turns, tracer: *Tracer, now: u64) Error!void {
        if (turns.waiting > 0) {
            for (turns.turns) |*turn| {
                if (turn.waiter.fiber.is_done or !turn.waiter.isReady(now)) continue;
                try turns.enter(turn, false);
            }
        }
        if (turns.queued == 0) return;
        for (tracer.tracees.all()) |*thread| {
            const stop = switch (thread.turn) {
                .queued => |stop| stop,
                else => continue,
            };
            if (turns.free() == null) return;
            thread.turn = .none;
            turns.queued -= 1;
            try turns.take(tracer, thread, stop);
        }
    }

    /// The thread is dead.
    pub fn cancel(turns: *Turns, thread: *Thread) void {
        switch (thread.turn) {
            .none => {},
            .queued => turns.queued -= 1,
            .waiting => |index| {
                const turn = &turns.turns[index];
                turn.waiter.cancelled = true;
                turns.enter(turn, false) catch {}; // that it is gone is known
                assert(turn.waiter.fiber.is_done);
            },
        }
        thread.turn = .none;
    }

    /// An exec has ended all other threads of a process, and whatever its leader was in.
    pub fn cancelProcess(turns: *Turns, tracer: *Tracer, leader: *const Thread) void {
        for (tracer.tracees.all()) |*thread| {
            if (thread.turn != .none and thread.process == leader.process) turns.cancel(thread);
        }
    }
};
