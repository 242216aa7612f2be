// The command-run attestor, v0.2: the same facts as v0.1, each path, digest, command line and environment written once, in
// tables; the processes refer to them by number. A record of thousands of processes is a fifth of its size.
//
//     {"_meta", "summary", "digests", "paths", "comms", "cmdlines", "processes", "cmd", "exitcode", "stdout", "stderr", ours…}
//
// `_meta` comes first and says at which bytes the other sections stand, so that a reader can go to one of them. A number is
// a place in a table, in order of first use; -1 is absent. What is ours (all behind `stderr`, and in a process behind
// `exitcode`) is ignored by readers that do not know it. docs/command-run-v02.md has the rules.
import { JsonItems, type JsonObject, type JsonValue, omitUndefined } from "../attestation/json.ts";
import { jsonLength } from "../attestation/json-writer.ts";
import { formatTime } from "../time.ts";
import type { DigestSet, EarlierImage, Observation, PackedFiles, ProcessObservation } from "../trace/observation.ts";
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
import { Tables } from "./command-run-v02-tables.ts";
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

/** In the order of their paths. */
function filesJson(files: ReadonlyMap<string, DigestSet> | PackedFiles, tables: Tables): JsonValue | undefined {
  if ("numbers" in files) return files.size === 0 ? undefined : tables.rows(files.numbers);
  const rows = sorted(files).map(([path, digests]) => ({ pathId: tables.path(path), digestId: tables.digest(digests) }));
  return rows.length === 0 ? undefined : rows;
}

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
