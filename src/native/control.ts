// The control block (`Control` in zig/abi.zig): what front end and tracer tell each other, each word written by
// one side. Words that the other side changes are read with Atomics.
import { ToolError } from "../errors.ts";
import * as abi from "./abi.gen.ts";

export interface StartOptions {
  trace: boolean;
  traceDetail: abi.Detail;
  /** Of the command's first word in `argv`. */
  argvIndex: number;
  workingDirectory: Uint8Array | undefined;
  graceMs: number;
  /** Bytes of each stream. */
  captureLimit: number;
  secrets: Uint8Array[];
  /** The command's stdout goes to our stderr. */
  stdoutToStderr: boolean;
  /** Inherited descriptors that the command does not get. */
  withheldDescriptors: number[];
  allowIoUring: boolean;
}

const withheldMax = (abi.Control.reservedFront - abi.Control.withheldDescriptors) / 4;

export class ControlBlock {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #words: Int32Array;
  readonly #longs: BigUint64Array;

  constructor(memory: ArrayBuffer) {
    this.#bytes = new Uint8Array(memory, 0, abi.controlSize);
    this.#view = new DataView(memory, 0, abi.controlSize);
    this.#words = new Int32Array(memory, 0, abi.controlSize / 4);
    this.#longs = new BigUint64Array(memory, 0, abi.controlSize / 8);
  }

  #load(offset: number): number {
    return Atomics.load(this.#words, offset / 4);
  }

  get ringCount(): number {
    return this.#view.getUint32(abi.Control.ringCount, true);
  }

  get realtimeOffset(): bigint {
    return this.#view.getBigInt64(abi.Control.realtimeOffsetNs, true);
  }

  get eventDescriptor(): number {
    return this.#view.getInt32(abi.Control.eventDescriptor, true);
  }

  /** Whether descriptor 0, 1 or 2 was open when the process started. */
  wasOpen(descriptor: 0 | 1 | 2): boolean {
    return (this.#view.getUint32(abi.Control.initialStdio, true) & (1 << descriptor)) !== 0;
  }

  /** What Zig decides itself (the stdio words) is not written here. */
  write(options: StartOptions): void {
    const view = this.#view;
    const directory = options.workingDirectory ?? new Uint8Array(0);
    // The last byte stays 0.
    if (directory.length >= abi.pathMax)
      throw new ToolError("working-directory", "the path of the working directory is too long");
    if (options.withheldDescriptors.length > withheldMax) throw new ToolError("internal", "too many descriptors to withhold");
    view.setUint32(abi.Control.trace, options.trace ? 1 : 0, true);
    view.setUint32(abi.Control.traceDetail, abi.Detail[options.traceDetail], true);
    view.setUint32(abi.Control.argvIndex, options.argvIndex, true);
    view.setUint32(abi.Control.graceMs, options.graceMs, true);
    view.setUint32(abi.Control.allowIoUring, options.allowIoUring ? 1 : 0, true);
    view.setUint32(abi.Control.workingDirectoryLength, directory.length, true);
    this.#bytes.set(directory, abi.Control.workingDirectory);
    options.withheldDescriptors.forEach((descriptor, i) => {
      view.setInt32(abi.Control.withheldDescriptors + 4 * i, descriptor, true);
    });
  }

  get phase(): abi.Phase | undefined {
    return abi.phaseNames[this.#load(abi.Control.phase)];
  }

  get commandStatus(): number {
    return this.#load(abi.Control.commandStatus);
  }

  get errorStage(): abi.Stage {
    return abi.stageNames[this.#load(abi.Control.errorStage)] ?? "none";
  }

  get errorErrno(): number {
    return this.#load(abi.Control.errorErrno);
  }

  get features(): abi.Feature[] {
    const bits = this.#load(abi.Control.features);
    return Object.values(abi.Feature).flatMap(bit => {
      const name = abi.featureNames[bit];
      return name !== undefined && (bits & (1 << bit)) !== 0 ? [name] : [];
    });
  }

  /** The inode first: the count says that it is there. */
  understood(inode: bigint): void {
    const count = this.#load(abi.Control.understoodCount) >>> 0;
    const slot = (abi.Control.understood + 8 * (count % abi.understoodMax)) / 8;
    Atomics.store(this.#longs, slot, inode);
    Atomics.add(this.#words, abi.Control.understoodCount / 4, 1);
  }

  get ringStalls(): number {
    return this.#load(abi.Control.ringStalls) >>> 0;
  }

  get survivorsKilled(): number {
    return this.#load(abi.Control.survivorsKilled) >>> 0;
  }

  get startedNs(): bigint {
    return this.#view.getBigUint64(abi.Control.startedNs, true);
  }

  get endedNs(): bigint {
    return this.#view.getBigUint64(abi.Control.endedNs, true);
  }

  /** Number of records that were published. */
  get sequence(): number {
    return Number(this.#view.getBigUint64(abi.Control.sequence, true));
  }

  get firstSignal(): number {
    return this.#load(abi.Control.firstSignal);
  }

  get killAll(): boolean {
    return this.#load(abi.Control.killAll) !== 0;
  }

  /** It hangs in the kernel, on a file server that does not answer: we end without it. */
  get tracerLeft(): boolean {
    return this.#load(abi.Control.tracerGone) === 2;
  }

  get tracerGone(): boolean {
    return this.#load(abi.Control.tracerGone) !== 0;
  }

  /** Wait status of the tracer process. */
  get tracerStatus(): number {
    return this.#load(abi.Control.tracerStatus);
  }

  get pumpDone(): boolean {
    return this.#load(abi.Control.pumpDone) !== 0;
  }
}
