//! A descriptor or a map of a file that outlives its opener, and is written through after the opener's end. The test compares
//! what is on disk afterwards.
//!
//!     outlives files        from a child that shared the descriptor table (CLONE_FILES)
//!     outlives memory       a shared map, from a child that shared the memory (CLONE_VM)
//!     outlives sent         by SCM_RIGHTS
//!     outlives taken        by pidfd_getfd
//!     outlives inherited    by a child of the opener
//!     outlives mapped       a map that a child of the opener has inherited
//!     outlives read         a map of a living process: a reader opens the file, then the map is stored to
//!     outlives made-writable  the same, of a map that could only be read at first, and whose descriptor is closed
//!     outlives shared       the same, and the reader has the file mapped for writing itself
//!     outlives shared-once  the same, but before its exec
//!     outlives unmapped     a map that is gone when the reader comes, of a process that lives on
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;
const linux = t.linux;

const O = t.O;
const before = "as the opener left it\n";
const after = "as it was at the end.\n";
const path = "file";
const page = 4096;

var path_buffer: [4096]u8 = undefined;
/// Found by a child of which nothing but the memory, or the descriptor table, is ours.
var descriptor: usize = 0;
var mapping: [*]u8 = undefined;

const ways = .{
    .{ "files", viaFiles },         .{ "memory", viaMemory },       .{ "sent", viaMessage },   .{ "taken", viaPidfd },
    .{ "inherited", viaInherited }, .{ "mapped", viaMapped },       .{ "read", whileReading }, .{ "made-writable", madeWritable },
    .{ "shared", whileShared },     .{ "shared-once", onceShared }, .{ "reader", reader },     .{ "unmapped", whenUnmapped },
};
var program: [*:0]const u8 = undefined;

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    program = arguments.at(0).?;
    const way = arguments.at(1) orelse t.fail("no way given", 0);
    inline for (ways) |row| if (std.mem.eql(u8, row[0], way)) return row[1]();
    t.fail("no such way", 0);
}

fn written() void {
    var line: t.Line = .{};
    line.begin("written").number("pid", t.pid()).text("path", t.absolute(&path_buffer, path)).text("how", "through what outlived its opener").end();
}

fn make() usize {
    const made = t.open(path, O.rdwr | O.creat | O.trunc, 0o644);
    t.writeAll(made, before);
    return made;
}

fn map(made: usize) [*]u8 {
    _ = t.must(.ftruncate, .{ made, @as(usize, page) });
    return @ptrFromInt(t.must(.mmap, .{ 0, @as(usize, page), 3, 1, made, 0 }));
}

fn rewrite(through: usize) void {
    _ = t.must(.pwrite64, .{ through, after, after.len, 0 });
    written();
}

/// So that the digest of what the opener left is done: else it would be right by chance.
fn letItBeDigested() void {
    t.sleepMs(200);
}

fn clone(comptime flags: u32, function: *const fn (usize) callconv(.c) u8) void {
    const stack = t.memory(t.stack_size);
    const child = linux.clone(function, @intFromPtr(stack) + t.stack_size, flags | @backingInt(linux.SIG.CHLD), 0, null, 0, null);
    const pid: isize = @bitCast(child);
    if (pid < 0) t.fail("clone", pid);
    _ = t.reap(@intCast(pid));
}

fn viaFiles() void {
    clone(linux.CLONE.FILES | linux.CLONE.VM, struct {
        fn open(_: usize) callconv(.c) u8 {
            descriptor = make();
            return 0;
        }
    }.open);
    letItBeDigested();
    rewrite(descriptor);
}

fn viaMemory() void {
    clone(linux.CLONE.VM, struct {
        fn open(_: usize) callconv(.c) u8 {
            mapping = map(make());
            @memcpy(mapping[0..before.len], before);
            return 0;
        }
    }.open);
    letItBeDigested();
    @memcpy(mapping[0..after.len], after);
    written();
}

fn viaInherited() void {
    viaGrandchild(false);
}

fn viaMapped() void {
    viaGrandchild(true);
}

/// The opener is a child of ours, the one that lives on its child.
fn viaGrandchild(by_map: bool) void {
    var ended: [2]i32 = undefined;
    _ = t.must(.pipe2, .{ &ended, 0 });
    const opener = t.fork();
    if (opener == 0) {
        const made = make();
        const mapped = if (by_map) map(made) else undefined;
        if (t.fork() != 0) t.exit(0);
        t.close(@intCast(ended[0]));
        letItBeDigested();
        if (by_map) @memcpy(mapped[0..after.len], after) else _ = t.must(.pwrite64, .{ made, after, after.len, 0 });
        t.exit(0);
    }
    _ = t.reap(opener);
    t.close(@intCast(ended[1]));
    var byte: [1]u8 = undefined;
    _ = t.must(.read, .{ ended[0], &byte, byte.len }); // until all of its ends are closed
    written();
}

fn viaMessage() void {
    var pair: [2]i32 = undefined;
    _ = t.must(.socketpair, .{ 1, 1, 0, &pair });
    const opener = t.fork();
    if (opener == 0) {
        t.sendDescriptor(@intCast(pair[1]), make());
        t.exit(0);
    }
    const received = t.receiveDescriptor(@intCast(pair[0]));
    _ = t.reap(opener);
    letItBeDigested();
    rewrite(received);
}

fn viaPidfd() void {
    var ready: [2]i32 = undefined;
    var taken: [2]i32 = undefined;
    _ = t.must(.pipe2, .{ &ready, 0 });
    _ = t.must(.pipe2, .{ &taken, 0 });
    var number: usize = 0;
    const opener = t.fork();
    if (opener == 0) {
        number = make();
        _ = t.must(.write, .{ ready[1], std.mem.asBytes(&number), @sizeOf(usize) });
        var byte: [1]u8 = undefined;
        _ = t.must(.read, .{ taken[0], &byte, byte.len });
        t.exit(0);
    }
    _ = t.must(.read, .{ ready[0], std.mem.asBytes(&number), @sizeOf(usize) });
    const pidfd = t.must(.pidfd_open, .{ opener, 0 });
    const received = t.must(.pidfd_getfd, .{ pidfd, number, 0 });
    _ = t.must(.write, .{ taken[1], "x", 1 });
    _ = t.reap(opener);
    letItBeDigested();
    rewrite(received);
}

fn whileReading() void {
    readWhileMapped(.{});
}

fn madeWritable() void {
    readWhileMapped(.{ .made_writable = true });
}

fn whileShared() void {
    readWhileMapped(.{ .reader = .shares });
}

fn onceShared() void {
    readWhileMapped(.{ .reader = .shared_before_exec });
}

const size = 64 << 20;
const Kind = struct {
    made_writable: bool = false,
    reader: enum { only_reads, shares, shared_before_exec } = .only_reads,
};
/// The reader's end of what it says when it has opened the file.
const opened_descriptor = 9;

fn reader() void {
    readIt(.only_reads);
}

fn readIt(kind: @FieldType(Kind, "reader")) noreturn {
    if (kind != .only_reads) {
        const own = t.open(path, O.rdwr, 0);
        _ = t.must(.mmap, .{ 0, @as(usize, size), 3, 1, own, 0 });
    }
    if (kind == .shared_before_exec) {
        const words = [_:null]?[*:0]const u8{ program, "reader" };
        const none = [_:null]?[*:0]const u8{};
        _ = t.must(.execve, .{ program, &words, &none });
    }
    _ = t.open(path, O.rdonly, 0);
    _ = t.must(.write, .{ opened_descriptor, "x", 1 });
    var line: t.Line = .{};
    const reason = if (kind == .shares) "shared-memory" else "changed-while-read";
    line.begin("unhashed").number("pid", t.pid()).text("path", t.absolute(&path_buffer, path)).text("reason", reason).end();
    t.exit(0);
}

/// The reader finds one content, and our digest would be of a mixture.
fn readWhileMapped(kind: Kind) void {
    const read = 1;
    const write = 2;
    const made = t.open(path, O.rdwr | O.creat | O.trunc, 0o644);
    _ = t.must(.ftruncate, .{ made, @as(usize, size) });
    const protection: usize = if (kind.made_writable) read else read | write;
    const bytes: [*]u8 = @ptrFromInt(t.must(.mmap, .{ 0, @as(usize, size), protection, 1, made, 0 }));
    if (kind.made_writable) {
        t.close(made);
        _ = t.must(.mprotect, .{ bytes, @as(usize, size), read | write });
    }
    @memset(bytes[0..size], 'A');
    var opened: [2]i32 = undefined;
    _ = t.must(.pipe2, .{ &opened, 0 });
    _ = t.must(.dup2, .{ opened[1], @as(usize, opened_descriptor) });
    const child = t.fork();
    if (child == 0) readIt(kind.reader);
    var byte: [1]u8 = undefined;
    _ = t.must(.read, .{ opened[0], &byte, byte.len });
    @memset(bytes[0..size], 'B');
    _ = t.reap(child);
    var line: t.Line = .{};
    if (kind.reader != .shares) line.begin("gap").text("kind", "changed-while-read").end();
    written();
}

/// As linkers do it whose output another program reads while they wait.
fn whenUnmapped() void {
    const made = make();
    const mapped = map(made);
    @memcpy(mapped[0..after.len], after);
    _ = t.must(.munmap, .{ mapped, @as(usize, page) });
    t.close(made);
    written();
    const child = t.fork();
    if (child == 0) {
        t.readFile(path);
        t.exit(0);
    }
    _ = t.reap(child);
}
