// Arguments and environments of programs, which are most of what a build says and mostly the same: one copy of each is kept.
// Both can be made as large as somebody likes (2 MiB with each exec, and a fork repeats it in the record), so there are
// limits to all of them together; what is beyond is left out, and that is a gap.
import { hash } from "node:crypto";

/** Of all environments that differ, what is kept. */
export const keptBytesMax = 64 << 20;
/** Of arguments, counted where a program has more of them than a long command of a compiler. */
export const argumentBytesMax = 64 << 20;
/** Of both together, where a record repeats them with each process: it must stay below what a verifier reads. */
export const repeatedBytesMax = 256 << 20;
export const firstArgumentBytes = 16 << 10;
/** What a Map and an object take for each. */
const overhead = 128;
/** Shorter texts are their own keys. */
const keyLengthMax = 256;

export interface Environment {
  /** `K=V` */
  readonly variables: Uint8Array[];
  /** As a block. */
  readonly bytes: number;
}

export const noEnvironment: Environment = { variables: [], bytes: 0 };

export class Environments {
  readonly #bytesMax: number;
  #bytes = 0;
  readonly #variables = new Map<string, Uint8Array>();
  /** By the digest of the block. */
  readonly #known = new Map<string, Environment>();

  constructor(bytesMax = keptBytesMax) {
    this.#bytesMax = bytesMax;
  }

  /** `block`: a NUL after each variable. Undefined: there is no room for it any more. Nobody may change what is returned. */
  intern(block: Uint8Array): Environment | undefined {
    if (block.length === 0) return noEnvironment;
    const digest = hash("sha256", block, "base64");
    const known = this.#known.get(digest);
    if (known !== undefined) return known;
    const variables: Uint8Array[] = [];
    for (let from = 0; from < block.length; ) {
      const nul = block.indexOf(0, from);
      const to = nul < 0 ? block.length : nul;
      const variable = this.#variable(block.subarray(from, to));
      if (variable === undefined) return undefined;
      variables.push(variable);
      from = to + 1;
    }
    if (!this.#charge(overhead + 8 * variables.length)) return undefined;
    const environment = { variables, bytes: block.length };
    this.#known.set(digest, environment);
    return environment;
  }

  #variable(bytes: Uint8Array): Uint8Array | undefined {
    const isShort = bytes.length <= keyLengthMax;
    // A text of the digest's own letters must not be taken for it: no variable has a NUL.
    const key = isShort ? Buffer.from(bytes).toString("latin1") : `\0${hash("sha256", bytes, "base64")}`;
    const known = this.#variables.get(key);
    if (known !== undefined) return known;
    if (!this.#charge(overhead + key.length + bytes.length)) return undefined;
    const variable = bytes.slice();
    this.#variables.set(key, variable);
    return variable;
  }

  #charge(bytes: number): boolean {
    if (this.#bytes + bytes > this.#bytesMax) return false;
    this.#bytes += bytes;
    return true;
  }
}

/** How much of something may still be recorded. What does not fit leaves room for smaller ones after it. */
export class Budget {
  #left: number;

  constructor(bytes: number) {
    this.#left = bytes;
  }

  take(bytes: number): boolean {
    if (bytes > this.#left) return false;
    this.#left -= bytes;
    return true;
  }
}

/** What of it counts against the limit. */
export function argumentBytes(argv: readonly string[]): number {
  let length = 0;
  for (const word of argv) length += word.length + 1;
  return length > firstArgumentBytes ? length : 0;
}

/** What is recorded of them beyond the limit. */
export function firstArguments(argv: readonly string[]): string[] {
  let length = 0;
  return argv.filter(word => {
    length += word.length + 1;
    return length <= firstArgumentBytes;
  });
}
