//! The filter, generated from the table of syscalls.zig: what stops a tracee, and what runs at full speed.
//!
//!     architecture ─┬─ x86-64 ─── number: a search tree over ranges ─── leaf: allow | trace | conditions on arguments
//!                   ├─ i386  ──── the same with its own table
//!                   └─ other ──── trace
//!
//! Above the table, and in its holes, everything is traced as unknown. x32 numbers are traced too: the tracer
//! answers ENOSYS. RET_DATA tells our own verdict from that of a filter which the build installed.
//!
//! Also an interpreter of classic BPF: the tests walk every number with it, and the tracer asks it for our verdict
//! where the kernel does not (a task with a filter of its own).
const std = @import("std");
const builtin = @import("builtin");
const linux = std.os.linux;
const abi = @import("abi.zig");
const ptrace = @import("ptrace.zig");
const sys = @import("sys.zig");
const syscalls = @import("syscalls.zig");
const assert = std.debug.assert;
const RET = linux.SECCOMP.RET;

/// SECCOMP_RET_DATA of our verdicts. Where a filter of the build says TRACE too, the newer one's data is seen.
pub const Class = enum(u16) {
    row = 0xc101,
    unknown = 0xc102,
    x32 = 0xc103,
    _,
};

pub const Data = linux.SECCOMP.data;

/// struct sock_filter and sock_fprog: std.os.linux.BPF is eBPF.
pub const Instruction = extern struct { code: u16, jt: u8 = 0, jf: u8 = 0, k: u32 };
const Program = extern struct { length: u16, filter: [*]const Instruction };

const ld_word = 0x20; // BPF_LD | BPF_W | BPF_ABS
const jump = 0x05; // BPF_JMP | BPF_JA
const jump_equal = 0x15;
const jump_greater_equal = 0x35;
const jump_set = 0x45;
const ret = 0x06;

const x32_bit = 0x4000_0000;

// ---------------------------------------------------------------------------------------------
// Installing

pub const Result = union(enum) {
    /// Set-uid programs of the build keep their privilege.
    without_no_new_privs,
    with_no_new_privs,
    failed: linux.E,
};

pub const Options = struct {
    allow_without_no_new_privs: bool,
    protected: syscalls.Protected,
    detail: abi.Detail,
};

/// Without anybody to protect: to find out whether a filter can be installed.
pub fn install(allow_without_no_new_privs: bool) Result {
    return installFor(.{ .allow_without_no_new_privs = allow_without_no_new_privs, .protected = .{ 0, 0 }, .detail = .normal });
}

/// In the command, right before its first exec. CAP_SYS_ADMIN may install a filter without no_new_privs, and only
/// then do sudo and its like work in the build. An unprivileged tracer loses nothing by no_new_privs: a traced exec
/// gains no privilege anyway (ptrace(2)).
pub fn installFor(options: Options) Result {
    const code = filterFor(options.detail, options.protected);
    if (options.allow_without_no_new_privs) {
        const e = load(&code);
        if (e == .SUCCESS) return .without_no_new_privs;
        if (e != .ACCES) return .{ .failed = e };
    }
    const set = linux.errno(linux.prctl(@backingInt(linux.PR.SET_NO_NEW_PRIVS), 1, 0, 0, 0));
    if (set != .SUCCESS) return .{ .failed = set };
    const e = load(&code);
    return if (e == .SUCCESS) .with_no_new_privs else .{ .failed = e };
}

fn load(code: *const Filter) linux.E {
    const program: Program = .{ .length = @intCast(code.length), .filter = &code.code };
    // SPEC_ALLOW: before Linux 5.16 a filter switches off speculation in the build's own code, which has nothing to do with tracing.
    return linux.errno(linux.seccomp(linux.SECCOMP.SET_MODE_FILTER, linux.SECCOMP.FILTER_FLAG.SPEC_ALLOW, &program));
}

// ---------------------------------------------------------------------------------------------
// Generating

/// With `placeholders` where the protected processes' numbers go.
const templates = blk: {
    @setEvalBranchQuota(4_000_000);
    break :blk std.EnumArray(abi.Detail, Filter).init(.{ .normal = template(.normal), .full = template(.full) });
};

fn template(comptime detail: abi.Detail) Filter {
    const code = generate(detail);
    var filter: Filter = .{ .length = code.len };
    @memcpy(filter.code[0..code.len], code);
    return filter;
}

/// Far below BPF_MAXINSNS, which is 4096.
const filter_max = 1536;

pub const Filter = struct {
    code: [filter_max]Instruction = @splat(.{ .code = ret, .k = RET.KILL_PROCESS }),
    length: usize,
};

/// Process numbers go up to 2^22, flags and commands of the table are others: no constant is mistaken for these.
const placeholders: syscalls.Protected = .{ 0x7eed_0001, 0x7eed_0002 };

pub fn filterFor(detail: abi.Detail, protected: syscalls.Protected) Filter {
    var filter = templates.get(detail);
    for (filter.code[0..filter.length]) |*instruction| {
        if (instruction.code != jump_equal) continue;
        for (placeholders, protected) |placeholder, process| {
            if (instruction.k == placeholder) instruction.k = process;
        }
    }
    return filter;
}

fn generate(comptime detail: abi.Detail) []const Instruction {
    const load_arch = [_]Instruction{load32(@offsetOf(Data, "arch"))};
    const load_number = [_]Instruction{load32(@offsetOf(Data, "nr"))};
    return load_arch ++ switch (builtin.cpu.arch) {
        .x86_64 => blk: {
            const native = load_number ++ x32Check() ++ tree(.x86_64, detail);
            const compat = load_number ++ tree(.i386, detail);
            break :blk onEqual(ptrace.audit.x86_64, native) ++ onEqual(ptrace.audit.ia32, compat) ++ trace(.unknown);
        },
        .aarch64 => onEqual(ptrace.audit.aarch64, load_number ++ tree(.aarch64, detail)) ++ trace(.unknown),
        else => @compileError("unsupported architecture"),
    };
}

/// -1 is what a tracer puts in place of a call that is to be skipped, and no call: it must not be traced again.
fn x32Check() []const Instruction {
    return &[_]Instruction{
        .{ .code = jump_equal, .jt = 0, .jf = 1, .k = 0xffff_ffff },
        .{ .code = ret, .k = RET.ALLOW },
        .{ .code = jump_greater_equal, .jt = 0, .jf = 1, .k = x32_bit },
        .{ .code = ret, .k = traceValue(.x32) },
    };
}

/// Numbers from `from` up to the next range's.
const Range = struct { from: u32, leaf: syscalls.Verdict };

fn ranges(comptime of: abi.Abi, comptime detail: abi.Detail) []const Range {
    const table = syscalls.verdicts(of, detail);
    var list: [table.len + 1]Range = undefined;
    var count = 0;
    for (table, 0..) |decided, number| {
        if (count > 0 and std.meta.eql(list[count - 1].leaf, decided)) continue;
        list[count] = .{ .from = number, .leaf = decided };
        count += 1;
    }
    if (list[count - 1].leaf != .unknown) {
        list[count] = .{ .from = table.len, .leaf = .unknown };
        count += 1;
    }
    const result = list[0..count].*;
    return &result;
}

fn tree(comptime of: abi.Abi, comptime detail: abi.Detail) []const Instruction {
    return subtree(of, ranges(of, detail));
}

/// With the number in the accumulator. A conditional jump reaches 255 instructions, an unconditional one everything.
fn subtree(comptime of: abi.Abi, comptime list: []const Range) []const Instruction {
    if (list.len == 1) return leaf(of, list[0].leaf);
    const middle = list.len / 2;
    const left = subtree(of, list[0..middle]);
    const right = subtree(of, list[middle..]);
    const pivot = list[middle].from;
    if (left.len <= 255) {
        return &[_]Instruction{.{ .code = jump_greater_equal, .jt = left.len, .jf = 0, .k = pivot }} ++ left ++ right;
    }
    return &[_]Instruction{
        .{ .code = jump_greater_equal, .jt = 0, .jf = 1, .k = pivot },
        .{ .code = jump, .k = left.len },
    } ++ left ++ right;
}

fn leaf(comptime of: abi.Abi, comptime decided: syscalls.Verdict) []const Instruction {
    switch (decided) {
        .not_watched => return &[_]Instruction{.{ .code = ret, .k = RET.ALLOW }},
        .unknown => return trace(.unknown),
        .watched => |index| {
            const row = syscalls.rows[index];
            if (row.when.len == 0) return trace(.row);
            var code: []const Instruction = &.{};
            for (row.when) |all_of| code = code ++ clause(of, all_of);
            return code ++ &[_]Instruction{.{ .code = ret, .k = RET.ALLOW }};
        },
    }
}

/// Traces if all conditions hold, else runs out of its end.
fn clause(comptime of: abi.Abi, comptime conditions: []const syscalls.Condition) []const Instruction {
    // Built backwards: what a condition that fails must skip is what follows it.
    var code: []const Instruction = trace(.row);
    var i = conditions.len;
    while (i > 0) {
        i -= 1;
        code = condition(of, conditions[i], code.len) ++ code;
    }
    return code;
}

/// Runs out of its end if it holds, else jumps over the `skip` instructions behind it.
fn condition(comptime of: abi.Abi, comptime c: syscalls.Condition, comptime skip: u8) []const Instruction {
    switch (c) {
        .any_bits => |bits| return &[_]Instruction{
            load32(low(bits.argument)),
            .{ .code = jump_set, .jt = 0, .jf = skip, .k = bits.mask },
        },
        .no_bits => |bits| return &[_]Instruction{
            load32(low(bits.argument)),
            .{ .code = jump_set, .jt = skip, .jf = 0, .k = bits.mask },
        },
        .below => |limit| return &[_]Instruction{
            load32(low(limit.argument)),
            .{ .code = jump_greater_equal, .jt = skip, .jf = 0, .k = limit.limit },
        },
        .protected => |argument| return condition(of, .{ .one_of = .{ .argument = argument, .values = &placeholders } }, skip),
        .one_of => |list| {
            var code: []const Instruction = &[_]Instruction{load32(low(list.argument))};
            for (list.values, 1..) |value, nth| {
                const rest = list.values.len - nth;
                code = code ++ &[_]Instruction{.{ .code = jump_equal, .jt = rest, .jf = if (rest == 0) skip else 0, .k = value }};
            }
            return code;
        },
        // The upper half of a 32-bit call's arguments is not defined.
        .pointer => |argument| return if (of == .i386) &[_]Instruction{
            load32(low(argument)),
            .{ .code = jump_equal, .jt = skip, .jf = 0, .k = 0 },
        } else &[_]Instruction{
            load32(low(argument)),
            .{ .code = jump_equal, .jt = 0, .jf = 2, .k = 0 },
            load32(low(argument) + 4),
            .{ .code = jump_equal, .jt = skip, .jf = 0, .k = 0 },
        },
    }
}

/// `code` if the accumulator equals `k`, else what follows; `code` always returns.
fn onEqual(comptime k: u32, comptime code: []const Instruction) []const Instruction {
    return &[_]Instruction{
        .{ .code = jump_equal, .jt = 1, .jf = 0, .k = k },
        .{ .code = jump, .k = code.len },
    } ++ code;
}

fn trace(comptime class: Class) []const Instruction {
    return &[_]Instruction{.{ .code = ret, .k = traceValue(class) }};
}

fn traceValue(class: Class) u32 {
    return RET.TRACE | @as(u32, @backingInt(class));
}

fn load32(offset: u32) Instruction {
    return .{ .code = ld_word, .k = offset };
}

/// Lower half of an argument: both architectures are little-endian.
fn low(argument: u32) u32 {
    return @offsetOf(Data, "arg0") + argument * 8;
}

// ---------------------------------------------------------------------------------------------
// Interpreting

/// What our filter says of a call, as the kernel would compute it.
pub fn evaluate(filter: *const Filter, data: *const Data) u32 {
    const bytes = std.mem.asBytes(data);
    var accumulator: u32 = 0;
    var at: usize = 0;
    while (true) {
        const instruction = filter.code[at];
        at += 1;
        switch (instruction.code) {
            ld_word => accumulator = std.mem.readInt(u32, bytes[instruction.k..][0..4], .little),
            jump => at += instruction.k,
            jump_equal => at += if (accumulator == instruction.k) instruction.jt else instruction.jf,
            jump_greater_equal => at += if (accumulator >= instruction.k) instruction.jt else instruction.jf,
            jump_set => at += if (accumulator & instruction.k != 0) instruction.jt else instruction.jf,
            ret => return instruction.k,
            else => unreachable, // generate() uses no other
        }
    }
}

/// Our verdict's class, or null if the call is let through.
pub fn classOf(verdict: u32) ?Class {
    if (verdict & RET.ACTION_FULL != RET.TRACE) return null;
    return @fromBackingInt(@intCast(verdict & RET.DATA));
}

// ---------------------------------------------------------------------------------------------

const testing = std.testing;
const test_protected: syscalls.Protected = .{ 5, 4711 };

fn dataOf(arch: u32, number: u64, arguments: [6]u64) Data {
    return .{
        .nr = @bitCast(@as(u32, @truncate(number))),
        .arch = arch,
        .instruction_pointer = 0,
        .arg0 = arguments[0],
        .arg1 = arguments[1],
        .arg2 = arguments[2],
        .arg3 = arguments[3],
        .arg4 = arguments[4],
        .arg5 = arguments[5],
    };
}

fn says(arch: u32, number: u64, arguments: [6]u64) ?Class {
    return saysWith(.normal, arch, number, arguments);
}

fn saysWith(comptime detail: abi.Detail, arch: u32, number: u64, arguments: [6]u64) ?Class {
    const filter = comptime blk: {
        @setEvalBranchQuota(10_000);
        break :blk filterFor(detail, test_protected);
    };
    const d = dataOf(arch, number, arguments);
    return classOf(evaluate(&filter, &d));
}

/// The same decision in plain words, to compare the filter with.
fn expected(of: abi.Abi, detail: abi.Detail, number: u64, arguments: [6]u64) ?Class {
    switch (syscalls.verdict(of, detail, number)) {
        .not_watched => return null,
        .unknown => return .unknown,
        .watched => |index| {
            return if (syscalls.holds(syscalls.rows[index].when, of, &arguments, test_protected)) .row else null;
        },
    }
}

const telling = [_]u64{
    0,           1,           2,             3,                     4,                    5, 7, 8, 15, 0x8901, 0x8902, 0x20, 0x21, 0x22, 22, 38, 1030, 4711, 0x80_0000, 0x1000_0000, 0x7e02_0000, 0o100000,
    0x4004_9409, 0xffff_ffff, 0x1_0000_0000, 0xffff_ffff_0000_0000, std.math.maxInt(u64),
};

test "every number of every table, with telling arguments" {
    const tables = .{ .{ ptrace.audit.x86_64, abi.Abi.x86_64 }, .{ ptrace.audit.ia32, abi.Abi.i386 } };
    inline for (tables) |table| inline for (.{ .normal, .full }) |detail| {
        for (0..700) |number| {
            for (telling) |a| {
                for (telling) |b| {
                    const arguments: [6]u64 = .{ a, b, a, b, a, b };
                    errdefer std.debug.print("{t} {d} {any}\n", .{ table[1], number, arguments });
                    const wanted = expected(table[1], detail, number, arguments);
                    try testing.expectEqual(wanted, saysWith(detail, table[0], number, arguments));
                }
            }
        }
    };
}

test "the odd ends" {
    const zero: [6]u64 = @splat(0);
    try testing.expectEqual(Class.x32, says(ptrace.audit.x86_64, x32_bit | 2, zero));
    try testing.expectEqual(Class.x32, says(ptrace.audit.x86_64, 0xffff_fffe, zero));
    try testing.expectEqual(null, says(ptrace.audit.x86_64, 0xffff_ffff, zero));
    try testing.expectEqual(Class.unknown, says(ptrace.audit.x86_64, 0x3fff_ffff, zero));
    try testing.expectEqual(Class.unknown, says(ptrace.audit.ia32, 0xffff_ffff, zero));
    try testing.expectEqual(Class.unknown, says(ptrace.audit.arm, 1, zero));
    // A program built for a filter on numbers alone: open is 5 by int 0x80, and 5 is fstat here.
    try testing.expectEqual(Class.row, says(ptrace.audit.ia32, 5, zero));
    try testing.expectEqual(null, says(ptrace.audit.x86_64, 5, zero));
}

test "the kernel takes it, and without a tracer what is watched does not exist" {
    const pid = try sys.fork();
    if (pid == 0) {
        if (installFor(.{ .allow_without_no_new_privs = false, .protected = .{ 1, 2 }, .detail = .full }) == .failed) sys.exit(10);
        // open, and a clone that asks to be untraced: ENOSYS. A plain call and a plain mmap work.
        if (linux.errno(linux.openat(linux.AT.FDCWD, "/", .{}, 0)) != .NOSYS) sys.exit(11);
        if (linux.errno(linux.clone2(linux.CLONE.UNTRACED, 0)) != .NOSYS) sys.exit(12);
        if (linux.errno(linux.syscall1(.memfd_secret, 0)) != .NOSYS) sys.exit(13);
        if (linux.errno(linux.write(1, "", 0)) != .NOSYS) sys.exit(21);
        if (linux.getppid() == 0) sys.exit(14);
        const private = linux.mmap(null, 4096, .{ .READ = true, .WRITE = true }, .{ .TYPE = .PRIVATE, .ANONYMOUS = true }, -1, 0);
        if (linux.errno(private) != .SUCCESS) sys.exit(15);
        const code = linux.mmap(null, 4096, .{ .READ = true, .EXEC = true }, .{ .TYPE = .PRIVATE, .ANONYMOUS = true }, -1, 0);
        if (linux.errno(code) != .NOSYS) sys.exit(16);
        if (linux.errno(linux.dup3(1, 100, 0)) != .SUCCESS) sys.exit(17);
        if (linux.errno(linux.dup3(1, 2, 0)) != .NOSYS) sys.exit(18);
        if (linux.errno(linux.tgkill(2, 2, .CHLD)) != .NOSYS) sys.exit(19);
        if (linux.errno(linux.tgkill(linux.getpid(), linux.gettid(), .CHLD)) != .SUCCESS) sys.exit(20);
        sys.exit(0);
    }
    const waited = (try sys.wait(pid, 0)).?;
    try testing.expectEqual(@as(u32, 0), waited.status);
}
