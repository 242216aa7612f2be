// What one process did with files, put together at the end: contents that were read and left, under the names that the
// process saw and the names that files have at the end.
import { type Content, isKnown, isSameContent, pendingContent } from "./contents.ts";
import { emptyFileOps } from "./file-operations.ts";
import { belowRoot } from "./file-types.ts";
import type { Names } from "./names-of-files.ts";
import type { DigestSet, FileOps, PackedFiles, UnhashedReason } from "./observation.ts";
import { type Found, OpenedFiles, type Reads } from "./reads.ts";
import type { Writer, WrittenFile } from "./written-file.ts";

/** What one process did with files: its part of a ProcessObservation. */
export interface FileFacts {
  openedFiles: PackedFiles;
  writtenDigests: Map<string, DigestSet>;
  fileVersions: Map<string, DigestSet[]>;
  unhashedOpens: { path: string; reason: UnhashedReason }[];
  fileOps: FileOps;
}

export interface ProcessFiles {
  /** What its opens found, by the path it saw. */
  reads: Reads;
  /** It has written nothing, and each of its reads has one content, which is known. Undefined: nobody has looked. */
  isPlain: boolean | undefined;
  /** What stands for them in the record, once it is known to differ: numbers of the same table. */
  opened: Uint32Array | undefined;
  /** By the path at the first open for writing. */
  writers: Map<string, Writer[]>;
  /** Opened for writing, by path with the time of the first open, where the content cannot be looked at. */
  unreadWrites: Map<string, bigint> | undefined;
  /** With full detail: what its calls wrote, by file; by path where that is all that is known. */
  bytes: Map<WrittenFile | string, WrittenBytes> | undefined;
  root: string;
  ops: FileOps | undefined;
  parent: number;
  /** Sequence number of its creation. */
  created: number;
  children: number[];
  alive: boolean;
  /** Whether `bytes` is all that it wrote; else it is known by the growth of files only. */
  countsWrites: boolean;
}

export interface WrittenBytes {
  bytes: bigint;
  /** Of the first call. */
  timeNs: bigint;
}

/** Contents of one path in one process. Beyond it equal neighbours are folded; what is still more is a gap. */
const versionsMax = 10_000;

/** False: there are too many, and this one is lost. */
export function addVersion(contents: Content[], content: Content): boolean {
  if (contents.at(-1) === content) return true;
  if (contents.length >= versionsMax) foldVersions(contents);
  if (contents.length >= versionsMax) return false;
  contents.push(content);
  return true;
}

/** Equal neighbours say nothing new. Those whose digest is not there yet stay. */
function foldVersions(contents: Content[]): void {
  let kept = 0;
  for (const content of contents) {
    const last = kept > 0 ? contents[kept - 1] : undefined;
    const settled = last && Object.keys(last.digests).length > 0 && Object.keys(content.digests).length > 0;
    if (settled && isSameContent(last, content)) continue;
    contents[kept++] = content;
  }
  contents.length = kept;
}

/** Only when all digests are there. Can be asked for again: it is made anew each time. */
export function factsOf(process: ProcessFiles, names: Names<WrittenFile>): FileFacts {
  return hasOnlyRead(process) ? factsOfReader(process) : factsOfWriter(process, names);
}

/** One content of each path, and nothing written: nearly all processes of a large build. */
function hasOnlyRead(process: ProcessFiles): boolean {
  if (hasWritten(process)) return false;
  if (process.isPlain) return true;
  const { table } = process.reads;
  return process.reads.numbers().every(number => !Array.isArray(table.entry(number).found));
}

export const hasWritten = ({ writers, unreadWrites, bytes }: ProcessFiles): boolean =>
  writers.size > 0 || unreadWrites !== undefined || bytes !== undefined;

function factsOfReader({ reads, ops, isPlain }: ProcessFiles): FileFacts {
  const { table } = reads;
  const numbers = reads.numbers();
  const openedFiles = new OpenedFiles(numbers, table);
  if (isPlain && ops === undefined) return { openedFiles, ...nothingElse };
  const unhashedOpens: FileFacts["unhashedOpens"] = [];
  for (const number of numbers) {
    const { path, found } = table.entry(number);
    if (!Array.isArray(found) && found.reason !== undefined) unhashedOpens.push({ path, reason: found.reason });
  }
  const fileOps = { ...(ops ?? emptyFileOps()), writes: [] };
  return { openedFiles, writtenDigests: new Map(), fileVersions: new Map(), unhashedOpens, fileOps };
}

/** Of nearly all processes of a large build, and asked for several times: made anew it takes 0.1 s for 5,000. */
const nothingElse: Omit<FileFacts, "openedFiles"> = {
  writtenDigests: new Map(),
  fileVersions: new Map(),
  unhashedOpens: [],
  fileOps: { ...emptyFileOps(), writes: [] },
};

function factsOfWriter(process: ProcessFiles, names: Names<WrittenFile>): FileFacts {
  const { table } = process.reads;
  const numbers = process.reads.numbers();
  // Kept: a content that is one of many of its path would get another number the next time.
  const opened = process.opened ?? numbers.slice();
  const facts: FileFacts = {
    openedFiles: new OpenedFiles(opened, table),
    writtenDigests: new Map(),
    fileVersions: new Map(),
    unhashedOpens: [],
    fileOps: { ...(process.ops ?? emptyFileOps()), writes: [] },
  };
  const written = writtenByName(process, names, facts);
  numbers.forEach((number, index) => {
    const { path, found } = table.entry(number);
    // Nearly all: one content, read only.
    if (Array.isArray(found) || written.has(path) || process.writers.has(path)) {
      const first = pathFacts(process, { path, reads: asList(found), written: written.get(path) }, facts);
      if (process.opened === undefined) opened[index] = table.numberOf(path, first);
      written.delete(path);
    } else if (found.reason !== undefined) {
      facts.unhashedOpens.push({ path, reason: found.reason });
    }
  });
  for (const [path, contents] of written) addVersions(path, contents, facts);
  process.opened = opened;
  return facts;
}

interface PathContents {
  path: string;
  reads: Content[];
  written: Content[] | undefined;
}

/** Where nothing was read: of a file that was opened for writing only and is not known. */
const nothing = pendingContent(0n);

/** Returns the content that stands in `openedFiles`. */
function pathFacts(process: ProcessFiles, { path, reads, written }: PathContents, facts: FileFacts): Content {
  const left = (process.writers.get(path) ?? []).flatMap(writer => writer.left ?? []);
  // The first content that was read, also if it is not known: a later one must not stand for it. O_PATH reads nothing.
  const first = reads.find(content => content.reason !== "path-only") ?? left.at(-1);
  for (const reason of new Set([...reads, ...left].flatMap(content => content.reason ?? []))) {
    facts.unhashedOpens.push({ path, reason });
  }
  addVersions(path, [...reads, ...(written ?? left)], facts);
  return first ?? nothing;
}

function addVersions(path: string, contents: readonly Content[], facts: FileFacts): void {
  const versions: DigestSet[] = [];
  let last: Content | undefined;
  for (const content of contents) {
    if (!isKnown(content) || (last && isSameContent(last, content))) continue;
    versions.push(content.digests);
    last = content;
  }
  if (versions.length > 1) facts.fileVersions.set(path, versions);
}

/** What the process left behind, by final names; `writtenDigests` and `fileOps.writes`. */
function writtenByName(process: ProcessFiles, names: Names<WrittenFile>, facts: FileFacts): Map<string, Content[]> {
  const byName = new Map<string, Content[]>();
  const writers = [...new Set([...process.writers.values()].flat())];
  // Where two files have had the same name the one that has it now comes last.
  writers.sort((a, b) => names.of(a.file).length - names.of(b.file).length || compare(a.timeNs, b.timeNs));
  for (const { file, left, sizeBefore, timeNs: time } of writers) {
    const current = names.of(file);
    const finalNames = (current.length > 0 ? current : [names.last(file)]).map(name => belowRoot(name, process.root));
    const grown = left && isKnown(left) ? left.size - sizeBefore : 0n;
    const counted = process.countsWrites ? (process.bytes?.get(file)?.bytes ?? 0n) : grown;
    facts.fileOps.writes.push({ path: finalNames[0] ?? "", bytes: Number(counted > 0n ? counted : 0n), time });
    for (const name of finalNames) {
      facts.writtenDigests.delete(name);
      if (!left || !isKnown(left)) continue;
      facts.writtenDigests.set(name, left.digests);
      const contents = byName.get(name);
      if (contents) contents.push(left);
      else byName.set(name, [left]);
    }
  }
  for (const [path, time] of process.unreadWrites ?? []) {
    facts.fileOps.writes.push({ path, bytes: Number(process.bytes?.get(path)?.bytes ?? 0n), time });
  }
  addInheritedWrites(process, new Set(writers.map(({ file }) => file)), names, facts);
  facts.fileOps.writes.sort((a, b) => compare(a.time, b.time));
  return byName;
}

/** Through descriptors that somebody else has opened. */
function addInheritedWrites(
  process: ProcessFiles,
  opened: ReadonlySet<WrittenFile>,
  names: Names<WrittenFile>,
  facts: FileFacts,
): void {
  for (const [file, { bytes, timeNs: time }] of process.bytes ?? []) {
    if (typeof file === "string" ? process.unreadWrites?.has(file) : opened.has(file)) continue;
    const name = typeof file === "string" ? file : belowRoot(names.of(file)[0] ?? names.last(file), process.root);
    facts.fileOps.writes.push({ path: name, bytes: Number(bytes), time });
  }
}

const compare = (a: bigint, b: bigint): number => (a < b ? -1 : a > b ? 1 : 0);

function asList(found: Found): Content[] {
  return Array.isArray(found) ? found : [found];
}
