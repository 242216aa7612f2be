// JSON: what we write is exact, what we read is what Go reads, and what we wrote prints back.
import { describe, expect, test } from "bun:test";
import { depthMax, JsonEncoded, JsonError, JsonItems, JsonText, type JsonValue, omitUndefined } from "../src/attestation/json.ts";
import { parseDepthMax, parseJson, pickFields } from "../src/attestation/json-parse.ts";
import { JsonRows, JsonTable } from "../src/attestation/json-table.ts";
import { encodeJson, fieldText, jsonLength, writeJson } from "../src/attestation/json-writer.ts";
import { replaceBadBytes } from "../src/text.ts";
import { randomOf } from "./seeded.ts";

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();
const parse = (json: string | Uint8Array, strict = false) => parseJson(Buffer.from(json as string), { strict });

describe("encode", () => {
  const rows: [string, JsonValue, string][] = [
    ["scalars", [null, true, false, 0, -1, "a"], '[null,true,false,0,-1,"a"]'],
    ["the largest exact number", Number.MAX_SAFE_INTEGER, "9007199254740991"],
    ["64 bits", 18_446_744_073_709_551_615n, "18446744073709551615"],
    ["a negative bigint", -9_223_372_036_854_775_808n, "-9223372036854775808"],
    ["minus zero", -0, "0"],
    ["empty containers", { a: [], b: {}, c: new Map() }, '{"a":[],"b":{},"c":{}}'],
    ["keys in the order given", { z: 1, a: 2 }, '{"z":1,"a":2}'],
    [
      "a Map keeps names that an object would sort or swallow",
      new Map([
        ["z", 1],
        ["7", 2],
        ["__proto__", 3],
      ]),
      '{"z":1,"7":2,"__proto__":3}',
    ],
    ["controls and quotes", '"\\\n\u0000', '"\\"\\\\\\n\\u0000"'],
    ["text outside of ASCII as it is", "ü☃😀\u2028", '"ü☃😀\u2028"'],
  ];
  test.each(rows)("%s", (_, value, expected) => {
    expect(text(encodeJson(value))).toBe(expected);
  });

  const refused: [string, unknown][] = [
    ["a fraction", 0.5],
    ["a number that may have been rounded", 2 ** 53],
    ["not a number", Number.NaN],
    ["infinity", Number.POSITIVE_INFINITY],
    ["a lone surrogate", "\ud800"],
    ["a lone surrogate in a key", { "\udc00": 1 }],
    ["a lone surrogate beside an escape", { a: "\\\ud800" }],
    ["a lone surrogate in an object with others", { a: [], b: "x\udfff" }],
    ["a fraction in an object", { a: 1, b: 0.5 }],
    ["undefined in an object", { a: undefined }],
    ["undefined", undefined],
    ["a function", () => 1],
  ];
  test.each(refused)("refuses %s", (_, value) => {
    expect(() => encodeJson(value as JsonValue)).toThrow(JsonError);
  });

  test("refuses what is nested too deep", () => {
    let value: JsonValue = [];
    for (let depth = 0; depth < 2000; depth++) value = [value];
    expect(() => encodeJson(value)).toThrow(JsonError);
  });

  test("a text longer than a piece", () => {
    const long = "ü".repeat(3_000_000);
    expect(text(encodeJson([long, long]))).toBe(JSON.stringify([long, long]));
  });

  test("omitUndefined leaves out what is undefined, and nothing else", () => {
    expect(text(encodeJson(omitUndefined({ a: undefined, b: null, c: 0, d: "" })))).toBe('{"b":null,"c":0,"d":""}');
  });
});

describe("parse", () => {
  const rows: [string, string, JsonValue][] = [
    ["space around everything", ' \t\r\n{ "a" : [ 1 , 2 ] } \n', { a: [1, 2] }],
    [
      "integers stay exact",
      "[9007199254740993,-18446744073709551616,9007199254740991]",
      [9_007_199_254_740_993n, -18_446_744_073_709_551_616n, Number.MAX_SAFE_INTEGER],
    ],
    ["fractions and exponents", "[0.5,1e3,-2.5E-1]", [0.5, 1000, -0.25]],
    ["escapes", '"\\u00fc\\ud83d\\ude00\\/\\b\\f\\n\\r\\t\\"\\\\"', 'ü😀/\b\f\n\r\t"\\'],
    ["an escaped backslash before a quote", '"\\\\"', "\\"],
    ["the last of two equal keys", '{"a":1,"a":2}', { a: 2 }],
    ["a lone surrogate", '"\\ud800x"', "\ufffdx"],
  ];
  test.each(rows)("%s", (_, json, expected) => {
    expect(Bun.deepEquals(parse(json), expected)).toBe(true);
  });

  test("__proto__ is a key like any other", () => {
    const value = parse('{"__proto__":{"polluted":1}}');
    expect(Object.keys(value as object)).toEqual(["__proto__"]);
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
    expect(text(encodeJson(value))).toBe('{"__proto__":{"polluted":1}}');
  });

  const refused: [string, string | Uint8Array][] = [
    ["nothing", ""],
    ["a word", "nul"],
    ["a word and more", "nullx"],
    ["two values", "1 2"],
    ["a byte order mark", "\ufeff1"],
    ["a leading zero", "[01]"],
    ["a plus", "[+1]"],
    ["a point without digits", "[1.]"],
    ["an exponent without digits", "[1e]"],
    ["a minus alone", "[-]"],
    ["hexadecimal", "[0x1]"],
    ["not a number", "[NaN]"],
    ["a number of 1001 digits", `[${"1".repeat(1001)}]`],
    ["single quotes", "['a']"],
    ["a comma too many in a list", "[1,]"],
    ["a comma too many in an object", '{"a":1,}'],
    ["no comma", "[1 2]"],
    ["a key without quotes", "{a:1}"],
    ["a key without a value", '{"a"}'],
    ["a number as key", "{1:1}"],
    ["an object that does not end", '{"a":1'],
    ["a list that does not end", "[1"],
    ["a list that ends as an object", "[1}"],
    ["a text that does not end", '"a'],
    ["a text that ends in its escape", '"a\\'],
    ["an unknown escape", '"\\x41"'],
    ["an unknown escape that is a name elsewhere", '"\\constructor"'],
    ["half of an escape", '"\\u12"'],
    ["a control character", '"\u0001"'],
    ["a comment", "/* */1"],
    ["bytes that are not UTF-8 outside of a text", Buffer.from([0xff])],
    ["too deep", `${"[".repeat(parseDepthMax + 1)}${"]".repeat(parseDepthMax + 1)}`],
  ];
  test.each(refused)("refuses %s", (_, json) => {
    expect(() => parse(json)).toThrow(JsonError);
  });

  test("nests as deep as Go does", () => {
    const json = `${"[".repeat(parseDepthMax)}${"]".repeat(parseDepthMax)}`;
    expect(Array.isArray(parse(json))).toBe(true);
    const objects = `${'{"a":'.repeat(parseDepthMax)}1${"}".repeat(parseDepthMax)}`;
    expect(typeof parse(objects)).toBe("object");
  });

  const strictlyRefused: [string, string | Uint8Array][] = [
    ["a key twice", '{"a":1,"a":1}'],
    ["a lone surrogate", '"\\udc00"'],
    ["bytes that are not UTF-8", Buffer.from([0x22, 0xc3, 0x28, 0x22])],
  ];
  test.each(strictlyRefused)("strict refuses %s, which is read otherwise", (_, json) => {
    expect(() => parse(json, true)).toThrow(JsonError);
    expect(() => parse(json)).not.toThrow();
  });

  // As encoding/json: of the beginning of a character that is cut off each byte counts.
  test.each([
    ["a stray byte", [0x61, 0xff, 0x62], "a\ufffdb"],
    ["three of four bytes", [0xf0, 0x9f, 0x98, 0x61], "\ufffd\ufffd\ufffda"],
    ["an overlong form", [0xc0, 0xaf], "\ufffd\ufffd"],
    ["a surrogate", [0xed, 0xa0, 0x80], "\ufffd\ufffd\ufffd"],
    ["beside good ones and backslashes", [0xc3, 0xbc, 0x5c, 0x5c, 0xff], "ü\\\ufffd"],
  ])("each byte that is no UTF-8 becomes U+FFFD: %s", (_, bytes, expected) => {
    expect(parse(Buffer.from([0x22, ...bytes, 0x22]))).toBe(expected);
  });

  test("strict takes a U+FFFD that was written as one", () => {
    expect(parse('"\ufffd"', true)).toBe("\ufffd");
  });

  test("errors do not quote", () => {
    try {
      parse('{"password":"hunter22" oops}');
      expect.unreachable();
    } catch (error) {
      expect(String(error)).not.toMatch(/hunter22|password|oops/);
    }
  });
});

test("fields are found as Go finds them: whatever their case, the last one", () => {
  const object = parse('{"Name":1,"NAME":2,"other":3,"\u017ftep":4}');
  expect(pickFields(object as { [key: string]: JsonValue }, ["name", "step", "absent"])).toEqual({ name: 2, step: 4 });
});

describe("random values", () => {
  const seed = Number(process.env.CILOCK_TEST_SEED ?? Date.now() % 1_000_000_007);
  test(`print and parse to the same bytes, and as JSON.parse reads them (CILOCK_TEST_SEED=${seed})`, () => {
    const random = generator(seed);
    for (let round = 0; round < 2000; round++) {
      const bytes = encodeJson(randomValue(random, 0));
      expect(text(encodeJson(parseJson(bytes, { strict: true })))).toBe(text(bytes));
      // JSON.parse rounds what is larger than 2^53: so does this.
      expect(Bun.deepEquals(rounded(parseJson(bytes)), JSON.parse(text(bytes)))).toBe(true);
    }
  });

  test(`damaged, are refused where JSON.parse refuses them (CILOCK_TEST_SEED=${seed})`, () => {
    const random = generator(seed);
    for (let round = 0; round < 4000; round++) {
      const bytes = Buffer.from(encodeJson(randomValue(random, 0)));
      const characters = '{}[]",:\\u0129eE+-. tfn';
      bytes[Math.floor(random() * bytes.length)] = characters.charCodeAt(Math.floor(random() * characters.length));
      // JSON.parse is given one U+FFFD for each bad byte: a decoder of the platform merges some.
      const json = replaceBadBytes(bytes);
      let expected: unknown;
      let refused = false;
      try {
        expected = JSON.parse(json);
      } catch {
        refused = true;
      }
      if (refused) expect(() => parseJson(bytes)).toThrow(JsonError);
      else expect(Bun.deepEquals(rounded(parseJson(bytes)), wellFormed(expected))).toBe(true);
    }
  });
});

/** From 0 up to, not including, 1. */
function generator(seed: number): () => number {
  const { below } = randomOf(seed);
  return () => below(2 ** 32) / 2 ** 32;
}

function randomValue(random: () => number, depth: number): JsonValue {
  const pick = Math.floor(random() * (depth > 4 ? 6 : 8));
  const size = Math.floor(random() * 5);
  switch (pick) {
    case 0:
      return null;
    case 1:
      return random() < 0.5;
    case 2:
      return Math.floor((random() - 0.5) * 2 ** Math.floor(random() * 53));
    case 3:
      return BigInt(Number.MAX_SAFE_INTEGER) * BigInt(Math.floor(random() * 1000) + 2) * (random() < 0.5 ? -1n : 1n);
    case 4:
    case 5:
      return randomText(random);
    case 6:
      return Array.from({ length: size }, () => randomValue(random, depth + 1));
    default:
      // A letter in front: an object moves keys that are integers.
      return Object.fromEntries(Array.from({ length: size }, () => [`k${randomText(random)}`, randomValue(random, depth + 1)]));
  }
}

function randomText(random: () => number): string {
  const alphabet = [
    "a",
    "Z",
    "0",
    '"',
    "\\",
    "/",
    "\n",
    "\u0000",
    "\u001f",
    "\u007f",
    "ü",
    "\u2028",
    "\ufffd",
    "😀",
    "\u{10ffff}",
  ];
  return Array.from({ length: Math.floor(random() * 8) }, () => alphabet[Math.floor(random() * alphabet.length)] ?? "").join("");
}

function rounded(value: JsonValue): unknown {
  if (typeof value === "bigint") return Number(value);
  if (Array.isArray(value)) return value.map(rounded);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, rounded(item)]));
}

function wellFormed(value: unknown): unknown {
  if (typeof value === "string") return value.toWellFormed();
  if (Array.isArray(value)) return value.map(wellFormed);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key.toWellFormed(), wellFormed(item)]));
}

describe("in pieces", () => {
  const written = (value: JsonValue): string => {
    const pieces: Uint8Array[] = [];
    writeJson(value, piece => pieces.push(piece.slice()));
    return Buffer.concat(pieces).toString();
  };
  const shared = { sha256: "ä\u2028" };
  const long = "x☃".repeat(3 << 20);
  const fields: [string, Record<string, string>][] = [
    ["k", shared],
    ["__proto__", {}],
    [long, { a: "\\ud800" }],
  ];
  const table = new JsonTable(number => fieldText(...(fields[number] ?? ["", {}])));
  const rows: [string, JsonValue, string][] = [
    ["items", { a: new JsonItems(() => [1, new JsonItems(() => []), { b: 2n }]) }, '{"a":[1,[],{"b":2}]}'],
    [
      "what is written already",
      [new JsonEncoded(Buffer.from('{"☃":[1]}')), new Map([["a", new JsonEncoded(Buffer.from("2"))]])],
      '[{"☃":[1]},{"a":2}]',
    ],
    [
      "one object in many maps",
      [1, 2].map(() => new Map([["k", shared]])),
      '[{"k":{"sha256":"ä\u2028"}},{"k":{"sha256":"ä\u2028"}}]',
    ],
    [
      "fields of a table",
      [[2, 0], [1], [0, 1, 2, 0]].map(numbers => new JsonRows("{}", table, Uint32Array.from(numbers))),
      `[{"${long}":{"a":"\\\\ud800"},"k":{"sha256":"ä\u2028"}},{"__proto__":{}},{"k":{"sha256":"ä\u2028"},"__proto__":{},"${long}":{"a":"\\\\ud800"},"k":{"sha256":"ä\u2028"}}]`,
    ],
    [
      "items of a table",
      [[], [1, 0]].map(numbers => new JsonRows("[]", new JsonTable(number => `${number}`), Uint32Array.from(numbers))),
      "[[],[1,0]]",
    ],
    ["no fields", new JsonRows("{}", table, new Uint32Array()), "{}"],
    ["a text in pieces", [new JsonText(() => ['"a\n', "", "☃\u2028"]), new JsonText(() => [])], '["\\"a\\n☃\u2028",""]'],
    ["what is written already, in pieces", new JsonEncoded(["[1", "", ",2]"].map(text => Buffer.from(text))), "[1,2]"],
    [
      "one key with many values",
      [new Map<string, JsonValue>([["k", 1]]), new Map<string, JsonValue>([["k", { a: [{}] }]]), new Map()],
      '[{"k":1},{"k":{"a":[{}]}},{}]',
    ],
    [
      "an empty object and an empty map in a map",
      new Map<string, JsonValue>([
        ["a", {}],
        ["b", new Map()],
      ]),
      '{"a":{},"b":{}}',
    ],
    ["a key and a value longer than a piece", new Map([[long, { a: long }]]), `{"${long}":{"a":"${long}"}}`],
  ];
  test.each(rows)("%s", (_, value, expected) => {
    expect(written(value) === expected).toBe(true);
    expect(jsonLength(value)).toBe(Buffer.byteLength(expected));
  });

  test("items are made anew each time", () => {
    let made = 0;
    const value = new JsonItems(() => [++made]);
    expect([written(value), written(value)]).toEqual(["[1]", "[2]"]);
  });

  const refused: [string, JsonValue][] = [
    ["a fraction among items", new JsonItems(() => [0.5])],
    ["a lone surrogate in a digest set", new Map([["k", { sha256: "\ud800" }]])],
    ["a lone surrogate in the name of one", new Map([["k", { "\ud800": "" }]])],
    ["a lone surrogate in a key", new Map([["\ud800", { sha256: "" }]])],
  ];
  test.each(refused)("refused: %s", (_, value) => expect(() => written(value)).toThrow(JsonError));

  test("refused: a digest set too deep", () => {
    const nested = (depth: number): JsonValue => (depth === 0 ? new Map([["k", { a: "" }]]) : [nested(depth - 1)]);
    expect(() => written(nested(depthMax - 1))).not.toThrow();
    expect(() => written(nested(depthMax))).toThrow(JsonError);
  });
});
