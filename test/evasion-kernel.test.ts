// A build that reaches into the kernel, where nobody can watch it: what succeeded is a gap, what was refused or reaches nothing is none.
import { describe, expect, test } from "bun:test";
import { accessSync, constants, existsSync } from "node:fs";
import { isRoot, recordOf, run, Scratch, tracee, users } from "./harness.ts";
import { gaps } from "./record.ts";
import { parseLines } from "./seen.ts";

/** What the program says came of it, and what the record says of it. */
async function reach(words: string[], user: "self" | "nobody" = "self", before: string[] = []) {
  using scratch = new Scratch(user);
  const ran = await run(scratch, [...before, tracee("kernel", scratch), ...words], { trace: true });
  expect(ran.stderr).not.toContain("tracee:");
  const record = recordOf(ran);
  const lines = parseLines(ran.stdout);
  const value = lines[0]?.see === "answer" ? lines[0].value : Number.NaN;
  return {
    value,
    lines,
    record,
    details: record.commandRun.completeness?.gaps.map(({ kind, detail }) => `${kind}: ${detail}`) ?? [],
  };
}

const all = "kernel-reached";

describe.skipIf(!isRoot)("as root", () => {
  const rows: [name: string, words: string[], kind: string, detail: string][] = [
    ["a BPF program that traces the kernel is loaded", ["load", "2"], all, "bpf: a program of type kprobe"],
    ["one that changes whom a connection goes to", ["load", "18"], all, "bpf: a program of type cgroup_sock_addr"],
    ["the machine's ports", ["ports"], all, "ioperm"],
    ["all processes are sampled", ["perf", "0"], "outside-reached", "perf_event_open (all processes)"],
    ["a process outside is sampled", ["perf", `${process.pid}`], "outside-reached", `(process ${process.pid})`],
    ["a key that the kernel starts a helper for", ["key"], "delegated", "the kernel, by /sbin/request-key"],
  ];
  for (const [name, words, kind, detail] of rows) {
    test(name, async () => {
      const { value, record, details } = await reach(words);
      const isRefused = kind === "delegated" ? value === -38 || value === -2 : value < 0;
      if (isRefused) return expect(details).toEqual([]); // not on this machine
      expect(gaps(record)).toEqual([kind]);
      expect(details[0]).toContain(detail);
    });
  }

  test.skipIf(!existsSync("/dev/loop0"))("a disk is opened for writing", async () => {
    const { value, details } = await reach(["disk"]);
    if (value < 0) return expect(details).toEqual([]);
    expect(details).toEqual([expect.stringMatching(/^kernel-reached: .*\/dev\/loop0/)]);
    expect((await reach(["look-disk"])).details).toEqual([]);
  });

  test("somebody else's BPF program is attached", async () => {
    const keeper = Bun.spawn([tracee("kernel"), "keep"], { stdin: "pipe", stdout: "pipe" });
    const { value } = await keeper.stdout.getReader().read();
    const [line] = parseLines(Buffer.from(value ?? new Uint8Array()));
    const number = line?.see === "answer" && line.what === "number" ? line.value : undefined;
    if (number !== undefined) {
      expect((await reach(["look", `${number}`])).details).toEqual([]);
      const attached = await reach(["attach", `${number}`]);
      expect(attached.details).toEqual(attached.value < 0 ? [] : [expect.stringContaining("bpf: a program is attached")]);
    }
    keeper.stdin.end();
    await keeper.exited;
  });

  test("a program whose type another thread changes", async () => {
    const { lines, record } = await reach(["flip"]);
    const tracing = lines.flatMap(line => (line.see === "answer" && line.what === "tracing" ? [line.value] : []));
    const [gap] = record.commandRun.completeness?.gaps ?? [];
    expect(tracing.filter(pid => !gap?.processids.includes(pid))).toEqual([]);
    expect(gaps(record).filter(kind => kind !== all)).toEqual([]);
  });

  test("the kernel writes accounts", async () => {
    // For each pid namespace by itself: the machine's own are left alone.
    const { value, details } = await reach(["account"], "self", ["unshare", "-pf", "--"]);
    expect(details).toEqual(value < 0 ? [] : [expect.stringMatching(/^kernel-reached: .*: acct$/)]);
  });
});

for (const user of users) {
  test(`as ${user}: what is refused, and what reaches nothing`, async () => {
    const { details } = await reach(["refused"], user);
    expect(details).toEqual([]);
  });
}

describe.skipIf(!isRoot)("files of the kernel", () => {
  for (const path of ["/proc/kcore", "/proc/sysrq-trigger", "/dev/mem"]) {
    test.skipIf(!isWritable(path))(`${path} is opened`, async () => {
      using scratch = new Scratch();
      const redirect = path === "/proc/kcore" ? "<" : ">>";
      const record = recordOf(await run(scratch, ["/bin/sh", "-c", `: ${redirect} ${path}`], { trace: true }));
      expect(record.commandRun.completeness?.gaps[0]?.detail).toContain(path);
    });
  }

  test("a file of debugfs is opened for writing", async () => {
    using scratch = new Scratch();
    // Nothing is written: the machine stays as it is.
    const script = "mkdir debug && mount -t debugfs none debug && : >> debug/clear_warn_once";
    const ran = await run(scratch, ["unshare", "-m", "--", "/bin/sh", "-c", script], { trace: true });
    if (ran.status !== 0) return; // mounts are not allowed here
    expect(gaps(recordOf(ran))).toEqual([all]);
  });
});

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
