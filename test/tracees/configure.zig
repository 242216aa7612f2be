//! What configure scripts do a thousand times: writes a program, closes it and executes it at once. `configure PROCESSES EACH`: so many
//! processes side by side, so many programs each. Every second one is written over the last one of its process (`conftest`), the others
//! stay; every fourth is a script whose interpreter is a program that was made a moment ago.
//!
//! Says of each: what is in it behind `base`, the program that they all are, and which process has run it.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

/// exit(0) for x86-64: an ELF header, one program header, three instructions. Whatever is behind it is only read.
const base = header() ++ [_]u8{ 0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05 };

fn header() [120]u8 {
    @setEvalBranchQuota(10_000);
    const address = 0x40_0000;
    var bytes: [120]u8 = @splat(0);
    @memcpy(bytes[0..7], "\x7fELF\x02\x01\x01");
    put(u16, &bytes, 16, 2); // ET_EXEC
    put(u16, &bytes, 18, 62); // EM_X86_64
    put(u32, &bytes, 20, 1);
    put(u64, &bytes, 24, address + 120); // entry
    put(u64, &bytes, 32, 64); // program headers
    put(u16, &bytes, 52, 64);
    put(u16, &bytes, 54, 56);
    put(u16, &bytes, 56, 1);
    put(u32, &bytes, 64, 1); // PT_LOAD
    put(u32, &bytes, 68, 5); // read, execute
    put(u64, &bytes, 80, address);
    put(u64, &bytes, 88, address);
    put(u64, &bytes, 96, 129);
    put(u64, &bytes, 104, 129);
    put(u64, &bytes, 112, 0x1000);
    return bytes;
}

fn put(comptime T: type, bytes: *[120]u8, at: usize, value: T) void {
    std.mem.writeInt(T, bytes[at..][0..@sizeOf(T)], value, .little);
}

const Program = struct { name: [:0]const u8, content: []const u8 };

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    const processes = arguments.number(1, 1);
    const each = arguments.number(2, 1);
    make("base", &base);
    for (0..processes) |process| {
        if (t.fork() != 0) continue;
        for (0..each) |i| one(process, i);
        t.exit(0);
    }
    for (0..processes) |_| if (t.reap(-1) != 0) t.fail("a process has failed", 0);
}

fn one(process: usize, i: usize) void {
    var name_buffer: [64]u8 = undefined;
    var content_buffer: [512]u8 = undefined;
    var label_buffer: [64]u8 = undefined;
    const label = t.format(&label_buffer, "{d} {d}", .{ process, i });
    const name = if (i % 2 == 0)
        t.format(&name_buffer, "conftest-{d}", .{process})
    else
        t.format(&name_buffer, "probe-{d}-{d}", .{ process, i });
    // The kernel looks for a relative interpreter from the working directory on.
    const content = if (i % 4 == 3)
        t.format(&content_buffer, "#!conftest-{d}\n{s}", .{ process, label })
    else
        t.format(&content_buffer, "{s}{s}", .{ &base, label });
    make(name, content);
    const child = t.fork();
    if (child == 0) t.exit(if (t.call(.execve, .{ name.ptr, &[_]?[*:0]const u8{ name, null }, &[_]?[*:0]const u8{null} }) == -26) 126 else 127); // ETXTBSY
    const status = t.reap(child);
    if (status != 0) t.fail("a program was not executed", @intCast(status));
    var line: t.Line = .{};
    line.begin("answer").text("what", label).number("value", @as(u32, @intCast(child))).end();
}

fn make(name: [*:0]const u8, content: []const u8) void {
    const descriptor = t.open(name, t.O.wronly | t.O.creat | t.O.trunc, 0o755);
    t.writeAll(descriptor, content);
    t.close(descriptor);
}
