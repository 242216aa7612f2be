// What the build took from outside: the contents that it read or executed and had not made itself. Decided at each open,
// by inode: a name says nothing, since temporary files are renamed and paths are used again. The build has made a file
// that was empty when it first opened it for writing, or that it has truncated; one that it has only touched or changed
// is still from outside, or whoever opens a file for writing could hide that it was read.
import type { FileIdentity } from "../native/events.ts";
import { type Content, isKnown, settledAfterNs } from "./contents.ts";
import { isPseudo, isRegular, isRemote, lifeKey } from "./file-types.ts";
import type { DigestSet, InputFile } from "./observation.ts";
import type { OpenForWriting, Writer, WrittenFile } from "./written-file.ts";

/** An open, and later what is said of it: inputs of a large build are a hundred thousand, so both are one object. */
class Read implements InputFile {
  constructor(
    readonly path: string,
    readonly origin: string | undefined,
    readonly content: Content,
    readonly state: FileIdentity,
    readonly settled: boolean,
    readonly isRewritten: boolean,
  ) {}

  get digests(): DigestSet {
    return this.content.digests;
  }

  get remote(): boolean {
    return isRemote(this.state);
  }
}

/** Files in memory that are remembered; others count as inputs. */
const inMemoryMax = 100_000;
/** Contents of one path. The first ones are listed: a path with more is being rewritten by somebody outside. */
const contentsMax = 100;

export class Inputs {
  readonly #reads = new Map<string, Read | Read[]>();
  readonly #written: (file: FileIdentity) => WrittenFile | undefined;
  /** Those of the written files that had a content before, and how they were then. */
  readonly #foreign = new WeakMap<WrittenFile, FileIdentity>();
  /** Opens for reading and writing: what was read is what is left, unless it was changed. */
  readonly #readAndWritten: (Omit<Open, "isRewritten"> & { writer: Writer })[] = [];
  readonly #originOf: (path: string) => string | undefined;
  readonly #mayBeOverlaid: (path: string, file: FileIdentity) => boolean;
  /** Those of which it may. */
  readonly #overlaid = new Set<Read>();
  /** Files in memory that the build has made. */
  readonly #inMemory = new Set<string>();

  /**
   * `written`: what the build has opened for writing, until now; `originOf`: how it was called when the build came; `mayBeOverlaid`: it can have
   * been written through an overlay, where it is another file.
   */
  constructor(
    written: (file: FileIdentity) => WrittenFile | undefined,
    originOf: (path: string) => string | undefined = path => path,
    mayBeOverlaid: (path: string, file: FileIdentity) => boolean = () => false,
  ) {
    this.#written = written;
    this.#originOf = originOf;
    this.#mayBeOverlaid = mayBeOverlaid;
  }

  /** By memfd_create(2): whatever is in it, the build has put it there. */
  madeInMemory(file: FileIdentity): void {
    if (this.#inMemory.size < inMemoryMax) this.#inMemory.add(lifeKey(file));
  }

  /** From now on its times do not say whether it was written. */
  timesSet(file: FileIdentity): void {
    const written = this.#written(file);
    const before = written && this.#foreign.get(written);
    if (before) this.#foreign.set(written, { ...before, mtimeNs: -1n });
  }

  /** After the writer was noted. `isFirst`: the file was not opened for writing before; `reads`: it may read too. */
  openedForWriting(open: OpenForWriting, writer: Writer, { isFirst, reads }: { isFirst: boolean; reads: boolean }): void {
    const { file, path, timeNs } = open;
    if (file.size === 0n && (isFirst || open.truncated)) {
      this.#foreign.delete(writer.file);
      return;
    }
    if (isFirst) this.#foreign.set(writer.file, file);
    if (!reads || !this.#foreign.has(writer.file)) return;
    this.#readAndWritten.push({ path, origin: this.#originOf(path), file, writer, timeNs });
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
    if (this.#inMemory.size > 0 && this.#inMemory.has(lifeKey(file))) return;
    const isRewritten = before !== undefined && !isUntouched(before, file);
    const read = readOf({ path, origin: this.#originOf(path), file, timeNs, isRewritten }, content);
    this.#add(read);
    if (!written && this.#mayBeOverlaid(path, file)) this.#overlaid.add(read);
  }

  #add(read: Read): void {
    const { path } = read;
    const known = this.#reads.get(path);
    if (known === undefined) this.#reads.set(path, read);
    else if (!Array.isArray(known)) this.#reads.set(path, [known, read]);
    else if (known.length < contentsMax) known.push(read);
  }

  /**
   * Sorted by path; each content of a path once. Only when all digests are there, and once: what is listed is given up.
   * `overlaid`: what was left through overlays.
   */
  takeList(overlaid: () => Iterable<Content> = () => []): InputFile[] {
    for (const { writer, ...open } of this.#readAndWritten) {
      if (writer.left === undefined) continue;
      const { leftState } = writer;
      const before = this.#foreign.get(writer.file);
      const isRewritten = !(before && leftState && isUntouched(before, leftState));
      this.#add(readOf({ ...open, isRewritten }, writer.left));
    }
    const paths = [...this.#reads.keys()].sort();
    const list = paths.flatMap(path => distinct(this.#reads.get(path) ?? []));
    this.#reads.clear();
    if (this.#overlaid.size === 0) return list;
    const left = new Set(Array.from(overlaid(), content => (isKnown(content) ? keyOf(content) : "")));
    return list.filter(read => !(this.#overlaid.has(read) && isKnown(read.content) && left.has(keyOf(read))));
  }
}

const keyOf = ({ digests }: { digests: DigestSet }): string => JSON.stringify(digests);

/** Those of one path: each content once. */
function distinct(found: Read | Read[]): Read | Read[] {
  if (!Array.isArray(found)) return found;
  const known = new Map<string, Read>();
  for (const read of found) {
    const key = isKnown(read.content) ? keyOf(read) : "";
    if (!known.has(key)) known.set(key, read);
  }
  return [...known.values()];
}

interface Open {
  path: string;
  origin: string | undefined;
  file: FileIdentity;
  timeNs: bigint;
  isRewritten: boolean;
}

/** A rename, a link or a mode moves ctime and changes no content. */
function isUntouched(before: FileIdentity, now: { size: bigint; mtimeNs: bigint }): boolean {
  return before.size === now.size && before.mtimeNs === now.mtimeNs;
}

function readOf({ path, origin, file, timeNs, isRewritten }: Open, content: Content): Read {
  return new Read(path, origin, content, file, timeNs - file.ctimeNs > settledAfterNs, isRewritten);
}
