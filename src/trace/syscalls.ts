// Observer of single calls that a reader of the record wants to see: a closed table from the contract. An event is an
// attempt, recorded also when it failed. `detail` says what was asked for in the names of the manual pages, never what
// it might mean.
import type { InheritedEvent, OpenEvent, SyscallEvent as TracedCall } from "../native/events.ts";
import { escapeBytes } from "../text.ts";
import { belowRoot, isSocket } from "./file-types.ts";
import { resultName } from "./names.ts";
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

type Names = readonly (readonly [bit: bigint, name: string])[];

/** `A|B|0x80` */
function flagNames(value: bigint, names: Names): string {
  const parts: string[] = [];
  let rest = value;
  for (const [bit, name] of names) {
    if (bit === 0n || (rest & bit) !== bit) continue;
    parts.push(name);
    rest &= ~bit;
  }
  if (rest !== 0n) parts.push(`0x${rest.toString(16)}`);
  return parts.length === 0 ? "0" : parts.join("|");
}

const namespaceFlags: Names = [
  [0x80n, "CLONE_NEWTIME"],
  [0x20000n, "CLONE_NEWNS"],
  [0x02000000n, "CLONE_NEWCGROUP"],
  [0x04000000n, "CLONE_NEWUTS"],
  [0x08000000n, "CLONE_NEWIPC"],
  [0x10000000n, "CLONE_NEWUSER"],
  [0x20000000n, "CLONE_NEWPID"],
  [0x40000000n, "CLONE_NEWNET"],
];
const allNamespaces = namespaceFlags.reduce((all, [bit]) => all | bit, 0n);
/** In clone(2) the low byte is the signal of the child's end, not CLONE_NEWTIME. */
const exitSignalMask = 0xffn;

const unshareFlags: Names = [
  ...namespaceFlags,
  [0x100n, "CLONE_VM"],
  [0x200n, "CLONE_FS"],
  [0x400n, "CLONE_FILES"],
  [0x800n, "CLONE_SIGHAND"],
  [0x10000n, "CLONE_THREAD"],
  [0x40000n, "CLONE_SYSVSEM"],
];

const protections: Names = [
  [1n, "PROT_READ"],
  [2n, "PROT_WRITE"],
  [4n, "PROT_EXEC"],
];

const mountFlags: Names = [
  [1n, "MS_RDONLY"],
  [2n, "MS_NOSUID"],
  [4n, "MS_NODEV"],
  [8n, "MS_NOEXEC"],
  [0x20n, "MS_REMOUNT"],
  [0x1000n, "MS_BIND"],
  [0x2000n, "MS_MOVE"],
  [0x4000n, "MS_REC"],
  [0x20000n, "MS_UNBINDABLE"],
  [0x40000n, "MS_PRIVATE"],
  [0x80000n, "MS_SLAVE"],
  [0x100000n, "MS_SHARED"],
];

const memfdFlags: Names = [
  [1n, "MFD_CLOEXEC"],
  [2n, "MFD_ALLOW_SEALING"],
  [4n, "MFD_HUGETLB"],
  [8n, "MFD_NOEXEC_SEAL"],
  [0x10n, "MFD_EXEC"],
];

const prctlOptions: Readonly<Record<number, string>> = {
  4: "PR_SET_DUMPABLE",
  15: "PR_SET_NAME",
  22: "PR_SET_SECCOMP",
  38: "PR_SET_NO_NEW_PRIVS",
};
const PR_SET_NAME = 15n;

const ptraceRequests: ReadonlyMap<number, string> = new Map([
  [0, "PTRACE_TRACEME"],
  [1, "PTRACE_PEEKTEXT"],
  [2, "PTRACE_PEEKDATA"],
  [3, "PTRACE_PEEKUSER"],
  [4, "PTRACE_POKETEXT"],
  [5, "PTRACE_POKEDATA"],
  [6, "PTRACE_POKEUSER"],
  [7, "PTRACE_CONT"],
  [8, "PTRACE_KILL"],
  [9, "PTRACE_SINGLESTEP"],
  [12, "PTRACE_GETREGS"],
  [13, "PTRACE_SETREGS"],
  [16, "PTRACE_ATTACH"],
  [17, "PTRACE_DETACH"],
  [24, "PTRACE_SYSCALL"],
  [0x4200, "PTRACE_SETOPTIONS"],
  [0x4201, "PTRACE_GETEVENTMSG"],
  [0x4202, "PTRACE_GETSIGINFO"],
  [0x4204, "PTRACE_GETREGSET"],
  [0x4205, "PTRACE_SETREGSET"],
  [0x4206, "PTRACE_SEIZE"],
  [0x4207, "PTRACE_INTERRUPT"],
  [0x4208, "PTRACE_LISTEN"],
]);

const seccompOperations: Readonly<Record<number, string>> = {
  0: "SECCOMP_SET_MODE_STRICT",
  1: "SECCOMP_SET_MODE_FILTER",
  2: "SECCOMP_GET_ACTION_AVAIL",
  3: "SECCOMP_GET_NOTIF_SIZES",
};
const seccompFlags: Names = [
  [1n, "TSYNC"],
  [2n, "LOG"],
  [4n, "SPEC_ALLOW"],
  [8n, "NEW_LISTENER"],
  [0x10n, "TSYNC_ESRCH"],
];

const keyctlOperations =
  "GET_KEYRING_ID JOIN_SESSION_KEYRING UPDATE REVOKE CHOWN SETPERM DESCRIBE CLEAR LINK UNLINK SEARCH READ INSTANTIATE NEGATE SET_REQKEY_KEYRING SET_TIMEOUT ASSUME_AUTHORITY GET_SECURITY SESSION_TO_PARENT REJECT".split(
    " ",
  );

const bpfCommands =
  "MAP_CREATE MAP_LOOKUP_ELEM MAP_UPDATE_ELEM MAP_DELETE_ELEM MAP_GET_NEXT_KEY PROG_LOAD OBJ_PIN OBJ_GET PROG_ATTACH PROG_DETACH PROG_TEST_RUN".split(
    " ",
  );

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

function descriptorItem(call: TracedCall, index: number) {
  for (const item of call.items) if (item.kind === "descriptor" && item.argument === index) return item;
  return undefined;
}

const isSocketOnto = (call: TracedCall, target: bigint): boolean => {
  const item = descriptorItem(call, 0);
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
  detail: call => `${descriptorItem(call, 0)?.link ?? "socket"} onto ${int(call, 1)}`,
};
/** The descriptor is the kernel's choice: the lowest free one. */
const lowestFree: Row = {
  arguments: 1,
  when: call => isSocketOnto(call, call.result),
  detail: call => `${descriptorItem(call, 0)?.link ?? "socket"} onto ${call.result}`,
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
  pidfd_getfd: { arguments: 3 },
  io_uring_setup: { arguments: 2 },
  keyctl: { arguments: 5, detail: call => keyctlOperations[Number(int(call, 0))] ?? `operation ${int(call, 0)}` },
  userfaultfd: { arguments: 1 },
  perf_event_open: { arguments: 5 },
};

/** Events of one process. A loop of prctl is as long as somebody likes; equal ones beyond it are counted in a gap. */
const eventsMax = 100_000;

export class Syscalls {
  readonly #byProcess = new Map<number, SyscallEvent[]>();
  readonly #counts = new Map<string, number>();
  readonly #reportLimit: (process: number, what: string) => void;
  /** In the tracer's pid namespace. */
  readonly #pidOf: (process: number) => number | undefined;

  constructor(options: { reportLimit: (process: number, what: string) => void; pidOf: (process: number) => number | undefined }) {
    this.#reportLimit = options.reportLimit;
    this.#pidOf = options.pidOf;
  }

  onSyscall(call: TracedCall): void {
    if (!Object.hasOwn(rows, call.name)) return;
    const row = rows[call.name];
    if (!row || (row.when && !row.when(call))) return;
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
    const match = /^\/proc\/(\d+)\/(?:task\/\d+\/)?(mem|environ)$/.exec(event.path);
    if (!match || Number(match[1]) === this.#pidOf(event.process)) return;
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
    if (!events) this.#byProcess.set(process, [event]);
    else if (events.length < eventsMax) events.push(event);
    else this.#reportLimit(process, "syscallEvents");
  }
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
