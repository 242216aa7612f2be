// Many at once, and all dying: no hang, no process lost, no wrong parent.
import { describe, expect, test } from "bun:test";
import { recordOf, Scratch, start, tracee, users } from "./harness.ts";
import { inconsistencies, parseLines, unseen } from "./seen.ts";

const seed = `${process.env.CILOCK_TEST_SEED ?? Date.now() % 1_000_000}`;

const rows: { name: string; command: string[]; processes?: number }[] = [
  { name: "800 threads", command: ["threads", "800"], processes: 1 },
  { name: "a chain of 200 generations that wait for each other", command: ["generations", "200", "wait"], processes: 201 },
  { name: "a chain of 200 generations that do not", command: ["generations", "200", "orphan"], processes: 201 },
  { name: "200 parents that die as soon as they have forked", command: ["forkstorm", "200"] },
  { name: `SIGKILL in whatever they do, seed ${seed} (CILOCK_TEST_SEED)`, command: ["killstorm", "150", seed] },
];

for (const user of users) {
  describe(`as ${user}`, () => {
    for (const row of rows) {
      test(row.name, async () => {
        using scratch = new Scratch(user);
        const [name, ...words] = row.command;
        const child = start(scratch, [tracee(name ?? "", scratch), ...words], { trace: true });
        const ran = await child.end();
        expect(ran.stderr).not.toContain("tracee:");
        const record = recordOf(ran);
        const lines = parseLines(ran.stdout);
        expect(lines.length).toBeGreaterThan(50);
        expect(unseen(record, lines)).toEqual([]);
        expect(inconsistencies(record, child.pid)).toEqual([]);
        if (row.processes !== undefined) expect(record.processes.length).toBe(row.processes);
        expect(ran.status).toBe(0);
      });
    }
  });
}
