//! A command that stops itself, and is killed while it is stopped: no stop of it says so.
const t = @import("lib/tracee.zig");
const lineage = @import("lib/lineage.zig");
pub const panic = t.panic;

pub fn main() void {
    const front_end = lineage.frontEnd();
    const own = t.pid();
    const child = t.fork();
    if (child == 0) {
        // The stop has come to whoever started us.
        while (lineage.stateOf(front_end) != 'T') t.sleepMs(1);
        _ = t.must(.kill, .{ own, 9 });
        t.exit(0);
    }
    _ = t.must(.kill, .{ own, 19 });
    t.exit(0);
}
