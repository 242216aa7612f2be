// What a FileIdentity and the flags of an open say: tables of the kernel's numbers, no state.
import { pipeFileSystem, pseudoFileSystems, remoteFileSystems } from "../file-systems.ts";
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
const S_IFCHR = 0o020000;
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
export const isCharacterDevice = (file: FileIdentity): boolean => (file.mode & S_IFMT) === S_IFCHR;
export const isFifo = (file: FileIdentity): boolean => (file.mode & S_IFMT) === S_IFIFO;
export const isDirectory = (file: FileIdentity): boolean => (file.mode & S_IFMT) === S_IFDIR;

/** Why a file that is not regular has no digest. Mode 0: an anonymous inode of the kernel (epoll, eventfd …). */
export function reasonOfMode(mode: number): UnhashedReason {
  return reasonOfType.get(mode & S_IFMT) ?? "anonymous";
}

// ---------------------------------------------------------------------------------------------
// File systems

/** Of a FIFO: it has no name in any file system. */
export const isPipe = (file: FileIdentity): boolean => file.fileSystem === pipeFileSystem;
export const isPseudo = (file: FileIdentity): boolean => pseudoFileSystems.has(file.fileSystem);
export const isRemote = (file: FileIdentity): boolean => remoteFileSystems.has(file.fileSystem);

// ---------------------------------------------------------------------------------------------
// Keys

/** One text per file: an inode's number comes back when its file is gone, but not with the same birth. */
export const lifeKey = (file: { device: bigint; inode: bigint; birthNs: bigint }): string =>
  `${file.device}:${file.inode}:${file.birthNs}`;

/** One text per inode. Inodes come back after a deletion: see `lifeKey`. */
export const fileKey = (file: { device: bigint; inode: bigint }): string => `${file.device}:${file.inode}`;

/** Rounded, where it is more than a number can hold. */
export const inodeOfKey = (key: string): number => Number(key.slice(key.indexOf(":") + 1));

/** `path` as a process with this root directory sees it. A path outside of it (opened before chroot) stays as it is. */
export function belowRoot(path: string, root: string): string {
  if (root === "" || !path.startsWith(root)) return path;
  if (path.length === root.length) return "/";
  return path.charCodeAt(root.length) === 0x2f ? path.slice(root.length) : path;
}
