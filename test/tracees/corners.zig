//! Corners of Linux that tracers have fallen over, one for each word: `corners WHAT`.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

const linux = t.linux;
const O = t.O;
var self_path: [:0]const u8 = undefined;
var environment: [*:null]const ?[*:0]const u8 = undefined;

const What = enum {
    @"clone-parent",
    @"pid-again",
    @"leader-gone",
    ptrace,
    privilege,
    @"pid-namespace",
    @"shared-directory",
    dispatch,
    @"run-what-was-written",
    locks,
    fairness,
    @"exec-below",
    names,
    @"too-deep",
};

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    self_path = arguments.at(0) orelse t.fail("argv[0]", 0);
    environment = arguments.environment.ptr;
    const name = arguments.at(1) orelse t.fail("corners WHAT", 0);
    if (std.mem.eql(u8, name, "image")) t.exit(0);
    switch (std.meta.stringToEnum(What, name) orelse t.fail("corners WHAT", 0)) {
        .@"clone-parent" => cloneParent(),
        .@"pid-again" => pidAgain(),
        .@"leader-gone" => leaderGone(),
        .ptrace => ptrace(),
        .privilege => privilege(),
        .@"pid-namespace" => pidNamespace(),
        .@"shared-directory" => sharedDirectory(),
        .dispatch => dispatch(),
        .@"run-what-was-written" => runWhatWasWritten(),
        .locks => locks(),
        .fairness => fairness(),
        .@"exec-below" => execBelow(),
        .names => names(),
        .@"too-deep" => tooDeep(),
    }
    t.exit(0);
}

fn answer(what: []const u8, value: isize) void {
    var line: t.Line = .{};
    line.begin("answer").text("what", what).number("value", value).end();
}

fn sayOpen(path: []const u8, how: []const u8) void {
    var buffer: [4096]u8 = undefined;
    t.seeOpen(t.absolute(&buffer, path), "write", how);
}

/// The new process is its creator's sibling; who has created it is what counts.
fn cloneParent() void {
    const creator = t.fork();
    if (creator == 0) {
        const flags = linux.CLONE.PARENT | @as(u32, @backingInt(linux.SIG.CHLD));
        const child = t.must(.clone, .{ flags, 0, 0, 0, 0 });
        if (child == 0) t.exit(4);
        t.seeProcess(@intCast(child), t.pid(), "CLONE_PARENT");
        t.exit(@intFromBool(t.call(.wait4, .{ child, 0, 0, null }) != -@as(isize, @backingInt(linux.E.CHILD))));
    }
    for (0..2) |_| {
        var status: u32 = 0;
        const child = t.must(.wait4, .{ -1, &status, 0, null });
        if (status != @as(u32, if (child == creator) 0 else 4 << 8)) t.fail("a child's status", @intCast(status));
    }
}

/// A process gets the number of one that is dead (clone3's set_tid, for root).
fn pidAgain() void {
    const first = t.fork();
    if (first == 0) {
        t.makeFile("first", "of the first");
        sayOpen("first", "the first of its number");
        t.exit(3);
    }
    _ = t.reap(first);
    const wanted: [1]i32 = .{first};
    // struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size.
    const arguments: [11]u64 = .{ 0, 0, 0, 0, @backingInt(linux.SIG.CHLD), 0, 0, 0, @intFromPtr(&wanted), 1, 0 };
    const second = t.must(.clone3, .{ &arguments, @sizeOf(@TypeOf(arguments)) });
    if (second == 0) {
        t.makeFile("second", "of the second");
        t.exit(7);
    }
    _ = t.reap(@intCast(second));
    answer("number", first);
}

/// The thread that a process has begun with ends long before the process.
fn leaderGone() void {
    const child = t.fork();
    if (child == 0) {
        var thread: t.Thread = .{};
        thread.start(afterLeader, 0);
        _ = t.call(.exit, .{1}); // the thread alone
    }
    if (t.reap(child) != 6 << 8) t.fail("the status of a process without a leader", 0);
    var line: t.Line = .{};
    line.begin("exit").number("pid", child).number("status", 6).end();
}

fn afterLeader(_: usize) callconv(.c) u8 {
    while (@import("lib/lineage.zig").stateOf(t.pid()) != 'Z') t.sleepMs(1);
    t.makeFile("later", "after the leader's end");
    sayOpen("later", "by a thread whose leader is gone");
    t.exit(6);
}

/// Debuggers, and programs that will not be debugged.
fn ptrace() void {
    const child = t.fork();
    if (child == 0) {
        answer("PTRACE_TRACEME", t.call(.ptrace, .{ linux.PTRACE.TRACEME, 0, 0, 0 }));
        _ = t.call(.kill, .{ t.pid(), 19 });
        t.exit(0);
    }
    var status: u32 = 0;
    _ = t.must(.wait4, .{ child, &status, 2, null }); // WUNTRACED: it has stopped, and nobody traces it but our tracer
    if (status & 0xff != 0x7f) t.fail("the child's stop", @intCast(status));
    answer("PTRACE_ATTACH", t.call(.ptrace, .{ linux.PTRACE.ATTACH, child, 0, 0 }));
    answer("PTRACE_SEIZE", t.call(.ptrace, .{ linux.PTRACE.SEIZE, child, 0, 0 }));
    _ = t.must(.kill, .{ child, 18 });
    if (t.reap(child) != 0) t.fail("the child's status", 0);
}

/// Which user a set-uid program runs as.
fn privilege() void {
    answer("euid", @intCast(t.must(.geteuid, .{})));
}

/// In there everybody has another number than for us, and with the first process all others die.
fn pidNamespace() void {
    const flags: u32 = 0x20000000 | @as(u32, @backingInt(linux.SIG.CHLD)); // CLONE_NEWPID
    const init = t.must(.clone, .{ flags, 0, 0, 0, 0 });
    if (init == 0) {
        if (t.pid() != 1) t.fail("not the first of its namespace", t.pid());
        t.makeFile("inside", "by number 1");
        var ends: [2]i32 = undefined;
        _ = t.must(.pipe2, .{ &ends, 0 });
        const child = t.fork();
        if (child == 0) {
            t.makeFile("deeper", "by number 2");
            // The file is there before its open is over, and who dies in a call is a gap.
            _ = t.must(.write, .{ ends[1], "!", 1 });
            while (true) t.sleepMs(10_000);
        }
        var byte: [1]u8 = undefined;
        _ = t.must(.read, .{ ends[0], &byte, 1 });
        t.exit(8);
    }
    if (t.reap(@intCast(init)) != 8 << 8) t.fail("the first process's status", 0);
    t.seeProcess(@intCast(init), t.pid(), "CLONE_NEWPID");
    var line: t.Line = .{};
    line.begin("exit").number("pid", init).number("status", 8).end();
}

var turn: u32 = 0;

/// One thread changes the directory of all.
fn sharedDirectory() void {
    _ = t.must(.mkdir, .{ "below", 0o755 });
    var thread: t.Thread = .{};
    thread.start(changeDirectory, 0);
    while (@atomicLoad(u32, &turn, .acquire) == 0) t.sleepMs(1);
    t.makeFile("here", "by a relative name");
    var buffer: [4096]u8 = undefined;
    const path = t.absolute(&buffer, "here");
    if (!std.mem.endsWith(u8, path, "/below/here")) t.fail("the directory is not shared", 0);
    t.seeOpen(path, "write", "below a directory that another thread has changed to");
    thread.join();
}

fn changeDirectory(_: usize) callconv(.c) u8 {
    _ = t.must(.chdir, .{"below"});
    @atomicStore(u32, &turn, 1, .release);
    return 0;
}

var selector: u8 = 0; // SYSCALL_DISPATCH_FILTER_ALLOW

/// Syscall user dispatch (as Wine has it): the kernel turns calls into SIGSYS, and the handler makes them after all.
fn dispatch() void {
    const action = [4]u64{ @intFromPtr(&onDispatched), 0x4000004, @intFromPtr(&restore), 0 };
    _ = t.must(.rt_sigaction, .{ 31, &action, null, 8 });
    const on = t.call(.prctl, .{ 59, 1, 0, 0, &selector });
    if (on < 0) return answer("not here", on);
    @atomicStore(u8, &selector, 1, .seq_cst);
    const opened = t.call(.openat, .{ t.at_cwd, "dispatched", O.wronly | O.creat, 0o644 });
    @atomicStore(u8, &selector, 0, .seq_cst);
    if (opened < 0) t.fail("the handler's open", opened);
    sayOpen("dispatched", "by the handler of a dispatched call");
}

/// rax of the saved registers is the result (ucontext: gregs start at word 5, rax is the 13th). The selector stays at "allow": so sigreturn
/// is no matter of its own.
fn onDispatched(_: i32, _: *anyopaque, context: [*]u64) callconv(.c) void {
    @atomicStore(u8, &selector, 0, .seq_cst);
    context[5 + 13] = @bitCast(@as(i64, t.call(.openat, .{ t.at_cwd, "dispatched", O.wronly | O.creat, 0o644 })));
}

fn restore() callconv(.naked) void {
    asm volatile (
        \\ movl $15, %%eax
        \\ syscall
    );
}

/// Whoever has it open for writing when it is executed makes that fail with ETXTBSY.
fn runWhatWasWritten() void {
    for (0..20) |i| {
        var name: [32]u8 = undefined;
        const path = t.format(&name, "program-{d}", .{i});
        const from = t.open(self_path, O.rdonly, 0);
        const into = t.open(path, O.wronly | O.creat, 0o755);
        while (true) {
            const copied = t.must(.sendfile, .{ into, from, null, 1 << 20 });
            if (copied == 0) break;
        }
        t.close(from);
        t.close(into);
        const child = t.fork();
        if (child == 0) {
            const argv = [_:null]?[*:0]const u8{ path.ptr, "image" };
            t.fail("execve of what was just written", t.call(.execve, .{ path.ptr, &argv, environment }));
        }
        if (t.reap(child) != 0) t.fail("the program's status", 0);
        if (i == 0) sayOpen(path, "what is executed at once");
    }
}

/// flock(2) locks belong to the open file: somebody else's copy of a descriptor would keep them.
fn locks() void {
    const exclusive = 2;
    const now = 4; // LOCK_NB
    for (0..50) |_| {
        const first = t.open("lock", O.rdwr | O.creat, 0o644);
        _ = t.must(.flock, .{ first, exclusive });
        t.close(first);
        const second = t.open("lock", O.rdwr, 0);
        _ = t.must(.flock, .{ second, exclusive | now });
        t.close(second);
    }
    sayOpen("lock", "locked again as soon as it was closed");
}

/// Processes that stop all the time wait for one that is older. How often they have looked for what it makes is the answer.
fn fairness() void {
    const looked: *u64 = @ptrFromInt(t.must(.mmap, .{ 0, 4096, 3, 0x21, -1, 0 }));
    const seldom = t.fork();
    if (seldom == 0) {
        for (0..200) |_| t.readFile("/proc/self/comm");
        t.makeFile("flag", "");
        t.exit(0);
    }
    var eager: [8]i32 = undefined;
    for (&eager) |*child| {
        child.* = t.fork();
        if (child.* == 0) {
            while (true) {
                const opened = t.call(.openat, .{ t.at_cwd, "flag", O.rdonly, 0 });
                if (opened >= 0) t.exit(0);
                _ = @atomicRmw(u64, looked, .Add, 1, .monotonic);
            }
        }
    }
    _ = t.reap(seldom);
    for (eager) |child| _ = t.reap(child);
    answer("looked", @intCast(looked.*));
}

/// Names that say something else than what they are, or are no text.
fn names() void {
    for ([_][:0]const u8{ "there (deleted)", "a\nb", "\xff\xfe", "\x1b[31mred", "back\\slash", " " }) |name| {
        t.makeFile(name, name);
        var buffer: [4096]u8 = undefined;
        var line: t.Line = .{};
        line.begin("open").number("pid", t.pid()).hex("pathHex", t.absolute(&buffer, name)).text("access", "write").text("how", "an odd name").end();
    }
    t.makeFile("gone", "deleted while it is open, and opened again");
    const first = t.open("gone", O.rdonly, 0);
    _ = t.must(.unlink, .{"gone"});
    var path: [64]u8 = undefined;
    t.close(t.open(t.format(&path, "/proc/self/fd/{d}", .{first}), O.rdonly, 0));
    t.close(first);
    t.makeFile("gone", "another file of that name");
    var buffer: [4096]u8 = undefined;
    var line: t.Line = .{};
    line.begin("written").number("pid", t.pid()).text("path", t.absolute(&buffer, "gone")).end();
}

/// A file whose path is longer than the kernel can say.
fn tooDeep() void {
    const part: [200:0]u8 = @splat('d');
    for (0..30) |_| {
        _ = t.must(.mkdir, .{ &part, 0o755 });
        _ = t.must(.chdir, .{&part});
    }
    t.makeFile("bottom", "30 times 200 bytes below");
    t.readFile("bottom");
    _ = t.must(.unlink, .{"bottom"});
    for (0..30) |_| {
        _ = t.must(.chdir, .{".."});
        _ = t.must(.rmdir, .{&part});
    }
}

/// A thread executes a program while the leader, whose number it takes over, stops all the time.
fn execBelow() void {
    for (0..40) |_| {
        const child = t.fork();
        if (child == 0) {
            var thread: t.Thread = .{};
            thread.start(executeImage, 0);
            while (true) {
                const opened = t.call(.openat, .{ t.at_cwd, "/proc/self/comm", O.rdonly, 0 });
                if (opened >= 0) t.close(@intCast(opened));
            }
        }
        if (t.reap(child) != 0) t.fail("the image's status", 0);
        t.seeProgram(child, self_path, &.{ self_path, "image" });
    }
}

fn executeImage(_: usize) callconv(.c) u8 {
    const argv = [_:null]?[*:0]const u8{ self_path.ptr, "image" };
    t.fail("execve", t.call(.execve, .{ self_path.ptr, &argv, environment }));
}
