// What the first bytes that a client sends on a stream say about whom it talks to: the server_name of a TLS hello, the Host of a plain
// HTTP request, whom a proxy is asked for. The tracer watches a socket's writes only until this is decided, so it decides as early
// as the bytes allow, and after 16 KiB in any case. How the bytes were cut into calls makes no difference.
//
// Behind a proxy's request the tunnel begins: the caller gives `rest`, and whatever is sent later, to a fresh recogniser.

import { createAccumulator } from "./accumulator.ts";
import { httpReader } from "./http.ts";
import type { FirstBytes, Reader, Recognised } from "./reader.ts";
import { readSocks } from "./socks.ts";
import { tlsReader } from "./tls.ts";

/** Above the largest hello in use (post-quantum key shares, ~1.8 KB; with a ticket and padding ~4 KB), and the spec's figure. */
export const firstBytesLimit = 16 * 1024;

function readerFor(first: number): Reader {
  if (first === 0x16) return tlsReader();
  if (first === 4 || first === 5) return readSocks;
  return first >= 0x80 ? readSsl2 : httpReader();
}

/** RFC 5246, E.2: the hello in SSL 2's clothes, a two-byte length with the top bit set and message type 1. It names nobody. */
function readSsl2(bytes: Uint8Array, last: boolean): FirstBytes {
  const [high = 0, low = 0, type] = bytes;
  if (type === undefined && !last) return { kind: "need-more", atLeast: 3 };
  return type === 1 && (high & 0x7f) * 256 + low >= 9 ? { kind: "other", protocol: "sslv2" } : { kind: "other" };
}

export interface Recogniser {
  /** The next bytes that the client sent. Once it is decided the answer stays. */
  push(bytes: Uint8Array): FirstBytes;
  /** The client will send no more, or not all that it sent was seen. */
  finish(): Recognised;
  /** What was pushed behind `consumed`: the beginning of the tunnel, when the client did not wait for the proxy's answer. */
  rest(): Uint8Array;
}

export function createRecogniser(): Recogniser {
  let seen = createAccumulator();
  let reader: Reader | undefined;
  let state: FirstBytes = { kind: "need-more", atLeast: 1 };

  function decide(ended: boolean): void {
    const bytes = seen.view();
    const last = ended || bytes.length >= firstBytesLimit;
    if (state.kind !== "need-more" || (!last && bytes.length < state.atLeast)) return;
    reader ??= readerFor(bytes[0] ?? 0);
    state = reader(bytes.subarray(0, firstBytesLimit), last);
    if (state.kind === "need-more") return;
    reader = undefined;
    seen = createAccumulator();
    if ("consumed" in state) seen.append(bytes.subarray(state.consumed));
  }

  return {
    push(bytes) {
      const wanted = state.kind === "need-more" || ("consumed" in state && seen.view().length < firstBytesLimit);
      if (wanted) seen.append(bytes);
      decide(false);
      return state;
    },
    finish() {
      decide(true);
      return state.kind === "need-more" ? { kind: "other" } : state;
    },
    rest: () => seen.view(),
  };
}
