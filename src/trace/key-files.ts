// Observer of the files that the signing key is in: a build that has opened one for reading can sign as we do, then and
// whenever it likes. Known by inode, so that no link or mount hides it.
import type { InheritedEvent, OpenEvent } from "../native/events.ts";
import { fileKey, readsToo } from "./file-types.ts";
import type { ReportGap } from "./gaps.ts";

export class KeyFiles {
  readonly #keys: ReadonlySet<string>;
  readonly #inodes: ReadonlySet<bigint>;
  readonly #reportGap: ReportGap;

  constructor(files: readonly { device: bigint; inode: bigint }[], reportGap: ReportGap) {
    this.#keys = new Set(files.map(fileKey));
    this.#inodes = new Set(files.map(({ inode }) => inode));
    this.#reportGap = reportGap;
  }

  onOpen({ file, flags, notHeld, process, path }: OpenEvent | InheritedEvent): void {
    // Asked at every open: the inode's number alone rules out nearly all, without making a key.
    if (!this.#inodes.has(file.inode) || !this.#keys.has(fileKey(file))) return;
    if (notHeld !== "path_only" && readsToo(Number(flags))) this.#reportGap("key-exposed", process, path);
  }
}
