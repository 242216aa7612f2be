//! Before umount(2). What the front end holds of files on the mount would keep it busy, and the call would fail with EBUSY where it does not
//! without us. So the front end is told to read what it holds at once, and the call waits until all of that is closed.
//!
//! What a process of the build still has open for writing keeps the mount busy anyway, and is held on to.
const std = @import("std");
const abi = @import("abi.zig");
const calls = @import("calls.zig");
const decode = @import("decode.zig");
const mounts = @import("mounts.zig");
const sys = @import("sys.zig");
const syscalls = @import("syscalls.zig");
const Thread = @import("tracee.zig").Thread;
const Tracer = @import("tracer.zig").Tracer;

/// As long as reading a large image may take.
pub const wait_max_ns = 60 * std.time.ns_per_s;

/// It does not mind who uses it: MNT_DETACH.
const detach = 2;

pub fn before(tracer: *Tracer, thread: *Thread, row: *const syscalls.Row) void {
    const call = &thread.call;
    const has_flags = std.mem.eql(u8, row.name, "umount2");
    if (!has_flags and !std.mem.eql(u8, row.name, "umount")) return;
    if (has_flags and call.arguments[1] & detach != 0) return;
    const id = mountAt(tracer, thread) orelse return;
    var from: u32 = 0;
    while (tracer.descriptors.nextWriterOn(id, &from)) |held| {
        const writers = tracer.descriptors.writersOf(held);
        if (writers == .somebody) continue;
        tracer.descriptors.letGo(held);
        _ = tracer.records.emit(.unmount, tracer.who(thread), 0, .{
            .header = undefined,
            .held = held,
            .unknown = @intFromBool(writers == .unknown),
        }, &.{});
    }
    if (!tracer.descriptors.isReadOn(id)) return;
    tracer.tracees.setDelay(thread, .{ .device = 0, .inode = id, .since_ns = sys.nowNs(), .until = .unheld });
}

/// Null: there is none, and the call fails by itself.
fn mountAt(tracer: *Tracer, thread: *Thread) ?u64 {
    const path = decode.pathOf(tracer.tracees.bufferOf(&thread.call), 0) orelse return null;
    const descriptor = decode.openResolved(&calls.context(tracer, thread), path) orelse return null;
    defer sys.close(descriptor);
    return mounts.idOf(descriptor);
}
