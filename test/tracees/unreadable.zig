//! Arguments in memory that nobody but the kernel on behalf of this process can read: `unreadable secret|protnone|userfault|userfault-lost|userfault-device`.
//! secret: memfd_secret(2), which get_user_pages refuses. protnone: the kernel cannot read it either. userfault: a page that is only
//! there once another thread has answered; userfault-lost: nobody ever does, and a child holds the descriptor that could;
//! userfault-device: the same, by /dev/userfaultfd.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

const page = 4096;
var path_buffer: [4096]u8 = undefined;
var line: t.Line = .{};

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    const Mode = enum { secret, protnone, userfault, @"userfault-lost", @"userfault-device" };
    // By a child, so that it is not this process that has opened them.
    const maker = t.fork();
    if (maker == 0) {
        t.makeFile("hidden", "named by memory that a tracer cannot read\n");
        t.makeFile("victim", "deleted by such a name\n");
        t.exit(0);
    }
    _ = t.reap(maker);
    switch (std.meta.stringToEnum(Mode, arguments.at(1) orelse "") orelse t.fail("unreadable MODE", 0)) {
        .secret => secret(),
        .protnone => protectNone(),
        .userfault => userfault(faultsOfAll(), true),
        .@"userfault-lost" => userfault(faultsOfAll(), false),
        .@"userfault-device" => userfault(faultsOfDevice(), false),
    }
    t.exit(0);
}

fn put(at: [*]u8, text: []const u8) void {
    @memcpy(at[0..text.len], text);
    at[text.len] = 0;
}

fn secret() void {
    const descriptor = t.call(.memfd_secret, .{0});
    if (descriptor < 0) return line.begin("answer").text("what", "memfd_secret").number("value", descriptor).end();
    _ = t.must(.ftruncate, .{ descriptor, page });
    const memory: [*]u8 = @ptrFromInt(t.must(.mmap, .{ 0, page, 3, 1, descriptor, 0 }));

    // What was opened is known by its descriptor, whatever the path was.
    put(memory, "hidden");
    t.close(t.must(.openat, .{ t.at_cwd, memory, t.O.rdonly, 0 }));
    t.seeOpen(t.absolute(&path_buffer, "hidden"), "read", "openat with a path in secret memory");

    // What was deleted is known by its path alone.
    put(memory, "victim");
    _ = t.must(.unlink, .{memory});
    line.begin("gap").text("kind", "unreadable-memory").end();

    // And whom a datagram socket was connected to by the address alone: IPv4, port 9, 127.0.0.1.
    const socket = t.must(.socket, .{ 2, 2, 0 });
    @memcpy(memory[0..16], &[16]u8{ 2, 0, 0, 9, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0 });
    _ = t.must(.connect, .{ socket, memory, 16 });
}

fn protectNone() void {
    const memory: [*]u8 = t.memory(page);
    put(memory, "hidden");
    _ = t.must(.mprotect, .{ memory, page, 0 });
    if (t.call(.openat, .{ t.at_cwd, memory, t.O.rdonly, 0 }) != -14) t.fail("EFAULT was expected", 0);
    t.seeNoOpen(t.absolute(&path_buffer, "hidden"), "a path in memory without any protection");
    if (t.call(.unlink, .{memory}) != -14) t.fail("EFAULT was expected", 0);
}

// ---------------------------------------------------------------------------------------------

var fault_descriptor: usize = 0;
var missing: [*]align(page) u8 = undefined;

/// For all faults, those of the kernel too; an ordinary user gets only those of its own code (UFFD_USER_MODE_ONLY).
fn faultsOfAll() isize {
    const descriptor = t.call(.userfaultfd, .{t.O.cloexec});
    return if (descriptor == -1) t.call(.userfaultfd, .{t.O.cloexec | 1}) else descriptor;
}

fn faultsOfDevice() isize {
    const device = t.call(.openat, .{ t.at_cwd, "/dev/userfaultfd", t.O.rdwr, 0 });
    return if (device < 0) device else t.call(.ioctl, .{ device, 0xaa00, t.O.cloexec });
}

fn userfault(descriptor: isize, answered: bool) void {
    if (descriptor < 0) return line.begin("answer").text("what", "userfaultfd").number("value", descriptor).end();
    fault_descriptor = @intCast(descriptor);
    const api = [3]u64{ 0xaa, 0, 0 };
    _ = t.must(.ioctl, .{ fault_descriptor, 0xc018aa3f, &api });
    missing = t.memory(page);
    const range = [4]u64{ @intFromPtr(missing), page, 1, 0 };
    _ = t.must(.ioctl, .{ fault_descriptor, 0xc020aa00, &range });

    var other: t.Thread = .{};
    if (answered) {
        other.start(answer, 0);
        const opened = t.call(.openat, .{ t.at_cwd, missing, t.O.rdonly, 0 });
        // Where the kernel does not wait for us either, nothing was opened.
        if (opened == -14) return t.seeNoOpen(t.absolute(&path_buffer, "hidden"), "a path that was not there");
        t.close(@intCast(opened));
        other.join();
        return t.seeOpen(t.absolute(&path_buffer, "hidden"), "read", "a path that came during the call");
    }
    // A child keeps the descriptor open: nothing but its death ends the wait for the page.
    if (t.fork() == 0) {
        _ = t.call(.setsid, .{});
        while (true) t.sleepMs(1000);
    }
    other.start(giveUp, 0);
    _ = t.call(.openat, .{ t.at_cwd, missing, t.O.rdonly, 0 });
    t.seeNoOpen(t.absolute(&path_buffer, "hidden"), "a path that never came");
}

/// Lets the faulting thread wait a while, then gives it the page.
fn answer(_: usize) callconv(.c) u8 {
    var message: [32]u8 = undefined;
    _ = t.must(.read, .{ fault_descriptor, &message, message.len });
    t.sleepMs(200);
    const source: [*]u8 = t.memory(page);
    put(source, "hidden");
    const copy = [5]u64{ @intFromPtr(missing), @intFromPtr(source), page, 0, 0 };
    _ = t.must(.ioctl, .{ fault_descriptor, 0xc028aa03, &copy });
    return 0;
}

fn giveUp(_: usize) callconv(.c) u8 {
    t.sleepMs(300);
    t.exit(0);
}
