// What configure scripts do: a thousand small programs, each written, closed and executed at once, several at a time. Nobody may hold a
// descriptor that makes an exec fail with ETXTBSY, nor be late with a digest that the next program of that name would spoil.
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { recordOf, Scratch, start, tracee, users } from "./harness.ts";
import { gaps, type ProcessEntry } from "./record.ts";
import { inconsistencies, parseLines, sha256 } from "./seen.ts";

const processes = 4;
const each = 250;

for (const user of users) {
  test(`as ${user}`, async () => {
    using scratch = new Scratch(user);
    const child = start(scratch, [tracee("configure", scratch), `${processes}`, `${each}`], { trace: true });
    const ran = await child.end();
    expect(ran.stderr).not.toContain("tracee:"); // an exec that failed says so there
    expect(ran.status).toBe(0);
    const record = recordOf(ran);
    const base = readFileSync(join(scratch.work, "base"), "latin1");
    const entries = new Map(record.processes.map(entry => [entry.processid, entry]));
    const answers = parseLines(ran.stdout).flatMap(line => (line.see === "answer" ? [line] : []));
    expect(answers.length).toBe(processes * each);
    const wrong: string[] = [];
    for (const { what, value } of answers) {
      const [process = 0, i = 0] = what.split(" ").map(Number);
      const path = join(scratch.work, i % 2 === 0 ? `conftest-${process}` : `probe-${process}-${i}`);
      const before = `${base}${process} ${i - 1}`;
      const isScript = i % 4 === 3;
      const content = isScript ? `#!conftest-${process}\n${what}` : `${base}${what}`;
      const entry = entries.get(value);
      const maker = entry && entries.get(entry.parentpid);
      const problems = [
        entry?.program === path || `program is ${entry?.program}`,
        entry?.programdigest?.sha256 === digestOf(content) || `programdigest is ${entry?.programdigest?.sha256}`,
        entry?.exedigest?.sha256 === digestOf(isScript ? before : content) || `exedigest is ${entry?.exedigest?.sha256}`,
        // Of those that are written over, the last one is what is left.
        !maker || (i % 2 === 0 && i < each - 2) || isLeft(maker, path, content) || "what was left in it has another digest",
      ];
      wrong.push(...problems.flatMap(problem => (problem === true ? [] : [`${what}: ${problem}`])));
    }
    expect(wrong).toEqual([]);
    expect(record.processes.length).toBe(1 + processes + processes * each);
    expect(inconsistencies(record, child.pid)).toEqual([]);
    expect(gaps(record)).toEqual([]);
    expect(record.commandRun.completeness?.verdict).toBe("complete");
  });
}

const isLeft = ({ writtenDigests }: ProcessEntry, path: string, content: string): boolean =>
  writtenDigests[path]?.sha256 === digestOf(content);

/** A character for each byte. */
const digestOf = (content: string): string => sha256(Buffer.from(content, "latin1"));
