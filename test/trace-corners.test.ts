// Corners of Linux that tracers have fallen over (test/pitfalls.ts has all of them): the program does what it does without us, and the
// record says it.
import { describe, expect, test } from "bun:test";
import { chmodSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cilock, errors, isRoot, loaderOf, nobody, type Ran, recordOf, Scratch, start, tracee, users } from "./harness.ts";
import { gaps, type Record } from "./record.ts";
import { inconsistencies, parseLines, sha256, unseen } from "./seen.ts";

interface Corner {
  name: string;
  what: string;
  /** Only root may do it. */
  needsRoot?: boolean;
  notes?: string[];
  /** Paths of it have lost their beginning. */
  cut?: boolean;
  also?: (record: Record, ran: Ran) => void;
}

const corners: Corner[] = [
  { name: "a child that is made a sibling (CLONE_PARENT)", what: "clone-parent" },
  { name: "a process whose first thread has ended", what: "leader-gone" },
  { name: "a directory that another thread changes", what: "shared-directory" },
  { name: "a call that comes by way of SIGSYS (syscall user dispatch)", what: "dispatch" },
  { name: "a program that is executed as soon as it is written", what: "run-what-was-written" },
  { name: "a lock that is given back with its descriptor", what: "locks" },
  {
    name: "many that stop all the time, and one that they wait for",
    what: "fairness",
    also: (_, ran) => {
      // It opens 200 files. Fair is some times as much; without a turn of its own it waits for hundreds of thousands.
      const [looked] = parseLines(ran.stdout);
      expect(looked?.see === "answer" && looked.value).toBeLessThan(20_000);
    },
  },
  { name: "names that are no text, or say something else than what they are", what: "names" },
  { name: "a path that is longer than the kernel can say", what: "too-deep", notes: ["truncated"], cut: true },
  { name: "an exec by a thread whose leader stops all the time", what: "exec-below" },
  {
    name: "a number that is used again",
    what: "pid-again",
    needsRoot: true,
    also: (record, ran) => {
      const [line] = parseLines(ran.stdout).filter(one => one.see === "answer");
      const both = record.processes.filter(entry => entry.processid === (line?.see === "answer" && line.value));
      expect(both.map(entry => entry.exitcode)).toEqual([3, 7]);
      const written = both.map(entry => Object.keys(entry.writtenDigests).map(path => path.replace(/.*\//, "")));
      expect(written).toEqual([["first"], ["second"]]);
    },
  },
  {
    name: "processes that have other numbers for themselves (a pid namespace), and die together",
    what: "pid-namespace",
    needsRoot: true,
    also: record => {
      const [, first, second] = record.processes;
      expect(Object.keys(first?.writtenDigests ?? {}).map(path => path.replace(/.*\//, ""))).toEqual(["inside"]);
      expect(Object.keys(second?.writtenDigests ?? {}).map(path => path.replace(/.*\//, ""))).toEqual(["deeper"]);
      expect(second?.exitsignal).toBe("SIGKILL");
    },
  },
  {
    name: "a debugger, and a program that will not be debugged",
    what: "ptrace",
    notes: ["nested-tracer"],
    also: (record, ran) => {
      const answers = parseLines(ran.stdout).flatMap(line => (line.see === "answer" ? [[line.what, line.value]] : []));
      expect(Object.fromEntries(answers)).toEqual({ PTRACE_TRACEME: -1, PTRACE_ATTACH: -1, PTRACE_SEIZE: -1 });
      const calls = record.processes.flatMap(entry => entry.syscallEvents.map(event => event.syscall));
      expect(calls.filter(call => call === "ptrace").length).toBe(3);
    },
  },
];

for (const user of users) {
  describe(`as ${user}`, () => {
    for (const corner of corners.filter(({ needsRoot }) => !needsRoot || (isRoot && user === "self"))) {
      test(corner.name, async () => {
        using scratch = new Scratch(user);
        const { record, ran } = await traced(scratch, [tracee("corners", scratch), corner.what], { cut: corner.cut });
        expect(ran.stderr).not.toContain("tracee:");
        // Where a number is used again, the number says nothing.
        if (corner.what !== "pid-again") expect(unseen(record, parseLines(ran.stdout))).toEqual([]);
        expect(gaps(record)).toEqual(corner.notes ?? []);
        corner.also?.(record, ran);
      });
    }

    test("a program that its loader is told to run: no exec of it, but it is opened", async () => {
      using scratch = new Scratch(user);
      const program = Bun.which("true") ?? "/bin/true";
      const loader = loaderOf(program);
      if (loader === undefined) return; // a machine of static programs
      const { record } = await traced(scratch, [loader, program]);
      const [only] = record.processes;
      expect(only?.program).toBe(loader);
      expect(only?.openedfiles[program]?.sha256).toBe(sha256(readFileSync(program)));
      expect(gaps(record)).toEqual([]);
    });

    test("cilock in cilock: the inner one says why it cannot trace", async () => {
      using scratch = new Scratch(user);
      const inner = [cilock(scratch), "run", "--step", "inner", "-k", scratch.keyPath, "-o", join(scratch.work, "inner.json")];
      const child = start(scratch, [...inner, "--trace", "--", "true"], { trace: true });
      const ran = await child.end();
      expect(ran.status).toBe(125);
      expect(errors(ran)[0]).toMatch(/^cilock: error: cannot trace: .*cilock-tracer/);
      expect(recordOf(ran).commandRun.exitcode).toBe(125);
    });
  });
}

describe.skipIf(!isRoot)("a set-uid program", () => {
  const lowered = ["setpriv", "--reuid", `${nobody}`, "--clear-groups", "--"];

  /** `before`: what starts it. */
  const run = async (user: "self" | "nobody", before: string[] = user === "self" ? lowered : []) => {
    using scratch = new Scratch(user);
    chmodSync(scratch.path, 0o755);
    const program = join(scratch.path, "privileged");
    copyFileSync(tracee("corners"), program);
    chmodSync(program, 0o4755);
    const { record, ran } = await traced(scratch, [...before, program, "privilege"]);
    const euid = parseLines(ran.stdout).find(line => line.see === "answer");
    return { euid: euid?.see === "answer" ? euid.value : undefined, gaps: gaps(record) };
  };

  test("run by an ordinary user below a root tracer: it is root, and it is traced", async () => {
    expect(await run("self")).toEqual({ euid: 0, gaps: [] });
  });

  test("as an ordinary user: it is not, and the record says so", async () => {
    expect(await run("nobody")).toEqual({ euid: nobody, gaps: ["privilege-not-gained"] });
  });

  describe("that would gain nothing without us either", () => {
    const inNamespace = ["unshare", "-U", "-r", "--"];
    const onNosuid = [
      "unshare",
      "-m",
      "--",
      "/bin/sh",
      "-c",
      'at=$(dirname "$1") && mount --bind $at $at && mount -o remount,bind,nosuid $at && exec setpriv --reuid 65534 --clear-groups -- "$@"',
      "sh",
    ];
    const rows: [name: string, user: "self" | "nobody", before: string[], euid: number][] = [
      ["in a user namespace without its owner", "nobody", inNamespace, 0],
      ["in such a namespace, below a root tracer", "self", [...lowered, ...inNamespace], 0],
      ["on a mount that gives nothing (nosuid)", "self", onNosuid, nobody],
      [
        "where the build has said no_new_privs itself",
        "self",
        ["setpriv", "--no-new-privs", "--reuid", `${nobody}`, "--clear-groups", "--"],
        nobody,
      ],
    ];
    for (const [name, user, before, euid] of rows) {
      test(`${name}: no note`, async () => {
        const ran = await run(user, before);
        if (ran.euid === undefined) return; // no such namespace, or mount, is given here
        expect(ran).toEqual({ euid, gaps: [] });
      });
    }
  });
});

describe.skipIf(!isRoot || Bun.which("unshare") === null)("an overlay", () => {
  test("a file that a write moves to another layer: each content under its one name", async () => {
    using scratch = new Scratch();
    for (const name of ["lower", "upper", "work", "merged"]) mkdirSync(join(scratch.work, name));
    writeFileSync(join(scratch.work, "lower/file"), "below\n");
    const options = "lowerdir=lower,upperdir=upper,workdir=work";
    const mount = `mount -t tmpfs none upper && mkdir upper/u upper/w && mount -t overlay overlay -o ${options
      .replace("upperdir=upper", "upperdir=upper/u")
      .replace("workdir=work", "workdir=upper/w")} merged`;
    const script = `${mount} || exit 77; cat merged/file; echo more >> merged/file; cat merged/file`;
    const { record, ran } = await traced(scratch, ["unshare", "-m", "/bin/sh", "-c", script], { statuses: [0, 77] });
    if (ran.status === 77) return; // no overlay on overlay here
    const path = join(scratch.work, "merged/file");
    const read = record.processes.filter(entry => entry.comm === "cat").map(entry => entry.openedfiles[path]?.sha256);
    expect(read).toEqual([sha256("below\n"), sha256("below\nmore\n")]);
    const written = record.processes.flatMap(entry => entry.writtenDigests[path]?.sha256 ?? []);
    expect(written).toEqual([sha256("below\nmore\n")]);
    expect(gaps(record)).toEqual([]);
  });
});

interface Expected {
  statuses?: number[];
  cut?: boolean | undefined;
}

async function traced(scratch: Scratch, command: string[], expected: Expected = {}): Promise<{ record: Record; ran: Ran }> {
  const child = start(scratch, command, { trace: true });
  const ran = await child.end();
  const record = recordOf(ran);
  expect(expected.statuses ?? [0]).toContain(ran.status);
  const problems = inconsistencies(record, child.pid);
  expect(problems.filter(problem => !expected.cut || !problem.endsWith("is not absolute"))).toEqual([]);
  return { record, ran };
}
