//! Calls that may give a name to another file: those under way, and those that have just ended.
//!
//! The kernel looks a program up between two of our looks at its path. That both found the same file says something only
//! if nobody has exchanged a name of that path meanwhile, there and back. Everybody who could is traced, so it is known:
//!
//!     exec's entry: mark() ──▶ [ the kernel looks the path up ] ──▶ exec's event: since(mark)
//!          rename's stop ──▶ begin()   [ done somewhere here ]   end() ◀── rename's exit
//!
//! Only names are compared, not directories: a change of another file of the same name counts too, which is rare and harmless.
const std = @import("std");
const linux = std.os.linux;
const decode = @import("decode.zig");
const paths = @import("paths.zig");
const sys = @import("sys.zig");
const syscalls = @import("syscalls.zig");
const assert = std.debug.assert;

/// Changes that are remembered one by one. A machine that is short of memory or slow with its disk holds up an exec for seconds, in which
/// others go on renaming: of those before only a hash of each name is left, shared by a few.
pub const changes_max = 32768;
const past_max = 1 << 16;
/// Symbolic links of one path (MAXSYMLINKS).
const links_max = 40;

/// Of an exec, and its place among the changes.
pub const Mark = struct {
    clock: u64 = 0,
    begun: u64 = 0,
    /// The first that was under way; more than `begun`: none was.
    oldest: u64 = 1,
};

/// Of a call that is under way; see `Call.name_change`.
pub const none = 0;

pub const NameChanges = struct {
    /// Counts begins and ends.
    clock: u64 = 0,
    begun: u64 = 0,
    /// All before it have ended, or are forgotten.
    oldest: u64 = 1,
    /// Under way for so long that others have taken their places, and when the last of them ended.
    forgotten: u32 = 0,
    forgotten_ended: u64 = 0,
    /// `clock` when an exec was last judged by what is known here.
    relied: u64 = 0,
    changes: *[changes_max]Change,
    /// By hash, when the last of those that are remembered no more has ended; of those that may have been of any name apart.
    past: *[past_max]u64,
    past_any: u64 = 0,

    const Change = struct {
        /// Number of the change, starting at 1; 0: none.
        number: u64 = 0,
        /// Hashes of the last parts of both paths; 0: any.
        names: [2]u64 = .{ 0, 0 },
        /// Hashes of both whole paths. The name of the first is taken away.
        paths: [2]u64 = .{ 0, 0 },
        /// `clock` at its beginning and its end; 0: it is under way.
        began: u64 = 0,
        ended: u64 = 0,
        failed: bool = false,
    };

    pub const Outcome = enum {
        done,
        failed,
        /// It has changed a name, and nobody knows which.
        unknown,
    };

    pub fn init() sys.Error!NameChanges {
        return .{
            .changes = @ptrCast(@alignCast(try sys.mapPrivate(@sizeOf([changes_max]Change)))),
            .past = @ptrCast(@alignCast(try sys.mapPrivate(@sizeOf([past_max]u64)))),
        };
    }

    pub fn deinit(all: *NameChanges) void {
        sys.unmap(@ptrCast(@alignCast(all.changes)), @sizeOf([changes_max]Change));
        sys.unmap(@ptrCast(@alignCast(all.past)), @sizeOf([past_max]u64));
    }

    /// Before a call that the table gives `names`; `items` are those read before it. Returns the change's number, for `end`.
    pub fn beginCall(all: *NameChanges, row: *const syscalls.Row, items: []const u8) u64 {
        assert(row.names.len > 0);
        const last = row.names[row.names.len - 1];
        return all.begin(decode.pathOf(items, row.names[0]) orelse "", decode.pathOf(items, last) orelse "");
    }

    /// The last parts of two paths. Empty: not known, so any name may change.
    fn begin(all: *NameChanges, one: []const u8, other: []const u8) u64 {
        all.clock += 1;
        all.begun += 1;
        const change = &all.changes[all.begun % changes_max];
        if (change.number != 0) all.forget(change);
        change.* = .{ .number = all.begun, .began = all.clock, .paths = .{ hashOf(one), hashOf(other) }, .names = .{ hashOf(lastOf(one)), hashOf(lastOf(other)) } };
        return all.begun;
    }

    fn forget(all: *NameChanges, change: *const Change) void {
        if (change.ended == 0) all.forgotten += 1;
        if (change.ended == 0 or change.failed) return;
        for (change.names) |name| {
            const past = if (name == 0) &all.past_any else &all.past[name % past_max];
            past.* = @max(past.*, change.ended);
        }
    }

    /// True: an exec has been judged meanwhile by what was known of this one, which now proves wrong.
    pub fn end(all: *NameChanges, number: u64, outcome: Outcome) bool {
        all.clock += 1;
        const change = &all.changes[number % changes_max];
        if (change.number != number) {
            assert(all.forgotten > 0);
            all.forgotten -= 1;
            all.forgotten_ended = all.clock;
            return false; // all that were judged meanwhile were judged as unknown
        }
        change.ended = all.clock;
        change.failed = outcome == .failed;
        if (outcome == .unknown) change.names = .{ 0, 0 };
        all.skipEnded();
        return outcome == .unknown and all.relied >= change.began;
    }

    /// What others do with the names of a call while it is under way.
    pub const Rivals = struct {
        /// Another takes away the same name.
        old: bool = false,
        /// Another gives or takes away its second name.
        new: bool = false,
    };

    pub fn rivalsOf(all: *const NameChanges, number: u64) Rivals {
        const own = &all.changes[number % changes_max];
        if (own.number != number) return .{ .old = true, .new = true }; // forgotten
        const first = (all.begun + 1) -| changes_max;
        var other = @max(@min(all.oldest, number), first, 1);
        // One that has ended since may have begun before the oldest that is under way.
        while (other > @max(first, 1) and all.changes[(other - 1) % changes_max].ended >= own.began) other -= 1;
        var rivals: Rivals = .{};
        while (other <= all.begun) : (other += 1) {
            const change = &all.changes[other % changes_max];
            if (other == number or change.number != other or change.failed) continue;
            if (change.ended != 0 and change.ended <= own.began) continue;
            if (change.paths[0] == own.paths[0]) rivals.old = true;
            for (change.paths) |path| if (path == own.paths[1]) {
                rivals.new = true;
            };
        }
        return rivals;
    }

    fn skipEnded(all: *NameChanges) void {
        while (all.oldest <= all.begun) : (all.oldest += 1) {
            const change = &all.changes[all.oldest % changes_max];
            if (change.number == all.oldest and change.ended == 0) return;
        }
    }

    pub fn mark(all: *const NameChanges) Mark {
        return .{ .clock = all.clock, .begun = all.begun, .oldest = all.oldest };
    }

    /// What may have been done since then, for an exec.
    pub fn since(all: *NameChanges, from: Mark) Since {
        all.relied = all.clock;
        return .{ .all = all, .from = from };
    }
};

pub const Since = struct {
    all: *const NameChanges,
    from: Mark,

    fn isNothing(since: *const Since) bool {
        return since.from.oldest > since.all.begun;
    }

    /// Of any name.
    fn isAny(since: *const Since) bool {
        const all = since.all;
        return all.forgotten > 0 or @max(all.forgotten_ended, all.past_any) > since.from.clock;
    }

    /// Whether one of the names that the kernel walks over for `path` may have been given to another file: those of its
    /// symbolic links are looked at too. Also true where that cannot be found out.
    pub fn touches(since: *const Since, place: paths.Place, path: []const u8) bool {
        if (since.isAny()) return true;
        if (since.isNothing()) return false;
        var buffers: [2][2 * paths.max]u8 = undefined;
        var current: usize = 0;
        var length = sys.append(&buffers[0], 0, path[0..@min(path.len, paths.max)]);
        if (path.len > paths.max) return true;
        var followed: usize = 0;
        walk: while (followed <= links_max) : (followed += 1) {
            const text = buffers[current][0..length];
            var at: usize = 0;
            while (nextPart(text, &at)) |part| {
                if (since.has(part)) return true;
                var target_buffer: [paths.max]u8 = undefined;
                const target = linkAt(place, text[0..at], &target_buffer) orelse continue;
                // From the start of the target, or of what stood before the link, with the rest behind it.
                const next = &buffers[1 - current];
                const before = if (target.len > 0 and target[0] == '/') text[0..0] else text[0 .. at - part.len];
                if (before.len + target.len + text.len - at > next.len) return true;
                length = sys.append(next, sys.append(next, sys.append(next, 0, before), target), text[at..]);
                current = 1 - current;
                continue :walk;
            }
            return false;
        }
        return true;
    }

    fn has(since: *const Since, part: []const u8) bool {
        const all = since.all;
        const hash = hashOf(part);
        if (all.past[hash % past_max] > since.from.clock) return true;
        var number = @max(since.from.oldest, (all.begun + 1) -| changes_max);
        while (number <= all.begun) : (number += 1) {
            const change = &all.changes[number % changes_max];
            if (change.failed or (change.ended != 0 and change.ended <= since.from.clock)) continue;
            for (change.names) |name| if (name == hash or name == 0) return true;
        }
        return false;
    }
};

/// Leaves `at` behind it.
fn nextPart(text: []const u8, at: *usize) ?[]const u8 {
    const start = std.mem.findNonePos(u8, text, at.*, "/") orelse return null;
    const end = std.mem.findScalarPos(u8, text, start, '/') orelse text.len;
    at.* = end;
    return text[start..end];
}

fn linkAt(place: paths.Place, path: []const u8, buffer: []u8) ?[]const u8 {
    const descriptor = paths.openInPlace(place, path, .{ .PATH = true, .NOFOLLOW = true, .CLOEXEC = true }) orelse return null;
    defer sys.close(descriptor);
    return sys.readLink(descriptor, "", buffer) catch null; // not a link
}

fn lastOf(path: []const u8) []const u8 {
    const bare = std.mem.trimEnd(u8, path, "/");
    return if (std.mem.findScalarLast(u8, bare, '/')) |slash| bare[slash + 1 ..] else bare;
}

/// 0 is kept for "any".
fn hashOf(name: []const u8) u64 {
    if (name.len == 0) return 0;
    return @max(1, std.hash.Wyhash.hash(0, name));
}

// ---------------------------------------------------------------------------------------------

const testing = std.testing;

fn ownPlace() paths.Place {
    return .{
        .owner = .{ .tid = linux.gettid(), .pid = linux.getpid(), .process = 1 },
        .directory = linux.AT.FDCWD,
        .roots_differ = false,
    };
}

test "what counts is what may have been done since the mark" {
    const Row = struct { before: enum { nothing, begun, ended }, after: enum { nothing, ended, failed }, name: []const u8, touched: bool };
    const rows = [_]Row{
        .{ .before = .ended, .after = .nothing, .name = "script", .touched = false },
        .{ .before = .begun, .after = .nothing, .name = "script", .touched = true },
        .{ .before = .begun, .after = .ended, .name = "script", .touched = true },
        .{ .before = .begun, .after = .failed, .name = "script", .touched = false },
        .{ .before = .nothing, .after = .ended, .name = "script", .touched = true },
        .{ .before = .nothing, .after = .ended, .name = "other", .touched = false },
        .{ .before = .nothing, .after = .ended, .name = "", .touched = true },
    };
    for (rows, 0..) |row, i| {
        errdefer std.debug.print("row {d}\n", .{i});
        var all: NameChanges = try .init();
        defer all.deinit();
        var number: u64 = 0;
        if (row.before != .nothing) number = all.begin("/tmp/one", row.name);
        if (row.before == .ended) _ = all.end(number, .done);
        const from = all.mark();
        if (row.before == .nothing) number = all.begin("/tmp/one", row.name);
        if (row.after != .nothing) _ = all.end(number, if (row.after == .failed) .failed else .done);
        const found = all.since(from);
        try testing.expectEqual(row.touched, found.touches(ownPlace(), "/tmp/script"));
    }
}

test "names of symbolic links count, and changes beyond those that are remembered" {
    const top = "/tmp/cilock-name-changes";
    _ = linux.mkdir(top, 0o700);
    _ = linux.mkdir(top ++ "/real", 0o700);
    _ = linux.symlink("flip/deep", top ++ "/alias");
    _ = linux.symlink("real", top ++ "/flip");
    _ = linux.mkdir(top ++ "/real/deep", 0o700);
    defer for ([_][*:0]const u8{ "/alias", "/flip" }) |name| {
        var path: [128]u8 = undefined;
        const end = sys.append(&path, sys.append(&path, 0, top), std.mem.span(name));
        path[end] = 0;
        _ = linux.unlink(path[0..end :0]);
    };
    for ([_][]const u8{ "flip", "alias", "real", "deep", "elsewhere" }) |name| {
        errdefer std.debug.print("{s}\n", .{name});
        var all: NameChanges = try .init();
        defer all.deinit();
        const from = all.mark();
        _ = all.end(all.begin("x", name), .done);
        try testing.expectEqual(!std.mem.eql(u8, name, "elsewhere"), all.since(from).touches(ownPlace(), top ++ "/alias/script"));
    }
    var all: NameChanges = try .init();
    defer all.deinit();
    const from = all.mark();
    _ = all.end(all.begin("x", "script"), .done);
    for (0..2 * changes_max) |_| _ = all.end(all.begin("x", "y"), .done);
    try testing.expect(all.since(from).touches(ownPlace(), "/tmp/script"));
    try testing.expect(all.since(from).touches(ownPlace(), "/tmp/y"));
    try testing.expect(!all.since(from).touches(ownPlace(), "/tmp/others"));
    try testing.expect(!all.since(all.mark()).touches(ownPlace(), "/tmp/script"));

    // One that hangs, while all others come and go.
    const slow = all.begin("x", "y");
    for (0..changes_max) |_| _ = all.end(all.begin("x", "y"), .done);
    const later = all.mark();
    try testing.expect(all.since(later).touches(ownPlace(), "/tmp/script"));
    _ = all.end(slow, .done);
    try testing.expect(all.since(later).touches(ownPlace(), "/tmp/script"));
    try testing.expect(!all.since(all.mark()).touches(ownPlace(), "/tmp/script"));
}

test "one of which nobody knows what it did counts as any, also for those who were judged before that was found out" {
    var all: NameChanges = try .init();
    defer all.deinit();
    const from = all.mark();
    const number = all.begin("/tmp/one", "/tmp/two");
    try testing.expect(!all.since(from).touches(ownPlace(), "/tmp/script"));
    try testing.expect(all.end(number, .unknown));
    try testing.expect(all.since(from).touches(ownPlace(), "/tmp/script"));
    try testing.expect(!all.since(all.mark()).touches(ownPlace(), "/tmp/script"));
    try testing.expect(!all.end(all.begin("/tmp/one", "/tmp/two"), .unknown));
}

test "rivals do something to the same names at the same time" {
    var all: NameChanges = try .init();
    defer all.deinit();
    _ = all.end(all.begin("/tmp/a/one", "/tmp/two"), .done); // over before
    const before = all.begin("/tmp/a/one", "/tmp/three");
    const slow = all.begin("/tmp/x", "/tmp/y");
    const own = all.begin("/tmp/a/one", "/tmp/two");
    try testing.expectEqual(NameChanges.Rivals{ .old = true }, all.rivalsOf(own));
    _ = all.end(before, .failed);
    try testing.expectEqual(NameChanges.Rivals{}, all.rivalsOf(own));
    _ = all.begin("/tmp/b/one", "/tmp/a/one");
    try testing.expectEqual(NameChanges.Rivals{}, all.rivalsOf(own));
    const later = all.begin("/tmp/a/one", "/tmp/two");
    _ = all.end(later, .done);
    try testing.expectEqual(NameChanges.Rivals{ .old = true, .new = true }, all.rivalsOf(own));
    _ = all.end(slow, .done);
    _ = all.end(own, .done);
    try testing.expectEqual(NameChanges.Rivals{ .old = true, .new = true }, all.rivalsOf(later));
    const last = all.begin("/tmp/three", "/tmp/four");
    try testing.expectEqual(NameChanges.Rivals{}, all.rivalsOf(last));
    _ = all.begin("/tmp/four", "/tmp/four"); // a deletion
    try testing.expectEqual(NameChanges.Rivals{ .new = true }, all.rivalsOf(last));
}
