// Texts that a large record repeats: one header with its digest stands in the lists of a thousand processes. Each is made
// into bytes once and copied from then on: of a million entries that takes 20 ns an entry, where a Map that was asked for
// each path took 400.

const encoder = new TextEncoder();
/** A buffer for each of 40,000 texts would take three times their bytes: many share one. */
const sharedLength = 1 << 16;
const noBytes = new Uint8Array(0);

/** By number, small ones. `textOf`: the JSON of an item of an array, or of a field of an object; asked once for each. */
export class JsonTable {
  readonly #textOf: (number: number) => string;
  readonly #known: (Uint8Array | undefined)[] = [];
  #shared = noBytes;
  #filled = 0;

  constructor(textOf: (number: number) => string) {
    this.#textOf = textOf;
  }

  /** With a comma before it. */
  bytes(number: number): Uint8Array {
    const known = this.#known[number] ?? this.#encoded(`,${this.#textOf(number)}`);
    this.#known[number] = known;
    return known;
  }

  #encoded(text: string): Uint8Array {
    // Three bytes are the most that one unit of UTF-16 becomes.
    const most = text.length * 3;
    if (most > sharedLength) return encoder.encode(text);
    if (most > this.#shared.length - this.#filled) {
      this.#shared = new Uint8Array(sharedLength);
      this.#filled = 0;
    }
    const { written } = encoder.encodeInto(text, this.#shared.subarray(this.#filled));
    this.#filled += written;
    return this.#shared.subarray(this.#filled - written, this.#filled);
  }
}

/** An array or an object of what stands in a table. */
export class JsonRows {
  constructor(
    readonly brackets: "[]" | "{}",
    readonly table: JsonTable,
    readonly numbers: Uint32Array,
  ) {}
}
