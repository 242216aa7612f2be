// What outlives its opener: a descriptor or a map with which a file is written when the process that opened it is gone, and maps
// through which a file changes while somebody reads it. No call says so; the digests must be right, or the record says that they are not known.
import { describe, expect, test } from "bun:test";
import { recordOf, Scratch, start, tracee, users } from "./harness.ts";
import { gaps } from "./record.ts";
import { inconsistencies, parseLines, unseen } from "./seen.ts";

const ways = ["files", "memory", "sent", "taken", "inherited", "mapped", "read", "made-writable", "shared", "shared-once"];

for (const user of users) {
  describe(`as ${user}`, () => {
    for (const way of ways) {
      test(way, async () => {
        using scratch = new Scratch(user);
        const child = start(scratch, [tracee("outlives", scratch), way], { trace: true });
        const ran = await child.end();
        expect(ran.stderr).not.toContain("tracee:");
        const record = recordOf(ran);
        const lines = parseLines(ran.stdout);
        expect(lines.length).toBeGreaterThan(0);
        expect(unseen(record, lines)).toEqual([]);
        expect(inconsistencies(record, child.pid)).toEqual([]);
        expect(gaps(record)).toEqual(lines.flatMap(line => (line.see === "gap" ? [line.kind] : [])));
      });
    }
  });
}
