// Room for what is thrown away while a large record is made. The engine lets a heap grow by 20 % before it collects (zig/stub.zig):
// while the build runs that keeps it small, but then each 14 MB cost a look at everything that is alive, 0.1 s each time. What
// the trace gives up at its end leaves as much memory unused as this lets the heap grow again.
import { fullGC } from "bun:jsc";

/** Paths and processes from which on it is worth the first look. */
const largeFrom = 10_000;
/**
 * Counts as alive, so that the heap may grow by a fifth of it. Nobody writes there, and one that could grow is pages of its own: it takes no
 * memory. (One of fixed size can be given memory that was used before, and is zeroed: 150 MiB more were seen.)
 */
const countedBytes = 150 << 20;

/** Who has more in memory by then keeps the heap small. */
const residentMax = 224 << 20;

export class HeapRoom {
  #counted: ArrayBuffer | undefined;

  /** When all has been given up that is not needed for the record. `resident`: bytes of ours that are in memory. */
  make({ paths, processes }: { paths: number; processes: number }, resident = process.memoryUsage.rss()): void {
    if (paths + processes < largeFrom || resident > residentMax) return;
    this.#counted = new ArrayBuffer(0, { maxByteLength: countedBytes });
    this.#counted.resize(countedBytes);
    // How far the heap may grow is decided after each look at everything.
    fullGC();
  }

  [Symbol.dispose](): void {
    this.#counted = undefined;
  }

  get bytes(): number {
    return this.#counted?.byteLength ?? 0;
  }
}
