// DNS over TCP (RFC 1035, 4.2.2; RFC 7766): each message behind a length of two bytes, any number of them on one connection, cut into
// calls as the client likes.

import { type DnsMessage, readDnsMessage } from "./dns.ts";

export interface DnsStream {
  /** The messages that these bytes complete. */
  push(bytes: Uint8Array): DnsMessage[];
}

/** Of a message that is this long or longer the beginning is read and the rest let go by: its questions come first. */
const messageLimit = 16 * 1024;

export function createDnsStream(): DnsStream {
  const held = new Uint8Array(messageLimit);
  let filled = 0;
  let length = 0;
  /** Bytes of the length and of the message that have come. */
  let lengthBytes = 0;
  let seen = 0;

  return {
    push(bytes) {
      const messages: DnsMessage[] = [];
      for (let at = 0; at < bytes.length; ) {
        if (lengthBytes < 2) {
          length = length * 256 + (bytes[at] ?? 0);
          lengthBytes += 1;
          at += 1;
        } else {
          const part = bytes.subarray(at, at + length - seen);
          const kept = part.subarray(0, messageLimit - filled);
          held.set(kept, filled);
          filled += kept.length;
          seen += part.length;
          at += part.length;
        }
        if (lengthBytes < 2 || seen < length) continue;
        const message = readDnsMessage(held.subarray(0, filled));
        if (message !== undefined) messages.push(message);
        length = lengthBytes = seen = filled = 0;
      }
      return messages;
    },
  };
}
