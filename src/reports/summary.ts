// What `cilock run` tells the person afterwards, as text on stderr or as JSON. Pure: a report goes in, text comes out.
import type { JsonObject } from "../attestation/json.ts";
import { omitUndefined } from "../attestation/json.ts";
import type { Completeness, TraceObservation, UndeclaredInputs } from "../trace/observation.ts";
import { type Paint, painter, verdictStyle } from "./colour.ts";
import { durationText } from "./duration-text.ts";
import { gapJson, gapLines } from "./gap-text.ts";
import { hermeticJson } from "./hermetic-text.ts";
import { endpointNames, networkRows } from "./network-text.ts";
import { printable, printableStart, shellWord } from "./printable.ts";
import { programName } from "./program-name.ts";

export interface RunReport {
  readonly step: string;
  /** The command's words, secrets replaced. */
  readonly command: readonly string[];
  readonly exitCode: number;
  readonly signal: string | undefined;
  readonly interrupted: string | undefined;
  readonly durationNs: bigint;
  readonly attestors: readonly string[];
  readonly materials: number;
  readonly products: number;
  readonly trace: TraceObservation | undefined;
  /** Processes that outlived the command and the grace period. */
  readonly survivorsKilled: number;
  /** How often a secret value was replaced in the record. */
  readonly hidden: number;
  /** Of stdout and stderr those of which the record has only the beginning. */
  readonly cutStreams: readonly string[];
  readonly record: {
    /** As the person would name it; undefined when it went to stdout. */
    readonly path: string | undefined;
    readonly keyid: string;
    /** File with the public half, where we wrote one. */
    readonly publicKeyPath: string | undefined;
    /** As the person would call us again, and with which file of the public half; undefined: we know of none. */
    readonly verify: { readonly program: string; readonly publicKey: string | undefined };
  };
  readonly warnings: readonly string[];
}

const programsShown = 6;
/** The record has all of it. */
const commandShownMax = 300;

export function summaryText(report: RunReport, { colour }: { colour: boolean }): string {
  const painted = painter(colour);
  const rows: [label: string, ...lines: string[]][] = [
    ["command", printableStart(report.command.map(shellWord).join(" "), commandShownMax)],
    ["exit status", painted(exitText(report), report.exitCode === 0 ? "good" : "bad")],
    ["time", durationText(report.durationNs)],
  ];
  if (report.trace !== undefined) rows.push(...traceRows(report.trace, painted));
  else rows.push(["trace", painted("none: run with --trace to record processes, files and network", "doubtful")]);
  rows.push(["materials", count(report.materials, "file")], ["products", count(report.products, "file")]);
  const elsewhere = writtenElsewhere(report);
  if (elsewhere > 0) {
    rows.push([
      "elsewhere",
      `${count(elsewhere, "file")} written outside of the working directory, no products (--product-glob names some)`,
    ]);
  }
  if (report.survivorsKilled > 0) {
    rows.push(["killed", painted(`${count(report.survivorsKilled, "process", "es")} that outlived the command`, "doubtful")]);
  }
  if (report.hidden > 0) rows.push(["hidden", `${count(report.hidden, "secret value")} in words and output`]);
  if (report.cutStreams.length > 0) rows.push(["cut", `${report.cutStreams.join(" and ")}, at the capture limit`]);
  const { path, keyid, publicKeyPath, verify } = report.record;
  rows.push(["record", printable(path ?? "on stdout")], ["signed by", keyid]);
  if (publicKeyPath !== undefined) rows.push(["public key", printable(publicKeyPath)]);
  if (path !== undefined) {
    const key = fileArgument(verify.publicKey ?? "PUBLIC-KEY.pem");
    const words = [verify.program, "verify", fileArgument(path), "-k", key, ...gate(report)];
    rows.push(["verify with", printable(words.map(shellWord).join(" "))]);
  }
  const width = Math.max(...rows.map(([label]) => label.length));
  const body = rows.flatMap(([label, first, ...more]) => [
    `  ${label.padEnd(width)}  ${first ?? ""}`,
    ...more.map(line => `  ${"".padEnd(width)}  ${line}`),
  ]);
  return [`cilock: step ${printable(report.step)}`, ...body].map(line => `${line}\n`).join("");
}

/** What a gate should ask, but for the file: without these the record of a failed build is good (docs/verify.md). An untraced one is never complete. */
function gate({ step, trace }: RunReport): string[] {
  const named = step.startsWith("-") ? [`--step=${step}`] : ["--step", step];
  return [...named, "--require-success", ...(trace === undefined ? [] : ["--require-complete"])];
}

/** A name with a dash in front would be a flag. */
function fileArgument(path: string): string {
  return path.startsWith("-") ? `./${path}` : path;
}

function traceRows(trace: TraceObservation, painted: Paint): [string, ...string[]][] {
  const programs = programNames(trace);
  const { opened, written } = trace.paths ?? countFiles(trace);
  const rows: [string, ...string[]][] = [
    ["processes", String(trace.processes.length)],
    ["programs", listText(programs, programsShown)],
    ["files", `${opened} opened, ${written} written`],
  ];
  if (trace.undeclared !== undefined) rows.push(["inputs", inputsText(trace.undeclared.counts)]);
  if (trace.network)
    rows.push(
      ...networkRows(trace.network, trace.completeness).map(([label, ...lines]): [string, ...string[]] => [
        label,
        ...lines.map(printable),
      ]),
    );
  const { verdict, gaps } = trace.completeness;
  const programsById = new Map(trace.processes.map(({ pid, program, argv }) => [pid, { program, calledAs: argv?.[0] }]));
  const programOf = (pid: number) => programsById.get(pid);
  rows.push(["trace", painted(verdict, verdictStyle[verdict]), ...gaps.flatMap(gap => gapLines(gap, programOf).map(printable))]);
  return rows;
}

export function summaryJson(report: RunReport): JsonObject {
  const { trace, record } = report;
  const files = trace && (trace.paths ?? countFiles(trace));
  return omitUndefined({
    step: report.step,
    command: report.command,
    exitcode: report.exitCode,
    signal: report.signal,
    interrupted: report.interrupted,
    durationNs: report.durationNs,
    attestors: report.attestors,
    materials: report.materials,
    products: report.products,
    writtenElsewhere: writtenElsewhere(report) || undefined,
    processes: trace?.processes.length,
    programs: trace === undefined ? undefined : programNames(trace),
    filesOpened: files?.opened,
    filesWritten: files?.written,
    undeclaredInputs: trace?.undeclared?.counts,
    endpoints: trace?.network && endpointNames(trace.network.endpoints),
    ...(trace?.network && hermeticJson(trace.network, trace.completeness)),
    completeness: trace === undefined ? undefined : completenessJson(trace.completeness),
    survivorsKilled: report.survivorsKilled || undefined,
    redactions: report.hidden || undefined,
    cut: report.cutStreams.length === 0 ? undefined : report.cutStreams,
    outfile: record.path,
    keyid: record.keyid,
    publicKey: record.publicKeyPath,
    warnings: report.warnings,
  });
}

function completenessJson({ verdict, gaps }: Completeness): JsonObject {
  return { verdict, gaps: gaps.map(gapJson) };
}

/** Of files that are there at the end; caches are not among them, and what is a product by a flag is not either. */
function writtenElsewhere({ trace }: RunReport): number {
  return trace?.totals.writtenElsewhere ?? 0;
}

function exitText({ exitCode, signal, interrupted }: RunReport): string {
  const death = signal === undefined ? "" : `, killed by ${signal}`;
  return `${exitCode}${death}${interrupted === undefined ? "" : `, after we were sent ${interrupted}`}`;
}

/** Each once, in the order of their first start. */
function programNames(trace: TraceObservation): string[] {
  const names = new Set<string>();
  for (const process of trace.processes) {
    for (const { program, argv } of [...process.images, process]) {
      const name = programName({ program, calledAs: argv?.[0] });
      if (name !== undefined) names.add(name);
    }
  }
  return [...names];
}

function countFiles(trace: TraceObservation): { opened: number; written: number } {
  const opened = new Set<string>();
  const written = new Set<string>();
  for (const process of trace.processes) {
    for (const path of process.openedFiles.keys()) opened.add(path);
    for (const path of process.writtenDigests.keys()) written.add(path);
  }
  return { opened: opened.size, written: written.size };
}

/** Who vouches for what the build took from outside; what nobody does comes last, where the eye looks for it. */
export function inputsText({ total, git, lockfile, system, nobody, differs }: UndeclaredInputs["counts"]): string {
  const parts: [number, string][] = [
    [git, "git"],
    [lockfile, "lock files"],
    [system, "system packages"],
    [nobody, "nobody vouches for"],
    [differs, differs === 1 ? "differs from what is declared" : "differ from what is declared"],
  ];
  const named = parts.filter(([number]) => number > 0).map(([number, what]) => `${number} ${what}`);
  return named.length === 0 ? "none" : `${total}: ${named.join(", ")}`;
}

function listText(names: readonly string[], shown: number): string {
  const some = names.slice(0, shown).join(", ");
  const text = names.length > shown ? `${some} and ${names.length - shown} more` : some;
  return printable(names.length > shown ? `${names.length}: ${text}` : text || "none");
}

function count(number: number, noun: string, plural = "s"): string {
  return `${number} ${noun}${number === 1 ? "" : plural}`;
}
