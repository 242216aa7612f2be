// Hard links that the build makes of a file before it writes to it: from its first open for writing on the file has these names too.
import type { FileIdentity } from "../native/events.ts";
import { lifeKey } from "./file-types.ts";
import { Names } from "./names-of-files.ts";

interface Linked {
  readonly key: string;
}

/** Files; of more the first written name is recorded only, and that is a gap. */
const linkedMax = 500_000;

export class UnwrittenLinks {
  /** Kept up with the changes of names like that of the written files. */
  readonly names = new Names<Linked>();
  readonly #files = new Map<string, Linked>();
  readonly #onLimit: () => void;
  readonly #max: number;
  #isFull = false;

  constructor(onLimit: () => void, max = linkedMax) {
    this.#onLimit = onLimit;
    this.#max = max;
  }

  linked(file: FileIdentity, oldPath: string, newPath: string): void {
    const key = lifeKey(file);
    let linked = this.#files.get(key);
    if (!linked) {
      if (this.#files.size >= this.#max) {
        if (!this.#isFull) this.#onLimit();
        this.#isFull = true;
        return;
      }
      linked = { key };
      this.#files.set(key, linked);
    }
    this.names.link(linked, oldPath);
    this.names.link(linked, newPath);
  }

  at(file: FileIdentity | undefined): Linked | undefined {
    return file && this.#files.get(lifeKey(file));
  }

  removed(path: string): void {
    const gone = this.names.unlink(path);
    if (gone) this.#files.delete(gone.key);
  }

  renamed(oldPath: string, newPath: string, file: FileIdentity | undefined): void {
    const replaced = this.names.rename(oldPath, newPath, this.at(file));
    if (replaced) this.#files.delete(replaced.key);
  }

  /** It is written: its names go to the written files. */
  take(file: FileIdentity): readonly string[] {
    if (this.#files.size === 0) return [];
    const linked = this.at(file);
    if (!linked) return [];
    const names = [...this.names.of(linked)];
    for (const name of names) this.names.unlink(name);
    this.#files.delete(linked.key);
    return names;
  }
}
