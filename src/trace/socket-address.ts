// struct sockaddr as text. Total: whatever the bytes are, there is an answer.
import { escapeBytes } from "../text.ts";

export interface SocketAddress {
  family: string;
  /** IP text, path, `@name` of an abstract socket, or `raw:` and the bytes in hex. */
  address: string;
  port?: number;
}

const AF_UNIX = 1;
const AF_INET = 2;
const AF_INET6 = 10;
const AF_NETLINK = 16;

const families: Readonly<Record<number, string>> = {
  [AF_UNIX]: "AF_UNIX",
  [AF_INET]: "AF_INET",
  [AF_INET6]: "AF_INET6",
  [AF_NETLINK]: "AF_NETLINK",
};

export const familyName = (family: number): string => families[family] ?? `AF_${family}`;

const types: Readonly<Record<number, string>> = { 1: "SOCK_STREAM", 2: "SOCK_DGRAM", 3: "SOCK_RAW", 5: "SOCK_SEQPACKET" };
/** SOCK_CLOEXEC and SOCK_NONBLOCK are in the same argument. */
const typeMask = 0xf;

export const typeName = (type: number): string => types[type & typeMask] ?? `SOCK_${type & typeMask}`;

export function decodeSocketAddress(bytes: Uint8Array): SocketAddress | undefined {
  if (bytes.length < 2) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const number = view.getUint16(0, true);
  const family = familyName(number);
  if (number === AF_INET && bytes.length >= 8) {
    return { family, address: bytes.subarray(4, 8).join("."), port: view.getUint16(2) };
  }
  if (number === AF_INET6 && bytes.length >= 24) {
    return { family, address: ipv6Text(bytes.subarray(8, 24)), port: view.getUint16(2) };
  }
  if (number === AF_UNIX) return { family, address: unixName(bytes.subarray(2)) };
  if (number === AF_NETLINK && bytes.length >= 12) {
    return { family, address: `pid ${view.getUint32(4, true)} groups 0x${view.getUint32(8, true).toString(16)}` };
  }
  return { family, address: `raw:${Buffer.from(bytes).toString("hex")}` };
}

/** unix(7): a path ends at its NUL; a name that begins with one is abstract, and counts to the end of the address. */
function unixName(name: Uint8Array): string {
  if (name.length === 0) return ""; // unnamed, or autobind
  if (name[0] === 0) return `@${escapeBytes(name.subarray(1))}`;
  const end = name.indexOf(0);
  return escapeBytes(end < 0 ? name : name.subarray(0, end));
}

/** RFC 5952; v4-mapped addresses as IPv4. */
function ipv6Text(bytes: Uint8Array): string {
  const isMapped = bytes.subarray(0, 10).every(byte => byte === 0) && bytes[10] === 0xff && bytes[11] === 0xff;
  if (isMapped) return bytes.subarray(12).join(".");
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push(((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0));
  // The longest run of at least two zero groups, the first of equal ones, becomes "::".
  let best = { start: -1, length: 1 };
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (start + length < 8 && groups[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  const text = (part: number[]) => part.map(group => group.toString(16)).join(":");
  if (best.start < 0) return text(groups);
  return `${text(groups.slice(0, best.start))}::${text(groups.slice(best.start + best.length))}`;
}
