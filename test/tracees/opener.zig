//! Opens and deletes a file, and says so: `opener`. Whatever is special about it is how it was started.
const t = @import("lib/tracee.zig");
pub const panic = t.panic;

var path_buffer: [4096]u8 = undefined;

pub fn main() void {
    t.makeFile("wanted", "opened by a program that may be unreadable\n");
    t.readFile("wanted");
    const path = t.absolute(&path_buffer, "wanted");
    t.seeOpen(path, "read", "open");
    _ = t.must(.unlink, .{"wanted"});
    var line: t.Line = .{};
    line.begin("deleted").number("pid", t.pid()).text("path", path).end();
    t.exit(0);
}
