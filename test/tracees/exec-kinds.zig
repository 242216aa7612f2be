//! Starts programs in every way there is; what runs then prints nothing: the parent says what must be seen.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

const O = t.O;
var self_path: [:0]const u8 = undefined;
var environment: [*:null]const ?[*:0]const u8 = undefined;
var path_buffer: [4096]u8 = undefined;

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    if (arguments.at(1) != null) t.exit(0); // the image that was started
    self_path = arguments.at(0) orelse t.fail("argv[0]", 0);
    environment = arguments.environment.ptr;

    plain();
    relative();
    byDescriptor();
    byDirectory(0, "execveat with a directory");
    byDirectory(O.cloexec, "execveat with a directory that it closes");
    fromMemory();
    script();
    searched();
    twice();
    emptyArguments();
}

/// Runs `start` in a child and waits; it must end with 0.
fn inChild(start: *const fn () void) i32 {
    const child = t.fork();
    if (child == 0) {
        start();
        t.exit(t.broken_status);
    }
    if (t.reap(child) != 0) t.fail("the started program's status", 0);
    return child;
}

/// Line of the image: `program` as the process sees it, `executable` the file that the kernel runs (the test digests both).
fn see(process: i32, program: []const u8, executable: []const u8, argv: []const []const u8, how: []const u8) void {
    var line: t.Line = .{};
    line.begin("program").number("pid", process).text("path", program).text("executable", executable).texts("argv", argv).text("how", how).end();
}

fn plain() void {
    const child = inChild(struct {
        fn start() void {
            const argv = [_:null]?[*:0]const u8{ "a name of its own", "with space", "" };
            _ = t.call(.execve, .{ self_path.ptr, &argv, environment });
        }
    }.start);
    see(child, self_path, self_path, &.{ "a name of its own", "with space", "" }, "execve");
}

/// A copy in the current directory, named relatively.
fn relative() void {
    copySelf("copy");
    const child = inChild(struct {
        fn start() void {
            const argv = [_:null]?[*:0]const u8{ "./copy", "x" };
            _ = t.call(.execve, .{ "./copy", &argv, environment });
        }
    }.start);
    const path = t.absolute(&path_buffer, "copy");
    see(child, path, path, &.{ "./copy", "x" }, "execve, relative");
}

fn byDescriptor() void {
    const child = inChild(struct {
        fn start() void {
            const descriptor = t.open("copy", O.path | O.cloexec, 0);
            const argv = [_:null]?[*:0]const u8{ "fexecve", "x" };
            _ = t.call(.execveat, .{ descriptor, "", &argv, environment, t.at_empty_path });
        }
    }.start);
    var line: t.Line = .{};
    // The program's path may be that of the file or /dev/fd/N: the contract allows both.
    line.begin("program").number("pid", child).text("executable", t.absolute(&path_buffer, "copy")).texts("argv", &.{ "fexecve", "x" }).text("how", "execveat AT_EMPTY_PATH").end();
}

fn byDirectory(comptime flags: u32, how: []const u8) void {
    const child = inChild(struct {
        fn start() void {
            const directory = t.open(".", O.path | O.directory | flags, 0);
            const argv = [_:null]?[*:0]const u8{ "execveat", "x" };
            _ = t.call(.execveat, .{ directory, "copy", &argv, environment, 0 });
        }
    }.start);
    const path = t.absolute(&path_buffer, "copy");
    see(child, path, path, &.{ "execveat", "x" }, how);
}

fn fromMemory() void {
    const child = inChild(struct {
        fn start() void {
            const memory = t.must(.memfd_create, .{ "in-memory", 1 }); // MFD_CLOEXEC
            const from = t.open("copy", O.rdonly, 0);
            while (t.must(.sendfile, .{ memory, from, null, 1 << 20 }) > 0) {}
            t.close(from);
            const argv = [_:null]?[*:0]const u8{ "memory", "x" };
            _ = t.call(.execveat, .{ memory, "", &argv, environment, t.at_empty_path });
        }
    }.start);
    var line: t.Line = .{};
    line.begin("program").number("pid", child).text("executable", t.absolute(&path_buffer, "copy")).texts("argv", &.{ "memory", "x" })
        .text("how", "memfd and execveat").end();
}

/// The kernel runs the interpreter with the script's path; the program is the script.
fn script() void {
    var line_buffer: [4200]u8 = undefined;
    const text = t.format(&line_buffer, "#!{s} option\n", .{self_path});
    makeExecutable("script", text);
    const child = inChild(struct {
        fn start() void {
            const argv = [_:null]?[*:0]const u8{ "script", "x" };
            _ = t.call(.execve, .{ "./script", &argv, environment });
        }
    }.start);
    see(child, t.absolute(&path_buffer, "script"), self_path, &.{ self_path, "option", "./script", "x" }, "script");
}

/// As a shell searches PATH: the failed attempts are no programs.
fn searched() void {
    const child = inChild(struct {
        fn start() void {
            const argv = [_:null]?[*:0]const u8{ "copy", "x" };
            for ([_][*:0]const u8{ "/nowhere/copy", "/dev/null/copy", "/", "./script.txt", "./copy" }) |path| {
                _ = t.call(.execve, .{ path, &argv, environment });
            }
        }
    }.start);
    const path = t.absolute(&path_buffer, "copy");
    see(child, path, path, &.{ "copy", "x" }, "execve after failed ones");
}

/// A process that execs twice: the script's image first, then the copy.
fn twice() void {
    if (t.call(.access, .{ "/bin/sh", 1 }) < 0) return;
    const child = inChild(struct {
        fn start() void {
            const argv = [_:null]?[*:0]const u8{ "sh", "-c", "exec ./copy x" };
            _ = t.call(.execve, .{ "/bin/sh", &argv, environment });
        }
    }.start);
    const path = t.absolute(&path_buffer, "copy");
    see(child, path, path, &.{ "./copy", "x" }, "exec by a shell");
    var line: t.Line = .{};
    line.begin("earlier-image").number("pid", child).text("executable", "/bin/sh").texts("argv", &.{ "sh", "-c", "exec ./copy x" }).end();
}

/// Since Linux 5.18 the kernel puts one empty argument there; before, there was none. The program then sees no argument
/// of ours, so it would start all over: hence /bin/true.
fn emptyArguments() void {
    if (t.call(.access, .{ "/bin/true", 1 }) < 0) return;
    const child = inChild(struct {
        fn start() void {
            _ = t.call(.execve, .{ "/bin/true", null, null });
        }
    }.start);
    var line: t.Line = .{};
    line.begin("program").number("pid", child).text("executable", "/bin/true").text("how", "execve without arguments").end();
}

fn copySelf(name: [*:0]const u8) void {
    const from = t.open(self_path.ptr, O.rdonly, 0);
    const to = t.open(name, O.wronly | O.creat | O.trunc, 0o755);
    while (t.must(.sendfile, .{ to, from, null, 1 << 20 }) > 0) {}
    t.close(from);
    t.close(to);
}

fn makeExecutable(name: [*:0]const u8, content: []const u8) void {
    const descriptor = t.open(name, O.wronly | O.creat | O.trunc, 0o755);
    t.writeAll(descriptor, content);
    t.close(descriptor);
}
