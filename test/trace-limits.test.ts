// Limits of the observers, hit by made-up events: what is beyond is a gap that names the limit, what was before stays right.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { linkSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { O, pathItem, Script } from "./trace-events.ts";

let directory = "";
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "cilock-limits-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

const at = (name: string) => join(directory, name);
const sha256 = (text: string) => ({ sha256: createHash("sha256").update(text).digest("hex") });

const limitsOf = ({ gaps }: { gaps: { kind: string; count: number; detail: string }[] }) =>
  gaps.map(({ kind, count, detail }) => [kind, count, detail.slice(detail.indexOf(": ") + 2)]);

describe("paths", () => {
  test("those beyond are left out, their descriptors are closed, known ones go on", async () => {
    for (let i = 0; i < 6; i++) writeFileSync(at(`read${i}`), `content ${i}`);
    const script = new Script({ limits: { pathsMax: 4 } });
    script.process(1, 0);
    for (let i = 0; i < 6; i++) script.open(1, at(`read${i}`), O.O_RDONLY);
    script.process(2, 1);
    script.open(2, at("read0"), O.O_RDONLY);
    script.open(2, at("read5"), O.O_WRONLY);
    const { processes, completeness } = await script.finish();
    expect([...(processes[0]?.openedFiles ?? [])]).toEqual([0, 1, 2, 3].map(i => [at(`read${i}`), sha256(`content ${i}`)]));
    expect([...(processes[1]?.openedFiles ?? [])]).toEqual([[at("read0"), sha256("content 0")]]);
    expect(limitsOf(completeness)).toEqual([["limit", 3, "paths"]]);
  });

  test("a file that the build writes is followed under a name that is one too many", async () => {
    writeFileSync(at("out"), "");
    linkSync(at("out"), at("other"));
    const script = new Script({ limits: { pathsMax: 1 } });
    script.process(1, 0);
    script.open(1, at("out"), O.O_WRONLY | O.O_TRUNC);
    script.process(2, 1);
    script.open(2, at("other"), O.O_WRONLY | O.O_TRUNC);
    writeFileSync(at("out"), "left");
    script.exit(2);
    script.exit(1);
    const { processes } = await script.finish();
    for (const name of ["out", "other"]) expect(processes[1]?.writtenDigests.get(at(name))).toEqual(sha256("left"));
  });
});

const long = (i: number) => `/${"x".repeat(1 << 20)}${i}`;

describe("text", () => {
  test("of operations", async () => {
    const script = new Script();
    script.process(1, 0);
    for (let i = 0; i < 130; i++) script.call(1, "unlink", [1], [pathItem(0, long(i))]);
    script.call(1, "unlink", [1], [pathItem(0, "/short")]);
    const { processes, completeness } = await script.finish();
    expect(processes[0]?.fileOps.deletes.length).toBe(128);
    expect(limitsOf(completeness)).toEqual([["limit", 3, "fileOps"]]);
  });

  test("of system calls", async () => {
    const script = new Script();
    script.process(1, 0);
    for (let i = 0; i < 70; i++) script.call(1, "memfd_create", [1, 0], [pathItem(0, long(i))]);
    const { processes, completeness, outliers } = await script.finish();
    expect(processes[0]?.syscallEvents.length).toBe(63);
    expect(outliers.suspiciousOps.memfd_create).toBe(70);
    expect(limitsOf(completeness)).toEqual([["limit", 7, "syscallEvents"]]);
  });
});

test("system calls of one process, and of all", async () => {
  const script = new Script();
  for (let process = 1; process <= 11; process++) {
    script.process(process, process - 1);
    for (let i = 0; i < 100_000 - (process === 1 ? 0 : 1); i++) script.call(process, "setsid", []);
  }
  script.call(1, "setsid", []);
  const { processes, completeness } = await script.finish();
  expect(processes[0]?.syscallEvents.length).toBe(100_000);
  expect(processes.reduce((sum, { syscallEvents }) => sum + syscallEvents.length, 0)).toBe(1_000_000);
  expect(limitsOf(completeness)).toEqual([["limit", 99_991, "syscallEvents"]]);
}, 30_000);
