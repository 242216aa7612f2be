// The repository of the working directory as a voucher: a file is declared if the index names its path with its very
// content. Read from the index file alone: no git is started, no configuration counts. Filters (autocrlf, LFS) make the
// file differ from its blob, and that is what is said then.
import { posix } from "node:path";
import { indexBytesMax, parseGitIndex } from "./git-index.ts";
import { entryType, readBounded, type Sources } from "./sources.ts";
import { type Candidate, type Claim, isBelow, joined, parentOf, shownName, type Voucher } from "./voucher.ts";

export interface Repository {
  /** Top of the work tree. */
  readonly top: string;
  /** Where index and HEAD are: `.git`, or where a file of that name leads. */
  readonly gitDirectory: string;
}

/** Submodules in submodules. */
const nestingMax = 10;
/** Of one run. */
const repositoriesMax = 1000;
const levelsMax = 256;
const linkBytesMax = 64 << 10;

/** The nearest repository above. `directory`: absolute, one character a byte. */
export function findRepository(directory: string): Repository | undefined {
  let top = directory;
  for (let level = 0; level < levelsMax; level++) {
    const gitDirectory = gitDirectoryOf(top);
    if (gitDirectory !== undefined) return { top, gitDirectory };
    if (top === "/") return undefined;
    top = parentOf(top);
  }
  return undefined;
}

function gitDirectoryOf(top: string): string | undefined {
  const dotGit = joined(top, ".git");
  const type = entryType(dotGit);
  if (type === "directory" || type === "link") return entryType(`${dotGit}/HEAD`) === undefined ? undefined : dotGit;
  if (type !== "file") return undefined;
  // Work trees and submodules: `gitdir: PATH`.
  const reading = readBounded(dotGit, linkBytesMax);
  if (reading.kind !== "bytes") return undefined;
  const path = /^gitdir: ([^\n]+)\n?$/.exec(reading.bytes.toString("latin1"))?.[1];
  if (path === undefined) return undefined;
  return posix.resolve(top, path);
}

/** Read before the build, since `git status` writes the index again with every build. */
export function snapshotIndex(repository: Repository | undefined): ReadonlyMap<string, Buffer> {
  if (repository === undefined) return new Map();
  const name = joined(repository.gitDirectory, "index");
  const reading = readBounded(name, indexBytesMax);
  return reading.kind === "bytes" ? new Map([[name, reading.bytes]]) : new Map();
}

export class GitVoucher implements Voucher {
  readonly name = "git";
  readonly kind = "git";
  readonly #sources: Sources;
  readonly #repository: Repository;
  #repositories = 0;

  constructor(sources: Sources, repository: Repository) {
    this.#sources = sources;
    this.#repository = repository;
  }

  vouch(files: readonly Candidate[], claim: (index: number, claim: Claim) => void): void {
    const all = files.map((file, index) => ({ name: file.name, index }));
    this.#vouch(this.#repository, all, claim, 0);
  }

  #vouch(
    repository: Repository,
    files: readonly { name: string; index: number }[],
    claim: (index: number, claim: Claim) => void,
    depth: number,
  ): void {
    const { top, gitDirectory } = repository;
    const below = files.filter(({ name }) => isBelow(name, top));
    if (below.length === 0 || depth > nestingMax || ++this.#repositories > repositoriesMax) return;
    const source = joined(gitDirectory, "index");
    const bytes = this.#sources.read(source, indexBytesMax);
    if (bytes === undefined) return;
    const relative = (name: string) => name.slice(top === "/" ? 1 : top.length + 1);
    const index = parseGitIndex(bytes, new Set(below.map(file => relative(file.name))));
    if (index.kind === "refused") {
      this.#sources.note(`${shownName(source)} is not read: ${index.reason}`);
      return;
    }
    const common = { kind: "git", by: "git", source: shownName(source), package: shownName(top) } as const;
    for (const file of below) {
      const path = relative(file.name);
      const entry = index.entries.get(path);
      if (entry !== undefined) {
        claim(file.index, { ...common, expected: { algorithm: `gitoid:${index.objectHash}`, hex: entry.id } });
      } else if (index.conflicts.has(path)) {
        claim(file.index, { ...common, refused: "a merge has left it in conflict" });
      }
    }
    const directories = directoriesOf(below, top);
    for (const path of index.submodules) {
      const submodule = joined(top, path);
      if (directories.has(submodule)) this.#submodule(submodule, below, claim, depth);
    }
  }

  #submodule(
    top: string,
    files: readonly { name: string; index: number }[],
    claim: (index: number, claim: Claim) => void,
    depth: number,
  ): void {
    const below = files.filter(({ name }) => isBelow(name, top));
    if (below.length === 0) return;
    const gitDirectory = gitDirectoryOf(top);
    if (gitDirectory !== undefined) this.#vouch({ top, gitDirectory }, below, claim, depth + 1);
  }
}

/** All directories between the files and `top`: few, however many files and submodules there are. */
function directoriesOf(files: readonly { name: string }[], top: string): Set<string> {
  const found = new Set<string>();
  for (const { name } of files) {
    for (
      let directory = parentOf(name);
      directory.length > top.length && !found.has(directory);
      directory = parentOf(directory)
    ) {
      found.add(directory);
    }
  }
  return found;
}
