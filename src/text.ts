// Bytes that came from the kernel, as text that nothing is lost in. Names of files are bytes, not UTF-8:
// what is valid UTF-8 without a backslash stays as it is; else each bad byte becomes `\xHH` (upper case)
// and each backslash `\\`. `unescapeText` gives the bytes back.

const backslash = 0x5c;
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

export function escapeBytes(bytes: Uint8Array): string {
  return escapeRange(bytes, 0, bytes.length);
}

/** `escapeBytes` of bytes[start, end) without a subarray for the common case: nearly all paths are plain ASCII. */
export function escapeRange(bytes: Uint8Array, start: number, end: number): string {
  for (let i = start; i < end; i++) {
    const byte = bytes[i] ?? 0;
    if (byte >= 0x80 || byte === backslash) return escapeSlowly(bytes.subarray(start, end));
  }
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString("latin1");
}

function escapeSlowly(bytes: Uint8Array): string {
  return replaceBytes(bytes, true, byte =>
    byte === backslash ? "\\\\" : `\\x${byte.toString(16).toUpperCase().padStart(2, "0")}`,
  );
}

/** U+FFFD for each byte that is part of no well-formed sequence. */
export function replaceBadBytes(bytes: Uint8Array): string {
  return replaceBytes(bytes, false, () => "\ufffd");
}

function replaceBytes(bytes: Uint8Array, backslashes: boolean, replacement: (byte: number) => string): string {
  let result = "";
  let plain = 0; // start of the valid text that is not in `result` yet
  const flush = (to: number) => {
    if (to > plain) result += decoder.decode(bytes.subarray(plain, to));
  };
  for (let i = 0; i < bytes.length; ) {
    const byte = bytes[i] ?? 0;
    const length = backslashes && byte === backslash ? 0 : sequenceLength(bytes, i);
    if (length > 0) {
      i += length;
      continue;
    }
    flush(i);
    result += replacement(byte);
    i++;
    plain = i;
  }
  flush(bytes.length);
  return result;
}

/** First byte, second byte's range, length: table 3-7 of the Unicode standard, which leaves out overlong forms, surrogates and what is above U+10FFFF. */
const wellFormed: readonly (readonly [first: number, last: number, secondMin: number, secondMax: number, length: number])[] = [
  [0xc2, 0xdf, 0x80, 0xbf, 2],
  [0xe0, 0xe0, 0xa0, 0xbf, 3],
  [0xe1, 0xec, 0x80, 0xbf, 3],
  [0xed, 0xed, 0x80, 0x9f, 3],
  [0xee, 0xef, 0x80, 0xbf, 3],
  [0xf0, 0xf0, 0x90, 0xbf, 4],
  [0xf1, 0xf3, 0x80, 0xbf, 4],
  [0xf4, 0xf4, 0x80, 0x8f, 4],
];

/** Length of the well-formed UTF-8 sequence at `at`; 0 if the byte there is part of none. */
function sequenceLength(bytes: Uint8Array, at: number): number {
  const byte = bytes[at] ?? 0;
  if (byte < 0x80) return 1;
  const row = wellFormed.find(([first, last]) => byte >= first && byte <= last);
  if (!row) return 0;
  const [, , secondMin, secondMax, length] = row;
  const second = bytes[at + 1] ?? 0;
  if (second < secondMin || second > secondMax) return 0;
  for (let i = 2; i < length; i++) if (((bytes[at + i] ?? 0) & 0xc0) !== 0x80) return 0;
  return length;
}

/** The bytes that `escapeBytes` made `text` of. Throws a RangeError for a backslash that starts neither `\\` nor `\xHH`. */
export function unescapeText(text: string): Uint8Array {
  const parts: Uint8Array[] = [];
  let plain = 0;
  for (let i = text.indexOf("\\"); i >= 0; i = text.indexOf("\\", plain)) {
    parts.push(encoder.encode(text.slice(plain, i)));
    const match = /^\\(?:\\|x([0-9A-F]{2}))/.exec(text.slice(i, i + 4));
    if (!match) throw new RangeError(`not an escape: ${JSON.stringify(text.slice(i, i + 4))}`);
    parts.push(Uint8Array.of(match[1] === undefined ? backslash : Number.parseInt(match[1], 16)));
    plain = i + match[0].length;
  }
  parts.push(encoder.encode(text.slice(plain)));
  return new Uint8Array(Buffer.concat(parts));
}
