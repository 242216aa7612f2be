// Writes JSON values as bytes, in pieces: a record of 200 MB never exists as a whole.
import {
  depthMax,
  type JsonArray,
  JsonEncoded,
  JsonError,
  JsonItems,
  type JsonMap,
  type JsonObject,
  JsonText,
  type JsonValue,
} from "./json.ts";
import { JsonRows } from "./json-table.ts";

const encoder = new TextEncoder();
/** Text is turned into bytes in pieces of about this length, so that a large record is never one huge string. */
const pieceLength = 1 << 18;
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

/** A field as it stands in an object. */
export function fieldText(key: string, object: { readonly [key: string]: string }): string {
  return `${quote(key)}:${flatText(object)}`;
}

/** Of the last writer that came to its end, for the next one: most of what is written is small, and a buffer is not. */
let spareBuffer: Uint8Array | undefined;

/**
 * Text gathers in a string, then becomes bytes in `#buffer`, which goes out when it is full. What is repeated a million
 * times is copied as bytes.
 */
class Writer {
  readonly #write: (piece: Uint8Array) => void;
  readonly #buffer: Uint8Array;
  #filled = 0;
  #text = "";

  constructor(write: (piece: Uint8Array) => void) {
    this.#write = write;
    this.#buffer = spareBuffer ?? new Uint8Array(4 * pieceLength);
    spareBuffer = undefined;
  }

  value(value: JsonValue, depth: number): void {
    if (depth > depthMax) throw new JsonError(`nested deeper than ${depthMax}`);
    if (value === null || typeof value !== "object") this.#put(scalarText(value));
    else if (value instanceof JsonItems) this.#array(value.items(), depth);
    else if (value instanceof JsonRows) this.#rows(value);
    else if (value instanceof JsonEncoded) this.#pieces(value.pieces);
    else if (value instanceof JsonText) this.#longText(value.pieces());
    else if (isArray(value)) this.#array(value, depth);
    else if (isMap(value)) this.#map(value, depth);
    // A million leaves and digest sets: one call for each.
    else if (isFlat(value)) this.#put(flatText(value));
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
    for (const key of Object.keys(object)) {
      const item = object[key];
      if (item === undefined) throw new JsonError("not a JSON value: undefined");
      this.#put(`${separator}${quote(key)}:`);
      separator = ",";
      this.value(item, depth + 1);
    }
    this.#put(separator === "{" ? "{}" : "}");
  }

  #map(fields: JsonMap, depth: number): void {
    let separator = "{";
    fields.forEach((item, key) => {
      this.#put(`${separator}${quote(key)}:`);
      separator = ",";
      this.value(item, depth + 1);
    });
    this.#put(separator === "{" ? "{}" : "}");
  }

  #rows({ brackets, table, numbers }: JsonRows): void {
    const [open = "", close = ""] = brackets;
    this.#put(open);
    // By index: an iterator of a typed array takes ten times as long, and these are a million.
    for (let i = 0; i < numbers.length; i++) {
      const bytes = table.bytes(numbers[i] ?? 0);
      this.#bytes(i === 0 ? bytes.subarray(1) : bytes);
    }
    this.#put(close);
  }

  #longText(pieces: Iterable<string>): void {
    this.#put('"');
    for (const piece of pieces) this.#put(quote(piece).slice(1, -1));
    this.#put('"');
  }

  #pieces(pieces: readonly Uint8Array[]): void {
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

interface FlatObject {
  readonly [key: string]: string | number;
}

/** An object of texts and small numbers: a digest set, a leaf of a tree. */
function isFlat(object: JsonObject): object is { [key: string]: string | number } {
  for (const key in object) {
    const item = object[key];
    if (typeof item !== "string" && !(typeof item === "number" && Number.isSafeInteger(item))) return false;
  }
  return true;
}

function flatText(object: FlatObject): string {
  const text = JSON.stringify(object);
  // That is how it writes a lone surrogate; and a backslash before a `ud`, so a closer look is taken.
  if (text.includes("\\ud")) for (const part of Object.entries(object).flat()) refuseLoneSurrogate(String(part));
  return text;
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
  const quoted = JSON.stringify(text);
  // A lone surrogate becomes an escape, which is longer.
  if (quoted.length !== text.length + 2) refuseLoneSurrogate(text);
  return quoted;
}

/** Go replaces one by U+FFFD: a policy would then see other text than we signed. */
function refuseLoneSurrogate(text: string): void {
  if (!text.isWellFormed()) throw new JsonError("text with a lone surrogate");
}

function isArray(value: JsonArray | JsonObject | JsonMap): value is JsonArray {
  return Array.isArray(value);
}

function isMap(value: JsonObject | JsonMap): value is JsonMap {
  return value instanceof Map;
}
