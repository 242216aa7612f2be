// Files that somebody outside of the build has opened: their content reaches the build without an open of its own.
import { describe, expect, test } from "bun:test";
import { chmodSync, chownSync, existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isRoot, nobody, recordOf, Scratch, start, tracee, until, users } from "./harness.ts";
import { Outsiders, python, said } from "./outsiders.ts";
import { gaps } from "./record.ts";
import { inconsistencies, parseLines, unseen } from "./seen.ts";

for (const user of users) {
  describe(`as ${user}`, () => {
    /** Whoever runs outside is the same user, as an attacker would be. */
    const outside = (scratch: Scratch, ...words: string[]) => outsideProgram(scratch, "outsider", ...words);
    const outsideProgram = (scratch: Scratch, program: string, ...words: string[]) => {
      const as = user === "nobody" ? ["setpriv", "--reuid", `${nobody}`, "--regid", `${nobody}`, "--clear-groups", "--"] : [];
      return Bun.spawn([...as, tracee(program, scratch), ...words], { cwd: scratch.work, stdin: "pipe", stdout: "pipe" });
    };

    const secret = (scratch: Scratch) => {
      const path = join(scratch.work, "secret");
      writeFileSync(path, "not opened by the build\n");
      chmodSync(path, 0o600);
      if (user === "nobody") chownSync(path, nobody, nobody);
      return path;
    };

    test("a descriptor that comes over a socket (SCM_RIGHTS): the connection is recorded, and that the work is somebody else's", async () => {
      using scratch = new Scratch(user);
      const socket = join(scratch.work, "socket");
      const server = outside(scratch, "serve", socket, secret(scratch));
      await until("the socket is there", () => existsSync(socket));
      const child = start(scratch, [tracee("outsider", scratch), "take", socket], { trace: true });
      const ran = await child.end();
      const record = recordOf(ran);
      // The attack went through: the content was read.
      expect(parseLines(ran.stdout)).toContainEqual({ see: "answer", what: "SCM_RIGHTS", value: 24 });
      expect(inconsistencies(record, child.pid)).toEqual([]);
      expect(JSON.stringify(record.processes[0])).toContain(socket);
      expect(gaps(record)).toContain("delegated");
      expect(record.commandRun.completeness?.verdict).toBe("incomplete");
      expect(await server.exited).toBe(0);
    });

    test("a descriptor that is taken from another process (pidfd_getfd): an event that names the file, and a gap that names the process", async () => {
      using scratch = new Scratch(user);
      const holder = outside(scratch, "hold", secret(scratch));
      const first = (await holder.stdout.getReader().read()).value ?? new Uint8Array();
      const [held] = parseLines(Buffer.from(first));
      const number = held?.see === "answer" ? held.value : -1;
      const taken = join(scratch.work, "secret");
      const words = ["steal", `${holder.pid}`, `${number}`];
      const child = start(scratch, [tracee("outsider", scratch), ...words], { trace: true });
      const ran = await child.end();
      const record = recordOf(ran);
      const lines = parseLines(ran.stdout);
      expect(lines.some(line => line.see === "event")).toBe(true);
      expect(unseen(record, lines)).toEqual([]);
      expect(inconsistencies(record, child.pid)).toEqual([]);
      const event = record.processes[0]?.syscallEvents.find(one => one.syscall === "pidfd_getfd");
      expect(event).toMatchObject({ result: 0, path: taken });
      const gap = record.commandRun.completeness?.gaps.find(({ kind }) => kind === "outside-reached");
      expect(gap?.detail).toContain(`pidfd_getfd ${tracee("outsider", scratch)} (process ${holder.pid})`);
      expect(record.commandRun.completeness?.verdict).toBe("incomplete");
      holder.stdin.end();
      expect(await holder.exited).toBe(0);
    });

    test("queues and shared memory that somebody outside has made are a gap, however they are found", async () => {
      using scratch = new Scratch(user);
      const key = `${0x7e58_0000 + (process.pid & 0xffff) * 2 + (user === "self" ? 0 : 1)}`;
      const name = `queues-of-${key}`;
      const holder = outsideProgram(scratch, "queues", "hold", key, name);
      const first = (await holder.stdout.getReader().read()).value ?? new Uint8Array();
      const [held] = parseLines(Buffer.from(first));
      const number = held?.see === "answer" ? `${held.value}` : "";
      const found = recordOf(await start(scratch, [tracee("queues", scratch), "find", key, name], { trace: true }).end());
      const sent = recordOf(await start(scratch, [tracee("queues", scratch), "send", number], { trace: true }).end());
      const old = recordOf(await start(scratch, [tracee("queues", scratch), "old", key], { trace: true }).end());
      holder.stdin.end();
      expect(await holder.exited).toBe(0);
      const detailOf = (record: typeof found) =>
        record.commandRun.completeness?.gaps.map(({ kind, detail }) => `${kind} ${detail}`).join();
      for (const one of [`System V message queue ${number}`, "System V shared memory ", "POSIX message queue"]) {
        expect(detailOf(found)).toContain(one);
      }
      expect(gaps(found)).toEqual(["delegated"]);
      expect(gaps(sent)).toEqual(["delegated"]);
      expect(gaps(old)).toEqual(["delegated"]);
      for (const one of [sent, old]) expect(detailOf(one)).toContain(`System V message queue ${number}`);
    });

    test.if(user === "self" && isRoot)("a queue that somebody outside has made is one as a file too", async () => {
      using scratch = new Scratch(user);
      const key = `${0x7e59_0000 + (process.pid & 0xffff)}`;
      const name = `queues-of-${key}`;
      const holder = outsideProgram(scratch, "queues", "hold", key, name);
      await holder.stdout.getReader().read();
      const script = `mkdir q && mount -t mqueue q q && echo work > q/${name}`;
      const ran = await start(scratch, ["unshare", "-m", "--", "/bin/sh", "-c", script], { trace: true }).end();
      holder.stdin.end();
      expect(await holder.exited).toBe(0);
      if (ran.stderr.includes("mount:")) return; // mounts are not allowed here
      const record = recordOf(ran);
      expect(gaps(record)).toEqual(["delegated"]);
      expect(record.commandRun.completeness?.gaps[0]?.detail).toContain("POSIX message queue");
    });

    test("queues and shared memory of the build's own are none", async () => {
      using scratch = new Scratch(user);
      const ran = await start(scratch, [tracee("queues", scratch), "own"], { trace: true }).end();
      expect(ran.stderr).not.toContain("tracee:");
      expect(ran.status).toBe(0);
      expect(gaps(recordOf(ran))).toEqual([]);
    });

    test.skipIf(!python)("memory that somebody outside has as a file is a gap; the build's own is none", async () => {
      using scratch = new Scratch(user);
      const outsiders = new Outsiders();
      const other = outsiders.start(scratch, "print(os.memfd_create('m'), flush=True); sys.stdin.read()");
      const path = `/proc/${other.pid}/fd/${await said(other)}`;
      const traced = async (program: string) => {
        const ran = await start(scratch, [python ?? "", "-c", `import os; ${program}`], { trace: true }).end();
        expect(ran.stderr).not.toContain("Traceback");
        return gaps(recordOf(ran));
      };
      expect(await traced(`os.write(os.open("${path}", os.O_RDWR), b"work")`)).toEqual(["outside-reached"]);
      expect(await traced("os.open(f'/proc/{os.getpid()}/fd/{os.memfd_create(chr(109))}', os.O_RDWR)")).toEqual([]);
      outsiders.end();
    });

    test.skipIf(!python)("somebody else's terminal is a gap; one that the build makes is none", async () => {
      using scratch = new Scratch(user);
      const outsiders = new Outsiders();
      const other = outsiders.start(scratch, "m,s=os.openpty(); print(os.ttyname(s), flush=True); sys.stdin.read()");
      const path = await said(other);
      const write = (to: string) => `import os; m,s=os.openpty(); os.write(os.open(${to}, os.O_WRONLY|os.O_NOCTTY), b"work")`;
      const traced = async (program: string) => {
        const ran = await start(scratch, [python ?? "", "-c", program], { trace: true }).end();
        expect(ran.stderr).not.toContain("Traceback");
        return recordOf(ran);
      };
      const given = await traced(write(`"${path}"`));
      expect(given.commandRun.completeness?.gaps.map(({ kind, detail }) => `${kind} ${detail}`).join()).toMatch(
        new RegExp(`^delegated .*: terminal ${path}$`),
      );
      expect(gaps(await traced(write("os.ttyname(s)")))).toEqual([]);
      outsiders.end();
    });
  });
}
