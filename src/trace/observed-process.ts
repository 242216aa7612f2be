// What one process did with files, put together when it is looked at: of a large build never all at a time.
import type { FileFacts } from "./file-facts.ts";

export class FilesOfProcess implements FileFacts {
  readonly #factsOf: (serial: number) => FileFacts;
  readonly #serial: number;

  constructor(factsOf: (serial: number) => FileFacts, serial: number) {
    this.#factsOf = factsOf;
    this.#serial = serial;
  }

  get openedFiles() {
    return this.#factsOf(this.#serial).openedFiles;
  }

  get writtenDigests() {
    return this.#factsOf(this.#serial).writtenDigests;
  }

  get fileVersions() {
    return this.#factsOf(this.#serial).fileVersions;
  }

  get unhashedOpens() {
    return this.#factsOf(this.#serial).unhashedOpens;
  }

  get fileOps() {
    return this.#factsOf(this.#serial).fileOps;
  }
}
