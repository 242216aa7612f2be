// The keys of a terminal, and its end: they reach the command as in a bare run, once, and the record says that they came.
import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Running, recordOf, run, Scratch, start, until, users } from "./harness.ts";

const keys = { SIGINT: "\x03", SIGQUIT: "\x1c" } as const;
/** For test/tracees/terminal.zig. */
const hangUp = "\0";

/** Counts what it gets in `got`, and ends when `go` is there. Its children are to end by themselves. */
const counting = `trap 'echo x >> got' HUP INT QUIT; : > up; until test -e go; do sleep 0.05; done; exit 0`;

for (const user of users) {
  for (const trace of [false, true]) {
    describe(`as ${user}, ${trace ? "traced" : "untraced"}`, () => {
      for (const [name, key] of Object.entries(keys)) {
        test(`${name} of a key reaches a command once that goes on, and is noted`, async () => {
          using scratch = new Scratch(user);
          const child = await begin(scratch, counting, { trace });
          child.type(key);
          const got = join(scratch.work, "got");
          await until("the command has got it", () => existsSync(got));
          writeFileSync(join(scratch.work, "go"), "");
          const ran = await child.end();
          expect(ran.status).toBe(0);
          expect(readFileSync(got, "utf8")).toBe("x\n");
          expectNoted(ran.record, name, trace);
        });
      }

      test("a terminal that hangs up ends the command, and what it has started, where we lead the session", async () => {
        using scratch = new Scratch(user);
        const script = ": > up; sleep 1000; : > after";
        const bare = await begin(scratch, script, { bare: true });
        bare.type(hangUp);
        expect(await bare.exited()).toBe(128 + 1);
        const child = await begin(scratch, script, { trace });
        child.type(hangUp);
        const ran = await child.end();
        expect(ran.status).toBe(128 + 1);
        expect(existsSync(join(scratch.work, "after"))).toBe(false);
        const { commandRun } = recordOf(ran);
        expect(commandRun.exitcode).toBe(128 + 1);
        // `sleep` too had its SIGHUP.
        expect(commandRun.summary).not.toHaveProperty("survivorsKilled");
        expectNoted(ran.record, "SIGHUP", trace);
      });

      test("where another one leads it, the kernel tells us both", async () => {
        using scratch = new Scratch(user);
        const child = await begin(scratch, counting, { trace, before: ["/bin/sh", "-c", '"$@"; exit 0', "sh"] });
        child.type(hangUp);
        expect(await child.exited()).toBe(128 + 1); // of the shell
        const got = join(scratch.work, "got");
        await until("the command has got it", () => existsSync(got));
        writeFileSync(join(scratch.work, "go"), "");
        const record = await until("the record is there", () => scratch.record());
        expect(readFileSync(got, "utf8")).toBe("x\n");
        expect(record.commandRun.exitcode).toBe(0);
        expectNoted(record, "SIGHUP", trace);
      });
    });
  }
}

test("without a signal there is no note", async () => {
  using scratch = new Scratch();
  const ran = await run(scratch, ["true"], { trace: true, terminal: true });
  expect(recordOf(ran).commandRun.interrupted).toBeUndefined();
});

/** The command, in a terminal, has come so far that it can be signalled. */
async function begin(
  scratch: Scratch,
  script: string,
  options: { trace?: boolean; bare?: boolean; before?: string[] },
): Promise<Running> {
  const up = join(scratch.work, "up");
  const child = start(scratch, ["/bin/sh", "-c", script], { ...options, terminal: true, stdin: "pipe" });
  await until("the command is up", () => existsSync(up));
  await Bun.file(up).delete();
  return child;
}

function expectNoted(record: ReturnType<Scratch["record"]>, name: string, trace: boolean): void {
  expect(record?.commandRun.interrupted).toBe(name);
  if (trace) expect(record?.commandRun.completeness?.gaps.map(({ kind }) => kind)).toContain("interrupted");
}
