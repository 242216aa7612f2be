//! A terminal of its own for a captured stream: where our stdout is a terminal, the command's stdout must
//! be one too, or programs print without colours and widths. Stdin and the controlling terminal stay the
//! user's, so keys, job control and signals work as without us.
const std = @import("std");
const linux = std.os.linux;
const sys = @import("sys.zig");

pub const Pty = struct { master: i32, slave: i32 };

const TCGETS = 0x5401;
const TCSETS = 0x5402;
const TIOCGWINSZ = 0x5413;
const TIOCSWINSZ = 0x5414;
const TIOCSPTLCK = 0x4004_5431;
/// Opens the other end without a path below /dev/pts, which may be another instance's. Linux 4.13.
const TIOCGPTPEER = 0x5441;
const OPOST: u32 = 1;

/// struct termios of the kernel on x86 and arm64.
const Termios = extern struct {
    input: u32,
    output: u32,
    control: u32,
    local: u32,
    line: u8,
    characters: [19]u8,
};

comptime {
    std.debug.assert(@sizeOf(Termios) == 36);
}

pub const Size = extern struct {
    rows: u16 = 0,
    columns: u16 = 0,
    width: u16 = 0,
    height: u16 = 0,
};

pub fn isTerminal(descriptor: i32) bool {
    var settings: Termios = undefined;
    return linux.errno(linux.ioctl(descriptor, TCGETS, @intFromPtr(&settings))) == .SUCCESS;
}

/// A pair with the settings and the size of the terminal `like`, but without output processing: what the
/// command writes is what comes out, and the real terminal does the processing once.
pub fn openPair(like: i32) sys.Error!Pty {
    const flags: linux.O = .{ .ACCMODE = .RDWR, .NOCTTY = true, .CLOEXEC = true };
    const master = switch (sys.open(linux.AT.FDCWD, "/dev/ptmx", flags)) {
        .descriptor => |descriptor| descriptor,
        .failed => return error.NotFound,
    };
    errdefer sys.close(master);
    var unlock: i32 = 0;
    _ = try sys.check(linux.ioctl(master, TIOCSPTLCK, @intFromPtr(&unlock)));
    const slave: i32 = @intCast(try sys.check(linux.ioctl(master, TIOCGPTPEER, @as(u32, @bitCast(flags)))));
    errdefer sys.close(slave);

    var settings: Termios = undefined;
    _ = try sys.check(linux.ioctl(like, TCGETS, @intFromPtr(&settings)));
    settings.output &= ~OPOST;
    _ = try sys.check(linux.ioctl(slave, TCSETS, @intFromPtr(&settings)));
    setSize(master, sizeOf(like) orelse .{});
    return .{ .master = master, .slave = slave };
}

pub fn sizeOf(descriptor: i32) ?Size {
    var size: Size = undefined;
    return if (linux.errno(linux.ioctl(descriptor, TIOCGWINSZ, @intFromPtr(&size))) == .SUCCESS) size else null;
}

pub fn setSize(descriptor: i32, size: Size) void {
    _ = linux.ioctl(descriptor, TIOCSWINSZ, @intFromPtr(&size));
}
