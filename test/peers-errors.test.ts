// What existing tracers of builds get wrong about files, by the numbers that their errors have in our notes: P of one that stops at
// system calls, E of one inside the kernel, A of what both make of it. Each is a build that they record wrongly.
import { describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { recordOf, run, Scratch, start, tracee, users } from "./harness.ts";
import { attestation, gaps, type ProcessEntry, type Record } from "./record.ts";
import { inconsistencies, parseLines, sha256, sha256OfFile, unseen } from "./seen.ts";

/** Those that have their test elsewhere. */
const elsewhere: [id: string, what: string, file: string, title: string][] = [
  [
    "P12",
    "bytes that were asked for, one entry for each write, few of the calls",
    "trace-detail",
    "every call that writes, with",
  ],
  ["P12", "the same", "trace-detail", "one entry for each process and file, also of files"],
  ["E6", "what is read through a map, or copied without read and write", "trace-outliving", '"mapped",'],
  ["E7", "products of make, cc and ar", "trace-project", "programs and what they left"],
];

test("those that have their test elsewhere have it there", () => {
  const missing = elsewhere.filter(
    ([, , file, title]) => !readFileSync(join(import.meta.dir, `${file}.test.ts`), "utf8").includes(title),
  );
  expect(missing).toEqual([]);
});

for (const user of users) {
  describe(`as ${user}`, () => {
    test("P3 relative paths are those of the process, not of the tracer: another file with that name is not meant", async () => {
      using scratch = new Scratch(user);
      const record = await traced(scratch, "mkdir sub; echo wrong >f; echo right >sub/f; cd sub; cat f; cat ../sub/./f");
      const cats = named(record, "cat");
      expect(cats.map(entry => ownFiles(scratch, entry))).toEqual([
        { "sub/f": sha256("right\n") },
        { "sub/f": sha256("right\n") },
      ]);
      expect(Object.keys(record.processes[0]?.openedfiles ?? {}).filter(path => !path.startsWith("/"))).toEqual([]);
    });

    test("P4 an open that fails is none, and what is written has the digest of what was left", async () => {
      using scratch = new Scratch(user);
      const record = await traced(scratch, "echo old >out; cat missing 2>/dev/null; printf new >out");
      expect(record.processes.filter(({ openedfiles }) => join(scratch.work, "missing") in openedfiles)).toEqual([]);
      expect(record.commandRun.summary.failedOpens).toBeGreaterThan(0);
      expect(record.processes[0]?.writtenDigests[join(scratch.work, "out")]?.sha256).toBe(sha256("new"));
    });

    test("P5 every process has digests, however deep", async () => {
      using scratch = new Scratch(user);
      // Each ends with a further command: a shell would become its last one.
      const record = await traced(scratch, "echo 1 >in; sh -c 'sh -c \"cat in >one; cat in >two; :\"; cat two; :'; :");
      expect(named(record, "cat").length).toBe(3);
      for (const { openedfiles, unhashedOpens, program } of record.processes) {
        const unhashed = new Set(unhashedOpens.map(({ path }) => path));
        const empty = Object.keys(openedfiles).filter(path => openedfiles[path]?.sha256 === undefined && !unhashed.has(path));
        expect([program, empty]).toEqual([program, []]);
      }
    });

    test("P6 a file that is rewritten and read again: each reader what it found, one that reads twice both", async () => {
      using scratch = new Scratch(user);
      const record = await traced(scratch, "echo one >f; cat f; read a <f; echo two >f; cat f; read a <f");
      expect(named(record, "cat").map(entry => ownFiles(scratch, entry))).toEqual([
        { f: sha256("one\n") },
        { f: sha256("two\n") },
      ]);
      const versions = record.processes[0]?.fileVersions[join(scratch.work, "f")]?.map(digest => digest.sha256);
      expect(versions).toEqual([sha256("one\n"), sha256("two\n")]);
    });

    test("P13 every call on names, modes, owners, times and lengths, with absolute paths, only where it has succeeded", async () => {
      using scratch = new Scratch(user);
      const ran = await run(scratch, [tracee("renames", scratch)], { trace: true });
      expect(ran.stderr).not.toContain("tracee:");
      const record = recordOf(ran);
      const ops = record.processes[0]?.fileOps;
      const below = (path: string) => path.replace(`${scratch.work}/`, "");
      const paths = (list: { path: string }[] = []) => list.map(({ path }) => below(path));
      const pairs = (list: { oldPath: string; newPath: string }[] = []) =>
        list.map(({ oldPath, newPath }) => `${below(oldPath)} ${below(newPath)}`);
      const modes = (list: { path: string; mode: number }[] = []) =>
        list.map(({ path, mode }) => `${below(path)} ${(mode & 0o777).toString(8)}`);
      expect(pairs(ops?.renames)).toEqual(["d/a d/b", "d/b d/c", "d/c d/e", "d/p d/q", "d/q d/p"]);
      expect(pairs(ops?.links)).toEqual(["d/e d/l1", "d/e d/l2"]);
      expect(ops?.symlinks.map(({ target, path }) => `${target} ${below(path)}`)).toEqual(["e d/s1", "e d/s2"]);
      expect(modes(ops?.mkdirs)).toEqual(["d 755", "d/m1 700", "d/m2 711"]);
      expect(modes(ops?.nodes)).toEqual(["d/n1 644", "d/n2 644"]);
      expect(modes(ops?.permChanges)).toEqual(["d/f 600", "d/f 755", "d/f 644"]);
      expect(paths(ops?.ownerChanges)).toEqual(["d/f", "d/s1", "d/f", "d/f"]);
      expect(paths(ops?.timeChanges)).toEqual(Array(5).fill("d/f"));
      expect(ops?.truncates.map(({ path, length }) => `${below(path)} ${length}`)).toEqual(["d/f 5", "d/f 3"]);
      expect(paths(ops?.deletes)).toEqual(["d/l1", "d/l2", "d/m1", "d/m2"]);
      expect(gaps(record)).toEqual([]);
    });

    test("P25 another content of the same size with the old mtime has another digest", async () => {
      using scratch = new Scratch(user);
      const record = await traced(
        scratch,
        "printf AAAA >f; touch -d @1000000000 f; cat f; printf BBBB >f; touch -d @1000000000 f; cat f",
      );
      expect(named(record, "cat").map(entry => ownFiles(scratch, entry))).toEqual([{ f: sha256("AAAA") }, { f: sha256("BBBB") }]);
    });

    test("E4 E5 a burst of files, each made by one short process and read by another: every digest, every one right", async () => {
      using scratch = new Scratch(user);
      const one = 'i=$1; while [ $i -lt 200 ]; do printf "number $i" | tee f$i >/dev/null; cat f$i >g$i; i=$((i + 2)); done';
      writeFileSync(join(scratch.work, "burst.sh"), `${one}\n`);
      const record = await traced(scratch, "sh burst.sh 0 & sh burst.sh 1 & wait");
      const [tees, cats] = [named(record, "tee"), named(record, "cat")];
      expect([tees.length, cats.length]).toEqual([200, 200]);
      const wrong: string[] = [];
      for (let i = 0; i < 200; i++) {
        const digest = sha256(`number ${i}`);
        const [f, g] = [join(scratch.work, `f${i}`), join(scratch.work, `g${i}`)];
        const isRight =
          tees.filter(({ writtenDigests }) => writtenDigests[f]?.sha256 === digest).length === 1 &&
          cats.filter(({ openedfiles }) => openedfiles[f]?.sha256 === digest).length === 1 &&
          // The shell opens what the redirection names, and hands the descriptor on.
          record.processes.filter(({ writtenDigests }) => writtenDigests[g]?.sha256 === digest).length === 1;
        if (!isRight) wrong.push(`${i}`);
      }
      expect(wrong).toEqual([]);
      expect(Object.keys(leaves(record, "product")).length).toBe(400);
    });

    test("E6 what is copied without read and write, what is written through a map, and what is outside of the directory", async () => {
      using scratch = new Scratch(user);
      mkdirSync(join(scratch.path, "elsewhere"));
      const outside = join(scratch.path, "elsewhere/input");
      writeFileSync(outside, "not in the directory\n");
      const ran = await run(scratch, ["sh", "-c", `cat ${outside} >copy; exec ${tracee("writers", scratch)}`], { trace: true });
      const record = recordOf(ran);
      expect(unseen(record, parseLines(ran.stdout))).toEqual([]);
      const [products, materials] = [leaves(record, "product"), leaves(record, "material")];
      for (const name of ["copy", "mapped", "copied", "sent", "spliced"])
        expect([name, products[name]]).toEqual([name, sha256OfFile(join(scratch.work, name))]);
      expect(materials[outside]).toBe(sha256("not in the directory\n"));
    });

    test.if(Bun.which("cc") !== null)("E7 what a linker leaves is a product, and is its linker's", async () => {
      using scratch = new Scratch(user);
      writeFileSync(join(scratch.work, "main.c"), "int main(void) { return 0; }\n");
      const record = await traced(scratch, "cc -c main.c && cc -o program main.o && ./program");
      expect(Object.keys(leaves(record, "product"))).toEqual(["main.o", "program"]);
      for (const [name, digest] of Object.entries(leaves(record, "product")))
        expect([name, digest]).toEqual([name, sha256OfFile(join(scratch.work, name)) ?? ""]);
      const linker = record.processes.find(({ comm }) => comm === "ld" || comm === "ld.bfd" || comm === "lld" || comm === "gold");
      expect(linker?.writtenDigests[join(scratch.work, "program")]?.sha256).toBe(sha256OfFile(join(scratch.work, "program")));
      expect(named(record, "program")[0]?.exedigest?.sha256).toBe(sha256OfFile(join(scratch.work, "program")));
    });

    test("A5 files of one content are all there, under each of their paths", async () => {
      for (const trace of [true, false]) {
        using scratch = new Scratch(user);
        for (const name of ["in1", "in2"]) writeFileSync(join(scratch.work, name), "same\n");
        const record = await traced(scratch, "cat in1 in2 >/dev/null; cp in1 out1; cp in2 out2; mkdir d; cp in1 d/out3", trace);
        const digest = sha256("same\n");
        expect(inside(leaves(record, "material"))).toEqual({ in1: digest, in2: digest });
        expect(leaves(record, "product")).toEqual({ "d/out3": digest, out1: digest, out2: digest });
        expect(attestation(record, "product").treeSize).toBe(1); // distinct contents, as the format has it
      }
    });

    test("A9 the same build has the same materials and products with a trace and without", async () => {
      const found: { [path: string]: string }[][] = [];
      for (const trace of [true, false]) {
        using scratch = new Scratch(user);
        mkdirSync(join(scratch.work, "src"));
        for (const name of ["in", "src/x"]) writeFileSync(join(scratch.work, name), `content of ${name}\n`);
        const command = `mkdir build; cat in "$PWD/src/x" >build/one; cd build; cp one "$OLDPWD/two"`;
        const record = await traced(scratch, command, trace);
        found.push([inside(leaves(record, "material")), leaves(record, "product")]);
      }
      expect(found[0]?.map(leaf => Object.keys(leaf))).toEqual([
        ["in", "src/x"],
        ["build/one", "two"],
      ]);
      expect(found[1]).toEqual(found[0] ?? []);
    });
  });
}

async function traced(scratch: Scratch, command: string, trace = true): Promise<Record> {
  const child = start(scratch, ["sh", "-c", command], { trace, args: trace ? ["--vouch", "no"] : [] });
  const ran = await child.end();
  const record = recordOf(ran);
  expect(ran.status).toBe(0);
  if (trace) {
    expect(inconsistencies(record, child.pid)).toEqual([]);
    expect(gaps(record)).toEqual([]);
    expect(record.commandRun.completeness?.verdict).toBe("complete");
  }
  return record;
}

const named = (record: Record, comm: string): ProcessEntry[] => record.processes.filter(entry => entry.comm === comm);

/** What a process has opened below the working directory. */
function ownFiles(scratch: Scratch, { openedfiles }: ProcessEntry): { [path: string]: string | undefined } {
  const prefix = `${scratch.work}/`;
  const own = Object.entries(openedfiles).filter(([path]) => path.startsWith(prefix));
  return Object.fromEntries(own.map(([path, digest]) => [path.slice(prefix.length), digest.sha256]));
}

function leaves(record: Record, name: "material" | "product"): { [path: string]: string } {
  const found = attestation(record, name).leaves;
  if (!Array.isArray(found)) return {};
  const list = found.map((leaf: { path: string; fileDigest: string }) => [leaf.path, leaf.fileDigest] as const);
  return Object.fromEntries(list.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Those in the working directory: what a shell loads is no matter of the test. */
const inside = (found: { [path: string]: string }): { [path: string]: string } =>
  Object.fromEntries(Object.entries(found).filter(([path]) => !path.startsWith("/")));
