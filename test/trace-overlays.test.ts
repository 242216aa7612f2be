// An overlayfs that the build mounts itself: what is written through it has another name and identity in the upper directory.
import { describe, expect, test } from "bun:test";
import { recordOf, run, Scratch, tracee } from "./harness.ts";
import { whyNotMounted } from "./mounted.ts";
import { gaps } from "./record.ts";

const obstacle = whyNotMounted("overlay");
if (obstacle !== undefined) console.warn(`not tested with an overlayfs of the build: ${obstacle}`);

/** How to mount TYPE OPTIONS TARGET. */
const ways: { name: string; mount: (scratch: Scratch) => string }[] = [
  { name: "mount(8)", mount: () => 'mount -t "$1" -o "$2" none "$3"' },
  { name: "mount(2)", mount: () => 'busybox mount -t "$1" -o "$2" none "$3"' },
  { name: "fsopen(2)", mount: scratch => `${tracee("mounter", scratch)} "$1" "$2" "$3"` },
];

for (const { name, mount } of ways) {
  describe.skipIf(obstacle !== undefined)(name, () => {
    test("for writing", async () => {
      using scratch = new Scratch();
      const record = await mounts(scratch, mount(scratch), "lowerdir=layers/l,upperdir=layers/u,workdir=layers/w");
      const [gap] = record.commandRun.completeness?.gaps ?? [];
      expect(gap?.kind).toBe("overlay-mounted");
      expect(gap?.detail).toEndWith("layers/u");
      expect(gaps(record)).toHaveLength(1);
    });

    test("for reading only", async () => {
      using scratch = new Scratch();
      expect(gaps(await mounts(scratch, mount(scratch), "lowerdir=layers/l:layers/u"))).toEqual([]);
    });
  });
}

async function mounts(scratch: Scratch, mount: string, options: string) {
  // Layers in memory: the work directory can be on an overlayfs itself.
  const script = `set -e
    fresh() { ${mount}; }
    mkdir layers m; fresh tmpfs mode=755 layers; mkdir layers/l layers/u layers/w; echo low >layers/l/low
    fresh overlay ${options} m; cat m/low; echo up >m/up || true`;
  return recordOf(await run(scratch, ["unshare", "-m", "sh", "-c", script], { trace: true }));
}
