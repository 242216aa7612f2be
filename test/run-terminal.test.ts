// In a terminal: the command has it as in a bare run, Ctrl-C reaches it once, and a shell's job control works through us.
import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { commandLine, plainEnvironment, recordOf, run, Scratch, start, tracee, until, users } from "./harness.ts";
import { differences } from "./inherited.ts";

/** A container may be without. */
const hasTerminals = existsSync("/dev/ptmx") && existsSync("/dev/pts/ptmx");

for (const user of users) {
  for (const trace of [false, true]) {
    describe.skipIf(!hasTerminals)(`as ${user}, ${trace ? "traced" : "untraced"}`, () => {
      test("the command inherits the terminal", async () => {
        using scratch = new Scratch(user);
        const output = `${scratch.work}/inherited`;
        const command = [tracee("inherit", scratch), `to=${output}`];
        await run(scratch, command, { bare: true, terminal: true, stdin: "pipe" });
        const expected = await Bun.file(output).text();
        await run(scratch, command, { trace, terminal: true, stdin: "pipe" });
        // A session's ids are those of the terminal's own process.
        const differ = differences(expected, await Bun.file(output).text(), {
          traced: trace,
          root: user === "self" && process.getuid?.() === 0,
        });
        const numbers =
          /"name":"(session|process group|foreground process group|terminal device|session keyring|leads its process group)"/;
        expect(differ.filter(text => !numbers.test(text))).toEqual([]);
        expect(await Bun.file(output).text()).toContain('"name":"in the foreground","value":1');
      });

      test("Ctrl-C reaches the command once and leaves a record", async () => {
        using scratch = new Scratch(user);
        const child = start(scratch, [tracee("patient", scratch)], { trace, terminal: true, stdin: "pipe" });
        await until("the command is up", () => child.printed.includes('"ready"'));
        child.type("\x03");
        await until("the command says that it got SIGINT", () => child.printed.includes('"got","signal":2'));
        child.type("\x04"); // the end of its input
        const ran = await child.end();
        const totals = ran.stdout
          .toString()
          .split(/\r?\n/)
          .find(line => line.includes('"totals"'));
        expect(JSON.parse(totals ?? "{}")["2"]).toBe(1);
        expect(recordOf(ran).commandRun.exitcode).toBe(0);
        expect(ran.status).toBe(0);
      });

      test("Ctrl-C ends a command that does nothing about it", async () => {
        using scratch = new Scratch(user);
        const child = start(scratch, [tracee("patient", scratch), "die"], { trace, terminal: true, stdin: "pipe" });
        await until("the command is up", () => child.printed.includes('"ready"'));
        child.type("\x03");
        const ran = await child.end();
        expect(recordOf(ran).commandRun.exitcode).toBe(130);
        expect(ran.status).toBe(130);
      });

      test("Ctrl-Z stops it, fg goes on", async () => {
        using scratch = new Scratch(user);
        const words = commandLine(scratch, [tracee("patient", scratch)], { trace });
        const line = words.slice(words.findIndex(word => word.endsWith("cilock"))).join(" ");
        const shell = start(scratch, ["/bin/sh", "-i"], {
          bare: true,
          terminal: true,
          stdin: "pipe",
          env: { ...plainEnvironment(scratch), PS1: "<prompt>", ENV: "" },
        });
        const prompts = () => shell.printed.split("<prompt>").length - 1;
        await until("the shell is up", () => prompts() === 1);
        shell.type(`${line}\n`);
        await until("the command is up", () => shell.printed.includes('"ready"'));
        shell.type("\x1a");
        await until("the shell has the terminal again", () => prompts() === 2);
        shell.type("fg\n");
        await until("the command runs in the foreground", () => runsInForeground(shell.printed));
        shell.type("\x03"); // typed into the command: it is in the foreground again
        await until("the command goes on", () => shell.printed.includes('"got","signal":2'));
        shell.type("\x04");
        await until("the command has ended", () => prompts() === 3);
        shell.type("exit 5\n");
        expect(await shell.exited()).toBe(5);
        expect(scratch.record()?.commandRun.exitcode).toBe(0);
      });

      test("what is typed arrives, what is printed is captured, and it is a terminal", async () => {
        using scratch = new Scratch(user);
        const script = "test -t 0 && test -t 1 && test -t 2 && echo terminal; read x; echo got $x";
        const child = start(scratch, ["/bin/sh", "-c", script], { trace, terminal: true, stdin: "pipe" });
        await until("the first line", () => child.printed.includes("terminal\r\n"));
        child.type("words\n");
        const ran = await child.end();
        expect(ran.stdout.toString()).toContain("got words\r\n");
        expect(recordOf(ran).commandRun.stdout).toContain("got words");
      });
    });
  }
}

/** Its own state, and whether the terminal's process group is that of the command: fields 3, 5 and 8 of /proc/PID/stat. */
function runsInForeground(printed: string): boolean {
  const pid = /"ready","pid":(\d+)/.exec(printed)?.[1];
  const fields = readFileSync(`/proc/${pid}/stat`, "latin1").split(") ").at(-1)?.split(" ") ?? [];
  return fields[0] === "S" && fields[2] === fields[5];
}
