// The development library's test functions (zig/testing.zig): rings without tracer and command, filled by real
// writer processes.
import { dlopen, type Pointer, FFIType as T, toArrayBuffer } from "bun:ffi";
import * as abi from "../src/native/abi.gen.ts";
import { developmentLibrary } from "../src/native/library.ts";
import { Rings } from "../src/native/ring.ts";
import { Wakeups } from "../src/native/wakeups.ts";

const { symbols } = dlopen(developmentLibrary(), {
  cilock_test_open: { args: [T.u32], returns: T.ptr },
  cilock_test_mapping: { args: [T.ptr], returns: T.ptr },
  cilock_test_wake_writer: { args: [T.ptr, T.u32], returns: T.void },
  cilock_test_writer: { args: [T.ptr, T.u32, T.u32, T.u32, T.u32, T.u32, T.u32], returns: T.i32 },
  cilock_test_alive: { args: [T.i32], returns: T.i32 },
  cilock_test_samples: { args: [T.ptr], returns: T.void },
});

export interface WriterOptions {
  ring: number;
  count: number;
  /** Longest text of a record, bytes. */
  textMax?: number;
  /** Records between two pauses; 0: none. */
  burst?: number;
  pauseMs?: number;
  /** Whether it says that it has ended. */
  end?: boolean;
}

export class TestRings {
  readonly #session: Pointer;
  readonly memory: ArrayBuffer;
  readonly rings: Rings;
  readonly #control: DataView;

  constructor(count: number) {
    const session = symbols.cilock_test_open(count);
    if (session === null) throw new Error("no memory for the rings");
    this.#session = Number(session) as Pointer;
    const mapping = symbols.cilock_test_mapping(session);
    if (mapping === null) throw new Error("no memory for the rings");
    const size = abi.controlSize + count * (abi.ringHeaderSize + abi.ringDataSize);
    this.memory = toArrayBuffer(Number(mapping) as Pointer, 0, size);
    this.#control = new DataView(this.memory);
    this.rings = new Rings(this.memory, count, 0n, ring => symbols.cilock_test_wake_writer(session, ring));
  }

  wakeups(): Wakeups {
    return new Wakeups(this.#control.getInt32(abi.Control.eventDescriptor, true));
  }

  get stalls(): number {
    return this.#control.getUint32(abi.Control.ringStalls, true);
  }

  /** A ring's data. */
  data(ring: number): DataView {
    const at = abi.controlSize + ring * (abi.ringHeaderSize + abi.ringDataSize) + abi.ringHeaderSize;
    return new DataView(this.memory, at, abi.ringDataSize);
  }

  header(ring: number): Uint32Array {
    return new Uint32Array(
      this.memory,
      abi.controlSize + ring * (abi.ringHeaderSize + abi.ringDataSize),
      abi.RingHeader.sizeOf / 4,
    );
  }

  /** Forks a writer; its pid. */
  write({ ring, count, textMax = 0, burst = 0, pauseMs = 0, end = true }: WriterOptions): number {
    const pid = symbols.cilock_test_writer(this.#session, ring, count, textMax, burst, pauseMs, end ? 1 : 0);
    if (pid <= 0) throw new Error("cannot fork a writer");
    return pid;
  }

  alive(pid: number): boolean {
    return symbols.cilock_test_alive(pid) !== 0;
  }

  /** One record of each kind, in ring 0, by this process itself. */
  writeSamples(): void {
    symbols.cilock_test_samples(this.#session);
  }
}
