//! Names of renames and deletions that change between a tracer's reading and the kernel's: `rename-race MODE ROUNDS`. What the
//! kernel has done is looked at afterwards, and told.
//!   rename, unlink: a thread changes the path in memory.
//!   shared: a process does, in memory that both have mapped.
//!   cloned: a process does that has its memory in common (CLONE_VM).
//!   target: as rename, but it is the new name that changes.
//!   exec: as rename, while scripts are executed by the name that is exchanged so, as in exec-race.
//!   quiet: as rename, but nothing changes, and another process exchanges and deletes names in the same directory.
//!   still: one rename of `low`, which is there, and another thread that does nothing.
//!   flicker: files are deleted that another process makes all the time: one that was not there when a tracer looked can be when the kernel does.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

const Mode = enum { rename, unlink, target, shared, cloned, exec, quiet, still, flicker };

const said: u64 = @bitCast(@as([8]u8, "harmless".*));
const done: u64 = @bitCast(@as([8]u8, "wanted!!".*));
const exchange = 2; // RENAME_EXCHANGE

/// Eight bytes at once, and the NUL; in memory that children share.
var name: *[2]u64 = undefined;
/// Shared with children.
var stop: *u32 = undefined;
var line: t.Line = .{};

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    const word = arguments.at(1) orelse t.fail("rename-race MODE ROUNDS", 0);
    if (std.mem.startsWith(u8, word, "script-")) t.exit(0); // the image that was started
    const mode = std.meta.stringToEnum(Mode, word) orelse t.fail("mode", 0);
    const rounds = arguments.number(2, 100);
    const shared: u32 = if (mode == .shared) 1 else 2; // MAP_SHARED, MAP_PRIVATE
    name = @ptrFromInt(t.must(.mmap, .{ 0, 4096, 3, 0x20 | shared, -1, 0 }));
    name.* = .{ said, 0 };
    stop = @ptrFromInt(t.must(.mmap, .{ 0, 4096, 3, 0x21, -1, 0 })); // MAP_SHARED | MAP_ANONYMOUS
    if (mode == .exec) return executeAll(arguments, rounds);
    if (mode == .still) return moveOne();
    if (mode == .flicker) return flicker(rounds);
    var flipper: t.Thread = .{};
    var helper: i32 = 0;
    switch (mode) {
        .rename, .unlink, .target => flipper.start(flip, 0),
        .shared, .quiet => {
            helper = t.fork();
            if (helper == 0) {
                if (mode == .shared) _ = flip(0) else bustle();
                t.exit(0);
            }
        },
        .cloned => {}, // each by itself
        .exec, .still, .flicker => unreachable, // above
    }
    // Processes of one call each, so that each is told apart.
    for (0..rounds) |_| {
        const child = t.fork();
        if (child == 0) once(mode);
        _ = t.reap(child);
    }
    line.begin("answer").text("what", "done").number("value", 0).end();
    @atomicStore(u32, stop, 1, .release);
    if (helper != 0) _ = t.reap(helper);
    t.exit(0);
}

fn once(mode: Mode) noreturn {
    var directory: [32]u8 = undefined;
    const own = t.format(&directory, "of-{d}", .{t.pid()});
    _ = t.must(.mkdir, .{ own.ptr, 0o755 });
    _ = t.must(.chdir, .{own.ptr});
    for ([_][*:0]const u8{ "harmless", "wanted!!" }) |each| if (mode != .target) t.makeFile(each, "a file\n");
    if (mode == .target) t.makeFile("old", "a file\n");
    var flipper: t.Thread = .{};
    if (mode == .rename or mode == .unlink or mode == .target) flipper.start(flip, 0); // its memory is a copy
    var other: i32 = 0;
    if (mode == .cloned) {
        const stack = t.memory(t.stack_size);
        const flags = t.linux.CLONE.VM | @as(u32, @backingInt(t.SIG.CHLD));
        other = @intCast(@as(isize, @bitCast(t.linux.clone(flip, @intFromPtr(stack) + t.stack_size, flags, 0, null, 0, null))));
        if (other < 0) t.fail("clone", other);
    }
    const result = switch (mode) {
        .unlink => t.call(.unlink, .{name}),
        .target => t.call(.rename, .{ "old", name }),
        else => t.call(.rename, .{ name, "new" }),
    };
    if (result < 0) t.fail("the call", result);
    const is_there = t.call(.access, .{ if (mode == .target) "wanted!!" else "harmless", 0 }) == 0;
    if (is_there) line.begin("answer").text("what", "changed").number("value", t.pid()).end();
    if (other != 0) {
        @atomicStore(u32, &is_over, 1, .release);
        _ = t.reap(other);
    }
    t.exit(0);
}

/// Of this process's memory.
var is_over: u32 = 0;

fn flip(_: usize) callconv(.c) u8 {
    while (@atomicLoad(u32, stop, .acquire) == 0 and @atomicLoad(u32, &is_over, .acquire) == 0) {
        @atomicStore(u64, &name[0], done, .monotonic);
        @atomicStore(u64, &name[0], said, .monotonic);
    }
    return 0;
}

fn moveOne() void {
    var waiter: t.Thread = .{};
    waiter.start(wait, 0);
    _ = t.must(.rename, .{ "low", "moved" });
    t.exit(0);
}

fn wait(_: usize) callconv(.c) u8 {
    while (true) _ = t.call(.pause, .{});
}

fn flicker(rounds: u64) void {
    const maker = t.fork();
    if (maker == 0) {
        while (@atomicLoad(u32, stop, .acquire) == 0) t.close(t.open("flickers", t.O.wronly | t.O.creat, 0o600));
        t.exit(0);
    }
    var deleted: u64 = 0;
    while (deleted < rounds) {
        if (t.call(.unlink, .{"flickers"}) >= 0) deleted += 1;
    }
    line.begin("answer").text("what", "done").number("value", 0).end();
    @atomicStore(u32, stop, 1, .release);
    _ = t.reap(maker);
}

/// What others may do at any time: files that come and go under the same names as elsewhere.
fn bustle() void {
    while (@atomicLoad(u32, stop, .acquire) == 0) {
        t.makeFile("temporary", "");
        _ = t.must(.rename, .{ "temporary", "harmless" });
        _ = t.must(.unlink, .{"harmless"});
    }
}

// ---------------------------------------------------------------------------------------------

fn executeAll(arguments: t.Arguments, rounds: u64) void {
    make("wanted!!", "script-1", arguments.at(0).?);
    make("other", "script-2", arguments.at(0).?);
    t.makeFile("harmless", "not executed\n");
    const changer = t.fork();
    if (changer == 0) {
        var flipper: t.Thread = .{};
        flipper.start(flip, 0);
        // Both are there in any case, so that it succeeds whichever the kernel takes.
        while (@atomicLoad(u32, stop, .acquire) == 0) _ = t.must(.renameat2, .{ t.at_cwd, name, t.at_cwd, "other", exchange });
        t.exit(0);
    }
    for (0..rounds) |_| {
        const child = t.fork();
        if (child == 0) {
            const argv = [_:null]?[*:0]const u8{"script"};
            _ = t.call(.execve, .{ "wanted!!", &argv, arguments.environment.ptr });
            t.exit(0); // what is there was not a script
        }
        _ = t.reap(child);
    }
    @atomicStore(u32, stop, 1, .release);
    _ = t.reap(changer);
    line.begin("answer").text("what", "done").number("value", 0).end();
}

fn make(path: [*:0]const u8, argument: []const u8, interpreter: []const u8) void {
    var text: [4200]u8 = undefined;
    const descriptor = t.open(path, t.O.wronly | t.O.creat | t.O.trunc, 0o755);
    t.writeAll(descriptor, t.format(&text, "#!{s} {s}\n", .{ interpreter, argument }));
    t.close(descriptor);
}
