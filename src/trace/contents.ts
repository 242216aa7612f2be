// Contents of files: what a record says about its file, turned into one `Content` that many entries share. Knows which
// earlier digest still stands for a file, so that a library that 1,000 processes load is read once.
import { isTooLarge } from "../file-limits.ts";
import { startHash } from "../hashes.ts";
import type { NotHeld } from "../native/abi.gen.ts";
import type { FileIdentity } from "../native/events.ts";
import { errnoName } from "../native/names.ts";
import type { DigestResult, HashName } from "./digest-file.ts";
import type { Digester } from "./digester.ts";
import { isPseudo, isRegular, isRemote, lifeKey, reasonOfMode } from "./file-types.ts";
import type { ReportGap } from "./gaps.ts";
import type { DigestSet, UnhashedReason } from "./observation.ts";

/** One content of one file. Filled in when its digest is there: read it only after `Digester.idle`. */
export interface Content {
  /** Empty: not known, or not yet. */
  digests: DigestSet;
  /** Why it is not known. */
  reason: UnhashedReason | undefined;
  size: bigint;
}

/** The part of an open, exec or inherited record that is about one file. */
export interface FileRecord {
  sequence: number;
  process: number;
  timeNs: bigint;
  file: FileIdentity;
  held: number;
  notHeld: NotHeld;
  /** Why it is `unreadable`; ETIMEDOUT: its server has not answered. */
  heldErrno: number;
  content: number;
  /** Of opens. */
  header?: { hasWriters: boolean; unsettled: boolean };
}

interface Reader {
  content: Content;
  process: number;
  path: string;
  /** It had the file mapped for writing itself. */
  shares: boolean;
}

interface Inode {
  /** Counts what may have changed the content without a trace in size and mtime: opens for writing, times set. */
  generation: number;
  /** When somebody first had a shared map, which can be written: stores leave no trace in ctime. Undefined: nobody. */
  mappedNs: bigint | undefined;
  /** Who has one now. */
  mappers: Set<number> | undefined;
  cached: { file: FileIdentity; generation: number; content: Content } | undefined;
  /** Digests of a file whose ctime had moved since its open: right, unless an event is still to come that says otherwise. */
  doubtful: { reader: Reader; ctimeNs: bigint }[] | undefined;
  /** Digests of a file that had writers at its open, until we know that none of them had mapped it by the digest's end. */
  shared: { reader: Reader; endNs: bigint }[] | undefined;
}

/** Before Linux 6.13 ctime moves once a tick (at most 10 ms): a write in the tick of the last one does not show in it. */
export const settledAfterNs = 20_000_000n;

const noDigests: DigestSet = Object.freeze({});

export const isKnown = (content: Content): boolean => content.reason === undefined;

/** Meaningful once both are settled. Two unknown contents are never the same. */
export function isSameContent(a: Content, b: Content): boolean {
  if (a === b) return true;
  if (a.reason !== undefined || b.reason !== undefined) return false;
  for (const name in a.digests) if (a.digests[name] !== b.digests[name]) return false;
  return true;
}

export function pendingContent(size: bigint): Content {
  return { digests: noDigests, reason: undefined, size };
}

export interface ContentsOptions {
  digester: Digester;
  hashes: readonly HashName[];
  closeDescriptor: (descriptor: number) => void;
  reportGap: ReportGap;
  /** Told of each content that a process has read or left. */
  onContent?: (sha256: string | undefined, size: bigint, process: number, path: string) => void;
}

export class Contents {
  readonly digester: Digester;
  readonly closeDescriptor: (descriptor: number) => void;
  readonly #hashes: readonly HashName[];
  readonly #reportGap: ReportGap;
  readonly #onContent: ContentsOptions["onContent"];
  /** The content of an empty file. */
  readonly empty: Content;
  readonly #unknown = new Map<UnhashedReason, Content>();
  readonly #inodes = new Map<string, Inode>();
  /** By process: what it has mapped. */
  readonly #maps = new Map<number, Set<Inode>>();
  /** By sequence number of the record that handed the descriptor over: what a `known_content` refers to. */
  readonly #bySequence = new Map<number, Content>();
  /** An exec of a script hands over two: the script's content, with its inode to tell it from the interpreter's. */
  readonly #programs = new Map<number, { key: string; content: Content }>();

  constructor(options: ContentsOptions) {
    this.digester = options.digester;
    this.closeDescriptor = options.closeDescriptor;
    this.#hashes = options.hashes;
    this.#reportGap = options.reportGap;
    this.#onContent = options.onContent;
    this.empty = { digests: emptyDigests(options.hashes), reason: undefined, size: 0n };
  }

  /** After the last digest: what was only needed to decide them. */
  release(): void {
    this.#inodes.clear();
    this.#maps.clear();
    this.#bySequence.clear();
    this.#programs.clear();
  }

  /** One shared content per reason. */
  unknown(reason: UnhashedReason): Content {
    let content = this.#unknown.get(reason);
    if (!content) {
      content = { digests: noDigests, reason, size: 0n };
      this.#unknown.set(reason, content);
    }
    return content;
  }

  /** The content as it was when the record was made. Takes the record's descriptor: closes it, sooner or later. */
  asOpened(record: FileRecord, path: string): Content {
    if (record.notHeld === "known_content") return this.#referred(record, path);
    const content = this.#fresh(record, path);
    if (record.held >= 0) this.#register(record, content);
    return content;
  }

  /**
   * A writer's open: its descriptor is the caller's. A later record may refer to the content at this moment; only an
   * empty file's is known then.
   */
  writerOpened(record: FileRecord, truncated: boolean): void {
    if (record.held >= 0) this.#register(record, record.file.size === 0n ? this.empty : this.unknown("changed-while-read"));
    this.touched(record.file, truncated ? "after" : "before");
  }

  /**
   * Somebody can have changed the content without a trace in size and mtime. `file` is how it was then, before or after
   * that call: digests of this inode from before say nothing about what comes, and those that have read the file later than that are
   * not what they were taken for.
   */
  touched(file: FileIdentity, when: "before" | "after"): void {
    const inode = this.#inode(lifeKey(file));
    inode.generation++;
    for (const { reader, ctimeNs } of inode.doubtful ?? []) {
      if (when === "before" ? ctimeNs > file.ctimeNs : ctimeNs >= file.ctimeNs) this.#lost(reader);
    }
    inode.doubtful = undefined;
  }

  /** The same, of what is not to be remembered. */
  touchedIfKnown(file: FileIdentity, when: "before" | "after"): void {
    if (this.#inodes.has(lifeKey(file))) this.touched(file, when);
  }

  /** The digest is of something else. */
  spoil(content: Content, process: number, path: string): void {
    content.digests = noDigests;
    content.reason = "changed-while-read";
    this.#reportGap("changed-while-read", process, path);
  }

  /**
   * A reader's content is not known any more. Who has the file mapped for writing itself shares memory with others that have it: what
   * it sees there changes with every store, and is as little an input as what comes through a pipe.
   */
  #lost({ content, process, path, shares }: Reader): void {
    if (!shares) {
      this.spoil(content, process, path);
      return;
    }
    content.digests = noDigests;
    content.reason = "shared-memory";
  }

  /** From `timeNs` on stores of `process` can change it. Digests that were done by then are right. */
  mapped(file: { device: bigint; inode: bigint; birthNs: bigint }, process: number, timeNs: bigint): void {
    const inode = this.#inode(lifeKey(file));
    inode.mappedNs ??= timeNs;
    inode.mappers ??= new Set();
    inode.mappers.add(process);
    const maps = this.#maps.get(process);
    if (maps) maps.add(inode);
    else this.#maps.set(process, new Set([inode]));
    for (const { reader, endNs } of inode.shared ?? []) if (endNs >= timeNs) this.#lost(reader);
    inode.shared = undefined;
  }

  /** The process has a new program, or is gone: it has nothing mapped. */
  unmapped(process: number): void {
    for (const inode of this.#maps.get(process) ?? []) inode.mappers?.delete(process);
    this.#maps.delete(process);
  }

  /** Its inode can come back as another file. */
  gone(file: { device: bigint; inode: bigint; birthNs: bigint }): void {
    this.#inodes.delete(lifeKey(file));
  }

  isMapped(file: { device: bigint; inode: bigint; birthNs: bigint }): boolean {
    return this.#inodes.get(lifeKey(file))?.mappedNs !== undefined;
  }

  /**
   * The content that is about to be cut, to be digested before that. If it does not hold still it is `overwritten`, as if nobody had
   * looked: whose writer is at work while another one cuts it has left nothing.
   */
  beforeOverwrite(record: FileRecord, path: string): Content | undefined {
    if (record.notHeld === "known_content") return this.#referred(record, path);
    const { file, held } = record;
    if (held < 0) return undefined;
    if (file.size === 0n) {
      this.closeDescriptor(held);
      return this.empty;
    }
    const content = pendingContent(file.size);
    this.#register(record, content);
    const expected = { size: file.size, mtimeNs: file.mtimeNs };
    const remote = isRemote(file);
    this.digester.digest({ descriptor: held, expected }, { bytes: Number(file.size), remote }, result => {
      this.closeDescriptor(held);
      if (result.kind === "digest") this.settle(content, result, record.process, path);
      else {
        content.reason = "overwritten";
        this.#reportGap("overwritten-unread", record.process, path);
      }
    });
    return content;
  }

  /** Why the record's file can have no digest; undefined if it can. Reports what is a gap. */
  obstacle(record: FileRecord, path: string): UnhashedReason | undefined {
    const { file, notHeld } = record;
    switch (notHeld) {
      case "path_only":
        return "path-only";
      case "gone":
        return "gone"; // the tracer reports the gap itself
      case "pseudo_file_system":
        return "pseudo-filesystem";
      case "not_regular":
        return reasonOfMode(file.mode);
      case "unreadable":
        this.#reportGap(
          "unreadable-file",
          record.process,
          record.heldErrno === 0 ? path : `${path} (${errnoName(record.heldErrno)})`,
        );
        return "unreadable";
      case "known_content":
      case "none":
    }
    if (!isRegular(file)) return reasonOfMode(file.mode);
    if (isPseudo(file)) return "pseudo-filesystem";
    if (isTooLarge(file)) {
      this.#reportGap("too-large", record.process, path);
      return "too-large";
    }
    return undefined;
  }

  digestSet(values: readonly string[]): DigestSet {
    const set: DigestSet = {};
    this.#hashes.forEach((hash, i) => {
      set[hash] = values[i] ?? "";
    });
    return set;
  }

  #referred(record: FileRecord, path: string): Content {
    const program = this.#programs.get(record.content);
    if (program && program.key === lifeKey(record.file)) return program.content;
    const content = this.#bySequence.get(record.content);
    if (content) return content;
    this.#reportGap("unreadable-file", record.process, path); // the tracer refers to what it never handed over
    return this.unknown("unreadable");
  }

  #register(record: FileRecord, content: Content): void {
    if (this.#bySequence.has(record.sequence)) this.#programs.set(record.sequence, { key: lifeKey(record.file), content });
    else this.#bySequence.set(record.sequence, content);
  }

  #fresh(record: FileRecord, path: string): Content {
    const { file, held } = record;
    const reason = this.obstacle(record, path);
    const remote = isRemote(file);
    // What a FUSE server calls the size of its file need not be what it lets us read.
    const settled = reason !== undefined ? this.unknown(reason) : file.size === 0n && !remote ? this.empty : undefined;
    if (settled || held < 0) {
      if (held >= 0) this.closeDescriptor(held);
      if (settled) return settled;
      this.#reportGap("unreadable-file", record.process, path);
      return this.unknown("unreadable");
    }
    const inode = this.#inode(lifeKey(file));
    const { cached } = inode;
    if (
      cached &&
      cached.generation === inode.generation &&
      inode.mappedNs === undefined &&
      record.header?.hasWriters !== true &&
      isSameFileState(cached.file, file) &&
      isKnown(cached.content)
    ) {
      this.closeDescriptor(held);
      return cached.content;
    }
    const content = pendingContent(file.size);
    const hasWriters = record.header?.hasWriters === true;
    if (!remote && !hasWriters && inode.mappedNs === undefined && record.timeNs - file.ctimeNs > settledAfterNs) {
      inode.cached = { file, generation: inode.generation, content };
    }
    if (remote) this.#reportGap("remote-file-system", record.process, path);
    this.#digest(record, content, inode, path, remote);
    return content;
  }

  #digest(record: FileRecord, content: Content, inode: Inode, path: string, remote: boolean): void {
    const { file, held } = record;
    const { generation } = inode;
    const reader: Reader = { content, process: record.process, path, shares: inode.mappers?.has(record.process) === true };
    const expected = { size: file.size, mtimeNs: file.mtimeNs };
    const urgent = record.header?.hasWriters === true;
    this.digester.digest({ descriptor: held, expected }, { bytes: Number(file.size), remote, urgent }, result => {
      this.closeDescriptor(held);
      // Its mtime may have been set back by the one who wrote: then only ctime tells. A rename or chmod moves ctime too,
      // so it counts only where this build has opened the file for writing or set its times meanwhile.
      const hasMoved = result.kind === "digest" && result.state.ctimeNs !== file.ctimeNs;
      const rewritten = hasMoved && inode.generation !== generation;
      // What a map's owner has stored meanwhile shows nowhere.
      const hasWriters = record.header?.hasWriters === true && result.kind === "digest";
      const stored = hasWriters && inode.mappedNs !== undefined;
      // Nor what a writer has written in the tick of the clock in which it was opened.
      const unsettled = record.header?.unsettled === true && result.kind === "digest";
      if (rewritten || stored || unsettled || result.kind === "changed") {
        this.#lost(reader);
        return;
      }
      this.settle(content, result, record.process, path);
      if (hasWriters) {
        inode.shared ??= [];
        inode.shared.push({ reader, endNs: result.endNs });
      }
      if (!hasMoved) return;
      inode.doubtful ??= [];
      inode.doubtful.push({ reader, ctimeNs: result.state.ctimeNs });
    });
  }

  /** Fills in what a thread has found. */
  settle(content: Content, result: DigestResult, process: number, path: string): void {
    switch (result.kind) {
      case "digest":
        content.digests = this.digestSet(result.values);
        content.size = result.state.size;
        this.#onContent?.(content.digests.sha256, content.size, process, path);
        return;
      case "changed":
      case "unchanged":
        this.spoil(content, process, path);
        return;
      case "gone":
        content.reason = "gone";
        this.#reportGap("unverified-content", process, path);
        return;
      case "too-large":
        content.reason = "too-large";
        this.#reportGap("too-large", process, path);
        return;
      case "unreadable":
        content.reason = "unreadable";
        this.#reportGap("unreadable-file", process, `${path} (${result.code})`);
    }
  }

  #inode(key: string): Inode {
    let inode = this.#inodes.get(key);
    if (!inode) {
      inode = {
        generation: 0,
        mappedNs: undefined,
        mappers: undefined,
        cached: undefined,
        doubtful: undefined,
        shared: undefined,
      };
      this.#inodes.set(key, inode);
    }
    return inode;
  }
}

function isSameFileState(a: FileIdentity, b: FileIdentity): boolean {
  return a.size === b.size && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs;
}

function emptyDigests(hashes: readonly HashName[]): DigestSet {
  const set: DigestSet = {};
  for (const hash of hashes) set[hash] = startHash(hash, 0).value();
  return Object.freeze(set);
}
