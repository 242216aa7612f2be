// What `cilock show --artifacts` prints: materials, products and subjects with their digests. Pure.
import { type JsonObject, omitUndefined } from "../attestation/json.ts";
import type { RecordArtifact, RecordArtifacts } from "../attestation/record-artifacts.ts";
import type { StatementSubject } from "../attestation/statement.ts";

export interface ShownArtifacts {
  /** Undefined: the record is no collection of attestations. */
  readonly artifacts: RecordArtifacts | undefined;
  readonly subjects: readonly StatementSubject[];
}

const unknownDigest = "-".repeat(64);

/** Sections of lines, the first line of each its title. */
export function artifactSections({ artifacts, subjects }: ShownArtifacts): string[][] {
  return [
    ["materials", ...fileLines(artifacts?.materials)],
    ["products", ...fileLines(artifacts?.products)],
    ["subjects", ...(subjects.length === 0 ? ["  none"] : subjects.flatMap(subjectLines))],
  ];
}

function fileLines(files: readonly RecordArtifact[] | undefined): string[] {
  if (files === undefined) return ["  the record has no such list"];
  if (files.length === 0) return ["  none"];
  return files.map(({ path, sha256, isCache }) => `  ${sha256 || unknownDigest}  ${path}${isCache ? "  (cache)" : ""}`);
}

/** The digest first, in the form that `cilock verify --subjects` takes. */
function subjectLines({ name, digest }: StatementSubject): string[] {
  const digests = Object.entries(digest);
  if (digests.length === 0) return [`  no digest  ${name}`];
  return digests.map(([algorithm, hex]) => `  ${algorithm}:${hex}  ${name}`);
}

export function artifactsJson({ artifacts, subjects }: ShownArtifacts): JsonObject {
  return omitUndefined({
    materials: artifacts?.materials?.map(fileJson),
    products: artifacts?.products?.map(fileJson),
    subjects: subjects.map(({ name, digest }) => ({ name, digest: { ...digest } })),
  });
}

function fileJson({ path, sha256, isCache }: RecordArtifact): JsonObject {
  return omitUndefined({ path, sha256: sha256 === "" ? undefined : sha256, cache: isCache || undefined });
}
