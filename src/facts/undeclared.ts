// Who vouches for each content that the build took from outside: the git index, a lock file, the package database of the
// system, or nobody. Works on what was read, after the build.
//
//     inputs ── vouchers make claims ── digests that are missing ── one answer for each input
import { createHash } from "node:crypto";
import type { TraceFiles, UndeclaredInputs } from "../trace/observation.ts";
import { compareContents, type DigestFiles } from "./compared-contents.ts";
import { type Answer, answerOf, summarize } from "./input-answers.ts";
import { ApkVoucher } from "./vouchers/apk.ts";
import { DpkgVoucher } from "./vouchers/dpkg.ts";
import { findRepository, GitVoucher, type Repository, snapshotIndex } from "./vouchers/git.ts";
import { LockfileVoucher } from "./vouchers/lockfiles.ts";
import { RpmVoucher } from "./vouchers/rpm.ts";
import { Sources } from "./vouchers/sources.ts";
import { byteName, type Candidate, type Claim, isBelow, type Voucher } from "./vouchers/voucher.ts";

/** What is read before the build, since the build may write it. */
export interface InputsBefore {
  /** One character a byte. */
  readonly workingDirectory: string;
  readonly repository: Repository | undefined;
  readonly snapshot: ReadonlyMap<string, Buffer>;
}

export interface UndeclaredOptions {
  readonly before: InputsBefore;
  /** Root directories of the traced processes, escaped; empty or `/` is our own. */
  readonly roots: readonly string[];
  /** How many processes the build had: for a large build more may be compared. */
  readonly processes: number;
  readonly digest: DigestFiles;
  /** As the environment has them; escaped. */
  readonly goModuleCache?: string | undefined;
  readonly npmCache?: string | undefined;
}

/** What may be unpacked of packages' archives, which takes longer than to digest them. */
const unpackedBytes = 4 << 20;
const unpackedBytesPerProcess = 128 << 10;
const unpackedBytesEver = 4 * 2 ** 30;
const rootsMax = 16;

export function readInputsBefore(workingDirectory: Uint8Array): InputsBefore {
  const name = Buffer.from(workingDirectory).toString("latin1");
  const repository = findRepository(name);
  return { workingDirectory: name, repository, snapshot: snapshotIndex(repository) };
}

type InsAndOuts = Pick<TraceFiles, "inputs" | "outputs">;

export async function findUndeclared(files: InsAndOuts, options: UndeclaredOptions): Promise<UndeclaredInputs> {
  const { inputs } = files;
  const sources = openSources(files, options.before);
  const claims = new Claims();
  collectClaims(files, vouchersFor(sources, options), claims);
  const answers: Answer[] = new Array(inputs.length);
  await compareContents(inputs, claims.of, options, (index, content) => {
    answers[index] = answerOf(claims.of(index), content);
  });
  return summarize(
    inputs.map(({ path }) => path),
    answers,
    sources.notes,
  );
}

/** By input. Nearly all have one or none: a list only where there are more. */
class Claims {
  readonly #claims: (Claim | Claim[] | undefined)[] = [];

  add(index: number, claim: Claim): void {
    const known = this.#claims[index];
    if (known === undefined) this.#claims[index] = claim;
    else if (Array.isArray(known)) known.push(claim);
    else this.#claims[index] = [known, claim];
  }

  readonly of = (index: number): readonly Claim[] => {
    const known = this.#claims[index];
    if (known === undefined) return [];
    return Array.isArray(known) ? known : [known];
  };
}

/** What the build has written vouches for nothing, unless it is what the build has read before. */
function openSources({ inputs, outputs }: InsAndOuts, before: InputsBefore): Sources {
  const written = new Set(outputs.map(({ path }) => byteName(path)));
  const wasRead = (name: string, bytes: Uint8Array) => {
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    return inputs.some(({ path, digests }) => digests.sha256 === sha256 && byteName(path) === name);
  };
  return new Sources({ isWritten: name => written.has(name), wasRead, before: before.snapshot });
}

interface PlacedVouchers {
  readonly vouchers: readonly Voucher[];
  /** Left out: all. */
  readonly knows?: (name: string) => boolean;
}

/** In the order in which they are believed. */
function vouchersFor(sources: Sources, options: UndeclaredOptions): PlacedVouchers[] {
  const { workingDirectory, repository } = options.before;
  const projectRoot = repository?.top ?? workingDirectory;
  const [goModuleCache, npmCache] = [options.goModuleCache, options.npmCache].map(path => path && byteName(path));
  const unpackedBytesMax = Math.min(unpackedBytes + options.processes * unpackedBytesPerProcess, unpackedBytesEver);
  const lockfiles = new LockfileVoucher(sources, { projectRoot, workingDirectory, goModuleCache, npmCache, unpackedBytesMax });
  const git = repository === undefined ? [] : [new GitVoucher(sources, repository)];
  const placed: PlacedVouchers[] = [{ vouchers: [...git, lockfiles] }];
  const roots = [...new Set(options.roots.map(root => byteName(root) || "/"))].slice(0, rootsMax);
  for (const root of roots) {
    const inner = roots.filter(other => other !== root && isBelow(other, root));
    // The database is not even opened for the project's own files, which are most.
    const knows = (name: string) =>
      (projectRoot === "/" || !isBelow(name, projectRoot)) && isBelow(name, root) && !inner.some(other => isBelow(name, other));
    placed.push({ vouchers: [DpkgVoucher, ApkVoucher, RpmVoucher].map(System => new System(sources, root)), knows });
  }
  return placed;
}

/** A large build has 40,000 inputs: those that a voucher is not asked for cost one question. */
function collectClaims({ inputs }: InsAndOuts, placed: readonly PlacedVouchers[], claims: Claims): void {
  const all = inputs.map(({ path, digests, state }) => ({
    name: byteName(path),
    sha256: digests.sha256,
    changedNs: state.ctimeNs,
  }));
  for (const { vouchers, knows } of placed) {
    const indexes: number[] = [];
    const files: Candidate[] = [];
    all.forEach((file, index) => {
      if (knows?.(file.name) === false) return;
      indexes.push(index);
      files.push(file);
    });
    if (files.length === 0) continue;
    for (const voucher of vouchers) voucher.vouch(files, (at, claim) => claims.add(indexes[at] ?? -1, claim));
  }
}
