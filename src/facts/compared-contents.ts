// Digests that the record does not have, computed from the files that the build has read: which, how many, in which order.
// One counts only if the file still has the content that was read, which its inode's state says, or its SHA-256.
import type { InputFile } from "../trace/observation.ts";
import type { KnownContent } from "./input-answers.ts";
import { byteName, type Claim, type KeptHash } from "./vouchers/voucher.ts";

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
const systemBytes = 16 << 20;
const systemBytesPerProcess = 256 << 10;
/** Of all others, which only their content vouches for. */
const otherBytesMax = 16 * 2 ** 30;
/** Orders that are under way at a time: a large build has a hundred thousand inputs. */
const ordersMax = 2048;

interface Work {
  readonly index: number;
  readonly input: InputFile;
  readonly hashes: KeptHash[];
}

const nothingAsked: KnownContent = { digests: new Map() };
const gone: KnownContent = { digests: new Map(), missing: "gone" };

/** Calls `known` once for each input, in any order. */
export async function compareContents(
  inputs: readonly InputFile[],
  claimsOf: (index: number) => readonly Claim[],
  options: { processes: number; digest: DigestFiles },
  known: (index: number, content: KnownContent) => void,
): Promise<void> {
  const needed: { system: Work[]; others: Work[] } = { system: [], others: [] };
  inputs.forEach((input, index) => {
    const claims = claimsOf(index);
    if (claims.length === 0) {
      // Nobody says anything: nearly all of the 40,000 inputs of a large build.
      known(index, nothingAsked);
      return;
    }
    const recorded = recordedDigests(input);
    const valid = claims.filter(({ refused, expected }) => refused === undefined && expected !== undefined);
    const hashes = [...new Set(valid.flatMap(({ expected }) => expected?.algorithm ?? []))].filter(hash => !recorded.has(hash));
    if (hashes.length === 0 || !recorded.has("sha256")) known(index, { digests: recorded });
    else if (valid.every(({ kind }) => kind === "system")) needed.system.push({ index, input, hashes });
    else needed.others.push({ index, input, hashes });
  });
  const bySystem = withinBytes(needed.system.sort(youngFirst), systemBytes + options.processes * systemBytesPerProcess);
  const byOthers = withinBytes(needed.others, otherBytesMax);
  for (const { index, input } of [...bySystem.left, ...byOthers.left]) {
    known(index, { digests: recordedDigests(input), missing: "not compared" });
  }
  const work = [...byOthers.work, ...bySystem.work];
  for (let start = 0; start < work.length; start += ordersMax) {
    // A file that was touched since (its mode, a link to it) is read once more, with the digest that tells its content.
    const touched = await round(work.slice(start, start + ordersMax), options.digest, { isSecond: false, known });
    await round(touched, options.digest, { isSecond: true, known });
  }
}

/** Returns what has to be read once more. */
async function round(
  work: readonly Work[],
  digest: DigestFiles,
  { isSecond, known }: { isSecond: boolean; known: (index: number, content: KnownContent) => void },
): Promise<Work[]> {
  if (work.length === 0) return [];
  const orders = work.map(item => orderOf(item, isSecond));
  const answers = await digest(orders);
  return work.filter((item, at) => {
    const content = contentOf(item.input, orders[at], answers[at]);
    if (content === "touched" && !isSecond) return true;
    known(item.index, content === "touched" ? { ...gone, digests: recordedDigests(item.input) } : content);
    return false;
  });
}

const youngFirst = (a: Work, b: Work): number => Number(b.input.state.ctimeNs - a.input.state.ctimeNs) || a.index - b.index;

/** One that does not fit leaves room for smaller ones after it. */
function withinBytes(list: readonly Work[], bytesMax: number): { work: Work[]; left: Work[] } {
  const [work, left]: [Work[], Work[]] = [[], []];
  let bytes = 0;
  for (const item of list) {
    const size = Number(item.input.state.size);
    const fits = bytes + size <= bytesMax;
    if (fits) bytes += size;
    (fits ? work : left).push(item);
  }
  return { work, left };
}

function orderOf({ input, hashes }: Work, isSecond: boolean): DigestOrder {
  const { device, inode, size } = input.state;
  // In a state that only a later write would have changed, the content is the one that we know.
  const wanted: KeptHash[] = input.settled && !isSecond ? hashes : ["sha256", ...hashes];
  const path = Buffer.from(byteName(input.path), "latin1");
  return { path, device, inode, bytes: Number(size), remote: input.remote, hashes: wanted };
}

function contentOf(input: InputFile, order: DigestOrder | undefined, answer: DigestAnswer | undefined): KnownContent | "touched" {
  const digests = recordedDigests(input);
  if (order === undefined || answer === undefined) return { ...gone, digests };
  const computed = order.hashes.map((hash, i) => [hash, answer.values[i] ?? ""] as const);
  const sha256 = computed.find(([hash]) => hash === "sha256")?.[1];
  if (sha256 !== undefined && sha256 !== input.digests.sha256) return { ...gone, digests };
  if (sha256 === undefined && !isSameState(input.state, answer.state)) return "touched";
  for (const [hash, value] of computed) digests.set(hash, value);
  return { digests };
}

function isSameState(a: DigestAnswer["state"], b: DigestAnswer["state"]): boolean {
  return a.size === b.size && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs;
}

/** Those of a git object stand in the record as gitoid:blob:sha1:HEX. */
function recordedDigests({ digests }: InputFile): Map<KeptHash, string> {
  const found = new Map<KeptHash, string>();
  for (const hash of ["sha256", "sha1", "gitoid:sha256", "gitoid:sha1"] as const) {
    const value = digests[hash];
    if (value !== undefined) found.set(hash, value.slice(value.lastIndexOf(":") + 1));
  }
  return found;
}
