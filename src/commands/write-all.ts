// write(2) may take a part only.
import { writeSync } from "node:fs";

/** Throws what the file system says. */
export function writeAll(descriptor: number, bytes: Uint8Array): void {
  for (let rest = bytes; rest.length > 0; ) rest = rest.subarray(writeSync(descriptor, rest));
}
