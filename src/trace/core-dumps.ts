// What the kernel does with the memory of a process that crashed (core(5)): a file that no call has made, or work for a
// handler of the machine's own.
import { readFileSync } from "node:fs";
import type { GapName } from "./gaps.ts";

const pattern = "/proc/sys/kernel/core_pattern";

/** Asked at each: a build that runs as root may have changed it. */
export function coreGap(): GapName {
  try {
    // A program behind a pipe, or a socket (Linux 6.16).
    return /^[|@]/.test(readFileSync(pattern, "latin1")) ? "core-handed-over" : "core-file";
  } catch {
    return "core-file"; // no proc: it is not known
  }
}
