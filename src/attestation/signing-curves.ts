// The curves of ECDSA keys that sign.
import { ecdsa } from "@noble/curves/abstract/weierstrass.js";
import { p256, p384, p521 } from "@noble/curves/nist.js";
import { sha256 } from "@noble/hashes/sha2.js";

/** SHA-256 also where the curve is larger, in the message's hash and in the generator of RFC 6979. */
export const signingCurves = {
  "P-256": ecdsa(p256.Point, sha256),
  "P-384": ecdsa(p384.Point, sha256),
  "P-521": ecdsa(p521.Point, sha256),
} as const;
