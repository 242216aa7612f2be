// The files of a record as a whole: what the command found, what it left. Lenient, as what a person is shown of a run is.
import type { Collection } from "./collection.ts";
import type { JsonValue } from "./json.ts";
import { objectOf, textOf } from "./lenient.ts";

export interface RecordArtifact {
  path: string;
  /** Of a directory that is one entry it is the hash of the directory. Empty where there is none. */
  sha256: string;
  isCache: boolean;
}

/** Undefined: the record has no such list. */
export interface RecordArtifacts {
  materials: RecordArtifact[] | undefined;
  products: RecordArtifact[] | undefined;
}

export function readArtifacts(collection: Collection): RecordArtifacts {
  const named = (name: string) => {
    const pattern = new RegExp(`/attestations/${name}/v0\\.[0-9]+$`);
    const lists = collection.attestations.filter(({ type }) => pattern.test(type)).map(({ attestation }) => listOf(attestation));
    const known = lists.filter(list => list !== undefined);
    return known.length === 0 ? undefined : known.flat().sort((a, b) => (a.path < b.path ? -1 : 1));
  };
  return { materials: named("material"), products: named("product") };
}

/** v0.3 has leaves, and may leave out an empty list; v0.1 is an object by path, of digests or of what has them (wire-formats 4). */
function listOf(attestation: JsonValue): RecordArtifact[] | undefined {
  const predicate = objectOf(attestation);
  const { leaves, treeSize, merkleRoot } = predicate;
  if (Array.isArray(leaves)) {
    return leaves.map(objectOf).map(({ path, fileDigest, cache }) => ({
      path: textOf(path) ?? "",
      sha256: textOf(fileDigest) ?? "",
      isCache: cache === true,
    }));
  }
  if (merkleRoot !== undefined) return treeSize === 0 ? [] : undefined;
  return Object.entries(predicate).map(([path, value]) => {
    const entry = objectOf(value);
    return { path, sha256: textOf(objectOf(entry.digest).sha256) || textOf(entry.sha256) || "", isCache: false };
  });
}
