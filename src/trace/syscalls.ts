// Observer of single calls that a reader of the record wants to see: a closed table from the contract. An event is an
// attempt, recorded also when it failed. `detail` says what was asked for in the names of the manual pages, never what
// it might mean.
import type { InheritedEvent, OpenEvent, SyscallEvent as TracedCall } from "../native/events.ts";
import { escapeBytes } from "../text.ts";
import { itemOf } from "./call-items.ts";
import {
  allNamespaces,
  bpfCommands,
  exitSignalMask,
  flagNames,
  keyctlOperations,
  memfdFlags,
  mountFlags,
  namespaceFlags,
  PR_SET_NAME,
  prctlOptions,
  protections,
  ptraceRequests,
  seccompFlags,
  seccompOperations,
  unshareFlags,
} from "./call-names.ts";
import { Budget } from "./exec-strings.ts";
import { belowRoot, isSocket } from "./file-types.ts";
import { resultName, signalName } from "./names.ts";
import type { SyscallEvent } from "./observation.ts";

/** What the table says about one call. */
interface Row {
  /** Name in the record, where it is not the call's own: calls of one family share one. */
  as?: string;
  /** Number of arguments that the call takes. */
  arguments: number;
  /** Whether this call is one of those that are recorded; left out: always. */
  when?: (call: TracedCall) => boolean;
  detail?: (call: TracedCall) => string | undefined;
  /** Position of the argument that is a path or a descriptor. */
  path?: number;
  target?: number;
}

/** Of a path: the process, and what of it. */
const processEntry = /^\/proc\/(\d+)\/(?:task\/\d+\/)?(.*)$/;

const F_DUPFD = 0n;
const F_DUPFD_CLOEXEC = 1030n;
const MAP_ANONYMOUS = 0x20n;
const PROT_EXEC = 4n;

const argument = (call: TracedCall, index: number): bigint => call.arguments[index] ?? 0n;
/** Registers hold ints in their lower half. */
const int = (call: TracedCall, index: number): bigint => BigInt.asIntN(32, argument(call, index));

const cloneFlags = (call: TracedCall): bigint =>
  call.name === "clone3" ? clone3Flags(call) : argument(call, 0) & ~exitSignalMask;

/** struct clone_args begins with the flags. */
function clone3Flags(call: TracedCall): bigint {
  for (const item of call.items) {
    if (item.kind !== "bytes" || item.argument !== 0 || item.bytes.length < 8) continue;
    return new DataView(item.bytes.buffer, item.bytes.byteOffset, 8).getBigUint64(0, true);
  }
  return 0n;
}

const isSocketOnto = (call: TracedCall, target: bigint): boolean => {
  const item = itemOf(call, "descriptor", 0);
  return target >= 0n && target <= 2n && item !== undefined && (isSocket(item.file) || item.link.startsWith("socket:"));
};

function textItem(call: TracedCall, index: number): string | undefined {
  for (const item of call.items) {
    if (item.kind === "path" && item.argument === index) return item.path;
    if (item.kind !== "bytes" || item.argument !== index) continue;
    const end = item.bytes.indexOf(0);
    return escapeBytes(end < 0 ? item.bytes : item.bytes.subarray(0, end));
  }
  return undefined;
}

const withText = (name: string, text: string | undefined): string =>
  text === undefined || text === "" ? name : `${name} ${text}`;
const namespaces = (flags: bigint): string => flagNames(flags & allNamespaces, namespaceFlags);

/** Memory that becomes executable and has no file behind it: for mprotect as far as the tracer can tell. */
const hasNoFile = (call: TracedCall): boolean => !call.items.some(item => item.kind === "descriptor" || item.kind === "file");

/** Old programs put a magic number into the upper half, which the kernel then ignores. */
function mountFlagsOf(call: TracedCall): bigint {
  const flags = argument(call, 3) & 0xffffffffn;
  return flags >> 16n === 0xc0edn ? flags & 0xffffn : flags;
}

const mountRow: Row = {
  arguments: 5,
  path: 0,
  target: 1,
  detail: call => withText(flagNames(mountFlagsOf(call), mountFlags), textItem(call, 2)),
};
const protect: Row = {
  arguments: 3,
  when: call => (argument(call, 2) & PROT_EXEC) !== 0n && hasNoFile(call),
  detail: call => flagNames(argument(call, 2), protections),
};
const map: Row = {
  arguments: 6,
  when: call => (argument(call, 2) & PROT_EXEC) !== 0n && (argument(call, 3) & MAP_ANONYMOUS) !== 0n,
  detail: call => flagNames(argument(call, 2), protections),
};
const duplicate: Row = {
  arguments: 3,
  when: call => isSocketOnto(call, int(call, 1)),
  detail: call => `${itemOf(call, "descriptor", 0)?.link ?? "socket"} onto ${int(call, 1)}`,
};
/** The descriptor is the kernel's choice: the lowest free one. */
const lowestFree: Row = {
  arguments: 1,
  when: call => isSocketOnto(call, call.result),
  detail: call => `${itemOf(call, "descriptor", 0)?.link ?? "socket"} onto ${call.result}`,
};
const duplicateByFcntl: Row = {
  ...lowestFree,
  arguments: 3,
  when: call => (int(call, 1) === F_DUPFD || int(call, 1) === F_DUPFD_CLOEXEC) && isSocketOnto(call, call.result),
};
const kexec: Row = { arguments: 4 };

const rows: Readonly<Record<string, Row>> = {
  memfd_create: { arguments: 2, path: 0, detail: call => flagNames(argument(call, 1), memfdFlags) },
  ptrace: {
    arguments: 4,
    detail: call => ptraceRequests.get(Number(int(call, 0))) ?? `request 0x${argument(call, 0).toString(16)}`,
  },
  mount: mountRow,
  fsopen: { arguments: 2, detail: call => textItem(call, 0) },
  fsmount: { arguments: 3 },
  fspick: { arguments: 3, path: 1 },
  move_mount: { arguments: 5, path: 1, target: 3 },
  open_tree: { arguments: 3, path: 1 },
  open_tree_attr: { arguments: 5, path: 1 },
  mount_setattr: { arguments: 5, path: 1 },
  clone: { arguments: 5, when: call => (cloneFlags(call) & allNamespaces) !== 0n, detail: call => namespaces(cloneFlags(call)) },
  clone3: { arguments: 2, when: call => (cloneFlags(call) & allNamespaces) !== 0n, detail: call => namespaces(cloneFlags(call)) },
  unshare: { arguments: 1, detail: call => flagNames(argument(call, 0), unshareFlags) },
  setns: { arguments: 2, path: 0, detail: call => namespaces(argument(call, 1)) },
  dup: { ...lowestFree, arguments: 1 },
  dup2: { ...duplicate, arguments: 2 },
  dup3: duplicate,
  fcntl: duplicateByFcntl,
  fcntl64: { ...duplicateByFcntl, as: "fcntl" },
  mprotect: protect,
  pkey_mprotect: { ...protect, arguments: 4 },
  mmap: map,
  mmap2: map,
  prctl: {
    arguments: 5,
    when: call => prctlOptions[Number(int(call, 0))] !== undefined,
    detail: call =>
      withText(prctlOptions[Number(int(call, 0))] ?? "", int(call, 0) === PR_SET_NAME ? textItem(call, 1) : undefined),
  },
  seccomp: {
    arguments: 3,
    when: call => int(call, 0) <= 1n,
    detail: call => {
      const operation = seccompOperations[Number(int(call, 0))] ?? `operation ${int(call, 0)}`;
      return argument(call, 1) === 0n ? operation : `${operation} ${flagNames(argument(call, 1), seccompFlags)}`;
    },
  },
  setsid: { arguments: 0 },
  init_module: { arguments: 3, detail: call => textItem(call, 2) },
  finit_module: { as: "init_module", arguments: 3, path: 0, detail: call => textItem(call, 1) },
  bpf: { arguments: 3, detail: call => bpfCommands[Number(int(call, 0))] ?? `command ${int(call, 0)}` },
  kexec_load: kexec,
  kexec_file_load: { as: "kexec_load", arguments: 5 },
  process_vm_readv: { arguments: 6, detail: call => `process ${int(call, 0)}` },
  process_vm_writev: { arguments: 6, detail: call => `process ${int(call, 0)}` },
  // What it returned is a file that somebody else has opened.
  pidfd_getfd: { arguments: 3, path: 6 },
  io_uring_setup: { arguments: 2 },
  keyctl: { arguments: 5, detail: call => keyctlOperations[Number(int(call, 0))] ?? `operation ${int(call, 0)}` },
  userfaultfd: { arguments: 1 },
  fanotify_init: { arguments: 2 },
  perf_event_open: { arguments: 5 },
};

const refusedSignal = (argumentCount: number): Row => ({
  arguments: argumentCount,
  detail: call => `${signalName(Number(int(call, argumentCount - 1)))} to process ${int(call, 0)}`,
});
const refusedOpen = (argumentCount: number, path: number): Row => ({
  arguments: argumentCount,
  path,
  detail: call => {
    const [, process] = processEntry.exec(pathText(call, path) ?? "") ?? [];
    return process === undefined ? undefined : `process ${process}`;
  },
});
const ownerOf = new Map([
  [8, "F_SETOWN"],
  [15, "F_SETOWN_EX"],
  [0x8901, "FIOSETOWN"],
  [0x8902, "SIOCSPGRP"],
]);
const refusedOwner: Row = { arguments: 3, detail: call => ownerOf.get(Number(int(call, 1))) };

/** Calls that are an event only where we have refused one: it was aimed at us, as those above may be. */
const refusedRows: Readonly<Record<string, Row>> = {
  open: refusedOpen(3, 0),
  openat: refusedOpen(4, 1),
  openat2: refusedOpen(4, 1),
  creat: refusedOpen(2, 0),
  open_by_handle_at: { arguments: 3 },
  kill: refusedSignal(2),
  tkill: refusedSignal(2),
  tgkill: refusedSignal(3),
  rt_sigqueueinfo: { arguments: 3, detail: call => `${signalName(Number(int(call, 1)))} to process ${int(call, 0)}` },
  rt_tgsigqueueinfo: { arguments: 4, detail: call => `${signalName(Number(int(call, 2)))} to process ${int(call, 0)}` },
  pidfd_send_signal: { arguments: 4, detail: call => signalName(Number(int(call, 1))) },
  prlimit64: { arguments: 4, detail: call => `process ${int(call, 0)}` },
  fcntl: refusedOwner,
  fcntl64: { ...refusedOwner, as: "fcntl" },
  ioctl: refusedOwner,
};
/** No call of this interface is done. */
const refusedX32: Row = { arguments: 6, detail: () => "x32" };

function rowOf(call: TracedCall): Row | undefined {
  if (call.abi === "x32") return refusedX32;
  const row = Object.hasOwn(rows, call.name) ? rows[call.name] : undefined;
  if (row && (!row.when || row.when(call))) return row;
  return call.header.denied && Object.hasOwn(refusedRows, call.name) ? refusedRows[call.name] : undefined;
}

/** Events of one process. A loop of prctl is as long as somebody likes; equal ones beyond it are counted in a gap. */
const eventsMax = 100_000;
/** Of all processes. */
const allEventsMax = 1_000_000;
const textBytesMax = 64 << 20;

export class Syscalls {
  readonly #byProcess = new Map<number, SyscallEvent[]>();
  readonly #counts = new Map<string, number>();
  #recorded = 0;
  readonly #text = new Budget(textBytesMax);
  readonly #reportLimit: (process: number, what: string) => void;
  /** In the tracer's pid namespace. */
  readonly #pidOf: (process: number) => number | undefined;

  constructor(options: { reportLimit: (process: number, what: string) => void; pidOf: (process: number) => number | undefined }) {
    this.#reportLimit = options.reportLimit;
    this.#pidOf = options.pidOf;
  }

  onSyscall(call: TracedCall): void {
    const row = rowOf(call);
    if (!row) return;
    const event: SyscallEvent = {
      syscall: row.as ?? call.name,
      args: call.arguments.slice(0, row.arguments).map(value => BigInt.asIntN(64, value)),
      time: call.timeNs,
    };
    if (!call.entryOnly) event.result = resultName(call.result);
    const detail = row.detail?.(call);
    if (detail !== undefined && detail !== "") event.detail = detail;
    const path = row.path === undefined ? undefined : pathText(call, row.path);
    const targetPath = row.target === undefined ? undefined : pathText(call, row.target);
    if (path !== undefined && path !== "") event.path = path;
    if (targetPath !== undefined && targetPath !== "") event.targetPath = targetPath;
    this.#add(call.process, event);
  }

  /** The memory or environment of another process, read as a file. */
  onOpen(event: OpenEvent): void {
    if (event.descriptor < 0 || !event.path.startsWith("/proc/")) return;
    const match = processEntry.exec(event.path);
    if (!match || !/^(mem|environ)$/.test(match[2] ?? "") || Number(match[1]) === this.#pidOf(event.process)) return;
    const { name, path, flags, mode, timeNs: time } = event;
    this.#add(event.process, {
      syscall: name,
      detail: `process ${match[1]}`,
      args: [flags, BigInt(mode)],
      path,
      result: 0,
      time,
    });
  }

  onInherited(event: InheritedEvent): void {
    if (event.descriptor > 2 || !isSocket(event.file)) return;
    const { descriptor, path, timeNs: time } = event;
    this.#add(event.process, { syscall: "inherited-socket", args: [BigInt(descriptor)], path, result: 0, time });
  }

  eventsOf(process: number): SyscallEvent[] {
    return this.#byProcess.get(process) ?? [];
  }

  /** Number of events per name, in the order of first appearance. */
  counts(): ReadonlyMap<string, number> {
    return this.#counts;
  }

  #add(process: number, event: SyscallEvent): void {
    this.#counts.set(event.syscall, (this.#counts.get(event.syscall) ?? 0) + 1);
    const events = this.#byProcess.get(process);
    const isOneTooMany = this.#recorded >= allEventsMax || (events !== undefined && events.length >= eventsMax);
    if (isOneTooMany || !this.#text.take(textLength(event))) {
      this.#reportLimit(process, "syscallEvents");
      return;
    }
    this.#recorded++;
    if (events) events.push(event);
    else this.#byProcess.set(process, [event]);
  }
}

function textLength({ detail = "", path = "", targetPath = "" }: SyscallEvent): number {
  return detail.length + path.length + targetPath.length;
}

function pathText(call: TracedCall, index: number): string | undefined {
  let root = "";
  for (const item of call.items) if (item.kind === "root") root = item.root;
  for (const item of call.items) {
    if (item.kind === "path" && item.argument === index) return belowRoot(item.path, root);
    if (item.kind === "descriptor" && item.argument === index) return belowRoot(item.link, root);
  }
  return textItem(call, index);
}
