//! Lines of a file that is made as it is read (/proc), in a buffer that does not grow.
const std = @import("std");
const sys = @import("sys.zig");

pub const Lines = struct {
    descriptor: i32,
    /// What is read at most.
    max: usize,
    buffer: [16384]u8 = undefined,
    at: usize = 0,
    end: usize = 0,
    total: usize = 0,

    /// Without its newline, valid until it is called again. Null: that was all.
    pub fn next(lines: *Lines) error{TooLong}!?[]const u8 {
        while (true) {
            const text = lines.buffer[lines.at..lines.end];
            if (std.mem.findScalar(u8, text, '\n')) |length| {
                lines.at += length + 1;
                return text[0..length];
            }
            std.mem.copyForwards(u8, lines.buffer[0..text.len], text);
            lines.at = 0;
            lines.end = text.len;
            if (text.len == lines.buffer.len or lines.total >= lines.max) return error.TooLong;
            const got = sys.read(lines.descriptor, lines.buffer[text.len..]) catch return error.TooLong;
            if (got == 0) return null;
            lines.end += got;
            lines.total += got;
        }
    }
};

test "lines across reads, one that is too long, more than is wanted" {
    const ends = try sys.pipe(.{ .CLOEXEC = true });
    defer for (ends) |end| sys.close(end);
    var lines: Lines = .{ .descriptor = ends[0], .max = 100 };
    _ = try sys.write(ends[1], "one\nt");
    try std.testing.expectEqualStrings("one", (try lines.next()).?);
    _ = try sys.write(ends[1], "wo\n\n");
    try std.testing.expectEqualStrings("two", (try lines.next()).?);
    try std.testing.expectEqualStrings("", (try lines.next()).?);
    const long: [100]u8 = @splat('x');
    _ = try sys.write(ends[1], &long);
    try std.testing.expectError(error.TooLong, lines.next());
}
