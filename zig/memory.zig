//! Reading a tracee's memory: bounded, and in as few calls as it can be done.
//!
//! process_vm_readv is the cheap way (2 to 3 µs, whatever the size up to a page). Docker's default profile refuses
//! it without SYS_PTRACE although it allows ptrace: there /proc/TID/mem is opened for each read (6 µs). Which one
//! works is found out once, on the command, before it runs.
const std = @import("std");
const linux = std.os.linux;
const status_file = @import("status.zig");
const sys = @import("sys.zig");
const Patience = @import("patience.zig").Patience;

const page = 4096;

pub const Memory = struct {
    way: enum { process_vm_readv, proc_mem } = .process_vm_readv,
    /// A page may be one that a server has yet to deliver.
    patience: ?*Patience = null,

    /// `process` is a copy of ourselves that waits: what is at `address` here is at the same address there.
    pub fn probe(process: i32, address: *const anyopaque) sys.Error!Memory {
        var byte: [1]u8 = undefined;
        const there = @intFromPtr(address);
        var memory: Memory = .{};
        if (memory.read(process, there, &byte)) |count| {
            if (count == 1) return memory;
        } else |e| if (e == error.TraceeGone) return e;
        memory.way = .proc_mem;
        if (try memory.read(process, there, &byte) != 1) return error.Denied;
        return memory;
    }

    /// As much of `into` as there is memory for; 0 is `error.BadAddress`.
    pub fn read(memory: Memory, tid: i32, address: u64, into: []u8) sys.Error!usize {
        if (into.len == 0) return 0;
        // What lies above cannot be user memory, and an iovec that wraps is refused as a whole.
        if (address == 0 or address > std.math.maxInt(i64) - into.len) return error.BadAddress;
        const count = switch (memory.way) {
            .process_vm_readv => if (memory.patience) |patience|
                try patience.readMemory(tid, address, into, sys.readProcessMemory)
            else
                try sys.readProcessMemory(tid, address, into),
            .proc_mem => if (memory.patience) |patience|
                try patience.readMemory(tid, address, into, readProcMem)
            else
                try readProcMem(tid, address, into),
        };
        return if (count == 0) error.BadAddress else count;
    }

    /// All of `T`, or an error.
    pub fn readValue(memory: Memory, tid: i32, address: u64, comptime T: type) sys.Error!T {
        var value: T = undefined;
        const bytes = std.mem.asBytes(&value);
        if (try memory.read(tid, address, bytes) != bytes.len) return error.BadAddress;
        return value;
    }

    pub const String = struct { bytes: []u8, truncated: bool };

    /// A NUL-terminated string, without its NUL. Read up to the end of a page at a time, since a string may
    /// end right before memory that is not there.
    pub fn string(memory: Memory, tid: i32, address: u64, buffer: []u8) sys.Error!String {
        var length: usize = 0;
        while (length < buffer.len) {
            const at = address +% length;
            const chunk = @min(buffer.len - length, page - at % page);
            const got = memory.read(tid, at, buffer[length..][0..chunk]) catch |e| return e;
            if (std.mem.findScalar(u8, buffer[length..][0..got], 0)) |end| {
                return .{ .bytes = buffer[0 .. length + end], .truncated = false };
            }
            length += got;
        }
        return .{ .bytes = buffer, .truncated = true };
    }
};

fn readProcMem(tid: i32, address: u64, into: []u8) sys.Error!usize {
    var buffer: [64]u8 = undefined;
    const descriptor = switch (sys.openReadOnly(sys.procPath(&buffer, tid, "mem"))) {
        .descriptor => |number| number,
        .failed => |e| return if (e == .NOENT or e == .SRCH) status_file.whyMissing() else error.Denied,
    };
    defer sys.close(descriptor);
    return sys.readAt(descriptor, into, address);
}

// ---------------------------------------------------------------------------------------------

const testing = std.testing;

/// Two pages, of which only the first is there.
fn halfMapped() ![]align(page) u8 {
    const base = try sys.mapPrivate(2 * page);
    sys.unmap(@alignCast(base + page), page);
    return base[0..page];
}

test "strings, by both ways" {
    const first = try halfMapped();
    defer sys.unmap(first.ptr, page);
    @memset(first, 'x');
    const text = "ends where memory ends";
    @memcpy(first[page - text.len - 1 ..][0..text.len], text);
    first[page - 1] = 0;
    const pid = linux.getpid();
    for ([_]Memory{ .{ .way = .process_vm_readv }, .{ .way = .proc_mem } }) |memory| {
        var buffer: [3 * page]u8 = undefined;
        const whole = try memory.string(pid, @intFromPtr(first.ptr) + page - text.len - 1, &buffer);
        try testing.expectEqualStrings(text, whole.bytes);
        try testing.expect(!whole.truncated);

        // Cut by the limit: the NUL would be the next byte.
        const cut = try memory.string(pid, @intFromPtr(first.ptr) + page - text.len - 1, buffer[0..text.len]);
        try testing.expectEqualStrings(text, cut.bytes);
        try testing.expect(cut.truncated);

        // No NUL before the memory ends.
        first[page - 1] = 'x';
        try testing.expectError(error.BadAddress, memory.string(pid, @intFromPtr(first.ptr) + 100, &buffer));
        first[page - 1] = 0;

        // A read across the end gives what there is; with nothing there it is an error.
        try testing.expectEqual(@as(usize, 10), try memory.read(pid, @intFromPtr(first.ptr) + page - 10, buffer[0..100]));
        try testing.expectError(error.BadAddress, memory.read(pid, @intFromPtr(first.ptr) + page, buffer[0..100]));
        try testing.expectError(error.BadAddress, memory.read(pid, 0, buffer[0..8]));
        try testing.expectError(error.BadAddress, memory.read(pid, std.math.maxInt(u64) - 3, buffer[0..8]));
        try testing.expectEqual(@as(u32, 0x6465_6465), try memory.readValue(pid, @intFromPtr(&[_]u8{ 'e', 'd', 'e', 'd' }), u32));
    }
}

test "a string over several pages" {
    const size = 4 * page;
    const base = try sys.mapPrivate(size);
    defer sys.unmap(base, size);
    @memset(base[0 .. size - 1], 'y');
    var buffer: [size]u8 = undefined;
    const memory: Memory = .{};
    const all = try memory.string(linux.getpid(), @intFromPtr(base) + 5, &buffer);
    try testing.expectEqual(@as(usize, size - 6), all.bytes.len);
}

test "the probe finds a way, and says when the process is gone" {
    const memory = try Memory.probe(linux.getpid(), &page_probe);
    try testing.expectEqual(@as(u8, 1), try memory.readValue(linux.getpid(), @intFromPtr(&page_probe), u8));
    try testing.expectError(error.TraceeGone, Memory.probe(std.math.maxInt(i32), &page_probe));
}

const page_probe: u8 = 1;
