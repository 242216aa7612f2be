//! Who traces a program, and who started that: read from /proc, as an attacker would.
const t = @import("tracee.zig");
const std = @import("std");

/// 0: nobody.
pub fn tracer() i32 {
    return number("/proc/self/status", "TracerPid:");
}

pub fn frontEnd() i32 {
    var path: [64]u8 = undefined;
    return number(t.format(&path, "/proc/{d}/status", .{tracer()}), "PPid:");
}

/// The letter of a process's state; 0: there is none.
pub fn stateOf(process: i32) u8 {
    var path: [64]u8 = undefined;
    var buffer: [4096]u8 = undefined;
    const text = valueOf(t.format(&path, "/proc/{d}/status", .{process}), "State:", &buffer);
    return if (text.len == 0) 0 else text[0];
}

fn number(path: [*:0]const u8, key: []const u8) i32 {
    var buffer: [4096]u8 = undefined;
    return std.fmt.parseInt(i32, valueOf(path, key, &buffer), 10) catch 0;
}

fn valueOf(path: [*:0]const u8, key: []const u8, buffer: *[4096]u8) []const u8 {
    const descriptor = t.open(path, t.O.rdonly, 0);
    defer t.close(descriptor);
    const length = t.must(.read, .{ descriptor, buffer, buffer.len });
    const start = (std.mem.find(u8, buffer[0..length], key) orelse return "") + key.len;
    return std.mem.trim(u8, std.mem.sliceTo(buffer[start..length], '\n'), " \t");
}
