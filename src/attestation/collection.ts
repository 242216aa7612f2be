// The collection (wire-formats 2.2 to 2.4): what the attestors of one step found, under the name of the step.
import { z } from "zod";
import { lazy } from "../lazy.ts";
import { formatTime } from "../time.ts";
import { readFields } from "./document.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "./json.ts";
import { buildStatement, type StatementSubject } from "./statement.ts";

/** Ours, then that of witness; both are read. */
export const collectionType = "https://aflock.ai/attestation-collection/v0.1";
export const collectionTypes: readonly string[] = [collectionType, "https://witness.testifysec.com/attestation-collection/v0.1"];

/** One attestor's result. The names of subjects are without the type in front. */
export interface CollectionPart {
  type: string;
  predicate: JsonObject;
  subjects: readonly StatementSubject[];
  startTime: bigint;
  endTime: bigint;
}

export interface CollectionInput {
  step: string;
  attestations: readonly CollectionPart[];
  /** Given by the person: with the very name, and in place of an attestor's subject of that name. */
  subjects?: readonly StatementSubject[];
}

/** The statement about one step. Attestations keep their order; subjects are sorted, so that equal builds sign equal lists. */
export function buildCollection(input: CollectionInput): { statement: JsonObject } {
  const given = input.subjects ?? [];
  const names = new Set(given.map(({ name }) => name));
  const found = input.attestations.flatMap(({ type, subjects }) =>
    // A subject without a digest can match nothing.
    subjects
      .filter(({ digest }) => Object.keys(digest).length > 0)
      .map(({ name, digest }) => ({ name: `${type}/${name}`, digest })),
  );
  const subjects = [...found.filter(({ name }) => !names.has(name)), ...given];
  const statement = buildStatement({
    subjects: subjects.sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name))),
    predicateType: collectionType,
    predicate: {
      name: input.step,
      attestations: input.attestations.map(({ type, predicate, startTime, endTime }) => ({
        type,
        attestation: predicate,
        starttime: formatTime(startTime),
        endtime: formatTime(endTime),
      })),
    },
  });
  return { statement };
}

export interface Collection {
  name: string;
  attestations: readonly { type: string; attestation: JsonValue; startTime?: string | undefined }[];
}

const schemas = lazy(() => {
  const object = z.custom<JsonObject>(value => isJsonObject(value as JsonValue), "not an object");
  return {
    collection: z.object({ name: z.string().nullish(), attestations: z.array(object).nullish() }),
    attestation: z.object({
      type: z.string().nullish(),
      attestation: z.custom<JsonValue>().optional(),
      starttime: z.string().optional().catch(undefined),
    }),
  };
});

export function parseCollection(predicate: JsonValue): Collection {
  const what = "a collection of attestations";
  const fields = readFields(isJsonObject(predicate) ? predicate : {}, schemas().collection, what);
  const attestations = (fields.attestations ?? []).map(item => {
    const { type, attestation, starttime } = readFields(item, schemas().attestation, what);
    return { type: type ?? "", attestation: attestation ?? null, startTime: starttime };
  });
  return { name: fields.name ?? "", attestations };
}
