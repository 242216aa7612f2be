// Programs with very much to say: memory stays bounded, and what the record leaves out is a gap that names it.
import { describe, expect, test } from "bun:test";
import { recordOf, Scratch, start, users } from "./harness.ts";

/** 90 MB in a hundred programs: nine words of 100,000 bytes each, other ones each time. */
const words = 'w=$(head -c 99990 /dev/zero | tr "\\0" x); i=100; while [ $i -lt 200 ]; do';
const rows: [name: string, script: string, detail: string][] = [
  ["arguments", `${words} /bin/true $i$w $i$w $i$w $i$w $i$w $i$w $i$w $i$w $i$w; i=$((i + 1)); done`, "arguments"],
  [
    "environments",
    `${words} A=$i$w B=$i$w C=$i$w D=$i$w E=$i$w F=$i$w G=$i$w H=$i$w I=$i$w /bin/true; i=$((i + 1)); done`,
    "environments",
  ],
];

const peakMax = 400 * 2 ** 20;

for (const user of users) {
  describe(`as ${user}`, () => {
    for (const [name, script, detail] of rows) {
      test(name, async () => {
        using scratch = new Scratch(user);
        const child = start(scratch, ["sh", "-c", script], { trace: true });
        const [ran, peak] = await Promise.all([child.end(), child.peakBytes()]);
        const record = recordOf(ran);
        expect(ran.status).toBe(0);
        expect(record.commandRun.completeness?.gaps?.map(({ kind, detail }) => ({ kind, detail }))).toEqual([
          { kind: "limit", detail: `a limit was hit: ${detail}` },
        ]);
        expect(peak).toBeLessThan(peakMax);
      }, 60_000);
    }
  });
}
