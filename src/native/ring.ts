// The reader of the tracer's rings. zig/ring.zig draws them and says why no wake-up is lost.
//
// `head` and `tail` are 32-bit counters that wrap; Atomics on an Int32Array are the loads and stores that pair
// with the writer's. Typed arrays and offsets only: no object for a range of bytes.
import * as abi from "./abi.gen.ts";
import { checkSequence, Decoder, isPadding, RecordError, sizeOfRecord } from "./decoder.ts";
import type { Event } from "./events.ts";

const headWord = abi.RingHeader.head / 4;
const endedWord = abi.RingHeader.ended / 4;
const tailWord = abi.RingHeader.tail / 4;
const writerWaitsWord = abi.RingHeader.writerWaits / 4;
const readerWaitsWord = abi.RingHeader.readerWaits / 4;
const mask = abi.ringDataSize - 1;

/** So much is given back at once: a waiting tracer goes on before the whole ring has been read. */
const releaseEvery = 256 << 10;

/** One writer's records, in its order. */
class Ring {
  readonly #words: Int32Array;
  readonly #decoder: Decoder;
  readonly #wake: () => void;
  /** Up to where the writer had written when we last looked. */
  #head = abi.initialPosition;
  #tail = abi.initialPosition;
  #released = abi.initialPosition;
  #ended = false;

  constructor(memory: ArrayBuffer, at: number, realtimeOffset: bigint, wake: () => void) {
    this.#words = new Int32Array(memory, at, abi.RingHeader.sizeOf / 4);
    this.#decoder = new Decoder(new Uint8Array(memory, at + abi.ringHeaderSize, abi.ringDataSize), realtimeOffset);
    this.#wake = wake;
  }

  /** Nothing will come any more, and all has been read. As of the last `look`. */
  get finished(): boolean {
    return this.#ended && this.#tail === this.#head;
  }

  /** Takes a new look at what has been written. */
  look(): void {
    // First `ended`: after its last record the writer sets it, so no record can be behind a head that is read later.
    this.#ended = Atomics.load(this.#words, endedWord) !== 0;
    this.#head = Atomics.load(this.#words, headWord) >>> 0;
  }

  /** Sequence number of the next record, or undefined when there is none. */
  peek(): number | undefined {
    while (this.#tail !== this.#head) {
      const at = this.#tail & mask;
      const word = this.#decoder.size(at, (this.#head - this.#tail) >>> 0);
      if (!isPadding(word)) return this.#decoder.sequence(at);
      this.#advance(sizeOfRecord(word));
    }
    return undefined;
  }

  /** The record that `peek` saw. */
  take(): Event {
    const at = this.#tail & mask;
    const size = sizeOfRecord(this.#decoder.size(at, (this.#head - this.#tail) >>> 0));
    const event = this.#decoder.decode(at);
    this.#advance(size);
    return event;
  }

  #advance(size: number): void {
    this.#tail = (this.#tail + size) >>> 0;
    if ((this.#tail - this.#released) >>> 0 >= releaseEvery) this.release();
  }

  /** Gives back what has been read. */
  release(): void {
    if (this.#released === this.#tail) return;
    this.#released = this.#tail;
    Atomics.store(this.#words, tailWord, this.#tail | 0);
    if (Atomics.load(this.#words, writerWaitsWord) !== 0) this.#wake();
  }

  setWaiting(waiting: boolean): void {
    Atomics.store(this.#words, readerWaitsWord, waiting ? 1 : 0);
  }

  hasNews(): boolean {
    return (
      Atomics.load(this.#words, headWord) >>> 0 !== this.#head || (Atomics.load(this.#words, endedWord) !== 0) !== this.#ended
    );
  }
}

/** All rings of a session, merged by sequence number. */
export class Rings {
  readonly #rings: Ring[];
  #expected = 0;

  /** `memory`: the whole mapping. `wakeWriter(index)`: the writer of that ring sleeps, and there is room now. */
  constructor(memory: ArrayBuffer, count: number, realtimeOffset: bigint, wakeWriter: (index: number) => void) {
    this.#rings = Array.from({ length: count }, (_, index) => {
      const at = abi.controlSize + index * (abi.ringHeaderSize + abi.ringDataSize);
      return new Ring(memory, at, realtimeOffset, () => wakeWriter(index));
    });
  }

  /** Number of events so far, and the sequence number that is due. */
  get expected(): number {
    return this.#expected;
  }

  get finished(): boolean {
    return this.#rings.every(ring => ring.finished);
  }

  /** Hands on what is there, in order. Throws a RecordError when a record is missing or cannot be read. */
  drain(onEvent: (event: Event) => void): void {
    for (const ring of this.#rings) ring.look();
    while (this.#drainOnce(onEvent)) {}
    for (const ring of this.#rings) ring.release();
    this.#checkNothingMissing();
  }

  /** True if some ring had the record that is due. */
  #drainOnce(onEvent: (event: Event) => void): boolean {
    let progress = false;
    for (const ring of this.#rings) {
      while (ring.peek() === this.#expected) {
        const event = ring.take();
        this.#expected++;
        progress = true;
        onEvent(event);
      }
    }
    return progress;
  }

  /** The record that is due may still come as long as one ring is empty and has not ended. */
  #checkNothingMissing(): void {
    let lowest: number | undefined;
    for (const ring of this.#rings) {
      const next = ring.peek();
      if (next === undefined && !ring.finished) return;
      if (next !== undefined && (lowest === undefined || next < lowest)) lowest = next;
    }
    if (lowest !== undefined) checkSequence(this.#expected, lowest);
  }

  /** Called at the end: as many records were published as have been read. */
  checkTotal(published: number): void {
    if (published !== this.#expected)
      throw new RecordError("sequence-gap", `${published} records written, ${this.#expected} read`);
  }

  /** Before sleeping: asks every writer for a wake-up, then looks again. False if there is something to read already. */
  arm(): boolean {
    for (const ring of this.#rings) ring.setWaiting(true);
    if (!this.#rings.some(ring => ring.hasNews())) return true;
    this.disarm();
    return false;
  }

  disarm(): void {
    for (const ring of this.#rings) ring.setWaiting(false);
  }
}
