// JSON as this tool writes and reads it: compact, in the order given, integers exact up to any size. A record is
// signed as bytes, so what is ambiguous (fractions, lone surrogates, a key that occurs twice) is refused, not repaired.

/** Integers that may be beyond 2^53 are bigint. A Map keeps the order and the names of keys that come from outside (`7`, `__proto__`). */
export type JsonValue = null | boolean | number | bigint | string | JsonArray | JsonObject | JsonMap;
export type JsonArray = readonly JsonValue[];
export interface JsonObject {
  [key: string]: JsonValue;
}
export type JsonMap = ReadonlyMap<string, JsonValue>;

/** Go's decoder, which the existing verifiers use, allows 10,000. Nothing real comes near this one. */
export const depthMax = 1000;

export class JsonError extends Error {
  override readonly name = "JsonError";
}

const encoder = new TextEncoder();
/** Text is turned into bytes in pieces of about this length, so that a large record is never one huge string. */
const pieceLength = 1 << 20;

/** The bytes of `value`: compact, keys in the order of the object. */
export function encodeJson(value: JsonValue): Uint8Array {
  const pieces: Uint8Array[] = [];
  let text = "";
  const write = (part: string) => {
    text += part;
    if (text.length < pieceLength) return;
    pieces.push(encoder.encode(text));
    text = "";
  };
  writeValue(value, write, 0);
  pieces.push(encoder.encode(text));
  return Buffer.concat(pieces);
}

function writeValue(value: JsonValue, write: (part: string) => void, depth: number): void {
  if (depth > depthMax) throw new JsonError(`nested deeper than ${depthMax}`);
  if (value === null || typeof value !== "object") {
    write(scalarText(value));
  } else if (isArray(value)) {
    let separator = "[";
    for (const item of value) {
      write(separator);
      separator = ",";
      writeValue(item, write, depth + 1);
    }
    write(separator === "[" ? "[]" : "]");
  } else {
    let separator = "{";
    for (const [key, item] of isMap(value) ? value : Object.entries(value)) {
      write(`${separator}${quote(key)}:`);
      separator = ",";
      writeValue(item, write, depth + 1);
    }
    write(separator === "{" ? "{}" : "}");
  }
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
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Map);
}

function isMap(value: JsonObject | JsonMap): value is JsonMap {
  return value instanceof Map;
}

/** The object without the keys whose value is undefined: what the formats call "omitted". */
export function omitUndefined(fields: { readonly [key: string]: JsonValue | undefined }): JsonObject {
  const kept: JsonObject = {};
  for (const [key, value] of Object.entries(fields)) if (value !== undefined) kept[key] = value;
  return kept;
}
