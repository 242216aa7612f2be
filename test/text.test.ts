// Bytes as text and back: every form of invalid UTF-8 is a row.
import { describe, expect, test } from "bun:test";
import { escapeBytes, unescapeText } from "../src/text.ts";

const rows: [name: string, bytes: number[], text: string][] = [
  ["nothing", [], ""],
  ["plain", [0x2f, 0x61], "/a"],
  ["control characters stay", [0x0a, 0x1b, 0x7f, 0x00], "\n\x1b\x7f\0"],
  ["backslash", [0x61, 0x5c, 0x62], "a\\\\b"],
  ["two bytes", [0xc3, 0xa9], "é"],
  ["three bytes", [0xe2, 0x82, 0xac], "€"],
  ["four bytes", [0xf0, 0x9f, 0x98, 0x80], "😀"],
  ["last of all", [0xf4, 0x8f, 0xbf, 0xbf], "\u{10ffff}"],
  ["byte order mark stays", [0xef, 0xbb, 0xbf, 0x61], "\ufeffa"],
  ["continuation alone", [0x80, 0xbf], "\\x80\\xBF"],
  ["latin-1", [0x63, 0x61, 0x66, 0xe9], "caf\\xE9"],
  ["cut at the end", [0xe2, 0x82], "\\xE2\\x82"],
  ["cut before text", [0xe2, 0x82, 0x41], "\\xE2\\x82A"],
  ["overlong slash", [0xc0, 0xaf], "\\xC0\\xAF"],
  ["overlong in three", [0xe0, 0x9f, 0xbf], "\\xE0\\x9F\\xBF"],
  ["overlong in four", [0xf0, 0x8f, 0xbf, 0xbf], "\\xF0\\x8F\\xBF\\xBF"],
  ["lone surrogate", [0xed, 0xa0, 0x80], "\\xED\\xA0\\x80"],
  ["above U+10FFFF", [0xf4, 0x90, 0x80, 0x80], "\\xF4\\x90\\x80\\x80"],
  ["fe and ff", [0xfe, 0xff], "\\xFE\\xFF"],
  ["bad beside good and backslash", [0xff, 0x5c, 0xc3, 0xa9, 0x5c, 0x78], "\\xFF\\\\é\\\\x"],
];

describe("escapeBytes", () => {
  test.each(rows)("%s", (_name, bytes, text) => {
    expect(escapeBytes(Uint8Array.from(bytes))).toBe(text);
    expect([...unescapeText(text)]).toEqual(bytes);
  });

  test("every pair of bytes comes back", () => {
    for (let a = 0; a < 256; a++) {
      for (let b = 0; b < 256; b += a < 0x80 ? 37 : 1) {
        const bytes = Uint8Array.of(a, b, 0x41);
        expect([...unescapeText(escapeBytes(bytes))]).toEqual([...bytes]);
      }
    }
  });
});

describe("unescapeText refuses", () => {
  test.each(["\\", "a\\n", "\\x4", "\\xff", "\\xG0"])("%j", text => {
    expect(() => unescapeText(text)).toThrow(RangeError);
  });
});
