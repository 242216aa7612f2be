//! Files of an exec that no call names: the dynamic loader (PT_INTERP), and between a script and the program that runs
//! the scripts of a chain of `#!` lines. The kernel opens them, so they are recorded as opened by the process.
const std = @import("std");
const builtin = @import("builtin");
const linux = std.os.linux;
const abi = @import("abi.zig");
const descriptors_mod = @import("descriptors.zig");
const file_systems = @import("file_systems.zig");
const mappings = @import("mappings.zig");
const name_changes = @import("name_changes.zig");
const opens = @import("opens.zig");
const paths = @import("paths.zig");
const programs = @import("programs.zig");
const sys = @import("sys.zig");
const tracee = @import("tracee.zig");
const Tracer = @import("tracer.zig").Tracer;
const Thread = tracee.Thread;

/// Interpreters that are scripts: the kernel answers ELOOP beyond it (exec_binprm).
const chain_max = 6;
/// BINPRM_BUF_SIZE since Linux 5.1, 128 before.
const line_max = 256;

// ---------------------------------------------------------------------------------------------
// The loader

/// At exec's event, before any of the process's own code has run: every mapped file that is not the executable. The
/// addresses that the kernel passes on say less: a loader's own headers decide where it is and where it begins.
pub fn reportLoader(tracer: *Tracer, leader: *Thread, executable: *const Executable, since: *const name_changes.Since) void {
    const owner = tracer.owner(leader);
    var path: [64]u8 = undefined;
    const maps = switch (sys.openReadOnly(sys.procPath(&path, owner.pid, "maps"))) {
        .descriptor => |number| number,
        .failed => return, // it is closed to us, which is a gap already, or gone
    };
    defer sys.close(maps);
    var all: mappings.Mappings = .of(maps);
    var reported: u64 = 0;
    while (all.next() catch return tracer.gap(leader, .program_unknown, 0, executable.path)) |mapping| {
        const file = mapping.file orelse continue;
        if (file.inode == reported or executable.is(&mapping, file)) continue;
        reported = file.inode;
        const descriptor = openLoader(tracer, owner, &mapping, file, since) orelse {
            tracer.gap(leader, .program_unknown, 0, mapping.name);
            continue;
        };
        defer sys.close(descriptor);
        opens.byKernel(tracer, leader, descriptor);
    }
}

pub const Executable = struct {
    identity: *const abi.FileIdentity,
    path: []const u8,

    /// overlayfs and btrfs show other numbers in a mapping than in stat(2).
    fn is(executable: *const Executable, mapping: *const mappings.Mapping, file: mappings.File) bool {
        const same_inode = file.inode == executable.identity.inode;
        if (same_inode and descriptors_mod.deviceNumber(file.major, file.minor) == executable.identity.device) return true;
        if (!same_inode and executable.identity.file_system != file_systems.overlay) return false;
        return std.mem.eql(u8, executable.path, mappings.withoutSuffix(mapping.name));
    }
};

/// By its name, which the kernel has just used, unless that may lead to another file by now; else by the mapping, for those who may.
fn openLoader(tracer: *Tracer, owner: descriptors_mod.Owner, mapping: *const mappings.Mapping, file: mappings.File, since: *const name_changes.Since) ?i32 {
    const here: paths.Place = .{ .owner = owner, .directory = linux.AT.FDCWD, .roots_differ = false, .patience = tracer.patience };
    const name = mapping.name;
    if (name.len > 0 and name[0] == '/') if (paths.openInPlace(here, name, .{ .PATH = true, .CLOEXEC = true })) |descriptor| {
        const found = tracer.descriptors.identify(descriptor) catch abi.FileIdentity{};
        const is_it = found.inode == file.inode and found.device == descriptors_mod.deviceNumber(file.major, file.minor);
        if (is_it or name.len == mappings.withoutSuffix(name).len and !since.touches(here, name)) return descriptor;
        sys.close(descriptor);
    };
    var path: [96]u8 = undefined;
    var at = sys.procPath(&path, owner.pid, "map_files/").len;
    at = sys.appendHex(&path, at, mapping.start);
    at = sys.append(&path, at, "-");
    at = sys.appendHex(&path, at, mapping.end);
    path[at] = 0;
    return switch (sys.open(linux.AT.FDCWD, path[0..at :0], .{ .PATH = true, .CLOEXEC = true })) {
        .descriptor => |number| number,
        .failed => null,
    };
}

// ---------------------------------------------------------------------------------------------
// `#!`

/// `program`: a file that something else is the interpreter of. From its first line to the interpreter's, and so on, up to the
/// executable.
pub fn reportChain(tracer: *Tracer, leader: *Thread, program: i32, executable: *const abi.FileIdentity, since: *const name_changes.Since) void {
    const start: paths.Place = .{
        .owner = tracer.owner(leader),
        .directory = linux.AT.FDCWD,
        .roots_differ = tracer.roots_differ,
        .patience = tracer.patience,
    };
    var current = program;
    defer if (current != program) sys.close(current);
    for (0..chain_max) |_| {
        var buffer: [line_max]u8 = undefined;
        const name = switch (headOf(tracer, current, &buffer)) {
            .interpreter => |name| name,
            // Some other format, which binfmt_misc has an interpreter for: that is what runs.
            .other, .unreadable => return,
            // A program that would run itself, and did not.
            .own_format => return tracer.gap(leader, .program_unknown, 0, ""),
        };
        if (since.touches(start, name)) return tracer.gap(leader, .program_unknown, 0, name);
        const next = programs.openPath(start, name) orelse return tracer.gap(leader, .program_unknown, 0, name);
        if (current != program) sys.close(current);
        current = next;
        const identity = tracer.descriptors.identify(current) catch return tracer.gap(leader, .program_unknown, 0, name);
        if (programs.isSame(&identity, executable)) return;
        opens.byKernel(tracer, leader, current);
    }
}

const Head = union(enum) { interpreter: []const u8, own_format, other, unreadable };

fn headOf(tracer: *Tracer, descriptor: i32, buffer: *[line_max]u8) Head {
    const descriptors = &tracer.descriptors;
    const file = descriptors.identify(descriptor) catch return .unreadable;
    const is_foreign = file_systems.isServed(file.file_system);
    const readable = switch (descriptors.reopen(descriptor, is_foreign)) {
        .descriptor => |number| number,
        .failed => return .unreadable, // its digest is missing too, which is a gap
    };
    defer descriptors.close(readable);
    const start = tracer.patience.about(Start, readStart, readable, is_foreign) catch return .unreadable;
    const length = start.length catch return .unreadable;
    buffer.* = start.bytes;
    return parseHead(buffer[0..length]);
}

const Start = struct { bytes: [line_max]u8, length: sys.Error!usize };

fn readStart(descriptor: i32) Start {
    var start: Start = .{ .bytes = undefined, .length = 0 };
    start.length = sys.readAt(descriptor, &start.bytes, 0);
    return start;
}

/// As fs/binfmt_script.c reads it. A name that the buffer cuts is refused there.
fn parseHead(head: []const u8) Head {
    if (isOwnFormat(head)) return .own_format;
    if (!std.mem.startsWith(u8, head, "#!")) return .other;
    const line = head[2 .. std.mem.findScalar(u8, head, '\n') orelse head.len];
    const name = std.mem.trimStart(u8, line, " \t");
    const end = std.mem.findAny(u8, name, " \t\x00") orelse name.len;
    return if (end == 0) .other else .{ .interpreter = name[0..end] };
}

/// ELF of a machine that this kernel runs by itself.
fn isOwnFormat(head: []const u8) bool {
    if (head.len < 20 or !std.mem.startsWith(u8, head, "\x7fELF")) return false;
    const machine: std.elf.EM = @fromBackingInt(std.mem.readInt(u16, head[18..20], .little));
    return switch (builtin.cpu.arch) {
        .x86_64 => machine == .X86_64,
        .aarch64 => machine == .AARCH64,
        else => @compileError("unsupported architecture"),
    };
}

// ---------------------------------------------------------------------------------------------

const testing = std.testing;

test "first lines" {
    const rows = [_]struct { []const u8, ?[]const u8 }{
        .{ "#!/bin/sh\n", "/bin/sh" },
        .{ "#! \t/bin/sh -e\nrest", "/bin/sh" },
        .{ "#!relative\targument", "relative" },
        .{ "#!/bin/sh\x00more\n", "/bin/sh" },
        .{ "#!\n/bin/sh", null },
        .{ "#! \n", null },
        .{ "#", null },
        .{ "", null },
        .{ "MZ", null },
    };
    for (rows) |row| {
        errdefer std.debug.print("row: {s}\n", .{row[0]});
        const head = parseHead(row[0]);
        if (row[1]) |name| try testing.expectEqualStrings(name, head.interpreter) else try testing.expectEqual(Head.other, head);
    }
}
