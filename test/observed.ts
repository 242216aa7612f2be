// What the tests of the observers have in common: a directory for each test, and what a process does to a file as its records tell it.
import { afterEach, beforeEach } from "bun:test";
import { createHash } from "node:crypto";
import { appendFileSync, mkdtempSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ProcessObservation, TraceObservation } from "../src/trace/observation.ts";
import { identityOf, O, pathItem, type Script } from "./trace-events.ts";

/** Of the test that runs. To be called once in each file, at its top. */
export function scratchDirectory(): { at: (name: string) => string; write: (name: string, content: string) => string } {
  let directory = "";
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "cilock-observers-"));
  });
  afterEach(() => rmSync(directory, { recursive: true }));
  const at = (name: string): string => join(directory, name);
  const write = (name: string, content: string): string => {
    writeFileSync(at(name), content);
    return at(name);
  };
  return { at, write };
}

export const sha256 = (content: string | Uint8Array): string => createHash("sha256").update(content).digest("hex");
export const digest = (content: string) => ({ sha256: sha256(content) });

export function nth(observation: TraceObservation, serial: number): ProcessObservation {
  const process = observation.processes[serial - 1];
  if (!process) throw new Error(`no process ${serial}`);
  return process;
}

export const kinds = (observation: TraceObservation): string[] => observation.completeness.gaps.map(gap => gap.kind);
export const createAndWrite = O.O_WRONLY | O.O_CREAT | O.O_TRUNC;

/** Open, write, as a process does it: the file is there when the open's event is made, the content comes after it. */
export function writes(script: Script, serial: number, path: string, content: string, flags = createAndWrite): void {
  if ((flags & O.O_APPEND) === 0) writeFileSync(path, "");
  script.open(serial, path, flags);
  if (content !== "") appendFileSync(path, content);
}

/** truncate(2): the tracer records an open for writing, too. */
export function truncated(script: Script, serial: number, path: string, length: number): void {
  const sizeBefore = statSync(path, { bigint: true }).size;
  truncateSync(path, length);
  script.call(serial, "truncate", [0, length], [pathItem(0, path), { kind: "file", argument: 0, file: identityOf(path) }]);
  script.open(serial, path, O.O_WRONLY | O.O_TRUNC, { sizeBefore });
}
