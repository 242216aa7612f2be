// The directories of a run are moved, replaced or gone: the record gets where it was to be, or the run says where it is.
import { describe, expect, test } from "bun:test";
import { chownSync, existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { cilock, nobody, plainEnvironment, recordOf, run, Scratch, users } from "./harness.ts";
import { gaps, openRecord } from "./record.ts";

function directory(scratch: Scratch, name: string): string {
  const path = join(scratch.work, name);
  mkdirSync(path);
  if (scratch.user === "nobody") chownSync(path, nobody, nobody);
  return path;
}

for (const user of users) {
  describe(`as ${user}`, () => {
    const rows: { name: string; build: string; at?: string; said: RegExp }[] = [
      {
        name: "renamed",
        build: "mv out elsewhere",
        at: "elsewhere",
        said: /is .*\/elsewhere\/record\.json: its directory was moved/,
      },
      { name: "renamed and replaced", build: "mv out elsewhere; mkdir out", at: "elsewhere", said: /elsewhere\/record\.json/ },
      { name: "removed", build: "rm -r out", at: "out", said: /was removed while the command ran/ },
      { name: "removed and made again", build: "rm -r out; mkdir out", at: "out", said: /was removed while the command ran/ },
      { name: "replaced by a link", build: "rm -r out; ln -s other out", said: /cannot write .*its path leads elsewhere/ },
    ];
    test.each(rows)("the outfile's directory is $name", async ({ build, at, said }) => {
      using scratch = new Scratch(user);
      directory(scratch, "out");
      const other = directory(scratch, "other");
      const ran = await run(scratch, ["/bin/sh", "-c", `${build}; exit 3`], { args: ["-o", "out/record.json"] });
      expect(ran.stderr).toMatch(said);
      expect(ran.status).toBe(at === undefined ? 125 : 3);
      expect(readdirSync(other)).toEqual([]);
      if (at === undefined) return;
      expect(readdirSync(join(scratch.work, at))).toEqual(["record.json"]);
      expect(openRecord(join(scratch.work, at, "record.json"), scratch.publicPem).commandRun.exitcode).toBe(3);
      if (at !== "out" && existsSync(join(scratch.work, "out"))) expect(readdirSync(join(scratch.work, "out"))).toEqual([]);
    });

    for (const trace of [true, false]) {
      test(`the working directory is gone before we start, ${trace ? "traced" : "untraced"}`, async () => {
        using scratch = new Scratch(user);
        const before = ["/bin/sh", "-c", 'mkdir gone && cd gone && rmdir ../gone && exec "$@"', "sh"];
        const ran = await run(scratch, ["readlink", "/proc/self/cwd"], { trace, before });
        expect(ran.stdout.toString()).toBe(`${scratch.work}/gone (deleted)\n`);
        expect(ran.status).toBe(0);
        const record = recordOf(ran);
        if (trace) expect(gaps(record)).toEqual([]);
        if (trace) expect(record.processes[0]?.cwd).toStartWith(`${scratch.work}/gone`);
      });
    }
  });
}

test("what cannot be said to a closed stdout is said before the command starts", () => {
  for (const flag of ["-o -", "--json", "-o /dev/stdout", "-o /dev/fd/1"]) {
    using scratch = new Scratch();
    const script = `exec "$0" run --step s -k "$1" ${flag} -- touch ran >&-`;
    const ran = Bun.spawnSync(["/bin/sh", "-c", script, cilock(scratch), scratch.keyPath], {
      cwd: scratch.work,
      env: plainEnvironment(scratch),
    });
    expect(ran.stderr.toString()).toMatch(/cannot write to stdout: it is closed/);
    expect(ran.exitCode).toBe(125);
    expect(readdirSync(scratch.work)).toEqual([]);
  }
});

test("other commands run in a directory that is gone", () => {
  using scratch = new Scratch();
  const script = 'mkdir gone && cd gone && rmdir ../gone && exec "$0" keyid "$1"';
  const ran = Bun.spawnSync(["/bin/sh", "-c", script, cilock(scratch), scratch.keyPath], {
    cwd: scratch.work,
    env: plainEnvironment(scratch),
  });
  expect([ran.stderr.toString(), ran.exitCode]).toEqual(["", 0]);
});
