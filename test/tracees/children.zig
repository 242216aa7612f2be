//! Makes a tree of processes by every call there is, and says for each who created it.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

const linux = t.linux;
var self_path: [:0]const u8 = undefined;
var environment: [*:null]const ?[*:0]const u8 = undefined;

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    // A vforked child runs this: its image is seen, its parent is the one that vforked.
    if (arguments.at(1)) |_| t.exit(7);
    self_path = arguments.at(0) orelse t.fail("argv[0]", 0);
    environment = arguments.environment.ptr;

    byFork();
    byVfork();
    byClone();
    byClone3();
    grandchildren();
    threads();
}

fn byFork() void {
    const parent = t.pid();
    const child = t.fork();
    if (child == 0) {
        t.seeProcess(t.pid(), parent, "fork");
        t.exit(3);
    }
    _ = t.reap(child);
}

/// vfork(2) itself: the child must not return from the function that made it, so parent and child part within one piece of assembly.
fn byVfork() void {
    const argv = [_:null]?[*:0]const u8{ self_path.ptr, "vforked" };
    const child: isize = asm volatile (
        \\ movl $58, %%eax
        \\ syscall
        \\ testq %%rax, %%rax
        \\ jnz 1f
        \\ movl $59, %%eax
        \\ syscall
        \\ movl $127, %%edi
        \\ movl $60, %%eax
        \\ syscall
        \\1:
        : [result] "={rax}" (-> isize),
        : [path] "{rdi}" (self_path.ptr),
          [argv] "{rsi}" (&argv),
          [environment] "{rdx}" (environment),
        : .{ .rcx = true, .r11 = true, .memory = true });
    if (child < 0) t.fail("vfork", child);
    t.seeProcess(@intCast(child), t.pid(), "vfork");
    t.seeProgram(@intCast(child), self_path, &.{ self_path, "vforked" });
    if (t.reap(@intCast(child)) != 7 << 8) t.fail("the vforked child's status", 0);
}

/// CLONE_VM | CLONE_VFORK, as posix_spawn does it.
fn byClone() void {
    const stack = t.memory(t.stack_size);
    const flags = linux.CLONE.VM | linux.CLONE.VFORK | @as(u32, @backingInt(linux.SIG.CHLD));
    const child: isize = @bitCast(linux.clone(spawned, @intFromPtr(stack) + t.stack_size, flags, 0, null, 0, null));
    if (child < 0) t.fail("clone", child);
    t.seeProcess(@intCast(child), t.pid(), "clone(CLONE_VM|CLONE_VFORK)");
    t.seeProgram(@intCast(child), self_path, &.{ self_path, "spawned" });
    _ = t.reap(@intCast(child));
}

fn spawned(_: usize) callconv(.c) u8 {
    const argv = [_:null]?[*:0]const u8{ self_path.ptr, "spawned" };
    _ = t.call(.execve, .{ self_path.ptr, &argv, environment });
    return 127;
}

fn byClone3() void {
    // struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls.
    var arguments: [8]u64 = .{ 0, 0, 0, 0, @backingInt(linux.SIG.CHLD), 0, 0, 0 };
    const parent = t.pid();
    const child: i32 = @intCast(t.must(.clone3, .{ &arguments, @sizeOf(@TypeOf(arguments)) }));
    if (child == 0) {
        t.seeProcess(t.pid(), parent, "clone3");
        t.exit(0);
    }
    _ = t.reap(child);

    // No exit signal at all: reported as PTRACE_EVENT_CLONE, yet it is a process.
    arguments[4] = 0;
    const silent: i32 = @intCast(t.must(.clone3, .{ &arguments, @sizeOf(@TypeOf(arguments)) }));
    if (silent == 0) {
        t.seeProcess(t.pid(), parent, "clone3 without exit signal");
        t.exit(0);
    }
    var status: u32 = 0;
    _ = t.must(.wait4, .{ silent, &status, 0x40000000, null }); // __WALL
}

/// The grandchild outlives its parent; who created it does not change by that.
fn grandchildren() void {
    const root = t.pid();
    var gone: [2]i32 = undefined;
    _ = t.must(.pipe2, .{ &gone, t.O.cloexec });
    const child = t.fork();
    if (child == 0) {
        const middle = t.pid();
        t.seeProcess(middle, root, "fork");
        const grandchild = t.fork();
        if (grandchild == 0) {
            t.close(@intCast(gone[1]));
            // Ends when nobody holds the writing end: after its parent's death and with the root's consent.
            var byte: [1]u8 = undefined;
            _ = t.must(.read, .{ gone[0], &byte, 1 });
            t.seeProcess(t.pid(), middle, "fork, orphaned");
            t.exit(5);
        }
        t.exit(0);
    }
    _ = t.reap(child);
    t.close(@intCast(gone[1]));
}

fn threads() void {
    var all: [3]t.Thread = .{ .{}, .{}, .{} };
    for (&all) |*thread| thread.start(inThread, 0);
    for (&all) |*thread| thread.join();
}

fn inThread(_: usize) callconv(.c) u8 {
    t.seeThread(t.tid(), t.pid());
    const parent = t.pid();
    const child = t.fork();
    if (child == 0) {
        t.seeProcess(t.pid(), parent, "fork in a thread");
        t.exit(0);
    }
    _ = t.reap(child);
    return 0;
}
