// Package databases of systems: of this machine, where it has dpkg, and made by hand.
import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from "node:fs";
import { ApkVoucher, parseApkDatabase } from "../src/facts/vouchers/apk.ts";
import { DpkgVoucher } from "../src/facts/vouchers/dpkg.ts";
import { RpmVoucher } from "../src/facts/vouchers/rpm.ts";
import { parseRpmHeader, type RpmFile } from "../src/facts/vouchers/rpm-header.ts";
import { Sources } from "../src/facts/vouchers/sources.ts";
import { mergedAliases } from "../src/facts/vouchers/system-root.ts";
import { WantedLines } from "../src/facts/vouchers/wanted-lines.ts";
import { type RpmTag, rpmHeader } from "./rpm-bytes.ts";
import { mutated, rounds, seed, seededRandom } from "./seeded.ts";
import { claimsOf, hashOf, inputOf, judge, sha256, Tree, trusting } from "./vouching.ts";

const everything = { has: () => true };

// -------------------------------------------------------------------------------------------------
// dpkg

const md5 = (content: string): string => hashOf("md5", content);

/** A database with these packages: name to files, and what else there is. */
function dpkg(
  packages: Record<
    string,
    { files: Record<string, string>; version?: string; conffiles?: Record<string, string>; unsummed?: string[] }
  >,
): Tree {
  const tree = new Tree();
  const paragraphs: string[] = [];
  for (const [owner, { files, version = "1.0", conffiles = {}, unsummed = [] }] of Object.entries(packages)) {
    const [name, architecture = "all"] = owner.split(":");
    const all = [...Object.keys(files), ...Object.keys(conffiles), ...unsummed];
    tree.write(`var/lib/dpkg/info/${owner}.list`, ["/.", "/usr", ...all, ""].join("\n"));
    const sums = Object.entries(files).map(([path, content]) => `${md5(content)}  ${path.slice(1)}\n`);
    tree.write(`var/lib/dpkg/info/${owner}.md5sums`, sums.join(""));
    const conf = Object.entries(conffiles).map(([path, content]) => `\n ${path} ${md5(content)}`);
    paragraphs.push(
      `Package: ${name}\nStatus: install ok installed\nArchitecture: ${architecture}\nVersion: ${version}\n${conf.length > 0 ? `Conffiles:${conf.join("")}\n` : ""}Description: x\n Version: 9\n`,
    );
  }
  tree.write("var/lib/dpkg/status", paragraphs.join("\n"));
  return tree;
}

describe("dpkg", () => {
  test("owner, version and digest of a file; configuration files by the status", () => {
    using root = dpkg({
      a: { files: { "/usr/bin/a": "a" }, conffiles: { "/etc/a.conf": "conf" }, unsummed: ["/usr/share/a/none"] },
      "lib:amd64": { files: { "/usr/lib/lib.so": "so" }, version: "2:1.5-3" },
    });
    const common = { kind: "system", by: "dpkg", source: root.at("var/lib/dpkg") } as const;
    const files = ["usr/bin/a", "etc/a.conf", "usr/share/a/none", "usr/lib/lib.so", "usr/bin/unknown", "usr"].map(name =>
      root.at(name),
    );
    expect(
      [...claimsOf(new DpkgVoucher(trusting(), root.path), files)].map(([name, claim]) => [name.slice(root.path.length), claim]),
    ).toEqual([
      ["/usr", { ...common, package: "a", version: "1.0" }],
      ["/usr/bin/a", { ...common, package: "a", version: "1.0", expected: { algorithm: "md5", hex: md5("a") } }],
      ["/etc/a.conf", { ...common, package: "a", version: "1.0", expected: { algorithm: "md5", hex: md5("conf") } }],
      ["/usr/share/a/none", { ...common, package: "a", version: "1.0" }],
      [
        "/usr/lib/lib.so",
        { ...common, package: "lib:amd64", version: "2:1.5-3", expected: { algorithm: "md5", hex: md5("so") } },
      ],
    ] as never);
  });

  test("names from before /lib was merged into /usr", () => {
    using root = dpkg({ a: { files: { "/lib/x.so": "x", "/bin/sh": "sh", "/usr/sbin/y": "y" } } });
    for (const name of ["lib", "bin"]) symlinkSync(`usr/${name}`, root.at(name));
    const files = ["usr/lib/x.so", "usr/bin/sh", "usr/sbin/y", "usr/lib64/x.so"].map(name => root.at(name));
    expect([...claimsOf(new DpkgVoucher(trusting(), root.path), files).keys()].sort()).toEqual(files.slice(0, 3).sort());
  });

  test("diversions: whose file is where", () => {
    using root = dpkg({
      dash: { files: { "/bin/sh": "dash" } },
      "a-other": { files: { "/bin/sh": "other's" } },
      mine: { files: { "/usr/bin/tool": "as packaged" } },
    });
    root.write("var/lib/dpkg/diversions", "/bin/sh\n/bin/sh.distrib\na-other\n/usr/bin/tool\n/usr/bin/tool.real\n:\nonly half\n");
    const claims = claimsOf(
      new DpkgVoucher(trusting(), root.path),
      ["bin/sh", "bin/sh.distrib", "usr/bin/tool", "usr/bin/tool.real"].map(name => root.at(name)),
    );
    expect(
      [...claims].map(([name, { package: owner, expected }]) => [name.slice(root.path.length), owner, expected?.hex]).sort(),
    ).toEqual([
      ["/bin/sh", "a-other", md5("other's")],
      ["/bin/sh.distrib", "dash", md5("dash")],
      ["/usr/bin/tool.real", "mine", md5("as packaged")],
    ] as never);
  });

  test("images without a package manager", () => {
    using root = new Tree();
    root.write("var/lib/dpkg/status.d/base", "Package: base\nVersion: 12.1\n");
    root.write("var/lib/dpkg/status.d/base.md5sums", `${md5("x")}  etc/x\n`);
    const claims = claimsOf(new DpkgVoucher(trusting(), root.path), [root.at("etc/x")]);
    expect(claims.get(root.at("etc/x"))).toMatchObject({
      package: "base",
      version: "12.1",
      expected: { algorithm: "md5", hex: md5("x") },
    });
  });

  test("what the build has written of the database is not believed", () => {
    using root = dpkg({ a: { files: { "/usr/bin/a": "a" } }, b: { files: { "/usr/bin/b": "b" }, conffiles: { "/etc/b": "b" } } });
    const files = ["usr/bin/a", "usr/bin/b", "etc/b"].map(name => root.at(name));
    const without = (...names: string[]) => {
      const written = new Set(names.map(name => root.at(`var/lib/dpkg/${name}`)));
      return [...claimsOf(new DpkgVoucher(new Sources({ isWritten: name => written.has(name) }), root.path), files).values()].map(
        ({ package: owner, expected, version }) => [owner, expected !== undefined, version],
      );
    };
    expect(without("info/a.list")).toEqual([
      ["b", true, "1.0"],
      ["b", true, "1.0"],
    ]);
    expect(without("info/b.md5sums")).toEqual([
      ["a", true, "1.0"],
      ["b", false, "1.0"],
      ["b", true, "1.0"],
    ]);
    expect(without("status")).toEqual([
      ["a", true, undefined],
      ["b", true, undefined],
      ["b", false, undefined],
    ]);
  });

  test("no database, no claims", () => {
    using root = new Tree();
    expect(claimsOf(new DpkgVoucher(trusting(), root.path), [root.at("usr/bin/a")]).size).toBe(0);
  });

  test("damaged databases are read as far as they go", () => {
    using root = dpkg({ a: { files: { "/usr/bin/a": "a" }, conffiles: { "/etc/a": "x" } } });
    const random = seededRandom("dpkg");
    const names = ["status", "info/a.list", "info/a.md5sums", "diversions"];
    root.write("var/lib/dpkg/diversions", "/usr/bin/a\n/usr/bin/b\nx\n");
    for (let round = 0; round < Math.min(rounds, 300); round++) {
      const name = random.pick(names);
      const path = root.at(`var/lib/dpkg/${name}`);
      const good = readFileSync(path);
      writeFileSync(path, mutated(good, random));
      expect(
        claimsOf(new DpkgVoucher(trusting(), root.path), [root.at("usr/bin/a"), root.at("etc/a")]).size,
        `seed ${seed}`,
      ).toBeLessThan(3);
      writeFileSync(path, good);
    }
  });

  test.skipIf(!existsSync("/var/lib/dpkg/status"))("this machine's own: its shell is what its package brought", async () => {
    const shell = realpathSync("/bin/sh");
    const found = await judge([inputOf(shell)], { workingDirectory: "/nowhere", roots: ["/"], processes: 1000 });
    expect(found.counts).toEqual({ total: 1, git: 0, lockfile: 0, system: 1, nobody: 0, differs: 0 });
    expect(found.packages).toMatchObject([{ by: "dpkg", match: "digest", files: 1 }]);
  });
});

test("a line is found by its whole text", () => {
  const lines = ["/a", "/ab", "/b", "", "/aa/b", "x".repeat(300)];
  const find = (text: string, skip: number, ...wanted: string[]) => {
    const found: string[] = [];
    new WantedLines(new Map(wanted.map(line => [line, 1]))).find(Buffer.from(text, "latin1"), skip, line => found.push(line));
    return found;
  };
  expect(find(lines.join("\n"), 0, "/ab", "x".repeat(300), "/a/b")).toEqual(["/ab", "x".repeat(300)]);
  expect(find("12  a\n34  b\n5\n", 4, "b", "a")).toEqual(["a", "b"]);
  expect(find("/b\n/b", 0, "/b")).toEqual(["/b", "/b"]);
  // Of the same length, with the same end.
  expect(find("/xab\n/yab", 0, "/yab")).toEqual(["/yab"]);
});

test("the names that a file had before directories were merged", () => {
  using root = new Tree();
  mkdirSync(root.at("usr/bin"), { recursive: true });
  for (const [name, target] of [
    ["bin", "usr/bin"],
    ["lib64", "/usr/lib"],
    ["sbin", "elsewhere"],
    ["usr/sbin", "bin"],
  ] as const)
    symlinkSync(target, root.at(name));
  const aliases = mergedAliases(root.path);
  expect(aliases("/usr/bin/x")).toEqual(["/usr/bin/x", "/bin/x", "/usr/sbin/x"]);
  expect(aliases("/usr/lib/x")).toEqual(["/usr/lib/x", "/lib64/x"]);
  expect(aliases("/usr/binary")).toEqual(["/usr/binary"]);
});

// -------------------------------------------------------------------------------------------------
// apk

const sha1 = (content: string): string => hashOf("sha1", content);
const q1 = (content: string): string => `Q1${Buffer.from(sha1(content), "hex").toString("base64")}`;
const apkText = [
  `C:${q1("package")}\nP:musl\nV:1.2.4-r2\nF:lib\nR:ld-musl-x86_64.so.1\na:0:0:755\nZ:${q1("ld")}\nR:plain\n`,
  `P:busybox\nV:1.36\nF:\nR:top\nZ:${q1("top")}\nF:bin\nM:0:0:755\nR:busybox\nZ:Q2unknown\nF:etc\nR:x\nZ:${q1("x")}\n`,
  `P:late\nV:1\nF:lib\nR:ld-musl-x86_64.so.1\nZ:${q1("other")}`,
].join("\n");

describe("apk", () => {
  for (const place of ["lib/apk/db/installed", "usr/lib/apk/db/installed"]) {
    test(`the first owner of a file, with its SHA-1, from ${place}`, () => {
      using root = new Tree();
      root.write(place, apkText);
      symlinkSync("usr/bin", root.at("bin"));
      const files = ["lib/ld-musl-x86_64.so.1", "lib/plain", "top", "usr/bin/busybox", "etc/x", "etc/y"].map(name =>
        root.at(name),
      );
      const claims = claimsOf(new ApkVoucher(trusting(), root.path), files);
      expect(files.map(file => claims.get(file)).map(claim => [claim?.package, claim?.version, claim?.expected?.hex])).toEqual([
        ["musl", "1.2.4-r2", sha1("ld")],
        ["musl", "1.2.4-r2", undefined],
        ["busybox", "1.36", sha1("top")],
        ["busybox", "1.36", undefined],
        ["busybox", "1.36", sha1("x")],
        [undefined, undefined, undefined],
      ] as never);
    });
  }

  test("damaged databases are read as far as they go", () => {
    const random = seededRandom("apk");
    for (let round = 0; round < rounds; round++) {
      const bytes = mutated(Buffer.from(apkText), random);
      expect([...parseApkDatabase(bytes, everything)].length, `seed ${seed}: ${bytes.toString("base64")}`).toBeLessThan(30);
    }
  });
});

// -------------------------------------------------------------------------------------------------
// rpm

const bash: RpmTag[] = [
  [1000, 6, ["bash"]],
  [1001, 6, ["5.2.15"]],
  [1002, 6, ["3.fc39"]],
  [1003, 4, [2]],
  [1035, 8, [sha256("bash"), "", sha256("conf")]],
  [1037, 4, [0, 0, 1]],
  [1116, 4, [0, 1, 1]],
  [1117, 8, ["bash", "ghost", "bashrc"]],
  [1118, 8, ["/usr/bin/", "/etc/"]],
  [5011, 4, [8]],
];
const changed = (...tags: RpmTag[]): Buffer =>
  rpmHeader([...bash.filter(([tag]) => !tags.some(([other]) => other === tag)), ...tags]);
const files = (bytes: Buffer): RpmFile[] | undefined => parseRpmHeader(bytes, everything)?.files as RpmFile[] | undefined;

describe("rpm", () => {
  test("name, version and files of a header", () => {
    expect(parseRpmHeader(rpmHeader(bash), { has: path => path !== "/etc/ghost" })).toEqual({
      name: "bash",
      version: "2:5.2.15-3.fc39",
      files: [
        { path: "/usr/bin/bash", digest: { algorithm: "sha256", hex: sha256("bash") } },
        { path: "/etc/bashrc", digest: { algorithm: "sha256", hex: sha256("conf") } },
      ],
    });
  });

  const rows: [name: string, bytes: Buffer, found: [path: string, algorithm: string | undefined][] | undefined][] = [
    [
      "no algorithm: MD5",
      rpmHeader([...bash.filter(([tag]) => tag !== 5011 && tag !== 1035), [1035, 8, [md5("bash"), "", ""]]]),
      [
        ["/usr/bin/bash", "md5"],
        ["/etc/ghost", undefined],
        ["/etc/bashrc", undefined],
      ],
    ],
    [
      "an algorithm that is not known",
      changed([5011, 4, [99]]),
      [
        ["/usr/bin/bash", undefined],
        ["/etc/ghost", undefined],
        ["/etc/bashrc", undefined],
      ],
    ],
    [
      "digests of another length",
      changed([5011, 4, [2]]),
      [
        ["/usr/bin/bash", undefined],
        ["/etc/ghost", undefined],
        ["/etc/bashrc", undefined],
      ],
    ],
    ["what scripts make is not the package's", changed([1037, 4, [64, 64, 0]]), [["/etc/bashrc", "sha256"]]],
    [
      "a directory that there is not",
      changed([1116, 4, [7, 1, 1]]),
      [
        ["/etc/ghost", undefined],
        ["/etc/bashrc", "sha256"],
      ],
    ],
    ["fewer indexes than names", changed([1116, 4, [0]]), [["/usr/bin/bash", "sha256"]]],
    ["indexes beyond the data", changed([1116, 4, [0, 1, 1]]).fill(0xff, 8 + 9 * 16 + 12, 8 + 10 * 16), []],
    ["no files", rpmHeader(bash.slice(0, 3)), []],
    ["no name", rpmHeader(bash.slice(1)), undefined],
    ["a name of another type", changed([1000, 4, [1]]), undefined],
    ["nothing", Buffer.alloc(0), undefined],
    ["more entries than bytes", Buffer.from("ffffffff00000000", "hex"), undefined],
    ["more data than bytes", rpmHeader(bash).subarray(0, -1), undefined],
  ];
  for (const [name, bytes, found] of rows) {
    test(name, () => expect(files(bytes)?.map(({ path, digest }) => [path, digest?.algorithm])).toEqual(found as never));
  }

  test("damaged headers are read or refused", () => {
    const random = seededRandom("rpm");
    const good = rpmHeader(bash);
    for (let round = 0; round < rounds; round++) {
      const bytes = mutated(good, random);
      expect(files(bytes)?.length ?? 0, `seed ${seed}: ${bytes.toString("hex")}`).toBeLessThan(10);
    }
  });

  const createTable = "CREATE TABLE IF NOT EXISTS 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT,blob BLOB NOT NULL)";

  function database(root: Tree, directory: string, statements: string[], wal = false): void {
    mkdirSync(root.at(directory), { recursive: true });
    using made = new Database(root.at(`${directory}/rpmdb.sqlite`));
    if (wal) made.run("PRAGMA journal_mode = WAL");
    for (const statement of statements) made.run(statement);
    if (statements.includes(createTable)) made.run("INSERT INTO Packages (blob) VALUES (?)", [rpmHeader(bash)]);
    if (wal) made.run("PRAGMA wal_checkpoint(TRUNCATE)");
  }

  for (const [directory, wal] of [
    ["var/lib/rpm", false],
    ["usr/lib/sysimage/rpm", true],
  ] as const) {
    test(`the database in ${directory}${wal ? ", with a log" : ""}`, () => {
      using root = new Tree();
      database(root, directory, [createTable], wal);
      symlinkSync("usr/bin", root.at("bin"));
      const before = readFileSync(root.at(`${directory}/rpmdb.sqlite`));
      const sources = trusting();
      const claims = claimsOf(new RpmVoucher(sources, root.path), [root.at("usr/bin/bash"), root.at("usr/bin/x")]);
      expect([...claims.values()]).toEqual([
        {
          kind: "system",
          by: "rpm",
          source: root.at(`${directory}/rpmdb.sqlite`),
          package: "bash",
          version: "2:5.2.15-3.fc39",
          expected: { algorithm: "sha256", hex: sha256("bash") },
        },
      ]);
      expect(sources.notes).toEqual([]);
      expect(readFileSync(root.at(`${directory}/rpmdb.sqlite`)).equals(before)).toBe(true);
    });
  }

  const refused: [name: string, make: (root: Tree) => void, note: string][] = [
    ["Berkeley DB", root => root.write("var/lib/rpm/Packages", "x"), "var/lib/rpm/Packages is not read: it is a Berkeley DB"],
    [
      "NDB",
      root => root.write("usr/lib/sysimage/rpm/Packages.db", "x"),
      "usr/lib/sysimage/rpm/Packages.db is not read: it is an NDB",
    ],
    [
      "another table",
      root => database(root, "var/lib/rpm", ["CREATE TABLE other (x)"]),
      "var/lib/rpm/rpmdb.sqlite is not read: it has no table Packages as rpm makes it",
    ],
    [
      "a view that never ends",
      root =>
        database(root, "var/lib/rpm", [
          "CREATE VIEW Packages (hnum, blob) AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i, x'00' FROM n",
        ]),
      "var/lib/rpm/rpmdb.sqlite is not read: it has no table Packages as rpm makes it",
    ],
    [
      "no database",
      root => root.write("var/lib/rpm/rpmdb.sqlite", "x".repeat(200)),
      "var/lib/rpm/rpmdb.sqlite is not read: file is not a database",
    ],
    [
      "an empty file",
      root => root.write("var/lib/rpm/rpmdb.sqlite", ""),
      "var/lib/rpm/rpmdb.sqlite is not read: it is too short",
    ],
  ];
  for (const [name, make, note] of refused) {
    test(`refused: ${name}`, () => {
      using root = new Tree();
      make(root);
      const sources = trusting();
      expect(claimsOf(new RpmVoucher(sources, root.path), [root.at("usr/bin/bash")]).size).toBe(0);
      expect(sources.notes).toEqual([`${root.path}/${note}`]);
    });
  }
});
