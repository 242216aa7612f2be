//! From a tracee's descriptor to what it is: identity, name, and a read-only descriptor for the front end.
//!
//!     tracee's number ──take──▶ ours, for as long as the tracee is stopped ──hold──▶ read-only, for the front end
//!
//! `take` is pidfd_getfd, a duplicate: a lock on it would outlive the tracee's close. So the duplicate never leaves this file; what
//! is handed over is a description of its own, reopened through /proc/self/fd. Where pidfd_getfd is refused (before
//! Linux 5.6, Docker without SYS_PTRACE), and for threads that may have a table of their own, `take`
//! opens /proc/TID/fd/N with O_PATH, which opens nothing: no FIFO blocks, no device wakes up.
const std = @import("std");
const linux = std.os.linux;
const abi = @import("abi.zig");
const file_systems = @import("file_systems.zig");
const change_times = @import("change_times.zig");
const known_content = @import("known.zig");
const sys = @import("sys.zig");
const mounts = @import("mounts.zig");
const patience_mod = @import("patience.zig");
const shared_maps = @import("shared_maps.zig");
const tracee = @import("tracee.zig");
const Session = @import("session.zig").Session;
const assert = std.debug.assert;

/// A thread as this file needs it.
pub const Owner = struct {
    tid: i32,
    pid: i32,
    /// Serial number of the process: a pid can come back.
    process: u32,
};

pub const Link = struct {
    path: []const u8,
    /// The file has no name any more; `path` was its last one.
    deleted: bool = false,
};

pub const Held = struct {
    descriptor: i32 = -1,
    not_held: abi.NotHeld = .none,
    errno: u32 = 0,
    content: u64 = 0,
    /// After the record is published: `Known.remember`.
    may_stand: bool = false,
    /// Of a reader's: somebody has it open for writing at this moment.
    has_writers: bool = false,
    /// That is certain, or one is known to be alive: it may write at any moment. Not of what a server has.
    may_change: bool = false,
    /// As `has_writers`, and it may change without a trace in its ctime (change_times.zig).
    unsettled: bool = false,
};

/// A tracee's descriptor in our table. `close` before the tracee goes on.
pub const Taken = struct {
    descriptor: i32,
    /// Not a duplicate but a reference by O_PATH: F_GETFL says nothing about the tracee's.
    by_path: bool,
    from: *Descriptors,

    pub fn close(taken: Taken) void {
        if (taken.by_path) sys.close(taken.descriptor) else taken.from.close(taken.descriptor);
    }
};

pub const Descriptors = struct {
    session: *Session,
    known: known_content.Known,
    patience: ?*patience_mod.Patience = null,
    /// Whose maps are asked.
    tracees: ?*tracee.Tracees = null,
    /// Some file was of a file system that a server answers for.
    foreign_seen: bool = false,
    /// /proc/self/fd: a name below it is half a microsecond cheaper than the whole path.
    own_links: i32,
    pidfd_getfd_works: bool,
    has_multigrain: bool,
    pidfds: [64]Pidfd = @splat(.{}),
    file_systems: [64]FileSystem = @splat(.{}),
    /// By number: readers' files that the front end has not closed when last looked at.
    read_by_front: [front_max]Read = @splat(.{}),
    /// One more than the highest number in it.
    read_end: u32 = 0,

    /// Numbers above are not remembered: the limit of descriptors is not raised that far.
    const front_max = 4 * abi.handed_over_max;
    const Read = struct {
        device: u64 = 0,
        inode: u64 = 0,
        /// Serial of the process that opened it for writing, until that has ended: what it leaves behind is not there yet, and
        /// the front end keeps the descriptor. 0: the content is to be digested as it is now.
        writer: u32 = 0,
    };
    const Pidfd = struct { process: u32 = 0, descriptor: i32 = -1 };
    const FileSystem = struct { device: u64 = 0, type: u32 = 0, known: bool = false };

    pub fn init(session: *Session, pidfd_getfd_works: bool) sys.Error!Descriptors {
        const own_links = switch (sys.open(linux.AT.FDCWD, "/proc/self/fd", .{ .DIRECTORY = true, .CLOEXEC = true })) {
            .descriptor => |number| number,
            .failed => return error.NotFound,
        };
        return .{
            .session = session,
            .known = try .init(),
            .own_links = own_links,
            .pidfd_getfd_works = pidfd_getfd_works,
            .has_multigrain = change_times.hasMultigrain(),
        };
    }

    pub fn deinit(descriptors: *Descriptors) void {
        sys.close(descriptors.own_links);
        for (descriptors.pidfds) |entry| if (entry.descriptor >= 0) sys.close(entry.descriptor);
        descriptors.known.deinit();
    }

    /// A process is gone.
    pub fn forget(descriptors: *Descriptors, process: u32) void {
        const entry = &descriptors.pidfds[process % descriptors.pidfds.len];
        if (entry.process != process or entry.descriptor < 0) return;
        sys.close(entry.descriptor);
        entry.* = .{};
    }

    /// Mounts changed: device numbers of file systems without a disk can come back for another kind.
    pub fn forgetFileSystems(descriptors: *Descriptors) void {
        descriptors.file_systems = @splat(.{});
    }

    // -----------------------------------------------------------------------------------------
    // Taking

    pub fn take(descriptors: *Descriptors, owner: Owner, number: i32) sys.Error!Taken {
        const limit = sys.nowNs() + patience_mod.answer_max_ns;
        while (true) {
            return descriptors.takeNow(owner, number) catch |e| {
                if (e == error.OutOfDescriptors and descriptors.waitForRelease(limit)) continue;
                return e;
            };
        }
    }

    fn takeNow(descriptors: *Descriptors, owner: Owner, number: i32) sys.Error!Taken {
        if (number < 0) return error.BadDescriptor;
        // A thread can have a descriptor table of its own; its leader's pidfd would show the leader's.
        if (descriptors.pidfd_getfd_works and owner.tid == owner.pid) {
            const pidfd = try descriptors.pidfdOf(owner);
            switch (sys.pidfdGetfd(pidfd, number)) {
                .descriptor => |copy| return .{ .descriptor = copy, .by_path = false, .from = descriptors },
                .failed => |e| switch (e) {
                    .BADF => return error.BadDescriptor,
                    .SRCH => return error.TraceeGone,
                    .MFILE, .NFILE => return error.OutOfDescriptors,
                    // A process that became non-dumpable, say.
                    else => {},
                },
            }
        }
        return descriptors.takeByPath(owner.tid, number);
    }

    /// As a duplicate, of which the kernel can be asked about the socket, wherever that is possible: for a thread that is not the
    /// leader, the leader's of that number, if it is the same socket.
    pub fn takeSocket(descriptors: *Descriptors, owner: Owner, number: i32) sys.Error!Taken {
        const taken = try descriptors.take(owner, number);
        if (!taken.by_path or !descriptors.pidfd_getfd_works or owner.tid == owner.pid) return taken;
        const leaders = descriptors.take(.{ .tid = owner.pid, .pid = owner.pid, .process = owner.process }, number) catch return taken;
        const own = descriptors.identify(taken.descriptor) catch abi.FileIdentity{};
        const other = descriptors.identify(leaders.descriptor) catch abi.FileIdentity{};
        const is_same = !leaders.by_path and own.inode != 0 and own.inode == other.inode and own.device == other.device;
        if (is_same) taken.close() else leaders.close();
        return if (is_same) leaders else taken;
    }

    fn takeByPath(descriptors: *Descriptors, tid: i32, number: i32) sys.Error!Taken {
        var buffer: [64]u8 = undefined;
        var at = sys.procPath(&buffer, tid, "fd/").len;
        at = sys.appendNumber(&buffer, at, @intCast(number));
        buffer[at] = 0;
        switch (descriptors.open(buffer[0..at :0], .{ .PATH = true, .CLOEXEC = true }, false)) {
            .descriptor => |copy| return .{ .descriptor = copy, .by_path = true, .from = descriptors },
            .failed => |e| return switch (e) {
                .NOENT => error.BadDescriptor,
                .SRCH => error.TraceeGone,
                .MFILE, .NFILE => error.OutOfDescriptors,
                .TIMEDOUT => error.TimedOut,
                else => error.Denied,
            },
        }
    }

    /// Not one by O_PATH. Closing a file of a server's asks the server (FUSE_FLUSH): nobody waits for that.
    pub fn close(descriptors: *const Descriptors, descriptor: i32) void {
        if (descriptors.foreign_seen) if (descriptors.patience) |patience| {
            const file = if (statOf(descriptor)) |stat| identityOf(&stat) else |_| abi.FileIdentity{};
            const entry = descriptors.slotOf(file.device).*;
            const is_local = entry.known and entry.device == file.device and !file_systems.isServed(entry.type);
            if (isServable(&file) and !is_local) return patience.close(descriptor);
        };
        sys.close(descriptor);
    }

    fn open(descriptors: *const Descriptors, path: [:0]const u8, flags: linux.O, is_foreign: bool) sys.Opened {
        const patience = descriptors.patience orelse return sys.open(linux.AT.FDCWD, path, flags);
        return patience.open(linux.AT.FDCWD, path, flags, is_foreign);
    }

    fn pidfdOf(descriptors: *Descriptors, owner: Owner) sys.Error!i32 {
        const entry = &descriptors.pidfds[owner.process % descriptors.pidfds.len];
        if (entry.process == owner.process and entry.descriptor >= 0) return entry.descriptor;
        const pidfd = try sys.pidfdOpen(owner.pid);
        if (entry.descriptor >= 0) sys.close(entry.descriptor);
        entry.* = .{ .process = owner.process, .descriptor = pidfd };
        return pidfd;
    }

    // -----------------------------------------------------------------------------------------
    // Identifying

    /// What a descriptor of ours refers to.
    pub fn identify(descriptors: *Descriptors, descriptor: i32) sys.Error!abi.FileIdentity {
        const stat = try statOf(descriptor);
        descriptors.lookForServer(&stat);
        var file = identityOf(&stat);
        file.file_system = descriptors.fileSystemOf(&file, descriptor);
        return file;
    }

    /// Who opens /dev/fuse or /dev/cuse is going to answer for the kernel, to us too.
    fn lookForServer(descriptors: *Descriptors, stat: *const linux.Statx) void {
        const patience = descriptors.patience orelse return;
        if (stat.mode & type_mask != character_device or stat.rdev_major != misc_major) return;
        if (stat.rdev_minor == fuse_minor or stat.rdev_minor == cuse_minor) patience.needed = true;
    }

    /// fstatfs once for each device. A FUSE server is asked for it, and a network file system's; 0: no answer.
    fn fileSystemOf(descriptors: *Descriptors, file: *const abi.FileIdentity, descriptor: i32) u32 {
        const entry = descriptors.slotOf(file.device);
        if (entry.known and entry.device == file.device) return entry.type;
        const found = descriptors.askFileSystem(file, descriptor);
        if (file_systems.isServed(found)) descriptors.foreign_seen = true;
        if (found != 0) entry.* = .{ .device = file.device, .type = found, .known = true };
        return found;
    }

    fn slotOf(descriptors: anytype, device: u64) @TypeOf(&descriptors.file_systems[0]) {
        return &descriptors.file_systems[@intCast(std.hash.int(device) % descriptors.file_systems.len)];
    }

    fn askFileSystem(descriptors: *const Descriptors, file: *const abi.FileIdentity, descriptor: i32) u32 {
        const patience = descriptors.patience orelse return sys.fileSystemOf(descriptor) catch 0;
        const answer = patience.about(sys.Error!u32, sys.fileSystemOf, descriptor, isServable(file)) catch return 0;
        return answer catch 0;
    }

    /// Its name, as the tracer sees it. A name that is too long for the kernel (a page) is an error.
    pub fn linkOf(descriptors: *Descriptors, descriptor: i32, file: *const abi.FileIdentity, buffer: []u8) sys.Error!Link {
        var number: [12]u8 = undefined;
        const end = sys.appendNumber(&number, 0, @intCast(descriptor));
        number[end] = 0;
        const path = try sys.readLink(descriptors.own_links, number[0..end :0], buffer);
        return descriptors.nameOf(path, file);
    }

    // -----------------------------------------------------------------------------------------
    // Handing over

    pub const HoldOptions = struct {
        for_writing: bool,
        /// Serial of the process that opened it.
        process: u32,
        /// Nothing is handed over of what is `unsettled`.
        only_settled: bool = false,
    };

    /// A descriptor of `taken` for the front end, or why there is none. Counts it as handed over: the record must follow.
    pub fn hold(descriptors: *Descriptors, taken: i32, file: *const abi.FileIdentity, options: HoldOptions) Held {
        if (!isRegular(file.mode)) return .{ .not_held = .not_regular };
        if (file_systems.isPseudo(file.file_system)) return .{ .not_held = .pseudo_file_system };
        if (options.for_writing) {
            descriptors.known.written(file.device, file.inode);
        } else if (descriptors.known.find(file)) |sequence| {
            return .{ .not_held = .known_content, .content = sequence };
        }
        const limit = sys.nowNs() + patience_mod.answer_max_ns;
        const copy = while (true) {
            switch (descriptors.reopen(taken, file_systems.isServed(file.file_system))) {
                .descriptor => |number| break number,
                .failed => |e| {
                    if ((e == .MFILE or e == .NFILE) and descriptors.waitForRelease(limit)) continue;
                    return .{ .not_held = .unreadable, .errno = sys.errnoNumber(e) };
                },
            }
        };
        const judgement = if (options.for_writing) no_reader else descriptors.judge(copy, file);
        const unsettled = judgement.has_writers and file.size > 0 and !change_times.willMove(file, descriptors.has_multigrain);
        if (unsettled and options.only_settled) {
            descriptors.close(copy);
            return .{ .unsettled = true };
        }
        if (!descriptors.countHandedOver()) {
            descriptors.close(copy);
            return .{ .not_held = .unreadable, .errno = sys.errnoNumber(.TIMEDOUT) };
        }
        if (descriptors.foreign_seen) @atomicStore(u32, &descriptors.session.control.foreign_handed, 1, .release); // pairs with lib.zig's load
        const writer = if (options.for_writing) options.process else 0;
        descriptors.note(copy, .{ .device = file.device, .inode = file.inode, .writer = writer });
        const may_change = judgement.has_writers and !file_systems.isServed(file.file_system) and
            (judgement.is_certain or descriptors.hasLivingWriter(file.device, file.inode, 0));
        return .{ .descriptor = copy, .may_stand = judgement.may_stand, .has_writers = judgement.has_writers, .may_change = may_change, .unsettled = unsettled };
    }

    const no_reader: known_content.Known.Judgement = .{ .may_stand = false, .has_writers = false, .is_certain = true };

    fn judge(descriptors: *Descriptors, descriptor: i32, file: *const abi.FileIdentity) known_content.Known.Judgement {
        const judgement = descriptors.known.judge(.{ .file = file, .descriptor = descriptor, .now_ns = @intCast(sys.clockNs(.REALTIME)) });
        if (judgement.has_writers or !descriptors.isMapped(descriptor, file)) return judgement;
        return .{ .may_stand = false, .has_writers = true, .is_certain = true };
    }

    /// Who can write to the file of a descriptor of ours, which can only read.
    pub fn writersOf(descriptors: *Descriptors, descriptor: i32) known_content.Writers {
        const writers = known_content.writersOf(descriptor);
        if (writers != .nobody) return writers;
        const file = descriptors.identify(descriptor) catch return .unknown;
        return if (descriptors.isMapped(descriptor, &file)) .somebody else .nobody;
    }

    /// Only after a lease was granted: whether somebody has a map all the same.
    fn isMapped(descriptors: *Descriptors, descriptor: i32, file: *const abi.FileIdentity) bool {
        if (!descriptors.known.mayBeMapped(file)) return false;
        // Who waits for a file server may keep its maps closed to us until that answers.
        if (descriptors.patience) |patience| if (patience.needed) return true;
        var buffer: [abi.path_max]u8 = undefined;
        const link: Link = descriptors.linkOf(descriptor, file, &buffer) catch .{ .path = "" };
        if (shared_maps.has(descriptors.tracees orelse return false, .{ .inode = file.inode, .path = link.path })) return true;
        descriptors.known.notMapped(file);
        return false;
    }

    /// Waits at the bound. What the front end waits for may be an answer from the build: then others have their turn meanwhile.
    /// False: that has taken too long.
    fn countHandedOver(descriptors: *Descriptors) bool {
        const session = descriptors.session;
        if (descriptors.hasTurn()) {
            const limit = sys.nowNs() + patience_mod.answer_max_ns;
            while (!session.hasRoom() and !session.killRequested()) {
                session.wakeFrontEnd();
                if (!descriptors.patience.?.yield(limit)) return false;
            }
        }
        session.countHandedOver();
        return true;
    }

    fn hasTurn(descriptors: *const Descriptors) bool {
        const patience = descriptors.patience orelse return false;
        return patience.current != null;
    }

    /// The table is full, of what the front end has yet to close or of what it has opened itself. False: nothing will be closed.
    fn waitForRelease(descriptors: *Descriptors, limit_ns: u64) bool {
        const control = descriptors.session.control;
        const released = @atomicLoad(u32, &control.descriptors_released, .acquire); // pairs with countReleased
        if (control.descriptors_handed == released or descriptors.session.killRequested()) return false;
        descriptors.session.wakeFrontEnd();
        if (descriptors.hasTurn()) return descriptors.patience.?.yield(limit_ns);
        sys.futexWait(&control.descriptors_released, released, 100);
        return true;
    }

    fn note(descriptors: *Descriptors, descriptor: i32, read: Read) void {
        if (descriptor >= front_max) return;
        const index: u32 = @intCast(descriptor);
        descriptors.read_by_front[index] = read;
        descriptors.read_end = @max(descriptors.read_end, index + 1);
    }

    pub const Kept = struct { descriptor: i32, device: u64, inode: u64 };

    /// A writer has ended: the front end now digests what it left behind, and closes what it held. One by one those that it held,
    /// until there is none.
    pub fn nextOfEnded(descriptors: *Descriptors, process: u32, from: *u32) ?Kept {
        while (from.* < descriptors.read_end) {
            const number = from.*;
            const read = &descriptors.read_by_front[number];
            from.* += 1;
            if (read.writer != process) continue;
            read.writer = 0;
            return .{ .descriptor = @intCast(number), .device = read.device, .inode = read.inode };
        }
        return null;
    }

    /// Whether a living process, not `process` (0: any), has opened the file for writing: the front end waits for its end.
    pub fn hasLivingWriter(descriptors: *Descriptors, device: u64, inode: u64, process: u32) bool {
        for (descriptors.read_by_front[0..descriptors.read_end]) |read| {
            if (read.inode == inode and read.device == device and read.writer != 0 and read.writer != process) return true;
        }
        return false;
    }

    /// Whether the front end still holds what it got of this file to digest: a reader's open, or what a dead writer left.
    pub fn isBeingRead(descriptors: *Descriptors, device: u64, inode: u64) bool {
        for (descriptors.read_by_front[0..descriptors.read_end], 0..) |*read, number| {
            if (read.inode != inode or read.device != device or inode == 0 or read.writer != 0) continue;
            // It is closed there, and its number may be another file's by now.
            const file = if (statOf(@intCast(number))) |stat| identityOf(&stat) else |_| abi.FileIdentity{};
            if (file.inode == inode and file.device == device) return true;
            read.* = .{};
        }
        return false;
    }

    /// Descriptors on this mount (mounts.zig) that the front end keeps for a living writer, one by one, until there is none.
    pub fn nextWriterOn(descriptors: *Descriptors, mount: u64, from: *u32) ?i32 {
        while (from.* < descriptors.read_end) {
            const number: i32 = @intCast(from.*);
            const read = &descriptors.read_by_front[from.*];
            from.* += 1;
            if (read.writer != 0 and mounts.idOf(number) == mount) return number;
        }
        return null;
    }

    /// The front end reads it now, whoever may still write.
    pub fn letGo(descriptors: *Descriptors, number: i32) void {
        descriptors.read_by_front[@intCast(number)].writer = 0;
    }

    /// Whether the front end still holds something on this mount to digest it.
    pub fn isReadOn(descriptors: *Descriptors, mount: u64) bool {
        for (descriptors.read_by_front[0..descriptors.read_end], 0..) |*read, number| {
            if (read.inode == 0 or read.writer != 0) continue;
            const found = mounts.idOf(@intCast(number));
            if (found == mount) return true;
            if (found == null) read.* = .{};
        }
        return false;
    }

    /// Read-only, by an open file description of its own. Only for regular files: anything else could act. Even these can
    /// block: their server is told, or whoever has asked for that (fanotify).
    pub fn reopen(descriptors: *const Descriptors, descriptor: i32, is_foreign: bool) sys.Opened {
        var buffer: [64]u8 = undefined;
        var at = sys.append(&buffer, 0, "/proc/self/fd/");
        at = sys.appendNumber(&buffer, at, @intCast(descriptor));
        buffer[at] = 0;
        const path = buffer[0..at :0];
        var flags: linux.O = .{ .ACCMODE = .RDONLY, .NONBLOCK = true, .NOCTTY = true, .CLOEXEC = true, .NOATIME = true };
        const quietly = descriptors.open(path, flags, is_foreign);
        if (quietly != .failed or quietly.failed != .PERM) return quietly;
        // Not the owner's, nor ours to leave no trace in its access time.
        flags.NOATIME = false;
        return descriptors.open(path, flags, is_foreign);
    }

    /// The kernel marks a name that is gone by a suffix, which can also be part of a name that is not gone.
    fn nameOf(descriptors: *const Descriptors, path: []const u8, file: *const abi.FileIdentity) Link {
        const suffix = " (deleted)";
        if (!std.mem.endsWith(u8, path, suffix)) return .{ .path = path, .deleted = file.links == 0 and path.len > 0 and path[0] == '/' };
        const bare = path[0 .. path.len - suffix.len];
        if (file.links == 0) return .{ .path = bare, .deleted = true };
        // Who would have to be asked for it is not.
        if (descriptors.patience) |patience| if (patience.needed and file_systems.isServedByProcess(file.file_system)) return .{ .path = bare, .deleted = true };
        // Other links are left: the name is gone unless this very file bears it, suffix and all.
        var buffer: [abi.path_max + 1]u8 = undefined;
        if (path.len >= buffer.len) return .{ .path = bare, .deleted = true };
        @memcpy(buffer[0..path.len], path);
        buffer[path.len] = 0;
        const named = switch (descriptors.open(buffer[0..path.len :0], .{ .PATH = true, .NOFOLLOW = true, .CLOEXEC = true }, false)) {
            .descriptor => |number| number,
            .failed => return .{ .path = bare, .deleted = true },
        };
        defer sys.close(named);
        const there = identityOf(&(statOf(named) catch return .{ .path = bare, .deleted = true }));
        const is_same = there.device == file.device and there.inode == file.inode;
        return if (is_same) .{ .path = path } else .{ .path = bare, .deleted = true };
    }
};

/// What the kernel tells about a socket to whoever has a duplicate of its descriptor.
pub const Socket = struct {
    /// Null: a reference by path only, which cannot be asked.
    facts: ?abi.SocketFacts,
    address: [address_max]u8 = undefined,
    address_length: usize = 0,

    const address_max = 128; // struct sockaddr_storage
    const sol_socket = 1;
    const so_type = 3;
    const so_peercred = 17;
    const so_domain = 39;
    const sock_dgram = 2;

    pub fn of(descriptor: i32) Socket {
        var socket: Socket = .{ .facts = factsOf(descriptor) };
        if (socket.facts != null) socket.address_length = sys.peerOf(descriptor, &socket.address) catch 0;
        return socket;
    }

    pub fn factsOf(descriptor: i32) ?abi.SocketFacts {
        var facts: abi.SocketFacts = .{ .domain = 0, .type = 0, .peer_pid = -1, .has_holder = 0, .holder = 0, .cookie = 0 };
        facts.domain = sys.socketOption(descriptor, sol_socket, so_domain, u32) catch return null;
        facts.type = sys.socketOption(descriptor, sol_socket, so_type, u32) catch return null;
        if (facts.domain == linux.AF.UNIX and facts.type != sock_dgram) {
            const credentials = sys.socketOption(descriptor, sol_socket, so_peercred, [3]u32) catch return facts;
            facts.peer_pid = @bitCast(credentials[0]);
        }
        return facts;
    }

    /// struct sockaddr of what it is connected to; empty if it is not.
    pub fn peer(socket: *const Socket) []const u8 {
        return socket.address[0..socket.address_length];
    }
};

/// DONT_SYNC: a server behind the file system is not asked.
fn statOf(descriptor: i32) sys.Error!linux.Statx {
    var stat: linux.Statx = undefined;
    const e = sys.statx(descriptor, "", linux.AT.EMPTY_PATH | linux.AT.STATX_DONT_SYNC, &stat);
    return if (e == .SUCCESS) stat else error.BadDescriptor;
}

/// The flags of a tracee's descriptor.
pub fn flagsOf(owner: Owner, number: i32, taken: Taken) sys.Error!u64 {
    if (!taken.by_path) return try sys.fcntl(taken.descriptor, linux.F.GETFL, 0);
    var buffer: [64]u8 = undefined;
    var at = sys.procPath(&buffer, owner.tid, "fdinfo/").len;
    at = sys.appendNumber(&buffer, at, @intCast(number));
    buffer[at] = 0;
    const info = switch (sys.openReadOnly(buffer[0..at :0])) {
        .descriptor => |descriptor| descriptor,
        .failed => return error.BadDescriptor,
    };
    defer sys.close(info);
    var text: [512]u8 = undefined;
    return parseFlags(text[0..try sys.read(info, &text)]) orelse error.Unexpected;
}

/// `flags:` of /proc/PID/fdinfo/N, which is octal.
fn parseFlags(text: []const u8) ?u64 {
    var lines = std.mem.splitScalar(u8, text, '\n');
    while (lines.next()) |line| {
        if (!std.mem.startsWith(u8, line, "flags:")) continue;
        return std.fmt.parseInt(u64, std.mem.trim(u8, line["flags:".len..], " \t"), 8) catch null;
    }
    return null;
}

pub const deviceNumber = sys.deviceNumber;

pub fn identityOf(stat: *const linux.Statx) abi.FileIdentity {
    return .{
        .device = sys.deviceNumber(stat.dev_major, stat.dev_minor),
        .inode = stat.ino,
        .size = stat.size,
        .blocks = stat.blocks,
        .mtime_ns = nanoseconds(stat.mtime),
        .ctime_ns = nanoseconds(stat.ctime),
        .birth_ns = if (stat.mask.BTIME) nanoseconds(stat.btime) else 0,
        .mode = stat.mode,
        .links = stat.nlink,
        .uid = stat.uid,
    };
}

fn nanoseconds(t: linux.statx_timestamp) i64 {
    return t.sec *| std.time.ns_per_s +| t.nsec;
}

const type_mask = 0o170000;
const character_device = 0o020000;
/// Documentation/admin-guide/devices.txt of Linux.
const misc_major = 10;
const fuse_minor = 229;
const cuse_minor = 203;

fn isDirectory(mode: u32) bool {
    return mode & type_mask == 0o040000;
}

/// Whether a server may be behind it: a file that has no disk (major number 0).
fn isServable(file: *const abi.FileIdentity) bool {
    return file.device & 0xffff_f000_000f_ff00 == 0 and (isRegular(file.mode) or isDirectory(file.mode));
}

pub fn isRegular(mode: u32) bool {
    return mode & type_mask == 0o100000;
}

pub fn isSocket(mode: u32) bool {
    return mode & type_mask == 0o140000;
}

// ---------------------------------------------------------------------------------------------

const testing = std.testing;

test "device numbers are those of stat(2)" {
    try testing.expectEqual(@as(u64, 0x0801), sys.deviceNumber(8, 1));
    try testing.expectEqual(@as(u64, 0x0010_0032), sys.deviceNumber(0, 0x132));
    try testing.expectEqual(@as(u64, 0x1000_0000_fff00), sys.deviceNumber(0x1_0fff, 0) & 0xf_ffff_ffff_ff00);
}

test "flags of fdinfo" {
    try testing.expectEqual(@as(?u64, 0o100001), parseFlags("pos:\t0\nflags:\t0100001\nmnt_id:\t29\n"));
    try testing.expectEqual(@as(?u64, null), parseFlags("pos:\t0\n"));
    try testing.expectEqual(@as(?u64, null), parseFlags("flags:\tx\n"));
}

/// A process that holds some descriptors and waits to be killed.
const Holder = struct {
    pid: i32,

    fn start() !Holder {
        const pid = try sys.fork();
        if (pid == 0) while (true) sys.sleepMs(1000);
        return .{ .pid = pid };
    }

    fn stop(holder: Holder) void {
        sys.kill(holder.pid, .KILL) catch {};
        _ = sys.wait(holder.pid, 0) catch {};
    }
};

fn makeFile(path: [*:0]const u8) !i32 {
    return @intCast(try sys.check(linux.openat(linux.AT.FDCWD, path, .{ .ACCMODE = .WRONLY, .CREAT = true, .TRUNC = true }, 0o600)));
}

test "both ways of taking: the same identity and name, nothing blocks" {
    var control: abi.Control = .{};
    var session: Session = undefined;
    session.control = &control;
    session.descriptors = .{};

    const path = "/tmp/cilock-descriptors (deleted)";
    const file = try makeFile(path);
    _ = try sys.write(file, "content");
    defer sys.close(file);
    defer _ = linux.unlink(path);
    const gone = try makeFile("/tmp/cilock-descriptors-gone");
    defer sys.close(gone);
    _ = linux.unlink("/tmp/cilock-descriptors-gone");
    const pipe = try sys.pipe(.{});
    defer for (pipe) |end| sys.close(end);
    const fifo_path = "/tmp/cilock-descriptors-fifo";
    _ = linux.mknodat(linux.AT.FDCWD, fifo_path, linux.S.IFIFO | 0o600, 0);
    defer _ = linux.unlink(fifo_path);
    const fifo: i32 = @intCast(try sys.check(linux.openat(linux.AT.FDCWD, fifo_path, .{ .ACCMODE = .RDWR }, 0)));
    defer sys.close(fifo);

    const holder = try Holder.start();
    defer holder.stop();
    for ([_]bool{ true, false }) |getfd| {
        var descriptors = try Descriptors.init(&session, getfd);
        defer descriptors.deinit();
        const owner: Owner = .{ .tid = holder.pid, .pid = holder.pid, .process = 1 };
        const Row = struct { number: i32, name: ?[]const u8, deleted: bool, not_held: abi.NotHeld };
        const rows = [_]Row{
            .{ .number = file, .name = path, .deleted = false, .not_held = .none },
            .{ .number = gone, .name = "/tmp/cilock-descriptors-gone", .deleted = true, .not_held = .none },
            .{ .number = pipe[0], .name = null, .deleted = false, .not_held = .not_regular },
            .{ .number = fifo, .name = fifo_path, .deleted = false, .not_held = .not_regular },
        };
        for (rows) |row| {
            const taken = try descriptors.take(owner, row.number);
            defer taken.close();
            try testing.expectEqual(!getfd, taken.by_path);
            const identity = try descriptors.identify(taken.descriptor);
            var buffer: [abi.path_max]u8 = undefined;
            const link = try descriptors.linkOf(taken.descriptor, &identity, &buffer);
            if (row.name) |name| try testing.expectEqualStrings(name, link.path);
            try testing.expectEqual(row.deleted, link.deleted);
            const accmode = try flagsOf(owner, row.number, taken) & 3;
            const held = descriptors.hold(taken.descriptor, &identity, .{ .for_writing = accmode != 0 and row.number != file, .process = 1 });
            try testing.expectEqual(row.not_held, held.not_held);
            if (held.descriptor < 0) continue;
            defer sys.close(held.descriptor);
            // Ours is a description of its own, and can only read.
            try testing.expectEqual(@as(usize, 0), try sys.fcntl(held.descriptor, linux.F.GETFL, 0) & 3);
        }
        try testing.expectError(error.BadDescriptor, descriptors.take(owner, 999));
        try testing.expectError(error.BadDescriptor, descriptors.take(owner, -1));
    }
    const nobody: Owner = .{ .tid = std.math.maxInt(i32), .pid = std.math.maxInt(i32), .process = 1 };
    var descriptors = try Descriptors.init(&session, true);
    defer descriptors.deinit();
    try testing.expectError(error.TraceeGone, descriptors.take(nobody, 1));
}

test "a full table is waited for while the front end has something to close" {
    var control: abi.Control = .{};
    var session: Session = undefined;
    session.control = &control;
    session.descriptors = .{};
    var descriptors = try Descriptors.init(&session, true);
    defer descriptors.deinit();
    try testing.expect(!descriptors.waitForRelease(0));
    control.descriptors_handed = 3;
    try testing.expect(descriptors.waitForRelease(0));
    control.descriptors_released = 3;
    try testing.expect(!descriptors.waitForRelease(0));
}

test "proc and its like are not handed over" {
    var control: abi.Control = .{};
    var session: Session = undefined;
    session.control = &control;
    var descriptors = try Descriptors.init(&session, true);
    defer descriptors.deinit();
    const version = sys.openReadOnly("/proc/version").descriptor;
    defer sys.close(version);
    const identity = try descriptors.identify(version);
    try testing.expectEqual(abi.NotHeld.pseudo_file_system, descriptors.hold(version, &identity, .{ .for_writing = false, .process = 1 }).not_held);
    try testing.expectEqual(@as(u32, 0), control.descriptors_handed);
}
