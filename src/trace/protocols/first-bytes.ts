// What the first bytes that a client sends on a stream say about whom it talks to: the server_name of a TLS hello, the Host of a plain
// HTTP request, whom a proxy is asked for. The tracer watches a socket's writes only until this is decided, so it decides as early
// as the bytes allow, and after 16 KiB in any case. How the bytes were cut into calls makes no difference.
//
// Behind a proxy's request the tunnel begins: the caller gives `rest`, and whatever is sent later, to a fresh recogniser.

import type { ClientHello } from "./client-hello.ts";
import { readHttp } from "./http.ts";
import { readSocks } from "./socks.ts";
import { readTls } from "./tls.ts";

/** Above the largest hello in use (post-quantum key shares, ~1.8 KB; with a ticket and padding ~4 KB), and the spec's figure. */
export const firstBytesLimit = 16 * 1024;

export type FirstBytes =
  /** `atLeast`: with fewer bytes than this in all, asking again is no use. */
  | { kind: "need-more"; atLeast: number }
  | ({ kind: "tls" } & ClientHello)
  /** `proxied`: asked of a proxy, and then `host` is whom for, by name or address; else it is the Host field, if that is a name. */
  | { kind: "http"; proxied: boolean; host?: string; port?: number }
  /** `consumed` bytes of the stream are the request to the proxy. */
  | { kind: "proxy-connect"; host?: string; port?: number; consumed: number }
  | { kind: "socks"; version: 4 | 5; host?: string; port: number; consumed: number }
  | { kind: "other"; protocol?: "http2" | "ssh" | "sslv2" };

export type Recognised = Exclude<FirstBytes, { kind: "need-more" }>;

/** Judges the beginning of a stream. With `last` there will be no more of it, and the answer is never `need-more`. */
export function readFirstBytes(bytes: Uint8Array, last: boolean): FirstBytes {
  const [first, second, third] = bytes;
  if (first === undefined) return last ? { kind: "other" } : { kind: "need-more", atLeast: 1 };
  if (first === 0x16) return readTls(bytes, last);
  if (first === 4 || first === 5) return readSocks(bytes, last);
  if (first >= 0x80) {
    // RFC 5246, E.2: the hello in SSL 2's clothes, a two-byte length with the top bit set and message type 1. It names nobody.
    if (third === undefined && !last) return { kind: "need-more", atLeast: 3 };
    return third === 1 && (first & 0x7f) * 256 + (second ?? 0) >= 9 ? { kind: "other", protocol: "sslv2" } : { kind: "other" };
  }
  return readHttp(bytes, last);
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
  // Everything up to the decision; then what is behind the proxy's request, if it was one.
  let held: Uint8Array = new Uint8Array();
  let state: FirstBytes = { kind: "need-more", atLeast: 1 };

  function decide(last: boolean): void {
    const ended = last || held.length >= firstBytesLimit;
    if (state.kind !== "need-more" || (!ended && held.length < state.atLeast)) return;
    state = readFirstBytes(held.subarray(0, firstBytesLimit), ended);
    if (state.kind !== "need-more") held = "consumed" in state ? held.slice(state.consumed) : new Uint8Array();
  }

  return {
    push(bytes) {
      if (state.kind === "need-more") {
        held = joined(held, bytes);
        decide(false);
      } else if ("consumed" in state && held.length < firstBytesLimit) {
        held = joined(held, bytes);
      }
      return state;
    },
    finish() {
      decide(true);
      return state.kind === "need-more" ? { kind: "other" } : state;
    },
    rest: () => held,
  };
}

/** A copy: the caller's bytes are a view into memory that is written again. */
function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const whole = new Uint8Array(first.length + second.length);
  whole.set(first);
  whole.set(second, first.length);
  return whole;
}
