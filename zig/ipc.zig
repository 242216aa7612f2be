//! Message queues and shared memory of System V and POSIX (sysvipc(7), mq_overview(7)): they are found by a key, a name, or a number that
//! anybody may know, and need no descriptor. What somebody outside has made hands work over, or brings it, and no call says to whom.
const std = @import("std");
const linux = std.os.linux;
const abi = @import("abi.zig");
const calls = @import("calls.zig");
const file_systems = @import("file_systems.zig");
const paths = @import("paths.zig");
const status_file = @import("status.zig");
const sys = @import("sys.zig");
const syscalls = @import("syscalls.zig");
const tracee = @import("tracee.zig");
const Tracer = @import("tracer.zig").Tracer;
const Call = tracee.Call;
const Thread = tracee.Thread;

const Kind = enum { message_queue, shared_memory, posix_queue };

/// By number; a POSIX queue by its inode.
const Object = struct { kind: Kind, number: u64 };

const private = 0; // IPC_PRIVATE
const creat = 0o1000; // IPC_CREAT
const exclusive = 0o2000; // IPC_EXCL
const o_creat: u32 = @bitCast(linux.O{ .CREAT = true });
const o_create_new: u32 = @bitCast(linux.O{ .CREAT = true, .EXCL = true });

/// What the build has made, and what was reported. Bounded; beyond it everything is somebody else's, which is said.
pub const Ipc = struct {
    own: [256]Object = undefined,
    own_count: usize = 0,
    reported: [64]Object = undefined,
    reported_count: usize = 0,

    fn isOwn(ipc: *const Ipc, object: Object) bool {
        return contains(ipc.own[0..ipc.own_count], object);
    }
};

fn contains(list: []const Object, object: Object) bool {
    for (list) |one| if (one.kind == object.kind and one.number == object.number) return true;
    return false;
}

const Get = struct { kind: Kind, key: u64, flags: u64 };

/// Of a call that looks an object up.
fn getOf(call: *const Call) ?Get {
    const arguments = &call.arguments;
    return switch (Operation.of(call) orelse return null) {
        .message_get => .{ .kind = .message_queue, .key = arguments[0], .flags = arguments[1] },
        .memory_get => .{ .kind = .shared_memory, .key = arguments[0], .flags = arguments[2] },
        .queue_open => .{ .kind = .posix_queue, .key = 1, .flags = if (arguments[1] & o_creat != 0) creat else 0 },
        .use_queue, .use_memory => null,
    };
}

const Operation = enum {
    message_get,
    memory_get,
    queue_open,
    use_queue,
    use_memory,

    fn of(call: *const Call) ?Operation {
        const names = [_]struct { []const u8, Operation }{
            .{ "msgget", .message_get }, .{ "shmget", .memory_get }, .{ "mq_open", .queue_open },
            .{ "msgsnd", .use_queue },   .{ "msgrcv", .use_queue },  .{ "shmat", .use_memory },
        };
        for (names) |row| if (std.mem.eql(u8, row[0], call.name())) return row[1];
        return null;
    }
};

/// Of the older 32-bit call, which is all of them (ipc(2)): its number among the others.
pub fn numberOf(word: u64) ?u32 {
    const number: linux.syscalls.X86 = switch (word & 0xffff) {
        11 => .msgsnd,
        12 => .msgrcv,
        13 => .msgget,
        21 => .shmat,
        23 => .shmget,
        else => return null,
    };
    return @intCast(@backingInt(number));
}

/// The same: what it was given, as the call of its own would have got it.
pub fn reorder(arguments: *[6]u64) void {
    const is_attach = arguments[0] & 0xffff == 21;
    const first, const second, const third, const pointer = .{ arguments[1], arguments[2], arguments[3], arguments[4] };
    arguments.* = if (is_attach) .{ first, pointer, second, 0, 0, 0 } else .{ first, second, third, pointer, 0, 0 };
}

/// Whether its exit is of interest.
pub fn before(tracer: *Tracer, thread: *Thread) sys.Error!bool {
    const call = &thread.call;
    const get = getOf(call) orelse {
        const kind: Kind = if (Operation.of(call) == .use_memory) .shared_memory else .message_queue;
        const object: Object = .{ .kind = kind, .number = @as(u32, @truncate(call.arguments[0])) };
        // The build's own is asked first: fakeroot sends a message for each file.
        if (!tracer.ipc.isOwn(object) and status_file.isSameIpc(thread.tid)) meet(tracer, thread, object);
        return false;
    };
    // In a namespace of the build's own there is nobody else's.
    if (!status_file.isSameIpc(thread.tid)) return false;
    call.found = try isThere(tracer, thread, &get);
    return true;
}

/// Asked by ourselves before the call: afterwards nothing tells who has made it.
fn isThere(tracer: *Tracer, thread: *Thread, get: *const Get) sys.Error!bool {
    switch (get.kind) {
        .message_queue, .shared_memory => {
            if (get.key == private or get.flags & (creat | exclusive) == creat | exclusive) return false;
            return if (get.kind == .message_queue) sys.isMessageQueue(get.key) else sys.isSegment(get.key);
        },
        .posix_queue => {
            var name: [paths.max]u8 = undefined;
            const text = tracer.memory.string(thread.tid, thread.call.arguments[0], &name) catch |e| return if (e == error.TraceeGone) e else true;
            if (text.bytes.len + 1 >= name.len) return true;
            name[text.bytes.len] = 0;
            return sys.isPosixQueue(name[0..text.bytes.len :0]);
        },
    }
}

pub fn after(tracer: *Tracer, thread: *Thread, result: i64) sys.Error!void {
    const get = getOf(&thread.call) orelse return;
    if (result < 0) return;
    const object: Object = .{ .kind = get.kind, .number = if (get.kind == .posix_queue) try inodeOf(tracer, thread, result) else @intCast(result) };
    if (thread.call.found) return meet(tracer, thread, object);
    add(tracer, thread, object);
}

fn add(tracer: *Tracer, thread: *Thread, object: Object) void {
    const ipc = &tracer.ipc;
    if (ipc.isOwn(object)) return;
    if (ipc.own_count == ipc.own.len) return calls.limit(tracer, thread, "message queues and shared memory");
    ipc.own[ipc.own_count] = object;
    ipc.own_count += 1;
}

/// A POSIX queue is a file too, where its file system is mounted: /dev/mqueue, mostly.
pub fn opened(tracer: *Tracer, thread: *Thread, file: *const abi.FileIdentity, flags: u64) void {
    if (file.file_system != file_systems.mqueue or file.mode & linux.S.IFMT != linux.S.IFREG) return;
    const object: Object = .{ .kind = .posix_queue, .number = file.inode };
    if (flags & o_create_new == o_create_new) add(tracer, thread, object) else meet(tracer, thread, object);
}

fn inodeOf(tracer: *Tracer, thread: *const Thread, descriptor: i64) sys.Error!u64 {
    const taken = try tracer.descriptors.take(tracer.owner(thread), @intCast(descriptor));
    defer taken.close();
    return (try tracer.descriptors.identify(taken.descriptor)).inode;
}

fn meet(tracer: *Tracer, thread: *Thread, object: Object) void {
    const ipc = &tracer.ipc;
    if (ipc.isOwn(object) or contains(ipc.reported[0..ipc.reported_count], object)) return;
    if (ipc.reported_count < ipc.reported.len) {
        ipc.reported[ipc.reported_count] = object;
        ipc.reported_count += 1;
    }
    var text: [64]u8 = undefined;
    var at = sys.append(&text, 0, switch (object.kind) {
        .message_queue => "System V message queue ",
        .shared_memory => "System V shared memory ",
        .posix_queue => "POSIX message queue, inode ",
    });
    at = sys.appendNumber(&text, at, object.number);
    tracer.gap(thread, .outside_met, object.number, text[0..at]);
}
