//! What a process has of its own below proc, by all spellings: for itself nothing may be refused, and what is named that way is what
//! the record must have. `own-entries plain|user|net|root`: after a namespace of that kind, or a chroot, was made by a child that is gone.
const t = @import("lib/tracee.zig");
const std = @import("std");
const linux = t.linux;
pub const panic = t.panic;

const O = t.O;
const spellings = [_][*:0]const u8{
    "/proc/self/maps",         "//proc/self/maps", "/proc//self/maps", "/proc/./self/../self/maps", "/proc/thread-self/maps",
    "/proc/self/task/../maps", "me/maps",
};
const outputs = [_][*:0]const u8{ "/dev/stdout", "/dev/stderr", "/dev/fd/1", "/proc/self/fd/2", "//dev/fd/2", "log" };
var path_buffer: [4096]u8 = undefined;

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    prepare(arguments.at(1) orelse "plain");
    _ = t.must(.symlinkat, .{ "/proc/self", t.at_cwd, "me" });
    _ = t.must(.symlinkat, .{ "/dev/stdout", t.at_cwd, "log" });
    for (spellings) |path| t.close(t.open(path, O.rdonly, 0));
    for (outputs) |path| t.close(t.open(path, O.wronly, 0));
    t.close(t.open("/proc/self/oom_score_adj", O.wronly, 0));

    truncated("cut-plain", "/proc/self/fd/{d}");
    truncated("cut-slash", "//proc/self/fd/{d}");
    truncated("cut-link", "me/fd/{d}");
    t.makeFile("old", "content\n");
    _ = t.must(.renameat, .{ t.at_cwd, "/proc/self/cwd/old", t.at_cwd, "/proc/self/cwd/new" });
    var line: t.Line = .{};
    var old: [4096]u8 = undefined;
    line.begin("renamed").number("pid", t.pid()).text("from", t.absolute(&old, "old")).end();

    var cwd: [4096]u8 = undefined;
    const here = t.workingDirectory(&cwd);
    // By symlinks whose names say nothing, where the working directory is not the tracer's.
    _ = t.must(.mkdirat, .{ t.at_cwd, "below", 0o755 });
    _ = t.must(.symlinkat, .{ "/proc/self/cwd", t.at_cwd, "here" });
    _ = t.must(.chdir, .{"below"});
    truncated("cut-named", "hand");
    t.makeFile("old", "content\n");
    _ = t.must(.renameat, .{ t.at_cwd, "../here/old", t.at_cwd, "../here/new" });
    line.begin("renamed").number("pid", t.pid()).text("from", t.absolute(&old, "old")).end();
    _ = t.must(.chdir, .{"/proc"});
    t.close(t.open("self/maps", O.rdonly, 0));
    t.close(t.open("./thread-self/maps", O.rdonly, 0));
    _ = t.must(.chdir, .{here.ptr});
}

fn prepare(kind: []const u8) void {
    if (std.mem.eql(u8, kind, "plain")) return;
    const child = t.fork();
    if (child != 0) {
        _ = t.reap(child);
        return;
    }
    if (std.mem.eql(u8, kind, "user")) _ = t.must(.unshare, .{linux.CLONE.NEWUSER});
    if (std.mem.eql(u8, kind, "net")) _ = t.must(.unshare, .{linux.CLONE.NEWNET});
    if (std.mem.eql(u8, kind, "root")) _ = t.must(.chroot, .{"/"});
    t.exit(0);
}

/// Truncated by name, through the entry of a descriptor that cannot write itself.
fn truncated(name: [*:0]const u8, comptime entry: []const u8) void {
    t.makeFile(name, "0123456789\n");
    const child = t.fork();
    if (child == 0) {
        const descriptor = t.open(name, O.path, 0);
        var buffer: [64]u8 = undefined;
        const is_link = comptime std.mem.eql(u8, entry, "hand");
        const path = if (is_link) "hand" else t.format(&buffer, entry, .{descriptor});
        if (is_link) _ = t.must(.symlinkat, .{ t.format(&buffer, "/proc/self/fd/{d}", .{descriptor}).ptr, t.at_cwd, path.ptr });
        _ = t.must(.truncate, .{ path.ptr, @as(usize, 3) });
        var line: t.Line = .{};
        line.begin("written").number("pid", t.pid()).text("path", t.absolute(&path_buffer, std.mem.span(name))).text("how", "truncated").end();
        t.exit(0);
    }
    _ = t.reap(child);
}
