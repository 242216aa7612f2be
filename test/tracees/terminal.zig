//! Runs a program in a terminal of its own: `terminal PROGRAM ARGUMENT…`. Our stdin is what is typed, our stdout what
//! the screen shows. Ends with the program's status, 128 + n after signal n. The end of stdin is the end of typing, not of the program.
//! A NUL on stdin hangs up: the terminal is gone, as when a connection breaks.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    const program = arguments.at(1) orelse t.fail("terminal PROGRAM", 0);
    const master = t.open("/dev/ptmx", t.O.rdwr | t.O.cloexec, 0);
    var zero: i32 = 0;
    _ = t.must(.ioctl, .{ master, 0x40045431, &zero }); // TIOCSPTLCK: unlock
    var number: i32 = 0;
    _ = t.must(.ioctl, .{ master, 0x80045430, &number }); // TIOCGPTN
    const size = [4]u16{ 31, 97, 0, 0 };
    _ = t.must(.ioctl, .{ master, 0x5414, &size }); // TIOCSWINSZ

    const child = t.fork();
    if (child == 0) {
        _ = t.must(.setsid, .{});
        var path: [32]u8 = undefined;
        const slave = t.open(t.format(&path, "/dev/pts/{d}", .{number}).ptr, t.O.rdwr, 0); // no O_NOCTTY: it becomes ours
        for (0..3) |descriptor| _ = t.must(.dup2, .{ slave, descriptor });
        if (slave > 2) t.close(slave);
        t.fail("execve", t.call(.execve, .{ program.ptr, arguments.from(1), arguments.environment.ptr }));
    }

    var typing = true;
    while (true) {
        var polled = [2]t.linux.pollfd{
            .{ .fd = if (typing) 0 else -1, .events = 1, .revents = 0 },
            .{ .fd = @intCast(master), .events = 1, .revents = 0 },
        };
        if (t.call(.poll, .{ &polled, polled.len, -1 }) < 0) continue;
        if (polled[0].revents != 0) switch (pass(0, master)) {
            .more => {},
            .end => typing = false,
            .hang_up => {
                t.close(master);
                break;
            },
        };
        // EIO when the last one that had the slave open is gone.
        if (polled[1].revents != 0 and pass(master, 1) == .end) break;
    }
    const status = t.reap(child);
    t.exit(@intCast(if (status & 0x7f == 0) status >> 8 & 0xff else 128 + (status & 0x7f)));
}

fn pass(from: usize, to: usize) enum { more, end, hang_up } {
    var buffer: [4096]u8 = undefined;
    const length = t.call(.read, .{ from, &buffer, buffer.len });
    if (length <= 0) return .end;
    const bytes = buffer[0..@intCast(length)];
    if (from == 0 and bytes[bytes.len - 1] == 0) return .hang_up;
    t.writeAll(to, bytes);
    return .more;
}
