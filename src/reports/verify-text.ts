// The report of `cilock verify` for people: one line a check, the verdict last. Names in it come from the record and
// from whoever wrote it: they are made printable.
import type { Check, Report } from "../attestation/verification.ts";
import { painter, type Style } from "./colour.ts";
import { printable } from "./printable.ts";

const marks: Readonly<Record<Check["status"], string>> = { passed: "ok", refused: "REFUSED", noted: "-", warned: "warn" };

/** A detail can quote the record, which has no bound that a terminal would like. */
const detailMax = 400;

const styles: Readonly<Record<Check["status"] | Report["verdict"], Style | undefined>> = {
  ...{ passed: "good", refused: "bad", noted: undefined, warned: "doubtful" },
  good: "good",
};

export function verifyText(report: Report, record: string, { colour }: { colour: boolean }): string {
  const paint = painter(colour);
  const mark = (word: string, status: keyof typeof styles) => paint(word, styles[status]) + " ".repeat(8 - word.length);
  const lines = report.checks.map(
    ({ name, status, detail }) => `${mark(marks[status], status)} ${name.padEnd(13)} ${shorten(detail)}`,
  );
  return `${[...lines, `${mark(report.verdict, report.verdict)} ${shorten(record)}`].join("\n")}\n`;
}

function shorten(text: string): string {
  const characters = [...printable(text)];
  return characters.length <= detailMax ? characters.join("") : `${characters.slice(0, detailMax).join("")} …`;
}
