// Who vouches for each content that the build took from outside: the git index, a lock file, the package database of the
// system, or nobody. Works on what was read, after the build: records hold SHA-256, and where a source keeps another
// digest it is computed from the file, which counts only if that still is the content that the build has read.
//
//     inputs ── vouchers make claims ── digests that are missing ── one answer for each input
import { createHash } from "node:crypto";
import type { InputFile, TraceFiles, UndeclaredFile, UndeclaredInputs, VouchedPackage } from "../trace/observation.ts";
import { ApkVoucher } from "./vouchers/apk.ts";
import { DpkgVoucher } from "./vouchers/dpkg.ts";
import { findRepository, GitVoucher, type Repository, snapshotIndex } from "./vouchers/git.ts";
import { LockfileVoucher } from "./vouchers/lockfiles.ts";
import { RpmVoucher } from "./vouchers/rpm.ts";
import { Sources } from "./vouchers/sources.ts";
import { byteName, type Candidate, type Claim, isBelow, type KeptHash, type Voucher } from "./vouchers/voucher.ts";

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
  /** How many processes the build had: large builds may have more of the system's files compared. */
  readonly processes: number;
  readonly digest: DigestFiles;
  readonly goModuleCache?: string | undefined;
  readonly npmCache?: string | undefined;
}

export interface DigestOrder {
  readonly path: Uint8Array;
  readonly device: bigint;
  readonly inode: bigint;
  readonly bytes: number;
  readonly remote: boolean;
  readonly hashes: KeptHash[];
}

/** Values in the order of the hashes, in hexadecimal, and the file's state when they were computed. */
export interface DigestAnswer {
  readonly values: readonly string[];
  readonly state: { readonly size: bigint; readonly mtimeNs: bigint; readonly ctimeNs: bigint };
}

/** Undefined: the file of that inode is not there any more, or cannot be read. */
export type DigestFiles = (orders: readonly DigestOrder[]) => Promise<(DigestAnswer | undefined)[]>;

/**
 * Of the system's files, how much is read again to compare it: so much for any build, and more for each process, so
 * that this takes a small part of the build's own time. The files that changed last come first: what was tampered with
 * is younger than its package. What is beyond has an owner, and that is what is said of it.
 */
const comparedBytes = 16 << 20;
const comparedBytesPerProcess = 256 << 10;
/** The same for archives of packages, which take longer to unpack than to digest. */
const unpackedBytes = 4 << 20;
const unpackedBytesPerProcess = 128 << 10;
const unpackedBytesEver = 4 * 2 ** 30;
/** Of the repository's files, which only their content vouches for. */
const repositoryBytesMax = 16 * 2 ** 30;

const packagesListedMax = 10_000;
const filesListedMax = 10_000;
const rootsMax = 16;

export function readInputsBefore(workingDirectory: Uint8Array): InputsBefore {
  const name = Buffer.from(workingDirectory).toString("latin1");
  const repository = findRepository(name);
  return { workingDirectory: name, repository, snapshot: snapshotIndex(repository) };
}

export async function findUndeclared(files: TraceFiles, options: UndeclaredOptions): Promise<UndeclaredInputs> {
  const inputs = files.inputs.map(input => ({
    input,
    name: byteName(input.path),
    sha256: input.digests.sha256,
    changedNs: input.state.ctimeNs,
  }));
  const sources = openSources(inputs, files, options.before);
  const claims = collectClaims(inputs, vouchersFor(sources, options), options);
  const contents = await compare(inputs, claims, options);
  const answers = inputs.map(({ input }, index) => answerOf(input, claims[index] ?? [], contents[index] ?? unknownContent));
  return summarize(answers, sources.notes);
}

type NamedInput = Candidate & { readonly input: InputFile };

/** What the build has written vouches for nothing, unless it is what the build has read before. */
function openSources(inputs: readonly NamedInput[], files: TraceFiles, before: InputsBefore): Sources {
  const written = new Set(files.outputs.map(({ path }) => byteName(path)));
  const read = new Set(inputs.map(({ name, sha256 }) => `${sha256}${name}`));
  const wasRead = (name: string, bytes: Uint8Array) => read.has(`${createHash("sha256").update(bytes).digest("hex")}${name}`);
  return new Sources({ isWritten: name => written.has(name), wasRead, before: before.snapshot });
}

interface PlacedVoucher {
  readonly voucher: Voucher;
  readonly knows: (name: string) => boolean;
}

/** In the order in which they are believed. */
function vouchersFor(sources: Sources, options: UndeclaredOptions): PlacedVoucher[] {
  const { workingDirectory, repository } = options.before;
  const projectRoot = repository?.top ?? workingDirectory;
  const everywhere = () => true;
  const vouchers: PlacedVoucher[] = [];
  if (repository !== undefined) vouchers.push({ voucher: new GitVoucher(sources, repository), knows: everywhere });
  const goModuleCache = options.goModuleCache === undefined ? undefined : byteName(options.goModuleCache);
  const npmCache = options.npmCache === undefined ? undefined : byteName(options.npmCache);
  const unpackedBytesMax = Math.min(unpackedBytes + options.processes * unpackedBytesPerProcess, unpackedBytesEver);
  const lockfiles = new LockfileVoucher(sources, { projectRoot, workingDirectory, goModuleCache, npmCache, unpackedBytesMax });
  vouchers.push({ voucher: lockfiles, knows: everywhere });
  const roots = [...new Set(options.roots.map(root => byteName(root) || "/"))].slice(0, rootsMax);
  for (const root of roots.sort((a, b) => b.length - a.length)) {
    const inner = roots.filter(other => other !== root && isBelow(other, root));
    // The database is not even opened for the project's own files.
    const knows = (name: string) =>
      isBelow(name, root) && !inner.some(other => isBelow(name, other)) && (projectRoot === "/" || !isBelow(name, projectRoot));
    for (const System of [DpkgVoucher, ApkVoucher, RpmVoucher]) vouchers.push({ voucher: new System(sources, root), knows });
  }
  return vouchers;
}

function collectClaims(inputs: readonly NamedInput[], vouchers: readonly PlacedVoucher[], _: UndeclaredOptions): Claim[][] {
  const claims: Claim[][] = inputs.map(() => []);
  for (const { voucher, knows } of vouchers) {
    const known = [...inputs.keys()].filter(index => knows(inputs[index]?.name ?? ""));
    if (known.length === 0) continue;
    const files = known.flatMap(index => inputs[index] ?? []);
    voucher.vouch(files, (at, claim) => claims[known[at] ?? -1]?.push(claim));
  }
  return claims;
}

// ---------------------------------------------------------------------------------------------
// Digests

interface Content {
  /** What the content that the build has read has for digests, as far as they were needed. */
  readonly digests: ReadonlyMap<KeptHash, string>;
  /** Why others are not known. */
  readonly missing: "not compared" | "gone" | undefined;
}

const unknownContent: Content = { digests: new Map(), missing: "gone" };

interface Work {
  readonly index: number;
  readonly input: InputFile;
  readonly name: string;
  readonly hashes: KeptHash[];
}

async function compare(
  inputs: readonly NamedInput[],
  claims: readonly Claim[][],
  options: UndeclaredOptions,
): Promise<Content[]> {
  const contents: Content[] = inputs.map(({ sha256 }) => ({
    digests: new Map<KeptHash, string>(sha256 === undefined ? [] : [["sha256", sha256]]),
    missing: undefined,
  }));
  const { work, left } = planWork(inputs, claims, options.processes);
  for (const { index } of left) contents[index] = { digests: contents[index]?.digests ?? new Map(), missing: "not compared" };
  // A file that was touched since (its mode, a link to it) is read once more, with the digest that tells its content.
  const again: Work[] = [];
  for (const round of [work, again]) {
    const orders = round.map(item => orderOf(item, round === again));
    const answers = orders.length === 0 ? [] : await options.digest(orders);
    for (const [at, item] of round.entries()) {
      const content = contentOf(item, orders[at], answers[at]);
      if (content === "touched" && round === work) again.push(item);
      else contents[item.index] = content === "touched" ? unknownContent : content;
    }
  }
  return contents;
}

/** What to read again, in which order. */
function planWork(inputs: readonly NamedInput[], claims: readonly Claim[][], processes: number): { work: Work[]; left: Work[] } {
  const needed: { work: Work; isOwned: boolean }[] = [];
  for (const [index, { input, name, sha256 }] of inputs.entries()) {
    const expected = (claims[index] ?? []).flatMap(claim => (claim.refused === undefined && claim.expected ? claim : []));
    const hashes = [...new Set(expected.flatMap(claim => claim.expected?.algorithm ?? []))].filter(hash => hash !== "sha256");
    if (hashes.length === 0 || sha256 === undefined) continue;
    needed.push({ work: { index, input, name, hashes }, isOwned: expected.every(({ kind }) => kind === "system") });
  }
  const young = (a: Work, b: Work) => Number(b.input.state.ctimeNs - a.input.state.ctimeNs) || a.index - b.index;
  const owned = needed.flatMap(({ work, isOwned }) => (isOwned ? work : [])).sort(young);
  const others = needed.flatMap(({ work, isOwned }) => (isOwned ? [] : work));
  const repository = withinBytes(others, repositoryBytesMax);
  const system = withinBytes(owned, comparedBytes + processes * comparedBytesPerProcess);
  return { work: [...repository.work, ...system.work], left: [...repository.left, ...system.left] };
}

/** One that does not fit leaves room for smaller ones after it. */
function withinBytes(list: readonly Work[], bytesMax: number): { work: Work[]; left: Work[] } {
  const [work, left]: [Work[], Work[]] = [[], []];
  let bytes = 0;
  for (const item of list) {
    const size = Number(item.input.state.size);
    if (bytes + size > bytesMax) {
      left.push(item);
      continue;
    }
    bytes += size;
    work.push(item);
  }
  return { work, left };
}

function orderOf({ input, name, hashes }: Work, isSecond: boolean): DigestOrder {
  const { device, inode, size } = input.state;
  // In a state that only a later write would have changed, the content is the one that we know.
  const wanted: KeptHash[] = input.settled && !isSecond ? hashes : ["sha256", ...hashes];
  return { path: Buffer.from(name, "latin1"), device, inode, bytes: Number(size), remote: input.remote, hashes: wanted };
}

function contentOf(item: Work, order: DigestOrder | undefined, answer: DigestAnswer | undefined): Content | "touched" {
  if (order === undefined || answer === undefined) return unknownContent;
  const digests = new Map(order.hashes.map((hash, i) => [hash, answer.values[i] ?? ""]));
  const { sha256 } = item.input.digests;
  const known = digests.get("sha256");
  if (known !== undefined) return known === sha256 ? { digests, missing: undefined } : unknownContent;
  const { state } = item.input;
  const isSame =
    state.size === answer.state.size && state.mtimeNs === answer.state.mtimeNs && state.ctimeNs === answer.state.ctimeNs;
  return isSame ? { digests: new Map([...digests, ["sha256", sha256 ?? ""]]), missing: undefined } : "touched";
}

// ---------------------------------------------------------------------------------------------
// Answers

type Answer =
  | { kind: "vouched"; claim: Claim; match: "digest" | "owner" }
  | { kind: "differs"; path: string; claim: Claim }
  | { kind: "nobody"; path: string; claim: Claim | undefined; note: string | undefined };

/** A digest that fits counts most, then one that does not, then an owner. */
function answerOf({ path, digests: recorded }: InputFile, claims: readonly Claim[], { digests, missing }: Content): Answer {
  const valid = claims.filter(({ refused }) => refused === undefined);
  const isCompared = (claim: Claim) => claim.expected !== undefined && digests.has(claim.expected.algorithm);
  const fits = (claim: Claim) => claim.expected !== undefined && digests.get(claim.expected.algorithm) === claim.expected.hex;
  const fitting = valid.find(fits);
  if (fitting) return { kind: "vouched", claim: fitting, match: "digest" };
  const other = valid.find(claim => isCompared(claim) && !fits(claim));
  if (other) return { kind: "differs", path, claim: other };
  const isOwner = ({ expected, kind }: Claim) => expected === undefined || (missing === "not compared" && kind === "system");
  const isKnown = recorded.sha256 !== undefined;
  const owner = valid.find(isOwner);
  if (owner && isKnown) return { kind: "vouched", claim: owner, match: "owner" };
  const claim = valid[0] ?? claims[0];
  return { kind: "nobody", path, claim, note: claim && noteOf(claim, isKnown, missing) };
}

function noteOf(claim: Claim, isKnown: boolean, missing: Content["missing"]): string {
  if (claim.refused !== undefined) return claim.refused;
  if (!isKnown) return "its content is not known";
  return missing === "not compared" ? "too much to compare" : "what was read is no longer there to compare";
}

function summarize(answers: readonly Answer[], notes: readonly string[]): UndeclaredInputs {
  const counts = { total: answers.length, git: 0, lockfile: 0, system: 0, nobody: 0, differs: 0 };
  const packages = new Map<string, VouchedPackage>();
  const files: UndeclaredFile[] = [];
  for (const answer of answers) {
    if (answer.kind !== "vouched") {
      counts[answer.kind]++;
      files.push(undeclaredFile(answer));
      continue;
    }
    const { kind, by, source, package: name, version } = answer.claim;
    counts[kind]++;
    const key = JSON.stringify([kind, by, source, name, version, answer.match]);
    const known = packages.get(key);
    if (known) known.files++;
    else packages.set(key, { kind, by, source, package: name, ...optional("version", version), match: answer.match, files: 1 });
  }
  const sorted = [...packages].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, found]) => found);
  return {
    counts,
    packages: sorted.slice(0, packagesListedMax),
    files: files.slice(0, filesListedMax),
    unlistedPackages: Math.max(0, sorted.length - packagesListedMax),
    unlistedFiles: Math.max(0, files.length - filesListedMax),
    notes,
  };
}

function undeclaredFile(answer: Exclude<Answer, { kind: "vouched" }>): UndeclaredFile {
  const { kind, path, claim } = answer;
  if (claim === undefined) return { path, kind };
  const { by, source, package: name, version } = claim;
  const note = answer.kind === "nobody" ? answer.note : undefined;
  return { path, kind, by, source, package: name, ...optional("version", version), ...optional("note", note) };
}

function optional<K extends string>(key: K, value: string | undefined): { [key in K]?: string } {
  return value === undefined ? {} : ({ [key]: value } as { [key in K]?: string });
}
