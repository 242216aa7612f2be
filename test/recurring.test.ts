// Records of the same paths and files share their objects; records of others never do, however their slots fall.
import { describe, expect, test } from "bun:test";
import * as abi from "../src/native/abi.gen.ts";
import { Recurring } from "../src/native/recurring.ts";
import { escapeBytes } from "../src/text.ts";
import { seededRandom } from "./seeded.ts";

const ring = new Uint8Array(1 << 16);
const view = new DataView(ring.buffer);

function put(bytes: Uint8Array, at: number): [from: number, to: number] {
  ring.set(bytes, at);
  return [at, at + bytes.length];
}

describe("texts", () => {
  const rows: [name: string, bytes: Buffer][] = [
    ["none", Buffer.from("")],
    ["a path", Buffer.from("/usr/include/stdio.h")],
    ["text that is not ASCII", Buffer.from("/tmp/ä☃")],
    ["bytes that are no text", Buffer.from([0x2f, 0xff, 0xfe])],
    ["a backslash", Buffer.from("/tmp/a\\b")],
    ["a long path", Buffer.from(`/${"x".repeat(4000)}`)],
  ];
  test.each(rows)("%s", (_, bytes) => {
    const recurring = new Recurring(ring);
    for (const at of [0, 13, 13]) expect(recurring.text(...put(bytes, at))).toBe(escapeBytes(bytes));
  });

  test("300,000 random ones, twice as many as there are slots: each is its own", () => {
    const recurring = new Recurring(ring);
    const random = seededRandom("recurring texts");
    const alphabet = Buffer.from("/ab.");
    let wrong: unknown;
    for (let i = 0; i < 300_000; i++) {
      const bytes = Buffer.from(Array.from({ length: random.below(14) }, () => alphabet[random.below(4)] ?? 0));
      const found = recurring.text(...put(bytes, random.below(1000)));
      if (found !== bytes.toString("latin1")) wrong ??= { found, bytes };
    }
    expect(wrong).toBeUndefined();
  });
});

describe("files", () => {
  const { device, inode, size, blocks, mtimeNs, ctimeNs, birthNs, mode, links, fileSystem, uid } = abi.FileIdentity;
  function describeAt(at: number): void {
    [device, inode, size, blocks, mtimeNs, ctimeNs, birthNs].forEach((offset, i) => {
      view.setBigUint64(at + offset, BigInt(i + 1) << 33n, true);
    });
    [mode, links, fileSystem, uid].forEach((offset, i) => {
      view.setUint32(at + offset, 100 + i, true);
    });
  }

  test("the same file is the same object", () => {
    const recurring = new Recurring(ring);
    describeAt(64);
    describeAt(640);
    expect(recurring.file(640)).toBe(recurring.file(64));
  });

  test("a file that differs in any byte is another one", () => {
    const recurring = new Recurring(ring);
    for (let byte = 0; byte < abi.FileIdentity.sizeOf; byte++) {
      describeAt(64);
      const before = recurring.file(64);
      ring[64 + byte] = (ring[64 + byte] ?? 0) ^ 1;
      const after = recurring.file(64);
      expect(after).not.toEqual(before);
      expect(after).toEqual(new Recurring(ring).file(64));
    }
  });
});
