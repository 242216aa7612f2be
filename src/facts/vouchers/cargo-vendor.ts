// Crates whose sources stand in the project: `cargo vendor` leaves in each a .cargo-checksum.json with the digest of
// every file and that of the crate, which is the one that Cargo.lock has.
import { parsedJson, property } from "./json-text.ts";
import type { Sources } from "./sources.ts";
import { joined } from "./voucher.ts";

export interface VendoredCrate {
  readonly directory: string;
  readonly source: string;
  readonly checksum: string | undefined;
  readonly files: ReadonlyMap<string, string>;
}

const checksumsBytesMax = 16 << 20;

export class CargoVendor {
  readonly #sources: Sources;
  readonly #crates = new Map<string, VendoredCrate | undefined>();

  constructor(sources: Sources) {
    this.#sources = sources;
  }

  crateOf(name: string): VendoredCrate | undefined {
    if (!name.includes("/vendor/")) return undefined;
    const directory = /^.*\/vendor\/[^/]+(?=\/)/.exec(name)?.[0];
    if (directory === undefined) return undefined;
    if (!this.#crates.has(directory)) {
      const source = joined(directory, ".cargo-checksum.json");
      const bytes = this.#sources.read(source, checksumsBytesMax);
      this.#crates.set(directory, bytes && readChecksums(bytes, directory, source));
    }
    return this.#crates.get(directory);
  }
}

function readChecksums(bytes: Buffer, directory: string, source: string): VendoredCrate | undefined {
  const parsed = parsedJson(bytes);
  const [listed, checksum] = [property(parsed, "files"), property(parsed, "package")];
  if (typeof listed !== "object" || listed === null) return undefined;
  const files = new Map<string, string>();
  for (const [path, hex] of Object.entries(listed)) {
    if (typeof hex === "string") files.set(Buffer.from(path).toString("latin1"), hex);
  }
  return { directory, source, checksum: typeof checksum === "string" ? checksum : undefined, files };
}
