//! System calls with errors that are named for what they mean to us. Nothing here uses libc, an
//! allocator or thread-local storage: the tracer process is a copy of a process that may have had
//! threads, and the command runs this code between fork and exec.
//!
//! Two shapes. What can only fail in ways that the caller treats alike returns an `Error` union.
//! What has an errno that goes into a record returns `Opened` or the plain `linux.E`.
const std = @import("std");
const builtin = @import("builtin");
const linux = std.os.linux;

pub const Error = error{
    /// ESRCH: the process or thread is not there any more (or not ours, or not stopped).
    TraceeGone,
    /// EPERM, EACCES.
    Denied,
    /// ENOENT, ENOTDIR.
    NotFound,
    /// EINTR.
    Interrupted,
    /// EAGAIN.
    WouldBlock,
    /// ENOSYS, EINVAL, EOPNOTSUPP: this kernel does not have it.
    NotSupported,
    /// EMFILE, ENFILE.
    OutOfDescriptors,
    /// ENOMEM.
    OutOfMemory,
    /// EFAULT, EIO: memory of the tracee that cannot be read.
    BadAddress,
    /// EBADF.
    BadDescriptor,
    /// ECHILD.
    NoChild,
    /// EPIPE.
    BrokenPipe,
    /// No errno: whoever should answer has not (patience.zig).
    TimedOut,
    Unexpected,
};

pub fn check(rc: usize) Error!usize {
    return switch (linux.errno(rc)) {
        .SUCCESS => rc,
        .SRCH => error.TraceeGone,
        .PERM, .ACCES => error.Denied,
        .NOENT, .NOTDIR => error.NotFound,
        .INTR => error.Interrupted,
        .AGAIN => error.WouldBlock,
        .NOSYS, .INVAL, .OPNOTSUPP => error.NotSupported,
        .MFILE, .NFILE => error.OutOfDescriptors,
        .NOMEM => error.OutOfMemory,
        .FAULT, .IO => error.BadAddress,
        .BADF => error.BadDescriptor,
        .CHILD => error.NoChild,
        .PIPE => error.BrokenPipe,
        else => error.Unexpected,
    };
}

/// A descriptor, or why there is none.
pub const Opened = union(enum) {
    descriptor: i32,
    failed: linux.E,

    fn of(rc: usize) Opened {
        const e = linux.errno(rc);
        return if (e == .SUCCESS) .{ .descriptor = @intCast(rc) } else .{ .failed = e };
    }

    /// Where it does not matter why there is none.
    pub fn orNull(opened: Opened) ?i32 {
        return switch (opened) {
            .descriptor => |number| number,
            .failed => null,
        };
    }
};

pub fn errnoNumber(e: linux.E) u32 {
    return @backingInt(e);
}

// ---------------------------------------------------------------------------------------------
// Time

/// CLOCK_MONOTONIC, nanoseconds: the clock of all records.
pub fn nowNs() u64 {
    return clockNs(.MONOTONIC);
}

pub fn clockNs(clock: linux.clockid_t) u64 {
    var ts: linux.timespec = undefined;
    // In a static musl program std.os.linux.clock_gettime does not find the vDSO (240 ns a call): use libc's.
    if (builtin.link_libc) {
        _ = std.c.clock_gettime(@fromBackingInt(@backingInt(clock)), &ts);
    } else {
        _ = linux.clock_gettime(clock, &ts);
    }
    return @as(u64, @intCast(ts.sec)) * std.time.ns_per_s + @as(u64, @intCast(ts.nsec));
}

pub fn sleepMs(ms: u32) void {
    const ts = timespecOfMs(ms);
    _ = linux.nanosleep(&ts, null);
}

/// Between two looks at something that answers within microseconds.
pub fn sleepUs(us: u32) void {
    const ts: linux.timespec = .{ .sec = 0, .nsec = @as(isize, us) * std.time.ns_per_us };
    _ = linux.nanosleep(&ts, null);
}

fn timespecOfMs(ms: u32) linux.timespec {
    return .{ .sec = ms / 1000, .nsec = @as(isize, ms % 1000) * std.time.ns_per_ms };
}

// ---------------------------------------------------------------------------------------------
// Futexes between processes: never the private kind

/// Sleeps while `word` is `expected`; null means for ever. May return early: look again.
pub fn futexWait(word: *const u32, expected: u32, timeout_ms: ?u32) void {
    if (timeout_ms) |ms| {
        const ts = timespecOfMs(ms);
        _ = linux.futex_4arg(word, .{ .cmd = .WAIT, .private = false }, expected, &ts);
    } else {
        _ = linux.futex_4arg(word, .{ .cmd = .WAIT, .private = false }, expected, null);
    }
}

/// The same for what is there within microseconds.
pub fn futexWaitUs(word: *const u32, expected: u32, timeout_us: u32) void {
    const ts: linux.timespec = .{ .sec = 0, .nsec = @as(isize, timeout_us) * std.time.ns_per_us };
    _ = linux.futex_4arg(word, .{ .cmd = .WAIT, .private = false }, expected, &ts);
}

/// Wakes all that wait on `word`.
pub fn futexWake(word: *const u32) void {
    _ = linux.futex_3arg(word, .{ .cmd = .WAKE, .private = false }, std.math.maxInt(i32));
}

// ---------------------------------------------------------------------------------------------
// Memory

/// Zeroed, shared with every process forked from here on.
pub fn mapShared(size: usize) Error![*]align(4096) u8 {
    const rc = try check(linux.mmap(
        null,
        size,
        .{ .READ = true, .WRITE = true },
        .{ .TYPE = .SHARED, .ANONYMOUS = true, .NORESERVE = true },
        -1,
        0,
    ));
    return @ptrFromInt(rc);
}

pub fn mapPrivate(size: usize) Error![*]align(4096) u8 {
    const rc = try check(linux.mmap(
        null,
        size,
        .{ .READ = true, .WRITE = true },
        .{ .TYPE = .PRIVATE, .ANONYMOUS = true, .NORESERVE = true },
        -1,
        0,
    ));
    return @ptrFromInt(rc);
}

/// Memory for a stack: its lowest page cannot be touched.
pub fn mapStack(size: usize) Error![*]align(4096) u8 {
    const stack = try mapPrivate(size);
    _ = linux.mprotect(stack, 4096, .{});
    return stack;
}

pub fn unmap(address: [*]align(4096) u8, size: usize) void {
    _ = linux.munmap(address, size);
}

/// How much of `remote` was read; less than asked for where the memory ends.
pub fn readProcessMemory(pid: i32, remote: u64, into: []u8) Error!usize {
    const local = [1]std.posix.iovec{.{ .base = into.ptr, .len = into.len }};
    const there = [1]std.posix.iovec_const{.{ .base = @ptrFromInt(remote), .len = into.len }};
    return check(linux.process_vm_readv(pid, &local, &there, 0));
}

// ---------------------------------------------------------------------------------------------
// Descriptors

pub fn open(directory: i32, path: [*:0]const u8, flags: linux.O) Opened {
    return .of(linux.openat(directory, path, flags, 0));
}

/// Absolute symlinks and ".." end at `root` (openat2, Linux 5.6).
pub fn openInRoot(root: i32, path: [*:0]const u8, flags: linux.O) Opened {
    const resolve_in_root = 0x10;
    return openResolving(root, path, flags, resolve_in_root);
}

/// openat2(2): `resolve` says which names on the way count.
fn openResolving(directory: i32, path: [*:0]const u8, flags: linux.O, resolve: u64) Opened {
    const OpenHow = extern struct { flags: u64, mode: u64, resolve: u64 };
    const how: OpenHow = .{ .flags = @as(u32, @bitCast(flags)), .mode = 0, .resolve = resolve };
    return .of(linux.syscall4(.openat2, @as(u32, @bitCast(directory)), @intFromPtr(path), @intFromPtr(&how), @sizeOf(OpenHow)));
}

/// Symlinks of proc that are jumps (magic links) are not gone through: LOOP, which also is what a circle of others is. A kernel without
/// openat2 (before Linux 5.6), or a profile that refuses it, goes through them.
pub fn openWithoutJumps(directory: i32, path: [*:0]const u8, flags: linux.O) Opened {
    const resolve_no_magiclinks = 0x02;
    const opened = openResolving(directory, path, flags, resolve_no_magiclinks);
    return switch (opened) {
        .descriptor => opened,
        .failed => |e| switch (e) {
            .NOSYS, .PERM => open(directory, path, flags),
            else => opened,
        },
    };
}

/// Only as far as the kernel knows all names on the way by itself; AGAIN: somebody would have to be asked, a disk or a server (openat2,
/// Linux 5.12; a kernel without it answers always so).
pub fn openCached(directory: i32, path: [*:0]const u8, flags: linux.O) Opened {
    const resolve_cached = 0x20;
    const opened = openResolving(directory, path, flags, resolve_cached);
    return switch (opened) {
        .descriptor => opened,
        .failed => |e| switch (e) {
            .INVAL, .NOSYS, .PERM => .{ .failed = .AGAIN }, // or a profile refuses it
            else => opened,
        },
    };
}

pub fn openReadOnly(path: [*:0]const u8) Opened {
    return open(linux.AT.FDCWD, path, .{ .ACCMODE = .RDONLY, .CLOEXEC = true });
}

pub fn close(descriptor: i32) void {
    // Linux closes even when it answers EINTR (close(2)): never repeated.
    _ = linux.close(descriptor);
}

pub fn read(descriptor: i32, into: []u8) Error!usize {
    return check(linux.read(descriptor, into.ptr, into.len));
}

pub fn readAt(descriptor: i32, into: []u8, offset: u64) Error!usize {
    return check(linux.pread(descriptor, into.ptr, into.len, @bitCast(offset)));
}

pub fn write(descriptor: i32, bytes: []const u8) Error!usize {
    return check(linux.write(descriptor, bytes.ptr, bytes.len));
}

/// A number of bytes, or why there is none.
pub const Written = union(enum) { length: usize, failed: linux.E };

/// Where it matters which error it is.
pub fn tryWrite(descriptor: i32, bytes: []const u8) Written {
    const rc = linux.write(descriptor, bytes.ptr, bytes.len);
    const e = linux.errno(rc);
    return if (e == .SUCCESS) .{ .length = rc } else .{ .failed = e };
}

pub fn readLink(directory: i32, path: [*:0]const u8, into: []u8) Error![]u8 {
    const length = try check(linux.readlinkat(directory, path, into.ptr, into.len));
    return into[0..length];
}

pub fn pipe(flags: linux.O) Error![2]i32 {
    var ends: [2]i32 = undefined;
    _ = try check(linux.pipe2(&ends, flags));
    return ends;
}

pub fn duplicateTo(from: i32, to: i32, flags: u32) Error!void {
    _ = try check(linux.dup3(from, to, flags));
}

/// A close-on-exec copy, numbered `lowest` or higher.
pub fn duplicateAbove(descriptor: i32, lowest: u32) Error!i32 {
    return @intCast(try check(linux.fcntl(descriptor, linux.F.DUPFD_CLOEXEC, lowest)));
}

pub fn fcntl(descriptor: i32, command: i32, argument: usize) Error!usize {
    return check(linux.fcntl(descriptor, command, argument));
}

pub fn isOpen(descriptor: i32) bool {
    return linux.errno(linux.fcntl(descriptor, linux.F.GETFD, 0)) == .SUCCESS;
}

pub fn setNonBlocking(descriptor: i32) Error!void {
    const flags = try fcntl(descriptor, linux.F.GETFL, 0);
    _ = try fcntl(descriptor, linux.F.SETFL, flags | nonblock);
}

const nonblock: usize = @as(u32, @bitCast(linux.O{ .NONBLOCK = true }));

pub fn pidfdOpen(pid: i32) Error!i32 {
    return @intCast(try check(linux.pidfd_open(pid, 0)));
}

/// A copy of another process's descriptor (close-on-exec). Linux 5.6.
pub fn pidfdGetfd(pidfd: i32, descriptor: i32) Opened {
    return .of(linux.pidfd_getfd(pidfd, descriptor, 0));
}

pub fn statx(directory: i32, path: [*:0]const u8, flags: u32, result: *linux.Statx) linux.E {
    var wanted = linux.STATX.BASIC_STATS;
    wanted.BTIME = true;
    return linux.errno(linux.statx(directory, path, flags, wanted, result));
}

/// As stat(2) has it in st_dev, so that the front end can compare.
pub fn deviceNumber(major: u32, minor: u32) u64 {
    return @as(u64, minor & 0xff) | @as(u64, major & 0xfff) << 8 |
        @as(u64, minor & 0xffff_ff00) << 12 | @as(u64, major & 0xffff_f000) << 32;
}

/// struct statfs of the 64-bit kernels; only the type is of interest.
pub const StatFs = extern struct { type: i64, rest: [14]i64 };

pub fn fileSystemOf(descriptor: i32) Error!u32 {
    var result: StatFs = undefined;
    _ = try check(linux.syscall2(.fstatfs, @as(u32, @bitCast(descriptor)), @intFromPtr(&result)));
    return @truncate(@as(u64, @bitCast(result.type)));
}

/// getsockopt of a fixed size.
pub fn socketOption(descriptor: i32, level: u32, option: u32, comptime T: type) Error!T {
    var value: T = undefined;
    var length: u32 = @sizeOf(T);
    _ = try check(linux.syscall5(.getsockopt, @as(u32, @bitCast(descriptor)), level, option, @intFromPtr(&value), @intFromPtr(&length)));
    return if (length == @sizeOf(T)) value else error.Unexpected;
}

/// Messages of sock_diag(7) about each TCP socket of this network namespace that is gone, also to those without privilege. Never waits.
pub fn listenToEndedConnections() Error!i32 {
    const netlink_sock_diag = 4;
    const tcp_destroyed = 1 << 0; // SKNLGRP_INET_TCP_DESTROY - 1
    const tcp6_destroyed = 1 << 2; // SKNLGRP_INET6_TCP_DESTROY - 1
    const flags = linux.SOCK.RAW | linux.SOCK.CLOEXEC | linux.SOCK.NONBLOCK;
    const descriptor: i32 = @intCast(try check(linux.socket(linux.AF.NETLINK, flags, netlink_sock_diag)));
    errdefer close(descriptor);
    const address: linux.sockaddr.nl = .{ .pid = 0, .groups = tcp_destroyed | tcp6_destroyed };
    _ = try check(linux.bind(descriptor, @ptrCast(&address), @sizeOf(linux.sockaddr.nl)));
    return descriptor;
}

/// How long the address of what a socket is connected to is, in `into`.
pub fn peerOf(descriptor: i32, into: []u8) Error!usize {
    var length: u32 = @intCast(into.len);
    _ = try check(linux.syscall3(.getpeername, @as(u32, @bitCast(descriptor)), @intFromPtr(into.ptr), @intFromPtr(&length)));
    return @min(length, into.len);
}

/// Its own address, the same way.
pub fn ownAddressOf(descriptor: i32, into: []u8) Error!usize {
    var length: u32 = @intCast(into.len);
    _ = try check(linux.syscall3(.getsockname, @as(u32, @bitCast(descriptor)), @intFromPtr(into.ptr), @intFromPtr(&length)));
    return @min(length, into.len);
}

/// Whether an address, a struct sockaddr of IP, is this machine's: then the kernel would send to it from itself. Nothing is sent.
pub fn isOwnAddress(address: []const u8) bool {
    const socket: i32 = @intCast(check(linux.socket(address[0], linux.SOCK.DGRAM | linux.SOCK.CLOEXEC, 0)) catch return false);
    defer close(socket);
    _ = check(linux.connect(socket, address.ptr, @intCast(address.len))) catch return false;
    var own: [28]u8 = undefined;
    const length = ownAddressOf(socket, &own) catch return false;
    if (length != address.len) return false;
    const at: usize, const end: usize = if (address[0] == linux.AF.INET) .{ 4, 8 } else .{ 8, 24 };
    return std.mem.eql(u8, own[at..end], address[at..end]);
}

/// SO_PEERNAME: like getpeername, but also while it connects, and when the other side is gone. `into` is as long as the family's address.
pub fn socketPeerName(descriptor: i32, into: []u8) Error!void {
    const sol_socket = 1;
    const so_peername = 28;
    var length: u32 = @intCast(into.len);
    _ = try check(linux.syscall5(.getsockopt, @as(u32, @bitCast(descriptor)), sol_socket, so_peername, @intFromPtr(into.ptr), @intFromPtr(&length)));
}

/// For questions by sock_diag(7), whose answer is there when the question is sent. Never waits.
pub fn openSocketDiag() Error!i32 {
    const netlink_sock_diag = 4;
    return @intCast(try check(linux.socket(linux.AF.NETLINK, linux.SOCK.DGRAM | linux.SOCK.CLOEXEC | linux.SOCK.NONBLOCK, netlink_sock_diag)));
}

/// The first of `descriptors` that has one of its events, or null when the time is over. `timeout_ms` < 0: for ever.
pub fn poll(descriptors: []linux.pollfd, timeout_ms: i32) Error!usize {
    return check(linux.poll(descriptors.ptr, @intCast(descriptors.len), timeout_ms));
}

/// One byte and one descriptor over a socket (SCM_RIGHTS).
pub fn sendDescriptor(socket: i32, tag: u8, descriptor: i32) Error!void {
    var message: DescriptorMessage = .{};
    message.right.descriptor = descriptor;
    const part = [1]std.posix.iovec_const{.{ .base = @ptrCast(&tag), .len = 1 }};
    const header: linux.msghdr_const = .{
        .name = null,
        .namelen = 0,
        .iov = &part,
        .iovlen = 1,
        .control = &message,
        .controllen = @sizeOf(DescriptorMessage),
        .flags = 0,
    };
    _ = try check(linux.sendmsg(socket, &header, linux.MSG.NOSIGNAL));
}

/// The counterpart; the descriptor is close-on-exec.
pub fn receiveDescriptor(socket: i32) Error!struct { tag: u8, descriptor: i32 } {
    var message: DescriptorMessage = .{};
    var tag: u8 = 0;
    var part = [1]std.posix.iovec{.{ .base = @ptrCast(&tag), .len = 1 }};
    var header: linux.msghdr = .{
        .name = null,
        .namelen = 0,
        .iov = &part,
        .iovlen = 1,
        .control = &message,
        .controllen = @sizeOf(DescriptorMessage),
        .flags = 0,
    };
    const length = try check(linux.recvmsg(socket, &header, linux.MSG.CMSG_CLOEXEC));
    if (length != 1 or header.controllen < @sizeOf(linux.cmsghdr) + @sizeOf(i32)) return error.BadDescriptor;
    return .{ .tag = tag, .descriptor = message.right.descriptor };
}

/// struct cmsghdr with one descriptor, padded as CMSG_SPACE has it.
const DescriptorMessage = extern struct {
    header: linux.cmsghdr = .{
        .len = @sizeOf(linux.cmsghdr) + @sizeOf(i32),
        .level = linux.SOL.SOCKET,
        .type = linux.SCM.RIGHTS,
    },
    right: extern struct { descriptor: i32 align(8) = -1 } = .{},
};

/// Adds to an eventfd; a full counter is as good.
pub fn notify(event_descriptor: i32) void {
    const one: u64 = 1;
    _ = linux.write(event_descriptor, std.mem.asBytes(&one), 8);
}

// ---------------------------------------------------------------------------------------------
// Processes

/// __WALL: children of every kind. Not in std.os.linux.W.
pub const wait_all: u32 = 0x4000_0000;

pub const Waited = struct { pid: i32, status: u32 };

/// Null with WNOHANG when there is nothing to report; `error.NoChild` when there are no children.
pub fn wait(pid: i32, flags: u32) Error!?Waited {
    var status: i32 = 0;
    const rc = try check(linux.wait4(pid, &status, flags, null));
    return if (rc == 0) null else .{ .pid = @intCast(rc), .status = @bitCast(status) };
}

/// To whoever else has work on this processor.
pub fn yield() void {
    _ = linux.syscall0(.sched_yield);
}

pub fn kill(pid: i32, signal: linux.SIG) Error!void {
    _ = try check(linux.kill(pid, signal));
}

pub const ChildState = enum { alive, exited, not_ours };

/// Whether a process is a child of this one, without taking its status.
pub fn childState(process: i32) ChildState {
    var info: linux.siginfo_t = undefined;
    info.fields.common.first.piduid.pid = 0;
    const flags: u32 = linux.W.EXITED | linux.W.NOHANG | linux.W.NOWAIT | wait_all;
    if (linux.errno(linux.waitid(.PID, process, &info, flags, null)) != .SUCCESS) return .not_ours;
    return if (info.fields.common.first.piduid.pid == 0) .alive else .exited;
}

/// Whether there is any child, alive or with a status to take.
pub fn hasChildren() bool {
    var info: linux.siginfo_t = undefined;
    const flags: u32 = linux.W.EXITED | linux.W.NOHANG | linux.W.NOWAIT | wait_all;
    return linux.errno(linux.waitid(.ALL, 0, &info, flags, null)) != .CHILD;
}

pub fn killThread(process: i32, thread: i32, signal: linux.SIG) Error!void {
    _ = try check(linux.tgkill(process, thread, signal));
}

pub fn prctl(option: linux.PR, argument: usize) Error!usize {
    return check(linux.prctl(@backingInt(option), argument, 0, 0, 0));
}

pub fn fork() Error!i32 {
    return @intCast(try check(linux.fork()));
}

/// Like fork, but its end sends no SIGCHLD: for whoever must not notice. Wait for it with `wait_all`.
pub fn forkSilently() Error!i32 {
    return @intCast(try check(linux.syscall5(.clone, 0, 0, 0, 0, 0)));
}

/// Whether this process may have a user namespace of its own. It then is in it.
pub fn newUserNamespace() linux.E {
    return linux.errno(linux.unshare(linux.CLONE.NEWUSER));
}

/// seccomp(2) with an operation that does not exist: EINVAL from a kernel that has the call.
pub fn seccompOfNoMeaning() linux.E {
    return linux.errno(linux.seccomp(std.math.maxInt(u32), 0, null));
}

pub fn exit(status: u8) noreturn {
    linux.exit_group(status);
}

pub fn ownPid() i32 {
    return linux.getpid();
}

/// The process group of a process; 0: it is gone.
pub fn groupOf(process: i32) i32 {
    const rc = linux.syscall1(.getpgid, @as(u32, @bitCast(process)));
    return @intCast(check(rc) catch return 0);
}

pub fn leadsSession() bool {
    const rc = linux.syscall1(.getsid, 0);
    return (check(rc) catch return false) == @as(usize, @intCast(ownPid()));
}

/// Whether two threads have one memory (kcmp(2)). False also where that cannot be asked.
pub fn sharesMemory(one: i32, other: i32) bool {
    const kcmp_vm = 1;
    const rc = linux.syscall5(.kcmp, @as(u32, @bitCast(one)), @as(u32, @bitCast(other)), kcmp_vm, 0, 0);
    return (check(rc) catch return false) == 0;
}

pub fn parentPid() i32 {
    return linux.getppid();
}

/// Replaces the signal mask; returns the former one.
pub fn setSignalMask(mask: linux.sigset_t) linux.sigset_t {
    var former: linux.sigset_t = undefined;
    _ = linux.sigprocmask(linux.SIG.SETMASK, &mask, &former);
    return former;
}

/// Takes a blocked signal that is pending, or waits for one; null when the time is over or on an interruption.
pub fn waitSignal(set: linux.sigset_t, timeout_ms: ?u32) ?linux.SIG {
    const ts = timespecOfMs(timeout_ms orelse 0);
    const rc = linux.syscall4(
        .rt_sigtimedwait,
        @intFromPtr(&set),
        0,
        if (timeout_ms == null) 0 else @intFromPtr(&ts),
        @sizeOf(linux.sigset_t),
    );
    return if (linux.errno(rc) == .SUCCESS) @fromBackingInt(@intCast(rc)) else null;
}

pub fn signalSet(comptime signals: []const linux.SIG) linux.sigset_t {
    comptime var set: linux.sigset_t = @splat(0);
    inline for (signals) |signal| {
        const bit = @backingInt(signal) - 1;
        set[bit / @bitSizeOf(c_ulong)] |= @as(c_ulong, 1) << (bit % @bitSizeOf(c_ulong));
    }
    return set;
}

pub fn setDefaultDisposition(signal: linux.SIG) void {
    const action: linux.Sigaction = .{ .handler = .{ .handler = linux.SIG.DFL }, .mask = @splat(0), .flags = 0 };
    _ = linux.sigaction(signal, &action, null);
}

pub const all_signals: linux.sigset_t = @splat(~@as(c_ulong, 0));

pub fn isRoot() bool {
    return linux.geteuid() == 0;
}

pub fn limit(resource: linux.rlimit_resource) Error!linux.rlimit {
    var result: linux.rlimit = undefined;
    _ = try check(linux.prlimit(0, resource, null, &result));
    return result;
}

pub fn setLimit(resource: linux.rlimit_resource, value: linux.rlimit) Error!void {
    _ = try check(linux.prlimit(0, resource, &value, null));
}

/// One that we may not use is there too.
pub fn isMessageQueue(key: u64) bool {
    return linux.errno(linux.syscall2(.msgget, key, 0)) != .NOENT;
}

pub fn isSegment(key: u64) bool {
    return linux.errno(linux.syscall3(.shmget, key, 0, 0)) != .NOENT;
}

/// `name`: without its slash, as the kernel has it.
pub fn isPosixQueue(name: [*:0]const u8) bool {
    const opened = linux.syscall4(.mq_open, @intFromPtr(name), @as(u32, @bitCast(linux.O{ .CLOEXEC = true })), 0, 0);
    if (linux.errno(opened) == .SUCCESS) close(@intCast(opened));
    return linux.errno(opened) != .NOENT;
}

// ---------------------------------------------------------------------------------------------
// Text without an allocator: paths below /proc

/// `/proc/PID/` and `rest` in `buffer`, NUL-terminated. 64 bytes are enough for every `rest` we have.
pub fn procPath(buffer: []u8, process: i32, rest: []const u8) [:0]u8 {
    std.debug.assert(process > 0);
    var at = append(buffer, 0, "/proc/");
    at = appendNumber(buffer, at, @intCast(process));
    at = append(buffer, at, "/");
    at = append(buffer, at, rest);
    buffer[at] = 0;
    return buffer[0..at :0];
}

pub fn append(buffer: []u8, at: usize, text: []const u8) usize {
    @memcpy(buffer[at..][0..text.len], text);
    return at + text.len;
}

pub fn appendNumber(buffer: []u8, at: usize, number: u64) usize {
    return appendDigits(buffer, at, number, 10);
}

pub fn appendHex(buffer: []u8, at: usize, number: u64) usize {
    return appendDigits(buffer, at, number, 16);
}

fn appendDigits(buffer: []u8, at: usize, number: u64, base: u64) usize {
    var digits: [20]u8 = undefined;
    var first: usize = digits.len;
    var rest = number;
    while (true) {
        first -= 1;
        digits[first] = "0123456789abcdef"[@intCast(rest % base)];
        rest /= base;
        if (rest == 0) break;
    }
    return append(buffer, at, digits[first..]);
}

test "paths below /proc" {
    var buffer: [64]u8 = undefined;
    try std.testing.expectEqualStrings("/proc/1/fd/", procPath(&buffer, 1, "fd/"));
    try std.testing.expectEqualStrings("/proc/2147483647/status", procPath(&buffer, std.math.maxInt(i32), "status"));
    try std.testing.expectEqual(@as(usize, 1), appendNumber(&buffer, 0, 0));
    try std.testing.expectEqualStrings("7f00ab", buffer[0..appendHex(&buffer, 0, 0x7f00ab)]);
}

test "errors keep their meaning" {
    try std.testing.expectError(error.TraceeGone, kill(std.math.maxInt(i32), .TERM));
    try std.testing.expectError(error.BadDescriptor, write(-1, "x"));
    try std.testing.expectError(error.NoChild, wait(-1, linux.W.NOHANG));
    try std.testing.expect(nowNs() > 0);
    try std.testing.expect((try fileSystemOf((try pipe(.{ .CLOEXEC = true }))[0])) == 0x5049_5045); // PIPEFS_MAGIC
}
