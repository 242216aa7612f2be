//! Who is being traced: threads by their number, folded into the processes that they belong to.
//!
//! A thread's life as we see it:
//!
//!     (auto-attached) ──first stop──▶ parked ──its creator's event──▶ running ──death status──▶ gone
//!           └──its creator's event──▶ expected ──first stop───────────▲
//!
//! In 61 to 91 % of forks the child's first stop comes before its parent's event, so a thread that
//! nobody has announced waits where it is. Its creator may also die without saying a word: then /proc tells.
//!
//! A process is its threads. It ends with the last of them, which need not be its leader: a leader that
//! called pthread_exit is only reported when the others are gone (ptrace(2)).
//!
//! No system calls here, and nothing is allocated: all is sized by `abi.tracees_max` at the start, and pages that
//! are never touched cost nothing.
const std = @import("std");
const abi = @import("abi.zig");
const name_changes = @import("name_changes.zig");
const name_checks = @import("name_checks.zig");
const stop = @import("stop.zig");
const sys = @import("sys.zig");
const syscalls = @import("syscalls.zig");
const watch = @import("watch.zig");
const assert = std.debug.assert;

pub const Thread = struct {
    tid: i32 = 0,
    state: State = .free,
    /// Stopped together with its process; it reports the end of that.
    in_group_stop: bool = false,
    /// A filter of the build can hide calls from ours: every call is stopped at, whatever the filters say.
    every_call: bool = false,
    /// We have stopped it, so that from now on it stops at every call; see `ptrace.continueInterrupted`.
    interrupted: bool = false,
    /// Not resumed yet: it wants to write to a file whose content the front end is still reading, or has opened one that others write, or to unmount one.
    delayed: ?Delay = null,
    /// Its stop is not handled to the end yet: see turns.zig.
    turn: Turn = .none,
    /// Meaningless while parked.
    process: u32 = 0,
    /// When it was parked, monotonic nanoseconds.
    since_ns: u64 = 0,
    /// While parked: it is a process, not one more thread of one.
    leads: bool = false,
    /// Of a thread that died while parked.
    status: u32 = 0,
    call: Call = .{},

    pub const Turn = union(enum) { none, queued: stop.Stop, waiting: u16 };
    pub const Delay = struct {
        device: u64,
        inode: u64,
        since_ns: u64,
        /// `later`: its stop is handled once more. `unheld`: `inode` is a mount's number, of which something is held.
        until: enum { read, later, unheld } = .read,
    };

    pub const State = enum {
        free,
        /// Stopped for the first time; whose child it is is not known yet.
        parked,
        /// Announced by its creator, not yet seen itself.
        expected,
        running,
        /// Died while parked. Its creator's event, or the end, makes two records of it.
        dead,
    };
};

/// The call that a thread is in, from the stop before it to the stop after it.
pub const Call = struct {
    /// What is to be done at the exit stop.
    at_exit: AtExit = .nothing,
    /// With `every_call`: the entry stop was handled, so the filter's stop for the same call has nothing to add.
    entered: bool = false,
    /// The kernel did not do it: we answered instead.
    denied: bool = false,
    class: syscalls.Event = .call,
    number: u32 = 0,
    abi: abi.Abi = .x86_64,
    /// Index into `syscalls.rows`, or `no_row`.
    row: u8 = no_row,
    arguments: [6]u64 = @splat(0),
    /// Buffer with the items that were read before the call, or with the path of an exec.
    buffer: u32 = no_buffer,
    length: u32 = 0,
    /// Of an exec: how long the directory's path behind it is.
    directory_length: u32 = 0,
    /// Of an exec: the state of names at its entry, and whether the file that it names was found then.
    names_mark: name_changes.Mark = .{},
    file_known: bool = false,
    /// That directory is the working directory.
    from_cwd: bool = false,
    /// What it looks up was there before.
    found: bool = false,
    /// Nobody else could change the process's directories and descriptors.
    alone: bool = true,
    /// Of a call that changes names: its number there.
    name_change: u64 = name_changes.none,
    /// And what was at its names before.
    names_before: ?name_checks.Both = null,
    items: u16 = 0,
    /// bits of abi.Flag
    flags: u16 = 0,
    /// It would open a file of the tracer or the front end for writing.
    aims_at_us: bool = false,
    /// open_how of openat2.
    how_flags: u64 = 0,
    how_mode: u64 = 0,
    /// A child's event came: nothing escaped.
    child_seen: bool = false,
    /// With `entered`: the filter's stop came too, so no other filter has answered in its place.
    passed: bool = false,
    /// What it does with a watched descriptor, and that descriptor's socket at the entry.
    role: watch.Role = .none,
    socket: u64 = 0,
    /// The process outside of the build that it reaches for; 0: none; below: all.
    outside: i32 = 0,
    /// The file that is to be opened for writing, if it is there.
    target: ?Target = null,
    size_before: u64 = abi.size_unknown,
    /// Since when its file is waited for; 0: it is not.
    unsettled_since_ns: u64 = 0,
    /// With full detail: the regular file that is written to.
    writes: ?struct { device: u64, inode: u64 } = null,

    pub const Target = struct { device: u64, inode: u64 };

    /// `closing`: the call is our own, see inject.zig; its buffer has the thread's registers.
    pub const AtExit = enum { nothing, open, record, guard, write, ipc, closing };
    pub const no_row = 0xff;

    /// Empty for a call that has no row.
    pub fn name(call: *const Call) []const u8 {
        return if (call.row == no_row) "" else syscalls.rows[call.row].name;
    }
    pub const no_buffer = 0xffff_ffff;
};

pub const Process = struct {
    serial: u32 = 0,
    pid: i32 = 0,
    threads: u32 = 0,
    /// Of its leader's death; of the last thread's until that is known.
    status: u32 = 0,
    failed_opens: u32 = 0,
    /// One gap for each process is enough.
    unreadable_reported: bool = false,
    kill_reported: bool = false,
    next_free: u32 = 0,
    /// First of its watched descriptors (watch.zig), and stops since the last was added.
    watched: u16 = 0,
    watch_stops: u32 = 0,
};

/// Numbers of processes and threads go up to this (PID_MAX_LIMIT of 64-bit kernels).
const tid_max = 4 << 20;

/// Calls that have paths block only on file systems; this many threads at once have room for theirs.
pub const buffer_count = 4096;
/// Two paths and their identities; of an exec its path, its directory and the file.
pub const buffer_size = 12 << 10;

/// Deaths of threads that we have not heard of before: a creator may still announce them.
const recent_max = 64;

pub const Tracees = struct {
    /// By tid: index into `threads` plus one; 0: none.
    by_tid: *[tid_max]u16,
    threads: *[abi.tracees_max]Thread,
    processes: *[abi.tracees_max]Process,
    buffers: *[buffer_count][buffer_size]u8,
    free_buffers: *[buffer_count]u32,
    free_buffer_count: u32 = buffer_count,

    /// Threads up to here have been used; those that are free again are on a list.
    used_threads: u32 = 0,
    free_threads: *[abi.tracees_max]u16,
    free_thread_count: u32 = 0,
    used_processes: u32 = 0,
    free_process: u32 = none,

    thread_count: u32 = 0,
    parked_count: u32 = 0,
    delayed_count: u32 = 0,
    next_serial: u32 = 1,

    recent: [recent_max]Death = @splat(.{}),
    recent_next: u32 = 0,

    const Death = struct { tid: i32 = 0, status: u32 = 0 };
    const none = std.math.maxInt(u32);

    comptime {
        assert(abi.tracees_max < std.math.maxInt(u16));
    }

    pub fn init() sys.Error!Tracees {
        var tracees: Tracees = .{
            .by_tid = try map([tid_max]u16),
            .threads = try map([abi.tracees_max]Thread),
            .processes = try map([abi.tracees_max]Process),
            .buffers = try map([buffer_count][buffer_size]u8),
            .free_buffers = try map([buffer_count]u32),
            .free_threads = try map([abi.tracees_max]u16),
        };
        // The first is taken first, so that few pages are ever touched.
        for (tracees.free_buffers, 0..) |*slot, i| slot.* = @intCast(buffer_count - 1 - i);
        _ = &tracees;
        return tracees;
    }

    pub fn deinit(tracees: *Tracees) void {
        unmap(tracees.by_tid);
        unmap(tracees.threads);
        unmap(tracees.processes);
        unmap(tracees.buffers);
        unmap(tracees.free_buffers);
        unmap(tracees.free_threads);
    }

    // -----------------------------------------------------------------------------------------
    // Threads

    pub fn find(tracees: *Tracees, tid: i32) ?*Thread {
        if (tid <= 0 or tid >= tid_max) return null;
        const index = tracees.by_tid[@intCast(tid)];
        return if (index == 0) null else &tracees.threads[index - 1];
    }

    /// A thread that we hear of for the first time.
    pub fn add(tracees: *Tracees, tid: i32, state: Thread.State) error{TooManyTracees}!*Thread {
        assert(tid > 0 and tid < tid_max);
        assert(tracees.by_tid[@intCast(tid)] == 0);
        const index = try tracees.takeThread();
        const thread = &tracees.threads[index];
        thread.* = .{ .tid = tid, .state = state };
        tracees.by_tid[@intCast(tid)] = @intCast(index + 1);
        tracees.thread_count += 1;
        if (state == .parked) tracees.parked_count += 1;
        return thread;
    }

    fn takeThread(tracees: *Tracees) error{TooManyTracees}!u32 {
        if (tracees.free_thread_count > 0) {
            tracees.free_thread_count -= 1;
            return tracees.free_threads[tracees.free_thread_count];
        }
        if (tracees.used_threads == abi.tracees_max) return error.TooManyTracees;
        tracees.used_threads += 1;
        return tracees.used_threads - 1;
    }

    /// Forgets a thread. Its process is not touched: see `leave`.
    pub fn remove(tracees: *Tracees, thread: *Thread) void {
        assert(thread.state != .free);
        if (thread.state == .parked) tracees.parked_count -= 1;
        tracees.setDelay(thread, null);
        tracees.releaseBuffer(&thread.call);
        tracees.by_tid[@intCast(thread.tid)] = 0;
        tracees.free_threads[tracees.free_thread_count] = @intCast(tracees.indexOf(thread));
        tracees.free_thread_count += 1;
        tracees.thread_count -= 1;
        thread.* = .{};
    }

    pub fn setState(tracees: *Tracees, thread: *Thread, state: Thread.State) void {
        assert(state != .free);
        if (thread.state == .parked) tracees.parked_count -= 1;
        if (state == .parked) tracees.parked_count += 1;
        thread.state = state;
    }

    pub fn setDelay(tracees: *Tracees, thread: *Thread, delay: ?Thread.Delay) void {
        if (thread.delayed != null) tracees.delayed_count -= 1;
        if (delay != null) tracees.delayed_count += 1;
        thread.delayed = delay;
    }

    fn indexOf(tracees: *const Tracees, thread: *const Thread) usize {
        return (@intFromPtr(thread) - @intFromPtr(tracees.threads)) / @sizeOf(Thread);
    }

    /// All that were ever used; free ones are among them.
    pub fn all(tracees: *Tracees) []Thread {
        return tracees.threads[0..tracees.used_threads];
    }

    /// execve by a thread that is not the leader: it takes the leader's number, and all others are gone without a word.
    /// Returns the thread under its new number, with what was known of the call that it is in.
    pub fn becomeLeader(tracees: *Tracees, leader: *Thread, former: ?*Thread) void {
        const process = leader.process;
        if (former) |thread| {
            assert(thread != leader);
            tracees.releaseBuffer(&leader.call);
            leader.call = thread.call;
            leader.every_call = thread.every_call;
            thread.call = .{}; // its buffer has moved
        }
        leader.in_group_stop = false;
        tracees.setState(leader, .running);
        for (tracees.all()) |*thread| {
            if (thread.state == .free or thread.state == .parked or thread.state == .dead) continue;
            if (thread.process == process and thread != leader) tracees.remove(thread);
        }
        tracees.processes[process].threads = 1;
    }

    // -----------------------------------------------------------------------------------------
    // Processes

    pub fn processOf(tracees: *Tracees, thread: *const Thread) *Process {
        assert(thread.state == .expected or thread.state == .running);
        return &tracees.processes[thread.process];
    }

    /// A new process with `leader` as its only thread.
    pub fn addProcess(tracees: *Tracees, leader: *Thread) *Process {
        const index = if (tracees.free_process != none) tracees.free_process else blk: {
            // As many as there are threads: each has at least one.
            assert(tracees.used_processes < abi.tracees_max);
            tracees.used_processes += 1;
            break :blk tracees.used_processes - 1;
        };
        const process = &tracees.processes[index];
        if (index == tracees.free_process) tracees.free_process = process.next_free;
        process.* = .{ .serial = tracees.next_serial, .pid = leader.tid, .threads = 1 };
        tracees.next_serial += 1;
        leader.process = index;
        return process;
    }

    pub fn join(tracees: *Tracees, thread: *Thread, sibling: *const Thread) void {
        thread.process = sibling.process;
        tracees.processes[sibling.process].threads += 1;
    }

    /// A thread is dead. Returns its process if that has ended with it: to be reported, then `removeProcess`.
    pub fn leave(tracees: *Tracees, thread: *Thread, status: u32) ?*Process {
        const process = &tracees.processes[thread.process];
        assert(process.threads > 0);
        process.threads -= 1;
        if (thread.tid == process.pid or process.threads == 0) process.status = status;
        tracees.remove(thread);
        return if (process.threads == 0) process else null;
    }

    pub fn removeProcess(tracees: *Tracees, process: *Process) void {
        assert(process.threads == 0);
        const index: u32 = @intCast((@intFromPtr(process) - @intFromPtr(tracees.processes)) / @sizeOf(Process));
        process.* = .{ .next_free = tracees.free_process };
        tracees.free_process = index;
    }

    // -----------------------------------------------------------------------------------------
    // Deaths of the unknown

    pub fn noteDeath(tracees: *Tracees, tid: i32, status: u32) void {
        tracees.recent[tracees.recent_next % recent_max] = .{ .tid = tid, .status = status };
        tracees.recent_next +%= 1;
    }

    /// The status of a thread that died before anybody had announced it.
    pub fn takeDeath(tracees: *Tracees, tid: i32) ?u32 {
        for (&tracees.recent) |*death| {
            if (death.tid != tid) continue;
            death.tid = 0;
            return death.status;
        }
        return null;
    }

    // -----------------------------------------------------------------------------------------
    // Buffers

    pub fn takeBuffer(tracees: *Tracees, call: *Call) ?[]u8 {
        if (call.buffer == Call.no_buffer) {
            if (tracees.free_buffer_count == 0) return null;
            tracees.free_buffer_count -= 1;
            call.buffer = tracees.free_buffers[tracees.free_buffer_count];
        }
        return &tracees.buffers[call.buffer];
    }

    pub fn bufferOf(tracees: *Tracees, call: *const Call) []u8 {
        if (call.buffer == Call.no_buffer) return &.{};
        return tracees.buffers[call.buffer][0..call.length];
    }

    pub fn releaseBuffer(tracees: *Tracees, call: *Call) void {
        if (call.buffer == Call.no_buffer) return;
        tracees.free_buffers[tracees.free_buffer_count] = call.buffer;
        tracees.free_buffer_count += 1;
        call.buffer = Call.no_buffer;
        call.length = 0;
    }
};

fn map(comptime T: type) sys.Error!*T {
    return @ptrCast(@alignCast(try sys.mapPrivate(@sizeOf(T))));
}

fn unmap(pointer: anytype) void {
    sys.unmap(@ptrCast(@alignCast(pointer)), @sizeOf(@TypeOf(pointer.*)));
}

// ---------------------------------------------------------------------------------------------

const testing = std.testing;

test "a process ends with its last thread, with its leader's status" {
    var tracees = try Tracees.init();
    defer tracees.deinit();
    const leader = try tracees.add(100, .running);
    const process = tracees.addProcess(leader);
    try testing.expectEqual(@as(u32, 1), process.serial);
    const second = try tracees.add(101, .running);
    tracees.join(second, leader);
    try testing.expectEqual(null, tracees.leave(tracees.find(101).?, 0));
    try testing.expectEqual(null, tracees.find(101));
    const ended = tracees.leave(leader, 3 << 8).?;
    try testing.expectEqual(@as(u32, 3 << 8), ended.status);
    tracees.removeProcess(ended);
    try testing.expectEqual(@as(u32, 0), tracees.thread_count);

    // The number comes back, the serial does not.
    const again = try tracees.add(100, .running);
    try testing.expectEqual(@as(u32, 2), tracees.addProcess(again).serial);
}

test "exec by a thread that is not the leader" {
    var tracees = try Tracees.init();
    defer tracees.deinit();
    const leader = try tracees.add(200, .running);
    _ = tracees.addProcess(leader);
    const other = try tracees.add(50, .running);
    _ = tracees.addProcess(other);
    for ([_]i32{ 201, 202, 203 }) |tid| tracees.join(try tracees.add(tid, .running), leader);
    const caller = tracees.find(202).?;
    caller.every_call = true;
    const buffer = tracees.takeBuffer(&caller.call).?;
    @memcpy(buffer[0..4], "path");
    caller.call.length = 4;
    tracees.becomeLeader(leader, caller);
    try testing.expectEqualStrings("path", tracees.bufferOf(&leader.call));
    try testing.expect(leader.every_call);
    for ([_]i32{ 201, 202, 203 }) |tid| try testing.expectEqual(null, tracees.find(tid));
    try testing.expect(tracees.find(50) != null);
    try testing.expectEqual(@as(u32, 1), tracees.processOf(leader).threads);
    try testing.expect(tracees.leave(leader, 0) != null);
    try testing.expectEqual(@as(u32, buffer_count), tracees.free_buffer_count);
}

test "parked threads are counted, deaths of the unknown remembered" {
    var tracees = try Tracees.init();
    defer tracees.deinit();
    const thread = try tracees.add(7, .parked);
    try testing.expectEqual(@as(u32, 1), tracees.parked_count);
    tracees.setState(thread, .running);
    try testing.expectEqual(@as(u32, 0), tracees.parked_count);
    tracees.noteDeath(9, 11);
    try testing.expectEqual(@as(?u32, 11), tracees.takeDeath(9));
    try testing.expectEqual(@as(?u32, null), tracees.takeDeath(9));
}

test "the table is full, and empty again" {
    var tracees = try Tracees.init();
    defer tracees.deinit();
    for (0..abi.tracees_max) |i| {
        const thread = try tracees.add(@intCast(i + 1), .running);
        _ = tracees.addProcess(thread);
    }
    try testing.expectError(error.TooManyTracees, tracees.add(tid_max - 1, .parked));
    for (0..abi.tracees_max) |i| tracees.removeProcess(tracees.leave(tracees.find(@intCast(i + 1)).?, 0).?);
    try testing.expectEqual(@as(u32, 0), tracees.thread_count);
    _ = tracees.addProcess(try tracees.add(5, .running));
}

test "buffers run out, and come back" {
    var tracees = try Tracees.init();
    defer tracees.deinit();
    var calls: [buffer_count + 1]Call = @splat(.{});
    for (calls[0..buffer_count]) |*call| try testing.expect(tracees.takeBuffer(call) != null);
    try testing.expectEqual(null, tracees.takeBuffer(&calls[buffer_count]));
    tracees.releaseBuffer(&calls[3]);
    try testing.expect(tracees.takeBuffer(&calls[buffer_count]) != null);
}
