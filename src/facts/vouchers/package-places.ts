// Which package of which package manager a file belongs to, by where it is. Pure.
import type { Ecosystem } from "./lock-formats.ts";
import { isBelow } from "./voucher.ts";

export interface PackagePlace {
  readonly ecosystem: Ecosystem;
  /** Where the package's files are: a directory, or the file itself. */
  readonly directory: string;
  readonly name: string;
  /** What the path says of it; npm's is in the package's own package.json. */
  readonly version?: string;
  /** npm: the directory with the outermost node_modules. */
  readonly owner?: string;
  /** Cargo's git dependencies: the beginning of the commit. */
  readonly commit?: string;
  /** A file that the lock file has a digest of: the go.mod of a module, the archive of a crate. */
  readonly isSingle?: boolean;
}

export interface PlaceOptions {
  /** GOMODCACHE, where it is set. */
  readonly goModuleCache?: string | undefined;
}

export function placeOf(name: string, options: PlaceOptions = {}): PackagePlace | undefined {
  return npmPlace(name) ?? cargoPlace(name) ?? goPlace(name, options.goModuleCache);
}

const nodeModules = "/node_modules/";

function npmPlace(name: string): PackagePlace | undefined {
  const last = name.lastIndexOf(nodeModules);
  if (last < 0) return undefined;
  const start = last + nodeModules.length;
  const [first = "", second = ""] = name.slice(start, start + 512).split("/", 2);
  const packageName = first.startsWith("@") ? `${first}/${second}` : first;
  const directory = name.slice(0, start + packageName.length);
  // node_modules/.bin/x, node_modules/.package-lock.json: npm's own.
  if (first === "" || first.startsWith(".") || (first.startsWith("@") && second === "") || directory === name) return undefined;
  const place = {
    ecosystem: "npm",
    directory,
    name: packageName,
    owner: name.slice(0, name.indexOf(nodeModules)) || "/",
  } as const;
  const version = pnpmVersion(name.slice(0, last), packageName);
  return version === undefined ? place : { ...place, version };
}

/** pnpm: `node_modules/.pnpm/@scope+name@1.0.0_peer/node_modules/@scope/name`. */
function pnpmVersion(above: string, packageName: string): string | undefined {
  const [store, entry] = above.split("/").slice(-2);
  const prefix = `${packageName.replace("/", "+")}@`;
  if (store !== ".pnpm" || !entry?.startsWith(prefix)) return undefined;
  return entry.slice(prefix.length).replace(/[_(].*$/, "");
}

function cargoPlace(name: string): PackagePlace | undefined {
  // Asked for each input: the expressions take ten times as long to say no.
  if (!name.includes("/registry/") && !name.includes("/checkouts/")) return undefined;
  const registry = /^(.*\/registry\/src\/[^/]+\/([^/]+))\//.exec(name);
  if (registry) {
    const [, directory = "", both = ""] = registry;
    return cratePlace(both, directory);
  }
  const archive = /\/registry\/cache\/[^/]+\/([^/]+)\.crate$/.exec(name)?.[1];
  if (archive !== undefined) {
    const place = cratePlace(archive, name);
    return place && { ...place, isSingle: true };
  }
  const [, directory = "", checkout = "", commit = ""] = /^(.*\/git\/checkouts\/([^/]+)\/([0-9a-f]{7,40}))\//.exec(name) ?? [];
  if (directory === "") return undefined;
  return { ecosystem: "cargo", directory, name: checkout.replace(/-[0-9a-f]{16}$/, ""), commit };
}

/** `name-1.0.0-beta.1`: versions begin with three numbers, names of crates do not end in them. */
function cratePlace(both: string, directory: string): PackagePlace | undefined {
  const [, name, version] = /^(.+?)-(\d+\.\d+\.\d+(?:[-+].*)?)$/.exec(both) ?? [];
  return name === undefined || version === undefined ? undefined : { ecosystem: "cargo", directory, name, version };
}

function goPlace(name: string, cache: string | undefined): PackagePlace | undefined {
  const usual = name.indexOf("/pkg/mod/");
  const root =
    cache !== undefined && isBelow(name, cache) ? cache : usual < 0 ? undefined : name.slice(0, usual + "/pkg/mod".length);
  if (root === undefined) return undefined;
  const path = name.slice(root.length + 1);
  const download = "cache/download/";
  if (path.startsWith(download)) {
    const [, module, version, extension] =
      /^(.+)\/@v\/([^/]+)\.(mod|zip|info|ziphash|lock)$/.exec(path.slice(download.length)) ?? [];
    if (module === undefined || version === undefined) return undefined;
    const place = { ecosystem: "golang", directory: name, name: goUnescaped(module), version: goUnescaped(version) } as const;
    return extension === "mod" ? { ...place, isSingle: true } : place;
  }
  const at = path.indexOf("@v");
  const end = path.indexOf("/", at);
  if (at <= 0 || end < 0) return undefined;
  const directory = name.slice(0, root.length + 1 + end);
  return { ecosystem: "golang", directory, name: goUnescaped(path.slice(0, at)), version: goUnescaped(path.slice(at + 1, end)) };
}

/** `!a` stands for `A`: file systems that do not tell capitals apart. */
function goUnescaped(text: string): string {
  return text.replace(/!([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
