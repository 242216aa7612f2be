// Files that the build writes: what each writer left behind, and under which names.
//
// A file is its inode; names are labels that renames and links move. From a writer's open on, one read-only descriptor
// of the file is kept (never a writable one: a later exec of the file would fail with ETXTBSY) and digested at the
// writer's exit. Kept descriptors are bounded: beyond the bound the oldest files are digested early and given up; at
// their writer's end they are looked at again by name, and count only if that is still the same inode.
//
//     open for writing ── descriptor kept ──────────────┬─ writer's exit: digest ──────────────── left behind
//                              │                        │
//                              ├─ bound reached: early digest ─ writer's exit: by name, unchanged or digest again
//                              ├─ last name removed: digest at once (we hold no disk space)
//                              └─ truncated by another process: the last content that somebody opened, or unknown
import type { FileIdentity } from "../native/events.ts";
import { unescapeText } from "../text.ts";
import { type Content, type Contents, isKnown, pendingContent, settledAfterNs } from "./contents.ts";
import type { DigestJob, DigestResult, FileState } from "./digest-file.ts";
import { fileKey, isRemote } from "./file-types.ts";
import type { ReportGap } from "./gaps.ts";
import { Names } from "./names-of-files.ts";

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
  /** What the process left behind; settled after `WrittenFiles.finish`. */
  left: Content | undefined;
}

export interface WrittenFile {
  readonly key: string;
  readonly device: bigint;
  readonly inode: bigint;
  readonly remote: boolean;
  size: bigint;
  kept: Kept | undefined;
  /** Writers whose last content is still to come. */
  readonly live: Map<number, Writer>;
  /** The newest content that a process has opened since the last open for writing. */
  snapshot: Content | undefined;
  early: Early | undefined;
  /** Digests that a later writer may spoil. */
  readonly underWay: Set<UnderWay>;
  /** The process that opened it for writing last. */
  lastWriter: number;
}

/** A descriptor of ours; closed when it is given up and nobody reads through it. */
interface Kept {
  readonly descriptor: number;
  uses: number;
  givenUp: boolean;
}

/** A digest before the writer's end. */
interface Early {
  content: Content;
  state: FileState;
  /** In this state the content has not changed since: nothing was written within the clock's tick. */
  trusted: boolean;
}

interface UnderWay {
  /** The first one since the digest was asked for. */
  takeover: Takeover | undefined;
  /** The content that a process opened before that. */
  seen: Content | undefined;
}

/** The file as another process found it when it opened it for writing, or what was left after its O_TRUNC. */
interface Takeover {
  truncated: boolean;
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
  /** -1: none, the content is looked for by name at the end. */
  held: number;
  /** It has no name (O_TMPFILE, or removed while open). */
  nameless: boolean;
}

type Done = (result: DigestResult, seen: Content | undefined) => void;

/** Of the 1,024 descriptors that may be handed over at a time, those for written files. Readers need the rest. */
export const keptMax = 512;

export interface WrittenFilesOptions {
  contents: Contents;
  reportGap: ReportGap;
  /** Whether a process that may have inherited this writer's descriptors is still alive. */
  hasHeirs: (process: number, sequence: number) => boolean;
  keptMax?: number;
}

export class WrittenFiles {
  readonly names = new Names<WrittenFile>();
  readonly #contents: Contents;
  readonly #reportGap: ReportGap;
  readonly #hasHeirs: (process: number, sequence: number) => boolean;
  readonly #keptMax: number;
  readonly #files = new Map<string, WrittenFile>();
  readonly #inodes = new Set<number>();
  /** In the order in which they were kept: the oldest goes first. */
  readonly #keptFiles = new Set<WrittenFile>();
  /** By process: what is still to be digested at its exit. */
  readonly #live = new Map<number, Writer[]>();
  /** Written files whose descriptor a living child of their writer may still use. */
  readonly #inherited: { writer: Writer; state: FileState }[] = [];

  constructor(options: WrittenFilesOptions) {
    this.#contents = options.contents;
    this.#reportGap = options.reportGap;
    this.#hasHeirs = options.hasHeirs;
    this.#keptMax = options.keptMax ?? keptMax;
  }

  get(file: { device: bigint; inode: bigint }): WrittenFile | undefined {
    return this.#files.get(fileKey(file));
  }

  /** Takes the descriptor. The same writer as before if this process has opened the file for writing already. */
  opened(open: OpenForWriting, earlier: Writer | undefined): Writer {
    const file = this.#file(open);
    this.#takeOver(file, open);
    file.snapshot = undefined;
    file.early = undefined;
    file.lastWriter = open.process;
    this.names.seen(file, open.path, { nameless: open.nameless, only: open.file.links <= 1 });
    this.#keep(file, open.held);
    const writer: Writer = earlier?.file === file ? earlier : { ...writerOf(open), file, left: undefined };
    writer.left = undefined;
    if (file.live.get(open.process) !== writer) {
      file.live.set(open.process, writer);
      const live = this.#live.get(open.process);
      if (live) live.push(writer);
      else this.#live.set(open.process, [writer]);
    }
    return writer;
  }

  /** A process has opened the file for reading and found `content`. */
  openedForReading(opened: FileIdentity, content: Content): void {
    // Asked at every open: the inode's number alone rules out nearly all, without making a key.
    if (!this.#inodes.has(Number(opened.inode))) return;
    const file = this.get(opened);
    if (!file) return;
    if (file.live.size > 0) file.snapshot = content;
    for (const digest of file.underWay) if (!digest.takeover) digest.seen ??= content;
  }

  /** The process is gone: what it wrote is final. */
  ended(process: number): void {
    const writers = this.#live.get(process);
    if (!writers) return;
    this.#live.delete(process);
    for (const writer of writers) if (writer.left === undefined) this.#leave(writer);
  }

  /** The file has lost its last name: nobody can open it any more, and we must not hold its disk space. */
  removed(file: WrittenFile): void {
    if (this.#files.get(file.key) !== file) return;
    // The inode number may come back for another file at once.
    this.#files.delete(file.key);
    for (const writer of [...file.live.values()]) this.#leave(writer);
    this.#giveUp(file);
  }

  /** Digests all that is still open. Call it when no process is left; then wait for `Digester.idle`, then `recheck`. */
  endAll(): void {
    for (const process of [...this.#live.keys()]) this.ended(process);
  }

  /** A second look at what children of the writers may have written through inherited descriptors. */
  recheckInherited(): void {
    for (const { writer, state } of this.#inherited) {
      const { file } = writer;
      const path = this.names.of(file)[0];
      // Somebody else has opened it since: what is there now is not this writer's any more.
      if (path === undefined || file.lastWriter !== writer.process || this.#files.get(file.key) !== file) continue;
      this.#byName(file, path, state, result => {
        if (result.kind !== "digest") return;
        const content = pendingContent(0n);
        this.#contents.settle(content, result, writer.process, path);
        writer.left = content;
      });
    }
    this.#inherited.length = 0;
  }

  #file(open: OpenForWriting): WrittenFile {
    const key = fileKey(open.file);
    let file = this.#files.get(key);
    if (!file) {
      const { device, inode, size } = open.file;
      file = {
        key,
        device,
        inode,
        remote: isRemote(open.file),
        size,
        kept: undefined,
        live: new Map(),
        snapshot: undefined,
        early: undefined,
        underWay: new Set(),
        lastWriter: open.process,
      };
      this.#files.set(key, file);
      this.#inodes.add(Number(inode));
    }
    file.size = open.file.size;
    return file;
  }

  #takeOver(file: WrittenFile, open: OpenForWriting): void {
    const { size, mtimeNs, ctimeNs } = open.file;
    for (const digest of file.underWay) digest.takeover ??= { truncated: open.truncated, size, mtimeNs, ctimeNs };
    if (!open.truncated) return; // several writers: each leaves what is there at its end
    for (const writer of [...file.live.values()]) {
      if (writer.process === open.process) continue;
      file.live.delete(writer.process);
      writer.left = file.snapshot ?? file.early?.content;
      if (writer.left) continue;
      writer.left = this.#contents.unknown("overwritten");
      this.#reportGap("overwritten-unread", writer.process, writer.path);
    }
  }

  #keep(file: WrittenFile, held: number): void {
    if (held < 0) return;
    if (file.kept) {
      this.#contents.closeDescriptor(held);
      return;
    }
    file.kept = { descriptor: held, uses: 0, givenUp: false };
    this.#keptFiles.add(file);
    if (this.#keptFiles.size <= this.#keptMax) return;
    for (const oldest of this.#keptFiles) {
      this.#digestEarly(oldest);
      break;
    }
  }

  #giveUp(file: WrittenFile): void {
    const { kept } = file;
    if (!kept) return;
    file.kept = undefined;
    this.#keptFiles.delete(file);
    kept.givenUp = true;
    if (kept.uses === 0) this.#contents.closeDescriptor(kept.descriptor);
  }

  #digestEarly(file: WrittenFile): void {
    const content = pendingContent(file.size);
    const { lastWriter } = file;
    this.#throughKept(file, result => {
      if (result.kind !== "digest") return; // it is being written: only the end counts
      content.digests = this.#contents.digestSet(result.values);
      content.size = result.state.size;
      if (file.lastWriter !== lastWriter) return;
      file.early = { content, state: result.state, trusted: result.beganNs - result.state.ctimeNs > settledAfterNs };
    });
    this.#giveUp(file);
  }

  /** Decides what `writer` has left behind: as the file is now. */
  #leave(writer: Writer): void {
    const { file } = writer;
    file.live.delete(writer.process);
    const content = pendingContent(file.size);
    writer.left = content;
    const heirs = this.#hasHeirs(writer.process, writer.sequence);
    const settle: Done = (result, seen) => {
      if (result.kind === "digest" && heirs) this.#inherited.push({ writer, state: result.state });
      // Spoiled by the next writer before we had read it: what a process has opened in between is this content too.
      if (result.kind === "changed" && seen && isKnown(seen)) writer.left = seen;
      else this.#contents.settle(content, result, writer.process, writer.path);
    };
    if (file.kept) {
      this.#throughKept(file, settle);
      if (file.live.size === 0) this.#giveUp(file);
      return;
    }
    const path = this.names.of(file)[0] ?? this.names.last(file);
    this.#byName(file, path, file.early?.trusted ? file.early.state : undefined, (result, seen) => {
      const { early } = file; // it may have come meanwhile
      if (early && (result.kind === "unchanged" || result.kind === "gone")) {
        writer.left = early.content;
        if (result.kind === "gone" && this.#files.get(file.key) === file)
          this.#reportGap("unverified-content", writer.process, path);
        return;
      }
      settle(result, seen);
    });
  }

  #throughKept(file: WrittenFile, done: Done): void {
    const { kept } = file;
    if (!kept) return;
    kept.uses++;
    this.#digest(file, { descriptor: kept.descriptor }, (result, seen) => {
      kept.uses--;
      if (kept.givenUp && kept.uses === 0) this.#contents.closeDescriptor(kept.descriptor);
      done(result, seen);
    });
  }

  #byName(file: WrittenFile, path: string, unless: FileState | undefined, done: Done): void {
    const order = { descriptor: -1, path: unescapeText(path), device: file.device, inode: file.inode };
    this.#digest(file, unless ? { ...order, unless } : order, done);
  }

  #digest(file: WrittenFile, order: Omit<DigestJob, "id">, done: Done): void {
    const digest: UnderWay = { takeover: undefined, seen: undefined };
    file.underWay.add(digest);
    this.#contents.digester.digest(order, { bytes: Number(file.size), remote: file.remote }, result => {
      file.underWay.delete(digest);
      const spoiled = result.kind === "digest" && digest.takeover && !isBefore(result.state, digest.takeover);
      done(spoiled ? { id: result.id, kind: "changed" } : result, digest.seen);
    });
  }
}

/** Whether what we have read is what was there when the next writer came. */
function isBefore(state: FileState, takeover: Takeover): boolean {
  if (state.ctimeNs < takeover.ctimeNs) return true;
  return !takeover.truncated && state.size === takeover.size && state.mtimeNs === takeover.mtimeNs;
}

function writerOf(open: OpenForWriting) {
  const { process, path, timeNs, sequence } = open;
  return { process, path, timeNs, sequence, sizeBefore: open.file.size };
}
