// `cilock attestors list`: what can be recorded around a command.
import { z } from "zod";
import { attestors } from "../attestors/index.ts";
import { ToolError } from "../errors.ts";
import type { Command } from "./command.ts";
import { print } from "./print.ts";

const optionsSchema = z.object({ format: z.enum(["table", "json"]).default("table") });

export const attestorsCommand: Command = {
  name: "attestors",
  usage: ["attestors [list] [--format table|json]"],
  options: [{ long: "format", kind: "string", value: "FORMAT", help: "table or json (default table)" }],
  example: "  cilock attestors list --format json",
  async run(parsed, positionals, io) {
    const [action = "list", ...others] = positionals;
    if (action !== "list" || others.length > 0) {
      throw new ToolError("usage", `unknown action ${positionals.join(" ")}`, {
        hint:
          action === "schema"
            ? "docs/command-run.md and docs/materials-products.md describe the fields"
            : "cilock attestors list",
      });
    }
    const options = optionsSchema.safeParse(parsed);
    if (!options.success) throw new ToolError("usage", "--format is table or json");
    await print(io, options.data.format === "json" ? jsonList() : tableList());
    return 0;
  },
};

function jsonList(): string {
  const list = attestors.map(attestor => ({
    name: attestor.name,
    predicate_type: attestor.type,
    run_type: attestor.stage,
    always_run: attestor.alwaysRuns,
    default: attestor.runsByDefault,
  }));
  return `${JSON.stringify(list, null, 2)}\n`;
}

function tableList(): string {
  const rows = [
    ["NAME", "TYPE", "RUNS"],
    ...attestors.map(attestor => [attestor.name + remark(attestor), attestor.type, attestor.stage]),
  ];
  const widths = [0, 1].map(column => Math.max(...rows.map(row => row[column]?.length ?? 0)));
  return rows.map(row => `${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ")}\n`).join("");
}

function remark(attestor: { alwaysRuns: boolean; runsByDefault: boolean }): string {
  if (attestor.alwaysRuns) return " (always run)";
  return attestor.runsByDefault ? " (default)" : "";
}
