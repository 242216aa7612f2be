//! From a path that a tracee gave to a call to the absolute path that the kernel makes of it, as the tracer
//! sees it: the same text that the link of an opened descriptor has, or names could not be followed from an open
//! over a rename to the end.
//!
//! Directories are resolved by the kernel: opened with O_PATH in the tracee's place (its working directory, its
//! descriptor, its root) and read back. Where that fails the parts are only joined, and the result says so.
const std = @import("std");
const linux = std.os.linux;
const abi = @import("abi.zig");
const follow = @import("follow.zig");
const sys = @import("sys.zig");
const descriptors_mod = @import("descriptors.zig");
const Descriptors = descriptors_mod.Descriptors;
const Owner = descriptors_mod.Owner;
const Patience = @import("patience.zig").Patience;

pub const Place = struct {
    owner: Owner,
    /// The directory that a relative path starts from; AT_FDCWD: the working directory.
    directory: i32,
    /// Its path, where the descriptor may be closed by now.
    directory_path: []const u8 = "",
    /// Somebody in the build may have another root, or other mounts, than we.
    roots_differ: bool,
    /// A look-up may ask a server.
    patience: ?*Patience = null,

    /// Files are served in the build.
    fn isServed(place: *const Place) bool {
        const patience = place.patience orelse return false;
        return patience.needed;
    }

    fn open(place: *const Place, path: [:0]const u8, flags: linux.O) sys.Opened {
        const patience = place.patience orelse return sys.open(linux.AT.FDCWD, path, flags);
        return patience.open(linux.AT.FDCWD, path, flags, false);
    }

    fn openWithoutJumps(place: *const Place, directory: i32, path: [:0]const u8, flags: linux.O) sys.Opened {
        const patience = place.patience orelse return sys.openWithoutJumps(directory, path, flags);
        return patience.openWithoutJumps(directory, path, flags);
    }

    fn openInRoot(place: *const Place, root: i32, path: [:0]const u8, flags: linux.O) sys.Opened {
        const patience = place.patience orelse return sys.openInRoot(root, path, flags);
        return patience.openInRoot(root, path, flags);
    }
};

pub const How = enum {
    /// What the path leads to, a last symlink followed.
    file,
    /// The name itself, in its resolved directory.
    name,
};

pub const Resolved = struct {
    path: []u8,
    /// Not put together from text.
    exact: bool,
    truncated: bool = false,
};

pub const max = abi.path_max;

/// `buffer` needs room for `max` bytes.
pub fn resolve(descriptors: *Descriptors, place: Place, argument: []const u8, how: How, buffer: []u8) Resolved {
    std.debug.assert(buffer.len >= max);
    const out = buffer[0..max];
    if (how == .file or isDirectoryName(argument)) {
        if (resolveWhole(descriptors, place, argument, out)) |path| return .{ .path = path, .exact = true };
        // A dangling symlink, or nothing there: the name is still right.
        if (isDirectoryName(argument)) return joined(place, argument, out);
    }
    const bare = std.mem.trimEnd(u8, argument, "/");
    const slash = std.mem.findScalarLast(u8, bare, '/');
    const name = if (slash) |at| bare[at + 1 ..] else bare;
    const directory = if (slash) |at| (if (at == 0) "/" else bare[0..at]) else "";
    const path = resolveDirectory(descriptors, place, directory, out) orelse return joined(place, argument, out);
    return join(path.len, name, out, true);
}

/// A path whose last part names no entry of a directory.
fn isDirectoryName(argument: []const u8) bool {
    const bare = std.mem.trimEnd(u8, argument, "/");
    if (bare.len == 0) return true; // "/", or the empty path
    const last = if (std.mem.findScalarLast(u8, bare, '/')) |at| bare[at + 1 ..] else bare;
    return std.mem.eql(u8, last, ".") or std.mem.eql(u8, last, "..");
}

fn resolveDirectory(descriptors: *Descriptors, place: Place, directory: []const u8, out: []u8) ?[]u8 {
    if (directory.len == 0) return base(place, out);
    return resolveWhole(descriptors, place, directory, out);
}

fn resolveWhole(descriptors: *Descriptors, place: Place, path: []const u8, out: []u8) ?[]u8 {
    if (path.len == 0) return base(place, out);
    const descriptor = openInPlace(place, path, .{ .PATH = true, .CLOEXEC = true }) orelse return null;
    defer sys.close(descriptor);
    const file = descriptors.identify(descriptor) catch return null;
    const link = descriptors.linkOf(descriptor, &file, out) catch return null;
    return out[0..link.path.len];
}

/// Opens what `path` leads to for the tracee: an O_PATH descriptor. Null: not there, too long, or not for us.
pub fn openInPlace(place: Place, path: []const u8, flags: linux.O) ?i32 {
    var buffer: [max + 64]u8 = undefined;
    if (path.len > max) return null;
    if (follow.isNeeded(path) or place.isServed()) return follow.open(place, path, flags.NOFOLLOW);
    const opened = (if (place.roots_differ) openInRoot(place, path, flags, &buffer) else openFromBase(place, path, flags, &buffer)) orelse return null;
    return switch (opened) {
        .descriptor => |number| number,
        // Through a symlink to `/proc/self/cwd`, say, of whatever name.
        .failed => |e| if (e == .LOOP or e == .XDEV) follow.open(place, path, flags.NOFOLLOW) else null,
    };
}

fn openFromBase(place: Place, path: []const u8, flags: linux.O, buffer: []u8) ?sys.Opened {
    if (path.len >= buffer.len) return null;
    buffer[sys.append(buffer, 0, path)] = 0;
    const text = buffer[0..path.len :0];
    if (path[0] == '/') return place.openWithoutJumps(linux.AT.FDCWD, text, flags);
    const directory = openBase(place) orelse return null;
    defer sys.close(directory);
    return place.openWithoutJumps(directory, text, flags);
}

/// With a root of its own: absolute symlinks must be followed in that root, which openat2 can (Linux 5.6). It refuses jumps by XDEV.
fn openInRoot(place: Place, path: []const u8, flags: linux.O, buffer: []u8) ?sys.Opened {
    const root = sys.open(linux.AT.FDCWD, sys.procPath(buffer, place.owner.tid, "root"), .{ .PATH = true, .CLOEXEC = true }).orNull() orelse return null;
    defer sys.close(root);
    var at: usize = 0;
    if (path[0] != '/') {
        // Its directory as text, below its root.
        var start: [max]u8 = undefined;
        const directory = base(place, &start) orelse return null;
        var root_text: [max]u8 = undefined;
        at = sys.append(buffer, 0, belowRoot(directory, rootOf(place.owner.tid, &root_text)));
        if (at + 1 + path.len >= max) return null;
        at = sys.append(buffer, at, "/");
    } else if (path.len >= max) return null;
    at = sys.append(buffer, at, path);
    buffer[at] = 0;
    return place.openInRoot(root, buffer[0..at :0], flags);
}

/// Where a relative path starts from, as an O_PATH descriptor of ours.
pub fn openBase(place: Place) ?i32 {
    var buffer: [max + 64]u8 = undefined;
    if (place.directory_path.len > 0 and place.isServed()) {
        // As we see it.
        const here: Place = .{ .owner = place.owner, .directory = place.directory, .roots_differ = false, .patience = place.patience };
        return follow.open(here, place.directory_path, false);
    }
    const at = startOf(place, &buffer);
    buffer[at] = 0;
    return place.open(buffer[0..at :0], .{ .PATH = true, .CLOEXEC = true }).orNull();
}

/// The directory that a relative path starts from.
pub fn base(place: Place, out: []u8) ?[]u8 {
    if (place.directory_path.len > 0) {
        if (place.directory_path.len > out.len) return null;
        return out[0..sys.append(out, 0, place.directory_path)];
    }
    var buffer: [64]u8 = undefined;
    const at = basePath(place, &buffer);
    buffer[at] = 0;
    return sys.readLink(linux.AT.FDCWD, buffer[0..at :0], out) catch null;
}

/// The same as text for the kernel: how long it is in `buffer`.
fn startOf(place: Place, buffer: []u8) usize {
    return if (place.directory_path.len > 0) sys.append(buffer, 0, place.directory_path) else basePath(place, buffer);
}

fn basePath(place: Place, buffer: []u8) usize {
    if (place.directory == linux.AT.FDCWD) return sys.procPath(buffer, place.owner.tid, "cwd").len;
    const at = sys.procPath(buffer, place.owner.tid, "fd/").len;
    return sys.appendNumber(buffer, at, @as(u32, @bitCast(place.directory)));
}

/// A thread's root directory; empty: the tracer's own, "/".
pub fn rootOf(tid: i32, out: []u8) []u8 {
    var buffer: [64]u8 = undefined;
    const root = sys.readLink(linux.AT.FDCWD, sys.procPath(&buffer, tid, "root"), out) catch return out[0..0];
    return if (std.mem.eql(u8, root, "/")) out[0..0] else root;
}

pub fn belowRoot(path: []const u8, root: []const u8) []const u8 {
    if (root.len == 0 or !std.mem.startsWith(u8, path, root)) return path;
    const rest = path[root.len..];
    if (rest.len == 0) return "/";
    return if (rest[0] == '/') rest else path;
}

/// What a program was called by, made absolute. Its symlinks stay; ".." can only be resolved by following them.
pub fn calledBy(descriptors: *Descriptors, place: Place, argument: []const u8, out: []u8) Resolved {
    var parts = std.mem.tokenizeScalar(u8, argument, '/');
    while (parts.next()) |part| if (std.mem.eql(u8, part, "..")) return resolve(descriptors, place, argument, .name, out);
    return joined(place, argument, out);
}

/// Only text: the tracee's own ".." and symlinks are still in it.
fn joined(place: Place, argument: []const u8, out: []u8) Resolved {
    const start = if (argument.len > 0 and argument[0] == '/') out[0..0] else base(place, out) orelse out[0..0];
    const result = join(start.len, argument, out, false);
    return .{ .path = tidy(result.path, start.len), .exact = false, .truncated = result.truncated };
}

/// Takes "//" and "/./" out of what follows `from`: they mean nothing.
fn tidy(path: []u8, from: usize) []u8 {
    var end = from;
    var parts = std.mem.tokenizeScalar(u8, path[from..], '/');
    const absolute = path.len > 0 and path[0] == '/';
    while (parts.next()) |part| {
        if (std.mem.eql(u8, part, ".")) continue;
        if (end > 0 or absolute) if (end == 0 or path[end - 1] != '/') {
            path[end] = '/';
            end += 1;
        };
        std.mem.copyForwards(u8, path[end..][0..part.len], part);
        end += part.len;
    }
    return if (end == 0 and absolute) path[0..1] else path[0..end];
}

/// `out[0..length]`, a slash if it needs one, and `name`.
fn join(length: usize, name: []const u8, out: []u8, exact: bool) Resolved {
    var at = length;
    if (name.len > 0 and at > 0 and out[at - 1] != '/' and name[0] != '/' and at < out.len) {
        out[at] = '/';
        at += 1;
    }
    const room = @min(name.len, out.len - at);
    @memcpy(out[at..][0..room], name[0..room]);
    return .{ .path = out[0 .. at + room], .exact = exact, .truncated = room < name.len };
}

// ---------------------------------------------------------------------------------------------

const testing = std.testing;
const Session = @import("session.zig").Session;

test "paths of a process" {
    var session: Session = undefined;
    var descriptors = try Descriptors.init(&session, true);
    defer descriptors.deinit();
    const top = "/tmp/cilock-paths";
    for ([_][*:0]const u8{ top, top ++ "/real", top ++ "/real/deep" }) |path| _ = linux.mkdir(path, 0o700);
    _ = linux.symlink("real", top ++ "/alias");
    _ = linux.symlink("nowhere", top ++ "/dangling");
    const file = sys.open(linux.AT.FDCWD, top ++ "/real/file", .{ .ACCMODE = .WRONLY, .CREAT = true }).descriptor;
    defer sys.close(file);
    const directory = sys.open(linux.AT.FDCWD, top ++ "/real", .{ .DIRECTORY = true }).descriptor;
    defer sys.close(directory);

    const own: Owner = .{ .tid = linux.gettid(), .pid = linux.getpid(), .process = 1 };
    const cwd: Place = .{ .owner = own, .directory = linux.AT.FDCWD, .roots_differ = false };
    const real: Place = .{ .owner = own, .directory = directory, .roots_differ = false };
    const Row = struct { place: Place, argument: []const u8, how: How, expected: []const u8, exact: bool = true };
    var number_path: [64]u8 = undefined;
    var at = sys.append(&number_path, 0, "/proc/self/fd/");
    at = sys.appendNumber(&number_path, at, @intCast(file));
    const rows = [_]Row{
        .{ .place = cwd, .argument = top ++ "/alias/new", .how = .name, .expected = top ++ "/real/new" },
        .{ .place = cwd, .argument = top ++ "/alias", .how = .name, .expected = top ++ "/alias" },
        .{ .place = cwd, .argument = top ++ "/alias", .how = .file, .expected = top ++ "/real" },
        .{ .place = cwd, .argument = top ++ "/alias/", .how = .name, .expected = top ++ "/alias" },
        .{ .place = cwd, .argument = top ++ "/alias/.", .how = .name, .expected = top ++ "/real" },
        .{ .place = cwd, .argument = top ++ "/dangling", .how = .file, .expected = top ++ "/dangling" },
        .{ .place = cwd, .argument = "/", .how = .name, .expected = "/" },
        .{ .place = cwd, .argument = "//tmp", .how = .name, .expected = "/tmp" },
        .{ .place = cwd, .argument = "/no//such/./place", .how = .name, .expected = "/no/such/place", .exact = false },
        .{ .place = real, .argument = "file", .how = .file, .expected = top ++ "/real/file" },
        .{ .place = real, .argument = "new", .how = .name, .expected = top ++ "/real/new" },
        .{ .place = real, .argument = "../alias/deep/../x", .how = .name, .expected = top ++ "/real/x" },
        .{ .place = real, .argument = "..", .how = .name, .expected = top },
        .{ .place = real, .argument = "no/such", .how = .name, .expected = top ++ "/real/no/such", .exact = false },
        .{ .place = real, .argument = "", .how = .file, .expected = top ++ "/real" },
        .{ .place = cwd, .argument = number_path[0..at], .how = .file, .expected = top ++ "/real/file" },
    };
    for (rows) |row| {
        errdefer std.debug.print("row: {s}\n", .{row.argument});
        for ([_]bool{ false, true }) |differ| {
            // Seen from our own root both ways are the same.
            var place = row.place;
            place.roots_differ = differ;
            var buffer: [max]u8 = undefined;
            const resolved = resolve(&descriptors, place, row.argument, row.how, &buffer);
            try testing.expectEqualStrings(row.expected, resolved.path);
            try testing.expectEqual(row.exact, resolved.exact);
        }
    }
}

test "a path that is too long is cut, and says so" {
    var session: Session = undefined;
    var descriptors = try Descriptors.init(&session, true);
    defer descriptors.deinit();
    const own: Owner = .{ .tid = linux.gettid(), .pid = linux.getpid(), .process = 1 };
    const place: Place = .{ .owner = own, .directory = linux.AT.FDCWD, .roots_differ = false };
    const long: [max]u8 = @splat('x');
    var buffer: [max]u8 = undefined;
    const resolved = resolve(&descriptors, place, &long, .name, &buffer);
    try testing.expect(resolved.truncated);
    try testing.expectEqual(@as(usize, max), resolved.path.len);
}

test "what means nothing is taken out of a path" {
    const rows = [_]struct { []const u8, usize, []const u8 }{
        .{ "/a/./b", 0, "/a/b" },
        .{ "/a/./b", 2, "/a/b" },
        .{ "//a//b/", 0, "/a/b" },
        .{ "/", 0, "/" },
        .{ "/.", 0, "/" },
        .{ "/w/./x", 2, "/w/x" },
        .{ "/w/x", 2, "/w/x" },
        .{ "/.hidden/..a", 0, "/.hidden/..a" },
        .{ "", 0, "" },
    };
    for (rows) |row| {
        var buffer: [64]u8 = undefined;
        @memcpy(buffer[0..row[0].len], row[0]);
        try testing.expectEqualStrings(row[2], tidy(buffer[0..row[0].len], row[1]));
    }
}

test "text below a root" {
    try testing.expectEqualStrings("/x", belowRoot("/root/x", "/root"));
    try testing.expectEqualStrings("/", belowRoot("/root", "/root"));
    try testing.expectEqualStrings("/rootless/x", belowRoot("/rootless/x", "/root"));
    try testing.expectEqualStrings("/x", belowRoot("/x", ""));
}
