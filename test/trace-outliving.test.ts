// What outlives its opener: a descriptor or a map with which a file is written when the process that opened it is gone, and maps
// through which a file changes while somebody reads it. No call says so; the digests must be right, or the record says that they are not known.
import { describe, expect, test } from "bun:test";
import { recordOf, Scratch, start, tracee, users } from "./harness.ts";
import { Mounted, whyNotMounted } from "./mounted.ts";
import { gaps } from "./record.ts";
import { inconsistencies, parseLines, unseen } from "./seen.ts";

const ways = [
  "files",
  "memory",
  "sent",
  "taken",
  "inherited",
  "mapped",
  "read",
  "made-writable",
  "shared",
  "shared-once",
  "unmapped",
];
/** There the kernel counts no writer for a map. */
const waysOnOverlay = ["sent", "mapped", "memory", "made-writable", "unmapped"];

const noOverlay = whyNotMounted("overlay");
if (noOverlay !== undefined) console.warn(`not tested on overlayfs: ${noOverlay}`);

for (const user of users) {
  describe(`as ${user}`, () => {
    const all = [...ways.map(way => [way, false] as const), ...waysOnOverlay.map(way => [way, true] as const)];
    for (const [way, onOverlay] of all) {
      test.skipIf(onOverlay && noOverlay !== undefined)(onOverlay ? `${way}, on overlayfs` : way, async () => {
        using scratch = new Scratch(user);
        using _ = onOverlay ? new Mounted("overlay", scratch) : undefined;
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
