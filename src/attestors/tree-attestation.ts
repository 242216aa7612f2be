// What the material and product attestors share: the v0.3 predicate over a list of files. Every path is a leaf, also
// where contents are equal; the tree itself is over the distinct contents.
import type { JsonObject } from "../attestation/json.ts";
import { leafHash, treeConstants, treeRoot } from "../attestation/tree.ts";
import type { WalkedFile } from "../facts/walk.ts";

export interface Leaf {
  readonly path: string;
  readonly fileDigest: string;
}

/** Sorted by digest, then by path: the order in which the tree takes them. */
export function leavesOf(files: readonly WalkedFile[]): Leaf[] {
  const leaves: Leaf[] = [];
  for (const { path, digest } of files) {
    const fileDigest = digest.sha256;
    if (fileDigest === undefined) throw new Error(`no sha256 of ${path}`);
    leaves.push({ path, fileDigest });
  }
  return leaves.sort((a, b) => order(a.fileDigest, b.fileDigest) || order(a.path, b.path));
}

export function treeOf(leaves: readonly Leaf[]): { root: string; fields: JsonObject } {
  const { root, size } = treeRoot(leaves.map(leaf => leaf.fileDigest));
  return { root, fields: { merkleRoot: root, treeSize: size, ...treeConstants } };
}

/** Files of one content share the hash, which is computed once. */
export function leafJson(leaves: readonly Leaf[], kindOf?: (path: string) => string | undefined): JsonObject[] {
  const hashes = new Map<string, string>();
  return leaves.map(({ path, fileDigest }) => {
    const hash = hashes.get(fileDigest) ?? leafHash(fileDigest);
    hashes.set(fileDigest, hash);
    const kind = kindOf?.(path);
    return { path, fileDigest, leafHash: hash, ...(kind === undefined ? {} : { kind }) };
  });
}

function order(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
