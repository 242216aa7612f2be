// What `cilock show` prints of a record: an overview, and on demand its processes as a tree, its files, its
// materials and products, and who vouches for its inputs. Pure. All text of the record is made printable, and lines have an end.
import { type JsonObject, omitUndefined } from "../attestation/json.ts";
import type { RecordArtifacts } from "../attestation/record-artifacts.ts";
import type { RecordCompleteness } from "../attestation/record-completeness.ts";
import type { RecordOrigin } from "../attestation/record-origin.ts";
import type { RecordProcess, RecordRun } from "../attestation/record-run.ts";
import type { StatementSubject } from "../attestation/statement.ts";
import { type Paint, painter, type Style, verdictStyle } from "./colour.ts";
import { durationText } from "./duration-text.ts";
import { gapJson, gapLines } from "./gap-text.ts";
import { hermeticJson } from "./hermetic-text.ts";
import { networkRows } from "./network-text.ts";
import { printableStart, shellWord } from "./printable.ts";
import type { NamedProgram } from "./program-name.ts";
import { artifactSections, artifactsJson } from "./show-artifacts.ts";
import { fileHistories, historiesJson, historyLines } from "./show-file.ts";
import { endpointsJson, lookupsJson, networkLines } from "./show-network.ts";
import { originJson, originRows } from "./show-origin.ts";
import { undeclaredJson, undeclaredLines } from "./show-undeclared.ts";
import { inputsText } from "./summary.ts";

export type Shown = ShownRecord | ShownPayload;

/** What is signed need not be a statement: a policy is none. */
export interface ShownPayload {
  readonly kind: "other";
  readonly name: string;
  readonly signedBy: string | undefined;
  readonly payloadType: string;
  readonly payloadLength: number;
}

export interface ShownRecord {
  readonly kind: "statement";
  readonly name: string;
  /** Undefined: nobody has checked it. */
  readonly signedBy: string | undefined;
  readonly predicateType: string;
  readonly step: string | undefined;
  readonly subjects: readonly StatementSubject[];
  /** Attestations by type. */
  readonly attestations: readonly string[];
  readonly completeness: RecordCompleteness | undefined;
  readonly origin: RecordOrigin | undefined;
  readonly run: RecordRun | undefined;
  readonly artifacts: RecordArtifacts | undefined;
}

export interface ShownParts {
  readonly processes: boolean;
  readonly files: boolean;
  readonly artifacts: boolean;
  /** `all`: each file, however many there are. */
  readonly undeclared: boolean | "all";
  readonly network: boolean;
  /** Paths or globs. */
  readonly file: readonly string[];
}

const lineLengthMax = 300;
/** Deeper ones are not indented further. */
const depthShownMax = 30;

export function showText(record: Shown, parts: ShownParts, { colour }: { colour: boolean }): string {
  const paint = painter(colour);
  const overview = record.kind === "other" ? payloadRows(record) : overviewRows(record);
  const sections = record.kind === "other" ? [] : sectionsOf(record, parts);
  const lines = [line(record.name), ...aligned(overview, paint)];
  return `${[lines, ...sections.map(section => section.map(text => line(text)))].map(part => part.join("\n")).join("\n\n")}\n`;
}

function sectionsOf(record: ShownRecord, parts: ShownParts): string[][] {
  const sections: string[][] = [];
  const { run } = record;
  const untraced = [`  ${whyUntraced(record)}`];
  if (parts.processes) sections.push(["processes", ...(run?.processes ? processLines(run.processes) : untraced)]);
  if (parts.files) sections.push(["files", ...(run?.processes ? fileLines(run.processes) : untraced)]);
  for (const pattern of parts.file) {
    sections.push([`file ${pattern}`, ...(run?.processes ? historyLines(fileHistories(record, pattern)) : untraced)]);
  }
  if (parts.artifacts) sections.push(...artifactSections(record));
  if (parts.network) sections.push(["network", ...(run?.processes ? networkLines(run) : untraced)]);
  if (parts.undeclared)
    sections.push(["undeclared inputs", ...(run?.processes ? undeclaredLines(run, parts.undeclared === "all") : untraced)]);
  return sections;
}

/** Of a record without processes. */
function whyUntraced({ run, step, predicateType }: ShownRecord): string {
  if (run !== undefined) return "the record is of a run without --trace";
  return step === undefined
    ? `the statement is ${predicateType}, no record of a run`
    : "the record has no command-run attestation";
}

/** Of a record that says nothing of it. */
const unknown = { verdict: "incomplete", gaps: [] };

// ---------------------------------------------------------------------------------------------
// Overview

interface Row {
  label: string;
  lines: string[];
  /** Of the first line. */
  style?: Style;
}
const row = (label: string, ...lines: string[]): Row => ({ label, lines });

function payloadRows({ signedBy, payloadType, payloadLength }: ShownPayload): Row[] {
  const type = payloadType === "" ? "of no type" : `of type ${payloadType}`;
  return [
    signatureRow(signedBy),
    row("payload", `${payloadLength} bytes ${type}, not an in-toto statement: nothing of it is shown`),
  ];
}

function signatureRow(signedBy: string | undefined): Row {
  if (signedBy !== undefined) return { ...row("signature", `good, by ${signedBy}`), style: "good" };
  return { ...row("signature", "not checked (-k KEY checks it): nothing below is certain"), style: "doubtful" };
}

/** Each line made printable, then painted. */
function aligned(rows: readonly Row[], paint: Paint): string[] {
  const width = Math.max(...rows.map(({ label }) => label.length));
  return rows.flatMap(({ label, lines, style }) =>
    lines.map(
      (text, at) =>
        `  ${(at === 0 ? label : "").padEnd(width)}  ${paint(line(text, lineLengthMax - width - 4), at === 0 ? style : undefined)}`,
    ),
  );
}

function overviewRows(record: ShownRecord): Row[] {
  const { signedBy, run, step, subjects, attestations, completeness, predicateType } = record;
  const rows: Row[] = [
    signatureRow(signedBy),
    row("step", step ?? `none: the statement is ${predicateType}`),
    row("subjects", String(subjects.length)),
    row("attestations", ...(attestations.length === 0 ? ["none"] : attestations)),
  ];
  if (record.origin) rows.push(...originRows(record.origin).map(found => row(...found)));
  if (run) {
    const { exitCode } = run;
    rows.push(row("command", run.command.map(shellWord).join(" ")));
    const status = row("exit status", exitCode === undefined ? "not recorded" : String(exitCode));
    rows.push({ ...status, style: exitCode === undefined ? "doubtful" : exitCode === 0 ? "good" : "bad" });
    if (run.durationNs !== undefined) rows.push(row("time", durationText(run.durationNs)));
    if (run.processes) {
      const { opened, written } = filesOf(run.processes);
      rows.push(row("processes", String(run.processes.length)));
      rows.push(row("files", `${opened.size} opened, ${written.size} written`));
    }
    if (run.network) rows.push(...networkRows(run.network, completeness ?? unknown).map(found => row(...found)));
    if (run.undeclared) rows.push(row("inputs", inputsText(run.undeclared.counts)));
  }
  if (!run?.processes) {
    rows.push(row("trace", `none: ${whyUntraced(record)}`));
  } else if (completeness) {
    const { verdict, gaps, reason } = completeness;
    const programOf = (id: number) => calledOf(run.processes?.find(({ pid }) => pid === id));
    const details = gaps.flatMap(gap => gapLines(gap, programOf));
    rows.push({ ...row("trace", verdict, ...(reason === undefined ? [] : [reason]), ...details), style: verdictStyle[verdict] });
  }
  return rows;
}

function calledOf(process: RecordProcess | undefined): NamedProgram | undefined {
  return process && { program: process.program, calledAs: process.argv[0] };
}

// ---------------------------------------------------------------------------------------------
// Processes

/** Children below their parent, in the order of the record. Ids come again in a long build: the nearest earlier one is meant. */
function processLines(processes: readonly RecordProcess[]): string[] {
  const depths: number[] = [];
  const latest = new Map<number, number>();
  const children: number[][] = processes.map(() => []);
  const roots: number[] = [];
  for (const [index, { pid, parentPid }] of processes.entries()) {
    const parent = latest.get(parentPid);
    if (parent === undefined) roots.push(index);
    else children[parent]?.push(index);
    depths[index] = parent === undefined ? 0 : (depths[parent] ?? 0) + 1;
    latest.set(pid, index);
  }
  const lines: string[] = [];
  const pending = roots.reverse();
  for (let index = pending.pop(); index !== undefined; index = pending.pop()) {
    const process = processes[index];
    if (process) lines.push(processLine(process, depths[index] ?? 0));
    pending.push(...(children[index] ?? []).reverse());
  }
  return lines.length === 0 ? ["  none"] : lines;
}

function processLine({ pid, commandLine, argv, program, exitCode, exitSignal }: RecordProcess, depth: number): string {
  const end = exitSignal === undefined ? (exitCode === 0 ? "" : `  exit ${exitCode}`) : `  ${exitSignal}`;
  const indent = "  ".repeat(Math.min(depth, depthShownMax) + 1);
  return `${indent}${pid} ${withProgram(commandLine, argv[0], program)}${end}`;
}

/** argv[0] is what the caller wanted it to be, and a program found by PATH is not in it: the program's path stands in its place, or before it. */
function withProgram(commandLine: string, word: string | undefined, program: string): string {
  if (commandLine === "" || program === "") return commandLine || program;
  const called = word ?? commandLine.split(" ", 1)[0] ?? "";
  if (called === program) return commandLine;
  const isFound = called !== "" && called === program.slice(program.lastIndexOf("/") + 1) && commandLine.startsWith(called);
  return isFound ? `${program}${commandLine.slice(called.length)}` : `[${program}] ${commandLine}`;
}

// ---------------------------------------------------------------------------------------------
// Files

interface ShownFiles {
  opened: Map<string, string>;
  written: Map<string, string>;
  /** Of those that were written. */
  readToo: Set<string>;
}

function filesOf(processes: readonly RecordProcess[]): ShownFiles {
  const opened = new Map<string, string>();
  const written = new Map<string, string>();
  const read = new Set<string>();
  for (const process of processes) {
    for (const [path, sha256] of process.opened) {
      if (!opened.get(path)) opened.set(path, sha256);
      // A writer's own open is in both lists. It had another content where the writer has read the file before.
      const left = process.written.get(path);
      if (sha256 !== "" && left !== "" && left !== sha256) read.add(path);
    }
    for (const [path, sha256] of process.written) if (sha256 !== "" || !written.has(path)) written.set(path, sha256);
  }
  return { opened, written, readToo: read.intersection(new Set(written.keys())) };
}

/** `w` what was written, with what was left, `rw` if it was read too; `r` what was only opened, with what was found first. */
function fileLines(processes: readonly RecordProcess[]): string[] {
  const { opened, written, readToo } = filesOf(processes);
  const paths = [...new Set([...opened.keys(), ...written.keys()])].sort();
  if (paths.length === 0) return ["  none"];
  return paths.map(path => {
    const left = written.get(path);
    const sha256 = left || opened.get(path) || "-".repeat(64);
    const how = left === undefined ? "r" : readToo.has(path) ? "rw" : "w";
    return `  ${how.padEnd(2)} ${sha256}  ${path}`;
  });
}

// ---------------------------------------------------------------------------------------------
// For programs

export function showJson(record: Shown, parts: ShownParts): JsonObject {
  const signature = omitUndefined({
    record: record.name.toWellFormed(),
    signature: record.signedBy === undefined ? "not checked" : "good",
    signedBy: record.signedBy,
  });
  if (record.kind === "other") {
    return { ...signature, payloadType: record.payloadType.toWellFormed(), payloadBytes: record.payloadLength };
  }
  const { run, completeness } = record;
  return omitUndefined({
    ...signature,
    predicateType: record.predicateType,
    step: record.step,
    subjects: record.subjects.length,
    attestations: record.attestations,
    ...(record.origin && originJson(record.origin)),
    command: run?.command,
    exitcode: run?.exitCode,
    durationNs: run?.durationNs,
    traced: run && run.processes !== undefined,
    completeness: completeness && { verdict: completeness.verdict, gaps: completeness.gaps.map(gapJson) },
    endpoints: run?.network && endpointsJson(run.network),
    lookups: parts.network && run?.processes ? lookupsJson(run.processes) : undefined,
    ...(run?.network && hermeticJson(run.network, completeness ?? unknown)),
    undeclaredInputs: run?.undeclared?.counts,
    totals: run?.processes && totalsJson(run.processes),
    processes: parts.processes ? run?.processes?.map(processJson) : undefined,
    files: parts.files && run?.processes ? filesJson(run.processes) : undefined,
    file:
      parts.file.length > 0 && run?.processes ? parts.file.flatMap(one => historiesJson(fileHistories(record, one))) : undefined,
    artifacts: parts.artifacts ? artifactsJson(record) : undefined,
    undeclared: parts.undeclared && run?.undeclared ? undeclaredJson(run.undeclared) : undefined,
  });
}

function totalsJson(processes: readonly RecordProcess[]): JsonObject {
  const { opened, written } = filesOf(processes);
  return { processes: processes.length, filesOpened: opened.size, filesWritten: written.size };
}

function processJson({
  pid,
  parentPid,
  program,
  programDigest,
  commandLine,
  argv,
  exitCode,
  exitSignal,
}: RecordProcess): JsonObject {
  return omitUndefined({
    processid: pid,
    parentpid: parentPid,
    program,
    sha256: programDigest,
    cmdline: commandLine,
    argv: argv.length === 0 ? undefined : argv,
    exitcode: exitCode,
    exitsignal: exitSignal,
  });
}

function filesJson(processes: readonly RecordProcess[]): JsonObject[] {
  const { opened, written, readToo } = filesOf(processes);
  return [...new Set([...opened.keys(), ...written.keys()])].sort().map(path => {
    const sha256 = written.get(path) ?? opened.get(path);
    return omitUndefined({
      path,
      read: !written.has(path) || readToo.has(path),
      written: written.has(path),
      sha256: sha256 === "" ? undefined : sha256,
    });
  });
}

/** No line of a record is longer than a person reads. */
function line(text: string, lengthMax = lineLengthMax): string {
  return printableStart(text, lengthMax);
}
