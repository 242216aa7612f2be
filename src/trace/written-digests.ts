// Digests of files that the build writes: while one is under way the next writer can come, and then what was read may be that one's.
import { unescapeText } from "../text.ts";
import type { Content, Contents } from "./contents.ts";
import type { DigestJob, DigestResult, FileState } from "./digest-file.ts";
import { isBefore, type Kept, type Takeover, type UnderWay, underWay, type WrittenFile } from "./written-file.ts";

/** `seen`: what a process opened meanwhile, before `takeover`, the next open for writing. */
export type Done = (result: DigestResult, seen: Content | undefined, takeover: Takeover | undefined) => void;

export class WrittenDigests {
  readonly #contents: Contents;

  constructor(contents: Contents) {
    this.#contents = contents;
  }

  /** The descriptor is closed when it was given up and this was its last use. */
  through(kept: Kept, file: WrittenFile, done: Done): void {
    kept.uses++;
    this.#digest(file, { descriptor: kept.descriptor }, (result, seen, takeover) => {
      kept.uses--;
      if (kept.givenUp && kept.uses === 0) this.#contents.closeDescriptor(kept.descriptor);
      done(result, seen, takeover);
    });
  }

  /** Only if it still is this file. In the state `unless` it is not read. */
  byName(file: WrittenFile, path: string, unless: FileState | undefined, done: Done): void {
    const order = { descriptor: -1, path: unescapeText(path), device: file.device, inode: file.inode };
    this.#digest(file, unless ? { ...order, unless } : order, done);
  }

  #digest(file: WrittenFile, order: Omit<DigestJob, "id">, done: Done): void {
    const digest: UnderWay = { byName: order.descriptor < 0, takeover: undefined, seen: undefined };
    file.underWay = underWay.with(file.underWay, digest);
    this.#contents.digester.digest(order, { bytes: Number(file.size), remote: file.remote }, result => {
      file.underWay = underWay.without(file.underWay, digest);
      const spoiled = result.kind === "digest" && digest.takeover && !isBefore(result.state, digest.takeover);
      done(spoiled ? { id: result.id, kind: "changed" } : result, digest.seen, digest.takeover);
    });
  }
}
