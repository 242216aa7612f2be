// Processes that are no part of the build, in Python, so that the ways in which they deal with it are those of ordinary programs. Each runs in
// the scratch directory, as the user of the test.
import { existsSync } from "node:fs";
import { nobody, type Scratch, type User } from "./harness.ts";

/** Not a wrapper below some home directory: one that nobody may run, and that is the process itself. */
export const python = existsSync("/usr/bin/python3") ? "/usr/bin/python3" : Bun.which("python3");

export type Outsider = Bun.Subprocess<"pipe", "pipe", "inherit">;

export class Outsiders {
  readonly #running: Outsider[] = [];

  /** The same user, as an attacker would be. Yama lets others in only where they are asked to. */
  start(scratch: Scratch, program: string): Outsider {
    const open = "import ctypes,os,socket,sys,time\nctypes.CDLL(None).prctl(0x59616d61,ctypes.c_ulong(-1 % 2**64),0,0,0)\n";
    return this.spawn(scratch, [python ?? "", "-c", open + program]);
  }

  spawn(scratch: Scratch, command: string[], options: { env?: { [name: string]: string } } = {}): Outsider {
    const child = Bun.spawn(asUser(scratch.user, command), {
      cwd: scratch.work,
      stdin: "pipe",
      stdout: "pipe",
      stderr: "inherit",
      ...options,
    });
    this.#running.push(child);
    return child;
  }

  /** After each test. */
  end(): void {
    for (const child of this.#running.splice(0)) child.kill("SIGKILL");
  }
}

/** A command, as the user of a test. */
export const asUser = (user: User, command: string[]): string[] =>
  user === "nobody" ? ["setpriv", "--reuid", `${nobody}`, "--regid", `${nobody}`, "--clear-groups", "--", ...command] : command;

/** The first that it prints. */
export async function said(child: Outsider): Promise<string> {
  const { value } = await child.stdout.getReader().read();
  return Buffer.from(value ?? [])
    .toString()
    .trim();
}
