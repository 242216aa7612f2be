// Observer of files: which process opened what, with which content, and what it left behind.
//
// The rules stand in docs/command-run.md: readers get the content at their open, writers the content that they left.
// What is long-lived and large is kept once: paths are interned, contents shared.
import type {
  ExecEvent,
  ExitEvent,
  FileIdentity,
  InheritedEvent,
  OpenEvent,
  OverwriteEvent,
  ProcessEvent,
  SyscallEvent,
  UnmountEvent,
  WritersLeftEvent,
  WrittenEvent,
} from "../native/events.ts";
import { type Content, type Contents, isKnown } from "./contents.ts";
import { Budget } from "./exec-strings.ts";
import { addVersion, type FileFacts, factsOf, type ProcessFiles } from "./file-facts.ts";
import { FileFigures } from "./file-figures.ts";
import { applyFileOperation, emptyFileOps, isFileOperation, type NameChanges } from "./file-operations.ts";
import { belowRoot, fileKey, isDirectory, isRegular, opensForWriting, readsToo, truncates } from "./file-types.ts";
import type { ReportGap } from "./gaps.ts";
import { Inputs } from "./inputs.ts";
import { MadeNames } from "./made-names.ts";
import type { OutputFile, TraceFiles, UpperDirectory, WrittenInode } from "./observation.ts";
import { Overlays } from "./overlays.ts";
import { Reads, ReadsTable } from "./reads.ts";
import { UnwrittenLinks } from "./unwritten-links.ts";
import { byProcess, type OpenForWriting } from "./written-file.ts";
import { WrittenFiles } from "./written-files.ts";

interface Label {
  path: string;
  processes: number;
}

/** fileOps of the whole run. */
const operationsMax = 1_000_000;
const operationBytesMax = 128 << 20;
/** Paths of the whole run, and their text. */
const pathsMax = 500_000;
const pathBytesMax = 64 << 20;

export interface FilesOptions {
  contents: Contents;
  reportGap: ReportGap;
  keptMax?: number;
  pathsMax?: number;
  /** The tracer counts what is written. */
  countsWrites?: boolean;
}

export class Files {
  readonly #contents: Contents;
  readonly #reportGap: ReportGap;
  readonly #overlays: Overlays;
  #uppers: readonly UpperDirectory[] = [];
  readonly #written: WrittenFiles;
  readonly #inputs = new Inputs(
    file => this.#written.get(file),
    path => this.#made.originOf(path),
    (path, file) => this.#overlays.mayHold(path, file),
  );
  readonly #processes: (ProcessFiles | undefined)[] = [];
  /** One copy of each path, and how many processes have opened it. */
  readonly #paths = new Map<string, Label>();
  readonly #changes: NameChanges;
  readonly #made = new MadeNames(() => this.#reportGap("limit", 0, "names made by links and renames"));
  readonly #links = new UnwrittenLinks(() => this.#reportGap("limit", 0, "files with hard links"));
  /** Written files that we cannot read. */
  readonly #unreadOutputs = new Map<string, WrittenInode>();
  /** Files whose times were set: they say nothing about when they were written. */
  readonly #timesSet = new Set<string>();
  /** Written files that somebody has had a writable map of. */
  readonly #mappedFiles = new Set<string>();
  #operations = 0;
  readonly #operationBytes = new Budget(operationBytesMax);
  readonly #readsTable = new ReadsTable();
  #last: { serial: number; facts: FileFacts } | undefined;
  readonly #countsWrites: boolean;
  readonly #pathsMax: number;
  #pathBytes = 0;
  failedOpens = 0;

  constructor(options: FilesOptions) {
    this.#contents = options.contents;
    this.#reportGap = options.reportGap;
    this.#overlays = new Overlays(options.reportGap);
    this.#countsWrites = options.countsWrites ?? false;
    this.#pathsMax = options.pathsMax ?? pathsMax;
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
    const process = this.#process(event.process);
    process.alive = false;
    process.reads.pack();
    this.#written.ended(event.process);
    this.#contents.unmapped(event.process);
  }

  onOpen(event: OpenEvent): void {
    const process = this.#process(event.process);
    process.root = event.root;
    this.#openedAs(process, event, belowRoot(event.path, event.root));
  }

  onInherited(event: InheritedEvent): void {
    if (!isRegular(event.file)) {
      if (event.held >= 0) this.#contents.closeDescriptor(event.held);
      return; // sockets are the network's; terminals, pipes and devices are no files of the build
    }
    this.#openedAs(this.#process(event.process), event, event.path);
  }

  onWritersLeft({ held, unknown }: WritersLeftEvent): void {
    this.#written.writersLeft(held, unknown ? "unknown" : "somebody");
  }

  onUnmount({ held, unknown }: UnmountEvent): void {
    this.#written.unmounting(held, { isCertain: !unknown });
  }

  onOverwrite(event: OverwriteEvent): void {
    const content = this.#contents.beforeOverwrite(event, event.path);
    if (content) this.#written.openedForReading(event.file, content);
  }

  onSyscall(event: SyscallEvent): void {
    if (event.name === "mmap" || event.name === "mmap2") {
      this.#mapped(event);
    } else if (event.name === "memfd_create") {
      for (const item of event.items) if (item.kind === "descriptor") this.#inputs.madeInMemory(item.file);
    } else if (event.name === "mount" || event.name === "fsconfig") {
      this.#overlays.onSyscall(event);
    } else if (isFileOperation(event.name)) {
      const process = this.#process(event.process);
      if (++this.#operations > operationsMax || !this.#operationBytes.take(textLength(event))) {
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

  /** What the process has written to the file, so far or once more. */
  onWritten(event: WrittenEvent): void {
    const process = this.#process(event.process);
    const file = this.#written.latest(event) ?? belowRoot(event.path, process.root);
    process.bytes ??= new Map();
    const known = process.bytes.get(file);
    if (known) known.bytes += event.bytes;
    else process.bytes.set(file, { bytes: event.bytes, timeNs: event.firstTimeNs });
  }

  onExec(event: ExecEvent): void {
    this.#contents.unmapped(event.process);
  }

  /** The kernel has read a program or an interpreter; an exec is no open. */
  executed(path: string, file: FileIdentity, content: Content, timeNs: bigint): void {
    this.#inputs.opened(path, file, content, timeNs);
  }

  /** What came from outside and what was made. After `finish`, once. */
  takeFiles(): TraceFiles {
    const outputs = new Map<string, OutputFile>();
    for (const process of this.#processes) {
      for (const { file } of [...(process?.writers.values() ?? [])].flat()) {
        const names = this.#written.names.of(file);
        const paths = names.length > 0 ? names : [this.#written.names.last(file)];
        for (const path of paths)
          if (names.length > 0 || !outputs.has(path)) outputs.set(path, { path, present: names.length > 0 });
      }
    }
    return {
      inputs: this.#inputs.takeList(() => this.#leftThroughOverlays()),
      outputs: [...outputs.values()],
      written: this.#writtenInodes(),
      made: this.#made.paths(),
      uppers: this.#uppers,
    };
  }

  *#leftThroughOverlays(): Iterable<Content> {
    for (const file of this.#written.all()) {
      if (file.overlay) for (const { left } of byProcess.list(file.writers)) if (left) yield left;
    }
  }

  #writtenInodes(): Map<string, WrittenInode> {
    const inodes = new Map<string, WrittenInode>(this.#unreadOutputs);
    for (const file of this.#written.all()) {
      const { left, leftState: state } = byProcess.get(file.writers, file.lastWriter) ?? {};
      const isVague = file.remote || this.#mappedFiles.has(file.key);
      const isSure = left && state && isKnown(left) && !isVague;
      inodes.set(file.key, {
        ...(isSure ? { left: { digests: left.digests, state } } : {}),
        ...(isVague || this.#timesSet.has(file.key) ? {} : { before: file.before }),
      });
    }
    return inodes;
  }

  /** After the last event: digests what is still open and waits for all digests. */
  async finish(): Promise<void> {
    const { digester } = this.#contents;
    this.#written.endAll();
    await digester.idle();
    this.#written.checkEnds();
    await digester.idle();
    this.#contents.release();
    this.#uppers = this.#overlays.finish();
  }

  /** Only after `finish`. Made when it is asked for, and only the last one is kept: together they are most of a large run. */
  factsOf(serial: number): FileFacts {
    if (this.#last?.serial !== serial) this.#last = { serial, facts: factsOf(this.#process(serial), this.#written.names) };
    return this.#last.facts;
  }

  /** Over all processes; only after `finish`. */
  figures(): FileFigures {
    const figures = new FileFigures();
    for (const process of this.#processes) if (process) figures.add(process, one => factsOf(one, this.#written.names));
    return figures;
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
      if (obstacle === "unreadable" || obstacle === "too-large") {
        process.unreadWrites ??= new Map();
        if (!process.unreadWrites.has(label.path)) process.unreadWrites.set(label.path, event.timeNs);
        this.#unreadOutputs.set(fileKey(event.file), {});
        this.#written.replaced(event.file);
      }
      return;
    }
    this.#addWriter(
      process,
      label,
      {
        sequence: event.sequence,
        process: event.process,
        timeNs: event.timeNs,
        file: event.file,
        path: event.path,
        truncated: truncates(flags),
        sizeBefore: event.kind === "open" ? event.sizeBefore : undefined,
        held: event.held,
        nameless,
      },
      readsToo(flags),
    );
  }

  /** `reads`: through the same descriptor. */
  #addWriter(process: ProcessFiles, label: Label, open: OpenForWriting, reads: boolean): void {
    const { path } = label;
    if (process.reads.get(path) === undefined) {
      process.reads.set(path, []);
      label.processes++;
    }
    const writers = process.writers.get(path);
    const isFirst = this.#written.get(open.file) === undefined;
    const writer = this.#written.opened(open);
    for (const name of this.#links.take(open.file)) this.#written.names.link(writer.file, name);
    this.#inputs.openedForWriting(open, writer, { isFirst, reads });
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
    const contents = Array.isArray(known) ? known : [known];
    if (contents !== known) process.reads.set(path, contents);
    if (!addVersion(contents, content)) this.#reportGap("limit", serial, `contents of ${path}`);
  }

  /** A shared map that can be written, or made so: stores through it leave no trace in ctime. */
  #mapped(event: SyscallEvent): void {
    if (event.result < 0n && event.result >= -4095n) return;
    for (const item of event.items) {
      if (item.kind !== "descriptor" || item.writable !== true) continue;
      this.#contents.mapped(item.file, event.process, event.timeNs);
      this.#mappedFiles.add(fileKey(item.file));
    }
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
        this.#made.renamed(oldPath, newPath, !file || isDirectory(file));
        if (!file || isDirectory(file)) this.#overlays.renamed(oldPath, newPath);
        if (file && isDirectory(file)) {
          names.moveBelow([[oldPath, newPath]]);
          this.#links.names.moveBelow([[oldPath, newPath]]);
        } else {
          dropped(names.rename(oldPath, newPath, at(file)));
          this.#links.renamed(oldPath, newPath, file);
        }
      },
      exchanged: (a, b) => {
        this.#made.exchanged(a, b);
        this.#overlays.exchanged(a, b);
        names.exchange(a, b);
        this.#links.names.exchange(a, b);
      },
      linked: (path, file, oldPath) => {
        const linked = at(file) ?? names.at(oldPath);
        if (linked) names.link(linked, path);
        else if (file && isRegular(file)) this.#links.linked(file, oldPath, path);
        this.#made.linked(oldPath, path);
      },
      made: path => this.#made.add(path),
      removed: (path, file) => {
        this.#made.removed(path);
        this.#overlays.removed(path);
        this.#links.removed(path);
        const gone = names.unlink(path);
        // It still has links that we have not seen being made.
        if (!(file && file.links > 1)) dropped(gone, file);
      },
      timesSet: file => {
        this.#contents.touched(file, "after");
        this.#inputs.timesSet(file);
        this.#timesSet.add(fileKey(file));
      },
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
        reads: new Reads(this.#readsTable),
        isPlain: undefined,
        opened: undefined,
        writers: new Map(),
        unreadWrites: undefined,
        root: "",
        ops: undefined,
        parent: 0,
        created: 0,
        children: [],
        alive: true,
        countsWrites: this.#countsWrites,
        bytes: undefined,
      };
      this.#processes[serial] = process;
    }
    return process;
  }

  #openedAs(process: ProcessFiles, event: OpenEvent | InheritedEvent, path: string): void {
    const flags = Number(event.flags);
    const label = this.#label(path) ?? this.#labelOfWritten(event.file);
    if (label) this.#opened(process, event, label, flags, event.header.deleted);
    else this.#openedUnrecorded(event, flags);
  }

  /** Undefined: there are too many. */
  #label(path: string): Label | undefined {
    const known = this.#paths.get(path);
    if (known) return known;
    if (this.#paths.size >= this.#pathsMax || this.#pathBytes + path.length > pathBytesMax) return undefined;
    const label = { path, processes: 0 };
    this.#paths.set(path, label);
    this.#pathBytes += path.length;
    return label;
  }

  /** A file whose digests we owe is followed under whatever name. */
  #labelOfWritten(file: FileIdentity): Label | undefined {
    const written = this.#written.get(file);
    return written && this.#paths.get(this.#written.names.last(written));
  }

  #openedUnrecorded({ process, file, held }: OpenEvent | InheritedEvent, flags: number): void {
    this.#reportGap("limit", process, "paths");
    if (opensForWriting(flags)) this.#contents.touchedIfKnown(file, truncates(flags) ? "after" : "before");
    if (held >= 0) this.#contents.closeDescriptor(held);
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

function textLength({ items }: SyscallEvent): number {
  let length = 0;
  for (const item of items) if (item.kind === "path") length += item.path.length;
  return length;
}
