//! Opens what must never be read to its end: endless devices, pipes that nobody writes, a terabyte of nothing, files of /proc, a log
//! that grows all the time. `bombs flood COUNT` opens one file so often instead, and `bombs many COUNT` so many files, once each.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

var path_buffer: [4096]u8 = undefined;
var name_buffer: [64]u8 = undefined;

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    const mode = arguments.at(1) orelse "";
    if (std.mem.eql(u8, mode, "flood")) {
        flood(arguments.number(2, 0));
    } else if (std.mem.eql(u8, mode, "many")) {
        many(arguments.number(2, 0));
    } else bombs();
    t.exit(0);
}

fn bombs() void {
    for ([_][:0]const u8{ "/dev/zero", "/dev/urandom", "/dev/null" }) |device| say(device, "device");

    _ = t.must(.mknod, .{ "pipe", 0o010600, 0 });
    t.close(t.must(.open, .{ "pipe", t.O.rdonly | t.O.nonblock, 0 }));
    see(t.absolute(&path_buffer, "pipe"), "fifo");

    t.makeFile("terabyte", "");
    _ = t.must(.truncate, .{ "terabyte", @as(u64, 1) << 40 });
    t.close(t.open("terabyte", t.O.rdonly, 0));
    see(t.absolute(&path_buffer, "terabyte"), "too-large");

    say("/proc/kmsg", "pseudo-filesystem");
    say("/proc/self/maps", "pseudo-filesystem");

    // A child appends for as long as we look.
    t.makeFile("log", "begins\n");
    const writer = t.fork();
    if (writer == 0) {
        const log = t.open("log", t.O.wronly | t.O.append, 0);
        for (0..2000) |_| _ = t.must(.write, .{ log, "grows\n", 6 });
        t.exit(0);
    }
    for (0..100) |_| t.close(t.open("log", t.O.rdonly, 0));
    _ = t.reap(writer);
}

/// Opens it if this user may; what is not there to be opened is no bomb.
fn say(path: [:0]const u8, reason: []const u8) void {
    const descriptor = t.call(.open, .{ path.ptr, t.O.rdonly | t.O.nonblock, 0 });
    if (descriptor < 0) return;
    t.close(@intCast(descriptor));
    // The link of /proc/self is followed: the record has the number.
    var buffer: [64]u8 = undefined;
    const self = "/proc/self/";
    if (!std.mem.startsWith(u8, path, self)) return see(path, reason);
    see(t.format(&buffer, "/proc/{d}/{s}", .{ t.pid(), path[self.len..] }), reason);
}

fn see(path: []const u8, reason: []const u8) void {
    var line: t.Line = .{};
    line.begin("unhashed").number("pid", t.pid()).text("path", path).text("reason", reason).end();
}

fn flood(count: u64) void {
    t.makeFile("again", "and again\n");
    for (0..count) |_| t.close(t.open("again", t.O.rdonly, 0));
    t.seeOpen(t.absolute(&path_buffer, "again"), "read", "of many opens");
    t.makeFile("last", "after the flood\n");
    t.close(t.open("last", t.O.rdonly, 0));
    t.seeOpen(t.absolute(&path_buffer, "last"), "read", "after the flood");
}

fn many(count: u64) void {
    for (0..count) |i| {
        const name = t.format(&name_buffer, "file{d}", .{i});
        const descriptor = t.open(name.ptr, t.O.wronly | t.O.creat, 0o644);
        _ = t.must(.write, .{ descriptor, name.ptr, name.len });
        t.close(descriptor);
    }
    for (0..count) |i| t.close(t.open(t.format(&name_buffer, "file{d}", .{i}).ptr, t.O.rdonly, 0));
    for ([_]u64{ 0, count / 2, count - 1 }) |i| {
        const name = t.format(&name_buffer, "file{d}", .{i});
        t.seeOpen(t.absolute(&path_buffer, name), "read", "of many files");
    }
}
