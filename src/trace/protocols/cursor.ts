// Reads big-endian fields off bytes that a tracee wrote. A read past the end changes nothing, answers 0 or nothing, and marks the
// cursor, so that a parser is written straight down and asks once whether what it read was there.

export interface Cursor {
  readonly bytes: Uint8Array;
  offset: number;
  /** Somebody asked for more than there is. Stays true; every later read answers 0 or nothing. */
  overrun: boolean;
}

export function cursorOn(bytes: Uint8Array): Cursor {
  return { bytes, offset: 0, overrun: false };
}

/** True while a loop over what is left may go on. Each round must consume at least a byte or overrun: then it ends. */
export function more(cursor: Cursor): boolean {
  return !cursor.overrun && cursor.offset < cursor.bytes.length;
}

export function take(cursor: Cursor, length: number): Uint8Array {
  if (cursor.overrun || length > cursor.bytes.length - cursor.offset) {
    cursor.overrun = true;
    return new Uint8Array();
  }
  cursor.offset += length;
  return cursor.bytes.subarray(cursor.offset - length, cursor.offset);
}

/** Four bytes at most: larger ones would need bigint. */
export function integer(cursor: Cursor, width: 1 | 2 | 3 | 4): number {
  let value = 0;
  for (const byte of take(cursor, width)) value = value * 256 + byte;
  return value;
}

/** Bytes behind a length of `width` bytes: TLS's `opaque name<0..2^(8 * width) - 1>` (RFC 8446, 3.4). */
export function vector(cursor: Cursor, width: 1 | 2 | 3): Uint8Array {
  return take(cursor, integer(cursor, width));
}

/** What there is of `length` bytes, for input that was cut off. */
export function takeUpTo(cursor: Cursor, length: number): Uint8Array {
  return take(cursor, Math.min(length, cursor.bytes.length - cursor.offset));
}
