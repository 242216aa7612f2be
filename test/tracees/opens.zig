//! Opens files in every way that the x86-64 kernel has, in the current directory, and some that fail.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

const O = t.O;
var buffers: [3][4096]u8 = undefined;

const ways = [_][*:0]const u8{
    "by-open", "by-dots", "by-symlink", "by-copy", "by-fchdir", "deep/by-directory", "deep/by-openat2", "deep/by-chdir",
};

fn here(name: []const u8) [:0]const u8 {
    return t.absolute(&buffers[0], name);
}

pub fn main() void {
    t.makeFile("input", "what is read\n");
    t.seeOpen(here("input"), "write", "openat");
    _ = t.must(.mkdirat, .{ t.at_cwd, "deep", 0o755 });
    t.makeFile("deep/file", "below a directory\n");
    t.seeOpen(here("deep/file"), "write", "openat");

    // Each way has a file of its own, which another process has made.
    for (ways) |name| t.makeFileElsewhere(name, "what is read\n");
    t.close(t.must(.open, .{ "by-open", O.rdonly, 0 }));
    t.seeOpen(here("by-open"), "read", "open");
    t.close(t.must(.creat, .{ "created", 0o600 }));
    t.seeOpen(here("created"), "write", "creat");
    t.close(t.open("./deep/../by-dots", O.rdonly, 0));
    t.seeOpen(here("by-dots"), "read", "openat with dots");
    t.close(t.open("both", O.rdwr | O.creat | O.excl, 0o644));
    t.seeOpen(here("both"), "both", "openat O_RDWR|O_CREAT|O_EXCL");

    byDirectory();
    byOpenat2();
    _ = t.must(.symlinkat, .{ "by-symlink", t.at_cwd, "link" });
    t.close(t.open("link", O.rdonly, 0));
    t.seeOpen(here("by-symlink"), "read", "openat through a symlink");

    const path_only = t.open("input", O.path | O.cloexec, 0);
    t.seeOpen(here("input"), "path-only", "openat O_PATH");
    // The content is read through the O_PATH descriptor: an open like any other.
    var link: [64]u8 = undefined;
    const magic = t.format(&link, "/proc/self/fd/{d}", .{path_only});
    t.close(t.open(magic, O.rdonly, 0));
    t.seeOpen(here("input"), "read", "openat of /proc/self/fd/N");
    t.close(path_only);

    byTmpfile();
    notRegular();
    failing();
    oddNames();
    afterChdir();
}

fn byDirectory() void {
    const directory = t.open("deep", O.rdonly | O.directory, 0);
    t.seeOpen(here("deep"), "directory", "openat O_DIRECTORY");
    t.close(t.must(.openat, .{ directory, "by-directory", O.rdonly, 0 }));
    t.seeOpen(here("deep/by-directory"), "read", "openat with a directory descriptor");
    const copy = t.must(.fcntl, .{ directory, 0, 100 }); // F_DUPFD
    t.close(directory);
    t.close(t.must(.openat, .{ copy, "../by-copy", O.rdonly, 0 }));
    t.seeOpen(here("by-copy"), "read", "openat with a copied directory descriptor");
    t.close(copy);
}

fn byOpenat2() void {
    const how = [3]u64{ O.rdonly, 0, 0x08 }; // struct open_how: flags, mode, resolve = RESOLVE_BENEATH
    const result = t.call(.openat2, .{ t.at_cwd, "deep/by-openat2", &how, @sizeOf(@TypeOf(how)) });
    if (result == -@as(isize, @backingInt(t.linux.E.NOSYS))) return; // before Linux 5.6
    if (result < 0) t.fail("openat2", result);
    t.close(@intCast(result));
    t.seeOpen(here("deep/by-openat2"), "read", "openat2");
    if (t.call(.openat2, .{ t.at_cwd, "/dev/null", &how, @sizeOf(@TypeOf(how)) }) >= 0) t.fail("RESOLVE_BENEATH let an absolute path through", 0);
}

fn byTmpfile() void {
    const descriptor = t.call(.openat, .{ t.at_cwd, ".", O.wronly | O.tmpfile, 0o644 });
    if (descriptor == -@as(isize, @backingInt(t.linux.E.OPNOTSUPP))) return; // this file system has none
    if (descriptor < 0) t.fail("O_TMPFILE", descriptor);
    t.writeAll(@intCast(descriptor), "named late\n");
    var link: [64]u8 = undefined;
    const magic = t.format(&link, "/proc/self/fd/{d}", .{descriptor});
    _ = t.must(.linkat, .{ t.at_cwd, magic.ptr, t.at_cwd, "named-late", t.at_symlink_follow });
    t.close(@intCast(descriptor));
    var line: t.Line = .{};
    line.begin("written").number("pid", t.pid()).text("path", here("named-late")).text("how", "O_TMPFILE and linkat").end();
}

fn notRegular() void {
    t.close(t.open("/dev/null", O.rdwr, 0));
    unhashed("/dev/null", "device");
    _ = t.must(.mknodat, .{ t.at_cwd, "fifo", 0o10644, 0 });
    // Neither a reader nor a writer may wait for the other side, and a tracer that opens it would.
    t.close(t.open("fifo", O.rdonly | O.nonblock, 0));
    unhashed(here("fifo"), "fifo");
    t.readFile("/proc/self/comm");
    var buffer: [64]u8 = undefined;
    unhashed(t.format(&buffer, "/proc/{d}/comm", .{t.pid()}), "pseudo-filesystem");
    t.close(t.open("deep", O.rdonly, 0));
    unhashed(here("deep"), "directory");
}

fn unhashed(path: []const u8, reason: []const u8) void {
    var line: t.Line = .{};
    line.begin("unhashed").number("pid", t.pid()).text("path", path).text("reason", reason).end();
}

fn failing() void {
    if (t.call(.open, .{ "absent", O.rdonly, 0 }) >= 0) t.fail("absent is there", 0);
    t.seeNoOpen(here("absent"), "ENOENT");
    if (t.call(.openat, .{ t.at_cwd, "input", O.wronly | O.creat | O.excl, 0 }) >= 0) t.fail("O_EXCL", 0);
    if (t.call(.openat, .{ t.at_cwd, "link", O.rdonly | O.nofollow, 0 }) >= 0) t.fail("O_NOFOLLOW", 0);
    t.seeNoOpen(here("link"), "ELOOP");
    if (t.call(.openat, .{ t.at_cwd, "input/below", O.rdonly, 0 }) >= 0) t.fail("ENOTDIR", 0);
    t.seeNoOpen(here("input/below"), "ENOTDIR");
    if (t.call(.openat, .{ t.at_cwd, @as(usize, 1), O.rdonly, 0 }) >= 0) t.fail("EFAULT", 0);
    if (t.call(.openat, .{ 77, "absent-directory", O.rdonly, 0 }) >= 0) t.fail("EBADF", 0);
    t.seeNoOpen(here("absent-directory"), "EBADF");
}

/// Names that break what takes names for text: a newline, a byte that is not UTF-8, the kernel's own mark of a deleted file.
fn oddNames() void {
    const names = [_][:0]const u8{ "new\nline", "caf\xe9", "back\\slash", "gone (deleted)", "caf\xc3\xa9" };
    for (names) |name| {
        t.makeFile(name, "odd\n");
        t.close(t.open(name, O.rdonly, 0));
        var line: t.Line = .{};
        line.begin("open").number("pid", t.pid()).hex("pathHex", here(name)).text("access", "both").text("how", "odd name").end();
    }
    // Really deleted: its key is the last path, without the kernel's mark.
    t.makeFile("short-lived", "soon gone\n");
    const descriptor = t.open("short-lived", O.rdonly, 0);
    _ = t.must(.unlinkat, .{ t.at_cwd, "short-lived", 0 });
    var link: [64]u8 = undefined;
    const magic = t.format(&link, "/proc/self/fd/{d}", .{descriptor});
    t.close(t.open(magic, O.rdonly, 0));
    t.close(descriptor);
    t.seeOpen(here("short-lived"), "deleted", "openat, then unlink, then /proc/self/fd/N");
}

fn afterChdir() void {
    _ = t.must(.chdir, .{"deep"});
    t.close(t.open("by-chdir", O.rdonly, 0));
    t.seeOpen(here("by-chdir"), "read", "openat relative after chdir");
    const up = t.open("..", O.path | O.directory, 0);
    _ = t.must(.fchdir, .{up});
    t.close(up);
    t.close(t.open("by-fchdir", O.rdonly, 0));
    t.seeOpen(here("by-fchdir"), "read", "openat relative after fchdir");
}
