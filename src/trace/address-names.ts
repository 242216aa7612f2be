// Names of addresses, from the answers of name servers that the build was given: what a connection is called where its own bytes do not
// say. A process knows what it and its ancestors were told. An address with two names has none: it would be a guess.

import { OldestFirst } from "./oldest-first.ts";

/** Pairs of process and address; beyond, the oldest is forgotten. */
const namesMax = 10_000;

export class AddressNames {
  readonly #names = new Map<string, string | undefined>();
  readonly #keys = new OldestFirst<string>();
  readonly #parentOf: (process: number) => number;

  /** `parentOf` gives 0 for the command. */
  constructor(parentOf: (process: number) => number) {
    this.#parentOf = parentOf;
  }

  learn(process: number, address: string, name: string): void {
    const key = `${process} ${address}`;
    const known = this.#names.has(key) && this.#names.get(key) !== name;
    if (!this.#names.has(key) && this.#names.size >= namesMax) {
      const oldest = this.#keys.oldest();
      if (oldest !== undefined) {
        this.#keys.delete(oldest);
        this.#names.delete(oldest);
      }
    }
    this.#keys.add(key);
    this.#names.set(key, known ? undefined : name);
  }

  nameOf(process: number, address: string): string | undefined {
    for (let at = process; at > 0; at = this.#parentOf(at)) {
      const key = `${at} ${address}`;
      if (this.#names.has(key)) return this.#names.get(key);
    }
    return undefined;
  }
}
