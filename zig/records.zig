//! Records into the ring: a header, the fixed fields of its kind, then its variable parts (abi.zig).
const std = @import("std");
const abi = @import("abi.zig");
const ring = @import("ring.zig");
const sys = @import("sys.zig");
const assert = std.debug.assert;

/// Whom a record is about.
pub const Who = struct {
    tid: i32,
    /// Serial number of the process; 0: of none.
    process: u32,
};

pub const Records = struct {
    writer: ring.Writer,

    /// Publishes `fixed` (its header is filled in here) with `parts` behind it. Returns its sequence number.
    pub fn emit(records: *const Records, comptime kind: abi.Kind, who: Who, flags: u16, fixed: RecordOf(kind), parts: []const []const u8) u64 {
        const Record = RecordOf(kind);
        var length: usize = @sizeOf(Record);
        for (parts) |part| length += part.len;
        const size: u32 = @intCast(std.mem.alignForward(usize, length, 8));
        const bytes = records.writer.reserve(size);
        const record: *Record = @ptrCast(bytes.ptr);
        record.* = fixed;
        record.header = .{
            .size = size,
            .kind = @backingInt(kind),
            .flags = flags,
            .sequence = 0,
            .time_ns = sys.nowNs(),
            .tid = who.tid,
            .process = who.process,
        };
        var at: usize = @sizeOf(Record);
        for (parts) |part| {
            @memcpy(bytes[at..][0..part.len], part);
            at += part.len;
        }
        @memset(bytes[at..], 0);
        records.writer.publish(size);
        // Only we write here, so it is still there, whoever has read it meanwhile.
        return record.header.sequence;
    }

    pub fn gap(records: *const Records, who: Who, kind: abi.GapKind, value: u64, text: []const u8) void {
        _ = records.emit(.gap, who, 0, .{
            .header = undefined, // emit's
            .gap = @backingInt(kind),
            .text_length = @intCast(text.len),
            .value = value,
        }, &.{text});
    }
};

pub fn RecordOf(comptime kind: abi.Kind) type {
    inline for (abi.records) |row| if (row[0] == kind) return row[1];
    unreachable; // abi.zig asserts that every kind has one
}

pub fn bit(flag: abi.Flag) u16 {
    return @as(u16, 1) << @intCast(@backingInt(flag));
}
