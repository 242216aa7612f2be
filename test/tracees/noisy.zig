//! Writes bytes that can be told from any others: `noisy BYTES [DESCRIPTOR] [CHUNK]`. Byte i of a stream is a function of i alone,
//! so that a byte that is lost, doubled or out of order changes the digest.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

var block: [1 << 20]u8 = undefined;

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    const total = arguments.number(1, 0);
    const descriptor: usize = @intCast(arguments.number(2, 1));
    const chunk: usize = @intCast(@min(arguments.number(3, 65536), block.len));
    var position: u64 = 0;
    while (position < total) {
        const length: usize = @intCast(@min(chunk, total - position));
        fill(block[0..length], position);
        t.writeAll(descriptor, block[0..length]);
        position += length;
    }
}

/// Eight bytes at a time of a counter, scrambled: every byte value occurs, also those that are not UTF-8.
fn fill(bytes: []u8, start: u64) void {
    for (bytes, 0..) |*byte, i| {
        const position = start + i;
        const word = ((position >> 3) +% 1) *% 0x9e3779b97f4a7c15;
        byte.* = @truncate(word >> @intCast((position & 7) * 8));
    }
}
