//! Writes to files while others open and read them, all within a tick of the clock, sizes unchanged: on file systems whose ctime moves once a
//! tick nothing shows it.
//!
//!     ticks once    each file has a content, a reader, and at once another content. They are larger than what a reader's open is held up for
//!                   to be digested, so that this is what we may read.
//!     ticks quiet   small files, and without the other content, though the writer could
const std = @import("std");
const t = @import("lib/tracee.zig");
pub const panic = t.panic;

const O = t.O;
const length = 64;
const large = 65 << 20;
var path_buffer: [4096]u8 = undefined;

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    const how = arguments.at(1) orelse t.fail("how?", 0);
    const is_quiet = std.mem.eql(u8, how, "quiet");
    for (0..if (is_quiet) 20 else 3) |i| single(i, is_quiet);
}

fn single(index: usize, is_quiet: bool) void {
    var name_buffer: [16]u8 = undefined;
    const name = std.fmt.bufPrintSentinel(&name_buffer, "file{d}", .{index}, 0) catch unreachable; // two digits
    const content: [length]u8 = @splat('A');
    const other: [length]u8 = @splat('B');
    const file = t.open(name, O.rdwr | O.creat | O.trunc, 0o644);
    if (!is_quiet) _ = t.must(.ftruncate, .{ file, @as(usize, large) });
    write(file, &content);
    const reader = t.fork();
    if (reader == 0) {
        const opened = t.open(name, O.rdonly, 0);
        var found: [length]u8 = undefined;
        _ = t.must(.read, .{ opened, &found, length });
        t.exit(if (std.mem.eql(u8, &found, &content)) 0 else 1);
    }
    if (t.reap(reader) != 0) t.fail("the reader has found something else", 0);
    if (!is_quiet) write(file, &other);
    var line: t.Line = .{};
    const begun = line.begin("read-or-unhashed").number("pid", reader).text("path", t.absolute(&path_buffer, name)).text("content", &content);
    begun.number("size", if (is_quiet) @as(usize, length) else large).text("reason", "changed-while-read").end();
}

fn write(file: usize, content: *const [length]u8) void {
    _ = t.must(.pwrite64, .{ file, content, length, 0 });
}
