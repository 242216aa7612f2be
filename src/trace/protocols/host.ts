// Which bytes that a client sent are a host, and how it is written in the record: lower case, without the trailing dot, so that one
// endpoint is one entry. Whatever could not be a name that somebody looked up is no host: it came from a tracee, and people read it.

import { isIPv4, isIPv6 } from "node:net";

const nameLimit = 253;
const labelLimit = 63;

/** Latin-1: one byte is one character, and what is no ASCII is nothing that a host may hold. */
export function plainText(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
}

/** Text as the contract escapes it: `\xHH` for what is not printable ASCII, `\\` for a backslash. */
export function escapeAscii(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) {
    if (byte === 0x5c) text += "\\\\";
    else if (byte < 0x20 || byte > 0x7e) text += `\\x${byte.toString(16).toUpperCase().padStart(2, "0")}`;
    else text += String.fromCharCode(byte);
  }
  return text;
}

/**
 * A host name: letters, digits, `-`, `_`, `.`, up to 253, labels of 1 to 63. Addresses are none, however they are spelled: they say
 * nothing that the connection's address does not, and RFC 6066 (3) forbids them in a server_name. What a resolver takes as an
 * address is a last label that is a number (WHATWG URL, "ends in a number"), which no top-level domain is.
 */
export function hostName(text: string): string | undefined {
  const name = (text.endsWith(".") ? text.slice(0, -1) : text).toLowerCase();
  if (name.length === 0 || name.length > nameLimit) return undefined;
  const labels = name.split(".");
  for (const label of labels) {
    if (label.length > labelLimit || !/^[a-z0-9_-]+$/.test(label)) return undefined;
  }
  return /^([0-9]+|0x[0-9a-f]*)$/.test(labels.at(-1) ?? "") ? undefined : name;
}

export interface Authority {
  /** A name as `hostName` gives it, or an address, IPv6 without its brackets. */
  host: string;
  address: boolean;
  port?: number;
}

/**
 * `host`, `host:port`, `[v6]:port`, with or without `user:password@`, which is dropped: it is a secret (RFC 3986, 3.2).
 * Undefined for anything else.
 */
export function authority(text: string): Authority | undefined {
  // More than the longest name, a port and credentials: nothing that we would keep.
  if (text.length > 4096) return undefined;
  const parts = /^(\[[^\]]*\]|[^:]*)(?::([0-9]{0,5}))?$/.exec(text.slice(text.lastIndexOf("@") + 1));
  const host = parts?.[1];
  if (host === undefined) return undefined;
  const port = portNumber(parts?.[2]);
  if (port === "invalid") return undefined;
  const rest = port === undefined ? {} : { port };
  const bracketed = host.startsWith("[") ? host.slice(1, -1) : undefined;
  if (bracketed !== undefined) {
    // A zone (`fe80::1%eth0`) is isIPv6's idea of an address, but its text is free.
    return isIPv6(bracketed) && !bracketed.includes("%") ? { host: bracketed.toLowerCase(), address: true, ...rest } : undefined;
  }
  if (isIPv4(host)) return { host, address: true, ...rest };
  const name = hostName(host);
  return name === undefined ? undefined : { host: name, address: false, ...rest };
}

function portNumber(digits: string | undefined): number | undefined | "invalid" {
  if (digits === undefined || digits === "") return undefined;
  const port = Number(digits);
  return port >= 1 && port <= 65535 ? port : "invalid";
}
