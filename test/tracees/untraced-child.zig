//! Asks the kernel not to trace a child: CLONE_UNTRACED in clone, in clone3, and put into clone3's memory by a second thread
//! while the call is under way. Each child opens a file. A tracer sees the child, or refuses the call, or says that it lost one.
//! A child that escapes for a moment still has the tracer's filter, and nobody to ask: its calls answer ENOSYS.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

const untraced = 0x00800000;
var path_buffer: [4096]u8 = undefined;
var flipping: bool = true;

pub fn main() void {
    t.makeFile("by-clone", "opened by an untraced child of clone\n");
    t.makeFile("by-clone3", "opened by an untraced child of clone3\n");
    t.makeFile("by-flip", "opened by a child of clone3 with flipped flags\n");

    const chld: u64 = @backingInt(t.linux.SIG.CHLD);
    inChild(t.call(.clone, .{ untraced | chld, 0, 0, 0, 0 }), "by-clone", "clone with CLONE_UNTRACED", true);
    const arguments: [8]u64 = .{ untraced, 0, 0, 0, chld, 0, 0, 0 };
    inChild(t.call(.clone3, .{ &arguments, @sizeOf([8]u64) }), "by-clone3", "clone3 with CLONE_UNTRACED", true);
    flipped();
}

/// `result` of a call that makes a child, in both processes.
fn inChild(result: isize, name: [*:0]const u8, how: []const u8, is_certain: bool) void {
    if (result < 0) return; // refused: there is no child to be seen
    if (result == 0) t.exit(readOnce(name));
    const status = t.reap(@intCast(result)) >> 8;
    var line: t.Line = .{};
    if (status == no_system_call) line.begin("answer").text("what", how).number("value", -@as(isize, no_system_call)).end();
    // What is in a register cannot be put back: such a child never escapes.
    line.begin(if (is_certain) "open" else "open-or-gap").number("pid", result).text("path", t.absolute(&path_buffer, std.mem.span(name)))
        .texts("kinds", &.{"untraced-child"}).text("access", "read").text("how", how).end();
}

const no_system_call = @backingInt(t.linux.E.NOSYS);

/// How the child ends: with ENOSYS, if that is what it was answered.
fn readOnce(name: [*:0]const u8) u8 {
    const descriptor = t.call(.openat, .{ t.linux.AT.FDCWD, name, t.O.rdonly, 0 });
    if (descriptor == -@as(isize, no_system_call)) return no_system_call;
    if (descriptor < 0) t.fail("openat", descriptor);
    var buffer: [4096]u8 = undefined;
    while (t.must(.read, .{ descriptor, &buffer, buffer.len }) > 0) {}
    return 0;
}

fn flipped() void {
    var arguments: [8]u64 = .{ 0, 0, 0, 0, @backingInt(t.linux.SIG.CHLD), 0, 0, 0 };
    var flipper: t.Thread = .{};
    flipper.start(flip, @intFromPtr(&arguments));
    for (0..100) |_| {
        inChild(t.call(.clone3, .{ &arguments, @sizeOf([8]u64) }), "by-flip", "clone3 with flags that change", false);
    }
    @atomicStore(bool, &flipping, false, .release);
    flipper.join();
}

fn flip(address: usize) callconv(.c) u8 {
    const word: *u64 = @ptrFromInt(address);
    while (@atomicLoad(bool, &flipping, .acquire)) {
        @atomicStore(u64, word, untraced, .monotonic);
        @atomicStore(u64, word, 0, .monotonic);
    }
    return 0;
}
