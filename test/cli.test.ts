// The command line as a function: words to options, byte for byte, and every refusal.
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseWords } from "../src/cli.ts";
import type { Command } from "../src/commands/command.ts";
import { replacedCommands, replacedFlags } from "../src/commands/go-tools.ts";
import { commands } from "../src/commands/index.ts";
import { closest } from "../src/did-you-mean.ts";
import { ToolError } from "../src/errors.ts";
import { printable, shellWord } from "../src/reports/printable.ts";

const command: Command = {
  name: "test",
  usage: [],
  options: [
    { long: "step", short: "s", kind: "string", help: "" },
    { long: "outfile", short: "o", kind: "string", help: "" },
    { long: "trace", short: "r", kind: "boolean", help: "" },
    { long: "attestations", short: "a", kind: "strings", help: "" },
    { long: "require-complete", kind: "optional-string", help: "" },
  ],
  run: async () => 0,
};
const running: Command = { ...command, restIsCommand: true };

const read: { words: string[]; options?: Record<string, unknown>; positionals?: string[]; command?: Command; help?: boolean }[] =
  [
    { words: [] },
    { words: ["--step", "007"], options: { step: "007" } },
    { words: ["--step=007"], options: { step: "007" } },
    { words: ["-s", "1e3"], options: { step: "1e3" } },
    { words: ["-s007"], options: { step: "007" } },
    { words: ["--step="], options: { step: "" } },
    { words: ["--step", ""], options: { step: "" } },
    { words: ["--step", "a=b"], options: { step: "a=b" } },
    { words: ["--step=--trace"], options: { step: "--trace" } },
    { words: ["--step", "true"], options: { step: "true" } },
    { words: ["--step", " x\n"], options: { step: " x\n" } },
    { words: ["-o", "-"], options: { outfile: "-" } },
    { words: ["--outfile", "-"], options: { outfile: "-" } },
    { words: ["-o-"], options: { outfile: "-" } },
    // pflag, which the Go tools read their words with.
    { words: ["-s=build"], options: { step: "build" } },
    { words: ["-s==x"], options: { step: "=x" } },
    { words: ["-s="], options: { step: "" } },
    { words: ["-rs=x"], options: { trace: true, step: "x" } },
    { words: ["--step==x"], options: { step: "=x" } },
    { words: ["-a=git"], options: { attestations: ["git"] } },
    { words: ["-r=true"], options: { trace: true } },
    { words: ["-r=false", "x"], options: { trace: false }, positionals: ["x"] },
    ...["1", "t", "T", "true", "TRUE", "True"].map(word => ({ words: [`--trace=${word}`], options: { trace: true } })),
    ...["0", "f", "F", "false", "FALSE", "False"].map(word => ({ words: [`--trace=${word}`], options: { trace: false } })),
    { words: ["-r=t", "--", "make", "-s=x"], command: running, options: { trace: true }, positionals: ["make", "-s=x"] },
    { words: ["--trace=false", "--trace=false"], options: { trace: false } },
    { words: ["-h=false", "x"], positionals: ["x"] },
    { words: ["-rs", "x"], options: { trace: true, step: "x" } },
    { words: ["--trace", "-r"], options: { trace: true } },
    { words: ["--step", "x", "-s", "x"], options: { step: "x" } },
    { words: ["-a", "git", "--attestations", "environment,x"], options: { attestations: ["git", "environment,x"] } },
    { words: ["--require-complete"], options: { "require-complete": true } },
    { words: ["--require-complete=strict"], options: { "require-complete": "strict" } },
    { words: ["--require-complete", "strict"], options: { "require-complete": true }, positionals: ["strict"] },
    { words: ["x", "--trace", "y"], options: { trace: true }, positionals: ["x", "y"] },
    { words: ["x", "--", "--trace"], positionals: ["x", "--trace"] },
    { words: ["-"], positionals: ["-"] },
    { words: ["--help"], help: true },
    { words: ["-h", "--trace"], options: { trace: true }, help: true },
    {
      words: ["--trace", "--", "make", "-j", "--", "--step"],
      command: running,
      options: { trace: true },
      positionals: ["make", "-j", "--", "--step"],
    },
    {
      words: ["--trace", "make", "--trace", "-s"],
      command: running,
      options: { trace: true },
      positionals: ["make", "--trace", "-s"],
    },
    { words: ["make", "--", "x"], command: running, positionals: ["make", "--", "x"] },
    { words: ["make", "--help"], command: running, positionals: ["make", "--help"] },
    { words: ["--", "--help"], command: running, positionals: ["--help"] },
    { words: ["--", "--"], command: running, positionals: ["--"] },
    { words: ["--"], command: running },
    { words: ["-s", "a", "007", "1e3", ""], command: running, options: { step: "a" }, positionals: ["007", "1e3", ""] },
    { words: ["--help", "--", "make"], command: running, help: true, positionals: ["make"] },
  ];

for (const row of read) {
  test(`read ${JSON.stringify(row.words)}`, () => {
    expect(parseWords(row.command ?? command, row.words)).toEqual({
      options: (row.options ?? {}) as never,
      positionals: row.positionals ?? [],
      helpWanted: row.help ?? false,
    });
  });
}

const refused: { words: string[]; message: RegExp; hint?: RegExp }[] = [
  { words: ["--stpe", "x"], message: /unknown flag --stpe/, hint: /--step/ },
  { words: ["--tracing"], message: /unknown flag --tracing/, hint: /--help/ },
  { words: ["--attest"], message: /unknown flag --attest/, hint: /--attestations/ },
  { words: ["-x"], message: /unknown flag -x/ },
  { words: ["-rx"], message: /unknown flag -x/ },
  { words: ["--Step", "x"], message: /unknown flag --Step/, hint: /--step/ },
  { words: ["--no-trace"], message: /unknown flag --no-trace/ },
  { words: ["--__proto__=x"], message: /unknown flag --__proto__/ },
  { words: ["--constructor"], message: /unknown flag --constructor/ },
  { words: ["--step"], message: /--step needs a value/ },
  { words: ["-s"], message: /-s needs a value/ },
  { words: ["--step", "--", "make"], message: /--step needs a value/ },
  { words: ["--step", "--trace"], message: /--step needs a value/, hint: /--step=--trace/ },
  { words: ["-o", "-x"], message: /-o needs a value/, hint: /--outfile=-x/ },
  { words: ["--trace=yes"], message: /--trace takes no value but true or false, not yes/ },
  { words: ["--trace="], message: /--trace takes no value but true or false/ },
  { words: ["-r=yes"], message: /-r takes no value but true or false, not yes/ },
  { words: ["-r="], message: /-r takes no value but true or false/ },
  { words: ["-rt=x"], message: /unknown flag -t/, hint: /flag of the Go tools/ },
  { words: ["-=x"], message: /unknown flag -=/ },
  { words: ["--trace", "--trace=false"], message: /given twice/ },
  {
    words: ["--enable-archivista=false"],
    message: /unknown flag --enable-archivista/,
    hint: /flag of the Go tools: leave it out/,
  },
  { words: ["--signer-fulcio-url", "x"], message: /unknown flag --signer-fulcio-url/, hint: /--signer-ephemeral/ },
  { words: ["-l", "debug"], message: /unknown flag -l/, hint: /there is no log/ },
  { words: ["-c=x.yaml"], message: /unknown flag -c/, hint: /no configuration file/ },
  { words: ["--step", "a", "--step", "b"], message: /given twice/ },
];

for (const row of refused) {
  test(`refuse ${JSON.stringify(row.words)}`, () => {
    let error: unknown;
    try {
      parseWords(command, row.words);
    } catch (thrown) {
      error = thrown;
    }
    if (!(error instanceof ToolError)) throw new Error(`not refused: ${error}`);
    expect(error.code).toBe("usage");
    expect(error.message).toMatch(row.message);
    expect(error.hint).toMatch(row.hint ?? /--help/);
  });
}

test("what the Go tools have and we have not is no flag or command of ours, and the page says the same", async () => {
  const page = readFileSync(join(import.meta.dir, "../docs/from-witness.md"), "utf8");
  for (const [table, dashes] of [[replacedFlags, "--"] as const, [replacedCommands, ""] as const]) {
    for (const { names, instead } of table) {
      expect(page).toContain(`| ${names.map(name => `\`${dashes}${name}\``).join(", ")} | ${instead} |\n`);
    }
  }
  const exact = (table: typeof replacedFlags) => new Set(table.flatMap(({ names }) => names));
  for (const { name, load } of commands) {
    expect(exact(replacedCommands)).not.toContain(name);
    // Records are named with it in the Go tools' verify.
    const longs = (await load()).options.map(option => option.long).filter(long => long !== "attestations");
    for (const long of longs) expect(exact(replacedFlags)).not.toContain(long);
  }
});

for (const entry of commands) {
  test(`${entry.name} is what its entry loads`, async () => expect((await entry.load()).name).toBe(entry.name));
}

const close: [word: string, expected: string | undefined][] = [
  ["step", "step"],
  ["stp", "step"],
  ["sept", undefined],
  ["outfiel", "outfile"],
  ["out", "outfile"],
  ["o", undefined],
  ["", undefined],
  ["nothing-like-it", undefined],
];

for (const [word, expected] of close) {
  test(`did you mean: ${word}`, () => expect(closest(word, ["step", "outfile", "trace"])).toBe(expected));
}

const texts: [text: string, expected: string][] = [
  ["plain äöü 漢字 👍", "plain äöü 漢字 👍"],
  ["a\nb\tc\r", "a\\nb\\tc\\r"],
  ["\x1b[31mred\x07", "\\x1B[31mred\\x07"],
  ["\x9b31m", "\\x9B31m"],
  ["exe\u202etxt.cod", "exe\\u202Etxt.cod"],
  ["\u2066x\u2069\u200f", "\\u2066x\\u2069\\u200F"],
  ["\u2028\u2029", "\\u2028\\u2029"],
  ["\u{e0041}", "\\U000E0041"],
];

for (const [text, expected] of texts) {
  test(`printable ${JSON.stringify(text)}`, () => expect(printable(text)).toBe(expected));
}

test("a word for the shell comes back from it", () => {
  for (const word of ["plain", "", "a b", "it's", "$HOME", "a\nb", "\x1b[31m'\\", "-x=*", "~", "é"]) {
    const shell = Bun.spawnSync(["bash", "-c", `printf %s ${shellWord(word)}`], { env: { LC_ALL: "C.UTF-8" } });
    expect(shell.stdout.toString()).toBe(word);
  }
});
