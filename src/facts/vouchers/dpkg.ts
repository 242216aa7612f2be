// Debian's package database as a voucher: who owns a file, and the MD5 that the package came with (for configuration
// files the one in the status). All by file; dpkg is not started.
//
//     var/lib/dpkg/status            packages, versions, configuration files
//     var/lib/dpkg/info/NAME.list    the files of a package, NAME or NAME:ARCH
//     var/lib/dpkg/info/NAME.md5sums their digests, without the leading slash
//     var/lib/dpkg/diversions        files that one package moves aside for its own
//     var/lib/dpkg/status.d/NAME     images without a package manager: the same, with NAME.md5sums beside it
import type { Room, Sources } from "./sources.ts";
import { mergedAliases } from "./system-root.ts";
import { type Candidate, type Claim, joined, shownName, type Voucher } from "./voucher.ts";
import { WantedLines } from "./wanted-lines.ts";

const statusBytesMax = 128 << 20;
const listBytesMax = 64 << 20;
const usualListBytes = 256 << 10;
const packagesMax = 50_000;

interface Wanted {
  readonly index: number;
  /** By its diversion only this package can own the name, or any but that one. */
  readonly only?: string;
  readonly except?: string;
}

interface InstalledPackage {
  readonly version: string | undefined;
  readonly conffiles: ReadonlyMap<string, string>;
}

interface Owned {
  readonly index: number;
  /** As the list has it. */
  readonly path: string;
}

interface Lists {
  readonly lists: readonly { owner: string; source: string }[];
  /** Whether names begin with a slash. */
  readonly listsSlash: boolean;
  /** What stands before the name in each line. */
  readonly skip: number;
}

const sumsEnding = ".md5sums";
/** `MD5  NAME` */
const sumLength = 34;

export class DpkgVoucher implements Voucher {
  readonly name = "dpkg";
  readonly kind = "system";
  readonly #sources: Sources;
  readonly #root: string;
  readonly #database: string;

  constructor(sources: Sources, root: string) {
    this.#sources = sources;
    this.#root = root;
    this.#database = joined(root, "var/lib/dpkg");
  }

  vouch(files: readonly Candidate[], claim: (index: number, claim: Claim) => void): void {
    const wanted = this.#wanted(files);
    const owned = new Map<string, Owned[]>();
    const found = new Set<number>();
    const { lists, listsSlash, skip } = this.#lists();
    const lines = new WantedLines(listsSlash ? wanted : new Map([...wanted].map(([path, entry]) => [path.slice(1), entry])));
    const room: Room = { buffer: Buffer.allocUnsafe(usualListBytes) };
    for (const { owner, source } of lists) {
      const bytes = this.#sources.read(source, listBytesMax, room);
      if (bytes === undefined) continue;
      const bare = owner.replace(/:.*$/, "");
      lines.find(bytes, skip, line => {
        const path = listsSlash ? line : `/${line}`;
        for (const { index, only, except } of wanted.get(path) ?? []) {
          if (found.has(index) || except === bare || (only !== undefined && only !== bare)) continue;
          found.add(index);
          const known = owned.get(owner);
          if (known) known.push({ index, path });
          else owned.set(owner, [{ index, path }]);
        }
      });
    }
    if (owned.size === 0) return;
    const status = this.#status(new Set(owned.keys()));
    for (const [owner, paths] of owned) this.#claims(owner, paths, status.get(owner), claim);
  }

  #claims(
    owner: string,
    paths: readonly Owned[],
    status: InstalledPackage | undefined,
    claim: (index: number, claim: Claim) => void,
  ): void {
    const sums = this.#md5sums(owner, new Set(paths.map(({ path }) => path)));
    for (const { index, path } of paths) {
      const md5 = sums.get(path) ?? status?.conffiles.get(path);
      const common = {
        kind: "system",
        by: "dpkg",
        source: shownName(this.#database),
        package: shownName(owner),
        version: status?.version,
      } as const;
      claim(index, md5 === undefined ? common : { ...common, expected: { algorithm: "md5", hex: md5 } });
    }
  }

  /** Names that lists may have for the files: before directories were merged into /usr, and as diversions have moved them. */
  #wanted(files: readonly Candidate[]): Map<string, Wanted[]> {
    const aliases = mergedAliases(this.#root);
    const diversions = this.#diversions();
    const wanted = new Map<string, Wanted[]>();
    const add = (path: string, entry: Wanted) => {
      const known = wanted.get(path);
      if (known) known.push(entry);
      else wanted.set(path, [entry]);
    };
    for (const [index, { name }] of files.entries()) {
      const below = this.#root === "/" ? name : name.slice(this.#root.length);
      for (const path of aliases(below)) {
        const diverted = diversions.to.get(path);
        const by = diversions.from.get(path);
        if (diverted !== undefined) for (const { from, owner } of diverted) add(from, { index, except: owner });
        add(path, by === undefined ? { index } : { index, only: by });
      }
    }
    return wanted;
  }

  /** Three lines each: the name, where it went, the package that it went there for (`:` for the administrator). */
  #diversions(): { from: Map<string, string>; to: Map<string, { from: string; owner: string }[]> } {
    const from = new Map<string, string>();
    const to = new Map<string, { from: string; owner: string }[]>();
    const lines = this.#sources.read(joined(this.#database, "diversions"), listBytesMax)?.toString("latin1").split("\n") ?? [];
    for (let i = 0; i + 2 < lines.length; i += 3) {
      const [name = "", moved = "", owner = ""] = lines.slice(i, i + 3);
      from.set(name, owner);
      const known = to.get(moved);
      if (known) known.push({ from: name, owner });
      else to.set(moved, [{ from: name, owner }]);
    }
    return { from, to };
  }

  #lists(): Lists {
    const [info, images] = [joined(this.#database, "info"), joined(this.#database, "status.d")];
    const ending = ".list";
    const names = this.#sources.list(info, packagesMax * 8).filter(name => name.endsWith(ending));
    if (names.length > 0) return { lists: listsOf(info, names, ending), listsSlash: true, skip: 0 };
    const sums = this.#sources.list(images, packagesMax).filter(name => name.endsWith(sumsEnding));
    return { lists: listsOf(images, sums, sumsEnding), listsSlash: false, skip: sumLength };
  }

  #md5sums(owner: string, wanted: ReadonlySet<string>): Map<string, string> {
    const found = new Map<string, string>();
    for (const directory of ["info", "status.d"]) {
      const bytes = this.#sources.read(joined(this.#database, `${directory}/${owner}${sumsEnding}`), listBytesMax);
      for (const line of bytes?.toString("latin1").split("\n") ?? []) {
        const path = `/${line.slice(sumLength).replace(/^\.?\//, "")}`;
        const md5 = line.slice(0, 32);
        if (wanted.has(path) && /^[0-9a-f]{32}$/.test(md5)) found.set(path, md5);
      }
    }
    return found;
  }

  /** By the name that the package's lists have. */
  #status(owners: ReadonlySet<string>): Map<string, InstalledPackage> {
    const found = new Map<string, InstalledPackage>();
    const whole = this.#sources.read(joined(this.#database, "status"), statusBytesMax);
    for (const paragraph of whole?.toString("latin1").split("\n\n") ?? []) addPackage(paragraph, owners, found);
    if (whole !== undefined) return found;
    for (const owner of owners) {
      const bytes = this.#sources.read(joined(this.#database, `status.d/${owner}`), listBytesMax);
      if (bytes !== undefined) found.set(owner, readPackage(bytes.toString("latin1")));
    }
    return found;
  }
}

function listsOf(directory: string, names: readonly string[], ending: string): { owner: string; source: string }[] {
  return names.map(name => ({ owner: name.slice(0, -ending.length), source: joined(directory, name) }));
}

function addPackage(paragraph: string, owners: ReadonlySet<string>, found: Map<string, InstalledPackage>): void {
  const name = field(paragraph, "Package");
  if (name === undefined) return;
  const full = `${name}:${field(paragraph, "Architecture") ?? ""}`;
  const owner = owners.has(full) ? full : name;
  if (owners.has(owner) && !found.has(owner)) found.set(owner, readPackage(paragraph));
}

function readPackage(paragraph: string): InstalledPackage {
  const conffiles = new Map<string, string>();
  const start = /^Conffiles:.*$/m.exec(paragraph);
  if (start) {
    for (const line of paragraph.slice(start.index + start[0].length + 1).split("\n")) {
      const [, path, md5] = /^ (\/.*) ([0-9a-f]{32})(?: \w+)*$/.exec(line) ?? [];
      if (path === undefined || md5 === undefined) break;
      conffiles.set(path, md5);
    }
  }
  return { version: field(paragraph, "Version"), conffiles };
}

function field(paragraph: string, name: string): string | undefined {
  const start = paragraph.startsWith(`${name}: `) ? 0 : paragraph.indexOf(`\n${name}: `) + 1;
  if (start === 0 && !paragraph.startsWith(`${name}: `)) return undefined;
  const end = paragraph.indexOf("\n", start);
  return paragraph.slice(start + name.length + 2, end < 0 ? undefined : end).trim();
}
