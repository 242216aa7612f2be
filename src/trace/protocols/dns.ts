// What a DNS message asks and answers (RFC 1035, 4): the questions of a lookup for the record, and the addresses of an answer, which give
// a connection its name where its own bytes do not. Multicast DNS and LLMNR have the same form, and EDNS is a record that is skipped.
// Total and bounded: a message that breaks off or lies is read up to there.

import { type Cursor, cursorOn, integer, take } from "./cursor.ts";
import { ipv4Text, ipv6Text } from "./ip.ts";

export interface DnsQuestion {
  /** Labels joined with dots, ASCII letters in lower case, odd bytes escaped; the root is `.`. */
  name: string;
  type: string;
}

export interface DnsMessage {
  id: number;
  response: boolean;
  questions: DnsQuestion[];
  /** Names of this answer's addresses: the name asked for, not the one that an alias leads to. */
  addresses: { name: string; address: string }[];
  /** It broke off, lied about its counts, or holds more than we read. What is here is what came before. */
  partial: boolean;
}

/** Servers answer one question; nobody sends several, but mDNS does. */
const questionLimit = 32;
/** Fills a message of 64 KiB with less; answers have a few. */
const recordLimit = 256;
const nameLimit = 255;

const headerLength = 12;
const internet = 1;
/** mDNS keeps the top bit of the class for "answer by unicast" and "replace what you cached" (RFC 6762, 18). */
const classMask = 0x7fff;

const typeA = 1;
const typeCname = 5;
const typeAaaa = 28;

const typeNames: ReadonlyMap<number, string> = new Map([
  [typeA, "A"],
  [2, "NS"],
  [typeCname, "CNAME"],
  [6, "SOA"],
  [12, "PTR"],
  [13, "HINFO"],
  [15, "MX"],
  [16, "TXT"],
  [typeAaaa, "AAAA"],
  [29, "LOC"],
  [33, "SRV"],
  [35, "NAPTR"],
  [39, "DNAME"],
  [41, "OPT"],
  [43, "DS"],
  [44, "SSHFP"],
  [46, "RRSIG"],
  [47, "NSEC"],
  [48, "DNSKEY"],
  [50, "NSEC3"],
  [52, "TLSA"],
  [64, "SVCB"],
  [65, "HTTPS"],
  [250, "TSIG"],
  [251, "IXFR"],
  [252, "AXFR"],
  [255, "ANY"],
  [256, "URI"],
  [257, "CAA"],
]);

/** RFC 3597, 5: a type without a name is `TYPE` and its number. */
export function dnsTypeName(type: number): string {
  return typeNames.get(type) ?? `TYPE${type}`;
}

/** One message, as a datagram holds it. Undefined if it is too short for a header or no query and no answer to one. */
export function readDnsMessage(bytes: Uint8Array): DnsMessage | undefined {
  const cursor = cursorOn(bytes);
  const id = integer(cursor, 2);
  const flags = integer(cursor, 2);
  const questionCount = integer(cursor, 2);
  const answerCount = integer(cursor, 2);
  take(cursor, 4); // authority and additional: whose servers, and EDNS
  const standardQuery = (flags & 0x7800) === 0;
  // Z must be zero (RFC 1035, 4.1.1; its two neighbours have become DNSSEC's): it keeps out much that is no DNS.
  if (cursor.overrun || !standardQuery || (flags & 0x0040) !== 0) return undefined;
  const message: DnsMessage = { id, response: (flags & 0x8000) !== 0, questions: [], addresses: [], partial: false };
  message.partial = !readQuestions(cursor, questionCount, message) || !readAnswers(cursor, answerCount, message);
  return message;
}

/** False if not all of them could be read. */
function readQuestions(cursor: Cursor, count: number, message: DnsMessage): boolean {
  for (let index = 0; index < count; index++) {
    const name = readName(cursor);
    const type = integer(cursor, 2);
    take(cursor, 2); // class
    if (name === undefined || cursor.overrun || index === questionLimit) return false;
    message.questions.push({ name, type: dnsTypeName(type) });
  }
  return true;
}

/**
 * Follows the aliases from each question on; RFC 1034, 3.6.2 has them in order, so one pass is enough. mDNS answers carry no question:
 * there each owner is a name that was asked for.
 */
function readAnswers(cursor: Cursor, count: number, message: DnsMessage): boolean {
  const askedAs = new Map(message.questions.map(question => [question.name, question.name]));
  const unasked = message.questions.length === 0;
  for (let index = 0; index < count; index++) {
    const owner = readName(cursor);
    const type = integer(cursor, 2);
    const recordClass = integer(cursor, 2) & classMask;
    take(cursor, 4); // time to live
    const dataLength = integer(cursor, 2);
    const dataStart = cursor.offset;
    const data = take(cursor, dataLength);
    if (owner === undefined || cursor.overrun || index === recordLimit) return false;
    const name = askedAs.get(owner) ?? (unasked ? owner : undefined);
    if (name === undefined || recordClass !== internet) continue;
    if (type === typeA && data.length === 4) message.addresses.push({ name, address: ipv4Text(data) });
    if (type === typeAaaa && data.length === 16) message.addresses.push({ name, address: ipv6Text(data) });
    if (type === typeCname) {
      const alias = readName({ bytes: cursor.bytes.subarray(0, cursor.offset), offset: dataStart, overrun: false });
      if (alias !== undefined && !askedAs.has(alias)) askedAs.set(alias, name);
    }
  }
  return true;
}

/**
 * A name and its pointers (RFC 1035, 4.1.4). Each pointer must lead to before the piece that it ends, so that there is no loop; and
 * into what comes after the header, where the first name is. Undefined for a name that does not, or is over 255 bytes.
 */
function readName(cursor: Cursor): string | undefined {
  const labels: string[] = [];
  let at: Cursor = cursor;
  let pieceStart = cursor.offset;
  for (let total = 1; ; ) {
    const length = integer(at, 1);
    if (at.overrun) {
      cursor.overrun = true;
      return undefined;
    }
    if (length === 0) return labels.length === 0 ? "." : labels.join(".");
    if (length >= 0xc0) {
      const target = (length & 0x3f) * 256 + integer(at, 1);
      if (at.overrun || target < headerLength || target >= pieceStart) return undefined;
      at = { bytes: cursor.bytes, offset: target, overrun: false };
      pieceStart = target;
      continue;
    }
    total += 1 + length;
    // 0x40 and 0x80 were reserved for kinds of label that never came.
    if (length > 63 || total > nameLimit) return undefined;
    labels.push(labelText(take(at, length)));
  }
}

/** A dot inside a label is a byte like any other, and must not look like the end of one. */
function labelText(label: Uint8Array): string {
  let text = "";
  for (const byte of label) {
    if (byte === 0x5c) text += "\\\\";
    else if (byte <= 0x20 || byte > 0x7e || byte === 0x2e) text += `\\x${byte.toString(16).toUpperCase().padStart(2, "0")}`;
    else text += String.fromCharCode(byte).toLowerCase();
  }
  return text;
}
