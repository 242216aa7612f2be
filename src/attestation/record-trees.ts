// The Merkle trees inside of a record: is each root the root of the leaves beside it, and which files are leaves? The
// rules are those of the existing verifiers (wire-formats 4.3): treeSize, leafHash and the order of leaves do not count,
// a tree without leaves cannot be checked and proves nothing about a file.
import { z } from "zod";
import type { Collection } from "./collection.ts";
import { readFields } from "./document.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "./json.ts";
import type { StatementSubject } from "./statement.ts";
import { treeLeavesMax, treeRoot } from "./tree.ts";

export type TreeRole = "material" | "product";

const treeTypes: ReadonlyMap<string, TreeRole> = new Map([
  ["https://aflock.ai/attestations/material/v0.3", "material"],
  ["https://aflock.ai/attestations/product/v0.3", "product"],
]);

export type TreeProblem =
  | { kind: "too-many-leaves"; count: number }
  | { kind: "malformed-leaf"; index: number }
  | { kind: "duplicate-path"; path: string }
  | { kind: "wrong-root"; computed: string };

export interface RecordTree {
  role: TreeRole;
  root: string;
  /** Whether the root is the sha256 of a subject, so that the signature is about it. */
  isSubject: boolean;
  /** File digest to its first path; undefined where the tree came without leaves. */
  leaves: ReadonlyMap<string, string> | undefined;
  count: number;
  problem: TreeProblem | undefined;
}

const treeSchema = z.object({
  merkleRoot: z.string().nullish(),
  treeSize: z.union([z.int().min(0), z.bigint().min(0n)]).nullish(),
  leaves: z.custom<JsonValue[]>(value => Array.isArray(value), "not a list").nullish(),
});

/** Every tree of the collection, checked. One that no decoder would read throws. */
export function checkTrees(collection: Collection, subjects: readonly StatementSubject[]): RecordTree[] {
  return collection.attestations.flatMap(({ type, attestation }) => {
    const role = treeTypes.get(type);
    if (role === undefined) return [];
    return checkTree(role, isJsonObject(attestation) ? attestation : {}, subjects);
  });
}

function checkTree(role: TreeRole, predicate: JsonObject, subjects: readonly StatementSubject[]): RecordTree {
  const { merkleRoot, leaves } = readFields(predicate, treeSchema, `a ${role} tree`);
  const root = merkleRoot ?? "";
  const isSubject = root !== "" && subjects.some(({ digest }) => digest.sha256 === root);
  const tree: RecordTree = { role, root, isSubject, leaves: undefined, count: leaves?.length ?? 0, problem: undefined };
  return leaves === undefined || leaves === null ? tree : { ...tree, ...readLeaves(leaves, root) };
}

function readLeaves(leaves: readonly JsonValue[], root: string): Pick<RecordTree, "leaves" | "problem"> {
  const refuse = (problem: TreeProblem) => ({ leaves: undefined, problem });
  if (leaves.length > treeLeavesMax) return refuse({ kind: "too-many-leaves", count: leaves.length });
  const paths = new Set<string>();
  const byDigest = new Map<string, string>();
  for (const [index, leaf] of leaves.entries()) {
    const { path, fileDigest } = isJsonObject(leaf) ? leaf : {};
    if (typeof path !== "string" || typeof fileDigest !== "string" || !/^[0-9a-f]{64}$/i.test(fileDigest)) {
      return refuse({ kind: "malformed-leaf", index });
    }
    if (paths.has(path)) return refuse({ kind: "duplicate-path", path });
    paths.add(path);
    const digest = fileDigest.toLowerCase();
    if (!byDigest.has(digest)) byDigest.set(digest, path);
  }
  const computed = treeRoot(byDigest.keys()).root;
  return computed === root ? { leaves: byDigest, problem: undefined } : refuse({ kind: "wrong-root", computed });
}

export function describeTreeProblem(problem: TreeProblem): string {
  switch (problem.kind) {
    case "too-many-leaves":
      return `${problem.count} leaves, more than ${treeLeavesMax}`;
    case "malformed-leaf":
      return `leaf ${problem.index} has no path or no sha256`;
    case "duplicate-path":
      return `two leaves have the path ${problem.path}`;
    case "wrong-root":
      return `its leaves have the root ${problem.computed}`;
  }
}
