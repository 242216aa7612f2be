// Directories of installed Python packages. Each distribution lists its files with their SHA-256 in RECORD (PEP 376,
// PEP 627): who owns a file, and whether it is what was installed.
import type { Sources } from "./sources.ts";
import { joined } from "./voucher.ts";

export interface PythonOwner {
  readonly name: string;
  readonly version: string;
  /** Undefined where RECORD has none, as for compiled files. */
  readonly sha256: string | undefined;
  /** The RECORD. */
  readonly source: string;
}

const distributionsMax = 20_000;
const recordBytesMax = 32 << 20;
const sitePattern = /^(.*\/(?:site-packages|dist-packages))\/./;

/** The directory of packages that a file is in. */
export function pythonSiteOf(name: string): string | undefined {
  // Asked for each input: the expression takes ten times as long to say no.
  return name.includes("-packages/") ? sitePattern.exec(name)?.[1] : undefined;
}

/** Owners of those files of one site that a RECORD lists. */
export function readPythonSite(site: string, wanted: ReadonlySet<string>, sources: Sources): Map<string, PythonOwner> {
  const owners = new Map<string, PythonOwner>();
  for (const entry of sources.list(site, distributionsMax)) {
    const [, name, version] = /^([^-]+)-(.+)\.dist-info$/.exec(entry) ?? [];
    if (name === undefined || version === undefined) continue;
    const source = joined(site, `${entry}/RECORD`);
    const bytes = sources.read(source, recordBytesMax);
    if (bytes === undefined) continue;
    for (const { path, sha256 } of parseRecord(bytes)) {
      const file = normalized(site, path);
      if (file !== undefined && wanted.has(file) && !owners.has(file)) owners.set(file, { name, version, sha256, source });
    }
  }
  return owners;
}

/** CSV: path, `sha256=` and base64url without padding, size. */
export function* parseRecord(bytes: Buffer): Generator<{ path: string; sha256: string | undefined }> {
  for (const line of bytes.toString("latin1").split("\n")) {
    const [, quoted, plain, hash] = /^(?:"((?:[^"]|"")*)"|([^",]*)),([^,]*),[^,]*$/.exec(line.trimEnd()) ?? [];
    const path = quoted?.replaceAll('""', '"') ?? plain;
    if (path === undefined || path === "") continue;
    const base64 = /^sha256=([A-Za-z0-9_-]{43})$/.exec(hash ?? "")?.[1];
    yield { path, sha256: base64 === undefined ? undefined : Buffer.from(base64, "base64url").toString("hex") };
  }
}

/** Scripts are listed as `../../../bin/x`. */
function normalized(site: string, path: string): string | undefined {
  if (path.startsWith("/")) return path;
  let directory = site;
  let rest = path;
  while (rest.startsWith("../")) {
    directory = directory.slice(0, directory.lastIndexOf("/"));
    rest = rest.slice(3);
  }
  return rest.includes("/../") || rest === "" ? undefined : `${directory}/${rest}`;
}
