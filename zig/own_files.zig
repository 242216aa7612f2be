//! Files of the tracer and the front end, below whatever proc: their memory, environment, descriptors. Only root can open them.
//!
//! A path proves nothing: proc can be mounted a second time, a single file of it elsewhere, a symbolic link can lead there, and
//! in another pid namespace numbers mean others. What counts is where the opened file is inside its proc, which its
//! mount tells, and how that proc numbers us.
const std = @import("std");
const linux = std.os.linux;
const abi = @import("abi.zig");
const calls = @import("calls.zig");
const descriptors_mod = @import("descriptors.zig");
const file_systems = @import("file_systems.zig");
const follow = @import("follow.zig");
const mappings = @import("mappings.zig");
const mounts = @import("mounts.zig");
const opens = @import("opens.zig");
const paths = @import("paths.zig");
const ptrace = @import("ptrace.zig");
const status_file = @import("status.zig");
const sys = @import("sys.zig");
const syscalls = @import("syscalls.zig");
const tracee = @import("tracee.zig");
const Session = @import("session.zig").Session;
const Tracer = @import("tracer.zig").Tracer;
const Thread = tracee.Thread;

/// Taken before anything of the build runs.
pub const OwnFiles = struct {
    /// Of our own /proc.
    proc_device: u64 = 0,
    proc_mount: ?u64 = null,
    /// What entries below fd/ and map_files/ lead to: the memory that we share with the front end. Not its pipes: their other ends are
    /// the command's standard output and error, and whoever opens those (/dev/stderr) has the same inode.
    kept: Kept = .{},

    const Kept = struct { device: u64 = 0, inode: u64 = 0 };

    pub fn init(session: *const Session, descriptors: *descriptors_mod.Descriptors) OwnFiles {
        var own: OwnFiles = .{ .proc_mount = mounts.idOf(descriptors.own_links) };
        if (descriptors.identify(descriptors.own_links)) |file| own.proc_device = file.device else |_| {}
        if (mappings.fileAt(linux.gettid(), @intFromPtr(session.mapping.ptr))) |file| {
            own.kept = .{ .device = descriptors_mod.deviceNumber(file.major, file.minor), .inode = file.inode };
        }
        return own;
    }

    fn isKept(own: *const OwnFiles, file: *const abi.FileIdentity) bool {
        return own.kept.inode == file.inode and own.kept.device == file.device and own.kept.inode != 0;
    }
};

/// What was opened, or would be. `descriptor`: ours, of the file or of a directory above it. `text`: the file's path as the
/// descriptor's link shows it.
pub const Opened = struct {
    descriptor: i32,
    file: *const abi.FileIdentity,
    text: []const u8,
    for_writing: bool,
};

/// Whether it shows or changes what is private to us. Where that cannot be found out: yes.
pub fn isPrivate(tracer: *Tracer, thread: *const Thread, opened: Opened) bool {
    const own = &tracer.own_files;
    if (own.isKept(opened.file)) return true;
    if (opened.file.file_system != file_systems.proc) return false;
    const mount = mounts.idOf(opened.descriptor);
    if (mount != null and mount == own.proc_mount and std.mem.startsWith(u8, opened.text, "/proc/")) {
        const entry = status_file.entryOf(opened.text) orelse return false;
        return isPrivateEntry(opened, entry.file) and isOurNumber(tracer, entry.process);
    }
    var buffer: [paths.max]u8 = undefined;
    const root = rootOf(thread, mount, &buffer) orelse return isPrivateSomewhere(tracer, thread, opened);
    if (std.mem.eql(u8, root, "/")) return hasOurEntry(tracer, thread, opened);
    // A part of a proc, mounted elsewhere: its own path says whose it is.
    var entry: [paths.max + 8]u8 = undefined;
    const length = sys.append(&entry, sys.append(&entry, sys.append(&entry, 0, "/proc"), root), "/");
    const whole = status_file.entryOf(entry[0..length]) orelse status_file.entryOf(appendTo(&entry, length, opened.text)) orelse
        return hasOurEntry(tracer, thread, opened); // its `task`, or nobody's
    return (isPrivateEntry(opened, whole.file) or hasPrivatePart(opened)) and isOurs(tracer, thread, opened.file.device, whole.process);
}

fn appendTo(buffer: []u8, at: usize, text: []const u8) []const u8 {
    const room = @min(text.len, buffer.len - at);
    return buffer[0..sys.append(buffer, at, text[0..room])];
}

fn isPrivateEntry(opened: Opened, name: []const u8) bool {
    return opened.for_writing or status_file.isPrivate(name);
}

fn hasPrivatePart(opened: Opened) bool {
    var parts = std.mem.tokenizeScalar(u8, opened.text, '/');
    while (parts.next()) |part| if (status_file.isPrivate(part)) return true;
    return false;
}

fn hasOurEntry(tracer: *Tracer, thread: *const Thread, opened: Opened) bool {
    var at: usize = 0;
    while (status_file.entryBelow(opened.text, &at)) |entry| {
        if (isPrivateEntry(opened, entry.file) and isOurs(tracer, thread, opened.file.device, entry.process)) return true;
    }
    return false;
}

/// On a mount that nobody lists (open_tree(2), a lazy umount): only what it is called is left. The files of a proc's top have other names.
fn isPrivateSomewhere(tracer: *Tracer, thread: *const Thread, opened: Opened) bool {
    const top_inode = 1; // PROC_ROOT_INO
    if (opened.file.inode == top_inode) return false;
    if (hasOurEntry(tracer, thread, opened)) return true;
    var parts = std.mem.tokenizeScalar(u8, opened.text, '/');
    const first = parts.next() orelse return true;
    if (std.fmt.parseInt(i32, first, 10)) |_| return false else |_| return status_file.isPrivate(first);
}

/// Of the file's mount: which part of the file system it shows.
fn rootOf(thread: *const Thread, mount: ?u64, buffer: []u8) ?[]const u8 {
    const id = mount orelse return null;
    const found = mounts.find(thread.tid, .{ .id = id }, buffer) orelse mounts.find(linux.getpid(), .{ .id = id }, buffer) orelse return null;
    return found.root;
}

// ---------------------------------------------------------------------------------------------
// Numbers

/// Whether a number means the tracer, the front end or a thread of it in the proc with this device number.
fn isOurs(tracer: *Tracer, thread: *const Thread, device: u64, number: i32) bool {
    if (device == tracer.own_files.proc_device) return isOurNumber(tracer, number);
    var buffer: [paths.max]u8 = undefined;
    // Where its top is not to be found, it may number us as ours does.
    const found = mounts.find(thread.tid, .{ .top_of = device }, &buffer) orelse return isOurNumber(tracer, number);
    var top: [paths.max + 64]u8 = undefined;
    var length = sys.procPath(&top, thread.tid, "root").len;
    length = sys.append(&top, length, found.point);
    return isOursBelow(top[0..], length, number);
}

/// That proc itself says who we are there: `self` is whoever looks. In a pid namespace below ours we are nobody.
fn isOursBelow(top: []u8, length: usize, number: i32) bool {
    var text: [16]u8 = undefined;
    const end = sys.append(top, length, "/self");
    top[end] = 0;
    const self = sys.readLink(linux.AT.FDCWD, top[0..end :0], &text) catch return false;
    const tracer = std.fmt.parseInt(i32, self, 10) catch return false;
    if (hasThread(top, length, tracer, number)) return true;
    const status_end = sys.append(top, end, "/status");
    top[status_end] = 0;
    const status = status_file.readPath(top[0..status_end :0]) catch return true;
    return hasThread(top, length, status.parent, number);
}

fn hasThread(top: []u8, length: usize, process: i32, number: i32) bool {
    var at = sys.append(top, length, "/");
    at = sys.appendNumber(top, at, @intCast(@max(0, process)));
    at = sys.append(top, at, "/task/");
    at = sys.appendNumber(top, at, @intCast(@max(0, number)));
    top[at] = 0;
    var stat: linux.Statx = undefined;
    return sys.statx(linux.AT.FDCWD, top[0..at :0], 0, &stat) == .SUCCESS;
}

/// As our own pid namespace counts.
pub fn isOurNumber(tracer: *const Tracer, number: i32) bool {
    const session = tracer.session;
    if (number <= 0) return false;
    return number == session.tracer_pid or ptrace.isThreadOf(session.front_pid, number) or ptrace.isThreadOf(session.tracer_pid, number);
}

/// Whose /proc/PID it is that a descriptor of the thread refers to: the kernel takes one for a pidfd. Whether that is us.
pub fn isOurDirectory(tracer: *Tracer, thread: *const Thread, number: i32) bool {
    const taken = tracer.descriptors.take(tracer.owner(thread), number) catch return false;
    defer taken.close();
    const file = tracer.descriptors.identify(taken.descriptor) catch return false;
    if (file.file_system != file_systems.proc) return false;
    var buffer: [paths.max + 1]u8 = undefined;
    const link = tracer.descriptors.linkOf(taken.descriptor, &file, buffer[0..paths.max]) catch return true;
    // A name that is private, below it: then it is ours if that would be.
    var text: [paths.max + 8]u8 = undefined;
    const length = sys.append(&text, sys.append(&text, 0, link.path), "/mem");
    return isPrivate(tracer, thread, .{ .descriptor = taken.descriptor, .file = &file, .text = text[0..length], .for_writing = false });
}

// ---------------------------------------------------------------------------------------------
// Before the call, for those who could succeed

/// What an open wants of us.
pub const Aim = enum {
    nothing,
    /// To read what is shown of each process to whoever may trace it. Lists of processes (ps, lsof, fuser) ask for it, and get from us what an
    /// ordinary user gets from the kernel.
    look,
    /// Our memory, what our descriptors lead to, or to write anything.
    attack,

    /// `rest`: of the path, behind that name.
    fn of(name: []const u8, rest: []const u8, for_writing: bool) Aim {
        if (for_writing or !status_file.isListed(name)) return .attack;
        var parts = std.mem.tokenizeScalar(u8, rest, '/');
        const part = parts.next() orelse return .look;
        // These have a file for each descriptor, or namespace, and none of them is what it tells of.
        const is_described = std.mem.eql(u8, name, "fdinfo") or std.mem.eql(u8, name, "ns");
        return if (is_described and part[0] != '.' and parts.next() == null) .look else .attack;
    }
};

/// A link below fd/ leads to a file that shows no more where it was found: that must be seen on the way.
pub fn aimOf(tracer: *Tracer, thread: *Thread, path: []const u8, flags: u64) Aim {
    if (!tracer.privileged or path.len == 0) return .nothing;
    if (thread.call.aims_at_us) return .attack;
    const for_writing = opens.isForWriting(flags);
    const row = &syscalls.rows[thread.call.row];
    const place = calls.placeOf(tracer, thread, opens.directoryOf(row));
    const on_the_way = goesThroughUs(tracer, thread, place, path, for_writing);
    if (on_the_way != .nothing) return on_the_way;
    // Where another thread could use the file until it is taken back, that must not be left to the time after the call.
    const is_shared = tracer.shares_places or tracer.tracees.processOf(thread).threads > 1;
    if ((tracer.mounted or is_shared) and leadsToUs(tracer, thread, place, path, "", for_writing)) return .attack;
    return .nothing;
}

/// `part`: below what `path` leads to.
pub fn leadsToUs(tracer: *Tracer, thread: *const Thread, place: paths.Place, path: []const u8, part: []const u8, for_writing: bool) bool {
    const descriptor = paths.openInPlace(place, path, .{ .PATH = true, .CLOEXEC = true }) orelse return false;
    defer sys.close(descriptor);
    if (!isPrivateDescriptor(tracer, thread, descriptor, part, for_writing)) return false;
    // A symlink may have led there through `self`, who is us where we look.
    const followed = follow.open(place, path, false) orelse return true;
    defer sys.close(followed);
    return isPrivateDescriptor(tracer, thread, followed, part, for_writing);
}

/// `part`: below it.
pub fn isPrivateDescriptor(tracer: *Tracer, thread: *const Thread, descriptor: i32, part: []const u8, for_writing: bool) bool {
    const file = tracer.descriptors.identify(descriptor) catch return false;
    if (file.file_system != file_systems.proc and !tracer.own_files.isKept(&file)) return false;
    var buffer: [2 * paths.max + 1]u8 = undefined;
    const link = tracer.descriptors.linkOf(descriptor, &file, buffer[0..paths.max]) catch return true;
    var length = link.path.len;
    if (part.len > 0) length = sys.append(&buffer, sys.append(&buffer, length, "/"), part);
    return isPrivate(tracer, thread, .{ .descriptor = descriptor, .file = &file, .text = buffer[0..length], .for_writing = for_writing });
}

fn goesThroughUs(tracer: *Tracer, thread: *const Thread, place: paths.Place, path: []const u8, for_writing: bool) Aim {
    var parts = std.mem.tokenizeScalar(u8, path, '/');
    while (parts.next()) |part| {
        const is_number = parts.peek() == null and std.ascii.isDigit(part[0]);
        if (!is_number and !status_file.isPrivate(part)) continue;
        const start = @intFromPtr(part.ptr) - @intFromPtr(path.ptr);
        if (std.mem.eql(u8, path[0..start], "/")) continue;
        if (leadsToUs(tracer, thread, place, if (start == 0) "." else path[0..start], part, false)) return .of(part, parts.rest(), for_writing);
    }
    return .nothing;
}

test "what an open wants of us" {
    const Row = struct { []const u8, []const u8, bool, Aim };
    const rows = [_]Row{
        .{ "environ", "", false, .look },
        .{ "maps", "/", false, .look },
        .{ "fd", "", false, .look },
        .{ "fd", "3", false, .attack }, // whatever it leads to
        .{ "fdinfo", "3", false, .look },
        .{ "fdinfo", "..", false, .attack },
        .{ "ns", "net", false, .look },
        .{ "ns", "../mem", false, .attack },
        .{ "root", "", false, .look },
        .{ "root", "etc", false, .attack },
        .{ "map_files", "1-2", false, .attack },
        .{ "mem", "", false, .attack },
        .{ "pagemap", "", false, .attack },
        .{ "fdinfo", "", true, .attack },
        .{ "3", "", false, .attack }, // from within fd/
    };
    for (rows) |row| try std.testing.expectEqual(row[3], Aim.of(row[0], row[1], row[2]));
}
