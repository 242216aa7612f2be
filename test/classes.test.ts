import { describe, expect, test } from "bun:test";
import { compileGlob, compileGlobs } from "../src/glob.ts";
import { cachePatterns, cachePatternsOf } from "../src/trace/cache-patterns.ts";
import { classify, classTotals, relativeTo, type WrittenClass } from "../src/trace/classes.ts";
import type { InputFile } from "../src/trace/observation.ts";

const isCache = compileGlobs(cachePatterns);
const options = { workingDirectory: "/tmp/work", isCache };

describe("what becomes of a written file", () => {
  const rows: [path: string, present: boolean, found: WrittenClass][] = [
    ["/tmp/work/app", true, "product"],
    ["/tmp/work/app", false, "intermediate"],
    ["/tmp/work/tmp/x", true, "product"], // the pattern /tmp/** is not over paths in the working directory
    ["/tmp/work/__pycache__/x.pyc", true, "cache"],
    ["/tmp/work/node_modules/.cache/x", true, "cache"],
    ["/tmp/work/__pycache__/x.pyc", false, "intermediate"],
    ["/tmp/ccXYZ.s", true, "cache"],
    ["/tmp/workshop/x", true, "cache"],
    ["/usr/local/bin/app", true, "elsewhere"],
    ["/home/u/.cache/go-build/00/x-d", true, "cache"],
  ];
  for (const [path, present, expected] of rows) {
    test(`${path} ${present ? "there" : "gone"}`, () => {
      const { written } = classify({ inputs: [], outputs: [{ path, present }] }, options);
      expect(written[expected]).toEqual([path]);
    });
  }
});

test("a file that is named as a product is one, wherever it is and whatever it looks like", () => {
  const isProduct = compileGlob("{/usr/local/**,__pycache__/keep.pyc}");
  const outputs = ["/usr/local/bin/app", "/tmp/work/__pycache__/keep.pyc", "/tmp/work/__pycache__/x.pyc"].map(path => ({
    path,
    present: true,
  }));
  const { written } = classify({ inputs: [], outputs }, { ...options, isProduct });
  expect(written.product).toEqual(["/usr/local/bin/app", "/tmp/work/__pycache__/keep.pyc"]);
  expect(written.cache).toEqual(["/tmp/work/__pycache__/x.pyc"]);
});

test("materials are paths, each once; the totals have the names of the format", () => {
  const input = (path: string, sha256: string): InputFile => ({
    path,
    origin: path,
    digests: { sha256 },
    state: { device: 1n, inode: 1n, size: 0n, mtimeNs: 0n, ctimeNs: 0n },
    settled: true,
    remote: false,
    isRewritten: false,
  });
  const outputs = [
    { path: "/tmp/work/a", present: true },
    { path: "/tmp/work/b", present: false },
    { path: "/opt/x", present: true },
    { path: "/var/tmp/y", present: true },
  ];
  const classes = classify({ inputs: [input("/a", "1"), input("/a", "2"), input("/b", "1")], outputs }, options);
  expect(classes.materials).toEqual(["/a", "/b"]);
  expect(classTotals(classes)).toEqual({ materials: 2, intermediates: 1, products: 1, cacheArtifacts: 1, writtenElsewhere: 1 });
});

describe("caches that the environment names", () => {
  const rows: [name: string, variables: Record<string, string>, path: string, expected: boolean][] = [
    ["the whole directory", { GOCACHE: "/x/go" }, "/x/go/00/a", true],
    ["with slashes behind it", { GOCACHE: "/x/go//" }, "/x/go/00/a", true],
    ["a part of it", { CARGO_HOME: "/x/cargo" }, "/x/cargo/registry/cache/a.crate", true],
    ["not the rest of it", { CARGO_HOME: "/x/cargo" }, "/x/cargo/bin/cargo", false],
    ["a relative one is none", { GOCACHE: "x" }, "x/a", false],
    ["an empty one is none", { TMPDIR: "" }, "/a", false],
    ["signs of patterns are its own", { TMPDIR: "/x*" }, "/xy/a", false],
    ["… and match themselves", { TMPDIR: "/x*" }, "/x*/a", true],
  ];
  for (const [name, variables, path, expected] of rows) {
    test(name, () => expect(compileGlobs(cachePatternsOf(new Map(Object.entries(variables))))(path)).toBe(expected));
  }
});

test("a path is below a directory only behind a slash", () => {
  expect(relativeTo("/a", "/a/b/c")).toBe("b/c");
  expect(relativeTo("/a", "/ab")).toBeUndefined();
  expect(relativeTo("/", "/a")).toBe("a");
});
