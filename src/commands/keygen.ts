// `cilock keygen`: a new key to sign with, its public half beside it. Nothing that exists is ever written over: that
// could be the key of a year of records.
import { closeSync, openSync, unlinkSync, writeSync } from "node:fs";
import { z } from "zod";
import { type GeneratedKeyType, generateKey, isGeneratedKeyType, privatePem } from "../attestation/keys.ts";
import { ToolError } from "../errors.ts";
import { printable } from "../reports/printable.ts";
import type { Command } from "./command.ts";
import { unwritableBecause } from "./outfile.ts";
import { print } from "./print.ts";
import { publicFileOf } from "./public-file.ts";

export const keygenCommand: Command = {
  name: "keygen",
  usage: ["keygen [--type ed25519|p256|p384|p521|rsa] [-o key.pem]"],
  options: [
    { long: "type", kind: "string", value: "TYPE", help: "ed25519, p256, p384, p521 or rsa of 3072 bits (default ed25519)" },
    {
      long: "outfile",
      short: "o",
      kind: "string",
      value: "FILE",
      help: "private key; the public half goes beside it (default key.pem)",
    },
  ],
  example: "  cilock keygen -o key.pem",
  async run(parsed, positionals, io) {
    const options = schema.safeParse(parsed);
    if (!options.success) throw usage(options.error.issues[0]?.message ?? "wrong flags");
    if (positionals.length > 0) throw usage(`unexpected ${positionals.join(" ")}`);
    const { outfile, type } = options.data;
    const publicFile = publicFileOf(outfile);
    const key = generateKey(type);
    writeNew(outfile, privatePem(key), 0o600);
    try {
      writeNew(publicFile, key.publicKey.pem, 0o666);
    } catch (error) {
      unlinkSync(outfile);
      throw error;
    }
    await print(io, `${key.publicKey.keyid}  ${printable(publicFile)}\n`);
    return 0;
  },
};

const schema = z.object({
  type: z
    .string()
    .default("ed25519")
    .refine(isGeneratedKeyType, "--type is ed25519, p256, p384, p521 or rsa")
    .transform(text => text as GeneratedKeyType),
  outfile: z
    .string()
    .min(1, "--outfile is empty")
    .refine(path => path !== "-", "--outfile must be a file: a private key is not printed")
    .refine(path => !path.endsWith(".pub"), "--outfile names the private key, .pub is for the public half")
    .default("key.pem"),
});

function writeNew(path: string, text: string, mode: number): void {
  let descriptor: number;
  try {
    // O_EXCL, which does not follow a link either.
    descriptor = openSync(path, "wx", mode);
  } catch (error) {
    const word = error instanceof Error && "code" in error ? String(error.code) : "";
    throw word === "EEXIST" ? taken(path) : unwritableBecause(path, error);
  }
  try {
    writeSync(descriptor, text);
  } catch (error) {
    unlinkSync(path);
    throw error;
  } finally {
    closeSync(descriptor);
  }
}

function taken(path: string): ToolError {
  return new ToolError("outfile-unwritable", `${path} exists and is not written over`, { hint: "name another file with -o" });
}

function usage(message: string): ToolError {
  return new ToolError("usage", message, { hint: "cilock keygen --help lists the flags" });
}
