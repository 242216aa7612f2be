// Who vouches for the inputs of a real traced command, as the record and `cilock show` tell it.
import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdirSync, realpathSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { cilock, isRoot, type RunOptions, recordOf, run, Scratch } from "./harness.ts";
import { rpmHeader } from "./rpm-bytes.ts";
import { sha256 } from "./vouching.ts";

const inputs = z.object({
  summary: z.looseObject({
    totals: z.record(z.string(), z.int()),
    undeclaredInputs: z
      .object({ total: z.int(), git: z.int(), lockfile: z.int(), system: z.int(), nobody: z.int(), differs: z.int() })
      .optional(),
  }),
  undeclared: z
    .object({
      packages: z.array(
        z.looseObject({ kind: z.string(), by: z.string(), package: z.string(), match: z.string(), files: z.int() }),
      ),
      files: z.array(z.looseObject({ path: z.string(), kind: z.enum(["nobody", "differs"]) })),
      notes: z.array(z.string()).optional(),
    })
    .optional(),
});

async function traced(scratch: Scratch, script: string, options: RunOptions = {}): Promise<z.infer<typeof inputs>> {
  const ran = await run(scratch, ["sh", "-c", script], { trace: true, ...options });
  return inputs.parse(recordOf(ran).commandRun);
}

/** A work tree with these files committed. */
function repository(files: Record<string, string>): Scratch {
  const scratch = new Scratch();
  for (const [name, content] of Object.entries(files)) writeFileSync(join(scratch.work, name), content);
  const env = { ...process.env, GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_NOSYSTEM: "1" };
  const identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"];
  for (const words of [
    ["init", "-q"],
    ["add", "-A"],
    ["commit", "-q", "-m", "x"],
  ]) {
    const { status, stderr } = spawnSync("git", [...identity, ...words], { cwd: scratch.work, env });
    if (status !== 0) throw new Error(stderr.toString());
  }
  return scratch;
}

/** Only the files of the test: what the machine's own programs read besides is not ours to know. */
const below = (scratch: Scratch, found: z.infer<typeof inputs>): [string, string][] =>
  (found.undeclared?.files ?? [])
    .filter(({ path }) => path.startsWith(`${scratch.path}/`))
    .map(({ path, kind }) => [path.slice(scratch.path.length + 1), kind]);

const gitFiles = (found: z.infer<typeof inputs>): number | undefined => found.summary.undeclaredInputs?.git;

describe.skipIf(Bun.which("git") === null)("in a work tree", () => {
  test("what is committed, changed, and from nowhere", async () => {
    using scratch = repository({ a: "a", b: "b" });
    writeFileSync(join(scratch.work, "b"), "changed");
    writeFileSync(join(scratch.work, "new"), "new");
    writeFileSync(join(scratch.path, "outside"), "x");
    const found = await traced(scratch, "cat a b new ../outside > out; cat out");
    expect(gitFiles(found)).toBe(1);
    expect(below(scratch, found)).toEqual([
      ["outside", "nobody"],
      ["work/b", "differs"],
      ["work/new", "nobody"],
    ]);
    const counts = found.summary.undeclaredInputs;
    expect(counts && counts.git + counts.lockfile + counts.system + counts.nobody + counts.differs).toBe(counts?.total as number);
  });

  test("a build that declares its own file, or copies it into the tree, still has it from nowhere", async () => {
    using scratch = repository({ a: "a" });
    writeFileSync(join(scratch.path, "evil"), "evil");
    writeFileSync(join(scratch.work, "planted"), "planted");
    const found = await traced(scratch, "git add planted; cp ../evil copied; git add copied; cat a copied planted");
    expect(gitFiles(found)).toBe(1);
    expect(below(scratch, found).filter(([path]) => !path.includes(".git/"))).toEqual([
      ["evil", "nobody"],
      ["work/planted", "nobody"],
    ]);
  });

  test("the index as it was before, though git writes it again in every build", async () => {
    using scratch = repository({ a: "a" });
    const found = await traced(scratch, "touch a; git status > /dev/null; cat a");
    expect(gitFiles(found)).toBe(1);
  });

  test("show prints it from the record alone", async () => {
    using scratch = repository({ a: "a" });
    writeFileSync(join(scratch.path, "outside"), "x");
    await traced(scratch, "cat a ../outside");
    const shown = spawnSync(cilock(scratch), ["show", scratch.outfile, "--undeclared"], { encoding: "utf8", cwd: "/" });
    expect(shown.stdout).toContain(`      ${scratch.path}/outside\n`);
    expect(shown.stdout).toContain(`    git ${scratch.work}: 1 file\n`);
    expect(shown.status).toBe(0);
  });
});

test("files by class", async () => {
  using scratch = new Scratch();
  writeFileSync(join(scratch.work, "in"), "in");
  const script = "cat in > out; cat out > tmp; mkdir __pycache__; echo > __pycache__/x.pyc; rm tmp; echo > ../elsewhere";
  const { totals } = (await traced(scratch, script)).summary;
  // The scratch directory may be below /tmp, which is a cache to everybody outside of it.
  const outside = (totals.writtenElsewhere ?? 0) + (totals.cacheArtifacts ?? 0);
  expect([totals.products, totals.intermediates, outside]).toEqual([1, 1, 2]);
  expect(totals.materials).toBeGreaterThan(1);
});

describe("nobody is asked", () => {
  test("with --vouch no", async () => {
    using scratch = repository({ a: "a" });
    const found = await traced(scratch, "cat a", { args: ["--vouch", "no"] });
    expect([found.undeclared, found.summary.undeclaredInputs]).toEqual([undefined, undefined]);
    expect(found.summary.totals.materials).toBeGreaterThan(0);
  });

  test("without --trace", async () => {
    using scratch = repository({ a: "a" });
    const found = await traced(scratch, "cat a", { trace: false });
    expect([found.undeclared, found.summary.undeclaredInputs]).toEqual([undefined, undefined]);
  });
});

test.skipIf(!existsSync("/var/lib/dpkg/info"))("the shell is the system's", async () => {
  using scratch = new Scratch();
  const found = await traced(scratch, "exit 0", { args: ["--vouch", "full"] });
  const shell = realpathSync("/bin/sh");
  expect(found.undeclared?.files.map(({ path }) => path)).not.toContain(shell);
  expect(found.undeclared?.packages.filter(({ by, match }) => by === "dpkg" && match === "digest").length).toBeGreaterThan(1);
});

const busybox = Bun.which("busybox");
test.skipIf(!isRoot || busybox === null)("a root of its own has a database of its own, and it may be rpm's", async () => {
  using scratch = new Scratch();
  const root = join(scratch.path, "root");
  for (const name of ["bin", "usr/bin", "var/lib/rpm"]) mkdirSync(join(root, name), { recursive: true });
  copyFileSync(busybox ?? "", join(root, "bin/busybox"));
  chmodSync(join(root, "bin/busybox"), 0o755);
  for (const name of ["packaged", "changed", "foreign"]) writeFileSync(join(root, "usr/bin", name), name);
  {
    using database = new Database(join(root, "var/lib/rpm/rpmdb.sqlite"));
    database.run("CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT,blob BLOB NOT NULL)");
    const header = rpmHeader([
      [1000, 6, ["tools"]],
      [1001, 6, ["1"]],
      [1002, 6, ["2"]],
      [1035, 8, [sha256("packaged"), sha256("as packaged")]],
      [1116, 4, [0, 0]],
      [1117, 8, ["packaged", "changed"]],
      [1118, 8, ["/usr/bin/"]],
      [5011, 4, [8]],
    ]);
    database.run("INSERT INTO Packages (blob) VALUES (?)", [header]);
  }
  const found = await traced(scratch, `chroot ${root} /bin/busybox cat /usr/bin/packaged /usr/bin/changed /usr/bin/foreign`);
  expect(found.undeclared?.packages.filter(({ by }) => by === "rpm")).toMatchObject([
    { package: "tools", version: "1-2", match: "digest", files: 1 },
  ]);
  expect(below(scratch, found)).toEqual([
    ["root/bin/busybox", "nobody"],
    ["root/usr/bin/changed", "differs"],
    ["root/usr/bin/foreign", "nobody"],
  ]);
});
