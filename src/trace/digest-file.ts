// The digest of one file, read through a descriptor with positional reads, so that nobody's offset moves. Runs in a
// worker thread. A file that changes under the reading is read again, a bounded number of times.
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { type HolesLeft, holesLeft, isTooLarge, takeHoles } from "../file-limits.ts";
import { type ComparedHash, type HashName, startHash } from "../hashes.ts";

export type { ComparedHash, HashName };

/** What fstat says of a content: equal before and after reading means that it held still. */
export interface FileState {
  size: bigint;
  mtimeNs: bigint;
  ctimeNs: bigint;
}

export interface DigestJob {
  id: number;
  /** -1: open `path`. */
  descriptor: number;
  /** Only with `descriptor` -1. Counts only if it is still this inode. */
  path?: Uint8Array;
  device?: bigint;
  inode?: bigint;
  /** Only a file of this size and mtime is the one that is meant: else do not read it. */
  expected?: { size: bigint; mtimeNs: bigint };
  /** In this very state its content is known already: then do not read it. */
  unless?: FileState;
  /** In place of those of all jobs. */
  hashes?: ComparedHash[];
}

export type DigestResult =
  | { id: number; kind: "digest"; values: string[]; state: FileState; beganNs: bigint; endNs: bigint }
  | { id: number; kind: "unchanged" }
  | { id: number; kind: "changed" }
  /** The path is gone, or another file has it now. */
  | { id: number; kind: "gone" }
  /** It has grown beyond the limits since its record: a terabyte of holes is made in a moment. */
  | { id: number; kind: "too-large" }
  | { id: number; kind: "unreadable"; code: string };

/** Readings of a file that does not hold still. */
export const attemptsMax = 4;
const chunkSize = 1 << 20;

/** Allocated with the first file: the thread that only types are imported into has no use for it. */
let buffer: Buffer | undefined;

export function digestFile(job: DigestJob, hashes: readonly HashName[], holes: HolesLeft = holesLeft()): DigestResult {
  let descriptor = job.descriptor;
  try {
    if (descriptor < 0) descriptor = openPath(job.path ?? new Uint8Array());
    return digestDescriptor(job, descriptor, job.hashes ?? hashes, holes);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
    if (job.descriptor < 0 && (code === "ENOENT" || code === "ENOTDIR" || code === "ELOOP")) return { id: job.id, kind: "gone" };
    return { id: job.id, kind: "unreadable", code };
  } finally {
    if (job.descriptor < 0 && descriptor >= 0) closeSync(descriptor);
  }
}

/** Never waits for the other end of a fifo, never follows a link put there since, and leaves atime alone where that is allowed. */
function openPath(path: Uint8Array): number {
  const name = Buffer.from(path);
  const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW | constants.O_NOCTTY;
  try {
    return openSync(name, flags | constants.O_NOATIME);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EPERM")) throw error; // O_NOATIME is the owner's
    return openSync(name, flags);
  }
}

function digestDescriptor(job: DigestJob, descriptor: number, hashes: readonly ComparedHash[], holes: HolesLeft): DigestResult {
  const { id, expected, unless } = job;
  let before = stateOf(descriptor);
  if (job.descriptor < 0 && (before.dev !== job.device || before.ino !== job.inode || !before.isFile()))
    return { id, kind: "gone" };
  if (unless && sameState(before, unless)) return { id, kind: "unchanged" };
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    if (isTooLarge(before)) return { id, kind: "too-large" };
    if (expected && (before.size !== expected.size || before.mtimeNs !== expected.mtimeNs)) break;
    if (!takeHoles(before, holes)) return { id, kind: "too-large" };
    const beganNs = BigInt(Date.now()) * 1_000_000n;
    const values = readAll(descriptor, before.size, hashes);
    const after = stateOf(descriptor);
    if (values && sameState(before, after)) {
      const { size, mtimeNs, ctimeNs } = after;
      // Milliseconds: rounded up, so that it did end before.
      const endNs = BigInt(Date.now() + 1) * 1_000_000n;
      return { id, kind: "digest", values, state: { size, mtimeNs, ctimeNs }, beganNs, endNs };
    }
    before = after;
  }
  return { id, kind: "changed" };
}

const stateOf = (descriptor: number) => fstatSync(descriptor, { bigint: true });

export function sameState(a: FileState, b: FileState): boolean {
  return a.size === b.size && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs;
}

/** Undefined: the file does not have the length that it had. A git object's hash begins with the length, so it is needed first. */
function readAll(descriptor: number, size: bigint, hashes: readonly ComparedHash[]): string[] | undefined {
  buffer ??= Buffer.allocUnsafe(chunkSize);
  const hashers = hashes.map(hash => startHash(hash, size));
  let position = 0;
  for (;;) {
    const count = readSync(descriptor, buffer, 0, chunkSize, position);
    if (count === 0) break;
    position += count;
    if (BigInt(position) > size) return undefined; // it grows: a writer could keep us here for ever
    const bytes = buffer.subarray(0, count);
    for (const hasher of hashers) hasher.update(bytes);
    // One read less per small file: at the end of what fstat promised the file is not asked once more; it is fstat that tells.
    if (BigInt(position) === size && count < chunkSize) break;
  }
  if (BigInt(position) !== size) return undefined;
  return hashers.map(hasher => hasher.value());
}
