// What the command writes and we cannot pass on is never lost in silence: it is said, the status is not 0, and the record has it.

import { describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  cilock,
  errors,
  isRoot,
  plainEnvironment,
  type RunOptions,
  recordOf,
  run,
  Scratch,
  start,
  tracee,
  users,
} from "./harness.ts";

/** A shell's redirection, before cilock is executed. */
const into = (redirection: string): RunOptions => ({ before: ["/bin/sh", "-c", `exec "$@" ${redirection}`, "sh"] });

for (const user of users) {
  for (const trace of [false, true]) {
    describe(`as ${user}, ${trace ? "traced" : "untraced"}`, () => {
      test("a few bytes for a full disk: the command has ended well, and we do not", async () => {
        using scratch = new Scratch(user);
        const ran = await run(scratch, ["echo", "hi"], { trace, ...into("> /dev/full") });
        expect(ran.status).toBe(125);
        expect(errors(ran)).toEqual([
          "cilock: error: cannot write the command's stdout: no space left on device, 3 bytes or more are lost",
        ]);
        const { commandRun } = recordOf(ran);
        expect(commandRun.exitcode).toBe(0);
        expect(commandRun.stdout).toBe("hi\n");
        expect(commandRun.stdoutDigest).toMatchObject({ bytes: 3, undelivered: { bytes: 3, error: "ENOSPC" } });
        expect(commandRun.stderrDigest).not.toHaveProperty("undelivered");
        if (trace) {
          expect(commandRun.completeness?.verdict).toBe("incomplete");
          expect(commandRun.completeness?.gaps.map(({ kind }) => kind)).toEqual(["output-lost"]);
        }
        expect(verify(scratch)).toBe(6);
      });

      test("stderr, where nobody can be told", async () => {
        using scratch = new Scratch(user);
        const ran = await run(scratch, ["/bin/sh", "-c", "echo hi >&2; echo out"], { trace, ...into("2> /dev/full") });
        expect(ran.status).toBe(125);
        expect(ran.stdout.toString()).toBe("out\n");
        expect(recordOf(ran).commandRun.stderrDigest).toMatchObject({ bytes: 3, undelivered: { bytes: 3, error: "ENOSPC" } });
        expect(verify(scratch)).toBe(6);
      });

      test("the command's own status stays where it says that something is wrong", async () => {
        using scratch = new Scratch(user);
        const ran = await run(scratch, ["/bin/sh", "-c", "echo hi; exit 3"], { trace, ...into("> /dev/full") });
        expect(ran.status).toBe(3);
        expect(errors(ran).length).toBe(1);
      });

      test.skipIf(!isRoot)(
        "a disk that becomes full: the command is told by SIGPIPE, and no byte is unaccounted for",
        async () => {
          using scratch = new Scratch(user);
          const disk = join(scratch.path, "disk");
          mkdirSync(disk);
          const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=64k,mode=777", "none", disk]);
          if (mounted.status !== 0) return; // a container may not
          try {
            const file = join(disk, "out");
            const ran = await run(scratch, [tracee("noisy", scratch), "30000000"], { trace, ...into(`> ${file}`) });
            expect(ran.status).toBe(128 + 13);
            const { stdoutDigest, exitcode } = recordOf(ran).commandRun;
            expect(exitcode).toBe(128 + 13);
            const lost = Number(/no space left on device, (\d+) bytes or more are lost/.exec(errors(ran)[0] ?? "")?.[1]);
            expect(lost).toBeGreaterThan(0);
            expect(stdoutDigest).toMatchObject({ undelivered: { bytes: lost, error: "ENOSPC" } });
            expect(statSync(file).size + lost).toBe(stdoutDigest.bytes);
          } finally {
            spawnSync("umount", ["-l", disk]);
          }
        },
      );

      test("a reader that has had enough is no loss, and nothing is said of it", async () => {
        using scratch = new Scratch(user);
        const yes = start(scratch, ["yes"], { trace, stdout: "stream" });
        const reader = yes.stdout.getReader();
        await reader.read();
        await reader.cancel();
        const ran = await yes.end();
        expect(ran.status).toBe(128 + 13);
        expect(errors(ran)).toEqual([]);
        expect(recordOf(ran).commandRun.stdoutDigest).not.toHaveProperty("undelivered");
        expect(recordOf(ran).commandRun.completeness?.verdict ?? "complete").toBe("complete");
      });
    });
  }
}

function verify(scratch: Scratch): number | null {
  const keyPath = join(scratch.path, "key.pub");
  writeFileSync(keyPath, scratch.publicPem);
  const ran = spawnSync(cilock(scratch), ["verify", scratch.outfile, "-k", keyPath, "--require-success"], {
    env: plainEnvironment(scratch),
  });
  return ran.status;
}
