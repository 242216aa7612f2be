// One run of a command, from the start hook's processes to their end. Zig made them before main (in development:
// in `open`); here they are told what to do, their records are handed on, and their end is put into words.
import { closeSync, readFileSync } from "node:fs";
import { ToolError } from "../errors.ts";
import { escapeBytes } from "../text.ts";
import type { CapturedStream } from "../trace/observation.ts";
import * as abi from "./abi.gen.ts";
import { ControlBlock, type StartOptions } from "./control.ts";
import { RecordError } from "./decoder.ts";
import type { Event } from "./events.ts";
import { Library, splitStrings } from "./library.ts";
import { errnoName, errnoText, signalName } from "./names.ts";
import { cannotStart, knownObstacle, tracingImpossible } from "./obstacles.ts";
import { Rings } from "./ring.ts";
import {
  cannotBegin,
  endedEarly,
  failedAt,
  interruptedTwice,
  killedByProfile,
  mayBeThePlace,
  traceLost,
} from "./session-errors.ts";
import { hasChildren, readYama } from "./surroundings.ts";
import { Wakeups } from "./wakeups.ts";

export interface Outcome {
  /** Wait status. */
  commandStatus: number;
  /** 128 + n after signal n. */
  exitCode: number;
  signal?: string;
  /** The signal that somebody sent us. */
  interrupted?: string;
  startTime: bigint;
  endTime: bigint;
  survivorsKilled: number;
  stdout: CapturedStream;
  stderr: CapturedStream;
  features: string[];
  ringStalls: number;
}

/** Between a drain and the next wake-up: bounds the wake-ups, and the ring absorbs what comes meanwhile (bunzig.md 1). */
const restMs = 1.5;

type State = "open" | "started" | "over";

export class Session {
  readonly #library: Library;
  readonly #control: ControlBlock;
  readonly #rings: Rings;
  #state: State = "open";
  #argvIndex = 0;
  #workingDirectory: Uint8Array | undefined;
  /** As the kernel gave them to us. */
  readonly argv: Uint8Array[];
  readonly environment: Uint8Array[];

  /** `argv` stands in for the process's own, in development only. */
  static open(argv?: Uint8Array[]): Session {
    return new Session(new Library(), argv);
  }

  private constructor(library: Library, argv: Uint8Array[] | undefined) {
    if (library.layoutHash() !== abi.layoutHash) {
      throw new ToolError("library-mismatch", "the tracer and the rest of the program are not of the same build");
    }
    this.#library = library;
    const errno = library.builtin ? library.open(none, none) : openInDevelopment(library, argv);
    if (errno !== 0) throw cannotBegin(-errno);
    const memory = library.mapping();
    this.#control = new ControlBlock(memory);
    this.#rings = new Rings(memory, this.#control.ringCount, this.#control.realtimeOffset, ring => library.wakeWriter(ring));
    this.argv = library.argv();
    this.environment = library.environment();
  }

  /** Whether we were started with stdin, stdout or stderr. */
  wasOpen(descriptor: 0 | 1 | 2): boolean {
    return this.#control.wasOpen(descriptor);
  }

  start(options: StartOptions): void {
    if (this.#state !== "open") throw new Error("a session is started once");
    const obstacle = options.trace ? knownObstacle() : undefined;
    if (obstacle !== undefined) throw obstacle;
    this.#argvIndex = options.argvIndex;
    this.#workingDirectory = options.workingDirectory;
    this.#control.write(options);
    for (const secret of options.secrets) {
      if (!this.#library.addSecret(secret)) throw new ToolError("internal", "a secret value cannot be looked for in the output");
    }
    if (!this.#library.start(options.captureLimit, options.stdoutToStderr)) {
      throw cannotStart(this.#library);
    }
    this.#state = "started";
  }

  /** The command will not be started. Nothing happens if it was, or if this was said before. */
  cancel(): void {
    if (this.#state !== "open") return;
    this.#library.cancel();
    this.#state = "over";
  }

  /** Hands on every record in order; resolves when nothing of the build is alive and its output has been passed on. */
  async run(onEvent: (event: Event) => void): Promise<Outcome> {
    if (this.#state !== "started") throw new Error("run follows start");
    const wakeups = new Wakeups(this.#control.eventDescriptor);
    try {
      await this.#runToEnd(onEvent, wakeups);
    } catch (error) {
      // Whatever it was, there will be no record: nothing may go on unwatched.
      const isTwice = this.#control.killAll;
      this.#library.killAll();
      await this.#until(() => this.#control.tracerGone, wakeups);
      if (isTwice) throw interruptedTwice(signalName(this.#control.firstSignal), !hasChildren());
      throw error instanceof RecordError ? traceLost(error) : error;
    } finally {
      wakeups.close();
      this.#library.finish();
      this.#state = "over";
      if (this.#control.tracerLeft) process.on("exit", closeOutput);
    }
    return this.#outcome();
  }

  async #runToEnd(onEvent: (event: Event) => void, wakeups: Wakeups): Promise<void> {
    const control = this.#control;
    while (true) {
      if (control.killAll) throw killedByPerson;
      // Before the drain: once the tracer is gone, no record can appear behind the head that is read then.
      const gone = control.tracerGone;
      this.#rings.drain(onEvent);
      if (gone) break;
      if (this.#rings.arm() && !control.tracerGone) await wakeups.next();
      this.#rings.disarm();
      if (!control.tracerGone) await rest();
    }
    this.#checkEnd();
    await this.#until(() => control.pumpDone || control.killAll, wakeups);
    if (control.killAll) throw killedByPerson;
  }

  /** The tracer is gone, and every record that it wrote has been read. */
  #checkEnd(): void {
    const control = this.#control;
    if (control.killAll) throw killedByPerson;
    const command = escapeBytes(this.argv[this.#argvIndex] ?? none);
    const directory = this.#workingDirectory === undefined ? "." : escapeBytes(this.#workingDirectory);
    if (control.phase === "failed") {
      const { errorStage: stage, errorErrno: errno } = control;
      // What the place forbids is found out by trying: an errno alone has many causes.
      throw (mayBeThePlace(stage, errno) && tracingImpossible(this.#library)) || failedAt(stage, errno, { command, directory });
    }
    if (control.phase !== "done") {
      const { tracerStatus: status } = control;
      throw (killedByProfile(status) && tracingImpossible(this.#library)) || endedEarly(status);
    }
    this.#rings.checkTotal(control.sequence);
    if (!this.#rings.finished) throw new RecordError("sequence-gap", "a ring did not end");
  }

  async #until(condition: () => boolean, wakeups: Wakeups): Promise<void> {
    while (!condition()) await wakeups.next();
  }

  #outcome(): Outcome {
    const control = this.#control;
    const status = control.commandStatus;
    const signal = status & 0x7f;
    return {
      commandStatus: status,
      exitCode: signal === 0 ? (status >> 8) & 0xff : 128 + signal,
      ...(signal === 0 ? {} : { signal: signalName(signal) }),
      ...(control.firstSignal === 0 ? {} : { interrupted: signalName(control.firstSignal) }),
      startTime: control.startedNs + control.realtimeOffset,
      endTime: control.endedNs + control.realtimeOffset,
      survivorsKilled: control.survivorsKilled,
      stdout: this.#stream(0),
      stderr: this.#stream(1),
      features: control.features,
      ringStalls: control.ringStalls,
    };
  }

  #stream(index: 0 | 1): CapturedStream {
    const { captured, length, redactions, sha256, lost, errno } = this.#library.stream(index);
    return {
      bytes: captured,
      sha256: sha256.toHex(),
      length: Number(length),
      redactions: Number(redactions),
      ...(errno === 0 ? {} : { undelivered: { bytes: Number(lost), error: errnoName(errno), reason: errnoText(errno) } }),
    };
  }

  /** What keeps other processes from our memory; asked now, not remembered from the start. */
  keyGuard(): { applied: boolean; dumpable: boolean; yamaPtraceScope: number } {
    const dumpable = this.#library.probe("dumpable") !== 0;
    return { applied: !dumpable, dumpable, yamaPtraceScope: readYama() ?? -1 };
  }

  /** Of one that a record handed over. The tracer waits while too many are open. */
  closeDescriptor(descriptor: number): void {
    this.#library.close(descriptor);
  }

  /** What goes out through this socket has said what it can say: the tracer need not look at it any more. */
  understood(inode: bigint): void {
    this.#control.understood(inode);
  }

  [Symbol.dispose](): void {
    if (this.#state === "started") this.#library.killAll();
    this.cancel();
  }
}

const none = new Uint8Array(0);
/** Inside of a session only: `run` puts it into words once all is over. */
const killedByPerson = new Error("killed by a second signal");

/**
 * Our very last act where the tracer is left behind: it shares our descriptors, and whoever reads our output would wait for
 * its end as well.
 */
function closeOutput(): void {
  for (const descriptor of [1, 2]) closeSync(descriptor);
}

const rest = () => new Promise<void>(resolve => setTimeout(resolve, restMs));

/** What the start hook has in the static binary: as bytes, from /proc. */
function openInDevelopment(library: Library, argv: Uint8Array[] | undefined): number {
  const own = argv ?? splitStrings(readFileSync("/proc/self/cmdline"));
  const words = Buffer.concat(own.flatMap(word => [word, Buffer.of(0)]));
  return library.open(words, readFileSync("/proc/self/environ"));
}
