// Alpine's package database as a voucher. One text file: paragraphs of a package with P (name), V (version), F (a
// directory) and below it R (a file) with Z (`Q1` and the SHA-1 of the content, base64).
import type { Sources } from "./sources.ts";
import { packageNames } from "./system-root.ts";
import { type Candidate, type Claim, joined, shownName, type Voucher } from "./voucher.ts";

const databaseBytesMax = 256 << 20;
const databases = ["lib/apk/db/installed", "usr/lib/apk/db/installed"];

export class ApkVoucher implements Voucher {
  readonly name = "apk";
  readonly kind = "system";
  readonly #sources: Sources;
  readonly #root: string;

  constructor(sources: Sources, root: string) {
    this.#sources = sources;
    this.#root = root;
  }

  vouch(files: readonly Candidate[], claim: (index: number, claim: Claim) => void): void {
    const wanted = packageNames(files, this.#root);
    const claimed = new Set<number>();
    for (const database of databases) {
      const source = joined(this.#root, database);
      const bytes = this.#sources.read(source, databaseBytesMax);
      if (bytes === undefined) continue;
      for (const { path, package: owner, version, sha1 } of parseApkDatabase(bytes, wanted)) {
        for (const index of wanted.get(path) ?? []) {
          if (claimed.has(index)) continue;
          claimed.add(index);
          const common = {
            kind: "system",
            by: "apk",
            source: shownName(source),
            package: shownName(owner),
            version: shownName(version),
          } as const;
          claim(index, sha1 === undefined ? common : { ...common, expected: { algorithm: "sha1", hex: sha1 } });
        }
      }
    }
  }
}

interface ApkFile {
  path: string;
  package: string;
  version: string;
  sha1: string | undefined;
}

export function* parseApkDatabase(bytes: Buffer, wanted: { has(path: string): boolean }): Generator<ApkFile> {
  let [owner, version, directory] = ["", "", ""];
  let file: ApkFile | undefined;
  for (const line of bytes.toString("latin1").split("\n")) {
    const value = line.slice(2);
    if (line.startsWith("Z:")) {
      if (file) file.sha1 = sha1Of(value);
      continue;
    }
    if (line.startsWith("a:") || line.startsWith("M:")) continue; // mode and owner
    if (file) yield file;
    file = undefined;
    if (line === "") [owner, version, directory] = ["", "", ""];
    else if (line.startsWith("P:")) owner = value;
    else if (line.startsWith("V:")) version = value;
    else if (line.startsWith("F:")) directory = value;
    else if (line.startsWith("R:")) {
      const path = directory === "" ? `/${value}` : `/${directory}/${value}`;
      if (wanted.has(path)) file = { path, package: owner, version, sha1: undefined };
    }
  }
  if (file) yield file;
}

/** `Q1` is SHA-1; what else there may come is not known, and then the package is only named. */
function sha1Of(value: string): string | undefined {
  const base64 = /^Q1([A-Za-z0-9+/]{27}=)$/.exec(value)?.[1];
  return base64 === undefined ? undefined : Buffer.from(base64, "base64").toString("hex");
}
