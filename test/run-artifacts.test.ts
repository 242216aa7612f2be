// Materials and products of the same build with and without a trace, and of steps that follow one another: equal paths, equal
// digests. What the flags choose from them.
import { describe, expect, test } from "bun:test";
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { cilock, isRoot, nobody, type Ran, recordOf, run, Scratch, start, tracee, type User, users } from "./harness.ts";
import { attestation, gaps, type Record } from "./record.ts";
import { sha256 } from "./seen.ts";

type Leaves = { [path: string]: string };

function leaves(record: Record, name: "material" | "product"): Leaves {
  const found = (attestation(record, name).leaves ?? []) as { path: string; fileDigest: string }[];
  return Object.fromEntries(
    found.map(({ path, fileDigest }) => [path, fileDigest] as const).sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}

/** Those in the working directory: what a shell loads is no matter of the test. */
function inside(found: Leaves): Leaves {
  return Object.fromEntries(Object.entries(found).filter(([path]) => !path.startsWith("/")));
}

/** Files as `prepare` leaves them, by the user who builds. */
function prepared(user: User, prepare: string): Scratch {
  const scratch = new Scratch(user);
  const identity = user === "nobody" ? { uid: nobody, gid: nobody } : {};
  const made = Bun.spawnSync(["sh", "-ec", prepare], { cwd: scratch.work, ...identity });
  if (made.exitCode !== 0) throw new Error(made.stderr.toString());
  return scratch;
}

async function build(
  scratch: Scratch,
  command: string,
  trace: boolean,
  args: string[] = [],
): Promise<{ ran: Ran; record: Record }> {
  const ran = await run(scratch, ["sh", "-c", command], { trace, args: ["--vouch", "no", ...args].slice(trace ? 0 : 2) });
  expect(ran.status).toBe(0);
  return { ran, record: recordOf(ran) };
}

// ---------------------------------------------------------------------------------------------
// The same build, with and without

interface Row {
  name: string;
  prepare?: string;
  command: string;
  /** In the working directory, by both ways. */
  products: string[];
  /** With a trace. Without one it is all that was there. */
  materials: string[];
  /** A gap of the traced record. */
  gap?: string;
}

const rows: Row[] = [
  {
    name: "read, changed, made, and not touched",
    prepare: "echo 1 >read; echo 2 >untouched; echo 3 >changed; mkdir d",
    command: "cat read >d/out; echo x >>changed",
    products: ["changed", "d/out"],
    materials: ["read"],
  },
  {
    name: "read and then changed: what was read is the material, what was left the product",
    prepare: "echo 1 >both",
    command: "read -r line <both; echo 2 >both",
    products: ["both"],
    materials: ["both"],
  },
  { name: "the same content written again", prepare: "echo 1 >same", command: "echo 1 >same", products: ["same"], materials: [] },
  { name: "what was made and read again is no material", command: "echo 1 >a; cat a >b", products: ["a", "b"], materials: [] },
  { name: "what was made and removed", command: "echo 1 >a; cat a >b; rm a", products: ["b"], materials: [] },
  { name: "renamed into place", command: "echo 1 >tmp; mv tmp out", products: ["out"], materials: [] },
  {
    name: "renamed over what was there",
    prepare: "echo 0 >out",
    command: "echo 1 >tmp; mv tmp out",
    products: ["out"],
    materials: [],
  },
  { name: "in a directory that is renamed", command: "mkdir a; echo 1 >a/x; mv a b", products: ["b/x"], materials: [] },
  { name: "another name for what was there", prepare: "echo 1 >a", command: "ln a b", products: ["b"], materials: [] },
  { name: "a new name for what was there", prepare: "echo 1 >a", command: "mv a b", products: ["b"], materials: [] },
  {
    name: "new names for all that is in a directory",
    prepare: "mkdir -p a/c; echo 1 >a/c/x",
    command: "mv a b; mv b/c d; mkdir e; mv d e/d",
    products: ["e/d/x"],
    materials: [],
  },
  {
    name: "a name that was made and taken away again",
    prepare: "echo 1 >a",
    command: "ln a b; rm b; mv a c; mv c a",
    products: [],
    materials: [],
  },
  {
    name: "links to what was made, to what was there, and to nothing",
    prepare: "echo 1 >old; mkdir dir; echo 2 >dir/x",
    command: "echo 1 >new; ln -s new l1; ln -s old l2; ln -s dir l3; ln -s nothing l4",
    products: ["l1", "l2", "l3/x", "new"],
    materials: [],
  },
  {
    name: "through a link that was there",
    prepare: "mkdir real; ln -s real link; echo 1 >real/in",
    command: "cat link/in >link/out",
    products: ["link/out", "real/out"],
    materials: ["real/in"],
  },
  {
    name: "opened for writing and left alone",
    prepare: "echo 1 >lock; echo 2 >log; : >empty; sleep 0.1",
    command: "exec 3<>lock 4>>log 5>>empty; exec 3>&- 4>&- 5>&-",
    products: [],
    materials: ["lock"],
  },
  {
    name: "changed in its place, and read only then: what it held before is not known",
    prepare: "echo 1 >db",
    command: "exec 3<>db; echo 22 >&3; exec 3>&-; cat db",
    products: ["db"],
    materials: [],
  },
  { name: "only its mode", prepare: "echo 1 >a", command: "chmod 600 a", products: [], materials: [] },
  { name: "truncated by name", prepare: "echo 1 >a", command: "truncate -s 1 a", products: ["a"], materials: [] },
  { name: "empty", command: ": >a; touch b", products: ["a", "b"], materials: [] },
  {
    name: "changed again by another process, under another name",
    command: "echo 1 >a; ln a b; echo 2 >>b; mv b c",
    products: ["a", "c"],
    materials: [],
  },
  {
    name: "a mode that lets nobody read it, set after its writer's end",
    command: "echo 1 >a; chmod 0 a; chmod 600 a",
    products: ["a"],
    materials: [],
  },
  {
    name: "a name with a backslash and a newline",
    command: "echo 1 >'a\\b'; echo 2 >'c\nd'",
    products: ["a\\\\b", "c\nd"],
    materials: [],
  },
];

for (const user of users) {
  describe(`as ${user}`, () => {
    for (const row of rows) {
      test(row.name, async () => {
        const results: { products: Leaves; materials: Leaves }[] = [];
        for (const trace of [true, false]) {
          using scratch = prepared(user, row.prepare ?? ":");
          const { record } = await build(scratch, row.command, trace);
          const products = leaves(record, "product");
          const materials = leaves(record, "material");
          expect([trace, Object.keys(products)]).toEqual([trace, row.products]);
          if (trace) {
            expect(Object.keys(inside(materials))).toEqual(row.materials);
            expect(Object.keys(materials).some(path => path.startsWith("/"))).toBe(true); // the shell
            expect(gaps(record)).toEqual(row.gap === undefined ? [] : [row.gap]);
          }
          for (const [path, digest] of Object.entries(products)) {
            const name = path.replaceAll("\\\\", "\\");
            expect(`${path} ${digest}`).toBe(`${path} ${sha256(readFileSync(join(scratch.work, name)))}`);
          }
          results.push({ products, materials });
        }
        const [traced, walked] = results;
        expect(traced?.products).toEqual(walked?.products ?? {});
        expect(walked?.materials).toMatchObject(inside(traced?.materials ?? {}));
      });
    }

    test("what was there and is not read is no gap, whether we could have read it or not", async () => {
      using scratch = prepared(user, "mkdir closed; echo 1 >closed/x; echo 2 >secret; chmod 0 secret closed");
      const { ran, record } = await build(scratch, "echo 1 >out", true);
      expect(gaps(record)).toEqual([]);
      expect(ran.stderr).not.toContain("not among the recorded files");
      expect(Object.keys(leaves(record, "product"))).toEqual(["out"]);
    });

    test("a product that nobody may read: its writer's digest stands, if nothing has happened since; else it is a gap", async () => {
      using scratch = prepared(user, ":");
      const { ran, record } = await build(
        scratch,
        "(umask 777; echo 1 >never); echo 2 >kept; chmod 0 kept; sh -c 'echo 3 >lost'; chmod 200 lost; echo 4 >>lost",
        true,
      );
      const isRead = user === "self" && isRoot;
      const found = leaves(record, "product");
      expect(found.kept).toBe(sha256("2\n"));
      expect([found.never, found.lost]).toEqual(isRead ? [sha256("1\n"), sha256("3\n4\n")] : [undefined, undefined]);
      expect(gaps(record)).toEqual(isRead ? [] : ["unlisted-files", "unreadable-file"]);
      expect(ran.stderr.includes("not among the recorded files after the command: lost (EACCES)")).toBe(!isRead);
    });
  });
}

test("the digests of a product are those that its last writer left, in every algorithm", async () => {
  using scratch = prepared("self", ":");
  const { record } = await build(scratch, "echo hello >a", true, ["--hashes", "sha256,sha1,gitoid:sha1"]);
  expect(record.subjects.find(({ name }) => name.endsWith("/file:a"))?.digest).toEqual({
    sha256: "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
    sha1: "f572d396fae9206628714fb2ce00f72e94f2258f",
    "gitoid:sha1": "gitoid:blob:sha1:ce013625030ba8dba906f756967f9e9ca394464a",
  });
});

test("a program in memory that the build has made is no material", async () => {
  using scratch = prepared("self", ":");
  const { record } = await build(scratch, `${tracee("exec-kinds", scratch)} >/dev/null`, true);
  expect(JSON.stringify(record.processes)).toContain('"/memfd:in-memory"');
  expect(Object.keys(leaves(record, "material")).filter(path => path.includes("memfd"))).toEqual([]);
});

/** Whether the process has the file open. */
function holds(pid: number, path: string): boolean {
  return readdirSync(`/proc/${pid}/fd`).some(number => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${number}`) === path;
    } catch {
      return false; // closed meanwhile
    }
  });
}

// Only root may look into our processes.
test.if(isRoot)(
  "what somebody outside has changed since is recorded as it is at the end, and is no product if the build had not written it",
  async () => {
    using scratch = prepared("self", "echo 0 >other");
    const command = "sh -c 'echo 1 >a'; : >ready; until [ -e go ]; do :; done";
    const child = start(scratch, ["sh", "-c", command], { trace: true, args: ["--vouch", "no"] });
    while (!existsSync(join(scratch.work, "ready"))) await Bun.sleep(5);
    while (holds(child.pid, join(scratch.work, "a"))) await Bun.sleep(5); // until it is digested
    writeFileSync(join(scratch.work, "a"), "9\n"); // as long as what was there
    for (const name of ["other", "new", "go"]) writeFileSync(join(scratch.work, name), "9\n");
    const record = recordOf(await child.end());
    expect(record.processes.flatMap(entry => entry.writtenDigests[join(scratch.work, "a")]?.sha256 ?? [])).toEqual([
      sha256("1\n"),
    ]);
    expect(leaves(record, "product")).toEqual({ a: sha256("9\n"), ready: sha256("") });
  },
);

test.if(isRoot && Bun.which("unshare") !== null)("what was written under another name in a mount namespace", async () => {
  using scratch = prepared("self", "mkdir seen unseen");
  const command = `unshare -m sh -ec 'mount --bind seen unseen; echo 1 >unseen/out; mount -t tmpfs none seen; echo 2 >seen/gone'`;
  const { record } = await build(scratch, command, true);
  expect(leaves(record, "product")).toEqual({ "seen/out": sha256("1\n") });
});

// ---------------------------------------------------------------------------------------------
// Steps

for (const user of users) {
  test(`the product of one step is the material of the next, as ${user}`, async () => {
    using scratch = prepared(user, "mkdir src; echo 'int x;' >src/x.c; echo notes >README");
    const first = await build(
      scratch,
      "mkdir build; tr a-z A-Z <src/x.c >build/x.o; cp build/x.o tmp; mv tmp build/lib.a; rm build/x.o",
      true,
    );
    const second = await build(scratch, "mkdir dist; cat build/lib.a README >dist/pkg; ln -s dist/pkg latest", true);
    const third = await build(scratch, "cmp -s latest dist/pkg", true);
    expect(Object.keys(leaves(first.record, "product"))).toEqual(["build/lib.a"]);
    expect(inside(leaves(first.record, "material"))).toEqual({ "src/x.c": sha256("int x;\n") });
    const shared = leaves(second.record, "material");
    expect(shared).toMatchObject(leaves(first.record, "product"));
    expect(Object.keys(inside(shared))).toEqual(["README", "build/lib.a"]);
    expect(leaves(second.record, "product")).toMatchObject(inside(leaves(third.record, "material")));
    for (const { record } of [first, second, third]) expect(record.commandRun.completeness?.verdict).toBe("complete");
  });
}

test("verify finds a product of a traced run by its file, and not what the build has not made", async () => {
  using scratch = prepared("self", "echo 1 >in; echo 2 >other");
  await build(scratch, "cat in >out", true);
  const publicKey = join(scratch.path, "key.pub");
  await Bun.write(publicKey, scratch.publicPem);
  const verify = (file: string) =>
    Bun.spawnSync([cilock(), "verify", scratch.outfile, "-k", publicKey, "-f", file], { cwd: scratch.work });
  expect(verify("out").exitCode).toBe(0);
  const refused = verify("in");
  // Equal contents are equal to verify: `out` has those of `in`.
  expect(refused.exitCode).toBe(0);
  expect(verify("other").exitCode).toBe(3);
  expect(verify("other").stdout.toString() + verify("other").stderr.toString()).not.toContain("only the material");
});

// ---------------------------------------------------------------------------------------------
// Flags

const flags: { name: string; args: string[]; products: string[]; tracedOnly?: true }[] = [
  { name: "none", args: [], products: ["a.o", "bin/app", "bin/app.map"] },
  {
    name: "include: * is any text, slashes too",
    args: ["--attestor-product-include-glob", "bin*"],
    products: ["bin/app", "bin/app.map"],
  },
  { name: "include: one of several", args: ["--attestor-product-include-glob", "{*.o,*.map}"], products: ["a.o", "bin/app.map"] },
  { name: "exclude", args: ["--attestor-product-exclude-glob", "*.{o,map}"], products: ["bin/app"] },
  {
    name: "exclude counts more than include",
    args: ["--attestor-product-include-glob", "bin/*", "--attestor-product-exclude-glob", "*.map"],
    products: ["bin/app"],
  },
  {
    name: "product-glob: outside too",
    args: ["--product-glob", "*/elsewhere/*"],
    products: ["OUT/x", "a.o", "bin/app", "bin/app.map"],
    tracedOnly: true,
  },
  {
    name: "product-glob counts more than include, and less than exclude",
    args: ["--product-glob", "*/x,*/app", "--attestor-product-include-glob", "*.o", "--attestor-product-exclude-glob", "*/x"],
    products: ["a.o", "bin/app"],
    tracedOnly: true,
  },
  { name: "dirhash-glob", args: ["--dirhash-glob", "bin"], products: ["a.o", "bin/"] },
  { name: "dirhash-glob: the working directory itself", args: ["--dirhash-glob", "*"], products: ["./"] },
  {
    name: "dirhash-glob and exclude",
    args: ["--dirhash-glob", "b{in,ar}", "--attestor-product-exclude-glob", "bin/"],
    products: ["a.o"],
  },
];
const made = "mkdir -p bin ../elsewhere; echo 1 >a.o; echo 2 >bin/app; echo 3 >bin/app.map; echo 4 >../elsewhere/x";

describe("flags", () => {
  for (const { name, args, products, tracedOnly } of flags) {
    for (const trace of tracedOnly ? [true] : [true, false]) {
      test(`${name}, ${trace ? "with" : "without"} a trace`, async () => {
        using scratch = prepared("self", ":");
        const { record } = await build(scratch, made, trace, args);
        const outside = `${scratch.path}/elsewhere`;
        const found = Object.keys(leaves(record, "product")).map(path => path.replace(outside, "OUT"));
        expect(found).toEqual(products);
      });
    }
  }

  test("the hash of a directory is that of Go's dirhash, before and after", async () => {
    for (const trace of [true, false]) {
      using scratch = prepared(
        "self",
        "mkdir -p d/sub other; echo 1 >d/a; echo 2 >d/sub/b; ln -s a d/link; ln -s sub d/dir; echo 3 >other/x",
      );
      const { record } = await build(scratch, "cat d/a; rm d/sub/b; echo 4 >d/new", trace, ["--dirhash-glob", "{d,other}"]);
      const hash = (lines: [text: string, name: string][]) =>
        sha256(lines.map(([text, name]) => `${sha256(text)}  ${name}\n`).join(""));
      const before = hash([["1\n", "a"], ["1\n", "link"], ["2\n", "sub/b"]]); // biome-ignore format: a table
      const after = hash([["1\n", "a"], ["1\n", "link"], ["4\n", "new"]]); // biome-ignore format: a table
      const materials = inside(leaves(record, "material"));
      expect(materials).toEqual(trace ? { "d/": before } : { "d/": before, "other/": hash([["3\n", "x"]]) });
      expect(leaves(record, "product")).toEqual({ "d/": after });
      expect(record.subjects.find(({ name }) => name.endsWith("/dir:d/"))?.digest).toEqual({ dirHash: after });
    }
  });

  test("a directory with a file that cannot be read is not one entry", async () => {
    if (!isRoot) return;
    using scratch = prepared("nobody", "mkdir d; echo 1 >d/a; echo 2 >d/b; chmod 0 d/b; echo 3 >d/c");
    const { record } = await build(scratch, "cat d/a >d/c", true, ["--dirhash-glob", "d"]);
    expect(inside(leaves(record, "material"))).toEqual({ "d/a": sha256("1\n") });
    expect(leaves(record, "product")).toEqual({ "d/c": sha256("1\n") });
    expect(gaps(record)).toEqual(["unlisted-files"]);
  });

  test("a cache is a label", async () => {
    const rows: [args: string[], caches: string[]][] = [
      [[], ["__pycache__/x.pyc"]],
      [
        ["--cache-add-pattern", "{*.o,bin/**}"],
        ["__pycache__/x.pyc", "a.o", "bin/app"],
      ],
      [["--cache-allow-pattern", "**/*.pyc"], []],
      [["--cache-disable-defaults", "--cache-add-pattern", "a.*"], ["a.o"]],
    ];
    for (const [args, caches] of rows) {
      using scratch = prepared("self", ":");
      const { record } = await build(
        scratch,
        "mkdir bin __pycache__; echo 1 >a.o; echo 2 >bin/app; echo 3 >__pycache__/x.pyc",
        true,
        args,
      );
      const found = attestation(record, "product").leaves as { path: string; cache?: boolean }[];
      expect(found.map(({ path }) => path).sort()).toEqual(["__pycache__/x.pyc", "a.o", "bin/app"]);
      expect(
        found
          .filter(({ cache }) => cache)
          .map(({ path }) => path)
          .sort(),
      ).toEqual(caches);
      expect(record.commandRun.summary.totals).toMatchObject(caches.length === 3 ? {} : { products: 3 - caches.length });
    }
  });

  test("a variable that names a cache, and --cache-disable-env-probe", async () => {
    for (const probe of [true, false]) {
      using scratch = prepared("self", ":");
      mkdirSync(join(scratch.path, "kept"));
      if (scratch.user === "nobody") chownSync(join(scratch.path, "kept"), nobody, nobody);
      const args = ["--cache-disable-defaults", ...(probe ? [] : ["--cache-disable-env-probe"])];
      const env = { PATH: process.env.PATH ?? "", GOCACHE: join(scratch.path, "kept") };
      const ran = await run(scratch, ["sh", "-c", "echo 1 >../kept/x"], { trace: true, args, env });
      expect(recordOf(ran).commandRun.summary.totals).toMatchObject(probe ? { cacheArtifacts: 1 } : { writtenElsewhere: 1 });
    }
  });

  const refused: [args: string[], message: RegExp][] = [
    [["--product-glob", "x"], /--product-glob needs --trace/],
    [["--cache-add-pattern", "x"], /--cache-add-pattern needs --trace/],
    [["--cache-disable-defaults"], /--cache-disable-defaults needs --trace/],
    [["--attestor-product-include-glob", "[a"], /--attestor-product-include-glob is no pattern: a \[ is not closed/],
    [["--dirhash-glob", "{a"], /--dirhash-glob is no pattern: a \{ is not closed/],
    [["--trace", "--cache-add-pattern", "[a"], /--cache-add-pattern is no pattern/],
  ];
  for (const [args, message] of refused) {
    test(`refused: ${args.join(" ")}`, async () => {
      using scratch = prepared("self", ":");
      const ran = await run(scratch, ["true"], { args });
      expect(ran.stderr).toMatch(message);
      expect(ran.status).toBe(2);
    });
  }
});

test("our own files are neither, also where the build reads them", async () => {
  using scratch = prepared("self", ":");
  await Bun.write(join(scratch.work, "key.pem"), Bun.file(scratch.keyPath));
  await Bun.write(join(scratch.work, "old.json"), "{}");
  const args = ["-k", join(scratch.work, "key.pem"), "-o", join(scratch.work, "old.json"), "--vouch", "no"];
  const ran = await run(scratch, ["sh", "-c", "cat key.pem old.json >/dev/null; ln key.pem k; ln -s old.json o; echo 1 >x"], {
    trace: true,
    args,
  });
  expect(ran.status).toBe(0);
  rmSync(scratch.outfile, { force: true });
  const { predicate } = JSON.parse(
    Buffer.from(JSON.parse(readFileSync(join(scratch.work, "old.json"), "utf8")).payload, "base64").toString(),
  );
  const paths = (name: string): string[] =>
    (predicate.attestations.find((one: { type: string }) => one.type.includes(`/${name}/`)).attestation.leaves ?? []).map(
      (leaf: { path: string }) => leaf.path,
    );
  expect(paths("product")).toEqual(["x"]);
  expect(paths("material").filter(path => !path.startsWith("/"))).toEqual([]);
  expect(statSync(join(scratch.work, "k")).size).toBeGreaterThan(0);
});
