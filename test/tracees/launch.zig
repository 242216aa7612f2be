//! Puts itself into a state and becomes another program: `launch [STATE…] -- PROGRAM ARGUMENT…`. What a test cannot say through
//! its own runtime (arguments that are not UTF-8, blocked signals, descriptor 9), it says here.
//!
//!   block=N  ignore=N            signal N
//!   close=N                      descriptor N
//!   file=N:PATH  append=N:PATH   opened for reading; for writing at the end
//!   pipe=N  socket=N             one end; the other one too, on N+1
//!   nofile=N  core=N  stack=N    soft limit
//!   cpu=N                        soft limit; seconds
//!   alarm=N                      SIGALRM after N seconds
//!   umask=OCTAL  nice=N  oom=N  slack=NS  directory=PATH
//!   clear-environment  env=HEX   HEX of `K=V`
//!   session                      setsid
//!
//! An argument `@HEX` after `--` stands for these bytes; `@` for the empty one.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

var argv: [256:null]?[*:0]const u8 = @splat(null);
var environment: [1024:null]?[*:0]const u8 = @splat(null);
var environment_count: usize = 0;
var storage: [64 * 1024]u8 = undefined;
var stored: usize = 0;

const State = enum {
    block,
    ignore,
    close,
    file,
    append,
    pipe,
    socket,
    nofile,
    core,
    stack,
    cpu,
    alarm,
    umask,
    nice,
    oom,
    slack,
    directory,
    @"clear-environment",
    env,
    session,
};

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    for (arguments.environment) |variable| addVariable(variable.?);
    var index: usize = 1;
    while (arguments.at(index)) |argument| : (index += 1) {
        if (std.mem.eql(u8, argument, "--")) break;
        const name = std.mem.sliceTo(argument, '=');
        const state = std.meta.stringToEnum(State, name) orelse t.fail(name, 0);
        apply(state, if (name.len < argument.len) argument[name.len + 1 ..] else "");
    }
    index += 1;
    var count: usize = 0;
    while (arguments.at(index)) |argument| : (index += 1) {
        argv[count] = if (argument.len > 0 and argument[0] == '@') fromHex(argument[1..]) else argument.ptr;
        count += 1;
    }
    const program = argv[0] orelse t.fail("launch … -- PROGRAM", 0);
    t.fail("execve", t.call(.execve, .{ program, &argv, &environment }));
}

fn apply(state: State, value: [:0]const u8) void {
    switch (state) {
        .block => {
            const mask = @as(u64, 1) << @intCast(decimal(value) - 1);
            _ = t.must(.rt_sigprocmask, .{ 0, &mask, null, 8 });
        },
        .ignore => {
            const action = [4]u64{ 1, 0, 0, 0 };
            _ = t.must(.rt_sigaction, .{ decimal(value), &action, null, 8 });
        },
        .close => t.close(@intCast(decimal(value))),
        .file => openAt(value, t.O.rdonly),
        .append => openAt(value, t.O.wronly | t.O.append | t.O.creat),
        .pipe => {
            var ends: [2]i32 = undefined;
            _ = t.must(.pipe2, .{ &ends, 0 });
            place(ends, decimal(value));
        },
        .socket => {
            var ends: [2]i32 = undefined;
            _ = t.must(.socketpair, .{ 1, 1, 0, &ends });
            place(ends, decimal(value));
        },
        .nofile => limit(7, decimal(value)),
        .core => limit(4, decimal(value)),
        .stack => limit(3, decimal(value)),
        .cpu => limit(0, decimal(value)),
        .alarm => {
            const once = [4]u64{ 0, 0, decimal(value), 0 };
            _ = t.must(.setitimer, .{ 0, &once, null });
        },
        .umask => _ = t.must(.umask, .{std.fmt.parseInt(u32, value, 8) catch t.fail("umask", 0)}),
        .nice => _ = t.must(.setpriority, .{ 0, 0, decimal(value) }),
        .oom => {
            const descriptor = t.open("/proc/self/oom_score_adj", t.O.wronly, 0);
            t.writeAll(descriptor, value);
            t.close(descriptor);
        },
        .slack => _ = t.must(.prctl, .{ 29, decimal(value), 0, 0, 0 }),
        .directory => _ = t.must(.chdir, .{value.ptr}),
        .@"clear-environment" => environment_count = 0,
        .env => addVariable(fromHex(value)),
        .session => _ = t.must(.setsid, .{}),
    }
    environment[environment_count] = null;
}

fn decimal(value: []const u8) u64 {
    return std.fmt.parseInt(u64, value, 10) catch t.fail(value, 0);
}

fn limit(resource: u32, soft: u64) void {
    var current: t.linux.rlimit = undefined;
    _ = t.must(.prlimit64, .{ 0, resource, null, &current });
    current.cur = soft;
    _ = t.must(.prlimit64, .{ 0, resource, &current, null });
}

/// `N:PATH`.
fn openAt(value: [:0]const u8, flags: u32) void {
    const name = std.mem.sliceTo(value, ':');
    const descriptor = t.open(value[name.len + 1 ..].ptr, flags, 0o644);
    move(descriptor, decimal(name));
}

fn place(ends: [2]i32, number: u64) void {
    move(@intCast(ends[0]), number);
    move(@intCast(ends[1]), number + 1);
}

fn move(descriptor: usize, number: u64) void {
    if (descriptor == number) return;
    _ = t.must(.dup2, .{ descriptor, number });
    t.close(descriptor);
}

fn addVariable(variable: [*:0]const u8) void {
    environment[environment_count] = variable;
    environment_count += 1;
}

fn fromHex(hex: []const u8) [*:0]const u8 {
    const bytes = std.fmt.hexToBytes(storage[stored..], hex) catch t.fail(hex, 0);
    storage[stored + bytes.len] = 0;
    defer stored += bytes.len + 1;
    return storage[stored .. stored + bytes.len :0].ptr;
}
