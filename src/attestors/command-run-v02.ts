// The command-run attestor, v0.2: the same facts as v0.1, each path, digest, command line and environment written once, in
// tables; the processes refer to them by number. A record of thousands of processes is a fifth of its size.
//
//     {"_meta", "summary", "digests", "paths", "comms", "cmdlines", "processes", "cmd", "exitcode", "stdout", "stderr", ours…}
//
// `_meta` comes first and says at which bytes the other sections stand, so that a reader can go to one of them. A number is
// a place in a table, in order of first use; -1 is absent. What is ours (all behind `stderr`, and in a process behind
// `exitcode`) is ignored by readers that do not know it. docs/command-run-v02.md has the rules.
import { hash } from "node:crypto";
import { JsonEncoded, JsonItems, type JsonObject, type JsonValue, jsonLength, omitUndefined } from "../attestation/json.ts";
import { formatTime } from "../time.ts";
import type { DigestSet, EarlierImage, Observation, ProcessObservation } from "../trace/observation.ts";
import type { Attestor, AttestorOptions, KeyGuard } from "./attestor.ts";
import {
  completenessJson,
  countWords,
  eventJson,
  fileOpsJson,
  listJson,
  streamJson,
  summaryJson,
  Texts,
  textOf,
  undeclaredJson,
  wordOf,
} from "./command-run.ts";
import { networkJson } from "./network-json.ts";

export const commandRunV02Attestor: Attestor = {
  name: "command-run",
  type: "https://aflock.ai/attestations/command-run/v0.2",
  stage: "execute",
  alwaysRuns: true,
  runsByDefault: false,
  attest({ observation, options, keyGuard, times }) {
    const [startTime, endTime] = times.command;
    return {
      type: this.type,
      predicate: commandRunV02Predicate(observation, options, keyGuard),
      subjects: [],
      startTime,
      endTime,
    };
  },
};

export function commandRunV02Predicate(observation: Observation, options: AttestorOptions, keyGuard?: KeyGuard): JsonObject {
  const texts = new Texts(options);
  const { stdout, stderr, trace, exitCode } = observation;
  const cmd = observation.argv.map(word => texts.recorded(textOf(word)));
  const [out, err] = [texts.output(stdout), texts.output(stderr)];
  for (const process of trace?.processes ?? []) countWords(process, texts);
  const redactions = texts.redactions + stdout.redactions + stderr.redactions;

  const tables = new Tables(trace?.processes ?? []);
  // The tables stand before the processes that fill them, and `_meta` before both. So all processes are written twice, once
  // for what they put into the tables and for their length: kept meanwhile they would be 50 MB of a large build.
  const processes = new JsonItems(() => eachProcess(trace?.processes ?? [], texts, tables));
  const processesLength = jsonLength(processes);
  const { digests, paths, comms, cmdlines, argvs, environments } = tables;
  const isTraced = trace !== undefined;
  const sections = omitUndefined({
    summary: summaryJson(observation, redactions),
    digests: isTraced ? digests.list.map(set => ({ digests: set })) : null,
    paths: isTraced ? paths.list : null,
    comms: isTraced ? comms.list : null,
    cmdlines: nonEmpty(cmdlines.list),
    processes,
    cmd,
    exitcode: exitCode === 0 ? undefined : exitCode,
    stdout: out === "" ? undefined : out,
    stderr: err === "" ? undefined : err,
    stdoutDigest: streamJson(stdout),
    stderrDigest: streamJson(stderr),
    interrupted: observation.interrupted,
    completeness: trace && completenessJson(trace.completeness),
    undeclared: trace?.undeclared && undeclaredJson(trace.undeclared),
    argvs: nonEmpty(argvs.list),
    environments: nonEmpty(environments.list),
  });
  const { materials, intermediates, products, cacheArtifacts } = trace?.totals ?? {};
  const meta = omitUndefined({
    version: "v0.2",
    captureMode: isTraced ? "trace" : undefined,
    traceBackend: trace?.completeness.tracer.mode,
    keyGuard: keyGuard && { ...keyGuard },
    counts: omitUndefined({
      processes: trace?.processes.length ?? 0,
      uniquePaths: paths.list.length,
      uniqueDigests: digests.list.length,
      uniqueComms: comms.list.length,
      uniqueCmdlines: cmdlines.list.length || undefined,
      materials: materials || undefined,
      intermediates: intermediates || undefined,
      products: products || undefined,
      cacheArtifacts: cacheArtifacts || undefined,
    }),
  });
  return { _meta: { ...meta, sections: ranges(meta, sections, { processes: processesLength }) }, ...sections };
}

function nonEmpty(list: readonly JsonValue[]): readonly JsonValue[] | undefined {
  return list.length === 0 ? undefined : list;
}

/**
 * First and last byte of each section, counted from the predicate's brace. They stand in `_meta`, whose length moves all of
 * them: a longer number makes a longer `_meta`, so this is repeated until nothing moves. `known`: lengths that are known.
 */
function ranges(meta: JsonObject, sections: JsonObject, known: Readonly<Record<string, number>>): JsonObject {
  const lengths = Object.entries(sections).map(([name, value]): [string, number] => [name, known[name] ?? jsonLength(value)]);
  for (let metaLength = 0; ; ) {
    let at = '{"_meta":'.length + metaLength;
    const found: JsonObject = {};
    for (const [name, length] of lengths) {
      at += ',"":'.length + name.length;
      found[name] = [at, at + length - 1];
      at += length;
    }
    // By name, as the existing writer has them.
    const sorted = Object.fromEntries(Object.entries(found).sort(([a], [b]) => (a < b ? -1 : 1)));
    const length = jsonLength({ ...meta, sections: sorted });
    if (length === metaLength) return sorted;
    metaLength = length;
  }
}

// ---------------------------------------------------------------------------------------------
// Tables

const keyLengthMax = 512;

/** Numbers in order of first use. `keyOf` decides what is the same. */
class Table<T> {
  readonly list: T[] = [];
  readonly #numbers = new Map<string, number>();
  readonly #keyOf: (item: T) => string;

  constructor(keyOf: (item: T) => string) {
    this.#keyOf = keyOf;
  }

  numberOf(item: T): number {
    const text = this.#keyOf(item);
    // A key as long as what it stands for would be kept beside it.
    const key = text.length > keyLengthMax ? hash("sha256", text, "base64") : text;
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    this.#numbers.set(key, this.list.length);
    return this.list.push(item) - 1;
  }
}

const encoder = new TextEncoder();
const noBytes = new Uint8Array(0);
const itself = (text: string): string => text;

/** A path and what was opened under it. */
interface Row {
  readonly path: string;
  readonly rank: number;
  /** By the process that is being written. */
  wanted: DigestSet;
  /** What `bytes` say. */
  digests: DigestSet | undefined;
  bytes: Uint8Array;
}

class Tables {
  readonly digests = new Table<DigestSet>(digests => digests.sha256 ?? JSON.stringify(digests));
  readonly paths = new Table<string>(itself);
  readonly comms = new Table<string>(itself);
  readonly cmdlines = new Table<string>(itself);
  readonly argvs = new Table<string[]>(JSON.stringify);
  readonly environments = new Table<JsonEncoded>(({ pieces }) => Buffer.concat(pieces).toString("latin1"));

  readonly #environments = new Map<readonly Uint8Array[], number>();

  /** Of one object, which many processes share, it is made once. */
  environment(environment: readonly Uint8Array[] | undefined, texts: Texts): number | undefined {
    const known = environment && this.#environments.get(environment);
    if (environment === undefined || known !== undefined) return known;
    const recorded = texts.environment(environment);
    if (recorded === undefined) return undefined;
    const number = this.environments.numberOf(recorded.json);
    this.#environments.set(environment, number);
    return number;
  }

  /** By rank, which is the place of its path among all of them in the order of their characters. */
  readonly #rows: Row[];
  readonly #rowOf: ReadonlyMap<string, Row>;

  /** Rows are written in the order of their paths: all are sorted once, so that each process has only numbers to sort. */
  constructor(processes: readonly ProcessObservation[]) {
    const paths = new Set<string>();
    const add = (_: DigestSet, path: string) => paths.add(path);
    for (const { openedFiles, writtenDigests } of processes) {
      openedFiles.forEach(add);
      writtenDigests.forEach(add);
    }
    this.#rows = [...paths].sort().map((path, rank) => ({ path, rank, wanted: {}, digests: undefined, bytes: noBytes }));
    this.#rowOf = new Map(this.#rows.map(row => [row.path, row]));
  }

  /** `,{"pathId":…,"digestId":…}` for each file. */
  rows(files: ReadonlyMap<string, DigestSet>): Uint8Array[] {
    const ranks = new Uint32Array(files.size);
    let count = 0;
    files.forEach((digests, path) => {
      const row = this.#rowOf.get(path);
      if (row === undefined) throw new Error(`the tables were made without ${path}`);
      row.wanted = digests;
      ranks[count++] = row.rank;
    });
    ranks.sort();
    const pieces: Uint8Array[] = [];
    for (let i = 0; i < ranks.length; i++) pieces.push(this.#encoded(this.#rows[ranks[i] ?? 0]));
    return pieces;
  }

  /** The newest one of each path is kept. */
  #encoded(row: Row | undefined): Uint8Array {
    if (row === undefined) throw new Error("a rank without a row");
    if (row.digests !== row.wanted) {
      row.digests = row.wanted;
      row.bytes = encoder.encode(`,{"pathId":${this.path(row.path)},"digestId":${this.digest(row.digests)}}`);
    }
    return row.bytes;
  }

  path(path: string | undefined): number {
    return path === undefined || path === "" ? -1 : this.paths.numberOf(path);
  }

  comm(comm: string | undefined): number {
    return comm === undefined || comm === "" ? -1 : this.comms.numberOf(comm);
  }

  cmdline(line: string | undefined): number {
    return line === undefined || line === "" ? -1 : this.cmdlines.numberOf(line);
  }

  digest(digests: DigestSet | undefined): number {
    for (const _ in digests) return this.digests.numberOf(digests);
    return -1;
  }
}

// ---------------------------------------------------------------------------------------------
// Processes

function* eachProcess(processes: readonly ProcessObservation[], texts: Texts, tables: Tables): Generator<JsonObject> {
  for (const process of processes) yield processJson(process, texts, tables);
}

function processJson(process: ProcessObservation, texts: Texts, tables: Tables): JsonObject {
  const argv = process.argv?.map(word => texts.recorded(wordOf(word)));
  return omitUndefined({
    processid: process.pid,
    parentpid: process.parentPid,
    commId: tables.comm(process.comm),
    execPathId: tables.path(process.program),
    cmdlineId: tables.cmdline(argv?.join(" ")),
    programDigestId: tables.digest(process.programDigest),
    exeDigestId: tables.digest(process.executableDigest),
    openedFiles: filesJson(process.openedFiles, tables),
    writtenFiles: filesJson(process.writtenDigests, tables),
    unhashedOpens: listJson(process.unhashedOpens, ({ path, reason }) => ({ pathId: tables.path(path), reason })),
    network: networkJson(process.network),
    fileOps: fileOpsJson(process.fileOps),
    syscalls: listJson(process.syscallEvents, eventJson),
    exitcode: process.exitCode === 0 ? undefined : process.exitCode,
    exitsignal: process.exitSignal,
    argvId: argv && tables.argvs.numberOf(argv),
    envId: tables.environment(process.environment, texts),
    cwdId: process.cwd === undefined ? undefined : tables.path(process.cwd),
    rootId: process.root === undefined ? undefined : tables.path(process.root),
    fileVersions: listJson(sorted(process.fileVersions), ([path, versions]) => ({
      pathId: tables.path(path),
      digestIds: versions.map(digests => tables.digest(digests)),
    })),
    images: listJson(process.images, image => imageJson(image, texts, tables)),
    specbypassisvuln: process.speculationVulnerable || undefined,
    starttime: formatTime(process.startTime),
    endtime: process.endTime === undefined ? undefined : formatTime(process.endTime),
  });
}

/** Nearly all of a large record, so it is written here: as objects of numbers it would take three times as long. */
function filesJson(files: ReadonlyMap<string, DigestSet>, tables: Tables): JsonValue | undefined {
  if (files.size === 0) return undefined;
  const rows = tables.rows(files);
  const [first = noBytes] = rows;
  rows[0] = first.subarray(1);
  return new JsonEncoded([opening, ...rows, closing]);
}

const opening = encoder.encode("[");
const closing = encoder.encode("]");

function imageJson({ program, argv, executableDigest, time }: EarlierImage, texts: Texts, tables: Tables): JsonObject {
  return {
    execPathId: tables.path(program),
    argvId: tables.argvs.numberOf(argv.map(word => texts.recorded(wordOf(word)))),
    exeDigestId: tables.digest(executableDigest),
    time: formatTime(time),
  };
}

/** By path, in the order of its characters. */
function sorted<T>(files: ReadonlyMap<string, T>): [string, T][] {
  return [...files].sort(([a], [b]) => (a < b ? -1 : 1));
}
