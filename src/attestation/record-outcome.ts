// How the command of a record ended, as the record says. A failed command is recorded like any other, so that whoever
// lets files through by their record has to look at this too.
import { z } from "zod";
import type { Collection } from "./collection.ts";
import { readFields } from "./document.ts";
import { isJsonObject } from "./json.ts";

export interface RecordOutcome {
  /** Undefined: the record does not say. */
  exitStatus: number | undefined;
  /** The signal that cilock was sent meanwhile. */
  interrupted: string | undefined;
  /** Which output could not be written, though the command was told that it is. */
  lost: readonly ("stdout" | "stderr")[];
}

const typePattern = /\/command-run\/(v0\.[0-9]+)$/;
const stream = z.object({ undelivered: z.unknown() }).nullish().catch(undefined);
const schema = z.object({
  exitcode: z.number().nullish().catch(Number.NaN),
  interrupted: z.string().nullish().catch(undefined),
  stdoutDigest: stream,
  stderrDigest: stream,
});

/** Undefined: it is no record of a command. Of several commands the first that did not succeed. */
export function readOutcome(collection: Collection): RecordOutcome | undefined {
  const outcomes = collection.attestations.flatMap(({ type, attestation }) => {
    const version = typePattern.exec(type)?.[1];
    if (version === undefined) return [];
    const fields = readFields(isJsonObject(attestation) ? attestation : {}, schema, "a command-run attestation");
    // v0.2 leaves out a zero; v0.1 never does.
    const exitStatus = fields.exitcode ?? (version === "v0.2" ? 0 : Number.NaN);
    const lost = (["stdout", "stderr"] as const).filter(name => fields[`${name}Digest`]?.undelivered != null);
    return { exitStatus: Number.isNaN(exitStatus) ? undefined : exitStatus, interrupted: fields.interrupted ?? undefined, lost };
  });
  return outcomes.find(outcome => !succeeded(outcome)) ?? outcomes[0];
}

export function succeeded({ exitStatus, lost }: RecordOutcome): boolean {
  return exitStatus === 0 && lost.length === 0;
}

export function describeOutcome({ exitStatus, interrupted, lost }: RecordOutcome): string {
  const status = exitStatus === undefined ? "exit status not recorded" : `exit status ${exitStatus}${signalText(exitStatus)}`;
  const after = interrupted === undefined ? "" : `, after cilock was sent ${interrupted}`;
  return `${status}${after}${lost.length === 0 ? "" : `, and its ${lost.join(" and ")} could not be written`}`;
}

/** The format has one number for both: a command can also end with such a status by itself. */
function signalText(exitStatus: number): string {
  const name = signals[exitStatus - 129];
  return name === undefined ? "" : ` (what a death by SIG${name} is recorded as)`;
}

/** From 1 on, on x86-64 and arm64 (signal(7)). */
const signals =
  "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS".split(
    " ",
  );
