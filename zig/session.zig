//! One run: the memory and the descriptors that front end, tracer and command share, and what the
//! process was given before anything touched it. Made once by start.zig, before the first fork; each
//! of the three processes has a copy of this struct at the same address.
const std = @import("std");
const abi = @import("abi.zig");
const ring = @import("ring.zig");
const sys = @import("sys.zig");
const assert = std.debug.assert;

pub const Session = struct {
    control: *abi.Control,
    /// The whole mapping: control block, then `control.ring_count` rings.
    mapping: []align(4096) u8,

    // As the kernel gave them to us, byte for byte.
    argv: [*:null]const ?[*:0]const u8,
    environment: [*:null]const ?[*:0]const u8,

    front_pid: i32,
    tracer_pid: i32 = 0,
    command_pid: i32 = 0,

    descriptors: Descriptors,

    pub const Descriptors = struct {
        /// Non-blocking eventfd: the front end's event loop reads it.
        event: i32 = -1,
        /// Capture pipes of the command's stdout and stderr; the command holds the write ends.
        capture_read: [2]i32 = .{ -1, -1 },
        capture_write: [2]i32 = .{ -1, -1 },
        /// SOCK_SEQPACKET pair over which descriptors opened after the fork reach the command.
        hand_front: i32 = -1,
        hand_command: i32 = -1,

        pub fn all(descriptors: *const Descriptors) [7]i32 {
            return .{
                descriptors.event,            descriptors.capture_read[0],  descriptors.capture_read[1],
                descriptors.capture_write[0], descriptors.capture_write[1], descriptors.hand_front,
                descriptors.hand_command,
            };
        }
    };

    pub fn writer(session: *const Session, index: u32) ring.Writer {
        const base = ringOffset(session, index);
        return .{
            .header = ringHeader(session, index),
            .data = @alignCast(session.mapping.ptr + base + abi.ring_header_size),
            .control = session.control,
            .event_descriptor = session.descriptors.event,
        };
    }

    pub fn ringHeader(session: *const Session, index: u32) *abi.RingHeader {
        return @ptrCast(@alignCast(session.mapping.ptr + ringOffset(session, index)));
    }

    fn ringOffset(session: *const Session, index: u32) usize {
        assert(index < session.control.ring_count);
        return abi.control_size + index * (abi.ring_header_size + abi.ring_data_size);
    }

    /// Wakes the front end unconditionally: for what is not a record.
    pub fn wakeFrontEnd(session: *const Session) void {
        sys.notify(session.descriptors.event);
    }

    // -----------------------------------------------------------------------------------------
    // Tracer's side

    /// Announces how far the tracer is. Everything written to the control block before is visible with it.
    pub fn setPhase(session: *const Session, phase: abi.Phase) void {
        const control = session.control;
        const number = @backingInt(phase);
        assert(number >= control.phase);
        @atomicStore(u32, &control.phase, number, .seq_cst); // pairs with the front end's load of phase
        sys.futexWake(&control.phase);
        session.wakeFrontEnd();
    }

    /// Says why the command could not be started or watched; the first reason stays. The phase is set by the caller,
    /// once nothing of the build is alive.
    pub fn setError(session: *const Session, stage: abi.Stage, errno: u32) void {
        const control = session.control;
        assert(stage != .none);
        if (@cmpxchgStrong(u32, &control.error_stage, 0, @backingInt(stage), .acq_rel, .acquire) == null) {
            @atomicStore(u32, &control.error_errno, errno, .release);
        }
    }

    pub fn hasError(session: *const Session) bool {
        return @atomicLoad(u32, &session.control.error_stage, .acquire) != 0;
    }

    /// The command waits for this word, so that nothing of it runs unwatched.
    pub fn announceSeized(session: *const Session) void {
        @atomicStore(u32, &session.control.seized, 1, .seq_cst); // pairs with spawn.zig's load
        sys.futexWake(&session.control.seized);
    }

    /// Known from the start on.
    pub fn detail(session: *const Session) abi.Detail {
        return if (session.control.trace_detail == @backingInt(abi.Detail.full)) .full else .normal;
    }

    /// 1 once somebody wants the tree dead.
    pub fn killRequested(session: *const Session) bool {
        return @atomicLoad(u32, &session.control.kill_all, .acquire) != 0;
    }

    pub fn setFeature(session: *const Session, feature: abi.Feature) void {
        _ = @atomicRmw(u32, &session.control.features, .Or, @as(u32, 1) << @intCast(@backingInt(feature)), .acq_rel);
    }

    pub fn hasFeature(session: *const Session, feature: abi.Feature) bool {
        const features = @atomicLoad(u32, &session.control.features, .acquire); // pairs with setFeature
        return features >> @intCast(@backingInt(feature)) & 1 != 0;
    }

    /// Whether another descriptor may be handed over.
    pub fn hasRoom(session: *const Session) bool {
        const control = session.control;
        const released = @atomicLoad(u32, &control.descriptors_released, .acquire); // pairs with countReleased
        return control.descriptors_handed -% released < abi.handed_over_max;
    }

    /// Before a descriptor is named in a record: counts it, and waits while too many are not closed yet.
    pub fn countHandedOver(session: *const Session) void {
        const control = session.control;
        while (true) {
            const released = @atomicLoad(u32, &control.descriptors_released, .acquire); // pairs with release below
            if (control.descriptors_handed -% released < abi.handed_over_max) break;
            if (session.killRequested()) break;
            session.wakeFrontEnd();
            sys.futexWait(&control.descriptors_released, released, 100);
        }
        @atomicStore(u32, &control.descriptors_handed, control.descriptors_handed +% 1, .release);
    }

    // -----------------------------------------------------------------------------------------
    // Front end's side

    pub fn countReleased(session: *const Session) void {
        _ = @atomicRmw(u32, &session.control.descriptors_released, .Add, 1, .acq_rel);
        sys.futexWake(&session.control.descriptors_released);
    }

    pub fn start(session: *const Session, state: abi.StartState) void {
        assert(state != .wait);
        @atomicStore(u32, &session.control.start, @backingInt(state), .seq_cst); // pairs with waitForStart
        sys.futexWake(&session.control.start);
    }

    /// Tracer and command: sleeps until the front end has decided.
    pub fn waitForStart(session: *const Session) abi.StartState {
        while (true) {
            const state = @atomicLoad(u32, &session.control.start, .acquire);
            if (state != 0) return @fromBackingInt(state);
            sys.futexWait(&session.control.start, 0, null);
        }
    }
};

pub fn mappingSize(ring_count: u32) usize {
    assert(ring_count >= 1 and ring_count <= abi.max_rings);
    return abi.control_size + @as(usize, ring_count) * (abi.ring_header_size + abi.ring_data_size);
}

test "a descriptor is counted, and the bound is waited for until somebody wants an end" {
    const size = mappingSize(1);
    const mapping = (try sys.mapShared(size))[0..size];
    defer sys.unmap(mapping.ptr, size);
    const session: Session = .{
        .control = @ptrCast(@alignCast(mapping.ptr)),
        .mapping = mapping,
        .argv = undefined,
        .environment = undefined,
        .front_pid = sys.ownPid(),
        .descriptors = .{},
    };
    session.control.* = .{};
    for (0..abi.handed_over_max) |_| session.countHandedOver();
    // One is released by another process while we wait at the bound.
    if (try sys.fork() == 0) {
        sys.sleepMs(20);
        session.countReleased();
        sys.exit(0);
    }
    session.countHandedOver();
    try std.testing.expectEqual(@as(u32, 1), session.control.descriptors_released);
    try std.testing.expectEqual(@as(u32, abi.handed_over_max + 1), session.control.descriptors_handed);
    _ = try sys.wait(-1, 0);
    session.control.kill_all = 1;
    session.countHandedOver();
}

test "errors: the first one stays" {
    const size = mappingSize(1);
    const mapping = (try sys.mapShared(size))[0..size];
    defer sys.unmap(mapping.ptr, size);
    const session: Session = .{
        .control = @ptrCast(@alignCast(mapping.ptr)),
        .mapping = mapping,
        .argv = undefined,
        .environment = undefined,
        .front_pid = 1,
        .descriptors = .{},
    };
    session.control.* = .{};
    try std.testing.expect(!session.hasError());
    session.setError(.exec, 2);
    session.setError(.wait, 5);
    try std.testing.expectEqual(@backingInt(abi.Stage.exec), session.control.error_stage);
    try std.testing.expectEqual(@as(u32, 2), session.control.error_errno);
}
