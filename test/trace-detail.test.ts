// --trace-detail full: what each process has written to each file, to the byte, by whatever call.
import { describe, expect, test } from "bun:test";
import { statSync } from "node:fs";
import { join } from "node:path";
import * as abi from "../src/native/abi.gen.ts";
import { type Ran, recordOf, run, Scratch, start, tracee, users } from "./harness.ts";
import { gaps, processOf, type Record } from "./record.ts";
import { inconsistencies, parseLines, unseen } from "./seen.ts";

const full = ["--trace-detail", "full", "--vouch", "no"];

function tracerOf(record: Record) {
  return record.commandRun.completeness?.tracer;
}

for (const user of users) {
  describe(`as ${user}`, () => {
    test("every call that writes, with the bytes that it wrote", async () => {
      using scratch = new Scratch(user);
      const child = start(scratch, [tracee("amounts", scratch)], { trace: true, args: full });
      const ran = await child.end();
      expect(ran.stderr).not.toContain("tracee:");
      const record = recordOf(ran);
      const lines = parseLines(ran.stdout);
      expect(lines.length).toBeGreaterThanOrEqual(12);
      expect(unseen(record, lines)).toEqual([]);
      expect(inconsistencies(record, child.pid)).toEqual([]);
      expect(gaps(record)).toEqual([]);
      expect(tracerOf(record)).toMatchObject({ detail: "full", ignoredSyscalls: abi.ignoredSyscalls.full });
    });

    test("one entry for each process and file, also of files that had the same name and number", async () => {
      using scratch = new Scratch(user);
      const child = start(scratch, [tracee("amounts", scratch)], { trace: true, args: full });
      const record = recordOf(await child.end());
      const [command] = record.processes;
      const again = command?.fileOps.writes.filter(({ path }) => path === join(scratch.work, "again"));
      const earlier = (again ?? []).slice(0, -1).map(({ bytes }) => bytes);
      expect(earlier).toEqual(earlier.map(() => 1));
      expect([again?.at(-1)?.bytes, earlier.length > 0]).toEqual([3, true]);
      const once = command?.fileOps.writes.map(({ path }) => path).filter(path => !path.endsWith("/again")) ?? [];
      expect(once).toEqual([...new Set(once)]);
    });

    test("through pipes and a shell: each process what it wrote itself", async () => {
      using scratch = new Scratch(user);
      const script = "exec >out; printf 12345; /bin/echo 678; cat /proc/self/comm; head -c 100000 /dev/zero; printf x >/dev/null";
      const record = recordOf(await run(scratch, ["sh", "-c", script], { trace: true, args: full }));
      const out = join(scratch.work, "out");
      const written = record.processes.flatMap(({ comm, fileOps }) =>
        fileOps.writes.filter(({ path }) => path === out).map(({ bytes }) => `${comm} ${bytes}`),
      );
      expect(written).toEqual(["sh 5", "echo 4", "cat 4", "head 100000"]);
      expect(statSync(out).size).toBe(5 + 4 + 4 + 100_000);
      expect(record.processes.flatMap(({ fileOps }) => fileOps.writes).some(({ path }) => path.startsWith("/dev"))).toBe(false);
      expect(gaps(record)).toEqual([]);
    });
  });
}

test("without it: the growth of files, and the record says so", async () => {
  using scratch = new Scratch();
  const child = start(scratch, [tracee("amounts", scratch)], { trace: true });
  const record = recordOf(await child.end());
  const bytesOf = (name: string) =>
    processOf(record, record.processes[0]?.processid ?? 0).fileOps.writes.find(({ path }) => path === join(scratch.work, name))
      ?.bytes;
  expect([bytesOf("write"), bytesOf("overwritten"), bytesOf("mapped")]).toEqual([1005, 0, 4096]);
  expect(tracerOf(record)).toMatchObject({ detail: "normal", ignoredSyscalls: abi.ignoredSyscalls.normal });
});

test("where descriptors and memory can only be read by way of /proc, as in a container", async () => {
  using scratch = new Scratch();
  const before = [tracee("deny", scratch), "PERM", "pidfd_getfd,process_vm_readv", "--"];
  const ran = await run(scratch, [tracee("amounts", scratch)], { trace: true, args: full, before });
  const record = recordOf(ran);
  expect(tracerOf(record)?.features).not.toContain("pidfd_getfd");
  expect(unseen(record, parseLines(ran.stdout))).toEqual([]);
  expect(gaps(record)).toEqual([]);
});

test("a seccomp filter of the build's own, and watched connections, change nothing", async () => {
  using scratch = new Scratch();
  const ran: Ran = await run(scratch, [tracee("own-filter", scratch)], { trace: true, args: full });
  expect(unseen(recordOf(ran), parseLines(ran.stdout))).toEqual([]);
});

test("many writes to one file are one entry, and so are those to more files than are counted at a time", async () => {
  using scratch = new Scratch();
  const count = 20_000; // a million: slow-trace-detail.test.ts
  const ran = await run(scratch, [tracee("amounts", scratch), "flood", `${count}`], { trace: true, args: full });
  const record = recordOf(ran);
  expect(unseen(record, parseLines(ran.stdout))).toEqual([]);
  const writes = record.processes[0]?.fileOps.writes ?? [];
  expect(writes.length).toBe(3001);
  expect(writes.filter(({ path, bytes }) => path.includes("/many-") && bytes === 1)).toHaveLength(3000);
  expect(gaps(record)).toEqual([]);
});

for (const [args, message] of [
  [["--trace-detail", "full"], "--trace-detail needs --trace"],
  [["--trace", "--trace-detail", "all"], "--trace-detail is normal or full"],
] as const) {
  test(`refused: ${args.join(" ")}`, async () => {
    using scratch = new Scratch();
    const ran = await run(scratch, ["true"], { args: [...args] });
    expect(ran.stderr).toContain(message);
    expect(ran.status).toBe(2);
  });
}
