//! The one table of system calls: which are watched, when, and what their arguments mean. The filter
//! (seccomp.zig), the decoder (decode.zig), the published list and its digest all derive from it.
//!
//! Rows go by name, so that one table serves x86-64, its 32-bit calls and aarch64: a name that an
//! architecture lacks is skipped there. Every number that the compiler knows is either in `rows` or, with its
//! reason, in not_watched.zig; a compiler that knows a new call does not build until somebody decides.
//!
//! No system calls here.
const std = @import("std");
const builtin = @import("builtin");
const linux = std.os.linux;
const abi = @import("abi.zig");
const not_watched = @import("not_watched.zig");
const assert = std.debug.assert;

// ---------------------------------------------------------------------------------------------
// What a row says

pub const Row = struct {
    name: []const u8,
    event: Event = .call,
    stops: Stops = .entry_and_exit,
    /// When to stop, decided by the filter on scalars: any of these, of which all conditions must hold. Empty: always.
    when: []const []const Condition = &.{},
    arguments: []const Argument = &.{},
    /// `event == .open` only.
    open: OpenFlags = .{},
    /// Paths whose last part may lead to another file afterwards.
    names: []const u8 = &.{},
    special: Special = .none,
    /// All that it changes is the caller, its descriptors, its memory: if that was killed in it, whether it was done makes no difference.
    ends_with_caller: bool = false,
    /// A call that acts on another process. Aimed at the tracer or the front end it is refused.
    reaches: ?Reach = null,
    layout: Layout = .registers,
    tables: Tables = .all,
    /// Argument with the descriptor that the call writes its result's bytes to; counted with `Detail.full`.
    writes_to: u8 = Argument.none,
    /// `full`: with less detail the call is not watched, for the reason in not_watched.zig.
    detail: abi.Detail = .normal,
};

/// What comes of the call.
pub const Event = enum {
    /// An Open record, if it succeeds; else it is counted.
    open,
    /// Nothing now: PTRACE_EVENT_EXEC follows if it succeeds. The path is kept for it.
    exec,
    /// A Syscall record.
    call,
    /// No record of its own: the tracer only has to prevent or notice something.
    guard,
    /// No record of its own: its bytes are counted, see writes.zig.
    write,
    /// No record of its own: whose the queue or the memory is decides, see ipc.zig.
    ipc,
};

pub const Stops = enum {
    /// Seen before it is done, and let go: the result is not known.
    entry,
    entry_and_exit,
};

/// What BPF can decide: it sees numbers and never memory.
pub const Condition = union(enum) {
    any_bits: Bits,
    no_bits: Bits,
    below: struct { argument: u3, limit: u32 },
    one_of: struct { argument: u3, values: []const u32 },
    pointer: u3,
    /// One of the processes that the filter was made to protect.
    protected: u3,

    pub const Bits = struct { argument: u3, mask: u32 };
};

pub const Argument = struct {
    index: u8,
    kind: Kind,
    /// Argument with the directory descriptor of a path; none: the working directory.
    at: u8 = none,
    /// Argument with the AT_* flags.
    flags: u8 = none,
    /// Argument with the length, or with the pointer to it.
    length: u8 = none,

    pub const none = 0xff;
    /// `index` of what the call returned.
    pub const result = 6;

    pub const Kind = enum {
        /// A path to something that is there; a last symlink is followed, unless AT_SYMLINK_NOFOLLOW. NULL, or empty with AT_EMPTY_PATH, means `at` itself.
        file,
        /// The same, but a last symlink is only followed with AT_SYMLINK_FOLLOW.
        link,
        /// A name that the call makes.
        new_name,
        /// The same, and the file that it names afterwards is of interest.
        new_file,
        /// A name that the call takes away: the file is looked at before.
        old_file,
        /// A string that is no path in the file system, or only text in it (a symlink's).
        text,
        /// Memory of the size that `length` says, cut at `bytes_max`.
        bytes,
        descriptor,
        /// The same, of sockets only: for anything else the call is not recorded.
        socket,
        /// The file behind the memory at this address, if there is one.
        mapping,
        /// struct sockaddr of `length` bytes, read before the call.
        address,
        /// struct sockaddr that the kernel fills in, read after it.
        peer,
        /// struct msghdr: its address and the start of its data.
        message,
        /// struct mmsghdr[`length`]: the same, of the first few.
        messages,
        /// int[2] that the kernel fills in with descriptors.
        pair,
        /// struct msghdr and mmsghdr[]: descriptors may have come with it; see received.zig.
        received,
    };
};

pub const Reach = struct {
    argument: u3,
    by: enum { number, pidfd } = .number,
    /// Argument with the signal: 0 only asks whether the process is there.
    signal: u8 = Argument.none,
    groups: Groups = .none,

    /// How it can mean a group of processes.
    pub const Groups = union(enum) {
        none,
        /// kill(2)
        zero_or_below,
        by_flag: Condition.Bits,
    };
};

/// Where open's flags are.
pub const OpenFlags = struct {
    path: u8 = Argument.none,
    flags: u8 = Argument.none,
    mode: u8 = Argument.none,
    /// struct open_how in memory.
    how: u8 = Argument.none,
    always: u64 = 0,
};

/// What the tracer does besides recording.
pub const Special = enum {
    none,
    /// CLONE_UNTRACED is taken out of the register.
    clone,
    /// CLONE_UNTRACED is in memory: refused with ENOSYS, so that libc falls back to clone; and a child without an event is looked for.
    clone3,
    /// Refused with ENOSYS unless the user allows it.
    io_uring,
    /// PR_SET_DUMPABLE 0 would blind an unprivileged tracer; PR_SET_SECCOMP as below.
    prctl,
    /// From now on another filter can hide calls from ours.
    seccomp,
    /// The process's root, or what is mounted below it, is not what it was.
    root,
    mounts,
    /// A tracee's own tracing, which the kernel refuses.
    ptrace,
    /// Changes the content of the file that its first argument names.
    truncate,
    /// A map of a file, which may change its content.
    map,
    /// Changes the times of a file: who is reading it for a digest cannot tell that from a change of its content.
    times,
    /// A page that the kernel has to wait for would hold up our reading as well.
    userfaultfd,
    /// The kernel will ask the build whether others may open a file, us included.
    fanotify,
    /// A clone of a file's content, userfaultfd's twin, or who gets a socket's signals.
    ioctl,
    /// Onto standard input, output or error; or who gets a descriptor's signals.
    fcntl,
    /// What is sent from now on may say to whom.
    connect,
    /// Others may get the socket before it is connected.
    socket,
    /// The same, if it has an address.
    send,
    /// Who has connected may be somebody outside.
    accept,
    /// Descriptors may have come with it: only then there is a record.
    receive,
    /// It takes a descriptor out of another process.
    take,
    /// A list of operations; those that write are counted.
    io_submit,
    /// Memory that somebody else may have made; recorded only if it is to be executed.
    segment,
    /// The kernel is given code, or somebody its memory or ports.
    kernel,
    /// What another process does is counted or sampled.
    perf,
};

/// Where the six arguments are.
pub const Layout = enum {
    registers,
    /// 32-bit only: `mmap` is given a pointer to its arguments.
    ia32_mmap,
    /// 32-bit only: a call number of its own, and a pointer to the arguments.
    ia32_socketcall,
    /// 32-bit only: the same, and the arguments in the other registers.
    ia32_ipc,
};

pub const Tables = enum { all, native, ia32 };

// ---------------------------------------------------------------------------------------------
// Shorthands for the rows

fn arg(index: u8, kind: Argument.Kind) Argument {
    return .{ .index = index, .kind = kind };
}

fn argAt(at: u8, index: u8, kind: Argument.Kind) Argument {
    return .{ .index = index, .kind = kind, .at = at };
}

fn argAtFlags(at: u8, index: u8, flags: u8, kind: Argument.Kind) Argument {
    return .{ .index = index, .kind = kind, .at = at, .flags = flags };
}

fn sized(index: u8, length: u8, kind: Argument.Kind) Argument {
    return .{ .index = index, .kind = kind, .length = length };
}

const fd0 = arg(0, .descriptor);
const made = arg(Argument.result, .descriptor);

const clone_new: u32 = linux.CLONE.NEWNS | linux.CLONE.NEWCGROUP | linux.CLONE.NEWUTS | linux.CLONE.NEWIPC |
    linux.CLONE.NEWUSER | linux.CLONE.NEWPID | linux.CLONE.NEWNET;
/// Flags of clone3 and unshare that make a namespace: clone's, and CLONE_NEWTIME.
pub const clone_new_any: u64 = clone_new | linux.CLONE.NEWTIME;

/// What two processes can share, as threads do: directories, descriptors.
const clone_shared: u32 = linux.CLONE.FS | linux.CLONE.FILES;

pub fn sharesPlaces(clone_flags: u64) bool {
    return clone_flags & clone_shared != 0 and clone_flags & linux.CLONE.THREAD == 0;
}

const prot_exec = 4;
pub const prot_write_exec = 2 | prot_exec;
pub const map_shared = 1; // also set in MAP_SHARED_VALIDATE
const map_anonymous = 0x20;
pub const shm_exec = 0o100000;
pub const pr = struct {
    pub const set_dumpable = 4;
    pub const set_name = 15;
    pub const set_seccomp = 22;
    pub const set_mm = 35;
    pub const set_no_new_privs = 38;
};
const o_creat_wronly_trunc = 0o1101;
const f_dupfd = 0;
const f_dupfd_cloexec = 1030;
const ficlone = 0x4004_9409;
const ficlonerange = 0x4020_940d;
const fideduperange = 0xc018_9436;
/// Who gets the signals of a descriptor: a process, or minus a group. The `_ex` and the two of ioctl, which are of sockets,
/// have it in memory.
pub const owner = struct {
    pub const f_setown = 8;
    pub const f_setown_ex = 15;
    pub const fiosetown = 0x8901;
    pub const siocspgrp = 0x8902;
};
/// The same of /dev/userfaultfd, as userfaultfd(2).
pub const userfaultfd_new = 0xaa00;
/// perf_event_open(2): the number is that of a descriptor of a cgroup.
pub const perf_of_cgroup = 4;
const fan_class_asked = 0x4 | 0x8;

pub const mmap_when: []const []const Condition = &.{
    // Code: of a file (which one), or of none.
    &.{.{ .any_bits = .{ .argument = 2, .mask = prot_exec } }},
    // Writing to a file without write(2). A map that can only be read can be made writable later by mprotect(2), which is called far too
    // often to be watched, if the descriptor can write: the tracer asks that.
    &.{
        .{ .any_bits = .{ .argument = 3, .mask = map_shared } },
        .{ .no_bits = .{ .argument = 3, .mask = map_anonymous } },
    },
};
const executable_memory: []const []const Condition = &.{&.{.{ .any_bits = .{ .argument = 2, .mask = prot_exec } }}};
const onto_stdio: []const []const Condition = &.{&.{.{ .below = .{ .argument = 1, .limit = 3 } }}};
const at_protected: []const []const Condition = &.{&.{.{ .protected = 0 }}};
const limits_of_protected: []const []const Condition = &.{&.{ .{ .protected = 0 }, .{ .pointer = 2 } }};
const fcntl_when: []const []const Condition = &.{
    &.{
        .{ .one_of = .{ .argument = 1, .values = &.{ f_dupfd, f_dupfd_cloexec } } },
        .{ .below = .{ .argument = 2, .limit = 3 } },
    },
    // Not only the two numbers that the filter knows: each thread of the front end has one, and so has their group.
    &.{.{ .one_of = .{ .argument = 1, .values = &.{ owner.f_setown, owner.f_setown_ex } } }},
};

pub const rows = [_]Row{
    // Opening
    .{ .name = "open", .event = .open, .open = .{ .path = 0, .flags = 1, .mode = 2 } },
    .{ .name = "creat", .event = .open, .open = .{ .path = 0, .mode = 1, .always = o_creat_wronly_trunc } },
    .{ .name = "openat", .event = .open, .open = .{ .path = 1, .flags = 2, .mode = 3 } },
    .{ .name = "openat2", .event = .open, .open = .{ .path = 1, .how = 2 } },
    .{ .name = "open_by_handle_at", .event = .open, .open = .{ .flags = 2 } },

    // Programs. A failed exec (8 of the 13 in one gcc) is not worth a second stop.
    .{ .name = "execve", .event = .exec, .stops = .entry, .arguments = &.{arg(0, .file)} },
    .{ .name = "execveat", .event = .exec, .stops = .entry, .arguments = &.{argAtFlags(0, 1, 4, .file)} },

    // Processes. fork, vfork and a plain clone are events and need no stop.
    .{ .name = "clone", .special = .clone, .when = &.{
        &.{.{ .any_bits = .{ .argument = 0, .mask = clone_new | linux.CLONE.UNTRACED } }},
        &.{ .{ .any_bits = .{ .argument = 0, .mask = clone_shared } }, .{ .no_bits = .{ .argument = 0, .mask = linux.CLONE.THREAD } } },
    } },
    .{ .name = "clone3", .special = .clone3, .arguments = &.{sized(0, 1, .bytes)} },
    .{ .name = "unshare", .special = .root },
    .{ .name = "setns", .special = .root, .arguments = &.{fd0} },
    .{ .name = "setsid" },
    .{ .name = "ptrace", .special = .ptrace, .reaches = .{ .argument = 1 } },
    .{ .name = "prctl", .special = .prctl, .when = &.{&.{.{ .one_of = .{
        .argument = 0,
        .values = &.{ pr.set_dumpable, pr.set_name, pr.set_seccomp, pr.set_mm, pr.set_no_new_privs },
    } }}} },
    .{ .name = "seccomp", .special = .seccomp },
    .{ .name = "process_vm_readv", .reaches = .{ .argument = 0 } },
    .{ .name = "process_vm_writev", .reaches = .{ .argument = 0 } },
    .{ .name = "pidfd_getfd", .special = .take, .reaches = .{ .argument = 0, .by = .pidfd }, .arguments = &.{made} },

    // Signals are seen where they arrive; here only for the sake of those who must not get any.
    .{ .name = "kill", .event = .guard, .stops = .entry, .reaches = .{ .argument = 0, .signal = 1, .groups = .zero_or_below } },
    .{ .name = "tkill", .event = .guard, .stops = .entry, .reaches = .{ .argument = 0, .signal = 1 } },
    .{ .name = "rt_sigqueueinfo", .event = .guard, .stops = .entry, .reaches = .{ .argument = 0, .signal = 1 } },
    .{
        .name = "pidfd_send_signal",
        .event = .guard,
        .stops = .entry,
        .reaches = .{ .argument = 0, .by = .pidfd, .signal = 1, .groups = .{ .by_flag = .{ .argument = 3, .mask = 4 } } }, // PIDFD_SIGNAL_PROCESS_GROUP
    },
    // A runtime wakes its own threads by these, often.
    .{ .name = "tgkill", .event = .guard, .stops = .entry, .when = at_protected, .reaches = .{ .argument = 0, .signal = 2 } },
    .{ .name = "rt_tgsigqueueinfo", .event = .guard, .stops = .entry, .when = at_protected, .reaches = .{ .argument = 0, .signal = 2 } },
    .{ .name = "prlimit64", .event = .guard, .stops = .entry, .when = limits_of_protected, .reaches = .{ .argument = 0 } },

    // Names
    .{ .name = "rename", .arguments = &.{ arg(0, .new_name), arg(1, .new_file) }, .names = &.{ 0, 1 } },
    .{ .name = "renameat", .arguments = &.{ argAt(0, 1, .new_name), argAt(2, 3, .new_file) }, .names = &.{ 1, 3 } },
    .{ .name = "renameat2", .arguments = &.{ argAt(0, 1, .new_name), argAt(2, 3, .new_file) }, .names = &.{ 1, 3 } },
    .{ .name = "link", .arguments = &.{ arg(0, .link), arg(1, .new_file) } },
    .{ .name = "linkat", .arguments = &.{ argAtFlags(0, 1, 4, .link), argAt(2, 3, .new_file) } },
    .{ .name = "symlink", .arguments = &.{ arg(0, .text), arg(1, .new_name) } },
    .{ .name = "symlinkat", .arguments = &.{ arg(0, .text), argAt(1, 2, .new_name) } },
    .{ .name = "unlink", .arguments = &.{arg(0, .old_file)}, .names = &.{0} },
    .{ .name = "unlinkat", .arguments = &.{argAt(0, 1, .old_file)}, .names = &.{1} },
    .{ .name = "rmdir", .arguments = &.{arg(0, .old_file)}, .names = &.{0} },
    .{ .name = "mkdir", .arguments = &.{arg(0, .new_name)} },
    .{ .name = "mkdirat", .arguments = &.{argAt(0, 1, .new_name)} },
    .{ .name = "mknod", .arguments = &.{arg(0, .new_name)} },
    .{ .name = "mknodat", .arguments = &.{argAt(0, 1, .new_name)} },

    // Attributes
    .{ .name = "chmod", .arguments = &.{arg(0, .file)} },
    .{ .name = "fchmod", .arguments = &.{fd0} },
    .{ .name = "fchmodat", .arguments = &.{argAt(0, 1, .file)} },
    .{ .name = "fchmodat2", .arguments = &.{argAtFlags(0, 1, 3, .file)} },
    .{ .name = "chown", .arguments = &.{arg(0, .file)} },
    .{ .name = "chown32", .arguments = &.{arg(0, .file)} },
    .{ .name = "lchown", .arguments = &.{arg(0, .link)} },
    .{ .name = "lchown32", .arguments = &.{arg(0, .link)} },
    .{ .name = "fchown", .arguments = &.{fd0} },
    .{ .name = "fchown32", .arguments = &.{fd0} },
    .{ .name = "fchownat", .arguments = &.{argAtFlags(0, 1, 4, .file)} },
    .{ .name = "utime", .special = .times, .arguments = &.{arg(0, .file)} },
    .{ .name = "utimes", .special = .times, .arguments = &.{arg(0, .file)} },
    .{ .name = "futimesat", .special = .times, .arguments = &.{argAt(0, 1, .file)} },
    .{ .name = "utimensat", .special = .times, .arguments = &.{argAtFlags(0, 1, 3, .file)} },
    .{ .name = "utimensat_time64", .special = .times, .arguments = &.{argAtFlags(0, 1, 3, .file)} },
    .{ .name = "setxattr", .arguments = &.{ arg(0, .file), arg(1, .text) } },
    .{ .name = "lsetxattr", .arguments = &.{ arg(0, .link), arg(1, .text) } },
    .{ .name = "fsetxattr", .arguments = &.{ fd0, arg(1, .text) } },
    .{ .name = "setxattrat", .arguments = &.{ argAtFlags(0, 1, 2, .file), arg(3, .text) } },
    .{ .name = "removexattr", .arguments = &.{ arg(0, .file), arg(1, .text) } },
    .{ .name = "lremovexattr", .arguments = &.{ arg(0, .link), arg(1, .text) } },
    .{ .name = "fremovexattr", .arguments = &.{ fd0, arg(1, .text) } },
    .{ .name = "removexattrat", .arguments = &.{ argAtFlags(0, 1, 2, .file), arg(3, .text) } },
    .{ .name = "file_setattr", .arguments = &.{argAtFlags(0, 1, 4, .file)} },

    // Content without write(2)
    .{ .name = "truncate", .special = .truncate, .arguments = &.{arg(0, .file)} },
    .{ .name = "truncate64", .special = .truncate, .arguments = &.{arg(0, .file)} },
    .{ .name = "ftruncate", .arguments = &.{fd0} },
    .{ .name = "ftruncate64", .arguments = &.{fd0} },
    .{ .name = "fallocate", .arguments = &.{fd0} },
    .{ .name = "copy_file_range", .arguments = &.{ fd0, arg(2, .descriptor) }, .writes_to = 2 },
    .{ .name = "sendfile", .arguments = &.{ fd0, arg(1, .descriptor) }, .writes_to = 0 },
    .{ .name = "sendfile64", .arguments = &.{ fd0, arg(1, .descriptor) }, .writes_to = 0 },
    .{ .name = "splice", .arguments = &.{ fd0, arg(2, .descriptor) }, .writes_to = 2 },
    .{
        .name = "ioctl",
        .when = &.{&.{.{ .one_of = .{
            .argument = 1,
            .values = &.{ ficlone, ficlonerange, fideduperange, userfaultfd_new, owner.fiosetown, owner.siocspgrp },
        } }}},
        .special = .ioctl,
        .arguments = &.{fd0},
    },
    .{ .name = "memfd_create", .arguments = &.{ arg(0, .text), made }, .ends_with_caller = true },
    .{ .name = "memfd_secret", .arguments = &.{made}, .ends_with_caller = true },

    // Content by write(2), with full detail. tee and vmsplice write to pipes only.
    .{ .name = "write", .event = .write, .detail = .full, .writes_to = 0 },
    .{ .name = "writev", .event = .write, .detail = .full, .writes_to = 0 },
    .{ .name = "pwrite64", .event = .write, .detail = .full, .writes_to = 0 },
    .{ .name = "pwritev", .event = .write, .detail = .full, .writes_to = 0 },
    .{ .name = "pwritev2", .event = .write, .detail = .full, .writes_to = 0 },
    .{ .name = "io_submit", .event = .write, .detail = .full, .special = .io_submit },

    // Memory. One stop: an interpreter with a JIT changes protections thousands of times.
    .{ .name = "mmap", .stops = .entry, .when = mmap_when, .special = .map, .arguments = &.{arg(4, .descriptor)}, .tables = .native },
    .{ .name = "mmap2", .stops = .entry, .when = mmap_when, .special = .map, .arguments = &.{arg(4, .descriptor)} },
    .{ .name = "mmap", .stops = .entry, .layout = .ia32_mmap, .special = .map, .arguments = &.{arg(4, .descriptor)}, .tables = .ia32 },
    .{ .name = "mprotect", .stops = .entry, .when = executable_memory, .arguments = &.{arg(0, .mapping)} },
    .{ .name = "pkey_mprotect", .stops = .entry, .when = executable_memory, .arguments = &.{arg(0, .mapping)} },
    .{ .name = "shmat", .stops = .entry, .special = .segment },

    // What needs no descriptor and may be somebody else's. Its numbers may be known without the call that looks them up.
    .{ .name = "msgget", .event = .ipc },
    .{ .name = "shmget", .event = .ipc },
    .{ .name = "mq_open", .event = .ipc },
    .{ .name = "msgsnd", .event = .ipc, .stops = .entry },
    .{ .name = "msgrcv", .event = .ipc, .stops = .entry },
    .{ .name = "ipc", .layout = .ia32_ipc },

    // Network
    .{ .name = "socket", .special = .socket, .arguments = &.{made}, .ends_with_caller = true },
    .{ .name = "bind", .arguments = &.{ fd0, sized(1, 2, .address) } },
    .{ .name = "connect", .special = .connect, .arguments = &.{ fd0, sized(1, 2, .address) } },
    .{ .name = "listen", .arguments = &.{fd0} },
    .{ .name = "socketpair", .arguments = &.{arg(3, .pair)}, .ends_with_caller = true },
    .{ .name = "accept", .special = .accept, .arguments = &.{ fd0, sized(1, 2, .peer), made } },
    .{ .name = "accept4", .special = .accept, .arguments = &.{ fd0, sized(1, 2, .peer), made } },
    // Only with an address: on a connected socket it is as frequent as write.
    .{ .name = "sendto", .special = .send, .when = &.{&.{.{ .pointer = 4 }}}, .arguments = &.{ fd0, sized(1, 2, .bytes), sized(4, 5, .address) } },
    .{ .name = "sendmsg", .special = .send, .arguments = &.{ fd0, arg(1, .message) } },
    .{ .name = "sendmmsg", .special = .send, .arguments = &.{ fd0, sized(1, 2, .messages) } },
    // The filter sees no memory, in which descriptors arrive.
    .{ .name = "recvmsg", .special = .receive, .arguments = &.{arg(1, .received)} },
    .{ .name = "recvmmsg", .special = .receive, .arguments = &.{arg(1, .received)} },
    .{ .name = "recvmmsg_time64", .special = .receive, .arguments = &.{arg(1, .received)} },
    .{ .name = "socketcall", .layout = .ia32_socketcall },
    // A socket onto standard input, output or error.
    .{ .name = "dup", .arguments = &.{arg(0, .socket)}, .ends_with_caller = true },
    .{ .name = "dup2", .when = onto_stdio, .arguments = &.{arg(0, .socket)}, .ends_with_caller = true },
    .{ .name = "dup3", .when = onto_stdio, .arguments = &.{arg(0, .socket)}, .ends_with_caller = true },
    .{ .name = "fcntl", .special = .fcntl, .when = fcntl_when, .arguments = &.{arg(0, .socket)} },
    .{ .name = "fcntl64", .special = .fcntl, .when = fcntl_when, .arguments = &.{arg(0, .socket)} },

    // The system
    .{ .name = "mount", .special = .mounts, .arguments = &.{ arg(0, .text), arg(1, .file), arg(2, .text), arg(4, .text) }, .names = &.{1} },
    .{ .name = "umount", .special = .mounts, .arguments = &.{arg(0, .file)}, .names = &.{0} },
    .{ .name = "umount2", .special = .mounts, .arguments = &.{arg(0, .file)}, .names = &.{0} },
    .{ .name = "fsopen", .special = .mounts, .arguments = &.{arg(0, .text)} },
    .{ .name = "fsconfig", .special = .mounts, .arguments = &.{ arg(2, .text), arg(3, .text) } },
    .{ .name = "fsmount", .special = .mounts },
    .{ .name = "fspick", .special = .mounts, .arguments = &.{argAt(0, 1, .file)} },
    .{ .name = "open_tree", .special = .mounts, .arguments = &.{argAtFlags(0, 1, 2, .file)} },
    .{ .name = "open_tree_attr", .special = .mounts, .arguments = &.{argAtFlags(0, 1, 2, .file)} },
    .{ .name = "move_mount", .special = .mounts, .arguments = &.{ argAt(0, 1, .file), argAt(2, 3, .file) }, .names = &.{ 1, 3 } },
    .{ .name = "mount_setattr", .special = .mounts, .arguments = &.{argAtFlags(0, 1, 2, .file)} },
    .{ .name = "pivot_root", .special = .root, .arguments = &.{ arg(0, .file), arg(1, .file) }, .names = &.{ 0, 1 } },
    .{ .name = "chroot", .special = .root, .arguments = &.{arg(0, .file)} },
    .{ .name = "swapon", .special = .kernel, .arguments = &.{arg(0, .file)} },
    .{ .name = "acct", .special = .kernel, .arguments = &.{arg(0, .file)} },
    .{ .name = "uselib", .arguments = &.{arg(0, .file)} },
    .{ .name = "init_module", .special = .kernel, .arguments = &.{arg(2, .text)} },
    .{ .name = "finit_module", .special = .kernel, .arguments = &.{ fd0, arg(1, .text) } },
    .{ .name = "kexec_load", .special = .kernel },
    .{ .name = "kexec_file_load", .special = .kernel, .arguments = &.{ fd0, arg(1, .descriptor) } },
    .{ .name = "bpf", .special = .kernel, .arguments = &.{sized(1, 2, .bytes)} },
    .{ .name = "iopl", .special = .kernel },
    .{ .name = "ioperm", .special = .kernel },
    .{ .name = "perf_event_open", .special = .perf, .reaches = .{ .argument = 1 } },
    .{ .name = "userfaultfd", .special = .userfaultfd },
    // Only to be asked (FAN_CLASS_CONTENT, FAN_CLASS_PRE_CONTENT), not to be told.
    .{ .name = "fanotify_init", .special = .fanotify, .when = &.{&.{.{ .any_bits = .{ .argument = 0, .mask = fan_class_asked } }}} },
    .{ .name = "io_uring_setup", .special = .io_uring },
    .{ .name = "keyctl" },
    .{ .name = "add_key", .arguments = &.{ arg(0, .text), arg(1, .text) } },
    .{ .name = "request_key", .special = .kernel, .arguments = &.{ arg(0, .text), arg(1, .text) } },
};

// ---------------------------------------------------------------------------------------------
// By number

/// The table of the machine's own calls.
pub const native_abi: abi.Abi = switch (builtin.cpu.arch) {
    .x86_64 => .x86_64,
    .aarch64 => .aarch64,
    else => @compileError("unsupported architecture"),
};

pub fn Names(comptime of: abi.Abi) type {
    return switch (of) {
        .x86_64, .x32 => linux.syscalls.X64,
        .i386 => linux.syscalls.X86,
        .aarch64 => linux.syscalls.Arm64,
    };
}

/// One more than the highest number that the compiler knows: from here on calls are watched as unknown.
pub fn tableSize(comptime of: abi.Abi) comptime_int {
    @setEvalBranchQuota(10_000);
    var highest = 0;
    for (@typeInfo(Names(of)).@"enum".field_values) |value| highest = @max(highest, value);
    return highest + 1;
}

fn inTable(row: Row, comptime of: abi.Abi) bool {
    return switch (row.tables) {
        .all => true,
        .native => of != .i386,
        .ia32 => of == .i386,
    };
}

/// What is done with a number.
pub const Verdict = union(enum) {
    /// Index into `rows`.
    watched: u8,
    /// Never stops.
    not_watched,
    /// No name for it: watched, so that a call of a later kernel is not missed.
    unknown,
};

/// `verdicts(.x86_64, .normal)[number]`
pub fn verdicts(comptime of: abi.Abi, comptime detail: abi.Detail) *const [tableSize(of)]Verdict {
    return &struct {
        const table = makeVerdicts(of, detail);
    }.table;
}

fn makeVerdicts(comptime of: abi.Abi, comptime detail: abi.Detail) [tableSize(of)]Verdict {
    @setEvalBranchQuota(100_000);
    var table: [tableSize(of)]Verdict = @splat(.unknown);
    for (rows, 0..) |row, i| {
        if (!inTable(row, of) or !@hasField(Names(of), row.name)) continue;
        if (row.detail == .full and detail == .normal) continue;
        if (row.detail == .normal and not_watched.reasonFor(row.name) != null)
            @compileError("system call '" ++ row.name ++ "' is watched and in not_watched.zig");
        table[@backingInt(@field(Names(of), row.name))] = .{ .watched = i };
    }
    const info = @typeInfo(Names(of)).@"enum";
    for (info.field_names, info.field_values) |name, number| {
        if (table[number] != .unknown) continue;
        if (not_watched.reasonFor(name) == null)
            @compileError("system call '" ++ name ++ "' is new: add a row to syscalls.zig, or its reason to not_watched.zig");
        table[number] = .not_watched;
    }
    return table;
}

comptime {
    assert(rows.len < 256);
    for ([_]abi.Abi{ .x86_64, .i386, .aarch64 }) |of| {
        for ([_]abi.Detail{ .normal, .full }) |detail| _ = verdicts(of, detail);
    }
}

pub fn verdict(of: abi.Abi, detail: abi.Detail, number: u64) Verdict {
    switch (of) {
        inline .x86_64, .i386, .aarch64 => |known| {
            const table = switch (detail) {
                inline else => |how| verdicts(known, how),
            };
            return if (number < table.len) table[@intCast(number)] else .unknown;
        },
        .x32 => return .unknown,
    }
}

/// The row of a call that is watched in any case.
pub fn rowOf(of: abi.Abi, number: u64) ?*const Row {
    return switch (verdict(of, .normal, number)) {
        .watched => |index| &rows[index],
        .not_watched, .unknown => null,
    };
}

/// Processes that the build must not reach: tracer and front end.
pub const Protected = [2]u32;

/// What the filter decides, for arguments that it cannot see. Both words of a pointer count, except in 32-bit calls.
pub fn holds(when: []const []const Condition, of: abi.Abi, arguments: *const [6]u64, protected: Protected) bool {
    for (when) |all_of| {
        for (all_of) |condition| {
            const yes = switch (condition) {
                .any_bits => |bits| arguments[bits.argument] & bits.mask != 0,
                .no_bits => |bits| arguments[bits.argument] & bits.mask == 0,
                .below => |limit| @as(u32, @truncate(arguments[limit.argument])) < limit.limit,
                .one_of => |list| std.mem.findScalar(u32, list.values, @truncate(arguments[list.argument])) != null,
                .pointer => |argument| if (of == .i386) @as(u32, @truncate(arguments[argument])) != 0 else arguments[argument] != 0,
                .protected => |argument| std.mem.findScalar(u32, &protected, @truncate(arguments[argument])) != null,
            };
            if (!yes) break;
        } else return true;
    }
    return when.len == 0;
}

// ---------------------------------------------------------------------------------------------
// What socketcall(2) multiplexes: the direct 32-bit call of the same meaning

/// Index is SYS_* of linux/net.h. accept has no direct number of its own: accept4 without flags.
const socketcalls = [_]?linux.syscalls.X86{
    null,         .socket,     .bind,    .connect,  .listen,  .accept4,  .getsockname,
    .getpeername, .socketpair, .sendto,  .recvfrom, .sendto,  .recvfrom, .shutdown,
    .setsockopt,  .getsockopt, .sendmsg, .recvmsg,  .accept4, .recvmmsg, .sendmmsg,
};

/// Null: there is none.
pub fn socketcallNumber(which: u64) ?u64 {
    if (which >= socketcalls.len) return null;
    return if (socketcalls[@intCast(which)]) |name| @backingInt(name) else null;
}

/// How many of the words at the pointer are arguments: send and recv are their namesakes without an address.
pub fn socketcallArguments(which: u64) usize {
    return switch (which) {
        5 => 3, // accept
        9, 10 => 4, // send, recv
        else => 6,
    };
}

// ---------------------------------------------------------------------------------------------
// The published list

const published = .{ abi.Abi.x86_64, abi.Abi.i386, abi.Abi.aarch64 };

/// One line for each call that is not watched: `ABI NUMBER NAME: reason`. Its SHA-256 is in every record.
pub fn writeIgnored(comptime detail: abi.Detail, out: *std.Io.Writer) std.Io.Writer.Error!void {
    inline for (published) |of| {
        const reasons = comptime reasonsByNumber(of);
        for (verdicts(of, detail), reasons, 0..) |decided, reason, number| {
            if (decided == .not_watched) try out.print("{t} {d} {s}: {s}\n", .{ of, number, nameOf(of, number), reason });
        }
    }
}

fn reasonsByNumber(comptime of: abi.Abi) [tableSize(of)][]const u8 {
    @setEvalBranchQuota(100_000);
    var reasons: [tableSize(of)][]const u8 = @splat("");
    const info = @typeInfo(Names(of)).@"enum";
    for (info.field_names, info.field_values) |name, number| reasons[number] = not_watched.reasonFor(name) orelse "";
    return reasons;
}

fn nameOf(comptime of: abi.Abi, number: usize) []const u8 {
    return if (std.enums.fromInt(Names(of), number)) |known| @tagName(known) else "";
}

/// `completeness.tracer.ignoredSyscalls`.
pub fn ignoredDigest(comptime detail: abi.Detail) [32]u8 {
    const Sha256 = std.crypto.hash.sha2.Sha256;
    var buffer: [256]u8 = undefined;
    var hashing: std.Io.Writer.Hashing(Sha256) = .init(&buffer);
    writeIgnored(detail, &hashing.writer) catch unreachable; // a hash takes all bytes
    hashing.writer.flush() catch unreachable; // as above
    return hashing.hasher.finalResult();
}

// ---------------------------------------------------------------------------------------------

const testing = std.testing;

test "rows are well formed" {
    for (rows) |row| {
        errdefer std.debug.print("row: {s}\n", .{row.name});
        if (row.event == .open) try testing.expect(row.open.flags != Argument.none or row.open.how != Argument.none or row.open.always != 0);
        if (row.event == .exec) try testing.expectEqual(Stops.entry, row.stops);
        for (row.arguments) |a| {
            try testing.expect(a.index <= Argument.result);
            if (a.index == Argument.result) try testing.expectEqual(Stops.entry_and_exit, row.stops);
            switch (a.kind) {
                .bytes, .address, .peer, .messages => try testing.expect(a.length < 6),
                .new_file, .new_name => try testing.expectEqual(Stops.entry_and_exit, row.stops),
                else => {},
            }
        }
    }
}

test "every row exists somewhere, and no row twice in one table" {
    for (rows, 0..) |row, i| {
        errdefer std.debug.print("row: {s}\n", .{row.name});
        const exists = std.meta.stringToEnum(linux.syscalls.X64, row.name) != null or
            std.meta.stringToEnum(linux.syscalls.X86, row.name) != null;
        try testing.expect(exists);
        for (rows[0..i]) |other| {
            if (std.mem.eql(u8, row.name, other.name)) try testing.expect(row.tables != other.tables);
        }
    }
}

test "verdicts" {
    try testing.expectEqualStrings("openat", rowOf(.x86_64, 257).?.name);
    try testing.expectEqualStrings("openat", rowOf(.i386, 295).?.name);
    try testing.expectEqualStrings("openat", rowOf(.aarch64, 56).?.name);
    try testing.expectEqual(Layout.ia32_mmap, rowOf(.i386, 90).?.layout);
    try testing.expectEqual(Layout.registers, rowOf(.x86_64, 9).?.layout);
    try testing.expectEqual(Verdict.not_watched, verdict(.x86_64, .full, 0)); // read
    try testing.expectEqual(Verdict.not_watched, verdict(.x86_64, .full, 3)); // close
    try testing.expectEqual(Verdict.not_watched, verdict(.x86_64, .normal, 1)); // write
    try testing.expectEqualStrings("write", rows[verdict(.x86_64, .full, 1).watched].name);
    try testing.expectEqualStrings("pwrite64", rows[verdict(.aarch64, .full, 68).watched].name);
    try testing.expectEqual(Verdict.unknown, verdict(.x86_64, .normal, 400)); // a hole
    try testing.expectEqual(Verdict.unknown, verdict(.x86_64, .full, 100_000));
    try testing.expectEqual(Verdict.unknown, verdict(.i386, .normal, std.math.maxInt(u64)));
    try testing.expectEqual(@as(?u64, 361), socketcallNumber(2));
    try testing.expectEqual(@as(?u64, 369), socketcallNumber(9)); // send
    try testing.expectEqual(@as(?u64, 372), socketcallNumber(17)); // recvmsg
    try testing.expectEqual(@as(?u64, null), socketcallNumber(99));
}

test "the list of what is not watched is complete and stable in form" {
    var list: std.Io.Writer.Allocating = .init(testing.allocator);
    defer list.deinit();
    try writeIgnored(.normal, &list.writer);
    const text = list.written();
    try testing.expect(std.mem.find(u8, text, "x86_64 0 read: ") != null);
    try testing.expect(std.mem.find(u8, text, "i386 3 read: ") != null);
    try testing.expect(std.mem.find(u8, text, "aarch64 63 read: ") != null);
    try testing.expect(std.mem.find(u8, text, " openat: ") == null);
    var expected: [32]u8 = undefined;
    std.crypto.hash.sha2.Sha256.hash(text, &expected, .{});
    try testing.expectEqual(expected, ignoredDigest(.normal));
    try testing.expect(!std.mem.eql(u8, &expected, &ignoredDigest(.full)));
}
