// struct sockaddr as text. Total: whatever the bytes are, there is an answer.
import { isLoopbackAddress } from "../loopback.ts";
import { escapeBytes } from "../text.ts";
import { ipv4Text, ipv6Text } from "./protocols/ip.ts";

export interface SocketAddress {
  family: string;
  /** IP text, path, `@name` of an abstract socket, or `raw:` and the bytes in hex. */
  address: string;
  port?: number;
}

const AF_UNSPEC = 0;
const AF_UNIX = 1;
const AF_INET = 2;
const AF_INET6 = 10;
const AF_NETLINK = 16;
const AF_PACKET = 17;
const AF_ALG = 38;
const AF_VSOCK = 40;

const families: Readonly<Record<number, string>> = {
  [AF_UNSPEC]: "AF_UNSPEC",
  [AF_UNIX]: "AF_UNIX",
  [AF_INET]: "AF_INET",
  [AF_INET6]: "AF_INET6",
  [AF_NETLINK]: "AF_NETLINK",
  [AF_PACKET]: "AF_PACKET",
  [AF_ALG]: "AF_ALG",
  [AF_VSOCK]: "AF_VSOCK",
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
  switch (number) {
    case AF_UNSPEC:
      return { family, address: "" };
    case AF_UNIX:
      return { family, address: unixName(bytes.subarray(2)) };
    case AF_INET:
      if (bytes.length >= 8) return { family, address: ipv4Text(bytes.subarray(4, 8)), port: view.getUint16(2) };
      break;
    case AF_INET6:
      if (bytes.length >= 24) return { family, address: ipv6Text(bytes.subarray(8, 24)), port: view.getUint16(2) };
      break;
    case AF_NETLINK:
      if (bytes.length < 12) break;
      return { family, address: `pid ${view.getUint32(4, true)} groups 0x${view.getUint32(8, true).toString(16)}` };
    case AF_PACKET:
      if (bytes.length < 8) break;
      return { family, address: `interface ${view.getInt32(4, true)} protocol 0x${view.getUint16(2).toString(16)}` };
    case AF_ALG:
      if (bytes.length < 25) break;
      return { family, address: `${untilNul(bytes.subarray(2, 16))} ${untilNul(bytes.subarray(24))}` };
    case AF_VSOCK:
      if (bytes.length < 12) break;
      return { family, address: `cid ${view.getUint32(8, true)}`, port: view.getUint32(4, true) };
  }
  return { family, address: `raw:${Buffer.from(bytes).toString("hex")}` };
}

/** unix(7): a path ends at its NUL; a name that begins with one is abstract, and counts to the end of the address. */
function unixName(name: Uint8Array): string {
  if (name.length === 0) return ""; // unnamed, or autobind
  return name[0] === 0 ? `@${escapeBytes(name.subarray(1))}` : untilNul(name);
}

function untilNul(text: Uint8Array): string {
  const end = text.indexOf(0);
  return escapeBytes(end < 0 ? text : text.subarray(0, end));
}

/** Whether a packet to this address stays on this machine whatever its routes are. 0.0.0.0 and :: mean the machine itself to connect. */
export function isLoopback({ family, address }: SocketAddress): boolean {
  return isLoopbackAddress(family, address);
}
