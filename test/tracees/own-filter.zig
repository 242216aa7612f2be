//! A build with a seccomp filter of its own: `own-filter errno|trap|trace|notify [all]`. Whatever it answers has precedence over ours,
//! or comes before it. The opens that then really happen must be seen all the same, and so must attempts that it answers: of the
//! thread itself, of a child, and with `all` of a thread that was there before.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

const Filter = extern struct { code: u16, jt: u8 = 0, jf: u8 = 0, k: u32 };
const Program = extern struct { length: u16, filter: [*]const Filter };

var path_buffer: [4096]u8 = undefined;
var listener: u32 = 0;
var is_installed: u32 = 0;

const Answer = enum(u32) {
    errno = 0x0005000d,
    trap = 0x00030000,
    trace = 0x7ff00007,
    notify = 0x7fc00000,

    /// What an attempt comes to, as far as a tracer can tell; null: what the kernel says.
    fn result(answer: Answer) ?[]const u8 {
        return switch (answer) {
            .errno => "EACCES",
            .trap, .trace => "ENOSYS", // not done
            .notify => null,
        };
    }
};

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    const answer = std.meta.stringToEnum(Answer, arguments.at(1) orelse "") orelse t.fail("own-filter errno|trap|trace|notify", 0);
    t.makeFileElsewhere("watched", "opened under the build's own filter\n");
    t.makeFileElsewhere("plain", "opened by a call that the filter lets alone\n");
    var supervisor: t.Thread = .{};
    if (answer == .notify) supervisor.start(answerContinue, 0);
    if (answer == .trap) onTrap();
    var earlier: ?t.Thread = if (arguments.at(2) == null) null else .{};
    if (earlier) |*thread| thread.start(attemptLater, 0);

    const filter = [_]Filter{
        .{ .code = 0x20, .k = 0 }, // load nr
        .{ .code = 0x15, .jt = 2, .jf = 0, .k = @backingInt(t.SYS.openat) },
        .{ .code = 0x15, .jt = 1, .jf = 0, .k = @backingInt(t.SYS.keyctl) },
        .{ .code = 0x15, .jt = 0, .jf = 1, .k = @backingInt(t.SYS.setns) },
        .{ .code = 0x06, .k = @backingInt(answer) },
        .{ .code = 0x06, .k = 0x7fff0000 },
    };
    const program: Program = .{ .length = filter.len, .filter = &filter };
    _ = t.must(.prctl, .{ 38, 1, 0, 0, 0 });
    const for_all: u32 = if (earlier == null) 0 else 1; // SECCOMP_FILTER_FLAG_TSYNC
    const flags: u32 = if (answer == .notify) for_all | 8 | for_all << 4 else for_all; // NEW_LISTENER, TSYNC_ESRCH
    const result = t.call(.seccomp, .{ 1, flags, &program });
    var line: t.Line = .{};
    if (result < 0) { // a listener is refused
        line.begin("refused").text("what", "seccomp").number("result", result).end();
        t.exit(0);
    }
    if (answer == .notify) @atomicStore(u32, &listener, @intCast(result), .release);
    attempts(answer, if (earlier) |*thread| thread else null);

    // openat, which the filter answers.
    const filtered = t.call(.openat, .{ t.at_cwd, "watched", t.O.rdonly, 0 });
    if (filtered >= 0) {
        t.seeOpen(t.absolute(&path_buffer, "watched"), "read", "openat that the filter let through");
    }
    // open, which it does not know.
    const plain = t.call(.open, .{ "plain", t.O.rdonly, 0 });
    if (plain < 0) t.fail("open", plain);
    t.seeOpen(t.absolute(&path_buffer, "plain"), "read", "open past the filter");
    line.begin("answer").text("what", @tagName(answer)).number("value", filtered).end();
    t.exit(0);
}

/// Calls that are events of a record whether they succeed or not.
fn attempts(answer: Answer, earlier: ?*t.Thread) void {
    _ = t.call(.keyctl, .{ 0, -3, 0 }); // KEYCTL_GET_KEYRING_ID of the session
    seeAttempt("keyctl", answer);
    @atomicStore(u32, &is_installed, 1, .release);
    if (earlier) |thread| {
        thread.join();
        seeAttempt("setns", answer);
    }
    const child = t.fork();
    if (child == 0) {
        _ = t.call(.keyctl, .{ 0, -3, 0 });
        seeAttempt("keyctl", answer);
        t.exit(0);
    }
    _ = t.reap(child);
}

fn attemptLater(_: usize) callconv(.c) u8 {
    while (@atomicLoad(u32, &is_installed, .acquire) == 0) t.sleepMs(1);
    _ = t.call(.setns, .{ -1, 0 });
    return 0;
}

fn seeAttempt(name: []const u8, answer: Answer) void {
    var line: t.Line = .{};
    const event = line.begin("event").number("pid", t.pid()).text("syscall", name);
    if (answer.result()) |result| _ = event.text("result", result);
    event.end();
}

/// A thread of the build answers every notification: let the call happen. No tracer sees that by RET_TRACE.
fn answerContinue(_: usize) callconv(.c) u8 {
    while (@atomicLoad(u32, &listener, .acquire) == 0) t.sleepMs(1);
    while (true) {
        var notification: [10]u64 = @splat(0); // struct seccomp_notif, 80 bytes
        if (t.call(.ioctl, .{ listener, 0xc0502100, &notification }) < 0) return 0;
        var response: [3]u64 = .{ notification[0], 0, @as(u64, 1) << 32 }; // id, val, error, flags = CONTINUE
        _ = t.call(.ioctl, .{ listener, 0xc0182101, &response });
    }
}

fn onTrap() void {
    const action = [4]u64{ @intFromPtr(&trapped), 0x4000004, @intFromPtr(&restore), 0 };
    _ = t.must(.rt_sigaction, .{ 31, &action, null, 8 });
}

/// The call did nothing; the handler says so in rax of the saved registers (ucontext: gregs start at word 5, rax is the 13th).
fn trapped(_: i32, _: *anyopaque, context: [*]u64) callconv(.c) void {
    context[5 + 13] = @bitCast(-@as(i64, @backingInt(t.linux.E.ACCES)));
}

fn restore() callconv(.naked) void {
    asm volatile (
        \\ movl $15, %%eax
        \\ syscall
    );
}
