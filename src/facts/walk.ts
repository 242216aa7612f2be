// The regular files below a directory and their digests: what the material and product attestors compare. A symbolic
// link is followed while its target stays inside, and its files are recorded under the link's path; broken and escaping
// links are skipped. Whatever could not be read is listed, never left out in silence.
import {
  type BigIntStats,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readSync,
  statfsSync,
} from "node:fs";
import { type HashName, startHash } from "../hashes.ts";
import { escapeBytes } from "../text.ts";
import type { DigestSet } from "../trace/observation.ts";
import { realPath } from "./real-path.ts";

export type { HashName };

export interface WalkedFile {
  /** Relative to the root, `/` between the parts, odd bytes escaped. */
  readonly path: string;
  readonly digest: DigestSet;
  readonly device: bigint;
  readonly inode: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  /** The file was quiet long enough before it was read for `ctimeNs` to change with the next write. */
  readonly settled: boolean;
}

export interface Unread {
  readonly path: string;
  readonly reason: string;
}

export interface Walk {
  /** Sorted by path. */
  readonly files: readonly WalkedFile[];
  readonly unread: readonly Unread[];
}

export interface WalkOptions {
  readonly hashes: readonly HashName[];
  /** Absolute real paths that are no part of the build: outfile, public key, signing key. */
  readonly excludePaths?: readonly Uint8Array[];
  /** Files that are left out under every name: the signing key must not be told by a digest. */
  readonly excludeFiles?: readonly { device: bigint; inode: bigint }[];
  /** An earlier walk whose digests may stand for files that nobody has touched since. */
  readonly earlier?: Walk;
}

/** Before Linux 6.13 ctime moves only once a tick (at most 10 ms): a write within the same tick would not show in it. */
const settledAfterNs = 20_000_000n;
/** A file with more data than this is listed as unread. */
const dataMax = 16n << 30n;
/** The same for the holes of a sparse file: reading them takes time too. */
const holesMax = 16n << 30n;
/** statfs types of file systems whose files are questions to the kernel: reading them has effects, or never ends. */
const pseudoFileSystems: ReadonlySet<number> = new Set([
  0x9fa0, // proc
  0x62656572, // sysfs
  0x1cd1, // devpts
  0x27e0eb, // cgroup
  0x63677270, // cgroup2
  0x64626720, // debugfs
  0x74726163, // tracefs
  0x73636673, // securityfs
  0xcafe4a11, // bpf
  0x6165676c, // pstore
  0x62656570, // configfs
  0x19800202, // mqueue
  0x65735543, // fusectl
  0x42494e4d, // binfmt_misc
  0xf97cff8c, // selinuxfs
  0xde5e81e4, // efivarfs
  0x6e736673, // nsfs
  0x187, // autofs: looking inside would mount
]);
/** Why a directory, or a file that a link leads to, of such a file system was not read. */
export const pseudoFileSystem = "pseudo-filesystem";
/** A file that changes while it is read is read again, at most this often. */
const readAttempts = 3;
const chunk = new Uint8Array(1 << 20);
const slash = 0x2f;

type Contents = { digest: DigestSet; stat: BigIntStats; settled: boolean } | { unread: string };

/** Walks `root`, in the order of the bytes of the names, so that two walks of the same tree give the same result. */
export function walk(root: Uint8Array, options: WalkOptions): Walk {
  let real: Buffer;
  try {
    real = realPath(root);
  } catch (error) {
    return { files: [], unread: [{ path: ".", reason: errorWord(error) }] };
  }
  return new Walker(real, options).run();
}

class Walker {
  readonly #files = new Map<string, WalkedFile>();
  readonly #unread: Unread[] = [];
  readonly #excludedPaths: Set<string>;
  readonly #excludedFiles: Set<string>;
  /** Nearly every file is where it was. */
  readonly #earlierByPath: Map<string, WalkedFile>;
  /** By what identifies a content; made when the first file is not where it was. */
  #earlierByIdentity: Map<string, WalkedFile> | undefined;
  /** Directories that a link has led to. Following each once bounds the walk: links among n directories have n! paths. */
  readonly #followed = new Set<string>();

  constructor(
    readonly root: Buffer,
    readonly options: WalkOptions,
  ) {
    this.#excludedPaths = new Set((options.excludePaths ?? []).map(latin1));
    this.#excludedFiles = new Set((options.excludeFiles ?? []).map(file => `${file.device}:${file.inode}`));
    this.#earlierByPath = new Map((options.earlier?.files ?? []).map(file => [file.path, file]));
  }

  run(): Walk {
    this.#directory(this.root, Buffer.alloc(0), []);
    const files = [...this.#files.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
    return { files, unread: this.#unread };
  }

  /** `real` is where the directory is, `shown` its path below the root, `above` the directories that it is in. */
  #directory(real: Buffer, shown: Buffer, above: readonly string[]): void {
    let names: Buffer[];
    let here: string;
    try {
      here = fileKey(lstatSync(real, { bigint: true }));
      if (isPseudoFileSystem(real)) {
        this.#miss(shown.length === 0 ? Buffer.from(".") : shown, pseudoFileSystem);
        return;
      }
      names = readdirSync(real, { encoding: "buffer" }).sort(Buffer.compare);
    } catch (error) {
      this.#miss(shown.length === 0 ? Buffer.from(".") : shown, errorWord(error));
      return;
    }
    for (const name of names) this.#entry(join(real, name), shown.length === 0 ? name : join(shown, name), [...above, here]);
  }

  #entry(real: Buffer, shown: Buffer, above: readonly string[]): void {
    if (this.#excludedPaths.has(latin1(real))) return;
    let stat: BigIntStats;
    try {
      stat = lstatSync(real, { bigint: true });
    } catch (error) {
      this.#miss(shown, errorWord(error));
      return;
    }
    if (stat.isSymbolicLink()) this.#link(real, shown, above);
    else if (stat.isDirectory()) this.#directory(real, shown, above);
    else if (stat.isFile()) this.#file(real, shown, stat);
  }

  #link(real: Buffer, shown: Buffer, above: readonly string[]): void {
    let target: Buffer;
    let stat: BigIntStats;
    let isQuestion: boolean;
    try {
      target = realPath(real);
      stat = lstatSync(target, { bigint: true });
      // /etc/mtab, where the root directory is walked. Asked per file only here: others are in a directory that was asked.
      isQuestion = stat.isFile() && isPseudoFileSystem(target);
    } catch (error) {
      const word = errorWord(error);
      if (word !== "ENOENT" && word !== "ELOOP" && word !== "ENOTDIR") this.#miss(shown, word);
      return;
    }
    if (!isInside(this.root, target) || this.#excludedPaths.has(latin1(target))) return;
    if (isQuestion) {
      this.#miss(shown, pseudoFileSystem);
      return;
    }
    if (stat.isFile()) this.#file(target, shown, stat);
    if (!stat.isDirectory()) return;
    const key = fileKey(stat);
    if (above.includes(key) || this.#followed.has(key)) return;
    this.#followed.add(key);
    this.#directory(target, shown, above);
  }

  #file(real: Buffer, shown: Buffer, stat: BigIntStats): void {
    if (this.#excludedFiles.has(fileKey(stat))) return;
    const path = escapeBytes(shown);
    const known = this.#known(path, stat);
    if (known !== undefined) {
      this.#files.set(path, known);
      return;
    }
    const contents = readContents(real, this.options.hashes);
    if ("unread" in contents) {
      this.#unread.push({ path, reason: contents.unread });
      return;
    }
    const { dev: device, ino: inode, size, mtimeNs, ctimeNs } = contents.stat;
    this.#files.set(path, { path, digest: contents.digest, device, inode, size, mtimeNs, ctimeNs, settled: contents.settled });
  }

  /** The file of the earlier walk that this one still is, with the same content. */
  #known(path: string, stat: BigIntStats): WalkedFile | undefined {
    const here = this.#earlierByPath.get(path);
    if (here?.settled && isSame(here, stat)) return here;
    const { earlier } = this.options;
    if (earlier === undefined) return undefined;
    this.#earlierByIdentity ??= new Map(earlier.files.filter(file => file.settled).map(file => [identity(file), file]));
    const moved = this.#earlierByIdentity.get(identityOfStat(stat));
    return moved && { ...moved, path };
  }

  #miss(shown: Buffer, reason: string): void {
    this.#unread.push({ path: escapeBytes(shown), reason });
  }
}

/** Reads through one descriptor and looks again afterwards: the digest is of a content that the file really had. */
function readContents(path: Buffer, hashes: readonly HashName[]): Contents {
  let descriptor: number;
  try {
    // NONBLOCK: a FIFO that took the file's place since lstat must not hold us up.
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    return { unread: errorWord(error) };
  }
  try {
    for (let attempt = 0; attempt < readAttempts; attempt++) {
      const before = fstatSync(descriptor, { bigint: true });
      if (!before.isFile()) return { unread: "no longer a regular file" };
      const data = before.blocks * 512n;
      if (data > dataMax || before.size - data > holesMax) return { unread: "too large" };
      const startedNs = BigInt(Date.now()) * 1_000_000n;
      const digest = digestDescriptor(descriptor, hashes, Number(before.size));
      const after = fstatSync(descriptor, { bigint: true });
      if (digest === undefined || identityOfStat(before) !== identityOfStat(after)) continue;
      return { digest, stat: after, settled: startedNs - after.ctimeNs > settledAfterNs };
    }
    return { unread: "changed while it was read" };
  } catch (error) {
    return { unread: errorWord(error) };
  } finally {
    closeSync(descriptor);
  }
}

/** Undefined: the file does not have the length that it had. Stops soon after it, so that one that grows as fast as we read ends too. */
function digestDescriptor(descriptor: number, hashes: readonly HashName[], size: number): DigestSet | undefined {
  const hashers = hashes.map(name => ({ name, hasher: startHash(name, size) }));
  let position = 0;
  while (position <= size) {
    const length = readSync(descriptor, chunk, 0, chunk.length, position);
    position += length;
    for (const { hasher } of hashers) hasher.update(chunk.subarray(0, length));
    // At the length that fstat promised the file is not asked once more: that costs a tenth of a small file's time.
    if (length === 0 || (length < chunk.length && position === size)) break;
  }
  if (position !== size) return undefined;
  return Object.fromEntries(hashers.map(({ name, hasher }) => [name, hasher.value()]));
}

/** Digest of one file given by path, undefined when it cannot be read. */
export function digestFile(path: Uint8Array, hashes: readonly HashName[]): DigestSet | undefined {
  try {
    const contents = readContents(realPath(path), hashes);
    return "unread" in contents ? undefined : contents.digest;
  } catch {
    return undefined;
  }
}

function isSame(file: WalkedFile, stat: BigIntStats): boolean {
  const { device, inode, size, mtimeNs, ctimeNs } = file;
  const { dev, ino } = stat;
  return ino === inode && dev === device && stat.size === size && stat.mtimeNs === mtimeNs && stat.ctimeNs === ctimeNs;
}

function identity(file: WalkedFile): string {
  return `${file.device}:${file.inode}:${file.size}:${file.mtimeNs}:${file.ctimeNs}`;
}

function identityOfStat(stat: BigIntStats): string {
  return `${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeNs}:${stat.ctimeNs}`;
}

function fileKey(stat: BigIntStats): string {
  return `${stat.dev}:${stat.ino}`;
}

/** Asked per directory: a mount point below the root is not always another device (bind mounts are not). */
function isPseudoFileSystem(path: Buffer): boolean {
  return pseudoFileSystems.has(statfsSync(path).type);
}

function isInside(root: Buffer, path: Buffer): boolean {
  if (root.equals(path) || root.length === 1) return true;
  return path.length > root.length && path[root.length] === slash && path.subarray(0, root.length).equals(root);
}

function join(directory: Buffer, name: Buffer): Buffer {
  if (directory.length === 1 && directory[0] === slash) return Buffer.concat([directory, name]);
  return Buffer.concat([directory, Buffer.of(slash), name]);
}

/** One character per byte: lets a Set hold paths of any bytes. */
function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("latin1");
}

function errorWord(error: unknown): string {
  if (error instanceof Error && "code" in error && typeof error.code === "string") return error.code;
  return error instanceof Error ? error.message : String(error);
}
