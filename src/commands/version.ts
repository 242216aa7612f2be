// `cilock version`.
import packageJson from "../../package.json" with { type: "json" };
import type { Command } from "./command.ts";

export const version = packageJson.version;

export const versionCommand: Command = {
  name: "version",
  usage: ["version"],
  options: [],
  async run(_options, _positionals, io) {
    await io.stdout(`cilock ${version}\n`);
    return 0;
  },
};
