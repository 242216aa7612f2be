// Records of the tracer as typed events. The only file that knows their offsets; what it cannot decode it
// refuses by name, since a record that is read wrongly would end in a signed statement.
import * as abi from "./abi.gen.ts";
import type {
  Event,
  EventHeader,
  ExecEvent,
  GapEvent,
  HeaderFlags,
  InheritedEvent,
  OpenEvent,
  OverwriteEvent,
  ProcessEvent,
  SyscallEvent,
  SyscallItem,
  WrittenEvent,
} from "./events.ts";
import { Recurring } from "./recurring.ts";

export type RecordFault =
  | "size-not-aligned"
  | "size-too-small"
  | "size-past-end"
  | "unknown-kind"
  | "unknown-value"
  | "part-past-record"
  | "record-not-filled"
  | "item-past-record"
  | "unknown-item"
  | "sequence-gap";

/** A record, or the stream of them, is not what zig/abi.zig says. */
export class RecordError extends Error {
  constructor(
    readonly fault: RecordFault,
    detail: string,
  ) {
    super(`${fault}: ${detail}`);
    this.name = "RecordError";
  }
}

/** abi.zig's `size_unknown`. */
const sizeUnknown = 0xffff_ffff_ffff_ffffn;

/**
 * Reads the record at `at` of a ring's data, of which `available` bytes have been written. Everything is copied:
 * the space may be given back when it returns.
 */
export class Decoder {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #realtimeOffset: bigint;
  readonly #recurring: Recurring;
  readonly #flagSets: HeaderFlags[] = [];

  /** `realtimeOffset`: CLOCK_REALTIME minus CLOCK_MONOTONIC, nanoseconds. */
  constructor(bytes: Uint8Array, realtimeOffset: bigint) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#realtimeOffset = realtimeOffset;
    this.#recurring = new Recurring(bytes);
  }

  /** Size field of the record at `at`, checked. May have `paddingBit`: then there is nothing else. */
  size(at: number, available: number): number {
    const word = this.#view.getUint32(at + abi.Header.size, true);
    const size = sizeOfRecord(word);
    if (size % 8 !== 0) throw new RecordError("size-not-aligned", `${size} bytes`);
    if (size > available || at + size > this.#bytes.length)
      throw new RecordError("size-past-end", `${size} bytes of ${available}`);
    if (!isPadding(word) && size < abi.Header.sizeOf) throw new RecordError("size-too-small", `${size} bytes`);
    if (size === 0) throw new RecordError("size-too-small", "0 bytes");
    return word;
  }

  sequence(at: number): number {
    return this.#number64(at + abi.Header.sequence);
  }

  /** `size(at, …)` has been called. */
  decode(at: number): Event {
    const view = this.#view;
    const end = at + sizeOfRecord(view.getUint32(at + abi.Header.size, true));
    const kind = abi.kindNames[view.getUint16(at + abi.Header.kind, true)];
    if (kind === undefined) throw new RecordError("unknown-kind", `${view.getUint16(at + abi.Header.kind, true)}`);
    const header = this.#header(at);
    switch (kind) {
      case "process":
        return this.#process(at, end, header);
      case "exec":
        return this.#exec(at, end, header);
      case "exit":
        return {
          kind,
          ...header,
          status: this.#status(at, end, abi.Exit),
          failedOpens: view.getUint32(at + abi.Exit.failedOpens, true),
        };
      case "open":
        return this.#open(at, end, header);
      case "syscall":
        return this.#syscall(at, end, header);
      case "inherited":
        return this.#inherited(at, end, header);
      case "overwrite":
        return this.#overwrite(at, end, header);
      case "writers_left":
        this.#parts(at, end, abi.WritersLeft).end();
        return {
          kind,
          ...header,
          held: view.getInt32(at + abi.WritersLeft.held, true),
          unknown: view.getUint32(at + abi.WritersLeft.unknown, true) !== 0,
        };
      case "unmount":
        this.#parts(at, end, abi.Unmount).end();
        return {
          kind,
          ...header,
          held: view.getInt32(at + abi.Unmount.held, true),
          unknown: view.getUint32(at + abi.Unmount.unknown, true) !== 0,
        };
      case "gap":
        return this.#gap(at, end, header);
      case "written":
        return this.#written(at, end, header);
      case "command_end":
        return { kind, ...header, status: this.#status(at, end, abi.CommandEnd) };
      case "traffic":
        this.#parts(at, end, abi.Traffic).end();
        return {
          kind,
          ...header,
          cookie: view.getBigUint64(at + abi.Traffic.cookie, true),
          sent: view.getBigUint64(at + abi.Traffic.sent, true),
          received: view.getBigUint64(at + abi.Traffic.received, true),
        };
    }
  }

  #header(at: number): EventHeader {
    const view = this.#view;
    return {
      header: this.#flags(at),
      sequence: this.#number64(at + abi.Header.sequence),
      timeNs: view.getBigUint64(at + abi.Header.timeNs, true) + this.#realtimeOffset,
      tid: view.getInt32(at + abi.Header.tid, true),
      process: view.getUint32(at + abi.Header.process, true),
    };
  }

  #process(at: number, end: number, header: EventHeader): ProcessEvent {
    const view = this.#view;
    this.#parts(at, end, abi.Process).end();
    return {
      kind: "process",
      ...header,
      parent: view.getUint32(at + abi.Process.parent, true),
      pid: view.getInt32(at + abi.Process.pid, true),
      parentPid: view.getInt32(at + abi.Process.parentPid, true),
      event: view.getUint32(at + abi.Process.event, true),
      cloneFlags: view.getBigUint64(at + abi.Process.cloneFlags, true),
    };
  }

  #exec(at: number, end: number, header: EventHeader): ExecEvent {
    const view = this.#view;
    const u32 = (offset: number) => view.getUint32(at + offset, true);
    const parts = this.#parts(at, end, abi.Exec);
    const event: ExecEvent = {
      kind: "exec",
      ...header,
      executable: this.#recurring.file(at + abi.Exec.executable),
      executableHeld: view.getInt32(at + abi.Exec.executableHeld, true),
      executableNotHeld: named(abi.notHeldNames, u32(abi.Exec.executableNotHeld), "not_held"),
      executableHeldErrno: u32(abi.Exec.executableHeldErrno),
      executableContent: this.#number64(at + abi.Exec.executableContent),
      program: this.#recurring.file(at + abi.Exec.program),
      programHeld: view.getInt32(at + abi.Exec.programHeld, true),
      programNotHeld: named(abi.notHeldNames, u32(abi.Exec.programNotHeld), "not_held"),
      programHeldErrno: u32(abi.Exec.programHeldErrno),
      programContent: this.#number64(at + abi.Exec.programContent),
      formerTid: view.getInt32(at + abi.Exec.formerTid, true),
      uid: u32(abi.Exec.uid),
      euid: u32(abi.Exec.euid),
      gid: u32(abi.Exec.gid),
      egid: u32(abi.Exec.egid),
      speculationVulnerable: u32(abi.Exec.speculationVulnerable) !== 0,
      privilegeLost: u32(abi.Exec.privilegeLost) !== 0,
      // In the order of their lengths in zig/abi.zig: an object literal is evaluated top-down.
      executablePath: parts.text(abi.Exec.executablePathLength),
      programPath: parts.text(abi.Exec.programPathLength),
      comm: parts.text(abi.Exec.commLength),
      cwd: parts.text(abi.Exec.cwdLength),
      root: parts.text(abi.Exec.rootLength),
      argv: parts.strings(abi.Exec.argvLength, (_, from, to) => this.#recurring.text(from, to)),
      environment: parts.bytes(abi.Exec.environmentLength),
    };
    parts.end();
    return event;
  }

  #open(at: number, end: number, header: EventHeader): OpenEvent {
    const view = this.#view;
    const parts = this.#parts(at, end, abi.Open);
    const number = view.getUint32(at + abi.Open.number, true);
    const abiName = named(abi.abiNames, view.getUint32(at + abi.Open.abi, true), "abi");
    const event: OpenEvent = {
      kind: "open",
      // Not `...header`: it would be a third of the time of what nearly all records are.
      header: header.header,
      sequence: header.sequence,
      timeNs: header.timeNs,
      tid: header.tid,
      process: header.process,
      file: this.#recurring.file(at + abi.Open.file),
      flags: view.getBigUint64(at + abi.Open.flags, true),
      mode: view.getUint32(at + abi.Open.mode, true),
      descriptor: view.getInt32(at + abi.Open.descriptor, true),
      held: view.getInt32(at + abi.Open.held, true),
      notHeld: named(abi.notHeldNames, view.getUint32(at + abi.Open.notHeld, true), "not_held"),
      heldErrno: view.getUint32(at + abi.Open.heldErrno, true),
      number,
      name: syscallName(abiName, number),
      abi: abiName,
      content: this.#number64(at + abi.Open.content),
      root: parts.text(abi.Open.rootLength),
      path: parts.text(abi.Open.pathLength),
      argument: parts.text(abi.Open.argumentLength),
    };
    parts.end();
    const sizeBefore = view.getBigUint64(at + abi.Open.sizeBefore, true);
    if (sizeBefore !== sizeUnknown) event.sizeBefore = sizeBefore;
    return event;
  }

  #inherited(at: number, end: number, header: EventHeader): InheritedEvent {
    const view = this.#view;
    const parts = this.#parts(at, end, abi.Inherited);
    const event: InheritedEvent = {
      kind: "inherited",
      ...header,
      file: this.#recurring.file(at + abi.Inherited.file),
      flags: view.getBigUint64(at + abi.Inherited.flags, true),
      descriptor: view.getInt32(at + abi.Inherited.descriptor, true),
      held: view.getInt32(at + abi.Inherited.held, true),
      notHeld: named(abi.notHeldNames, view.getUint32(at + abi.Inherited.notHeld, true), "not_held"),
      heldErrno: view.getUint32(at + abi.Inherited.heldErrno, true),
      content: this.#number64(at + abi.Inherited.content),
      path: parts.text(abi.Inherited.pathLength),
    };
    const peer = parts.bytes(abi.Inherited.peerLength);
    const domain = view.getUint32(at + abi.Inherited.domain, true);
    if (domain !== 0) event.socket = { domain, type: view.getUint32(at + abi.Inherited.type, true), peer };
    parts.end();
    return event;
  }

  #written(at: number, end: number, header: EventHeader): WrittenEvent {
    const view = this.#view;
    const parts = this.#parts(at, end, abi.Written);
    const event: WrittenEvent = {
      kind: "written",
      ...header,
      device: view.getBigUint64(at + abi.Written.device, true),
      inode: view.getBigUint64(at + abi.Written.inode, true),
      bytes: view.getBigUint64(at + abi.Written.bytes, true),
      calls: view.getBigUint64(at + abi.Written.calls, true),
      firstTimeNs: view.getBigUint64(at + abi.Written.firstNs, true) + this.#realtimeOffset,
      path: parts.text(abi.Written.pathLength),
    };
    parts.end();
    return event;
  }

  #overwrite(at: number, end: number, header: EventHeader): OverwriteEvent {
    const view = this.#view;
    const parts = this.#parts(at, end, abi.Overwrite);
    const event: OverwriteEvent = {
      kind: "overwrite",
      ...header,
      file: this.#recurring.file(at + abi.Overwrite.file),
      held: view.getInt32(at + abi.Overwrite.held, true),
      notHeld: named(abi.notHeldNames, view.getUint32(at + abi.Overwrite.notHeld, true), "not_held"),
      heldErrno: view.getUint32(at + abi.Overwrite.heldErrno, true),
      content: this.#number64(at + abi.Overwrite.content),
      path: parts.text(abi.Overwrite.pathLength),
    };
    parts.end();
    return event;
  }

  #gap(at: number, end: number, header: EventHeader): GapEvent {
    const view = this.#view;
    const parts = this.#parts(at, end, abi.Gap);
    const event: GapEvent = {
      kind: "gap",
      ...header,
      gap: named(abi.gapKindNames, view.getUint32(at + abi.Gap.gap, true), "gap"),
      value: view.getBigUint64(at + abi.Gap.value, true),
      text: parts.text(abi.Gap.textLength),
    };
    parts.end();
    return event;
  }

  #syscall(at: number, end: number, header: EventHeader): SyscallEvent {
    const view = this.#view;
    if (at + abi.Syscall.sizeOf > end) throw new RecordError("size-too-small", `${end - at} bytes for a call`);
    const number = view.getUint32(at + abi.Syscall.number, true);
    const abiName = named(abi.abiNames, view.getUint32(at + abi.Syscall.abi, true), "abi");
    return {
      kind: "syscall",
      ...header,
      number,
      name: syscallName(abiName, number),
      abi: abiName,
      arguments: [0, 1, 2, 3, 4, 5].map(i => view.getBigUint64(at + abi.Syscall.arguments + 8 * i, true)),
      result: view.getBigInt64(at + abi.Syscall.result, true),
      entryOnly: view.getUint32(at + abi.Syscall.entryOnly, true) !== 0,
      items: this.#items(at + abi.Syscall.sizeOf, end, view.getUint32(at + abi.Syscall.itemCount, true)),
    };
  }

  #items(start: number, end: number, count: number): SyscallItem[] {
    const items: SyscallItem[] = [];
    let at = start;
    for (let i = 0; i < count; i++) {
      const bytesAt = at + abi.Item.sizeOf;
      if (bytesAt > end) throw new RecordError("item-past-record", `item ${i} of ${count}`);
      const length = this.#view.getUint32(at + abi.Item.length, true);
      if (length > end - bytesAt) throw new RecordError("item-past-record", `${length} bytes of item ${i}`);
      items.push(this.#item(at, bytesAt, bytesAt + length));
      at = roundUp8(bytesAt + length);
    }
    if (at !== end) throw new RecordError("record-not-filled", `${end - at} bytes behind the last item`);
    return items;
  }

  #item(at: number, from: number, to: number): SyscallItem {
    const number = this.#view.getUint16(at + abi.Item.kind, true);
    const argument = this.#view.getUint8(at + abi.Item.argument);
    const flags = this.#view.getUint8(at + abi.Item.flags);
    const isCut = (flags & 1) !== 0;
    const isWritable = (flags & 2) !== 0;
    const kind = abi.itemKindNames[number];
    if (kind === undefined) throw new RecordError("unknown-item", `${number}`);
    if ((kind === "descriptor" || kind === "file") && to - from < abi.FileIdentity.sizeOf) {
      throw new RecordError("item-past-record", `${to - from} bytes for a file`);
    }
    switch (kind) {
      case "path":
        return { kind, argument, path: this.#recurring.text(from, to) };
      case "bytes":
        return { kind, argument, bytes: this.#bytes.slice(from, to), ...(isCut ? { cut: true } : {}) };
      case "descriptor":
        return {
          kind,
          argument,
          file: this.#recurring.file(from),
          link: this.#recurring.text(from + abi.FileIdentity.sizeOf, to),
          ...(isWritable ? { writable: true } : {}),
        };
      case "file":
        return { kind, argument, file: this.#recurring.file(from) };
      case "socket":
        return this.#socket(argument, from, to);
      case "root":
        return { kind, root: this.#recurring.text(from, to) };
    }
  }

  #socket(argument: number, from: number, to: number): SyscallItem {
    if (to - from < abi.SocketFacts.sizeOf) throw new RecordError("item-past-record", `${to - from} bytes for a socket`);
    const view = this.#view;
    const peerPid = view.getInt32(from + abi.SocketFacts.peerPid, true);
    const cookie = view.getBigUint64(from + abi.SocketFacts.cookie, true);
    const hasHolder = view.getUint32(from + abi.SocketFacts.hasHolder, true) !== 0;
    return {
      kind: "socket",
      argument,
      domain: view.getUint32(from + abi.SocketFacts.domain, true),
      type: view.getUint32(from + abi.SocketFacts.type, true),
      ...(peerPid < 0 ? {} : { peerPid }),
      ...(hasHolder ? { holder: view.getBigUint64(from + abi.SocketFacts.holder, true) } : {}),
      ...(cookie === 0n ? {} : { cookie }),
    };
  }

  #status(at: number, end: number, layout: { sizeOf: number; status: number }): number {
    this.#parts(at, end, layout).end();
    return this.#view.getInt32(at + layout.status, true);
  }

  #flags(at: number): HeaderFlags {
    const bits = this.#view.getUint16(at + abi.Header.flags, true);
    let flags = this.#flagSets[bits];
    if (flags === undefined) {
      const has = (flag: abi.Flag) => (bits & (1 << abi.Flag[flag])) !== 0;
      flags = {
        truncated: has("truncated"),
        unreadable: has("unreadable"),
        unresolved: has("unresolved"),
        denied: has("denied"),
        deleted: has("deleted"),
        hasWriters: has("has_writers"),
        unsettled: has("unsettled"),
      };
      this.#flagSets[bits] = flags;
    }
    return flags;
  }

  #parts(at: number, end: number, layout: { sizeOf: number }): Parts {
    if (at + layout.sizeOf > end) throw new RecordError("size-too-small", `${end - at} bytes of at least ${layout.sizeOf}`);
    return new Parts(this.#bytes, this.#view, this.#recurring, at, at + layout.sizeOf, end);
  }

  /** A u64 that is a number here: counters that cannot reach 2^53. */
  #number64(at: number): number {
    return this.#view.getUint32(at + 4, true) * 2 ** 32 + this.#view.getUint32(at, true);
  }
}

/** The variable parts behind a record's fixed fields, taken in their order. */
class Parts {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #recurring: Recurring;
  readonly #record: number;
  readonly #end: number;
  #at: number;

  constructor(bytes: Uint8Array, view: DataView, recurring: Recurring, record: number, start: number, end: number) {
    this.#bytes = bytes;
    this.#view = view;
    this.#recurring = recurring;
    this.#record = record;
    this.#at = start;
    this.#end = end;
  }

  text(lengthOffset: number): string {
    const from = this.#take(lengthOffset);
    return this.#recurring.text(from, this.#at);
  }

  bytes(lengthOffset: number): Uint8Array {
    const from = this.#take(lengthOffset);
    return this.#bytes.slice(from, this.#at);
  }

  /** NUL after each. A last one without it was cut off. */
  strings<T>(lengthOffset: number, each: (bytes: Uint8Array, from: number, to: number) => T): T[] {
    const result: T[] = [];
    let from = this.#take(lengthOffset);
    while (from < this.#at) {
      const nul = this.#bytes.indexOf(0, from);
      const to = nul < 0 || nul >= this.#at ? this.#at : nul;
      result.push(each(this.#bytes, from, to));
      from = to + 1;
    }
    return result;
  }

  /** All of the record has been taken: what follows is only the filling up to a multiple of 8. */
  end(): void {
    if (roundUp8(this.#at) !== this.#end)
      throw new RecordError("record-not-filled", `${this.#end - this.#at} bytes behind the last part`);
  }

  #take(lengthOffset: number): number {
    const length = this.#view.getUint32(this.#record + lengthOffset, true);
    const from = this.#at;
    if (length > this.#end - from) throw new RecordError("part-past-record", `${length} bytes of ${this.#end - from}`);
    this.#at = from + length;
    return from;
  }
}

export const isPadding = (word: number): boolean => word >= abi.paddingBit;
export const sizeOfRecord = (word: number): number => (isPadding(word) ? word - abi.paddingBit : word);

/** Records arrive in a total order without gaps; see zig/abi.zig. */
export function checkSequence(expected: number, found: number): void {
  if (found !== expected) throw new RecordError("sequence-gap", `record ${found} where ${expected} was due`);
}

export function syscallName(abiName: abi.Abi, number: number): string {
  return abi.syscallNames[abiName]?.[number] ?? `sys_${number}`;
}

function named<T>(names: Readonly<Record<number, T>>, value: number, field: string): T {
  const name = names[value];
  if (name === undefined) throw new RecordError("unknown-value", `${field} ${value}`);
  return name;
}

const roundUp8 = (n: number): number => (n + 7) & ~7;
