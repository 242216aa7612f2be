// The ClientHello of TLS (RFC 8446, 4.1.2; RFC 5246, 7.4.1.2), which names the server that the client wants, wherever it travels: in
// TLS records here, in CRYPTO frames of QUIC in quic.ts. Total: any bytes have an answer.

import { cursorOn, integer, more, take, takeUpTo, vector } from "./cursor.ts";
import { escapeAscii, hostName, plainText } from "./host.ts";

export interface ClientHello {
  /** `server_name`. With `ech` the outer one: the public name of whoever holds the keys, which may not be whom the client talks to. */
  serverName?: string;
  /** An encrypted ClientHello was offered. Clients also send a made-up one (GREASE) that nobody can tell from a real one. */
  ech: boolean;
  /** Application protocols offered, `h2`, `http/1.1` …, escaped. */
  alpn: string[];
  /**
   * `truncated`: there was more of it than we look at, and what is here is what the beginning says.
   * `malformed`: no server would take it. Nothing in it is believed.
   */
  state: "whole" | "truncated" | "malformed";
}

/** RFC 7301 sets none; clients offer two or three. */
const alpnLimit = 16;

const extension = { serverName: 0, alpn: 16, encryptedServerName: 0xffce, encryptedClientHello: 0xfe0d } as const;

const malformed: ClientHello = { ech: false, alpn: [], state: "malformed" };

export type HandshakeStart = { kind: "need-more"; missing: number } | { kind: "hello"; hello: ClientHello } | { kind: "other" };

/**
 * Looks at the beginning of a stream of handshake messages. `missing` is how many bytes there must at least be more before asking
 * again is worth it. With `last` there will be none: the hello is read as far as it goes.
 */
export function readHandshake(stream: Uint8Array, last: boolean): HandshakeStart {
  const cursor = cursorOn(stream);
  const type = integer(cursor, 1);
  if (!cursor.overrun && type !== 1) return { kind: "other" };
  const length = integer(cursor, 3);
  if (cursor.overrun) return last ? { kind: "other" } : { kind: "need-more", missing: 4 - stream.length };
  const body = takeUpTo(cursor, length);
  const missing = length - body.length;
  if (missing > 0 && !last) return { kind: "need-more", missing };
  return { kind: "hello", hello: readClientHello(body, missing > 0) };
}

function readClientHello(body: Uint8Array, truncated: boolean): ClientHello {
  const cursor = cursorOn(body);
  take(cursor, 2 + 32); // legacy_version, random
  const session = vector(cursor, 1);
  vector(cursor, 2); // cipher_suites
  vector(cursor, 1); // legacy_compression_methods
  // Before TLS 1.2 a hello could end here, without even the length of extensions.
  const bare = !cursor.overrun && !more(cursor) && !truncated;
  const length = bare ? 0 : integer(cursor, 2);
  const extensions = takeUpTo(cursor, length);
  if (session.length > 32) return malformed;
  if (!truncated && (cursor.overrun || extensions.length !== length || more(cursor))) return malformed;
  return readExtensions(extensions, truncated);
}

function readExtensions(block: Uint8Array, truncated: boolean): ClientHello {
  const hello: ClientHello = { ech: false, alpn: [], state: truncated ? "truncated" : "whole" };
  const cursor = cursorOn(block);
  let seen = 0;
  while (more(cursor)) {
    const type = integer(cursor, 2);
    const data = vector(cursor, 2);
    if (cursor.overrun) return truncated ? hello : malformed;
    const bit = bitOf(type);
    // RFC 8446, 4.2: no type twice. Whose name counted would be up to the server.
    if ((seen & bit) !== 0) return malformed;
    seen |= bit;
    if (type === extension.serverName) {
      const name = readServerName(data);
      if (name === "malformed") return malformed;
      if (name !== undefined) hello.serverName = name;
    } else if (type === extension.alpn) {
      const protocols = readAlpn(data);
      if (protocols === "malformed") return malformed;
      hello.alpn = protocols;
    } else if (bit !== 0) {
      hello.ech = true;
    }
  }
  return hello;
}

/** One bit for each extension that we read; others (GREASE among them) have none and may repeat. */
function bitOf(type: number): number {
  switch (type) {
    case extension.serverName:
      return 1;
    case extension.alpn:
      return 2;
    case extension.encryptedClientHello:
      return 4;
    case extension.encryptedServerName:
      return 8;
    default:
      return 0;
  }
}

/** RFC 6066, 3: a list of (type, name). The first host_name; other types are skipped, as if they had a length like it. */
function readServerName(data: Uint8Array): string | undefined | "malformed" {
  const cursor = cursorOn(data);
  const list = cursorOn(vector(cursor, 2));
  if (cursor.overrun || more(cursor)) return "malformed";
  let first: Uint8Array | undefined;
  while (more(list)) {
    const type = integer(list, 1);
    const name = vector(list, 2);
    if (list.overrun) return "malformed";
    if (type === 0) first ??= name;
  }
  return first === undefined ? undefined : hostName(plainText(first));
}

function readAlpn(data: Uint8Array): string[] | "malformed" {
  const cursor = cursorOn(data);
  const list = cursorOn(vector(cursor, 2));
  if (cursor.overrun || more(cursor)) return "malformed";
  const protocols: string[] = [];
  while (more(list)) {
    const name = vector(list, 1);
    if (list.overrun || name.length === 0) return "malformed";
    if (protocols.length < alpnLimit) protocols.push(escapeAscii(name));
  }
  return protocols;
}
