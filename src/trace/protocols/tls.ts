// The records that carry a ClientHello over TCP (RFC 8446, 5.1). A record may hold a byte of the hello or all of it, and a client may
// cut where it likes: what counts is the handshake stream inside.

import { createAccumulator } from "./accumulator.ts";
import { readHandshake } from "./client-hello.ts";
import type { FirstBytes, Reader } from "./reader.ts";

const headerLength = 5;
const handshakeRecord = 22;
const fragmentLimit = 1 << 14;

export function tlsReader(): Reader {
  const stream = createAccumulator();
  /** The first byte of the connection that has not been looked at, and how many from there on are the current record's. */
  let offset = 0;
  let remaining = 0;

  return (bytes, last) => {
    while (offset < bytes.length) {
      if (remaining === 0) {
        const length = fragmentLength(bytes.subarray(offset, offset + headerLength));
        if (length === "other") return { kind: "other" };
        if (length === "need-more") break;
        offset += headerLength;
        remaining = length;
        continue;
      }
      const part = bytes.subarray(offset, offset + remaining);
      offset += part.length;
      remaining -= part.length;
      stream.append(part);
      const decided = judge(stream.view(), false);
      if (decided.kind !== "need-more") return decided;
    }
    const state = judge(stream.view(), last);
    // The next thing to judge is a byte of a header, which may refuse, or the message's last one.
    if (state.kind === "need-more")
      state.atLeast = remaining === 0 ? bytes.length + 1 : bytes.length + Math.min(state.atLeast, remaining + 1);
    return state;
  };
}

/** Of a record; a part of its header is enough to refuse it. */
function fragmentLength(header: Uint8Array): number | "need-more" | "other" {
  const [type = handshakeRecord, major = 3, , high, low] = header;
  // The major version is 3 in every TLS and in SSL 3; servers must ignore the minor one (RFC 8446, 5.1).
  if (type !== handshakeRecord || major !== 3) return "other";
  if (high === undefined || low === undefined) return "need-more";
  const length = high * 256 + low;
  return length > fragmentLimit ? "other" : length;
}

/** `atLeast` is here what the message lacks. */
function judge(stream: Uint8Array, last: boolean): FirstBytes {
  const start = readHandshake(stream, last);
  switch (start.kind) {
    case "hello":
      return { kind: "tls", ...start.hello };
    case "other":
      return start;
    case "need-more":
      // The first byte of a message may refuse, too.
      return { kind: "need-more", atLeast: stream.length === 0 ? 1 : start.missing };
  }
}
