//! The command's process, from its fork to its exec. It was forked before anything touched the process, so
//! there is little to restore; what it must not pass on is undone here, in this order, and nothing else
//! happens. It never returns.
const std = @import("std");
const linux = std.os.linux;
const abi = @import("abi.zig");
const sys = @import("sys.zig");
const Session = @import("session.zig").Session;
const seccomp = @import("seccomp.zig");

/// Read by us, never handed on.
const withheld_variables = [_][]const u8{ "AFLOCK_KEY_PASSPHRASE", "WITNESS_KEY_PASSPHRASE" };

/// `parent`: the tracer. `mask`: the signal mask that the process was started with; all are blocked now.
pub fn run(session: *Session, parent: i32, mask: linux.sigset_t) noreturn {
    // Until the exec: a command that nobody starts any more must not wait for ever.
    _ = sys.prctl(.SET_PDEATHSIG, @backingInt(linux.SIG.KILL)) catch {};
    if (sys.parentPid() != parent) sys.exit(125);

    if (session.waitForStart() == .cancel) sys.exit(0);
    waitUntilSeized(session);

    prepare(session) catch |e| fail(session, .stdio, errnoOf(e), 125);
    const control = session.control;
    if (control.working_directory_length != 0) {
        const e = linux.errno(linux.chdir(@ptrCast(&control.working_directory)));
        if (e != .SUCCESS) fail(session, .working_directory, sys.errnoNumber(e), 125);
    }
    const argv = session.argv + control.argv_index;
    const environment = withoutWithheld(session.environment) catch fail(session, .memory, sys.errnoNumber(.NOMEM), 125);

    _ = sys.prctl(.SET_PDEATHSIG, 0) catch {};
    if (control.trace != 0) {
        const options: seccomp.Options = .{
            .allow_without_no_new_privs = true,
            .protected = .{ @intCast(parent), @intCast(session.front_pid) },
            .detail = session.detail(),
        };
        switch (seccomp.installFor(options)) {
            .without_no_new_privs => session.setFeature(.without_no_new_privs),
            .with_no_new_privs => {},
            .failed => |e| fail(session, .filter, sys.errnoNumber(e), 125),
        }
    }
    // What the terminal sent meanwhile is delivered here, as it would have been to the command.
    _ = sys.setSignalMask(mask);

    @atomicStore(u32, &control.seized, 2, .release); // pairs with untraced.zig's load
    const e = execute(argv, environment);
    fail(session, .exec, sys.errnoNumber(e), if (e == .NOENT) 127 else 126);
}

fn waitUntilSeized(session: *Session) void {
    const word = &session.control.seized;
    while (@atomicLoad(u32, word, .acquire) == 0) sys.futexWait(word, 0, null); // pairs with announceSeized
}

fn fail(session: *Session, stage: abi.Stage, errno: u32, status: u8) noreturn {
    session.setError(stage, errno);
    sys.exit(status);
}

fn errnoOf(e: sys.Error) u32 {
    return sys.errnoNumber(switch (e) {
        error.OutOfDescriptors => .MFILE,
        error.OutOfMemory => .NOMEM,
        error.Denied => .ACCES,
        else => .BADF,
    });
}

/// Descriptors 0, 1 and 2, then away with everything that is ours.
fn prepare(session: *Session) sys.Error!void {
    const descriptors = &session.descriptors;
    const control = session.control;
    for (control.stdio, 0..) |word, index| {
        const number: i32 = @intCast(index);
        switch (@as(abi.Stdio, @fromBackingInt(word))) {
            .inherit => {},
            .capture => try sys.duplicateTo(descriptors.capture_write[index - 1], number, 0),
            .sent => {
                const received = try sys.receiveDescriptor(descriptors.hand_command);
                if (received.tag != index) return error.BadDescriptor;
                try sys.duplicateTo(received.descriptor, number, 0);
                sys.close(received.descriptor);
            },
        }
    }
    for (descriptors.all()) |descriptor| if (descriptor > 2) sys.close(descriptor);
    for (control.withheld_descriptors) |descriptor| {
        if (descriptor < 0) break;
        sys.close(descriptor);
        // The first file that a program opens would be its stdin. Where there is no /dev it has none.
        if (descriptor <= 2) openNull(descriptor);
    }
}

fn openNull(number: i32) void {
    const opened = switch (sys.open(linux.AT.FDCWD, "/dev/null", .{ .ACCMODE = .RDWR })) {
        .descriptor => |descriptor| descriptor,
        .failed => return,
    };
    if (opened == number) return;
    sys.duplicateTo(opened, number, 0) catch {};
    sys.close(opened);
}

/// The same strings without the withheld ones; the very same table where there are none.
fn withoutWithheld(environment: [*:null]const ?[*:0]const u8) sys.Error![*:null]const ?[*:0]const u8 {
    var count: usize = 0;
    var withheld: usize = 0;
    while (environment[count]) |entry| : (count += 1) {
        if (isWithheld(std.mem.span(entry))) withheld += 1;
    }
    if (withheld == 0) return environment;
    const memory = try sys.mapPrivate((count + 1) * @sizeOf(usize));
    const table: [*]?[*:0]const u8 = @ptrCast(memory);
    var kept: usize = 0;
    for (environment[0..count]) |entry| {
        if (isWithheld(std.mem.span(entry.?))) continue;
        table[kept] = entry;
        kept += 1;
    }
    table[kept] = null;
    return table[0..kept :null];
}

pub fn isWithheld(entry: []const u8) bool {
    for (withheld_variables) |name| {
        if (entry.len > name.len and entry[name.len] == '=' and std.mem.startsWith(u8, entry, name)) return true;
    }
    return false;
}

// ---------------------------------------------------------------------------------------------
// exec as execvp(3) does it

/// confstr(_CS_PATH), used where PATH is not set.
const default_path = "/bin:/usr/bin";

/// Returns only if nothing could be executed: EACCES if something was there, else ENOENT or what exec said.
fn execute(argv: [*:null]const ?[*:0]const u8, environment: [*:null]const ?[*:0]const u8) linux.E {
    const name = std.mem.span(argv[0] orelse return .NOENT);
    if (name.len == 0) return .NOENT;
    if (std.mem.findScalar(u8, name, '/') != null) return executeFile(name, argv, environment);

    var denied = false;
    var search: PathSearch = .init(pathOf(environment), name);
    var buffer: [linux.PATH_MAX]u8 = undefined;
    while (search.next(&buffer)) |candidate| {
        switch (executeFile(candidate, argv, environment)) {
            .ACCES => denied = true,
            // The element does not exist or its server does not answer: the next one may.
            .NOENT, .NOTDIR, .STALE, .NODEV, .TIMEDOUT, .NAMETOOLONG, .LOOP => {},
            else => |e| return e,
        }
    }
    return if (denied) .ACCES else .NOENT;
}

/// A file that the kernel does not know how to run is a script for /bin/sh.
fn executeFile(path: [:0]const u8, argv: [*:null]const ?[*:0]const u8, environment: [*:null]const ?[*:0]const u8) linux.E {
    const e = linux.errno(linux.execve(path, argv, environment));
    if (e != .NOEXEC) return e;
    var count: usize = 0;
    while (argv[count] != null) count += 1;
    const memory = sys.mapPrivate((count + 3) * @sizeOf(usize)) catch return .NOMEM;
    const table: [*]?[*:0]const u8 = @ptrCast(memory);
    table[0] = "/bin/sh";
    table[1] = path;
    @memcpy(table[2..][0..count], argv[1 .. count + 1]); // with the null at its end
    return linux.errno(linux.execve("/bin/sh", table[0 .. count + 1 :null], environment));
}

fn pathOf(environment: [*:null]const ?[*:0]const u8) []const u8 {
    var i: usize = 0;
    while (environment[i]) |entry| : (i += 1) {
        const text = std.mem.span(entry);
        if (std.mem.startsWith(u8, text, "PATH=")) return text["PATH=".len..];
    }
    return default_path;
}

/// The places where PATH says that a command may be. An empty element is the working directory.
const PathSearch = struct {
    rest: ?[]const u8,
    name: []const u8,

    fn init(path: []const u8, name: []const u8) PathSearch {
        return .{ .rest = path, .name = name };
    }

    fn next(search: *PathSearch, buffer: []u8) ?[:0]const u8 {
        while (search.rest) |rest| {
            const end = std.mem.findScalar(u8, rest, ':') orelse rest.len;
            const element = rest[0..end];
            search.rest = if (end == rest.len) null else rest[end + 1 ..];
            if (element.len + 1 + search.name.len + 1 > buffer.len) continue; // could not be named
            var at = sys.append(buffer, 0, element);
            if (element.len != 0) at = sys.append(buffer, at, "/");
            at = sys.append(buffer, at, search.name);
            buffer[at] = 0;
            return buffer[0..at :0];
        }
        return null;
    }
};

test "PATH search" {
    const rows = .{
        .{ "/bin:/usr/bin", &.{ "/bin/x", "/usr/bin/x" } },
        .{ "/bin", &.{"/bin/x"} },
        .{ "", &.{"x"} },
        .{ ":/bin", &.{ "x", "/bin/x" } },
        .{ "/bin:", &.{ "/bin/x", "x" } },
        .{ "a::b", &.{ "a/x", "x", "b/x" } },
        .{ &@as([4096]u8, @splat(0x6c)) ++ ":/bin", &.{"/bin/x"} },
    };
    inline for (rows) |row| {
        var buffer: [linux.PATH_MAX]u8 = undefined;
        var search: PathSearch = .init(row[0], "x");
        inline for (row[1]) |expected| try std.testing.expectEqualStrings(expected, search.next(&buffer).?);
        try std.testing.expectEqual(null, search.next(&buffer));
    }
}

test "withheld variables" {
    try std.testing.expect(isWithheld("AFLOCK_KEY_PASSPHRASE=x"));
    try std.testing.expect(isWithheld("WITNESS_KEY_PASSPHRASE="));
    try std.testing.expect(!isWithheld("WITNESS_KEY_PASSPHRASE"));
    try std.testing.expect(!isWithheld("WITNESS_KEY_PASSPHRASE_PATH=x"));
    try std.testing.expect(!isWithheld("XWITNESS_KEY_PASSPHRASE=x"));
    const table = [_:null]?[*:0]const u8{ "A=1", "AFLOCK_KEY_PASSPHRASE=s", "B=2" };
    const kept = try withoutWithheld(&table);
    try std.testing.expectEqualStrings("A=1", std.mem.span(kept[0].?));
    try std.testing.expectEqualStrings("B=2", std.mem.span(kept[1].?));
    try std.testing.expectEqual(null, kept[2]);
}
