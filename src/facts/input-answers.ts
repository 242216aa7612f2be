// From the claims for an input and the digests of its content to one answer, and from all answers to what the record
// says. Pure.
import type { UndeclaredFile, UndeclaredInputs, VouchedPackage } from "../trace/observation.ts";
import type { Claim, KeptHash } from "./vouchers/voucher.ts";

/** What is known of the content that the build has read. */
export interface KnownContent {
  /** As far as they were needed. */
  readonly digests: ReadonlyMap<KeptHash, string>;
  /** Why others are missing: there was too much to compare, or it is not there any more. */
  readonly missing?: "not compared" | "gone" | undefined;
}

export type Answer =
  | { readonly kind: "vouched"; readonly claim: Claim; readonly match: "digest" | "owner" }
  | { readonly kind: "differs"; readonly claim: Claim }
  | { readonly kind: "nobody"; readonly claim: Claim | undefined; readonly note: string | undefined };

const packagesListedMax = 10_000;
const filesListedMax = 10_000;

const nobody: Answer = { kind: "nobody", claim: undefined, note: undefined };

/** A digest that fits counts most, then one that does not, then an owner. Among equals the first claim counts. */
export function answerOf(claims: readonly Claim[], { digests, missing }: KnownContent): Answer {
  if (claims.length === 0) return nobody;
  const isKnown = digests.has("sha256");
  let differing: Claim | undefined;
  let owner: Claim | undefined;
  for (const claim of claims) {
    if (claim.refused !== undefined) continue;
    const { expected, kind } = claim;
    const found = expected && digests.get(expected.algorithm);
    if (expected && found === expected.hex) return { kind: "vouched", claim, match: "digest" };
    if (found !== undefined) differing ??= claim;
    else if (isKnown && (expected === undefined || (missing === "not compared" && kind === "system"))) owner ??= claim;
  }
  if (differing) return { kind: "differs", claim: differing };
  if (owner) return { kind: "vouched", claim: owner, match: "owner" };
  const claim = claims.find(({ refused }) => refused === undefined) ?? claims[0];
  return { kind: "nobody", claim, note: claim && noteOf(claim, isKnown, missing) };
}

function noteOf(claim: Claim, isKnown: boolean, missing: KnownContent["missing"]): string {
  if (claim.refused !== undefined) return claim.refused;
  if (!isKnown) return "its content is not known";
  return missing === "not compared" ? "too much to compare" : "what was read is no longer there to compare";
}

/** `answers` in the order of the paths. */
export function summarize(paths: readonly string[], answers: readonly Answer[], notes: readonly string[]): UndeclaredInputs {
  const counts = { total: answers.length, git: 0, lockfile: 0, system: 0, nobody: 0, differs: 0 };
  const packages = new Map<string, VouchedPackage>();
  const files: UndeclaredFile[] = [];
  answers.forEach((answer, index) => {
    if (answer.kind === "vouched") {
      counts[answer.claim.kind]++;
      addPackage(packages, answer.claim, answer.match);
      return;
    }
    counts[answer.kind]++;
    if (files.length < filesListedMax) files.push(undeclaredFile(paths[index] ?? "", answer));
  });
  const sorted = [...packages].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, found]) => found);
  return {
    counts,
    packages: sorted.slice(0, packagesListedMax),
    files,
    unlistedPackages: Math.max(0, sorted.length - packagesListedMax),
    unlistedFiles: counts.nobody + counts.differs - files.length,
    notes,
  };
}

function addPackage(packages: Map<string, VouchedPackage>, claim: Claim, match: "digest" | "owner"): void {
  const { kind, by, source, package: name, version } = claim;
  const key = JSON.stringify([kind, by, source, name, version, match]);
  const known = packages.get(key);
  if (known) known.files++;
  else packages.set(key, { kind, by, source, package: name, ...(version === undefined ? {} : { version }), match, files: 1 });
}

function undeclaredFile(path: string, answer: Exclude<Answer, { kind: "vouched" }>): UndeclaredFile {
  const { kind, claim } = answer;
  if (claim === undefined) return { path, kind };
  const { by, source, package: name, version } = claim;
  const file: UndeclaredFile = { path, kind, by, source, package: name };
  if (version !== undefined) file.version = version;
  if (answer.kind === "nobody" && answer.note !== undefined) file.note = answer.note;
  return file;
}
