//! Limits of this process that are too low for the runtime: it falls over them in its own words, with a status that means
//! something else here. Looked at before it runs. Soft limits are no matter: once the command has its own copy of them, ours
//! are raised to the hard ones.
const std = @import("std");
const linux = std.os.linux;
const sys = @import("sys.zig");

const Row = struct {
    resource: linux.rlimit_resource,
    /// Found by trying: a little below this the runtime or the tracer fails.
    minimum: u64,
    /// The same for the other commands, which start no process and keep little in memory.
    to_read: u64 = 0,
    of: []const u8,
    hint: []const u8,
    /// A limit that root does not have.
    spares_root: bool = false,
};

const rows = [_]Row{
    .{ .resource = .NOFILE, .minimum = 32, .to_read = 8, .of = "open files", .hint = "ulimit -n 1024" },
    .{ .resource = .STACK, .minimum = 1 << 20, .to_read = 256 << 10, .of = "the stack", .hint = "ulimit -s 8192" },
    .{ .resource = .AS, .minimum = 5 << 29, .to_read = 512 << 20, .of = "address space", .hint = "ulimit -v unlimited" },
    .{ .resource = .DATA, .minimum = 3 << 30, .to_read = 512 << 20, .of = "data memory", .hint = "ulimit -d unlimited" },
    .{ .resource = .NPROC, .minimum = 16, .of = "processes", .hint = "ulimit -u 1024", .spares_root = true },
};

/// In the front end and in the tracer, when the command exists. CPU: what the build may use is not used up by our digests of it.
pub fn raise() void {
    for (rows) |row| raiseOne(row.resource);
    raiseOne(.CPU);
}

fn raiseOne(resource: linux.rlimit_resource) void {
    const limit = sys.limit(resource) catch return;
    if (limit.cur < limit.max) sys.setLimit(resource, .{ .cur = limit.max, .max = limit.max }) catch {};
}

pub const Command = enum { run, other };

/// Does not return where a limit is too low.
pub fn require(command: Command) void {
    for (rows) |row| {
        if (row.spares_root and sys.isRoot()) continue;
        const limit = sys.limit(row.resource) catch continue;
        const minimum = if (command == .run) row.minimum else row.to_read;
        if (limit.max >= minimum) continue;
        var buffer: [256]u8 = undefined;
        const text = std.fmt.bufPrint(&buffer, "the limit of {s} is {d}, and {d} is the least that cilock can run with", .{
            row.of, limit.max, minimum,
        }) catch unreachable; // two numbers of 20 digits and a word
        refuse(text, row.hint);
    }
}

pub fn refuse(text: []const u8, hint: []const u8) noreturn {
    for ([_][]const u8{ "cilock: error: ", text, "\ncilock: hint: ", hint, "\n" }) |part| _ = sys.write(2, part) catch {};
    sys.exit(125);
}
