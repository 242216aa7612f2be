// /proc/self, /dev/stderr and their like are each process's own: refused to nobody, and right in the record, however they are spelled.
import { describe, expect, test } from "bun:test";
import { recordOf, Scratch, start, tracee, users } from "./harness.ts";
import { gaps } from "./record.ts";
import { inconsistencies, parseLines, unseen } from "./seen.ts";

for (const user of users) {
  describe(`as ${user}`, () => {
    // A namespace or root of its own, of whomever: from then on paths are followed in another way.
    for (const kind of ["plain", "user", ...(user === "self" && process.getuid?.() === 0 ? ["net", "root"] : [])]) {
      test(kind, async () => {
        using scratch = new Scratch(user);
        const child = start(scratch, [tracee("own-entries", scratch), kind], { trace: true });
        const ran = await child.end();
        expect(ran.stderr).not.toContain("tracee:");
        expect(ran.status).toBe(0);
        const record = recordOf(ran);
        const lines = parseLines(ran.stdout);
        expect(lines.length).toBe(6);
        expect(unseen(record, lines)).toEqual([]);
        // A pipe has no path, also when it is opened by a name.
        expect(inconsistencies(record, child.pid).filter(one => !one.includes("pipe:["))).toEqual([]);
        expect(gaps(record)).toEqual([]);
      });
    }
  });
}
