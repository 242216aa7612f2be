// Processes whose memory cannot be read: what was opened is known all the same, or the record says what it does not know, and no run
// waits for memory that never comes.
import { describe, expect, test } from "bun:test";
import { chmodSync, chownSync, copyFileSync } from "node:fs";
import { join } from "node:path";
import { isRoot, recordOf, Scratch, start, tracee, users } from "./harness.ts";
import { gaps, processOf, type Record } from "./record.ts";
import { inconsistencies, parseLines, unseen } from "./seen.ts";

async function traced(scratch: Scratch, command: string[]) {
  const child = start(scratch, command, { trace: true });
  const ran = await child.end();
  expect(ran.stderr).not.toContain("tracee:");
  return { ran, record: recordOf(ran), lines: parseLines(ran.stdout), frontEnd: child.pid };
}

function checked({ record, lines, frontEnd }: { record: Record; lines: ReturnType<typeof parseLines>; frontEnd: number }): void {
  expect(lines.length).toBeGreaterThan(0);
  expect(unseen(record, lines)).toEqual([]);
  expect(inconsistencies(record, frontEnd)).toEqual([]);
}

for (const user of users) {
  describe(`as ${user}`, () => {
    test("arguments in secret memory, which only the kernel can read for the process", async () => {
      using scratch = new Scratch(user);
      const run = await traced(scratch, [tracee("unreadable", scratch), "secret"]);
      checked(run);
      const { record, lines, ran } = run;
      if (lines.some(line => line.see === "answer")) return; // this kernel has no memfd_secret
      // Opened: known by the descriptor. Deleted, connected to: two calls of which it is only known that they were made.
      expect(gaps(record)).toEqual(["unreadable-memory"]);
      expect(record.commandRun.completeness?.gaps[0]?.count).toBe(2);
      expect(record.commandRun.completeness?.verdict).toBe("incomplete");
      expect(ran.status).toBe(0);
    });

    test("arguments that the kernel cannot read either: nothing happens, and nothing is missing", async () => {
      using scratch = new Scratch(user);
      const run = await traced(scratch, [tracee("unreadable", scratch), "protnone"]);
      checked(run);
      expect(gaps(run.record)).toEqual([]);
      expect(run.ran.status).toBe(0);
    });

    for (const mode of ["userfault", "userfault-lost", "userfault-device"]) {
      test(`a page that comes late or never: ${mode}`, async () => {
        using scratch = new Scratch(user);
        const child = start(scratch, [tracee("unreadable", scratch), mode], { trace: true, args: ["--grace", "1"] });
        const ran = await child.end();
        const record = recordOf(ran);
        const lines = parseLines(ran.stdout);
        expect(unseen(record, lines)).toEqual([]);
        expect(inconsistencies(record, child.pid)).toEqual([]);
        if (lines.some(line => line.see === "answer")) return; // not to be had here, or by this user
        // Without it the tracer would wait for ever.
        expect(gaps(record).filter(kind => kind !== "survivor-killed")).toEqual(["userfault-restricted"]);
      });
    }
  });
}

describe.skipIf(!isRoot)("a program that may be run but not read", () => {
  /** It belongs to root, mode 0711: the kernel makes the process undumpable. */
  const program = (scratch: Scratch) => {
    const path = join(scratch.work, "unreadable-program");
    copyFileSync(tracee("opener"), path);
    chownSync(path, 0, 0);
    chmodSync(path, 0o711);
    return path;
  };

  test("as an ordinary user: flagged, with what cannot be known", async () => {
    using scratch = new Scratch("nobody");
    const path = program(scratch);
    // By a relative name too: which directory that is in can only be asked before.
    const { record, ran } = await traced(scratch, ["./unreadable-program"]);
    expect(record.processes.map(entry => entry.program)).toEqual([path]);
    expect(gaps(record)).toEqual(expect.arrayContaining(["unreadable-memory", "unreadable-file"]));
    expect(gaps(record)).not.toContain("program-unknown");
    for (const gap of record.commandRun.completeness?.gaps ?? []) {
      if (gap.kind === "unreadable-memory" || gap.kind === "unreadable-file") expect(gap.detail).toContain(path);
    }
    expect(record.commandRun.completeness?.verdict).toBe("incomplete");
    expect(ran.status).toBe(0);
  });

  test("as root: nothing is hidden", async () => {
    using scratch = new Scratch("self");
    const path = program(scratch);
    const run = await traced(scratch, [path]);
    checked(run);
    expect(gaps(run.record)).toEqual([]);
    expect(processOf(run.record, run.record.processes[0]?.processid ?? 0).program).toBe(path);
  });
});
