// Lock files of package managers, each read into one list: which packages it names, in which version, and whether with
// something that only this content has (a digest, a commit). Read line by line, without parsers of YAML and TOML: these
// files are written by programs in one layout. Pure, and total on any text; what is not understood is not in the list.

import { entriesOf, parsedJson, property } from "./json-text.ts";

export interface LockedPackage {
  readonly name: string;
  readonly version: string;
  /** A digest or a commit stands beside it. */
  readonly pinned: boolean;
  /** Go: `h1:…` of go.mod alone. */
  readonly modHash?: string;
  /** npm: `sha512-…` of the archive. */
  readonly integrity?: string;
  /** Cargo: of the archive; git dependencies: the commit. */
  readonly checksum?: string;
  readonly commit?: string;
}

export interface LockFile {
  readonly ecosystem: Ecosystem;
  /** npm: by the directory of the package, relative to that of the lock file. Others: by `keyOf`. */
  readonly packages: ReadonlyMap<string, LockedPackage>;
}

export type Ecosystem = "npm" | "cargo" | "golang" | "pypi";

interface Format {
  readonly ecosystem: Ecosystem;
  /** By the directory where it is installed (npm), not by name and version. */
  readonly byDirectory?: boolean;
  readonly parse: (text: string, add: (key: string, found: LockedPackage) => void) => void;
}

/** Of one lock file. */
export const lockBytesMax = 64 << 20;
const packagesMax = 200_000;
/** A line that is longer is nobody's: what reads lines takes time that grows with their length. */
const lineLengthMax = 1 << 16;

const formats = new Map<string, Format>(
  Object.entries({
    "package-lock.json": { ecosystem: "npm", byDirectory: true, parse: parseNpm },
    "npm-shrinkwrap.json": { ecosystem: "npm", byDirectory: true, parse: parseNpm },
    "pnpm-lock.yaml": { ecosystem: "npm", parse: parsePnpm },
    "yarn.lock": { ecosystem: "npm", parse: parseYarn },
    "bun.lock": { ecosystem: "npm", parse: parseBun },
    "Cargo.lock": { ecosystem: "cargo", parse: (text, add) => parseTomlPackages("cargo", text, add) },
    "go.sum": { ecosystem: "golang", parse: parseGoSum },
    "go.work.sum": { ecosystem: "golang", parse: parseGoSum },
    "requirements.txt": { ecosystem: "pypi", parse: parseRequirements },
    "poetry.lock": { ecosystem: "pypi", parse: (text, add) => parseTomlPackages("pypi", text, add) },
    "uv.lock": { ecosystem: "pypi", parse: (text, add) => parseTomlPackages("pypi", text, add) },
    "pdm.lock": { ecosystem: "pypi", parse: (text, add) => parseTomlPackages("pypi", text, add) },
  } satisfies Record<string, Format>),
);

export const lockFileNames: readonly string[] = [...formats.keys()];

/** Further files with requirements: `requirements-dev.txt`, `requirements/ci.txt` are found where a build has read them. */
export function isLockFileName(name: string): boolean {
  return formats.has(name) || /^[\w.-]*requirements[\w.-]*\.txt$/.test(name);
}

export function isByDirectory(name: string): boolean {
  return formats.get(name)?.byDirectory === true;
}

export function parseLockFile(name: string, bytes: Buffer): LockFile {
  const format = formats.get(name) ?? { ecosystem: "pypi", parse: parseRequirements };
  const packages = new Map<string, LockedPackage>();
  format.parse(bytes.toString("utf8"), (key, found) => {
    if (packages.size < packagesMax) packages.set(key, found);
  });
  return { ecosystem: format.ecosystem, packages };
}

export function keyOf(ecosystem: Ecosystem, name: string, version: string): string {
  return `${ecosystem === "pypi" ? normalizedPython(name) : name}@${version}`;
}

/** PEP 503. */
export function normalizedPython(name: string): string {
  return name.toLowerCase().replace(/[-_.]+/g, "-");
}

// ---------------------------------------------------------------------------------------------
// npm

const integrityPattern = /^sha(?:1|256|384|512)-[A-Za-z0-9+/]{20,}={0,2}(?:\s|$)/;
const commitPattern = /#([0-9a-f]{40}|[0-9a-f]{64})$/;

type Add = (key: string, found: LockedPackage) => void;

function parseNpm(text: string, add: Add): void {
  const entries = new Map(entriesOf(property(parsedJson(text), "packages")));
  for (const [directory, entry] of entries) {
    if (directory === "" || property(entry, "link") === true) continue;
    const [version, name, integrity] = [property(entry, "version"), property(entry, "name"), property(entry, "integrity")];
    add(directory, {
      name: typeof name === "string" ? name : installedName(directory),
      version: typeof version === "string" ? version : "",
      pinned: isPinnedNpm(directory, entries),
      ...(typeof integrity === "string" ? { integrity } : {}),
    });
  }
}

/** A bundled package came in the archive of the package that it is in: that one's integrity is its own. */
function isPinnedNpm(directory: string, entries: ReadonlyMap<string, unknown>): boolean {
  for (let at = directory; ; at = at.slice(0, at.lastIndexOf("/node_modules/"))) {
    const entry = entries.get(at);
    if (property(entry, "inBundle") === true && at.includes("/node_modules/")) continue;
    const [integrity, resolved] = [property(entry, "integrity"), property(entry, "resolved")];
    return (
      (typeof integrity === "string" && integrityPattern.test(integrity)) ||
      (typeof resolved === "string" && commitPattern.test(resolved))
    );
  }
}

function installedName(directory: string): string {
  const last = directory.lastIndexOf("node_modules/");
  return last < 0 ? directory : directory.slice(last + "node_modules/".length);
}

/** `packages:` and below it `  /@scope/name@1.0.0(peer@2):` with `    resolution: {integrity: sha512-…}`; in version 5 `/name/1.0.0_peer`. */
function parsePnpm(text: string, add: Add): void {
  let inPackages = false;
  let current: { name: string; version: string } | undefined;
  for (const line of lines(text)) {
    if (/^\S/.test(line)) {
      inPackages = line.trimEnd() === "packages:";
      current = undefined;
    } else if (inPackages && /^ {2}\S/.test(line)) {
      current = pnpmName(line.trim());
    } else if (current && /^ {4}resolution:/.test(line)) {
      const integrity = /\bintegrity: ?['"]?([^,}'"\s]+)/.exec(line)?.[1];
      const commit = /\bcommit: ?['"]?([0-9a-f]{40,64})\b/.exec(line)?.[1];
      const isPinned = commit !== undefined || (integrity !== undefined && integrityPattern.test(integrity));
      add(keyOf("npm", current.name, current.version), { ...current, pinned: isPinned, ...(integrity ? { integrity } : {}) });
      current = undefined;
    }
  }
}

function pnpmName(line: string): { name: string; version: string } | undefined {
  const key = line.replace(/:\s*$/, "").replace(/^['"]|['"]$/g, "");
  const bare = (key.startsWith("/") ? key.slice(1) : key).replace(/\(.*$/, "");
  const [, name, version] = /^((?:@[^/]+\/)?[^/@]+)\/([^/]+)$/.exec(bare) ?? [];
  if (name !== undefined && version !== undefined) return { name, version: version.replace(/_.*$/, "") };
  const at = bare.indexOf("@", 1);
  return at < 0 ? undefined : { name: bare.slice(0, at), version: bare.slice(at + 1) };
}

/** Versions 1 (`version "1.0.0"`, `integrity sha512-…`) and 2 (`version: 1.0.0`, `resolution: "name@npm:1.0.0"`, `checksum: …`). */
function parseYarn(text: string, add: Add): void {
  let names: string[] = [];
  let version = "";
  let isPinned = false;
  let integrity: string | undefined;
  const finish = () => {
    const more = integrity === undefined ? {} : { integrity };
    for (const name of version === "" ? [] : new Set(names)) {
      add(keyOf("npm", name, version), { name, version, pinned: isPinned, ...more });
    }
  };
  for (const line of lines(text)) {
    if (line === "" || line.startsWith("#")) continue;
    if (!line.startsWith(" ")) {
      finish();
      [names, version, isPinned, integrity] = [line.startsWith("__metadata") ? [] : yarnNames(line), "", false, undefined];
      continue;
    }
    const [, field, value = ""] = /^ {2}"?(version|resolution|resolved|integrity|checksum)"?:? "?([^"\s]+)/.exec(line) ?? [];
    if (field === "version") version = value;
    else if (field === "resolution") names.push(yarnName(value));
    else if (field === "checksum") isPinned ||= /^(?:\w+\/)?[0-9a-f]{64,128}$/.test(value);
    else if (field === "integrity" && integrityPattern.test(value)) [isPinned, integrity] = [true, value];
    if (field === "resolution" || field === "resolved") isPinned ||= /[#=][0-9a-f]{40}$/.test(value);
  }
  finish();
}

/** `"a@^1, a@^2":` */
function yarnNames(header: string): string[] {
  return header
    .replace(/:\s*$/, "")
    .split(",")
    .map(part => yarnName(part.trim().replaceAll('"', "")));
}

function yarnName(descriptor: string): string {
  const at = descriptor.indexOf("@", 1);
  return at < 0 ? descriptor : descriptor.slice(0, at);
}

/** One line a package: `    "key": ["name@1.0.0", "", { … }, "sha512-…"],`. */
function parseBun(text: string, add: Add): void {
  let inPackages = false;
  for (const line of lines(text)) {
    if (/^ {2}"/.test(line)) inPackages = line.startsWith('  "packages": {');
    if (!inPackages || !/^ {4}"/.test(line)) continue;
    const first = /^ {4}"[^"]*": \["([^"]+)"/.exec(line)?.[1];
    if (first === undefined) continue;
    const at = first.indexOf("@", 1);
    if (at < 0) continue;
    const [name, version] = [first.slice(0, at), first.slice(at + 1)];
    const last = line.slice(line.lastIndexOf(', "') + 3).replace(/"\],?\s*$/, "");
    const isPinned = integrityPattern.test(last);
    add(keyOf("npm", name, version), { name, version, pinned: isPinned, ...(isPinned ? { integrity: last } : {}) });
  }
}

// ---------------------------------------------------------------------------------------------
// Cargo, Python, Go

/** `[[package]]` blocks: Cargo.lock, poetry.lock, uv.lock, pdm.lock. */
function parseTomlPackages(ecosystem: Ecosystem, text: string, add: Add): void {
  let current: { name: string; version: string; checksum?: string; commit?: string; hashed: boolean } | undefined;
  const finish = () => {
    if (current === undefined || current.name === "") return;
    const { name, version, checksum, commit, hashed } = current;
    const found = { name, version, pinned: hashed || checksum !== undefined || commit !== undefined };
    const more = { ...(checksum === undefined ? {} : { checksum }), ...(commit === undefined ? {} : { commit }) };
    add(keyOf(ecosystem, name, version), { ...found, ...more });
  };
  for (const line of lines(text)) {
    if (line.startsWith("[") && !line.startsWith("[package.") && !line.startsWith("[[package.")) {
      finish();
      current = line.trimEnd() === "[[package]]" ? { name: "", version: "", hashed: false } : undefined;
      continue;
    }
    if (current === undefined) continue;
    const [, field, value = ""] = /^(name|version|source|checksum) = "([^"]*)"/.exec(line) ?? [];
    if (field === "name" && current.name === "") current.name = value;
    else if (field === "version" && current.version === "") current.version = value;
    else if (field === "checksum" && /^[0-9a-f]{64}$/.test(value)) current.checksum = value;
    else if (field === "source") {
      const commit = value.startsWith("git+") ? commitPattern.exec(value)?.[1] : undefined;
      if (commit !== undefined) current.commit = commit;
    } else if (/\bhash = "sha(?:256|384|512):[0-9a-f]{64,128}"/.test(line)) current.hashed = true;
  }
  finish();
}

/** `module version h1:…` and `module version/go.mod h1:…`. */
function parseGoSum(text: string, add: Add): void {
  const found = new Map<string, LockedPackage>();
  for (const line of lines(text)) {
    const [name, version = "", hash = "", more] = line.split(" ");
    if (name === undefined || more !== undefined || !/^h1:[A-Za-z0-9+/]{43}=$/.test(hash)) continue;
    const isMod = version.endsWith("/go.mod");
    const bare = isMod ? version.slice(0, -"/go.mod".length) : version;
    const key = keyOf("golang", name, bare);
    const earlier = found.get(key) ?? { name, version: bare, pinned: false };
    found.set(key, isMod ? { ...earlier, modHash: hash } : { ...earlier, pinned: true });
  }
  for (const [key, locked] of found) add(key, locked);
}

/** `name[extra]==1.0 ; marker --hash=sha256:…`, with `\` at the end of lines that go on. */
function parseRequirements(text: string, add: Add): void {
  let logical = "";
  for (const line of lines(text)) {
    if (line.endsWith("\\") && logical.length < lineLengthMax) {
      logical += `${line.slice(0, -1)} `;
      continue;
    }
    const requirement = logical + line;
    logical = "";
    const [, name, version] = /^\s*([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*===?\s*([^\s;#,]+)/.exec(requirement) ?? [];
    if (name === undefined || version === undefined) continue;
    const isPinned = /\s--hash=sha(?:256|384|512):[0-9a-f]{64,128}\b/.test(requirement);
    add(keyOf("pypi", name, version), { name, version, pinned: isPinned });
  }
}

// ---------------------------------------------------------------------------------------------

function* lines(text: string): Generator<string> {
  for (let start = 0; start < text.length; ) {
    const found = text.indexOf("\n", start);
    const end = found < 0 ? text.length : found;
    if (end - start <= lineLengthMax)
      yield text.charCodeAt(end - 1) === 0x0d ? text.slice(start, end - 1) : text.slice(start, end);
    start = end + 1;
  }
}
