//! Who else has a socket that one process connects, under which numbers: a dup of its own, a child that was made before the connect, a process
//! that was sent it. All may say the first bytes.
//!
//!     socket ──▶ known: who made it, and when ──a message has it──▶ passed
//!                                │ connect
//!                                ▼
//!     processes made since (all of them, if it was passed): those of their descriptors that lead to it are watched too
//!
//! Mostly there are none, since a program connects at once. Numbers in the connecting process itself are looked at when it sends.
const std = @import("std");
const linux = std.os.linux;
const sys = @import("sys.zig");
const tracee = @import("tracee.zig");
const Process = tracee.Process;

/// A power of two; another socket in its place makes one unknown, which costs a search.
const made_max = 4096;
/// Descriptors that are looked at for one connect.
const looked_at_max = 32_768;

const Made = struct {
    inode: u64 = 0,
    maker: u32 = 0,
    /// The next process's serial then.
    next_serial: u32 = 0,
    passed: bool = false,
};

pub const Sharers = struct {
    made: *[made_max]Made,

    pub fn init() sys.Error!Sharers {
        return .{ .made = @ptrCast(@alignCast(try sys.mapPrivate(@sizeOf([made_max]Made)))) };
    }

    pub fn deinit(sharers: *Sharers) void {
        sys.unmap(@ptrCast(@alignCast(sharers.made)), @sizeOf([made_max]Made));
    }

    fn at(sharers: *Sharers, inode: u64) *Made {
        return &sharers.made[@intCast(inode % made_max)];
    }

    pub fn onMade(sharers: *Sharers, inode: u64, maker: u32, next_serial: u32) void {
        sharers.at(inode).* = .{ .inode = inode, .maker = maker, .next_serial = next_serial };
    }

    /// From now on any process may have it.
    pub fn onPassed(sharers: *Sharers, inode: u64) void {
        const made = sharers.at(inode);
        if (made.inode == inode) made.passed = true;
    }

    pub fn wasPassed(sharers: *Sharers, inode: u64) bool {
        const made = sharers.at(inode);
        return made.inode != inode or made.passed;
    }

    /// Serials from here on may have it, besides the one that connects; the last possible one: nobody has.
    pub fn firstSerial(sharers: *Sharers, inode: u64, connecting: u32) u32 {
        const made = sharers.at(inode);
        return if (made.inode != inode or made.passed or made.maker != connecting) 0 else made.next_serial;
    }
};

/// The descriptors of a process, one after the other, that are a socket.
pub const Numbers = struct {
    directory: i32,
    pid: i32,
    inode: u64,
    looked_at: *u32,
    buffer: [2048]u8 align(8) = undefined,
    from: usize = 0,
    to: usize = 0,

    /// Null: it is gone, or not ours to ask.
    pub fn open(pid: i32, inode: u64, looked_at: *u32) ?Numbers {
        var path: [64]u8 = undefined;
        return switch (sys.open(linux.AT.FDCWD, sys.procPath(&path, pid, "fd"), .{ .ACCMODE = .RDONLY, .DIRECTORY = true, .CLOEXEC = true })) {
            .descriptor => |directory| .{ .directory = directory, .pid = pid, .inode = inode, .looked_at = looked_at },
            .failed => null,
        };
    }

    pub fn close(numbers: *Numbers) void {
        sys.close(numbers.directory);
    }

    /// `TooMany`: not all were looked at.
    pub fn next(numbers: *Numbers) error{TooMany}!?i32 {
        while (true) {
            if (numbers.from == numbers.to) {
                numbers.to = sys.check(linux.getdents64(numbers.directory, &numbers.buffer, numbers.buffer.len)) catch return null;
                numbers.from = 0;
                if (numbers.to == 0) return null;
            }
            const entry: *align(8) linux.dirent64 = @ptrCast(@alignCast(&numbers.buffer[numbers.from]));
            numbers.from += entry.reclen;
            const name: [*:0]const u8 = @ptrCast(&entry.name);
            const number = std.fmt.parseInt(i32, std.mem.span(name), 10) catch continue; // . and ..
            if (numbers.looked_at.* == looked_at_max) return error.TooMany;
            numbers.looked_at.* += 1;
            if (socketAt(numbers.pid, number) == numbers.inode) return number;
        }
    }
};

/// The inode of the socket that a descriptor is; 0: it is none.
pub fn socketAt(tid: i32, number: i32) u64 {
    if (number < 0) return 0;
    var path: [64]u8 = undefined;
    const at = sys.appendNumber(&path, sys.procPath(&path, tid, "fd/").len, @intCast(number));
    path[at] = 0;
    var text: [64]u8 = undefined;
    const link = sys.readLink(linux.AT.FDCWD, path[0..at :0], &text) catch return 0;
    const start = "socket:[";
    if (!std.mem.startsWith(u8, link, start) or link[link.len - 1] != ']') return 0;
    return std.fmt.parseInt(u64, link[start.len .. link.len - 1], 10) catch 0;
}

// ---------------------------------------------------------------------------------------------

const testing = std.testing;

test "who may have a socket: processes made since, or all of them" {
    var sharers = try Sharers.init();
    defer sharers.deinit();
    sharers.onMade(77, 3, 9);
    try testing.expectEqual(@as(u32, 9), sharers.firstSerial(77, 3));
    try testing.expectEqual(@as(u32, 0), sharers.firstSerial(77, 4)); // another one connects it
    try testing.expect(!sharers.wasPassed(77));
    sharers.onPassed(78);
    sharers.onPassed(77);
    try testing.expectEqual(@as(u32, 0), sharers.firstSerial(77, 3));
    sharers.onMade(77 + made_max, 3, 9);
    try testing.expectEqual(@as(u32, 0), sharers.firstSerial(77, 3)); // forgotten
    try testing.expect(sharers.wasPassed(77));
}

test "the numbers of a socket in a process" {
    var pair: [2]i32 = undefined;
    _ = try sys.check(linux.socketpair(linux.AF.UNIX, linux.SOCK.STREAM, 0, &pair));
    const copy: i32 = @intCast(try sys.check(linux.dup(pair[0])));
    const inode = socketAt(sys.ownPid(), pair[0]);
    try testing.expect(inode != 0);
    try testing.expectEqual(inode, socketAt(sys.ownPid(), copy));
    try testing.expectEqual(@as(u64, 0), socketAt(sys.ownPid(), -1));
    var looked_at: u32 = 0;
    var numbers = Numbers.open(sys.ownPid(), inode, &looked_at).?;
    defer numbers.close();
    try testing.expectEqual(pair[0], (try numbers.next()).?);
    try testing.expectEqual(copy, (try numbers.next()).?);
    try testing.expectEqual(null, try numbers.next());
    looked_at = looked_at_max;
    var others = Numbers.open(sys.ownPid(), inode, &looked_at).?;
    defer others.close();
    try testing.expectError(error.TooMany, others.next());
    for ([_]i32{ pair[0], pair[1], copy }) |number| sys.close(number);
}
