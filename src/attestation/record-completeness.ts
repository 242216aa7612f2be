// What a record says about its own completeness. The verdict in it is not believed alone: it may not be better than its
// gaps. A record that says nothing (untraced, or of another tool) is incomplete: nobody vouches for what is missing.
import { z } from "zod";
import type { Collection } from "./collection.ts";
import { readFields } from "./document.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "./json.ts";

export type CompletenessVerdict = "complete" | "complete-with-notes" | "incomplete";

export interface RecordGap {
  kind: string;
  severity: "gap" | "note";
  count: number;
  detail: string;
  /** Of some of those whom it concerns. */
  processIds: readonly number[];
}

export interface RecordCompleteness {
  verdict: CompletenessVerdict;
  gaps: readonly RecordGap[];
  /** Why it is incomplete, where no gap says so. */
  reason: string | undefined;
}

const commandRunType = /\/command-run\/v0\.[0-9]+$/;

const list = z.custom<JsonValue[]>(value => Array.isArray(value), "not a list");
const commandRunSchema = z.object({ completeness: z.custom<JsonObject>(value => isJsonObject(value as JsonValue)).nullish() });
const completenessSchema = z.object({ verdict: z.string(), gaps: list.nullish() });
const gapSchema = z.object({
  kind: z.string(),
  severity: z.string(),
  count: z.number().catch(1),
  detail: z.string().catch(""),
  processids: z.array(z.number()).catch([]),
});

export function readCompleteness(collection: Collection): RecordCompleteness {
  const runs = collection.attestations.filter(({ type }) => commandRunType.test(type));
  if (runs.length === 0) return incomplete("it has no command-run attestation");
  const results = runs.map(({ attestation }) => readOne(isJsonObject(attestation) ? attestation : {}));
  return {
    verdict: worst(results.map(result => result.verdict)),
    gaps: results.flatMap(result => result.gaps),
    reason: results.find(result => result.reason !== undefined)?.reason,
  };
}

function readOne(predicate: JsonObject): RecordCompleteness {
  const { completeness } = readFields(predicate, commandRunSchema, "a command-run attestation");
  if (completeness === undefined || completeness === null) {
    return incomplete("it says nothing about its completeness: not traced, or written by another tool");
  }
  const fields = readFields(completeness, completenessSchema, "a completeness verdict");
  const gaps = (fields.gaps ?? []).map(readGap);
  const known = verdicts.find(verdict => verdict === fields.verdict);
  if (known === undefined) return { ...incomplete("its verdict is not known here"), gaps };
  const byGaps = worst(gaps.map(gap => (gap.severity === "gap" ? "incomplete" : "complete-with-notes")));
  const verdict = worst([known, byGaps]);
  return { verdict, gaps, reason: verdict === known ? undefined : `its verdict is ${known}, its gaps say otherwise` };
}

/** A severity that is not known here may be worse than a gap, never better. */
function readGap(value: JsonValue): RecordGap {
  const { processids, ...fields } = readFields(isJsonObject(value) ? value : {}, gapSchema, "a gap");
  return { ...fields, severity: fields.severity === "note" ? "note" : "gap", processIds: processids };
}

/** From best to worst. */
const verdicts: readonly CompletenessVerdict[] = ["complete", "complete-with-notes", "incomplete"];

function worst(of: readonly CompletenessVerdict[]): CompletenessVerdict {
  return verdicts[Math.max(0, ...of.map(verdict => verdicts.indexOf(verdict)))] ?? "incomplete";
}

function incomplete(reason: string): RecordCompleteness {
  return { verdict: "incomplete", gaps: [], reason };
}
