// Who is believed about an input where several say something, and what is said where nothing can be compared.
import { describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { chmodSync, renameSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { byteName, shownName } from "../src/facts/vouchers/voucher.ts";
import type { InputFile } from "../src/trace/observation.ts";
import { digestHere, hashOf, inputOf, judge, sha256, Tree } from "./vouching.ts";

/** A root with a dpkg database in which `files` belong to the package `owner`. */
function systemRoot(files: Record<string, string>): Tree {
  const root = new Tree();
  for (const [name, content] of Object.entries(files)) root.write(name, content);
  root.write(
    "var/lib/dpkg/info/owner.list",
    `${Object.keys(files)
      .map(name => `/${name}\n`)
      .join("")}`,
  );
  const sums = Object.entries(files).map(([name, content]) => `${hashOf("md5", content)}  ${name}\n`);
  root.write("var/lib/dpkg/info/owner.md5sums", sums.join(""));
  root.write("var/lib/dpkg/status", "Package: owner\nVersion: 1\n");
  return root;
}

const options = (root: Tree) => ({ workingDirectory: "/nowhere/else", roots: [root.path] });

/** Its state at the open, in which nothing can change unseen. */
const settled = (input: InputFile): InputFile => ({ ...input, settled: true });

describe("the content that the build has read is what is compared", () => {
  test("in the state that it had, by the digest that is missing alone", async () => {
    using root = systemRoot({ "usr/a": "a" });
    const asked: string[][] = [];
    const digest: typeof digestHere = orders => {
      asked.push(...orders.map(({ hashes }) => hashes));
      return digestHere(orders);
    };
    expect((await judge([settled(inputOf(root.at("usr/a")))], { ...options(root), digest })).packages).toMatchObject([
      { match: "digest" },
    ]);
    expect(asked).toEqual([["md5"]]);
  });

  test("where a change would not show, with the digest that we know", async () => {
    using root = systemRoot({ "usr/a": "a" });
    const asked: string[][] = [];
    const digest: typeof digestHere = orders => {
      asked.push(...orders.map(({ hashes }) => hashes));
      return digestHere(orders);
    };
    expect((await judge([inputOf(root.at("usr/a"))], { ...options(root), digest })).packages).toMatchObject([
      { match: "digest" },
    ]);
    expect(asked).toEqual([["sha256", "md5"]]);
  });

  const afterwards: [name: string, change: (path: string) => void, counts: object, note: string | undefined][] = [
    ["its mode was changed", path => chmodSync(path, 0o600), { system: 1 }, undefined],
    ["it is gone", path => rmSync(path), { nobody: 1 }, "what was read is no longer there to compare"],
    ["another file has its name", path => replace(path, "evil"), { nobody: 1 }, "what was read is no longer there to compare"],
    [
      "another file with the same content has its name",
      path => replace(path, "a"),
      { nobody: 1 },
      "what was read is no longer there to compare",
    ],
    ["it was rewritten", path => writeFileSync(path, "b"), { nobody: 1 }, "what was read is no longer there to compare"],
  ];
  for (const isSettled of [true, false]) {
    for (const [name, change, counts, note] of afterwards) {
      test(`${name}${isSettled ? "" : ", and its state says nothing"}`, async () => {
        using root = systemRoot({ "usr/a": "a" });
        const input = { ...inputOf(root.at("usr/a")), settled: isSettled };
        change(root.at("usr/a"));
        const found = await judge([input], options(root));
        expect(found.counts).toMatchObject(counts);
        expect(found.files[0]?.note).toBe(note as string);
      });
    }
  }

  test("the build has read what an attacker had put there, and found afterwards is what the package brought", async () => {
    using root = systemRoot({ "usr/a": "good" });
    writeFileSync(root.at("usr/a"), "evil");
    utimesSync(root.at("usr/a"), 1_000_000, 1_000_000);
    const input = inputOf(root.at("usr/a"));
    writeFileSync(root.at("usr/a"), "good");
    utimesSync(root.at("usr/a"), 1_000_000, 1_000_000);
    expect((await judge([input], options(root))).counts).toMatchObject({ system: 0, nobody: 1 });
    expect((await judge([settled(input)], options(root))).counts).toMatchObject({ system: 0, nobody: 1 });
  });

  test("a file of a package that was changed before the build differs", async () => {
    using root = systemRoot({ "usr/a": "a" });
    writeFileSync(root.at("usr/a"), "evil");
    const found = await judge([inputOf(root.at("usr/a"))], options(root));
    expect(found.counts).toEqual({ total: 1, git: 0, lockfile: 0, system: 0, nobody: 0, differs: 1 });
    expect(found.files).toEqual([
      { path: root.at("usr/a"), kind: "differs", by: "dpkg", source: root.at("var/lib/dpkg"), package: "owner", version: "1" },
    ]);
  });

  test("a content that is not known is nobody's", async () => {
    using root = systemRoot({ "usr/a": "a" });
    const found = await judge([{ ...inputOf(root.at("usr/a")), digests: {} }], options(root));
    expect(found.files).toMatchObject([{ kind: "nobody", package: "owner", note: "its content is not known" }]);
  });

  test("both of two contents of one path", async () => {
    using root = systemRoot({ "usr/a": "a" });
    const found = await judge([inputOf(root.at("usr/a")), inputOf(root.at("usr/a"), Buffer.from("before"))], options(root));
    expect(found.counts).toMatchObject({ total: 2, system: 1, nobody: 1 });
  });
});

function replace(path: string, content: string): void {
  writeFileSync(`${path}.new`, content);
  renameSync(`${path}.new`, path);
}

describe("how much of the system is compared", () => {
  const big = "x".repeat(10 << 20);
  /** Names in the order in which they are compared; `a-old` has changed before `b-new`. */
  async function compared(processes: number): Promise<string[]> {
    using root = systemRoot({ "usr/a-old": big, "usr/b-new": big, "usr/small": "s" });
    const inputs = [1n, 9n, 0n].map((changed, i) => {
      const input = inputOf(root.at(`usr/${["a-old", "b-new", "small"][i]}`));
      return { ...input, state: { ...input.state, ctimeNs: changed } };
    });
    const names: string[] = [];
    const digest: typeof digestHere = orders => {
      names.push(...orders.map(({ path }) => Buffer.from(path).toString().slice(root.at("usr/").length)));
      return digestHere(orders);
    };
    const { counts, packages } = await judge(inputs, { ...options(root), processes, digest });
    // What is not compared has an owner.
    expect(counts.system).toBe(3);
    expect(packages.find(({ match }) => match === "digest")?.files).toBe(names.length);
    return names;
  }

  test("for a small build the youngest first, and small ones that still fit", async () => {
    expect(await compared(1)).toEqual(["b-new", "small"]);
  });

  test("for a large one all", async () => {
    expect(await compared(100)).toEqual(["b-new", "a-old", "small"]);
    expect(await compared(Number.POSITIVE_INFINITY)).toEqual(["b-new", "a-old", "small"]);
  });
});

describe("which database is asked", () => {
  test("that of the innermost root", async () => {
    using root = systemRoot({ "usr/a": "a", "box/usr/b": "outer", "box/usr/c": "outer" });
    root.write("box/var/lib/dpkg/info/inner.list", "/usr/b\n");
    root.write("box/var/lib/dpkg/info/inner.md5sums", `${hashOf("md5", "inner")}  usr/b\n`);
    root.write("box/usr/b", "inner");
    const inputs = ["box/usr/b", "box/usr/c", "usr/a"].map(name => inputOf(root.at(name)));
    const found = await judge(inputs, { ...options(root), roots: [root.path, root.at("box")] });
    expect(found.counts).toMatchObject({ system: 2, nobody: 1 });
    expect(found.packages.map(({ package: name, match }) => [name, match])).toEqual([
      ["inner", "digest"],
      ["owner", "digest"],
    ]);
  });

  test("none for the project's own files", async () => {
    using root = systemRoot({ "project/a": "a" });
    const found = await judge([inputOf(root.at("project/a"))], { ...options(root), workingDirectory: root.at("project") });
    expect(found.counts).toMatchObject({ system: 0, nobody: 1 });
  });
});

describe.skipIf(Bun.which("git") === null)("several say something", () => {
  /** vendored in git, named by Cargo.lock with another digest: one of the two is right. */
  async function judged(inIndex: string, inLock: string): Promise<string> {
    using tree = new Tree();
    const git = (...words: string[]) => spawnSync("git", words, { cwd: tree.path });
    git("init", "-q");
    const file = tree.write("vendor/a/lib.rs", inIndex);
    git("add", "vendor");
    writeFileSync(file, "read");
    tree.write(
      "vendor/a/.cargo-checksum.json",
      JSON.stringify({ files: { "lib.rs": sha256(inLock) }, package: sha256("crate") }),
    );
    tree.write("Cargo.lock", `[[package]]\nname = "a"\nversion = "1.0.0"\nchecksum = "${sha256("crate")}"\n`);
    const { counts, files } = await judge([inputOf(file)], { workingDirectory: tree.path });
    return counts.differs > 0
      ? `differs from ${files[0]?.by}`
      : counts.git > 0
        ? "git"
        : counts.lockfile > 0
          ? "lockfile"
          : "nobody";
  }

  const rows: [inIndex: string, inLock: string, expected: string][] = [
    ["read", "read", "git"],
    ["read", "other", "git"],
    ["other", "read", "lockfile"],
    ["other", "other", "differs from git"],
  ];
  for (const [inIndex, inLock, expected] of rows) {
    test(`the index has ${inIndex}, the lock file ${inLock}`, async () => expect(await judged(inIndex, inLock)).toBe(expected));
  }

  test("an owner does not outweigh a digest that does not fit", async () => {
    using tree = new Tree();
    const git = (...words: string[]) => spawnSync("git", words, { cwd: tree.path });
    git("init", "-q");
    tree.write("node_modules/a/package.json", '{"version":"1.0.0"}');
    const file = tree.write("node_modules/a/x.js", "as committed");
    tree.write(
      "package-lock.json",
      `{"packages":{"node_modules/a":{"version":"1.0.0","integrity":"sha512-${"A".repeat(86)}=="}}}`,
    );
    git("add", "node_modules");
    writeFileSync(file, "changed");
    expect((await judge([inputOf(file)], { workingDirectory: tree.path })).counts).toMatchObject({ lockfile: 0, differs: 1 });
    git("rm", "-q", "--cached", "-r", "-f", "node_modules");
    expect((await judge([inputOf(file)], { workingDirectory: tree.path })).counts).toMatchObject({ lockfile: 1, differs: 0 });
  });
});

test("lists have an end, counts have not", async () => {
  using tree = new Tree();
  const input = inputOf(tree.write("a"));
  const inputs = Array.from({ length: 10_005 }, (_, i) => ({ ...input, path: `/nowhere/${String(i).padStart(5, "0")}` }));
  const found = await judge(inputs, { workingDirectory: tree.path });
  expect(found.counts).toMatchObject({ total: 10_005, nobody: 10_005 });
  expect([found.files.length, found.unlistedFiles]).toEqual([10_000, 5]);
});

test("names are bytes on the way in, and escaped on the way out", () => {
  for (const path of ["/plain", "/é", "/\\xFF", "/a\\\\b", "/new\nline"]) expect(shownName(byteName(path))).toBe(path);
  expect(byteName("/\\xFF\\\\")).toBe("/\xff\\");
});
