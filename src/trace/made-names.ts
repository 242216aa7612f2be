// Names that the build has made, whether it has written to the file or not: hard and symbolic links, renames, nodes. A file is
// new where it stands now, so it is a product like a written one, and so is everything below a directory that was moved. What
// is read under such a name is a material under the name that it had when the build came.
import { Names } from "./names-of-files.ts";

/** What stands under a made name. */
interface Made {
  /** The name that it had when the build came: with that again nothing has been made. Undefined: it was not there. */
  readonly origin: string | undefined;
}

/** Beyond it names are forgotten, which is a gap: what they name is then a product only if it was written. */
const namesMax = 1_000_000;

export class MadeNames {
  readonly #names = new Names<Made>();
  readonly #onLimit: () => void;
  readonly #max: number;
  #count = 0;

  constructor(onLimit: () => void, max = namesMax) {
    this.#onLimit = onLimit;
    this.#max = max;
  }

  /** A symbolic link, or a node. */
  add(path: string): void {
    this.#add(path, { origin: undefined });
  }

  linked(oldPath: string, newPath: string): void {
    this.#add(newPath, { origin: this.originOf(oldPath) });
  }

  renamed(oldPath: string, newPath: string, isDirectory: boolean): void {
    const made = { origin: this.originOf(oldPath) };
    this.removed(oldPath);
    this.removed(newPath);
    if (isDirectory) this.#names.moveBelow([[oldPath, newPath]]);
    this.#add(newPath, made);
  }

  exchanged(a: string, b: string): void {
    const [atA, atB] = [{ origin: this.originOf(a) }, { origin: this.originOf(b) }];
    this.#names.exchange(a, b);
    this.#add(a, atB);
    this.#add(b, atA);
  }

  removed(path: string): void {
    this.#names.unlink(path);
  }

  /** The name that what is at this path had when the build came; undefined: none. */
  originOf(path: string): string | undefined {
    if (this.#count === 0) return path;
    for (let end = path.length; end > 0; end = path.lastIndexOf("/", end - 1)) {
      const made = this.#names.at(path.slice(0, end));
      if (made) return made.origin === undefined ? undefined : made.origin + path.slice(end);
    }
    return path;
  }

  paths(): Set<string> {
    const paths = new Set<string>();
    for (const path of this.#names.paths()) if (this.#names.at(path)?.origin !== path) paths.add(path);
    return paths;
  }

  #add(path: string, made: Made): void {
    if (path === made.origin) this.#names.unlink(path);
    else if (++this.#count <= this.#max) this.#names.link(made, path);
    else if (this.#count === this.#max + 1) this.#onLimit();
  }
}
