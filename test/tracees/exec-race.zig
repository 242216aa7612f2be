//! Scripts whose path leads to another one while they are executed: `exec-race names|links|memory|directory|shared|quiet ROUNDS`. Each script's `#!` line has its
//! name as the interpreter's argument, so argv says which one the kernel has read. The interpreter is this program.
//! names: a child exchanges both files' names. links: it exchanges two symbolic links to their directories. memory: a thread
//! changes the path in memory. directory: it changes the working directory. shared: a
//! process does that has it in common (CLONE_FS). quiet: nothing changes, but for names that have nothing to do with it.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

const Mode = enum { names, links, memory, directory, shared, quiet };
const exchange = 2; // RENAME_EXCHANGE

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    const word = arguments.at(1) orelse t.fail("exec-race MODE ROUNDS", 0);
    if (std.mem.startsWith(u8, word, "script-")) t.exit(0); // the image that was started
    const mode = std.meta.stringToEnum(Mode, word) orelse t.fail("mode", 0);
    const rounds = arguments.number(2, 100);
    for ([_][*:0]const u8{ "a", "b" }) |directory| _ = t.must(.mkdir, .{ directory, 0o755 });
    _ = t.must(.symlink, .{ "a", "here" });
    _ = t.must(.symlink, .{ "b", "there" });
    for ([_][]const u8{ "one", "a/same", "script-1" }) |name| make(name, "script-1", arguments.at(0).?);
    for ([_][]const u8{ "two", "b/same", "script-2" }) |name| make(name, "script-2", arguments.at(0).?);

    const stop: *u32 = @ptrFromInt(t.must(.mmap, .{ 0, 4096, 3, 0x21, -1, 0 })); // MAP_SHARED | MAP_ANONYMOUS
    const by_thread = mode == .memory or mode == .directory or mode == .shared;
    const changer: i32 = if (by_thread) 0 else t.fork();
    if (!by_thread and changer == 0) change(mode, stop);
    for (0..rounds) |_| {
        const child = t.fork();
        if (child == 0) start(mode, arguments.environment.ptr);
        if (t.reap(child) != 0) t.fail("the started script's status", 0);
    }
    if (changer == 0) return;
    @atomicStore(u32, stop, 1, .release);
    _ = t.reap(changer);
}

fn make(name: []const u8, said: []const u8, interpreter: []const u8) void {
    var path: [64]u8 = undefined;
    var text: [4200]u8 = undefined;
    const descriptor = t.open(t.format(&path, "{s}", .{name}).ptr, t.O.wronly | t.O.creat | t.O.trunc, 0o755);
    t.writeAll(descriptor, t.format(&text, "#!{s} {s}\n", .{ interpreter, said }));
    t.close(descriptor);
}

fn change(mode: Mode, stop: *u32) noreturn {
    const pair: [2][*:0]const u8 = switch (mode) {
        .names => .{ "one", "two" },
        .links => .{ "here", "there" },
        .memory, .directory, .shared, .quiet => .{ "script-1", "script-2" },
    };
    while (@atomicLoad(u32, stop, .acquire) == 0) _ = t.must(.renameat2, .{ t.at_cwd, pair[0], t.at_cwd, pair[1], exchange });
    t.exit(0);
}

const one: u64 = @bitCast(@as([8]u8, "script-1".*));
const two: u64 = @bitCast(@as([8]u8, "script-2".*));
/// An absolute path whose last eight bytes are one word, and the NUL.
var path_words: [512]u64 align(8) = @splat(0);
var name_at: usize = 0;

fn makePath() [*:0]const u8 {
    var buffer: [4096]u8 = undefined;
    const directory = t.workingDirectory(&buffer);
    const bytes = std.mem.sliceAsBytes(&path_words);
    name_at = directory.len / 8 + 1;
    @memset(bytes[0 .. name_at * 8], '/');
    @memcpy(bytes[name_at * 8 - 1 - directory.len ..][0..directory.len], directory);
    path_words[name_at] = one;
    return @ptrCast(bytes.ptr);
}

fn start(mode: Mode, environment: [*:null]const ?[*:0]const u8) noreturn {
    const path: [*:0]const u8 = switch (mode) {
        .names, .quiet => "one",
        .links => "here/same",
        .shared => blk: {
            _ = t.must(.chdir, .{"a"});
            if (t.must(.clone, .{ t.linux.CLONE.FS | 17, 0, 0, 0, 0 }) == 0) { // SIGCHLD
                _ = wander(500);
                t.exit(0);
            }
            break :blk "same";
        },
        .directory => blk: {
            var flipper: t.Thread = .{};
            _ = t.must(.chdir, .{"a"});
            flipper.start(wander, 0);
            break :blk "same";
        },
        .memory => blk: {
            const path = makePath();
            var flipper: t.Thread = .{};
            flipper.start(flip, 0);
            break :blk path;
        },
    };
    const argv = [_:null]?[*:0]const u8{"script"};
    const result = t.call(.execve, .{ path, &argv, environment });
    t.fail("execve", result);
}

fn flip(_: usize) callconv(.c) u8 {
    while (true) {
        @atomicStore(u64, &path_words[name_at], two, .monotonic);
        @atomicStore(u64, &path_words[name_at], one, .monotonic);
    }
}

/// `rounds` 0: until the process ends.
fn wander(rounds: usize) callconv(.c) u8 {
    var round: usize = 0;
    while (rounds == 0 or round < rounds) : (round += 1) {
        for ([_][*:0]const u8{ "../b", "../a" }) |directory| _ = t.call(.chdir, .{directory});
    }
    return 0;
}
