// Keys from PEM text, and their keyids (wire-formats 1.2 to 1.4). Every refusal is a sentence about the file and what to
// do; none quotes it, and none carries the library's error along: key material must not reach a terminal or a log.
import { createPrivateKey, createPublicKey, generateKeyPairSync, hash, type KeyObject, X509Certificate } from "node:crypto";
import { ToolError } from "../errors.ts";
import { describeUnsupported, type KeyAlgorithm, readAlgorithm, supportedKeys } from "./key-algorithm.ts";
import { type PemBlock, readFirstPemBlock, writePem } from "./pem.ts";

export interface PublicKey {
  kind: "public";
  algorithm: KeyAlgorithm;
  key: KeyObject;
  /** PKIX form; the keyid is over these bytes. */
  pem: string;
  keyid: string;
}

export interface PrivateKey {
  kind: "private";
  algorithm: KeyAlgorithm;
  key: KeyObject;
  publicKey: PublicKey;
}

export interface CertificateKey {
  kind: "certificate";
  publicKey: PublicKey;
}

export type AnyKey = PrivateKey | PublicKey | CertificateKey;

const cosignLabels: readonly string[] = ["ENCRYPTED COSIGN PRIVATE KEY", "ENCRYPTED SIGSTORE PRIVATE KEY"];

/** A key file is a few kilobytes; who names a disk image gets an answer at once. */
export const keyBytesMax = 1 << 20;

/** A key to sign with. `name` stands for it in messages. An empty passphrase is none. */
export function loadPrivateKey(pem: Uint8Array, passphrase?: Uint8Array | string, name = "the key"): PrivateKey {
  const found = loadKey(pem, passphrase, name);
  switch (found.kind) {
    case "public":
      throw unsupported(`${name} holds a public key, signing needs the private one`);
    case "certificate":
      throw unsupported(`${name} holds a certificate, signing needs its private key`);
    case "private":
      // The contract names what we sign with; what others signed with P-224 is still verified.
      if (found.algorithm.name === "ecdsa" && found.algorithm.curve === "P-224") {
        throw unsupported(`${name} is a P-224 key, which is too weak to sign with`, "make a new one with: cilock keygen");
      }
      return found;
  }
}

/** A key to verify with. */
export function loadPublicKey(pem: Uint8Array, name = "the key"): PublicKey {
  const found = loadKey(pem, undefined, name);
  switch (found.kind) {
    case "public":
      return found;
    case "private":
      throw unsupported(
        `${name} holds a private key, verifying needs only the public half`,
        `write the public half with: openssl pkey -in ${name} -pubout`,
      );
    case "certificate":
      throw unsupported(`${name} holds a certificate`, `take its key with: openssl x509 -in ${name} -noout -pubkey`);
  }
}

/** Whatever the first PEM block holds. The label counts only where it explains a failure, and with a passphrase. */
export function loadKey(pem: Uint8Array, passphrase: Uint8Array | string | undefined, name: string): AnyKey {
  const block = firstBlock(pem, name);
  const secret = typeof passphrase === "string" ? Buffer.from(passphrase, "utf8") : passphrase;
  if (block.label === "OPENSSH PRIVATE KEY") throw openSsh(block, name);
  if (secret !== undefined && secret.length > 0 && isEncrypted(block)) return decrypted(block, secret, name);
  return fromDer(block.body, name) ?? explainFailure(block, name);
}

/** Ed25519, or the named one. RSA has 3072 bits. */
export function generateKey(type: GeneratedKeyType): PrivateKey {
  return privateKeyOf(generators[type]());
}

const generators = {
  ed25519: () => generateKeyPairSync("ed25519").privateKey,
  p256: () => generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey,
  p384: () => generateKeyPairSync("ec", { namedCurve: "P-384" }).privateKey,
  p521: () => generateKeyPairSync("ec", { namedCurve: "P-521" }).privateKey,
  rsa: () => generateKeyPairSync("rsa", { modulusLength: 3072 }).privateKey,
} as const;

export type GeneratedKeyType = keyof typeof generators;

export function isGeneratedKeyType(text: string): text is GeneratedKeyType {
  return Object.hasOwn(generators, text);
}

/** PKCS#8, unencrypted: the one form that every tool reads. */
export function privatePem(key: PrivateKey): string {
  return writePem("PRIVATE KEY", key.key.export({ type: "pkcs8", format: "der" }));
}

function firstBlock(pem: Uint8Array, name: string): PemBlock {
  if (pem.length === 0) throw unreadable(`${name} is empty`);
  if (pem.length > keyBytesMax) throw unreadable(`${name} is larger than a key can be`);
  const result = readFirstPemBlock(pem);
  switch (result.kind) {
    case "block":
      return result.block;
    case "malformed":
      throw unreadable(`${name} holds a PEM block that is damaged or cut off`);
    case "none":
      // 0x30 opens every DER key.
      if (pem[0] !== 0x30) throw unreadable(`${name} holds no PEM block`);
      throw unreadable(`${name} is not PEM, it looks like DER`, `convert it with: openssl pkey -inform DER -in ${name}`);
  }
}

function isEncrypted(block: PemBlock): boolean {
  return block.label === "ENCRYPTED PRIVATE KEY" || cosignLabels.includes(block.label) || isLegacyEncrypted(block);
}

function isLegacyEncrypted(block: PemBlock): boolean {
  return /ENCRYPTED/.test(block.headers.get("Proc-Type") ?? "") || block.headers.has("DEK-Info");
}

function decrypted(block: PemBlock, passphrase: Uint8Array, name: string): AnyKey {
  // The existing tools refuse such a file: it is not clear which block the passphrase is for.
  if (block.more) throw unsupported(`${name} holds more than one PEM block, with a passphrase it must be one`);
  if (cosignLabels.includes(block.label)) {
    const { openCosignKey }: typeof import("./cosign-key.ts") = require("./cosign-key.ts");
    const box = openCosignKey(block.body, passphrase);
    switch (box.kind) {
      case "wrong-passphrase":
        throw wrongPassphrase(name);
      case "malformed":
        throw unreadable(`${name} is not a cosign key that can be read`);
      case "opened":
        return fromDer(box.pkcs8, name) ?? explainFailure({ ...block, body: box.pkcs8 }, name);
    }
  }
  let key: KeyObject;
  try {
    key = createPrivateKey({ key: block.text, format: "pem", passphrase: Buffer.from(passphrase) });
  } catch (error) {
    throw explainDecryption(error, name);
  }
  return privateKeyOf(key, name);
}

/** In the order of the existing tools: a private key in any of three forms, a public one in two, a certificate. */
function fromDer(body: Uint8Array, name: string): AnyKey | undefined {
  // The library's readers stop at the end of the value; bytes behind it are a sign of damage.
  if (derLength(body) !== body.length) return undefined;
  const der = Buffer.from(body);
  for (const type of ["pkcs8", "pkcs1", "sec1"] as const) {
    const key = attempt(() => createPrivateKey({ key: der, format: "der", type }));
    if (key !== undefined) return privateKeyOf(key, name);
  }
  for (const type of ["spki", "pkcs1"] as const) {
    const key = attempt(() => createPublicKey({ key: der, format: "der", type }));
    if (key !== undefined) return publicKeyOf(key, name);
  }
  const certificate = attempt(() => new X509Certificate(der).publicKey);
  return certificate === undefined ? undefined : { kind: "certificate", publicKey: publicKeyOf(certificate, name) };
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    // Which of the six forms it is, is found by trying; why it is none of them is explained by `explainFailure`.
    return undefined;
  }
}

/** The length that the first DER value says it has, its header included; 0 where there is none. */
function derLength(der: Uint8Array): number {
  const first = der[1] ?? 0x80;
  if (first < 0x80) return 2 + first;
  const size = first - 0x80;
  if (size === 0 || size > 4 || der.length < 2 + size) return 0;
  return 2 + size + Buffer.from(der).readUIntBE(2, size);
}

function privateKeyOf(key: KeyObject, name = "the key"): PrivateKey {
  const publicKey = publicKeyOf(createPublicKey(key), name);
  return { kind: "private", algorithm: publicKey.algorithm, key, publicKey };
}

function publicKeyOf(key: KeyObject, name: string): PublicKey {
  const algorithm = readAlgorithm(key);
  if (algorithm.name === "unsupported") throw unsupportedType(name, algorithm.description);
  const pem = writePem("PUBLIC KEY", key.export({ type: "spki", format: "der" }));
  return { kind: "public", algorithm, key, pem, keyid: hash("sha256", pem, "hex") };
}

/** None of the forms fits: say why, as far as label and headers tell. */
function explainFailure(block: PemBlock, name: string): never {
  if (isEncrypted(block)) {
    throw new ToolError("key-passphrase", `${name} is encrypted and no passphrase was given`, {
      hint: "give it with --signer-file-key-passphrase-path FILE or in AFLOCK_KEY_PASSPHRASE",
    });
  }
  if (block.label === "EC PARAMETERS" || block.label === "DSA PARAMETERS" || block.label === "DH PARAMETERS") {
    throw unsupported(
      `${name} begins with a block of parameters, only the first block is read`,
      "write the key without it: openssl ecparam -genkey -noout, or openssl pkey -in OLD -out NEW",
    );
  }
  const description = describeUnsupported(block.body);
  if (description !== undefined) throw unsupportedType(name, description);
  throw unreadable(`${name} holds a PEM block that is no key`);
}

/** By the library's code alone: a passphrase that does not fit shows as padding or a key that make no sense. */
function explainDecryption(error: unknown, name: string): ToolError {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (!/UNSUPPORTED/.test(code)) return wrongPassphrase(name);
  return unsupported(
    `${name} is encrypted in a way that is not supported, or is a key that is not`,
    `encrypt a copy again: openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA256 -in ${name} -out NEW`,
  );
}

function wrongPassphrase(name: string): ToolError {
  return new ToolError("key-passphrase", `the passphrase does not open ${name}`);
}

/** The public half stands in the clear there and names the type: ssh-keygen (9.2, tried) converts all but Ed25519. */
function openSsh(block: PemBlock, name: string): ToolError {
  const isEd25519 = Buffer.from(block.body).includes("ssh-ed25519");
  return unsupported(
    `${name} is in the form of OpenSSH, which is not supported`,
    isEd25519
      ? "ssh-keygen cannot convert Ed25519 keys; make a new one with: cilock keygen"
      : "convert a copy of it with: ssh-keygen -p -m PKCS8 -f COPY",
  );
}

function unsupportedType(name: string, description: string): ToolError {
  return unsupported(`${name} is ${description}`, `supported: ${supportedKeys}`);
}

function unsupported(message: string, hint?: string): ToolError {
  return new ToolError("key-unsupported", message, hint === undefined ? {} : { hint });
}

function unreadable(message: string, hint?: string): ToolError {
  return new ToolError("key-unreadable", message, hint === undefined ? {} : { hint });
}
