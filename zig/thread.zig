//! A thread of our own in the front end, outside of what Bun and libc know of. It has no thread-local
//! storage of its own, so nothing that runs in it may use libc, allocators of std, or std.Thread; all
//! signals are blocked in it. In return it is the same in the static binary and in the development
//! library, whichever libc the program around it has, and no garbage collector stops it.
const std = @import("std");
const linux = std.os.linux;
const sys = @import("sys.zig");

const stack_size = 256 << 10;

/// Starts `run(argument)`. The thread ends with the process or when `run` returns; its stack is never given back.
pub fn start(comptime Argument: type, comptime run: fn (*Argument) void, argument: *Argument) sys.Error!void {
    const Entry = struct {
        fn main(address: usize) callconv(.c) u8 {
            run(@ptrFromInt(address));
            linux.exit(0); // of this thread only
        }
    };
    const stack = try sys.mapStack(stack_size);
    // The mask is inherited: no moment in which a signal could arrive in the new thread.
    const mask = sys.setSignalMask(sys.all_signals);
    defer _ = sys.setSignalMask(mask);
    const C = linux.CLONE;
    const flags = C.VM | C.FS | C.FILES | C.SIGHAND | C.THREAD | C.SYSVSEM;
    _ = try sys.check(linux.clone(Entry.main, @intFromPtr(stack + stack_size), flags, @intFromPtr(argument), null, 0, null));
}

test "a thread runs and sees our memory" {
    const Box = struct {
        word: u32 = 0,
        fn set(box: *@This()) void {
            @atomicStore(u32, &box.word, 7, .release);
            sys.futexWake(&box.word);
        }
    };
    var box: Box = .{};
    try start(Box, Box.set, &box);
    while (@atomicLoad(u32, &box.word, .acquire) == 0) sys.futexWait(&box.word, 0, 100);
    try std.testing.expectEqual(@as(u32, 7), box.word);
}
