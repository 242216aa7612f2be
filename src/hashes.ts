// The digests that a record may have of a file: any other name makes the existing verifiers refuse the whole record. All that
// are asked for are computed while the file is read once.
import { createHash } from "node:crypto";

export const hashNames = ["sha256", "sha1", "gitoid:sha256", "gitoid:sha1"] as const;
export type HashName = (typeof hashNames)[number];

/** Old databases of packages have MD5. It is compared with theirs and never recorded. */
export type ComparedHash = HashName | "md5";

export interface FileHasher {
  update(bytes: Uint8Array): void;
  /** As a digest set has it: hexadecimal; of a gitoid the URI. */
  value(): string;
}

/** `size` is that of the whole file: a git object's digest is over its length first. */
export function startHash(name: ComparedHash, size: bigint | number): FileHasher {
  const isGitoid = name.startsWith("gitoid:");
  const algorithm = name === "md5" ? "md5" : name.endsWith("sha1") ? "sha1" : "sha256";
  const hasher = new Bun.CryptoHasher(algorithm);
  if (isGitoid) hasher.update(`blob ${size}\0`);
  return {
    update: bytes => {
      hasher.update(bytes);
    },
    value: () => (isGitoid ? gitoid(algorithm, hasher.digest("hex")) : hasher.digest("hex")),
  };
}

export const gitoid = (algorithm: string, hex: string): string => `gitoid:blob:${algorithm}:${hex}`;

/** Of a text itself, as it names a subject that is no file. */
export const sha256Of = (text: string | Uint8Array): string => createHash("sha256").update(text).digest("hex");

/** Into `digest`, which is returned: where a million small texts are hashed, all else would cost more than the hash. */
export function sha256Into(bytes: Uint8Array, digest: Uint8Array): Uint8Array {
  Bun.SHA256.hash(bytes, digest);
  return digest;
}
