// Signatures over bytes (wire-formats 1.3): SHA-256 for everything but Ed25519, ECDSA as DER, RSA as PSS.
//
// Signing the same bytes twice gives the same signature for Ed25519 (RFC 8032) and ECDSA (RFC 6979, by @noble/curves with
// the HMAC of the message's hash). PSS salts are random: an RSA signature differs every time, and no option changes that.
// Ed25519 is signed by node:crypto, which is as deterministic as @noble: for a record of 75 MB 0.9 s against 19 s.
import { constants, hash, sign, verify } from "node:crypto";
import type { EcCurve } from "./key-algorithm.ts";
import type { PrivateKey, PublicKey } from "./keys.ts";

export interface Signer {
  keyid: string;
  /** PKIX PEM of the public half. */
  publicPem: string;
  sign(bytes: Uint8Array): Uint8Array;
}

/** Both this and the longest salt are accepted everywhere; this is what RFC 4055 recommends for SHA-256. */
export const pssSaltLength = 32;

export function createSigner(key: PrivateKey): Signer {
  const { keyid, pem: publicPem } = key.publicKey;
  return {
    keyid,
    publicPem,
    sign(bytes) {
      const signature = signBytes(key, bytes);
      // Two implementations look at each signature: a fault in one of them ends here, not in a verifier a year later.
      if (!verifyBytes(key.publicKey, bytes, signature)) throw new Error("the signature just made does not verify");
      return signature;
    },
  };
}

function signBytes(key: PrivateKey, bytes: Uint8Array): Uint8Array {
  switch (key.algorithm.name) {
    case "ed25519":
      return sign(null, bytes, key.key);
    case "ecdsa":
      return signEcdsaDigest(key, key.algorithm.curve, hash("sha256", bytes, "buffer"));
    case "rsa":
      return sign("sha256", bytes, { key: key.key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: pssSaltLength });
  }
}

export function signEcdsaDigest(key: PrivateKey, curve: EcCurve, digest: Uint8Array): Uint8Array {
  if (curve === "P-224") throw new Error("loadPrivateKey refuses P-224");
  const scalar = key.key.export({ format: "jwk" }).d;
  if (scalar === undefined) throw new Error("a private EC key has a scalar");
  const secret = Buffer.from(scalar, "base64url");
  // Curves are made when their module is loaded: only ECDSA keys wait for that.
  const { signingCurves }: typeof import("./signing-curves.ts") = require("./signing-curves.ts");
  try {
    return signingCurves[curve].sign(digest, secret, { prehash: false, lowS: false, format: "der" });
  } finally {
    secret.fill(0);
  }
}

/** Whether `signature` is the key's over exactly these bytes. A malformed signature is a false one. */
export function verifyBytes(key: PublicKey, bytes: Uint8Array, signature: Uint8Array): boolean {
  switch (key.algorithm.name) {
    case "ed25519":
      return verify(null, bytes, key.key, signature);
    case "ecdsa":
      return verify("sha256", bytes, { key: key.key, dsaEncoding: "der" }, signature);
    case "rsa":
      // Any salt length, as the existing verifiers; never PKCS#1 v1.5.
      return verify(
        "sha256",
        bytes,
        { key: key.key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_AUTO },
        signature,
      );
  }
}
