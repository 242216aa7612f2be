// Observer of processes: who created whom, what each ran, how each ended.
//
// A process that has forked and not called exec runs its parent's image: it shows program, argv and digests of its
// parent as they were at the fork.
import type { CommandEndEvent, ExecEvent, ExitEvent, FileIdentity, ProcessEvent } from "../native/events.ts";
import type { Content, Contents, FileRecord } from "./contents.ts";
import {
  argumentBytes,
  argumentBytesMax,
  Budget,
  type Environment,
  Environments,
  firstArguments,
  keptBytesMax,
  noEnvironment,
} from "./exec-strings.ts";
import { belowRoot, isPseudo, isRegular } from "./file-types.ts";
import { exitStatus } from "./names.ts";
import type { DigestSet, EarlierImage } from "./observation.ts";

/** What a process runs; shared with the children that it forks. */
interface Image {
  program: string;
  programContent: Content;
  executableContent: Content;
  comm: string;
  argv: string[];
  cwd: string;
  root: string;
  environment: Environment;
  speculationVulnerable: boolean;
  time: bigint;
}

interface TracedProcess {
  serial: number;
  /** Serial of its creator; 0 for the command. */
  parent: number;
  pid: number;
  parentPid: number;
  image: Image | undefined;
  /** Its own earlier ones: what it has inherited by fork is not among them. */
  earlier: Image[];
  ownsImage: boolean;
  startTime: bigint;
  endTime: bigint | undefined;
  exitCode: number;
  exitSignal: string | undefined;
}

/** Its part of a ProcessObservation. */
export interface ProcessFacts {
  serial: number;
  pid: number;
  parentPid: number;
  program?: string;
  programDigest?: DigestSet;
  comm?: string;
  argv?: string[];
  executableDigest?: DigestSet;
  cwd?: string;
  root?: string;
  environment?: Uint8Array[];
  speculationVulnerable?: boolean;
  images: EarlierImage[];
  startTime: bigint;
  endTime?: bigint;
  exitCode: number;
  exitSignal?: string;
}

/** Earlier images of one process: a loop of exec is as long as somebody likes. */
const imagesMax = 10_000;
/** Of all processes. */
const allImagesMax = 500_000;

export interface ProcessesOptions {
  contents: Contents;
  /** The command's parent in the record. */
  frontEndPid: number;
  keepEnvironments: boolean;
  reportLimit: (process: number, what: string) => void;
  /** Bytes: of different environments, of arguments, and of both where each process repeats its own. */
  limits?: { kept?: number; repeated?: number; arguments?: number };
  /** What the kernel runs: for a script the interpreter. */
  executed?: (path: string, file: FileIdentity, content: Content, timeNs: bigint) => void;
  coreDumped?: (process: number, program: string) => void;
}

export class Processes {
  readonly #options: ProcessesOptions;
  /** By serial; serials are given in the order of creation. */
  readonly #processes: (TracedProcess | undefined)[] = [];
  readonly #pids = new Set<number>();
  readonly #environments: Environments;
  readonly #keptArguments: Budget;
  readonly #repeated: Budget;
  #images = 0;
  execs = 0;

  constructor(options: ProcessesOptions) {
    this.#options = options;
    const {
      kept = keptBytesMax,
      repeated = Number.POSITIVE_INFINITY,
      arguments: words = argumentBytesMax,
    } = options.limits ?? {};
    this.#environments = new Environments(kept);
    this.#keptArguments = new Budget(words);
    this.#repeated = new Budget(repeated);
  }

  onProcess(event: ProcessEvent): void {
    const parent = event.parent === 0 ? undefined : this.#processes[event.parent];
    this.#pids.add(event.pid);
    this.#processes[event.process] = {
      serial: event.process,
      parent: event.parent,
      pid: event.pid,
      parentPid: event.parent === 0 ? this.#options.frontEndPid : (parent?.pid ?? event.parentPid),
      image: parent?.image,
      earlier: [],
      ownsImage: false,
      startTime: event.timeNs,
      endTime: undefined,
      exitCode: 0,
      exitSignal: undefined,
    };
  }

  onExec(event: ExecEvent): void {
    this.execs++;
    const process = this.#processes[event.process];
    const image = this.#image(event);
    if (!process) throw new Error(`exec of process ${event.process}, which was never created`);
    if (process.image && process.ownsImage) {
      if (process.earlier.length < imagesMax && this.#images < allImagesMax) {
        process.earlier.push(process.image);
        this.#images++;
      } else this.#options.reportLimit(event.process, "images");
    }
    process.image = image;
    process.ownsImage = true;
  }

  onExit(event: ExitEvent): void {
    const process = this.#processes[event.process];
    if (!process) throw new Error(`exit of process ${event.process}, which was never created`);
    const { code, signal, isCoreDumped } = exitStatus(event.status);
    if (isCoreDumped) this.#options.coreDumped?.(event.process, process.image?.program ?? "");
    process.endTime = event.timeNs;
    process.exitCode = code;
    process.exitSignal = signal;
  }

  /** The command's own exit record says the same; it is the only one where the tracer lost the process to a group kill. */
  onCommandEnd(event: CommandEndEvent): void {
    const process = this.#processes[event.process];
    if (!process || process.endTime !== undefined) return;
    const { code, signal } = exitStatus(event.status);
    process.exitCode = code;
    process.exitSignal = signal;
  }

  pidOf(serial: number): number | undefined {
    return this.#processes[serial]?.pid;
  }

  /** 0 for the command. */
  parentOf(serial: number): number {
    return this.#processes[serial]?.parent ?? 0;
  }

  /** Whether a process of the build has or had this number. */
  isKnown(pid: number): boolean {
    return this.#pids.has(pid);
  }

  /** In the order of creation. Only when all digests are there. */
  *facts(): Generator<ProcessFacts> {
    for (const process of this.#processes) if (process) yield this.#affordable(factsOf(process), process.image);
  }

  #image(event: ExecEvent): Image {
    const { contents } = this.#options;
    const { sequence, process, timeNs, root } = event;
    const executable: FileRecord = {
      sequence,
      process,
      timeNs,
      file: event.executable,
      held: event.executableHeld,
      notHeld: event.executableNotHeld,
      heldErrno: event.executableHeldErrno,
      content: event.executableContent,
    };
    const program: FileRecord = {
      sequence,
      process,
      timeNs,
      file: event.program,
      held: event.programHeld,
      notHeld: event.programNotHeld,
      heldErrno: event.programHeldErrno,
      content: event.programContent,
    };
    // A process that is closed to us does not say what it runs.
    const executableContent = contents.asOpened(executable, event.executablePath || event.programPath);
    this.#options.executed?.(event.executablePath, event.executable, executableContent, timeNs);
    const isSameFile = event.program.device === event.executable.device && event.program.inode === event.executable.inode;
    if (isSameFile && event.programHeld >= 0) contents.closeDescriptor(event.programHeld);
    return {
      program: belowRoot(event.programPath === "" ? event.executablePath : event.programPath, root),
      programContent: isSameFile ? executableContent : this.#programContent(program, event.programPath),
      executableContent,
      comm: event.comm,
      argv: this.#arguments(event),
      cwd: belowRoot(event.cwd, root),
      root,
      environment: this.#environment(event),
      speculationVulnerable: event.speculationVulnerable,
      time: timeNs,
    };
  }

  /** `/proc/self/fd/N` and the like name no file of their own: the kernel's is what counts. */
  #programContent(record: FileRecord, path: string): Content {
    const { contents } = this.#options;
    if (record.held < 0 && record.notHeld !== "known_content" && (!isRegular(record.file) || isPseudo(record.file))) {
      return contents.unknown("gone");
    }
    return contents.asOpened(record, path);
  }

  #environment({ process, environment }: ExecEvent): Environment {
    if (!this.#options.keepEnvironments) return noEnvironment;
    const known = this.#environments.intern(environment);
    if (known === undefined) this.#options.reportLimit(process, "environments");
    return known ?? noEnvironment;
  }

  #arguments({ process, argv }: ExecEvent): string[] {
    if (this.#keptArguments.take(argumentBytes(argv))) return argv;
    this.#options.reportLimit(process, "arguments");
    return firstArguments(argv);
  }

  /** Without what would be too much in a record that repeats it with each process: all forks of a program have its words. */
  #affordable(facts: ProcessFacts, image: Image | undefined): ProcessFacts {
    if (image === undefined) return facts;
    if (!this.#repeated.take(argumentBytes(image.argv))) {
      this.#options.reportLimit(facts.serial, "arguments");
      facts.argv = firstArguments(image.argv);
    }
    if (!this.#repeated.take(image.environment.bytes)) {
      this.#options.reportLimit(facts.serial, "environments");
      facts.environment = [];
    }
    return facts;
  }
}

function factsOf(process: TracedProcess): ProcessFacts {
  const { serial, pid, parentPid, image, startTime, endTime, exitCode, exitSignal } = process;
  const facts: ProcessFacts = { serial, pid, parentPid, images: process.earlier.map(earlierImage), startTime, exitCode };
  if (endTime !== undefined) facts.endTime = endTime;
  if (exitSignal !== undefined) facts.exitSignal = exitSignal;
  if (!image) return facts;
  const { program, comm, argv, cwd, environment, speculationVulnerable } = image;
  Object.assign(facts, { program, comm, argv, cwd, environment: environment.variables, speculationVulnerable });
  facts.programDigest = image.programContent.digests;
  facts.executableDigest = image.executableContent.digests;
  if (image.root !== "") facts.root = image.root;
  return facts;
}

function earlierImage({ program, argv, executableContent, time }: Image): EarlierImage {
  return { program, argv, executableDigest: executableContent.digests, time };
}
