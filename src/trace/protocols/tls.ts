// The records that carry a ClientHello over TCP (RFC 8446, 5.1). A record may hold a byte of the hello or all of it, and a client may
// cut where it likes: what counts is the handshake stream inside.

import { readHandshake } from "./client-hello.ts";
import type { FirstBytes } from "./first-bytes.ts";

const headerLength = 5;
const handshakeRecord = 22;
const fragmentLimit = 1 << 14;

/** `bytes` begin with a handshake record's type. With `last` no more will come. */
export function readTls(bytes: Uint8Array, last: boolean): FirstBytes {
  const stream = new Uint8Array(bytes.length);
  let filled = 0;
  let offset = 0;
  let headerMissing = 0;
  while (offset < bytes.length) {
    // A version's major byte is 3 in every TLS and SSL 3; servers must ignore the minor one (RFC 8446, 5.1).
    if (bytes[offset] !== handshakeRecord || (bytes[offset + 1] ?? 3) !== 3) return { kind: "other" };
    const [high, low] = [bytes[offset + 3], bytes[offset + 4]];
    if (high === undefined || low === undefined) {
      headerMissing = offset + headerLength - bytes.length;
      break;
    }
    const length = high * 256 + low;
    if (length > fragmentLimit) return { kind: "other" };
    const fragment = bytes.subarray(offset + headerLength, offset + headerLength + length);
    stream.set(fragment, filled);
    filled += fragment.length;
    offset += headerLength + length;
    const start = readHandshake(stream.subarray(0, filled), false);
    if (start.kind !== "need-more") return start.kind === "hello" ? { kind: "tls", ...start.hello } : start;
  }
  const start = readHandshake(stream.subarray(0, filled), last);
  switch (start.kind) {
    case "hello":
      return { kind: "tls", ...start.hello };
    case "other":
      return start;
    case "need-more":
      return { kind: "need-more", atLeast: bytes.length + headerMissing + start.missing };
  }
}
