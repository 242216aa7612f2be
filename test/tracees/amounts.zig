//! Writes known amounts by every call that writes to a file, and says how much each process has written to each.
//! `amounts flood N`: N writes of one byte to one file, and one byte to each of 3,000 others.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

const linux = std.os.linux;
const O = t.O;
const fresh = O.rdwr | O.creat | O.trunc;
var path_buffer: [4096]u8 = undefined;
const content = "0123456789abcdef";

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    if (arguments.at(1) != null) return flood(std.fmt.parseInt(usize, arguments.at(2).?, 10) catch unreachable); // a number
    byWrite();
    byVectors();
    byCopies();
    byAio();
    by32();
    inChildAndThread();
    overwriting();
    removedAndMadeAgain();
    failing();
    memory();
    nothing();
}

fn amount(path: []const u8, bytes: usize, how: []const u8) void {
    amountOf(t.pid(), path, bytes, how);
}

fn amountOf(pid: i32, path: []const u8, bytes: usize, how: []const u8) void {
    var line: t.Line = .{};
    line.begin("amount").number("pid", pid).text("path", t.absolute(&path_buffer, path)).number("bytes", bytes).text("how", how).end();
}

fn byWrite() void {
    const descriptor = t.open("write", fresh, 0o644);
    for (0..10) |_| _ = t.must(.write, .{ descriptor, content, 7 });
    _ = t.must(.pwrite64, .{ descriptor, content, 5, @as(usize, 1000) });
    t.close(descriptor);
    amount("write", 75, "write, pwrite64");
}

fn byVectors() void {
    const descriptor = t.open("vectors", fresh, 0o644);
    const parts = [2]std.posix.iovec_const{ .{ .base = content, .len = 3 }, .{ .base = content, .len = 9 } };
    _ = t.must(.writev, .{ descriptor, &parts, parts.len });
    _ = t.must(.pwritev, .{ descriptor, &parts, parts.len, 100, 0 });
    _ = t.must(.pwritev2, .{ descriptor, &parts, parts.len, 200, 0, 0 });
    t.close(descriptor);
    amount("vectors", 36, "writev, pwritev, pwritev2");
}

fn byCopies() void {
    t.makeFile("source", content);
    amount("source", content.len, "write");
    const from = t.open("source", O.rdonly, 0);
    const to = t.open("copies", fresh, 0o644);
    var start: i64 = 0;
    var copied: usize = 0;
    const result = t.call(.copy_file_range, .{ from, &start, to, null, 11, 0 });
    if (result > 0) copied += @intCast(result);
    start = 0;
    copied += t.must(.sendfile, .{ to, from, &start, 13 });
    var pipe: [2]i32 = undefined;
    _ = t.must(.pipe2, .{ &pipe, 0 });
    // What goes into the pipe is no file's.
    _ = t.must(.write, .{ pipe[1], content, 8 });
    copied += t.must(.splice, .{ pipe[0], null, to, null, 8, 0 });
    for ([_]usize{ from, to, @intCast(pipe[0]), @intCast(pipe[1]) }) |descriptor| t.close(descriptor);
    amount("copies", copied, "copy_file_range, sendfile, splice");
}

const Operation = extern struct {
    data: u64 = 0,
    key: u32 = 0,
    rw_flags: u32 = 0,
    opcode: u16,
    priority: i16 = 0,
    descriptor: u32,
    buffer: u64,
    length: u64,
    offset: i64,
    reserved: u64 = 0,
    flags: u32 = 0,
    event_descriptor: u32 = 0,
};

fn byAio() void {
    var context: usize = 0;
    if (t.call(.io_setup, .{ 8, &context }) < 0) return; // a kernel without
    const descriptor = t.open("aio", fresh, 0o644);
    const parts = [2]std.posix.iovec_const{ .{ .base = content, .len = 4 }, .{ .base = content, .len = 6 } };
    var operations = [_]Operation{
        .{ .opcode = 1, .descriptor = @intCast(descriptor), .buffer = @intFromPtr(content), .length = 9, .offset = 0 },
        .{ .opcode = 8, .descriptor = @intCast(descriptor), .buffer = @intFromPtr(&parts), .length = parts.len, .offset = 9 },
        .{ .opcode = 2, .descriptor = @intCast(descriptor), .buffer = 0, .length = 0, .offset = 0 }, // fsync
    };
    const list = [_]*Operation{ &operations[0], &operations[1], &operations[2] };
    // Some file systems take no fsync: then it takes two of three.
    _ = t.must(.io_submit, .{ context, list.len, &list });
    var events: [8][4]u64 = undefined;
    _ = t.must(.io_getevents, .{ context, 2, 8, &events, null });
    _ = t.must(.io_destroy, .{context});
    t.close(descriptor);
    amount("aio", 19, "io_submit");
}

/// write is 4 there.
fn by32() void {
    const low = t.must(.mmap, .{ 0, 4096, 3, 0x62, -1, 0 }); // MAP_32BIT
    const text: [*]u8 = @ptrFromInt(low);
    @memcpy(text[0..content.len], content);
    const descriptor = t.open("int80", fresh, 0o644);
    const written = asm volatile ("int $0x80"
        : [result] "={eax}" (-> i32),
        : [number] "{eax}" (@as(u32, 4)),
          [a] "{ebx}" (@as(u32, @intCast(descriptor))),
          [b] "{ecx}" (@as(u32, @intCast(low))),
          [c] "{edx}" (@as(u32, 12)),
        : .{ .r8 = true, .r9 = true, .r10 = true, .r11 = true, .memory = true });
    t.close(descriptor);
    if (written == 12) amount("int80", 12, "int 0x80, write");
}

var shared: usize = 0;

fn inThread(descriptor: usize) callconv(.c) u8 {
    for (0..100) |_| _ = t.must(.write, .{ descriptor, content, 2 });
    return 0;
}

/// Threads are of one process; a child has an entry of its own for what its parent has opened.
fn inChildAndThread() void {
    const descriptor = t.open("shared", O.wronly | O.creat | O.append, 0o644);
    _ = t.must(.write, .{ descriptor, content, 3 });
    var thread: t.Thread = .{};
    thread.start(inThread, descriptor);
    thread.join();
    const child = t.fork();
    if (child == 0) {
        for (0..50) |_| _ = t.must(.write, .{ descriptor, content, 1 });
        amount("shared", 50, "write in a child, through an inherited descriptor");
        t.exit(0);
    }
    _ = t.reap(child);
    t.close(descriptor);
    amount("shared", 203, "write in a thread");
}

/// The file does not grow by it.
fn overwriting() void {
    const descriptor = t.open("overwritten", fresh, 0o644);
    for (0..20) |_| _ = t.must(.pwrite64, .{ descriptor, content, 16, @as(usize, 0) });
    _ = t.must(.ftruncate, .{ descriptor, @as(usize, 0) });
    t.close(descriptor);
    amount("overwritten", 320, "over and over, then cut");
}

/// Until an inode's number comes back, as it does on many file systems once nobody has the file open any more.
fn removedAndMadeAgain() void {
    var numbers: [2000]u64 = undefined;
    for (&numbers, 0..) |*number, i| {
        const descriptor = t.open("again", fresh, 0o644);
        var stat: linux.Statx = undefined;
        _ = t.must(.statx, .{ descriptor, "", t.at_empty_path, 0x7ff, &stat });
        number.* = stat.ino;
        const is_last = i + 1 == numbers.len or std.mem.findScalar(u64, numbers[0..i], stat.ino) != null;
        _ = t.must(.write, .{ descriptor, content, @as(usize, if (is_last) 3 else 1) });
        t.close(descriptor);
        if (is_last) break;
        _ = t.must(.unlink, .{"again"});
    }
    amount("again", 3, "a file of that name and number again");
}

fn failing() void {
    const descriptor = t.open("failing", fresh, 0o644);
    _ = t.call(.write, .{ descriptor, @as(usize, 8), 100 }); // EFAULT
    _ = t.call(.write, .{ 999, content, 10 }); // EBADF
    _ = t.must(.write, .{ descriptor, content, 0 });
    const read_only = t.open("failing", O.rdonly, 0);
    _ = t.call(.write, .{ read_only, content, 10 }); // EBADF
    t.close(descriptor);
    t.close(read_only);
    amount("failing", 0, "writes that fail");
}

/// Not counted: nobody is asked for a store.
fn memory() void {
    const descriptor = t.open("mapped", fresh, 0o644);
    _ = t.must(.ftruncate, .{ descriptor, @as(usize, 4096) });
    const bytes: [*]u8 = @ptrFromInt(t.must(.mmap, .{ 0, 4096, 3, 1, descriptor, 0 }));
    @memcpy(bytes[0..content.len], content);
    _ = t.must(.write, .{ descriptor, content, 4 });
    t.close(descriptor);
    amount("mapped", 4, "write; stores through a map are not counted");
}

fn nothing() void {
    t.close(t.open("nothing", fresh, 0o644));
    amount("nothing", 0, "opened for writing");
}

fn flood(count: usize) void {
    const descriptor = t.open("flood", O.wronly | O.creat, 0o644);
    for (0..count) |_| _ = t.must(.pwrite64, .{ descriptor, content, 1, @as(usize, 0) });
    t.close(descriptor);
    amount("flood", count, "one byte at a time");
    var name: [32]u8 = undefined;
    for (0..3000) |i| {
        t.makeFile(t.format(&name, "many-{d}", .{i}), "x");
    }
}
