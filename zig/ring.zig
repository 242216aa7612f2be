//! One ring of records: one writer (a tracer thread), one reader (the front end), no locks, nothing
//! dropped.
//!
//!     data   [ .... read .... | tail: records not read yet :head | .... free .... ]
//!
//! `head` and `tail` are byte counters that wrap at 2^32 and are never reduced; an offset is a counter
//! masked by the size. Records are multiples of 8 bytes and never wrap: what is left at the end of the
//! ring is filled by a record that has only a `size` with `padding_bit`.
//!
//! Sleeping, each side, so that no wake-up is lost:
//!
//!     writer, full:   writer_waits = 1, look at tail again, sleep        reader: store tail, exchange writer_waits
//!     reader, empty:  reader_waits = 1, look at head again, sleep        writer: store head, exchange reader_waits
//!
//! The store and the look after it are seq_cst on both sides: with anything weaker each could miss the other's.
const std = @import("std");
const abi = @import("abi.zig");
const sys = @import("sys.zig");
const assert = std.debug.assert;

/// Two of the largest must fit, or a record that needs padding before it could wait for ever.
pub const record_max: u32 = abi.ring_data_size / 2;

const mask: u32 = abi.ring_data_size - 1;

/// A writer that found the ring full looks again after this time, whatever happens: a reader that was
/// killed between its store and its wake-up must not leave a tracer asleep.
const full_wait_ms = 100;

pub const Writer = struct {
    header: *abi.RingHeader,
    data: [*]align(8) u8,
    control: *abi.Control,
    event_descriptor: i32,

    /// `size` contiguous bytes to fill in before `publish(size)`. Waits while the ring is full, which leaves
    /// the tracee stopped: a slow reader slows the build and loses nothing.
    pub fn reserve(writer: *const Writer, size: u32) []align(8) u8 {
        assert(size % 8 == 0);
        assert(size >= @sizeOf(abi.Header));
        assert(size <= record_max);
        const header = writer.header;
        while (true) {
            const head = header.head; // ours
            const offset = head & mask;
            const room = abi.ring_data_size - offset; // up to the end of the ring
            const needed = if (room < size) room + size else size;
            const tail = @atomicLoad(u32, &header.tail, .acquire); // pairs with the reader's store of tail
            if (abi.ring_data_size - (head -% tail) < needed) {
                writer.waitForSpace(tail);
                continue;
            }
            if (room >= size) return @alignCast(writer.data[offset..][0..size]);
            const padding: *u32 = @ptrCast(@alignCast(writer.data + offset));
            padding.* = room | abi.padding_bit;
            @atomicStore(u32, &header.head, head +% room, .seq_cst); // pairs with the reader's load of head
        }
    }

    /// Makes the record in the reserved bytes visible. Size and sequence number are filled in here: the number
    /// is taken after the space is there, so that a writer that waits holds back nobody else's records.
    pub fn publish(writer: *const Writer, size: u32) void {
        const header = writer.header;
        const head = header.head;
        assert(size % 8 == 0);
        assert((head & mask) + size <= abi.ring_data_size);
        const record: *abi.Header = @ptrCast(@alignCast(writer.data + (head & mask)));
        record.size = size;
        record.sequence = @atomicRmw(u64, &writer.control.sequence, .Add, 1, .acq_rel);
        // Pairs with the reader's load of head; seq_cst because of the look at reader_waits behind it.
        @atomicStore(u32, &header.head, head +% size, .seq_cst);
        writer.wakeWaitingReader();
    }

    /// No record follows. The reader is woken whether it waits or not.
    pub fn end(writer: *const Writer) void {
        @atomicStore(u32, &writer.header.ended, 1, .seq_cst); // pairs with the reader's load of ended, before its load of head
        @atomicStore(u32, &writer.header.reader_waits, 0, .seq_cst);
        sys.notify(writer.event_descriptor);
    }

    fn waitForSpace(writer: *const Writer, tail: u32) void {
        const header = writer.header;
        _ = @atomicRmw(u32, &writer.control.ring_stalls, .Add, 1, .monotonic);
        writer.wakeWaitingReader();
        @atomicStore(u32, &header.writer_waits, 1, .seq_cst); // pairs with the reader's exchange
        if (@atomicLoad(u32, &header.tail, .seq_cst) == tail) sys.futexWait(&header.writer_waits, 1, full_wait_ms);
        @atomicStore(u32, &header.writer_waits, 0, .seq_cst);
    }

    fn wakeWaitingReader(writer: *const Writer) void {
        const word = &writer.header.reader_waits;
        if (@atomicLoad(u32, word, .seq_cst) == 0) return;
        if (@atomicRmw(u32, word, .Xchg, 0, .seq_cst) != 0) sys.notify(writer.event_descriptor);
    }
};

/// The reader's side of a wake-up, called after it has stored `tail`: see src/native/ring.ts.
pub fn wakeWriter(header: *abi.RingHeader) void {
    if (@atomicRmw(u32, &header.writer_waits, .Xchg, 0, .seq_cst) != 0) sys.futexWake(&header.writer_waits);
}

// ---------------------------------------------------------------------------------------------
// Tests of the writer alone; test/ring.test.ts has writer processes and the real reader

const TestRing = struct {
    control: abi.Control = .{},
    header: abi.RingHeader = .{},
    data: [*]align(4096) u8,

    fn init() !TestRing {
        return .{ .data = try sys.mapPrivate(abi.ring_data_size) };
    }

    fn writer(self: *TestRing) Writer {
        return .{ .header = &self.header, .data = self.data, .control = &self.control, .event_descriptor = -1 };
    }

    /// Reads up to head as a reader would; the number of records.
    fn drain(self: *TestRing, expected: *u64) !void {
        while (self.header.tail != self.header.head) {
            const at = self.header.tail & mask;
            const record: *abi.Header = @ptrCast(@alignCast(self.data + at));
            if (record.size & abi.padding_bit != 0) {
                const size = record.size & ~abi.padding_bit;
                try std.testing.expectEqual(abi.ring_data_size, at + size); // padding reaches to the end, and only there
                self.header.tail +%= size;
                continue;
            }
            try std.testing.expect(at + record.size <= abi.ring_data_size);
            try std.testing.expectEqual(expected.*, record.sequence);
            expected.* += 1;
            self.header.tail +%= record.size;
        }
    }
};

test "records never wrap, the padding is accounted for, numbers have no gap" {
    var ring: TestRing = try .init();
    defer sys.unmap(ring.data, abi.ring_data_size);
    const writer = ring.writer();
    const seed = std.testing.random_seed;
    errdefer std.debug.print("seed {d}\n", .{seed});
    var prng: std.Random.DefaultPrng = .init(seed);
    var expected: u64 = 0;
    var total: u64 = 0;
    while (total < 5 * @as(u64, abi.ring_data_size)) {
        const size = std.mem.alignForward(u32, prng.random().intRangeAtMost(u32, @sizeOf(abi.Header), 40_000), 8);
        @memset(writer.reserve(size), 0xff);
        writer.publish(size);
        total += size;
        if (abi.ring_data_size - (ring.header.head -% ring.header.tail) < 100_000) try ring.drain(&expected);
    }
    try ring.drain(&expected);
    try std.testing.expectEqual(ring.control.sequence, expected);
    try std.testing.expectEqual(@as(u32, 0), ring.control.ring_stalls);
    try std.testing.expect(ring.header.head < abi.initial_position); // the counters have wrapped
}

test "the largest record fits at every position" {
    var ring: TestRing = try .init();
    defer sys.unmap(ring.data, abi.ring_data_size);
    const writer = ring.writer();
    var expected: u64 = 0;
    for (0..9) |_| {
        for ([_]u32{ record_max, @sizeOf(abi.Header), record_max - 8 }) |size| {
            _ = writer.reserve(size);
            writer.publish(size);
            try ring.drain(&expected);
        }
    }
    try std.testing.expectEqual(@as(u32, 0), ring.control.ring_stalls);
}
