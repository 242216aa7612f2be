// What a FileIdentity and the flags of an open say: tables of the kernel's numbers, no state.
import type { FileIdentity } from "../native/events.ts";
import type { UnhashedReason } from "./observation.ts";

// ---------------------------------------------------------------------------------------------
// open(2) flags; asm-generic, which x86 shares.

const O_ACCMODE = 0o3;
const O_WRONLY = 0o1;
const O_RDWR = 0o2;
const O_CREAT = 0o100;
const O_EXCL = 0o200;
const O_TRUNC = 0o1000;
const O_PATH = 0o10000000;

/**
 * Whether an open can change content. O_RDONLY | O_TRUNC truncates too. O_CREAT | O_EXCL has made the file: its content
 * is this process's doing even where it is never written to. Access mode 3 is for ioctl only.
 */
export function opensForWriting(flags: number): boolean {
  if ((flags & O_PATH) !== 0) return false;
  const access = flags & O_ACCMODE;
  return (
    access === O_WRONLY || access === O_RDWR || (flags & O_TRUNC) !== 0 || (flags & (O_CREAT | O_EXCL)) === (O_CREAT | O_EXCL)
  );
}

/** Of an open for writing. */
export const readsToo = (flags: number): boolean => (flags & O_ACCMODE) !== O_WRONLY;
export const truncates = (flags: number): boolean => (flags & O_TRUNC) !== 0;
export const isPathOnly = (flags: number): boolean => (flags & O_PATH) !== 0;

// ---------------------------------------------------------------------------------------------
// st_mode

const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
const S_IFSOCK = 0o140000;
const S_IFDIR = 0o040000;
const S_IFIFO = 0o010000;

const reasonOfType: ReadonlyMap<number, UnhashedReason> = new Map([
  [S_IFDIR, "directory"],
  [0o020000, "device"], // character
  [0o060000, "device"], // block
  [S_IFIFO, "fifo"],
  [S_IFSOCK, "socket"],
  [0o120000, "path-only"], // a symbolic link: only O_PATH | O_NOFOLLOW opens one
]);

export const isRegular = (file: FileIdentity): boolean => (file.mode & S_IFMT) === S_IFREG;
export const isSocket = (file: FileIdentity): boolean => (file.mode & S_IFMT) === S_IFSOCK;
export const isFifo = (file: FileIdentity): boolean => (file.mode & S_IFMT) === S_IFIFO;
export const isDirectory = (file: FileIdentity): boolean => (file.mode & S_IFMT) === S_IFDIR;

/** Why a file that is not regular has no digest. Mode 0: an anonymous inode of the kernel (epoll, eventfd …). */
export function reasonOfMode(mode: number): UnhashedReason {
  return reasonOfType.get(mode & S_IFMT) ?? "anonymous";
}

// ---------------------------------------------------------------------------------------------
// File systems, by statfs f_type

const pipeFileSystem = 0x50495045;

/** No content on a disk: their files are questions to the kernel. */
const pseudoFileSystems: ReadonlySet<number> = new Set([
  0x9fa0, // proc
  0x62656572, // sysfs
  0x1cd1, // devpts
  0x27e0eb, // cgroup
  0x63677270, // cgroup2
  0x64626720, // debugfs
  0x74726163, // tracefs
  0x73636673, // securityfs
  0xf97cff8c, // selinuxfs
  0x43415d53, // smackfs
  0x5a3c69f0, // apparmorfs
  0xcafe4a11, // bpf
  0x6165676c, // pstore
  0xde5e81e4, // efivarfs
  0x62656570, // configfs
  0x42494e4d, // binfmt_misc
  0x19800202, // mqueue
  0x6e736673, // nsfs
  0x50494446, // pidfs
  0x534f434b, // sockfs
  pipeFileSystem,
  0x09041934, // anon_inodefs
  0x65735543, // fusectl
  0x7655821, // resctrl
  0x67596969, // rpc_pipefs
]);

/** Served by a process or another machine: a read can take for ever, and what it returns is the server's word. */
const remoteFileSystems: ReadonlySet<number> = new Set([
  0x65735546, // fuse, virtiofs
  0x6969, // nfs
  0x517b, // smb
  0xff534d42, // cifs
  0xfe534d42, // smb2
  0x01021997, // 9p
  0x5346414f, // afs (openafs)
  0x6b414653, // afs (kernel)
  0x00c36400, // ceph
  0x0bd00bd0, // lustre
  0x73757245, // coda
  0x786f4256, // vboxsf
  0x20030528, // orangefs
  0x01161970, // gfs2
  0x7461636f, // ocfs2
]);

/** Of a FIFO: it has no name in any file system. */
export const isPipe = (file: FileIdentity): boolean => file.fileSystem === pipeFileSystem;
export const isPseudo = (file: FileIdentity): boolean => pseudoFileSystems.has(file.fileSystem);
export const isRemote = (file: FileIdentity): boolean => remoteFileSystems.has(file.fileSystem);

// ---------------------------------------------------------------------------------------------
// Size

/** A file with more data than this gets no digest. */
export const dataMax = 16n << 30n;
/** The same for holes: they are made in no time, and reading them takes as long as reading data. */
export const holesMax = 16n << 30n;
const blockSize = 512n;

/** Of all files of a run together, in MiB, where one has a GiB of holes or more: hundreds of such files are made in no time too. */
export const holesOfRunMax = 32 << 10;
const manyHoles = 1n << 30n;

/** What a digest takes of `holesOfRunMax`. */
export function holesTaken({ size, blocks }: { size: bigint; blocks: bigint }): number {
  const holes = size - blocks * blockSize;
  return holes < manyHoles ? 0 : Number(holes >> 20n);
}

export function isTooLarge({ size, blocks }: { size: bigint; blocks: bigint }): boolean {
  const data = blocks * blockSize;
  return data > dataMax || size - data > holesMax;
}

/** One text per file: an inode's number comes back when its file is gone, but not with the same birth. */
export const lifeKey = (file: { device: bigint; inode: bigint; birthNs: bigint }): string =>
  `${file.device}:${file.inode}:${file.birthNs}`;

/** One text per inode. Inodes come back after a deletion: see `lifeKey`. */
export const fileKey = (file: { device: bigint; inode: bigint }): string => `${file.device}:${file.inode}`;

/** `path` as a process with this root directory sees it. A path outside of it (opened before chroot) stays as it is. */
export function belowRoot(path: string, root: string): string {
  if (root === "" || !path.startsWith(root)) return path;
  if (path.length === root.length) return "/";
  return path.charCodeAt(root.length) === 0x2f ? path.slice(root.length) : path;
}
