// The outfile of a large record, written by a thread while the record is still being made (envelope-worker.ts). Only where
// there is a temporary file that nobody sees before it is renamed: what has been written to a stream cannot be taken back when there is
// no signature in the end.
import { closeSync } from "node:fs";
import { envelopeStart } from "../attestation/envelope.ts";
import { workerUrl } from "../worker-url.ts";
import type { FromEnvelopeWorker, ToEnvelopeWorker } from "./envelope-worker.ts";
import { attempt, type BegunOutfile, beginOutfile, type Outfile, unwritableBecause, type Written } from "./outfile.ts";
import type { Spool } from "./spool.ts";
import { writeAll } from "./write-all.ts";

/** The thread is told of so many bytes at once. */
const toldAtATime = 3 << 20;

interface Begun {
  readonly file: BegunOutfile;
  readonly worker: Worker;
  readonly answer: Promise<FromEnvelopeWorker>;
}

export class EnvelopeAhead {
  readonly #spool: Spool;
  readonly #outfile: Outfile;
  #begun: Begun | undefined;
  #told = 0;

  constructor(spool: Spool, outfile: Outfile) {
    this.#spool = spool;
    this.#outfile = outfile;
  }

  /** Whether the outfile has been begun: then `finish` has to be called in the place of `writeOutfile`. */
  get isBegun(): boolean {
    return this.#begun !== undefined;
  }

  /** There is more in the spool. Nothing happens while that is small. */
  advance(): void {
    const { length, descriptor } = this.#spool;
    if (descriptor === undefined || length < this.#told + toldAtATime) return;
    this.#begun ??= this.#begin(descriptor);
    this.#told = length;
    if (this.#begun) tell(this.#begun.worker, { kind: "more", length });
  }

  /** The payload is whole. */
  end(): void {
    if (this.#begun) tell(this.#begun.worker, { kind: "end", length: this.#spool.length });
  }

  /** `rest`: what comes behind the payload. Throws what `writeOutfile` would throw. */
  async finish(rest: Uint8Array): Promise<Written> {
    const { file, answer } = this.#begun ?? never();
    const { shown } = file;
    const result = await answer;
    if (result.kind === "failed") throw unwritableBecause(shown, Object.assign(new Error(result.message), { code: result.code }));
    const written = attempt(shown, () => {
      writeAll(file.descriptor, rest);
      return file.finish();
    });
    this.#begun?.worker.terminate();
    this.#begun = undefined;
    return written;
  }

  /** Without `finish` nothing is left behind. */
  [Symbol.dispose](): void {
    this.#begun?.worker.terminate();
    this.#begun?.file.abandon();
    this.#begun = undefined;
  }

  #begin(spool: number): Begun | undefined {
    if (this.#outfile.kind !== "file") return undefined;
    const file = beginOutfile(this.#outfile);
    try {
      writeAll(file.descriptor, envelopeStart);
    } catch (error) {
      closeSync(file.descriptor);
      file.abandon();
      throw error;
    }
    const worker = new Worker(workerUrl("commands/envelope-worker"));
    const answer = new Promise<FromEnvelopeWorker>(resolve => {
      worker.onmessage = (event: MessageEvent<FromEnvelopeWorker>) => resolve(event.data);
      worker.onerror = event => resolve({ kind: "failed", code: "", message: `its thread failed: ${event.message}` });
    });
    tell(worker, { kind: "begin", spool, outfile: file.descriptor });
    return { file, worker, answer };
  }
}

function tell(worker: Worker, message: ToEnvelopeWorker): void {
  worker.postMessage(message);
}

function never(): never {
  throw new Error("an outfile that was not begun");
}
