// File systems that the build mounts and unmounts again: what we hold of their files must not keep them busy, and the digests are right.
import { describe, expect, test } from "bun:test";
import { recordOf, run, Scratch, type User, users } from "./harness.ts";
import { whyNotMounted } from "./mounted.ts";
import { gaps, type Record } from "./record.ts";
import { sha256 } from "./seen.ts";

const obstacle = whyNotMounted("overlay");
if (obstacle !== undefined) console.warn(`not tested with mounts of the build: ${obstacle}`);

/** Each line of what it prints is the status of an unmount. */
async function build(scratch: Scratch, script: string): Promise<{ statuses: string[]; record: Record }> {
  const words = `fresh() { busybox mount -t "$1" -o "$2" none "$3"; }; gone() { busybox umount "$1" 2>/dev/null; echo "$?"; }; mkdir m\n${script}`;
  const ran = await run(scratch, ["unshare", scratch.user === "nobody" ? "-Urm" : "-m", "sh", "-c", words], { trace: true });
  return { statuses: ran.stdout.toString().split("\n").slice(0, -1), record: recordOf(ran) };
}

function written(record: Record, name: string): string[] {
  return record.processes.flatMap(entry =>
    Object.entries(entry.writtenDigests).flatMap(([path, { sha256: digest = "" }]) => (path.endsWith(name) ? [digest] : [])),
  );
}

const overlay =
  "mkdir layers; fresh tmpfs mode=755 layers; mkdir layers/l layers/u layers/w; fresh overlay lowerdir=layers/l,upperdir=layers/u,workdir=layers/w m";

function testsAs(user: User): void {
  for (const [name, mount] of [
    ["memory", "fresh tmpfs mode=755 m"],
    ["an overlayfs", overlay],
  ] as const) {
    test(`${name}: what its living shell has written`, async () => {
      using scratch = new Scratch(user);
      const { statuses, record } = await build(scratch, `${mount}; echo one >m/f; echo two >>m/f; echo three >m/g; gone m`);
      expect(statuses).toEqual(["0"]);
      expect(gaps(record)).toEqual([]);
      expect(written(record, "m/f")).toEqual([sha256("one\ntwo\n")]);
      expect(written(record, "m/g")).toEqual([sha256("three\n")]);
    });
  }

  test("what a program has just read", async () => {
    using scratch = new Scratch(user);
    const script = "fresh tmpfs mode=755 m; head -c 60000000 /dev/zero >m/large; cat m/large >/dev/null; gone m";
    const { statuses, record } = await build(scratch, script);
    expect(statuses).toEqual(["0"]);
    expect(gaps(record)).toEqual([]);
  });

  test("busy by itself: it stays, and what is written later is what counts", async () => {
    using scratch = new Scratch(user);
    const script = "fresh tmpfs mode=755 m; exec 5>m/f; echo one >&5; gone m; echo two >&5; exec 5>&-; gone m";
    const { statuses, record } = await build(scratch, script);
    expect(statuses).toEqual(["1", "0"]);
    expect(gaps(record)).toEqual([]);
    expect(written(record, "m/f")).toEqual([sha256("one\ntwo\n")]);
  });

  test("busy by a reader: what its shell writes after we had to read is what counts", async () => {
    using scratch = new Scratch(user);
    const script = "fresh tmpfs mode=755 m; echo one >m/f; echo low >m/busy; exec 5<m/busy; gone m; echo two >>m/f";
    const { statuses, record } = await build(scratch, script);
    expect(statuses).toEqual(["1"]);
    expect(gaps(record)).toEqual([]);
    expect(written(record, "m/f")).toEqual([sha256("one\ntwo\n")]);
  });
}

for (const user of users) describe.skipIf(obstacle !== undefined)(`as ${user}`, () => testsAs(user));

test.skipIf(obstacle !== undefined)(
  "something is mounted over the proc that we look into: the build goes on, and what we cannot see is said",
  async () => {
    using scratch = new Scratch();
    const script = "busybox mount -t tmpfs none /proc; busybox true; echo hi >f; busybox umount /proc; echo done";
    const ran = await run(scratch, ["sh", "-c", script], { trace: true, before: ["unshare", "-m"] });
    expect(ran.stdout.toString()).toBe("done\n");
    expect(gaps(recordOf(ran))).toContain("unreadable-memory");
  },
);
