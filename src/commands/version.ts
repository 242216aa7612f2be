// `cilock version`.
import packageJson from "../../package.json" with { type: "json" };
import type { Command } from "./command.ts";
import { print } from "./print.ts";

export const version = packageJson.version;

export const versionCommand: Command = {
  name: "version",
  usage: ["version"],
  options: [],
  async run(_options, _positionals, io) {
    await print(io, `cilock ${version}\n`);
    return 0;
  },
};
