//! Replaces secrets in a stream by `[REDACTED]`: each occurrence, also one that is split over several
//! chunks; at one place the longest secret wins, and the replacement goes on behind it.
//!
//! A chunk is searched together with what the one before left undecided: a place where some secret could
//! still begin. That is less than the longest secret, so the carry has a fixed size.
const std = @import("std");
const assert = std.debug.assert;

pub const replacement = "[REDACTED]";

/// A secret longer than this is not looked for; the caller refuses or splits it. (A variable's value is at most 128 KiB.)
pub const secret_max = 128 << 10;

pub const Patterns = struct {
    /// Longest first.
    secrets: []const []const u8,
    /// Whether any secret begins with these two bytes.
    begins: *[1 << 16]bool,
    /// Length of the longest; 0 without secrets.
    longest: usize,

    /// Sorts `secrets` in place; both stay the caller's.
    pub fn init(secrets: [][]const u8, begins: *[1 << 16]bool) Patterns {
        std.mem.sort([]const u8, secrets, {}, longer);
        @memset(begins, false);
        for (secrets) |secret| {
            assert(secret.len >= 2);
            assert(secret.len <= secret_max);
            begins[pairOf(secret)] = true;
        }
        return .{ .secrets = secrets, .begins = begins, .longest = if (secrets.len == 0) 0 else secrets[0].len };
    }

    fn longer(_: void, a: []const u8, b: []const u8) bool {
        return a.len > b.len;
    }
};

fn pairOf(bytes: []const u8) u16 {
    return @as(u16, bytes[0]) << 8 | bytes[1];
}

/// One stream's state. `sink` gets the result piecewise: `fn write(*Sink, []const u8) void`.
pub fn Redactor(comptime Sink: type) type {
    return struct {
        const Self = @This();

        patterns: *const Patterns,
        sink: *Sink,
        /// Holds the carry and, behind it, one chunk: `carry_max + chunk` bytes.
        buffer: []u8,
        carried: usize = 0,
        count: u64 = 0,

        /// Where the caller puts the next chunk; `push` its length. Never empty if `buffer` is larger than the longest secret.
        pub fn space(self: *Self) []u8 {
            return self.buffer[self.carried..];
        }

        pub fn push(self: *Self, length: usize) void {
            if (self.patterns.longest == 0) return self.sink.write(self.buffer[0..length]); // nothing to look for, nothing carried
            self.consume(self.carried + length, false);
        }

        /// The stream has ended: what is carried cannot become a secret any more.
        pub fn end(self: *Self) void {
            self.consume(self.carried, true);
            assert(self.carried == 0);
        }

        fn consume(self: *Self, length: usize, last: bool) void {
            const bytes = self.buffer[0..length];
            var written: usize = 0; // everything before has gone to the sink
            var at: usize = 0;
            const begins = self.patterns.begins;
            const decided = while (at < length) {
                while (at + 1 < length and !begins[pairOf(bytes[at..])]) at += 1;
                switch (self.lookAt(bytes[at..], last)) {
                    .none => at += 1,
                    .undecided => break at,
                    .secret => |secret_length| {
                        if (at > written) self.sink.write(bytes[written..at]);
                        self.sink.write(replacement);
                        self.count += 1;
                        at += secret_length;
                        written = at;
                    },
                }
            } else length;
            if (decided > written) self.sink.write(bytes[written..decided]);
            self.carried = length - decided;
            std.mem.copyForwards(u8, self.buffer[0..self.carried], bytes[decided..]);
        }

        const Finding = union(enum) { none, undecided, secret: usize };

        /// Longest first, so a longer one that is not complete yet is waited for before a shorter one is taken.
        fn lookAt(self: *const Self, bytes: []const u8, last: bool) Finding {
            for (self.patterns.secrets) |secret| {
                if (secret.len <= bytes.len) {
                    if (std.mem.startsWith(u8, bytes, secret)) return .{ .secret = secret.len };
                } else if (!last and std.mem.startsWith(u8, secret, bytes)) {
                    return .undecided;
                }
            }
            return .none;
        }
    };
}

// ---------------------------------------------------------------------------------------------
// Tests

const TestSink = struct {
    list: std.ArrayList(u8) = .empty,

    fn write(sink: *TestSink, bytes: []const u8) void {
        sink.list.appendSlice(std.testing.allocator, bytes) catch @panic("out of memory");
    }
};

/// Redacts `input` in chunks of at most `chunk` bytes.
fn redactInChunks(secrets: []const []const u8, input: []const u8, chunk: usize, sink: *TestSink) !u64 {
    const allocator = std.testing.allocator;
    const own = try allocator.dupe([]const u8, secrets);
    defer allocator.free(own);
    const begins = try allocator.create([1 << 16]bool);
    defer allocator.destroy(begins);
    const patterns: Patterns = .init(own, begins);
    const buffer = try allocator.alloc(u8, patterns.longest + chunk);
    defer allocator.free(buffer);
    var redactor: Redactor(TestSink) = .{ .patterns = &patterns, .sink = sink, .buffer = buffer };
    var rest = input;
    while (rest.len > 0) {
        const length = @min(chunk, rest.len);
        @memcpy(redactor.space()[0..length], rest[0..length]);
        redactor.push(length);
        rest = rest[length..];
    }
    redactor.end();
    return redactor.count;
}

test "each case, in chunks of every size" {
    const rows = [_]struct { secrets: []const []const u8, input: []const u8, output: []const u8, count: u64 }{
        .{ .secrets = &.{}, .input = "anything", .output = "anything", .count = 0 },
        .{ .secrets = &.{"secret"}, .input = "", .output = "", .count = 0 },
        .{ .secrets = &.{"secret"}, .input = "secret", .output = "[REDACTED]", .count = 1 },
        .{ .secrets = &.{"secret"}, .input = "a secret!", .output = "a [REDACTED]!", .count = 1 },
        .{ .secrets = &.{"secret"}, .input = "secretsecret", .output = "[REDACTED][REDACTED]", .count = 2 },
        .{ .secrets = &.{"secret"}, .input = "secre", .output = "secre", .count = 0 },
        .{ .secrets = &.{"secret"}, .input = "ssecret", .output = "s[REDACTED]", .count = 1 },
        // The longest at one place wins, also when its end comes later.
        .{ .secrets = &.{ "abcd", "abcdef" }, .input = "xabcdefx", .output = "x[REDACTED]x", .count = 1 },
        .{ .secrets = &.{ "abcd", "abcdef" }, .input = "xabcdex", .output = "x[REDACTED]ex", .count = 1 },
        .{ .secrets = &.{ "abcd", "abcdef" }, .input = "abcde", .output = "[REDACTED]e", .count = 1 },
        // The first place wins over a longer one that overlaps.
        .{ .secrets = &.{ "abab", "babbbb" }, .input = "ababbbb", .output = "[REDACTED]bbb", .count = 1 },
        .{ .secrets = &.{"aaaa"}, .input = "aaaaaaaaa", .output = "[REDACTED][REDACTED]a", .count = 2 },
        .{ .secrets = &.{"\x00\xff\n"}, .input = "\x00\x00\xff\n", .output = "\x00[REDACTED]", .count = 1 },
        // Our own replacement is no input.
        .{ .secrets = &.{ "REDACTED", "secret" }, .input = "secret", .output = "[REDACTED]", .count = 1 },
    };
    for (rows) |row| {
        for (1..row.input.len + 2) |chunk| {
            var sink: TestSink = .{};
            defer sink.list.deinit(std.testing.allocator);
            const count = try redactInChunks(row.secrets, row.input, chunk, &sink);
            try std.testing.expectEqualStrings(row.output, sink.list.items);
            try std.testing.expectEqual(row.count, count);
        }
    }
}

/// The same by the definition: at each place the longest secret, else the byte.
fn redactPlainly(secrets: []const []const u8, input: []const u8, sink: *TestSink) void {
    var at: usize = 0;
    while (at < input.len) {
        var longest: usize = 0;
        for (secrets) |secret| {
            if (secret.len > longest and std.mem.startsWith(u8, input[at..], secret)) longest = secret.len;
        }
        sink.write(if (longest > 0) replacement else input[at..][0..1]);
        at += @max(longest, 1);
    }
}

test "random streams over a small alphabet" {
    const seed = std.testing.random_seed;
    errdefer std.debug.print("seed {d}\n", .{seed});
    var prng: std.Random.DefaultPrng = .init(seed);
    const random = prng.random();
    for (0..2000) |_| {
        var memory: [6][8]u8 = undefined;
        var secrets: [6][]const u8 = undefined;
        const count = random.uintLessThan(usize, secrets.len + 1);
        for (secrets[0..count], memory[0..count]) |*secret, *bytes| {
            for (bytes) |*b| b.* = random.intRangeAtMost(u8, 'a', 'c');
            secret.* = bytes[0..random.intRangeAtMost(usize, 2, bytes.len)];
        }
        var input: [64]u8 = undefined;
        for (&input) |*b| b.* = random.intRangeAtMost(u8, 'a', 'c');

        var expected: TestSink = .{};
        defer expected.list.deinit(std.testing.allocator);
        redactPlainly(secrets[0..count], &input, &expected);
        var sink: TestSink = .{};
        defer sink.list.deinit(std.testing.allocator);
        _ = try redactInChunks(secrets[0..count], &input, random.intRangeAtMost(usize, 1, 70), &sink);
        try std.testing.expectEqualStrings(expected.list.items, sink.list.items);
    }
}
