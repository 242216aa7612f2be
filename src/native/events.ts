// What the tracer tells, a type for each kind of record (zig/abi.zig). `decoder.ts` makes them from a ring's bytes.
import type * as abi from "./abi.gen.ts";

/** Many events share one. */
export interface FileIdentity {
  readonly device: bigint;
  readonly inode: bigint;
  readonly size: bigint;
  /** 512-byte blocks. */
  readonly blocks: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  /** 0: not known. Tells a file from an earlier one with the same inode. */
  readonly birthNs: bigint;
  readonly mode: number;
  readonly links: number;
  /** statfs f_type. */
  readonly fileSystem: number;
  readonly uid: number;
}

/** Many events share one. */
export interface HeaderFlags {
  readonly truncated: boolean;
  readonly unreadable: boolean;
  readonly unresolved: boolean;
  readonly denied: boolean;
  readonly deleted: boolean;
  /** Of a reader's: somebody had the file open for writing at that moment. */
  readonly hasWriters: boolean;
  /** The same, and they may write without a trace in the file's ctime and size. */
  readonly unsettled: boolean;
}

/** In every event. */
export interface EventHeader {
  header: HeaderFlags;
  sequence: number;
  /** Nanoseconds since the epoch. */
  timeNs: bigint;
  tid: number;
  /** Serial number of the process; see zig/abi.zig. */
  process: number;
}

export interface ProcessEvent extends EventHeader {
  kind: "process";
  parent: number;
  pid: number;
  parentPid: number;
  /** PTRACE_EVENT_*, 0 for the command. */
  event: number;
  cloneFlags: bigint;
}

export interface ExecEvent extends EventHeader {
  kind: "exec";
  executable: FileIdentity;
  executableHeld: number;
  executableNotHeld: abi.NotHeld;
  executableHeldErrno: number;
  executableContent: number;
  program: FileIdentity;
  programHeld: number;
  programNotHeld: abi.NotHeld;
  programHeldErrno: number;
  programContent: number;
  formerTid: number;
  uid: number;
  euid: number;
  gid: number;
  egid: number;
  speculationVulnerable: boolean;
  privilegeLost: boolean;
  executablePath: string;
  programPath: string;
  comm: string;
  cwd: string;
  /** "" for "/". */
  root: string;
  argv: string[];
  /** NUL after each variable; none after a last one that was cut. */
  environment: Uint8Array;
}

export interface ExitEvent extends EventHeader {
  kind: "exit";
  /** Wait status. */
  status: number;
  /** Opens of the process that failed: too many for a record each. */
  failedOpens?: number;
}

export interface OpenEvent extends EventHeader {
  kind: "open";
  file: FileIdentity;
  flags: bigint;
  mode: number;
  descriptor: number;
  held: number;
  notHeld: abi.NotHeld;
  heldErrno: number;
  number: number;
  name: string;
  abi: abi.Abi;
  content: number;
  /** Of an open for writing: the size before the call, so before O_TRUNC. Absent: there was no file. */
  sizeBefore?: bigint;
  root: string;
  path: string;
  argument: string;
}

export interface InheritedEvent extends EventHeader {
  kind: "inherited";
  file: FileIdentity;
  flags: bigint;
  descriptor: number;
  held: number;
  notHeld: abi.NotHeld;
  heldErrno: number;
  content: number;
  path: string;
  /** Of a socket that can be asked: what it is, and struct sockaddr of what it is connected to (empty: nothing). */
  socket?: { domain: number; type: number; peer: Uint8Array };
}

/** Its content is about to be cut by `process`, while another one that has written it is alive. */
export interface OverwriteEvent extends EventHeader {
  kind: "overwrite";
  file: FileIdentity;
  held: number;
  notHeld: abi.NotHeld;
  heldErrno: number;
  content: number;
  path: string;
}

/** Before a process's exit: what it opened for writing, as `held`, still has writers. */
export interface WritersLeftEvent extends EventHeader {
  kind: "writers_left";
  held: number;
  /** The kernel does not say. */
  unknown: boolean;
}

/** Before a call that unmounts: what is held of a file keeps its mount busy. The call waits until it is closed. */
export interface UnmountEvent extends EventHeader {
  kind: "unmount";
  held: number;
  /** Whether somebody has it open for writing. False: surely nobody. */
  unknown: boolean;
}

export type SyscallItem =
  | { kind: "path"; argument: number; path: string }
  /** `cut`: there was more. */
  | { kind: "bytes"; argument: number; bytes: Uint8Array; cut?: true }
  /** `writable`, of a map: the file can be written to through it, be it only after mprotect(2). */
  | { kind: "descriptor"; argument: number; file: FileIdentity; link: string; writable?: true }
  | { kind: "file"; argument: number; file: FileIdentity }
  /** `cookie`: its end may be told by that. `holder`: inode of the socket that waits at the port it is connected to, 0: none. Left out: not asked, or not told. */
  | { kind: "socket"; argument: number; domain: number; type: number; peerPid?: number; holder?: bigint; cookie?: bigint }
  | { kind: "root"; root: string };

export interface SyscallEvent extends EventHeader {
  kind: "syscall";
  number: number;
  name: string;
  abi: abi.Abi;
  arguments: bigint[];
  /** Negative errno on failure. */
  result: bigint;
  /** Recorded at the entry: `result` is not known. */
  entryOnly: boolean;
  items: SyscallItem[];
}

export interface GapEvent extends EventHeader {
  kind: "gap";
  gap: abi.GapKind;
  value: bigint;
  text: string;
}

/** Calls of one process that wrote to one file, since the last such event of the two. */
export interface WrittenEvent extends EventHeader {
  kind: "written";
  device: bigint;
  inode: bigint;
  bytes: bigint;
  calls: bigint;
  firstTimeNs: bigint;
  /** As the descriptor's link said; "" if it could not be read. */
  path: string;
}

/** Of no process. */
export interface TrafficEvent extends EventHeader {
  kind: "traffic";
  /** Of the connection, as its connect had it. */
  cookie: bigint;
  sent: bigint;
  received: bigint;
}

export interface CommandEndEvent extends EventHeader {
  kind: "command_end";
  /** Wait status. */
  status: number;
}

export type Event =
  | ProcessEvent
  | ExecEvent
  | ExitEvent
  | OpenEvent
  | InheritedEvent
  | OverwriteEvent
  | WritersLeftEvent
  | UnmountEvent
  | SyscallEvent
  | GapEvent
  | CommandEndEvent
  | TrafficEvent
  | WrittenEvent;
