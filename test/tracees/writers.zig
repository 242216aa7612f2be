//! Leaves a file behind by every way to write one. The test digests what is on disk afterwards.
//! `writers write-only`: one that cannot be read back.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

const O = t.O;
const content = "content of the source, long enough to be copied in parts\n";
var path_buffer: [4096]u8 = undefined;

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    if (arguments.at(1) != null) return writeOnly();
    t.makeFile("source", content);
    written("source", "write");
    byMap();
    byCopyFileRange();
    bySendfile();
    bySplice();
    byAppend();
    byPwrite();
    byLeftOpen();
    byTruncate();
    byRename();
    byLink();
    inChild();
    unlinked();
}

fn written(path: []const u8, how: []const u8) void {
    var line: t.Line = .{};
    line.begin("written").number("pid", t.pid()).text("path", t.absolute(&path_buffer, path)).text("how", how).end();
}

fn byMap() void {
    const descriptor = t.open("mapped", O.rdwr | O.creat | O.trunc, 0o644);
    _ = t.must(.ftruncate, .{ descriptor, @as(usize, 4096) });
    const address = t.must(.mmap, .{ 0, 4096, 3, 1, descriptor, 0 }); // shared, read and write
    t.close(descriptor); // the map alone keeps the file
    const bytes: [*]u8 = @ptrFromInt(address);
    @memcpy(bytes[0..content.len], content);
    // Nothing says when a map is written to: only the end tells.
    written("mapped", "mmap MAP_SHARED");
}

fn byCopyFileRange() void {
    const from = t.open("source", O.rdonly, 0);
    const to = t.open("copied", O.wronly | O.creat | O.trunc, 0o644);
    const result = t.call(.copy_file_range, .{ from, null, to, null, content.len, 0 });
    if (result < 0) t.writeAll(to, content); // some file systems have none; the file must be there all the same
    t.close(from);
    t.close(to);
    written("copied", "copy_file_range");
}

fn bySendfile() void {
    const from = t.open("source", O.rdonly, 0);
    const to = t.open("sent", O.wronly | O.creat | O.trunc, 0o644);
    _ = t.must(.sendfile, .{ to, from, null, content.len });
    t.close(from);
    t.close(to);
    written("sent", "sendfile");
}

fn bySplice() void {
    var pipe: [2]i32 = undefined;
    _ = t.must(.pipe2, .{ &pipe, 0 });
    const from = t.open("source", O.rdonly, 0);
    const to = t.open("spliced", O.wronly | O.creat | O.trunc, 0o644);
    const length = t.must(.splice, .{ from, null, pipe[1], null, content.len, 0 });
    _ = t.must(.splice, .{ pipe[0], null, to, null, length, 0 });
    for ([_]usize{ from, to, @intCast(pipe[0]), @intCast(pipe[1]) }) |descriptor| t.close(descriptor);
    written("spliced", "splice");
}

fn byAppend() void {
    t.makeFile("appended", "first\n");
    const descriptor = t.open("appended", O.wronly | O.append, 0);
    t.writeAll(descriptor, "second\n");
    t.close(descriptor);
    written("appended", "O_APPEND");
}

fn byPwrite() void {
    const descriptor = t.open("pwritten", O.rdwr | O.creat, 0o600);
    _ = t.must(.pwrite64, .{ descriptor, content, content.len, 100 });
    const parts = [2]std.posix.iovec_const{ .{ .base = "one", .len = 3 }, .{ .base = "two", .len = 3 } };
    _ = t.must(.pwritev, .{ descriptor, &parts, parts.len, 0, 0 });
    t.close(descriptor);
    written("pwritten", "pwrite and pwritev");
}

/// Never closed: the process's end does it.
fn byLeftOpen() void {
    const descriptor = t.open("left-open", O.wronly | O.creat, 0o644);
    t.writeAll(descriptor, "closed by nobody\n");
    written("left-open", "closed by the end of the process");
}

/// Nobody but root may read it back, its owner included.
fn writeOnly() void {
    const descriptor = t.open("write-only", O.wronly | O.creat, 0o200);
    t.writeAll(descriptor, "write-only, mode 0200\n");
    t.close(descriptor);
    if (t.must(.geteuid, .{}) == 0) return written("write-only", "mode 0200");
    var line: t.Line = .{};
    line.begin("unhashed").number("pid", t.pid()).text("path", t.absolute(&path_buffer, "write-only")).text("reason", "unreadable").end();
    line.begin("gap").text("kind", "unreadable-file").end();
}

fn byTruncate() void {
    t.makeFile("cut", content);
    _ = t.must(.truncate, .{ "cut", @as(usize, 7) });
    written("cut", "truncate by path");
    // By a process that has never had it open, of which nobody keeps a descriptor but the tracer.
    const child = t.fork();
    if (child == 0) {
        t.makeFile("cut-by-another", content);
        t.makeFile("cut-to-its-length", content);
        t.makeFile("cut-and-removed", content);
        t.exit(0);
    }
    _ = t.reap(child);
    _ = t.must(.truncate, .{ "cut-by-another", @as(usize, 7) });
    written("cut-by-another", "truncate by path, of another's file");
    _ = t.must(.truncate, .{ "cut-to-its-length", content.len });
    written("cut-to-its-length", "truncate by path to the length that it has");
    _ = t.must(.truncate, .{ "cut-and-removed", @as(usize, 7) });
    _ = t.must(.unlink, .{"cut-and-removed"});
}

fn byRename() void {
    t.makeFile("temporary", "under its final name\n");
    _ = t.must(.rename, .{ "temporary", "renamed" });
    written("renamed", "write, then rename");
    unseen("temporary");
}

fn byLink() void {
    t.makeFile("one-name", "two names\n");
    _ = t.must(.link, .{ "one-name", "other-name" });
    written("one-name", "write, then link");
    written("other-name", "write, then link");
}

/// The descriptor is opened here and written by a child. Whoever it is said of, it must not be lost.
fn inChild() void {
    const descriptor = t.open("by-child", O.wronly | O.creat, 0o644);
    const child = t.fork();
    if (child == 0) {
        t.writeAll(descriptor, "written by a child\n");
        t.exit(0);
    }
    _ = t.reap(child);
    t.close(descriptor);
    written("by-child", "write in a child through an inherited descriptor");
}

fn unlinked() void {
    t.makeFile("intermediate", "gone at the end\n");
    t.readFile("intermediate");
    _ = t.must(.unlink, .{"intermediate"});
    var line: t.Line = .{};
    line.begin("deleted").number("pid", t.pid()).text("path", t.absolute(&path_buffer, "intermediate")).text("content", "gone at the end\n").end();
}

fn unseen(path: []const u8) void {
    var line: t.Line = .{};
    line.begin("no-written").number("pid", t.pid()).text("path", t.absolute(&path_buffer, path)).end();
}
