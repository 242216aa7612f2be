//! Makes itself unreadable for a tracer without privilege, then opens and execs. PR_SET_DUMPABLE 0 hides /proc/PID and memory.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

var path_buffer: [4096]u8 = undefined;

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    if (arguments.at(1) != null) t.exit(0);
    t.makeFileElsewhere("hidden", "opened by a process that cannot be looked into\n");
    _ = t.must(.prctl, .{ 4, 0, 0, 0, 0 });
    var line: t.Line = .{};
    line.begin("event").number("pid", t.pid()).text("syscall", "prctl").end();
    t.readFile("hidden");
    t.seeOpen(t.absolute(&path_buffer, "hidden"), "read", "open of a process that is not dumpable");
    _ = t.must(.rename, .{ "hidden", "renamed" });
    line.begin("renamed").number("pid", t.pid()).text("from", t.absolute(&path_buffer, "hidden")).end();

    const self_path = arguments.at(0) orelse t.fail("argv[0]", 0);
    const child = t.fork();
    if (child == 0) {
        const argv = [_:null]?[*:0]const u8{ self_path.ptr, "again" };
        t.fail("execve", t.call(.execve, .{ self_path.ptr, &argv, arguments.environment.ptr }));
    }
    _ = t.reap(child);
    t.seeProgram(child, self_path, &.{ self_path, "again" });
}
