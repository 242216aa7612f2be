//! A stack of its own for work that has to wait in the middle, in the one thread that may do it: ptrace(2) obeys only the
//! thread that is attached, so what a stop means cannot be found out in another thread while that one goes on.
//!
//!     loop ──enter──▶ work … pause ──▶ back in the loop … ──enter──▶ … behind pause … ──returns──▶ back in the loop
//!
//! The registers that a C function must keep are all that is kept (System V ABI 3.2.1; AAPCS64 6.1). No system calls here.
const std = @import("std");
const builtin = @import("builtin");
const sys = @import("sys.zig");
const assert = std.debug.assert;

/// The deepest way through the tracer has a dozen paths of a page on it. Pages that are never touched cost nothing.
const stack_size = 512 << 10;

pub const Fiber = struct {
    stack: ?[*]align(4096) u8 = null,
    /// Where it goes on; while it runs: where the one goes on who has entered it.
    other: usize = 0,
    is_entered: bool = false,
    work: *const fn (*Fiber) void = undefined,
    is_done: bool = true,

    /// Begins `work` and returns when it pauses or is done. An error: no memory for a stack.
    pub fn begin(fiber: *Fiber, work: *const fn (*Fiber) void) sys.Error!void {
        assert(fiber.is_done);
        const stack = fiber.stack orelse blk: {
            const fresh = try sys.mapStack(stack_size);
            fiber.stack = fresh;
            break :blk fresh;
        };
        fiber.work = work;
        fiber.is_done = false;
        fiber.other = machine.prepare(@intFromPtr(stack) + stack_size, @intFromPtr(fiber), @intFromPtr(&run));
        fiber.enter();
    }

    /// Goes on behind its last `pause`.
    pub fn enter(fiber: *Fiber) void {
        assert(!fiber.is_done and !fiber.is_entered);
        fiber.is_entered = true;
        swap(&fiber.other, fiber.other);
    }

    /// From inside: back to whoever has entered it.
    pub fn pause(fiber: *Fiber) void {
        assert(fiber.is_entered);
        fiber.is_entered = false;
        swap(&fiber.other, fiber.other);
    }

    pub fn deinit(fiber: *Fiber) void {
        if (fiber.stack) |stack| sys.unmap(stack, stack_size);
        fiber.stack = null;
    }

    fn run(fiber: *Fiber) callconv(.c) noreturn {
        fiber.work(fiber);
        fiber.is_done = true;
        fiber.pause();
        unreachable; // `enter` asserts that it is not done
    }
};

/// Keeps the place in `save` and goes on at `load`.
fn swap(save: *usize, load: usize) void {
    const call: *const fn (*usize, usize) callconv(.c) void = @ptrCast(&machine.swap);
    call(save, load);
}

const machine = switch (builtin.cpu.arch) {
    .x86_64 => struct {
        fn swap() callconv(.naked) void {
            asm volatile (
                \\ pushq %%rbp
                \\ pushq %%rbx
                \\ pushq %%r12
                \\ pushq %%r13
                \\ pushq %%r14
                \\ pushq %%r15
                \\ movq %%rsp, (%%rdi)
                \\ movq %%rsi, %%rsp
                \\ popq %%r15
                \\ popq %%r14
                \\ popq %%r13
                \\ popq %%r12
                \\ popq %%rbx
                \\ popq %%rbp
                \\ retq
            );
        }

        fn first() callconv(.naked) void {
            asm volatile (
                \\ movq %%r12, %%rdi
                \\ callq *%%r13
                \\ ud2
            );
        }

        /// What `swap` takes from a stack that nothing has run on.
        fn prepare(top: usize, argument: usize, function: usize) usize {
            // r15 r14 r13 r12 rbx rbp, where to return to. Behind the return the stack is aligned to 16, as before a call.
            const words: *[7]usize = @ptrFromInt(top - 16 - @sizeOf([7]usize));
            words.* = .{ 0, 0, function, argument, 0, 0, @intFromPtr(&first) };
            return @intFromPtr(words);
        }
    },
    .aarch64 => struct {
        fn swap() callconv(.naked) void {
            asm volatile (
                \\ sub sp, sp, #160
                \\ stp x19, x20, [sp, #0]
                \\ stp x21, x22, [sp, #16]
                \\ stp x23, x24, [sp, #32]
                \\ stp x25, x26, [sp, #48]
                \\ stp x27, x28, [sp, #64]
                \\ stp x29, x30, [sp, #80]
                \\ stp d8, d9, [sp, #96]
                \\ stp d10, d11, [sp, #112]
                \\ stp d12, d13, [sp, #128]
                \\ stp d14, d15, [sp, #144]
                \\ mov x9, sp
                \\ str x9, [x0]
                \\ mov sp, x1
                \\ ldp x19, x20, [sp, #0]
                \\ ldp x21, x22, [sp, #16]
                \\ ldp x23, x24, [sp, #32]
                \\ ldp x25, x26, [sp, #48]
                \\ ldp x27, x28, [sp, #64]
                \\ ldp x29, x30, [sp, #80]
                \\ ldp d8, d9, [sp, #96]
                \\ ldp d10, d11, [sp, #112]
                \\ ldp d12, d13, [sp, #128]
                \\ ldp d14, d15, [sp, #144]
                \\ add sp, sp, #160
                \\ ret
            );
        }

        fn first() callconv(.naked) void {
            asm volatile (
                \\ mov x0, x19
                \\ blr x20
                \\ brk #0
            );
        }

        fn prepare(top: usize, argument: usize, function: usize) usize {
            const words: *[20]usize = @ptrFromInt(top - 160);
            words.* = @splat(0);
            words[0] = argument;
            words[1] = function;
            words[11] = @intFromPtr(&first);
            return @intFromPtr(words);
        }
    },
    else => @compileError("unsupported architecture"),
};

// ---------------------------------------------------------------------------------------------

const testing = std.testing;

test "two fibers take turns, keep what they know, and can be used again" {
    const Counter = struct {
        fiber: Fiber = .{},
        from: u64,
        seen: u64 = 0,

        fn count(fiber: *Fiber) void {
            const self: *@This() = @fieldParentPtr("fiber", fiber);
            var room: [100 << 10]u8 = @splat(1); // more than one frame's worth
            var sum: f64 = 0.5;
            for (0..5) |i| {
                room[i * 1000] +%= 1;
                sum += 1;
                self.seen = self.from + i;
                fiber.pause();
            }
            self.seen = if (sum == 5.5 and room[4000] == 2) 999 else 0;
        }
    };
    var one: Counter = .{ .from = 10 };
    var two: Counter = .{ .from = 20 };
    defer one.fiber.deinit();
    defer two.fiber.deinit();
    for (0..2) |_| {
        try one.fiber.begin(Counter.count);
        try two.fiber.begin(Counter.count);
        for (1..5) |i| {
            one.fiber.enter();
            try testing.expectEqual(10 + i, one.seen);
            two.fiber.enter();
            try testing.expectEqual(20 + i, two.seen);
        }
        one.fiber.enter();
        try testing.expect(one.fiber.is_done and one.seen == 999);
        two.fiber.enter();
        try testing.expect(two.fiber.is_done and two.seen == 999);
    }
}
