// Reads JSON as Go's decoder reads it, since the existing verifiers do: of a key that occurs twice the last one counts,
// what is not UTF-8 inside of a string and a lone surrogate become U+FFFD, nesting ends at 10,000. With `strict` these
// are refused instead: that is for what we wrote ourselves. Integers stay exact. No recursion: the depth is the input's.
import { replaceBadBytes } from "../text.ts";
import { JsonError, type JsonObject, type JsonValue } from "./json.ts";

/** As in Go. */
export const parseDepthMax = 10_000;

/** No integer of any format has more; turning a longer one into a bigint takes time that grows with its square. */
const integerDigitsMax = 1000;

interface Container {
  /** Where values go: one of the two. */
  array: JsonValue[] | undefined;
  object: JsonObject | undefined;
  /** The key that the next value belongs to. */
  key: string;
}

export function parseJson(bytes: Uint8Array, options: { strict?: boolean } = {}): JsonValue {
  return new Parser(bytes, options.strict === true).parse();
}

/** The state of one parse. */
class Parser {
  private at = 0;
  private readonly open: Container[] = [];
  private readonly buffer: Buffer;

  constructor(
    private readonly bytes: Uint8Array,
    private readonly strict: boolean,
  ) {
    this.buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  parse(): JsonValue {
    for (;;) {
      this.skipSpace();
      let value = this.openOrScalar();
      // A value is complete: put it into its container, and close containers for as long as they end here.
      while (value !== undefined) {
        const container = this.open.at(-1);
        if (container === undefined) {
          this.skipSpace();
          if (this.at !== this.bytes.length) throw this.error("something follows the value");
          return value;
        }
        this.put(container, value);
        value = this.closeOrNext(container);
      }
    }
  }

  /** A scalar or an empty container; undefined after the start of one that is not empty. */
  private openOrScalar(): JsonValue | undefined {
    switch (this.bytes[this.at]) {
      case 0x5b: // [
        this.enter();
        this.skipSpace();
        if (this.take(0x5d)) return [];
        this.open.push({ array: [], object: undefined, key: "" });
        return undefined;
      case 0x7b: {
        // {
        this.enter();
        this.skipSpace();
        // Without a prototype: a key `__proto__` is a key like any other.
        const object: JsonObject = Object.create(null);
        if (this.take(0x7d)) return object;
        this.open.push({ array: undefined, object, key: this.readKey() });
        return undefined;
      }
      case 0x22: // "
        return this.readString();
      case 0x74:
        return this.word("true", true);
      case 0x66:
        return this.word("false", false);
      case 0x6e:
        return this.word("null", null);
      default:
        return this.readNumber();
    }
  }

  private enter(): void {
    if (this.open.length >= parseDepthMax) throw this.error(`nested deeper than ${parseDepthMax}`);
    this.at++;
  }

  private put(container: Container, value: JsonValue): void {
    if (container.array !== undefined) {
      container.array.push(value);
    } else if (container.object !== undefined) {
      if (container.key in container.object) {
        if (this.strict) throw this.error("a key occurs twice");
        // So that the order of keys is the order of the values that count.
        delete container.object[container.key];
      }
      container.object[container.key] = value;
    }
  }

  /** After a value: the finished container at its end, undefined where another value follows. */
  private closeOrNext(container: Container): JsonValue | undefined {
    this.skipSpace();
    if (this.take(0x2c)) {
      this.skipSpace();
      if (container.object !== undefined) container.key = this.readKey();
      return undefined;
    }
    if (!this.take(container.object === undefined ? 0x5d : 0x7d))
      throw this.error("a value is not followed by a comma or an end");
    this.open.pop();
    return container.object ?? container.array;
  }

  private readKey(): string {
    if (this.bytes[this.at] !== 0x22) throw this.error("a key is missing");
    const key = this.readString();
    this.skipSpace();
    if (!this.take(0x3a)) throw this.error("a key is not followed by a colon");
    return key;
  }

  private readString(): string {
    const start = ++this.at;
    let plain = true;
    for (;;) {
      const byte = this.bytes[this.at];
      if (byte === undefined) throw this.error("a text does not end");
      if (byte === 0x22) break;
      if (byte < 0x20) throw this.error("a control character in a text");
      if (byte === 0x5c) {
        plain = false;
        this.at++;
      }
      this.at++;
    }
    const raw = this.decodeUtf8(start, this.at);
    this.at++;
    return plain ? raw : this.unescape(raw);
  }

  private decodeUtf8(start: number, end: number): string {
    const text = this.buffer.toString("utf8", start, end);
    // Only a text with U+FFFD can come from bytes that are not UTF-8: compare those.
    if (!text.includes("\ufffd")) return text;
    const bytes = this.buffer.subarray(start, end);
    if (Buffer.from(text).equals(bytes)) return text;
    if (this.strict) throw this.error("a text that is not UTF-8");
    // One for each bad byte, as encoding/json has it, so that a name has one spelling for both tools.
    return replaceBadBytes(bytes);
  }

  private unescape(raw: string): string {
    const text = raw.replace(/\\(u[0-9a-fA-F]{4}|[^u]|u)/g, (_, code: string) => {
      if (code.length === 5) return String.fromCharCode(Number.parseInt(code.slice(1), 16));
      const character = escapes[code];
      if (character === undefined) throw this.error("an unknown escape in a text");
      return character;
    });
    if (text.isWellFormed()) return text;
    if (this.strict) throw this.error("a text with a lone surrogate");
    return text.toWellFormed();
  }

  private readNumber(): JsonValue {
    numberPattern.lastIndex = 0;
    // Numbers are short: a window is enough to match them, and to see that one is not.
    const window = this.buffer.toString("latin1", this.at, this.at + integerDigitsMax + 2);
    const match = numberPattern.exec(window);
    if (match === null) throw this.error("not a value");
    const [text, fraction] = match;
    if (text.length > integerDigitsMax) throw this.error(`a number of more than ${integerDigitsMax} characters`);
    this.at += text.length;
    const number = Number(text);
    return fraction === "" && !Number.isSafeInteger(number) ? BigInt(text) : number;
  }

  private word<T extends JsonValue>(text: string, value: T): T {
    if (this.buffer.toString("latin1", this.at, this.at + text.length) !== text) throw this.error("not a value");
    this.at += text.length;
    return value;
  }

  private take(byte: number): boolean {
    if (this.bytes[this.at] !== byte) return false;
    this.at++;
    return true;
  }

  private skipSpace(): void {
    for (;;) {
      const byte = this.bytes[this.at];
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return;
      this.at++;
    }
  }

  /** Names the place, never the text: it may be a secret. */
  private error(problem: string): JsonError {
    return new JsonError(`${problem} (at byte ${this.at})`);
  }
}

const numberPattern = /^-?(?:0|[1-9][0-9]*)((?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)/y;

const escapes: { readonly [letter: string]: string | undefined } = {
  '"': '"',
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
};

/**
 * The fields of an object as Go finds them for a struct: a key counts whatever its case, of several the last one.
 * Only the names asked for are in the result.
 */
export function pickFields(object: JsonObject, names: readonly string[]): JsonObject {
  const wanted = new Map(names.map(name => [foldCase(name), name]));
  const found: JsonObject = {};
  for (const [key, value] of Object.entries(object)) {
    const name = wanted.get(foldCase(key));
    if (name !== undefined) found[name] = value;
  }
  return found;
}

/**
 * Go folds by Unicode's simple rules, by which two characters outside of ASCII meet a letter: U+212A (k), of which that is
 * the lower case, and U+017F (s).
 */
function foldCase(key: string): string {
  return key.toLowerCase().replace(/\u017f/g, "s");
}
