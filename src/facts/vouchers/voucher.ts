// Who says where a file comes from: the git index, a lock file, the package database of the system. A voucher makes
// claims about files; whether a claim holds is decided by the digest of what the build has read (../undeclared.ts).
import { escapeBytes, unescapeText } from "../../text.ts";

export type VoucherKind = "git" | "lockfile" | "system";

/** Digests that the sources keep. `sha256` is in our records; all others are computed from the file afterwards. */
export type KeptHash = "sha256" | "sha1" | "md5" | "gitoid:sha1" | "gitoid:sha256";

/** One content that the build has read. */
export interface Candidate {
  /** Absolute, one character a byte: what stands in the sources is bytes too. */
  readonly name: string;
  readonly sha256: string | undefined;
  /** When the inode has changed last. */
  readonly changedNs: bigint;
}

export interface Claim {
  readonly kind: VoucherKind;
  /** `git`, `npm`, `cargo`, `dpkg` … */
  readonly by: string;
  /** The file that says so; escaped. */
  readonly source: string;
  readonly package: string;
  readonly version?: string | undefined;
  /** The content that the source names. Left out where it names only the package. */
  readonly expected?: { readonly algorithm: KeptHash; readonly hex: string };
  /** Set where nobody vouches, but it is known what the file belongs to: why that is not enough. */
  readonly refused?: string;
}

export interface Voucher {
  readonly name: string;
  readonly kind: VoucherKind;
  /** Calls `claim` for each of the files that it knows, at most once a file. */
  vouch(files: readonly Candidate[], claim: (index: number, claim: Claim) => void): void;
}

/** The bytes of an escaped path, one character a byte. */
export function byteName(path: string): string {
  // Nearly all paths.
  if (/^[\x20-\x5b\x5d-\x7e]*$/.test(path)) return path;
  return Buffer.from(unescapeText(path)).toString("latin1");
}

/** For what is shown and recorded. */
export function shownName(name: string): string {
  return escapeBytes(Buffer.from(name, "latin1"));
}

/** Whether `name` is in `directory` or below it. */
export function isBelow(name: string, directory: string): boolean {
  if (directory === "/") return name.startsWith("/");
  return name.startsWith(directory) && name.charCodeAt(directory.length) === 0x2f;
}

export function parentOf(name: string): string {
  return name.slice(0, Math.max(name.lastIndexOf("/"), 1));
}

export function joined(directory: string, name: string): string {
  return directory === "/" ? `/${name}` : `${directory}/${name}`;
}
