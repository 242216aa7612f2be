// What is executed without a call that names it, and what is executed by a name that leads elsewhere a moment later.
import { describe, expect, test } from "bun:test";
import { chmodSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { loaderOf, recordOf, run, Scratch, start, tracee, users } from "./harness.ts";
import { gaps, type Record } from "./record.ts";
import { inconsistencies, sha256 } from "./seen.ts";

function makeProgram(scratch: Scratch, name: string, content: string | Buffer): string {
  const path = join(scratch.work, name);
  writeFileSync(path, content);
  chmodSync(path, 0o755);
  return path;
}

const digestOf = (path: string) => sha256(readFileSync(path));

async function traced(scratch: Scratch, command: string[]) {
  const child = start(scratch, command, { trace: true });
  const ran = await child.end();
  expect(ran.stderr).not.toContain("tracee:");
  const record = recordOf(ran);
  expect(inconsistencies(record, child.pid)).toEqual([]);
  return record;
}

for (const user of users) {
  describe(`as ${user}`, () => {
    test("the loader of a dynamic program and each script of a chain are opened by the kernel", async () => {
      using scratch = new Scratch(user);
      const shell = realpathSync("/bin/sh");
      const loader = loaderOf(shell);
      const last = makeProgram(scratch, "last", "#!/bin/sh\nexit 0\n");
      const middle = makeProgram(scratch, "middle", `#!${last}\n`);
      const first = makeProgram(scratch, "first", `#! ${middle} option\n`);
      const record = await traced(scratch, [first]);
      const [entry] = record.processes;
      expect(entry?.programdigest?.sha256).toBe(digestOf(first));
      expect(entry?.exedigest?.sha256).toBe(digestOf(shell));
      for (const path of [middle, last, ...(loader === undefined ? [] : [loader])]) {
        expect([path, entry?.openedfiles[path]?.sha256]).toEqual([path, digestOf(path)]);
      }
      expect(entry?.openedfiles[first]).toBeUndefined();
      expect(gaps(record)).toEqual([]);
    });

    test("the loader of a dynamic program is code of the build's own", async () => {
      using scratch = new Scratch(user);
      const shell = realpathSync("/bin/sh");
      const loader = loaderOf(shell);
      if (loader === undefined) return; // a static shell
      const named = "./own-loader";
      const bytes = readFileSync(shell);
      const at = bytes.indexOf("/lib");
      bytes.fill(0, at, bytes.indexOf(0, at));
      bytes.write(named, at, "latin1");
      const program = makeProgram(scratch, "program", bytes);
      const own = makeProgram(scratch, "own-loader", readFileSync(tracee("exec-race", scratch)));
      const record = await traced(scratch, [program, "script-"]);
      const [entry] = record.processes;
      expect(entry?.exedigest?.sha256).toBe(digestOf(program));
      expect(entry?.openedfiles[own]?.sha256).toBe(digestOf(own));
      expect(entry?.exitcode ?? 0).toBe(0);
      expect(gaps(record)).toEqual([]);
    });

    test("a script that is executed by its descriptor", async () => {
      using scratch = new Scratch(user);
      const script = makeProgram(scratch, "script", "#!/bin/sh\nexit 3\n");
      const ran = await run(scratch, [tracee("fexecve", scratch), script], { trace: true });
      expect(ran.status).toBe(3);
      const [entry] = recordOf(ran).processes;
      expect(entry?.program).toBe(script);
      expect(entry?.programdigest?.sha256).toBe(digestOf(script));
      expect(entry?.exedigest?.sha256).toBe(digestOf(realpathSync("/bin/sh")));
      expect(gaps(recordOf(ran))).toEqual([]);
    });

    for (const mode of ["names", "links", "memory", "directory", "shared", "quiet"]) {
      test(`a script that is exchanged while it is executed: ${mode}`, async () => {
        using scratch = new Scratch(user);
        const record = await traced(scratch, [tracee("exec-race", scratch), mode, "150"]);
        const { wrong, right, unknown } = pairs(record);
        expect(wrong).toEqual([]);
        expect(right + unknown).toBe(150);
        // A rename moves ctime, which can also look like a change of the content.
        const allowed = ["changed-while-read", "program-unknown"];
        expect(gaps(record).filter(kind => !allowed.includes(kind))).toEqual([]);
        if (unknown > 0) expect(gaps(record)).not.toEqual([]);
        if (mode === "quiet") expect([unknown, gaps(record)]).toEqual([0, []]);
      });
    }
  });
}

/** argv has the name of the script that the kernel has read. */
function pairs(record: Record): { wrong: string[]; right: number; unknown: number } {
  const found = { wrong: [] as string[], right: 0, unknown: 0 };
  for (const { argv = [], program, programdigest } of record.processes) {
    const [interpreter, said = ""] = argv;
    if (!said.startsWith("script-")) continue;
    const digest = programdigest?.sha256;
    if (digest === undefined) found.unknown++;
    else if (digest === sha256(`#!${interpreter} ${said}\n`)) found.right++;
    else found.wrong.push(`${program} ${said} ${digest}`);
  }
  return found;
}
