// Where results go: checked before a build of an hour starts, written so that no half of one is ever seen.

import { randomBytes } from "node:crypto";
import {
  accessSync,
  type BigIntStats,
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readlinkSync,
  renameSync,
  type Stats,
  statSync,
  unlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname } from "node:path";
import { ToolError } from "../errors.ts";
import { realPath } from "../facts/real-path.ts";
import { sha256Of } from "../hashes.ts";
import { unnamedFile } from "./spool.ts";
import { writeAll } from "./write-all.ts";

/**
 * `file`: written under a temporary name beside `path` and renamed. `stream`: a device, FIFO or socket that is there
 * already: renaming would replace it, and as root that could be /dev/null. `stdout`: `-`. A real path is bytes: we may have
 * been started in a directory whose name is no text. `held`: a descriptor of the file's directory, or of the stream: what the build
 * does to names leads us nowhere else.
 */
export type Outfile =
  | { kind: "file"; shown: string; path: Buffer; held: number }
  | { kind: "stream"; shown: string; held: number }
  | { kind: "stdout" };

type FileOutfile = Extract<Outfile, { kind: "file" }>;

/** Where it is now. `warning`: not where it was to be, or its directory is another one. */
export interface Written {
  readonly shown: string;
  readonly warning?: string;
}

/** Looks, and leaves nothing behind. `path` is as the person gave it. */
export function checkOutfile(path: string): Outfile {
  if (path === "-") return { kind: "stdout" };
  const there = lookAt(path);
  if (there?.isDirectory()) throw unwritable(path, "it is a directory");
  if (there !== undefined && !there.isFile()) {
    attempt(path, () => accessSync(path, constants.W_OK));
    return { kind: "stream", shown: path, held: attempt(path, () => hold(path)) };
  }
  // Through a symbolic link, as a shell's `>` would: the link stays.
  const target = there === undefined ? resolveMissing(path) : realPath(Buffer.from(path));
  const directory = directoryOf(target);
  attempt(path, () => {
    if (!statSync(directory).isDirectory()) throw unwritable(path, "its directory is not one");
    tryToMakeFile(path, directory);
  });
  if (there !== undefined) refuseSticky(path, there, statSync(directory));
  return { kind: "file", shown: path, path: target, held: attempt(path, () => hold(directory)) };
}

/** What a command is given, by the flag that named it. */
export interface NamedInput {
  readonly flag: string;
  readonly path: string | undefined;
}

/** A result in the place of what it was made from would be the end of that: a key is not made again. By any name. */
export function refuseInputs(outfile: Outfile, given: string | undefined, inputs: readonly NamedInput[]): void {
  if (outfile.kind !== "file") return;
  const replaced = statSync(outfile.path, { bigint: true, throwIfNoEntry: false });
  for (const { flag, path } of inputs) {
    const input = path === undefined || path === "-" ? undefined : statIfThere(path);
    if (replaced === undefined || input === undefined || replaced.dev !== input.dev || replaced.ino !== input.ino) continue;
    throw new ToolError("usage", `--outfile ${given ?? outfile.shown} is the file of --${flag}: it would be lost`, {
      hint: "name another file with --outfile",
    });
  }
}

/** What cannot be looked at is another's to say. */
function statIfThere(path: string): BigIntStats | undefined {
  try {
    return statSync(path, { bigint: true });
  } catch {
    return undefined;
  }
}

/** Writes all pieces or throws; a file gets 0666 less the umask, as from any program. */
export function writeOutfile(outfile: Exclude<Outfile, { kind: "stdout" }>, bytes: Uint8Array | Iterable<Uint8Array>): Written {
  const pieces = bytes instanceof Uint8Array ? [bytes] : bytes;
  return attempt(outfile.shown, () => {
    if (outfile.kind === "stream") {
      const descriptor = openSync(heldPath(outfile.held) ?? outfile.shown, constants.O_WRONLY);
      try {
        writePieces(descriptor, pieces);
      } finally {
        closeSync(descriptor);
      }
      return { shown: outfile.shown };
    }
    const begun = beginOutfile(outfile);
    try {
      writePieces(begun.descriptor, pieces);
      return begun.finish();
    } catch (error) {
      closeSync(begun.descriptor);
      begun.abandon();
      throw error;
    }
  });
}

/** A file on its way: nobody sees it before `finish`. */
export interface BegunOutfile {
  readonly shown: string;
  readonly descriptor: number;
  /** All is written. Throws what the file system says, and then it can still be abandoned. */
  finish(): Written;
  /** Takes it away. The descriptor stays open: where a thread may still write, its number must not become another file's. */
  abandon(): void;
}

/** Throws what the file system says. */
export function beginOutfile(outfile: FileOutfile): BegunOutfile {
  const { shown, path } = outfile;
  const { descriptor, temporary, directory, warning } = openBeside(outfile);
  return {
    shown,
    descriptor,
    finish() {
      fsyncSync(descriptor);
      renameSync(temporary, Buffer.concat([directory, path.subarray(path.lastIndexOf("/"))]));
      closeSync(descriptor);
      return warning === undefined ? whereItIs(outfile) : { shown, warning };
    },
    abandon: () => unlinkSync(temporary),
  };
}

interface Beside {
  readonly descriptor: number;
  readonly temporary: Buffer;
  readonly directory: Buffer;
  readonly warning?: string;
}

/** In the directory that was looked at before the build, whatever it is called now; one that the build has removed is made again. */
function openBeside({ shown, path, held }: FileOutfile): Beside {
  const named = directoryOf(path);
  const directory = heldPath(held) ?? named;
  try {
    return { ...openTemporary(directory), directory };
  } catch (error) {
    if (wordOf(error) !== "ENOENT") throw error;
  }
  mkdirSync(named, { recursive: true });
  // Nobody of the build is alive: a link that it has left in the way would still be there.
  if (!realPath(named).equals(named)) throw unwritable(shown, "its directory was removed, and its path leads elsewhere now");
  const warning = `the directory of ${shown} was removed while the command ran; it is in a new one of that name`;
  return { ...openTemporary(named), directory: named, warning };
}

function openTemporary(directory: Buffer): Pick<Beside, "descriptor" | "temporary"> {
  const temporary = temporaryName(directory);
  return { temporary, descriptor: openSync(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o666) };
}

function whereItIs({ shown, path, held }: FileOutfile): Written {
  const link = heldPath(held);
  const now = link === undefined ? directoryOf(path) : readlinkSync(link, { encoding: "buffer" });
  if (now.equals(directoryOf(path))) return { shown };
  const real = Buffer.concat([now, path.subarray(path.lastIndexOf("/"))]).toString();
  return { shown: real, warning: `${shown} is ${real}: its directory was moved while the command ran` };
}

const pathOnly = 0o10000000; // O_PATH, which node's table of constants lacks
const closeOnExec = 0o2000000;

function hold(path: string | Buffer): number {
  return openSync(path, pathOnly | closeOnExec);
}

/** Undefined where no proc is mounted. */
function heldPath(held: number): Buffer | undefined {
  const path = `/proc/self/fd/${held}`;
  return existsSync("/proc/self/fd") ? Buffer.from(path) : undefined;
}

/**
 * `NAME` with every byte that a file name could be misread by replaced, a leading dot too. What was changed so has the beginning of
 * the name's digest behind it: the steps `a/b` and `a b` are two, and so are their records.
 */
export function safeFileName(name: string): string {
  const safe = Buffer.from(name)
    .toString("latin1")
    .replace(/[^A-Za-z0-9._-]/g, "_");
  const whole = safe.startsWith(".") ? `_${safe.slice(1)}` : safe;
  return whole === name ? name : `${whole}-${sha256Of(name).slice(0, 8)}`;
}

/** Makes one that has no name. Permissions alone do not tell: file systems can be read-only, full, or not made for files. */
function tryToMakeFile(path: string, directory: Buffer): void {
  try {
    closeSync(openSync(directory, unnamedFile | constants.O_WRONLY, 0o600));
    return;
  } catch (error) {
    // A few file systems know no files without a name; there it gets one for a moment.
    if (!["ENOTSUP", "EISDIR", "EINVAL"].includes(wordOf(error))) throw error;
  }
  const temporary = temporaryName(directory);
  try {
    closeSync(openSync(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600));
  } catch (error) {
    if (wordOf(error) === "ENOENT") throw unwritable(path, "no file can be made there");
    throw error;
  }
  unlinkSync(temporary);
}

/** Not made from the outfile's name: that may be as long as a name can be. */
function temporaryName(directory: Buffer): Buffer {
  return Buffer.concat([directory, Buffer.from(`/.cilock-${randomBytes(8).toString("hex")}.tmp`)]);
}

/** Of an absolute path. */
function directoryOf(path: Buffer): Buffer {
  return path.subarray(0, Math.max(1, path.lastIndexOf("/")));
}

function writePieces(descriptor: number, pieces: Iterable<Uint8Array>): void {
  for (const piece of pieces) writeAll(descriptor, piece);
}

function lookAt(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch (error) {
    if (wordOf(error) === "ENOENT") return undefined;
    throw unwritable(path, sentenceOf(error));
  }
}

/** A name that is not there yet. A link that points nowhere is refused: what would be at its end is anybody's guess. */
function resolveMissing(path: string): Buffer {
  return attempt(path, () => {
    try {
      if (lstatSync(path).isSymbolicLink()) throw unwritable(path, "it is a symbolic link that points nowhere");
    } catch (error) {
      if (wordOf(error) !== "ENOENT") throw error;
    }
    if (path.endsWith("/")) throw unwritable(path, "it is a directory that does not exist");
    const directory = realPath(Buffer.from(dirname(path)));
    return Buffer.concat([directory, Buffer.from(`/${basename(path)}`)]);
  });
}

/** In a directory such as /tmp only the owner of a file may replace it. */
function refuseSticky(path: string, file: Stats, directory: Stats): void {
  const me = process.geteuid?.();
  const sticky = (directory.mode & 0o1000) !== 0;
  if (sticky && me !== 0 && file.uid !== me && directory.uid !== me) {
    throw unwritable(path, "it belongs to another user, in a directory where only owners replace files");
  }
}

/** Where a record may wait before it gets there. */
export function spoolDirectory(outfile: Outfile): Uint8Array {
  if (outfile.kind !== "file") return Buffer.from(tmpdir());
  return heldPath(outfile.held) ?? directoryOf(outfile.path);
}

/** What goes wrong in `action` is about the outfile. */
export function attempt<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw error instanceof ToolError ? error : unwritable(path, sentenceOf(error));
  }
}

/** In words what the system says about a file that was to be written. */
export const unwritableBecause = (path: string, error: unknown): ToolError => unwritable(path, sentenceOf(error));

function unwritable(path: string, reason: string): ToolError {
  return new ToolError("outfile-unwritable", `cannot write ${path}: ${reason}`, { hint: "name another file with --outfile" });
}

const sentences: Readonly<Record<string, string>> = {
  ENOENT: "its directory does not exist",
  ENOTDIR: "its directory is not one",
  EACCES: "permission denied",
  EPERM: "not permitted",
  EROFS: "the file system is read-only",
  ENAMETOOLONG: "the name is too long",
  ELOOP: "too many symbolic links",
  ENOSPC: "no space left",
  EDQUOT: "the disk quota is used up",
};

function sentenceOf(error: unknown): string {
  const word = wordOf(error);
  return sentences[word] ?? (error instanceof Error ? error.message : word);
}

function wordOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}
