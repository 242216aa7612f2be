// Observer of files: which process opened what, with which content, and what it left behind.
//
// The rules stand in docs/command-run.md: readers get the content at their open, writers the content that they left.
// What is long-lived and large is kept once: paths are interned, contents shared.
import type { ExitEvent, FileIdentity, InheritedEvent, OpenEvent, ProcessEvent, SyscallEvent } from "../native/events.ts";
import { type Content, type Contents, isKnown, isSameContent } from "./contents.ts";
import { applyFileOperation, emptyFileOps, isFileOperation, type NameChanges } from "./file-operations.ts";
import { belowRoot, isDirectory, isRegular, opensForWriting, truncates } from "./file-types.ts";
import type { ReportGap } from "./gaps.ts";
import { Inputs } from "./inputs.ts";
import type { DigestSet, FileOps, OutputFile, TraceFiles, UnhashedReason } from "./observation.ts";
import { type OpenForWriting, type Writer, WrittenFiles } from "./written-files.ts";

/** What one process did with files: its part of a ProcessObservation. */
export interface FileFacts {
  openedFiles: Map<string, DigestSet>;
  writtenDigests: Map<string, DigestSet>;
  fileVersions: Map<string, DigestSet[]>;
  unhashedOpens: { path: string; reason: UnhashedReason }[];
  fileOps: FileOps;
}

interface ProcessFiles {
  /**
   * What its opens found, by the path it saw, in the order of the first opens. Nearly always one content: an array only
   * where there were several, and where it was opened for writing only (then an empty one).
   */
  reads: Map<string, Content | Content[]>;
  /** By the path at the first open for writing. */
  writers: Map<string, Writer[]>;
  root: string;
  ops: FileOps | undefined;
  parent: number;
  /** Sequence number of its creation. */
  created: number;
  children: number[];
  alive: boolean;
}

interface Label {
  path: string;
  processes: number;
}

/** Contents of one path in one process. Beyond it equal neighbours are folded; what is still more is a gap. */
const versionsMax = 10_000;
/** fileOps of the whole run. */
const operationsMax = 4_000_000;

export interface FilesOptions {
  contents: Contents;
  reportGap: ReportGap;
  keptMax?: number;
}

export class Files {
  readonly #contents: Contents;
  readonly #reportGap: ReportGap;
  readonly #written: WrittenFiles;
  readonly #inputs = new Inputs(file => this.#written.get(file) !== undefined);
  readonly #processes: (ProcessFiles | undefined)[] = [];
  /** One copy of each path, and how many processes have opened it. */
  readonly #paths = new Map<string, Label>();
  readonly #changes: NameChanges;
  #operations = 0;
  failedOpens = 0;
  largestRead: { path: string; bytes: bigint } | undefined;

  constructor(options: FilesOptions) {
    this.#contents = options.contents;
    this.#reportGap = options.reportGap;
    const { contents, reportGap, keptMax } = options;
    const hasHeirs = (process: number, sequence: number) => this.#hasHeirs(process, sequence);
    this.#written = new WrittenFiles({ contents, reportGap, hasHeirs, ...(keptMax === undefined ? {} : { keptMax }) });
    this.#changes = this.#nameChanges();
  }

  onProcess(event: ProcessEvent): void {
    const process = this.#process(event.process);
    process.parent = event.parent;
    process.created = event.sequence;
    if (event.parent === 0) return;
    const parent = this.#process(event.parent);
    parent.children.push(event.process);
    process.root = parent.root;
  }

  onExit(event: ExitEvent): void {
    this.failedOpens += event.failedOpens ?? 0;
    this.#process(event.process).alive = false;
    this.#written.ended(event.process);
  }

  onOpen(event: OpenEvent): void {
    const process = this.#process(event.process);
    process.root = event.root;
    const label = this.#label(belowRoot(event.path, event.root));
    this.#opened(process, event, label, Number(event.flags), event.header.deleted);
  }

  onInherited(event: InheritedEvent): void {
    if (!isRegular(event.file)) {
      if (event.held >= 0) this.#contents.closeDescriptor(event.held);
      return; // sockets are the network's; terminals, pipes and devices are no files of the build
    }
    this.#opened(this.#process(event.process), event, this.#label(event.path), Number(event.flags), event.header.deleted);
  }

  onSyscall(event: SyscallEvent): void {
    if (event.name === "mmap" || event.name === "mmap2") {
      this.#mapped(event);
    } else if (isFileOperation(event.name)) {
      const process = this.#process(event.process);
      if (++this.#operations > operationsMax) {
        this.#reportGap("limit", event.process, "fileOps");
        applyFileOperation(event, emptyFileOps, this.#changes);
        return;
      }
      applyFileOperation(
        event,
        () => {
          process.ops ??= emptyFileOps();
          return process.ops;
        },
        this.#changes,
      );
    }
  }

  /** The kernel has read a program or an interpreter; an exec is no open. */
  executed(path: string, file: FileIdentity, content: Content, timeNs: bigint): void {
    this.#inputs.opened(path, file, content, timeNs);
  }

  /** What came from outside and what was made. After `finish`, before `takeFacts`. */
  files(): TraceFiles {
    const outputs = new Map<string, OutputFile>();
    for (const process of this.#processes) {
      for (const { file } of [...(process?.writers.values() ?? [])].flat()) {
        const names = this.#written.names.of(file);
        const paths = names.length > 0 ? names : [this.#written.names.last(file)];
        for (const path of paths)
          if (names.length > 0 || !outputs.has(path)) outputs.set(path, { path, present: names.length > 0 });
      }
    }
    return { inputs: this.#inputs.list(), outputs: [...outputs.values()] };
  }

  /** After the last event: digests what is still open and waits for all digests. */
  async finish(): Promise<void> {
    const { digester } = this.#contents;
    this.#written.endAll();
    await digester.idle();
    this.#written.recheckInherited();
    await digester.idle();
  }

  /** Only after `finish`, and once for each process: what is asked for is given up, so that a large run is not held twice. */
  takeFacts(serial: number): FileFacts {
    const process = this.#process(serial);
    this.#processes[serial] = undefined;
    const facts: FileFacts = {
      openedFiles: new Map(),
      writtenDigests: new Map(),
      fileVersions: new Map(),
      unhashedOpens: [],
      fileOps: process.ops ?? emptyFileOps(),
    };
    const written = this.#writtenByName(process, facts);
    for (const [path, found] of process.reads) {
      // Nearly all: one content, read only.
      if (Array.isArray(found) || written.has(path) || process.writers.has(path)) this.#pathFacts(process, path, written, facts);
      else this.#readFacts(path, found, facts);
    }
    for (const [path, contents] of written) if (!process.reads.has(path)) this.#versions(path, contents, facts);
    return facts;
  }

  #readFacts(path: string, { digests, reason, size }: Content, facts: FileFacts): void {
    facts.openedFiles.set(path, digests);
    if (reason !== undefined) facts.unhashedOpens.push({ path, reason });
    else if (size > (this.largestRead?.bytes ?? 0n)) this.largestRead = { path, bytes: size };
  }

  #pathFacts(process: ProcessFiles, path: string, written: Map<string, Content[]>, facts: FileFacts): void {
    const reads = asList(process.reads.get(path));
    const left = (process.writers.get(path) ?? []).map(writer => writer.left ?? this.#contents.unknown("gone"));
    const all = [...reads, ...left];
    // The first content that was read, also if it is not known: a later one must not stand for it. O_PATH reads nothing.
    const first = reads.find(content => content.reason !== "path-only") ?? left.at(-1);
    facts.openedFiles.set(path, first?.digests ?? {});
    const reasons = new Set<UnhashedReason>();
    for (const { reason } of all) {
      if (reason === undefined || reasons.has(reason)) continue;
      reasons.add(reason);
      facts.unhashedOpens.push({ path, reason });
    }
    for (const { size, reason } of reads) {
      if (reason === undefined && size > (this.largestRead?.bytes ?? 0n)) this.largestRead = { path, bytes: size };
    }
    this.#versions(path, [...reads, ...(written.get(path) ?? left)], facts);
  }

  #versions(path: string, contents: readonly Content[], facts: FileFacts): void {
    const distinct: Content[] = [];
    for (const content of contents) {
      const last = distinct.at(-1);
      if (isKnown(content) && !(last && isSameContent(last, content))) distinct.push(content);
    }
    if (distinct.length > 1)
      facts.fileVersions.set(
        path,
        distinct.map(content => content.digests),
      );
  }

  /** What the process left behind, by final names, and `fileOps.writes`. */
  #writtenByName(process: ProcessFiles, facts: FileFacts): Map<string, Content[]> {
    const byName = new Map<string, Content[]>();
    const { names } = this.#written;
    const writers = [...new Set([...process.writers.values()].flat())];
    // Where two files have had the same name the one that has it now comes last.
    writers.sort((a, b) => names.of(a.file).length - names.of(b.file).length || compare(a.timeNs, b.timeNs));
    for (const { file, left, sizeBefore, timeNs: time } of writers) {
      const current = names.of(file);
      const finalNames = (current.length > 0 ? current : [names.last(file)]).map(name => belowRoot(name, process.root));
      const grown = left && isKnown(left) ? left.size - sizeBefore : 0n;
      facts.fileOps.writes.push({ path: finalNames[0] ?? "", bytes: Number(grown > 0n ? grown : 0n), time });
      for (const name of finalNames) {
        facts.writtenDigests.delete(name);
        if (!left || !isKnown(left)) continue;
        facts.writtenDigests.set(name, left.digests);
        const contents = byName.get(name);
        if (contents) contents.push(left);
        else byName.set(name, [left]);
      }
    }
    facts.fileOps.writes.sort((a, b) => compare(a.time, b.time));
    return byName;
  }

  #opened(process: ProcessFiles, event: OpenEvent | InheritedEvent, label: Label, flags: number, nameless: boolean): void {
    const regular = isRegular(event.file);
    if (regular && opensForWriting(flags)) {
      this.#openedForWriting(process, event, label, flags, nameless);
      return;
    }
    const content = this.#contents.asOpened(event, event.path);
    if (regular && isKnown(content)) this.#written.openedForReading(event.file, content);
    this.#inputs.opened(event.path, event.file, content, event.timeNs);
    this.#addRead(process, event.process, label, content);
  }

  #openedForWriting(
    process: ProcessFiles,
    event: OpenEvent | InheritedEvent,
    label: Label,
    flags: number,
    nameless: boolean,
  ): void {
    const obstacle = this.#contents.obstacle(event, event.path);
    this.#contents.writerOpened(event, truncates(flags));
    if (obstacle !== undefined) {
      if (event.held >= 0) this.#contents.closeDescriptor(event.held);
      this.#addRead(process, event.process, label, this.#contents.unknown(obstacle));
      return;
    }
    this.#addWriter(process, label, {
      sequence: event.sequence,
      process: event.process,
      timeNs: event.timeNs,
      file: event.file,
      path: event.path,
      truncated: truncates(flags),
      sizeBefore: event.kind === "open" ? event.sizeBefore : undefined,
      held: event.held,
      nameless,
    });
  }

  #addWriter(process: ProcessFiles, label: Label, open: OpenForWriting): void {
    const { path } = label;
    if (!process.reads.has(path)) {
      process.reads.set(path, []);
      label.processes++;
    }
    const writers = process.writers.get(path);
    const writer = this.#written.opened(open);
    if (!writers) process.writers.set(path, [writer]);
    else if (writers.at(-1) !== writer) writers.push(writer);
  }

  #addRead(process: ProcessFiles, serial: number, label: Label, content: Content): void {
    const { path } = label;
    const known = process.reads.get(path);
    if (known === content) return;
    if (known === undefined) {
      process.reads.set(path, content);
      label.processes++;
      return;
    }
    if (!Array.isArray(known)) {
      process.reads.set(path, [known, content]);
      return;
    }
    if (known.at(-1) === content) return;
    if (known.length >= versionsMax) foldVersions(known);
    if (known.length >= versionsMax) this.#reportGap("limit", serial, `contents of ${path}`);
    else known.push(content);
  }

  /** A shared map that can be written: stores through it leave no trace in ctime. */
  #mapped(event: SyscallEvent): void {
    const PROT_WRITE = 2n;
    const mapTypes = 3n;
    const MAP_PRIVATE = 2n;
    const [, , protection = 0n, flags = 0n] = event.arguments;
    if (event.result < 0n && event.result >= -4095n) return;
    if ((protection & PROT_WRITE) === 0n || (flags & mapTypes) === MAP_PRIVATE) return;
    for (const item of event.items) if (item.kind === "descriptor") this.#contents.mapped(item.file);
  }

  #nameChanges(): NameChanges {
    const written = this.#written;
    const { names } = written;
    const at = (file: FileIdentity | undefined) => (file ? written.get(file) : undefined);
    const dropped = (file: ReturnType<typeof names.unlink>, last?: FileIdentity) => {
      if (file) written.removed(file, last);
    };
    return {
      renamed: (oldPath, newPath, file) => {
        if (file && isDirectory(file)) names.moveBelow([[oldPath, newPath]]);
        else dropped(names.rename(oldPath, newPath, at(file)));
      },
      exchanged: (a, b) => names.exchange(a, b),
      linked: (path, file, oldPath) => {
        const linked = at(file) ?? names.at(oldPath);
        if (linked) names.link(linked, path);
      },
      removed: (path, file) => {
        const gone = names.unlink(path);
        // It still has links that we have not seen being made.
        if (!(file && file.links > 1)) dropped(gone, file);
      },
      truncated: (event, path, file) => {
        const process = this.#process(event.process);
        this.#contents.touched(file, "after");
        const label = this.#label(belowRoot(path, process.root));
        const { sequence, timeNs } = event;
        const open = {
          sequence,
          process: event.process,
          timeNs,
          file,
          path,
          truncated: true,
          sizeBefore: undefined,
          held: -1,
          nameless: false,
        };
        if (isRegular(file)) this.#addWriter(process, label, open);
      },
      timesSet: file => this.#contents.touched(file, "after"),
    };
  }

  /** A living descendant that was created after the open has inherited the descriptor, as far as we can know. */
  #hasHeirs(serial: number, sequence: number): boolean {
    const pending = [serial];
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      for (const child of this.#process(next).children) {
        const { alive, created } = this.#process(child);
        if (created < sequence) continue;
        if (alive) return true;
        pending.push(child);
      }
    }
    return false;
  }

  #process(serial: number): ProcessFiles {
    let process = this.#processes[serial];
    if (!process) {
      process = {
        reads: new Map(),
        writers: new Map(),
        root: "",
        ops: undefined,
        parent: 0,
        created: 0,
        children: [],
        alive: true,
      };
      this.#processes[serial] = process;
    }
    return process;
  }

  #label(path: string): Label {
    let label = this.#paths.get(path);
    if (!label) {
      label = { path, processes: 0 };
      this.#paths.set(path, label);
    }
    return label;
  }

  get uniquePaths(): number {
    return this.#paths.size;
  }

  /** The path that most processes have opened. */
  mostOpened(): { path: string; count: number } | undefined {
    let most: { path: string; count: number } | undefined;
    for (const { path, processes: count } of this.#paths.values()) if (!most || count > most.count) most = { path, count };
    return most;
  }
}

const compare = (a: bigint, b: bigint): number => (a < b ? -1 : a > b ? 1 : 0);

function asList(contents: Content | Content[] | undefined): Content[] {
  if (contents === undefined) return [];
  return Array.isArray(contents) ? contents : [contents];
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
