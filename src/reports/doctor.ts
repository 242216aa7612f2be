// What `cilock doctor` found, as text and as JSON. The JSON's shape is documented in docs/doctor.md.
import type { JsonObject } from "../attestation/json.ts";
import { painter, type Style } from "./colour.ts";
import { printable } from "./printable.ts";

/** `impossible`: no run with --trace. */
export type DoctorVerdict = "works" | "slower" | "impossible";

/** `ok`: as it should be. `slower`: there is another way. `missing`: something less will work. `blocks`: no tracing. `fact`: neither good nor bad. */
export type DoctorState = "ok" | "slower" | "missing" | "blocks" | "fact";

export interface DoctorRow {
  /** For programs; closed list. */
  id: string;
  /** For people. */
  name: string;
  state: DoctorState;
  /** What was found. */
  result: string;
  /** What that means for a run. */
  meaning: string;
  /** What to do, where something can be done. */
  remedy?: string;
}

export interface DoctorReport {
  verdict: DoctorVerdict;
  /** Why not, or why slower: one sentence. */
  cause?: string;
  /** `cause` for programs, of an impossible one. */
  obstacle?: string;
  remedy?: string;
  rows: readonly DoctorRow[];
}

const verdicts: Record<DoctorVerdict, string> = {
  works: "tracing works here",
  slower: "tracing works here, slower",
  impossible: "tracing is impossible here",
};

const marks: Record<DoctorState, string> = { ok: "ok", slower: "slower", missing: "missing", blocks: "NO", fact: "" };

const styles: Record<DoctorState | DoctorVerdict, Style | undefined> = {
  ...{ ok: "good", slower: "doubtful", missing: "doubtful", blocks: "bad", fact: undefined },
  ...{ works: "good", impossible: "bad" },
};

/** Names of programs and labels are not ours: all is made printable. */
export function doctorText(report: DoctorReport, { colour }: { colour: boolean }): string {
  const paint = painter(colour);
  const width = Math.max(...report.rows.map(row => row.name.length));
  const lines = report.rows.flatMap(row => {
    const mark = " ".repeat(7 - marks[row.state].length) + paint(marks[row.state], styles[row.state]);
    const line = `${mark}  ${printable(`${row.name.padEnd(width)}  ${row.result}`)}`;
    if (row.state === "ok" || row.state === "fact") return [line];
    const indent = " ".repeat(13);
    const remedy = row.remedy === undefined ? [] : [`${indent}${printable(row.remedy)}`];
    return [line, `${indent}${printable(row.meaning)}`, ...remedy];
  });
  const cause = report.cause === undefined ? "" : `: ${printable(report.cause)}`;
  const remedy = report.remedy === undefined ? [] : [`hint: ${printable(report.remedy)}`];
  return `${[...lines, "", `${paint(verdicts[report.verdict], styles[report.verdict])}${cause}`, ...remedy].join("\n")}\n`;
}

export function doctorJson(report: DoctorReport): JsonObject {
  return {
    verdict: report.verdict,
    ...(report.obstacle === undefined ? {} : { obstacle: report.obstacle }),
    ...(report.cause === undefined ? {} : { cause: report.cause }),
    ...(report.remedy === undefined ? {} : { remedy: report.remedy }),
    probes: report.rows.map(({ id, state, result, meaning, remedy }) => ({
      id,
      state,
      result,
      meaning,
      ...(remedy === undefined ? {} : { remedy }),
    })),
  };
}
