// Lock files as vouchers: a file is declared if the package that it belongs to stands in a lock file of the project with
// a digest or a commit. What lock files hold is digests of archives. The content itself is compared where the archive is
// still there (npm's cache, Cargo's), or where the package manager keeps a digest of each file (Python's RECORD, Cargo's
// vendored sources, go.mod); elsewhere only the owner is known.
import { createHash } from "node:crypto";
import { CargoVendor, type VendoredCrate } from "./cargo-vendor.ts";
import { parsedJson, property } from "./json-text.ts";
import { type Ecosystem, type LockedPackage, normalizedPython } from "./lock-formats.ts";
import { PackageArchives } from "./package-archives.ts";
import { type PackagePlace, placeOf } from "./package-places.ts";
import { type Found, ProjectLocks } from "./project-locks.ts";
import { type PythonOwner, pythonSiteOf, readPythonSite } from "./python-sites.ts";
import type { Sources } from "./sources.ts";
import { type Candidate, type Claim, isBelow, joined, shownName, type Voucher } from "./voucher.ts";

export interface LockfileOptions {
  readonly projectRoot: string;
  readonly workingDirectory: string;
  readonly goModuleCache?: string | undefined;
  readonly npmCache?: string | undefined;
  /** How much of the packages' archives may be unpacked. */
  readonly unpackedBytesMax: number;
}

/** A package with the files of it that the build has read. */
interface PackageFiles {
  readonly place: PackagePlace;
  readonly members: { index: number; path: string }[];
  /** The time of the member that has changed last. */
  changedNs: bigint;
}

type Reporter = (index: number, claim: Claim) => void;

const refusals = {
  unnamed: "no lock file of the project names it",
  unpinned: "the lock file has no digest of it",
  notInArchive: "the package's archive does not have it",
} as const;

const sitesMax = 100;
const manifestBytesMax = 4 << 20;

export class LockfileVoucher implements Voucher {
  readonly name = "lockfile";
  readonly kind = "lockfile";
  readonly #sources: Sources;
  readonly #options: LockfileOptions;
  readonly #locks: ProjectLocks;
  readonly #vendor: CargoVendor;

  constructor(sources: Sources, options: LockfileOptions) {
    this.#sources = sources;
    this.#options = options;
    this.#locks = new ProjectLocks(sources, options.projectRoot);
    this.#vendor = new CargoVendor(sources);
  }

  vouch(files: readonly Candidate[], claim: Reporter): void {
    const { goModuleCache, projectRoot, workingDirectory } = this.#options;
    const sites = new Map<string, { name: string; index: number }[]>();
    const packages = new Map<string, PackageFiles>();
    const single: (() => void)[] = [];
    files.forEach((file, index) => {
      const site = pythonSiteOf(file.name);
      const place = site === undefined ? placeOf(file.name, { goModuleCache }) : undefined;
      if (site !== undefined) {
        const known = sites.get(site);
        if (known) known.push({ name: file.name, index });
        else if (sites.size < sitesMax) sites.set(site, [{ name: file.name, index }]);
      } else if (place?.isSingle) {
        single.push(() => claim(index, this.#singleClaim(file, place)));
      } else if (place !== undefined) {
        addMember(packages, place, file, index);
      } else if (isBelow(file.name, projectRoot)) {
        const crate = this.#vendor.crateOf(file.name);
        const sha256 = crate?.files.get(file.name.slice(crate.directory.length + 1));
        if (crate && sha256 !== undefined) single.push(() => claim(index, this.#vendoredClaim(crate, sha256)));
      }
    });
    if (sites.size === 0 && packages.size === 0 && single.length === 0) return;
    this.#locks.find(
      workingDirectory,
      files.map(({ name }) => name),
    );
    for (const report of single) report();
    for (const [site, members] of sites) this.#site(site, members, claim);
    this.#claimPackages([...packages.values()], claim);
  }

  // -------------------------------------------------------------------------------------------
  // Packages in a directory of their own

  /** Those first whose files have changed last: what was tampered with is younger than what was installed with it. */
  #claimPackages(packages: readonly PackageFiles[], claim: Reporter): void {
    const { npmCache, unpackedBytesMax: bytesMax } = this.#options;
    const archives = new PackageArchives({ npmCache, bytesMax });
    for (const { place, members } of packages.toSorted((a, b) => Number(b.changedNs - a.changedNs))) {
      const { found, version, refused } = this.#foundFor(place);
      if (found === undefined) {
        for (const { index } of members) claim(index, refusal(place, version, refused ?? refusals.unnamed));
        continue;
      }
      const said = claimBy(place.ecosystem, found, version);
      const paths = new Set(members.map(({ path }) => path));
      const digests = said.refused === undefined ? archives.digests(place, found.locked, paths) : undefined;
      for (const { index, path } of members) {
        const hex = digests?.get(path);
        if (hex !== undefined) claim(index, { ...said, expected: { algorithm: "sha256", hex } });
        else claim(index, digests === undefined ? said : { ...said, refused: refusals.notInArchive });
      }
    }
  }

  #foundFor(place: PackagePlace): { found?: Found | undefined; version: string | undefined; refused?: string } {
    const { ecosystem, name, directory, owner, commit } = place;
    if (commit !== undefined) {
      // Cargo's checkout of a git dependency has the beginning of the commit for its name.
      const found = this.#locks.first(ecosystem, locked => locked.commit?.startsWith(commit) === true);
      return { found, version: found?.locked.version ?? commit };
    }
    const version = place.version ?? (ecosystem === "npm" ? this.#installedVersion(directory) : undefined);
    const installed = owner === undefined ? undefined : this.#locks.installedIn(directory, owner);
    if (installed && installed.locked.version !== version) {
      return { version, refused: `the lock file names version ${shortened(installed.locked.version)} of it` };
    }
    return { found: installed ?? this.#locks.named(ecosystem, name, version ?? ""), version };
  }

  #installedVersion(directory: string): string | undefined {
    const bytes = this.#sources.read(joined(directory, "package.json"), manifestBytesMax);
    const version = bytes && property(parsedJson(bytes), "version");
    return typeof version === "string" ? version : undefined;
  }

  // -------------------------------------------------------------------------------------------
  // Single files

  /** go.sum has a digest of go.mod alone, Cargo.lock one of the crate. */
  #singleClaim(file: Candidate, place: PackagePlace): Claim {
    const { ecosystem, name, version = "" } = place;
    const found = this.#locks.named(ecosystem, name, version);
    const kept = ecosystem === "golang" ? found?.locked.modHash : found?.locked.checksum;
    if (found === undefined || kept === undefined) return refusal(place, version, refusals.unnamed);
    const { source } = found;
    const claim = { kind: "lockfile", by: ecosystem, source, package: shortened(name), version: shortened(version) } as const;
    if (ecosystem !== "golang") return { ...claim, expected: { algorithm: "sha256", hex: kept } };
    // What go.sum has is the digest of a list with one line; said as the content that it stands for.
    const list = createHash("sha256").update(`${file.sha256}  go.mod\n`).digest("base64");
    return { ...claim, expected: { algorithm: "sha256", hex: `h1:${list}` === kept ? (file.sha256 ?? "") : "" } };
  }

  #vendoredClaim(crate: VendoredCrate, hex: string): Claim {
    const { checksum, directory, source } = crate;
    const found = checksum === undefined ? undefined : this.#locks.first("cargo", locked => locked.checksum === checksum);
    if (found) return { ...claimBy("cargo", found, found.locked.version), expected: { algorithm: "sha256", hex } };
    const name = shownName(directory.slice(directory.lastIndexOf("/") + 1));
    return { kind: "lockfile", by: "cargo", source: shownName(source), package: name, refused: refusals.unnamed };
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
    const found = this.#locks.named("pypi", name, version);
    const shownVersion = shownName(version);
    if (found === undefined) {
      const said = {
        kind: "lockfile",
        by: "pypi",
        source: shownName(source),
        package: normalizedPython(shownName(name)),
      } as const;
      return { ...said, version: shownVersion, refused: refusals.unnamed };
    }
    const claim = claimBy("pypi", found, shownVersion);
    const isCompared = sha256 !== undefined && claim.refused === undefined;
    return isCompared ? { ...claim, expected: { algorithm: "sha256", hex: sha256 } } : claim;
  }
}

function addMember(packages: Map<string, PackageFiles>, place: PackagePlace, file: Candidate, index: number): void {
  const member = { index, path: file.name.slice(place.directory.length + 1) };
  const known = packages.get(place.directory);
  if (known === undefined) {
    packages.set(place.directory, { place, members: [member], changedNs: file.changedNs });
    return;
  }
  known.members.push(member);
  if (file.changedNs > known.changedNs) known.changedNs = file.changedNs;
}

function claimBy(by: Ecosystem, { locked, source }: Found, version: string | undefined): Claim {
  const claim = { kind: "lockfile", by, source, package: packageName(by, locked), version } as const;
  return locked.pinned ? claim : { ...claim, refused: refusals.unpinned };
}

function refusal(place: PackagePlace, version: string | undefined, refused: string): Claim {
  const { ecosystem: by, name, directory } = place;
  const shown = version === undefined || version === "" ? undefined : shownName(shortened(version));
  return { kind: "lockfile", by, source: shownName(directory), package: shownName(shortened(name)), version: shown, refused };
}

function packageName(ecosystem: Ecosystem, { name }: LockedPackage): string {
  return shortened(ecosystem === "pypi" ? normalizedPython(name) : name);
}

/** Names and versions come from files: nothing makes them short. npm's have at most so much. */
function shortened(text: string): string {
  return text.length <= 214 ? text : text.slice(0, 214).toWellFormed();
}
