// Reads a record back by nothing but its specification: DSSE over the exact bytes, in-toto statement, collection. The schema is
// strict about types where a reader of the format would be, and open for fields that we do not test.
import { createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { z } from "zod";

const digestSet = z.record(z.string(), z.string());
const time = z.string().regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/);
const digests = z.record(z.string(), digestSet);

const fileOps = z.looseObject({
  writes: z.array(z.looseObject({ path: z.string(), bytes: z.int() })).default([]),
  renames: z.array(z.looseObject({ oldPath: z.string(), newPath: z.string() })).default([]),
  deletes: z.array(z.looseObject({ path: z.string() })).default([]),
  permChanges: z.array(z.looseObject({ path: z.string(), mode: z.int(), setExec: z.boolean() })).default([]),
  links: z.array(z.looseObject({ oldPath: z.string(), newPath: z.string() })).default([]),
  symlinks: z.array(z.looseObject({ target: z.string(), path: z.string() })).default([]),
  mkdirs: z.array(z.looseObject({ path: z.string(), mode: z.int() })).default([]),
  nodes: z.array(z.looseObject({ path: z.string(), mode: z.int() })).default([]),
  truncates: z.array(z.looseObject({ path: z.string(), length: z.int() })).default([]),
  ownerChanges: z.array(z.looseObject({ path: z.string() })).default([]),
  timeChanges: z.array(z.looseObject({ path: z.string() })).default([]),
});

const processEntry = z.looseObject({
  program: z.string().optional(),
  processid: z.int(),
  parentpid: z.int(),
  programdigest: digestSet.optional(),
  comm: z.string().optional(),
  cmdline: z.string().optional(),
  argv: z.array(z.string()).optional(),
  exedigest: digestSet.optional(),
  openedfiles: digests.default({}),
  writtenDigests: digests.default({}),
  fileVersions: z.record(z.string(), z.array(digestSet)).default({}),
  unhashedOpens: z.array(z.strictObject({ path: z.string(), reason: z.string() })).default([]),
  images: z.array(z.looseObject({ program: z.string(), argv: z.array(z.string()), exedigest: digestSet.optional() })).default([]),
  starttime: time.optional(),
  endtime: time.optional(),
  cwd: z.string().optional(),
  environ: z.string().optional(),
  fileOps: fileOps.default(fileOps.parse({})),
  syscallEvents: z.array(z.looseObject({ syscall: z.string(), args: z.array(z.int()).optional() })).default([]),
  exitcode: z.int().default(0),
  exitsignal: z.string().optional(),
});
export type ProcessEntry = z.infer<typeof processEntry>;

const gap = z.looseObject({
  kind: z.string(),
  severity: z.enum(["gap", "note"]),
  count: z.int(),
  processids: z.array(z.int()),
  detail: z.string(),
});

const completeness = z.looseObject({
  verdict: z.enum(["complete", "complete-with-notes", "incomplete"]),
  gaps: z.array(gap),
  tracer: z.looseObject({ mode: z.string(), kernel: z.string(), privileged: z.boolean(), features: z.array(z.string()) }),
});

const streamDigest = z.looseObject({ sha256: z.string().regex(/^[0-9a-f]{64}$/), bytes: z.int(), captured: z.int() });

const commandRun = z.looseObject({
  cmd: z.array(z.string()),
  exitcode: z.int(),
  summary: z.looseObject({ totals: z.record(z.string(), z.int()).default({}), failedOpens: z.int().default(0) }),
  stdout: z.string(),
  stderr: z.string(),
  stdoutDigest: streamDigest,
  stderrDigest: streamDigest,
  processes: z.array(processEntry).optional(),
  completeness: completeness.optional(),
  interrupted: z.string().optional(),
});
export type CommandRun = z.infer<typeof commandRun>;

const collection = z.looseObject({
  name: z.string(),
  attestations: z.array(z.looseObject({ type: z.string(), attestation: z.looseObject({}), starttime: time, endtime: time })),
});

const statement = z.looseObject({
  _type: z.literal("https://in-toto.io/Statement/v0.1"),
  subject: z.array(z.strictObject({ name: z.string(), digest: digestSet })),
  predicateType: z.literal("https://aflock.ai/attestation-collection/v0.1"),
  predicate: collection,
});

const envelope = z.strictObject({
  payload: z.base64(),
  payloadType: z.literal("application/vnd.in-toto+json"),
  signatures: z.array(z.strictObject({ keyid: z.string(), sig: z.base64() })).length(1),
});

export interface Record {
  payload: string;
  subjects: { name: string; digest: { [algorithm: string]: string } }[];
  collection: z.infer<typeof collection>;
  commandRun: CommandRun;
  /** Empty for an untraced run. */
  processes: ProcessEntry[];
}

/** Reads, checks the signature, parses. Throws on anything that is not as specified. */
export function openRecord(path: string, publicPem: string): Record {
  const parsed = envelope.parse(JSON.parse(readFileSync(path, "utf8")));
  const payload = Buffer.from(parsed.payload, "base64");
  const head = `DSSEv1 ${parsed.payloadType.length} ${parsed.payloadType} ${payload.length} `;
  const signature = Buffer.from(parsed.signatures[0]?.sig ?? "", "base64");
  if (!verify(null, Buffer.concat([Buffer.from(head), payload]), createPublicKey(publicPem), signature)) {
    throw new Error(`${path}: the signature is not that of the key`);
  }
  const text = payload.toString("utf8");
  const body = statement.parse(JSON.parse(text));
  const runs = body.predicate.attestations.filter(one => one.type === "https://aflock.ai/attestations/command-run/v0.1");
  if (runs.length !== 1) throw new Error(`${path}: ${runs.length} attestations of command-run`);
  const run = commandRun.parse(runs[0]?.attestation);
  return { payload: text, subjects: body.subject, collection: body.predicate, commandRun: run, processes: run.processes ?? [] };
}

export function attestation(record: Record, name: string): { [key: string]: unknown } {
  const found = record.collection.attestations.find(one => new RegExp(`/attestations/${name}/v`).test(one.type));
  if (!found) throw new Error(`no attestation of ${name}`);
  return found.attestation;
}

/** The one process of that id. */
export function processOf(record: Record, pid: number): ProcessEntry {
  const found = record.processes.filter(entry => entry.processid === pid);
  const [only] = found;
  if (!only || found.length > 1) {
    throw new Error(
      `${found.length} processes ${pid} in the record; it has ${record.processes.map(entry => entry.processid).join(" ")}`,
    );
  }
  return only;
}

/** Processes whose program or argv[0] ends in this name. */
export function processesNamed(record: Record, name: string): ProcessEntry[] {
  return record.processes.filter(
    entry => entry.program?.split("/").at(-1) === name || entry.argv?.[0]?.split("/").at(-1) === name,
  );
}

export function gaps(record: Record): string[] {
  return (record.commandRun.completeness?.gaps ?? []).map(one => one.kind).sort();
}
