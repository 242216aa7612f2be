// The tables of command-run v0.2: each path, digest, command line and environment once, in order of first use.
import { hash } from "node:crypto";
import type { JsonEncoded } from "../attestation/json.ts";
import { JsonRows, JsonTable } from "../attestation/json-table.ts";
import type { DigestSet, FileTable, ProcessObservation } from "../trace/observation.ts";
import type { Texts } from "./command-run.ts";

const keyLengthMax = 512;

/** Numbers in order of first use. `keyOf` decides what is the same. */
class Table<T> {
  readonly list: T[] = [];
  readonly #numbers = new Map<string, number>();
  readonly #keyOf: (item: T) => string;

  constructor(keyOf: (item: T) => string) {
    this.#keyOf = keyOf;
  }

  numberOf(item: T): number {
    const text = this.#keyOf(item);
    // A key as long as what it stands for would be kept beside it.
    const key = text.length > keyLengthMax ? hash("sha256", text, "base64") : text;
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    this.#numbers.set(key, this.list.length);
    return this.list.push(item) - 1;
  }
}

const itself = (text: string): string => text;

export class Tables {
  readonly digests = new Table<DigestSet>(digests => digests.sha256 ?? JSON.stringify(digests));
  readonly paths = new Table<string>(itself);
  readonly comms = new Table<string>(itself);
  readonly cmdlines = new Table<string>(itself);
  readonly argvs = new Table<string[]>(JSON.stringify);
  readonly environments = new Table<JsonEncoded>(({ pieces }) => Buffer.concat(pieces).toString("latin1"));

  readonly #environments = new Map<readonly Uint8Array[], number>();
  readonly #openedFiles: OpenedRows | undefined;

  constructor(processes: readonly ProcessObservation[]) {
    const [first] = processes;
    const files = first?.openedFiles;
    if (files && "numbers" in files) this.#openedFiles = new OpenedRows(files.table, processes, this);
  }

  /** Of one object, which many processes share, it is made once. */
  environment(environment: readonly Uint8Array[] | undefined, texts: Texts): number | undefined {
    const known = environment && this.#environments.get(environment);
    if (environment === undefined || known !== undefined) return known;
    const recorded = texts.environment(environment);
    if (recorded === undefined) return undefined;
    const number = this.environments.numberOf(recorded.json);
    this.#environments.set(environment, number);
    return number;
  }

  /** `{"pathId":…,"digestId":…}` for each of these numbers of the processes' table of files. */
  rows(numbers: Uint32Array): JsonRows {
    if (this.#openedFiles === undefined) throw new Error("the tables were made without these processes");
    return this.#openedFiles.rows(numbers);
  }

  path(path: string | undefined): number {
    return path === undefined || path === "" ? -1 : this.paths.numberOf(path);
  }

  comm(comm: string | undefined): number {
    return comm === undefined || comm === "" ? -1 : this.comms.numberOf(comm);
  }

  cmdline(line: string | undefined): number {
    return line === undefined || line === "" ? -1 : this.cmdlines.numberOf(line);
  }

  digest(digests: DigestSet | undefined): number {
    for (const _ in digests) return this.digests.numberOf(digests);
    return -1;
  }
}

/**
 * Nearly all of a large record: a million rows, in the order of their paths. All paths are sorted once, so that each
 * process has only numbers to sort; and a row's text is made once.
 */
class OpenedRows {
  readonly #tables: Tables;
  readonly #files: FileTable;
  /** By number, the place among all paths; and the number that has it. */
  readonly #ranks: Uint32Array;
  readonly #byRank: Uint32Array;
  /** By number. */
  readonly #texts: string[] = [];
  readonly #json = new JsonTable(number => this.#texts[number] ?? "");

  constructor(files: FileTable, processes: readonly ProcessObservation[], tables: Tables) {
    this.#tables = tables;
    this.#files = files;
    const isUsed = new Uint8Array(files.size);
    for (const { openedFiles } of processes) {
      if (!("numbers" in openedFiles)) continue;
      const { numbers } = openedFiles;
      for (let i = 0; i < numbers.length; i++) isUsed[numbers[i] ?? 0] = 1;
    }
    const byPath = new Map<string, number[]>();
    isUsed.forEach((used, number) => {
      if (used === 0) return;
      const path = files.pathOf(number);
      const known = byPath.get(path);
      if (known === undefined) byPath.set(path, [number]);
      else known.push(number);
    });
    // Without a function it compares in native code, which takes a tenth of the time.
    const paths = [...byPath.keys()].sort();
    this.#byRank = Uint32Array.from(paths.flatMap(path => byPath.get(path) ?? []));
    this.#ranks = new Uint32Array(files.size);
    this.#byRank.forEach((number, rank) => {
      this.#ranks[number] = rank;
    });
  }

  rows(numbers: Uint32Array): JsonRows {
    const sorted = new Uint32Array(numbers.length);
    for (let i = 0; i < numbers.length; i++) sorted[i] = this.#ranks[numbers[i] ?? 0] ?? 0;
    sorted.sort();
    for (let i = 0; i < sorted.length; i++) {
      const number = this.#byRank[sorted[i] ?? 0] ?? 0;
      sorted[i] = number;
      // Now, and not when it is written: the tables have their texts in the order in which processes name them.
      this.#texts[number] ??= this.#row(number);
    }
    return new JsonRows("[]", this.#json, sorted);
  }

  #row(number: number): string {
    const pathId = this.#tables.path(this.#files.pathOf(number));
    return `{"pathId":${pathId},"digestId":${this.#tables.digest(this.#files.digestsOf(number))}}`;
  }
}
