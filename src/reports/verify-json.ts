// The report of `cilock verify` for programs: one object on one line.
import { type JsonObject, omitUndefined } from "../attestation/json.ts";
import type { Report } from "../attestation/verification.ts";
import { gapJson } from "./gap-text.ts";

export function verifyJson(report: Report, record: string, exitStatus: number): JsonObject {
  const { statement, completeness, outcome } = report;
  return omitUndefined({
    verdict: report.verdict,
    exitStatus,
    record,
    payloadType: wellFormed(report.payloadType),
    signer: { keyid: report.signer.keyid, algorithm: report.signer.algorithm },
    predicateType: statement?.predicateType,
    step: statement?.step,
    subjects: statement?.subjects,
    command: outcome && omitUndefined({ exitcode: outcome.exitStatus, interrupted: outcome.interrupted }),
    completeness:
      completeness === undefined
        ? undefined
        : omitUndefined({
            verdict: completeness.verdict,
            reason: completeness.reason,
            gaps: completeness.gaps.map(gapJson),
          }),
    checks: report.checks.map(({ name, status, detail }) => ({ check: name, status, detail: wellFormed(detail) })),
  });
}

/** A file's name from the command line need not be. */
function wellFormed(text: string): string {
  return text.toWellFormed();
}
