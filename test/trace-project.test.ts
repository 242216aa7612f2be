// Real builds: a project with make, a generator, a library and a program; and `npm ci` of a small package. What strace sees of
// opened files is the measure: a record must have every one, with the digest of what is on disk.
import { describe, expect, test } from "bun:test";
import { chownSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { loaderOf, nobody, plainEnvironment, recordOf, run, Scratch, start, type User, users } from "./harness.ts";
import { gaps, type Record } from "./record.ts";
import { inconsistencies, sha256, sha256OfFile } from "./seen.ts";

const fixture = join(import.meta.dir, "fixtures", "project");
const has = (program: string) => Bun.which(program) !== null;
const canBuild = has("make") && has("cc") && has("ar");

for (const user of users) {
  describe.if(canBuild)(`make, as ${user}`, () => {
    test("every regular file that strace sees opened has the digest of what is on disk", async () => {
      using scratch = project(user);
      const record = await build(scratch);
      const problems: string[] = [];
      let checked = 0;
      const loader = loaderOf("/bin/sh");
      for (const [path, count] of has("strace") ? stracedOpens(scratch) : new Map<string, number>()) {
        const expected = sha256OfFile(path);
        if (expected === undefined || path.startsWith("/proc/")) continue; // gone (a temporary with a random name), or not regular
        checked++;
        const openers = record.processes.filter(entry => path in entry.openedfiles);
        // The kernel opens the loader of each dynamic program, which strace does not show.
        if (path === loader ? openers.length < count : openers.length !== count)
          problems.push(`${path}: opened by ${openers.length} processes, strace has ${count}`);
        for (const entry of openers) {
          // A process that saw several contents ends with the one that is on disk.
          const digest = entry.fileVersions[path]?.at(-1) ?? entry.openedfiles[path];
          if (digest?.sha256 !== expected) problems.push(`${path} in ${entry.program}: ${digest?.sha256}, on disk ${expected}`);
        }
      }
      expect(problems).toEqual([]);
      if (has("strace")) expect(checked).toBeGreaterThan(30);
    });

    test("programs and what they left", async () => {
      using scratch = project(user);
      const record = await build(scratch);
      for (const entry of record.processes) {
        if (!entry.program || !existsSync(entry.program)) continue;
        expect([entry.program, entry.programdigest?.sha256]).toEqual([entry.program, sha256(readFileSync(entry.program))]);
      }
      const generator = record.processes.find(entry => entry.program?.endsWith("/build/generate"));
      expect(generator?.exedigest?.sha256).toBe(sha256(readFileSync(join(scratch.work, "build/generate"))));
      expect(Object.keys(generator?.openedfiles ?? {})).toContain(join(scratch.work, "codes.txt"));
      for (const product of ["table.c", "table.o", "liblookup.a", "codes", "version.h"]) {
        const path = join(scratch.work, "build", product);
        const digests = record.processes.flatMap(entry => entry.writtenDigests[path]?.sha256 ?? []);
        expect([product, digests.at(-1)]).toEqual([product, sha256(readFileSync(path))]);
      }
      expect(gaps(record)).toEqual([]);
      expect(record.commandRun.completeness?.verdict).toBe("complete");
    });

    test("the same sequential build gives the same record, but for ids, times and temporary names", async () => {
      using scratch = project(user);
      const one = shape(await build(scratch));
      rmSync(join(scratch.work, "build"), { recursive: true });
      const two = shape(await build(scratch));
      expect(two).toEqual(one);
    });

    test("a failing build is recorded like any other", async () => {
      using scratch = project(user);
      writeFileSync(join(scratch.work, "program/main.c"), "not C\n");
      const ran = await run(scratch, ["make"], { trace: true });
      expect(recordOf(ran).commandRun.exitcode).toBe(2);
      expect(ran.status).toBe(2);
      expect(recordOf(ran).processes.some(entry => entry.comm === "cc1" && entry.exitcode === 1)).toBe(true);
    });
  });

  describe.if(has("npm"))(`npm ci, as ${user}`, () => {
    test("of a package with a dependency from a local tarball", async () => {
      using scratch = await npmProject(user);
      const child = start(scratch, ["npm", "ci", "--offline", "--no-audit", "--no-fund"], { trace: true });
      const ran = await child.end();
      const record = recordOf(ran);
      expect(ran.status).toBe(0);
      expect(inconsistencies(record, child.pid)).toEqual([]);
      expect(record.commandRun.completeness?.verdict).not.toBe("incomplete");
      const installed = join(scratch.work, "node_modules/local-dependency/index.js");
      const written = record.processes.flatMap(entry => entry.writtenDigests[installed]?.sha256 ?? []);
      expect(written).toContain(sha256(readFileSync(installed)));
      const tarball = join(scratch.work, "local-dependency-1.0.0.tgz");
      const read = record.processes.flatMap(entry => entry.openedfiles[tarball]?.sha256 ?? []);
      expect(read).toContain(sha256(readFileSync(tarball)));
      // What the package's install script wrote.
      const built = join(scratch.work, "node_modules/local-dependency/built.txt");
      expect(record.processes.flatMap(entry => entry.writtenDigests[built]?.sha256 ?? [])).toContain(
        sha256("built by the install script\n"),
      );
    });
  });
}

/** A copy of the fixture; the working directory of the scratch is the project. */
function project(user: User): Scratch {
  const scratch = new Scratch(user);
  cpSync(fixture, scratch.work, { recursive: true });
  rmSync(join(scratch.work, "build"), { recursive: true, force: true });
  giveTo(scratch);
  return scratch;
}

function giveTo(scratch: Scratch): void {
  if (scratch.user !== "nobody") return;
  for (const name of readdirSync(scratch.work, { recursive: true })) chownSync(join(scratch.work, String(name)), nobody, nobody);
}

async function build(scratch: Scratch): Promise<Record> {
  const child = start(scratch, ["make"], { trace: true });
  const ran = await child.end();
  const record = recordOf(ran);
  if (ran.status !== 0) throw new Error(`make failed: ${ran.stderr}`);
  expect(inconsistencies(record, child.pid)).toEqual([]);
  return record;
}

/** Path -> number of processes that opened it successfully, by strace, from the same sources in the same place. */
function stracedOpens(scratch: Scratch): Map<string, number> {
  rmSync(join(scratch.work, "build"), { recursive: true, force: true });
  const log = join(scratch.path, "strace.log");
  const words = [
    "strace",
    "-f",
    "-y",
    "-qq",
    "-s",
    "4096",
    "-e",
    "trace=open,openat,openat2,creat",
    "-e",
    "signal=none",
    "-o",
    log,
    "make",
  ];
  const straced = Bun.spawnSync(words, { cwd: scratch.work, env: plainEnvironment(scratch) });
  if (straced.exitCode !== 0) throw new Error(`strace make: ${straced.stderr.toString()}`);
  const byPath = new Map<string, Set<string>>();
  for (const line of readFileSync(log, "utf8").split("\n")) {
    const match = /^(\d+) .* = \d+<(\/.*?)>$/.exec(line);
    const [, pid, path] = match ?? [];
    if (pid === undefined || path === undefined) continue;
    byPath.set(path, (byPath.get(path) ?? new Set()).add(pid));
  }
  return new Map([...byPath].map(([path, pids]) => [path, pids.size]));
}

/** What must be equal in two runs: names that gcc makes up are replaced. */
function shape(record: Record): unknown[] {
  const stable = (path: string) =>
    path
      .replace(/\/tmp\/cc\w{6}/, "/tmp/ccXXXXXX")
      .replace(/\/proc\/\d+/, "/proc/N")
      .replace(/\/st\w{6}$/, "/stXXXXXX");
  return record.processes.map(entry => ({
    program: entry.program,
    argv: entry.argv?.map(stable),
    exit: entry.exitcode,
    opened: Object.keys(entry.openedfiles).map(stable),
    digests: Object.entries(entry.openedfiles)
      .filter(([path]) => stable(path) === path)
      .map(([path, digest]) => `${path} ${digest.sha256}`),
    written: Object.keys(entry.writtenDigests).map(stable),
    images: entry.images.map(image => image.program),
    events: entry.syscallEvents.map(event => event.syscall),
  }));
}

/** A package that depends on a tarball next to it, with an install script; the lock file is made here, untraced and offline. */
async function npmProject(user: User): Promise<Scratch> {
  const scratch = new Scratch(user);
  const source = join(scratch.path, "source");
  mkdirSync(source);
  writeFileSync(join(source, "index.js"), "module.exports = 42;\n");
  writeFileSync(join(source, "install.js"), 'require("node:fs").writeFileSync("built.txt", "built by the install script\\n");\n');
  const dependency = { name: "local-dependency", version: "1.0.0", scripts: { install: "node install.js" } };
  writeFileSync(join(source, "package.json"), JSON.stringify(dependency));
  npm(scratch, source, ["pack", "--pack-destination", scratch.work]);
  writeFileSync(join(scratch.work, "package.json"), JSON.stringify({ name: "small", version: "1.0.0", private: true }));
  npm(scratch, scratch.work, ["install", "--package-lock-only", "--offline", "--no-audit", "./local-dependency-1.0.0.tgz"]);
  rmSync(join(scratch.path, ".npm"), { recursive: true, force: true });
  giveTo(scratch);
  return scratch;
}

function npm(scratch: Scratch, directory: string, words: string[]): void {
  const node = dirname(Bun.which("npm") ?? "");
  const env = { ...plainEnvironment(scratch), PATH: `${node}:${plainEnvironment(scratch).PATH}` };
  const ran = Bun.spawnSync(["npm", ...words], { cwd: directory, env });
  if (ran.exitCode !== 0) throw new Error(`npm ${words.join(" ")}: ${ran.stderr.toString()}`);
}
