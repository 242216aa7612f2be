// From the program's words to its exit status: hands the commands what they may touch of the process, prints the one
// error, and knows the exit status of each.
import { writeSync } from "node:fs";
import { runCommandLine, toolName } from "./cli.ts";
import type { CommandIo } from "./commands/command.ts";
import { commands } from "./commands/index.ts";
import { exitStatus, ToolError } from "./errors.ts";
import { printable, printableStart } from "./reports/printable.ts";

/** `argv` is that of the process: the runtime, the script, then the words. */
export async function main(argv: readonly string[]): Promise<number> {
  // What is thrown outside of what we await would end the process with a stack and status 1, which means something else here.
  process.on("uncaughtException", error => process.exit(report(error)));
  process.on("unhandledRejection", error => process.exit(report(error)));
  try {
    return await runCommandLine(argv.slice(2), commands, io);
  } catch (error) {
    return report(error);
  }
}

const io: CommandIo = {
  stdout(text) {
    try {
      writeAll(1, text);
    } catch (error) {
      const code = isCode(error, "EPIPE") ? "output-unread" : "output-unwritable";
      throw new ToolError(code, `cannot write to stdout: ${reasonOf(error)}`, { cause: error });
    }
  },
  stderr(text) {
    try {
      writeAll(2, text);
    } catch {
      // Nobody reads us there; the exit status still says what became of the run.
    }
  },
  environment: process.env,
  colour(stream) {
    if (process.env.NO_COLOR || process.env.TERM === "dumb") return false;
    // node:tty takes 3 ms to load, and most commands print no colours.
    const { isatty }: typeof import("node:tty") = require("node:tty");
    return isatty(stream === "stdout" ? 1 : 2);
  },
};

/** A message quotes words of the command line, which may be 128 KiB each. */
const messageMax = 1000;

/** Prints the error and returns the exit status. Messages may hold names of files: nothing in them may act on the terminal. */
function report(error: unknown): number {
  if (error instanceof ToolError) {
    io.stderr(`${toolName}: error: ${printableStart(error.message, messageMax)}\n`);
    if (error.hint !== undefined) io.stderr(`${toolName}: hint: ${printableStart(error.hint, messageMax)}\n`);
    return error.exitStatus;
  }
  io.stderr(`${toolName}: error: internal error: ${printable(messageOf(error))}\n`);
  io.stderr(`${toolName}: hint: this is a mistake in ${toolName}, not in what you did; please report it with the command line\n`);
  return exitStatus.internal;
}

function reasonOf(error: unknown): string {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return { ENOSPC: "no space left", EPIPE: "its reader is gone", EBADF: "it is closed" }[code] ?? messageOf(error);
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Synchronous, so that nothing is left to write when the process ends. */
function writeAll(descriptor: number, text: string | Uint8Array): void {
  let rest = typeof text === "string" ? Buffer.from(text) : text;
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(descriptor, rest));
    } catch (error) {
      if (!isCode(error, "EAGAIN")) throw error;
      // Somebody made the pipe non-blocking and its reader is slow.
      Bun.sleepSync(1);
    }
  }
}
