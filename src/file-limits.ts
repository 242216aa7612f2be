// How much of a file is read for its digest. A sparse file is made in no time and takes as long to read as any other, and so do
// thousands of them: what is beyond these limits has no digest, and the record says so.

/** A file with more data than this gets no digest. */
export const dataMax = 16n << 30n;
/** The same for holes. */
export const holesMax = 16n << 30n;
const blockSize = 512n;

/** Of all files of a run together, in MiB, where one has a GiB of holes or more. */
export const holesOfRunMax = 32 << 10;
const manyHoles = 1n << 30n;

interface Sizes {
  readonly size: bigint;
  /** As stat(2) counts: of 512 bytes. */
  readonly blocks: bigint;
}

export function isTooLarge({ size, blocks }: Sizes): boolean {
  const data = blocks * blockSize;
  return data > dataMax || size - data > holesMax;
}

/** MiB of holes that may still be read, by all threads that have it. */
export type HolesLeft = Int32Array;

export function holesLeft(mebibytes = holesOfRunMax): HolesLeft {
  return new Int32Array(new SharedArrayBuffer(4)).fill(mebibytes);
}

/** What a digest of the file takes of them. */
export function holesTaken({ size, blocks }: Sizes): number {
  const holes = size - blocks * blockSize;
  return holes < manyHoles ? 0 : Number(holes >> 20n);
}

/** False: so many are not left, and none are taken. */
export function takeHoles(file: Sizes, left: HolesLeft): boolean {
  const taken = holesTaken(file);
  if (taken === 0 || Atomics.sub(left, 0, taken) >= taken) return true;
  Atomics.add(left, 0, taken);
  return false;
}
