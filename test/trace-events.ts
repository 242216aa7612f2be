// Builds the events that a tracer would send, for tests of the observers: real files on disk, made-up processes.
import { closeSync, constants, fstatSync, openSync, statfsSync } from "node:fs";
import type { NotHeld } from "../src/native/abi.gen.ts";
import type { Event, EventHeader, ExecEvent, FileIdentity, SyscallItem } from "../src/native/events.ts";
import type { TraceObservation } from "../src/trace/observation.ts";
import { Trace, type TraceOptions } from "../src/trace/trace.ts";

export const O = constants;

export const noFile: FileIdentity = {
  device: 0n,
  inode: 0n,
  size: 0n,
  blocks: 0n,
  mtimeNs: 0n,
  ctimeNs: 0n,
  birthNs: 0n,
  mode: 0,
  links: 0,
  fileSystem: 0,
  uid: 0,
};

export function identify(descriptor: number, path?: string): FileIdentity {
  const {
    dev,
    ino,
    size,
    blocks,
    mtimeNs,
    ctimeNs,
    birthtimeNs: birthNs,
    mode,
    nlink,
    uid,
  } = fstatSync(descriptor, { bigint: true });
  const fileSystem = path === undefined ? 0xef53 : Number(statfsSync(path).type);
  const [device, inode, links] = [dev, ino, Number(nlink)];
  return { device, inode, size, blocks, mtimeNs, ctimeNs, birthNs, mode: Number(mode), links, fileSystem, uid: Number(uid) };
}

export function identityOf(path: string): FileIdentity {
  const descriptor = openSync(path, O.O_RDONLY | O.O_NOFOLLOW);
  try {
    return identify(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** As of root, in the root directory; the program is the executable, and nothing is held, if nothing else is said. */
export function execEvent(
  header: EventHeader,
  fields: Pick<ExecEvent, "executable" | "executablePath"> & Partial<ExecEvent>,
): ExecEvent {
  const { executable, executablePath, programPath = executablePath } = fields;
  return {
    kind: "exec",
    ...header,
    executableHeld: -1,
    executableNotHeld: "none",
    executableHeldErrno: 0,
    executableContent: 0,
    program: executable,
    programHeld: -1,
    programNotHeld: "none",
    programHeldErrno: 0,
    programContent: 0,
    formerTid: 0,
    uid: 0,
    euid: 0,
    gid: 0,
    egid: 0,
    speculationVulnerable: false,
    privilegeLost: false,
    programPath,
    comm: programPath.slice(programPath.lastIndexOf("/") + 1, programPath.lastIndexOf("/") + 16),
    cwd: "/",
    root: "",
    argv: [programPath],
    environment: new Uint8Array(),
    ...fields,
  };
}

export const environmentBytes = (variables: readonly string[]): Uint8Array =>
  Buffer.from(variables.map(variable => `${variable}\0`).join(""));

export const noFlags: EventHeader["header"] = {
  truncated: false,
  unreadable: false,
  unresolved: false,
  denied: false,
  deleted: false,
  hasWriters: false,
  unsettled: false,
};

/** A trace that counts the descriptors that are under way, as the tracer does. */
export class Script {
  readonly trace: Trace;
  readonly closed: number[] = [];
  #outstanding = new Set<number>();
  #sequence = 0;
  mostOutstanding = 0;
  #now: bigint | undefined;

  constructor(options: Partial<TraceOptions> = {}) {
    this.trace = new Trace({
      hashes: ["sha256"],
      closeDescriptor: descriptor => {
        if (!this.#outstanding.delete(descriptor)) throw new Error(`descriptor ${descriptor} closed twice, or never handed over`);
        this.closed.push(descriptor);
        closeSync(descriptor);
      },
      kernelRelease: "6.1.0",
      ignoredSyscalls: "00",
      frontEndPid: 10,
      ...options,
    });
  }

  get outstanding(): number {
    return this.#outstanding.size;
  }

  /** Waits until this many descriptors are under way, or fewer: what is not bound to a writer has been digested then. */
  async untilOutstanding(count: number): Promise<void> {
    while (this.#outstanding.size > count) await Bun.sleep(1);
  }

  /** Sequence number of the last event. */
  get sequence(): number {
    return this.#sequence - 1;
  }

  /** Let the next events happen at this time, instead of now. */
  at(ns: bigint | undefined): void {
    this.#now = ns;
  }

  send(event: Event): void {
    this.trace.onEvent(event);
  }

  header(process: number, flags: Partial<EventHeader["header"]> = {}): EventHeader {
    const header = { ...noFlags, ...flags };
    const timeNs = this.#now ?? BigInt(Date.now()) * 1_000_000n;
    return { header, sequence: this.#sequence++, timeNs, tid: 100 + process, process };
  }

  process(serial: number, parent = serial - 1): void {
    const parentPid = parent === 0 ? 11 : 100 + parent;
    this.send({ kind: "process", ...this.header(serial), parent, pid: 100 + serial, parentPid, event: 1, cloneFlags: 0n });
  }

  /** `writersLeft`: with that said of all descriptors that are under way. */
  exit(serial: number, status = 0, writersLeft?: "somebody" | "unknown"): void {
    if (writersLeft !== undefined)
      for (const held of this.#outstanding)
        this.send({ kind: "writers_left", ...this.header(serial), held, unknown: writersLeft === "unknown" });
    this.send({ kind: "exit", ...this.header(serial), status });
  }

  exec(
    serial: number,
    file: string,
    options: { argv?: string[]; program?: string; root?: string; environment?: string[] } = {},
  ): void {
    const program = options.program ?? file;
    const executable = this.hold(file);
    const script = program === file ? { held: -1, file: executable.file } : this.hold(program);
    this.send(
      execEvent(this.header(serial), {
        executable: executable.file,
        executableHeld: executable.held,
        executablePath: file,
        program: script.file,
        programHeld: script.held,
        programPath: program,
        argv: options.argv ?? [program],
        root: options.root ?? "",
        environment: environmentBytes(options.environment ?? []),
      }),
    );
  }

  /** What the tracer does: a read-only descriptor of its own. */
  hold(path: string): { held: number; file: FileIdentity } {
    const held = openSync(path, O.O_RDONLY);
    this.#outstanding.add(held);
    this.mostOutstanding = Math.max(this.mostOutstanding, this.#outstanding.size);
    return { held, file: identify(held) };
  }

  open(
    serial: number,
    path: string,
    flags: number,
    options: {
      notHeld?: NotHeld;
      content?: number;
      file?: Partial<FileIdentity>;
      sizeBefore?: bigint;
      root?: string;
      name?: string;
      deleted?: boolean;
      /** It has writers too. */
      unsettled?: boolean;
    } = {},
  ): void {
    const unsettled = options.unsettled ?? false;
    const held =
      options.notHeld === undefined
        ? this.hold(path)
        : { held: -1, file: options.notHeld === "known_content" ? identityOf(path) : noFile };
    this.send({
      kind: "open",
      ...this.header(serial, { deleted: options.deleted ?? false, hasWriters: unsettled, unsettled }),
      file: { ...held.file, ...options.file },
      flags: BigInt(flags),
      mode: 0o644,
      descriptor: 3,
      held: held.held,
      notHeld: options.notHeld ?? "none",
      heldErrno: 0,
      number: 257,
      name: "openat",
      abi: "x86_64",
      content: options.content ?? 0,
      root: options.root ?? "",
      path: options.name ?? path,
      argument: path,
      ...(options.sizeBefore === undefined ? {} : { sizeBefore: options.sizeBefore }),
    });
  }

  call(serial: number, name: string, args: (number | bigint)[], items: SyscallItem[] = [], result: number | bigint = 0): void {
    const padded = [...args, 0, 0, 0, 0, 0, 0].slice(0, 6).map(BigInt);
    this.send({
      kind: "syscall",
      ...this.header(serial),
      number: 0,
      name,
      abi: "x86_64",
      arguments: padded,
      result: BigInt(result),
      entryOnly: false,
      items,
    });
  }

  rename(serial: number, oldPath: string, newPath: string): void {
    this.call(
      serial,
      "rename",
      [1, 2],
      [pathItem(0, oldPath), pathItem(1, newPath), { kind: "file", argument: 1, file: identityOf(newPath) }],
    );
  }

  async finish(
    outcome: Parameters<Trace["finish"]>[0] = { features: ["privileged"], survivorsKilled: 0 },
  ): Promise<TraceObservation> {
    const observation = await this.trace.finish(outcome);
    if (this.#outstanding.size > 0) throw new Error(`descriptors never closed: ${[...this.#outstanding].join(" ")}`);
    return observation;
  }
}

export const pathItem = (argument: number, path: string): SyscallItem => ({ kind: "path", argument, path });
export const bytesItem = (argument: number, bytes: Uint8Array | string): SyscallItem => ({
  kind: "bytes",
  argument,
  bytes: Buffer.from(bytes),
});
