//! With full detail: what each process writes to each file, summed. A write is too frequent for a record of its own.
//!
//!     before the call ── which file? not a regular one: it goes on unwatched ──▶ after it: the result is added to the slot
//!     slot taken by another pair, process ended, file opened for writing again ──▶ a Written record, and the slot is empty
//!
//! The last of these since the number of an inode can come back: sums that come before the record of an open are of what had that number then.
//! Slots are found by a hash, and a pair that meets another one there takes its place: memory is bounded, and the front end adds up.
const std = @import("std");
const linux = std.os.linux;
const abi = @import("abi.zig");
const calls = @import("calls.zig");
const descriptors_mod = @import("descriptors.zig");
const paths = @import("paths.zig");
const records_mod = @import("records.zig");
const sys = @import("sys.zig");
const syscalls = @import("syscalls.zig");
const Thread = @import("tracee.zig").Thread;
const Tracer = @import("tracer.zig").Tracer;
const assert = std.debug.assert;

const slot_count = 1024;

/// One process and one file.
const Pair = struct { process: u32, device: u64, inode: u64 };

pub const Slot = struct {
    /// Process 0: empty.
    pair: Pair = .{ .process = 0, .device = 0, .inode = 0 },
    tid: i32 = 0,
    bytes: u64 = 0,
    calls: u64 = 0,
    first_ns: u64 = 0,
    path_length: u32 = 0,
    path: [paths.max]u8 = undefined,
};

pub const Writes = struct {
    slots: *[slot_count]Slot,
    used: u32 = 0,

    pub fn init() sys.Error!Writes {
        // Anonymous memory is zero, which is an empty slot; pages that are never touched cost nothing.
        return .{ .slots = @ptrCast(@alignCast(try sys.mapPrivate(@sizeOf([slot_count]Slot)))) };
    }

    pub fn deinit(writes: *Writes) void {
        sys.unmap(@ptrCast(@alignCast(writes.slots)), @sizeOf([slot_count]Slot));
    }

    fn slotOf(writes: *Writes, pair: Pair) *Slot {
        const hash = std.hash.int(pair.inode ^ std.hash.int(pair.device) ^ (@as(u64, pair.process) << 32));
        return &writes.slots[@intCast(hash % slot_count)];
    }

    fn flush(writes: *Writes, records: *const records_mod.Records, slot: *Slot) void {
        assert(slot.pair.process != 0);
        _ = records.emit(.written, .{ .tid = slot.tid, .process = slot.pair.process }, 0, .{
            .header = undefined,
            .device = slot.pair.device,
            .inode = slot.pair.inode,
            .bytes = slot.bytes,
            .calls = slot.calls,
            .first_ns = slot.first_ns,
            .path_length = slot.path_length,
        }, &.{slot.path[0..slot.path_length]});
        slot.pair.process = 0;
        writes.used -= 1;
    }

    /// Before the exit record of a process.
    pub fn ended(writes: *Writes, records: *const records_mod.Records, process: u32) void {
        if (writes.used == 0) return;
        for (writes.slots) |*slot| {
            if (slot.pair.process == process) writes.flush(records, slot);
        }
    }

    /// Before the record of an open that may have made a file.
    pub fn opened(writes: *Writes, records: *const records_mod.Records, device: u64, inode: u64) void {
        if (writes.used == 0) return;
        for (writes.slots) |*slot| {
            if (slot.pair.process != 0 and slot.pair.inode == inode and slot.pair.device == device) writes.flush(records, slot);
        }
    }
};

// ---------------------------------------------------------------------------------------------
// One call

/// Notes the file that the call is about to write to. Whether there is anything to count at its exit.
pub fn before(tracer: *Tracer, thread: *Thread, row: *const syscalls.Row) sys.Error!bool {
    const call = &thread.call;
    if (row.special == .io_submit) return true;
    if (row.writes_to == syscalls.Argument.none) return false;
    const file = try fileOf(tracer, thread, @bitCast(@as(u32, @truncate(call.arguments[row.writes_to])))) orelse return false;
    call.writes = .{ .device = file.device, .inode = file.inode };
    return true;
}

pub fn after(tracer: *Tracer, thread: *Thread, row: *const syscalls.Row, result: i64) sys.Error!void {
    if (result <= 0) return;
    const call = &thread.call;
    if (row.special == .io_submit) return submitted(tracer, thread, @intCast(result));
    const file = call.writes orelse return;
    try add(tracer, thread, .{
        .descriptor = @bitCast(@as(u32, @truncate(call.arguments[row.writes_to]))),
        .device = file.device,
        .inode = file.inode,
        .bytes = @intCast(result),
    });
}

/// Null: not a regular file, or none.
fn fileOf(tracer: *Tracer, thread: *Thread, number: i32) sys.Error!?abi.FileIdentity {
    const taken = tracer.descriptors.take(tracer.owner(thread), number) catch |e| switch (e) {
        error.TraceeGone => return e,
        error.BadDescriptor => return null, // the call's own failure
        else => {
            tracer.gap(thread, .unreadable_descriptor, @bitCast(@as(i64, number)), "");
            return null;
        },
    };
    defer taken.close();
    const file = tracer.descriptors.identify(taken.descriptor) catch return null;
    return if (descriptors_mod.isRegular(file.mode)) file else null;
}

const Written = struct { descriptor: i32, device: u64, inode: u64, bytes: u64 };

fn add(tracer: *Tracer, thread: *Thread, written: Written) sys.Error!void {
    const writes = &tracer.writes;
    const pair: Pair = .{ .process = tracer.who(thread).process, .device = written.device, .inode = written.inode };
    const slot = writes.slotOf(pair);
    if (!std.meta.eql(slot.pair, pair)) {
        if (slot.pair.process != 0) writes.flush(&tracer.records, slot);
        slot.pair = pair;
        slot.tid = thread.tid;
        slot.bytes = 0;
        slot.calls = 0;
        slot.first_ns = sys.nowNs();
        slot.path_length = nameOf(tracer, thread, written, &slot.path);
        writes.used += 1;
    }
    slot.bytes +|= written.bytes;
    slot.calls += 1;
}

/// Empty if another thread has closed the descriptor: the front end knows nearly all files by their inodes.
fn nameOf(tracer: *Tracer, thread: *Thread, written: Written, buffer: *[paths.max]u8) u32 {
    const taken = tracer.descriptors.take(tracer.owner(thread), written.descriptor) catch return 0;
    defer taken.close();
    const file = tracer.descriptors.identify(taken.descriptor) catch return 0;
    if (file.inode != written.inode or file.device != written.device) return 0;
    const link = tracer.descriptors.linkOf(taken.descriptor, &file, buffer) catch return 0;
    // It is the beginning of the buffer, but for what says that the name is gone.
    assert(link.path.ptr == buffer);
    return @intCast(link.path.len);
}

// ---------------------------------------------------------------------------------------------
// io_submit(2): a list of operations, done later. Counted as asked for: what came of them is known to io_getevents only.

const Operation = extern struct {
    data: u64,
    key: u32,
    rw_flags: u32,
    opcode: u16,
    priority: i16,
    descriptor: u32,
    buffer: u64,
    /// Bytes, or for a vector how many parts it has.
    length: u64,

    const pwrite = 1;
    const pwritev = 8;
};

/// Of one call. The kernel's default for the whole machine is 65,536.
const operations_max = 65_536;
/// UIO_MAXIOV.
const parts_max = 1024;

fn submitted(tracer: *Tracer, thread: *Thread, count: u64) sys.Error!void {
    if (count > operations_max) calls.limit(tracer, thread, "operations of one io_submit");
    for (0..@intCast(@min(count, operations_max))) |i| {
        submittedOne(tracer, thread, i) catch |e| {
            if (e == error.TraceeGone) return e;
            return calls.reportUnreadable(tracer, thread);
        };
    }
}

fn submittedOne(tracer: *Tracer, thread: *Thread, index: u64) sys.Error!void {
    const list = thread.call.arguments[2];
    const address = try word(tracer, thread, list, index);
    const operation = try tracer.memory.readValue(thread.tid, address, Operation);
    const bytes = switch (operation.opcode) {
        Operation.pwrite => operation.length,
        Operation.pwritev => try vectorLength(tracer, thread, operation.buffer, operation.length),
        else => return,
    };
    const number: i32 = @bitCast(operation.descriptor);
    const file = try fileOf(tracer, thread, number) orelse return;
    try add(tracer, thread, .{ .descriptor = number, .device = file.device, .inode = file.inode, .bytes = bytes });
}

fn vectorLength(tracer: *Tracer, thread: *Thread, vector: u64, count: u64) sys.Error!u64 {
    var sum: u64 = 0;
    for (0..@intCast(@min(count, parts_max))) |i| sum +|= try word(tracer, thread, vector, 2 * i + 1);
    return sum;
}

/// The one at `index` of a list of words as wide as the program's.
fn word(tracer: *Tracer, thread: *Thread, list: u64, index: u64) sys.Error!u64 {
    if (thread.call.abi == .i386) return try tracer.memory.readValue(thread.tid, list +% 4 * index, u32);
    return tracer.memory.readValue(thread.tid, list +% 8 * index, u64);
}

// ---------------------------------------------------------------------------------------------

const testing = std.testing;

test "an operation has the layout of linux/aio_abi.h" {
    try testing.expectEqual(16, @offsetOf(Operation, "opcode"));
    try testing.expectEqual(20, @offsetOf(Operation, "descriptor"));
    try testing.expectEqual(32, @offsetOf(Operation, "length"));
}
