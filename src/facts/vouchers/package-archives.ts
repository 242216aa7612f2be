// What package managers have downloaded and kept: Cargo beside the sources that it has unpacked, npm in its cache, both
// under a name that follows from the lock file. An archive counts only with the digest that the lock file has for it, so
// it does not matter who could have written there.
import { createHash } from "node:crypto";
import { archiveBytesMax, digestArchive } from "./archives.ts";
import type { LockedPackage } from "./lock-formats.ts";
import type { PackagePlace } from "./package-places.ts";
import { readBounded } from "./sources.ts";

export interface ArchiveOptions {
  /** `_cacache` of npm. */
  readonly npmCache?: string | undefined;
  /** How much may be unpacked in all. */
  readonly bytesMax: number;
}

export class PackageArchives {
  readonly #options: ArchiveOptions;
  #unpacked = 0;

  constructor(options: ArchiveOptions) {
    this.#options = options;
  }

  /** SHA-256 by path in the package. Undefined: the archive is not there, or there is no room for it. */
  digests(place: PackagePlace, locked: LockedPackage, wanted: ReadonlySet<string>): Map<string, string> | undefined {
    const archive = archiveOf(place, locked, this.#options.npmCache);
    const reading = archive && readBounded(archive.name, archiveBytesMax);
    if (archive === undefined || reading?.kind !== "bytes" || reading.bytes.length < 4) return undefined;
    const { bytes } = reading;
    // gzip ends with the length of what it holds.
    this.#unpacked += bytes.length + bytes.readUInt32LE(bytes.length - 4);
    if (this.#unpacked > this.#options.bytesMax) return undefined;
    const isRight = createHash(archive.algorithm).update(bytes).digest("hex") === archive.hex;
    return isRight ? digestArchive(bytes, wanted) : undefined;
  }
}

interface Archive {
  name: string;
  algorithm: "sha512" | "sha256";
  hex: string;
}

function archiveOf(place: PackagePlace, locked: LockedPackage, npmCache: string | undefined): Archive | undefined {
  if (place.ecosystem === "cargo") {
    const name = `${place.directory.replace("/registry/src/", "/registry/cache/")}.crate`;
    return locked.checksum === undefined ? undefined : { name, algorithm: "sha256", hex: locked.checksum };
  }
  const base64 = /(?:^|\s)sha512-([A-Za-z0-9+/]{86}==)(?:\s|$)/.exec(locked.integrity ?? "")?.[1];
  if (place.ecosystem !== "npm" || npmCache === undefined || base64 === undefined) return undefined;
  const hex = Buffer.from(base64, "base64").toString("hex");
  const name = `${npmCache}/content-v2/sha512/${hex.slice(0, 2)}/${hex.slice(2, 4)}/${hex.slice(4)}`;
  return { name, algorithm: "sha512", hex };
}
