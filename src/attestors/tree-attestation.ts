// What the material and product attestors share: the v0.3 predicate over a list of files. Every path is a leaf, also
// where contents are equal; the tree itself is over the distinct contents.
import type { JsonObject } from "../attestation/json.ts";
import { treeConstants, treeOver } from "../attestation/tree.ts";
import type { WalkedFile } from "../facts/walk.ts";

interface Leaf {
  readonly path: string;
  readonly fileDigest: string;
  readonly leafHash: string;
}

export interface FileTree {
  readonly root: string;
  readonly fields: JsonObject;
  /** Sorted by digest, then by path: the order in which the tree takes them. */
  readonly leaves: readonly Leaf[];
}

/** Of 40,000 files it takes 0.2 s: of those that are there before the build it is made while the build runs. */
const made = new WeakMap<readonly WalkedFile[], FileTree>();

export function fileTree(files: readonly WalkedFile[]): FileTree {
  const tree = made.get(files) ?? makeTree(files);
  made.set(files, tree);
  return tree;
}

function makeTree(files: readonly WalkedFile[]): FileTree {
  const { root, leafHashes } = treeOver(files.map(digestOf));
  const leaves = files.map(file => {
    const fileDigest = digestOf(file);
    return { path: file.path, fileDigest, leafHash: leafHashes.get(fileDigest) ?? "" };
  });
  leaves.sort((a, b) => order(a.fileDigest, b.fileDigest) || order(a.path, b.path));
  return { root, fields: { merkleRoot: root, treeSize: leafHashes.size, ...treeConstants }, leaves };
}

export function leafJson({ leaves }: FileTree, kindOf: (path: string) => string | undefined = () => undefined): JsonObject[] {
  return leaves.map(leaf => {
    const kind = kindOf(leaf.path);
    return kind === undefined ? { ...leaf } : { ...leaf, kind };
  });
}

function digestOf({ path, digest }: WalkedFile): string {
  if (digest.sha256 === undefined) throw new Error(`no sha256 of ${path}`);
  return digest.sha256;
}

function order(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
