//! A thread that closes descriptors: where a file server is behind the file, close(2) asks it (FUSE_FLUSH) and waits.
//! As long as that takes, what is closed later waits as well, and the tracer notices that nothing is released.
const std = @import("std");
const sys = @import("sys.zig");
const thread = @import("thread.zig");
const Session = @import("session.zig").Session;

pub const Closer = struct {
    session: *Session = undefined,
    /// Numbers on their way. A pipe holds many more than are ever handed over at once.
    ends: [2]i32 = .{ -1, -1 },
    failed: bool = false,

    /// False: there is no such thread to be had.
    pub fn post(closer: *Closer, session: *Session, descriptor: i32) bool {
        if (closer.failed) return false;
        if (closer.ends[0] < 0) closer.start(session) catch {
            closer.failed = true;
            return false;
        };
        const written = sys.write(closer.ends[1], std.mem.asBytes(&descriptor)) catch return false;
        return written == @sizeOf(i32);
    }

    fn start(closer: *Closer, session: *Session) sys.Error!void {
        closer.session = session;
        closer.ends = try sys.pipe(.{ .CLOEXEC = true });
        try thread.start(Closer, run, closer);
    }

    fn run(closer: *Closer) void {
        while (true) {
            var descriptor: i32 = -1;
            // Writes of so few bytes are never split (pipe(7)).
            const got = sys.read(closer.ends[0], std.mem.asBytes(&descriptor)) catch |e| if (e == error.Interrupted) continue else return;
            if (got != @sizeOf(i32)) return;
            sys.close(descriptor);
            closer.session.countReleased();
        }
    }
};

test "what is posted is closed, and counted" {
    const abi = @import("abi.zig");
    var control: abi.Control = .{};
    var session: Session = undefined;
    session.control = &control;
    var closer: Closer = .{};
    const ends = try sys.pipe(.{});
    for (ends) |descriptor| try std.testing.expect(closer.post(&session, descriptor));
    while (@atomicLoad(u32, &control.descriptors_released, .acquire) < 2) sys.futexWait(&control.descriptors_released, 1, 10);
    for (ends) |descriptor| try std.testing.expect(!sys.isOpen(descriptor));
}
