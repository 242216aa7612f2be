// Where a record waits until it is signed, and the packed opens of processes that are gone.
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readlinkSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Spool } from "../src/commands/spool.ts";
import { pendingContent } from "../src/trace/contents.ts";
import type { TraceObservation } from "../src/trace/observation.ts";
import { type Found, Reads, ReadsTable } from "../src/trace/reads.ts";
import { O, Script } from "./trace-events.ts";

describe("spool", () => {
  const mebibyte = 1 << 20;
  const piece = (n: number) => Buffer.alloc(mebibyte, n);
  const openFiles = (directory: string) =>
    readdirSync("/proc/self/fd").filter(number => {
      try {
        return readlinkSync(`/proc/self/fd/${number}`).startsWith(directory);
      } catch {
        return false;
      }
    });

  const rows: [name: string, pieces: number, files: number][] = [
    ["small: in memory", 3, 0],
    ["large: in a file", 20, 1],
  ];
  test.each(rows)("%s, read as often as wanted; nothing is to be seen in the directory", (_, count, files) => {
    const directory = mkdtempSync(join(tmpdir(), "cilock-spool-"));
    {
      using spool = new Spool(Buffer.from(directory));
      const reused = Buffer.alloc(mebibyte);
      for (let n = 0; n < count; n++) {
        reused.fill(n); // a writer's own memory is written over
        spool.write(reused);
      }
      const expected = Buffer.concat(Array.from({ length: count }, (_, n) => piece(n)));
      for (let time = 0; time < 2; time++) {
        expect(Buffer.concat(Array.from(spool.pieces(), part => Buffer.from(part))).equals(expected)).toBe(true);
      }
      expect(spool.length).toBe(expected.length);
      expect(readdirSync(directory)).toEqual([]);
      expect(openFiles(directory)).toHaveLength(files);
    }
    expect(openFiles(directory)).toEqual([]);
    rmSync(directory, { recursive: true });
  });

  test("where no file can be made everything stays in memory", () => {
    using spool = new Spool(Buffer.from("/proc/self"));
    for (let n = 0; n < 20; n++) spool.write(piece(n));
    expect(Array.from(spool.pieces(), part => part[0])).toEqual(Array.from({ length: 20 }, (_, n) => n));
  });
});

describe("reads", () => {
  const listed = (reads: Reads) => {
    const entries: [string, Found][] = [];
    reads.forEach((path, found) => {
      entries.push([path, found]);
    });
    return entries;
  };

  test("packed they are the same, in the same order; what comes late is taken", () => {
    const table = new ReadsTable();
    const [a, b, c] = [pendingContent(1n), pendingContent(2n), pendingContent(3n)];
    const entries: [string, Found][] = [
      ["/z", a],
      ["/a", [a, b]],
      ["/m", a],
      ["", []],
    ];
    const [first, second] = [new Reads(table), new Reads(table)];
    for (const [path, found] of entries) first.set(path, found);
    for (const [path, found] of [...entries].reverse()) second.set(path, found);
    for (const reads of [first, second]) {
      reads.pack();
      reads.pack();
    }
    expect(listed(first)).toEqual(entries);
    expect(listed(second)).toEqual([...entries].reverse());
    expect(first.size).toBe(4);
    expect(first.get("/m")).toBe(a);
    first.set("/late", c);
    first.set("/z", b);
    expect(listed(first).map(([path]) => path)).toEqual(["/z", "/a", "/m", "", "/late"]);
    first.pack();
    expect([first.get("/z"), first.get("/late"), first.get("/none")]).toEqual([b, c, undefined]);
  });
});

describe("what a process did with files is put together when it is looked at", () => {
  const directory = mkdtempSync(join(tmpdir(), "cilock-lazy-"));
  afterAll(() => rmSync(directory, { recursive: true }));

  async function observed(): Promise<TraceObservation> {
    const script = new Script();
    const [a, b, c] = ["a", "b", "c"].map(name => join(directory, name)) as [string, string, string];
    for (const path of [a, b, c]) writeFileSync(path, path);
    script.process(1, 0);
    script.process(2, 1);
    script.process(3, 1);
    script.open(1, a, O.O_RDONLY);
    script.open(2, b, O.O_WRONLY);
    script.open(2, a, O.O_RDONLY);
    script.open(3, c, O.O_RDWR);
    script.open(3, directory, O.O_RDONLY | O.O_DIRECTORY, { notHeld: "not_regular", file: { mode: 0o040755 } });
    renameSync(b, join(directory, "d"));
    script.rename(2, b, join(directory, "d"));
    for (const serial of [3, 2, 1]) script.exit(serial);
    return script.finish();
  }

  test("in any order, any number of times; the figures are those of the processes", async () => {
    const { processes, totals, diagnostics, paths } = await observed();
    const look = () =>
      processes.map(({ openedFiles, writtenDigests, fileOps, unhashedOpens }) => ({
        openedFiles,
        writtenDigests,
        fileOps,
        unhashedOpens,
      }));
    const once = look();
    for (const process of [...processes].reverse()) expect(process.openedFiles.size).toBeGreaterThan(0);
    expect(look()).toEqual(once);
    const sum = (of: (process: (typeof once)[number]) => number) => once.reduce((total, process) => total + of(process), 0);
    expect(totals).toMatchObject({
      reads: sum(({ openedFiles }) => openedFiles.size),
      writes: sum(({ fileOps }) => fileOps.writes.length),
      renames: sum(({ fileOps }) => fileOps.renames.length),
    });
    expect(totals).toMatchObject({ reads: 5, writes: 2, renames: 1 });
    expect(diagnostics.unhashedOpensTotal).toBe(sum(({ unhashedOpens }) => unhashedOpens.length));
    expect(paths).toEqual({
      opened: new Set(once.flatMap(({ openedFiles }) => [...openedFiles.keys()])).size,
      written: new Set(once.flatMap(({ writtenDigests }) => [...writtenDigests.keys()])).size,
    });
  });
});
