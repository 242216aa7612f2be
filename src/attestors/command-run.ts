// The command-run attestor, v0.1: what was run, what it printed and, with --trace, what every process of it did.
// The order of the fields and what is left out when empty is part of the format: see docs/command-run.md.
import type { JsonArray, JsonMap, JsonObject, JsonValue } from "../attestation/json.ts";
import { JsonEncoded, JsonItems, JsonText, omitUndefined } from "../attestation/json.ts";
import { JsonRows, JsonTable } from "../attestation/json-table.ts";
import { encodeJson, fieldText } from "../attestation/json-writer.ts";
import { escapeBytes, unescapeText } from "../text.ts";
import { formatTime } from "../time.ts";
import type {
  CapturedStream,
  Completeness,
  DigestSet,
  EarlierImage,
  FileOps,
  FileTable,
  Observation,
  PackedFiles,
  ProcessObservation,
  SyscallEvent,
  TraceObservation,
  UndeclaredInputs,
} from "../trace/observation.ts";
import type { Attestor, AttestorOptions } from "./attestor.ts";
import { recordedVariables } from "./environment.ts";
import { endpointsJson, networkJson } from "./network-json.ts";

export const commandRunAttestor: Attestor = {
  name: "command-run",
  type: "https://aflock.ai/attestations/command-run/v0.1",
  stage: "execute",
  alwaysRuns: true,
  runsByDefault: true,
  attest(facts) {
    const [startTime, endTime] = facts.times.command;
    return {
      type: this.type,
      predicate: commandRunPredicate(facts.observation, facts.options),
      subjects: [],
      startTime,
      endTime,
    };
  },
};

export function commandRunPredicate(observation: Observation, options: AttestorOptions): JsonObject {
  const texts = new Texts(options);
  const { stdout, stderr, trace } = observation;
  const cmd = observation.argv.map(word => texts.recorded(textOf(word)));
  const output = { stdout: texts.output(stdout), stderr: texts.output(stderr) };
  for (const process of trace?.processes ?? []) countWords(process, texts);
  const redactions = texts.redactions + stdout.redactions + stderr.redactions;
  return omitUndefined({
    cmd,
    exitcode: observation.exitCode,
    summary: summaryJson(observation, redactions),
    ...output,
    stdoutDigest: streamJson(stdout),
    stderrDigest: streamJson(stderr),
    interrupted: observation.interrupted,
    processes: trace && new JsonItems(() => eachProcess(trace.processes, texts)),
    completeness: trace && completenessJson(trace.completeness),
    undeclared: trace?.undeclared && undeclaredJson(trace.undeclared),
  });
}

/** `summary` stands before the processes: what is replaced in their words is counted before it is written. */
export function countWords({ argv, images }: ProcessObservation, texts: Texts): void {
  for (const words of [argv ?? [], ...images.map(image => image.argv)]) for (const word of words) texts.recorded(wordOf(word));
}

/** One by one, since a large build's are most of the record. */
function* eachProcess(processes: readonly ProcessObservation[], texts: Texts): Generator<JsonObject> {
  for (const process of processes) yield processJson(process, texts);
}

/** Nearly all processes of a build have one of a few environments. Of what they become so many bytes are kept. */
const environmentBytesKept = 8 << 20;

interface RecordedEnvironment {
  json: JsonEncoded;
  /** `K=V K=V` */
  line: JsonEncoded;
}

/** Texts on their way into the record: secrets replaced and counted, variables filtered. */
export class Texts {
  readonly #redact: AttestorOptions["redact"];
  readonly #redactPieces: AttestorOptions["redactPieces"];
  readonly #options: AttestorOptions | undefined;
  readonly #environments = new Map<readonly Uint8Array[], RecordedEnvironment>();
  #environmentBytes = 0;
  readonly #files = new Map<FileTable, JsonTable>();
  redactions = 0;

  constructor(options: AttestorOptions) {
    this.#redact = options.redact;
    this.#redactPieces = options.redactPieces;
    if (!options.attestations.includes("environment")) return;
    // The same 50 names come with every process, and each is tried against 100 globs.
    const known = new Map<string, boolean>();
    const isSensitiveVariable = (name: string) => {
      const sensitive = known.get(name) ?? options.isSensitiveVariable(name);
      known.set(name, sensitive);
      return sensitive;
    };
    this.#options = { ...options, isSensitiveVariable };
  }

  recorded(text: string): string {
    const { text: redacted, count } = this.#redact(text);
    this.redactions += count;
    return redacted;
  }

  /** `PATH: DIGESTS` of each of its numbers. */
  files(table: FileTable): JsonTable {
    let json = this.#files.get(table);
    if (json === undefined) {
      json = new JsonTable(number => fieldText(table.pathOf(number), table.digestsOf(number)));
      this.#files.set(table, json);
    }
    return json;
  }

  /** What is not UTF-8 becomes U+FFFD, as existing readers expect; `stdoutDigest` is over the bytes. */
  output({ bytes }: CapturedStream): string | JsonText {
    if (bytes.length < wholeMax) return this.recorded(lossy().decode(bytes));
    const redactPieces = this.#redactPieces;
    if (redactPieces === undefined) return new JsonText(() => decodedPieces(bytes));
    for (const _ of redactPieces(decodedPieces(bytes), () => this.redactions++));
    return new JsonText(() => redactPieces(decodedPieces(bytes), () => {}));
  }

  /** Undefined without the environment attestor. Of the same environment it is the same object. */
  environment(environment: readonly Uint8Array[] | undefined): RecordedEnvironment | undefined {
    if (!this.#options || !environment || environment.length === 0) return undefined;
    let recorded = this.#environments.get(environment);
    if (!recorded) {
      if (this.#environmentBytes > environmentBytesKept) this.#environments.clear();
      if (this.#environments.size === 0) this.#environmentBytes = 0;
      const variables = recordedVariables(environment, this.#options);
      const line = [...variables].map(([name, value]) => `${name}=${value}`).join(" ");
      const [json, text] = [encodeJson(variables), encodeJson(line)];
      this.#environmentBytes += json.length + text.length;
      recorded = { json: new JsonEncoded(json), line: new JsonEncoded(text) };
      this.#environments.set(environment, recorded);
    }
    return recorded;
  }
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const lossy = () => new TextDecoder("utf-8", { ignoreBOM: true });

/** A word as it is; only one that is not UTF-8 is escaped. */
export function textOf(bytes: Uint8Array): string {
  try {
    return strict.decode(bytes);
  } catch {
    return escapeBytes(bytes);
  }
}

/** argv comes escaped, as paths are. In a word a backslash stands for itself. */
export function wordOf(escaped: string): string {
  return escaped.includes("\\") ? textOf(unescapeText(escaped)) : escaped;
}

/** From here on the output is never one text: 64 MiB of it would be most of a gigabyte on the way. */
const wholeMax = 1 << 20;
const decodedAtATime = 256 << 10;

function* decodedPieces(bytes: Uint8Array): Generator<string> {
  const decoder = lossy();
  for (let at = 0; at < bytes.length; at += decodedAtATime) {
    yield decoder.decode(bytes.subarray(at, at + decodedAtATime), { stream: true });
  }
  yield decoder.decode();
}

export function streamJson({ sha256, length, bytes, undelivered }: CapturedStream): JsonObject {
  return omitUndefined({
    sha256,
    bytes: length,
    captured: bytes.length,
    undelivered: undelivered && { bytes: undelivered.bytes, error: undelivered.error },
  });
}

export function summaryJson(observation: Observation, redactions: number): JsonObject {
  const { trace } = observation;
  return omitUndefined({
    durationNs: observation.endTime - observation.startTime,
    totals: nonZero(trace?.totals ?? {}),
    outliers: trace ? outliersJson(trace.outliers) : {},
    diagnostics: nonZero(trace?.diagnostics ?? {}),
    redactions: redactions === 0 ? undefined : redactions,
    survivorsKilled: observation.survivorsKilled || undefined,
    failedOpens: trace?.failedOpens,
    undeclaredInputs: trace?.undeclared?.counts,
    network: trace?.network && endpointsJson(trace.network, trace.processes),
    networkUnlisted: trace?.network?.unlisted || undefined,
    hermetic: trace?.network?.hermetic,
  });
}

function outliersJson({ largestRead, mostOpened, suspiciousOps }: TraceObservation["outliers"]): JsonObject {
  return omitUndefined({
    largestRead: largestRead && { path: largestRead.path, bytes: largestRead.bytes },
    mostOpened: mostOpened && { path: mostOpened.path, count: mostOpened.count },
    suspiciousOps: Object.keys(suspiciousOps).length === 0 ? undefined : suspiciousOps,
  });
}

function nonZero(counts: Record<string, number>): JsonObject {
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count !== 0));
}

function processJson(process: ProcessObservation, texts: Texts): JsonObject {
  const argv = process.argv?.map(word => texts.recorded(wordOf(word)));
  const environment = texts.environment(process.environment);
  return omitUndefined({
    program: process.program,
    processid: process.pid,
    parentpid: process.parentPid,
    programdigest: known(process.programDigest),
    comm: process.comm,
    cmdline: argv?.join(" "),
    argv,
    exedigest: known(process.executableDigest),
    openedfiles: digestsJson(process.openedFiles, texts),
    writtenDigests: digestsJson(process.writtenDigests, texts),
    fileVersions: process.fileVersions.size === 0 ? undefined : (process.fileVersions satisfies JsonMap),
    unhashedOpens: listJson(process.unhashedOpens, ({ path, reason }) => ({ path, reason })),
    environ: environment?.line,
    env: environment?.json,
    specbypassisvuln: process.speculationVulnerable || undefined,
    root: process.root,
    images: listJson(process.images, image => imageJson(image, texts)),
    starttime: formatTime(process.startTime),
    endtime: process.endTime === undefined ? undefined : formatTime(process.endTime),
    cwd: process.cwd,
    network: networkJson(process.network),
    fileOps: fileOpsJson(process.fileOps),
    syscallEvents: listJson(process.syscallEvents, eventJson),
    exitcode: process.exitCode === 0 ? undefined : process.exitCode,
    exitsignal: process.exitSignal,
  });
}

const known = (digests: DigestSet | undefined): DigestSet | undefined =>
  digests === undefined || Object.keys(digests).length === 0 ? undefined : digests;

function digestsJson(files: ReadonlyMap<string, DigestSet> | PackedFiles, texts: Texts): JsonMap | JsonRows | undefined {
  if (files.size === 0) return undefined;
  return "numbers" in files ? new JsonRows("{}", texts.files(files.table), files.numbers) : files;
}

/** From here on the items of a list are made while it is written: a million operations of one process never exist as JSON. */
const listMax = 1000;

export function listJson<T>(list: readonly T[], each: (item: T) => JsonValue): JsonArray | JsonItems | undefined {
  if (list.length > listMax) return new JsonItems(() => mapped(list, each));
  return list.length === 0 ? undefined : list.map(each);
}

function* mapped<T>(list: readonly T[], each: (item: T) => JsonValue): Generator<JsonValue> {
  for (const item of list) yield each(item);
}

function imageJson({ program, argv, executableDigest, time }: EarlierImage, texts: Texts): JsonObject {
  return omitUndefined({
    program,
    argv: argv.map(word => texts.recorded(wordOf(word))),
    exedigest: known(executableDigest),
    time: formatTime(time),
  });
}

/** An object without its empty lists; undefined if nothing is left. */
function nonEmpty(lists: { [name: string]: JsonValue | undefined }): JsonObject | undefined {
  const kept = omitUndefined(lists);
  return Object.keys(kept).length === 0 ? undefined : kept;
}

export function fileOpsJson(ops: FileOps): JsonObject | undefined {
  const stamp = (time: bigint) => ({ timestamp: formatTime(time) });
  const executable = 0o111;
  return nonEmpty({
    writes: listJson(ops.writes, ({ path, bytes, time }) => ({ path, bytes, ...stamp(time) })),
    renames: listJson(ops.renames, ({ oldPath, newPath, time }) => ({ oldPath, newPath, ...stamp(time) })),
    deletes: listJson(ops.deletes, ({ path, time }) => ({ path, ...stamp(time) })),
    permChanges: listJson(ops.permChanges, ({ path, mode, time }) => ({
      path,
      mode,
      setExec: (mode & executable) !== 0,
      ...stamp(time),
    })),
    links: listJson(ops.links, ({ oldPath, newPath, time }) => ({ oldPath, newPath, ...stamp(time) })),
    symlinks: listJson(ops.symlinks, ({ target, path, time }) => ({ target, path, ...stamp(time) })),
    mkdirs: listJson(ops.mkdirs, ({ path, mode, time }) => ({ path, mode, ...stamp(time) })),
    nodes: listJson(ops.nodes, ({ path, mode, time }) => ({ path, mode, ...stamp(time) })),
    truncates: listJson(ops.truncates, ({ path, length, time }) => ({ path, length, ...stamp(time) })),
    ownerChanges: listJson(ops.ownerChanges, ({ path, uid, gid, time }) => ({ path, uid, gid, ...stamp(time) })),
    timeChanges: listJson(ops.timeChanges, ({ path, time }) => ({ path, ...stamp(time) })),
    xattrChanges: listJson(ops.xattrChanges, ({ path, name, time }) => ({ path, name, ...stamp(time) })),
  });
}

export function eventJson({ syscall, detail, args, path, targetPath, time, result }: SyscallEvent): JsonObject {
  return omitUndefined({ syscall, detail, args, path, targetPath, timestamp: formatTime(time), result });
}

export function completenessJson({ verdict, gaps, tracer }: Completeness): JsonObject {
  const { mode, detail: traceDetail, kernel, privileged, features, ignoredSyscalls } = tracer;
  return {
    verdict,
    gaps: gaps.map(({ kind, severity, count, processIds, detail }) => ({
      kind,
      severity,
      count,
      processids: processIds,
      detail,
    })),
    tracer: { mode, detail: traceDetail, kernel, privileged, features, ignoredSyscalls },
  };
}

/** Of docs/undeclared.md: what is vouched for as packages with a count, what is not file by file. */
export function undeclaredJson({ packages, files, unlistedPackages, unlistedFiles, notes }: UndeclaredInputs): JsonObject {
  return omitUndefined({
    packages: packages.map(({ kind, by, source, package: name, version, match, files: count }) =>
      omitUndefined({ kind, by, source, package: name, version, match, files: count }),
    ),
    files: files.map(({ path, kind, by, source, package: name, version, note }) =>
      omitUndefined({ path, kind, by, source, package: name, version, note }),
    ),
    unlistedPackages: unlistedPackages === 0 ? undefined : unlistedPackages,
    unlistedFiles: unlistedFiles === 0 ? undefined : unlistedFiles,
    notes: listJson(notes, note => note),
  });
}
