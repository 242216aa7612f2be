// What the build took from outside: the contents that it read or executed and had not made itself. Decided at each open,
// by inode: a name says nothing, since temporary files are renamed and paths are used again. The build has made a file
// that was empty when it first opened it for writing, or that it has truncated; one that it has only touched or changed
// is still from outside, or whoever opens a file for writing could hide that it was read.
import type { FileIdentity } from "../native/events.ts";
import { type Content, isKnown, settledAfterNs } from "./contents.ts";
import { sameState } from "./digest-file.ts";
import { isPseudo, isRegular, isRemote } from "./file-types.ts";
import type { InputFile } from "./observation.ts";
import type { OpenForWriting, Writer, WrittenFile } from "./written-file.ts";

/** What is kept of an open: inputs of a large build are a hundred thousand. */
interface Read extends Pick<InputFile, "state" | "settled" | "remote" | "isRewritten"> {
  readonly content: Content;
}

/** Contents of one path. The first ones are listed: a path with more is being rewritten by somebody outside. */
const contentsMax = 100;

export class Inputs {
  readonly #reads = new Map<string, Read | Read[]>();
  readonly #written: (file: FileIdentity) => WrittenFile | undefined;
  /** Those of the written files that had a content before, and how they were then. */
  readonly #foreign = new WeakMap<WrittenFile, FileIdentity>();
  /** Opens for reading and writing: what was read is what is left, unless it was changed. */
  readonly #readAndWritten: { path: string; file: FileIdentity; writer: Writer; timeNs: bigint }[] = [];

  /** `written`: what the build has opened for writing, until now. */
  constructor(written: (file: FileIdentity) => WrittenFile | undefined) {
    this.#written = written;
  }

  /** After the writer was noted. `isFirst`: the file was not opened for writing before; `reads`: it may read too. */
  openedForWriting(open: OpenForWriting, writer: Writer, { isFirst, reads }: { isFirst: boolean; reads: boolean }): void {
    const { file, path, timeNs } = open;
    if (file.size === 0n && (isFirst || open.truncated)) {
      this.#foreign.delete(writer.file);
      return;
    }
    if (isFirst) this.#foreign.set(writer.file, file);
    if (reads && this.#foreign.has(writer.file)) this.#readAndWritten.push({ path, file, writer, timeNs });
  }

  /** `path` is the kernel's. */
  opened(path: string, file: FileIdentity, content: Content, timeNs: bigint): void {
    const known = this.#reads.get(path);
    const isListed = Array.isArray(known) ? known.some(read => read.content === content) : known?.content === content;
    // Asked at every open: nearly all are of a content that stands here already.
    if (isListed || !isRegular(file) || isPseudo(file) || content.reason === "path-only") return;
    const written = this.#written(file);
    const before = written && this.#foreign.get(written);
    if (written && !before) return; // made
    this.#add(path, { ...readOf(content, file, timeNs), isRewritten: before !== undefined && !sameState(before, file) });
  }

  #add(path: string, read: Read): void {
    const known = this.#reads.get(path);
    if (known === undefined) this.#reads.set(path, read);
    else if (!Array.isArray(known)) this.#reads.set(path, [known, read]);
    else if (known.length < contentsMax) known.push(read);
  }

  /** Sorted by path; each content of a path once. Only when all digests are there, and once: what is listed is given up. */
  takeList(): InputFile[] {
    for (const { path, file, writer, timeNs } of this.#readAndWritten) {
      if (writer.left === undefined) continue;
      const { leftState } = writer;
      const before = this.#foreign.get(writer.file);
      const isRewritten = !(before && leftState && sameState(before, leftState));
      this.#add(path, { ...readOf(writer.left, file, timeNs), isRewritten });
    }
    const paths = [...this.#reads.keys()].sort();
    return paths.flatMap(path => {
      const found = this.#reads.get(path) ?? [];
      this.#reads.delete(path);
      if (!Array.isArray(found)) return inputFile(path, found);
      const distinct = new Map<string, InputFile>();
      for (const read of found) {
        const key = isKnown(read.content) ? JSON.stringify(read.content.digests) : "";
        if (!distinct.has(key)) distinct.set(key, inputFile(path, read));
      }
      return [...distinct.values()];
    });
  }
}

function readOf(content: Content, file: FileIdentity, timeNs: bigint): Read {
  const { device, inode, size, mtimeNs, ctimeNs } = file;
  const state = { device, inode, size, mtimeNs, ctimeNs };
  return { content, state, settled: timeNs - ctimeNs > settledAfterNs, remote: isRemote(file), isRewritten: false };
}

function inputFile(path: string, { content, state, settled, remote, isRewritten }: Read): InputFile {
  return { path, digests: content.digests, state, settled, remote, isRewritten };
}
