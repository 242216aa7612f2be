//! A second thread changes the path while it is being opened: what a tracer reads at the entry need not be what the kernel opens.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

const harmless: u64 = @bitCast(@as([8]u8, "harmless".*));
const wanted: u64 = @bitCast(@as([8]u8, "wanted!!".*));

var name: [2]u64 align(8) = .{ harmless, 0 }; // eight bytes at once, and the NUL
var flipping: bool = true;
var path_buffer: [4096]u8 = undefined;

pub fn main() void {
    t.makeFile("harmless", "nothing to see here\n");
    t.makeFile("wanted!!", "what it was all about\n");
    var inodes: [2]u64 = .{ inode("harmless"), inode("wanted!!") };
    var flipper: t.Thread = .{};
    flipper.start(flip, 0);
    const reader = t.fork();
    if (reader == 0) {
        // A process of its own for the opens; its memory is a copy, so it needs a flipper of its own.
        var second: t.Thread = .{};
        second.start(flip, 0);
        var seen: [2]bool = .{ false, false };
        for (0..3000) |_| {
            const descriptor = t.must(.openat, .{ t.at_cwd, &name, t.O.rdonly, 0 });
            var stat: t.linux.Statx = undefined;
            _ = t.must(.statx, .{ descriptor, "", t.at_empty_path, 0x100, &stat });
            for (&inodes, &seen) |number, *flag| if (stat.ino == number) {
                flag.* = true;
            };
            t.close(descriptor);
        }
        if (seen[0]) t.seeOpen(t.absolute(&path_buffer, "harmless"), "read", "path that changes");
        if (seen[1]) t.seeOpen(t.absolute(&path_buffer, "wanted!!"), "read", "path that changes");
        t.exit(0);
    }
    _ = t.reap(reader);
    @atomicStore(bool, &flipping, false, .release);
    flipper.join();
}

fn inode(path: [*:0]const u8) u64 {
    var stat: t.linux.Statx = undefined;
    _ = t.must(.statx, .{ t.at_cwd, path, 0, 0x100, &stat });
    return stat.ino;
}

fn flip(_: usize) callconv(.c) u8 {
    while (@atomicLoad(bool, &flipping, .acquire)) {
        @atomicStore(u64, &name[0], wanted, .monotonic);
        @atomicStore(u64, &name[0], harmless, .monotonic);
    }
    return 0;
}
