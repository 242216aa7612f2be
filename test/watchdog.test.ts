// Whatever happens to a build, a run ends: there is no stop at which we would wait for something that cannot come. At each kind of
// stop the process that stands there is killed, stopped or frozen by somebody outside, in the moment in which the tracer looks at it.
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { Freezer, type FreezerVersion, freezerOf } from "./freezer.ts";
import { errors, isRoot, type Ran, recordOf, Scratch, until } from "./harness.ts";
import { gaps, processOf } from "./record.ts";
import { inconsistencies, parseLines, unseen } from "./seen.ts";
import { Struck, statusOf } from "./struck.ts";

interface Row {
  /** What the worker does (test/tracees/struck.zig). */
  what: string;
  /** The moment, and those before it (test/tracees/hold.zig). */
  at: string[];
  /** Who is struck, if not the process of the thread that stands there. */
  whom?: "worker";
  /** What the record may say when it is killed there: whether it can still be asked then is a matter of luck. */
  mayMiss?: string[];
  /** What a child ends with that goes on when the worker is killed. */
  orphan?: number;
  /** Also frozen there, by a cgroup of these versions. */
  freeze?: FreezerVersion[];
}

const unannounced = ["parent-unknown"];
const unknownResult = ["tracee-gone"];

const rows: Row[] = [
  { what: "open", at: ["seccomp"], freeze: [1, 2] },
  { what: "open", at: ["seccomp", "resume"], mayMiss: unknownResult },
  { what: "open", at: ["seccomp", "result"], mayMiss: unknownResult, freeze: [2] },
  { what: "open", at: ["seccomp", "result", "resume"], mayMiss: unknownResult },
  { what: "write", at: ["seccomp", "seccomp", "seccomp", "result", "resume"] },
  { what: "fork", at: ["wait", "trap"], freeze: [1, 2] },
  { what: "fork", at: ["wait", "trap"], whom: "worker", mayMiss: unannounced, orphan: 3 },
  { what: "fork", at: ["wait", "trap", "fork"], mayMiss: unannounced },
  { what: "fork", at: ["wait", "trap", "fork", "resume"] },
  { what: "fork", at: ["wait", "trap", "fork", "resume", "resume"] },
  { what: "vfork", at: ["wait", "trap"] },
  { what: "vfork", at: ["wait", "trap"], whom: "worker", mayMiss: unannounced, orphan: 5 },
  { what: "vfork", at: ["wait", "trap", "vfork"], mayMiss: unannounced, freeze: [2] },
  { what: "vfork", at: ["wait", "trap", "vfork", "resume"] },
  { what: "vfork", at: ["exec"] },
  { what: "vfork", at: ["exec"], whom: "worker" },
  { what: "thread", at: ["wait", "trap"] },
  { what: "thread", at: ["wait", "trap", "clone"] },
  { what: "thread", at: ["wait", "trap", "clone", "resume"] },
  { what: "exec", at: ["seccomp"] },
  { what: "exec", at: ["exec"] },
  { what: "exec", at: ["exec", "resume"] },
  { what: "thread-exec", at: ["seccomp"] },
  { what: "thread-exec", at: ["gone"], whom: "worker", freeze: [2] },
  { what: "thread-exec", at: ["gone", "gone"], whom: "worker" },
  { what: "thread-exec", at: ["exec"], freeze: [2] },
  { what: "thread-exec", at: ["exec", "resume"] },
  { what: "signal", at: ["signal"], freeze: [2] },
  { what: "signal", at: ["signal", "resume"] },
  { what: "stop", at: ["group"], freeze: [1, 2] },
  { what: "stop", at: ["group", "resume"] },
  { what: "stop", at: ["group", "trap"] },
  { what: "filter", at: ["entry"], mayMiss: unknownResult, freeze: [2] },
  { what: "filter", at: ["entry", "result"], mayMiss: unknownResult },
  { what: "watched", at: ["trap", "trap"], freeze: [2] },
  { what: "watched", at: ["trap", "trap", "resume"] },
];

describe.skipIf(!isRoot)("somebody outside strikes a process where it stands", () => {
  for (const row of rows) {
    test(`killed: ${nameOf(row)}`, async () => {
      using struck = await held(row);
      process.kill(struck.process, "SIGKILL");
      await struck.letGo();
      const ran = await struck.child.end();
      const record = check(struck, ran);
      expect(processOf(record, struck.process).exitsignal).toBe("SIGKILL");
      expect(gaps(record).filter(kind => !row.mayMiss?.includes(kind))).toEqual([]);
      if (row.orphan !== undefined) expect(record.processes[2]?.exitcode).toBe(row.orphan);
    });
  }

  for (const row of rows.filter(({ at }) => at.at(-1) !== "resume")) {
    test(`stopped: ${nameOf(row)}`, async () => {
      using struck = await held(row);
      process.kill(struck.process, "SIGSTOP");
      await struck.letGo();
      // Once is not enough: a thread that has taken the signal from the queue when an exec kills it puts it back, behind our SIGCONT.
      // Where it has stopped before, the second SIGSTOP stays in the queue until then.
      const isSecond = row.at.at(-1) === "group";
      const waker = setInterval(() => wake(struck.process, isSecond), 20);
      const ran = await struck.child.end().finally(() => clearInterval(waker));
      const record = check(struck, ran);
      expect(processOf(record, struck.worker).exitcode).toBe(5);
      expect(gaps(record)).toEqual([]);
    });
  }
});

test.skipIf(!isRoot)(
  "what the tracer was told of a leader is out of date: an exec by another thread has its number now",
  async () => {
    // Of two that stand still, either may be reported first.
    using struck = await until("the leader's call is reported last", async () => {
      const attempt = await held({ what: "exec-below", at: ["wait", "seccomp", "seccomp"] });
      if (attempt.thread === attempt.worker) return attempt;
      attempt[Symbol.dispose]();
      return undefined;
    });
    await until("the exec is done, and stands still", () => {
      const status = statusOf(struck.worker);
      return status?.Threads === "1" && status.State?.startsWith("t");
    });
    await struck.letGo();
    const ran = await struck.child.end();
    const record = check(struck, ran);
    expect(processOf(record, struck.worker).argv?.[1]).toBe("image");
    expect(processOf(record, struck.worker).exitcode).toBe(5);
    expect(gaps(record)).toEqual([]);
  },
);

for (const version of [1, 2] as const) {
  describe.skipIf(!isRoot || freezerOf(version) === undefined)(`a build that a cgroup of version ${version} freezes`, () => {
    for (const row of rows.filter(({ freeze }) => freeze?.includes(version))) {
      test(`is waited for, and ends when it is thawed: ${nameOf(row)}`, async () => {
        await using group = new Freezer(version);
        using struck = await held(row, group);
        group.freeze();
        await struck.letGo();
        await until("all of it is frozen", () => group.isFrozen);
        expect(statusOf(struck.child.pid)).toBeDefined();
        group.thaw();
        if (row.at.at(-1) === "group") process.kill(struck.process, "SIGCONT");
        const ran = await struck.child.end();
        const record = check(struck, ran);
        expect(processOf(record, struck.worker).exitcode).toBe(5);
        expect(gaps(record)).toEqual([]);
      });
    }

    test("the second signal ends the run", async () => {
      await using group = new Freezer(version);
      using struck = await held({ what: "open", at: ["seccomp"] }, group);
      group.freeze();
      await struck.letGo();
      await until("all of it is frozen", () => group.isFrozen);
      const { child } = struck;
      child.kill("SIGTERM");
      await until("the first signal has arrived", () => !isPending(child.pid, constants.signals.SIGTERM));
      // From somebody else: the same signal of the same sender soon after may be one signal to us and to our group.
      Bun.spawnSync(["kill", "-TERM", `${child.pid}`]);
      expect(await child.exited()).toBe(143);
      expect(existsSync(struck.scratch.outfile)).toBe(false);
      // Those of version 1 are dead only once they are thawed.
      expect(child.printedErrors.includes("does not die")).toBe(version === 1);
      if (version === 1) group.thaw();
      await until("all of it is dead", () => group.isEmpty);
    });
  });
}

const nameOf = (row: Row) => `${row.what}, at ${row.at.join(" → ")}${row.whom === undefined ? "" : `, the ${row.whom}`}`;

class Held extends Struck {
  readonly #scratch: Scratch;
  /** Who stands there, and the process that is struck. */
  thread = 0;
  process = 0;

  constructor(scratch: Scratch, what: string) {
    super(scratch, what);
    this.#scratch = scratch;
  }

  override [Symbol.dispose](): void {
    super[Symbol.dispose]();
    this.#scratch[Symbol.dispose]();
  }
}

async function held(row: Row, group?: Freezer): Promise<Held> {
  const held = new Held(new Scratch(), row.what);
  try {
    const worker = await held.ready();
    group?.add(worker, Number(statusOf(worker)?.PPid));
    held.thread = await held.holdAt(row.at);
    held.process = row.whom === "worker" ? held.worker : Number(statusOf(held.thread)?.Tgid);
    return held;
  } catch (error) {
    held[Symbol.dispose]();
    throw error;
  }
}

/** What holds whatever has happened. */
function check(struck: Struck, ran: Ran) {
  const record = recordOf(ran);
  expect(ran.stderr).not.toContain("tracee:");
  expect(errors(ran)).toEqual([]);
  expect(unseen(record, parseLines(ran.stdout))).toEqual([]);
  expect(inconsistencies(record, struck.child.pid)).toEqual([]);
  expect(processOf(record, struck.worker).parentpid).toBe(record.processes[0]?.processid ?? 0);
  expect(ran.status).toBe(0);
  return record;
}

/** Lets a process go on where a SIGSTOP has done its work. */
function wake(pid: number, isSecond: boolean): void {
  const isStopped = /^[tT]/.test(statusOf(pid)?.State ?? "");
  if (!isStopped || (!isSecond && isPending(pid, constants.signals.SIGSTOP))) return;
  try {
    process.kill(pid, "SIGCONT");
  } catch {} // gone meanwhile
}

function isPending(pid: number, signal: number): boolean {
  const status = statusOf(pid);
  const pending = BigInt(`0x${status?.SigPnd ?? 0}`) | BigInt(`0x${status?.ShdPnd ?? 0}`);
  return ((pending >> BigInt(signal - 1)) & 1n) === 1n;
}
