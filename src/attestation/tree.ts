// The Merkle tree over the files of a material or product attestation (wire-formats 4.3): RFC 6962, section 2.1, over the
// hash of each distinct file digest. Paths are not bound by it, files of equal content count once.
//
//   leafHash  = SHA256(file digest)          the 32 raw bytes
//   leaf node = SHA256(0x00 ‖ leafHash)
//   inner     = SHA256(0x01 ‖ left ‖ right)  split at the largest power of two below the number of leaves
//   empty     = SHA256("")
import { sha256Into } from "../hashes.ts";

export const treeConstants = { hashAlgorithm: "sha256", construction: "RFC6962" } as const;

/** Beyond this the existing verifiers refuse the list of leaves. */
export const treeLeavesMax = 1 << 20;

const leafPrefix = 0;
const innerPrefix = 1;

/** What a leaf names as `leafHash`; `fileDigest` is the hexadecimal sha256 of a file. */
export function leafHash(fileDigest: string): string {
  return hashesOfLeaves([fileDigest]).toString("hex");
}

/** Root of the tree over these files, and its number of leaves. Order and repetition do not matter. */
export function treeRoot(fileDigests: Iterable<string>): { root: string; size: number } {
  const { root, digests } = treeOver(fileDigests);
  return { root, size: digests.length };
}

export interface Tree {
  readonly root: string;
  /** The files' digests in the order of the tree: in lower case, each once. */
  readonly digests: readonly string[];
  /** What their leaves name as `leafHash`, in the same order. */
  readonly leafHashes: readonly string[];
}

export function treeOver(fileDigests: Iterable<string>): Tree {
  const digests = [...new Set(Array.from(fileDigests, digest => digest.toLowerCase()))].sort();
  const hashes = hashesOfLeaves(digests);
  const hex = hashes.toString("hex");
  const leafHashes = digests.map((_, index) => hex.slice(index * hexLength, (index + 1) * hexLength));
  return { root: rootOver(hashes).toString("hex"), digests, leafHashes };
}

const hashLength = 32;
const hexLength = 2 * hashLength;

/** One behind the other, in the order of the digests. */
function hashesOfLeaves(digests: readonly string[]): Buffer {
  const wrong = digests.find(digest => !/^[0-9a-f]{64}$/i.test(digest));
  if (wrong !== undefined) throw new RangeError(`not a sha256 in hexadecimal: ${wrong}`);
  const hashes = Buffer.from(digests.join(""), "hex");
  const [input, output] = [new Uint8Array(hashLength), new Uint8Array(hashLength)];
  for (let at = 0; at < hashes.length; at += hashLength) {
    copyHash(hashes, at, input, 0);
    hashes.set(sha256Into(input, output), at);
  }
  return hashes;
}

/**
 * Joining neighbours and carrying an odd last one upwards unchanged gives the tree of RFC 6962: each left subtree is then
 * full, and as large as a power of two allows. All in one buffer: a large build has 40,000 leaves, and an object for each node would
 * take five times as long as the hashes.
 */
function rootOver(leafHashes: Uint8Array): Buffer {
  const level = Buffer.from(leafHashes);
  const leaf = Uint8Array.of(leafPrefix, ...new Uint8Array(hashLength));
  const inner = Uint8Array.of(innerPrefix, ...new Uint8Array(2 * hashLength));
  const output = new Uint8Array(hashLength);
  for (let at = 0; at < level.length; at += hashLength) {
    copyHash(level, at, leaf, 1);
    level.set(sha256Into(leaf, output), at);
  }
  let length = level.length;
  if (length === 0) return Buffer.from(sha256Into(new Uint8Array(0), output));
  while (length > hashLength) {
    let above = 0;
    for (let at = 0; at < length; at += 2 * hashLength, above += hashLength) {
      if (at + hashLength === length) {
        level.copyWithin(above, at, length);
        continue;
      }
      copyHash(level, at, inner, 1);
      copyHash(level, at + hashLength, inner, 1 + hashLength);
      level.set(sha256Into(inner, output), above);
    }
    length = above;
  }
  return level.subarray(0, hashLength);
}

/** By a loop: a view of the bytes would be one more object for each. */
function copyHash(from: Uint8Array, at: number, to: Uint8Array, start: number): void {
  for (let i = 0; i < hashLength; i++) to[start + i] = from[at + i] ?? 0;
}
