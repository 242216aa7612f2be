// The private key file of cosign (and, under its older label, of sigstore): scrypt makes a key of the passphrase, NaCl's
// secretbox holds a PKCS#8 key (wire-formats 1.4). The parameters come from the file, so their cost is bounded.
import { secretbox } from "@noble/ciphers/salsa.js";
import { scrypt } from "@noble/hashes/scrypt.js";
import { z } from "zod";

/** scrypt takes 128 * N * r bytes. cosign writes N = 65536 (earlier 32768), r = 8, p = 1: 64 MiB. */
const scryptMemoryMax = 256 * 1024 * 1024;
const scryptRoundsMax = 4;

const base64 = z.base64().transform(text => Uint8Array.from(Buffer.from(text, "base64")));

const schema = z.object({
  kdf: z.object({
    name: z.literal("scrypt"),
    params: z.object({ N: z.int().positive(), r: z.int().positive(), p: z.int().positive().max(scryptRoundsMax) }),
    salt: base64,
  }),
  cipher: z.object({ name: z.literal("nacl/secretbox"), nonce: base64.refine(nonce => nonce.length === 24) }),
  ciphertext: base64,
});

export type CosignResult = { kind: "opened"; pkcs8: Uint8Array } | { kind: "malformed" } | { kind: "wrong-passphrase" };

export function openCosignKey(body: Uint8Array, passphrase: Uint8Array): CosignResult {
  const box = schema.safeParse(parse(body));
  if (!box.success) return { kind: "malformed" };
  const { params, salt } = box.data.kdf;
  const isPowerOfTwo = params.N > 1 && Number.isInteger(Math.log2(params.N));
  if (!isPowerOfTwo || 128 * params.N * params.r > scryptMemoryMax) return { kind: "malformed" };
  const key = scrypt(passphrase, salt, { ...params, dkLen: 32, maxmem: scryptMemoryMax * 2 });
  try {
    return { kind: "opened", pkcs8: secretbox(key, box.data.cipher.nonce).open(box.data.ciphertext) };
  } catch {
    // The box says only that its tag does not fit.
    return { kind: "wrong-passphrase" };
  }
}

function parse(body: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(body).toString("utf8"));
  } catch {
    // The parser's message would quote the file.
    return undefined;
  }
}
