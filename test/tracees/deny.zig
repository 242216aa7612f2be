//! Runs a command under a seccomp profile of a container's kind: `deny ANSWER CALL[,CALL…] [first=NUMBER] -- COMMAND…`. ANSWER is the
//! name of an errno (PERM, NOSYS, NONE for a call that answers 0 and does nothing) or `kill`; `first`: only where the first argument is that.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

const Instruction = extern struct { code: u16, jt: u8 = 0, jf: u8 = 0, k: u32 };
const Program = extern struct { length: u16, filter: [*]const Instruction };

const load = 0x20;
const jump_equal = 0x15;
const ret = 0x06;
const allow = 0x7fff0000;
const kill_process = 0x80000000;
const errno_base = 0x00050000;

var code: [64]Instruction = undefined;
var length: u16 = 0;

fn add(instruction: Instruction) void {
    if (length == code.len) t.fail("too many calls", length);
    code[length] = instruction;
    length += 1;
}

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    const verdict = verdictOf(arguments.at(1) orelse usage());
    var calls = std.mem.splitScalar(u8, arguments.at(2) orelse usage(), ',');
    var at: usize = 3;
    var first: ?u32 = null;
    if (std.mem.startsWith(u8, arguments.at(at) orelse usage(), "first=")) {
        first = std.fmt.parseInt(u32, arguments.at(at).?["first=".len..], 0) catch usage();
        at += 1;
    }
    if (!std.mem.eql(u8, arguments.at(at) orelse usage(), "--")) usage();

    add(.{ .code = load, .k = 0 }); // the number
    while (calls.next()) |name| {
        const number = std.meta.stringToEnum(t.SYS, name) orelse t.fail(name, 0);
        add(.{ .code = jump_equal, .jt = 0, .jf = if (first == null) 1 else 4, .k = @intCast(@backingInt(number)) });
        if (first) |value| {
            add(.{ .code = load, .k = 16 }); // low half of the first argument
            add(.{ .code = jump_equal, .jt = 0, .jf = 1, .k = value });
            add(.{ .code = ret, .k = verdict });
            add(.{ .code = ret, .k = allow });
        } else add(.{ .code = ret, .k = verdict });
    }
    add(.{ .code = ret, .k = allow });

    // A container's profile is installed by root, without no_new_privs; whoever may not do so sets it.
    const program: Program = .{ .length = length, .filter = &code };
    if (t.call(.seccomp, .{ 1, 0, &program }) < 0) {
        _ = t.must(.prctl, .{ 38, 1, 0, 0, 0 });
        _ = t.must(.seccomp, .{ 1, 0, &program });
    }
    const command = arguments.from(at + 1);
    t.fail("execve", t.call(.execve, .{ command[0], command, arguments.environment.ptr }));
}

fn verdictOf(word: []const u8) u32 {
    if (std.mem.eql(u8, word, "kill")) return kill_process;
    if (std.mem.eql(u8, word, "NONE")) return errno_base;
    const errno = std.meta.stringToEnum(t.linux.E, word) orelse t.fail(word, 0);
    return errno_base | @as(u32, @backingInt(errno));
}

fn usage() noreturn {
    t.fail("deny ANSWER CALL,… [first=NUMBER] -- COMMAND", 0);
}
