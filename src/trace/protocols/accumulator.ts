// Bytes that come piece by piece, in one buffer that doubles, so that a client that writes byte by byte costs no more than its bytes.

export interface Accumulator {
  /** Copies: the caller's bytes are a view into memory that is written again. */
  append(bytes: Uint8Array): void;
  /** Until the next `append`. */
  view(): Uint8Array;
}

export function createAccumulator(): Accumulator {
  let buffer = new Uint8Array();
  let filled = 0;
  return {
    append(bytes) {
      if (filled + bytes.length > buffer.length) {
        const larger = new Uint8Array(Math.max(filled + bytes.length, buffer.length * 2));
        larger.set(buffer.subarray(0, filled));
        buffer = larger;
      }
      buffer.set(bytes, filled);
      filled += bytes.length;
    },
    view: () => buffer.subarray(0, filled),
  };
}
