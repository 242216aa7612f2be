// Asks the library what this place lets a tracer do. The names are those of `Probe` in zig/probe.zig; a test compares.
import { constants } from "node:os";
import type { Library } from "./library.ts";

export const probeNames = [
  "ptrace_call",
  "seccomp_call",
  "seize",
  "call_info",
  "filter_plain",
  "filter_no_new_privs",
  "filter_stop",
  "set_call_info",
  "process_vm_readv",
  "proc_mem",
  "pidfd_open",
  "pidfd_getfd",
  "proc_fd",
  "user_namespace",
  "proc_self",
  "capabilities",
  "no_new_privs",
  "seccomp_mode",
  "descriptor_limit",
  "dumpable",
] as const;

export type ProbeName = (typeof probeNames)[number];

export type ProbeAnswer =
  /** 0, or the number that was asked for. */
  | { kind: "works"; value: number }
  | { kind: "refused"; errno: number }
  /** Who tried was killed: a seccomp profile can answer so. */
  | { kind: "killed"; signal: number }
  | { kind: "no-answer" }
  /** No process could be made to try it in. */
  | { kind: "not-tried" };

/** Each probe is tried at most once, when somebody asks. */
export type Ask = (probe: ProbeName) => ProbeAnswer;

/** As in zig/probe.zig. */
const killed = 4096;
const unknown = -2 * killed;
const notTried = -3 * killed;

export function askLibrary(library: Library): Ask {
  const known = new Map<ProbeName, ProbeAnswer>();
  return probe => {
    const answer = known.get(probe) ?? parseAnswer(library.probe(probe));
    known.set(probe, answer);
    return answer;
  };
}

function parseAnswer(number: number): ProbeAnswer {
  if (number >= 0) return { kind: "works", value: number };
  if (number === notTried) return { kind: "not-tried" };
  if (number === unknown) throw new Error("the library does not know this probe");
  if (number < -killed) return { kind: "killed", signal: -number - killed };
  return -number === constants.errno.ETIMEDOUT ? { kind: "no-answer" } : { kind: "refused", errno: -number };
}

export const works = (answer: ProbeAnswer): boolean => answer.kind === "works";

/** The number that was asked for; 0 where it could not be. */
export const numberOf = (answer: ProbeAnswer): number => (answer.kind === "works" ? answer.value : 0);

/** capabilities(7) that matter here. */
export const capability = { setUid: 7, sysPtrace: 19, sysAdmin: 21, sysResource: 24 } as const;

export const hasCapability = (ask: Ask, bit: number): boolean =>
  (BigInt(numberOf(ask("capabilities"))) >> BigInt(bit)) % 2n === 1n;
