//! Calls that wait for somebody who may be waiting for us.
//!
//! A file server of the build (FUSE), or a process of it that is asked before others may open a file (fanotify), is a tracee
//! like any other: it stops at its calls until we let it go on. Where we look up a path, open a file or read memory on behalf of
//! another stopped tracee, its answer may be needed; were we to wait for that, neither of us would ever go on. So such a call is
//! made by a helper, a thread of the tracer, for a limited time, while the tracer serves other stops (turns.zig):
//!
//!     turn ── perform ──▶ helper: the call … done ──▶ turn goes on
//!               └─ time over, or its tracee is dead ──▶ turn goes on without; whatever comes is thrown away
//!
//! Before anything of that kind was seen in the build (`needed`) calls are made directly, which costs nothing.
//!
//! A helper that waits in the kernel cannot be called back: it stays until its server answers or dies. There are
//! `helpers_max` of them; where all wait, an answer is not waited for any more.
const std = @import("std");
const linux = std.os.linux;
const file_systems = @import("file_systems.zig");
const paths = @import("paths.zig");
const ptrace = @import("ptrace.zig");
const sys = @import("sys.zig");
const thread = @import("thread.zig");
const Fiber = @import("fiber.zig").Fiber;
const assert = std.debug.assert;

pub const helpers_max = 64;

const kinds_max = 64;

/// How long an answer is waited for: what a file server does takes microseconds, over a network milliseconds.
pub const answer_max_ns = 5 * std.time.ns_per_s;

/// Nearly every answer is there at once: so long the tracer waits for it before it looks after others.
const at_once_us = 100;

/// The largest piece of work, and what is read of a tracee's memory at once.
const work_max = 24 << 10;
const read_max = 16 << 10;

pub const Failure = error{ TimedOut, TraceeGone };

pub const Patience = struct {
    /// A server in the build has been seen.
    needed: bool = false,
    /// Whose turn it is; null: the loop's own.
    current: ?*Waiter = null,
    helpers: [helpers_max]Helper = @splat(.{}),
    tracer_pid: i32 = 0,
    tracer_tid: i32 = 0,
    /// Kinds of file systems, by device.
    kinds: [kinds_max]DeviceKind = @splat(.{}),

    const DeviceKind = struct { is_known: bool = false, major: u32 = 0, minor: u32 = 0, kind: u32 = 0 };

    pub fn init() sys.Error!*Patience {
        const patience: *Patience = @ptrCast(@alignCast(try sys.mapPrivate(@sizeOf(Patience))));
        patience.* = .{ .tracer_pid = sys.ownPid(), .tracer_tid = linux.gettid() };
        return patience;
    }

    /// `Work.run` is what may take long; its memory is copied to the helper and back. `Work.discard` undoes one that nobody waits
    /// for any more. `is_foreign`: whoever answers is outside of the build, but may be out of order.
    pub fn perform(patience: *Patience, comptime Work: type, work: *Work, is_foreign: bool) Failure!void {
        const waiter = patience.current orelse {
            if (!is_foreign) return work.run();
            return patience.ask(Work, work, null);
        };
        if (waiter.cancelled) return error.TraceeGone;
        return patience.ask(Work, work, waiter);
    }

    fn ask(patience: *Patience, comptime Work: type, work: *Work, waiter: ?*Waiter) Failure!void {
        comptime assert(@sizeOf(Work) <= work_max and @alignOf(Work) <= 16);
        const helper = patience.idleHelper() orelse return error.TimedOut;
        const kept: *Work = @ptrCast(&helper.work);
        kept.* = work.*;
        helper.post(.of(Work));
        helper.waitAtOnce();
        if (!helper.isDone()) try patience.waitFor(helper, waiter);
        work.* = kept.*;
        helper.release();
    }

    /// Nobody waits for it. Where all helpers wait for ever, the descriptor stays open.
    pub fn close(patience: *Patience, descriptor: i32) void {
        const helper = patience.idleHelper() orelse return;
        const Close = struct {
            descriptor: i32,

            fn run(work: *@This()) void {
                sys.close(work.descriptor);
            }

            fn discard(_: *@This()) void {}
        };
        const kept: *Close = @ptrCast(&helper.work);
        kept.* = .{ .descriptor = descriptor };
        helper.is_left_alone = true;
        helper.post(.of(Close));
    }

    fn waitFor(patience: *Patience, helper: *Helper, waiter: ?*Waiter) Failure!void {
        const limit = sys.nowNs() + answer_max_ns;
        @atomicStore(u32, &helper.is_awaited, 1, .seq_cst); // pairs with the helper's load behind `done`
        while (!helper.isDone()) {
            const failure: Failure = if (waiter != null and waiter.?.cancelled)
                error.TraceeGone
            else if (sys.nowNs() >= limit)
                error.TimedOut
            else {
                if (waiter) |w| patience.pauseUntil(w, .{ .helper = helper, .limit_ns = limit }) else helper.waitLonger();
                continue;
            };
            if (helper.abandon()) return failure;
            break; // it has just been done
        }
    }

    /// From inside a turn: until its helper is done, or, without one, until the next tick.
    fn pauseUntil(patience: *Patience, waiter: *Waiter, what: Waiter.For) void {
        assert(patience.current == waiter);
        waiter.waits_for = what;
        patience.current = null;
        waiter.fiber.pause();
        assert(patience.current == waiter);
    }

    /// Lets others have their turn, where that is possible. False: it is not, or the time is over.
    pub fn yield(patience: *Patience, limit_ns: u64) bool {
        const waiter = patience.current orelse return false;
        if (waiter.cancelled or sys.nowNs() >= limit_ns) return false;
        patience.pauseUntil(waiter, .{ .limit_ns = limit_ns });
        return !waiter.cancelled;
    }

    fn idleHelper(patience: *Patience) ?*Helper {
        for (&patience.helpers) |*helper| {
            if (helper.started and helper.isIdle()) return helper;
            if (helper.started) continue;
            helper.tracer_pid = patience.tracer_pid;
            helper.tracer_tid = patience.tracer_tid;
            thread.start(Helper, Helper.main, helper) catch return null; // no more threads are to be had
            helper.started = true;
            return helper;
        }
        return null;
    }

    // -----------------------------------------------------------------------------------------
    // The calls

    pub fn open(patience: *Patience, directory: i32, path: [:0]const u8, flags: linux.O, is_foreign: bool) sys.Opened {
        if (patience.current == null and !is_foreign) return sys.open(directory, path, flags);
        return patience.openBy(.{ .directory = directory, .flags = flags }, path, is_foreign);
    }

    /// openat2 with RESOLVE_IN_ROOT.
    pub fn openInRoot(patience: *Patience, root: i32, path: [:0]const u8, flags: linux.O) sys.Opened {
        return patience.openBy(.{ .directory = root, .flags = flags, .way = .in_root }, path, false);
    }

    /// openat2 with RESOLVE_NO_MAGICLINKS.
    pub fn openWithoutJumps(patience: *Patience, directory: i32, path: [:0]const u8, flags: linux.O) sys.Opened {
        if (patience.current == null) return sys.openWithoutJumps(directory, path, flags);
        return patience.openBy(.{ .directory = directory, .flags = flags, .way = .without_jumps }, path, false);
    }

    fn openBy(patience: *Patience, how: Open, path: [:0]const u8, is_foreign: bool) sys.Opened {
        var work = how;
        if (path.len >= work.path.len) return .{ .failed = .NAMETOOLONG };
        @memcpy(work.path[0 .. path.len + 1], path[0 .. path.len + 1]);
        patience.perform(Open, &work, is_foreign) catch |e| return .{ .failed = errnoOf(e) };
        return work.result;
    }

    const Open = struct {
        directory: i32,
        flags: linux.O,
        way: enum { any, in_root, without_jumps } = .any,
        path: [paths.max + 64]u8 = undefined,
        result: sys.Opened = undefined,

        fn run(work: *Open) void {
            const path: [*:0]const u8 = @ptrCast(&work.path);
            work.result = switch (work.way) {
                .any => sys.open(work.directory, path, work.flags),
                .in_root => sys.openInRoot(work.directory, path, work.flags),
                .without_jumps => sys.openWithoutJumps(work.directory, path, work.flags),
            };
        }

        fn discard(work: *Open) void {
            switch (work.result) {
                .descriptor => |number| sys.close(number),
                .failed => {},
            }
        }
    };

    /// The first bytes of what is there, up to `read_max`.
    pub fn readMemory(patience: *Patience, tid: i32, address: u64, into: []u8, comptime reader: fn (i32, u64, []u8) sys.Error!usize) sys.Error!usize {
        if (patience.current == null) return reader(tid, address, into);
        const Read = struct {
            tid: i32,
            address: u64,
            length: usize,
            result: sys.Error!usize = undefined,
            bytes: [read_max]u8 = undefined,

            fn run(work: *@This()) void {
                work.result = reader(work.tid, work.address, work.bytes[0..work.length]);
            }

            fn discard(_: *@This()) void {}
        };
        var filled: usize = 0;
        while (filled < into.len) {
            var work: Read = .{ .tid = tid, .address = address + filled, .length = @min(into.len - filled, read_max) };
            try patience.perform(Read, &work, false);
            const got = work.result catch |e| if (filled > 0 and e == error.BadAddress) break else return e;
            @memcpy(into[filled..][0..got], work.bytes[0..got]);
            filled += got;
            if (got < work.length) break;
        }
        return filled;
    }

    /// The kind of a descriptor's file system (statfs, f_type), for which a server is asked once. 0: it does not answer.
    pub fn fileSystemOf(patience: *Patience, descriptor: i32) u32 {
        var stat: linux.Statx = undefined;
        if (sys.statx(descriptor, "", linux.AT.EMPTY_PATH | linux.AT.STATX_DONT_SYNC, &stat) != .SUCCESS) return 0;
        const entry = &patience.kinds[(stat.dev_minor ^ stat.dev_major << 4) % kinds_max];
        if (entry.is_known and entry.major == stat.dev_major and entry.minor == stat.dev_minor) return entry.kind;
        const answer = patience.about(sys.Error!u32, sys.fileSystemOf, descriptor, false) catch |e| switch (e) {
            error.TraceeGone => return 0,
            error.TimedOut => 0, // nor will it the next time
        };
        const kind = answer catch 0;
        entry.* = .{ .is_known = true, .major = stat.dev_major, .minor = stat.dev_minor, .kind = kind };
        return kind;
    }

    /// Something was mounted or unmounted: numbers of devices may mean others.
    pub fn forgetFileSystems(patience: *Patience) void {
        patience.kinds = @splat(.{});
    }

    /// Looks a name up in a directory. Where a process of the build may have to answer, only what the kernel knows already: of one name in a
    /// directory it asks one question at a time, and whoever else wants that name waits for the answer to ours, which may never come.
    pub fn openName(patience: *Patience, directory: i32, name: [:0]const u8, flags: linux.O) sys.Opened {
        if (!patience.needed) return patience.open(directory, name, flags, false);
        const known = sys.openCached(directory, name, flags);
        if (known == .descriptor or known.failed != .AGAIN) return known;
        if (file_systems.isServedByProcess(patience.fileSystemOf(directory))) return known;
        return patience.open(directory, name, flags, false);
    }

    /// A question about a descriptor of ours.
    pub fn about(patience: *Patience, comptime Result: type, comptime question: fn (i32) Result, descriptor: i32, is_foreign: bool) Failure!Result {
        const About = struct {
            descriptor: i32,
            result: Result = undefined,

            fn run(work: *@This()) void {
                work.result = question(work.descriptor);
            }

            fn discard(_: *@This()) void {}
        };
        var work: About = .{ .descriptor = descriptor };
        try patience.perform(About, &work, is_foreign);
        return work.result;
    }
};

fn errnoOf(e: Failure) linux.E {
    return switch (e) {
        error.TimedOut => .TIMEDOUT,
        error.TraceeGone => .SRCH,
    };
}

/// Who has paused until an answer comes.
pub const Waiter = struct {
    fiber: Fiber = .{},
    waits_for: For = .{},
    /// Its tracee is dead: nothing is asked or waited for any more.
    cancelled: bool = false,

    pub const For = struct { helper: ?*Helper = null, limit_ns: u64 = 0 };

    /// Whether there is a reason to go on.
    pub fn isReady(waiter: *const Waiter, now: u64) bool {
        const helper = waiter.waits_for.helper orelse return true;
        return waiter.cancelled or now >= waiter.waits_for.limit_ns or helper.isDone();
    }
};

pub const Helper = struct {
    state: u32 = idle,
    /// The tracer has stopped looking, and wants a signal.
    is_awaited: u32 = 0,
    started: bool = false,
    /// Nobody takes the result.
    is_left_alone: bool = false,
    tracer_pid: i32 = 0,
    tracer_tid: i32 = 0,
    kind: Kind = undefined,
    work: [work_max]u8 align(16) = undefined,

    const Kind = struct {
        run: *const fn (*anyopaque) void,
        discard: *const fn (*anyopaque) void,

        fn of(comptime Work: type) Kind {
            const typed = struct {
                fn run(work: *anyopaque) void {
                    Work.run(@ptrCast(@alignCast(work)));
                }
                fn discard(work: *anyopaque) void {
                    Work.discard(@ptrCast(@alignCast(work)));
                }
            };
            return .{ .run = typed.run, .discard = typed.discard };
        }
    };

    //   tracer: idle ─▶ posted, done ─▶ idle, posted ─▶ idle, running ─▶ abandoned
    //   helper: posted ─▶ running ─▶ done, abandoned ─▶ idle
    const idle = 0;
    const posted = 1;
    const running = 2;
    const done = 3;
    const abandoned = 4;

    fn isIdle(helper: *const Helper) bool {
        return @atomicLoad(u32, &helper.state, .acquire) == idle; // pairs with the helper's store: the work is ours again
    }

    fn isDone(helper: *const Helper) bool {
        return @atomicLoad(u32, &helper.state, .acquire) == done; // pairs with the helper's exchange: the result is there
    }

    fn post(helper: *Helper, kind: Kind) void {
        assert(helper.isIdle());
        helper.kind = kind;
        @atomicStore(u32, &helper.is_awaited, 0, .monotonic); // before `posted`, which publishes it
        @atomicStore(u32, &helper.state, posted, .seq_cst); // pairs with the helper's exchange to running
        sys.futexWake(&helper.state);
    }

    fn release(helper: *Helper) void {
        @atomicStore(u32, &helper.state, idle, .release); // the helper only looks for `posted`
    }

    /// False: it is done after all.
    fn abandon(helper: *Helper) bool {
        if (@cmpxchgStrong(u32, &helper.state, posted, idle, .acq_rel, .acquire) == null) return true;
        return @cmpxchgStrong(u32, &helper.state, running, abandoned, .acq_rel, .acquire) == null;
    }

    fn waitAtOnce(helper: *Helper) void {
        for ([_]u32{ posted, running }) |state| {
            if (@atomicLoad(u32, &helper.state, .acquire) == state) sys.futexWaitUs(&helper.state, state, at_once_us);
        }
    }

    fn waitLonger(helper: *Helper) void {
        const state = @atomicLoad(u32, &helper.state, .acquire);
        if (state == posted or state == running) sys.futexWait(&helper.state, state, 100);
    }

    fn main(helper: *Helper) void {
        const word = &helper.state;
        while (true) {
            const state = @atomicLoad(u32, word, .acquire);
            if (state != posted) {
                sys.futexWait(word, state, null);
                continue;
            }
            if (@cmpxchgStrong(u32, word, posted, running, .acq_rel, .acquire) != null) continue; // taken back
            helper.kind.run(&helper.work);
            if (helper.is_left_alone) {
                helper.is_left_alone = false;
                @atomicStore(u32, word, idle, .release); // pairs with isIdle
                continue;
            }
            if (@cmpxchgStrong(u32, word, running, done, .seq_cst, .acquire) != null) {
                helper.kind.discard(&helper.work);
                @atomicStore(u32, word, idle, .release); // pairs with isIdle
                continue;
            }
            sys.futexWake(word);
            // Pairs with the store of is_awaited: one of us sees the other's. Were both late, the tracer's next tick would tell.
            if (@atomicLoad(u32, &helper.is_awaited, .seq_cst) != 0) ptrace.signalTick(helper.tracer_pid, helper.tracer_tid);
        }
    }
};

// ---------------------------------------------------------------------------------------------

const testing = std.testing;

/// Reads from a pipe: whoever writes to it is the server.
const Reading = struct {
    descriptor: i32,
    byte: u8 = 0,
    discarded: ?*u32 = null,

    fn run(work: *Reading) void {
        _ = sys.read(work.descriptor, std.mem.asBytes(&work.byte)) catch {};
    }

    fn discard(work: *Reading) void {
        @atomicStore(u32, work.discarded.?, 1, .release);
    }
};

const Asker = struct {
    waiter: Waiter = .{},
    patience: *Patience,
    work: Reading,
    result: Failure!void = {},

    fn run(fiber: *Fiber) void {
        const waiter: *Waiter = @fieldParentPtr("fiber", fiber);
        const asker: *Asker = @fieldParentPtr("waiter", waiter);
        asker.result = asker.patience.perform(Reading, &asker.work, false);
    }

    fn begin(asker: *Asker) !void {
        asker.patience.current = &asker.waiter;
        try asker.waiter.fiber.begin(run);
    }

    fn enter(asker: *Asker) void {
        asker.patience.current = &asker.waiter;
        asker.waiter.fiber.enter();
    }
};

test "who waits for an answer lets others go on, in any order" {
    ptrace.takeSignals(struct {
        fn ignore(_: linux.SIG) callconv(.c) void {}
    }.ignore);
    const patience = try Patience.init();
    const pipes = [_][2]i32{ try sys.pipe(.{}), try sys.pipe(.{}) };
    var one: Asker = .{ .patience = patience, .work = .{ .descriptor = pipes[0][0] } };
    var two: Asker = .{ .patience = patience, .work = .{ .descriptor = pipes[1][0] } };
    try one.begin();
    try two.begin();
    try testing.expect(!one.waiter.fiber.is_done and !two.waiter.fiber.is_done);
    try testing.expectEqual(null, patience.current);
    _ = try sys.write(pipes[1][1], "b");
    while (!two.waiter.isReady(0)) sys.sleepMs(1);
    try testing.expect(!one.waiter.isReady(0));
    two.enter();
    try testing.expect(two.waiter.fiber.is_done);
    try two.result;
    try testing.expectEqual(@as(u8, 'b'), two.work.byte);

    // Its tracee has died: the answer that comes all the same is thrown away, and the helper can be used again.
    const begun = &patience.helpers[0].state;
    while (@atomicLoad(u32, begun, .acquire) != Helper.running) sys.sleepMs(1);
    var discarded: u32 = 0;
    const kept: *Reading = @ptrCast(&patience.helpers[0].work);
    kept.discarded = &discarded;
    one.waiter.cancelled = true;
    one.enter();
    try testing.expectError(error.TraceeGone, one.result);
    try testing.expect(!patience.helpers[0].isIdle());
    _ = try sys.write(pipes[0][1], "a");
    while (!patience.helpers[0].isIdle()) sys.sleepMs(1);
    try testing.expectEqual(@as(u32, 1), discarded);
}

test "without a turn a call is made directly, unless who answers is foreign" {
    const patience = try Patience.init();
    const ends = try sys.pipe(.{});
    _ = try sys.write(ends[1], "xy");
    for ([_]bool{ false, true }, [_]u8{ 'x', 'y' }) |is_foreign, byte| {
        var work: Reading = .{ .descriptor = ends[0] };
        try patience.perform(Reading, &work, is_foreign);
        try testing.expectEqual(byte, work.byte);
        try testing.expectEqual(is_foreign, patience.helpers[0].started);
    }
    patience.close(ends[1]);
    while (!patience.helpers[0].isIdle()) sys.sleepMs(1);
    try testing.expect(!sys.isOpen(ends[1]));
    const version = patience.open(linux.AT.FDCWD, "/proc/version", .{}, true).descriptor;
    defer sys.close(version);
    try testing.expectEqual(@as(u32, 0x9fa0), try try patience.about(sys.Error!u32, sys.fileSystemOf, version, true));
    try testing.expectEqual(linux.E.NOENT, patience.open(linux.AT.FDCWD, "/proc/nothing", .{}, true).failed);
}

test "where all helpers wait, nobody else does" {
    const patience = try Patience.init();
    const ends = try sys.pipe(.{});
    for (&patience.helpers) |*helper| {
        helper.started = true;
        helper.state = Helper.running;
    }
    var work: Reading = .{ .descriptor = ends[0] };
    try testing.expectError(error.TimedOut, patience.perform(Reading, &work, true));
}
