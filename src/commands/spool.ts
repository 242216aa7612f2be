// Where a record waits until it is signed: in memory while it is small, then in a file without a name, which is gone with
// the process, however that ends.

import { randomBytes } from "node:crypto";
import { closeSync, constants, openSync, readSync, unlinkSync } from "node:fs";
import type { ByteSource } from "../attestation/streamed-signature.ts";
import { writeAll } from "./write-all.ts";

const memoryMax = 8 << 20;
const readLength = 768 << 10;

/** O_TMPFILE, which node's table of constants lacks. */
export const unnamedFile = 0o20000000 | constants.O_DIRECTORY;

export class Spool implements ByteSource {
  readonly #directory: Uint8Array;
  readonly #memory: Uint8Array[] = [];
  #descriptor: number | undefined;
  /** No file can be made in the directory: everything stays in memory. */
  #isMemoryOnly = false;
  length = 0;

  constructor(directory: Uint8Array) {
    this.#directory = directory;
  }

  /** Copies. Throws what the file system says, of a full disk for instance. */
  write(piece: Uint8Array): void {
    this.length += piece.length;
    if (this.#descriptor === undefined) {
      this.#memory.push(new Uint8Array(piece)); // slice of a Buffer does not copy
      if (this.length > memoryMax && !this.#isMemoryOnly) this.#spill();
      return;
    }
    writeAll(this.#descriptor, piece);
  }

  /** Of its file, once it has one: from then on what was written is there. */
  get descriptor(): number | undefined {
    return this.#descriptor;
  }

  *pieces(): Generator<Uint8Array> {
    yield* this.#memory;
    if (this.#descriptor === undefined) return;
    const buffer = Buffer.allocUnsafe(readLength);
    for (let position = 0; position < this.length; ) {
      const count = readSync(this.#descriptor, buffer, 0, readLength, position);
      if (count === 0) throw new Error("the record that waits to be signed has lost its end");
      position += count;
      yield buffer.subarray(0, count);
    }
  }

  [Symbol.dispose](): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
    this.#memory.length = 0;
  }

  #spill(): void {
    try {
      this.#descriptor = openUnnamed(this.#directory);
    } catch {
      this.#isMemoryOnly = true;
      return;
    }
    for (const piece of this.#memory.splice(0)) writeAll(this.#descriptor, piece);
  }
}

function openUnnamed(directory: Uint8Array): number {
  const place = Buffer.from(directory);
  try {
    return openSync(place, unnamedFile | constants.O_RDWR, 0o600);
  } catch {
    // A few file systems know no files without a name.
    const name = Buffer.concat([place, Buffer.from(`/.cilock-${randomBytes(8).toString("hex")}.tmp`)]);
    const descriptor = openSync(name, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
    unlinkSync(name);
    return descriptor;
  }
}
