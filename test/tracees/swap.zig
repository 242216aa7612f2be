//! Contents that change under one name or in one inode, so that a digest by path, or a cache by size and mtime, is wrong.
//! Each line gives the contents that this process read from the path, in order.
//! `swap MILLISECONDS` lets so much time go by before each change: then only a cache can be wrong, not a digest that comes too late.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

const O = t.O;
var path_buffer: [4096]u8 = undefined;

var pause_ms: u32 = 0;

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    pause_ms = @intCast(arguments.number(1, 0));
    inPlace();
    sameSizeSameTime();
    renameOver();
    truncated();
    thereAndBack();
}

fn reads(path: []const u8, contents: []const []const u8) void {
    var line: t.Line = .{};
    line.begin("reads").number("pid", t.pid()).text("path", t.absolute(&path_buffer, path)).texts("contents", contents).end();
}

/// Written by a child, so that this process only ever reads.
fn rewrite(path: [*:0]const u8, content: []const u8, keep_times: bool) void {
    t.sleepMs(pause_ms);
    const child = t.fork();
    if (child != 0) {
        if (t.reap(child) != 0) t.fail("rewrite", 0);
        return;
    }
    var stat: t.linux.Statx = undefined;
    _ = t.must(.statx, .{ t.at_cwd, path, 0, 0x7ff, &stat });
    const descriptor = t.open(path, O.wronly, 0);
    t.writeAll(descriptor, content);
    t.close(descriptor);
    if (keep_times) {
        const times = [2]t.linux.timespec{
            .{ .sec = stat.atime.sec, .nsec = stat.atime.nsec },
            .{ .sec = stat.mtime.sec, .nsec = stat.mtime.nsec },
        };
        _ = t.must(.utimensat, .{ t.at_cwd, path, &times, 0 });
    }
    t.exit(0);
}

fn inPlace() void {
    t.makeFile("in-place", "first content\n");
    t.readFile("in-place");
    rewrite("in-place", "other content\n", false);
    t.readFile("in-place");
    reads("in-place", &.{ "first content\n", "other content\n" });
}

/// Only ctime tells.
fn sameSizeSameTime() void {
    t.makeFile("same-time", "AAAA\n");
    t.readFile("same-time");
    rewrite("same-time", "BBBB\n", true);
    t.readFile("same-time");
    reads("same-time", &.{ "AAAA\n", "BBBB\n" });
}

/// The descriptor stays with the old file; the name goes to a new one. What was opened is the old content.
fn renameOver() void {
    t.makeFile("target", "old\n");
    t.makeFile("replacement", "new\n");
    const descriptor = t.open("target", O.rdonly, 0);
    _ = t.must(.renameat2, .{ t.at_cwd, "replacement", t.at_cwd, "target", 0 });
    var buffer: [64]u8 = undefined;
    const length = t.must(.read, .{ descriptor, &buffer, buffer.len });
    if (!std.mem.eql(u8, buffer[0..length], "old\n")) t.fail("another file", 0);
    t.close(descriptor);
    t.readFile("target");
    reads("target", &.{ "old\n", "new\n" });
}

fn truncated() void {
    t.makeFile("truncated", "long content that goes\n");
    t.readFile("truncated");
    t.sleepMs(pause_ms);
    _ = t.must(.truncate, .{ "truncated", @as(usize, 4) });
    t.readFile("truncated");
    reads("truncated", &.{ "long content that goes\n", "long" });
}

/// A, B, A again: three opens, the last content equal to the first.
fn thereAndBack() void {
    t.makeFile("back", "content A\n");
    t.readFile("back");
    rewrite("back", "content B\n", true);
    t.readFile("back");
    rewrite("back", "content A\n", true);
    t.readFile("back");
    reads("back", &.{ "content A\n", "content B\n", "content A\n" });
}
