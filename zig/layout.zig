//! The layout that abi.zig has, as text: every size, offset, enum value and limit in a fixed order.
//! Its hash is what the front end compares with the generated file's; abi_ts.zig prints from the same lists.
const std = @import("std");
const abi = @import("abi.zig");

pub const structs = .{
    .{ "Control", abi.Control },
    .{ "RingHeader", abi.RingHeader },
    .{ "Header", abi.Header },
    .{ "FileIdentity", abi.FileIdentity },
    .{ "Process", abi.Process },
    .{ "Exec", abi.Exec },
    .{ "Exit", abi.Exit },
    .{ "Open", abi.Open },
    .{ "Syscall", abi.Syscall },
    .{ "Inherited", abi.Inherited },
    .{ "Overwrite", abi.Overwrite },
    .{ "WritersLeft", abi.WritersLeft },
    .{ "Unmount", abi.Unmount },
    .{ "Gap", abi.Gap },
    .{ "CommandEnd", abi.CommandEnd },
    .{ "Written", abi.Written },
    .{ "Traffic", abi.Traffic },
    .{ "Item", abi.Item },
    .{ "SocketFacts", abi.SocketFacts },
};

pub const enums = .{
    .{ "Stdio", abi.Stdio },
    .{ "Detail", abi.Detail },
    .{ "StartState", abi.StartState },
    .{ "Phase", abi.Phase },
    .{ "Stage", abi.Stage },
    .{ "Feature", abi.Feature },
    .{ "Kind", abi.Kind },
    .{ "Flag", abi.Flag },
    .{ "NotHeld", abi.NotHeld },
    .{ "Abi", abi.Abi },
    .{ "ItemKind", abi.ItemKind },
    .{ "GapKind", abi.GapKind },
};

pub const limits = .{
    "control_size",
    "ring_header_size",
    "ring_data_size",
    "max_rings",
    "path_max",
    "exec_strings_max",
    "handed_over_max",
    "tracees_max",
    "understood_max",
    "initial_position",
    "padding_bit",
};

pub fn layoutHash() u64 {
    return comptime blk: {
        @setEvalBranchQuota(2_000_000);
        var hash = std.hash.Fnv1a_64.init();
        add(&hash, "version", abi.version, 0);
        for (structs) |row| {
            const info = @typeInfo(row[1]).@"struct";
            add(&hash, row[0], @sizeOf(row[1]), @alignOf(row[1]));
            for (info.field_names, info.field_types) |name, Field| add(&hash, name, @offsetOf(row[1], name), @sizeOf(Field));
        }
        for (enums) |row| {
            const info = @typeInfo(row[1]).@"enum";
            add(&hash, row[0], @sizeOf(row[1]), info.field_names.len);
            for (info.field_names, info.field_values) |name, value| add(&hash, name, value, 0);
        }
        for (limits) |name| add(&hash, name, @field(abi, name), 0);
        break :blk hash.final();
    };
}

fn add(hash: *std.hash.Fnv1a_64, name: []const u8, a: u64, b: u64) void {
    hash.update(name);
    hash.update(&std.mem.toBytes(std.mem.nativeToLittle(u64, a)));
    hash.update(&std.mem.toBytes(std.mem.nativeToLittle(u64, b)));
}

comptime {
    // Every record of the wire format is in the list.
    for (abi.records) |row| {
        var found = false;
        for (structs) |listed| found = found or listed[1] == row[1];
        if (!found) @compileError("a record type is not in layout.structs: " ++ @typeName(row[1]));
    }
}
