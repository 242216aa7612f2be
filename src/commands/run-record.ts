// From facts to the signed bytes, and onto disk.
import { buildCollection } from "../attestation/collection.ts";
import { inTotoPayloadType, sealEnvelope } from "../attestation/envelope.ts";
import { encodeJson } from "../attestation/json.ts";
import { generateKey } from "../attestation/keys.ts";
import { createSigner } from "../attestation/signer.ts";
import { treeRoot } from "../attestation/tree.ts";
import type { Attestation, Facts } from "../attestors/attestor.ts";
import { attestors } from "../attestors/index.ts";
import type { CommandIo } from "./command.ts";
import { writeOutfile } from "./outfile.ts";
import type { RunPlan } from "./run-plan.ts";

export interface SignedRecord {
  readonly envelope: Uint8Array;
  readonly keyid: string;
  readonly publicPem: string;
}

export function attestAll(facts: Facts): { names: string[]; attestations: Attestation[] } {
  const chosen = attestors.filter(attestor => attestor.alwaysRuns || facts.options.attestations.includes(attestor.name));
  const found = chosen.map(attestor => ({ name: attestor.name, attestation: attestor.attest(facts) }));
  return {
    names: found.filter(({ attestation }) => attestation !== undefined).map(({ name }) => name),
    attestations: found.flatMap(({ attestation }) => attestation ?? []),
  };
}

/** Call it when the last traced process is gone: the key is read here. */
export async function signRecord(plan: RunPlan, attestations: readonly Attestation[]): Promise<SignedRecord> {
  const { statement } = buildCollection({ step: plan.options.step, attestations });
  const payload = encodeJson(statement);
  const signer = createSigner(plan.signer.kind === "file" ? await plan.signer.key.read() : generateKey("ed25519"));
  return { envelope: sealEnvelope(payload, inTotoPayloadType, signer), keyid: signer.keyid, publicPem: signer.publicPem };
}

/** The public half first: a record that is there can be verified. */
export async function writeRecord(plan: RunPlan, record: SignedRecord, io: CommandIo): Promise<void> {
  if (plan.signer.kind === "ephemeral") writeOutfile(plan.signer.publicKeyFile, Buffer.from(record.publicPem));
  if (plan.outfile.kind === "stdout") await io.stdout(record.envelope);
  else writeOutfile(plan.outfile, record.envelope);
}

/** Whether a verifier can be asked for anything in it: the root of a tree without files is the same for everybody. */
export function hasMatchableSubject(attestations: readonly Attestation[]): boolean {
  const nothing = treeRoot([]).root;
  return attestations.some(({ subjects }) =>
    subjects.some(({ digest }) => digest.sha256 !== undefined && digest.sha256 !== nothing),
  );
}
