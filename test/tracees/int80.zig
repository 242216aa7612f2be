//! System calls of the 32-bit table from a 64-bit program: their numbers mean something else there.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

var path_buffer: [4096]u8 = undefined;

fn call32(number: u32, a: u32, b: u32, c: u32, d: u32) i32 {
    return asm volatile ("int $0x80"
        : [result] "={eax}" (-> i32),
        : [number] "{eax}" (number),
          [a] "{ebx}" (a),
          [b] "{ecx}" (b),
          [c] "{edx}" (c),
          [d] "{esi}" (d),
        : .{ .r8 = true, .r9 = true, .r10 = true, .r11 = true, .memory = true });
}

pub fn main() void {
    t.makeFileElsewhere("one", "opened by int 0x80 open\n");
    t.makeFileElsewhere("two", "opened by int 0x80 openat\n");
    t.makeFileElsewhere("to-go", "deleted by int 0x80 unlink\n");
    // Pointers have 32 bits there: MAP_32BIT.
    const low = t.must(.mmap, .{ 0, 4096, 3, 0x62, -1, 0 });
    const text: [*]u8 = @ptrFromInt(low);
    const address: u32 = @intCast(low);

    put(text, "one");
    see(call32(5, address, 0, 0, 0), "one", "int 0x80, open");
    put(text, "two");
    see(call32(295, @bitCast(t.at_cwd), address, 0, 0), "two", "int 0x80, openat");
    put(text, "created");
    see(call32(8, address, 0o644, 0, 0), "created", "int 0x80, creat");
    put(text, "to-go");
    if (call32(10, address, 0, 0, 0) == 0) {
        var line: t.Line = .{};
        line.begin("deleted").number("pid", t.pid()).text("path", t.absolute(&path_buffer, "to-go")).end();
    }
}

fn put(text: [*]u8, name: []const u8) void {
    @memcpy(text[0..name.len], name);
    text[name.len] = 0;
}

fn see(result: i32, name: []const u8, how: []const u8) void {
    if (result == -@as(i32, @backingInt(t.linux.E.NOSYS))) return; // a kernel without IA32 emulation
    if (result < 0) t.fail(how, result);
    t.close(@intCast(result));
    t.seeOpen(t.absolute(&path_buffer, name), "read", how);
}
