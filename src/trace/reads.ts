// What the opens of one process found, by path, in the order of the first opens. A large build has a million of these
// and a thousand times fewer paths and contents: when the process is gone they are packed into numbers, 4 bytes an entry
// where a Map takes 60.
import type { Content } from "./contents.ts";
import type { DigestSet, FileTable, PackedFiles } from "./observation.ts";

/** Nearly always one content: an array only where there were several, and an empty one where it was opened for writing only. */
export type Found = Content | Content[];

interface Entry {
  readonly number: number;
  readonly path: string;
  readonly found: Found;
  /** What the same path was found with before. */
  readonly earlier: Entry | undefined;
}

/** How many of them are looked at before a path and its content get a number once more. */
const earlierMax = 8;

/** Numbers for a path with its content, of the whole run. */
export class ReadsTable implements FileTable {
  readonly #newest = new Map<string, Entry>();
  readonly #entries: Entry[] = [];

  numberOf(path: string, found: Found): number {
    const newest = this.#newest.get(path);
    let entry = newest;
    for (let i = 0; entry !== undefined && i < earlierMax; i++) {
      if (entry.found === found) return entry.number;
      entry = entry.earlier;
    }
    const made: Entry = { number: this.#entries.length, path, found, earlier: newest };
    this.#newest.set(path, made);
    this.#entries.push(made);
    return made.number;
  }

  get size(): number {
    return this.#entries.length;
  }

  pathOf(number: number): string {
    return this.entry(number).path;
  }

  digestsOf(number: number): DigestSet {
    const { found } = this.entry(number);
    if (Array.isArray(found)) throw new Error("a path with several contents");
    return found.digests;
  }

  entry(number: number): Entry {
    const entry = this.#entries[number];
    if (entry === undefined) throw new Error(`nothing has the number ${number}`);
    return entry;
  }
}

export class Reads {
  #map: Map<string, Found> | undefined = new Map();
  #packed: Uint32Array | undefined;

  constructor(readonly table: ReadsTable) {}

  get size(): number {
    return this.#map?.size ?? this.#packed?.length ?? 0;
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
    const packed = new Uint32Array(this.#map.size);
    let count = 0;
    this.#map.forEach((found, path) => {
      packed[count++] = this.table.numberOf(path, found);
    });
    this.#packed = packed;
    this.#map = undefined;
  }

  /** In order; numbers of the table. */
  numbers(): Uint32Array {
    this.pack();
    return this.#packed ?? noNumbers;
  }

  /** In order. */
  forEach(visit: (path: string, found: Found) => void): void {
    this.#map?.forEach((found, path) => {
      visit(path, found);
    });
    const packed = this.#packed;
    if (packed === undefined) return;
    // By index: an iterator of a typed array takes ten times as long, and these are a million.
    for (let i = 0; i < packed.length; i++) {
      const { path, found } = this.table.entry(packed[i] ?? 0);
      visit(path, found);
    }
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

const noNumbers = new Uint32Array(0);

/** `openedFiles` as they are packed: a Map of each of 5,000 processes would be most of the garbage of a record. */
export class OpenedFiles implements PackedFiles {
  constructor(
    readonly numbers: Uint32Array,
    readonly table: FileTable,
  ) {}

  get size(): number {
    return this.numbers.length;
  }

  forEach(visit: (digests: DigestSet, path: string, map: ReadonlyMap<string, DigestSet>) => void): void {
    for (const number of this.numbers) visit(this.table.digestsOf(number), this.table.pathOf(number), this);
  }

  get(path: string): DigestSet | undefined {
    return this.#map().get(path);
  }

  has(path: string): boolean {
    return this.#map().has(path);
  }

  entries(): MapIterator<[string, DigestSet]> {
    return this.#map().entries();
  }

  keys(): MapIterator<string> {
    return this.#map().keys();
  }

  values(): MapIterator<DigestSet> {
    return this.#map().values();
  }

  [Symbol.iterator](): MapIterator<[string, DigestSet]> {
    return this.entries();
  }

  #map(): Map<string, DigestSet> {
    const map = new Map<string, DigestSet>();
    this.forEach((digests, path) => {
      map.set(path, digests);
    });
    return map;
  }
}
