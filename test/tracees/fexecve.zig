//! `fexecve FILE`: becomes it by its descriptor alone (fexecve(3)).
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    const descriptor = t.open((arguments.at(1) orelse t.fail("fexecve FILE", 0)).ptr, t.O.rdonly, 0);
    const result = t.call(.execveat, .{ descriptor, "", arguments.from(1), arguments.environment.ptr, t.at_empty_path });
    t.fail("execveat", result);
}
