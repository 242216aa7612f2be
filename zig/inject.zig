//! One call made by a tracee because we want it: close, of a descriptor that it must not have.
//!
//!     exit stop of open ──▶ registers saved, signals held back, back over the call's instruction ──▶ entry stop of
//!     close ──▶ exit stop of close ──▶ registers and signal mask as before, with the refusal as open's result
//!
//! Both instructions that make a call are two bytes long (syscall, int 0x80). Signals wait meanwhile: a handler
//! would start with registers that are not the program's.
const std = @import("std");
const linux = std.os.linux;
const ptrace = @import("ptrace.zig");
const sys = @import("sys.zig");

/// What a thread had before, until it has it again.
pub const Saved = extern struct {
    registers: ptrace.Registers,
    mask: u64,
};

/// At the exit stop of a call. The thread is to be resumed up to its next call.
pub fn begin(tid: i32, is_32bit: bool, descriptor: i32) sys.Error!Saved {
    const saved: Saved = .{ .registers = try ptrace.registersOf(tid), .mask = try ptrace.signalMask(tid) };
    try ptrace.setSignalMask(tid, std.math.maxInt(u64));
    var registers = saved.registers;
    registers.callAgain(is_32bit, if (is_32bit) @backingInt(linux.syscalls.X86.close) else @backingInt(linux.SYS.close), @intCast(descriptor));
    try ptrace.setRegisters(tid, &registers);
    return saved;
}

/// At the exit stop of that call.
pub fn end(tid: i32, saved: *const Saved, result: i64) sys.Error!void {
    var registers = saved.registers;
    registers.setResult(result);
    try ptrace.setRegisters(tid, &registers);
    try ptrace.setSignalMask(tid, saved.mask);
}
