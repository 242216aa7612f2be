// The product attestor, v0.3: every file that the command left new, changed, or written again with the same content.
import type { Walk, WalkedFile } from "../facts/walk.ts";
import type { Attestor, Subject } from "./attestor.ts";
import type { RecordedFile } from "./recorded-files.ts";
import { fileTree, leafJson } from "./tree-attestation.ts";

/** Beyond this the tree's root and the leaves speak for the files. */
export const fileSubjectsMax = 1000;

/** What a product is, by the end of its name: first match, longer ends first. */
const kinds: readonly (readonly [suffix: string, kind: string])[] = [
  [".intoto.dsse.json", "intoto-dsse"],
  [".dsse.json", "intoto-dsse"],
  [".intoto.jsonl", "intoto"],
  [".intoto.json", "intoto"],
  [".link", "intoto"],
  ["provenance.json", "slsa-provenance"],
  [".slsa.json", "slsa-provenance"],
  [".spdx.json", "spdx"],
  [".spdx", "spdx"],
  [".cdx.json", "cyclonedx"],
  [".cdx.xml", "cyclonedx"],
  [".cyclonedx.json", "cyclonedx"],
  ["bom.json", "cyclonedx"],
  ["bom.xml", "cyclonedx"],
  [".sarif.json", "sarif"],
  [".sarif", "sarif"],
  [".openvex.json", "vex"],
  [".vex.json", "vex"],
];

export const productAttestor: Attestor = {
  name: "product",
  type: "https://aflock.ai/attestations/product/v0.3",
  stage: "product",
  alwaysRuns: true,
  runsByDefault: true,
  attest(facts) {
    const { products } = facts;
    const tree = fileTree(products);
    const [startTime, endTime] = facts.times.product;
    return {
      type: this.type,
      predicate: products.length === 0 ? tree.fields : { ...tree.fields, leaves: leafJson(tree, productKind) },
      subjects: [{ name: "tree:products", digest: { sha256: tree.root } }, ...fileSubjects(products)],
      startTime,
      endTime,
    };
  },
};

/** The clock of file systems moves once a tick: what is written right after the start can be older than it. */
const clockLagNs = 20_000_000n;

/**
 * Without a trace: a product is new, or differs from what was there, or was written since the start: a build that writes the same bytes
 * again has made them. The time must have moved too, so that `touch -d tomorrow` before the build makes no product.
 */
export function productsOf(before: Walk, after: Walk, startTime: bigint): WalkedFile[] {
  const earlier = new Map(before.files.map(file => [file.path, file]));
  return after.files.filter(file => {
    const old = earlier.get(file.path);
    if (old === undefined || !sameContent(old, file)) return true;
    const touched = old.mtimeNs !== file.mtimeNs || old.inode !== file.inode || old.device !== file.device;
    return touched && file.mtimeNs >= startTime - clockLagNs;
  });
}

export function productKind(path: string): string | undefined {
  const name = path.toLowerCase();
  return kinds.find(([suffix]) => name.endsWith(suffix))?.[1];
}

function fileSubjects(products: readonly RecordedFile[]): Subject[] {
  return products.slice(0, fileSubjectsMax).map(({ path, digest }) => ({
    name: `${digest.dirHash === undefined ? "file" : "dir"}:${path}`,
    digest,
  }));
}

/** Compared by sha256: a walk always has it. */
function sameContent(a: WalkedFile, b: WalkedFile): boolean {
  return a.digest.sha256 === b.digest.sha256;
}
