//! Not of the build: holds a tracer still at a certain moment, so that a test can do something to what it traces then. `hold TRACER MOMENT…`
//! traces the tracer itself (as root: it is not dumpable), prints `held MOMENT THREAD` at each moment, in this order, goes on with the
//! next byte of stdin, and lets go behind the last one.
//!
//!     seccomp fork vfork clone exec trap group signal gone    wait4 has just told the tracer of this stop
//!     entry result                                            it has asked for the call at whose entry or exit a thread stands
//!     wait                                                    it is about to wait
//!     resume                                                  it is about to let a thread go on
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

const Moment = enum { seccomp, fork, vfork, clone, exec, trap, group, signal, gone, entry, result, wait, @"resume" };

const PTRACE = t.linux.PTRACE;
const get_syscall_info = 0x420e;
const sig_trap = 5;
const wait_all = 0x40000000;

/// PTRACE_GET_SYSCALL_INFO, as far as it goes for entries.
const Info = extern struct { op: u8, padding: [3]u8, arch: u32, instruction: u64, stack: u64, number: u64, arguments: [6]u64 };

var tracer: i32 = 0;

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    tracer = @intCast(arguments.number(1, 0));
    var next: usize = 2;
    var wanted = momentAt(arguments, next) orelse t.fail("hold TRACER MOMENT…", 0);
    _ = t.must(.ptrace, .{ PTRACE.SEIZE, tracer, 0, PTRACE.O.TRACESYSGOOD });
    _ = t.must(.ptrace, .{ PTRACE.INTERRUPT, tracer, 0, 0 });
    var call: Info = std.mem.zeroes(Info);
    var attached = false;
    while (true) {
        var status: u32 = 0;
        _ = t.must(.wait4, .{ tracer, &status, wait_all, null });
        if (status & 0xff != 0x7f) t.fail("the tracer has ended before the moment", @intCast(status));
        const event = status >> 16;
        const signal = (status >> 8) & 0xff;
        if (event == PTRACE.EVENT.STOP and !attached) {
            attached = true;
            say("attached\n", .{});
        }
        if (event == 0 and signal == sig_trap | 0x80) {
            if (reached(&call, wanted)) |thread| {
                say("held {s} {d}\n", .{ @tagName(wanted), thread });
                var byte: [1]u8 = undefined;
                _ = t.call(.read, .{ 0, &byte, 1 }); // closed: whoever holds us is gone
                next += 1;
                wanted = momentAt(arguments, next) orelse {
                    _ = t.must(.ptrace, .{ PTRACE.DETACH, tracer, 0, 0 });
                    t.exit(0);
                };
            }
        }
        const passed_on = if (event == 0 and signal & 0x80 == 0) signal else 0;
        _ = t.must(.ptrace, .{ PTRACE.SYSCALL, tracer, 0, passed_on });
    }
}

fn momentAt(arguments: t.Arguments, index: usize) ?Moment {
    const name = arguments.at(index) orelse return null;
    return std.meta.stringToEnum(Moment, name) orelse t.fail("no such moment", @intCast(index));
}

fn say(comptime template: []const u8, arguments: anytype) void {
    var buffer: [64]u8 = undefined;
    t.writeAll(1, t.format(&buffer, template, arguments));
}

/// At an entry or exit of a call of the tracer's: the thread that the moment is about, if it is the one. `call`: that of the entry.
fn reached(call: *Info, wanted: Moment) ?i32 {
    var info: Info = undefined;
    _ = t.must(.ptrace, .{ get_syscall_info, tracer, @sizeOf(Info), &info });
    if (info.op == 1) {
        call.* = info;
        return switch (wanted) {
            .wait => if (isCall(call, .wait4)) 0 else null,
            .@"resume" => if (isCall(call, .ptrace)) switch (call.arguments[0]) {
                PTRACE.CONT, PTRACE.SYSCALL, PTRACE.LISTEN => @intCast(call.arguments[1]),
                else => null,
            } else null,
            else => null,
        };
    }
    if (info.op != 2) return null;
    const result: i64 = @bitCast(info.number); // `rval` stands in its place
    switch (wanted) {
        .wait, .@"resume" => return null,
        .entry, .result => {
            if (!isCall(call, .ptrace) or call.arguments[0] != get_syscall_info or result <= 0) return null;
            const op: u64 = if (wanted == .entry) 1 else 2;
            return if (word(call.arguments[3]) & 0xff == op) @intCast(call.arguments[1]) else null;
        },
        else => {},
    }
    if (!isCall(call, .wait4) or result <= 0) return null;
    return if (momentOf(@truncate(word(call.arguments[1]))) == wanted) @intCast(result) else null;
}

fn isCall(call: *const Info, number: t.SYS) bool {
    return call.number == @backingInt(number);
}

fn word(address: u64) u64 {
    var value: u64 = 0;
    _ = t.must(.ptrace, .{ PTRACE.PEEKDATA, tracer, address, &value });
    return value;
}

fn momentOf(status: u32) Moment {
    if (status & 0xff != 0x7f) return .gone;
    return switch (status >> 16) {
        0 => .signal,
        PTRACE.EVENT.FORK => .fork,
        PTRACE.EVENT.VFORK => .vfork,
        PTRACE.EVENT.CLONE => .clone,
        PTRACE.EVENT.EXEC => .exec,
        PTRACE.EVENT.SECCOMP => .seccomp,
        else => if ((status >> 8) & 0xff == sig_trap) .trap else .group,
    };
}
