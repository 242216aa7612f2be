// Files that must never be read to their end, or that never hold still: each has its reason in place of a digest, and the run ends.
import { describe, expect, test } from "bun:test";
import { recordOf, Scratch, start, tracee, users } from "./harness.ts";
import { gaps } from "./record.ts";
import { inconsistencies, parseLines, unseen } from "./seen.ts";

for (const user of users) {
  describe(`as ${user}`, () => {
    test("endless devices, pipes, a terabyte of holes, /proc, a log that grows", async () => {
      using scratch = new Scratch(user);
      const child = start(scratch, [tracee("bombs", scratch)], { trace: true });
      const ran = await child.end();
      expect(ran.stderr).not.toContain("tracee:");
      const record = recordOf(ran);
      const lines = parseLines(ran.stdout);
      expect(lines.filter(line => line.see === "unhashed").length).toBeGreaterThanOrEqual(6);
      expect(unseen(record, lines)).toEqual([]);
      expect(inconsistencies(record, child.pid)).toEqual([]);
      // What the build made and what it read: neither is read by us, so it is no product either.
      expect(gaps(record)).toEqual(expect.arrayContaining(["too-large", "unlisted-files"]));
      // Of the log some opens may have changed before their digest.
      const others = gaps(record).filter(kind => !["too-large", "unlisted-files", "changed-while-read"].includes(kind));
      expect(others).toEqual([]);
      expect(record.commandRun.completeness?.verdict).toBe("incomplete");
      expect(ran.status).toBe(0);
    });
  });
}
