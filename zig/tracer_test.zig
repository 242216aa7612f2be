//! The tracer as a whole, on real commands: what it records, and that it ends. The tracees of test/tracees do the rest.
const std = @import("std");
const linux = std.os.linux;
const abi = @import("abi.zig");
const records_mod = @import("records.zig");
const seccomp = @import("seccomp.zig");
const session_mod = @import("session.zig");
const sys = @import("sys.zig");
const tracer = @import("tracer.zig");
const Session = session_mod.Session;
const testing = std.testing;

/// A run that is over; its records are still in the ring, since nobody has read them.
const Run = struct {
    session: *Session,
    at: u32 = abi.initial_position,

    /// `grace_ms` as in the control block. The tracer is a process of its own, as it is in the product.
    fn of(words: []const [*:0]const u8, grace_ms: u32) !Run {
        const session: *Session = @ptrCast(@alignCast(try sys.mapPrivate(@sizeOf(Session))));
        const size = session_mod.mappingSize(1);
        const mapping = (try sys.mapShared(size))[0..size];
        session.* = .{
            .control = @ptrCast(@alignCast(mapping.ptr)),
            .mapping = mapping,
            .argv = undefined,
            .environment = undefined,
            .front_pid = sys.ownPid(),
            .descriptors = .{},
        };
        session.control.* = .{ .grace_ms = grace_ms };
        session.ringHeader(0).* = .{};
        const child = try sys.fork();
        if (child == 0) traceHere(session, words);
        const end = (try sys.wait(child, 0)).?;
        try testing.expectEqual(@as(u32, 0), end.status);
        return .{ .session = session };
    }

    fn deinit(run: *Run) void {
        sys.unmap(run.session.mapping.ptr, run.session.mapping.len);
        sys.unmap(@ptrCast(@alignCast(run.session)), @sizeOf(Session));
    }

    /// The next record of a kind, in the order of their sequence numbers.
    fn next(run: *Run, comptime kind: abi.Kind) ?*const records_mod.RecordOf(kind) {
        while (run.nextHeader()) |header| {
            if (header.kind == @backingInt(kind)) return @ptrCast(@alignCast(header));
        }
        return null;
    }

    fn nextHeader(run: *Run) ?*const abi.Header {
        while (run.at != run.session.ringHeader(0).head) {
            const data = run.session.writer(0).data;
            const header: *const abi.Header = @ptrCast(@alignCast(data + (run.at & (abi.ring_data_size - 1))));
            run.at +%= header.size & ~abi.padding_bit;
            if (header.size & abi.padding_bit == 0) return header;
        }
        return null;
    }

    fn rewind(run: *Run) void {
        run.at = abi.initial_position;
    }

    fn count(run: *Run, comptime kind: abi.Kind) u32 {
        run.rewind();
        defer run.rewind();
        var found: u32 = 0;
        while (run.next(kind)) |_| found += 1;
        return found;
    }

    fn hasGap(run: *Run, kind: abi.GapKind) bool {
        run.rewind();
        defer run.rewind();
        while (run.next(.gap)) |gap| if (gap.gap == @backingInt(kind)) return true;
        return false;
    }
};

/// As start.zig and spawn.zig do it, without the front end.
fn traceHere(session: *Session, words: []const [*:0]const u8) noreturn {
    _ = sys.prctl(.SET_CHILD_SUBREAPER, 1) catch {};
    session.tracer_pid = sys.ownPid();
    session.command_pid = sys.fork() catch sys.exit(1);
    if (session.command_pid == 0) {
        while (@atomicLoad(u32, &session.control.seized, .acquire) == 0) sys.futexWait(&session.control.seized, 0, null);
        if (seccomp.install(true) == .failed) sys.exit(126);
        var argv: [8:null]?[*:0]const u8 = @splat(null);
        for (words, argv[0..words.len]) |word, *slot| slot.* = word;
        const environment = [_:null]?[*:0]const u8{"PATH=/bin:/usr/bin"};
        _ = sys.check(linux.execve(words[0], &argv, &environment)) catch {};
        sys.exit(127);
    }
    tracer.trace(session);
    // Nothing of the build is alive, and nothing else of ours.
    if (sys.wait(-1, linux.W.NOHANG | sys.wait_all)) |_| sys.exit(2) else |e| if (e != error.NoChild) sys.exit(3);
    sys.exit(0);
}

test "a command: created, run, ended, in this order and once" {
    var run = try Run.of(&.{ "/bin/sh", "-c", "exit 3" }, 1000);
    defer run.deinit();
    const first = run.nextHeader().?;
    try testing.expectEqual(@backingInt(abi.Kind.process), first.kind);
    try testing.expectEqual(@as(u64, 0), first.sequence);
    const exec = run.next(.exec).?;
    try testing.expectEqual(@as(u64, 1), exec.header.sequence);
    const program = std.mem.asBytes(exec).ptr[@sizeOf(abi.Exec) + exec.executable_path_length ..][0..exec.program_path_length];
    try testing.expectEqualStrings("/bin/sh", program);
    try testing.expect(exec.executable.inode != 0);
    try testing.expectEqual(@as(i32, 3 << 8), run.next(.exit).?.status);
    try testing.expectEqual(@as(i32, 3 << 8), run.next(.command_end).?.status);
    try testing.expectEqual(null, run.nextHeader());
    try testing.expectEqual(@as(i32, 3 << 8), run.session.control.command_status);
    try testing.expectEqual(@backingInt(abi.Phase.draining), run.session.control.phase);
    for ([_]abi.GapKind{ .limit, .tracee_gone, .unreadable_memory, .unreadable_descriptor }) |kind| try testing.expect(!run.hasGap(kind));
}

test "sequence numbers have no gap, and every process one parent and one end" {
    var run = try Run.of(&.{ "/bin/sh", "-c", "(exit 1); (exit 2) & (exit 3) | (exit 4); wait" }, 1000);
    defer run.deinit();
    var expected: u64 = 0;
    while (run.nextHeader()) |header| : (expected += 1) try testing.expectEqual(expected, header.sequence);
    try testing.expectEqual(run.session.control.sequence, expected);
    try testing.expectEqual(@as(u32, 5), run.count(.process));
    try testing.expectEqual(@as(u32, 5), run.count(.exit));
    var serial: u32 = 1;
    while (run.next(.process)) |process| : (serial += 1) {
        try testing.expectEqual(serial, process.header.process);
        try testing.expectEqual(@as(u32, if (serial == 1) 0 else 1), process.parent);
    }
}

test "what is opened is identified; what fails is counted" {
    var run = try Run.of(&.{ "/bin/sh", "-c", "exec 2> /dev/null; : < /no/such/file" }, 1000);
    defer run.deinit();
    var seen = false;
    while (run.next(.open)) |open| {
        const path = std.mem.asBytes(open).ptr[@sizeOf(abi.Open) + open.root_length ..][0..open.path_length];
        if (!std.mem.eql(u8, path, "/dev/null")) continue;
        seen = true;
        try testing.expectEqual(@backingInt(abi.NotHeld.not_regular), open.not_held);
        try testing.expectEqual(@as(i32, -1), open.held);
    }
    try testing.expect(seen);
    run.rewind();
    try testing.expect(run.next(.exit).?.failed_opens >= 1);
}

test "those that outlive the command are named and killed" {
    var run = try Run.of(&.{ "/bin/sh", "-c", "sleep 1000 & exit 0" }, 100);
    defer run.deinit();
    try testing.expect(run.hasGap(.survivor_killed));
    try testing.expectEqual(@as(u32, 1), run.session.control.survivors_killed);
    try testing.expectEqual(run.count(.process), run.count(.exit));
}

test "a command that cannot be run leaves no image" {
    var run = try Run.of(&.{"/no/such/command"}, 100);
    defer run.deinit();
    try testing.expectEqual(@as(u32, 0), run.count(.exec));
    try testing.expectEqual(@as(u32, 0), run.count(.syscall));
    try testing.expectEqual(@as(i32, 127 << 8), run.next(.command_end).?.status);
}
