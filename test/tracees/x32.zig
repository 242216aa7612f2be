//! The third table of x86-64: numbers with bit 30 set. Most kernels have it switched off.
const t = @import("lib/tracee.zig");
pub const panic = t.panic;

var path_buffer: [4096]u8 = undefined;

pub fn main() void {
    t.makeFileElsewhere("file", "opened by an x32 call\n");
    const result = t.raw(0x40000000 + 2, .{ "file", t.O.rdonly, 0 });
    var line: t.Line = .{};
    if (result < 0) {
        line.begin("gap").text("kind", "x32-refused").number("result", result).end();
    } else {
        t.seeOpen(t.absolute(&path_buffer, "file"), "read", "x32 open");
    }
}
