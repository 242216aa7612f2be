// The lock files of the project: those of the working directory and above it up to the project's root, and those below
// the root that the build has read. Lock files elsewhere are not the project's, and say nothing.
import {
  type Ecosystem,
  isByDirectory,
  isLockFileName,
  keyOf,
  type LockedPackage,
  type LockFile,
  lockBytesMax,
  lockFileNames,
  parseLockFile,
} from "./lock-formats.ts";
import type { Sources } from "./sources.ts";
import { isBelow, joined, parentOf, shownName } from "./voucher.ts";

/** Of one run, those that are not there included. */
const lockFilesMax = 2000;

interface FoundLock {
  readonly directory: string;
  readonly name: string;
  readonly source: string;
  readonly lock: LockFile;
}

export interface Found {
  readonly locked: LockedPackage;
  /** The lock file; escaped. */
  readonly source: string;
}

export class ProjectLocks {
  readonly #sources: Sources;
  readonly #projectRoot: string;
  readonly #locks = new Map<string, FoundLock | undefined>();

  constructor(sources: Sources, projectRoot: string) {
    this.#sources = sources;
    this.#projectRoot = projectRoot;
  }

  /** `read`: names of all files that the build has read. */
  find(workingDirectory: string, read: Iterable<string>): void {
    for (let directory = workingDirectory; ; directory = parentOf(directory)) {
      for (const name of lockFileNames) this.#open(directory, name);
      if (directory === this.#projectRoot || directory === "/") break;
    }
    for (const name of read) {
      const base = name.slice(name.lastIndexOf("/") + 1);
      // A package that is installed in the project may have a lock file too: that one is its author's.
      const isInstalled = /\/(?:node_modules|site-packages|dist-packages|vendor)\//.test(name);
      if (isLockFileName(base) && isBelow(name, this.#projectRoot) && !isInstalled) this.#open(parentOf(name), base);
    }
  }

  /** By the directory where it is installed, in the lock file nearest above it. `owner`: where the outermost node_modules is. */
  installedIn(directory: string, owner: string): Found | undefined {
    if (owner === this.#projectRoot || isBelow(owner, this.#projectRoot)) {
      for (const name of lockFileNames) if (isByDirectory(name)) this.#open(owner, name);
    }
    let nearest: (Found & { depth: number }) | undefined;
    for (const lock of this.#of("npm")) {
      if (!isByDirectory(lock.name) || !isBelow(directory, lock.directory)) continue;
      const depth = lock.directory.length;
      const locked = lock.lock.packages.get(directory.slice(lock.directory === "/" ? 1 : depth + 1));
      if (locked && (nearest === undefined || depth > nearest.depth)) nearest = { locked, source: lock.source, depth };
    }
    return nearest;
  }

  /** A lock file with a digest of it counts more than one without. */
  named(ecosystem: Ecosystem, name: string, version: string): Found | undefined {
    let best: Found | undefined;
    for (const { lock, source, name: lockName } of this.#of(ecosystem)) {
      const locked = isByDirectory(lockName) ? undefined : lock.packages.get(keyOf(ecosystem, name, version));
      if (locked && (best === undefined || (locked.pinned && !best.locked.pinned))) best = { locked, source };
    }
    return best;
  }

  first(ecosystem: Ecosystem, matches: (locked: LockedPackage) => boolean): Found | undefined {
    for (const { lock, source } of this.#of(ecosystem)) {
      for (const locked of lock.packages.values()) if (matches(locked)) return { locked, source };
    }
    return undefined;
  }

  *#of(ecosystem: Ecosystem): Generator<FoundLock> {
    for (const found of this.#locks.values()) if (found?.lock.ecosystem === ecosystem) yield found;
  }

  #open(directory: string, name: string): void {
    const path = joined(directory, name);
    if (this.#locks.has(path) || this.#locks.size >= lockFilesMax) return;
    const bytes = this.#sources.read(path, lockBytesMax);
    const lock = bytes && parseLockFile(name, bytes);
    if (lock?.packages.size === 0) this.#sources.note(`${shownName(path)} names no package that we can read`);
    this.#locks.set(path, lock && { directory, name, source: shownName(path), lock });
  }
}
