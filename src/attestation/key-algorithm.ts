// Which keys are supported (wire-formats 1.3), and how to name those that are not.
import type { KeyObject } from "node:crypto";

export type EcCurve = "P-224" | "P-256" | "P-384" | "P-521";

export type KeyAlgorithm = { name: "ed25519" } | { name: "ecdsa"; curve: EcCurve } | { name: "rsa"; bits: number };

export const rsaBitsMin = 2048;

export const supportedKeys = `Ed25519, ECDSA P-256, P-384 or P-521, RSA of ${rsaBitsMin} bits or more`;

/** By the names of the library. P-224 only verifies: the existing tools accept it, the contract does not sign with it. */
const curves: ReadonlyMap<string, EcCurve> = new Map([
  ["secp224r1", "P-224"],
  ["prime256v1", "P-256"],
  ["secp384r1", "P-384"],
  ["secp521r1", "P-521"],
]);

/** The supported algorithm of a key, or what to call one that is not. */
export function readAlgorithm(key: KeyObject): KeyAlgorithm | { name: "unsupported"; description: string } {
  switch (key.asymmetricKeyType) {
    case "ed25519":
      return { name: "ed25519" };
    case "ec": {
      const name = key.asymmetricKeyDetails?.namedCurve ?? "unknown";
      const curve = curves.get(name);
      return curve === undefined
        ? { name: "unsupported", description: `an ECDSA key on the curve ${name}` }
        : { name: "ecdsa", curve };
    }
    case "rsa": {
      const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
      return bits < rsaBitsMin ? { name: "unsupported", description: `an RSA key of only ${bits} bits` } : { name: "rsa", bits };
    }
    default:
      return { name: "unsupported", description: `a key of type ${key.asymmetricKeyType ?? "unknown"}` };
  }
}

export function describeAlgorithm(algorithm: KeyAlgorithm): string {
  switch (algorithm.name) {
    case "ed25519":
      return "Ed25519";
    case "ecdsa":
      return `ECDSA ${algorithm.curve}`;
    case "rsa":
      return `RSA ${algorithm.bits}`;
  }
}

/** Object identifiers (DER, hexadecimal) of keys that the library does not read at all. */
const unsupportedIdentifiers: readonly (readonly [string, string])[] = [
  ["06092a864886f70d01010a", "an RSA key that is bound to PSS"],
  ["06052b8104000a", "an ECDSA key on the curve secp256k1"],
  ["06092b2403030208010", "an ECDSA key on a Brainpool curve"],
  ["06032b6571", "an Ed448 key"],
  ["06032b656e", "an X25519 key"],
  ["06032b656f", "an X448 key"],
  ["06072a8648ce3804", "a DSA key"],
  ["06092a864886f70d010301", "a Diffie-Hellman key"],
  ["060b6086480165030403", "an ML-DSA key"],
  ["06072a8648ce3d0201", "an ECDSA key on a curve that is not supported"],
];

/** A name for the key in `der`, if its type can be recognized near its start. */
export function describeUnsupported(der: Uint8Array): string | undefined {
  const start = Buffer.from(der.subarray(0, 128)).toString("hex");
  return unsupportedIdentifiers.find(([identifier]) => start.includes(identifier))?.[1];
}
