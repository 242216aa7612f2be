//! What a wait status says about a tracee that was seized (ptrace(2), "Stopped tracees").
//!
//!     wait status                                   stop
//!     ------------------------------------------    -----------------------------------------
//!     WIFEXITED, WIFSIGNALED                        the thread is gone
//!     SIGTRAP | 0x80                                entry or exit of a call (TRACESYSGOOD)
//!     SIGTRAP | event << 8                          one of the PTRACE_EVENT stops
//!     SIGTRAP | EVENT_STOP << 8                     first stop of a new tracee, or PTRACE_INTERRUPT
//!     stopping signal | EVENT_STOP << 8             group stop
//!     any other signal                              on its way to the tracee, ours to deliver
//!
//! Pure: no system calls, so every row of the manual page's table is a test below.
const std = @import("std");
const linux = std.os.linux;
const PTRACE = linux.PTRACE;

pub const Stop = union(enum) {
    /// The thread is gone: nothing is left to resume. The status is as wait4(2) reports it.
    gone: u32,
    /// A call that our filter sends to us, before it is done.
    seccomp,
    /// Entry or exit of a call; only PTRACE_GET_SYSCALL_INFO tells which (counting breaks at exec, sigreturn, restart_syscall).
    syscall,
    /// A new thread or process: its id.
    created: Created,
    /// A new image runs: the id that the thread had before, which differs if it was not the leader.
    exec: i32,
    /// A new tracee's first stop, an answer to PTRACE_INTERRUPT, or the end of a group stop.
    trap,
    /// Stopped together with its process until SIGCONT: to be resumed by PTRACE_LISTEN only.
    group: u32,
    /// A signal that the tracee gets when it is resumed with it.
    signal: u32,
    /// An event that we never asked for.
    other: u32,
};

pub const Created = struct { event: u32, child: i32 };

/// Whether PTRACE_GETEVENTMSG has something that `classify` needs.
pub fn hasMessage(status: u32) bool {
    return switch (eventOf(status)) {
        PTRACE.EVENT.FORK, PTRACE.EVENT.VFORK, PTRACE.EVENT.CLONE, PTRACE.EVENT.EXEC => isStopped(status),
        else => false,
    };
}

/// Turns a wait status into the stop it reports; `message` is the event's, where it has one.
pub fn classify(status: u32, message: u64) Stop {
    if (!isStopped(status)) return .{ .gone = status };
    const signal = (status >> 8) & 0xff;
    switch (eventOf(status)) {
        0 => return if (signal == trap_signal | 0x80) .syscall else .{ .signal = signal },
        PTRACE.EVENT.SECCOMP => return .seccomp,
        PTRACE.EVENT.FORK, PTRACE.EVENT.VFORK, PTRACE.EVENT.CLONE => |event| {
            return .{ .created = .{ .event = event, .child = threadId(message) } };
        },
        PTRACE.EVENT.EXEC => return .{ .exec = threadId(message) },
        PTRACE.EVENT.STOP => return if (signal == trap_signal) .trap else .{ .group = signal },
        else => |event| return .{ .other = event },
    }
}

const trap_signal: u32 = @backingInt(linux.SIG.TRAP);

fn isStopped(status: u32) bool {
    return status & 0xff == 0x7f;
}

fn eventOf(status: u32) u32 {
    return status >> 16;
}

fn threadId(message: u64) i32 {
    return @bitCast(@as(u32, @truncate(message)));
}

// ---------------------------------------------------------------------------------------------

const testing = std.testing;

fn stopped(signal: u32, event: u32) u32 {
    return event << 16 | signal << 8 | 0x7f;
}

fn number(signal: linux.SIG) u32 {
    return @backingInt(signal);
}

test "every row of ptrace(2)'s table" {
    const trap = number(.TRAP);
    const Row = struct { name: []const u8, status: u32, message: u64 = 0, expected: Stop };
    const rows = [_]Row{
        .{ .name = "exit 0", .status = 0, .expected = .{ .gone = 0 } },
        .{ .name = "exit 3", .status = 3 << 8, .expected = .{ .gone = 3 << 8 } },
        .{ .name = "exit 127, which looks like a stop shifted", .status = 0x7f00, .expected = .{ .gone = 0x7f00 } },
        .{ .name = "killed", .status = 9, .expected = .{ .gone = 9 } },
        .{ .name = "killed with core", .status = 11 | 0x80, .expected = .{ .gone = 0x8b } },
        .{ .name = "killed by the last signal", .status = 64, .expected = .{ .gone = 64 } },
        .{ .name = "call", .status = stopped(trap | 0x80, 0), .expected = .syscall },
        .{ .name = "genuine SIGTRAP", .status = stopped(trap, 0), .expected = .{ .signal = trap } },
        .{ .name = "SIGCHLD", .status = stopped(number(.CHLD), 0), .expected = .{ .signal = number(.CHLD) } },
        .{ .name = "SIGSTOP on its way, no group stop", .status = stopped(number(.STOP), 0), .expected = .{ .signal = number(.STOP) } },
        .{ .name = "real-time signal", .status = stopped(64, 0), .expected = .{ .signal = 64 } },
        .{ .name = "fork", .status = stopped(trap, 1), .message = 42, .expected = .{ .created = .{ .event = 1, .child = 42 } } },
        .{ .name = "vfork", .status = stopped(trap, 2), .message = 42, .expected = .{ .created = .{ .event = 2, .child = 42 } } },
        .{ .name = "clone", .status = stopped(trap, 3), .message = 4194304, .expected = .{ .created = .{ .event = 3, .child = 4194304 } } },
        .{ .name = "exec by the leader", .status = stopped(trap, 4), .message = 7, .expected = .{ .exec = 7 } },
        .{ .name = "vfork done", .status = stopped(trap, 5), .expected = .{ .other = 5 } },
        .{ .name = "exit event", .status = stopped(trap, 6), .expected = .{ .other = 6 } },
        .{ .name = "seccomp", .status = stopped(trap, 7), .expected = .seccomp },
        .{ .name = "first stop or interrupt", .status = stopped(trap, 128), .expected = .trap },
        .{ .name = "group stop by SIGSTOP", .status = stopped(number(.STOP), 128), .expected = .{ .group = number(.STOP) } },
        .{ .name = "group stop by SIGTSTP", .status = stopped(number(.TSTP), 128), .expected = .{ .group = number(.TSTP) } },
        .{ .name = "group stop by SIGTTIN", .status = stopped(number(.TTIN), 128), .expected = .{ .group = number(.TTIN) } },
        .{ .name = "group stop by SIGTTOU", .status = stopped(number(.TTOU), 128), .expected = .{ .group = number(.TTOU) } },
        .{ .name = "an event of a later kernel", .status = stopped(trap, 99), .expected = .{ .other = 99 } },
    };
    for (rows) |row| {
        errdefer std.debug.print("row: {s}\n", .{row.name});
        try testing.expectEqual(row.expected, classify(row.status, row.message));
    }
}

test "only four events have a message, and a death has none" {
    for (0..256) |event| {
        const expected = event >= 1 and event <= 4;
        try testing.expectEqual(expected, hasMessage(stopped(number(.TRAP), @intCast(event))));
    }
    for (0..256) |code| try testing.expect(!hasMessage(@intCast(code << 8)));
}
