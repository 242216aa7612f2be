//! Ends in the way that the arguments say: `die exit N`, `die signal N`.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    const how = arguments.at(1) orelse t.fail("die exit|signal N", 0);
    const number = arguments.number(2, 0);
    if (std.mem.eql(u8, how, "exit")) t.exit(@intCast(number));

    // No core file: it would be a product of the test.
    var none: t.linux.rlimit = .{ .cur = 0, .max = 0 };
    _ = t.must(.prlimit64, .{ 0, @as(u32, 4), &none, null });
    // The default action, whatever we inherited.
    var action: [4]u64 = @splat(0);
    if (number != 9 and number != 19) _ = t.must(.rt_sigaction, .{ number, &action, null, 8 });
    _ = t.must(.kill, .{ t.pid(), number });
    // A stop signal, continued by somebody.
    t.exit(0);
}
