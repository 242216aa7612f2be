// JSON as this tool writes and reads it: compact, in the order given, integers exact up to any size. A record is
// signed as bytes, so what is ambiguous (fractions, lone surrogates, a key that occurs twice) is refused, not repaired.
// Here are the values; json-writer.ts writes them, json-parse.ts reads them.
import { JsonRows } from "./json-table.ts";

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
  | JsonItems
  | JsonRows
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

/** Whether it is an object with keys: no array, not null. */
export function isJsonObject(value: JsonValue | undefined): value is JsonObject {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return !(value instanceof Map || isMadeLater(value));
}

const isMadeLater = (value: object): boolean =>
  value instanceof JsonRows || value instanceof JsonItems || value instanceof JsonText || value instanceof JsonEncoded;

/** The object without the keys whose value is undefined: what the formats call "omitted". */
export function omitUndefined(fields: { readonly [key: string]: JsonValue | undefined }): JsonObject {
  const kept: JsonObject = {};
  // By key: a pair for each of 25 fields of 5,000 processes would take half of the time that their JSON takes.
  for (const key of Object.keys(fields)) {
    const value = fields[key];
    if (value !== undefined) kept[key] = value;
  }
  return kept;
}
