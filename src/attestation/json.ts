// JSON as this tool writes and reads it: compact, in the order given, integers exact up to any size. A record is
// signed as bytes, so what is ambiguous (fractions, lone surrogates, a key that occurs twice) is refused, not repaired.

/** Integers that may be beyond 2^53 are bigint. A Map keeps the order and the names of keys that come from outside (`7`, `__proto__`). */
export type JsonValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | JsonArray
  | JsonObject
  | JsonMap
  | JsonFields
  | JsonItems
  | JsonText
  | JsonEncoded;
export type JsonArray = readonly JsonValue[];
export interface JsonObject {
  [key: string]: JsonValue;
}
export type JsonMap = ReadonlyMap<string, JsonValue>;

/** An array whose items are made while it is written, anew each time: what is large never exists as a whole. */
export class JsonItems {
  constructor(readonly items: () => Iterable<JsonValue>) {}
}

/** An object whose fields are told one by one while it is written: what is large need not be a Map for that. */
export class JsonFields {
  constructor(readonly forEach: (visit: (value: JsonValue, key: string) => void) => void) {}
}

/** A text that is made while it is written, in pieces, anew each time. A piece ends where a character does. */
export class JsonText {
  constructor(readonly pieces: () => Iterable<string>) {}
}

/** Go's decoder, which the existing verifiers use, allows 10,000. Nothing real comes near this one. */
export const depthMax = 1000;

export class JsonError extends Error {
  override readonly name = "JsonError";
}

/** What has been written already, in pieces perhaps: goes out as it is. */
export class JsonEncoded {
  readonly pieces: readonly Uint8Array[];

  constructor(bytes: Uint8Array | readonly Uint8Array[]) {
    this.pieces = bytes instanceof Uint8Array ? [bytes] : bytes;
  }
}

const encoder = new TextEncoder();
/** Text is turned into bytes in pieces of about this length, so that a large record is never one huge string. */
const pieceLength = 1 << 18;
const keptLength = 1 << 16;
const noBytes = new Uint8Array(0);

/** The bytes of `value`: compact, keys in the order of the object. */
export function encodeJson(value: JsonValue): Uint8Array {
  const pieces: Uint8Array[] = [];
  writeJson(value, piece => pieces.push(piece.slice()));
  return Buffer.concat(pieces);
}

/** The same in pieces. A piece is the writer's own memory: whoever wants to keep it copies it. */
export function writeJson(value: JsonValue, write: (piece: Uint8Array) => void): void {
  const writer = new Writer(write);
  writer.value(value, 0);
  writer.end();
}

/** How many bytes it has when it is written. */
export function jsonLength(value: JsonValue): number {
  let length = 0;
  writeJson(value, piece => {
    length += piece.length;
  });
  return length;
}

/** Of the last writer that came to its end, for the next one: most of what is written is small, and a buffer is not. */
let spareBuffer: Uint8Array | undefined;

/**
 * Text gathers in a string, then becomes bytes in `#buffer`, which goes out when it is full.
 *
 * The same paths and the same digest sets stand in the maps of a thousand processes. They are made into bytes once and
 * copied from then on: a million entries take 0.4 s and leave no garbage, where joining strings took 1 s and 150 MB.
 * Nothing changes while it is being written, so that an object stands for its bytes.
 */
class Writer {
  readonly #write: (piece: Uint8Array) => void;
  readonly #buffer: Uint8Array;
  #filled = 0;
  #text = "";
  readonly #entries = new Map<string, Entry>();
  #keptBytes = noBytes;
  #keptFilled = 0;

  constructor(write: (piece: Uint8Array) => void) {
    this.#write = write;
    this.#buffer = spareBuffer ?? new Uint8Array(4 * pieceLength);
    spareBuffer = undefined;
  }

  value(value: JsonValue, depth: number): void {
    if (depth > depthMax) throw new JsonError(`nested deeper than ${depthMax}`);
    if (value === null || typeof value !== "object") this.#put(scalarText(value));
    else if (value instanceof JsonItems) this.#array(value.items(), depth);
    else if (value instanceof JsonEncoded) this.#pieces(value.pieces);
    else if (value instanceof JsonFields) this.#fields(value, depth);
    else if (value instanceof JsonText) this.#longText(value.pieces());
    else if (isArray(value)) this.#array(value, depth);
    else if (isMap(value)) this.#fields(value, depth);
    else this.#object(value, depth);
  }

  end(): void {
    this.#encode();
    this.#flush();
    spareBuffer = this.#buffer;
  }

  #put(text: string): void {
    this.#text += text;
    if (this.#text.length >= pieceLength) this.#encode();
  }

  #encode(): void {
    const text = this.#text;
    if (text === "") return;
    this.#text = "";
    // Three bytes are the most that one unit of UTF-16 becomes.
    const most = text.length * 3;
    if (most > this.#buffer.length - this.#filled) this.#flush();
    if (most > this.#buffer.length) this.#write(encoder.encode(text));
    else this.#filled += encoder.encodeInto(text, this.#buffer.subarray(this.#filled)).written;
  }

  #flush(): void {
    if (this.#filled > 0) this.#write(this.#buffer.subarray(0, this.#filled));
    this.#filled = 0;
  }

  #array(items: Iterable<JsonValue>, depth: number): void {
    let separator = "[";
    for (const item of items) {
      this.#put(separator);
      separator = ",";
      this.value(item, depth + 1);
    }
    this.#put(separator === "[" ? "[]" : "]");
  }

  #object(object: JsonObject, depth: number): void {
    let separator = "{";
    for (const [key, item] of Object.entries(object)) {
      this.#put(`${separator}${quote(key)}:`);
      separator = ",";
      this.value(item, depth + 1);
    }
    this.#put(separator === "{" ? "{}" : "}");
  }

  #fields(fields: JsonFields | JsonMap, depth: number): void {
    let isFirst = true;
    fields.forEach((item, key) => {
      const encoded = this.#entry(key, item, depth);
      if (encoded !== undefined) {
        if (isFirst) this.#put("{");
        this.#bytes(isFirst ? encoded.subarray(1) : encoded);
      } else {
        this.#put(`${isFirst ? "{" : ","}${quote(key)}:`);
        this.value(item, depth + 1);
      }
      isFirst = false;
    });
    this.#put(isFirst ? "{}" : "}");
  }

  /** With the comma before it. Undefined: it is no entry that is likely to come again. */
  #entry(key: string, item: JsonValue, depth: number): Uint8Array | undefined {
    const known = this.#entries.get(key);
    if (known?.item === item) return known.bytes;
    if (!isFlat(item) || depth >= depthMax) return undefined;
    const bytes = this.#kept(`,${quote(key)}:${flatText(item)}`);
    if (known === undefined) {
      this.#entries.set(key, { item, bytes });
    } else {
      known.item = item;
      known.bytes = bytes;
    }
    return bytes;
  }

  /** A buffer for each of 40,000 entries would take three times their bytes: many share one. */
  #kept(text: string): Uint8Array {
    const most = text.length * 3;
    if (most > keptLength) return encoder.encode(text);
    if (most > this.#keptBytes.length - this.#keptFilled) {
      this.#keptBytes = new Uint8Array(keptLength);
      this.#keptFilled = 0;
    }
    const { written } = encoder.encodeInto(text, this.#keptBytes.subarray(this.#keptFilled));
    this.#keptFilled += written;
    return this.#keptBytes.subarray(this.#keptFilled - written, this.#keptFilled);
  }

  #longText(pieces: Iterable<string>): void {
    this.#put('"');
    for (const piece of pieces) this.#put(quote(piece).slice(1, -1));
    this.#put('"');
  }

  #pieces(pieces: readonly Uint8Array[]): void {
    // By index: some lists have thousands of pieces, and an iterator takes ten times as long.
    for (let i = 0; i < pieces.length; i++) this.#bytes(pieces[i] ?? noBytes);
  }

  #bytes(bytes: Uint8Array): void {
    this.#encode();
    if (bytes.length > this.#buffer.length - this.#filled) this.#flush();
    if (bytes.length > this.#buffer.length) {
      this.#write(bytes);
      return;
    }
    this.#buffer.set(bytes, this.#filled);
    this.#filled += bytes.length;
  }
}

function flatText(object: FlatObject): string {
  const fields = Object.entries(object).map(([key, value]) => `${quote(key)}:${quote(value)}`);
  return `{${fields.join(",")}}`;
}

/** Of a map, with the comma before it. The newest one of its key. */
interface Entry {
  item: JsonValue;
  bytes: Uint8Array;
}

interface FlatObject {
  [key: string]: string;
}

/** An object of texts: a digest set. */
function isFlat(value: JsonValue): value is FlatObject {
  if (!isJsonObject(value)) return false;
  for (const key in value) if (typeof value[key] !== "string") return false;
  return true;
}

function scalarText(value: null | boolean | number | bigint | string): string {
  switch (typeof value) {
    case "string":
      return quote(value);
    case "number":
      // Beyond 2^53 a number may already have been rounded: whoever has such a value must pass a bigint.
      if (!Number.isSafeInteger(value)) throw new JsonError(`not an exact integer: ${value}`);
      return value.toString();
    case "boolean":
    case "bigint":
      return value.toString();
    case "object":
      return "null";
  }
  throw new JsonError(`not a JSON value: ${typeof value}`);
}

function quote(text: string): string {
  // Go replaces a lone surrogate by U+FFFD: a policy would then see other text than we signed.
  if (!text.isWellFormed()) throw new JsonError("text with a lone surrogate");
  return JSON.stringify(text);
}

function isArray(value: JsonArray | JsonObject | JsonMap): value is JsonArray {
  return Array.isArray(value);
}

/** Whether it is an object with keys: no array, not null. */
export function isJsonObject(value: JsonValue | undefined): value is JsonObject {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return !(value instanceof Map || isMadeLater(value));
}

const isMadeLater = (value: object): boolean =>
  value instanceof JsonFields || value instanceof JsonItems || value instanceof JsonText || value instanceof JsonEncoded;

function isMap(value: JsonObject | JsonMap): value is JsonMap {
  return value instanceof Map;
}

/** The object without the keys whose value is undefined: what the formats call "omitted". */
export function omitUndefined(fields: { readonly [key: string]: JsonValue | undefined }): JsonObject {
  const kept: JsonObject = {};
  for (const [key, value] of Object.entries(fields)) if (value !== undefined) kept[key] = value;
  return kept;
}
