// Arguments and environments: one copy of what is the same, and limits to all of them together, each of which is a gap.
import { describe, expect, test } from "bun:test";
import { Environments, firstArgumentBytes, firstArguments } from "../src/trace/exec-strings.ts";
import { Script } from "./trace-events.ts";

const block = (...variables: string[]) => Buffer.from(variables.map(variable => `${variable}\0`).join(""));
const texts = (variables: readonly Uint8Array[] | undefined) => variables?.map(bytes => Buffer.from(bytes).toString("latin1"));

describe("environments", () => {
  test("the same block is the same object, and a variable of two blocks is one", () => {
    const environments = new Environments();
    const long = `LONG=${"x".repeat(1000)}`;
    const first = environments.intern(block("A=1", long));
    const second = environments.intern(block("A=2", long));
    expect(environments.intern(block("A=1", long))).toBe(first);
    expect(texts(first?.variables)).toEqual(["A=1", long]);
    expect(texts(second?.variables)).toEqual(["A=2", long]);
    expect(second?.variables[1]).toBe(first?.variables[1]);
  });

  test("odd ones: empty, a variable without a value or twice, a last one that was cut", () => {
    const environments = new Environments();
    expect(environments.intern(block())?.variables).toEqual([]);
    expect(texts(environments.intern(block("", "A", "A=1", "A=1"))?.variables)).toEqual(["", "A", "A=1", "A=1"]);
    expect(texts(environments.intern(Buffer.from("A=1\0CU"))?.variables)).toEqual(["A=1", "CU"]);
  });

  test("what does not fit is not kept; what is known still is", () => {
    const environments = new Environments(10_000);
    const known = environments.intern(block("A=1"));
    expect(environments.intern(block(`B=${"x".repeat(10_000)}`))).toBeUndefined();
    expect(environments.intern(block("A=1"))).toBe(known);
  });
});

test("first arguments: the words that fit, as they are", () => {
  const word = "x".repeat(firstArgumentBytes / 4);
  expect(firstArguments(["cc", word, word, word, word, "-c"]).length).toBe(4);
});

const large = (letter: string) => letter.repeat(60_000);

describe("limits", () => {
  const rows: [name: string, limits: object, argv: (i: number) => string[], environment: (i: number) => string[], gap: string][] =
    [
      ["of different environments", { kept: 200_000 }, () => ["sh"], i => [`A=${i}${large("a")}`], "environments"],
      ["of environments that are repeated", { repeated: 200_000 }, () => ["sh"], () => [`A=${large("a")}`], "environments"],
      ["of arguments", { arguments: 200_000 }, i => ["sh", `${i}${large("b")}`], () => [], "arguments"],
      ["of arguments that are repeated", { repeated: 200_000 }, () => ["sh", large("b")], () => [], "arguments"],
    ];
  test.each(rows)("%s", async (_, words, argv, environment, gap) => {
    const script = new Script({ limits: { words } });
    for (let i = 1; i <= 5; i++) {
      script.process(i, i === 1 ? 0 : 1);
      script.exec(i, process.execPath, { argv: argv(i), environment: environment(i) });
    }
    const { processes, completeness } = await script.finish();
    const sizes = processes.map(process => [...(process.argv ?? []), ...(texts(process.environment) ?? [])].join("").length);
    expect(sizes.slice(0, 3).every(size => size > 60_000)).toBe(true);
    expect(sizes.slice(3).every(size => size <= 2)).toBe(true);
    expect(completeness.gaps.map(({ kind, count }) => [kind, count])).toEqual([["limit", 2]]);
    expect(completeness.gaps[0]?.detail).toContain(gap);
  });

  test("forks of one large program are counted, each", async () => {
    const script = new Script({ limits: { words: { repeated: 200_000 } } });
    script.process(1, 0);
    script.exec(1, process.execPath, { argv: ["sh"], environment: [`A=${large("a")}`] });
    for (let i = 2; i <= 6; i++) script.process(i, 1);
    const { processes, completeness } = await script.finish();
    expect(processes.filter(({ environment }) => environment?.length === 1)).toHaveLength(3);
    expect(completeness.gaps.map(({ kind, count }) => [kind, count])).toEqual([["limit", 3]]);
  });

  test("small ones never count, however many", async () => {
    const script = new Script({ limits: { words: { arguments: 0 } } });
    for (let i = 1; i <= 50; i++) {
      script.process(i, i - 1);
      script.exec(i, process.execPath, { argv: ["cc", "x".repeat(10_000)] });
    }
    expect((await script.finish()).completeness.gaps).toEqual([]);
  });
});
