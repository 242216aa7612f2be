// The command's output that we took from it and could not write to our own stdout or stderr: the command may have
// ended well without knowing, so we must not.
import { exitStatus } from "../errors.ts";
import type { Observation } from "../trace/observation.ts";
import type { CommandIo } from "./command.ts";

/** The status of the run. What was lost is in the record too. */
export async function statusOf({ exitCode, stdout, stderr }: Observation, io: CommandIo): Promise<number> {
  let isLost = false;
  for (const [name, { undelivered }] of Object.entries({ stdout, stderr })) {
    if (undelivered === undefined) continue;
    isLost = true;
    const { reason, bytes } = undelivered;
    await io.stderr(`cilock: error: cannot write the command's ${name}: ${reason}, ${bytes} bytes or more are lost\n`);
  }
  return exitCode === 0 && isLost ? exitStatus["output-lost"] : exitCode;
}
