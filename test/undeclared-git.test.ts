// The git index: what the parser reads is what git itself lists, and every damage is refused.
import { describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { findRepository, GitVoucher, snapshotIndex } from "../src/facts/vouchers/git.ts";
import { type GitIndex, type IndexEntry, parseGitIndex } from "../src/facts/vouchers/git-index.ts";
import type { Sources } from "../src/facts/vouchers/sources.ts";
import { mutated, rounds, seed, seededRandom } from "./seeded.ts";
import { claimsOf, hashOf, inputOf, judge, Tree, trusting } from "./vouching.ts";

/** Not on every machine. */
const hasGit = Bun.which("git") !== null;
const withGit = test.skipIf(!hasGit);

function git(directory: string, ...words: string[]): string {
  const identity = [
    "-c",
    "user.name=x",
    "-c",
    "user.email=x@example.org",
    "-c",
    "commit.gpgsign=false",
    "-c",
    "protocol.file.allow=always",
  ];
  const env = { ...process.env, GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_NOSYSTEM: "1" };
  const { status, stdout, stderr } = spawnSync("git", [...identity, ...words], { cwd: directory, env, encoding: "latin1" });
  if (status !== 0) throw new Error(`git ${words.join(" ")}: ${stderr}`);
  return stdout;
}

/** A repository with these files committed. */
function repository(files: readonly string[], hash = "sha1"): Tree {
  const tree = new Tree();
  git(tree.path, "init", "-q", "-b", "main", `--object-format=${hash}`);
  for (const name of files) tree.write(name);
  git(tree.path, "add", "-A");
  git(tree.path, "commit", "-q", "-m", "x");
  return tree;
}

const blobId = (hash: string, content: string): string => hashOf(hash, `blob ${Buffer.byteLength(content)}\0${content}`);

function entriesOf(index: GitIndex): ReadonlyMap<string, IndexEntry> {
  if (index.kind === "refused") throw new Error(index.reason);
  return index.entries;
}

const reasonOf = (index: GitIndex): string => (index.kind === "refused" ? index.reason : "read");
const indexOf = (directory: string): Buffer => readFileSync(join(directory, ".git/index"));
const everything = { has: () => true } as unknown as ReadonlySet<string>;

const names = [
  "a.c",
  "b",
  "sub/a.c",
  "sub/deeper/than/that/x",
  "sub/deeper/y",
  "with space",
  "tab\there",
  "back\\slash",
  "é",
  "x".repeat(200),
];

describe("the parser lists what git lists", () => {
  const kinds: [name: string, hash: string, prepare: (path: string) => void][] = [
    ["version 2", "sha1", path => git(path, "update-index", "--index-version", "2")],
    ["version 3", "sha1", path => git(path, "update-index", "--skip-worktree", "b")],
    ["version 4", "sha1", path => git(path, "update-index", "--index-version", "4")],
    ["version 4 with flags", "sha1", path => git(path, "update-index", "--index-version", "4", "--skip-worktree", "b")],
    ["sha256, version 2", "sha256", () => {}],
    ["sha256, version 4", "sha256", path => git(path, "update-index", "--index-version", "4")],
    ["without a checksum", "sha1", path => git(path, "-c", "index.skipHash=true", "update-index", "--force-write-index")],
    [
      "an untracked cache and other extensions",
      "sha1",
      path => git(path, "update-index", "--untracked-cache", "--force-write-index"),
    ],
  ];
  for (const [name, hash, prepare] of kinds) {
    withGit(name, () => {
      using tree = repository(names, hash);
      symlinkSync("a.c", tree.at("link"));
      git(tree.path, "add", "link");
      prepare(tree.path);
      const listed = git(tree.path, "ls-files", "-s", "-z").split("\0").filter(Boolean);
      const expected = listed.map(line => {
        const [, mode = "", id = "", path = ""] = /^(\d+) ([0-9a-f]+) 0\t(.*)$/s.exec(line) ?? [];
        return [path, { mode: Number.parseInt(mode, 8), id }] as const;
      });
      expect(expected.length).toBe(names.length + 1);
      const index = parseGitIndex(indexOf(tree.path), everything);
      expect([...entriesOf(index)].sort()).toEqual(expected.map(([path, entry]) => [path, entry] as [string, IndexEntry]).sort());
      expect(index.kind === "index" && index.objectHash).toBe(hash as "sha1");
    });
  }

  test("names longer than their field can say", () => {
    const long = `${"d/".repeat(2050)}x`;
    expect(long.length).toBeGreaterThan(0xfff);
    const index = parseGitIndex(indexBytes({ entries: [{ name: long.slice(0, 4095) }] }), everything);
    expect([...entriesOf(index).keys()]).toEqual([long.slice(0, 4095)]);
  });

  withGit("only the paths that are asked for", () => {
    using tree = repository(names);
    expect([...entriesOf(parseGitIndex(indexOf(tree.path), new Set(["b", "not there"]))).keys()]).toEqual(["b"]);
  });
});

// -------------------------------------------------------------------------------------------------
// Bytes by hand

interface MadeEntry {
  name: string;
  mode?: number;
  stage?: number;
  later?: number;
  /** Version 4: taken from the name before. */
  strip?: number[];
}

function indexBytes(options: {
  version?: number;
  entries?: MadeEntry[];
  count?: number;
  extensions?: [string, Buffer][];
  cut?: number;
}): Buffer {
  const { version = 2, entries = [], count = entries.length, extensions = [], cut = 0 } = options;
  const head = Buffer.from("DIRC\0\0\0\0\0\0\0\0", "latin1");
  head.writeUInt32BE(version, 4);
  head.writeUInt32BE(count, 8);
  const parts: Buffer[] = [head];
  for (const { name, mode = 0o100644, stage = 0, later, strip } of entries) {
    const fixed = Buffer.alloc(62);
    fixed.writeUInt32BE(mode, 24);
    fixed.fill(0xab, 40, 60);
    fixed.writeUInt16BE((later === undefined ? 0 : 0x4000) | (stage << 12) | Math.min(name.length, 0xfff), 60);
    const flags = later === undefined ? [] : [Buffer.from([later >> 8, later & 255])];
    const entry = Buffer.concat([fixed, ...flags, Buffer.from(strip ?? []), Buffer.from(name, "latin1")]);
    const padding = version === 4 ? 1 : 8 - (entry.length % 8);
    parts.push(entry, Buffer.alloc(padding));
  }
  for (const [name, content] of extensions) {
    const size = Buffer.alloc(4);
    size.writeUInt32BE(content.length);
    parts.push(Buffer.from(name), size, content);
  }
  return sealed(Buffer.concat(parts).subarray(0, -cut || undefined));
}

const sealed = (body: Buffer): Buffer => Buffer.concat([body, createHash("sha1").update(body).digest()]);

describe("what is no index is refused", () => {
  const one = [{ name: "a" }];
  const size = Buffer.from([0, 0, 0, 99]);
  const rows: [name: string, bytes: Buffer, reason: string][] = [
    ["nothing", Buffer.alloc(0), "it is no git index"],
    ["a header alone", Buffer.from("DIRC\0\0\0\x02\0\0\0\0", "latin1"), "its checksum is wrong"],
    ["another file", Buffer.alloc(100, 7), "it is no git index"],
    ["version 1", indexBytes({ version: 1 }), "version 1 of the index is not known"],
    ["version 5", indexBytes({ version: 5 }), "version 5 of the index is not known"],
    ["a changed byte", Buffer.concat([indexBytes({ entries: one }), Buffer.from("x")]), "its checksum is wrong"],
    ["fewer entries than it says", indexBytes({ entries: one, count: 2 }), "it ends in the middle of an entry"],
    ["four milliards of entries", indexBytes({ entries: one, count: 0xffffffff }), "it ends in the middle of an entry"],
    ["an entry that is cut off", indexBytes({ entries: one, cut: 30 }), "it ends in the middle of an entry"],
    ["a name without end", indexBytes({ entries: [{ name: "abcdefgh" }], cut: 8 }), "it ends in the middle of an entry"],
    [
      "flags that version 2 does not have",
      indexBytes({ entries: [{ name: "a", later: 1 }] }),
      "an entry has flags that its version does not have",
    ],
    ["a path twice", indexBytes({ entries: [...one, ...one] }), "a path occurs twice"],
    [
      "a name that takes more than there is",
      indexBytes({ version: 4, entries: [{ name: "a", strip: [3] }] }),
      "a name is damaged",
    ],
    [
      "a number without end",
      indexBytes({ version: 4, entries: [{ name: "a", strip: [0x80, 0x80, 0x80, 0x80, 0x80] }] }),
      "a name is damaged",
    ],
    ["a name that is too long", indexBytes({ entries: [{ name: "a".repeat(5000) }] }), "its names are too long"],
    ["a split index", indexBytes({ entries: one, extensions: [["link", Buffer.alloc(20)]] }), "it is a split index"],
    [
      "an extension that must be known",
      indexBytes({ entries: one, extensions: [["abcd", size]] }),
      "it has an extension that is not known",
    ],
    [
      "an extension that is longer than the file",
      sealed(Buffer.concat([indexBytes({}).subarray(0, 12), Buffer.from("TREE"), size])),
      "it ends in the middle of an entry",
    ],
  ];
  for (const [name, bytes, reason] of rows) test(name, () => expect(reasonOf(parseGitIndex(bytes, everything))).toBe(reason));

  test("short names of version 4 that stand for more than memory holds", () => {
    const long = { name: "a".repeat(4000), strip: [0] };
    const more = Array.from({ length: 80_000 }, () => ({ name: "", strip: [0], stage: 1 }));
    expect(reasonOf(parseGitIndex(indexBytes({ version: 4, entries: [long, ...more] }), new Set()))).toBe(
      "its names are too long",
    );
  });

  withGit("a real split index", () => {
    using tree = repository(["a"]);
    git(tree.path, "update-index", "--split-index");
    expect(reasonOf(parseGitIndex(indexOf(tree.path), everything))).toBe("it is a split index");
  });
});

withGit("an index without a checksum is read", () => {
  for (const [length, hash] of [
    [20, "sha1"],
    [32, "sha256"],
  ] as const) {
    using tree = repository(["a"], hash);
    const bytes = indexOf(tree.path);
    bytes.fill(0, bytes.length - length);
    expect(entriesOf(parseGitIndex(bytes, everything)).get("a")?.id).toBe(blobId(hash, "a"));
  }
});

test("zeros before the checksum do not make it a longer one", () => {
  const bytes = indexBytes({ entries: [{ name: "a" }], extensions: [["ZERO", Buffer.alloc(40)]] });
  bytes.fill(0, bytes.length - 20);
  expect(entriesOf(parseGitIndex(bytes, everything)).get("a")?.id).toBe("ab".repeat(20));
});

test("optional extensions are passed over, and directories of a sparse index are no files", () => {
  const extensions: [string, Buffer][] = [
    ["TREE", Buffer.alloc(7)],
    ["sdir", Buffer.alloc(0)],
    ["XYZW", Buffer.alloc(3)],
  ];
  const entries = [{ name: "a" }, { name: "d/", mode: 0o040000 }];
  expect([...entriesOf(parseGitIndex(indexBytes({ entries, extensions }), new Set(["a", "d/x"]))).keys()]).toEqual(["a"]);
});

test("what is going to be added has no content, a conflict has several", () => {
  const entries: MadeEntry[] = [
    { name: "c", stage: 1 },
    { name: "c", stage: 2 },
    { name: "n", later: 0x2000 },
    { name: "s", mode: 0o160000 },
  ];
  const index = parseGitIndex(indexBytes({ version: 3, entries }), everything);
  expect([...entriesOf(index).keys()]).toEqual(["s"]);
  expect(index.kind === "index" && [[...index.conflicts], index.submodules]).toEqual([["c"], ["s"]]);
});

withGit("damaged bytes are read or refused, never more", () => {
  using tree = repository(names);
  const random = seededRandom("git index");
  for (const version of ["2", "4"]) {
    git(tree.path, "update-index", "--index-version", version);
    const body = indexOf(tree.path).subarray(0, -20);
    for (let round = 0; round < rounds; round++) {
      const bytes = sealed(mutated(body, random));
      expect(["index", "refused"], `seed ${seed}: ${bytes.toString("base64")}`).toContain(parseGitIndex(bytes, everything).kind);
    }
  }
});

// -------------------------------------------------------------------------------------------------
// The voucher

function voucherOf(directory: string, sources: Sources = trusting()): GitVoucher {
  const found = findRepository(directory);
  if (found === undefined) throw new Error("no repository");
  return new GitVoucher(sources, found);
}

describe.skipIf(!hasGit)("a repository vouches for the blobs of its index", () => {
  for (const hash of ["sha1", "sha256"] as const) {
    test(hash, () => {
      using tree = repository(["a", "sub/b"], hash);
      const claims = claimsOf(voucherOf(tree.at("sub")), [
        tree.at("a"),
        tree.at("sub/b"),
        tree.write("untracked"),
        "/elsewhere/a",
        tree.at(".git/HEAD"),
      ]);
      const common = { kind: "git", by: "git", source: tree.at(".git/index"), package: tree.path };
      expect([...claims]).toEqual([
        [tree.at("a"), { ...common, expected: { algorithm: `gitoid:${hash}`, hex: blobId(hash, "a") } }],
        [tree.at("sub/b"), { ...common, expected: { algorithm: `gitoid:${hash}`, hex: blobId(hash, "sub/b") } }],
      ] as never);
    });
  }

  test("the names are bytes", () => {
    using tree = repository(["a"]);
    const odd = Buffer.concat([Buffer.from(`${tree.path}/`), Buffer.from([0xff, 0x5c, 0x0a])]);
    writeFileSync(odd, "odd");
    git(tree.path, "add", "-A");
    const name = odd.toString("latin1");
    expect(claimsOf(voucherOf(tree.path), [name]).get(name)?.expected?.hex).toBe(blobId("sha1", "odd"));
  });

  test("a conflict is said and vouches for nothing", () => {
    using tree = repository(["a"]);
    git(tree.path, "checkout", "-q", "-b", "other");
    tree.write("a", "theirs");
    git(tree.path, "commit", "-q", "-am", "x");
    git(tree.path, "checkout", "-q", "main");
    tree.write("a", "ours");
    git(tree.path, "commit", "-q", "-am", "x");
    expect(() => git(tree.path, "merge", "other")).toThrow();
    expect(claimsOf(voucherOf(tree.path), [tree.at("a")]).get(tree.at("a"))?.refused).toBe("a merge has left it in conflict");
  });

  test("a work tree beside the repository", () => {
    using tree = repository(["a"]);
    git(tree.path, "worktree", "add", "-q", tree.at("other"), "-b", "side");
    const path = tree.at("other/a");
    expect(claimsOf(voucherOf(tree.at("other")), [path]).get(path)?.source).toBe(tree.at(".git/worktrees/other/index"));
  });

  test("submodules, also in submodules, by their own index", () => {
    using inner = repository(["deep"]);
    using middle = repository(["mid"]);
    git(middle.path, "submodule", "add", "-q", inner.path, "inner");
    git(middle.path, "commit", "-q", "-m", "x");
    using tree = repository(["a"]);
    git(tree.path, "submodule", "add", "-q", middle.path, "libs/middle");
    git(tree.path, "submodule", "update", "-q", "--init", "--recursive");
    const files = ["a", "libs/middle/mid", "libs/middle/inner/deep"].map(name => tree.at(name));
    const claims = claimsOf(voucherOf(tree.path), files);
    expect(files.map(file => claims.get(file)?.package)).toEqual([
      tree.path,
      tree.at("libs/middle"),
      tree.at("libs/middle/inner"),
    ]);
  });

  test("a repository inside that is no submodule vouches for nothing: anybody can make one", () => {
    using tree = repository(["a"]);
    tree.write("nested/x");
    git(tree.at("nested"), "init", "-q");
    git(tree.at("nested"), "add", "x");
    expect(claimsOf(voucherOf(tree.path), [tree.at("nested/x")]).size).toBe(0);
  });

  test("an index that cannot be read is noted", () => {
    using tree = repository(["a"]);
    writeFileSync(tree.at(".git/index"), "damaged");
    const sources = trusting();
    expect(claimsOf(voucherOf(tree.path, sources), [tree.at("a")]).size).toBe(0);
    expect(sources.notes).toEqual([`${tree.at(".git/index")} is not read: it is no git index`]);
  });
});

test("there is no repository where there is none", () => {
  using tree = new Tree();
  expect(findRepository(tree.path)).toBeUndefined();
  expect(snapshotIndex(undefined).size).toBe(0);
  tree.write("empty/.git/x");
  expect(findRepository(tree.at("empty"))).toBeUndefined();
  tree.write("file/.git", "not what a work tree has");
  expect(findRepository(tree.at("file"))).toBeUndefined();
});

// -------------------------------------------------------------------------------------------------
// With the rest

withGit("what the index has, what differs, what it does not know", async () => {
  using tree = repository(["same", "changed"]);
  tree.write("changed", "since the commit");
  const inputs = ["changed", "new", "same"].map(name => inputOf(name === "new" ? tree.write(name) : tree.at(name)));
  const found = await judge(inputs, { workingDirectory: tree.path });
  expect(found.counts).toEqual({ total: 3, git: 1, lockfile: 0, system: 0, nobody: 1, differs: 1 });
  const source = tree.at(".git/index");
  expect(found.files).toEqual([
    { path: tree.at("changed"), kind: "differs", by: "git", source, package: tree.path },
    { path: tree.at("new"), kind: "nobody" },
  ]);
  expect(found.packages).toEqual([{ kind: "git", by: "git", source, package: tree.path, match: "digest", files: 1 }]);
});

withGit("line ends that a filter has changed make the file another one", async () => {
  using tree = new Tree();
  git(tree.path, "init", "-q");
  tree.write(".gitattributes", "*.txt text eol=crlf\n");
  tree.write("a.txt", "one\r\ntwo\r\n");
  git(tree.path, "add", "-A");
  const found = await judge([inputOf(tree.at("a.txt"))], { workingDirectory: tree.path });
  expect(found.counts).toMatchObject({ git: 0, differs: 1 });
});

withGit("a build that adds its own file to the index does not declare it", async () => {
  using tree = repository(["a"]);
  const input = inputOf(tree.write("planted"));
  const build = () => git(tree.path, "add", "planted");
  const outputs = [{ path: tree.at(".git/index"), present: true }];
  const found = await judge([inputOf(tree.at("a")), input], { workingDirectory: tree.path, outputs, build });
  expect(found.counts).toMatchObject({ git: 1, nobody: 1 });
});

withGit("the index of a submodule that the build has written is noted and not believed", async () => {
  using inner = repository(["x"]);
  using tree = repository(["a"]);
  git(tree.path, "submodule", "add", "-q", inner.path, "sub");
  const outputs = [{ path: tree.at(".git/modules/sub/index"), present: true }];
  const found = await judge([inputOf(tree.at("sub/x"))], { workingDirectory: tree.path, outputs });
  expect(found.counts).toMatchObject({ git: 0, nobody: 1 });
  expect(found.notes).toEqual([`${tree.at(".git/modules/sub/index")} vouches for nothing: the build has written it`]);
});
