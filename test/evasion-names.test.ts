// Calls that take a name away, whose path another thread changes in the moment in which they are made: what the record says of
// them is so, or it says that it is not.
import { describe, expect, test } from "bun:test";
import { recordOf, run, Scratch, tracee, users } from "./harness.ts";
import { gaps, type Record } from "./record.ts";
import { parseLines, sha256 } from "./seen.ts";

const kind = "arguments-changed";

async function race(user: "self" | "nobody", mode: string, rounds: number) {
  using scratch = new Scratch(user);
  const ran = await run(scratch, [tracee("rename-race", scratch), mode, `${rounds}`], { trace: true });
  expect(ran.stderr).not.toContain("tracee:");
  const lines = parseLines(ran.stdout);
  expect(lines.some(line => line.see === "answer" && line.what === "done")).toBe(true);
  const changed = lines.flatMap(line => (line.see === "answer" && line.what === "changed" ? [line.value] : []));
  return { record: recordOf(ran), changed };
}

/** Of a process that has been given the other name, the record has a call that was not made. */
function wrongOnes(record: Record, changed: number[]): number[] {
  return changed.filter(pid => {
    const { renames = [], deletes = [] } = record.processes.find(entry => entry.processid === pid)?.fileOps ?? {};
    const paths = [...renames.flatMap(({ oldPath, newPath }) => [oldPath, newPath]), ...deletes.map(one => one.path)];
    return !paths.some(path => path.endsWith("/wanted!!"));
  });
}

for (const user of users) {
  describe(`as ${user}`, () => {
    for (const mode of ["rename", "unlink", "target", "shared", "cloned"]) {
      test(`a path that changes while a name is taken away: ${mode}`, async () => {
        const { record, changed } = await race(user, mode, 40);
        const gap = record.commandRun.completeness?.gaps.find(one => one.kind === kind);
        expect(wrongOnes(record, changed).filter(pid => !gap?.processids.includes(pid))).toEqual([]);
        // Nor is it said of those that are right.
        expect(gap?.processids.filter(pid => !wrongOnes(record, changed).includes(pid) && changed.includes(pid)) ?? []).toEqual(
          [],
        );
      });
    }

    test("a script that is exchanged by a call whose path changes", async () => {
      const { record } = await race(user, "exec", 60);
      const wrong = record.processes.filter(({ argv = [], programdigest }) => {
        const [interpreter, said = ""] = argv;
        if (!said.startsWith("script-") || programdigest === undefined) return false;
        return programdigest.sha256 !== sha256(`#!${interpreter} ${said}\n`);
      });
      if (wrong.length > 0) expect(gaps(record)).toContain("program-unknown");
    });

    for (const [mode, rounds] of [
      ["quiet", 30],
      ["flicker", 500],
    ] as const) {
      test(`what others do with the same names at the same time is no such change: ${mode}`, async () => {
        const { record } = await race(user, mode, rounds);
        expect(gaps(record)).toEqual([]);
      });
    }
  });
}
