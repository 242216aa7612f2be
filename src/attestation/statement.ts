// The in-toto Statement (wire-formats 2.1): which subjects a predicate is about.
import { z } from "zod";
import { lazy } from "../lazy.ts";
import { malformed, parseDocument, readFields } from "./document.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "./json.ts";

/** Written, never checked by any verifier. */
const statementType = "https://in-toto.io/Statement/v0.1";

/** Any other name makes the existing verifiers refuse the whole file (wire-formats 5). */
export const digestNames = ["sha256", "sha1", "gitoid:sha256", "gitoid:sha1", "dirHash"] as const;

export interface StatementSubject {
  name: string;
  digest: { readonly [algorithm: string]: string };
}

export interface Statement {
  predicateType: string;
  subjects: readonly StatementSubject[];
  predicate: JsonValue;
}

export function buildStatement(statement: Statement): JsonObject {
  return {
    _type: statementType,
    subject: statement.subjects.map(({ name, digest }) => {
      for (const algorithm of Object.keys(digest)) {
        if (!digestNames.some(known => known === algorithm)) throw new Error(`no verifier reads a digest ${algorithm}`);
      }
      return { name, digest: { ...digest } };
    }),
    predicateType: statement.predicateType,
    predicate: statement.predicate,
  };
}

const schemas = lazy(() => {
  const object = z.custom<JsonObject>(value => isJsonObject(value as JsonValue), "not an object");
  return {
    statement: z.object({
      _type: z.string().nullish(),
      subject: z.array(object).nullish(),
      predicateType: z.string().nullish(),
      predicate: z.custom<JsonValue>(value => value !== undefined, "missing"),
    }),
    subject: z.object({ name: z.string().nullish(), digest: object.nullish() }),
    digest: z.record(z.string(), z.string()),
  };
});

/** Subjects may carry digests of any name: what we do not know matches nothing. */
export function parseStatement(payload: Uint8Array): Statement {
  const what = "an in-toto statement";
  const fields = readFields(parseDocument(payload, what), schemas().statement, what);
  const subjects = (fields.subject ?? []).map(subject => {
    const { name, digest } = readFields(subject, schemas().subject, what);
    const digests = schemas().digest.safeParse({ ...digest });
    if (!digests.success) throw malformed(what, "a digest of a subject is not text");
    return { name: name ?? "", digest: digests.data };
  });
  return { predicateType: fields.predicateType ?? "", subjects, predicate: fields.predicate };
}
