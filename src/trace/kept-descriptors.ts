// One read-only descriptor for each writer and file, from the open on to the writer's end. They are bounded: beyond the bound the oldest
// file is digested early and its descriptor given up.
import { type Contents, pendingContent, settledAfterNs } from "./contents.ts";
import type { WrittenDigests } from "./written-digests.ts";
import type { Early, Writer } from "./written-file.ts";

export class KeptDescriptors {
  readonly #contents: Contents;
  readonly #digests: WrittenDigests;
  readonly #max: number;
  /** In the order in which they were kept: the oldest goes first. */
  readonly #kept = new Set<Writer>();

  constructor(contents: Contents, digests: WrittenDigests, max: number) {
    this.#contents = contents;
    this.#digests = digests;
    this.#max = max;
  }

  /** Takes the descriptor; -1: there is none. */
  keep(writer: Writer, held: number): void {
    if (held < 0) return;
    if (writer.kept) {
      this.#contents.closeDescriptor(held);
      return;
    }
    writer.kept = { descriptor: held, uses: 0, givenUp: false };
    this.#kept.add(writer);
    if (this.#kept.size <= this.#max) return;
    for (const oldest of this.#kept) {
      this.#digestEarly(oldest, false);
      break;
    }
  }

  giveUp(writer: Writer): void {
    const { kept } = writer;
    if (!kept) return;
    writer.kept = undefined;
    this.#kept.delete(writer);
    kept.givenUp = true;
    if (kept.uses === 0) this.#contents.closeDescriptor(kept.descriptor);
  }

  /** It must not be held any longer. */
  release(descriptor: number, isCertain: boolean): void {
    for (const writer of this.#kept) {
      if (writer.kept?.descriptor !== descriptor) continue;
      this.#digestEarly(writer, isCertain);
      return;
    }
  }

  /** `certain`: see `Early`. */
  #digestEarly(writer: Writer, certain: boolean): void {
    const { file, kept } = writer;
    if (!kept) return;
    const early: Early = { content: pendingContent(file.size), state: undefined, final: false, certain };
    file.early = early;
    this.#digests.through(kept, file, result => {
      if (result.kind === "digest") {
        this.#contents.settle(early.content, result, writer.process, writer.path);
        if (result.beganNs - result.state.ctimeNs > settledAfterNs) early.state = result.state;
      } else if (early.final) {
        this.#contents.settle(early.content, result, writer.process, writer.path);
      } else if (file.early === early) {
        file.early = undefined; // it is being written: only the end counts
      }
    });
    this.giveUp(writer);
  }
}
