// Packages of package managers: which package a file belongs to, whether the project's lock file names it, and whether
// the file is what the package brought.
import { describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { digestArchive } from "../src/facts/vouchers/archives.ts";
import { LockfileVoucher } from "../src/facts/vouchers/lockfiles.ts";
import { type PackagePlace, placeOf } from "../src/facts/vouchers/package-places.ts";
import { parseRecord, pythonSiteOf } from "../src/facts/vouchers/python-sites.ts";
import { Sources } from "../src/facts/vouchers/sources.ts";
import { mutated, rounds, seed, seededRandom } from "./seeded.ts";
import { candidate, claimsOf, hashOf, inputOf, judge, sha256, Tree, trusting } from "./vouching.ts";

// -------------------------------------------------------------------------------------------------
// Places

describe("which package a file is in", () => {
  const npm = (directory: string, name: string, owner: string, version?: string): PackagePlace => ({
    ecosystem: "npm",
    directory,
    name,
    owner,
    ...(version === undefined ? {} : { version }),
  });
  const rows: [file: string, place: PackagePlace | undefined][] = [
    ["/p/node_modules/a/index.js", npm("/p/node_modules/a", "a", "/p")],
    ["/p/node_modules/@s/b/lib/x.js", npm("/p/node_modules/@s/b", "@s/b", "/p")],
    ["/p/node_modules/a/node_modules/c/x.js", npm("/p/node_modules/a/node_modules/c", "c", "/p")],
    ["/node_modules/a/x.js", npm("/node_modules/a", "a", "/")],
    [
      "/p/node_modules/.pnpm/@s+b@2.0.0_peer@1/node_modules/@s/b/x.js",
      npm("/p/node_modules/.pnpm/@s+b@2.0.0_peer@1/node_modules/@s/b", "@s/b", "/p", "2.0.0"),
    ],
    ["/p/node_modules/.bin/tool", undefined],
    ["/p/node_modules/.package-lock.json", undefined],
    ["/p/node_modules/@s/b", undefined],
    ["/p/node_modules/file.js", undefined],
    ["/p/my_node_modules/a/x", undefined],
    [
      "/h/.cargo/registry/src/index.crates.io-6f17d22bba15001f/a_b-2-1.0.0-beta.2/src/lib.rs",
      {
        ecosystem: "cargo",
        directory: "/h/.cargo/registry/src/index.crates.io-6f17d22bba15001f/a_b-2-1.0.0-beta.2",
        name: "a_b-2",
        version: "1.0.0-beta.2",
      },
    ],
    [
      "/h/.cargo/registry/cache/index.crates.io-6f17d22bba15001f/a-1.0.0.crate",
      {
        ecosystem: "cargo",
        directory: "/h/.cargo/registry/cache/index.crates.io-6f17d22bba15001f/a-1.0.0.crate",
        name: "a",
        version: "1.0.0",
        isSingle: true,
      },
    ],
    ["/h/.cargo/registry/src/x/noversion/src/lib.rs", undefined],
    [
      "/h/.cargo/git/checkouts/repo-0123456789abcdef/abc1234/src/lib.rs",
      { ecosystem: "cargo", directory: "/h/.cargo/git/checkouts/repo-0123456789abcdef/abc1234", name: "repo", commit: "abc1234" },
    ],
    [
      "/h/go/pkg/mod/github.com/!burnt!sushi/toml@v1.3.2/decode.go",
      {
        ecosystem: "golang",
        directory: "/h/go/pkg/mod/github.com/!burnt!sushi/toml@v1.3.2",
        name: "github.com/BurntSushi/toml",
        version: "v1.3.2",
      },
    ],
    [
      "/h/go/pkg/mod/cache/download/example.org/x/@v/v1.0.0.mod",
      {
        ecosystem: "golang",
        directory: "/h/go/pkg/mod/cache/download/example.org/x/@v/v1.0.0.mod",
        name: "example.org/x",
        version: "v1.0.0",
        isSingle: true,
      },
    ],
    ["/h/go/pkg/mod/cache/lock", undefined],
    [
      "/cache/example.org/x@v1.0.0/x.go",
      { ecosystem: "golang", directory: "/cache/example.org/x@v1.0.0", name: "example.org/x", version: "v1.0.0" },
    ],
    ["/usr/include/stdio.h", undefined],
  ];
  for (const [file, place] of rows)
    test(file, () => expect(placeOf(file, { goModuleCache: "/cache" })).toEqual(place as PackagePlace));

  test("Python's are found by their directory", () => {
    expect(pythonSiteOf("/usr/lib/python3/dist-packages/yaml/x.py")).toBe("/usr/lib/python3/dist-packages");
    expect(pythonSiteOf("/v/lib/python3.11/site-packages/six.py")).toBe("/v/lib/python3.11/site-packages");
    expect(pythonSiteOf("/v/site-packages")).toBeUndefined();
  });
});

// -------------------------------------------------------------------------------------------------
// Claims

const sri = `sha512-${"A".repeat(86)}==`;

function voucherOf(tree: Tree, options: { npmCache?: string; sources?: Sources; bytes?: number } = {}): LockfileVoucher {
  return new LockfileVoucher(options.sources ?? trusting(), {
    projectRoot: tree.path,
    workingDirectory: tree.path,
    npmCache: options.npmCache,
    unpackedBytesMax: options.bytes ?? 1 << 30,
  });
}

const npmLock = (packages: Record<string, object>): string => JSON.stringify({ lockfileVersion: 3, packages });
const manifest = (version: string): string => JSON.stringify({ version });

describe("npm", () => {
  test("a package that the lock file names at its place, in its version, with an integrity", () => {
    using tree = new Tree();
    tree.write("package-lock.json", npmLock({ "node_modules/a": { version: "1.0.0", integrity: sri } }));
    tree.write("node_modules/a/package.json", manifest("1.0.0"));
    const file = tree.write("node_modules/a/x.js");
    expect(claimsOf(voucherOf(tree), [file]).get(file)).toEqual({
      kind: "lockfile",
      by: "npm",
      source: tree.at("package-lock.json"),
      package: "a",
      version: "1.0.0",
    });
  });

  const refused: [name: string, lock: string | undefined, version: string, reason: string][] = [
    ["no lock file", undefined, "1.0.0", "no lock file of the project names it"],
    ["a lock file without it", npmLock({}), "1.0.0", "no lock file of the project names it"],
    [
      "at another place",
      npmLock({ "node_modules/b/node_modules/a": { version: "1.0.0", integrity: sri } }),
      "1.0.0",
      "no lock file of the project names it",
    ],
    ["without an integrity", npmLock({ "node_modules/a": { version: "1.0.0" } }), "1.0.0", "the lock file has no digest of it"],
    [
      "another version than is installed",
      npmLock({ "node_modules/a": { version: "1.0.1", integrity: sri } }),
      "1.0.0",
      "the lock file names version 1.0.1 of it",
    ],
    ["a damaged lock file", "{", "1.0.0", "no lock file of the project names it"],
  ];
  for (const [name, lock, version, reason] of refused) {
    test(`refused: ${name}`, () => {
      using tree = new Tree();
      if (lock !== undefined) tree.write("package-lock.json", lock);
      tree.write("node_modules/a/package.json", manifest(version));
      const file = tree.write("node_modules/a/x.js");
      expect(claimsOf(voucherOf(tree), [file]).get(file)).toMatchObject({ package: "a", version, refused: reason });
    });
  }

  test("a lock file that the build has written vouches for nothing", () => {
    using tree = new Tree();
    const lock = tree.write("package-lock.json", npmLock({ "node_modules/a": { version: "1.0.0", integrity: sri } }));
    tree.write("node_modules/a/package.json", manifest("1.0.0"));
    const file = tree.write("node_modules/a/x.js");
    const sources = new Sources({ isWritten: name => name === lock });
    expect(claimsOf(voucherOf(tree, { sources }), [file]).get(file)?.refused).toBe("no lock file of the project names it");
    expect(sources.notes).toEqual([`${lock} vouches for nothing: the build has written it`]);
    // It says the same again as when the build read it.
    const unchanged = new Sources({
      isWritten: name => name === lock,
      wasRead: (_, bytes) => sha256(bytes) === sha256(readFileSync(lock)),
    });
    expect(claimsOf(voucherOf(tree, { sources: unchanged }), [file]).get(file)?.refused).toBeUndefined();
  });

  test("a lock file outside of the project is not the project's", () => {
    using tree = new Tree();
    using other = new Tree();
    other.write("package-lock.json", npmLock({ "node_modules/a": { version: "1.0.0", integrity: sri } }));
    other.write("node_modules/a/package.json", manifest("1.0.0"));
    const file = other.write("node_modules/a/x.js");
    expect(claimsOf(voucherOf(tree), [file, other.at("package-lock.json")]).get(file)?.refused).toBe(
      "no lock file of the project names it",
    );
  });

  test("a lock file in a package of the project that the build has read counts, one in an installed package does not", () => {
    using tree = new Tree();
    const lock = tree.write("web/yarn.lock", `a@^1:\n  version "1.0.0"\n  integrity ${sri}\n`);
    tree.write("web/node_modules/a/package.json", manifest("1.0.0"));
    const file = tree.write("web/node_modules/a/x.js");
    expect(claimsOf(voucherOf(tree), [file]).get(file)?.refused).toBeDefined();
    expect(claimsOf(voucherOf(tree), [file, lock]).get(file)).toMatchObject({ source: lock, version: "1.0.0" });
    const planted = tree.write("web/node_modules/a/yarn.lock", `evil@^1:\n  version "1.0.0"\n  integrity ${sri}\n`);
    tree.write("web/node_modules/evil/package.json", manifest("1.0.0"));
    const evil = tree.write("web/node_modules/evil/x.js");
    expect(claimsOf(voucherOf(tree), [evil, planted]).get(evil)?.refused).toBeDefined();
  });
});

test("npm's own lock file and cache: what was installed, changed or added", async () => {
  using tree = new Tree();
  tree.write("dep/package.json", '{"name":"dep","version":"1.2.3"}');
  tree.write("dep/index.js", "module.exports = 1;\n");
  tree.write("dep/other.js", "// as published\n");
  tree.write("app/package.json", '{"name":"app","version":"1.0.0"}');
  const npm = (directory: string, ...words: string[]) => {
    const flags = [
      "--offline",
      "--no-audit",
      "--no-fund",
      "--ignore-scripts",
      "--cache",
      tree.at("cache"),
      "--loglevel",
      "error",
    ];
    const { status, stderr } = spawnSync("npm", [...words, ...flags], { cwd: tree.at(directory), encoding: "utf8" });
    if (status !== 0) throw new Error(stderr);
  };
  npm("dep", "pack");
  npm("app", "install", "../dep/dep-1.2.3.tgz");
  const inside = (name: string) => tree.at(`app/node_modules/dep/${name}`);
  writeFileSync(inside("other.js"), "// as an attacker likes it\n");
  writeFileSync(inside("added.js"), "// not from the package\n");
  const inputs = ["added.js", "index.js", "other.js"].map(name => inputOf(inside(name)));
  const options = { workingDirectory: tree.at("app"), npmCache: tree.at("cache/_cacache") };
  const found = await judge(inputs, options);
  expect(found.counts).toEqual({ total: 3, git: 0, lockfile: 1, system: 0, nobody: 1, differs: 1 });
  const dep = { by: "npm", source: tree.at("app/package-lock.json"), package: "dep", version: "1.2.3" };
  expect(found.packages).toEqual([{ kind: "lockfile", ...dep, match: "digest", files: 1 }]);
  expect(found.files).toEqual([
    { path: inside("added.js"), kind: "nobody", ...dep, note: "the package's archive does not have it" },
    { path: inside("other.js"), kind: "differs", ...dep },
  ]);

  // Without the archive only the owner is known.
  expect((await judge(inputs, { ...options, npmCache: tree.at("nothing") })).packages).toEqual([
    { kind: "lockfile", ...dep, match: "owner", files: 3 },
  ]);
  // An archive that is not the one of the lock file counts for nothing.
  const archive = spawnSync("find", [tree.at("cache/_cacache/content-v2"), "-type", "f"], { encoding: "utf8" }).stdout.trim();
  writeFileSync(archive, gzipSync(tarBytes([["package/other.js", "// as an attacker likes it\n"]])));
  expect((await judge(inputs, options)).counts).toMatchObject({ lockfile: 3, differs: 0 });
});

describe("Cargo", () => {
  const checksum = (bytes: Uint8Array) =>
    `[[package]]\nname = "a"\nversion = "1.0.0"\nsource = "registry+https://x.example"\nchecksum = "${sha256(bytes)}"\n`;

  test("sources of the registry, by the archive that they came from", async () => {
    using tree = new Tree();
    const crate = gzipSync(
      tarBytes([
        ["a-1.0.0/src/lib.rs", "// lib\n"],
        ["a-1.0.0/Cargo.toml", "[package]\n"],
      ]),
    );
    tree.write("home/registry/cache/index/a-1.0.0.crate", crate);
    tree.write("app/Cargo.lock", checksum(crate));
    const inputs = [
      "home/registry/cache/index/a-1.0.0.crate",
      "home/registry/src/index/a-1.0.0/Cargo.toml",
      "home/registry/src/index/a-1.0.0/src/lib.rs",
    ].map(name =>
      inputOf(name.endsWith(".crate") ? tree.at(name) : tree.write(name, name.endsWith(".rs") ? "// lib\n" : "[changed]\n")),
    );
    const found = await judge(inputs, { workingDirectory: tree.at("app") });
    expect(found.counts).toMatchObject({ lockfile: 2, differs: 1, nobody: 0 });
    expect(found.files.map(({ path }) => path)).toEqual([tree.at("home/registry/src/index/a-1.0.0/Cargo.toml")]);
  });

  test("vendored sources, by the digests beside them", () => {
    using tree = new Tree();
    tree.write("Cargo.lock", checksum(Buffer.from("the crate")));
    const file = tree.write("vendor/a/src/lib.rs", "// lib\n");
    const foreign = tree.write("vendor/b/src/lib.rs", "// lib\n");
    const files = { "src/lib.rs": sha256("// lib\n") };
    tree.write("vendor/a/.cargo-checksum.json", JSON.stringify({ files, package: sha256("the crate") }));
    tree.write("vendor/b/.cargo-checksum.json", JSON.stringify({ files, package: sha256("another crate") }));
    tree.write("vendor/c/.cargo-checksum.json", "[]");
    const claims = claimsOf(voucherOf(tree), [file, foreign, tree.write("vendor/c/x"), tree.write("vendor/d/x")]);
    expect(claims.get(file)).toEqual({
      kind: "lockfile",
      by: "cargo",
      source: tree.at("Cargo.lock"),
      package: "a",
      version: "1.0.0",
      expected: { algorithm: "sha256", hex: sha256("// lib\n") },
    });
    expect(claims.get(foreign)?.refused).toBe("no lock file of the project names it");
    expect(claims.size).toBe(2);
  });

  test("checkouts of git, by the commit", () => {
    using tree = new Tree();
    const commit = "0123456789abcdef0123456789abcdef01234567";
    tree.write("Cargo.lock", `[[package]]\nname = "g"\nversion = "2.0.0"\nsource = "git+https://x.example/g#${commit}"\n`);
    const [known, unknown] = [commit.slice(0, 7), "fedcba9"].map(
      short => `/h/.cargo/git/checkouts/g-0123456789abcdef/${short}/src/lib.rs`,
    );
    const claims = claimsOf(voucherOf(tree), [known ?? "", unknown ?? ""]);
    expect(claims.get(known ?? "")).toMatchObject({ package: "g", version: "2.0.0" });
    expect(claims.get(unknown ?? "")?.refused).toBe("no lock file of the project names it");
  });
});

test("Go: modules by go.sum, go.mod by its digest there", () => {
  using tree = new Tree();
  const content = "module example.org/x\n";
  const h1 = Buffer.from(hashOf("sha256", `${sha256(content)}  go.mod\n`), "hex").toString("base64");
  tree.write("go.sum", `example.org/x v1.0.0 h1:${"B".repeat(43)}=\nexample.org/x v1.0.0/go.mod h1:${h1}\n`);
  const mod = "/g/pkg/mod/cache/download/example.org/x/@v/v1.0.0.mod";
  const [source, other] = ["/g/pkg/mod/example.org/x@v1.0.0/x.go", "/g/pkg/mod/example.org/y@v1.0.0/y.go"];
  const claims = claimsOf(voucherOf(tree), [candidate(mod, content), candidate(source), candidate(other)]);
  expect(claims.get(mod)?.expected).toEqual({ algorithm: "sha256", hex: sha256(content) });
  expect(claims.get(source)).toEqual({
    kind: "lockfile",
    by: "golang",
    source: tree.at("go.sum"),
    package: "example.org/x",
    version: "v1.0.0",
  });
  expect(claims.get(other)?.refused).toBe("no lock file of the project names it");
  expect(claimsOf(voucherOf(tree), [candidate(mod, "module evil\n")]).get(mod)?.expected?.hex).not.toBe(sha256("module evil\n"));
});

describe("Python", () => {
  const base64 = (content: string) => Buffer.from(sha256(content), "hex").toString("base64url");

  test("installed files, by RECORD, if requirements name the package with a digest", async () => {
    using tree = new Tree();
    const site = "venv/lib/python3.11/site-packages";
    tree.write("requirements.txt", `Some_Package==1.0 --hash=sha256:${sha256("wheel")}\nbare==2.0\n`);
    tree.write(
      `${site}/some_package-1.0.dist-info/RECORD`,
      `some_package/a.py,sha256=${base64("a")},1\n"some_package/b,c.py",sha256=${base64("b")},1\nsome_package/__pycache__/a.pyc,,\n../../../bin/some,sha256=${base64("s")},1\n`,
    );
    tree.write(`${site}/bare-2.0.dist-info/RECORD`, `bare.py,sha256=${base64("bare")},4\n`);
    const files: [name: string, content: string][] = [
      [`${site}/bare.py`, "bare"],
      [`${site}/planted.pth`, "import evil"],
      [`${site}/some_package/__pycache__/a.pyc`, "code"],
      [`${site}/some_package/a.py`, "a"],
      [`${site}/some_package/b,c.py`, "changed"],
    ];
    const found = await judge(
      files.map(([name, content]) => inputOf(tree.write(name, content))),
      { workingDirectory: tree.path },
    );
    expect(found.counts).toEqual({ total: 5, git: 0, lockfile: 2, system: 0, nobody: 2, differs: 1 });
    expect(found.packages.map(({ package: name, match, files: count }) => [name, match, count])).toEqual([
      ["some-package", "digest", 1],
      ["some-package", "owner", 1],
    ]);
    expect(found.files.map(({ path, kind, note }) => [path.slice(tree.at(site).length + 1), kind, note ?? ""])).toEqual([
      ["bare.py", "nobody", "the lock file has no digest of it"],
      ["planted.pth", "nobody", ""],
      ["some_package/b,c.py", "differs", ""],
    ]);
  });

  test("RECORD as PEP 376 has it", () => {
    const rows = [
      ...parseRecord(Buffer.from(`a.py,sha256=${base64("a")},1\r\n"q""x,y.py",,\nmd5.py,md5=abc,3\n\nnot a row\n,,\n`)),
    ];
    expect(rows).toEqual([
      { path: "a.py", sha256: sha256("a") },
      { path: 'q"x,y.py', sha256: undefined },
      { path: "md5.py", sha256: undefined },
    ]);
  });
});

// -------------------------------------------------------------------------------------------------
// Archives

function tarBytes(files: [name: string, content: string, type?: string][]): Buffer {
  const parts = files.flatMap(([name, content, type = "0"]) => {
    const header = Buffer.alloc(512);
    header.write(name.slice(0, 100), 0, "latin1");
    header.write(Buffer.byteLength(content).toString(8).padStart(11, "0"), 124, "latin1");
    header.write(type, 156, "latin1");
    header.write("ustar", 257, "latin1");
    const body = Buffer.from(content);
    return [header, body, Buffer.alloc((512 - (body.length % 512)) % 512)];
  });
  return Buffer.concat([...parts, Buffer.alloc(1024)]);
}

describe("archives", () => {
  const everything = { has: () => true };
  const long = `package/${"d/".repeat(60)}x.js`;
  const record = (path: string) => `${`00 path=${path}\n`.length} path=${path}\n`;
  const rows: [name: string, tar: Buffer, found: Record<string, string>][] = [
    [
      "files of one directory",
      tarBytes([
        ["package/a", "1"],
        ["package/b/c", ""],
      ]),
      { a: "1", "b/c": "" },
    ],
    [
      "directories and links are none",
      tarBytes([
        ["package/", "", "5"],
        ["package/l", "", "2"],
        ["package/a", "1"],
      ]),
      { a: "1" },
    ],
    [
      "a file twice: the later one",
      tarBytes([
        ["package/a", "1"],
        ["package/a", "2"],
      ]),
      { a: "2" },
    ],
    [
      "long names of GNU",
      tarBytes([
        ["././@LongLink", `${long}\0`, "L"],
        ["cut", "1"],
        ["package/b", "2"],
      ]),
      { [long.slice(8)]: "1", b: "2" },
    ],
    [
      "long names of pax",
      tarBytes([
        ["PaxHeader", record(`package/${"y".repeat(50)}`), "x"],
        ["cut", "1"],
      ]),
      { ["y".repeat(50)]: "1" },
    ],
    [
      "a pax header without a length",
      tarBytes([
        ["PaxHeader", "nolength", "x"],
        ["package/a", "1"],
      ]),
      { a: "1" },
    ],
    [
      "headers for all are passed over",
      tarBytes([
        ["pax_global_header", "30 comment=x\n", "g"],
        ["package/a", "1"],
      ]),
      { a: "1" },
    ],
    ["a file outside of all directories", tarBytes([["a", "1"]]), {}],
    ["a size that is no number", Buffer.from(tarBytes([["package/a", "1"]])).fill("x", 124, 135), {}],
    ["a size beyond the end", Buffer.from(tarBytes([["package/a", "1"]])).fill("7", 124, 135), {}],
    ["nothing", Buffer.alloc(0), {}],
    ["half a header", Buffer.alloc(100, 1), {}],
  ];
  for (const [name, tar, found] of rows) {
    test(name, () => {
      const expected = Object.entries(found).map(([path, content]) => [path, sha256(content)] as [string, string]);
      expect([...(digestArchive(gzipSync(tar), everything) ?? [])]).toEqual(expected);
    });
  }

  test("what is no gzip, is cut off, or is too large when unpacked is none", () => {
    const good = gzipSync(tarBytes([["package/a", "1"]]));
    expect(digestArchive(Buffer.from("no gzip"), everything)).toBeUndefined();
    expect(digestArchive(good.subarray(0, -9), everything)).toBeUndefined();
    expect(digestArchive(gzipSync(Buffer.alloc(513 << 20)), everything)).toBeUndefined();
  });

  test("damaged archives are read as far as they go", () => {
    const random = seededRandom("archives");
    const tar = tarBytes([
      ["package/a", "1"],
      ["././@LongLink", `${long}\0`, "L"],
      ["cut", "1"],
      ["p", record("x/y"), "x"],
      ["z", "2"],
    ]);
    for (let round = 0; round < rounds; round++) {
      const bytes = mutated(tar, random);
      expect(digestArchive(gzipSync(bytes), everything), `seed ${seed}: ${bytes.toString("base64")}`).toBeDefined();
    }
  });

  test("there is room for so much, and the packages that changed last come first", () => {
    using tree = new Tree();
    const crates = ["old", "new"].map(name => {
      const crate = gzipSync(tarBytes([[`${name}-1.0.0/x`, "1"]]));
      tree.write(`h/registry/cache/i/${name}-1.0.0.crate`, crate);
      return `[[package]]\nname = "${name}"\nversion = "1.0.0"\nchecksum = "${sha256(crate)}"\n`;
    });
    tree.write("Cargo.lock", crates.join("\n"));
    const files = ["old", "new"].map((name, i) => ({
      ...candidate(tree.at(`h/registry/src/i/${name}-1.0.0/x`)),
      changedNs: BigInt(i),
    }));
    const claims = [...claimsOf(voucherOf(tree, { bytes: 3000 }), files).values()];
    expect(claims.map(({ package: name, expected }) => [name, expected !== undefined])).toEqual([
      ["new", true],
      ["old", false],
    ]);
  });
});

test("a lock file of more than its bound is not read, and that is noted", () => {
  using tree = new Tree();
  const lock = tree.write("package-lock.json", "");
  truncateSync(lock, 65 << 20);
  const sources = trusting();
  claimsOf(voucherOf(tree, { sources }), [tree.at("node_modules/a/x.js")]);
  expect(sources.notes).toEqual([`${lock} is not read: more than ${64 << 20} bytes`]);
});
