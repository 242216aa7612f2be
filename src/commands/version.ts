// `cilock version`.
import packageJson from "../../package.json" with { type: "json" };
import { ToolError } from "../errors.ts";
import type { Command } from "./command.ts";
import { print } from "./print.ts";

export const version = packageJson.version;

export const versionCommand: Command = {
  name: "version",
  usage: ["version"],
  options: [],
  async run(_options, positionals, io) {
    if (positionals.length > 0) throw new ToolError("usage", `version takes no ${positionals[0]}`, { hint: "cilock version" });
    await print(io, `cilock ${version}\n`);
    return 0;
  },
};
