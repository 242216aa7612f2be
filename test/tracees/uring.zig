//! Opens a file by io_uring: no open(2) happens. Refused by default; where it is allowed, the record cannot be complete.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

var path_buffer: [4096]u8 = undefined;

pub fn main() void {
    t.makeFileElsewhere("by-uring", "opened by io_uring\n");
    var parameters: [30]u32 align(8) = @splat(0); // struct io_uring_params, 120 bytes
    const ring = t.call(.io_uring_setup, .{ 4, &parameters });
    var line: t.Line = .{};
    if (ring < 0) {
        line.begin("gap").text("kind", "io-uring-refused").number("result", ring).end();
        return;
    }
    line.begin("gap").text("kind", "io-uring-allowed").end();
    const descriptor = submitOpen(@intCast(ring), &parameters);
    if (descriptor < 0) t.fail("openat by io_uring", descriptor);
    line.begin("open-or-gap").number("pid", t.pid()).text("path", t.absolute(&path_buffer, "by-uring"))
        .texts("kinds", &.{"io-uring-allowed"}).text("how", "IORING_OP_OPENAT").end();
}

/// One IORING_OP_OPENAT, submitted and waited for. Offsets as io_uring_setup(2) describes them.
fn submitOpen(ring: usize, parameters: *align(8) const [30]u32) i32 {
    const features = parameters[5];
    const sq = parameters[10..20]; // head, tail, ring_mask, ring_entries, flags, dropped, array
    const cq = parameters[20..30]; // head, tail, ring_mask, ring_entries, overflow, cqes
    const size = @max(sq[6] + parameters[0] * 4, cq[5] + parameters[1] * 16);
    const shared = 1;
    const populate = 0x8000;
    const sq_base = t.must(.mmap, .{ 0, size, 3, shared | populate, ring, 0 });
    const cq_base = if (features & 1 != 0) sq_base else t.must(.mmap, .{ 0, size, 3, shared | populate, ring, 0x8000000 });
    const sqes = t.must(.mmap, .{ 0, parameters[0] * 64, 3, shared | populate, ring, 0x10000000 });

    const entry: *[8]u64 = @ptrFromInt(sqes);
    entry.* = @splat(0);
    entry[0] = 18 | @as(u64, @as(u32, @bitCast(t.at_cwd))) << 32; // opcode IORING_OP_OPENAT, fd
    entry[2] = @intFromPtr(@as([*:0]const u8, "by-uring")); // addr
    const array: *u32 = @ptrFromInt(sq_base + sq[6]);
    array.* = 0;
    const tail: *u32 = @ptrFromInt(sq_base + sq[1]);
    @atomicStore(u32, tail, tail.* +% 1, .release);
    _ = t.must(.io_uring_enter, .{ ring, 1, 1, 1, null, 0 }); // IORING_ENTER_GETEVENTS
    const completion: *[4]u32 = @ptrFromInt(cq_base + cq[5]);
    return @bitCast(completion[2]);
}
