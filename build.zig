//! The Zig half of the build. link/build.ts runs `stub` and binds Bun's executable to it; the other
//! steps are for development. `zig build --help` lists them.
const std = @import("std");
const builtin = @import("builtin");

comptime {
    // Zig's language and library change with every release: another compiler is never what was tested.
    if (!std.mem.eql(u8, builtin.zig_version_string, "0.17.1"))
        @compileError("this project needs Zig 0.17.1 (zig-requirements.txt), not " ++ builtin.zig_version_string);
}

/// The stub's load address. Bun is a fixed-address executable that ends well below it; what
/// `bun build --compile` appends to Bun must fit in between (link/bind.ts checks).
const stub_base = 0x2000_0000;

/// What the binary is made for: every x86-64, nothing that needs AVX2, and musl, since only musl
/// links statically without losing something.
const product_target: std.Target.Query = .{
    .cpu_arch = .x86_64,
    .cpu_model = .baseline,
    .os_tag = .linux,
    .abi = .musl,
};

/// What runs on the developer's machine: the library is loaded by an ordinary (glibc) Bun, and the
/// unit tests use the same libc, whose start-up files compile in seconds where musl takes a minute.
const development_target: std.Target.Query = .{
    .cpu_arch = .x86_64,
    .cpu_model = .baseline,
    .os_tag = .linux,
    .abi = .gnu,
};

/// Roots of executables of their own, without unit tests.
const untested = [_][]const u8{ "stub.zig", "abi_ts.zig", "coverage_md.zig" };

pub fn build(b: *std.Build) void {
    const target = b.standardTargetOptions(.{ .default_target = product_target });
    const optimize = b.standardOptimizeOption(.{ .preferred_optimize_mode = .safe });

    addStubStep(b, target, optimize);
    addLibraryStep(b, optimize);
    addGeneratedSteps(b);
    addTestStep(b);
    addTraceesStep(b);

    const fmt = b.step("fmt", "Check the formatting of every Zig file");
    fmt.dependOn(&b.addFmt(.{ .paths = b.pathList(&.{ "build.zig", "zig", "test/tracees" }), .check = true }).step);
}

// ---------------------------------------------------------------------------------------------
// The product

/// `zig build stub -Dimports=imports.S`
fn addStubStep(b: *std.Build, target: std.Build.ResolvedTarget, optimize: std.builtin.Optimize) void {
    const step = b.step("stub", "The static stub that Bun is bound to");
    const imports = b.option([]const u8, "imports", "Assembly file made by link/imports.ts") orelse {
        step.dependOn(&b.addFail("the stub step needs -Dimports=FILE").step);
        return;
    };
    const stub = b.addExecutable(.{
        .name = "stub",
        .linkage = .static,
        .root_module = b.createModule(.{
            .root_source_file = b.path("zig/stub.zig"),
            .target = target,
            .optimize = optimize,
            .link_libc = true,
            .strip = true,
            .stack_check = false,
            .stack_protector = false,
        }),
    });
    stub.image_base = stub_base;
    stub.link_z_relro = false; // three plain PT_LOADs: there are no program headers to spare
    stub.link_gc_sections = false; // nothing refers to the import table, it must stay
    stub.root_module.addAssemblyFile(.{ .cwd_relative = imports });
    addCxxAbi(b, stub.root_module);
    step.dependOn(&b.addInstallArtifact(stub, .{}).step);
}

/// dynamic_cast and the vtables of type_info: three files of the libc++abi that comes with Zig.
/// (`link_libcpp` would do as well, but then the first build compiles all of libc++.)
fn addCxxAbi(b: *std.Build, module: *std.Build.Module) void {
    const zig_lib = std.Build.LazyPath.zig_lib;
    for ([_][]const u8{ "libcxxabi/include", "libcxxabi/src", "libcxx/include", "libcxx/src", "libcxx/libc" }) |dir|
        module.addIncludePath(zig_lib.path(b, dir));
    for ([_][]const u8{ "private_typeinfo", "stdlib_typeinfo", "stdlib_exception" }) |name| {
        module.addCSourceFile(.{
            .file = zig_lib.path(b, b.fmt("libcxxabi/src/{s}.cpp", .{name})),
            .flags = &.{
                "-Os",
                "-std=c++23",
                "-nostdinc++",
                "-fno-exceptions",
                "-D_LIBCPP_ABI_VERSION=1",
                "-D_LIBCPP_ABI_NAMESPACE=__1",
                "-D_LIBCPP_HARDENING_MODE=_LIBCPP_HARDENING_MODE_NONE",
                "-D_LIBCPP_ASSERTION_SEMANTIC_DEFAULT=_LIBCPP_ASSERTION_SEMANTIC_HARDENING_DEPENDENT",
                "-D_LIBCPP_HAS_NO_VENDOR_AVAILABILITY_ANNOTATIONS",
                "-D_LIBCPP_PSTL_BACKEND_SERIAL",
                "-D_LIBCXXABI_DISABLE_VISIBILITY_ANNOTATIONS",
            },
        });
    }
}

// ---------------------------------------------------------------------------------------------
// Development

/// `zig build lib`: the same functions as a shared library, for `bun test` and `bun run`. It links
/// libc, as the stub does: threads get their TLS from it.
fn addLibraryStep(b: *std.Build, optimize: std.builtin.Optimize) void {
    const lib = b.addLibrary(.{
        .name = "cilock",
        .linkage = .dynamic,
        .root_module = b.createModule(.{
            .root_source_file = b.path("zig/lib.zig"),
            .target = b.resolveTargetQuery(development_target),
            .optimize = optimize,
            .link_libc = true,
            .strip = true,
        }),
    });
    b.step("lib", "The tracer as a shared library, for development").dependOn(&b.addInstallArtifact(lib, .{}).step);
}

/// A committed file that a program of zig/ prints.
const Generated = struct { step: []const u8, program: []const u8, into: []const u8, from: []const u8 };

const generated_files = [_]Generated{
    .{ .step = "abi", .program = "abi_ts", .into = "src/native/abi.gen.ts", .from = "zig/abi.zig" },
    .{ .step = "coverage", .program = "coverage_md", .into = "docs/coverage.md", .from = "zig/syscalls.zig" },
};

/// STEP writes the file, STEP-print only its copy in zig-out/, to compare.
fn addGeneratedSteps(b: *std.Build) void {
    for (generated_files) |file| {
        const generator = b.addExecutable(.{
            .name = file.program,
            .root_module = b.createModule(.{
                .root_source_file = b.path(b.fmt("zig/{s}.zig", .{file.program})),
                .target = b.graph.host,
                .optimize = .debug,
            }),
        });
        const name = std.fs.path.basename(file.into);
        const generated = b.addRunArtifact(generator).captureStdOut(.{ .basename = name });
        const update = b.addUpdateSourceFiles();
        update.addCopyFileToSource(generated, file.into);
        b.step(file.step, b.fmt("Generate {s} from {s}", .{ file.into, file.from })).dependOn(&update.step);
        const print = b.step(b.fmt("{s}-print", .{file.step}), b.fmt("Generate zig-out/{s}", .{name}));
        print.dependOn(&b.addInstallFile(generated, name).step);
    }
}

/// One test executable for each file: `zig test` runs only the tests of its root.
fn addTestStep(b: *std.Build) void {
    const step = b.step("test", "Zig unit tests");
    const only = b.option([]const u8, "file", "Only the tests of zig/NAME.zig");
    const filters = b.option([]const []const u8, "filter", "Only tests whose name has this in it") orelse &.{};
    for (zigFiles(b, "zig")) |name| {
        if (contains(&untested, name)) continue;
        const stem = std.fs.path.stem(name);
        if (only) |wanted| if (!std.mem.eql(u8, wanted, stem)) continue;
        const tests = b.addTest(.{
            .name = stem,
            .filters = filters,
            .root_module = b.createModule(.{
                .root_source_file = b.path(b.fmt("zig/{s}", .{name})),
                .target = b.resolveTargetQuery(development_target),
                .optimize = .debug,
                .link_libc = true,
            }),
        });
        const run = b.addRunArtifact(tests);
        // Not taken from the cache: a result that depends on the kernel is worth a new run, and what is cached is not counted.
        run.has_side_effects = true;
        step.dependOn(&run.step);
    }
}

/// Small programs that do one thing each for the tests to record: test/tracees/NAME.zig becomes
/// zig-out/tracees/NAME. They are static and free of libc, so what they do is what they say. The
/// name of a 32-bit one ends in `_i386`.
fn addTraceesStep(b: *std.Build) void {
    const step = b.step("tracees", "The programs that the tests trace");
    const only = b.option([]const u8, "tracee", "Only test/tracees/NAME.zig");
    for (zigFiles(b, "test/tracees")) |name| {
        const stem = std.fs.path.stem(name);
        if (only) |wanted| if (!std.mem.eql(u8, wanted, stem)) continue;
        const exe = b.addExecutable(.{
            .name = stem,
            .linkage = .static,
            .root_module = b.createModule(.{
                .root_source_file = b.path(b.fmt("test/tracees/{s}", .{name})),
                .target = b.resolveTargetQuery(.{
                    .cpu_arch = if (std.mem.endsWith(u8, stem, "_i386")) .x86 else .x86_64,
                    .cpu_model = .baseline,
                    .os_tag = .linux,
                    .abi = .none,
                }),
                .optimize = .debug,
                .strip = true,
            }),
        });
        step.dependOn(&b.addInstallArtifact(exe, .{ .dest_dir = .{ .override = .{ .custom = "tracees" } } }).step);
    }
}

/// Names of the Zig files directly in a directory, sorted; the build is configured again when one comes or goes.
fn zigFiles(b: *std.Build, directory: []const u8) []const []const u8 {
    var names: std.ArrayList([]const u8) = .empty;
    b.dependOnDirectoryMetadata(b.path(directory));
    const io = b.graph.io;
    var dir = b.root.openDir(io, directory, .{ .iterate = true }) catch return &.{};
    defer dir.close(io);
    var iterator = dir.iterate();
    while (iterator.next(io) catch @panic("cannot list the directory")) |entry| {
        if (entry.kind == .file and std.mem.endsWith(u8, entry.name, ".zig"))
            names.append(b.allocator, b.dupe(entry.name)) catch @panic("OOM");
    }
    std.mem.sort([]const u8, names.items, {}, lessThan);
    return names.items;
}

fn lessThan(_: void, a: []const u8, b: []const u8) bool {
    return std.mem.lessThan(u8, a, b);
}

fn contains(list: []const []const u8, wanted: []const u8) bool {
    for (list) |item| if (std.mem.eql(u8, item, wanted)) return true;
    return false;
}
