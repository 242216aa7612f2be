// A file that the build writes, as data: its writers, and the digests that a later writer may spoil.
import { overlayFileSystem } from "../file-systems.ts";
import type { FileIdentity } from "../native/events.ts";
import type { Content } from "./contents.ts";
import type { FileState } from "./digest-file.ts";
import { type Few, fewOf } from "./few.ts";
import { fileKey, isRemote, lifeKey } from "./file-types.ts";

export const byProcess = fewOf((writer: Writer) => writer.process);
export const underWay = fewOf((digest: UnderWay) => digest);
export const tentative = fewOf((digest: Tentative) => digest);

/** One process and one file that it has opened for writing, or truncated. */
export interface Writer {
  readonly process: number;
  readonly file: WrittenFile;
  /** As it was called when this process first opened it. */
  readonly path: string;
  readonly timeNs: bigint;
  readonly sizeBefore: bigint;
  /** Sequence number of its first open: children created later have inherited the descriptor. */
  readonly sequence: number;
  kept: Kept | undefined;
  /** What the process left behind; settled after `WrittenFiles.finish`. */
  left: Content | undefined;
  /** The file as it was when `left` was read. */
  leftState: FileState | undefined;
}

export interface WrittenFile {
  /** Of the inode, which can have been another file's. */
  readonly key: string;
  /** Of this file. */
  readonly life: string;
  readonly device: bigint;
  readonly inode: bigint;
  readonly birthNs: bigint;
  readonly remote: boolean;
  /** On an overlayfs. */
  readonly overlay: boolean;
  /** As it was after it was opened for writing for the first time. */
  readonly before: { size: bigint; mtimeNs: bigint };
  size: bigint;
  /** By process: one for each, however often and by whatever name it has opened the file. */
  writers: Few<number, Writer>;
  /** Those whose last content is still to come. */
  live: Few<number, Writer>;
  /** The newest content that a process has opened since the last open for writing. */
  snapshot: Content | undefined;
  early: Early | undefined;
  /** Digests that a later writer may spoil, or has spoiled unknown to us. */
  underWay: Few<UnderWay, UnderWay>;
  /** What its ended writers have left, until the next one comes: our digest may have read what that one wrote. */
  tentative: Few<Tentative, Tentative>;
  /** What the last of its writers that has ended left, until the next one comes. */
  final: Final | undefined;
  /** The process that opened it for writing last. */
  lastWriter: number;
  /** Those that ended while others had it open for writing: they leave what the last of those leaves. */
  joint: Few<number, Writer>;
  /** Counts the ends of its writers. */
  turn: number;
}

/** A content, and how sure we are that it is the file's for good. */
export interface Final {
  readonly content: Content;
  readonly state: FileState;
  readonly leaving: readonly [Writer, ...Writer[]];
  /**
   * Who may still have written after the digest. `nobody`: all that come later we see. `hidden`: somebody has a descriptor or map of an
   * ended writer. `unknown`: the kernel does not say.
   */
  readonly writers: "nobody" | "hidden" | "unknown";
}

/** A descriptor of ours; closed when it is given up and nobody reads through it. */
export interface Kept {
  readonly descriptor: number;
  uses: number;
  givenUp: boolean;
}

/** A digest before the writer's end. */
export interface Early {
  readonly content: Content;
  /** In this state the content has not changed since. Undefined: not known yet, or written within the clock's tick. */
  state: FileState | undefined;
  /** It is what counts, whatever comes of it. */
  final: boolean;
  /** Nobody could write any more but by another open, which we would see. */
  readonly certain: boolean;
}

export interface UnderWay {
  /** Opened by name: it may have been another file's by then. */
  readonly byName: boolean;
  /** The first one since the digest was asked for. */
  takeover: Takeover | undefined;
  /** The content that a process opened before that. */
  seen: Content | undefined;
}

export interface Tentative {
  readonly byName: boolean;
  /** Those whose content it is. */
  readonly leaving: readonly [Writer, ...Writer[]];
  readonly content: Content;
  readonly state: FileState;
  seen: Content | undefined;
}

/** The file as another process found it when it opened it for writing, or what was left after its O_TRUNC. */
export interface Takeover {
  truncated: boolean;
  sizeBefore: bigint | undefined;
  size: bigint;
  mtimeNs: bigint;
  ctimeNs: bigint;
}

export interface OpenForWriting {
  sequence: number;
  process: number;
  timeNs: bigint;
  file: FileIdentity;
  path: string;
  truncated: boolean;
  /** Of the file that was there, before O_TRUNC. */
  sizeBefore: bigint | undefined;
  /** -1: none. */
  held: number;
  /** It has no name (O_TMPFILE, or removed while open). */
  nameless: boolean;
}

/** One file that the build writes, and all that is remembered of its writers. */
export function newFile({ file, process }: OpenForWriting): WrittenFile {
  const { device, inode, birthNs, size, mtimeNs } = file;
  return {
    key: fileKey(file),
    life: lifeKey(file),
    device,
    inode,
    birthNs,
    remote: isRemote(file),
    overlay: file.fileSystem === overlayFileSystem,
    before: { size, mtimeNs },
    size,
    writers: undefined,
    live: undefined,
    snapshot: undefined,
    early: undefined,
    underWay: undefined,
    tentative: undefined,
    final: undefined,
    lastWriter: process,
    joint: undefined,
    turn: 0,
  };
}

export function newWriter(open: OpenForWriting, file: WrittenFile): Writer {
  const { process, path, timeNs, sequence } = open;
  return {
    process,
    path,
    timeNs,
    sequence,
    sizeBefore: open.file.size,
    file,
    kept: undefined,
    left: undefined,
    leftState: undefined,
  };
}

/** For a writer that has none of its own any more. */
export function keptOf(file: WrittenFile): Kept | undefined {
  for (const { kept } of byProcess.list(file.live)) if (kept) return kept;
  return undefined;
}

export function setLeftState(writers: readonly Writer[], state: FileState | undefined): void {
  for (const writer of writers) writer.leftState = state;
}

export function setLeft(writers: readonly Writer[], content: Content): void {
  for (const writer of writers) writer.left = content;
}

/** The next writer found nothing: nothing is what was left. */
export function wasEmpty({ truncated, sizeBefore, size }: Takeover): boolean {
  return (truncated ? sizeBefore : size) === 0n;
}

/** Whether what we have read is what was there when the next writer came. */
export function isBefore(state: FileState, takeover: Takeover): boolean {
  const { truncated, sizeBefore, size, mtimeNs, ctimeNs } = takeover;
  if (!truncated) return state.ctimeNs < ctimeNs || (state.size === size && state.mtimeNs === mtimeNs);
  // While a file is being truncated fstat shows the new size and still the old times: ext4 sets them at the end (seen).
  return state.ctimeNs < ctimeNs && (sizeBefore === undefined ? state.size !== size : state.size === sizeBefore);
}
