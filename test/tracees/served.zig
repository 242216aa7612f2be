//! Files that are served by a process of the build itself, which makes a watched call before each of its answers:
//! `served DIRECTORY MODE`. DIRECTORY is empty and gets a FUSE file system.
//!   polite: the files are read, written to and run, and the server answers whoever asks.
//!   memory: the path of a call is in memory that is mapped from such a file.
//!   mute-OPERATION: the server does not answer that to anybody but the process that reads the file. Of look-ups of one
//!     name the kernel makes one at a time: the reader would wait for another's.
//!   alone: only serves, until it is killed; whoever opens DIRECTORY/text first is answered, others are not, and who looks for
//!     DIRECTORY/lost never is.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

const Operation = enum(u32) {
    lookup = 1,
    forget = 2,
    getattr = 3,
    open = 14,
    read = 15,
    statfs = 17,
    release = 18,
    getxattr = 22,
    flush = 25,
    init = 26,
    opendir = 27,
    releasedir = 29,
    interrupt = 36,
    batch_forget = 42,
    _,
};

/// struct fuse_in_header.
const Request = extern struct {
    length: u32,
    operation: Operation,
    unique: u64,
    node: u64,
    uid: u32,
    gid: u32,
    pid: i32,
    padding: u32,
};
const Answer = extern struct { length: u32, failure: i32, unique: u64 };
const InitAnswer = extern struct { major: u32 = 7, minor: u32 = 31, readahead: u32 = 0, flags: u32 = 0, background: u32 = 0, max_write: u32 = 65536, rest: [10]u32 = @splat(0) };
const Attributes = extern struct { inode: u64, size: u64, blocks: u64 = 1, times: [3]u64 = @splat(1), nanoseconds: [3]u32 = @splat(0), mode: u32, links: u32 = 1, uid: u32 = 0, gid: u32 = 0, device: u32 = 0, block_size: u32 = 4096, flags: u32 = 0 };
const Entry = extern struct { node: u64, generation: u64 = 0, valid: [2]u64 = @splat(0), nanoseconds: [2]u32 = @splat(0), attributes: Attributes };
const AttributesAnswer = extern struct { valid: u64 = 0, nanoseconds: u32 = 0, padding: u32 = 0, attributes: Attributes };
const OpenAnswer = extern struct { handle: u64 = 1, flags: u32 = 0, padding: u32 = 0 };
const ReadRequest = extern struct { handle: u64, offset: u64, size: u32 };

const File = struct { name: []const u8, mode: u32 = 0o100644, content: []const u8 };
/// Nodes 2 and on. The program is this one.
var files = [_]File{
    .{ .name = "text", .content = "served by a process of the build\n" },
    .{ .name = "path", .content = "old-name\x00" },
    .{ .name = "program", .mode = 0o100755, .content = "" },
};
const root_node = 1;

const Server = struct {
    device: usize,
    /// Who is answered in any case; 0: whoever comes first.
    reader: i32,
    mute: ?Operation = null,
    /// Handles that somebody has, and how many there were.
    handles: u32 = 0,
    opened: u32 = 0,
    /// Ends when all is closed and so many were opened.
    until: u32 = std.math.maxInt(u32),
    buffer: [128 << 10]u8 align(8) = undefined,
    out: [128 << 10]u8 align(8) = undefined,

    fn run(server: *Server) void {
        while (server.opened < server.until or server.handles > 0) {
            const got = t.call(.read, .{ server.device, &server.buffer, server.buffer.len });
            if (got < 0) return; // unmounted
            server.serve(@ptrCast(&server.buffer), server.buffer[@sizeOf(Request)..@intCast(got)]);
        }
    }

    fn serve(server: *Server, request: *const Request, body: []const u8) void {
        // The one that a tracer has to let go on.
        t.close(t.open("watched", t.O.rdonly, 0));
        if (server.reader == 0 and request.operation == .open) server.reader = request.pid;
        if (request.operation == server.mute and request.pid != server.reader) return;
        const index = request.node -% 2;
        switch (request.operation) {
            .init => server.answer(request, InitAnswer{}),
            .lookup => {
                if (std.mem.eql(u8, std.mem.sliceTo(body, 0), "lost")) return;
                for (files, 2..) |file, node| {
                    if (!std.mem.eql(u8, file.name, std.mem.sliceTo(body, 0))) continue;
                    return server.answer(request, Entry{ .node = node, .attributes = attributesOf(node) });
                }
                server.refuse(request, .NOENT);
            },
            .getattr => server.answer(request, AttributesAnswer{ .attributes = attributesOf(request.node) }),
            .open => {
                server.handles += 1;
                server.opened += 1;
                server.answer(request, OpenAnswer{});
            },
            .opendir => server.answer(request, OpenAnswer{}),
            .read => {
                const asked: *align(1) const ReadRequest = @ptrCast(body.ptr);
                const content = files[index].content;
                const from = @min(asked.offset, content.len);
                server.send(request, content[from..][0..@min(content.len - from, asked.size)], 0);
            },
            .statfs => server.answer(request, @as([20]u32, @splat(0))),
            .release => {
                server.handles -= 1;
                server.send(request, "", 0);
            },
            .flush, .releasedir => server.send(request, "", 0),
            .forget, .batch_forget, .interrupt => {},
            .getxattr => server.refuse(request, .NODATA),
            else => server.refuse(request, .NOSYS),
        }
    }

    fn answer(server: *Server, request: *const Request, value: anytype) void {
        server.send(request, std.mem.asBytes(&value), 0);
    }

    fn refuse(server: *Server, request: *const Request, why: t.linux.E) void {
        server.send(request, "", -@as(i32, @backingInt(why)));
    }

    fn send(server: *Server, request: *const Request, bytes: []const u8, failure: i32) void {
        const length = @sizeOf(Answer) + bytes.len;
        const head: Answer = .{ .length = @intCast(length), .failure = failure, .unique = request.unique };
        @memcpy(server.out[0..@sizeOf(Answer)], std.mem.asBytes(&head));
        @memcpy(server.out[@sizeOf(Answer)..length], bytes);
        _ = t.call(.write, .{ server.device, &server.out, length }); // who asked may be dead
    }
};

fn attributesOf(node: u64) Attributes {
    if (node == root_node) return .{ .inode = node, .size = 0, .mode = 0o40755 };
    const file = files[@intCast(node - 2)];
    return .{ .inode = node, .size = file.content.len, .mode = file.mode };
}

var the_server: Server = undefined;
var path_buffer: [4096]u8 = undefined;
var line: t.Line = .{};

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    const directory = arguments.at(1) orelse return;
    const mode = arguments.at(2) orelse return;
    if (std.mem.eql(u8, mode, "ran")) return line.begin("answer").text("what", "ran").number("value", 0).end();
    t.makeFile("watched", "opened before each answer\n");
    files[2].content = ownProgram();

    the_server = .{ .device = t.open("/dev/fuse", t.O.rdwr, 0), .reader = t.pid() };
    var options: [128]u8 = undefined;
    _ = t.must(.mount, .{ "served", directory.ptr, "fuse.served", 0, t.format(&options, "fd={d},rootmode=40000,user_id=0,group_id=0,allow_other", .{the_server.device}).ptr });
    const is_alone = std.mem.eql(u8, mode, "alone");
    if (std.mem.startsWith(u8, mode, "mute-")) the_server.mute = std.meta.stringToEnum(Operation, mode["mute-".len..]) orelse t.fail("mute WHAT", 0);
    if (is_alone) {
        the_server.reader = 0;
        the_server.mute = .open;
        line.begin("answer").text("what", "ready").number("value", 0).end();
        return the_server.run();
    }
    const is_polite = std.mem.eql(u8, mode, "polite");
    // Ours: text twice, program, and as many of the tracer, whose descriptors are closed when they have been digested.
    if (is_polite) the_server.until = 3 + 3;
    const child = t.fork();
    if (child == 0) {
        the_server.run();
        t.exit(0);
    }
    defer finish(directory, child, is_polite);
    if (std.mem.eql(u8, mode, "memory")) return renameByMappedPath(directory);
    var name: [256]u8 = undefined;
    const text = t.format(&name, "{s}/text", .{directory});
    t.readFile(text);
    t.seeOpen(text, "read", "a file that a process of the build serves");
    if (!is_polite) return;
    t.readFile(text);
    const program = t.format(&name, "{s}/program", .{directory});
    const runner = t.fork();
    if (runner == 0) {
        const argv = [_:null]?[*:0]const u8{ program, "nowhere", "ran" };
        _ = t.must(.execve, .{ program.ptr, &argv, arguments.environment.ptr });
    }
    if (t.reap(runner) != 0) t.fail("the served program", 0);
}

fn renameByMappedPath(directory: []const u8) void {
    var name: [256]u8 = undefined;
    const descriptor = t.open(t.format(&name, "{s}/path", .{directory}).ptr, t.O.rdonly, 0);
    const page = t.must(.mmap, .{ 0, 4096, 1, 2, descriptor, 0 });
    t.makeFile("old-name", "has another name soon\n");
    _ = t.must(.rename, .{ page, "new-name" });
    t.close(descriptor);
    line.begin("renamed").number("pid", t.pid()).text("from", t.absolute(&path_buffer, "old-name")).end();
}

fn finish(directory: [:0]const u8, child: i32, is_polite: bool) void {
    if (is_polite) {
        if (t.reap(child) != 0) t.fail("the server", 0);
    } else {
        _ = t.must(.kill, .{ child, 9 });
        _ = t.reap(child);
    }
    const detach = 2;
    _ = t.must(.umount2, .{ directory.ptr, detach });
    line.begin("answer").text("what", "done").number("value", 0).end();
}

fn ownProgram() []const u8 {
    const descriptor = t.open("/proc/self/exe", t.O.rdonly, 0);
    const most = 16 << 20;
    const into = t.memory(most)[0..most];
    var length: usize = 0;
    while (true) {
        const got = t.must(.read, .{ descriptor, into[length..].ptr, most - length });
        if (got == 0) return into[0..length];
        length += got;
    }
}
