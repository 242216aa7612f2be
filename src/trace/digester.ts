// Digests off the critical path: hands descriptors to worker threads in batches and calls back with what they found.
// Threads share the descriptor table, so a descriptor is just a number here.
//
// Two kinds of lanes. Local files: one or two threads with several batches under way. Files of remote file systems
// (their server may be one of our own stopped tracees): a thread of its own, one file at a time, and a time limit; past
// it the thread is given up, since a read that hangs in the kernel cannot be called back.

import { availableParallelism } from "node:os";
import { type HolesLeft, holesLeft } from "../file-limits.ts";
import { workerUrl } from "../worker-url.ts";
import type { DigestJob, DigestResult, HashName } from "./digest-file.ts";
import type { FromWorker, ToWorker } from "./digest-worker.ts";

type Order = Omit<DigestJob, "id">;
type Done = (result: DigestResult) => void;

interface Job {
  job: DigestJob;
  bytes: number;
  done: Done;
}

interface Lane {
  worker: Worker;
  batches: number;
  jobs: Map<number, Job>;
}

const batchJobsMax = 32;
const batchBytesMax = 8 << 20;
/** One batch is worked on, the next one waits in the worker's inbox. */
const batchesMax = 2;
/** The second thread starts when this much waits for the first. */
const backlogJobs = 64;
const backlogBytes = 32 << 20;

export interface DigesterOptions {
  hashes: readonly HashName[];
  /** Of local files. */
  threads?: number;
  /** What others of this run take from, too. */
  holes?: HolesLeft;
  /** For a file on a remote file system: the fixed part, and one more for each 16 MiB. */
  remoteLimitMs?: number;
}

const remoteBytesPerLimit = 16 << 20;

export class Digester {
  readonly #hashes: readonly HashName[];
  readonly #threads: number;
  readonly #holes: HolesLeft;
  readonly #remoteLimitMs: number;
  readonly #lanes: Lane[] = [];
  #remoteLane: Lane | undefined;
  #queue: Job[] = [];
  /** Index of the queue's head: shifting an array of 100,000 for each job would be slow. */
  #head = 0;
  #queuedBytes = 0;
  readonly #remoteQueue: Job[] = [];
  #outstanding = 0;
  #nextId = 1;
  #idle: { resolve: () => void; reject: (error: unknown) => void }[] = [];
  #failure: unknown;
  #scheduled = false;

  constructor(options: DigesterOptions) {
    this.#hashes = options.hashes;
    this.#threads = options.threads ?? Math.min(2, availableParallelism());
    this.#holes = options.holes ?? holesLeft();
    this.#remoteLimitMs = options.remoteLimitMs ?? 10_000;
  }

  /** `done` is called exactly once, later, on this thread. `urgent`: a process of the build waits for it; before others. */
  digest(order: Order, file: { bytes: number; remote: boolean; urgent?: boolean }, done: Done): void {
    this.#outstanding++;
    if (this.#failure !== undefined) {
      queueMicrotask(() => this.#settle(done, { id: 0, kind: "unreadable", code: "EIO" }));
      return;
    }
    const job: Job = { job: { id: this.#nextId++, ...order }, bytes: file.bytes, done };
    if (file.remote) {
      this.#remoteQueue.push(job);
      this.#sendRemote();
      return;
    }
    if (file.urgent) this.#queue.splice(this.#head, 0, job);
    else this.#queue.push(job);
    this.#queuedBytes += job.bytes;
    if (this.#scheduled) return;
    // All that one drain of the ring brings goes into batches together.
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#send();
    });
  }

  get outstanding(): number {
    return this.#outstanding;
  }

  /** Resolves when every digest that was asked for is there, those asked for meanwhile included. */
  idle(): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (this.#outstanding === 0) return Promise.resolve();
    // The threads do not keep the process alive (an error may have left them behind), so the one who waits has to.
    const keepAlive = setInterval(() => {}, 1 << 30);
    const idle = new Promise<void>((resolve, reject) => this.#idle.push({ resolve, reject }));
    return idle.finally(() => clearInterval(keepAlive));
  }

  [Symbol.dispose](): void {
    for (const lane of this.#lanes) lane.worker.terminate();
    this.#remoteLane?.worker.terminate();
    this.#lanes.length = 0;
    this.#remoteLane = undefined;
  }

  #send(): void {
    while (this.#head < this.#queue.length) {
      const lane = this.#freeLane();
      if (!lane) return;
      const jobs: DigestJob[] = [];
      let bytes = 0;
      while (jobs.length < batchJobsMax && bytes < batchBytesMax) {
        const next = this.#queue[this.#head];
        if (!next) break;
        this.#head++;
        bytes += next.bytes;
        jobs.push(next.job);
        lane.jobs.set(next.job.id, next);
      }
      this.#queuedBytes -= bytes;
      lane.batches++;
      lane.worker.postMessage({ kind: "jobs", jobs } satisfies ToWorker);
    }
    this.#queue = [];
    this.#head = 0;
  }

  #freeLane(): Lane | undefined {
    let best: Lane | undefined;
    for (const lane of this.#lanes) if (lane.batches < batchesMax && (!best || lane.batches < best.batches)) best = lane;
    const waiting = this.#queue.length - this.#head;
    const isBehind = waiting > backlogJobs || this.#queuedBytes > backlogBytes;
    const mayStart = this.#lanes.length < this.#threads && (this.#lanes.length === 0 || isBehind);
    if (!mayStart || best?.batches === 0) return best;
    const lane: Lane = this.#startLane(results => {
      lane.batches--;
      for (const result of results) this.#finish(lane, result);
      this.#send();
    });
    this.#lanes.push(lane);
    return lane;
  }

  #sendRemote(): void {
    if (this.#remoteLane && this.#remoteLane.batches > 0) return;
    const next = this.#remoteQueue.shift();
    if (!next) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const lane: Lane =
      this.#remoteLane ??
      this.#startLane(results => {
        lane.batches--;
        for (const result of results) this.#finish(lane, result);
      });
    this.#remoteLane = lane;
    lane.jobs.set(next.job.id, {
      ...next,
      done: result => {
        clearTimeout(timer);
        next.done(result);
        queueMicrotask(() => this.#sendRemote());
      },
    });
    lane.batches++;
    lane.worker.postMessage({ kind: "jobs", jobs: [next.job] } satisfies ToWorker);
    const limit = this.#remoteLimitMs * (1 + Math.floor(next.bytes / remoteBytesPerLimit));
    timer = setTimeout(() => {
      lane.worker.terminate();
      this.#remoteLane = undefined;
      this.#finish(lane, { id: next.job.id, kind: "unreadable", code: "ETIMEDOUT" });
    }, limit);
  }

  #startLane(onResults: (results: FromWorker) => void): Lane {
    const worker = new Worker(workerUrl("trace/digest-worker"));
    worker.unref();
    worker.onmessage = (event: MessageEvent<FromWorker>) => {
      try {
        onResults(event.data);
      } catch (error) {
        this.#fail(error);
      }
    };
    worker.onerror = event => this.#fail(new Error(`the digest thread failed: ${event.message}`));
    worker.postMessage({ kind: "hashes", hashes: [...this.#hashes], holes: this.#holes } satisfies ToWorker);
    return { worker, batches: 0, jobs: new Map() };
  }

  #finish(lane: Lane, result: DigestResult): void {
    const job = lane.jobs.get(result.id);
    if (!job) return; // given up before
    lane.jobs.delete(result.id);
    this.#settle(job.done, result);
  }

  #settle(done: Done, result: DigestResult): void {
    done(result);
    this.#outstanding--;
    if (this.#outstanding > 0) return;
    const waiting = this.#idle;
    this.#idle = [];
    for (const { resolve } of waiting) resolve();
  }

  /**
   * Digests will be missing: nothing may be signed after this, and `idle` says so. All callers are answered, for they
   * hold descriptors that the tracer may be waiting for.
   */
  #fail(error: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    const lost = [...this.#queue.slice(this.#head), ...this.#remoteQueue];
    for (const lane of [...this.#lanes, this.#remoteLane]) if (lane) lost.push(...lane.jobs.values());
    this[Symbol.dispose]();
    this.#queue = [];
    this.#head = 0;
    this.#remoteQueue.length = 0;
    for (const { job, done } of lost) this.#settle(done, { id: job.id, kind: "unreadable", code: "EIO" });
    const waiting = this.#idle;
    this.#idle = [];
    for (const { reject } of waiting) reject(error);
  }
}
