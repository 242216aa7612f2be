// What one run did: facts only, frozen when the last process is gone. Attestors and reports read it; nothing in it judges.
// Times are nanoseconds since the epoch. Text that came from the kernel or a tracee has been through `escapeBytes` (src/text.ts).

export type Hex = string;

/** Algorithm name (wire-formats: sha256, sha1, gitoid:sha256, gitoid:sha1, dirHash) to value. Empty: not known. */
export type DigestSet = Record<string, string>;

export interface CapturedStream {
  /** Up to the capture limit, after redaction. */
  bytes: Uint8Array;
  /** SHA-256 of the whole stream, after redaction. */
  sha256: Hex;
  /** Length of what `sha256` is over. */
  length: number;
  /** How many secret values were replaced in it. */
  redactions: number;
  /** Where we could not write to our own stdout or stderr. */
  undelivered?: Undelivered;
}

export interface Undelivered {
  /** Written by the command and passed on to nobody, at least. */
  bytes: number;
  /** Name of the errno. */
  error: string;
  /** In words. */
  reason: string;
}

export interface Observation {
  /** The command as it was given, byte for byte. */
  argv: Uint8Array[];
  /** `K=V` of the environment that the command got, byte for byte. */
  environment: Uint8Array[];
  workingDirectory: string;
  startTime: bigint;
  endTime: bigint;
  /** The command's own; 128 + n after signal n. */
  exitCode: number;
  /** Name of the signal that the command died of. */
  signal?: string;
  /** Name of the signal that we were sent. */
  interrupted?: string;
  stdout: CapturedStream;
  stderr: CapturedStream;
  /** Descendants that outlived the grace period and were killed. */
  survivorsKilled: number;
  /** With --trace only. */
  trace?: TraceObservation;
}

export interface TraceObservation {
  processes: ProcessObservation[];
  completeness: Completeness;
  totals: Record<string, number>;
  outliers: Outliers;
  /** Counts of what is worth a look, by the names of wire-formats 3.4. */
  diagnostics: Record<string, number>;
  failedOpens: number;
  /** How many paths were opened and written, where somebody has counted them; else they can be counted process by process. */
  paths?: { opened: number; written: number };
  /** Left out where nobody asked. */
  undeclared?: UndeclaredInputs;
  network?: NetworkSummary;
}

/** Whom the build talked to, each once. */
export interface NetworkSummary {
  endpoints: Endpoint[];
  /** How many are too many to be listed. */
  unlisted: number;
  /** Nothing left the machine, nothing was handed to somebody else, and nothing is missing. */
  hermetic: boolean;
}

export interface Endpoint {
  /** Who began: we (`out`), somebody else (`in`), or nobody yet. */
  direction: "out" | "in" | "listen";
  host?: string;
  family: string;
  address: string;
  port?: number;
  protocol: string;
  /** Address and port of the proxy that was asked for it; then `address` is empty. */
  via?: string;
  /** 0, or the errno's name of the first attempt if none succeeded. */
  result?: 0 | string;
  /** Attempts of all processes. */
  count: number;
  /** Of those connections whose end was told. */
  bytes?: Traffic;
  peer?: NetworkPeer;
  /** Serial of the first process that used it. */
  process: number;
  /** Its ancestors' serials, the command last. */
  ancestors: number[];
}

/** The extremes of a run. */
export interface Outliers {
  /** The largest file that was read. */
  largestRead?: { path: string; bytes: bigint };
  /** The path that most processes opened. */
  mostOpened?: { path: string; count: number };
  /** Number of events per system call. */
  suspiciousOps: Record<string, number>;
}

export interface ProcessObservation {
  /** Our serial number, in order of creation. */
  serial: number;
  pid: number;
  parentPid: number;
  program?: string;
  programDigest?: DigestSet;
  comm?: string;
  argv?: string[];
  executableDigest?: DigestSet;
  cwd?: string;
  root?: string;
  /** `K=V` byte strings of the image. */
  environment?: Uint8Array[];
  speculationVulnerable?: boolean;
  images: EarlierImage[];
  startTime: bigint;
  endTime?: bigint;
  exitCode: number;
  exitSignal?: string;
  openedFiles: ReadonlyMap<string, DigestSet> | PackedFiles;
  writtenDigests: Map<string, DigestSet>;
  /** Only paths that were seen with several contents, in order. */
  fileVersions: Map<string, DigestSet[]>;
  unhashedOpens: { path: string; reason: UnhashedReason }[];
  fileOps: FileOps;
  network: ProcessNetwork;
  syscallEvents: SyscallEvent[];
}

/** Of a traced run: the same files stand in the lists of a thousand processes, so each process has only their numbers. */
export interface PackedFiles extends ReadonlyMap<string, DigestSet> {
  readonly numbers: Uint32Array;
  /** Of all processes. */
  readonly table: FileTable;
}

/** A path with one content has one number. */
export interface FileTable {
  /** How many numbers there are. */
  readonly size: number;
  pathOf(number: number): string;
  digestsOf(number: number): DigestSet;
}

export type UnhashedReason =
  | "directory"
  | "device"
  | "fifo"
  | "socket"
  | "pseudo-filesystem"
  | "path-only"
  | "too-large"
  | "unreadable"
  | "changed-while-read"
  | "shared-memory"
  | "anonymous"
  | "overwritten"
  | "gone";

export interface EarlierImage {
  program: string;
  argv: string[];
  executableDigest: DigestSet;
  time: bigint;
}

export interface FileOps {
  writes: { path: string; bytes: number; time: bigint }[];
  renames: { oldPath: string; newPath: string; time: bigint }[];
  deletes: { path: string; time: bigint }[];
  permChanges: { path: string; mode: number; time: bigint }[];
  links: { oldPath: string; newPath: string; time: bigint }[];
  symlinks: { target: string; path: string; time: bigint }[];
  mkdirs: { path: string; mode: number; time: bigint }[];
  nodes: { path: string; mode: number; time: bigint }[];
  truncates: { path: string; length: bigint; time: bigint }[];
  ownerChanges: { path: string; uid: number; gid: number; time: bigint }[];
  timeChanges: { path: string; time: bigint }[];
  xattrChanges: { path: string; name: string; time: bigint }[];
}

export interface ProcessNetwork {
  sockets: NetworkSocket[];
  connections: NetworkConnection[];
  dnsLookups: DnsLookup[];
  /** Connections beyond the limit, counted. */
  summed?: SummedConnections[];
}

export interface SummedConnections {
  syscall: NetworkConnection["syscall"];
  family: string;
  result?: 0 | string;
  count: number;
}

export interface NetworkSocket {
  family: string;
  type: string;
  protocol: number;
  fd: number;
  /** How it came from outside of the build. */
  origin?: "inherited" | "recvmsg" | "pidfd_getfd";
  /** What such a one is connected to. */
  address?: string;
  port?: number;
}

export interface NetworkConnection {
  syscall: "connect" | "bind" | "sendto" | "listen" | "accept";
  family: string;
  address: string;
  port?: number;
  fd: number;
  time: bigint;
  /** 0 or the errno's name. */
  result?: 0 | string;
  hostname?: string;
  hostnameSource?: "sni" | "dns" | "http" | "socks";
  /** An encrypted ClientHello was offered: `hostname` is the outer name. */
  ech?: true;
  /** `host:port` that a proxy was asked for: `address` is the proxy's. */
  target?: string;
  /** How many equal ones this stands for; left out for one. */
  count?: number;
  /** Who answers there, if that is no process of the build. */
  peer?: NetworkPeer;
  /** What went through it; of several, through those whose end was told. */
  bytes?: Traffic;
}

export interface Traffic {
  sent: number;
  received: number;
}

/** A process outside of the build that was given work. */
export interface NetworkPeer {
  /** What it is known as: `docker`, `D-Bus` … */
  service?: string;
  /** Not known: in another pid namespace, or gone. */
  pid?: number;
  program?: string;
  digest?: DigestSet;
}

export interface DnsLookup {
  serverAddress: string;
  serverPort: number;
  names?: string[];
  /** `NAME TYPE`, each once. */
  queries?: string[];
}

export interface SyscallEvent {
  syscall: string;
  detail?: string;
  args: bigint[];
  path?: string;
  targetPath?: string;
  /** 0 or the errno's name; left out where the call was seen only before it was done. */
  result?: 0 | string;
  time: bigint;
}

export type Verdict = "complete" | "complete-with-notes" | "incomplete";

export interface Gap {
  kind: string;
  severity: "gap" | "note";
  count: number;
  processIds: number[];
  detail: string;
}

export interface Completeness {
  verdict: Verdict;
  gaps: Gap[];
  tracer: {
    mode: string;
    detail: "normal" | "full";
    kernel: string;
    privileged: boolean;
    features: string[];
    ignoredSyscalls: Hex;
  };
}

/** A content that the build read or executed and had not written. */
export interface InputFile {
  /** Absolute in our own root, symbolic links resolved. A path with several contents has several entries. */
  path: string;
  /** The same, as it was called when the build came: it may have been renamed or linked before it was read. Undefined: it was not there. */
  origin: string | undefined;
  /** Empty: not known. */
  digests: DigestSet;
  /** The inode as it was at the open. */
  state: { device: bigint; inode: bigint; size: bigint; mtimeNs: bigint; ctimeNs: bigint };
  /** A later change of the content would show in ctime. */
  settled: boolean;
  /** On a file system that another process or machine serves. */
  remote: boolean;
  /** The build had opened the file for writing, and it was changed since: what it held before the build is another content. */
  isRewritten: boolean;
}

/** A file that the build wrote, under one of its names. */
export interface OutputFile {
  path: string;
  /** Whether it was there at the end. */
  present: boolean;
}

export interface TraceFiles {
  inputs: readonly InputFile[];
  outputs: readonly OutputFile[];
  /** Files that the build opened for writing, by `fileKey`, whatever they are called. */
  written: ReadonlyMap<string, WrittenInode>;
  /** Names that the build made without opening a file: links, renames, nodes. Of directories too. */
  made: ReadonlySet<string>;
  /** Of overlayfs mounts of the build. */
  uppers: readonly UpperDirectory[];
}

/** A directory that is there at the end: what was changed in it since then, the build has made through an overlay. */
export interface UpperDirectory {
  path: string;
  sinceNs: bigint;
}

export interface WrittenInode {
  /** What its last writer left, and how the file was then. */
  left?: { digests: DigestSet; state: { size: bigint; mtimeNs: bigint; ctimeNs: bigint } };
  /** How the file was after it was opened for the first time; left out where that says nothing: a shared map, a server's file, times that were set. */
  before?: { size: bigint; mtimeNs: bigint };
}

/** Who vouches for what the build took from outside; see docs/undeclared.md. Every input counts once. */
export interface UndeclaredInputs {
  counts: { total: number; git: number; lockfile: number; system: number; nobody: number; differs: number };
  /** What the vouched inputs belong to. */
  packages: VouchedPackage[];
  /** Those that nobody vouches for, or that differ from what somebody does; sorted by path. */
  files: UndeclaredFile[];
  /** How many packages and files are too many to be listed. */
  unlistedPackages: number;
  unlistedFiles: number;
  /** Sources that were not read or not believed. */
  notes: readonly string[];
}

export interface VouchedPackage {
  kind: "git" | "lockfile" | "system";
  /** `git`, `npm`, `cargo`, `golang`, `pypi`, `dpkg`, `apk`, `rpm` */
  by: string;
  /** The file that says so. */
  source: string;
  package: string;
  version?: string;
  /** `digest`: the very content; `owner`: only that the file belongs to the package. */
  match: "digest" | "owner";
  files: number;
}

export interface UndeclaredFile {
  path: string;
  kind: "nobody" | "differs";
  by?: string;
  source?: string;
  package?: string;
  version?: string;
  /** Why a package that it belongs to does not vouch for it. */
  note?: string;
}
