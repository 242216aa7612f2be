//! Prints everything that a process inherits, one property a line, in a form that two runs can be compared by.
//! What differs by nature between two runs (a pid, an inode number of a pipe) is for the test to leave out.
//! `inherit to=PATH …` writes there instead of to stdout, which may be closed.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

const linux = t.linux;
const own_descriptor = 50;

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    if (arguments.at(1)) |first| if (std.mem.startsWith(u8, first, "to=")) {
        const low = t.open(first[3..].ptr, t.O.wronly | t.O.creat | t.O.trunc, 0o644);
        // Out of the way of the descriptors under test, yet below the smallest limit that a test sets.
        t.output = t.must(.fcntl, .{ low, 0, own_descriptor }); // F_DUPFD
        t.close(low);
    };
    // First of all: what any further call might change.
    signals();
    descriptors();
    for (arguments.vector, 0..) |argument, i| bytes("argv", i, std.mem.span(argument));
    for (arguments.environment, 0..) |variable, i| bytes("environment", i, std.mem.span(variable.?));
    auxiliary(arguments);
    places();
    limits();
    identity();
    status();
    processControl();
    scheduling();
    terminal();
    children();
    for (proc_files) |name| file(name);
    namespaces();
}

fn number(name: []const u8, value: anytype) void {
    var line: t.Line = .{};
    line.begin("inherited").text("name", name).number("value", value).end();
}

fn indexed(name: []const u8, index: usize, value: anytype) void {
    var line: t.Line = .{};
    line.begin("inherited").text("name", name).number("index", index).number("value", value).end();
}

fn text(name: []const u8, value: []const u8) void {
    var line: t.Line = .{};
    line.begin("inherited").text("name", name).text("value", value).end();
}

fn bytes(name: []const u8, index: usize, value: []const u8) void {
    var line: t.Line = .{};
    line.begin("inherited").text("name", name).number("index", index).hex("value", value[0..@min(value.len, 7000)]).number("length", value.len).end();
}

/// Dispositions, mask, pending, alternate stack, timers.
fn signals() void {
    for (1..65) |signal| {
        var action: [4]u64 = @splat(0);
        if (t.call(.rt_sigaction, .{ signal, null, &action, 8 }) < 0) continue;
        if (action[0] != 0 or action[1] != 0 or action[3] != 0) {
            var line: t.Line = .{};
            line.begin("inherited").text("name", "disposition").number("index", signal).number("value", action[0])
                .number("flags", action[1]).number("mask", action[3]).end();
        }
    }
    var set: u64 = 0;
    _ = t.must(.rt_sigprocmask, .{ 0, null, &set, 8 });
    number("signal mask", set);
    _ = t.must(.rt_sigpending, .{ &set, 8 });
    number("signals pending", set);
    var stack: [3]u64 = @splat(0);
    _ = t.must(.sigaltstack, .{ null, &stack });
    number("alternate stack flags", stack[1] & 0xffffffff);
    for (0..3) |i| {
        var timer: [4]i64 = @splat(0);
        _ = t.must(.getitimer, .{ i, &timer });
        indexed("interval timer set", i, @intFromBool(timer[2] != 0 or timer[3] != 0));
    }
}

/// Every open descriptor with all that fstat, fcntl and fdinfo say.
fn descriptors() void {
    var listed: [1024]u32 = undefined;
    var count: usize = 0;
    for (0..1024) |descriptor| {
        if (t.call(.fcntl, .{ descriptor, 1, 0 }) >= 0) { // F_GETFD
            listed[count] = @intCast(descriptor);
            count += 1;
        }
    }
    for (listed[0..count]) |descriptor| if (descriptor != t.output or t.output == 1) describe(descriptor);
    // Above that the directory tells, since a limit may be high.
    const directory = t.call(.openat, .{ t.at_cwd, "/proc/self/fd", t.O.rdonly | t.O.directory, 0 });
    if (directory < 0) return;
    var buffer: [4096]u8 align(8) = undefined;
    var high: usize = 0;
    while (true) {
        const length = t.must(.getdents64, .{ directory, &buffer, buffer.len });
        if (length == 0) break;
        var position: usize = 0;
        while (position < length) {
            const record_length = std.mem.readInt(u16, buffer[position + 16 ..][0..2], .little);
            const name = std.mem.sliceTo(buffer[position + 19 .. position + record_length], 0);
            const value = std.fmt.parseInt(u32, name, 10) catch 0;
            if (value >= 1024) high += 1;
            position += record_length;
        }
    }
    number("descriptors above 1023", high);
    t.close(@intCast(directory));
}

fn describe(descriptor: u32) void {
    var line: t.Line = .{};
    var path: [64]u8 = undefined;
    var link: [4096]u8 = undefined;
    const length = t.call(.readlink, .{ t.format(&path, "/proc/self/fd/{d}", .{descriptor}).ptr, &link, link.len });
    var stat: linux.Statx = undefined;
    const known = t.call(.statx, .{ descriptor, "", t.at_empty_path, 0x7ff, &stat }) == 0;
    var termios: [64]u8 = undefined;
    _ = line.begin("inherited").text("name", "descriptor").number("index", descriptor)
        .text("link", if (length > 0) link[0..@intCast(length)] else "?")
        .number("flags", t.call(.fcntl, .{ descriptor, 3, 0 })) // F_GETFL
        .number("descriptorFlags", t.call(.fcntl, .{ descriptor, 1, 0 }))
        .number("offset", t.call(.lseek, .{ descriptor, 0, 1 }))
        .number("owner", t.call(.fcntl, .{ descriptor, 9, 0 }))
        .number("leaseOrSignal", t.call(.fcntl, .{ descriptor, 11, 0 })) // F_GETSIG
        .boolean("terminal", t.call(.ioctl, .{ descriptor, 0x5401, &termios }) == 0);
    if (known) {
        _ = line.number("mode", stat.mode).number("inode", stat.ino).number("device", stat.dev_major << 20 | stat.dev_minor)
            .number("represents", stat.rdev_major << 20 | stat.rdev_minor).number("size", stat.size);
    }
    var window: [4]u16 = @splat(0);
    if (t.call(.ioctl, .{ descriptor, 0x5413, &window }) == 0) _ = line.number("rows", window[0]).number("columns", window[1]);
    line.end();
}

fn auxiliary(arguments: t.Arguments) void {
    // The vector lies behind the environment's final null.
    var entry: [*]const usize = @ptrCast(arguments.environment.ptr + arguments.environment.len + 1);
    while (entry[0] != 0) : (entry += 2) switch (entry[0]) {
        11...14, 23 => indexed("auxiliary vector", entry[0], entry[1]), // uids, gids, AT_SECURE
        31 => text("executable", std.mem.span(@as([*:0]const u8, @ptrFromInt(entry[1])))),
        else => {},
    };
}

fn places() void {
    var buffer: [4096]u8 = undefined;
    const length = t.call(.getcwd, .{ &buffer, buffer.len });
    if (length > 0) bytes("working directory", 0, buffer[0..@intCast(length - 1)]) else number("working directory", length);
    for ([_][:0]const u8{ "/proc/self/root", "/proc/self/exe" }) |link| {
        const size = t.call(.readlink, .{ link.ptr, &buffer, buffer.len });
        text(link, if (size > 0) buffer[0..@intCast(size)] else "?");
    }
    const mask = t.must(.umask, .{0});
    _ = t.must(.umask, .{mask});
    number("umask", mask);
}

fn limits() void {
    for (0..16) |resource| {
        var limit: linux.rlimit = undefined;
        _ = t.must(.prlimit64, .{ 0, resource, null, &limit });
        var line: t.Line = .{};
        line.begin("inherited").text("name", "limit").number("index", resource).number("value", limit.cur).number("maximum", limit.max).end();
    }
}

fn identity() void {
    var ids: [3]u32 = undefined;
    _ = t.must(.getresuid, .{ &ids[0], &ids[1], &ids[2] });
    for (ids, 0..) |id, i| indexed("uid", i, id);
    _ = t.must(.getresgid, .{ &ids[0], &ids[1], &ids[2] });
    for (ids, 0..) |id, i| indexed("gid", i, id);
    var groups: [256]u32 = undefined;
    const count = t.must(.getgroups, .{ groups.len, &groups });
    for (groups[0..count], 0..) |group, i| indexed("group", i, group);
    number("parent", t.must(.getppid, .{}));
    number("process group", t.must(.getpgid, .{0}));
    number("session", t.must(.getsid, .{0}));
    number("leads its process group", @intFromBool(t.must(.getpgid, .{0}) == t.pid()));
    number("session keyring", t.call(.keyctl, .{ 0, -3, 0 })); // KEYCTL_GET_KEYRING_ID
}

/// Lines of /proc/self/status that are inherited or say who holds us.
const status_lines = [_][]const u8{
    "Umask",       "TracerPid",   "Groups",          "Threads",                  "SigPnd",                    "ShdPnd",       "SigBlk",
    "SigIgn",      "SigCgt",      "CapInh",          "CapPrm",                   "CapEff",                    "CapBnd",       "CapAmb",
    "NoNewPrivs",  "Seccomp",     "Seccomp_filters", "Speculation_Store_Bypass", "SpeculationIndirectBranch", "Cpus_allowed", "Mems_allowed",
    "THP_enabled", "CoreDumping",
};

fn status() void {
    var buffer: [8192]u8 = undefined;
    const content = slurp("/proc/self/status", &buffer) orelse return;
    var lines = std.mem.splitScalar(u8, content, '\n');
    while (lines.next()) |line| {
        const colon = std.mem.findScalar(u8, line, ':') orelse continue;
        for (status_lines) |name| {
            if (std.mem.eql(u8, name, line[0..colon])) text(name, std.mem.trim(u8, line[colon + 1 ..], " \t"));
        }
    }
}

fn slurp(path: [*:0]const u8, buffer: []u8) ?[]const u8 {
    const descriptor = t.call(.openat, .{ t.at_cwd, path, t.O.rdonly, 0 });
    if (descriptor < 0) return null;
    defer t.close(@intCast(descriptor));
    var length: usize = 0;
    while (length < buffer.len) {
        const result = t.call(.read, .{ descriptor, buffer[length..].ptr, buffer.len - length });
        if (result < 0) return null;
        if (result == 0) break;
        length += @intCast(result);
    }
    return buffer[0..length];
}

fn processControl() void {
    const answers = [_]struct { name: []const u8, option: u32 }{
        .{ .name = "dumpable", .option = 3 },
        .{ .name = "keepcaps", .option = 7 },
        .{ .name = "timing", .option = 13 },
        .{ .name = "seccomp", .option = 21 },
        .{ .name = "securebits", .option = 27 },
        .{ .name = "timer slack", .option = 30 },
        .{ .name = "machine check policy", .option = 34 },
        .{ .name = "no new privileges", .option = 39 },
        .{ .name = "huge pages disabled", .option = 42 },
    };
    for (answers) |row| number(row.name, t.call(.prctl, .{ row.option, 0, 0, 0, 0 }));
    const stored = [_]struct { name: []const u8, option: u32 }{
        .{ .name = "parent death signal", .option = 2 },
        .{ .name = "time stamp counter", .option = 25 },
        .{ .name = "child subreaper", .option = 37 },
    };
    for (stored) |row| {
        var value: u32 = 0;
        if (t.call(.prctl, .{ row.option, &value, 0, 0, 0 }) == 0) number(row.name, value);
    }
    var name: [16]u8 = @splat(0);
    _ = t.must(.prctl, .{ 16, &name });
    text("comm", std.mem.sliceTo(&name, 0));
    for (0..3) |i| indexed("speculation control", i, t.call(.prctl, .{ 52, i, 0, 0, 0 }));
}

fn scheduling() void {
    number("nice", t.call(.getpriority, .{ 0, 0 }));
    number("io priority", t.call(.ioprio_get, .{ 1, 0 }));
    number("policy", t.call(.sched_getscheduler, .{0}));
    number("personality", t.call(.personality, .{0xffffffff}));
    var set: [128]u8 = @splat(0);
    const length = t.call(.sched_getaffinity, .{ 0, set.len, &set });
    if (length > 0) bytes("affinity", 0, set[0..@intCast(length)]);
    var mode: i32 = -1;
    if (t.call(.get_mempolicy, .{ &mode, null, 0, 0, 0 }) == 0) number("memory policy", mode);
}

/// Of the controlling terminal, when there is one.
fn terminal() void {
    var buffer: [1024]u8 = undefined;
    const content = slurp("/proc/self/stat", &buffer) orelse return;
    const end = std.mem.findScalarLast(u8, content, ')') orelse return;
    var fields = std.mem.tokenizeScalar(u8, content[end + 1 ..], ' ');
    var index: usize = 3; // the state is field 3
    while (fields.next()) |field| : (index += 1) switch (index) {
        7 => text("terminal device", field),
        8 => text("foreground process group", field),
        else => {},
    };
    const descriptor = t.call(.openat, .{ t.at_cwd, "/dev/tty", t.O.rdonly, 0 });
    number("controlling terminal", @intFromBool(descriptor >= 0));
    if (descriptor < 0) return;
    var group: i32 = 0;
    if (t.call(.ioctl, .{ descriptor, 0x540f, &group }) == 0) // TIOCGPGRP
        number("in the foreground", @intFromBool(group == @as(i32, @intCast(t.must(.getpgid, .{0})))));
    var termios: [64]u8 = @splat(0);
    if (t.call(.ioctl, .{ descriptor, 0x5401, &termios }) == 0) bytes("terminal settings", 0, termios[0..36]);
    t.close(@intCast(descriptor));
}

/// A process that was exec'd in place of a shell could have children it never made: we must have none.
fn children() void {
    number("children", t.call(.wait4, .{ -1, null, 0x40000001, null })); // WNOHANG | __WALL
}

const proc_files = [_][*:0]const u8{
    "/proc/self/oom_score_adj", "/proc/self/coredump_filter", "/proc/self/loginuid",  "/proc/self/sessionid",
    "/proc/self/cgroup",        "/proc/self/uid_map",         "/proc/self/setgroups", "/proc/self/timens_offsets",
    "/proc/self/attr/current",  "/proc/self/timerslack_ns",
};

fn file(path: [*:0]const u8) void {
    var buffer: [4096]u8 = undefined;
    text(std.mem.span(path), slurp(path, &buffer) orelse "?");
}

fn namespaces() void {
    for ([_][]const u8{ "cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "time", "time_for_children", "user", "uts" }) |name| {
        var path: [64]u8 = undefined;
        var link: [64]u8 = undefined;
        const length = t.call(.readlink, .{ t.format(&path, "/proc/self/ns/{s}", .{name}).ptr, &link, link.len });
        text(name, if (length > 0) link[0..@intCast(length)] else "?");
    }
}
