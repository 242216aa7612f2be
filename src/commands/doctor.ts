// `cilock doctor`: can a build be traced here, and if not, why. Each row is tried in throw-away processes (zig/probe.zig).
import { z } from "zod";
import { ToolError } from "../errors.ts";
import { Library } from "../native/library.ts";
import { obstacleTo } from "../native/obstacles.ts";
import { type Ask, askLibrary } from "../native/probe.ts";
import { readSurroundings, type Surroundings } from "../native/surroundings.ts";
import { type DoctorReport, doctorJson, doctorText } from "../reports/doctor.ts";
import { jsonLine } from "../reports/json-line.ts";
import type { Command } from "./command.ts";
import { doctorRows } from "./doctor-rows.ts";
import { print } from "./print.ts";

export const doctorCommand: Command = {
  name: "doctor",
  usage: ["doctor [--json]"],
  details:
    "  Tries in child processes all that tracing needs.\n" +
    "  Exit status: 0 tracing works, 1 it is impossible here, 2 wrong usage.",
  options: [{ long: "json", kind: "boolean", help: "print the findings as JSON" }],
  example: "  cilock doctor",
  async run(parsed, positionals, io) {
    const options = z.object({ json: z.boolean().default(false) }).parse(parsed);
    if (positionals.length > 0) {
      throw new ToolError("usage", `doctor takes no ${positionals[0]}`, { hint: "cilock doctor [--json]" });
    }
    const report = examine(readSurroundings(), askLibrary(new Library()));
    if (options.json) {
      await print(io, jsonLine(doctorJson(report)));
    } else {
      await print(io, doctorText(report, { colour: io.colour?.("stdout") === true }));
    }
    return report.verdict === "impossible" ? 1 : 0;
  },
};

export function examine(place: Surroundings, ask: Ask): DoctorReport {
  const rows = doctorRows(place, ask);
  const obstacle = obstacleTo(place, ask);
  if (obstacle !== undefined) {
    return { verdict: "impossible", obstacle: obstacle.id, cause: obstacle.cause, remedy: obstacle.remedy, rows };
  }
  const slow = rows.filter(row => row.state === "slower");
  if (slow.length === 0) return { verdict: "works", rows };
  const remedy = slow.find(row => row.remedy !== undefined)?.remedy;
  return {
    verdict: "slower",
    cause: slow.map(row => `${row.name}: ${row.result}`).join("; "),
    ...(remedy === undefined ? {} : { remedy }),
    rows,
  };
}
