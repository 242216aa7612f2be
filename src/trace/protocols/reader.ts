// What the first bytes of a stream can say, and what each protocol's reader is to whoever asks it.
import type { ClientHello } from "./client-hello.ts";

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

/**
 * Judges the beginning of a stream. It is called with more and more of the same stream and goes on where it was. With `last` there will
 * be no more, and the answer is not `need-more`.
 */
export type Reader = (bytes: Uint8Array, last: boolean) => FirstBytes;
