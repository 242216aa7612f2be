//! Calls on sockets, beyond what the table says: what the kernel knows of one that is connected or sent to, and the bytes on
//! those that are watched (watch.zig).
//!
//! Bytes are read at the exit, when it is known how many of them went out or came in. The descriptor is compared with the
//! socket that it was at the entry, so that a number which another thread closes and opens meanwhile says nothing wrong.
const std = @import("std");
const linux = std.os.linux;
const abi = @import("abi.zig");
const calls = @import("calls.zig");
const clients = @import("clients.zig");
const decode = @import("decode.zig");
const descriptors_mod = @import("descriptors.zig");
const holders = @import("holders.zig");
const ptrace = @import("ptrace.zig");
const sharers = @import("sharers.zig");
const status_file = @import("status.zig");
const sys = @import("sys.zig");
const syscalls = @import("syscalls.zig");
const tracee = @import("tracee.zig");
const watch_mod = @import("watch.zig");
const Tracer = @import("tracer.zig").Tracer;
const Thread = tracee.Thread;
const Role = watch_mod.Role;

const Error = sys.Error || error{TooManyTracees};

const sock_stream = 1;
const sock_dgram = 2;
const domain_name_port = 53;
const quic_port = 443;
const sol_socket = 1;
const so_error = 4;
const so_cookie = 57;
const fast_open = 0x2000_0000;
const in_progress: i64 = -@as(i64, @backingInt(linux.E.INPROGRESS));
const f_dupfd = 0;
const f_dupfd_cloexec = 1030;

// ---------------------------------------------------------------------------------------------
// Connecting

/// After connect, and after a send with an address: SocketFacts into `items`, and from now on the bytes are watched.
/// `earlier` are the items from before the call, in which the addresses are.
pub fn onContact(tracer: *Tracer, thread: *Thread, result: i64, earlier: []const u8, items: *decode.Items) Error!void {
    if (result < 0 and result != in_progress) return;
    const call = &thread.call;
    const is_connect = syscalls.rows[call.row].special == .connect;
    const address = addressIn(earlier, call.row) orelse if (is_connect) return else "";
    if (address.len < 2) return;
    const number: i32 = @bitCast(@as(u32, @truncate(call.arguments[0])));
    const socket = tracer.descriptors.takeSocket(tracer.owner(thread), number) catch |e| return if (e == error.TraceeGone) e else {};
    defer socket.close();
    const file = tracer.descriptors.identify(socket.descriptor) catch return;
    var facts = factsOf(thread, socket.descriptor, address, file.inode);
    if (is_connect) if (facts) |*known| expectEnd(tracer, thread, socket.descriptor, known);
    if (facts) |known| items.add(.socket, 0, &.{std.mem.asBytes(&known)}, 0);
    addOtherReceivers(thread, socket.descriptor, earlier, file.inode, items);
    const is_fast = !is_connect and call.arguments[3] & fast_open != 0;
    // Whoever accepts it will see these.
    if (facts) |known| if ((is_connect or is_fast) and known.type == sock_stream) {
        if (endsOf(thread, socket.descriptor, known, file.inode)) |ends| if (ends.areLocal()) addAddresses(&ends, items);
    };
    const kind = kindOf(facts, address, is_connect or is_fast) orelse return;
    const what: watch_mod.Watch.What = .{ .descriptor = number, .kind = kind, .device = file.device, .inode = file.inode };
    // A resolver asks again and again, and what is known of the socket is known.
    const process = tracer.tracees.processOf(thread);
    if (!is_connect) if (tracer.watch.find(process, number)) |entry| if (entry.inode == file.inode) return;
    begin(tracer, thread, what);
}

/// After socket.
pub fn onMade(tracer: *Tracer, thread: *const Thread, items: *const decode.Items) void {
    const domain: u32 = @truncate(thread.call.arguments[0]);
    if (domain != linux.AF.INET and domain != linux.AF.INET6) return;
    const inode = decode.inodeIn(items.written());
    if (inode != 0) tracer.sharers.onMade(inode, tracer.tracees.processOf(thread).serial, tracer.tracees.next_serial);
}

/// After accept: who has connected. Of a unix socket the kernel tells the process (unix(7), SO_PEERCRED), of a connection by TCP both ends,
/// and if they are on this machine, the client's socket.
pub fn onAccepted(tracer: *Tracer, thread: *const Thread, number: i32, items: *decode.Items) void {
    const socket = tracer.descriptors.takeSocket(tracer.owner(thread), number) catch return;
    defer socket.close();
    const known = descriptors_mod.Socket.factsOf(socket.descriptor);
    const file = tracer.descriptors.identify(socket.descriptor) catch return;
    const ends = endsOf(thread, socket.descriptor, known, file.inode);
    var facts = known orelse if (ends) |*found| factsWith(found.own()[0], sock_stream) else return;
    if (ends) |*found| if (facts.type == sock_stream and found.areLocal()) {
        facts.has_holder = 1;
        facts.holder = tracer.clients.socketOf(thread.tid, found);
    };
    expectEnd(tracer, thread, socket.descriptor, &facts);
    items.add(.socket, syscalls.Argument.result, &.{std.mem.asBytes(&facts)}, 0);
    if (ends) |*found| addAddresses(found, items);
}

fn endsOf(thread: *const Thread, descriptor: i32, facts: ?abi.SocketFacts, inode: u64) ?clients.Ends {
    if (facts) |known| if (clients.Ends.of(descriptor, known.domain)) |ends| return ends;
    // It cannot be asked, or is none.
    return if (descriptors_mod.Socket.factsOf(descriptor) == null) clients.Ends.ofInode(thread.tid, inode) else null;
}

/// Of the socket whose facts are the item before.
fn addAddresses(ends: *const clients.Ends, items: *decode.Items) void {
    items.add(.bytes, decode.peer_address, &.{ends.peer()}, 0);
    items.add(.bytes, decode.own_address, &.{ends.own()}, 0);
}

/// Of a TCP connection the kernel tells at its end what went through it, but only to its own network namespace.
fn expectEnd(tracer: *Tracer, thread: *const Thread, descriptor: i32, facts: *abi.SocketFacts) void {
    tracer.traffic.drain(&tracer.records);
    if (facts.type != sock_stream or (facts.domain != linux.AF.INET and facts.domain != linux.AF.INET6)) return;
    if (!status_file.isSameNetwork(thread.tid)) return;
    facts.cookie = sys.socketOption(descriptor, sol_socket, so_cookie, u64) catch return;
    tracer.traffic.expect(facts.cookie);
}

fn factsOf(thread: *const Thread, descriptor: i32, address: []const u8, own: u64) ?abi.SocketFacts {
    var facts = descriptors_mod.Socket.factsOf(descriptor) orelse factsByList(thread, address, own) orelse return null;
    if (holders.Place.of(address, facts.type == sock_stream)) |place| {
        if (place.isLoopback() or isOwnAddress(thread, place)) {
            facts.has_holder = 1;
            facts.holder = holders.holderOf(thread.tid, place, own);
        }
    }
    return facts;
}

/// Whether it is one of this machine's other addresses: what is sent there does not leave it either.
fn isOwnAddress(thread: *const Thread, place: holders.Place) bool {
    var address: [28]u8 = undefined;
    const length = place.write(&address);
    return status_file.isSameNetwork(thread.tid) and sys.isOwnAddress(address[0..length]);
}

/// Of a socket of IP that cannot be asked; null: it is in no list.
fn factsByList(thread: *const Thread, address: []const u8, inode: u64) ?abi.SocketFacts {
    if (holders.Place.of(address, true) == null) return null;
    const is_stream = holders.isListed(thread.tid, .tcp, inode);
    if (!is_stream and !holders.isListed(thread.tid, .udp, inode)) return null;
    return factsWith(address[0], if (is_stream) sock_stream else sock_dgram);
}

fn factsWith(domain: u32, socket_type: u32) abi.SocketFacts {
    return .{ .domain = domain, .type = socket_type, .peer_pid = -1, .has_holder = 0, .holder = 0, .cookie = 0 };
}

/// Null: its bytes name nobody.
fn kindOf(facts: ?abi.SocketFacts, address: []const u8, is_connect: bool) ?watch_mod.Kind {
    const place = holders.Place.of(address, true) orelse return null;
    // Where the type is not told, a stream is the likelier one, and its limits fit the others.
    const socket_type = if (facts) |known| known.type else sock_stream;
    if (place.port == domain_name_port and socket_type == sock_dgram) return .names;
    if (!is_connect) return null; // the filter shows each datagram that has an address
    if (socket_type == sock_stream) return if (place.port == domain_name_port) .names else .stream;
    return if (socket_type == sock_dgram and place.port == quic_port) .datagrams else null;
}

/// struct sockaddr of the first item that has one.
fn addressIn(items: []const u8, row: u8) ?[]const u8 {
    for (syscalls.rows[row].arguments) |argument| switch (argument.kind) {
        .address, .message => return decode.bytesOf(items, argument.index),
        .messages => {
            var at: usize = 0;
            return decode.nextAddress(items, argument.index, &at);
        },
        else => {},
    };
    return null;
}

/// Who has the other end is looked for in lists of all sockets.
const receivers_max = 64;

/// Of several messages each may be for somebody else. Of those beyond the limit only the names tell.
fn addOtherReceivers(thread: *const Thread, descriptor: i32, earlier: []const u8, own: u64, items: *decode.Items) void {
    for (syscalls.rows[thread.call.row].arguments) |argument| if (argument.kind == .messages) {
        var at: usize = 0;
        _ = decode.nextAddress(earlier, argument.index, &at);
        for (1..receivers_max) |_| {
            const address = decode.nextAddress(earlier, argument.index, &at) orelse return;
            const facts = factsOf(thread, descriptor, address, own) orelse return;
            items.add(.socket, decode.other_receiver, &.{std.mem.asBytes(&facts)}, 0);
        }
    };
}

fn begin(tracer: *Tracer, thread: *Thread, what: watch_mod.Watch.What) void {
    const process = tracer.tracees.processOf(thread);
    const is_first = process.watched == 0;
    onAdded(tracer, thread, .{ .added = tracer.watch.add(process, what), .is_first = is_first });
    // Messages that have it may be read when it is closed here.
    if (tracer.sharers.wasPassed(what.inode)) if (tracer.watch.find(process, what.descriptor)) |entry| tracer.watch.handOver(entry);
    beginElsewhere(tracer, thread, what);
}

/// Processes that got the socket before it was connected.
fn beginElsewhere(tracer: *Tracer, thread: *Thread, what: watch_mod.Watch.What) void {
    const connecting = tracer.tracees.processOf(thread);
    const first = if (tracer.shares_places) 0 else tracer.sharers.firstSerial(what.inode, connecting.serial);
    if (first == tracer.tracees.next_serial) return;
    var looked_at: u32 = 0;
    for (tracer.tracees.processes[0..tracer.tracees.used_processes]) |*process| {
        if (process.threads == 0 or process.serial < first or process == connecting) continue;
        var numbers = sharers.Numbers.open(process.pid, what.inode, &looked_at) orelse continue;
        defer numbers.close();
        while (numbers.next() catch return tracer.gap(thread, .names_unwatched, 4, "descriptors of other processes")) |number| {
            var other = what;
            other.descriptor = number;
            const is_first = process.watched == 0;
            if (!tracer.watch.add(process, other)) return tooMany(tracer, thread);
            if (is_first) interruptAll(tracer, process, null);
        }
    }
}

/// A socket that another process connected, with what is left to be seen of it.
pub fn adopt(tracer: *Tracer, thread: *Thread, number: i32, entry: watch_mod.Entry) void {
    const process = tracer.tracees.processOf(thread);
    const is_first = process.watched == 0;
    onAdded(tracer, thread, .{ .added = tracer.watch.adopt(process, number, entry), .is_first = is_first });
}

fn onAdded(tracer: *Tracer, thread: *Thread, how: struct { added: bool, is_first: bool }) void {
    const process = tracer.tracees.processOf(thread);
    if (!how.added) return tooMany(tracer, thread);
    if (how.is_first and process.threads > 1) interruptAll(tracer, process, thread);
}

/// Of watched sockets.
pub fn tooMany(tracer: *Tracer, thread: *Thread) void {
    tracer.gap(thread, .names_unwatched, 1, "sockets at once");
}

/// Threads that run now, or sleep in a call, would go on unseen until their next stop.
pub fn interruptAll(tracer: *Tracer, process: *const tracee.Process, except: ?*const Thread) void {
    for (tracer.tracees.all()) |*other| {
        if (other.state != .running or other == except or other.every_call) continue;
        if (tracer.tracees.processOf(other) != process) continue;
        ptrace.interrupt(other.tid) catch continue; // gone
        other.interrupted = true;
    }
}

// ---------------------------------------------------------------------------------------------
// Watching

/// At the entry of any call of a process that has watched descriptors. The call's number and arguments are known.
pub fn onEntry(tracer: *Tracer, thread: *Thread) void {
    const call = &thread.call;
    const process = tracer.tracees.processOf(thread);
    if (!tracer.watch.onStop(process, tracer.session.control)) {
        if (process.watch_stops > watch_mod.stops_max) tracer.gap(thread, .names_unwatched, 3, "calls of a process");
        return;
    }
    const role = watch_mod.roleOf(call.abi, call.number);
    switch (role) {
        .none => return,
        .close_range, .duplicate, .duplicate_onto, .command, .close => {},
        else => {
            const number = descriptorOf(call, role);
            const entry = tracer.watch.find(process, number) orelse otherNumber(tracer, thread, role, number) orelse return;
            if (role.isReceiving() and entry.kind != .names) return;
            call.socket = entry.inode;
        },
    }
    call.role = role;
}

/// A dup that was made before the connect: nobody has seen it.
fn otherNumber(tracer: *Tracer, thread: *Thread, role: Role, number: i32) ?*watch_mod.Entry {
    if (!role.isSending() and role != .blind and role != .blind_into) return null;
    const inode = sharers.socketAt(thread.tid, number);
    if (inode == 0) return null;
    const process = tracer.tracees.processOf(thread);
    const entry = tracer.watch.findInode(process, inode) orelse return null;
    if (!tracer.watch.duplicate(process, entry.descriptor, number)) tooMany(tracer, thread);
    return tracer.watch.find(process, number);
}

fn descriptorOf(call: *const tracee.Call, role: Role) i32 {
    return argumentOf(call, if (role == .blind_into) 2 else 0);
}

fn argumentOf(call: *const tracee.Call, index: usize) i32 {
    return @bitCast(@as(u32, @truncate(call.arguments[index])));
}

/// True: there is a record of the call, and the table's own is not needed.
pub fn onExit(tracer: *Tracer, thread: *Thread, result: i64) Error!bool {
    const call = &thread.call;
    const process = tracer.tracees.processOf(thread);
    const watch = &tracer.watch;
    switch (call.role) {
        .none => return false,
        // Linux closes whatever it answers.
        .close => watch.remove(process, argumentOf(call, 0)),
        .close_range => if (result == 0 and call.arguments[2] & close_range_cloexec == 0)
            watch.removeAll(process, clamped(call.arguments[0]), clamped(call.arguments[1])),
        .duplicate => if (result >= 0) onDuplicate(tracer, thread, @truncate(result)),
        .duplicate_onto => if (result >= 0) onDuplicate(tracer, thread, argumentOf(call, 1)),
        .command => if (result >= 0 and (call.arguments[1] == f_dupfd or call.arguments[1] == f_dupfd_cloexec))
            onDuplicate(tracer, thread, @truncate(result)),
        else => return onTransfer(tracer, thread, result),
    }
    return false;
}

fn onDuplicate(tracer: *Tracer, thread: *Thread, to: i32) void {
    const process = tracer.tracees.processOf(thread);
    if (!tracer.watch.duplicate(process, argumentOf(&thread.call, 0), to)) tooMany(tracer, thread);
}

const close_range_cloexec = 4;

fn clamped(number: u64) i32 {
    return @intCast(@min(number & std.math.maxInt(u32), std.math.maxInt(i32)));
}

fn onTransfer(tracer: *Tracer, thread: *Thread, result: i64) Error!bool {
    const call = &thread.call;
    const process = tracer.tracees.processOf(thread);
    const number = descriptorOf(call, call.role);
    // Connecting anew, by another thread: these bytes belong to what was there before.
    const entry = tracer.watch.find(process, number) orelse return false;
    if (entry.inode != call.socket) return false;
    if (call.role == .option and (argumentOf(call, 1) != sol_socket or argumentOf(call, 2) != so_error)) return false;
    if (result < 0 or (result == 0 and call.role != .option and call.role != .blind)) return false;
    var items: decode.Items = .{ .buffer = &tracer.scratch.items };
    try decode.addSocket(&calls.context(tracer, thread), if (call.role == .blind_into) 2 else 0, number, &items);
    if (decode.inodeIn(items.written()) != call.socket) {
        tracer.watch.remove(process, number);
        return false;
    }
    // write(2) has other things there.
    const is_send = call.row != tracee.Call.no_row and syscalls.rows[call.row].special == .send;
    const is_addressed = is_send and call.arguments[4] != 0;
    const room: decode.Room = .{ .buffer = &tracer.scratch.data, .room = entry.bytes };
    const sent = try decode.addTransfer(&calls.context(tracer, thread), call.role, is_addressed, result, room, &items);
    // The table's items hold the same data, and less of it.
    tracer.tracees.releaseBuffer(call);
    call.items = 0;
    call.length = 0;
    call.flags = items.flags;
    calls.record(tracer, thread, result, &.{ .items = &items });
    entry.bytes -|= @intCast(@min(sent, std.math.maxInt(u32)));
    entry.calls -|= 1;
    if (entry.bytes != 0 and entry.calls != 0 and call.role != .blind and call.role != .blind_into) return true;
    if (entry.calls == 0) tracer.gap(thread, .names_unwatched, 2, "calls of a connection");
    tracer.watch.remove(process, number);
    return true;
}

/// The descriptors that exec has closed.
pub fn onExec(tracer: *Tracer, leader: *const Thread) void {
    const process = tracer.tracees.processOf(leader);
    var number: i32 = -1;
    while (tracer.watch.nextDescriptor(process, number)) |entry| {
        number = entry.descriptor;
        const taken = tracer.descriptors.take(tracer.owner(leader), number) catch {
            tracer.watch.remove(process, number);
            continue;
        };
        defer taken.close();
        const file = tracer.descriptors.identify(taken.descriptor) catch abi.FileIdentity{};
        if (file.inode != entry.inode or file.device != entry.device) tracer.watch.remove(process, number);
    }
}
