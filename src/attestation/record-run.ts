// The command-run attestation of a record, v0.1 or v0.2, as far as a person is shown of it. Lenient: what a field should be and is not
// is left out, since records of other tools are shown too; only the frame (statement, collection) must be right.
import type { Collection } from "./collection.ts";
import { malformed } from "./document.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "./json.ts";

export interface RecordRun {
  command: string[];
  exitCode: number | undefined;
  durationNs: bigint | undefined;
  /** Undefined: not traced. */
  processes: RecordProcess[] | undefined;
  undeclared: RecordUndeclared | undefined;
  /** Undefined: the record says nothing of it. */
  network: RecordNetwork | undefined;
}

export interface RecordNetwork {
  endpoints: RecordEndpoint[];
  unlisted: number;
  hermetic: boolean;
}

export interface RecordEndpoint {
  direction: string;
  host: string | undefined;
  family: string;
  address: string;
  port: number | undefined;
  via: string | undefined;
  result: number | string | undefined;
  peer: { service: string | undefined; pid: number | undefined; program: string | undefined } | undefined;
}

export interface RecordProcess {
  pid: number;
  parentPid: number;
  program: string;
  /** Its first word, where the record has it apart. */
  calledAs: string | undefined;
  commandLine: string;
  exitCode: number;
  exitSignal: string | undefined;
  opened: ReadonlyMap<string, string>;
  /** Empty where the digest is not known: what nobody may read back, or what is gone. */
  written: ReadonlyMap<string, string>;
}

export interface RecordUndeclared {
  counts: { total: number; git: number; lockfile: number; system: number; nobody: number; differs: number };
  packages: RecordPackage[];
  files: RecordUndeclaredFile[];
  unlistedPackages: number;
  unlistedFiles: number;
  notes: string[];
}

export interface RecordPackage {
  kind: string;
  by: string;
  source: string;
  package: string;
  version: string | undefined;
  match: string;
  files: number;
}

export interface RecordUndeclaredFile {
  path: string;
  kind: string;
  by: string | undefined;
  package: string | undefined;
  version: string | undefined;
  note: string | undefined;
}

const typePattern = /\/command-run\/v0\.[0-9]+$/;
const readablePattern = /\/command-run\/v0\.([12])$/;

/** Undefined: the record has none. */
export function readRun(collection: Collection): RecordRun | undefined {
  const found = collection.attestations.find(({ type }) => typePattern.test(type));
  if (found === undefined) return undefined;
  const version = readablePattern.exec(found.type)?.[1];
  if (version === undefined) throw malformed("a record that can be shown", `its command-run attestation is ${found.type}`);
  const run = objectOf(found.attestation);
  const summary = objectOf(run.summary);
  return {
    command: textsOf(run.cmd),
    // v0.2 leaves out a zero.
    exitCode: run.exitcode === undefined && version === "1" ? undefined : numberOf(run.exitcode),
    durationNs: integerOf(summary.durationNs),
    processes: version === "1" ? processesOf(run) : internedProcesses(run),
    undeclared:
      run.undeclared === undefined ? undefined : undeclaredOf(objectOf(run.undeclared), objectOf(summary.undeclaredInputs)),
    network: typeof summary.hermetic === "boolean" ? networkOf(summary, summary.hermetic) : undefined,
  };
}

function networkOf(summary: JsonObject, hermetic: boolean): RecordNetwork {
  const endpoints = objectsOf(summary.network).map(endpoint => ({
    direction: textOf(endpoint.direction) ?? "",
    host: textOf(endpoint.host),
    family: textOf(endpoint.family) ?? "",
    address: textOf(endpoint.address) ?? "",
    port: definedNumber(endpoint.port),
    via: textOf(endpoint.via),
    result: textOf(endpoint.result) ?? definedNumber(endpoint.result),
    peer: endpoint.peer === undefined ? undefined : peerOf(objectOf(endpoint.peer)),
  }));
  return { endpoints, unlisted: numberOf(summary.networkUnlisted), hermetic };
}

const peerOf = (peer: JsonObject) => ({
  service: textOf(peer.service),
  pid: definedNumber(peer.processid),
  program: textOf(peer.program),
});

function processesOf(run: JsonObject): RecordProcess[] | undefined {
  return run.processes === undefined && run.completeness === undefined ? undefined : objectsOf(run.processes).map(processOf);
}

/** v0.2: texts and digests stand in tables, and a process has their numbers. Without a trace there are no tables. */
function internedProcesses(run: JsonObject): RecordProcess[] | undefined {
  if (!Array.isArray(run.paths)) return undefined;
  const at = (table: JsonValue | undefined, number: JsonValue | undefined) =>
    Array.isArray(table) && typeof number === "number" ? table[number] : undefined;
  const text = (table: JsonValue | undefined, number: JsonValue | undefined) => textOf(at(table, number)) ?? "";
  const files = (list: JsonValue | undefined) =>
    new Map(
      objectsOf(list).map(({ pathId, digestId }) => {
        const { sha256 } = objectOf(objectOf(at(run.digests, digestId)).digests);
        return [text(run.paths, pathId), textOf(sha256) ?? ""];
      }),
    );
  return objectsOf(run.processes).map(process => {
    const program = text(run.paths, process.execPathId);
    return {
      pid: numberOf(process.processid),
      parentPid: numberOf(process.parentpid),
      program,
      calledAs: textsOf(at(run.argvs, process.argvId))[0],
      commandLine: text(run.cmdlines, process.cmdlineId) || program,
      exitCode: numberOf(process.exitcode),
      exitSignal: textOf(process.exitsignal),
      opened: files(process.openedFiles),
      written: writtenOf(process, files(process.writtenFiles)),
    };
  });
}

function processOf(process: JsonObject): RecordProcess {
  const program = textOf(process.program) ?? "";
  return {
    pid: numberOf(process.processid),
    parentPid: numberOf(process.parentpid),
    program,
    calledAs: textsOf(process.argv)[0],
    commandLine: textOf(process.cmdline) ?? program,
    exitCode: numberOf(process.exitcode),
    exitSignal: textOf(process.exitsignal),
    opened: digestsOf(process.openedfiles),
    written: writtenOf(process, digestsOf(process.writtenDigests)),
  };
}

function writtenOf(process: JsonObject, digests: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  const paths = objectsOf(objectOf(process.fileOps).writes).flatMap(({ path }) => textOf(path) ?? []);
  return new Map([...paths.map(path => [path, ""] as const), ...digests]);
}

function undeclaredOf(undeclared: JsonObject, counts: JsonObject): RecordUndeclared {
  const [total, git, lockfile] = [numberOf(counts.total), numberOf(counts.git), numberOf(counts.lockfile)];
  const [system, nobody, differs] = [numberOf(counts.system), numberOf(counts.nobody), numberOf(counts.differs)];
  return {
    counts: { total, git, lockfile, system, nobody, differs },
    packages: objectsOf(undeclared.packages).map(found => ({
      kind: textOf(found.kind) ?? "",
      by: textOf(found.by) ?? "",
      source: textOf(found.source) ?? "",
      package: textOf(found.package) ?? "",
      version: textOf(found.version),
      match: textOf(found.match) ?? "",
      files: numberOf(found.files),
    })),
    files: objectsOf(undeclared.files).map(found => ({
      path: textOf(found.path) ?? "",
      kind: textOf(found.kind) ?? "",
      by: textOf(found.by),
      package: textOf(found.package),
      version: textOf(found.version),
      note: textOf(found.note),
    })),
    unlistedPackages: numberOf(undeclared.unlistedPackages),
    unlistedFiles: numberOf(undeclared.unlistedFiles),
    notes: textsOf(undeclared.notes),
  };
}

/** Path to SHA-256, empty where it is not known. */
function digestsOf(value: JsonValue | undefined): Map<string, string> {
  return new Map(Object.entries(objectOf(value)).map(([path, digests]) => [path, textOf(objectOf(digests).sha256) ?? ""]));
}

function objectOf(value: JsonValue | undefined): JsonObject {
  return isJsonObject(value) ? value : {};
}

function objectsOf(value: JsonValue | undefined): JsonObject[] {
  return Array.isArray(value) ? value.map(objectOf) : [];
}

function textsOf(value: JsonValue | undefined): string[] {
  return Array.isArray(value) ? value.flatMap(item => textOf(item) ?? []) : [];
}

function textOf(value: JsonValue | undefined): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function numberOf(value: JsonValue | undefined): number {
  return typeof value === "number" ? value : 0;
}

function definedNumber(value: JsonValue | undefined): number | undefined {
  return typeof value === "number" ? value : undefined;
}

function integerOf(value: JsonValue | undefined): bigint | undefined {
  if (typeof value === "bigint") return value;
  return typeof value === "number" && Number.isInteger(value) ? BigInt(value) : undefined;
}
