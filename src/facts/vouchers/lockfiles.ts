// Lock files as vouchers: a file is declared if the package that it belongs to stands in a lock file of the project with
// a digest or a commit. What lock files hold is digests of archives; only where the package manager keeps one of each
// file beside it (Python's RECORD, Cargo's vendored sources, go.mod) the content itself is compared.
import { createHash } from "node:crypto";
import {
  type Ecosystem,
  isByDirectory,
  isLockFileName,
  keyOf,
  type LockedPackage,
  type LockFile,
  lockBytesMax,
  lockFileNames,
  parseLockFile,
} from "./lock-formats.ts";
import { type PackagePlace, placeOf } from "./package-places.ts";
import { type PythonOwner, pythonSiteOf, readPythonSite } from "./python-sites.ts";
import type { Sources } from "./sources.ts";
import { type Candidate, type Claim, isBelow, joined, parentOf, shownName, type Voucher } from "./voucher.ts";

/** Of one run. */
const lockFilesMax = 500;
const sitesMax = 100;
const manifestBytesMax = 4 << 20;
const checksumsBytesMax = 16 << 20;

export interface LockfileOptions {
  /** Lock files elsewhere are not the project's, and say nothing. */
  readonly projectRoot: string;
  readonly workingDirectory: string;
  readonly goModuleCache?: string | undefined;
}

interface FoundLock {
  readonly directory: string;
  readonly name: string;
  readonly source: string;
  readonly lock: LockFile;
}

type Reporter = (index: number, claim: Claim) => void;

const unnamed = "no lock file of the project names it";
const unpinned = "the lock file has no digest of it";

export class LockfileVoucher implements Voucher {
  readonly name = "lockfile";
  readonly kind = "lockfile";
  readonly #sources: Sources;
  readonly #options: LockfileOptions;
  readonly #locks = new Map<string, FoundLock | undefined>();
  readonly #versions = new Map<string, string | undefined>();
  readonly #vendored = new Map<string, VendoredCrate | undefined>();

  constructor(sources: Sources, options: LockfileOptions) {
    this.#sources = sources;
    this.#options = options;
  }

  vouch(files: readonly Candidate[], claim: Reporter): void {
    const sites = new Map<string, { name: string; index: number }[]>();
    let looked = false;
    for (const [index, file] of files.entries()) {
      const site = pythonSiteOf(file.name);
      const place = site === undefined ? placeOf(file.name, { goModuleCache: this.#options.goModuleCache }) : undefined;
      if (site === undefined && place === undefined && !this.#isVendored(file.name)) continue;
      if (!looked) this.#findLocks(files);
      looked = true;
      if (site !== undefined) {
        const known = sites.get(site);
        if (known) known.push({ name: file.name, index });
        else if (sites.size < sitesMax) sites.set(site, [{ name: file.name, index }]);
      } else if (place !== undefined) {
        claim(index, this.#claimOf(file, place));
      } else {
        const found = this.#vendoredClaim(file);
        if (found) claim(index, found);
      }
    }
    for (const [site, members] of sites) this.#site(site, members, claim);
  }

  // -------------------------------------------------------------------------------------------
  // Lock files

  /** Those of the working directory and above it up to the project's root, and those in it that the build has read. */
  #findLocks(files: readonly Candidate[]): void {
    const { projectRoot, workingDirectory } = this.#options;
    for (let directory = workingDirectory; ; directory = parentOf(directory)) {
      this.#locksIn(directory);
      if (directory === projectRoot || directory === "/") break;
    }
    for (const { name } of files) {
      const directory = parentOf(name);
      const base = name.slice(name.lastIndexOf("/") + 1);
      // A package's own lock file is not the project's.
      const isOwn = isLockFileName(base) && isBelow(name, projectRoot) && !/\/(?:node_modules|site-packages|vendor)\//.test(name);
      if (isOwn) this.#lock(directory, base);
    }
  }

  #locksIn(directory: string): void {
    for (const name of lockFileNames) this.#lock(directory, name);
  }

  #lock(directory: string, name: string): void {
    const path = joined(directory, name);
    if (this.#locks.has(path) || this.#locks.size >= lockFilesMax) return;
    const bytes = this.#sources.read(path, lockBytesMax);
    const lock = bytes && parseLockFile(name, bytes);
    if (lock?.packages.size === 0) this.#sources.note(`${shownName(path)} names no package that we can read`);
    this.#locks.set(path, lock && { directory, name, source: shownName(path), lock });
  }

  *#locksOf(ecosystem: Ecosystem): Generator<FoundLock> {
    for (const found of this.#locks.values()) if (found?.lock.ecosystem === ecosystem) yield found;
  }

  #named(ecosystem: Ecosystem, name: string, version: string): { found: LockedPackage; source: string } | undefined {
    let best: { found: LockedPackage; source: string } | undefined;
    for (const { lock, source, name: lockName } of this.#locksOf(ecosystem)) {
      if (isByDirectory(lockName)) continue;
      const found = lock.packages.get(keyOf(ecosystem, name, version));
      if (found && (best === undefined || (found.pinned && !best.found.pinned))) best = { found, source };
    }
    return best;
  }

  // -------------------------------------------------------------------------------------------
  // npm, Cargo, Go

  #claimOf(file: Candidate, place: PackagePlace): Claim {
    switch (place.ecosystem) {
      case "npm":
        return this.#npmClaim(place);
      case "cargo":
        return place.commit === undefined
          ? this.#versionClaim(place, place.version ?? "")
          : this.#checkoutClaim(place, place.commit);
      case "golang":
        return place.isGoMod ? this.#goModClaim(file, place) : this.#versionClaim(place, place.version ?? "");
      case "pypi":
        return this.#versionClaim(place, place.version ?? "");
    }
  }

  #npmClaim(place: PackagePlace): Claim {
    const version = place.version ?? this.#installedVersion(place.directory);
    if (place.owner !== undefined && isInside(place.owner, this.#options.projectRoot)) {
      for (const name of lockFileNames) if (isByDirectory(name)) this.#lock(place.owner, name);
    }
    for (const { directory, name, source, lock } of this.#locksOf("npm")) {
      if (!isByDirectory(name) || !isBelow(place.directory, directory)) continue;
      const found = lock.packages.get(place.directory.slice(directory === "/" ? 1 : directory.length + 1));
      if (found === undefined) continue;
      if (found.version !== version)
        return refusal(place, version, `the lock file names version ${shortened(found.version)} of it`);
      return claimBy("npm", source, found, version);
    }
    return this.#versionClaim(place, version ?? "");
  }

  #versionClaim(place: PackagePlace, version: string): Claim {
    const named = this.#named(place.ecosystem, place.name, version);
    return named === undefined ? refusal(place, version, unnamed) : claimBy(place.ecosystem, named.source, named.found, version);
  }

  /** Cargo's checkout of a git dependency has the beginning of the commit for its name. */
  #checkoutClaim(place: PackagePlace, commit: string): Claim {
    for (const { lock, source } of this.#locksOf("cargo")) {
      for (const found of lock.packages.values()) {
        if (found.commit?.startsWith(commit)) return claimBy("cargo", source, found, found.version);
      }
    }
    return refusal(place, commit, unnamed);
  }

  /** go.sum has a digest of go.mod alone: base64 of the SHA-256 of a list with one line. */
  #goModClaim(file: Candidate, place: PackagePlace): Claim {
    const named = this.#named("golang", place.name, place.version ?? "");
    if (named?.found.modHash === undefined) return refusal(place, place.version, unnamed);
    const { modHash } = named.found;
    const claim = { kind: "lockfile", by: "golang", source: named.source, package: place.name, version: place.version } as const;
    if (file.sha256 === undefined) return { ...claim, refused: "its content is not known" };
    const line = createHash("sha256").update(`${file.sha256}  go.mod\n`).digest("base64");
    // What is compared is the list; said as the content that it stands for.
    return { ...claim, expected: { algorithm: "sha256", hex: `h1:${line}` === modHash ? file.sha256 : "" } };
  }

  #installedVersion(directory: string): string | undefined {
    if (this.#versions.has(directory)) return this.#versions.get(directory);
    const bytes = this.#sources.read(joined(directory, "package.json"), manifestBytesMax);
    const version = bytes && textField(bytes, "version");
    this.#versions.set(directory, version);
    return version;
  }

  // -------------------------------------------------------------------------------------------
  // Cargo's vendored sources: vendor/NAME/.cargo-checksum.json has the digest of each file and of the crate.

  #isVendored(name: string): boolean {
    return name.includes("/vendor/") && isBelow(name, this.#options.projectRoot) && this.#crateOf(name) !== undefined;
  }

  #crateOf(name: string): VendoredCrate | undefined {
    const directory = /^.*\/vendor\/[^/]+(?=\/)/.exec(name)?.[0];
    if (directory === undefined) return undefined;
    if (!this.#vendored.has(directory)) {
      const source = joined(directory, ".cargo-checksum.json");
      const bytes = this.#sources.read(source, checksumsBytesMax);
      this.#vendored.set(directory, bytes && readChecksums(bytes, directory, source));
    }
    return this.#vendored.get(directory);
  }

  #vendoredClaim(file: Candidate): Claim | undefined {
    const crate = this.#crateOf(file.name);
    const sha256 = crate?.files.get(file.name.slice(crate.directory.length + 1));
    if (crate === undefined || sha256 === undefined) return undefined;
    for (const { lock, source } of this.#locksOf("cargo")) {
      for (const found of lock.packages.values()) {
        if (found.checksum === undefined || found.checksum !== crate.checksum) continue;
        return { ...claimBy("cargo", source, found, found.version), expected: { algorithm: "sha256", hex: sha256 } };
      }
    }
    const name = crate.directory.slice(crate.directory.lastIndexOf("/") + 1);
    return { kind: "lockfile", by: "cargo", source: shownName(crate.source), package: shownName(name), refused: unnamed };
  }

  // -------------------------------------------------------------------------------------------
  // Python

  #site(site: string, members: readonly { name: string; index: number }[], claim: Reporter): void {
    const owners = readPythonSite(site, new Set(members.map(({ name }) => name)), this.#sources);
    for (const { name, index } of members) {
      const owner = owners.get(name);
      if (owner !== undefined) claim(index, this.#pythonClaim(owner));
    }
  }

  #pythonClaim({ name, version, sha256, source }: PythonOwner): Claim {
    const named = this.#named("pypi", name, version);
    const [shown, shownVersion] = [shownName(name), shownName(version)];
    if (named === undefined) {
      const from = shownName(source);
      return { kind: "lockfile", by: "pypi", source: from, package: shown, version: shownVersion, refused: unnamed };
    }
    const claim = claimBy("pypi", named.source, named.found, shownVersion);
    return sha256 === undefined || claim.refused !== undefined
      ? claim
      : { ...claim, expected: { algorithm: "sha256", hex: sha256 } };
  }
}

interface VendoredCrate {
  directory: string;
  source: string;
  checksum: string | undefined;
  files: Map<string, string>;
}

function readChecksums(bytes: Buffer, directory: string, source: string): VendoredCrate | undefined {
  const parsed = parsedJson(bytes);
  if (typeof parsed !== "object" || parsed === null || !("files" in parsed)) return undefined;
  const { files } = parsed;
  if (typeof files !== "object" || files === null) return undefined;
  const found = new Map<string, string>();
  for (const [path, hex] of Object.entries(files))
    if (typeof hex === "string") found.set(Buffer.from(path).toString("latin1"), hex);
  const checksum = "package" in parsed && typeof parsed.package === "string" ? parsed.package : undefined;
  return { directory, source, checksum, files: found };
}

function claimBy(by: Ecosystem, source: string, found: LockedPackage, version: string | undefined): Claim {
  const claim = { kind: "lockfile", by, source, package: shortened(found.name), version } as const;
  return found.pinned ? claim : { ...claim, refused: unpinned };
}

function refusal(place: PackagePlace, version: string | undefined, refused: string): Claim {
  const { ecosystem: by, name, directory } = place;
  const shownVersion = version === undefined || version === "" ? undefined : shownName(shortened(version));
  return { kind: "lockfile", by, source: shownName(directory), package: shownName(name), version: shownVersion, refused };
}

const isInside = (name: string, directory: string): boolean => name === directory || isBelow(name, directory);

/** Names and versions come from files: nothing makes them short. */
function shortened(text: string): string {
  return text.length <= 214 ? text : text.slice(0, 214).toWellFormed();
}

function parsedJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch {
    return undefined;
  }
}

function textField(bytes: Buffer, name: string): string | undefined {
  const parsed = parsedJson(bytes);
  if (typeof parsed !== "object" || parsed === null || !Object.hasOwn(parsed, name)) return undefined;
  const value: unknown = Reflect.get(parsed, name);
  return typeof value === "string" ? value : undefined;
}
