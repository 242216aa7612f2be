// The Merkle tree of wire-formats 4.3 against a second, recursive reading of RFC 6962.
import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { leafHash, treeRoot } from "../src/attestation/tree.ts";

const sha256 = (...parts: Uint8Array[]) => createHash("sha256").update(Buffer.concat(parts)).digest();
const digestOf = (text: string) => sha256(Buffer.from(text)).toString("hex");

/** MTH of RFC 6962, word for word. */
function rfc6962(leaves: Buffer[]): Buffer {
  const [first] = leaves;
  if (first === undefined) return sha256();
  if (leaves.length === 1) return sha256(Uint8Array.of(0), first);
  let split = 1;
  while (split * 2 < leaves.length) split *= 2;
  return sha256(Uint8Array.of(1), rfc6962(leaves.slice(0, split)), rfc6962(leaves.slice(split)));
}

describe("tree", () => {
  test("the worked check of the wire formats", () => {
    const digest = digestOf("hello\n");
    expect(digest).toBe("5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
    expect(leafHash(digest)).toBe("ecb65bb98f9d905b70458986c39fcbad7715e5f2fcc3b1f07767d7c83e2438cc");
    expect(treeRoot([digest])).toEqual({ root: "e659830b4d09818ad43764cb4b1039ff92e163dbcd6092c60309b63f7bff7c63", size: 1 });
  });

  test("no files: the digest of nothing", () => {
    expect(treeRoot([])).toEqual({ root: digestOf(""), size: 0 });
  });

  test("every size up to 70 is the tree of RFC 6962", () => {
    for (let size = 0; size <= 70; size++) {
      const digests = Array.from({ length: size }, (_, index) => digestOf(`file ${index}`));
      const leaves = [...digests].sort().map(digest => sha256(Buffer.from(digest, "hex")));
      expect(treeRoot(digests)).toEqual({ root: rfc6962(leaves).toString("hex"), size });
    }
  });

  test("order, repetition and case do not matter", () => {
    const digests = ["a", "b", "c"].map(digestOf);
    expect(treeRoot([...digests, ...digests].reverse().map(digest => digest.toUpperCase()))).toEqual(treeRoot(digests));
  });

  test.each(["", "00", "zz".repeat(32), digestOf("x").slice(1), `${digestOf("x")}00`])("%p is no digest", digest => {
    expect(() => treeRoot([digest])).toThrow(RangeError);
  });
});
