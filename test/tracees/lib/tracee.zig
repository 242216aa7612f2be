//! What every test program needs: raw system calls, and lines of JSON that say what a tracer must have seen.
//! Nothing here goes through libc or std's abstractions, so that a program makes exactly the calls that it spells out.
const std = @import("std");
pub const linux = std.os.linux;
pub const SYS = linux.SYS;
pub const SIG = linux.SIG;

pub const at_cwd: i32 = -100;
pub const at_empty_path = 0x1000;
pub const at_symlink_follow = 0x400;

/// open(2) flags as plain numbers: they are what the tracer sees.
pub const O = struct {
    pub const rdonly = 0;
    pub const wronly = 1;
    pub const rdwr = 2;
    pub const creat = 0o100;
    pub const excl = 0o200;
    pub const trunc = 0o1000;
    pub const append = 0o2000;
    pub const nonblock = 0o4000;
    pub const directory = 0o200000;
    pub const nofollow = 0o400000;
    pub const cloexec = 0o2000000;
    pub const path = 0o10000000;
    pub const tmpfile = 0o20000000 | directory;
};

/// Any system call: integers (negative ones too), pointers and null as the kernel gets them. The result is
/// signed: below zero it is -errno.
pub fn call(number: SYS, arguments: anytype) isize {
    return raw(@backingInt(number), arguments);
}

pub fn raw(number: usize, arguments: anytype) isize {
    var words: [6]usize = @splat(0);
    inline for (arguments, 0..) |argument, i| words[i] = word(argument);
    const result = asm volatile ("syscall"
        : [result] "={rax}" (-> usize),
        : [number] "{rax}" (number),
          [a] "{rdi}" (words[0]),
          [b] "{rsi}" (words[1]),
          [c] "{rdx}" (words[2]),
          [d] "{r10}" (words[3]),
          [e] "{r8}" (words[4]),
          [f] "{r9}" (words[5]),
        : .{ .rcx = true, .r11 = true, .memory = true });
    return @bitCast(result);
}

fn word(argument: anytype) usize {
    return switch (@typeInfo(@TypeOf(argument))) {
        .int => |info| if (info.signedness == .signed) @bitCast(@as(isize, argument)) else argument,
        .comptime_int => @bitCast(@as(i64, @truncate(@as(i128, argument)))),
        .pointer => @intFromPtr(argument),
        .optional => if (argument) |pointer| @intFromPtr(pointer) else 0,
        .null => 0,
        else => @compileError("not a system call argument: " ++ @typeName(@TypeOf(argument))),
    };
}

/// Like `call`, where failure means that the test program itself is broken or the machine lacks something.
pub fn must(number: SYS, arguments: anytype) usize {
    const result = call(number, arguments);
    if (result < 0) fail(@tagName(number), result);
    return @intCast(result);
}

/// A failing tracee ends with this status: no test expects it.
pub const broken_status = 99;

pub fn fail(what: []const u8, result: isize) noreturn {
    var buffer: [256]u8 = undefined;
    const text = std.fmt.bufPrint(&buffer, "tracee: {s}: {d}\n", .{ what, result }) catch "tracee: failed\n";
    _ = call(.write, .{ 2, text.ptr, text.len });
    exit(broken_status);
}

pub fn exit(status: u8) noreturn {
    _ = call(.exit_group, .{status});
    unreachable; // exit_group does not return
}

/// A panic without std.debug: it would pull in thread-local storage and 190 KB.
pub const panic = std.debug.FullPanic(struct {
    fn print(message: []const u8, _: ?usize) noreturn {
        fail(message, 0);
    }
}.print);

pub fn pid() i32 {
    return @intCast(must(.getpid, .{}));
}

pub fn tid() i32 {
    return @intCast(must(.gettid, .{}));
}

/// fork(2), answers 0 in the child.
pub fn fork() i32 {
    return @intCast(must(.fork, .{}));
}

/// Waits for the child's end; answers its wait status.
pub fn reap(child: i32) u32 {
    var status: u32 = 0;
    while (true) {
        const result = call(.wait4, .{ child, &status, 0, null });
        if (result == -@as(isize, @backingInt(linux.E.INTR))) continue;
        if (result < 0) fail("wait4", result);
        return status;
    }
}

pub fn sleepMs(ms: u32) void {
    var time: linux.timespec = .{ .sec = ms / 1000, .nsec = @as(isize, ms % 1000) * 1_000_000 };
    while (call(.nanosleep, .{ &time, &time }) == -@as(isize, @backingInt(linux.E.INTR))) {}
}

/// Anonymous private memory: for stacks.
pub fn memory(size: usize) [*]align(4096) u8 {
    const address = must(.mmap, .{ 0, size, 3, 0x22, -1, 0 });
    return @ptrFromInt(address);
}

pub const stack_size = 256 * 1024;

/// A thread without TLS or libc. The kernel clears `Thread.alive` and wakes it at the thread's end.
pub const Thread = struct {
    alive: u32 align(4) = 1,
    tid: i32 = 0,

    const flags = linux.CLONE.VM | linux.CLONE.FS | linux.CLONE.FILES | linux.CLONE.SIGHAND | linux.CLONE.THREAD |
        linux.CLONE.SYSVSEM | linux.CLONE.CHILD_CLEARTID | linux.CLONE.PARENT_SETTID;

    pub fn start(thread: *Thread, function: *const fn (usize) callconv(.c) u8, argument: usize) void {
        const stack = memory(stack_size);
        const result: isize = @bitCast(linux.clone(function, @intFromPtr(stack) + stack_size, flags, argument, &thread.tid, 0, @ptrCast(&thread.alive)));
        if (result < 0) fail("clone of a thread", result);
    }

    pub fn join(thread: *Thread) void {
        while (@atomicLoad(u32, &thread.alive, .acquire) != 0) {
            _ = call(.futex, .{ &thread.alive, 0, 1, null });
        }
    }
};

/// Where lines go.
pub var output: usize = 1;

/// One line of JSON, written by a single write(2): lines of several processes do not mix in a pipe.
pub const Line = struct {
    buffer: [16 * 1024]u8 = undefined,
    length: usize = 0,

    /// `see` is the kind of thing that a tracer must (or, for `unseen…`, must not) have recorded.
    pub fn begin(line: *Line, kind: []const u8) *Line {
        line.length = 0;
        line.put("{\"see\":\"");
        line.put(kind);
        line.put("\"");
        return line;
    }

    pub fn number(line: *Line, key: []const u8, value: anytype) *Line {
        line.name(key);
        line.print("{d}", .{value});
        return line;
    }

    pub fn boolean(line: *Line, key: []const u8, value: bool) *Line {
        line.name(key);
        line.put(if (value) "true" else "false");
        return line;
    }

    pub fn text(line: *Line, key: []const u8, value: []const u8) *Line {
        line.name(key);
        line.quote(value);
        return line;
    }

    /// Bytes that may be anything.
    pub fn hex(line: *Line, key: []const u8, value: []const u8) *Line {
        line.name(key);
        line.put("\"");
        for (value) |byte| line.print("{x:0>2}", .{byte});
        line.put("\"");
        return line;
    }

    pub fn texts(line: *Line, key: []const u8, values: []const []const u8) *Line {
        line.name(key);
        line.put("[");
        for (values, 0..) |value, i| {
            if (i > 0) line.put(",");
            line.quote(value);
        }
        line.put("]");
        return line;
    }

    pub fn end(line: *Line) void {
        line.put("}\n");
        var written: usize = 0;
        while (written < line.length) {
            const result = call(.write, .{ output, line.buffer[written..].ptr, line.length - written });
            if (result == -@as(isize, @backingInt(linux.E.INTR))) continue;
            if (result < 0) return; // stdout is closed, which is one of the cases under test
            written += @intCast(result);
        }
    }

    fn name(line: *Line, key: []const u8) void {
        line.put(",\"");
        line.put(key);
        line.put("\":");
    }

    fn quote(line: *Line, value: []const u8) void {
        line.put("\"");
        for (value) |byte| switch (byte) {
            '"', '\\' => line.print("\\{c}", .{byte}),
            0...0x1f => line.print("\\u{x:0>4}", .{byte}),
            else => line.put(&.{byte}),
        };
        line.put("\"");
    }

    fn print(line: *Line, comptime template: []const u8, arguments: anytype) void {
        const part = std.fmt.bufPrint(line.buffer[line.length..], template, arguments) catch fail("line too long", 0);
        line.length += part.len;
    }

    fn put(line: *Line, part: []const u8) void {
        if (line.length + part.len > line.buffer.len) fail("line too long", 0);
        @memcpy(line.buffer[line.length..][0..part.len], part);
        line.length += part.len;
    }
};

/// A process that must be in the record, with the one that created it.
pub fn seeProcess(process: i32, parent: i32, how: []const u8) void {
    var line: Line = .{};
    line.begin("process").number("pid", process).number("parent", parent).text("how", how).end();
}

/// A thread: it must not be a process of its own in the record.
pub fn seeThread(thread: i32, process: i32) void {
    var line: Line = .{};
    line.begin("thread").number("tid", thread).number("pid", process).end();
}

/// An image that must have run, argv and all.
pub fn seeProgram(process: i32, path: []const u8, argv: []const []const u8) void {
    var line: Line = .{};
    line.begin("program").number("pid", process).text("path", path).texts("argv", argv).end();
}

/// A successful open. `access` is read, write, both, path-only or directory.
pub fn seeOpen(path: []const u8, access: []const u8, how: []const u8) void {
    var line: Line = .{};
    line.begin("open").number("pid", pid()).text("path", path).text("access", access).text("how", how).end();
}

/// A path that must not be among the opened ones: the open failed.
pub fn seeNoOpen(path: []const u8, how: []const u8) void {
    var line: Line = .{};
    line.begin("no-open").number("pid", pid()).text("path", path).text("how", how).end();
}

/// Arguments of the program, as slices.
pub const Arguments = struct {
    vector: []const [*:0]const u8,
    environment: [:null]const ?[*:0]const u8,

    pub fn of(init: std.process.Init.Minimal) Arguments {
        return .{ .vector = init.args.vector, .environment = init.environ.block.slice };
    }

    pub fn at(arguments: Arguments, index: usize) ?[:0]const u8 {
        return if (index < arguments.vector.len) std.mem.span(arguments.vector[index]) else null;
    }

    pub fn number(arguments: Arguments, index: usize, default: u64) u64 {
        const text = arguments.at(index) orelse return default;
        return std.fmt.parseInt(u64, text, 10) catch fail("not a number", @intCast(index));
    }

    /// argv for execve: what follows `index`, ended by null.
    pub fn from(arguments: Arguments, index: usize) [*:null]const ?[*:0]const u8 {
        // The kernel's vector is null-terminated, the slice only drops the sentinel.
        return @ptrCast(arguments.vector.ptr + index);
    }
};

/// Current directory, as the kernel says it.
pub fn workingDirectory(buffer: *[4096]u8) [:0]const u8 {
    const length = must(.getcwd, .{ buffer, buffer.len });
    return buffer[0 .. length - 1 :0];
}

/// `cwd/name` in a buffer of the caller's, ended by NUL.
pub fn absolute(buffer: *[4096]u8, name: []const u8) [:0]const u8 {
    const directory = workingDirectory(buffer);
    buffer[directory.len] = '/';
    @memcpy(buffer[directory.len + 1 ..][0..name.len], name);
    const length = directory.len + 1 + name.len;
    buffer[length] = 0;
    return buffer[0..length :0];
}

pub fn close(descriptor: usize) void {
    _ = must(.close, .{descriptor});
}

pub fn open(path: [*:0]const u8, flags: u32, mode: u32) usize {
    return must(.openat, .{ at_cwd, path, flags, mode });
}

pub fn writeAll(descriptor: usize, bytes: []const u8) void {
    var rest = bytes;
    while (rest.len > 0) {
        const result = call(.write, .{ descriptor, rest.ptr, rest.len });
        if (result == -@as(isize, @backingInt(linux.E.INTR))) continue;
        if (result < 0) fail("write", result);
        rest = rest[@intCast(result)..];
    }
}

/// Text in a buffer of the caller's, ended by NUL.
pub fn format(buffer: []u8, comptime template: []const u8, arguments: anytype) [:0]const u8 {
    const text = std.fmt.bufPrint(buffer[0 .. buffer.len - 1], template, arguments) catch fail("text too long", 0);
    buffer[text.len] = 0;
    return buffer[0..text.len :0];
}

/// Creates (or empties) a file with this content and closes it.
pub fn makeFile(path: [*:0]const u8, content: []const u8) void {
    const descriptor = open(path, O.wronly | O.creat | O.trunc, 0o644);
    writeAll(descriptor, content);
    close(descriptor);
}

/// The same by a child, so that it is not this process that has opened it: what is to be seen of it is another open.
pub fn makeFileElsewhere(path: [*:0]const u8, content: []const u8) void {
    const maker = fork();
    if (maker == 0) {
        makeFile(path, content);
        exit(0);
    }
    if (reap(maker) != 0) fail("makeFile", 0);
}

/// Opens for reading, reads to the end, closes.
pub fn readFile(path: [*:0]const u8) void {
    const descriptor = open(path, O.rdonly, 0);
    var buffer: [4096]u8 = undefined;
    while (must(.read, .{ descriptor, &buffer, buffer.len }) > 0) {}
    close(descriptor);
}

/// cmsghdr with one descriptor: SOL_SOCKET, SCM_RIGHTS.
const Control = extern struct { length: usize = 20, level: i32 = 1, kind: i32 = 1, descriptor: i32, padding: i32 = 0 };

fn messageOf(vector: *std.posix.iovec, control: *Control) linux.msghdr {
    return .{
        .name = null,
        .namelen = 0,
        .iov = @ptrCast(vector),
        .iovlen = 1,
        .control = control,
        .controllen = @sizeOf(Control),
        .flags = 0,
    };
}

/// Over a unix socket, with a byte that says nothing.
pub fn sendDescriptor(socket: usize, descriptor: usize) void {
    var byte = [1]u8{0};
    var vector: std.posix.iovec = .{ .base = &byte, .len = 1 };
    var control: Control = .{ .descriptor = @intCast(descriptor) };
    _ = must(.sendmsg, .{ socket, &messageOf(&vector, &control), 0 });
}

pub fn receiveDescriptor(socket: usize) usize {
    var byte: [1]u8 = undefined;
    var vector: std.posix.iovec = .{ .base = &byte, .len = 1 };
    var control: Control = .{ .descriptor = -1 };
    var received = messageOf(&vector, &control);
    _ = must(.recvmsg, .{ socket, &received, 0 });
    if (control.descriptor < 0) fail("no descriptor came", 0);
    return @intCast(control.descriptor);
}
