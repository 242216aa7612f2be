// Observer of the files that the signing key is in: a build that has opened one for reading can sign as we do, then and
// whenever it likes. Known by inode, so that no link hides it, and by content: through an overlay that the build mounts over
// its directory the same file has another device and inode, and a copy is as good as the key.
import type { FileIdentity, InheritedEvent, OpenEvent } from "../native/events.ts";
import { readsToo } from "./file-types.ts";
import type { ReportGap } from "./gaps.ts";

export interface KeyFile {
  device: bigint;
  inode: bigint;
  size: bigint;
  /** When the command started. Undefined: it could not be read, and is known by inode only. */
  sha256: string | undefined;
}

/** What is shorter (a passphrase of some letters) other files hold by chance. */
const contentBytesMin = 8n;
/** Names of the files themselves. What is beyond is counted twice where it is read. */
const namesMax = 1000;

export class KeyFiles {
  readonly #files: readonly KeyFile[];
  readonly #reportGap: ReportGap;
  /** Under which the files themselves were met: of these the flags of an open say whether they are read. */
  readonly #names = new Set<string>();

  constructor(files: readonly KeyFile[], reportGap: ReportGap) {
    this.#files = files;
    this.#reportGap = reportGap;
  }

  onOpen({ file, flags, notHeld, process, path }: OpenEvent | InheritedEvent): void {
    if (!this.#isKey(file)) return;
    if (this.#names.size < namesMax) this.#names.add(path);
    if (notHeld !== "path_only" && readsToo(Number(flags))) this.#reportGap("key-exposed", process, path);
  }

  /** A process has read this content, or left it behind, in a file of whatever name and device. */
  onContent(sha256: string | undefined, size: bigint, process: number, path: string): void {
    for (const file of this.#files) {
      if (file.size !== size || size < contentBytesMin || file.sha256 !== sha256 || this.#names.has(path)) continue;
      this.#reportGap("key-exposed", process, path);
    }
  }

  /** Asked at every open, of one to four files. */
  #isKey(file: FileIdentity): boolean {
    for (const { device, inode } of this.#files) if (inode === file.inode && device === file.device) return true;
    return false;
  }
}
