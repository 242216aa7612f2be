//! Files by which the kernel is told which program to run, when a process crashes, a device appears, a format is met: whoever
//! opens one for writing gives work to somebody that nobody traces. Only root can.
const std = @import("std");
const linux = std.os.linux;
const abi = @import("abi.zig");
const decode = @import("decode.zig");
const file_systems = @import("file_systems.zig");
const mounts = @import("mounts.zig");
const paths = @import("paths.zig");
const tracee = @import("tracee.zig");
const Tracer = @import("tracer.zig").Tracer;
const Thread = tracee.Thread;

const Row = struct { file_system: u32, name: []const u8 };

/// core(5), proc_sys_kernel(5), the kernel's Documentation/admin-guide (binfmt-misc, cgroup-v1).
const rows = [_]Row{
    .{ .file_system = file_systems.proc, .name = "core_pattern" },
    .{ .file_system = file_systems.proc, .name = "modprobe" },
    .{ .file_system = file_systems.proc, .name = "hotplug" },
    .{ .file_system = file_systems.proc, .name = "poweroff_cmd" },
    .{ .file_system = 0x6265_6572, .name = "uevent_helper" }, // sysfs
    .{ .file_system = 0x0027_e0eb, .name = agent_option }, // cgroup, the first version
    .{ .file_system = 0x4249_4e4d, .name = "register" }, // binfmt_misc
};

/// It was opened for writing. `path` is what the descriptor's link shows.
pub fn report(tracer: *Tracer, thread: *Thread, descriptor: i32, file: *const abi.FileIdentity, path: []const u8) void {
    for (rows) |row| {
        if (row.file_system != file.file_system or !isNamed(thread, descriptor, path, row.name)) continue;
        return tracer.gap(thread, .kernel_delegated, 0, path);
    }
}

/// A mount was made, or an option of one set: the first version of cgroups has one that names such a program.
pub fn onMount(tracer: *Tracer, thread: *Thread, items: []const u8) void {
    // fsconfig's key and value, mount's data; of the others these are no texts.
    for ([_]u8{ 2, 4 }) |argument| {
        const text = decode.bytesOf(items, argument) orelse continue;
        var options = std.mem.splitScalar(u8, text, ',');
        while (options.next()) |option| {
            if (std.mem.startsWith(u8, option, agent_option)) return tracer.gap(thread, .kernel_delegated, 0, agent_option);
        }
    }
}

const agent_option = "release_agent";

/// By its last part. A single file that is mounted elsewhere has its own name in the mount only.
pub fn isNamed(thread: *const Thread, descriptor: i32, path: []const u8, name: []const u8) bool {
    var buffer: [paths.max]u8 = undefined;
    return isLast(path, name) or isLast(rootOf(thread, descriptor, &buffer), name);
}

/// "/" also where nobody lists the mount.
fn rootOf(thread: *const Thread, descriptor: i32, buffer: []u8) []const u8 {
    const id = mounts.idOf(descriptor) orelse return "/";
    const found = mounts.find(thread.tid, .{ .id = id }, buffer) orelse mounts.find(linux.getpid(), .{ .id = id }, buffer) orelse return "/";
    return found.root;
}

fn isLast(path: []const u8, name: []const u8) bool {
    return std.mem.endsWith(u8, path, name) and (path.len == name.len or path[path.len - name.len - 1] == '/');
}

test "last parts" {
    try std.testing.expect(isLast("/proc/sys/kernel/core_pattern", "core_pattern"));
    try std.testing.expect(!isLast("/proc/sys/kernel/no_core_pattern", "core_pattern"));
    try std.testing.expect(!isLast("/", "register"));
}
