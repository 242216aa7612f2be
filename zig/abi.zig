//! Everything that crosses the boundary between Zig and TypeScript, and between our two processes.
//!
//! This file is the only definition. zig/abi_ts.zig prints src/native/abi.gen.ts from it, CI
//! regenerates and compares, and at start the front end compares `layoutHash()` with the number in
//! the generated file. Nothing here makes a system call.
//!
//! One shared mapping, made before the tracer is cloned:
//!
//!     [Control 16 KiB][ring 0: RingHeader 4 KiB, data][ring 1 …]
//!
//! A record starts with `Header`, then the fixed fields of its kind, then its variable parts in the
//! order in which their `*_length` fields are declared, without terminators; the whole is padded to
//! a multiple of 8. All integers are little-endian. Times are CLOCK_MONOTONIC nanoseconds; the
//! control block holds the offset to CLOCK_REALTIME, taken once, so that order is kept when the
//! clock is set during a build.
const std = @import("std");
const assert = std.debug.assert;

pub const version: u32 = 1;

// ---------------------------------------------------------------------------------------------
// Limits. Each is named here once; what runs into one is a gap in the record.

pub const control_size = 16 << 10;
pub const ring_header_size = 4 << 10;
/// Bytes of one ring's data; a power of two, since offsets are counters masked by it.
pub const ring_data_size: u32 = 8 << 20;
pub const max_rings = 8;
pub const path_max = 4096;
/// argv and envp of one exec, each. Linux allows more (a quarter of the stack limit, 2 MiB by default);
/// what is cut is flagged `truncated`.
pub const exec_strings_max = 1 << 20;
/// Descriptors that the tracer has handed over and the front end has not closed yet. At the bound the tracer waits.
pub const handed_over_max = 1024;
/// Threads that can be traced at the same time.
pub const tracees_max = 32768;
/// Sockets of which the front end can say at once that it has understood them; more are forgotten, and cost a little.
pub const understood_max = 64;

// ---------------------------------------------------------------------------------------------
// Control block

/// What the command's descriptor 0, 1 or 2 becomes.
pub const Stdio = enum(u32) {
    /// As the command inherited it, closed if it was closed.
    inherit = 0,
    /// The write end of our capture pipe of that number.
    capture = 1,
    /// A descriptor that was opened after the fork, sent over the socket pair (SCM_RIGHTS).
    sent = 2,
};

/// How much of a build is stopped at. Each has its own form of the filter.
pub const Detail = enum(u32) {
    normal = 0,
    /// Every call that writes to a file too: what each process has written is known exactly.
    full = 1,
};

pub const StartState = enum(u32) { wait = 0, go = 1, cancel = 2 };

/// How far the tracer process has come; it only grows.
pub const Phase = enum(u32) {
    waiting = 0,
    /// The command exists as a process, nothing of it has run.
    starting = 1,
    /// The command's first exec succeeded.
    running = 2,
    /// The command ended, descendants of it are still alive.
    draining = 3,
    /// Nothing of the build is alive; every record is in a ring.
    done = 4,
    /// The tracer gave up: `error_stage` and `error_errno` say why. Nothing of the build is alive.
    failed = 5,
};

/// Where starting the command, or tracing it, failed.
pub const Stage = enum(u32) {
    none = 0,
    working_directory = 1,
    stdio = 2,
    seize = 3,
    filter = 4,
    exec = 5,
    fork = 6,
    wait = 7,
    memory = 8,
    /// More tracees at once than `tracees_max`.
    too_many_tracees = 9,
    /// /proc is not there, or not that of our pid namespace: descriptors of tracees cannot be read.
    proc = 10,
    /// Killed before it was executed; the signal stands in place of the errno.
    killed = 11,
};

/// What the tracer found to work here. Bits of `Control.features`.
pub const Feature = enum(u32) {
    process_vm_readv = 0,
    pidfd_getfd = 1,
    get_syscall_info = 2,
    /// The filter was installed without no_new_privs: set-uid programs keep their privilege.
    without_no_new_privs = 3,
    /// The tracer has CAP_SYS_PTRACE.
    privileged = 4,
    set_syscall_info = 5,
};

pub const Control = extern struct {
    magic: u64 = 0x6b63_6f6c_6963, // "cilock"
    layout_hash: u64 = 0,
    /// CLOCK_REALTIME minus CLOCK_MONOTONIC when the mapping was made, nanoseconds.
    realtime_offset_ns: i64 = 0,
    ring_count: u32 = 1,
    /// Made before the fork: read by the front end as a stream, written by the tracer and the pump.
    event_descriptor: i32 = -1,
    /// Bit i set: descriptor i (0, 1, 2) was open when the process started. A closed one stays closed for the command.
    initial_stdio: u32 = 0,
    reserved_start: u32 = 0,

    // Written by the front end before `start` becomes `go`.
    start: u32 align(64) = 0, // StartState, a futex word for tracer and command
    trace: u32 = 0,
    /// Index into the original argv of the command's first word.
    argv_index: u32 = 0,
    grace_ms: u32 = 5000,
    /// Stdio of descriptors 0, 1, 2.
    stdio: [3]u32 = .{ 0, 0, 0 },
    working_directory_length: u32 = 0, // 0: stay
    /// Ask for io_uring to be let through; the run is then incomplete.
    allow_io_uring: u32 = 0,
    /// Kill everything now and end (the second signal).
    kill_all: u32 = 0,
    /// Descriptors of the table shared with the tracer that must not reach the command, though it
    /// inherited them: the signing key's (a pipe, say). -1 ends the list.
    withheld_descriptors: [8]i32 = @splat(-1),
    /// Bit i set: the i-th name in `withheld_variables` (library.zig) is left out of the command's environment.
    reserved_front: [3]u32 = @splat(0),
    trace_detail: u32 = 0, // Detail

    // Written by the tracer process.
    phase: u32 align(64) = 0, // Phase, release-stored after what it announces
    tracer_pid: i32 = 0,
    command_pid: i32 = 0,
    /// Wait status of the command; valid from `draining` on.
    command_status: i32 = 0,
    error_stage: u32 = 0, // Stage
    error_errno: u32 = 0,
    features: u32 = 0, // bits by Feature
    /// Of the command: the word it waits on, 1 once it has been seized; 2 when it is about to be executed.
    seized: u32 = 0,
    /// How often the tracer found a ring full and waited.
    ring_stalls: u32 = 0,
    /// Processes that were killed because they outlived `grace_ms`.
    survivors_killed: u32 = 0,
    /// When the command was let go, and when nothing of the build was alive any more.
    started_ns: u64 = 0,
    ended_ns: u64 = 0,
    /// Number of records published, over all rings: the next sequence number.
    sequence: u64 align(64) = 0,
    /// Descriptors handed over since the start; the front end's counterpart is `descriptors_released`.
    descriptors_handed: u32 align(64) = 0,
    /// 1 once one of them is of a file that a server answers for: closing it asks that server too (FUSE_FLUSH).
    foreign_handed: u32 = 0,

    /// Written by the front end: descriptors it has closed again. A futex word for the tracer.
    descriptors_released: u32 align(64) = 0,
    /// How many sockets it has understood, over all, and the inodes of the last of them: their bytes need not be watched any more.
    understood_count: u32 = 0,
    understood: [understood_max]u64 = @splat(0),

    // Written by the signal handlers and the pump, in the front end.
    /// Signals that somebody sent to us (not those of the terminal), and the first of all that ask for an end.
    signals_received: u32 align(64) = 0,
    first_signal: u32 = 0,
    /// 1 once the tracer process is gone, however it ended; 2: it hangs in the kernel, and is not waited for.
    tracer_gone: u32 = 0,
    tracer_status: i32 = 0,
    /// 1 once both capture streams have reached their end.
    pump_done: u32 = 0,
    window_changes: u32 = 0,

    working_directory: [path_max]u8 align(64) = @splat(0),

    comptime {
        assert(@sizeOf(Control) <= control_size);
        assert(@offsetOf(Control, "start") % 64 == 0);
        assert(@offsetOf(Control, "phase") % 64 == 0);
    }
};

// ---------------------------------------------------------------------------------------------
// Ring

/// `head` and `tail` are byte counters that wrap at 2^32 and are never reduced; each side writes one
/// cache line. `initial_position` starts them near the overflow, so that every run crosses it.
pub const RingHeader = extern struct {
    /// Written by the writer, after the record it covers.
    head: u32 align(64) = initial_position,
    /// 1 after the writer's last record.
    ended: u32 = 0,
    /// Written by the reader, after it has copied what it needs.
    tail: u32 align(64) = initial_position,
    /// Set by the writer before it sleeps on a full ring; exchanged by the reader. A futex word.
    writer_waits: u32 = 0,
    /// Set by the reader before its last look at `head`; exchanged by the writer after its publish.
    reader_waits: u32 align(64) = 0,

    comptime {
        assert(@offsetOf(RingHeader, "head") == 0);
        assert(@offsetOf(RingHeader, "tail") == 64);
        assert(@offsetOf(RingHeader, "reader_waits") == 128);
        assert(@sizeOf(RingHeader) <= ring_header_size);
    }
};

/// A multiple of 8, one megabyte before the counter wraps.
pub const initial_position: u32 = 0xfff0_0000;

/// Set in `Header.size` of the words that only fill the space up to the end of the ring: such a
/// record has no other field than `size`.
pub const padding_bit: u32 = 0x8000_0000;

// ---------------------------------------------------------------------------------------------
// Records. Values of enums are positions in the wire format and never move.

pub const Kind = enum(u16) {
    /// A process was created (not a thread).
    process = 1,
    /// A process runs a new image.
    exec = 2,
    /// A process (its last thread) is gone.
    exit = 3,
    /// A file was opened.
    open = 4,
    /// Any other watched call.
    syscall = 5,
    /// A descriptor that the command inherited, reported at its first exec.
    inherited = 6,
    /// Something that could not be seen.
    gap = 7,
    /// The command's own end; descendants may follow.
    command_end = 8,
    /// What a process has written to a file, since the last such record of the two. Only with `Detail.full`.
    written = 9,
    /// A TCP connection of the build is gone, and what went through it.
    traffic = 10,
    /// A file with a living writer is about to be truncated by another process, which waits until its content is digested.
    overwrite = 11,
    /// Before `exit`: a file that the process has opened for writing still has writers, or may have.
    writers_left = 12,
    /// A mount is about to go. What is held of a file on it keeps it busy, so the call waits until that is digested and closed.
    unmount = 13,
};

pub const Header = extern struct {
    /// Of the whole record, padding included; a multiple of 8.
    size: u32,
    kind: u16, // Kind
    flags: u16, // bits by Flag
    /// Without gaps over all rings, starting at 0.
    sequence: u64,
    time_ns: u64,
    /// The thread, as the tracer's pid namespace numbers it.
    tid: i32,
    /// Our serial number of the thread's process, starting at 1 for the command. A pid can come back, a serial never.
    process: u32,
};

/// Bits of `Header.flags`.
pub const Flag = enum(u16) {
    /// A string or list was longer than its limit.
    truncated = 0,
    /// Memory of the tracee could not be read: the parts it was to fill are empty.
    unreadable = 1,
    /// The path in the record was put together from the tracee's argument and is not what a descriptor says.
    unresolved = 2,
    /// The tracer refused the call (the tracee saw an error, or success without effect).
    denied = 3,
    /// `open`: the file has no name any more, `path` is its last one.
    deleted = 4,
    /// `open` and `inherited`, for reading and with a descriptor: somebody had the file open for writing at that moment.
    has_writers = 5,
    /// `open`, with `has_writers`: they may have written to it since, and the record's ctime and size would still be the file's.
    unsettled = 6,
};

/// What a file is, whatever it is called: struct stat, and the magic number of its file system.
pub const FileIdentity = extern struct {
    device: u64 = 0,
    inode: u64 = 0,
    size: u64 = 0,
    /// 512-byte blocks, to tell data from holes.
    blocks: u64 = 0,
    mtime_ns: i64 = 0,
    ctime_ns: i64 = 0,
    /// 0: its file system does not say. An inode number comes back when a file is gone, and then this is another.
    birth_ns: i64 = 0,
    mode: u32 = 0,
    links: u32 = 0,
    /// statfs f_type.
    file_system: u32 = 0,
    uid: u32 = 0,
};

/// Why a record of an open or exec holds no descriptor of ours. Not a judgement: TypeScript decides what it means.
pub const NotHeld = enum(u32) {
    /// `held` is a descriptor.
    none = 0,
    /// The same content was handed over before: see `content`.
    known_content = 1,
    not_regular = 2,
    path_only = 3,
    /// Opening it for reading failed: `held_errno`.
    unreadable = 4,
    /// The tracee was gone before we could look.
    gone = 5,
    /// A file system without content on a disk (proc, sysfs …).
    pseudo_file_system = 6,
};

pub const Process = extern struct {
    header: Header,
    /// Serial of the process that called fork, vfork or clone; 0 for the command.
    parent: u32,
    pid: i32,
    /// Of the creator, not what getppid would say (CLONE_PARENT).
    parent_pid: i32,
    /// How it was made: the clone flags where they are known, else 0.
    event: u32, // PTRACE_EVENT_*, 0 for the command
    clone_flags: u64,
};

pub const Exec = extern struct {
    header: Header,
    /// Of the file that the kernel runs: /proc/PID/exe.
    executable: FileIdentity,
    executable_held: i32,
    executable_not_held: u32, // NotHeld
    executable_held_errno: u32,
    /// Of the file that was named; equals `executable` but for scripts (and interpreters of binfmt_misc).
    program_held: i32,
    executable_content: u64,
    program: FileIdentity,
    program_not_held: u32, // NotHeld
    program_held_errno: u32,
    program_content: u64,
    /// The thread that called exec, where it was not the leader.
    former_tid: i32,
    uid: u32,
    euid: u32,
    gid: u32,
    egid: u32,
    /// Speculation_Store_Bypass of /proc/PID/status contains "vulnerable".
    speculation_vulnerable: u32,
    /// /proc/PID/exe as the tracer reads it.
    executable_path_length: u32,
    /// The argument of exec, made absolute through dirfd and cwd.
    program_path_length: u32,
    comm_length: u32,
    cwd_length: u32,
    root_length: u32, // 0: "/"
    /// NUL after each string.
    argv_length: u32,
    environment_length: u32,
    /// 1: the file asked for more privilege than it got (set-uid, set-gid or file capabilities, under no_new_privs or an unprivileged tracer).
    privilege_lost: u32,
};

pub const Exit = extern struct {
    header: Header,
    /// As wait4(2) reports it.
    status: i32,
    /// Opens of this process that failed: half of all look for what is not there, too many for a record each.
    failed_opens: u32 = 0,
};

pub const Abi = enum(u32) { x86_64 = 0, i386 = 1, x32 = 2, aarch64 = 3 };

pub const size_unknown: u64 = std.math.maxInt(u64);

pub const Open = extern struct {
    header: Header,
    file: FileIdentity,
    /// open(2) flags; O_ACCMODE says reader or writer.
    flags: u64,
    /// Mode for a created file.
    mode: u32,
    /// Number in the tracee.
    descriptor: i32,
    /// Number in the table that tracer and front end share; read-only, the front end closes it. -1: see `not_held`.
    held: i32,
    not_held: u32, // NotHeld
    held_errno: u32,
    number: u32, // of the system call
    abi: u32,
    root_length: u32, // the process's root directory; 0: "/"
    /// Sequence number of an earlier record (open or exec) whose descriptor had this very content; valid with `known_content`.
    content: u64,
    /// Of an open for writing: the file's size before the call, so before O_TRUNC. `size_unknown`: there was no file, or it was not looked at.
    size_before: u64,
    /// What the descriptor's link says: absolute, as the tracer sees it (so below the process's root).
    path_length: u32,
    /// The argument as passed, for calls that have one.
    argument_length: u32,
};

pub const Overwrite = extern struct {
    header: Header,
    file: FileIdentity,
    content: u64, // as in Open
    held: i32,
    not_held: u32, // NotHeld
    held_errno: u32,
    path_length: u32,
};

pub const WritersLeft = extern struct {
    header: Header,
    /// The descriptor that was handed over when the process opened the file.
    held: i32,
    /// 1: not known, the kernel does not say. Else somebody surely has it open or mapped for writing.
    unknown: u32,
};

pub const Unmount = extern struct {
    header: Header,
    /// The descriptor that was handed over when a living process opened the file for writing.
    held: i32,
    /// 1: it is not known whether somebody has it open for writing. Else nobody has.
    unknown: u32,
};

pub const Inherited = extern struct {
    header: Header,
    file: FileIdentity,
    flags: u64, // F_GETFL
    descriptor: i32,
    held: i32,
    not_held: u32, // NotHeld
    held_errno: u32,
    content: u64,
    /// Of a socket: what it is, and struct sockaddr of what it is connected to; 0 where that is not told.
    domain: u32,
    type: u32,
    path_length: u32,
    /// Behind the path.
    peer_length: u32,
};

/// Any other watched call, entry arguments and result together; `item_count` items follow.
pub const Syscall = extern struct {
    header: Header,
    number: u32,
    abi: u32, // Abi
    arguments: [6]u64,
    /// As the kernel returned it: negative errno on failure.
    result: i64,
    /// 1: recorded at the entry, `result` is not known.
    entry_only: u32,
    item_count: u32,
};

pub const ItemKind = enum(u16) {
    /// Absolute path: the argument resolved through dirfd, cwd.
    path = 1,
    /// Memory that an argument points at.
    bytes = 2,
    /// What a descriptor argument refers to: FileIdentity, then the link's text.
    descriptor = 3,
    /// FileIdentity of the file that `argument`'s path names after (for deletions: before) the call, without following a last symlink.
    file = 4,
    /// A root directory other than "/", to take off paths.
    root = 5,
    /// SocketFacts of a descriptor argument.
    socket = 6,
};

/// Follows a Syscall; its bytes come behind it, and the next item starts at a multiple of 8.
pub const Item = extern struct {
    kind: u16, // ItemKind
    /// Index of the argument that it belongs to; 6: what the call returned; 7: data that a message (sendmsg) points at;
    /// 8: a descriptor that came with a message,
    /// its number before it; 9: struct sockaddr of what the socket before it is connected to; 10: its own.
    argument: u8,
    /// Bit 0: there was more than `length`. Bit 1: a map of this descriptor's file is, or can be made, one that writes to it.
    flags: u8 = 0,
    length: u32,
};

/// What the kernel says about a socket that is connected or sent to.
pub const SocketFacts = extern struct {
    /// AF_*
    domain: u32,
    /// SOCK_*
    type: u32,
    /// Of the process at the other end, by SO_PEERCRED; 0: one that our pid namespace does not have; -1: not told.
    peer_pid: i32,
    /// 1: `holder` was looked for.
    has_holder: u32,
    /// Inode of the socket that waits at the port of this machine that was connected or sent to; of an accepted one, of its client's; 0: none.
    holder: u64,
    /// By which a Traffic record may follow; 0: none will.
    cookie: u64,
};

/// Closed list: src/trace/completeness.ts gives each its name, severity and sentence.
pub const GapKind = enum(u32) {
    /// A child was created that we are not attached to. value: its pid
    untraced_child = 1,
    /// Alive at the end of the grace period and killed. value: pid; text: comm
    survivor_killed = 2,
    /// Memory of a process could not be read. value: syscall number; text: the call's name, or the program
    unreadable_memory = 3,
    /// A set-uid, set-gid or file-capability program ran without its privilege. text: program
    privilege_not_gained = 4,
    /// io_uring_setup was refused with ENOSYS.
    io_uring_refused = 5,
    /// io_uring_setup went through because the user allowed it.
    io_uring_allowed = 6,
    /// A tracee's own ptrace request was refused by the kernel, since we trace it.
    nested_tracer = 7,
    /// A seccomp filter with a listener was installed inside the build.
    seccomp_listener = 8,
    /// x32 call refused with ENOSYS. value: syscall number
    x32_refused = 9,
    /// A limit was hit. value: which one; text: its name
    limit = 10,
    /// A tracee went away between a call and our look at it, so that the call's result or file is not known. value: syscall number; text: its name
    tracee_gone = 11,
    /// A call with a number that this version does not know. value: the number
    unknown_syscall = 12,
    /// PR_SET_DUMPABLE 0 was answered without being done.
    dumpable_kept = 13,
    /// A descriptor of a tracee could not be identified. value: descriptor
    unreadable_descriptor = 14,
    /// A process was created and its creator died before saying so: its parent is our best knowledge. value: pid
    parent_unknown = 15,
    /// The tracee tried to reach into tracer or front end and was refused. value: syscall number
    attack_refused = 16,
    /// What a connection's bytes say was not waited for any longer. value: which limit; text: its name
    names_unwatched = 17,
    /// userfaultfd was given for faults of the tracee's own code only.
    userfault_restricted = 18,
    /// A process outside of the build was reached into: its memory, its descriptors, or by ptrace. value: its pid, 0: every process; text: the call and its program
    outside_reached = 19,
    /// A file that the kernel executed (a script, an interpreter) may have been another than the one that its name leads to. text: path
    program_unknown = 20,
    /// A file of the tracer or the front end was open in a process of the build until it was closed again. value: syscall number; text: its path
    own_file_opened = 21,
    /// The kernel was told to run a program for the build: whoever starts it, it is none of our tracees. text: the file that was written
    kernel_delegated = 22,
    /// A signal to a group that we are in, or to everybody, was sent to the processes of the build alone. value: the signal; text: the call
    group_signal_kept = 23,
    /// The kernel was given code, or its memory, a disk or the like was opened. text: the call, or the file
    kernel_reached = 24,
    /// A call that took a name away was done with another name than the one that was read. value: the call; text: its name
    arguments_changed = 25,
    /// A queue or memory that somebody outside of the build has made was used. value: its number; text: which
    outside_met = 26,
};

pub const Gap = extern struct {
    header: Header,
    gap: u32, // GapKind
    text_length: u32,
    value: u64,
};

pub const CommandEnd = extern struct {
    header: Header,
    status: i32,
    reserved: u32 = 0,
};

/// Results of the calls that write, summed: one of these stands for as many as there were until the process ended or the
/// file was opened for writing again. What is written through a map, or by io_uring, is in none.
pub const Written = extern struct {
    header: Header,
    device: u64,
    inode: u64,
    bytes: u64,
    /// How many calls.
    calls: u64,
    /// When the first one of them began, CLOCK_MONOTONIC.
    first_ns: u64,
    /// What the descriptor's link said at the first one.
    path_length: u32,
    reserved: u32 = 0,
};

/// Of no process: the socket may have gone through many.
pub const Traffic = extern struct {
    header: Header,
    /// SocketFacts.cookie of its connect.
    cookie: u64,
    /// Bytes of data, each once, however often they were sent. The end of the other side counts as one received.
    sent: u64,
    received: u64,
};

/// The record type of each kind, in one place for the generator and the tests.
pub const records = .{
    .{ Kind.process, Process },
    .{ Kind.exec, Exec },
    .{ Kind.exit, Exit },
    .{ Kind.open, Open },
    .{ Kind.syscall, Syscall },
    .{ Kind.inherited, Inherited },
    .{ Kind.gap, Gap },
    .{ Kind.command_end, CommandEnd },
    .{ Kind.written, Written },
    .{ Kind.traffic, Traffic },
    .{ Kind.overwrite, Overwrite },
    .{ Kind.writers_left, WritersLeft },
    .{ Kind.unmount, Unmount },
};

comptime {
    assert(@sizeOf(Header) == 32);
    assert(@sizeOf(FileIdentity) == 72);
    assert(@sizeOf(Item) == 8);
    assert(@sizeOf(SocketFacts) == 32);
    for (records) |row| {
        const Record = row[1];
        assert(@sizeOf(Record) % 8 == 0);
        assert(@alignOf(Record) == 8);
        assertNoPadding(Record);
    }
    assertNoPadding(Header);
    assertNoPadding(FileIdentity);
    assertNoPadding(Item);
    assertNoPadding(SocketFacts);
    // Every kind has exactly one record type.
    assert(records.len == @typeInfo(Kind).@"enum".field_names.len);
    assert(std.math.isPowerOfTwo(ring_data_size));
    assert(initial_position % 8 == 0);
}

fn assertNoPadding(comptime T: type) void {
    var sum: usize = 0;
    for (@typeInfo(T).@"struct".field_types) |Field| sum += @sizeOf(Field);
    assert(sum == @sizeOf(T));
}
