//! The way that a path takes for a thread, part by part. Given to the kernel whole it would take ours: `self` and `thread-self` of a
//! proc are whoever looks, however the path gets there (`//proc/self`, `cd /proc`, a symlink to /dev/stdout). And where a process of the
//! build serves files, a part that it would have to be asked for is not looked up.
const std = @import("std");
const linux = std.os.linux;
const file_systems = @import("file_systems.zig");
const paths = @import("paths.zig");
const sys = @import("sys.zig");

const proc_top_inode = 1; // PROC_ROOT_INO
/// As the kernel's MAXSYMLINKS.
const links_max = 40;
const directory_flags: linux.O = .{ .PATH = true, .CLOEXEC = true };
/// Whatever a server would answer, the type of a file and its number are known.
const stat_flags = linux.AT.EMPTY_PATH | linux.AT.STATX_DONT_SYNC;
const part_flags: linux.O = .{ .PATH = true, .NOFOLLOW = true, .CLOEXEC = true };

/// Whether a path, as it is written, may lead to what each process has of its own.
pub fn isNeeded(path: []const u8) bool {
    const names = [_][]const u8{ "self", "thread-self", "fd", "cwd", "exe", "stdin", "stdout", "stderr" };
    var parts = std.mem.tokenizeScalar(u8, path, '/');
    while (parts.next()) |part| for (names) |name| if (std.mem.eql(u8, part, name)) return true;
    return false;
}

/// An O_PATH descriptor of what `path` leads to, with `no_follow` of a last symlink itself. Null: not there, not for us, or behind
/// a symlink that a server would have to read.
pub fn open(place: paths.Place, path: []const u8, no_follow: bool) ?i32 {
    if (path.len == 0 or path.len >= paths.max) return null;
    var way: Way = .{ .place = place, .no_follow = no_follow };
    var buffer: [64]u8 = undefined;
    const root = if (place.roots_differ) sys.procPath(&buffer, place.owner.tid, "root") else "/";
    way.root = sys.open(linux.AT.FDCWD, root, directory_flags).orNull() orelse return null;
    defer sys.close(way.root);
    if (path[0] != '/') way.at = paths.openBase(place) orelse return null else if (!way.goToRoot()) return null;
    way.set(path, "") catch unreachable; // shorter than the room
    if (way.walk()) return way.at;
    sys.close(way.at);
    return null;
}

const Way = struct {
    place: paths.Place,
    no_follow: bool,
    root: i32 = -1,
    /// Where it has got to.
    at: i32 = -1,
    rest: [paths.max]u8 = undefined,
    from: usize = 0,
    end: usize = 0,
    links: u8 = 0,

    fn walk(way: *Way) bool {
        while (way.next()) |part| {
            if (std.mem.eql(u8, part, ".")) continue;
            if (std.mem.eql(u8, part, "..") and isSame(way.at, way.root)) continue;
            if (!way.step(part)) return false;
        }
        return true;
    }

    fn next(way: *Way) ?[]const u8 {
        while (way.from < way.end and way.rest[way.from] == '/') way.from += 1;
        if (way.from == way.end) return null;
        const start = way.from;
        while (way.from < way.end and way.rest[way.from] != '/') way.from += 1;
        return way.rest[start..way.from];
    }

    fn isLast(way: *const Way) bool {
        return way.from == way.end;
    }

    fn step(way: *Way, part: []const u8) bool {
        var buffer: [256]u8 = undefined; // NAME_MAX
        if (part.len >= buffer.len) return false;
        const is_thread = std.mem.eql(u8, part, "thread-self");
        if ((is_thread or std.mem.eql(u8, part, "self")) and way.isProcTop(way.at)) {
            const owner = way.place.owner;
            // /proc has an entry for a thread too, though it does not list it.
            return way.go(sys.open(linux.AT.FDCWD, sys.procPath(&buffer, if (is_thread) owner.tid else owner.pid, ""), directory_flags).orNull());
        }
        buffer[sys.append(&buffer, 0, part)] = 0;
        const name = buffer[0..part.len :0];
        const found = way.openAt(name, part_flags).orNull() orelse return false;
        var stat: linux.Statx = undefined;
        if (sys.statx(found, "", stat_flags, &stat) != .SUCCESS) return drop(found);
        if (stat.mode & linux.S.IFMT != linux.S.IFLNK) return way.go(found);
        if (way.no_follow and way.isLast()) return way.go(found);
        return way.follow(found, name);
    }

    /// `link`: of the symlink itself.
    fn follow(way: *Way, link: i32, name: [:0]const u8) bool {
        way.links += 1;
        if (way.links > links_max or file_systems.isServed(way.fileSystemOf(link))) return drop(link);
        // The links of a process's entry are jumps, and their text is no path. Those at the top (`mounts`, `net`) lead through `self`.
        if (way.isOfProc(link) and !way.isProcTop(way.at)) {
            sys.close(link);
            return way.go(way.openAt(name, directory_flags).orNull());
        }
        defer sys.close(link);
        var text: [paths.max]u8 = undefined;
        const target = sys.readLink(link, "", &text) catch return false;
        if (target.len == 0 or target.len == text.len) return false;
        way.set(target, way.rest[way.from..way.end]) catch return false;
        return target[0] != '/' or way.goToRoot();
    }

    fn openAt(way: *const Way, name: [:0]const u8, flags: linux.O) sys.Opened {
        const patience = way.place.patience orelse return sys.open(way.at, name, flags);
        return patience.openName(way.at, name, flags);
    }

    fn fileSystemOf(way: *const Way, descriptor: i32) u32 {
        const patience = way.place.patience orelse return sys.fileSystemOf(descriptor) catch 0;
        return patience.fileSystemOf(descriptor);
    }

    fn isOfProc(way: *const Way, descriptor: i32) bool {
        return way.fileSystemOf(descriptor) == file_systems.proc;
    }

    fn isProcTop(way: *const Way, directory: i32) bool {
        var stat: linux.Statx = undefined;
        if (sys.statx(directory, "", stat_flags, &stat) != .SUCCESS) return false;
        return stat.ino == proc_top_inode and way.isOfProc(directory);
    }

    /// `rest` may be a part of what is there.
    fn set(way: *Way, first: []const u8, rest: []const u8) error{TooLong}!void {
        if (first.len + 1 + rest.len > way.rest.len) return error.TooLong;
        @memmove(way.rest[way.rest.len - rest.len ..], rest);
        var at = sys.append(&way.rest, 0, first);
        if (rest.len > 0) {
            at = sys.append(&way.rest, at, "/");
            @memmove(way.rest[at..][0..rest.len], way.rest[way.rest.len - rest.len ..]);
        }
        way.from = 0;
        way.end = at + rest.len;
    }

    fn goToRoot(way: *Way) bool {
        return way.go(sys.open(way.root, ".", directory_flags).orNull());
    }

    fn go(way: *Way, descriptor: ?i32) bool {
        const to = descriptor orelse return false;
        if (way.at >= 0) sys.close(way.at);
        way.at = to;
        return true;
    }
};

fn drop(descriptor: i32) bool {
    sys.close(descriptor);
    return false;
}

fn isSame(a: i32, b: i32) bool {
    var of: [2]linux.Statx = undefined;
    for ([_]i32{ a, b }, &of) |descriptor, *stat| {
        if (sys.statx(descriptor, "", stat_flags, stat) != .SUCCESS) return false;
    }
    return of[0].ino == of[1].ino and of[0].dev_major == of[1].dev_major and of[0].dev_minor == of[1].dev_minor;
}

// ---------------------------------------------------------------------------------------------

const testing = std.testing;

test "what follows a symlink may be nearly as long as a path can be" {
    const top = "/tmp/cilock-follow";
    _ = linux.mkdir(top, 0o700);
    _ = linux.mkdir(top ++ "/directory", 0o700);
    _ = linux.symlink("directory", top ++ "/link");
    const file = sys.open(linux.AT.FDCWD, top ++ "/directory/file", .{ .ACCMODE = .WRONLY, .CREAT = true }).descriptor;
    defer sys.close(file);
    const owner: @FieldType(paths.Place, "owner") = .{ .tid = linux.gettid(), .pid = linux.getpid(), .process = 1 };
    const place: paths.Place = .{ .owner = owner, .directory = linux.AT.FDCWD, .roots_differ = false };
    // More than half of the room, so that it overlaps with itself when it is moved.
    const there_and_back = "/../directory";
    var path: [paths.max]u8 = undefined;
    var at = sys.append(&path, 0, top ++ "/link");
    while (at + there_and_back.len + "/file".len < paths.max - 100) at = sys.append(&path, at, there_and_back);
    at = sys.append(&path, at, "/file");
    const found = open(place, path[0..at], false) orelse return error.NotFound;
    defer sys.close(found);
    try testing.expect(isSame(found, file));
}
