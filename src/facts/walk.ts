// The regular files below a directory and their digests: what the material and product attestors compare. A symbolic
// link is followed while its target stays inside, and its files are recorded under the link's path; broken and escaping
// links are skipped. Whatever could not be read is listed, never left out in silence. With a trace most files need not be
// read: whoever asks says which.
import { type BigIntStats, lstatSync, readdirSync, statfsSync } from "node:fs";
import { type HolesLeft, holesLeft } from "../file-limits.ts";
import { pseudoFileSystems } from "../file-systems.ts";
import type { HashName } from "../hashes.ts";
import { escapeBytes, unescapeText } from "../text.ts";
import type { DigestSet } from "../trace/observation.ts";
import { errorWord, identityOfStat, readContents } from "./file-contents.ts";
import { isInside, join, latin1, plainText } from "./path-bytes.ts";
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
  /** `content`: a file that is there. `entry`: a directory, or a name that nothing more is known about. */
  readonly what: "content" | "entry";
}

export interface Walk {
  /** Sorted by path. */
  readonly files: readonly WalkedFile[];
  readonly unread: readonly Unread[];
  /** Those that are one entry, by `WalkOptions.isOneEntry`: their files are listed too. */
  readonly directories: readonly OneEntry[];
}

export interface OneEntry {
  /** Ends in a slash; `./` is the root. */
  readonly path: string;
  /** Paths of its files that are reached through a link to a directory: no part of a directory's hash. */
  readonly linked: ReadonlySet<string>;
}

/** What lstat says of a file that was found. */
export interface FoundFile extends Pick<WalkedFile, "path" | "device" | "inode" | "size" | "mtimeNs" | "ctimeNs"> {
  /** Absolute, escaped: where links have led to. Left out where there were none. */
  readonly target?: string;
}

export const emptyWalk: Walk = { files: [], unread: [], directories: [] };

export interface WalkOptions {
  readonly hashes: readonly HashName[];
  /** What others of this run take from, too. */
  readonly holes?: HolesLeft;
  /** Absolute real paths that are no part of the build: outfile, public key, signing key. */
  readonly excludePaths?: readonly Uint8Array[];
  /** Files that are left out under every name: the signing key must not be told by a digest. */
  readonly excludeFiles?: readonly { device: bigint; inode: bigint }[];
  /** An earlier walk whose digests may stand for files that nobody has touched since. */
  readonly earlier?: Walk;
  /** Of a directory by its path below the root (`.` for that itself): its files count together. */
  readonly isOneEntry?: (path: string) => boolean;
  /** Files that count; all, if it is left out. Those in such directories are read in any case. */
  readonly isWanted?: (file: FoundFile) => boolean;
  /** False: `isWanted` would say so of every file with that path, or that inode of any device, that no link has led to. */
  readonly mayCount?: (path: string, inode: number) => boolean;
  /** The digest of a file that need not be read. */
  readonly known?: (file: FoundFile) => DigestSet | undefined;
}

/** Why a directory, or a file that a link leads to, of such a file system was not read. */
export const pseudoFileSystem = "pseudo-filesystem";
/** Bytes from which on a file is read once, whatever its names. */
const largeFrom = 64n << 10n;

/** Walks `root`, in the order of the bytes of the names, so that two walks of the same tree give the same result. */
export function walk(root: Uint8Array, options: WalkOptions): Walk {
  let real: Buffer;
  try {
    real = realPath(root);
  } catch (error) {
    return { ...emptyWalk, unread: [{ path: ".", reason: errorWord(error), what: "entry" }] };
  }
  return new Walker(real, options).run();
}

/** The same for regular files that are known by absolute paths without links; those that are not there are left out. */
export function lookAt(paths: readonly string[], options: WalkOptions): Walk {
  return new Walker(Buffer.from("/"), options).look(paths);
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
  readonly #directories: { path: string; linked: Set<string> }[] = [];
  /** By what identifies a content: those that it takes a while to read, so that many names of one file are no bomb. */
  readonly #large = new Map<string, WalkedFile>();
  readonly #holes: HolesLeft;
  /** The one of them that we are in, and whether a link to a directory was on the way. */
  #oneEntry: { linked: Set<string>; isLinked: boolean } | undefined;
  /** Directories that a link has led to. Following each once bounds the walk: links among n directories have n! paths. */
  readonly #followed = new Set<string>();

  constructor(
    readonly root: Buffer,
    readonly options: WalkOptions,
  ) {
    this.#holes = options.holes ?? holesLeft();
    this.#excludedPaths = new Set((options.excludePaths ?? []).map(latin1));
    this.#excludedFiles = new Set((options.excludeFiles ?? []).map(file => `${file.device}:${file.inode}`));
    this.#earlierByPath = new Map((options.earlier?.files ?? []).map(file => [file.path, file]));
  }

  run(): Walk {
    this.#directory(this.root, Buffer.alloc(0), []);
    return this.#result();
  }

  look(paths: readonly string[]): Walk {
    for (const path of paths) {
      const real = Buffer.from(unescapeText(path));
      if (this.#excludedPaths.has(latin1(real))) continue;
      try {
        const stat = lstatSync(real, { bigint: true });
        if (stat.isFile()) this.#file(real, real, stat);
      } catch (error) {
        const word = errorWord(error);
        if (!isAbsent(word)) this.#unread.push({ path, reason: word, what: "content" });
      }
    }
    return this.#result();
  }

  #result(): Walk {
    const files = [...this.#files.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
    return { files, unread: this.#unread, directories: this.#directories };
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
    const outer = this.#oneEntry;
    if (outer === undefined && this.options.isOneEntry?.(shown.length === 0 ? "." : escapeBytes(shown))) {
      const linked = new Set<string>();
      this.#directories.push({ path: `${shown.length === 0 ? "." : escapeBytes(shown)}/`, linked });
      this.#oneEntry = { linked, isLinked: false };
    }
    const isHere = this.#oneEntry === undefined && (shown.length === 0 || this.#isAt(real, shown));
    const text = isHere && this.options.mayCount !== undefined ? plainText(real) : undefined;
    const directories = [...above, here];
    for (const name of names) {
      if (text !== undefined && this.#isPassedOver(text, shown.length, name)) continue;
      this.#entry(join(real, name), shown.length === 0 ? name : join(shown, name), directories);
    }
    this.#oneEntry = outer;
  }

  /**
   * Nearly all files of a large tree, in half the time: no bigints, and no Buffers.
   * `shownLength`: of the directory's path below the root, which is the end of `directory`.
   */
  #isPassedOver(directory: string, shownLength: number, name: Buffer): boolean {
    const plainName = plainText(name);
    if (plainName === undefined) return false;
    const path = directory === "/" ? `/${plainName}` : `${directory}/${plainName}`;
    try {
      const stat = lstatSync(path);
      if (!stat.isFile() || !Number.isSafeInteger(stat.ino)) return false;
      const below = shownLength === 0 ? plainName : path.slice(-(shownLength + 1 + plainName.length));
      return this.options.mayCount?.(below, stat.ino) === false;
    } catch {
      return false; // and the closer look says why
    }
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
      if (!isAbsent(word)) this.#miss(shown, word);
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
    const outer = this.#oneEntry;
    if (outer !== undefined) this.#oneEntry = { ...outer, isLinked: true };
    this.#directory(target, shown, above);
    this.#oneEntry = outer;
  }

  #file(real: Buffer, shown: Buffer, stat: BigIntStats): void {
    if (this.#excludedFiles.has(fileKey(stat))) return;
    const path = escapeBytes(shown);
    const found: FoundFile = { ...foundFile(path, stat), ...(this.#isAt(real, shown) ? {} : { target: escapeBytes(real) }) };
    if (this.#oneEntry?.isLinked) this.#oneEntry.linked.add(path);
    const isWanted = this.options.isWanted?.(found) ?? true;
    if (!isWanted && this.#oneEntry === undefined) return;
    const digest = this.options.known?.(found);
    const known = digest === undefined ? this.#known(path, stat) : { ...found, digest, settled: false };
    if (known !== undefined) {
      this.#files.set(path, known);
      return;
    }
    const contents = readContents(real, this.options.hashes, this.#holes);
    if ("unread" in contents) {
      this.#unread.push({ path, reason: contents.unread, what: "content" });
      return;
    }
    const { dev: device, ino: inode, size, mtimeNs, ctimeNs } = contents.stat;
    const { digest: read, settled } = contents;
    const file = { path, digest: read, device, inode, size, mtimeNs, ctimeNs, settled };
    this.#files.set(path, file);
    if (settled && size >= largeFrom) this.#large.set(identity(file), file);
  }

  /** Whether that is its path without any link. */
  #isAt(real: Buffer, shown: Buffer): boolean {
    const start = real.length - shown.length;
    // 0: it was looked at by its absolute path.
    const isPlace = start === 0 || start === (this.root.length === 1 ? 1 : this.root.length + 1);
    return isPlace && real.subarray(start).equals(shown);
  }

  /** The file of the earlier walk, or of this one, that it still is, with the same content. */
  #known(path: string, stat: BigIntStats): WalkedFile | undefined {
    const here = this.#earlierByPath.get(path);
    if (here?.settled && isSame(here, stat)) return here;
    const { earlier } = this.options;
    if (earlier === undefined && stat.size < largeFrom) return undefined;
    this.#earlierByIdentity ??= new Map(earlier?.files.filter(file => file.settled).map(file => [identity(file), file]));
    const content = identityOfStat(stat);
    const moved = this.#earlierByIdentity.get(content) ?? this.#large.get(content);
    return moved && { ...moved, path };
  }

  #miss(shown: Buffer, reason: string): void {
    this.#unread.push({ path: escapeBytes(shown), reason, what: "entry" });
  }
}

function foundFile(path: string, stat: BigIntStats): FoundFile {
  const { dev: device, ino: inode, size, mtimeNs, ctimeNs } = stat;
  return { path, device, inode, size, mtimeNs, ctimeNs };
}

/** Nothing is there. */
const isAbsent = (word: string): boolean => word === "ENOENT" || word === "ELOOP" || word === "ENOTDIR";

function isSame(file: WalkedFile, stat: BigIntStats): boolean {
  const { device, inode, size, mtimeNs, ctimeNs } = file;
  const { dev, ino } = stat;
  return ino === inode && dev === device && stat.size === size && stat.mtimeNs === mtimeNs && stat.ctimeNs === ctimeNs;
}

function identity(file: WalkedFile): string {
  return `${file.device}:${file.inode}:${file.size}:${file.mtimeNs}:${file.ctimeNs}`;
}

function fileKey(stat: BigIntStats): string {
  return `${stat.dev}:${stat.ino}`;
}

/** Asked per directory: a mount point below the root is not always another device (bind mounts are not). */
function isPseudoFileSystem(path: Buffer): boolean {
  return pseudoFileSystems.has(statfsSync(path).type);
}
