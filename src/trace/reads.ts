// What the opens of one process found, by path, in the order of the first opens. A large build has a million of these
// and a thousand times fewer paths and contents: when the process is gone they are packed into numbers, 8 bytes an entry
// where a Map takes 60.
import type { Content } from "./contents.ts";

/** Nearly always one content: an array only where there were several, and an empty one where it was opened for writing only. */
export type Found = Content | Content[];

/** Numbers for paths and contents, of the whole run. */
export class ReadsTable {
  readonly #numbers = new Map<string | Found, number>();
  readonly #values: (string | Found)[] = [];

  numberOf(value: string | Found): number {
    let number = this.#numbers.get(value);
    if (number === undefined) {
      number = this.#values.length;
      this.#numbers.set(value, number);
      this.#values.push(value);
    }
    return number;
  }

  path(number: number): string {
    const value = this.#values[number];
    if (typeof value !== "string") throw new Error(`no path has the number ${number}`);
    return value;
  }

  found(number: number): Found {
    const value = this.#values[number];
    if (value === undefined || typeof value === "string") throw new Error(`no content has the number ${number}`);
    return value;
  }
}

export class Reads {
  readonly #table: ReadsTable;
  #map: Map<string, Found> | undefined = new Map();
  /** Path and content, in turn. */
  #packed: Uint32Array | undefined;

  constructor(table: ReadsTable) {
    this.#table = table;
  }

  get size(): number {
    return this.#map?.size ?? (this.#packed?.length ?? 0) / 2;
  }

  get(path: string): Found | undefined {
    return this.#unpacked().get(path);
  }

  set(path: string, found: Found): void {
    this.#unpacked().set(path, found);
  }

  /** Nothing more is expected. If it comes all the same it is taken. */
  pack(): void {
    if (!this.#map) return;
    const packed = new Uint32Array(2 * this.#map.size);
    let at = 0;
    for (const [path, found] of this.#map) {
      packed[at++] = this.#table.numberOf(path);
      packed[at++] = this.#table.numberOf(found);
    }
    this.#packed = packed;
    this.#map = undefined;
  }

  /** In order. */
  forEach(visit: (path: string, found: Found) => void): void {
    const packed = this.#packed;
    if (!packed) for (const [path, found] of this.#map ?? []) visit(path, found);
    else
      for (let i = 0; i < packed.length; i += 2) visit(this.#table.path(packed[i] ?? 0), this.#table.found(packed[i + 1] ?? 0));
  }

  #unpacked(): Map<string, Found> {
    if (!this.#map) {
      const map = new Map<string, Found>();
      this.forEach((path, found) => {
        map.set(path, found);
      });
      this.#map = map;
      this.#packed = undefined;
    }
    return this.#map;
  }
}
