//! The raw requests of the tracer: ptrace(2), and what std.os.linux does not know about them.
//!
//! Any request can answer ESRCH at any moment, since SIGKILL ends a stop: that is
//! `error.TraceeGone`, handled once, where the loop calls `handle` and `resume`.
const std = @import("std");
const builtin = @import("builtin");
const linux = std.os.linux;
const sys = @import("sys.zig");
const PTRACE = linux.PTRACE;

pub const Error = sys.Error;

/// What we ask of every tracee. Children inherit it together with the attachment. No TRACEEXIT: it costs a
/// stop for every thread, and what is needed of a process is taken while it lives.
pub const options: usize = PTRACE.O.EXITKILL | PTRACE.O.TRACESYSGOOD | PTRACE.O.TRACEFORK | PTRACE.O.TRACEVFORK |
    PTRACE.O.TRACECLONE | PTRACE.O.TRACEEXEC | PTRACE.O.TRACESECCOMP;

/// While the rest of a dead tracee's turn is run (turns.zig): its number may be another's by now.
pub var is_forbidden: bool = false;

fn request(number: u32, tid: i32, address: usize, data: usize) Error!usize {
    if (is_forbidden) return error.TraceeGone;
    return sys.check(linux.ptrace(number, tid, address, data, 0));
}

/// Attaches without stopping. Before the command has executed anything, or to a child that escaped.
pub fn seize(tid: i32) linux.E {
    return linux.errno(linux.ptrace(PTRACE.SEIZE, tid, 0, options, 0));
}

pub fn interrupt(tid: i32) Error!void {
    _ = try request(PTRACE.INTERRUPT, tid, 0, 0);
}

/// How a stopped tracee goes on.
pub const Resume = enum {
    /// Up to the next call that the filter sends to us, signal or event.
    run,
    /// Up to the next entry or exit of any call.
    to_call,
    /// Not at all: it stays in its group stop, but reports the end of it.
    listen,
};

/// Only tracer.zig's `go` calls this, and probe.zig for its own child.
pub fn goOn(tid: i32, how: Resume, signal: u32) Error!void {
    const number: u32 = switch (how) {
        .run => PTRACE.CONT,
        .to_call => PTRACE.SYSCALL,
        .listen => PTRACE.LISTEN,
    };
    _ = try request(number, tid, 0, signal);
}

/// At the stop that answers `interrupt`. The kernel has ended what the thread slept in. Most calls it makes again by itself; those
/// that would return EINTR (epoll_wait, recv with a time limit, sigtimedwait, semop) it makes again only if we say so: with this
/// code, which a signal handler of the tracee still turns into EINTR (signal(7)). A time limit starts anew.
pub fn continueInterrupted(tid: i32) Error!void {
    try machine.continueInterrupted(tid);
}

pub fn eventMessage(tid: i32) Error!u64 {
    var message: usize = 0;
    _ = try request(PTRACE.GETEVENTMSG, tid, 0, @intFromPtr(&message));
    return message;
}

// ---------------------------------------------------------------------------------------------
// The call that a tracee is in

/// struct ptrace_syscall_info, Linux 5.3.
pub const CallInfo = extern struct {
    op: u8,
    reserved: u8,
    flags: u16,
    arch: u32,
    instruction_pointer: u64,
    stack_pointer: u64,
    of: extern union {
        entry: extern struct { number: u64, arguments: [6]u64 },
        exit: extern struct { result: i64, is_error: u8 },
        seccomp: extern struct { number: u64, arguments: [6]u64, data: u32 },
    },

    comptime {
        std.debug.assert(@offsetOf(CallInfo, "of") == 24);
        std.debug.assert(@sizeOf(CallInfo) == 88);
    }
};

/// PTRACE_SYSCALL_INFO_*.
pub const Op = enum(u8) { none = 0, entry = 1, exit = 2, seccomp = 3, _ };

pub fn callInfo(tid: i32, info: *CallInfo) Error!Op {
    _ = try request(PTRACE.GET_SYSCALL_INFO, tid, @sizeOf(CallInfo), @intFromPtr(info));
    return @fromBackingInt(info.op);
}

/// AUDIT_ARCH_*. (std.os.linux.AUDIT does not compile in Zig 0.17.1.)
pub const audit = struct {
    pub const x86_64: u32 = 0xc000_003e;
    pub const ia32: u32 = 0x4000_0003;
    pub const aarch64: u32 = 0xc000_00b7;
    pub const arm: u32 = 0x4000_0028;
};

/// The other direction, Linux 6.16; before it `error.BadAddress`, as for every request that does not exist.
pub fn setCallInfo(tid: i32, info: *const CallInfo) Error!void {
    _ = try request(0x4212, tid, @sizeOf(CallInfo), @intFromPtr(info)); // PTRACE_SET_SYSCALL_INFO
}

/// ESRCH from a kernel that has ptrace(2), before it asks for any permission.
pub fn callOnNobody() linux.E {
    return linux.errno(linux.ptrace(PTRACE.INTERRUPT, std.math.maxInt(i32), 0, 0, 0));
}

// ---------------------------------------------------------------------------------------------
// Registers. The first two are used at a seccomp stop only: there the call has not begun, and a number of
// -1 makes the kernel skip it and return what the result register holds (seccomp(2), SECCOMP_RET_TRACE).

pub const skipCall = machine.skipCall;
pub const setArgument = machine.setArgument;
pub const Registers = machine.Set;

pub fn registersOf(tid: i32) Error!Registers {
    var all: Registers = undefined;
    try machine.get(tid, &all);
    return all;
}

pub const setRegisters = machine.set;

/// Blocked signals.
pub fn signalMask(tid: i32) Error!u64 {
    var mask: u64 = 0;
    _ = try request(PTRACE.GETSIGMASK, tid, @sizeOf(u64), @intFromPtr(&mask));
    return mask;
}

pub fn setSignalMask(tid: i32, mask: u64) Error!void {
    _ = try request(PTRACE.SETSIGMASK, tid, @sizeOf(u64), @intFromPtr(&mask));
}

const machine = switch (builtin.cpu.arch) {
    .x86_64 => struct {
        /// Indices into struct user_regs_struct, eight bytes each.
        const rax = 10;
        const orig_rax = 15;
        const rip = 16;
        const native = [6]usize{ 14, 13, 12, 7, 9, 8 }; // rdi rsi rdx r10 r8 r9
        const ia32 = [6]usize{ 5, 11, 12, 13, 14, 4 }; // ebx ecx edx esi edi ebp

        pub fn skipCall(tid: i32, result: i64) Error!void {
            try poke(tid, orig_rax, @bitCast(@as(i64, -1)));
            try poke(tid, rax, @bitCast(result));
        }

        pub fn setArgument(tid: i32, is_32bit: bool, index: usize, value: u64) Error!void {
            try poke(tid, if (is_32bit) ia32[index] else native[index], value);
        }

        fn poke(tid: i32, register: usize, value: u64) Error!void {
            _ = try request(PTRACE.POKEUSER, tid, register * 8, value);
        }

        const interrupted: i64 = -@as(i64, @backingInt(linux.E.INTR));
        const close_native = @backingInt(linux.syscalls.X64.close);
        const close_ia32 = @backingInt(linux.syscalls.X86.close);
        const restart_without_handler: i64 = -514; // ERESTARTNOHAND

        pub fn continueInterrupted(tid: i32) Error!void {
            var all: Set = undefined;
            try get(tid, &all);
            const call: i64 = @bitCast(all.all[orig_rax]);
            // close has closed whatever it answers (close(2)): made again, it would close what another thread has opened meanwhile.
            if (call < 0 or call == close_native or call == close_ia32) return;
            if (@as(i64, @bitCast(all.all[rax])) == interrupted) try poke(tid, rax, @bitCast(restart_without_handler));
        }

        /// struct user_regs_struct.
        pub const Set = extern struct {
            all: [27]u64,

            /// At an exit stop: makes the call's instruction run again, as another call.
            pub fn callAgain(registers: *Set, is_32bit: bool, number: u64, argument: u64) void {
                registers.all[rip] -= 2; // syscall, int 0x80
                registers.all[rax] = number;
                registers.all[orig_rax] = @bitCast(@as(i64, -1)); // nothing for the kernel to restart
                registers.all[if (is_32bit) ia32[0] else native[0]] = argument;
            }

            pub fn setResult(registers: *Set, result: i64) void {
                registers.all[rax] = @bitCast(result);
                registers.all[orig_rax] = @bitCast(@as(i64, -1));
            }
        };

        pub fn get(tid: i32, all: *Set) Error!void {
            _ = try request(PTRACE.GETREGS, tid, 0, @intFromPtr(all));
        }

        pub fn set(tid: i32, all: *const Set) Error!void {
            _ = try request(PTRACE.SETREGS, tid, 0, @intFromPtr(all));
        }
    },
    .aarch64 => struct {
        const nt_prstatus = 1;
        const nt_arm_system_call = 0x404;

        pub fn skipCall(tid: i32, result: i64) Error!void {
            var number: i32 = -1;
            var vector: std.posix.iovec = .{ .base = @ptrCast(&number), .len = @sizeOf(i32) };
            _ = try request(PTRACE.SETREGSET, tid, nt_arm_system_call, @intFromPtr(&vector));
            try poke(tid, 0, @bitCast(result));
        }

        pub fn setArgument(tid: i32, is_32bit: bool, index: usize, value: u64) Error!void {
            std.debug.assert(!is_32bit);
            try poke(tid, index, value);
        }

        fn poke(tid: i32, register: usize, value: u64) Error!void {
            var registers: Set = undefined;
            try get(tid, &registers);
            registers.all[register] = value;
            try set(tid, &registers);
        }

        /// There the registers have been set for a restart, or not, before this stop.
        pub fn continueInterrupted(_: i32) Error!void {}

        pub const Set = extern struct {
            all: [34]u64, // x0 to x30, sp, pc, pstate

            pub fn callAgain(registers: *Set, is_32bit: bool, number: u64, argument: u64) void {
                std.debug.assert(!is_32bit);
                registers.all[32] -= 4; // svc #0
                registers.all[8] = number;
                registers.all[0] = argument;
            }

            pub fn setResult(registers: *Set, result: i64) void {
                registers.all[0] = @bitCast(result);
            }
        };

        pub fn get(tid: i32, all: *Set) Error!void {
            var vector: std.posix.iovec = .{ .base = @ptrCast(all), .len = @sizeOf(Set) };
            _ = try request(PTRACE.GETREGSET, tid, nt_prstatus, @intFromPtr(&vector));
        }

        pub fn set(tid: i32, all: *const Set) Error!void {
            const vector: std.posix.iovec_const = .{ .base = @ptrCast(all), .len = @sizeOf(Set) };
            _ = try request(PTRACE.SETREGSET, tid, nt_prstatus, @intFromPtr(&vector));
        }
    },
    else => @compileError("unsupported architecture"),
};

// ---------------------------------------------------------------------------------------------
// Processes

/// Whether `tid` is a thread of `process`; a thread that is gone is none. 0.3 µs, where /proc/TID/status costs 15.
pub fn isThreadOf(process: i32, tid: i32) bool {
    // Signal 0 delivers nothing. EPERM is only answered once the pair was found to belong together.
    return switch (linux.errno(linux.syscall3(.tgkill, @as(u32, @bitCast(process)), @as(u32, @bitCast(tid)), 0))) {
        .SUCCESS, .PERM => true,
        else => false,
    };
}

/// Effective capabilities of this process, a bit each.
pub fn ownCapabilities() u64 {
    const Head = extern struct { version: u32, pid: i32 };
    const Set = extern struct { effective: u32, permitted: u32, inheritable: u32 };
    const head: Head = .{ .version = 0x2008_0522, .pid = 0 };
    var sets: [2]Set = @splat(.{ .effective = 0, .permitted = 0, .inheritable = 0 });
    _ = linux.syscall2(.capget, @intFromPtr(&head), @intFromPtr(&sets));
    return sets[0].effective | @as(u64, sets[1].effective) << 32;
}

pub const cap_sys_ptrace: u6 = 19;
pub const cap_setuid: u6 = 7;

/// SIGALRM interrupts wait4 after `first_ms` and then every `every_ms`, until `stopTicks`. That it repeats closes the
/// race between the loop's last look at its reasons and the system call.
pub fn startTicks(first_ms: u32, every_ms: u32) void {
    const value: linux.itimerspec = .{ .it_interval = timeval(every_ms), .it_value = timeval(@max(first_ms, 1)) };
    _ = linux.setitimer(itimer_real, &value, null);
}

pub fn stopTicks() void {
    const value: linux.itimerspec = .{ .it_interval = timeval(0), .it_value = timeval(0) };
    _ = linux.setitimer(itimer_real, &value, null);
}

const itimer_real = 0;

/// setitimer takes microseconds where the struct of std.os.linux says nanoseconds.
fn timeval(ms: u32) linux.timespec {
    return .{ .sec = ms / 1000, .nsec = @as(isize, ms % 1000) * 1000 };
}

/// A tick of its own, from another thread of the tracer.
pub fn signalTick(tracer_pid: i32, tracer_tid: i32) void {
    sys.killThread(tracer_pid, tracer_tid, .ALRM) catch {};
}

/// Calls `handler` on SIGALRM; system calls are interrupted by it (no SA_RESTART). SIGCHLD is reset, since our
/// caller may have had it ignored, and then wait4 would never report a death. All other signals stay blocked.
pub fn takeSignals(handler: *const fn (linux.SIG) callconv(.c) void) void {
    _ = linux.sigaction(.CHLD, &.{ .handler = .{ .handler = linux.SIG.DFL }, .mask = linux.sigemptyset(), .flags = 0 }, null);
    _ = linux.sigaction(.ALRM, &.{ .handler = .{ .handler = handler }, .mask = linux.sigemptyset(), .flags = 0 }, null);
    var mask: linux.sigset_t = sys.all_signals;
    const bit = @backingInt(linux.SIG.ALRM) - 1;
    mask[0] &= ~(@as(c_ulong, 1) << bit);
    _ = sys.setSignalMask(mask);
}

test "threads are told from processes" {
    const pid = linux.getpid();
    try std.testing.expect(isThreadOf(pid, linux.gettid()));
    try std.testing.expect(!isThreadOf(pid, linux.getppid()));
    try std.testing.expect(!isThreadOf(pid, std.math.maxInt(i32)));
}
