// Names that the build has made for files which it did not write: hard and symbolic links, renames, nodes. Such a file is
// new where it stands now, so it is a product like a written one, and so is everything below a directory that was moved.
import { Names } from "./names-of-files.ts";

/** What stands under a made name. */
interface Made {
  /** The name that it had when the build came: with that again nothing has been made. */
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

  add(path: string): void {
    this.#add(path, { origin: undefined });
  }

  #add(path: string, made: Made): void {
    if (path === made.origin) this.#names.unlink(path);
    else if (++this.#count <= this.#max) this.#names.link(made, path);
    else if (this.#count === this.#max + 1) this.#onLimit();
  }

  /** `isWritten`: the file has its names elsewhere. */
  renamed(oldPath: string, newPath: string, { isWritten, isDirectory }: { isWritten: boolean; isDirectory: boolean }): void {
    const made = this.#at(oldPath);
    this.removed(oldPath);
    this.removed(newPath);
    if (isDirectory) this.#names.moveBelow([[oldPath, newPath]]);
    if (!isWritten) this.#add(newPath, made);
  }

  /** What is written and named so is found by its inode as well. */
  exchanged(a: string, b: string): void {
    const [atA, atB] = [this.#at(a), this.#at(b)];
    this.#names.exchange(a, b);
    this.#add(a, atB);
    this.#add(b, atA);
  }

  #at(path: string): Made {
    return this.#names.at(path) ?? { origin: path };
  }

  removed(path: string): void {
    this.#names.unlink(path);
  }

  paths(): Set<string> {
    return new Set(this.#names.paths());
  }
}
