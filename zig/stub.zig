//! Root of the static stub: the program that takes the place of Bun's dynamic linker and of its shared
//! libraries. link/bind.ts joins it with the Bun executable; from then on
//!
//!   kernel -> Bun's own _start -> cilock_libc_start_main() below -> __libc_start_main (musl, in this stub)
//!          -> .init_array of this stub -> startup() below -> Bun's constructors
//!          -> enterBun() below -> Bun's main()
//!
//! startup() runs before Bun has changed anything in the process: that is where tracer and command begin.
const std = @import("std");
const builtin = @import("builtin");
const linux = std.os.linux;
const lib = @import("lib.zig");
const limits = @import("limits.zig");
const sys = @import("sys.zig");

comptime {
    @import("libstdcxx.zig").exportAll();
}

/// The linker wants a main; Bun's is the one that is called.
pub export fn main() c_int {
    return 127;
}

pub const panic = @import("panic.zig").Panic;

// ---------------------------------------------------------------------------------------------
// Filled in by link/bind.ts, found by its magic number

const Constructor = *const fn () callconv(.c) void;

const BindConfig = extern struct {
    magic: u64 = 0x4249_4e44_4346_4731, // "BINDCFG1"
    /// DT_INIT (0 if there is none), DT_INIT_ARRAY and its length in Bun.
    init: ?Constructor = null,
    init_array: [*]const Constructor = undefined,
    init_count: u64 = 0,
    /// Where std::__once_call lives, relative to the thread pointer.
    once_call_offset: i64 = 0,
    /// Bun's copy of __stack_chk_guard, where there is one (aarch64).
    stack_guard: ?*usize = null,
};
export var bind_config: BindConfig linksection(".data") = .{};

/// std::call_once: run the callable that the calling thread has stored in __once_call.
fn onceProxy() callconv(.c) void {
    const config: *volatile BindConfig = &bind_config;
    const thread_pointer: usize = switch (builtin.cpu.arch) {
        .x86_64 => asm ("mov %%fs:0, %[r]"
            : [r] "=r" (-> usize),
        ),
        .aarch64 => asm ("mrs %[r], tpidr_el0"
            : [r] "=r" (-> usize),
        ),
        else => @compileError("unsupported architecture"),
    };
    const slot: *const Constructor = @ptrFromInt(thread_pointer +% @as(usize, @bitCast(config.once_call_offset)));
    slot.*();
}
comptime {
    @export(&onceProxy, .{ .name = "__once_proxy" });
}

// ---------------------------------------------------------------------------------------------
// Before Bun's main()

/// Exported, or the compiler would leave out what nothing refers to.
export const cilock_startup_entry: Constructor linksection(".init_array") = &startup;

extern var __environ: [*:null]?[*:0]u8;

fn startup() callconv(.c) void {
    const argv = originalArgv();
    // A failure is remembered: TypeScript can say it in words, and only where the run gets that far.
    if (wantsTracer(argv)) {
        limits.require(.run);
        lib.begin(@ptrCast(argv), @ptrCast(__environ));
        // The runtime's threads would be next, and it does not say so in words.
        if (lib.lacksProcesses()) limits.refuse("cannot make the processes of a run: too many of this user", "ulimit -u 1024");
    } else {
        limits.require(.other);
        limits.raise();
        keepClosed();
    }
    hideRuntimeSettings();

    const config: *volatile BindConfig = &bind_config; // written after the compiler saw it
    if (config.stack_guard) |copy| copy.* = libcStackGuard().*;
    if (config.init) |f| f();
    const array = config.init_array;
    for (0..config.init_count) |i| array[i]();
}

/// The runtime puts a /dev/null in the place of closed standard input and output, and what is written there is gone in
/// silence. Ours fails as a closed one does: EBADF.
fn keepClosed() void {
    const useless = [_]linux.O{ .{ .ACCMODE = .WRONLY }, .{ .ACCMODE = .RDONLY } };
    for (useless, 0..) |flags, number| {
        if (sys.isOpen(@intCast(number))) continue;
        switch (sys.open(linux.AT.FDCWD, "/dev/null", flags)) {
            .descriptor => |descriptor| if (descriptor != number) {
                sys.duplicateTo(descriptor, @intCast(number), 0) catch {};
                sys.close(descriptor);
            },
            .failed => {},
        }
    }
}

/// libc chose a random value before it called us, but in its own variable.
fn libcStackGuard() *const usize {
    return @extern(*const usize, .{ .name = "__stack_chk_guard" });
}

/// argv ends right before envp: walk back until the word before the strings is their count.
fn originalArgv() [*:null]?[*:0]u8 {
    const argv_end: [*]usize = @ptrFromInt(@intFromPtr(__environ) - @sizeOf(usize));
    var count: usize = 0;
    while ((argv_end - count - 1)[0] != count) count += 1;
    return @ptrCast(argv_end - count);
}

/// Only `cilock run …` starts a tracer, and not where it asks for help.
fn wantsTracer(argv: [*:null]?[*:0]u8) bool {
    if (argv[0] == null) return false;
    const command = std.mem.span(argv[1] orelse return false);
    if (!std.mem.eql(u8, command, "run")) return false;
    const next = std.mem.span(argv[2] orelse return false);
    return !std.mem.eql(u8, next, "--help") and !std.mem.eql(u8, next, "-h");
}

/// BUN_* variables could turn the program into something else (BUN_BE_BUN makes it the bun CLI).
/// The command keeps the original environment, and lib.zig a copy of the table.
fn hideRuntimeSettings() void {
    var kept: usize = 0;
    var i: usize = 0;
    while (__environ[i]) |entry| : (i += 1) {
        if (std.mem.startsWith(u8, std.mem.span(entry), "BUN_")) continue;
        __environ[kept] = entry;
        kept += 1;
    }
    __environ[kept] = null;
}

// ---------------------------------------------------------------------------------------------
// Into Bun's main()

const Main = *const fn (c_int, [*:null]?[*:0]u8, [*:null]?[*:0]u8) callconv(.c) c_int;
const Finish = ?*const fn () callconv(.c) void;
extern fn __libc_start_main(Main, c_int, [*:null]?[*:0]u8, Finish, Finish, Finish) c_int;

var bun_main: Main = undefined;

export fn cilock_libc_start_main(
    bun: Main,
    argc: c_int,
    argv: [*:null]?[*:0]u8,
    init: Finish,
    fini: Finish,
    loader_fini: Finish,
) c_int {
    bun_main = bun;
    return __libc_start_main(&enterBun, argc, argv, init, fini, loader_fini);
}

/// Bun reads settings of its JavaScript engine from the environment only.
///
/// Left alone the engine lets a heap of 100 MB grow to four times its size before it collects; what it frees then
/// stays ours. With this a heap grows by 20 %: the record of 5,000 processes that open 40,000 files a million times
/// takes 200 MB less, for 5 % more time of the front end.
const engine_settings = [_][*:0]const u8{"BUN_JSC_heapGrowthMaxIncrease=0.2"};

/// The table that the kernel made has no room: auxv follows it.
fn enterBun(argc: c_int, argv: [*:null]?[*:0]u8, environment: [*:null]?[*:0]u8) callconv(.c) c_int {
    var count: usize = 0;
    while (environment[count] != null) count += 1;
    const size = (count + engine_settings.len + 1) * @sizeOf(usize);
    const table: [*]?[*:0]u8 = @ptrCast(@alignCast(sys.mapPrivate(size) catch return bun_main(argc, argv, environment)));
    @memcpy(table[0..count], environment[0..count]);
    for (engine_settings, table[count..][0..engine_settings.len]) |setting, *slot| slot.* = @constCast(setting);
    table[count + engine_settings.len] = null;
    __environ = table[0 .. count + engine_settings.len :null];
    return bun_main(argc, argv, __environ);
}

// ---------------------------------------------------------------------------------------------
// In libc's place

/// At exit Bun puts the terminal back as it was at its start, and so would undo what the command did to it
/// (`cilock run … -- stty -echo`). A front end never sets a terminal's attributes itself.
export fn tcsetattr(descriptor: c_int, action: c_int, settings: *const anyopaque) c_int {
    if (lib.hasSession()) return 0;
    const TCSETS = 0x5402; // TCSETSW and TCSETSF follow it, as TCSADRAIN and TCSAFLUSH follow TCSANOW
    const rc = std.os.linux.ioctl(descriptor, TCSETS + @as(u32, @intCast(action)), @intFromPtr(settings));
    const e = std.os.linux.errno(rc);
    if (e == .SUCCESS) return 0;
    std.c._errno().* = @backingInt(e);
    return -1;
}

extern fn strdup(text: [*:0]const u8) ?[*:0]u8;

/// getcwd(3). Bun asks before its first line, and ends with its own words where the directory is gone or cannot be reached. The
/// command may well run there, as without us: so it is told the last name of it, and whatever is looked for there is not found.
export fn getcwd(buffer: ?[*]u8, size: usize) ?[*]u8 {
    var own: [std.os.linux.PATH_MAX + 16]u8 = undefined;
    const room: []u8 = if (buffer) |given| given[0..size] else own[0..std.os.linux.PATH_MAX];
    const e = currentDirectory(room);
    if (e != .SUCCESS) {
        std.c._errno().* = @backingInt(e);
        return null;
    }
    return if (buffer) |given| given else strdup(@ptrCast(&own));
}

/// With a NUL behind it.
fn currentDirectory(room: []u8) std.os.linux.E {
    if (room.len == 0) return .INVAL;
    const e = linux.errno(linux.getcwd(room.ptr, room.len));
    if (e != .NOENT and (e != .SUCCESS or room[0] == '/')) return e;
    // Gone, or outside of our root: `(unreachable)/…`.
    var link: [linux.PATH_MAX]u8 = undefined;
    const text = sys.readLink(linux.AT.FDCWD, "/proc/self/cwd", &link) catch return .NOENT;
    const suffix = " (deleted)";
    const name = if (std.mem.endsWith(u8, text, suffix)) text[0 .. text.len - suffix.len] else text;
    if (name.len == 0 or name[0] != '/') return .NOENT;
    if (name.len >= room.len) return .RANGE;
    room[sys.append(room, 0, name)] = 0;
    return .SUCCESS;
}

// ---------------------------------------------------------------------------------------------
// dlopen("builtin:cilock") and nothing else: a static program cannot load libraries

var handle: u8 = 0;

export fn dlopen(name: ?[*:0]const u8, _: c_int) ?*anyopaque {
    const wanted = std.mem.span(name orelse return &handle);
    return if (std.mem.eql(u8, wanted, "builtin:cilock")) &handle else null;
}
export fn dlsym(_: ?*anyopaque, name: [*:0]const u8) ?*anyopaque {
    for (lib.exports) |e| if (std.mem.eql(u8, e.name, std.mem.span(name))) return @constCast(e.address);
    return null;
}
export fn dlclose(_: ?*anyopaque) c_int {
    return 0;
}
export fn dlerror() ?[*:0]const u8 {
    return "this program is static: only the built-in library can be opened";
}
export fn dladdr(_: ?*const anyopaque, _: ?*anyopaque) c_int {
    return 0;
}
