// The content of one regular file, as a digest that it really had: read through one descriptor, and looked at again.
import { type BigIntStats, closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { type HolesLeft, holesLeft, isTooLarge, takeHoles } from "../file-limits.ts";
import { type HashName, startHash } from "../hashes.ts";
import type { DigestSet } from "../trace/observation.ts";
import { realPath } from "./real-path.ts";

/** Before Linux 6.13 ctime moves only once a tick (at most 10 ms): a write within the same tick would not show in it. */
const settledAfterNs = 20_000_000n;
/** A file that changes while it is read is read again, at most this often. */
const readAttempts = 3;
const chunk = new Uint8Array(1 << 20);

export type Contents = { digest: DigestSet; stat: BigIntStats; settled: boolean } | { unread: string };

/** Reads through one descriptor and looks again afterwards: the digest is of a content that the file really had. */
export function readContents(path: Buffer, hashes: readonly HashName[], holes: HolesLeft = holesLeft()): Contents {
  let descriptor: number;
  try {
    // NONBLOCK: a FIFO that took the file's place since lstat must not hold us up.
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    return { unread: errorWord(error) };
  }
  try {
    for (let attempt = 0; attempt < readAttempts; attempt++) {
      const before = fstatSync(descriptor, { bigint: true });
      if (!before.isFile()) return { unread: "no longer a regular file" };
      if (isTooLarge(before)) return { unread: "too large" };
      if (!takeHoles(before, holes)) return { unread: "too many holes" };
      const startedNs = BigInt(Date.now()) * 1_000_000n;
      const digest = digestDescriptor(descriptor, hashes, Number(before.size));
      const after = fstatSync(descriptor, { bigint: true });
      if (digest === undefined || identityOfStat(before) !== identityOfStat(after)) continue;
      return { digest, stat: after, settled: startedNs - after.ctimeNs > settledAfterNs };
    }
    return { unread: "changed while it was read" };
  } catch (error) {
    return { unread: errorWord(error) };
  } finally {
    closeSync(descriptor);
  }
}

/** Undefined: the file does not have the length that it had. Stops soon after it, so that one that grows as fast as we read ends too. */
function digestDescriptor(descriptor: number, hashes: readonly HashName[], size: number): DigestSet | undefined {
  const hashers = hashes.map(name => ({ name, hasher: startHash(name, size) }));
  let position = 0;
  while (position <= size) {
    const length = readSync(descriptor, chunk, 0, chunk.length, position);
    position += length;
    for (const { hasher } of hashers) hasher.update(chunk.subarray(0, length));
    // At the length that fstat promised the file is not asked once more: that costs a tenth of a small file's time.
    if (length === 0 || (length < chunk.length && position === size)) break;
  }
  if (position !== size) return undefined;
  return Object.fromEntries(hashers.map(({ name, hasher }) => [name, hasher.value()]));
}

/** Digest of one file given by path, undefined when it cannot be read. */
export function digestFile(path: Uint8Array, hashes: readonly HashName[]): DigestSet | undefined {
  try {
    const contents = readContents(realPath(path), hashes);
    return "unread" in contents ? undefined : contents.digest;
  } catch {
    return undefined;
  }
}

export function identityOfStat(stat: BigIntStats): string {
  return `${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeNs}:${stat.ctimeNs}`;
}

export function errorWord(error: unknown): string {
  if (error instanceof Error && "code" in error && typeof error.code === "string") return error.code;
  return error instanceof Error ? error.message : String(error);
}
