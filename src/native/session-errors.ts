// Why a command was not started, or its run ended without a record, in words: one row for each stage at which
// Zig can fail (`Stage` in zig/abi.zig).
import { constants } from "node:os";
import { type ErrorCode, ToolError } from "../errors.ts";
import type { Stage } from "./abi.gen.ts";
import type { RecordError } from "./decoder.ts";
import { errnoText, signalName } from "./names.ts";
import { readSurroundings } from "./surroundings.ts";

interface Words {
  command: string;
  directory: string;
}

interface Row {
  code: ErrorCode;
  message: (errno: string, words: Words) => string;
  hint?: string;
}

const ptraceHint =
  "in a container, give it ptrace (docker run --cap-add=SYS_PTRACE); elsewhere look at kernel.yama.ptrace_scope, which must be 0 or 1; without --trace the command runs unobserved";

const rows: Record<Exclude<Stage, "exec" | "killed">, Row> = {
  none: { code: "tracer-failed", message: () => "the tracer gave up and did not say why" },
  working_directory: {
    code: "working-directory",
    message: (errno, { directory }) => `cannot run in ${directory}: ${errno}`,
    hint: "name an existing directory with --workingdir",
  },
  stdio: { code: "command-not-started", message: errno => `cannot connect the command's stdin, stdout or stderr: ${errno}` },
  seize: {
    code: "tracing-impossible",
    message: errno => `cannot trace: ptrace is not permitted here (${errno})`,
    hint: ptraceHint,
  },
  filter: {
    code: "tracing-impossible",
    message: errno => `cannot trace: the kernel refuses a seccomp filter (${errno})`,
    hint: "the kernel needs CONFIG_SECCOMP_FILTER; a container's seccomp profile must allow seccomp(2)",
  },
  fork: {
    code: "command-not-started",
    message: errno => `cannot make a process for the command: ${errno}`,
    hint: "look at ulimit -u and the memory that is left",
  },
  wait: { code: "tracer-failed", message: errno => `the tracer cannot wait for its processes: ${errno}` },
  memory: { code: "tracer-failed", message: errno => `the tracer has no memory: ${errno}` },
  too_many_tracees: { code: "tracer-failed", message: () => "the command has more threads at once than can be traced" },
  proc: {
    code: "tracing-impossible",
    message: errno => `cannot trace: /proc is missing or is another pid namespace's (${errno})`,
    hint: "mount -t proc proc /proc; without --trace it is not needed",
  },
};

/** Whether src/native/obstacles.ts may know more. A call that our filter sends to a tracer which does not see it is ENOSYS. */
export function mayBeThePlace(stage: Stage, errno: number): boolean {
  if (stage === "killed") return killedByProfile(errno);
  return stagesOfTracing.has(stage) || (stage === "exec" && errno === constants.errno.ENOSYS);
}

const stagesOfTracing: ReadonlySet<Stage> = new Set(["seize", "filter", "proc", "memory"]);

export function failedAt(stage: Stage, errno: number, words: Words): ToolError {
  if (stage === "exec") return notExecuted(errno, words.command);
  if (stage === "killed") return killedEarly(errno);
  const { code, message, hint } = rows[stage];
  return new ToolError(code, message(errnoText(errno), words), hint === undefined ? {} : { hint });
}

function notExecuted(errno: number, command: string): ToolError {
  if (errno === constants.errno.ENOENT) {
    return command.includes("/")
      ? new ToolError("command-not-found", `cannot execute ${command}: no such file`, {
          hint: "if it is there, the interpreter in its first line, or its dynamic linker, is not",
        })
      : new ToolError("command-not-found", `${command}: command not found`, {
          hint: notFoundHint(command),
        });
  }
  return new ToolError("command-not-executable", `cannot execute ${command}: ${errnoText(errno)}`);
}

/** What a shell would have understood, and we are none. */
function notFoundHint(command: string): string {
  const variable = /^[A-Za-z_][A-Za-z0-9_]*=/.exec(command);
  if (variable !== null) return `no shell reads the command: put env before it (-- env ${variable[0]}… COMMAND)`;
  if (shellBuiltins.has(command)) return `${command} is a word of the shell, no program: sh -c '${command} …'`;
  if (/\s/.test(command)) return "that is one word: write the command without the quotes, or let a shell read it (sh -c '…')";
  return "look at PATH, or name the file with a slash in it";
}

const shellBuiltins: ReadonlySet<string> = new Set(
  "cd export source . set unset alias ulimit umask eval exec trap wait read shift pushd popd if for while case type command : !".split(
    " ",
  ),
);

function killedEarly(signal: number): ToolError {
  return new ToolError("command-not-started", `the command was killed by ${signalName(signal)} before it was executed`, {
    status: 128 + signal,
  });
}

/** The start hook, or what stands in for it in development. */
export function cannotBegin(errno: number): ToolError {
  const { emulator } = readSurroundings();
  if (emulator !== undefined) {
    return new ToolError(
      "command-not-started",
      `cannot run a command: this program is emulated by ${emulator}, which cannot make its processes`,
      {
        hint: "run it on a machine with an x86-64 processor (docker run --platform chooses the image's), or emulate a whole machine",
      },
    );
  }
  return new ToolError("command-not-started", `cannot make the processes of a run: ${errnoText(errno)}`, {
    hint: "look at ulimit -n, ulimit -u and the memory that is left",
  });
}

/** SIGSYS: a seccomp profile that kills, where others refuse. */
export const killedByProfile = (status: number): boolean => (status & 0x7f) === constants.signals.SIGSYS;

/** The tracer died, or exited, before it had said that all is over. Its processes are dead by now. */
export function endedEarly(status: number): ToolError {
  const signal = status & 0x7f;
  const how = signal === 0 ? `exited with status ${(status >> 8) & 0xff}` : `was killed by signal ${signal}`;
  return new ToolError("tracer-failed", `the tracer ${how} before the command's end; the command has been killed`, {
    hint: "no record is written of a run that was not watched to its end",
  });
}

export function traceLost(error: RecordError): ToolError {
  return new ToolError("trace-lost", `the tracer's records cannot be read (${error.message}); the command has been killed`, {
    hint: "this is a bug: please report it",
    cause: error,
  });
}

const signalNumbers = new Map<string, number>(Object.entries(constants.signals));

/** `isAllDead`: not so where what was killed does not die (zig/children.zig). */
export function interruptedTwice(signal: string, isAllDead: boolean): ToolError {
  const status = 128 + (signalNumbers.get(signal) ?? 0);
  const hint = "what is left of it does not die: a cgroup has frozen it, or it waits in the kernel for a device or a file server";
  return new ToolError(
    "interrupted-twice",
    `interrupted by ${signal} and again: the command has been killed, no record is written`,
    isAllDead ? { status } : { status, hint },
  );
}
