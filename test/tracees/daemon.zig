//! Starts a daemon as they do it, fork, setsid, fork, and ends before it: `daemon MILLISECONDS STATUS`. 0: the daemon stays for ever.
//! The daemon holds none of our descriptors, as good ones do.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    const stay_ms: u32 = @intCast(arguments.number(1, 0));
    const status: u8 = @intCast(arguments.number(2, 0));
    var said: [2]i32 = undefined;
    _ = t.must(.pipe2, .{ &said, t.O.cloexec });

    const root = t.pid();
    const child = t.fork();
    if (child == 0) {
        const middle = t.pid();
        _ = t.must(.setsid, .{});
        const second = t.fork();
        if (second != 0) t.exit(0);
        t.seeProcess(middle, root, "fork");
        t.seeProcess(t.pid(), middle, "fork after setsid");
        var line: t.Line = .{};
        line.begin("daemon").number("pid", t.pid()).end();
        const null_device = t.open("/dev/null", t.O.rdwr, 0);
        for (0..3) |descriptor| _ = t.must(.dup2, .{ null_device, descriptor });
        t.close(@intCast(said[1])); // tells the root that everything is said
        if (stay_ms == 0) while (true) t.sleepMs(60_000);
        t.sleepMs(stay_ms);
        t.makeFile("daemon-was-here", "written after the command's end\n");
        t.exit(0);
    }
    _ = t.reap(child);
    t.close(@intCast(said[1]));
    var byte: [1]u8 = undefined;
    _ = t.must(.read, .{ said[0], &byte, 1 });
    t.exit(status);
}
