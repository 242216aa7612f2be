// Programs that try not to be seen. Each open that really happened is in the record, or the record says that it may be incomplete.
import { describe, expect, test } from "bun:test";
import { accessSync, constants } from "node:fs";
import { isRoot, recordOf, run, Scratch, start, tracee, users } from "./harness.ts";
import { gaps, type Record } from "./record.ts";
import { inconsistencies, parseLines, unseen } from "./seen.ts";

interface Row {
  story: string;
  command: string[];
  args?: string[];
  /** Kinds of gaps and notes that the record must have. */
  kinds?: string[];
  /** What must not be in the way: these make no gap at all. */
  complete?: boolean;
}

const rows: Row[] = [
  { story: "a child that asks not to be traced (clone, clone3, flags flipped by a thread)", command: ["untraced-child"] },
  { story: "calls of the 32-bit table", command: ["int80"], complete: true },
  { story: "calls of the x32 table", command: ["x32"] },
  { story: "io_uring is refused", command: ["uring"], kinds: ["io-uring-refused"] },
  { story: "io_uring is allowed", command: ["uring"], args: ["--allow-io-uring"], kinds: ["io-uring-allowed"] },
  { story: "a process that is not dumpable", command: ["dumpable"] },
  { story: "the build's own filter answers an errno", command: ["own-filter", "errno"], complete: true },
  { story: "the build's own filter raises SIGSYS", command: ["own-filter", "trap"], complete: true },
  { story: "the build's own filter asks for a tracer", command: ["own-filter", "trace"] },
  { story: "the build answers its own calls with `continue`", command: ["own-filter", "notify"], kinds: ["seccomp-listener"] },
  { story: "the same for all its threads, an errno", command: ["own-filter", "errno", "all"], complete: true },
  { story: "the same for all its threads, a tracer", command: ["own-filter", "trace", "all"], complete: true },
  { story: "the same for all its threads, `continue`", command: ["own-filter", "notify", "all"], kinds: ["seccomp-listener"] },
  { story: "a path that changes while it is opened", command: ["flipper"], complete: true },
  { story: "the tracer and the front end are attacked", command: ["attack"], kinds: ["attack-refused"] },
];

const eventsOf = ({ processes }: Record): string[] =>
  processes.flatMap(entry => entry.syscallEvents.map(({ syscall, detail, result }) => `${result} ${syscall} ${detail}`));

/** What was refused is an event, whatever it was. */
const attackEvents = [
  /^EPERM process_vm_readv process \d/,
  /^EPERM ptrace PTRACE_SEIZE/,
  /^EPERM fcntl F_SETOWN$/,
  /^EPERM ioctl SIOCSPGRP$/,
  /^EPERM kill SIGKILL to process \d/,
  /^EPERM tgkill SIGSTOP to process \d/,
  /^EPERM pidfd_send_signal SIGKILL$/,
];

for (const user of users) {
  describe(`as ${user}`, () => {
    for (const row of rows) {
      test(row.story, async () => {
        using scratch = new Scratch(user);
        const [name, ...words] = row.command;
        const child = start(scratch, [tracee(name ?? "", scratch), ...words], { trace: true, args: row.args ?? [] });
        const ran = await child.end();
        expect(ran.stderr).not.toContain("tracee:");
        const record = recordOf(ran);
        const lines = parseLines(ran.stdout);
        expect(lines.length).toBeGreaterThan(0);
        expect(unseen(record, lines)).toEqual([]);
        expect(inconsistencies(record, child.pid)).toEqual([]);
        for (const gap of row.kinds ?? []) expect(gaps(record)).toContain(gap);
        if (name === "x32") expect(eventsOf(record)).toContainEqual(expect.stringMatching(/^ENOSYS .* x32$/));
        if (name === "attack") {
          for (const event of attackEvents) expect(eventsOf(record)).toContainEqual(expect.stringMatching(event));
          // Root can follow a symbolic link into our memory, to read it: taken back, and said. To write is refused before.
          const links = lines.filter(one => one.see === "attack" && one.what === "symbolic link").length;
          const taken = record.commandRun.completeness?.gaps.find(gap => gap.kind === "own-file-opened")?.count ?? 0;
          expect(taken).toBe(isRoot && user === "self" ? links : 0);
        }
        if (row.complete) expect(gaps(record)).toEqual([]);
        expect(ran.status).toBe(0);
      });
    }

    test("the tracer's memory by a symbolic link, while another thread waits for it", async () => {
      using scratch = new Scratch(user);
      const ran = await run(scratch, [tracee("attack", scratch), "threaded"], { trace: true });
      expect(ran.stderr).not.toContain("tracee:");
      expect(unseen(recordOf(ran), parseLines(ran.stdout))).toEqual([]);
      // Refused before the call, by us or by the kernel: nobody has had it.
      expect(gaps(recordOf(ran))).toEqual(isRoot && user === "self" ? ["attack-refused"] : []);
    });

    test("who looks at all processes, and so at ours, is refused as an ordinary user is, and that is an event and no more", async () => {
      using scratch = new Scratch(user);
      const ran = await run(scratch, [tracee("attack", scratch), "look"], { trace: true });
      expect(ran.stderr).not.toContain("tracee:");
      const record = recordOf(ran);
      const lines = parseLines(ran.stdout);
      const looks = lines.filter(line => line.see === "attack");
      expect(looks.filter(line => line.done)).toEqual([]);
      expect(gaps(record)).toEqual([]);
      if (isRoot && user === "self")
        expect(eventsOf(record)).toEqual(looks.map(({ victim }) => `EPERM openat process ${victim}`));
    });

    test("by a symbolic link that leads there only now and then", async () => {
      using scratch = new Scratch(user);
      const ran = await run(scratch, [tracee("attack", scratch), "flipped"], { trace: true });
      expect(ran.stderr).not.toContain("tracee:");
      const used = parseLines(ran.stdout).some(line => line.see === "answer" && line.what === "used" && line.value > 0);
      if (used) expect(gaps(recordOf(ran))).toContain("own-file-opened");
    });

    // A session of their own: without the guard the tests would be in that group too.
    for (const mode of user === "nobody" ? ["zero", "group", "pidfd", "everybody"] : ["zero", "group", "pidfd"]) {
      for (const signal of [9, 27]) {
        test(`a signal to the whole group: ${mode}, ${signal}`, async () => {
          using scratch = new Scratch(user);
          const command = [tracee("group-kill", scratch), mode, String(signal)];
          const child = start(scratch, command, { trace: true, before: ["setsid"] });
          const ran = await child.end();
          const record = recordOf(ran);
          const [line] = parseLines(ran.stdout);
          const victim = line?.see === "answer" ? record.processes.find(entry => entry.processid === line.value) : undefined;
          if (ran.stderr.includes("the signal: -22")) return; // no such flag before Linux 6.9
          expect(ran.stderr).not.toContain("tracee:");
          expect(victim?.exitcode).toBe(128 + signal);
          expect(ran.status).toBe(mode === "everybody" ? 0 : 128 + signal);
          expect(gaps(record)).toEqual(["group-signal-kept"]);
        });
      }
    }

    test("what a filter of the build's own answers is what it answers without us", async () => {
      for (const answer of ["errno", "trap", "trace"]) {
        using scratch = new Scratch(user);
        const answers = async (bare: boolean) => {
          const ran = await run(scratch, [tracee("own-filter", scratch), answer], bare ? { bare } : { trace: true });
          return parseLines(ran.stdout).filter(line => line.see === "answer");
        };
        expect(await answers(false)).toEqual(await answers(true));
      }
    });
  });
}

const corePattern = "/proc/sys/kernel/core_pattern";

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

describe.if(isRoot && isWritable(corePattern))("the kernel is told which program to run", () => {
  // Opened and not written: the machine stays as it is.
  test("by a file of proc", async () => {
    using scratch = new Scratch();
    const record = recordOf(await run(scratch, ["/bin/sh", "-c", `: >> ${corePattern}`], { trace: true }));
    const [gap] = record.commandRun.completeness?.gaps ?? [];
    expect([gap?.kind, gap?.detail.includes(`the kernel, by ${corePattern}`)]).toEqual(["delegated", true]);
  });

  test("by an option of a mount", async () => {
    using scratch = new Scratch();
    const script = "mkdir m && mount -t cgroup -o none,name=cilock-test,release_agent=/bin/false cgroup m; umount m";
    const ran = await run(scratch, ["unshare", "-m", "--", "/bin/sh", "-c", script], { trace: true });
    if (ran.status !== 0) return; // mounts, or this kind of them, are not allowed here
    expect(gaps(recordOf(ran))).toContain("delegated");
  });

  test("by that file alone, mounted elsewhere", async () => {
    using scratch = new Scratch();
    const script = `: > harmless && mount --bind ${corePattern} harmless && : >> harmless`;
    const ran = await run(scratch, ["unshare", "-m", "--", "/bin/sh", "-c", script], { trace: true });
    if (ran.status !== 0) return; // mounts are not allowed here
    expect(gaps(recordOf(ran))).toContain("delegated");
  });
});
