// The names of files that were written in this build, moved by renames, links and removals. Only labels: a file that
// was renamed unseen is put right at its next open, whose path comes from the kernel.

interface Labels {
  /** As they are now, oldest first. */
  current: string[];
  /** The last one that was there. */
  last: string;
}

export class Names<F extends object> {
  readonly #labels = new Map<F, Labels>();
  readonly #byName = new Map<string, F>();

  /** `path` is the kernel's word for the file at an open. `only`: the file has one link, so its other names are gone. */
  seen(file: F, path: string, options: { nameless: boolean; only: boolean }): void {
    const labels = this.#labelsOf(file, path);
    if (options.nameless || labels.current.includes(path)) return;
    if (options.only) for (const name of [...labels.current]) this.#remove(file, labels, name);
    this.#add(file, labels, path);
  }

  /** Empty: it has none any more, or never had one. */
  of(file: F): readonly string[] {
    return this.#labels.get(file)?.current ?? [];
  }

  last(file: F): string {
    return this.#labels.get(file)?.last ?? "";
  }

  /** All names that something has. */
  paths(): IterableIterator<string> {
    return this.#byName.keys();
  }

  at(path: string): F | undefined {
    return this.#byName.get(path);
  }

  link(file: F, path: string): void {
    const labels = this.#labelsOf(file, path);
    if (!labels.current.includes(path)) this.#add(file, labels, path);
  }

  /** Takes the name away from whatever has it. Returns the file if that was its last one. */
  unlink(path: string): F | undefined {
    const file = this.#byName.get(path);
    const labels = file && this.#labels.get(file);
    if (!file || !labels) return undefined;
    this.#remove(file, labels, path);
    return labels.current.length === 0 ? file : undefined;
  }

  /** `file` undefined: whatever has the name, and if nothing has, what is below it. Returns the file that has lost its last name by being replaced. */
  rename(oldPath: string, newPath: string, file: F | undefined): F | undefined {
    const moved = file ?? this.#byName.get(oldPath);
    if (this.#byName.get(newPath) === moved && moved) return undefined; // two names of one file: rename(2) does nothing
    const replaced = this.unlink(newPath);
    if (moved) {
      const labels = this.#labelsOf(moved, newPath);
      this.#remove(moved, labels, oldPath);
      this.#add(moved, labels, newPath);
    } else {
      this.moveBelow([[oldPath, newPath]]);
    }
    return replaced;
  }

  exchange(a: string, b: string): void {
    const [atA, atB] = [this.#byName.get(a), this.#byName.get(b)];
    for (const [file, from] of [
      [atA, a],
      [atB, b],
    ] as const) {
      const labels = file && this.#labels.get(file);
      if (labels) this.#remove(file, labels, from);
    }
    if (atA) this.link(atA, b);
    if (atB) this.link(atB, a);
    this.moveBelow([
      [a, b],
      [b, a],
    ]);
  }

  /** The files below a directory go with it. */
  moveBelow(pairs: readonly (readonly [from: string, to: string])[]): void {
    const moves: { file: F; from: string; to: string }[] = [];
    for (const [name, file] of this.#byName) {
      for (const [from, to] of pairs) {
        if (name.length > from.length && name.charCodeAt(from.length) === 0x2f && name.startsWith(from)) {
          moves.push({ file, from: name, to: to + name.slice(from.length) });
        }
      }
    }
    for (const { file, from } of moves) this.#remove(file, this.#labelsOf(file, from), from);
    for (const { file, to } of moves) this.#add(file, this.#labelsOf(file, to), to);
  }

  #labelsOf(file: F, path: string): Labels {
    let labels = this.#labels.get(file);
    if (!labels) {
      labels = { current: [], last: path };
      this.#labels.set(file, labels);
    }
    return labels;
  }

  #add(file: F, labels: Labels, path: string): void {
    const other = this.#byName.get(path);
    const otherLabels = other && this.#labels.get(other);
    if (otherLabels && other !== file) this.#remove(other, otherLabels, path);
    labels.current.push(path);
    labels.last = path;
    this.#byName.set(path, file);
  }

  #remove(file: F, labels: Labels, path: string): void {
    const index = labels.current.indexOf(path);
    if (index < 0) return;
    labels.current.splice(index, 1);
    labels.last = path;
    if (this.#byName.get(path) === file) this.#byName.delete(path);
  }
}
