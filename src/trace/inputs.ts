// What the build took from outside: the contents that it read or executed and had not written itself. Decided at each
// open, by inode, from what had been opened for writing until then: a name says nothing, since temporary files are
// renamed and paths are used again. An open for reading and writing counts as writing.
import type { FileIdentity } from "../native/events.ts";
import { type Content, isKnown, settledAfterNs } from "./contents.ts";
import { isPseudo, isRegular, isRemote } from "./file-types.ts";
import type { InputFile } from "./observation.ts";

interface Read {
  content: Content;
  file: FileIdentity;
  timeNs: bigint;
}

/** Contents of one path. The first ones are listed: a path with more is being rewritten by somebody outside. */
const contentsMax = 100;

export class Inputs {
  readonly #reads = new Map<string, Read | Read[]>();
  readonly #isWritten: (file: FileIdentity) => boolean;

  /** `isWritten`: by the build, until now. */
  constructor(isWritten: (file: FileIdentity) => boolean) {
    this.#isWritten = isWritten;
  }

  /** `path` is the kernel's. */
  opened(path: string, file: FileIdentity, content: Content, timeNs: bigint): void {
    const known = this.#reads.get(path);
    const isListed = Array.isArray(known) ? known.some(read => read.content === content) : known?.content === content;
    // Asked at every open: nearly all are of a content that stands here already.
    if (isListed || !isRegular(file) || isPseudo(file) || content.reason === "path-only" || this.#isWritten(file)) return;
    const read = { content, file, timeNs };
    if (known === undefined) this.#reads.set(path, read);
    else if (!Array.isArray(known)) this.#reads.set(path, [known, read]);
    else if (known.length < contentsMax) known.push(read);
  }

  /** Sorted by path; each content of a path once. Only when all digests are there, and once: what is listed is given up. */
  takeList(): InputFile[] {
    const paths = [...this.#reads.keys()].sort();
    return paths.flatMap(path => {
      const found = this.#reads.get(path) ?? [];
      this.#reads.delete(path);
      const distinct = new Map<string, InputFile>();
      for (const read of Array.isArray(found) ? found : [found]) {
        const key = isKnown(read.content) ? JSON.stringify(read.content.digests) : "";
        if (!distinct.has(key)) distinct.set(key, inputFile(path, read));
      }
      return [...distinct.values()];
    });
  }
}

function inputFile(path: string, { content, file, timeNs }: Read): InputFile {
  const { device, inode, size, mtimeNs, ctimeNs } = file;
  return {
    path,
    digests: content.digests,
    state: { device, inode, size, mtimeNs, ctimeNs },
    settled: timeNs - ctimeNs > settledAfterNs,
    remote: isRemote(file),
  };
}
