// Signals that somebody sends to us reach the command, once. Whoever of us is killed, nothing of the build goes on unwatched.
import { afterEach, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { plainEnvironment, type Running, type RunOptions, recordOf, Scratch, start, tracee, until, users } from "./harness.ts";

const numbers = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15, SIGALRM: 14 } as const;

for (const user of users) {
  for (const trace of [false, true]) {
    describe(`as ${user}, ${trace ? "traced" : "untraced"}`, () => {
      for (const [name, number] of Object.entries(numbers)) {
        test(`${name} reaches the command once, which goes on`, async () => {
          using scratch = new Scratch(user);
          const child = await begin(scratch, [tracee("patient", scratch)], { trace });
          child.kill(number);
          await until("the command says that it got the signal", () => child.printed.includes(`"got","signal":${number}`));
          child.closeInput();
          const ran = await child.end();
          expect(JSON.parse(child.printed.trim().split("\n").at(-1) ?? "")[`${number}`]).toBe(1);
          expect(recordOf(ran).commandRun.interrupted).toBe(name);
          expect(ran.status).toBe(0);
        });

        test(`${name} ends a command that does nothing about it`, async () => {
          using scratch = new Scratch(user);
          const child = await begin(scratch, [tracee("patient", scratch), "die"], { trace });
          child.kill(number);
          const ran = await child.end();
          const { commandRun } = recordOf(ran);
          expect(commandRun.interrupted).toBe(name);
          expect(commandRun.exitcode).toBe(128 + number);
          expect(ran.status).toBe(128 + number);
        });
      }

      test("SIGUSR1 reaches the command, and is no note: it asks for something, and not for the end", async () => {
        using scratch = new Scratch(user);
        const child = await begin(scratch, [tracee("patient", scratch)], { trace });
        child.kill("SIGUSR1");
        await until("the command says that it got the signal", () => child.printed.includes(`"got","signal":10`));
        child.closeInput();
        const ran = await child.end();
        expect(recordOf(ran).commandRun.interrupted).toBeUndefined();
        expect(ran.status).toBe(0);
      });

      test("one who signals us and then our whole group, as timeout(1) does, means one signal", async () => {
        using scratch = new Scratch(user);
        const child = await begin(scratch, [tracee("patient", scratch)], { trace, before: [tracee("twofold", scratch)] });
        child.kill("SIGUSR1");
        await until("the command says that it got the signal", () => child.printed.includes(`"got","signal":15`));
        child.closeInput();
        const ran = await child.end();
        expect(recordOf(ran).commandRun.interrupted).toBe("SIGTERM");
        expect(ran.status).toBe(0);
      });

      test("a command that is interrupted by a signal of its own is not `interrupted`", async () => {
        using scratch = new Scratch(user);
        const child = await begin(scratch, [tracee("patient", scratch), "die"], { trace });
        process.kill(pidIn(child.printed), "SIGTERM");
        const ran = await child.end();
        expect(recordOf(ran).commandRun.interrupted).toBeUndefined();
        expect(ran.status).toBe(143);
      });

      test("the second signal kills everything and leaves no record", async () => {
        using scratch = new Scratch(user);
        const mark = crypto.randomUUID();
        const script = `${tracee("daemon", scratch)} 0 0; exec ${tracee("patient", scratch)}`;
        const child = await begin(scratch, ["/bin/sh", "-c", script], { trace, env: marked(scratch, mark) });
        expect(alive(mark, child.pid).length).toBeGreaterThanOrEqual(2);
        child.kill("SIGTERM");
        await until("the first signal has arrived", () => child.printed.includes(`"got","signal":15`));
        // From somebody else: the same signal of the same sender soon after may be one signal to us and to our group.
        Bun.spawnSync(["kill", "-TERM", `${child.pid}`]);
        expect(await child.exited()).toBe(128 + numbers.SIGTERM);
        expect(existsSync(scratch.outfile)).toBe(false);
        expect(alive(mark)).toEqual([]);
      });

      for (const victim of ["front end", "tracer"] as const) {
        test(`kill -9 of the ${victim}: nothing of the build is alive, no record`, async () => {
          using scratch = new Scratch(user);
          const mark = crypto.randomUUID();
          // A daemon that has left session and parent, a child in the background, and the command.
          const script = `${tracee("daemon", scratch)} 0 0; sleep 1000 & exec ${tracee("patient", scratch)}`;
          const child = await begin(scratch, ["/bin/sh", "-c", script], { trace, env: marked(scratch, mark) });
          const build = await until("daemon, sleep and command are up", () => {
            const pids = alive(mark, child.pid).filter(pid => pid !== tracerOf(child.pid));
            return pids.length >= 3 && pids;
          });
          process.kill(victim === "tracer" ? tracerOf(child.pid) : child.pid, "SIGKILL");
          const status = await child.exited();
          await until("everything of the build is gone", () => build.every(pid => !isAlive(pid)));
          await until("nothing else with its mark is alive", () => alive(mark).length === 0);
          expect(existsSync(scratch.outfile)).toBe(false);
          expect(readdirSync(scratch.path).sort()).toEqual(["key.pem", "work"]);
          expect(status).toBe(victim === "tracer" ? 125 : 137);
        });
      }
    });
  }
}

/** Starts and waits until the command says that it is ready. */
async function begin(scratch: Scratch, command: string[], options: RunOptions): Promise<Running> {
  const child = start(scratch, command, { ...options, stdin: "pipe" });
  await until("the command is up", () => child.printed.includes(`"ready"`));
  return child;
}

function pidIn(text: string): number {
  return Number(/"ready","pid":(\d+)/.exec(text)?.[1]);
}

const markName = "CILOCK_TEST_MARK";

const marks: string[] = [];

// What a failing test leaves behind must not stay on the machine.
afterEach(() => {
  for (const mark of marks.splice(0)) for (const pid of alive(mark)) process.kill(pid, "SIGKILL");
});

function marked(scratch: Scratch, mark: string): { [name: string]: string } {
  marks.push(mark);
  return { ...plainEnvironment(scratch), [markName]: mark };
}

/** Processes that carry the mark in their environment. A zombie has none any more. */
function alive(mark: string, except?: number): number[] {
  return readdirSync("/proc")
    .filter(name => /^\d+$/.test(name))
    .map(Number)
    .filter(pid => pid !== except && environmentOf(pid).includes(`${markName}=${mark}`));
}

function environmentOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, "latin1");
  } catch {
    return ""; // gone, or not ours to read
  }
}

function isAlive(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) [ZX] /s.test(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return false;
  }
}

/** The one child of the front end; the command is its child. */
function tracerOf(frontEnd: number): number {
  const children = readFileSync(`/proc/${frontEnd}/task/${frontEnd}/children`, "latin1")
    .trim()
    .split(" ")
    .filter(Boolean)
    .map(Number);
  const [only] = children;
  if (only === undefined || children.length > 1) throw new Error(`the front end has the children ${children.join(" ")}`);
  return only;
}

test("a timer that was set before our exec is the command's, as in alarm(1)", async () => {
  using scratch = new Scratch("self");
  // Long enough for our start; who sets one says how long the command may take.
  const before = [tracee("launch", scratch), "alarm=4", "--"];
  const child = await begin(scratch, [tracee("patient", scratch), "die"], { trace: true, before });
  const ran = await child.end();
  expect(recordOf(ran).commandRun.interrupted).toBe("SIGALRM");
  expect(ran.status).toBe(128 + numbers.SIGALRM);
});

test("a soft limit of CPU time is the command's; our own digests are not counted by it", async () => {
  using scratch = new Scratch("self");
  const before = [tracee("launch", scratch), "cpu=77", "--"];
  // The parent is the tracer, whose parent is the front end.
  const script = `ulimit -S -t
    front=$(awk '/^PPid/ { print $2 }' /proc/$PPID/status)
    for pid in self $PPID $front; do awk '/^Max cpu time/ { print $4 }' /proc/$pid/limits; done`;
  const child = start(scratch, ["sh", "-c", script], { trace: true, before });
  const ran = await child.end();
  expect(recordOf(ran).commandRun.stdout).toBe("77\n77\nunlimited\nunlimited\n");
});
