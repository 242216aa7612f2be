// A mount that is attached nowhere: the kernel calls what is in it as if its top were the root.
import { describe, expect, test } from "bun:test";
import { recordOf, run, Scratch, tracee, users } from "./harness.ts";
import { whyNotMounted } from "./mounted.ts";
import { gaps } from "./record.ts";

const obstacle = whyNotMounted("tmpfs");
if (obstacle !== undefined) console.warn(`not tested with a mount of the build: ${obstacle}`);

const rows = [
  { way: "opened", found: ["detached-mount"] },
  { way: "changed", found: ["detached-mount"] },
  { way: "attached", found: [] },
];

for (const user of users) {
  describe.skipIf(obstacle !== undefined)(`as ${user}`, () => {
    for (const { way, found } of rows) {
      test(way, async () => {
        using scratch = new Scratch(user);
        const own = user === "nobody" ? "-Urm" : "-m";
        const script = `mkdir d at; echo content >d/f; exec ${tracee("detached", scratch)} ${way}`;
        const ran = await run(scratch, ["unshare", own, "sh", "-ec", script], { trace: true });
        expect(ran.stderr).not.toContain("tracee:");
        expect(ran.status).toBe(0);
        expect(gaps(recordOf(ran))).toEqual(found);
      });
    }
  });
}
