// What is added up over the files of all processes. Most of a million opens are of what was opened before: of each path
// with its content only the first one is looked at.
import { type FileFacts, hasWritten, type ProcessFiles } from "./file-facts.ts";
import type { Outliers } from "./observation.ts";

/** What an entry of `reads` is. */
type Kind = "digested" | "unhashed" | "several";

export class FileFigures {
  reads = 0;
  writes = 0;
  renames = 0;
  deletes = 0;
  unhashedOpens = 0;
  /** Paths. */
  readonly written = new Set<string>();
  largestRead: Outliers["largestRead"];
  /** By number. */
  readonly #kinds: Kind[] = [];

  add(process: ProcessFiles, factsOf: (process: ProcessFiles) => FileFacts): void {
    const numbers = process.reads.numbers();
    this.reads += numbers.length;
    this.renames += process.ops?.renames.length ?? 0;
    this.deletes += process.ops?.deletes.length ?? 0;
    let isSimple = !hasWritten(process);
    let unhashed = 0;
    for (let i = 0; i < numbers.length; i++) {
      const number = numbers[i] ?? 0;
      this.#kinds[number] ??= this.#look(process, number);
      if (this.#kinds[number] === "several") isSimple = false;
      else if (this.#kinds[number] === "unhashed") unhashed++;
    }
    process.isPlain = isSimple && unhashed === 0;
    if (!isSimple) {
      const facts = factsOf(process);
      unhashed = facts.unhashedOpens.length;
      this.writes += facts.fileOps.writes.length;
      for (const path of facts.writtenDigests.keys()) this.written.add(path);
    }
    this.unhashedOpens += unhashed;
  }

  #look({ reads }: ProcessFiles, number: number): Kind {
    const { path, found } = reads.table.entry(number);
    for (const { reason, size } of Array.isArray(found) ? found : [found]) {
      if (reason !== undefined || size <= (this.largestRead?.bytes ?? 0n)) continue;
      this.largestRead = { path, bytes: size };
    }
    if (Array.isArray(found)) return "several";
    return found.reason === undefined ? "digested" : "unhashed";
  }
}
