//! A process that is asked before others may open a file or read it (fanotify), and makes a watched call before each answer:
//! `asked polite|mute`. Mute: it answers nobody but the process that opens the files. Both, `guarded` and `watched`, are there.
const t = @import("lib/tracee.zig");
const std = @import("std");
pub const panic = t.panic;

const class_content = 0x4;
const mark_add = 0x1;
const open_permission = 0x10000;
const access_permission = 0x20000;
const allow = 1;

const Event = extern struct { length: u32, version: u8, reserved: u8, metadata_length: u16, mask: u64 align(8), descriptor: i32, pid: i32 };
const Response = extern struct { descriptor: i32, response: u32 };

var path_buffer: [4096]u8 = undefined;

pub fn main(init: std.process.Init.Minimal) void {
    const arguments: t.Arguments = .of(init);
    const is_mute = std.mem.eql(u8, arguments.at(1) orelse "", "mute");
    const reader = t.pid();
    const group = t.must(.fanotify_init, .{ class_content, 0 });
    _ = t.must(.fanotify_mark, .{ group, mark_add, open_permission | access_permission, t.at_cwd, "guarded" });
    const child = t.fork();
    if (child == 0) answerAll(group, reader, is_mute);
    t.close(group);
    t.readFile("guarded");
    t.seeOpen(t.absolute(&path_buffer, "guarded"), if (is_mute) "unknown" else "read", "a file that a process of the build is asked about");
    // The answers to others, who are asked for later: the tracer, and the one who digests.
    var line: t.Line = .{};
    line.begin("answer").text("what", "waiting").number("value", 0).end();
    var byte: [1]u8 = undefined;
    _ = t.must(.read, .{ 0, &byte, 1 });
    _ = t.must(.kill, .{ child, 9 });
    _ = t.reap(child);
    line.begin("answer").text("what", "done").number("value", 0).end();
}

fn answerAll(group: usize, reader: i32, is_mute: bool) noreturn {
    var buffer: [4096]u8 align(8) = undefined;
    while (true) {
        const got = t.must(.read, .{ group, &buffer, buffer.len });
        var at: usize = 0;
        while (at < got) {
            const event: *const Event = @ptrCast(@alignCast(&buffer[at]));
            at += event.length;
            t.close(t.open("watched", t.O.rdonly, 0));
            // Answers are by descriptor number: one that is owed stays open, or the next would be taken for it.
            if (is_mute and event.pid != reader) continue;
            const response: Response = .{ .descriptor = event.descriptor, .response = allow };
            _ = t.must(.write, .{ group, &response, @sizeOf(Response) });
            t.close(@intCast(event.descriptor));
        }
    }
}
