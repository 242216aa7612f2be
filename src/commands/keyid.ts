// `cilock keyid FILE…`: the name by which policies and envelopes know a key, from either half of it or a certificate.
import { z } from "zod";
import { describeAlgorithm } from "../attestation/key-algorithm.ts";
import { type AnyKey, keyBytesMax, loadKey, type PublicKey } from "../attestation/keys.ts";
import { readPassphrase } from "../attestation/passphrase.ts";
import { ToolError } from "../errors.ts";
import { jsonLine } from "../reports/json-line.ts";
import { printable } from "../reports/printable.ts";
import type { Command } from "./command.ts";
import { readInput } from "./input.ts";
import { passphraseOptions } from "./passphrase-options.ts";
import { print } from "./print.ts";

export const keyidCommand: Command = {
  name: "keyid",
  usage: ["keyid FILE... [--format text|json]"],
  options: [
    ...passphraseOptions("encrypted private keys"),
    { long: "format", kind: "string", value: "FORMAT", help: "text or json (default text)" },
  ],
  example: "  cilock keyid key.pub",
  async run(parsed, files, io) {
    const options = schema.safeParse(parsed);
    if (!options.success) throw usage(options.error.issues[0]?.message ?? "wrong flags");
    if (files.length === 0) throw usage("no key file given");
    const limits = { bytesMax: keyBytesMax, code: "key-unreadable" } as const;
    const passphrase = await readPassphrase(
      {
        passphrase: options.data["signer-file-key-passphrase"],
        passphrasePath: options.data["signer-file-key-passphrase-path"],
      },
      io.environment,
      async path => readInput(path, limits),
    );
    const keys = files.map(file => ({ file, key: publicHalf(loadKey(readInput(file, limits), passphrase, file)) }));
    if (options.data.format === "json") {
      const list = keys.map(({ file, key }) => ({
        keyid: key.keyid,
        file: file.toWellFormed(),
        algorithm: describeAlgorithm(key.algorithm),
      }));
      await print(io, jsonLine(list));
    } else {
      await print(io, keys.map(({ file, key }) => `${key.keyid}  ${printable(file)}\n`).join(""));
    }
    return 0;
  },
};

const schema = z.object({
  "signer-file-key-passphrase": z.string().optional(),
  "signer-file-key-passphrase-path": z.string().optional(),
  format: z.enum(["text", "json"], { error: "--format is text or json" }).default("text"),
});

function publicHalf(key: AnyKey): PublicKey {
  return key.kind === "public" ? key : key.publicKey;
}

function usage(message: string): ToolError {
  return new ToolError("usage", message, { hint: "cilock keyid FILE... [--format text|json]" });
}
