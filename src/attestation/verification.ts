// Verification of one record with its signer's key, as a list of steps: signature, statement, trees, step, artifacts,
// how the command ended, completeness. Nothing of the payload is looked at before its signature is good. Every step is reported; the first
// refusal decides the exit status.
import { type ErrorCode, ToolError } from "../errors.ts";
import { type Collection, collectionTypes, parseCollection } from "./collection.ts";
import { type Envelope, findSignature, inTotoPayloadType } from "./envelope.ts";
import { describeAlgorithm } from "./key-algorithm.ts";
import type { PublicKey } from "./keys.ts";
import { type RecordCompleteness, readCompleteness } from "./record-completeness.ts";
import { describeOutcome, type RecordOutcome, readOutcome, succeeded } from "./record-outcome.ts";
import { readRun } from "./record-run.ts";
import { checkTrees, describeTreeProblem, type RecordTree } from "./record-trees.ts";
import { parseStatement, type Statement, type StatementSubject } from "./statement.ts";

/** What the record is asked. */
export interface Question {
  envelope: Envelope;
  publicKey: PublicKey;
  /** What is to be found among its subjects: a file, or a digest that was given. `sha256` is lower-case. */
  artifacts: readonly { kind: "file" | "digest"; name: string; sha256: string }[];
  /** The step it must be of. */
  step: string | undefined;
  /** `strict` refuses notes too. */
  requireComplete: "no" | "yes" | "strict";
  /** Refuses a record of a command that failed. */
  requireSuccess: boolean;
}

export interface Check {
  name: "signature" | "payload" | "step" | "tree" | "artifact" | "command" | "completeness";
  /** `noted`: nobody asked, or there is nothing to check. `warned`: nobody asked, and would have been refused. */
  status: "passed" | "refused" | "noted" | "warned";
  /** One line, without control of what it quotes. */
  detail: string;
  /** With `refused`: decides the exit status. */
  code?: ErrorCode;
}

export interface Report {
  verdict: "good" | "refused";
  checks: readonly Check[];
  signer: { keyid: string; algorithm: string };
  payloadType: string;
  /** Only after a good signature. */
  statement?: { predicateType: string; subjects: number; step: string | undefined };
  completeness?: RecordCompleteness;
  outcome?: RecordOutcome;
}

export function verifyRecord(question: Question): Report {
  const { envelope, publicKey } = question;
  const signer = { keyid: publicKey.keyid, algorithm: describeAlgorithm(publicKey.algorithm) };
  const signature = checkSignature(envelope, publicKey);
  if (signature.status === "refused") {
    return { verdict: "refused", checks: [signature], signer, payloadType: envelope.payloadType };
  }
  const statement = readStatement(envelope);
  if (statement === undefined) {
    const checks = [signature, ...checkOtherPayload(question)];
    const verdict = checks.some(check => check.status === "refused") ? "refused" : "good";
    return { verdict, checks, signer, payloadType: envelope.payloadType };
  }
  const isCollection = collectionTypes.includes(statement.predicateType);
  const collection = isCollection ? parseCollection(statement.predicate) : undefined;
  const trees = collection === undefined ? [] : checkTrees(collection, statement.subjects);
  const completeness = collection === undefined ? undefined : readCompleteness(collection);
  const outcome = collection === undefined ? undefined : readOutcome(collection);
  const checks = [
    signature,
    ...notePayloadType(envelope.payloadType),
    checkStep(collection, statement.predicateType, question.step),
    ...trees.map(reportTree),
    ...question.artifacts.map(artifact => checkArtifact(artifact, { statement, trees, collection })),
    ...checkOutcome(outcome, question.requireSuccess),
    checkCompleteness(completeness, question.requireComplete),
  ];
  return {
    verdict: checks.some(check => check.status === "refused") ? "refused" : "good",
    checks,
    signer,
    payloadType: envelope.payloadType,
    statement: { predicateType: statement.predicateType, subjects: statement.subjects.length, step: collection?.name },
    ...(completeness === undefined ? {} : { completeness }),
    ...(outcome === undefined ? {} : { outcome }),
  };
}

/** Of a keyid that the envelope claims. Ours have 64 characters. */
const keyidShownMax = 100;

function checkSignature(envelope: Envelope, key: PublicKey): Check {
  const name = "signature";
  const refuse = (detail: string): Check => ({ name, status: "refused", detail, code: "signature-refused" });
  if (envelope.signatures.length === 0) return refuse("the envelope has no signature");
  const index = findSignature(envelope, key);
  const signer = `${describeAlgorithm(key.algorithm)} ${key.keyid}`;
  if (index !== undefined) return { name, status: "passed", detail: signer };
  // Only a hint, written by whoever made the envelope.
  const claimed = envelope.signatures.find(({ keyid }) => keyid !== "" && keyid !== key.keyid)?.keyid;
  const hint = claimed === undefined ? "" : `; it names the key ${claimed.slice(0, keyidShownMax)}`;
  return refuse(`no signature of ${signer} over this payload${hint}`);
}

/** A statement is one by what it says, whatever its payload type: the Go tools accept it so. Undefined: another payload, and it says so. */
export function readStatement({ payload, payloadType }: Envelope): Statement | undefined {
  if (payloadType === inTotoPayloadType) return parseStatement(payload);
  try {
    return parseStatement(payload);
  } catch (error) {
    if (error instanceof ToolError) return undefined;
    throw error;
  }
}

function notePayloadType(payloadType: string): Check[] {
  if (payloadType === inTotoPayloadType) return [];
  const detail = `payload type ${JSON.stringify(payloadType)}, read as the in-toto statement that it is`;
  return [{ name: "payload", status: "noted", detail }];
}

/** Any file can be signed. Of one that is no statement there is nothing to ask but who signed it. */
function checkOtherPayload({ envelope, artifacts, step, requireComplete, requireSuccess }: Question): Check[] {
  const detail = `payload type ${envelope.payloadType} is not an in-toto statement`;
  const refuse = (name: Check["name"], code: ErrorCode): Check => ({ name, status: "refused", detail, code });
  const checks: Check[] = [
    ...(step === undefined ? [] : [refuse("step", "policy-refused")]),
    ...artifacts.map(() => refuse("artifact", "subject-missing")),
    ...(requireSuccess ? [refuse("command", "command-failed")] : []),
    ...(requireComplete === "no" ? [] : [refuse("completeness", "record-incomplete")]),
  ];
  return checks.length > 0 ? checks : [{ name: "payload", status: "noted", detail }];
}

function checkStep(collection: Collection | undefined, predicateType: string, wanted: string | undefined): Check {
  const name = "step";
  const refuse = (detail: string): Check => ({ name, status: "refused", detail, code: "policy-refused" });
  if (collection === undefined) {
    const detail = `no collection of attestations but ${predicateType}`;
    return wanted === undefined ? { name, status: "noted", detail } : refuse(detail);
  }
  if (wanted === undefined) return { name, status: "noted", detail: collection.name };
  // Byte for byte: `build` and `build ` are two steps.
  return collection.name === wanted ? { name, status: "passed", detail: wanted } : refuse(`${collection.name}, not ${wanted}`);
}

function reportTree(tree: RecordTree): Check {
  const name = "tree";
  if (tree.problem !== undefined) {
    const detail = `${tree.role} tree ${tree.root}: ${describeTreeProblem(tree.problem)}`;
    return { name, status: "refused", detail, code: "policy-refused" };
  }
  if (tree.leaves === undefined) return { name, status: "noted", detail: `${tree.role} tree without leaves, not computed` };
  const files = `${tree.role} tree of ${tree.count} ${tree.count === 1 ? "file" : "files"}`;
  return { name, status: "passed", detail: tree.isSubject ? files : `${files}, not a subject` };
}

interface RecordedArtifacts {
  statement: Statement;
  trees: readonly RecordTree[];
  collection: Collection | undefined;
}

function checkArtifact(artifact: Question["artifacts"][number], { statement, trees, collection }: RecordedArtifacts): Check {
  const name = "artifact";
  const label = artifact.kind === "file" ? `${artifact.name} (sha256:${artifact.sha256})` : `sha256:${artifact.sha256}`;
  const subjects = statement.subjects.filter(({ digest }) => digest.sha256 === artifact.sha256);
  const subject = artifact.kind === "file" ? mostAlike(subjects, artifact.name) : subjects[0];
  if (subject !== undefined) return { name, status: "passed", detail: `${label} is the subject ${subject.name}` };
  // A leaf counts only under a root that the leaves have and that is a subject itself.
  const leafOf = (role: RecordTree["role"]) =>
    trees
      .filter(tree => tree.role === role && tree.isSubject)
      .map(tree => tree.leaves?.get(artifact.sha256))
      .find(path => path !== undefined);
  const product = leafOf("product");
  if (product !== undefined) return { name, status: "passed", detail: `${label} is the product ${product}` };
  const material = leafOf("material");
  const remark = material === undefined ? writtenRemark(collection, artifact.sha256) : `, only the material ${material}`;
  return {
    name,
    status: "refused",
    detail: `${label} is no subject and no product of this record${remark}`,
    code: "subject-missing",
  };
}

/** Equal files are several subjects: the one whose path ends most like that of the file is what was meant. */
function mostAlike(subjects: readonly StatementSubject[], file: string): StatementSubject | undefined {
  const wanted = partsOf(file);
  let best: StatementSubject | undefined;
  let bestCount = -1;
  for (const subject of subjects) {
    // Of `TYPE/file:PATH`.
    const parts = partsOf(subject.name.slice(subject.name.lastIndexOf("file:") + "file:".length));
    let count = 0;
    while (count < parts.length && parts.at(-1 - count) === wanted.at(-1 - count)) count++;
    // Of two that are as good the shorter: a/b is not x/a/b.
    const alike = 2 * count + (count === parts.length ? 1 : 0);
    if (alike > bestCount) [best, bestCount] = [subject, alike];
  }
  return best;
}

function partsOf(path: string): string[] {
  return path.split("/").filter(part => part !== "" && part !== ".");
}

/** Of what was refused: whether the build left this content somewhere. Never more than a hint. */
function writtenRemark(collection: Collection | undefined, sha256: string): string {
  const path = collection && writtenPath(collection, sha256);
  if (path === undefined) return "";
  return `; the build wrote this content to ${path}, which was no product (--product-glob of cilock run names files elsewhere)`;
}

function writtenPath(collection: Collection, sha256: string): string | undefined {
  try {
    for (const { written } of readRun(collection)?.processes ?? []) {
      for (const [path, digest] of written) if (digest === sha256) return path;
    }
  } catch (error) {
    // A form of the attestation that we do not know.
    if (!(error instanceof ToolError)) throw error;
  }
  return undefined;
}

/** Nothing is said of what is no record of a command, unless somebody asks. */
function checkOutcome(outcome: RecordOutcome | undefined, required: boolean): Check[] {
  const name = "command";
  if (outcome === undefined) {
    const detail = "it is not a record of a command";
    return required ? [{ name, status: "refused", detail, code: "command-failed" }] : [];
  }
  const detail = describeOutcome(outcome);
  if (succeeded(outcome)) return [{ name, status: required ? "passed" : "noted", detail }];
  return [required ? { name, status: "refused", detail, code: "command-failed" } : { name, status: "warned", detail }];
}

function checkCompleteness(completeness: RecordCompleteness | undefined, required: Question["requireComplete"]): Check {
  const name = "completeness";
  const verdict = completeness?.verdict ?? "incomplete";
  const accepted = verdict === "complete" || (verdict === "complete-with-notes" && required !== "strict");
  const detail = describeCompleteness(completeness);
  if (required === "no") return { name, status: "noted", detail };
  return accepted ? { name, status: "passed", detail } : { name, status: "refused", detail, code: "record-incomplete" };
}

function describeCompleteness(completeness: RecordCompleteness | undefined): string {
  if (completeness === undefined) return "incomplete: it is not a record of a command";
  const kinds = completeness.gaps.map(({ kind, severity, count }) => `${severity} ${kind} (${count})`);
  const why = completeness.reason === undefined ? kinds : [completeness.reason, ...kinds];
  return why.length === 0 ? completeness.verdict : `${completeness.verdict}: ${why.join(", ")}`;
}
