// Materials and products by the trace. A material is what the build read and had not made; a product is what it wrote, or
// gave its name, and what is there at the end. Which files those are goes by inodes: names can be links, and another
// mount namespace has others. Pure: whoever looks at files asks here.
import { relativeTo } from "./classes.ts";
import { fileKey, inodeOfKey } from "./file-types.ts";
import type { DigestSet, TraceFiles, UpperDirectory } from "./observation.ts";

interface Artifact {
  /** Relative to the working directory, absolute outside of it. */
  readonly path: string;
  readonly digest: DigestSet;
}

/** A file as it is at the end. */
export interface FoundAtEnd {
  readonly path: string;
  readonly device: bigint;
  readonly inode: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  /** Absolute: where links in `path` have led to. */
  readonly target?: string;
}

export interface ArtifactOptions {
  /** Absolute, escaped. */
  readonly workingDirectory: string;
  /** Of the command, nanoseconds since the epoch. */
  readonly startTime: bigint;
}

/** Before Linux 6.13 the clock of file systems is up to 10 ms behind. */
const clockLagNs = 20_000_000n;

/**
 * Of a path with several contents the first: what was there when the build came. Not if that is not known, since a later one
 * must not stand for it; the gap that says so is there.
 */
export function tracedMaterials(
  { inputs }: TraceFiles,
  workingDirectory: string,
  isOurs: (file: { path: string; device: bigint; inode: bigint }) => boolean,
): Artifact[] {
  const materials: Artifact[] = [];
  const seen = new Set<string>();
  for (const { origin, digests, state, isRewritten } of inputs) {
    if (isRewritten || origin === undefined || seen.has(origin)) continue;
    seen.add(origin);
    if (digests.sha256 === undefined || isOurs({ path: origin, ...state })) continue;
    materials.push({ path: relativeTo(workingDirectory, origin) ?? origin, digest: digests });
  }
  return materials;
}

export class TracedProducts {
  readonly #files: TraceFiles;
  readonly #options: ArtifactOptions;
  /** Names that the build left. */
  readonly #outputs: ReadonlySet<string>;
  /** Of files that it wrote, on any device. */
  readonly #inodes: ReadonlySet<number>;

  constructor(files: TraceFiles, options: ArtifactOptions) {
    this.#files = files;
    this.#options = options;
    this.#outputs = new Set(files.outputs.flatMap(({ path, present }) => (present ? [path] : [])));
    this.#inodes = new Set(Array.from(files.written.keys(), inodeOfKey));
  }

  /** False: `isProduct` is false of all such files, unless a link has led to them. Takes an inode that a number can hold. */
  mayBeProduct(below: string, inode: number): boolean {
    if (this.#inodes.has(inode)) return true;
    const path = this.#absolute(below);
    if (this.#upperOf(path) !== undefined) return true;
    return this.#outputs.has(path) || this.#isMade(path);
  }

  /** `path` is below the working directory, or absolute. */
  isProduct(file: FoundAtEnd): boolean {
    const path = this.#absolute(file.path);
    // A link that was there can lead to a name that was made.
    if (this.#isMade(path) || (file.target !== undefined && this.#isMade(file.target))) return true;
    const written = this.#files.written.get(fileKey(file));
    const upper = this.#upperOf(file.target ?? path);
    if (written === undefined && upper && file.ctimeNs >= upper.sinceNs) return true;
    if (written === undefined && !this.#outputs.has(path)) return false;
    // Opened for writing, and left alone: a lock, a database. Any write would have moved its time.
    const before = written?.before;
    const isAlone = before && before.size === file.size && before.mtimeNs === file.mtimeNs;
    return !(isAlone && before.mtimeNs < this.#options.startTime - clockLagNs);
  }

  /** The digest that its last writer's end has had, if nothing has happened to the file since. */
  digestOf(file: FoundAtEnd): DigestSet | undefined {
    const left = this.#files.written.get(fileKey(file))?.left;
    if (left === undefined) return undefined;
    const { size, mtimeNs, ctimeNs } = left.state;
    return file.size === size && file.mtimeNs === mtimeNs && file.ctimeNs === ctimeNs ? left.digests : undefined;
  }

  /** Outputs that a walk of the working directory has not found: outside of it if they are wanted, inside where it could not look. */
  elsewhere(seen: ReadonlySet<string>, isWanted: (path: string) => boolean): string[] {
    const { workingDirectory } = this.#options;
    return [...this.#outputs].filter(path => {
      const inside = relativeTo(workingDirectory, path);
      return inside === undefined ? isWanted(path) : !seen.has(inside);
    });
  }

  /** Whether what is there may have been made through an overlay: it has to be looked at. */
  isInUpper(path: string): boolean {
    return this.#upperOf(this.#absolute(path)) !== undefined;
  }

  /** Upper directories that a walk of the working directory does not come to. */
  uppersElsewhere(): string[] {
    const paths = this.#files.uppers.map(({ path }) => path);
    return paths.filter(path => relativeTo(this.#options.workingDirectory, path) === undefined);
  }

  /** The one that `path` is in. */
  #upperOf(path: string): UpperDirectory | undefined {
    return this.#files.uppers.find(upper => path === upper.path || path.startsWith(`${upper.path}/`));
  }

  #absolute(path: string): string {
    if (path.startsWith("/")) return path;
    const { workingDirectory } = this.#options;
    return workingDirectory === "/" ? `/${path}` : `${workingDirectory}/${path}`;
  }

  /** It, or a directory that it is in, up to the working directory. */
  #isMade(path: string): boolean {
    const { made } = this.#files;
    if (made.size === 0) return false;
    const { length } = this.#options.workingDirectory;
    for (let end = path.length; end > length; end = path.lastIndexOf("/", end - 1)) {
      if (made.has(path.slice(0, end))) return true;
    }
    return false;
  }
}
