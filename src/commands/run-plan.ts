// What `cilock run` is going to do, after everything that can fail has been looked at. Nothing of the command has run
// yet, and nothing is left behind on disk.
import { accessSync, constants, existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { secretVariableTest } from "../attestors/environment.ts";
import { ToolError } from "../errors.ts";
import { type HolesLeft, holesLeft } from "../file-limits.ts";
import { createRedaction, type Redaction } from "../redaction.ts";
import { checkOutfile, type Outfile, refuseInputs, safeFileName } from "./outfile.ts";
import type { RunOptions } from "./run-options.ts";
import { type CheckedKey, checkKey } from "./signing-key.ts";

export interface RunPlan {
  readonly options: RunOptions;
  /** Of the command's first word in the original argv. */
  readonly argvIndex: number;
  /** As given, `.` if it was not. */
  readonly workingDirectory: string;
  readonly outfile: Outfile;
  readonly signer: { kind: "file"; key: CheckedKey } | { kind: "ephemeral"; publicKeyFile: Exclude<Outfile, { kind: "stdout" }> };
  readonly redaction: Redaction;
  /** The command's stdout goes to stderr: ours is taken by the record or the summary. */
  readonly stdoutToStderr: boolean;
  /** Of sparse files, for all that the run reads. */
  readonly holes: HolesLeft;
}

export interface PlanInput {
  readonly options: RunOptions;
  /** Original bytes of our own argv and environment. */
  readonly argv: readonly Uint8Array[];
  readonly environmentBytes: readonly Uint8Array[];
  /** How many words at the end of argv are the command. */
  readonly commandLength: number;
  readonly environment: { readonly [name: string]: string | undefined };
}

export async function makePlan(input: PlanInput): Promise<RunPlan> {
  const { options } = input;
  const argvIndex = input.argv.length - input.commandLength;
  refuseBrokenWords(input.argv.slice(0, argvIndex));
  const workingDirectory = checkDirectory(options.workingDirectory ?? ".");
  const defaultName = `${safeFileName(options.step)}.attestation.json`;
  const outfile = checkOutfile(options.outfile ?? defaultName);
  if (options.signer.kind === "file") {
    refuseInputs(outfile, options.outfile, [
      { flag: "signer-file-key-path", path: options.signer.path },
      { flag: "signer-file-key-passphrase-path", path: options.signer.passphrasePath },
    ]);
  }
  const recordName = outfile.kind === "file" ? (options.outfile ?? defaultName) : defaultName;
  const signer: RunPlan["signer"] =
    options.signer.kind === "ephemeral"
      ? { kind: "ephemeral", publicKeyFile: checkPublicKeyFile(`${recordName}.pub`, outfile) }
      : { kind: "file", key: await checkKey({ ...options.signer, environment: input.environment }) };
  return {
    options,
    argvIndex,
    workingDirectory,
    outfile,
    signer,
    redaction: createRedaction(input.environmentBytes, secretVariableTest(options.variables)),
    stdoutToStderr: options.json || outfile.kind === "stdout",
    holes: holesLeft(),
  };
}

/** Our own words are read as text. What is not UTF-8 would have become something else: another step, another file. */
function refuseBrokenWords(words: readonly Uint8Array[]): void {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  for (const word of words) {
    try {
      decoder.decode(word);
    } catch {
      const shown = new TextDecoder().decode(word);
      throw new ToolError("usage", `a flag or its value is not UTF-8: ${shown}`, {
        hint: "only the command's own words may be any bytes",
      });
    }
  }
}

function checkDirectory(path: string): string {
  try {
    if (!statSync(path).isDirectory()) throw new ToolError("working-directory", `${path} is not a directory`);
    accessSync(path, constants.X_OK);
    return path;
  } catch (error) {
    if (error instanceof ToolError) throw error;
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    const reason = code === "ENOENT" ? "it does not exist" : code === "EACCES" ? "permission denied" : String(code ?? error);
    throw new ToolError("working-directory", `cannot run in ${path}: ${reason}`, { cause: error });
  }
}

/** A second run replaces a record and its key together. A key alone is somebody else's: other records need it. */
function checkPublicKeyFile(path: string, record: Outfile): Exclude<Outfile, { kind: "stdout" }> {
  const file = checkOutfile(path);
  if (file.kind === "stdout") throw new Error("a name that ends in .pub is not stdout");
  const replacesRecord = record.kind === "file" && existsSync(record.path);
  if (file.kind === "file" && existsSync(file.path) && !replacesRecord) {
    throw new ToolError("outfile-unwritable", `${path} exists and is not written over: no record of its name is there`, {
      hint: "the public half of the ephemeral key would go there; move the file away, or name another record with --outfile",
    });
  }
  return file;
}

/** Absolute paths of the files that we are going to write: neither material nor product. */
export function ownPaths(plan: RunPlan): Uint8Array[] {
  const files = plan.signer.kind === "ephemeral" ? [plan.outfile, plan.signer.publicKeyFile] : [plan.outfile];
  return files.flatMap(file => (file.kind === "file" ? [file.path] : []));
}

/** Where a record without `--outfile` goes, as the person will look for it. */
export function shownPath(plan: RunPlan): string | undefined {
  if (plan.outfile.kind === "stdout") return undefined;
  return plan.options.outfile ?? join(".", plan.outfile.shown);
}
