// Whoever has to answer before the tracer can go on may be a process of the build, which stops at its own calls until the tracer
// lets it go on: a file server (FUSE), or who is asked before others may open a file (fanotify). No run hangs on one, or on a
// server outside that does not answer; what was not read for want of an answer is a gap. Slow: that has to be waited for.
import { describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isRoot, type Ran, recordOf, run, Scratch, start, tracee, until } from "./harness.ts";
import { inconsistencies, parseLines, unseen } from "./seen.ts";

const canServe = isRoot && existsSync("/dev/fuse");

describe.skipIf(!canServe)("a file server of the build", () => {
  test("its files are read, run and digested like others", async () => {
    const { ran, problems } = await serve("polite");
    expect(problems).toEqual([]);
    const record = recordOf(ran);
    expect(record.commandRun.completeness?.verdict).toBe("complete-with-notes");
    expect(gapsOf(ran)).toEqual(["remote-file-system"]);
    expect(record.processes.some(entry => entry.program?.endsWith("/mnt/program"))).toBe(true);
  });

  test("a path that lies in a page of such a file is read", async () => {
    const { ran, problems } = await serve("memory");
    expect(problems).toEqual([]);
    expect(gapsOf(ran)).not.toContain("unreadable-memory");
  });

  for (const operation of ["lookup", "open", "read", "getattr", "statfs", "getxattr", "flush", "release"]) {
    test(`it does not answer us: ${operation}`, async () => {
      const { ran } = await serve(`mute-${operation}`);
      // What matters is that it has ended, and that nothing is claimed of what was not read.
      const record = recordOf(ran);
      expect(ran.stdout.toString()).toContain('"done"');
      const [digests] = record.processes.flatMap(entry =>
        Object.entries(entry.openedfiles).filter(([path]) => path.endsWith("/mnt/text")),
      );
      const { verdict } = record.commandRun.completeness ?? {};
      expect(verdict === "incomplete" || digests?.[1].sha256 !== undefined).toBe(true);
      if (operation === "open") expect(gapsOf(ran)).toContain("unreadable-file");
    });
  }
});

describe.skipIf(!isRoot)("a process of the build that is asked before others may open or read a file", () => {
  for (const mode of ["polite", "mute"]) {
    test(mode === "polite" ? "it answers" : "it does not answer us", async () => {
      using scratch = new Scratch();
      for (const name of ["guarded", "watched"]) writeFileSync(join(scratch.work, name), `the file ${name}\n`);
      const child = start(scratch, [tracee("asked"), mode], { trace: true, stdin: "pipe" });
      await until("the file has been opened", () => child.printed.includes('"waiting"'));
      if (mode === "polite")
        await until("it has been digested", () => !opened(child.pid).includes(join(scratch.work, "guarded")));
      child.closeInput();
      const ran = await child.end();
      expect(ran.status).toBe(0);
      const record = recordOf(ran);
      expect(unseen(record, parseLines(ran.stdout)).filter(() => mode === "polite")).toEqual([]);
      expect(inconsistencies(record, child.pid)).toEqual([]);
      expect(gapsOf(ran)).toEqual(mode === "polite" ? [] : ["unreadable-file"]);
    });
  }
});

describe.skipIf(!canServe)("a file server outside of the build that does not answer", () => {
  test("an open of ours: a gap", async () => {
    using server = await serveAlone();
    using scratch = new Scratch();
    const ran = await run(scratch, ["cat", join(server.directory, "text")], { trace: true });
    expect(ran.status).toBe(0);
    expect(gapsOf(ran)).toContain("unreadable-file");
    expect(recordOf(ran).commandRun.completeness?.gaps.find(gap => gap.kind === "unreadable-file")?.detail).toContain(
      "ETIMEDOUT",
    );
  });

  test("the tracer hangs in the kernel: the second signal ends the run all the same", async () => {
    using server = await serveAlone();
    using scratch = new Scratch();
    const script = `echo $$; echo text > ${server.directory}/lost`;
    const child = start(scratch, ["/bin/sh", "-c", script], { trace: true });
    const shell = await until("the command says who it is", () => Number(child.printed.split("\n")[0]) || undefined);
    await until("the tracer waits for the server", () => placesBelow(child.pid).some(place => /fuse|request_wait/.test(place)));
    child.kill("SIGTERM");
    // From somebody else: the same signal of the same sender soon after may be one signal to us and to our group. And again: while the
    // first is pending the kernel takes another for the same one.
    const again = setInterval(() => Bun.spawnSync(["kill", "-TERM", `${child.pid}`], { stderr: "ignore" }), 100);
    const status = await child.exited().finally(() => clearInterval(again));
    expect(status).toBe(143);
    expect(existsSync(scratch.outfile)).toBe(false);
    await until("the command is dead", () => !isAlive(shell));
  });
});

async function serve(mode: string): Promise<{ ran: Ran; problems: string[] }> {
  using scratch = new Scratch();
  const directory = join(scratch.work, "mnt");
  mkdirSync(directory);
  try {
    const child = start(scratch, [tracee("served"), directory, mode], { trace: true });
    const ran = await child.end();
    expect(ran.stderr).not.toContain("tracee:");
    expect(ran.status).toBe(0);
    const record = recordOf(ran);
    const lines = parseLines(ran.stdout).filter(line => !mode.startsWith("mute") || line.see !== "open");
    return { ran, problems: [...unseen(record, lines), ...inconsistencies(record, child.pid)] };
  } finally {
    unmount(directory);
  }
}

/** A server by itself, in a process of the test's own. */
async function serveAlone(): Promise<{ directory: string; [Symbol.dispose](): void }> {
  const scratch = new Scratch();
  const directory = join(scratch.work, "mnt");
  mkdirSync(directory);
  const child = start(scratch, [tracee("served"), directory, "alone"], { bare: true });
  await until("the server is up", () => child.printed.includes('"ready"'));
  return {
    directory,
    [Symbol.dispose]() {
      child.kill("SIGKILL");
      unmount(directory);
      scratch[Symbol.dispose]();
    },
  };
}

function unmount(directory: string): void {
  Bun.spawnSync(["umount", "-l", directory], { stderr: "ignore" });
}

function gapsOf(ran: Ran): string[] {
  return recordOf(ran).commandRun.completeness?.gaps.map(gap => gap.kind) ?? [];
}

/** What a process has open. */
function opened(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).map(name => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${name}`);
    } catch {
      return ""; // closed meanwhile
    }
  });
}

/** Where in the kernel the children of a process wait. */
function placesBelow(pid: number): string[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").trim().split(" ");
  return children.map(child => readFileSync(`/proc/${child}/wchan`, "latin1"));
}

function isAlive(pid: number): boolean {
  try {
    return !/^State:\t[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "latin1"));
  } catch {
    return false;
  }
}
