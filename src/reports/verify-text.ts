// The report of `cilock verify` for people: one line a check, the verdict last. Names in it come from the record and
// from whoever wrote it: they are made printable.
import type { Check, Report } from "../attestation/verification.ts";
import { printable } from "./printable.ts";

const marks: Readonly<Record<Check["status"], string>> = { passed: "ok", refused: "REFUSED", noted: "-", warned: "warn" };

/** A detail can quote the record, which has no bound that a terminal would like. */
const detailMax = 400;

export function verifyText(report: Report, record: string): string {
  const lines = report.checks.map(
    ({ name, status, detail }) => `${marks[status].padEnd(8)} ${name.padEnd(13)} ${shorten(detail)}`,
  );
  return `${[...lines, `${report.verdict.padEnd(8)} ${shorten(record)}`].join("\n")}\n`;
}

function shorten(text: string): string {
  const characters = [...printable(text)];
  return characters.length <= detailMax ? characters.join("") : `${characters.slice(0, detailMax).join("")} …`;
}
