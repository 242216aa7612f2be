// Signatures over bytes that come in pieces, as often as they are asked for: the record of a large build is signed where
// it lies and is never one buffer. The same signatures as those of signer.ts.
//
// ECDSA and RSA sign a digest, which is computed piece by piece. Ed25519 (RFC 8032, 5.1.6) reads the message twice:
//
//     r = SHA-512(prefix ‖ M)   R = r·B   k = SHA-512(R ‖ A ‖ M)   S = r + k·s   the signature is R ‖ S
//
// No library hashes Ed25519's message in pieces; the points are those of @noble/curves. As everywhere, a signature is
// verified before it is handed out; Ed25519's with the k at hand: hashing 140 MB once more takes 0.3 s.
import { constants, createHash, createSign, createVerify } from "node:crypto";
import { ed25519 } from "@noble/curves/ed25519.js";
import type { PrivateKey, PublicKey } from "./keys.ts";
import { pssSaltLength, signEcdsaDigest } from "./signer.ts";

export interface ByteSource {
  /** Of all pieces together. */
  readonly length: number;
  /** Anew with each call. A piece is good until the next one. */
  pieces(): Iterable<Uint8Array>;
}

export function signSource(key: PrivateKey, source: ByteSource): Uint8Array {
  if (key.algorithm.name === "ed25519") return signEd25519(key, source);
  const signature = signDigest(key, source);
  if (!verifySource(key.publicKey, source, signature)) throw new Error("the signature just made does not verify");
  return signature;
}

function signDigest(key: PrivateKey, source: ByteSource): Uint8Array {
  if (key.algorithm.name === "ecdsa") return signEcdsaDigest(key, key.algorithm.curve, digest("sha256", source));
  const signer = createSign("sha256");
  for (const piece of source.pieces()) signer.update(piece);
  return signer.sign({ key: key.key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: pssSaltLength });
}

function verifySource(key: PublicKey, source: ByteSource, signature: Uint8Array): boolean {
  const verifier = createVerify("sha256");
  for (const piece of source.pieces()) verifier.update(piece);
  if (key.algorithm.name === "ecdsa") return verifier.verify({ key: key.key, dsaEncoding: "der" }, signature);
  return verifier.verify(
    { key: key.key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_AUTO },
    signature,
  );
}

const { Point } = ed25519;
const { Fn } = Point;
/** Without the tables that the library's own has for it: three products pay for none of the 65 ms that they take to make. */
const base = Point.fromAffine(Point.BASE.toAffine());

function signEd25519(key: PrivateKey, source: ByteSource): Uint8Array {
  const { d } = key.key.export({ format: "jwk" });
  const { x } = key.publicKey.key.export({ format: "jwk" });
  if (d === undefined || x === undefined) throw new Error("an Ed25519 key has a seed and a point");
  const seed = Buffer.from(d, "base64url");
  const A = Buffer.from(x, "base64url");
  try {
    const { prefix, scalar } = secretParts(seed);
    const r = scalarOf(digest("sha512", source, prefix));
    const R = base.multiply(r);
    const k = scalarOf(digest("sha512", source, R.toBytes(), A));
    const S = Fn.create(r + k * scalar);
    // S·B = R + k·A
    if (!base.multiply(S).equals(R.add(Point.fromBytes(A).multiply(k)))) {
      throw new Error("the signature just made does not verify");
    }
    return Buffer.concat([R.toBytes(), Fn.toBytes(S)]);
  } finally {
    seed.fill(0);
  }
}

/** RFC 8032, 5.1.5: the seed's digest is the scalar, with some of its bits set, and what comes before each message. */
function secretParts(seed: Uint8Array): { scalar: bigint; prefix: Uint8Array } {
  const hashed = createHash("sha512").update(seed).digest();
  const head = hashed.subarray(0, 32);
  head.writeUInt8(head.readUInt8(0) & 0b11111000, 0);
  head.writeUInt8((head.readUInt8(31) & 0b01111111) | 0b01000000, 31);
  const scalar = scalarOf(head);
  head.fill(0);
  return { scalar, prefix: hashed.subarray(32) };
}

function digest(algorithm: "sha256" | "sha512", source: ByteSource, ...before: Uint8Array[]): Buffer {
  const hash = createHash(algorithm);
  for (const part of before) hash.update(part);
  for (const piece of source.pieces()) hash.update(piece);
  return hash.digest();
}

const scalarOf = (bytes: Uint8Array): bigint => Fn.create(bigintOf(bytes));

/** Little-endian. */
const bigintOf = (bytes: Uint8Array): bigint => BigInt(`0x${Buffer.from(bytes).reverse().toString("hex")}`);
