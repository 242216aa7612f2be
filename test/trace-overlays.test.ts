// An overlayfs that the build mounts itself: what is written through it has another name and identity in the upper directory.
import { describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { recordOf, run, Scratch, tracee, type User, users } from "./harness.ts";
import { Mounted, whyNotMounted } from "./mounted.ts";
import { attestation, gaps, type Record } from "./record.ts";

const obstacle = whyNotMounted("overlay");
if (obstacle !== undefined) console.warn(`not tested with an overlayfs of the build: ${obstacle}`);

/** How to mount TYPE OPTIONS TARGET. */
const ways: { name: string; mount: (scratch: Scratch) => string }[] = [
  { name: "mount(8)", mount: () => 'mount -t "$1" -o "$2" none "$3"' },
  { name: "mount(2)", mount: () => 'busybox mount -t "$1" -o "$2" none "$3"' },
  { name: "fsopen(2)", mount: scratch => `${tracee("mounter", scratch)} "$1" "$2" "$3"` },
];
const options = "lowerdir=layers/l,upperdir=layers/u,workdir=layers/w";

/** Files of the working directory, without what programs load. */
function files(record: Record, name: "material" | "product"): string[] {
  const leaves = (attestation(record, name).leaves ?? []) as { path: string }[];
  return leaves
    .map(({ path }) => path)
    .filter(path => !path.startsWith("/"))
    .sort();
}

/** Mounts of the build are gone with it. */
async function build(scratch: Scratch, way: (scratch: Scratch) => string, script: string, args: string[] = []): Promise<Record> {
  const words = `set -e; fresh() { ${way(scratch)}; }\n${script}`;
  const own = scratch.user === "nobody" ? "-Urm" : "-m";
  const ran = await run(scratch, ["unshare", own, "sh", "-c", words], { trace: true, args: ["--vouch", "no", ...args] });
  expect(ran.stderr).not.toContain("error");
  expect(ran.status).toBe(0);
  return recordOf(ran);
}

/** In memory, which is there after the build: on another overlay, as the work directory's file system can be, there can be no upper directory. */
function layers(user: User) {
  const scratch = new Scratch(user);
  const mounted = new Mounted("tmpfs", scratch);
  const made =
    "mkdir -p layers/l/d layers/u layers/w m; echo low >layers/l/low; echo two >layers/l/two; echo 3 >layers/l/d/three; echo old >layers/u/old";
  const id = user === "nobody" ? { uid: 65534, gid: 65534 } : {};
  expect(Bun.spawnSync(["sh", "-ec", made], { cwd: scratch.work, ...id }).exitCode).toBe(0);
  return {
    scratch,
    [Symbol.dispose]() {
      mounted[Symbol.dispose]();
      scratch[Symbol.dispose]();
    },
  };
}

for (const { name, mount } of ways) {
  describe.skipIf(obstacle !== undefined)(name, () => {
    test("for writing: what it makes in the upper directory are products, and no materials", async () => {
      using made = layers("self");
      const record = await build(
        made.scratch,
        mount,
        `fresh overlay ${options} m
         cat m/low; echo up >m/up; echo more >>m/two; mv m/d m/e; cat layers/u/up layers/u/two layers/u/old`,
      );
      expect(gaps(record)).toEqual([]);
      // A directory that is renamed is copied up whole by mv, since the kernel refuses (EXDEV).
      expect(files(record, "product")).toEqual(["layers/u/e/three", "layers/u/two", "layers/u/up"]);
      expect(files(record, "material")).toEqual(["layers/u/old", "m/d/three", "m/low"]);
    });

    test("for reading only", async () => {
      using made = layers("self");
      const record = await build(made.scratch, mount, "fresh overlay lowerdir=layers/l:layers/u m; cat m/low");
      expect(gaps(record)).toEqual([]);
      expect(files(record, "product")).toEqual([]);
    });
  });
}

interface Row {
  name: string;
  script: string;
  products: string[];
  materials?: string[];
  gap?: string;
}

const rows: Row[] = [
  {
    name: "a lower file that is only given another mode is copied up, and read there from outside",
    script: `fresh overlay ${options} m; chmod 700 m/low; cat layers/u/low`,
    products: ["layers/u/low"],
    materials: ["layers/u/low"],
  },
  {
    name: "the upper directory was renamed",
    script: `fresh overlay ${options} m; echo up >m/up; umount -l m; mv layers/u there; mv layers others; cat there/up`,
    // What is in a directory that was moved is new where it is.
    products: ["others/l/d/three", "others/l/low", "others/l/two", "there/old", "there/up"],
    materials: [],
  },
  {
    name: "the upper directory was removed",
    script: `fresh overlay ${options} m; echo up >m/up; umount -l m; rm -r layers/u`,
    products: [],
    materials: [],
  },
  {
    name: "the upper directory was in memory of the build's own",
    script: `mkdir own; fresh tmpfs mode=755 own; mkdir own/u own/w
      fresh overlay lowerdir=layers/l,upperdir=own/u,workdir=own/w m; echo up >m/up`,
    products: [],
    materials: [],
  },
  {
    name: "the upper directory has another name for us",
    script: `mkdir own real real/u real/w; mount --bind real own
      fresh overlay lowerdir=layers/l,upperdir=own/u,workdir=own/w m; echo up >m/up`,
    products: [],
    materials: [],
    gap: "own/u",
  },
];

for (const user of users) {
  for (const { name, script, products, materials = [], gap } of rows) {
    test.skipIf(obstacle !== undefined)(`${name}, as ${user}`, async () => {
      using made = layers(user);
      const record = await build(made.scratch, scratch => `${tracee("mounter", scratch)} "$1" "$2" "$3"`, script);
      expect(files(record, "product")).toEqual(products);
      expect(files(record, "material")).toEqual(materials);
      const found = (record.commandRun.completeness?.gaps ?? []).filter(one => one.kind === "overlay-mounted");
      expect(found).toHaveLength(gap === undefined ? 0 : 1);
      if (gap !== undefined) expect(found[0]?.detail).toEndWith(gap);
    });
  }
}

test.skipIf(obstacle !== undefined)("an upper directory whose name cannot be told is a gap", async () => {
  using made = layers("self");
  const script = "mkdir 'layers/u,x'; fresh overlay 'lowerdir=layers/l,upperdir=layers/u\\,x,workdir=layers/w' m; echo up >m/up";
  const record = await build(made.scratch, () => 'busybox mount -t "$1" -o "$2" none "$3"', script);
  expect(gaps(record)).toEqual(["overlay-mounted"]);
});

test.skipIf(obstacle !== undefined)("an upper directory outside of the working directory, by --product-glob", async () => {
  using made = layers("self");
  const { scratch } = made;
  const inner = join(scratch.work, "inner");
  mkdirSync(inner);
  writeFileSync(join(inner, "x"), "");
  const up = join(scratch.work, "layers/u");
  const script = `cd ..; fresh overlay ${options} m; echo up >m/up; echo no >m/no`;
  const args = ["--workingdir", inner, "--product-glob", `${up}/up`];
  const record = await build(scratch, () => 'busybox mount -t "$1" -o "$2" none "$3"', script, args);
  const leaves = (attestation(record, "product").leaves ?? []) as { path: string }[];
  expect(leaves.map(({ path }) => path)).toEqual([`${up}/up`]);
});

test.skipIf(obstacle !== undefined)(
  "a file that is copied up as a program with threads renames it is the one it was",
  async () => {
    using made = layers("self");
    const script = `fresh overlay ${options} m; cd m; exec ${tracee("rename-race", made.scratch)} still 1`;
    const record = await build(made.scratch, () => 'busybox mount -t "$1" -o "$2" none "$3"', script);
    expect(record.commandRun.exitcode).toBe(0);
    expect(gaps(record)).toEqual([]);
  },
);
