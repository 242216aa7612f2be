//! Exported by the development library only, for test/ring.test.ts and test/abi.test.ts: rings that real
//! writer processes fill, and a record of each kind.
const std = @import("std");
const linux = std.os.linux;
const abi = @import("abi.zig");
const ring = @import("ring.zig");
const sys = @import("sys.zig");
const session_mod = @import("session.zig");
const Session = session_mod.Session;

/// A session without tracer and command.
fn open(ring_count: u32) ?*Session {
    const session: *Session = @ptrCast(@alignCast(sys.mapPrivate(@sizeOf(Session)) catch return null));
    const size = session_mod.mappingSize(ring_count);
    const mapping = (sys.mapShared(size) catch return null)[0..size];
    session.* = .{
        .control = @ptrCast(@alignCast(mapping.ptr)),
        .mapping = mapping,
        .argv = undefined,
        .environment = undefined,
        .front_pid = sys.ownPid(),
        .descriptors = .{},
    };
    session.control.* = .{ .ring_count = ring_count };
    const rc = sys.check(linux.eventfd(0, linux.EFD.CLOEXEC | linux.EFD.NONBLOCK)) catch return null;
    session.descriptors.event = @intCast(rc);
    session.control.event_descriptor = session.descriptors.event;
    for (0..ring_count) |index| session.ringHeader(@intCast(index)).* = .{};
    return session;
}

fn cilock_test_open(ring_count: u32) callconv(.c) ?*Session {
    return open(ring_count);
}

fn cilock_test_mapping(session: *Session) callconv(.c) usize {
    return @intFromPtr(session.mapping.ptr);
}

fn cilock_test_wake_writer(session: *Session, index: u32) callconv(.c) void {
    ring.wakeWriter(session.ringHeader(index));
}

/// Forks a writer of `count` gap records with texts of up to `text_max` bytes; it pauses for `pause_ms` after every
/// `burst` records (0: never) and dies with us. Returns its pid. `burst` 1 and `pause_ms` 0: lock-step, each record
/// comes the moment the one before has been read, when the reader is about to sleep; one lost wake-up is the end.
fn cilock_test_writer(session: *Session, index: u32, count: u32, text_max: u32, burst: u32, pause_ms: u32, end: u32) callconv(.c) i32 {
    const child = sys.fork() catch return -1;
    if (child != 0) return child;
    _ = sys.prctl(.SET_PDEATHSIG, @backingInt(linux.SIG.KILL)) catch {};
    if (sys.parentPid() != session.front_pid) sys.exit(0);
    const writer = session.writer(index);
    var prng: std.Random.DefaultPrng = .init(index);
    for (0..count) |i| {
        writeGap(writer, index, i, prng.random().uintAtMost(u32, text_max));
        if (burst == 1 and pause_ms == 0) waitUntilRead(writer.header);
        if (burst != 0 and i % burst == burst - 1) sys.sleepMs(pause_ms);
    }
    if (end != 0) writer.end();
    sys.exit(0);
}

fn waitUntilRead(of: *abi.RingHeader) void {
    while (@atomicLoad(u32, &of.tail, .acquire) != of.head) std.atomic.spinLoopHint();
}

/// Its value counts the writer's records; each byte of its text is the count's lowest.
fn writeGap(writer: ring.Writer, index: u32, count: usize, text_length: u32) void {
    const size: u32 = @intCast(std.mem.alignForward(usize, @sizeOf(abi.Gap) + text_length, 8));
    const bytes = writer.reserve(size);
    const record: *abi.Gap = @ptrCast(bytes.ptr);
    record.* = .{
        .header = header(.gap, index),
        .gap = @backingInt(abi.GapKind.limit),
        .text_length = text_length,
        .value = count,
    };
    @memset(bytes[@sizeOf(abi.Gap)..], 'a' + @as(u8, @intCast(count % 26)));
    writer.publish(size);
}

fn header(kind: abi.Kind, process: u32) abi.Header {
    return .{ .size = 0, .kind = @backingInt(kind), .flags = 0, .sequence = 0, .time_ns = 1_000_000_007, .tid = 4242, .process = process };
}

/// 0 once a writer is gone, and reaped.
fn cilock_test_alive(process: i32) callconv(.c) i32 {
    const waited = sys.wait(process, linux.W.NOHANG | sys.wait_all) catch return 0;
    return @intFromBool(waited == null);
}

/// Writes one record of each kind into ring 0: every field has a value of its own, and each part that can be there is.
fn cilock_test_samples(session: *Session) callconv(.c) void {
    const writer = session.writer(0);
    inline for (abi.records) |row| writeSample(writer, row[0], row[1]);
    writer.end();
}

const part_text = "part \\ \xc3\xa9 \xff end"; // needs escaping
const list_text = "one\x00two \xff\x00\x00cut";

fn writeSample(writer: ring.Writer, kind: abi.Kind, comptime Record: type) void {
    var record: Record = undefined;
    var filler: u64 = 0;
    var parts: usize = 0;
    inline for (@typeInfo(Record).@"struct".field_names) |name| {
        const field = &@field(record, name);
        if (comptime std.mem.eql(u8, name, "header")) {
            field.* = header(kind, 7);
            field.flags = 0b10101;
        } else if (comptime std.mem.endsWith(u8, name, "_length")) {
            field.* = @intCast(textOf(name).len);
            parts += textOf(name).len;
        } else fill(field, &filler);
    }
    if (Record == abi.Syscall) return writeSyscall(writer, record);
    setNames(Record, &record);
    const size: u32 = @intCast(std.mem.alignForward(usize, @sizeOf(Record) + parts, 8));
    const bytes = writer.reserve(size);
    @memset(bytes, 0);
    @memcpy(bytes[0..@sizeOf(Record)], std.mem.asBytes(&record));
    var at: usize = @sizeOf(Record);
    inline for (@typeInfo(Record).@"struct".field_names) |name| {
        if (comptime std.mem.endsWith(u8, name, "_length")) at = sys.append(bytes, at, textOf(name));
    }
    writer.publish(size);
}

fn textOf(comptime name: []const u8) []const u8 {
    const is_list = std.mem.eql(u8, name, "argv_length") or std.mem.eql(u8, name, "environment_length");
    return if (is_list) list_text else name[0 .. name.len - "_length".len] ++ ": " ++ part_text;
}

/// Enums must hold one of their values.
fn setNames(comptime Record: type, record: *Record) void {
    inline for (@typeInfo(Record).@"struct".field_names) |name| {
        if (comptime std.mem.endsWith(u8, name, "not_held")) @field(record, name) = @backingInt(abi.NotHeld.known_content);
    }
    if (@hasField(Record, "abi")) record.abi = @backingInt(abi.Abi.i386);
    if (Record == abi.Gap) record.gap = @backingInt(abi.GapKind.io_uring_refused);
}

fn fill(field: anytype, filler: *u64) void {
    const T = @typeInfo(@TypeOf(field)).pointer.child;
    switch (@typeInfo(T)) {
        .int => {
            filler.* += 1;
            field.* = @intCast(filler.*); // counts, so small
        },
        .array => for (field) |*element| fill(element, filler),
        .@"struct" => |info| inline for (info.field_names) |name| fill(&@field(field, name), filler),
        else => comptime unreachable,
    }
}

fn writeSyscall(writer: ring.Writer, sample: abi.Syscall) void {
    var record = sample;
    record.number = 59;
    record.abi = @backingInt(abi.Abi.x86_64);
    record.result = -2;
    record.item_count = 5;
    var file: abi.FileIdentity = undefined;
    var filler: u64 = 100;
    fill(&file, &filler);
    const identity = std.mem.asBytes(&file);
    var bytes: [1024]u8 align(8) = @splat(0);
    @memcpy(bytes[0..@sizeOf(abi.Syscall)], std.mem.asBytes(&record));
    var at: usize = @sizeOf(abi.Syscall);
    at = appendItem(&bytes, at, .path, 0, &.{part_text});
    at = appendItem(&bytes, at, .bytes, 1, &.{"\x00\xff\\"});
    at = appendItem(&bytes, at, .descriptor, 2, &.{ identity, part_text });
    at = appendItem(&bytes, at, .file, 3, &.{identity});
    at = appendItem(&bytes, at, .root, 0, &.{"/root"});
    const size: u32 = @intCast(at);
    @memcpy(writer.reserve(size), bytes[0..at]);
    writer.publish(size);
}

fn appendItem(bytes: []u8, start: usize, kind: abi.ItemKind, argument: u8, parts: []const []const u8) usize {
    var at = start + @sizeOf(abi.Item);
    for (parts) |part| at = sys.append(bytes, at, part);
    const item: abi.Item = .{ .kind = @backingInt(kind), .argument = argument, .length = @intCast(at - start - @sizeOf(abi.Item)) };
    @memcpy(bytes[start..][0..@sizeOf(abi.Item)], std.mem.asBytes(&item));
    return std.mem.alignForward(usize, at, 8);
}

pub fn exportAll() void {
    for (.{
        "cilock_test_open",   "cilock_test_mapping", "cilock_test_wake_writer",
        "cilock_test_writer", "cilock_test_alive",   "cilock_test_samples",
    }) |name| @export(&@field(@This(), name), .{ .name = name });
}
