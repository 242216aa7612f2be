// From facts to the signed bytes, and onto disk.
import { buildCollection, type CollectionPart } from "../attestation/collection.ts";
import { envelopeBytesMax, envelopeEnd, envelopePieces, inTotoPayloadType, signPayload } from "../attestation/envelope.ts";
import { writeJson } from "../attestation/json-writer.ts";
import { generateKey } from "../attestation/keys.ts";
import { treeRoot } from "../attestation/tree.ts";
import type { Attestation, Facts } from "../attestors/attestor.ts";
import { commandRunAttestor } from "../attestors/command-run.ts";
import { commandRunV02Attestor } from "../attestors/command-run-v02.ts";
import { attestors } from "../attestors/index.ts";
import type { RecordedFile } from "../attestors/recorded-files.ts";
import { fileTree } from "../attestors/tree-attestation.ts";
import type { CommandIo } from "./command.ts";
import { EnvelopeAhead } from "./envelope-ahead.ts";
import { attempt, type Written, writeOutfile } from "./outfile.ts";
import type { RunOptions } from "./run-options.ts";
import type { RunPlan } from "./run-plan.ts";
import type { Spool } from "./spool.ts";

/** Where a record is while it is made. */
export interface RecordFiles {
  readonly spool: Spool;
  readonly ahead: EnvelopeAhead;
}

export { EnvelopeAhead };

export interface SignedRecord {
  /** Of the envelope, once. */
  readonly pieces: Iterable<Uint8Array>;
  /** What is behind the payload. */
  readonly end: Uint8Array;
  readonly payloadLength: number;
  readonly keyid: string;
  readonly publicPem: string;
}

/** What does not depend on the command, done while it runs. */
export function prepareRecord(materials: readonly RecordedFile[]): void {
  fileTree(materials);
}

export function attestAll(facts: Facts, { predicate }: RunOptions): { names: string[]; attestations: Attestation[] } {
  const chosen = attestors
    .filter(attestor => attestor.alwaysRuns || facts.options.attestations.includes(attestor.name))
    .map(attestor => (attestor === commandRunAttestor && predicate === "command-run/v0.2" ? commandRunV02Attestor : attestor));
  const found = chosen.map(attestor => ({ name: attestor.name, attestation: attestor.attest(facts) }));
  return {
    names: found.filter(({ attestation }) => attestation !== undefined).map(({ name }) => name),
    attestations: found.flatMap(({ attestation }) => attestation ?? []),
  };
}

/**
 * Call it when the last traced process is gone: the key is read here. The payload goes into the spool as it is made, is
 * signed there, and from there into the outfile, of a large one meanwhile: no copy of it is ever in memory as a whole.
 */
export async function signRecord(
  plan: RunPlan,
  attestations: readonly Attestation[],
  { spool, ahead }: RecordFiles,
): Promise<SignedRecord> {
  const { statement } = buildCollection({ step: plan.options.step, attestations, subjects: plan.options.subjects });
  attempt(shownOutfile(plan), () => {
    writeJson(statement, piece => {
      spool.write(piece);
      ahead.advance();
    });
  });
  ahead.end();
  const key = plan.signer.kind === "file" ? await plan.signer.key.read() : generateKey("ed25519");
  const signature = await signPayload(spool, inTotoPayloadType, key);
  const { keyid, pem: publicPem } = key.publicKey;
  const pieces = envelopePieces(spool, inTotoPayloadType, [signature]);
  return { pieces, end: envelopeEnd(inTotoPayloadType, [signature]), payloadLength: spool.length, keyid, publicPem };
}

/** Where things are now; undefined: stdout, or no such file. */
export interface WrittenRecord {
  readonly record: Written | undefined;
  readonly publicKey: Written | undefined;
}

/** The public half first: a record that is there can be verified. */
export async function writeRecord(
  plan: RunPlan,
  record: SignedRecord,
  { ahead, io }: { ahead: EnvelopeAhead; io: CommandIo },
): Promise<WrittenRecord> {
  const { signer, outfile } = plan;
  const publicKey = signer.kind === "ephemeral" ? writeOutfile(signer.publicKeyFile, Buffer.from(record.publicPem)) : undefined;
  if (ahead.isBegun) return { record: await ahead.finish(record.end), publicKey };
  if (outfile.kind !== "stdout") return { record: writeOutfile(outfile, record.pieces), publicKey };
  for (const piece of record.pieces) await io.stdout(piece);
  return { record: undefined, publicKey };
}

/** Bytes of the payload from which on the shorter form of the predicate is suggested. */
const large = 16 << 20;
/** More than there is in an envelope beside the payload. */
const besidePayloadMax = 8 << 10;

/**
 * What a person should hear of the record's size. One that is too large for `cilock verify` and `cilock show` is written all the same: the
 * build is over, and what it did is in there.
 */
export function sizeRemark(
  predicate: RunOptions["predicate"],
  payloadLength: number,
): { kind: "warning" | "note"; text: string } | undefined {
  const shorter = predicate === "command-run/v0.1" ? "--predicate command-run/v0.2 writes each path and digest once" : undefined;
  const envelopeLength = Math.ceil(payloadLength / 3) * 4 + besidePayloadMax;
  if (envelopeLength > envelopeBytesMax) {
    const text = `the record is larger than the ${envelopeBytesMax >> 20} MiB that cilock verify and cilock show read`;
    return { kind: "warning", text: shorter === undefined ? text : `${text}: ${shorter}` };
  }
  if (shorter === undefined || payloadLength <= large) return undefined;
  return { kind: "note", text: `the record is large: ${shorter}` };
}

const shownOutfile = ({ outfile }: RunPlan): string => (outfile.kind === "stdout" ? "the record" : outfile.shown);

/** Whether a verifier can be asked for anything in it: the root of a tree without files is the same for everybody. */
export function hasMatchableSubject(attestations: readonly Pick<CollectionPart, "subjects">[]): boolean {
  const nothing = treeRoot([]).root;
  return attestations.some(({ subjects }) =>
    subjects.some(({ digest }) => digest.sha256 !== undefined && digest.sha256 !== nothing),
  );
}
