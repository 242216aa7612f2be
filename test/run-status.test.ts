// The exit status is the command's; where there is no command, it says why, and nothing is left behind.
import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { errors, isRoot, recordOf, run, Scratch, start, tracee, until, users } from "./harness.ts";

const signals = {
  1: "SIGHUP",
  2: "SIGINT",
  6: "SIGABRT",
  9: "SIGKILL",
  11: "SIGSEGV",
  13: "SIGPIPE",
  15: "SIGTERM",
  34: undefined,
  64: undefined,
};

for (const user of users) {
  for (const trace of [false, true]) {
    describe(`as ${user}, ${trace ? "traced" : "untraced"}`, () => {
      for (const status of [0, 1, 42, 125, 126, 127, 128, 255]) {
        test(`exit status ${status}`, async () => {
          using scratch = new Scratch(user);
          const ran = await run(scratch, [tracee("die", scratch), "exit", `${status}`], { trace });
          expect(recordOf(ran).commandRun.exitcode).toBe(status);
          expect(ran.status).toBe(status);
          // The message of a failing command is its own affair: ours would only mislead.
          expect(errors(ran)).toEqual([]);
        });
      }
      for (const [number, name] of Object.entries(signals)) {
        test(`death by signal ${number}`, async () => {
          using scratch = new Scratch(user);
          const ran = await run(scratch, [tracee("die", scratch), "signal", number], { trace });
          const record = recordOf(ran);
          expect(record.commandRun.exitcode).toBe(128 + Number(number));
          if (trace && name) expect(record.processes[0]?.exitsignal).toBe(name);
          expect(ran.status).toBe(128 + Number(number));
        });
      }
    });
  }
}

interface Refusal {
  name: string;
  status: number;
  /** Files of the working directory and further flags for this row. */
  prepare?: (scratch: Scratch) => void;
  args?: (scratch: Scratch) => string[];
  command: (scratch: Scratch) => string[];
}

const marker = ["/bin/sh", "-c", "touch started"];
const refusals: Refusal[] = [
  { name: "no such file", status: 127, command: () => ["/nowhere/program"] },
  { name: "not found in PATH", status: 127, command: () => ["no-such-program-anywhere"] },
  { name: "an empty name", status: 2, command: () => [""] },
  { name: "a directory", status: 126, command: scratch => [scratch.work] },
  {
    name: "a file without the right to run it",
    status: 126,
    prepare: scratch => writeFileSync(join(scratch.work, "plain"), "#!/bin/sh\ntouch started\n", { mode: 0o644 }),
    command: () => ["./plain"],
  },
  { name: "no command", status: 2, command: () => [] },
  { name: "an unknown flag", status: 2, args: () => ["--no-such-flag"], command: () => marker },
  { name: "an unknown attestor", status: 2, args: () => ["-a", "no-such-attestor"], command: () => marker },
  {
    name: "a missing working directory",
    status: 125,
    args: scratch => ["-d", join(scratch.path, "absent")],
    command: () => marker,
  },
  {
    name: "an outfile in a missing directory",
    status: 125,
    args: scratch => ["-o", join(scratch.path, "absent", "x.json")],
    command: () => marker,
  },
  { name: "an outfile that is a directory", status: 125, args: scratch => ["-o", scratch.work], command: () => marker },
  {
    name: "a key that is not there",
    status: 125,
    args: scratch => ["-k", join(scratch.path, "absent.pem")],
    command: () => marker,
  },
  {
    name: "a key that is none",
    status: 125,
    prepare: scratch => writeFileSync(scratch.keyPath, "not a key\n"),
    command: () => marker,
  },
];

describe("a command that cannot be started", () => {
  for (const trace of [false, true]) {
    for (const row of refusals) {
      test(`${row.name}, ${trace ? "traced" : "untraced"}`, async () => {
        using scratch = new Scratch();
        row.prepare?.(scratch);
        const before = readdirSync(scratch.path).sort();
        const ran = await run(scratch, row.command(scratch), { trace, args: row.args?.(scratch) ?? [] });
        expect(ran.record).toBeUndefined();
        expect(existsSync(join(scratch.work, "started"))).toBe(false);
        expect(readdirSync(scratch.path).sort()).toEqual(before);
        expect(errors(ran).length).toBe(1);
        expect(ran.status).toBe(row.status);
      });
    }
  }
});

for (const trace of [false, true]) {
  test(`a command that is killed before it is executed, ${trace ? "traced" : "untraced"}`, async () => {
    using scratch = new Scratch();
    const child = await until("it was early enough", async () => {
      const attempt = start(scratch, ["sleep", "1000"], { trace });
      const command = await until("tracer and command are there", () => childOf(childOf(attempt.pid)));
      process.kill(command, "SIGSTOP");
      const isExecuted = !readlinkSync(`/proc/${command}/exe`).endsWith("/cilock");
      process.kill(command, "SIGKILL");
      if (!isExecuted) return attempt;
      await attempt.end();
      return undefined;
    });
    const ran = await child.end();
    expect(errors(ran)).toEqual(["cilock: error: the command was killed by SIGKILL before it was executed"]);
    expect(ran.record).toBeUndefined();
    expect(ran.status).toBe(137);
  });
}

/** The one child of a process; undefined: there is none yet. */
function childOf(pid: number | undefined): number | undefined {
  if (pid === undefined || !existsSync(`/proc/${pid}`)) return undefined;
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").trim().split(" ")[0]) || undefined;
}

test("a script without #! is run by the shell, as execvp(3) and every shell do it", async () => {
  using scratch = new Scratch();
  writeFileSync(join(scratch.work, "script"), "echo from $0; exit 3\n", { mode: 0o755 });
  for (const trace of [false, true]) {
    const ran = await run(scratch, ["./script"], { trace });
    expect(ran.stdout.toString()).toBe("from ./script\n");
    expect(ran.status).toBe(3);
  }
});

test("an older record stays as it is when the command cannot be started", async () => {
  using scratch = new Scratch();
  writeFileSync(scratch.outfile, "older\n");
  const child = start(scratch, ["/nowhere/program"]);
  await child.exited();
  expect(readFileSync(scratch.outfile, "utf8")).toBe("older\n");
});

test("while the command runs there is neither a record nor a temporary file", async () => {
  using scratch = new Scratch();
  const outfile = join(scratch.path, "records", "record.json");
  mkdirSync(join(scratch.path, "records"));
  const child = start(scratch, [tracee("patient")], { stdin: "pipe", args: ["-o", outfile] });
  await until("the command is up", () => child.printed.includes("ready"));
  expect(readdirSync(join(scratch.path, "records"))).toEqual([]);
  child.closeInput();
  await child.exited();
  expect(readdirSync(join(scratch.path, "records"))).toEqual(["record.json"]);
});

test("the directory of the command is that of --workingdir, and the outfile's that of the caller", async () => {
  using scratch = new Scratch();
  mkdirSync(join(scratch.work, "below"));
  const ran = await run(scratch, ["/bin/sh", "-c", "pwd"], { args: ["-d", "below", "-o", "here.json"] });
  expect(ran.stdout.toString()).toBe(`${join(scratch.work, "below")}\n`);
  expect(existsSync(join(scratch.work, "here.json"))).toBe(true);
});

test.if(isRoot)("an outfile that the user may not write is found before the command starts", async () => {
  using scratch = new Scratch("nobody");
  mkdirSync(join(scratch.path, "locked"), { mode: 0o755 });
  const ran = await run(scratch, marker, { args: ["-o", join(scratch.path, "locked", "record.json")] });
  expect(existsSync(join(scratch.work, "started"))).toBe(false);
  expect(ran.status).toBe(125);
});

test("`--outfile -` is stdout, and then the command's own stdout goes to stderr", async () => {
  using scratch = new Scratch();
  const ran = await run(scratch, ["/bin/sh", "-c", "echo from the command"], { args: ["-o", "-"] });
  expect(ran.stdout.toString().startsWith('{"payload"')).toBe(true);
  expect(ran.stderr).toContain("from the command");
  expect(ran.status).toBe(0);
});
