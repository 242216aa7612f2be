// What `cilock doctor` found, as text and as JSON. The JSON's shape is documented in docs/doctor.md.
import type { JsonObject } from "../attestation/json.ts";

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

export function doctorText(report: DoctorReport): string {
  const width = Math.max(...report.rows.map(row => row.name.length));
  const lines = report.rows.flatMap(row => {
    const line = `${marks[row.state].padStart(7)}  ${row.name.padEnd(width)}  ${row.result}`;
    if (row.state === "ok" || row.state === "fact") return [line];
    const indent = " ".repeat(13);
    return [line, `${indent}${row.meaning}`, ...(row.remedy === undefined ? [] : [`${indent}${row.remedy}`])];
  });
  const cause = report.cause === undefined ? "" : `: ${report.cause}`;
  const remedy = report.remedy === undefined ? [] : [`hint: ${report.remedy}`];
  return `${[...lines, "", `${verdicts[report.verdict]}${cause}`, ...remedy].join("\n")}\n`;
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
