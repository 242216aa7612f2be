// The keys of QUIC's Initial packets. They follow from a connection id that is sent in the clear and a salt that is printed in the RFC:
// they keep middleboxes from meddling, and are no secret (RFC 9001, 5.2; RFC 9369, 3.3).

import { createCipheriv, createDecipheriv, createHmac } from "node:crypto";

export interface QuicVersion {
  name: "v1" | "v2" | "draft-29";
  /** Of the two bits in a long header that tell packet types apart: 2 gave them other values. */
  initialType: 0 | 1;
  salt: Uint8Array;
  labels: { key: string; iv: string; headerProtection: string };
}

const labels = (prefix: string) => ({ key: `${prefix} key`, iv: `${prefix} iv`, headerProtection: `${prefix} hp` });

export const quicVersions: ReadonlyMap<number, QuicVersion> = new Map([
  [1, version("v1", 0, "38762cf7f55934b34d179ae6a4c80cadccbb7f0a", "quic")],
  [0x6b3343cf, version("v2", 1, "0dede3def700a6db819381be6e269dcbf9bd2ed9", "quicv2")],
  [0xff00001d, version("draft-29", 0, "afbfec289993d24c9e9786f19c6111e04390a899", "quic")],
]);

function version(name: QuicVersion["name"], initialType: 0 | 1, salt: string, prefix: string): QuicVersion {
  return { name, initialType, salt: Buffer.from(salt, "hex"), labels: labels(prefix) };
}

export interface InitialKeys {
  key: Uint8Array;
  iv: Uint8Array;
  headerProtection: Uint8Array;
}

/** For what the client sends, from the destination id of its first packet. */
export function clientInitialKeys(version: QuicVersion, destinationId: Uint8Array): InitialKeys {
  // HKDF-Extract (RFC 5869, 2.2) is one HMAC.
  const secret = expandLabel(hmac(version.salt, destinationId), "client in", 32);
  return {
    key: expandLabel(secret, version.labels.key, 16),
    iv: expandLabel(secret, version.labels.iv, 12),
    headerProtection: expandLabel(secret, version.labels.headerProtection, 16),
  };
}

/** HKDF-Expand-Label of TLS 1.3 with no context (RFC 8446, 7.1). Up to the 32 bytes of one hash, HKDF-Expand is one HMAC too. */
function expandLabel(secret: Uint8Array, label: string, length: 12 | 16 | 32): Uint8Array {
  const text = Buffer.from(`tls13 ${label}`, "latin1");
  return hmac(secret, Uint8Array.of(length >> 8, length & 0xff, text.length, ...text, 0, 1)).subarray(0, length);
}

function hmac(key: Uint8Array, bytes: Uint8Array): Uint8Array {
  return createHmac("sha256", key).update(bytes).digest();
}

/** RFC 9001, 5.4.3. Sample and key are 16 bytes; the first five of the answer are used. */
export function headerMask(keys: InitialKeys, sample: Uint8Array): Uint8Array {
  return createCipheriv("aes-128-ecb", keys.headerProtection, null).setAutoPadding(false).update(sample);
}

const tagLength = 16;

/** Undefined if the tag is not that of these keys: it is no packet of this connection, or no packet at all. */
export function openPayload(keys: InitialKeys, number: number, header: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
  if (sealed.length < tagLength) return undefined;
  const end = sealed.length - tagLength;
  try {
    const opening = createDecipheriv("aes-128-gcm", keys.key, packetNonce(keys.iv, number), { authTagLength: tagLength });
    opening.setAAD(header).setAuthTag(sealed.subarray(end));
    const plain = opening.update(sealed.subarray(0, end));
    // Nothing is given out before the tag is known to be right: this throws.
    opening.final();
    return plain;
  } catch {
    return undefined;
  }
}

/** RFC 9001, 5.3: the initialisation vector with the packet number, here of at most 32 bits, added to its end. */
export function packetNonce(iv: Uint8Array, number: number): Uint8Array {
  const nonce = Uint8Array.from(iv);
  for (let index = 0; index < 4; index++) {
    const at = nonce.length - 1 - index;
    nonce[at] = (nonce[at] ?? 0) ^ ((number >>> (8 * index)) & 0xff);
  }
  return nonce;
}
