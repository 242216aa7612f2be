// Writes of which no time stamp tells: a file system whose ctime moves once a tick of the clock, as all do before Linux 6.13.
import { describe, expect, test } from "bun:test";
import { recordOf, Scratch, start, tracee, users } from "./harness.ts";
import { type Kind, Mounted, whyNotMounted } from "./mounted.ts";
import { gaps } from "./record.ts";
import { inconsistencies, parseLines, unseen } from "./seen.ts";

const fileSystems: (Kind | undefined)[] = [undefined, "ramfs", "overlay"];

for (const kind of fileSystems) {
  const obstacle = kind === undefined ? undefined : whyNotMounted(kind);
  if (obstacle !== undefined) console.warn(`not tested on ${kind}: ${obstacle}`);
  for (const user of users) {
    describe.skipIf(obstacle !== undefined)(`on ${kind ?? "what is there"}, as ${user}`, () => {
      for (const how of ["once", "quiet"]) {
        test(how, async () => {
          using scratch = new Scratch(user);
          using _ = kind === undefined ? undefined : new Mounted(kind, scratch);
          const child = start(scratch, [tracee("ticks", scratch), how], { trace: true });
          const ran = await child.end();
          expect(ran.stderr).not.toContain("tracee:");
          const record = recordOf(ran);
          const lines = parseLines(ran.stdout);
          expect(lines).toHaveLength(how === "quiet" ? 20 : 3);
          expect(unseen(record, lines)).toEqual([]);
          expect(inconsistencies(record, child.pid)).toEqual([]);
          const isKnown = record.processes.every(entry => entry.unhashedOpens.length === 0);
          expect(gaps(record)).toEqual(isKnown ? [] : ["changed-while-read"]);
          if (how === "quiet") expect(isKnown).toBe(true);
        });
      }
    });
  }
}
