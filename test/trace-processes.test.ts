// Every process of the command is recorded, with its creator, its last image and its end; threads are no processes; what a tracee
// sees of signals and stops is what it sees without a tracer.
import { describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Ran, type Running, recordOf, run, Scratch, start, tracee, type User, users } from "./harness.ts";
import { gaps, type Record } from "./record.ts";
import { inconsistencies, parseLines, sha256, unseen } from "./seen.ts";

interface Traced extends Ran {
  record: Record;
  child: Running;
}

async function trace(scratch: Scratch, command: string[], args: string[] = []): Promise<Traced> {
  const child = start(scratch, command, { trace: true, args });
  const ran = await child.end();
  return { ...ran, record: recordOf(ran), child };
}

/** Tracees that say everything themselves. `processes`: how many there are, the command included. */
const rows: { name: string; processes: number }[] = [
  { name: "children", processes: 11 },
  { name: "thread-exec", processes: 1 },
  { name: "exec-kinds", processes: 11 },
  { name: "stop", processes: 8 },
];

for (const user of users) {
  describe(`as ${user}`, () => {
    for (const row of rows) {
      test(row.name, async () => {
        using scratch = new Scratch(user);
        const { record, stdout, child, status, stderr } = await trace(scratch, [tracee(row.name, scratch)]);
        expect(stderr).not.toContain("tracee:");
        const lines = parseLines(stdout);
        expect(lines.length).toBeGreaterThan(0);
        expect(unseen(record, lines)).toEqual([]);
        expect(inconsistencies(record, child.pid)).toEqual([]);
        expect(record.processes.length).toBe(row.processes);
        expect(gaps(record)).toEqual([]);
        expect(record.commandRun.completeness?.verdict).toBe("complete");
        expect(status).toBe(0);
      });
    }

    test("signals arrive as in a bare run", async () => {
      using scratch = new Scratch(user);
      const bare = await run(scratch, [tracee("signals", scratch)], { bare: true });
      const { stdout, status, record } = await trace(scratch, [tracee("signals", scratch)]);
      expect(stdout.toString()).toBe(bare.stdout.toString());
      expect(status).toBe(0);
      expect(gaps(record)).toEqual([]);
      // Deaths by signal are those of processes too.
      const died = record.processes.flatMap(entry => entry.exitsignal ?? []).sort();
      expect(died).toEqual(expect.arrayContaining(["SIGABRT", "SIGHUP", "SIGPIPE", "SIGSEGV"]));
      expect(died.length).toBe(6);
    });

    test("a process that crashes and leaves its memory behind", async () => {
      using scratch = new Scratch(user);
      const { record, stdout } = await trace(scratch, [
        "/bin/sh",
        "-c",
        "ulimit -c unlimited || echo no; sh -c 'kill -SEGV $$'; exit 0",
      ]);
      expect(record.processes.at(-1)?.exitsignal).toBe("SIGSEGV");
      if (stdout.toString() === "no\n") return; // not for us here
      const isHandedOver = /^[|@]/.test(readFileSync("/proc/sys/kernel/core_pattern", "latin1"));
      expect(gaps(record)).toEqual([isHandedOver ? "core-handed-over" : "core-file"]);
    });

    test("a command that is killed while it is stopped ends us too", async () => {
      using scratch = new Scratch(user);
      const { record, status, stderr } = await trace(scratch, [tracee("stopped", scratch)]);
      expect(stderr).not.toContain("tracee:");
      expect(record.commandRun.exitcode).toBe(137);
      expect(record.processes.map(entry => entry.exitsignal ?? entry.exitcode).sort()).toEqual([0, "SIGKILL"]);
      expect(status).toBe(137);
    });

    test("identity of the image: program, arguments, digests", async () => {
      using scratch = new Scratch(user);
      const program = tracee("die", scratch);
      const { record } = await trace(scratch, [program, "exit", "3"]);
      const [only] = record.processes;
      expect(only).toMatchObject({
        program,
        argv: [program, "exit", "3"],
        cmdline: `${program} exit 3`,
        comm: "die",
        exitcode: 3,
        cwd: scratch.work,
      });
      expect(only?.programdigest?.sha256).toBe(sha256(readFileSync(program)));
      expect(only?.exedigest?.sha256).toBe(sha256(readFileSync(program)));
      expect(record.commandRun.cmd).toEqual([program, "exit", "3"]);
    });

    test("arguments and variables that are not UTF-8 are not lost", async () => {
      using scratch = new Scratch(user);
      const command = [tracee("die", scratch), "exit", "0", "@fffe", "@"];
      const child = start(scratch, command, { trace: true, launch: [`env=${Buffer.from("ODD=").toString("hex")}ff`] });
      const record = recordOf(await child.end());
      expect(record.processes[0]?.argv?.slice(3)).toEqual(["\\xFF\\xFE", ""]);
      expect(record.processes[0]?.environ).toContain("ODD=");
    });

    test("failed execs of a search in PATH are no programs", async () => {
      using scratch = new Scratch(user);
      const command = ["/bin/sh", "-c", "PATH=/nowhere:/dev/null:/bin:/usr/bin; true_is_external=$(command -v env); env true"];
      const { record } = await trace(scratch, command);
      for (const entry of record.processes) {
        expect(entry.program?.startsWith("/nowhere")).toBe(false);
        for (const image of entry.images) expect(image.program.startsWith("/nowhere")).toBe(false);
      }
      const found = record.processes.find(entry => JSON.stringify(entry.argv) === '["true"]');
      expect(found?.images.at(-1)?.argv).toEqual(["env", "true"]);
    });

    test("a pipeline of a shell", async () => {
      using scratch = new Scratch(user);
      const { record, child, stdout } = await trace(scratch, ["/bin/sh", "-c", "echo b a | tr ' ' '\\n' | sort | cat"]);
      expect(stdout.toString()).toBe("a\nb\n");
      expect(inconsistencies(record, child.pid)).toEqual([]);
      const [shell, ...rest] = record.processes;
      expect(rest.every(entry => entry.parentpid === shell?.processid)).toBe(true);
      expect(rest.flatMap(entry => entry.comm ?? [])).toEqual(expect.arrayContaining(["tr", "sort", "cat"]));
      expect(gaps(record)).toEqual([]);
    });

    test("hundreds of processes at once, deep and wide", async () => {
      using scratch = new Scratch(user);
      const script = join(scratch.work, "many.sh");
      writeFileSync(script, 'i=0; while [ $i -lt 40 ]; do (sh -c "sh -c true; exit 3"; true) & i=$((i+1)); done; wait\n');
      const { record, child } = await trace(scratch, ["/bin/sh", script]);
      expect(inconsistencies(record, child.pid)).toEqual([]);
      // Per turn: the subshell, the shell that it runs, and the innermost one.
      expect(record.processes.length).toBe(1 + 40 * 3);
      expect(record.processes.filter(entry => entry.exitcode === 3).length).toBe(40);
      expect(gaps(record)).toEqual([]);
    });
  });
}

describe("what outlives the command", () => {
  const grace = (user: User, stay: number, seconds: string) => async () => {
    using scratch = new Scratch(user);
    const { record, stdout, status } = await trace(scratch, [tracee("daemon", scratch), `${stay}`, "7"], ["--grace", seconds]);
    const lines = parseLines(stdout);
    const daemon = lines.find(line => line.see === "daemon");
    expect(unseen(record, lines)).toEqual([]);
    expect(status).toBe(7);
    expect(record.commandRun.exitcode).toBe(7);
    return { record, pid: daemon?.pid ?? 0, scratch };
  };
  for (const user of users) {
    test(`is killed after the grace period and listed, as ${user}`, async () => {
      const { record, pid } = await grace(user, 0, "1")();
      expect(record.commandRun.completeness?.verdict).toBe("incomplete");
      const [gap] = record.commandRun.completeness?.gaps ?? [];
      expect(gap).toMatchObject({ severity: "gap", count: 1, processids: [pid] });
      expect(record.processes.find(entry => entry.processid === pid)).toMatchObject({ exitcode: 137, exitsignal: "SIGKILL" });
      expect(() => process.kill(pid, 0)).toThrow();
    });

    test(`is waited for when it ends by itself, as ${user}`, async () => {
      const { record } = await grace(user, 300, "20")();
      expect(gaps(record)).toEqual([]);
      const written = record.processes.flatMap(entry => Object.keys(entry.writtenDigests));
      expect(written.some(path => path.endsWith("/daemon-was-here"))).toBe(true);
    });
  }

  test("without --trace it is killed after the grace period as well", async () => {
    using scratch = new Scratch();
    const ran = await run(scratch, [tracee("daemon"), "0", "7"], { args: ["--grace", "1"] });
    const daemon = parseLines(ran.stdout).find(line => line.see === "daemon");
    expect(ran.status).toBe(7);
    expect(() => process.kill(daemon?.pid ?? 0, 0)).toThrow();
    expect(recordOf(ran).commandRun).toMatchObject({ exitcode: 7, summary: { survivorsKilled: 1 } });
    expect(ran.stderr).toMatch(/killed +1 process that outlived the command\n/);
  });
});
