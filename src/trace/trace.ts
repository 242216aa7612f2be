// One traced run: gives every event, in order, to the observers, and at the end puts what they know together. Observers
// do not know each other; what two of them need is passed in here.
import { release } from "node:os";
import type { HolesLeft } from "../file-limits.ts";
import * as abi from "../native/abi.gen.ts";
import type { Event } from "../native/events.ts";
import { Gaps } from "./completeness.ts";
import { Contents } from "./contents.ts";
import { coreGap } from "./core-dumps.ts";
import { DetachedMounts } from "./detached-mounts.ts";
import type { HashName } from "./digest-file.ts";
import { Digester } from "./digester.ts";
import { repeatedBytesMax } from "./exec-strings.ts";
import type { FileFigures } from "./file-figures.ts";
import { Files } from "./files.ts";
import { type KeyFile, KeyFiles } from "./key-files.ts";
import { Network } from "./network.ts";
import type { Hex, ProcessObservation, TraceFiles, TraceObservation, Undelivered } from "./observation.ts";
import { FilesOfProcess } from "./observed-process.ts";
import { OutsideOpens } from "./outside-opens.ts";
import { createPeerFinder } from "./peers.ts";
import { Processes, type ProcessesOptions, type ProcessFacts } from "./processes.ts";
import { Syscalls } from "./syscalls.ts";
import { Terminals } from "./terminals.ts";

export type { HashName } from "./digest-file.ts";

export interface TraceOptions {
  hashes: readonly HashName[];
  /** Closes a descriptor that the tracer has handed over, and lets the tracer know. */
  closeDescriptor: (descriptor: number) => void;
  /** What the record says about the tracer; for tests, since the defaults are the truth. */
  kernelRelease?: string;
  ignoredSyscalls?: Hex;
  /** What the tracer was told to watch. */
  detail?: abi.Detail;
  /** Parent of the command in the record: this process. */
  frontEndPid?: number;
  /** Environments are large, and only the environment attestor's run records them. */
  keepEnvironments?: boolean;
  /** The record repeats them with each process. */
  repeatsEnvironments?: boolean;
  /** The tracer need not watch what goes out through this socket any more. */
  onUnderstood?: (inode: bigint) => void;
  /** The digest threads outlive `finish`, since they have more to do: whoever wants that disposes of the trace. */
  keepThreads?: boolean;
  /** Signing key and passphrase: no process of the build should read them. */
  keyFiles?: readonly KeyFile[];
  /** `MAKEFLAGS=…` of the command. */
  makeFlags?: string | undefined;
  /** What others of this run take from, too. */
  holes?: HolesLeft;
  /** For tests. */
  limits?: { keptMax?: number; pathsMax?: number; threads?: number; remoteLimitMs?: number; words?: ProcessesOptions["limits"] };
}

/** What the trace needs to know about the end of the run. */
export interface TraceOutcome {
  features: readonly string[];
  survivorsKilled: number;
  /** Name of the signal that we were sent. */
  interrupted?: string | undefined;
  stdout?: { undelivered?: Undelivered };
  stderr?: { undelivered?: Undelivered };
}

export class Trace {
  readonly #options: TraceOptions;
  readonly #gaps = new Gaps();
  readonly #digester: Digester;
  readonly #processes: Processes;
  readonly #files: Files;
  readonly #keyFiles: KeyFiles;
  readonly #syscalls: Syscalls;
  readonly #network: Network;
  readonly #outsideOpens: OutsideOpens;
  readonly #terminals: Terminals;
  readonly #detachedMounts: DetachedMounts;
  #survivors = 0;
  #traceFiles: TraceFiles = { inputs: [], outputs: [], written: new Map(), made: new Set(), uppers: [] };

  constructor(options: TraceOptions) {
    this.#options = options;
    const { hashes, closeDescriptor, frontEndPid = process.pid, limits = {} } = options;
    const { keptMax, pathsMax, words, ...digesterLimits } = limits;
    const reportGap = this.#gaps.report;
    const reportLimit = (process: number, what: string) => reportGap("limit", process, what);
    const pidOf = (process: number) => this.#processes.pidOf(process);
    this.#digester = new Digester({
      hashes,
      ...(options.holes === undefined ? {} : { holes: options.holes }),
      ...digesterLimits,
    });
    const keyFiles = new KeyFiles(options.keyFiles ?? [], reportGap);
    this.#keyFiles = keyFiles;
    const onContent: KeyFiles["onContent"] = (sha256, size, process, path) => keyFiles.onContent(sha256, size, process, path);
    const contents = new Contents({ digester: this.#digester, hashes, closeDescriptor, reportGap, onContent });
    const countsWrites = options.detail === "full";
    this.#files = new Files({
      contents,
      reportGap,
      countsWrites,
      ...(keptMax === undefined ? {} : { keptMax }),
      ...(pathsMax === undefined ? {} : { pathsMax }),
    });
    const keepEnvironments = options.keepEnvironments ?? true;
    const executed: Files["executed"] = (path, file, content, timeNs) => this.#files.executed(path, file, content, timeNs);
    const wordLimits = words ?? (options.repeatsEnvironments ? { repeated: repeatedBytesMax } : {});
    const coreDumped = (process: number, program: string) => reportGap(coreGap(), process, program);
    this.#processes = new Processes({
      contents,
      frontEndPid,
      keepEnvironments,
      reportLimit,
      limits: wordLimits,
      executed,
      coreDumped,
    });
    this.#syscalls = new Syscalls({ reportLimit, pidOf });
    const others = {
      reportGap,
      isTraced: (pid: number) => this.#processes.isKnown(pid),
      findPeer: createPeerFinder(this.#digester, hashes),
    };
    this.#outsideOpens = new OutsideOpens({ ...others, makeFlags: options.makeFlags });
    this.#terminals = new Terminals(reportGap);
    const parentOf = (process: number) => this.#processes.parentOf(process);
    this.#detachedMounts = new DetachedMounts({ reportGap, parentOf });
    this.#network = new Network({
      ...others,
      parentOf,
      ...(options.onUnderstood ? { onUnderstood: options.onUnderstood } : {}),
    });
  }

  onEvent(event: Event): void {
    if (event.header.truncated || event.header.unreadable) this.#gaps.onFlags(event);
    switch (event.kind) {
      case "open":
        this.#files.onOpen(event);
        this.#keyFiles.onOpen(event);
        this.#syscalls.onOpen(event);
        this.#outsideOpens.onOpen(event);
        this.#terminals.onOpen(event);
        this.#detachedMounts.onOpen(event);
        return;
      case "syscall":
        this.#files.onSyscall(event);
        this.#syscalls.onSyscall(event);
        this.#detachedMounts.onSyscall(event);
        this.#network.onSyscall(event);
        return;
      case "process":
        this.#processes.onProcess(event);
        this.#files.onProcess(event);
        return;
      case "exec":
        this.#processes.onExec(event);
        this.#files.onExec(event);
        return;
      case "written":
        this.#files.onWritten(event);
        return;
      case "exit":
        this.#processes.onExit(event);
        this.#files.onExit(event);
        return;
      case "inherited":
        this.#files.onInherited(event);
        this.#keyFiles.onOpen(event);
        this.#syscalls.onInherited(event);
        this.#network.onInherited(event);
        this.#outsideOpens.onInherited(event);
        this.#terminals.onInherited(event);
        return;
      case "writers_left":
        this.#files.onWritersLeft(event);
        return;
      case "unmount":
        this.#files.onUnmount(event);
        return;
      case "overwrite":
        this.#files.onOverwrite(event);
        return;
      case "gap":
        if (event.gap === "survivor_killed") this.#survivors++;
        this.#gaps.onGap(event);
        return;
      case "command_end":
        this.#processes.onCommandEnd(event);
        return;
      case "traffic":
        this.#network.onTraffic(event);
    }
  }

  /** What the build took from outside and what it made; after `finish`. */
  get files(): TraceFiles {
    return this.#traceFiles;
  }

  get digester(): Digester {
    return this.#digester;
  }

  /** Ends the digest threads; without `keepThreads` `finish` has done it. */
  [Symbol.dispose](): void {
    this.#digester[Symbol.dispose]();
  }

  /** After the last event. Throws if digests were lost: then there is nothing to sign. */
  async finish(outcome: TraceOutcome): Promise<TraceObservation> {
    try {
      await this.#files.finish();
    } finally {
      if (!this.#options.keepThreads) this.#digester[Symbol.dispose]();
    }
    this.#network.finish();
    this.#outsideOpens.finish();
    for (let i = this.#survivors; i < outcome.survivorsKilled; i++) this.#gaps.report("survivor-killed", 0);
    for (const name of ["stdout", "stderr"] as const) {
      const lost = outcome[name]?.undelivered;
      if (lost !== undefined) this.#gaps.report("output-lost", 0, `${name}, ${lost.bytes} bytes or more (${lost.error})`);
    }
    if (outcome.interrupted !== undefined) this.#gaps.report("interrupted", 0, outcome.interrupted);
    this.#traceFiles = this.#files.takeFiles();
    const factsOf = (serial: number) => this.#files.factsOf(serial);
    const processes = Array.from(this.#processes.facts(), facts => this.#observed(facts, factsOf));
    const files = this.#files.figures();
    const { kernelRelease: kernel = release(), detail = "normal" } = this.#options;
    const { ignoredSyscalls = abi.ignoredSyscalls[detail] } = this.#options;
    const features = [...outcome.features];
    const tracer = { mode: "ptrace", detail, kernel, privileged: features.includes("privileged"), features, ignoredSyscalls };
    const pidOf = (process: number) => this.#processes.pidOf(process);
    const completeness = this.#gaps.finish(tracer, pidOf);
    return {
      processes,
      completeness,
      network: this.#network.summary(
        processes.map(({ serial }) => serial),
        completeness,
      ),
      totals: this.#totals(processes.length, files),
      outliers: this.#outliers(files),
      diagnostics: { unhashedOpensTotal: files.unhashedOpens },
      failedOpens: this.#files.failedOpens,
      paths: { opened: this.#files.uniquePaths, written: files.written.size },
    };
  }

  #observed(facts: ProcessFacts, factsOf: Files["factsOf"]): ProcessObservation {
    const { serial } = facts;
    return Object.assign(new FilesOfProcess(factsOf, serial), facts, {
      network: this.#network.factsOf(serial),
      syscallEvents: this.#syscalls.eventsOf(serial),
    });
  }

  #totals(processes: number, { reads, writes, renames, deletes }: FileFigures): Record<string, number> {
    return {
      processes,
      uniquePaths: this.#files.uniquePaths,
      reads,
      writes,
      renames,
      deletes,
      execs: this.#processes.execs,
      netEvents: this.#network.events,
    };
  }

  #outliers({ largestRead }: FileFigures): TraceObservation["outliers"] {
    const outliers: TraceObservation["outliers"] = { suspiciousOps: {} };
    const mostOpened = this.#files.mostOpened();
    if (largestRead) outliers.largestRead = largestRead;
    if (mostOpened) outliers.mostOpened = mostOpened;
    for (const [name, count] of this.#syscalls.counts()) if (suspiciousNames.has(name)) outliers.suspiciousOps[name] = count;
    return outliers;
  }
}

/** The calls that wire-formats 3.4 counts under this name. */
const suspiciousNames: ReadonlySet<string> = new Set(
  "ptrace mount memfd_create prctl setsid setns init_module finit_module clone clone3 mprotect kexec_load".split(" "),
);
