// Events without end: nothing is dropped, memory stays bounded, and what comes after the flood is seen as before it.
import { describe, expect, test } from "bun:test";
import { recordOf, Scratch, start, tracee, users } from "./harness.ts";
import { gaps } from "./record.ts";
import { inconsistencies, parseLines, unseen } from "./seen.ts";

const rows: { name: string; words: string[]; opened: number }[] = [
  { name: "100,000 opens of one file", words: ["flood", "100000"], opened: 2 },
  { name: "30,000 files, each written and read", words: ["many", "30000"], opened: 30_000 },
];

/** Of the front end; a build of that size may hold what belongs into its record, and not every event. */
const peakMax = 2 ** 30;

for (const user of users) {
  describe(`as ${user}`, () => {
    for (const { name, words, opened } of rows) {
      test(name, async () => {
        using scratch = new Scratch(user);
        const child = start(scratch, [tracee("bombs", scratch), ...words], { trace: true });
        const [peak, ran] = await Promise.all([child.peakBytes(), child.end()]);
        expect(ran.stderr).not.toContain("tracee:");
        const record = recordOf(ran);
        const lines = parseLines(ran.stdout);
        expect(lines.length).toBeGreaterThan(1);
        expect(unseen(record, lines)).toEqual([]);
        expect(inconsistencies(record, child.pid)).toEqual([]);
        expect(Object.keys(record.processes[0]?.openedfiles ?? {}).length).toBe(opened);
        expect(gaps(record)).toEqual([]);
        expect(peak).toBeGreaterThan(2 ** 25);
        expect(peak).toBeLessThan(peakMax);
        expect(ran.status).toBe(0);
      }, 180_000);
    }
  });
}
