// The command-run attestation of a record, v0.1 or v0.2, as far as a person is shown of it. Lenient: what a field should be and is not
// is left out, since records of other tools are shown too; only the frame (statement, collection) must be right.
import type { Collection } from "./collection.ts";
import { malformed } from "./document.ts";
import type { JsonObject, JsonValue } from "./json.ts";
import { definedNumber, integerOf, numberOf, objectOf, objectsOf, textOf, textsOf } from "./lenient.ts";

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
  protocol: string | undefined;
  count: number | undefined;
  bytes: { sent: number; received: number } | undefined;
  /** Who used it first. */
  process: { pid: number; program: string | undefined } | undefined;
  peer: { service: string | undefined; pid: number | undefined; program: string | undefined } | undefined;
}

export interface RecordProcess {
  pid: number;
  parentPid: number;
  program: string;
  commandLine: string;
  /** Empty where the record has no words. */
  argv: readonly string[];
  exitCode: number;
  exitSignal: string | undefined;
  opened: ReadonlyMap<string, string>;
  /** Empty where the digest is not known: what nobody may read back, or what is gone. */
  written: ReadonlyMap<string, string>;
  /** All contents of a path that the process met with several, in their order. */
  versions: ReadonlyMap<string, readonly string[]>;
  programDigest: string | undefined;
  /** Earlier programs of the process. */
  images: readonly { program: string; digest: string | undefined }[];
  /** Names that it asked for, by the server that it asked. */
  lookups: readonly { names: readonly string[]; family: string; address: string; port: number | undefined }[];
  /** What it did to names. */
  names: readonly RecordNameChange[];
}

export interface RecordNameChange {
  kind: "renamed" | "linked" | "deleted";
  path: string;
  /** The new name; of a deletion there is none. */
  to: string | undefined;
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
    protocol: textOf(endpoint.protocol),
    count: definedNumber(endpoint.count),
    bytes: endpoint.bytes === undefined ? undefined : bytesOf(objectOf(endpoint.bytes)),
    process: endpoint.process === undefined ? undefined : processNamed(objectOf(endpoint.process)),
    peer: endpoint.peer === undefined ? undefined : peerOf(objectOf(endpoint.peer)),
  }));
  return { endpoints, unlisted: numberOf(summary.networkUnlisted), hermetic };
}

const bytesOf = ({ sent, received }: JsonObject) => ({ sent: numberOf(sent), received: numberOf(received) });
const processNamed = ({ processid, program }: JsonObject) => ({ pid: numberOf(processid), program: textOf(program) });

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
  const digest = (number: JsonValue | undefined) => textOf(objectOf(objectOf(at(run.digests, number)).digests).sha256);
  const files = (list: JsonValue | undefined) =>
    new Map(objectsOf(list).map(({ pathId, digestId }) => [text(run.paths, pathId), digest(digestId) ?? ""]));
  const internedVersions = (list: JsonValue | undefined) =>
    new Map(
      objectsOf(list).map(({ pathId, digestIds }) => [
        text(run.paths, pathId),
        Array.isArray(digestIds) ? digestIds.flatMap(id => digest(id) ?? []) : [],
      ]),
    );
  return objectsOf(run.processes).map(process => {
    const program = text(run.paths, process.execPathId);
    return {
      pid: numberOf(process.processid),
      parentPid: numberOf(process.parentpid),
      program,
      commandLine: text(run.cmdlines, process.cmdlineId) || program,
      exitCode: numberOf(process.exitcode),
      exitSignal: textOf(process.exitsignal),
      opened: files(process.openedFiles),
      written: writtenOf(process, files(process.writtenFiles)),
      versions: internedVersions(process.fileVersions),
      programDigest: digest(process.programDigestId),
      images: objectsOf(process.images).map(image => ({
        program: text(run.paths, image.execPathId),
        digest: digest(image.exeDigestId),
      })),
      lookups: lookupsOf(objectOf(process.network)),
      names: namesOf(objectOf(process.fileOps)),
      argv: textsOf(at(run.argvs, process.argvId)),
    };
  });
}

function processOf(process: JsonObject): RecordProcess {
  const program = textOf(process.program) ?? "";
  return {
    pid: numberOf(process.processid),
    parentPid: numberOf(process.parentpid),
    program,
    commandLine: textOf(process.cmdline) ?? program,
    exitCode: numberOf(process.exitcode),
    exitSignal: textOf(process.exitsignal),
    opened: digestsOf(process.openedfiles),
    written: writtenOf(process, digestsOf(process.writtenDigests)),
    versions: versionsOf(process.fileVersions),
    programDigest: textOf(objectOf(process.programdigest).sha256),
    images: objectsOf(process.images).map(image => ({
      program: textOf(image.program) ?? "",
      digest: textOf(objectOf(image.exedigest).sha256),
    })),
    lookups: lookupsOf(objectOf(process.network)),
    names: namesOf(objectOf(process.fileOps)),
    argv: textsOf(process.argv),
  };
}

function lookupsOf({ dnsLookups }: JsonObject): RecordProcess["lookups"] {
  return objectsOf(dnsLookups).map(({ serverAddress, serverPort, names }) => {
    const address = textOf(serverAddress) ?? "";
    return {
      names: textsOf(names),
      family: address.includes(":") ? "AF_INET6" : "AF_INET",
      address,
      port: definedNumber(serverPort),
    };
  });
}

function namesOf({ renames, links, deletes }: JsonObject): RecordNameChange[] {
  const change = (kind: RecordNameChange["kind"]) => (entry: JsonObject) => ({
    kind,
    path: textOf(entry.oldPath) ?? textOf(entry.path) ?? "",
    to: textOf(entry.newPath),
  });
  return [
    ...objectsOf(renames).map(change("renamed")),
    ...objectsOf(links).map(change("linked")),
    ...objectsOf(deletes).map(change("deleted")),
  ];
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

function versionsOf(value: JsonValue | undefined): Map<string, string[]> {
  return new Map(
    Object.entries(objectOf(value)).map(([path, versions]) => [
      path,
      objectsOf(versions).flatMap(({ sha256 }) => textOf(sha256) ?? []),
    ]),
  );
}

/** Path to SHA-256, empty where it is not known. */
function digestsOf(value: JsonValue | undefined): Map<string, string> {
  return new Map(Object.entries(objectOf(value)).map(([path, digests]) => [path, textOf(objectOf(digests).sha256) ?? ""]));
}
