// Observer of the files that the signing key is in: a build that has opened one for reading can sign as we do, then and
// whenever it likes. Known by inode, so that no link or mount hides it.
import type { FileIdentity, InheritedEvent, OpenEvent } from "../native/events.ts";
import { readsToo } from "./file-types.ts";
import type { ReportGap } from "./gaps.ts";

export class KeyFiles {
  readonly #files: readonly { device: bigint; inode: bigint }[];
  readonly #reportGap: ReportGap;

  constructor(files: readonly { device: bigint; inode: bigint }[], reportGap: ReportGap) {
    this.#files = files;
    this.#reportGap = reportGap;
  }

  onOpen({ file, flags, notHeld, process, path }: OpenEvent | InheritedEvent): void {
    if (!this.#isKey(file)) return;
    if (notHeld !== "path_only" && readsToo(Number(flags))) this.#reportGap("key-exposed", process, path);
  }

  /** Asked at every open, of one to four files. */
  #isKey(file: FileIdentity): boolean {
    for (const { device, inode } of this.#files) if (inode === file.inode && device === file.device) return true;
    return false;
  }
}
