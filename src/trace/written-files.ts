// Files that the build writes: what each writer left behind, and under which names.
//
// A file is its inode; names are labels that renames and links move. From a writer's open on, one read-only descriptor
// of the file is kept (never a writable one: a later exec of the file would fail with ETXTBSY) and digested at the
// writer's exit. Kept descriptors are bounded: beyond the bound the oldest files are digested early and given up; at
// their writer's end they are looked at again by name, and count only if that is still the same inode.
//
//     open for writing ── descriptor kept ──────────────┬─ writer's exit: digest ──────────────── left behind
//                              │                        │
//                              ├─ its mount goes: early digest, which counts if nobody could write any more
//                              ├─ bound reached: early digest ─ writer's exit: by name, unchanged or digest again
//                              ├─ last name removed: digest at once (we hold no disk space)
//                              └─ truncated by another process: the last content that somebody opened or that the tracer
//                                 showed us before, or unknown
//
// A descriptor or map can outlive its opener, in a child or in whoever it was sent to. The kernel says whether there is one: then the
// file is digested again at the end of the run, when nobody is left.
import type { FileIdentity } from "../native/events.ts";
import { type Content, type Contents, isKnown, pendingContent } from "./contents.ts";
import { fileKey, lifeKey } from "./file-types.ts";
import type { ReportGap } from "./gaps.ts";
import { KeptDescriptors } from "./kept-descriptors.ts";
import { Names } from "./names-of-files.ts";
import { type Done, WrittenDigests } from "./written-digests.ts";
import { checkEnd } from "./written-ends.ts";
import {
  byProcess,
  type Final,
  isBefore,
  keptOf,
  newFile,
  newWriter,
  type OpenForWriting,
  setLeft,
  setLeftState,
  type Takeover,
  type Tentative,
  tentative,
  underWay,
  type Writer,
  type WrittenFile,
  wasEmpty,
} from "./written-file.ts";

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
  readonly #files = new Map<string, WrittenFile>();
  /** The last that had the number, also without a name. */
  readonly #latest = new Map<string, WrittenFile>();
  readonly #inodes = new Set<number>();
  readonly #kept: KeptDescriptors;
  readonly #digests: WrittenDigests;
  /** By process: what is still to be digested at its exit. */
  readonly #live = new Map<number, Writer[]>();
  /** By descriptor: what the tracer says of the process that is about to end. */
  readonly #writersLeft = new Map<number, "somebody" | "unknown">();
  constructor(options: WrittenFilesOptions) {
    this.#contents = options.contents;
    this.#reportGap = options.reportGap;
    this.#hasHeirs = options.hasHeirs;
    this.#digests = new WrittenDigests(options.contents);
    this.#kept = new KeptDescriptors(options.contents, this.#digests, options.keptMax ?? keptMax);
  }

  get(file: { device: bigint; inode: bigint; birthNs: bigint }): WrittenFile | undefined {
    return this.#files.get(lifeKey(file));
  }

  /** The last of each inode number, also one that has lost all names that we know: it can have had others before the build. */
  all(): IterableIterator<WrittenFile> {
    return this.#latest.values();
  }

  /** Also one that has lost its last name: it can be written to still. */
  latest(file: { device: bigint; inode: bigint }): WrittenFile | undefined {
    return this.#latest.get(fileKey(file));
  }

  /** The number is that of a file which is not followed here. */
  replaced(file: { device: bigint; inode: bigint }): void {
    this.#latest.delete(fileKey(file));
  }

  /** Takes the descriptor. */
  opened(open: OpenForWriting): Writer {
    const file = this.#file(open);
    this.#takeOver(file, open);
    file.snapshot = undefined;
    file.early = undefined;
    file.final = undefined;
    file.lastWriter = open.process;
    this.names.seen(file, open.path, { nameless: open.nameless, only: open.file.links <= 1 });
    const writer = byProcess.get(file.writers, open.process) ?? newWriter(open, file);
    file.writers = byProcess.with(file.writers, writer);
    writer.left = undefined;
    writer.leftState = undefined;
    file.joint = byProcess.without(file.joint, open.process);
    this.#kept.keep(writer, open.held);
    if (byProcess.get(file.live, open.process) !== writer) {
      file.live = byProcess.with(file.live, writer);
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
    if (file.live !== undefined) file.snapshot = content;
    for (const digest of underWay.list(file.underWay)) if (!digest.takeover) digest.seen ??= content;
    for (const digest of tentative.list(file.tentative)) digest.seen ??= content;
  }

  /** The mount of a descriptor that came with an open is about to go. `isCertain`: nobody has the file open for writing any more. */
  unmounting(held: number, { isCertain }: { isCertain: boolean }): void {
    this.#kept.release(held, isCertain);
  }

  /** Of the process that ends next: the file of a descriptor that came with its open still has writers, or may have. */
  writersLeft(held: number, writers: "somebody" | "unknown"): void {
    this.#writersLeft.set(held, writers);
  }

  /** The process is gone: what it wrote is final. */
  ended(process: number): void {
    const writers = this.#live.get(process);
    if (!writers) return;
    this.#live.delete(process);
    for (const writer of writers) if (writer.left === undefined) this.#leave(writer, this.#writersAfter(writer));
    this.#writersLeft.clear();
  }

  /**
   * The file has lost its last name: nobody can open it any more, and we must not hold its disk space. `last` is how it
   * was then, where that is known.
   */
  removed(file: WrittenFile, last: FileIdentity | undefined): void {
    if (this.#files.get(file.life) !== file) return;
    // The inode number may come back for another file at once, even under the same name.
    this.#files.delete(file.life);
    const end = last ?? { size: -1n, mtimeNs: 0n };
    const takeover: Takeover = { truncated: false, sizeBefore: undefined, size: end.size, mtimeNs: end.mtimeNs, ctimeNs: 0n };
    if (last) this.#checkHidden(file, takeover);
    for (const digest of underWay.list(file.underWay)) if (digest.byName) digest.takeover ??= takeover;
    this.#checkTentative(file, takeover, digest => digest.byName);
    for (const writer of byProcess.list(file.live)) this.#leave(writer, byProcess.size(file.live) > 1 ? "others" : "unknown");
    this.#contents.gone(file);
  }

  /** Digests all that is still open. Call it when no process is left; then wait for `Digester.idle`, then `checkEnds`. */
  endAll(): void {
    for (const process of [...this.#live.keys()]) this.ended(process);
  }

  checkEnds(): void {
    const options = { contents: this.#contents, digests: this.#digests, reportGap: this.#reportGap };
    for (const file of this.#files.values()) {
      const path = this.names.of(file)[0];
      // Not the latest: a process has written it whose open we could not follow, which is told elsewhere.
      if (file.final && path !== undefined && this.#latest.get(file.key) === file) checkEnd(file, path, file.final, options);
    }
  }

  #file(open: OpenForWriting): WrittenFile {
    const key = lifeKey(open.file);
    let file = this.#files.get(key);
    if (!file) {
      file = newFile(open);
      this.#files.set(key, file);
      this.#latest.set(file.key, file);
      this.#inodes.add(Number(file.inode));
    }
    file.size = open.file.size;
    return file;
  }

  #takeOver(file: WrittenFile, open: OpenForWriting): void {
    const { size, mtimeNs, ctimeNs } = open.file;
    const { truncated, sizeBefore } = open;
    const takeover: Takeover = { truncated, sizeBefore, size, mtimeNs, ctimeNs };
    this.#checkHidden(file, takeover);
    for (const digest of underWay.list(file.underWay)) digest.takeover ??= takeover;
    this.#checkTentative(file, takeover, () => true);
    if (!truncated) return; // several writers: each leaves what is there at its end
    const others = [...byProcess.list(file.live), ...byProcess.list(file.joint)].filter(
      writer => writer.process !== open.process,
    );
    file.joint = undefined;
    for (const writer of others) {
      file.live = byProcess.without(file.live, writer.process);
      this.#kept.giveUp(writer);
      writer.left = this.#leftBefore(file, sizeBefore);
      if (writer.left) continue;
      writer.left = this.#contents.unknown("overwritten");
      this.#reportGap("overwritten-unread", writer.process, writer.path);
    }
  }

  /** What somebody wrote through a descriptor of an ended writer, before the next one came, is in nobody's digest. */
  #checkHidden(file: WrittenFile, found: Takeover): void {
    const { final } = file;
    if (final?.writers !== "hidden") return;
    const { state, leaving } = final;
    const { size, mtimeNs } = found.truncated ? { size: found.sizeBefore ?? state.size, mtimeNs: state.mtimeNs } : found;
    const isAsLeft = size === state.size && mtimeNs === state.mtimeNs && !this.#contents.isMapped(file);
    // If we have read what the next one wrote that shows elsewhere.
    const isLater = found.ctimeNs > 0n && state.ctimeNs > found.ctimeNs;
    if (!isAsLeft && !isLater) this.#reportGap("unverified-content", leaving[0].process, this.names.last(file));
  }

  /** Digests can be faster than events: what has happened to the file was there before we knew. */
  #checkTentative(file: WrittenFile, takeover: Takeover, applies: (digest: Tentative) => boolean): void {
    for (const digest of tentative.list(file.tentative)) {
      const { leaving, content, state, seen } = digest;
      if (!applies(digest) || isBefore(state, takeover)) continue;
      if (seen && isKnown(seen)) setLeft(leaving, seen);
      else if (wasEmpty(takeover)) setLeft(leaving, this.#contents.empty);
      else this.#contents.spoil(content, leaving[0].process, leaving[0].path);
    }
    file.tentative = undefined;
  }

  /** What was there before it was truncated. */
  #leftBefore(file: WrittenFile, size: bigint | undefined): Content | undefined {
    if (size === 0n) return this.#contents.empty;
    const known = file.snapshot ?? file.early?.content;
    return known && (size === undefined || known.size === size) ? known : undefined;
  }

  /** Decides what `writer` has left behind: as the file is now. */
  #leave(writer: Writer, writers: Final["writers"] | "others"): void {
    const { file } = writer;
    file.live = byProcess.without(file.live, writer.process);
    if (writers === "others") {
      // They change it while we read: it has left what they leave.
      file.joint = byProcess.with(file.joint, writer);
      writer.left = pendingContent(file.size);
      this.#kept.giveUp(writer);
      return;
    }
    const kept = writer.kept ?? keptOf(file);
    const leaving: [Writer, ...Writer[]] = [writer];
    if (file.live === undefined) {
      leaving.push(...byProcess.list(file.joint));
      file.joint = undefined;
    }
    const content = pendingContent(file.size);
    setLeft(leaving, content);
    file.final = undefined;
    const turn = ++file.turn;
    const settle: Done = (result, seen, takeover) => {
      if (result.kind === "digest") {
        const { state } = result;
        file.tentative = tentative.with(file.tentative, { byName: !kept, leaving, content, state, seen });
        setLeftState(leaving, state);
        if (file.turn === turn && !takeover) file.final = { content, state, leaving, writers };
      }
      // Spoiled by the next writer before we had read it: what a process has opened in between is this content too.
      if (result.kind === "changed" && seen && isKnown(seen)) setLeft(leaving, seen);
      else if (result.kind === "changed" && takeover && wasEmpty(takeover)) setLeft(leaving, this.#contents.empty);
      else this.#contents.settle(content, result, writer.process, writer.path);
    };
    if (kept) {
      this.#digests.through(kept, file, settle);
      this.#kept.giveUp(writer);
      return;
    }
    if (this.#files.get(file.life) === file) this.#leaveByName(leaving, settle);
    else this.#leaveEarly(leaving, settle);
  }

  /** Who may still write when a writer has ended. */
  #writersAfter(writer: Writer): Final["writers"] | "others" {
    const writers = writer.kept ? (this.#writersLeft.get(writer.kept.descriptor) ?? "nobody") : "unknown";
    if (writers === "nobody") return "nobody";
    if (byProcess.size(writer.file.live) > 1) return "others";
    return writers === "somebody" || this.#hasHeirs(writer.process, writer.sequence) ? "hidden" : "unknown";
  }

  /** Its descriptor was given up, and it has no name any more. */
  #leaveEarly(leaving: readonly [Writer, ...Writer[]], settle: Done): void {
    const { early } = leaving[0].file;
    if (!early) {
      settle({ id: 0, kind: "gone" }, undefined, undefined);
      return;
    }
    early.final = true;
    setLeft(leaving, early.content);
    setLeftState(leaving, early.state);
  }

  #leaveByName(leaving: readonly [Writer, ...Writer[]], settle: Done): void {
    const { file, process } = leaving[0];
    const path = this.names.of(file)[0] ?? this.names.last(file);
    const known = this.#contents.isMapped(file) ? undefined : file.early?.state;
    this.#digests.byName(file, path, known, (result, seen, takeover) => {
      const { early } = file; // it may have come meanwhile
      if (early && (result.kind === "unchanged" || result.kind === "gone")) {
        this.#leaveEarly(leaving, settle);
        if (result.kind === "gone" && !early.certain) this.#reportGap("unverified-content", process, path);
      } else {
        settle(result, seen, takeover);
      }
    });
  }
}
