// The rpm database as a voucher: who owns a file, and its digest. Only the SQLite form (rpm 4.16 and later) is read; a
// database in Berkeley DB or NDB is noted. We open a copy in memory: SQLite itself would make files beside the database.
import { Database } from "bun:sqlite";
import { parseRpmHeader } from "./rpm-header.ts";
import { entryType, type Sources } from "./sources.ts";
import { packageNames } from "./system-root.ts";
import { type Candidate, type Claim, joined, shownName, type Voucher } from "./voucher.ts";

const databaseBytesMax = 512 << 20;
const directories = ["usr/lib/sysimage/rpm", "var/lib/rpm"];
const otherForms: readonly [file: string, form: string][] = [
  ["Packages", "a Berkeley DB"],
  ["Packages.db", "an NDB"],
];
/** As rpm makes it. A view or a computed column of that name could be made to compute for ever. */
const tablePattern =
  /^CREATE TABLE (?:IF NOT EXISTS )?['"]?Packages['"]? \(hnum INTEGER PRIMARY KEY AUTOINCREMENT,\s*blob BLOB NOT NULL\)$/;

export class RpmVoucher implements Voucher {
  readonly name = "rpm";
  readonly kind = "system";
  readonly #sources: Sources;
  readonly #root: string;

  constructor(sources: Sources, root: string) {
    this.#sources = sources;
    this.#root = root;
  }

  vouch(files: readonly Candidate[], claim: (index: number, claim: Claim) => void): void {
    const wanted = packageNames(files, this.#root);
    const claimed = new Set<number>();
    for (const directory of directories) {
      const source = joined(this.#root, `${directory}/rpmdb.sqlite`);
      for (const blob of this.#headers(joined(this.#root, directory), source)) {
        const found = parseRpmHeader(Buffer.from(blob.buffer, blob.byteOffset, blob.byteLength), wanted);
        for (const { path, digest } of found?.files ?? []) {
          for (const index of wanted.get(path) ?? []) {
            if (claimed.has(index)) continue;
            claimed.add(index);
            const [owner, version] = [shownName(found?.name ?? ""), shownName(found?.version ?? "")];
            const common = { kind: "system", by: "rpm", source: shownName(source), package: owner, version } as const;
            claim(index, digest === undefined ? common : { ...common, expected: digest });
          }
        }
      }
    }
  }

  *#headers(directory: string, source: string): Generator<Uint8Array> {
    const bytes = this.#sources.read(source, databaseBytesMax);
    if (bytes === undefined) {
      for (const [file, form] of otherForms) {
        if (entryType(joined(directory, file)) === "file") {
          this.#sources.note(`${shownName(joined(directory, file))} is not read: it is ${form}`);
        }
      }
      return;
    }
    // What stands in the log only is not in the file yet: rpm writes it back at its end.
    const log = this.#sources.read(`${source}-wal`, databaseBytesMax);
    if (log !== undefined && log.length > 0) this.#sources.note(`${shownName(source)} may be older than its log`);
    try {
      yield* headersOf(bytes);
    } catch (error) {
      this.#sources.note(`${shownName(source)} is not read: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

const headerBytes = 100;

function* headersOf(bytes: Buffer): Generator<Uint8Array> {
  if (bytes.length < headerBytes) throw new Error("it is too short");
  const copy = Buffer.from(bytes);
  // A database in memory has no write-ahead log: this byte says which form of journal readers have to know.
  copy[19] = 1;
  const database = Database.deserialize(copy, true);
  try {
    const table = database.query("SELECT type, sql FROM sqlite_schema WHERE name = 'Packages'").get();
    const sql = typeof table === "object" && table !== null && "sql" in table ? table.sql : undefined;
    if (typeof sql !== "string" || !tablePattern.test(sql)) throw new Error("it has no table Packages as rpm makes it");
    for (const row of database.query("SELECT blob FROM Packages ORDER BY hnum").iterate()) {
      if (typeof row === "object" && row !== null && "blob" in row && row.blob instanceof Uint8Array) yield row.blob;
    }
  } finally {
    database.close();
  }
}
