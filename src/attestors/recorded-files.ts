// Materials and products as they are recorded: files, and directories that are one entry each (--dirhash-glob). The hash of
// such a directory is that of Go's dirhash ("h1:" left off, in hexadecimal): the SHA-256 of a line for each of its files,
//
//     <sha256 of the content>  <path below the directory>\n
//
// sorted by path. Links to files are such files, what is behind links to directories is not.

import type { OneEntry, Walk, WalkedFile } from "../facts/walk.ts";
import { sha256Of } from "../hashes.ts";
import { unescapeText } from "../text.ts";
import type { DigestSet } from "../trace/observation.ts";

export interface RecordedFile {
  /** Relative to the working directory, absolute outside of it. Ends in a slash for a directory. */
  readonly path: string;
  /** Has sha256, or dirHash alone. */
  readonly digest: DigestSet;
  /** It is where tools keep things for the next time. */
  readonly isCache?: boolean;
}

/** `files` in the walked directory, each directory of one entry in the place of those that are in it. */
export function withDirectories(files: readonly RecordedFile[], walk: Walk, counts: Counts): RecordedFile[] {
  const hashes = directoryHashes(walk);
  if (hashes.size === 0) return [...files];
  const touched = new Set<string>();
  const others = files.filter(({ path }) => {
    const directory = directoryOf(path, hashes);
    if (directory !== undefined) touched.add(directory);
    return directory === undefined;
  });
  const directories = [...hashes].filter(([path, hash]) => touched.has(path) || counts(path, hash));
  return [...others, ...directories.map(([path, dirHash]) => ({ path, digest: { dirHash } }))];
}

/** Whether a directory none of whose files is among them is an entry all the same. */
export type Counts = (path: string, hash: string) => boolean;

/** By path, of those whose files could all be read. Their other files stay single: one that could not be read is told then. */
export function directoryHashes({ files, unread, directories }: Walk): Map<string, string> {
  return new Map(
    directories.flatMap(directory => {
      const inside = files.filter(({ path }) => isBelow(path, directory.path));
      const isWhole = !unread.some(({ path }) => isBelow(path, directory.path) || `${path}/` === directory.path);
      const hash = isWhole ? directoryHash(directory, inside) : undefined;
      return hash === undefined ? [] : [[directory.path, hash] as const];
    }),
  );
}

/** Undefined: a name has a newline in it, and would be read as two lines. */
function directoryHash(directory: OneEntry, files: readonly WalkedFile[]): string | undefined {
  const start = prefixOf(directory.path).length;
  const own = files.filter(({ path }) => !directory.linked.has(path));
  if (own.some(({ path }) => path.includes("\n"))) return undefined;
  const named = own.map(({ path, digest }) => ({
    name: Buffer.from(unescapeText(path.slice(start))),
    sha256: digest.sha256 ?? "",
  }));
  named.sort((a, b) => Buffer.compare(a.name, b.name));
  return sha256Of(Buffer.concat(named.flatMap(({ name, sha256 }) => [Buffer.from(`${sha256}  `), name, Buffer.from("\n")])));
}

/** Of those in `directories`, none of which is in another. */
function directoryOf(path: string, directories: ReadonlyMap<string, string>): string | undefined {
  if (path.startsWith("/")) return undefined;
  if (directories.has("./")) return "./";
  for (let end = path.indexOf("/"); end >= 0; end = path.indexOf("/", end + 1)) {
    const directory = path.slice(0, end + 1);
    if (directories.has(directory)) return directory;
  }
  return undefined;
}

const prefixOf = (directory: string): string => (directory === "./" ? "" : directory);
const isBelow = (path: string, directory: string): boolean => path.startsWith(prefixOf(directory));
