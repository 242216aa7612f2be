// realPath gives what realpath(3) gives, with and without /proc.
import { describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { realPath, withoutProc } from "../src/facts/real-path.ts";

const top = realpathSync(mkdtempSync(join(tmpdir(), "cilock-path-")));
process.on("exit", () => rmSync(top, { recursive: true, force: true }));
mkdirSync(join(top, "a/b"), { recursive: true });
writeFileSync(join(top, "a/b/file"), "");
symlinkSync("a/b", join(top, "relative"));
symlinkSync(join(top, "a"), join(top, "absolute"));
symlinkSync("../../relative/file", join(top, "a/b/around"));
symlinkSync("/", join(top, "root"));
symlinkSync("loop", join(top, "loop"));
symlinkSync("nowhere", join(top, "dangling"));

const bytes = (path: string) => Buffer.from(path);

describe("a path that is there", () => {
  for (const path of [
    "",
    "a",
    "a/./b//file",
    "a/b/..",
    "a/../../..",
    "relative",
    "absolute/b",
    "a/b/around",
    "relative/../b/around",
    "root",
    "root/tmp/..",
  ]) {
    test(path, () => {
      const full = `${top}/${path}`;
      expect(withoutProc(bytes(full)).toString()).toBe(realpathSync.native(full));
      expect(realPath(bytes(full)).toString()).toBe(realpathSync.native(full));
    });
  }
  test("`..` behind a link is the parent of what it points at", () => {
    expect(realPath(bytes(`${top}/relative/..`)).toString()).toBe(`${top}/a`);
  });
  test("relative to the current directory", () => {
    for (const path of [".", "..", "src/../link"]) expect(withoutProc(bytes(path)).toString()).toBe(realpathSync.native(path));
  });
});

describe("a path that is not", () => {
  const refusals: [path: string, code: string][] = [
    ["dangling", "ENOENT"],
    ["a/none/file", "ENOENT"],
    ["loop", "ELOOP"],
    ["a/b/file/more", "ENOTDIR"],
    ["a/b/file/..", "ENOTDIR"],
    ["a/b/file/", "ENOTDIR"],
  ];
  for (const [path, code] of refusals) {
    test(`${path}: ${code}`, () => {
      expect(() => withoutProc(bytes(`${top}/${path}`))).toThrow(expect.objectContaining({ code }));
    });
  }
});
