//! Does to files what a text says, in several processes that take turns: `filework TEXT`. Each line is one step: the number of the
//! process that makes it, what it does, and its words.
//!
//!     fork P                    from now on there is a process P, with a copy of our descriptors and maps
//!     exit                      the next step comes when it is gone
//!     open D NAME FLAGS         as slot D; FLAGS: one of r w b (both), then t (truncate) a (append) c (create) in any order
//!     tmpfile D                 without a name, here
//!     linkfd D NAME
//!     write D TEXT COUNT        TEXT, COUNT times
//!     pwrite D OFFSET TEXT
//!     copy FROM TO LENGTH       copy_file_range, at the descriptors' offsets
//!     sendfile FROM TO LENGTH
//!     ftruncate D LENGTH
//!     truncate NAME LENGTH
//!     map M D                   the first page, shared and writable
//!     mapread M D               the same, readable at first and made writable by mprotect
//!     store M OFFSET TEXT       through a map
//!     unmap M
//!     close D
//!     send P D                  with SCM_RIGHTS, and in P: recv D
//!     rename A B, exchange A B, link A B, unlink A
//!     oldtime A                 sets its mtime to one second after the epoch
//!     sleep MILLISECONDS
//!
//! Every step must succeed: who writes the text knows what will.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;
const linux = t.linux;

const process_max = 16;
const slot_max = 16;
const page = 4096;

const Shared = extern struct {
    step: u32 = 0,
    pids: [process_max]i32 = @splat(0),
};

var shared: *Shared = undefined;
/// For each process: it receives at the second end.
var pairs: [process_max][2]i32 = undefined;
var descriptors: [slot_max]usize = undefined;
var maps: [slot_max][*]u8 = undefined;
var own: u32 = 0;

const Words = std.mem.TokenIterator(u8, .scalar);

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    const program = arguments.at(1) orelse t.fail("no text given", 0);
    shared = @ptrFromInt(t.must(.mmap, .{ 0, page, 3, 0x21, -1, 0 })); // shared, anonymous
    shared.* = .{};
    shared.pids[0] = t.pid();
    for (&pairs) |*pair| _ = t.must(.socketpair, .{ 1, 1, 0, pair });
    var lines = std.mem.tokenizeScalar(u8, program, '\n');
    var index: u32 = 0;
    while (lines.next()) |line| : (index += 1) {
        var words = std.mem.tokenizeScalar(u8, line, ' ');
        const who = number(&words);
        const what = words.next() orelse t.fail("no step", index);
        const is_end = std.mem.eql(u8, what, "exit");
        // The first process sees to it that the others are gone.
        if (who != own and !(is_end and own == 0)) continue;
        waitFor(index);
        if (is_end) {
            if (who == own) t.exit(0);
            _ = t.reap(shared.pids[who]);
        } else if (std.mem.eql(u8, what, "fork")) {
            const child = number(&words);
            const pid = forkForFirst();
            if (pid == 0) {
                own = child;
                continue;
            }
            shared.pids[child] = pid;
        } else do(what, &words);
        @atomicStore(u32, &shared.step, index + 1, .seq_cst);
        _ = t.call(.futex, .{ &shared.step, 1, std.math.maxInt(i32), null, null, 0 });
    }
    waitFor(index);
    if (own != 0) t.exit(0);
    for (shared.pids, 0..) |pid, process| {
        var line: t.Line = .{};
        if (pid != 0) line.begin("answer").text("what", "process").number("value", @as(u64, process) << 32 | @as(u32, @intCast(pid))).end();
    }
}

fn waitFor(index: u32) void {
    while (true) {
        const step = @atomicLoad(u32, &shared.step, .seq_cst);
        if (step >= index) return;
        _ = t.call(.futex, .{ &shared.step, 0, step, null, null, 0 });
    }
}

/// All are children of the first, which can so wait for any of them: only then has a tracer seen the end too.
fn forkForFirst() i32 {
    const parents: u32 = if (own == 0) 0 else linux.CLONE.PARENT;
    return @intCast(t.must(.clone, .{ parents | @backingInt(t.SIG.CHLD), 0, 0, 0, 0 }));
}

fn number(words: *Words) u32 {
    return std.fmt.parseInt(u32, words.next() orelse t.fail("a number is missing", 0), 10) catch t.fail("not a number", 0);
}

var names: [2][256]u8 = undefined;

fn name(words: *Words, which: u1) [*:0]const u8 {
    return t.format(&names[which], "{s}", .{words.next() orelse t.fail("a name is missing", 0)}).ptr;
}

fn slot(words: *Words) usize {
    return descriptors[number(words)];
}

const Step = enum {
    open,
    tmpfile,
    linkfd,
    write,
    pwrite,
    copy,
    sendfile,
    ftruncate,
    truncate,
    map,
    mapread,
    store,
    unmap,
    close,
    send,
    recv,
    rename,
    exchange,
    link,
    unlink,
    oldtime,
    sleep,
};

fn do(what: []const u8, words: *Words) void {
    switch (std.meta.stringToEnum(Step, what) orelse t.fail("no such step", 0)) {
        .open => {
            const index = number(words);
            const path = name(words, 0);
            descriptors[index] = t.open(path, flagsOf(words.next() orelse ""), 0o644);
        },
        .tmpfile => descriptors[number(words)] = t.open(".", t.O.rdwr | t.O.tmpfile, 0o644),
        .linkfd => {
            var link: [64]u8 = undefined;
            const own_link = t.format(&link, "/proc/self/fd/{d}", .{slot(words)});
            _ = t.must(.linkat, .{ t.at_cwd, own_link.ptr, t.at_cwd, name(words, 0), t.at_symlink_follow });
        },
        .write => write(words),
        .pwrite => {
            const descriptor = slot(words);
            const offset = number(words);
            const text = words.next().?;
            _ = t.must(.pwrite64, .{ descriptor, text.ptr, text.len, offset });
        },
        .copy => {
            const from = slot(words);
            const to = slot(words);
            const length = number(words);
            if (t.must(.copy_file_range, .{ from, null, to, null, length, 0 }) != length) t.fail("copied less", 0);
        },
        .sendfile => {
            const from = slot(words);
            const to = slot(words);
            const length = number(words);
            if (t.must(.sendfile, .{ to, from, null, length }) != length) t.fail("sent less", 0);
        },
        .ftruncate => _ = t.must(.ftruncate, .{ slot(words), number(words) }),
        .truncate => {
            const path = name(words, 0);
            _ = t.must(.truncate, .{ path, number(words) });
        },
        .map => {
            const index = number(words);
            maps[index] = @ptrFromInt(t.must(.mmap, .{ 0, page, 3, 1, slot(words), 0 }));
        },
        .mapread => {
            const index = number(words);
            maps[index] = @ptrFromInt(t.must(.mmap, .{ 0, page, 1, 1, slot(words), 0 }));
            _ = t.must(.mprotect, .{ maps[index], page, 3 });
        },
        .store => {
            const index = number(words);
            const offset = number(words);
            const text = words.next().?;
            @memcpy(maps[index][offset..][0..text.len], text);
        },
        .unmap => _ = t.must(.munmap, .{ maps[number(words)], page }),
        .close => t.close(slot(words)),
        .send => {
            const to = number(words);
            t.sendDescriptor(@intCast(pairs[to][0]), slot(words));
        },
        .recv => descriptors[number(words)] = t.receiveDescriptor(@intCast(pairs[own][1])),
        .rename => _ = t.must(.rename, .{ name(words, 0), name(words, 1) }),
        .exchange => _ = t.must(.renameat2, .{ t.at_cwd, name(words, 0), t.at_cwd, name(words, 1), 2 }),
        .link => _ = t.must(.link, .{ name(words, 0), name(words, 1) }),
        .unlink => _ = t.must(.unlink, .{name(words, 0)}),
        .oldtime => {
            const times: [2]linux.timespec = @splat(.{ .sec = 1, .nsec = 0 });
            _ = t.must(.utimensat, .{ t.at_cwd, name(words, 0), &times, 0 });
        },
        .sleep => t.sleepMs(number(words)),
    }
}

fn flagsOf(letters: []const u8) u32 {
    var flags: u32 = 0;
    for (letters) |letter| flags |= switch (letter) {
        'r' => t.O.rdonly,
        'w' => t.O.wronly,
        'b' => t.O.rdwr,
        't' => t.O.trunc,
        'a' => t.O.append,
        'c' => t.O.creat,
        else => t.fail("no such flag", letter),
    };
    return flags;
}

fn write(words: *Words) void {
    const descriptor = slot(words);
    const text = words.next().?;
    var buffer: [8192]u8 = undefined;
    const count = number(words);
    const fitting = buffer.len / text.len;
    for (0..fitting) |i| @memcpy(buffer[i * text.len ..][0..text.len], text);
    var left: usize = count;
    while (left > 0) {
        const now = @min(left, fitting);
        t.writeAll(descriptor, buffer[0 .. now * text.len]);
        left -= now;
    }
}
