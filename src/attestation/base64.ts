// Standard base64 as DSSE needs it. Node's decoder skips what it does not know and reads the URL alphabet as well: many
// texts would then be one signature. Here one text and only one stands for some bytes, but for CR and LF, which the
// existing decoders skip wherever they are (wire-formats 1.1).

/** The bytes, or undefined where the text is not base64 with its padding. */
export function decodeBase64(text: string): Uint8Array | undefined {
  const compact = /[\r\n]/.test(text) ? text.replace(/[\r\n]/g, "") : text;
  if (compact.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(compact)) return undefined;
  // The bits of the last character that stand for nothing must be zero.
  const tail = compact.slice(-4);
  if (Buffer.from(tail, "base64").toString("base64") !== tail) return undefined;
  return Buffer.from(compact, "base64");
}

/** A multiple of three, so that pieces join without padding. */
const encodedAtATime = 192 << 10;

/** Two characters for twelve bits, as they lie in memory (x86-64 is little-endian). */
const pairs = new Uint16Array(4096);
for (let bits = 0; bits < pairs.length; bits++) {
  const [first = 0, second = 0] = Buffer.from(Buffer.of(bits >> 4, (bits & 15) << 4).toString("base64"), "latin1");
  pairs[bits] = first | (second << 8);
}

/**
 * The base64 of all pieces together, in pieces; one is good until the next. Without strings: those of a large record
 * would be 200 MB of garbage just when memory counts, and this is as fast.
 */
export function* base64Pieces(pieces: Iterable<Uint8Array>): Generator<Uint8Array> {
  const waiting = new Uint8Array(encodedAtATime);
  const encoded = new Uint16Array((encodedAtATime / 3) * 2);
  let filled = 0;
  for (const piece of pieces) {
    for (let at = 0; at < piece.length; ) {
      const part = piece.subarray(at, at + encodedAtATime - filled);
      waiting.set(part, filled);
      filled += part.length;
      at += part.length;
      if (filled < encodedAtATime) continue;
      encodeWhole(waiting, encoded);
      yield new Uint8Array(encoded.buffer);
      filled = 0;
    }
  }
  if (filled > 0) yield Buffer.from(Buffer.from(waiting.subarray(0, filled)).toString("base64"), "latin1");
}

function encodeWhole(bytes: Uint8Array, encoded: Uint16Array): void {
  for (let from = 0, to = 0; from < bytes.length; from += 3) {
    const bits = ((bytes[from] ?? 0) << 16) | ((bytes[from + 1] ?? 0) << 8) | (bytes[from + 2] ?? 0);
    encoded[to++] = pairs[bits >>> 12] ?? 0;
    encoded[to++] = pairs[bits & 4095] ?? 0;
  }
}
