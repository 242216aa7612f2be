// The command line: which command, its options, its help. cac lays out the help; node:util reads the words, since every
// value must survive byte for byte (`007`, `-o -`). Commands are tables (src/commands/command.ts); nothing here knows
// what one does.
import { parseArgs } from "node:util";
import type { Command, CommandEntry, CommandIo, Option, ParsedOptions } from "./commands/command.ts";
import { insteadOfCommand, insteadOfFlag } from "./commands/go-tools.ts";
import { print } from "./commands/print.ts";
import { closest } from "./did-you-mean.ts";
import { ToolError } from "./errors.ts";

export const toolName = "cilock";

export interface Parsed {
  options: ParsedOptions;
  /** With `restIsCommand` the words of the command, untouched. */
  positionals: string[];
  helpWanted: boolean;
}

const helpOption: Option = { long: "help", short: "h", kind: "boolean", help: "show this help" };
const versionWords: ReadonlySet<string> = new Set(["--version", "-v", "-V"]);

/** `words` is what follows the program's name. Returns the exit status. */
export async function runCommandLine(
  words: readonly string[],
  commands: readonly CommandEntry[],
  io: CommandIo,
): Promise<number> {
  const [first, ...rest] = words;
  if (first === undefined || first === "--help" || first === "-h" || (first === "help" && rest.length === 0)) {
    await print(io, await overallHelpText(commands));
    // Without a word nothing was asked for: a script whose arguments got lost must not take that for success.
    return first === undefined ? 2 : 0;
  }
  if (first === "help") return runCommandLine([...rest.slice(0, 1), "--help"], commands, io);
  const name = versionWords.has(first) ? "version" : first;
  const entry = commands.find(candidate => candidate.name === name);
  if (entry === undefined) throw unknownCommand(name, commands);
  const command = await entry.load();
  let parsed: Parsed;
  try {
    parsed = parseWords(command, rest);
  } catch (error) {
    command.release?.();
    throw error;
  }
  if (!parsed.helpWanted) return command.run(parsed.options, parsed.positionals, io);
  command.release?.();
  await print(io, await commandHelpText(entry, command));
  return 0;
}

// ---------------------------------------------------------------------------------------------
// Words to options

/** Reads a command's words by its table. Throws ToolError("usage") that names the flag. */
export function parseWords(command: Command, words: readonly string[]): Parsed {
  const known = [...command.options, helpOption];
  const config: Record<string, { type: "string" | "boolean"; short?: string }> = {};
  for (const option of known) {
    // An optional value comes with `=` only, so that it takes no word away: node:util has that for booleans.
    const type = option.kind === "string" || option.kind === "strings" ? "string" : "boolean";
    config[option.long] = option.short === undefined ? { type } : { type, short: option.short };
  }
  // Not strict: the errors are ours, with the flag and what may have been meant.
  const { tokens } = parseArgs({ args: [...words], options: config, strict: false, allowPositionals: true, tokens: true });

  const values = new Map<string, string | boolean | string[]>();
  const positionals: string[] = [];
  let read = -1;
  for (const [at, token] of tokens.entries()) {
    if (token.index === read) continue;
    if (token.kind === "option-terminator") {
      if (!command.restIsCommand) continue;
      positionals.push(...words.slice(token.index + 1));
      break;
    }
    if (token.kind === "positional") {
      if (command.restIsCommand) {
        positionals.push(...words.slice(token.index));
        break;
      }
      positionals.push(token.value);
      continue;
    }
    const option = known.find(candidate => candidate.long === token.name);
    if (option === undefined) throw unknownFlag(command, token.rawName, known);
    const next = tokens[at + 1];
    if (next?.kind === "option" && next.rawName === "-=" && next.index === token.index) {
      // `-r=true`, which node:util takes for six letters. The Go tools (pflag) read a value, and so do scripts.
      const word = words[token.index] ?? "";
      takeValue(values, command, option, { rawName: token.rawName, value: word.slice(word.indexOf("=") + 1), inlineValue: true });
      read = token.index;
    } else {
      takeValue(values, command, option, withoutSign(token));
    }
  }
  const helpWanted = values.get(helpOption.long) === true;
  values.delete(helpOption.long);
  return { options: Object.fromEntries(values), positionals, helpWanted };
}

interface Given {
  rawName: string;
  value?: string | undefined;
  inlineValue?: boolean | undefined;
}

/** `-s=build` is `-s build`, as pflag has it: `=build` would be another step. */
function withoutSign(token: Given): Given {
  const isLetter = !token.rawName.startsWith("--") && token.inlineValue === true;
  return isLetter ? { ...token, value: token.value?.replace(/^=/, "") } : token;
}

function takeValue(values: Map<string, string | boolean | string[]>, command: Command, option: Option, token: Given): void {
  const value = checkedValue(command, option, token);
  const earlier = values.get(option.long);
  if (option.kind === "strings") {
    values.set(option.long, [...(Array.isArray(earlier) ? earlier : []), ...(typeof value === "boolean" ? [] : [value])]);
    return;
  }
  // Whoever joins two command lines must hear that they disagree: a silent last one would sign under another name.
  if (earlier !== undefined && earlier !== value) {
    throw usage(command, `${token.rawName} is given twice, with different values`);
  }
  values.set(option.long, value);
}

/** As Go's strconv.ParseBool reads them. */
const booleans: ReadonlyMap<string, boolean> = new Map([
  ...["1", "t", "T", "true", "TRUE", "True"].map((word): [string, boolean] => [word, true]),
  ...["0", "f", "F", "false", "FALSE", "False"].map((word): [string, boolean] => [word, false]),
]);

function checkedValue(command: Command, option: Option, { rawName, value, inlineValue }: Given): string | boolean {
  switch (option.kind) {
    case "boolean": {
      if (value === undefined) return true;
      const given = booleans.get(value);
      if (given === undefined)
        throw usage(command, `${rawName} takes no value but true or false, not ${value || "an empty one"}`);
      return given;
    }
    case "optional-string":
      return value ?? true;
    case "string":
    case "strings":
      if (value === undefined || value === "--") throw usage(command, `${rawName} needs a value`);
      // A word that looks like a flag is more often a forgotten value than a value; `-` alone is a file.
      if (inlineValue !== true && value.startsWith("-") && value !== "-") {
        throw usage(command, `${rawName} needs a value`, `if ${value} is the value, write --${option.long}=${value}`);
      }
      return value;
  }
}

function unknownFlag(command: Command, rawName: string, known: readonly Option[]): ToolError {
  const name = rawName.replace(/^-+/, "");
  const instead = insteadOfFlag(name);
  if (instead !== undefined) return usage(command, `unknown flag ${rawName}`, instead);
  const close = closest(
    name,
    known.map(option => option.long),
  );
  return usage(command, `unknown flag ${rawName}`, close === undefined ? undefined : `did you mean --${close}?`);
}

function unknownCommand(name: string, commands: readonly CommandEntry[]): ToolError {
  const close = closest(
    name,
    commands.map(command => command.name),
  );
  if (name === "")
    return new ToolError("usage", "the command is an empty word", { hint: `${toolName} --help lists the commands` });
  const what = name.startsWith("-") ? "unknown flag" : "unknown command";
  const instead = name.startsWith("-") ? insteadOfFlag(name.replace(/^-+/, "")) : insteadOfCommand(name);
  if (instead !== undefined) return new ToolError("usage", `${what} ${name}`, { hint: instead });
  const hint = close === undefined ? `${toolName} --help lists the commands` : `did you mean ${toolName} ${close}?`;
  return new ToolError("usage", `${what} ${name}`, { hint });
}

function usage(command: Command, message: string, hint = `${toolName} ${command.name} --help lists the flags`): ToolError {
  return new ToolError("usage", message, { hint });
}

// ---------------------------------------------------------------------------------------------
// Help

interface HelpSection {
  title?: string;
  body: string;
}

async function overallHelpText(commands: readonly CommandEntry[]): Promise<string> {
  const { cac } = await import("cac");
  const cli = cac(toolName);
  for (const { name, summary } of commands) cli.command(name, summary);
  const example = (await commands.find(({ name }) => name === "run")?.load())?.example;
  cli.help(sections => overallHelp(sections, example));
  return printedBy(() => cli.outputHelp());
}

async function commandHelpText({ name, summary }: CommandEntry, command: Command): Promise<string> {
  const { cac } = await import("cac");
  const cli = cac(toolName);
  const entry = cli.command(name, summary);
  cli.help(() => commandHelp(command, summary));
  return printedBy(() => entry.outputHelp());
}

/** cac prints by itself, and says nothing of a disk that is full. */
function printedBy(outputHelp: () => void): string {
  const { info } = console;
  let text = "";
  console.info = (line: string) => {
    text += `${line}\n`;
  };
  try {
    outputHelp();
  } finally {
    console.info = info;
  }
  return text;
}

function overallHelp(sections: readonly HelpSection[], example: string | undefined): HelpSection[] {
  const list = sections.find(section => section.title === "Commands");
  return [
    { body: "cilock runs a build, watches every process of it, and signs a record of what it\nsaw." },
    { title: "Usage", body: `  ${toolName} <command> [flags]` },
    ...(list === undefined ? [] : [list]),
    ...(example === undefined ? [] : [{ title: "Example", body: example }]),
    { body: `${toolName} <command> --help shows a command's flags.` },
  ];
}

function commandHelp(command: Command, summary: string): HelpSection[] {
  return [
    { body: `${toolName} ${command.name}: ${summary}` },
    { title: "Usage", body: command.usage.map(usageHelp).join("\n") },
    ...(command.details === undefined ? [] : [{ body: command.details }]),
    { title: "Flags", body: [...command.options, helpOption].map(optionHelp).join("\n") },
    ...(command.example === undefined ? [] : [{ title: "Example", body: command.example }]),
  ];
}

function optionNames(option: Option): string {
  const short = option.short === undefined ? "" : `-${option.short}, `;
  const value = option.value ?? "VALUE";
  switch (option.kind) {
    case "boolean":
      return `${short}--${option.long}`;
    case "optional-string":
      return `${short}--${option.long}[=${value}]`;
    case "string":
    case "strings":
      return `${short}--${option.long} <${value}>`;
  }
}

const helpColumn = 32;
/** What a terminal has at least. */
const helpWidth = 80;

function optionHelp(option: Option): string {
  const names = `  ${option.short === undefined ? "    " : ""}${optionNames(option)}`;
  const indent = " ".repeat(helpColumn);
  const text = wrap(option.help.split(" "), helpWidth - helpColumn).join(`\n${indent}`);
  return names.length < helpColumn - 1 ? names.padEnd(helpColumn) + text : `${names}\n${indent}${text}`;
}

/** Broken between flags, never within one's brackets. */
function usageHelp(text: string): string {
  const indent = `  ${toolName} `;
  const words = text.match(/\[[^\]]*\]\S*|[^ ]+/g) ?? [];
  const [first = "", ...more] = wrap(words, helpWidth - indent.length - 4);
  return [indent + first, ...more.map(line => `${" ".repeat(indent.length + 4)}${line}`)].join("\n");
}

function wrap(words: readonly string[], width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of words) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === "" ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}
