// SOCKS 4, 4a and 5 (RFC 1928, RFC 1929): whom the client asks its proxy for. The client's side of the talk is enough; what follows it
// is the tunnel's own. User names and passwords are skipped.

import { type Cursor, cursorOn, integer, take, vector } from "./cursor.ts";
import { hostName, plainText } from "./host.ts";
import { ipv4Text, ipv6Text } from "./ip.ts";
import type { FirstBytes } from "./reader.ts";

/** User names and names in SOCKS 4 end with a NUL that need not come. */
const textLimit = 255;

/** The others (a port to be called on, UDP) name nobody that the client wants. */
const connect = 1;

/** `bytes` begin with 4 or 5. With `last` no more will come. */
export function readSocks(bytes: Uint8Array, last: boolean): FirstBytes {
  const cursor = cursorOn(bytes);
  const version = integer(cursor, 1);
  const request = version === 4 ? readVersion4(cursor) : readVersion5(cursor);
  if (request === "other") return { kind: "other" };
  if (cursor.overrun || request === "unknown") {
    return last ? { kind: "other" } : { kind: "need-more", atLeast: bytes.length + 1 };
  }
  return { kind: "socks", version: version === 4 ? 4 : 5, ...request, consumed: cursor.offset };
}

type Request = { host?: string; port: number } | "other" | "unknown";

function readVersion4(cursor: Cursor): Request {
  const command = integer(cursor, 1);
  if (!cursor.overrun && command !== connect) return "other";
  const port = integer(cursor, 2);
  const address = take(cursor, 4);
  const user = untilNul(cursor);
  if (user === "too-long") return "other";
  if (user === undefined) return "unknown";
  // 4a: the impossible address 0.0.0.x says that a name follows.
  const [a, b, c, d] = address;
  if (a !== 0 || b !== 0 || c !== 0 || d === 0) return { host: ipv4Text(address), port };
  const name = untilNul(cursor);
  if (name === "too-long") return "other";
  return name === undefined ? "unknown" : { ...nameOf(name), port };
}

function readVersion5(cursor: Cursor): Request {
  const methods = vector(cursor, 1);
  if (cursor.overrun) return "unknown";
  if (methods.length === 0) return "other";
  let version = integer(cursor, 1);
  if (version === 1) {
    vector(cursor, 1); // user name
    vector(cursor, 1); // password
    version = integer(cursor, 1);
  }
  if (!cursor.overrun && version !== 5) return "other";
  const command = integer(cursor, 1);
  if (!cursor.overrun && command !== connect) return "other";
  take(cursor, 1);
  const kind = integer(cursor, 1);
  if (cursor.overrun) return "unknown";
  if (kind === 1) return { host: ipv4Text(take(cursor, 4)), port: integer(cursor, 2) };
  if (kind === 4) return { host: ipv6Text(take(cursor, 16)), port: integer(cursor, 2) };
  if (kind !== 3) return "other";
  const name = vector(cursor, 1);
  return { ...nameOf(name), port: integer(cursor, 2) };
}

function nameOf(bytes: Uint8Array): { host?: string } {
  const host = hostName(plainText(bytes));
  return host === undefined ? {} : { host };
}

/** Undefined while the NUL has not come. */
function untilNul(cursor: Cursor): Uint8Array | undefined | "too-long" {
  const end = cursor.bytes.subarray(cursor.offset, cursor.offset + textLimit + 1).indexOf(0);
  if (end < 0) return cursor.bytes.length - cursor.offset > textLimit ? "too-long" : undefined;
  const text = take(cursor, end);
  take(cursor, 1);
  return text;
}
