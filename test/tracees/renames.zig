//! Changes names, modes, owners, times and lengths by every call of x86-64 that does, relative to the working directory and to a directory's
//! descriptor; and each once more where it must fail. All is in `d`, what is missing is called `missing`.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

const at_removedir = 0x200;
const noreplace = 1;
const exchange = 2;
const fifo = 0o010644;

pub fn main() void {
    _ = t.must(.mkdir, .{ "d", 0o755 });
    const d = t.open("d", t.O.rdonly | t.O.directory, 0);
    for ([_][*:0]const u8{ "d/a", "d/p", "d/q", "d/f" }) |name| t.makeFile(name, "content\n");

    _ = t.must(.rename, .{ "d/a", "d/b" });
    _ = t.must(.renameat, .{ d, "b", d, "c" });
    _ = t.must(.renameat2, .{ d, "c", t.at_cwd, "d/e", noreplace });
    _ = t.must(.renameat2, .{ d, "p", d, "q", exchange });
    fails(.rename, .{ "d/missing", "d/x" });
    fails(.renameat, .{ d, "missing", d, "x" });
    fails(.renameat2, .{ d, "e", d, "f", noreplace });

    _ = t.must(.link, .{ "d/e", "d/l1" });
    _ = t.must(.linkat, .{ d, "e", d, "l2", 0 });
    fails(.link, .{ "d/missing", "d/x" });
    fails(.linkat, .{ d, "e", d, "f", 0 });
    _ = t.must(.symlink, .{ "e", "d/s1" });
    _ = t.must(.symlinkat, .{ "e", d, "s2" });
    fails(.symlink, .{ "e", "d/f" });

    _ = t.must(.mkdirat, .{ d, "m1", 0o700 });
    _ = t.must(.mkdir, .{ "d/m2", 0o711 });
    fails(.mkdir, .{ "d/f", 0o700 });
    _ = t.must(.mknod, .{ "d/n1", fifo, 0 });
    _ = t.must(.mknodat, .{ d, "n2", fifo, 0 });
    fails(.mknod, .{ "d/f", fifo, 0 });

    const f = t.open("d/f", t.O.rdwr, 0);
    _ = t.must(.chmod, .{ "d/f", 0o600 });
    _ = t.must(.fchmod, .{ f, 0o755 });
    _ = t.must(.fchmodat, .{ d, "f", 0o644 });
    fails(.chmod, .{ "d/missing", 0o777 });
    fails(.fchmodat, .{ d, "missing", 0o777 });

    const same: i32 = -1;
    _ = t.must(.chown, .{ "d/f", same, same });
    _ = t.must(.lchown, .{ "d/s1", same, same });
    _ = t.must(.fchown, .{ f, same, same });
    _ = t.must(.fchownat, .{ d, "f", same, same, 0 });
    fails(.chown, .{ "d/missing", same, same });

    _ = t.must(.utime, .{ "d/f", @as(?*u8, null) });
    _ = t.must(.utimes, .{ "d/f", @as(?*u8, null) });
    _ = t.must(.futimesat, .{ d, "f", @as(?*u8, null) });
    _ = t.must(.utimensat, .{ d, "f", @as(?*u8, null), 0 });
    _ = t.must(.utimensat, .{ f, @as(?*u8, null), @as(?*u8, null), 0 });
    fails(.utimes, .{ "d/missing", @as(?*u8, null) });

    _ = t.must(.truncate, .{ "d/f", @as(usize, 5) });
    _ = t.must(.ftruncate, .{ f, @as(usize, 3) });
    fails(.truncate, .{ "d/missing", @as(usize, 1) });

    _ = t.must(.unlink, .{"d/l1"});
    _ = t.must(.unlinkat, .{ d, "l2", 0 });
    _ = t.must(.rmdir, .{"d/m1"});
    _ = t.must(.unlinkat, .{ d, "m2", at_removedir });
    fails(.unlink, .{"d/missing"});
    fails(.unlinkat, .{ d, "missing", 0 });
    fails(.rmdir, .{"d"});
    fails(.unlinkat, .{ d, "f", at_removedir });
}

fn fails(number: t.SYS, arguments: anytype) void {
    if (t.call(number, arguments) >= 0) t.fail("a call has succeeded", @intCast(@backingInt(number)));
}
