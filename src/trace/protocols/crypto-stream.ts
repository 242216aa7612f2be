// The beginning of a byte stream whose pieces come in any order, and some twice: QUIC's CRYPTO frames (RFC 9000, 19.6).

export interface CryptoStream {
  /** What is there without a hole, from the first byte on. A byte that was there stays: the same bytes must be sent again. */
  add(offset: number, data: Uint8Array): void;
  prefix(): Uint8Array;
}

export function createCryptoStream(limit: number): CryptoStream {
  const bytes = new Uint8Array(limit);
  const present = new Uint8Array(limit);
  let whole = 0;
  return {
    add(offset, data) {
      // An offset can be so large that adding 1 does not change it.
      const end = Math.min(offset + data.length, limit);
      for (let at = offset; at < end; at++) {
        if (present[at] !== 0) continue;
        bytes[at] = data[at - offset] ?? 0;
        present[at] = 1;
      }
      while (whole < limit && present[whole] === 1) whole++;
    },
    prefix: () => bytes.subarray(0, whole),
  };
}
