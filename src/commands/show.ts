// `cilock show RECORD`: a record for reading. It says what the record says; only with a key it says that its signer said so.
import { z } from "zod";
import { collectionTypes, parseCollection } from "../attestation/collection.ts";
import { type Envelope, envelopeBytesMax, findSignature, parseEnvelope } from "../attestation/envelope.ts";
import { keyBytesMax, loadPublicKey } from "../attestation/keys.ts";
import { readArtifacts } from "../attestation/record-artifacts.ts";
import { readCompleteness } from "../attestation/record-completeness.ts";
import { readOrigin } from "../attestation/record-origin.ts";
import { readRun } from "../attestation/record-run.ts";
import { readStatement } from "../attestation/verification.ts";
import { ToolError } from "../errors.ts";
import { jsonLine } from "../reports/json-line.ts";
import { type Shown, showJson, showText } from "../reports/show.ts";
import type { Command } from "./command.ts";
import { about, inputName, readInput, refuseStdinTwice } from "./input.ts";
import { print } from "./print.ts";

export const showCommand: Command = {
  name: "show",
  usage: [
    "show RECORD [-k pub.pem] [--artifacts] [--undeclared[=all]] [--processes] [--network] [--files] [--file PATH]... [--json]",
  ],
  details:
    "  Without -k the signature is not checked, and the second line says so;\n" +
    "  cilock verify is for decisions.\n" +
    "  Exit status: 0 shown, 1 bad signature, 2 wrong usage, 125 something cannot be\n" +
    "  read.",
  options: [
    {
      long: "publickey",
      short: "k",
      kind: "string",
      value: "FILE",
      help: "public key of the signer, PEM: nothing is shown of a record it did not sign",
    },
    { long: "artifacts", kind: "boolean", help: "list materials, products and subjects with their digests" },
    {
      long: "undeclared",
      kind: "optional-string",
      value: "all",
      help: "list the inputs that nobody vouches for, and the packages of the others; many of one place by directory, but with all",
    },
    { long: "processes", kind: "boolean", help: "print the processes as a tree" },
    {
      long: "network",
      kind: "boolean",
      help: "list whom it talked to, by which process and how much, and the names it asked for",
    },
    { long: "files", kind: "boolean", help: "list the files with their digests, r read, w written, rw both" },
    { long: "file", kind: "strings", value: "PATH", help: "who wrote, read and ran this file, or those that a glob matches" },
    { long: "json", kind: "boolean", help: "print the same as JSON: the overview, and the lists that the flags above ask for" },
  ],
  example: "  cilock show build.attestation.json --undeclared",
  async run(parsed, positionals, io) {
    const options = schema.safeParse(parsed);
    if (!options.success) throw usage(options.error.issues[0]?.message ?? "wrong flags");
    const [name, ...others] = positionals;
    if (name === undefined) throw usage("no record to show");
    if (others.length > 0) throw usage(`one record at a time, not also ${others.join(" ")}`);
    const { publickey, json, ...parts } = options.data;
    refuseStdinTwice([name, publickey]);
    const record = readRecord(name, publickey);
    if (json) await print(io, jsonLine(showJson(record, parts)));
    else await print(io, showText(record, parts, { colour: io.colour?.("stdout") === true }));
    return 0;
  },
};

const flag = z.boolean().default(false);
const schema = z.object({
  publickey: z.string().min(1, "--publickey is empty").optional(),
  artifacts: flag,
  undeclared: z
    .union([z.boolean(), z.enum(["all", "true", "false"])], { error: "--undeclared takes no value but all" })
    .default(false)
    .transform(value => (value === "true" ? true : value === "false" ? false : value)),
  processes: flag,
  network: flag,
  files: flag,
  file: z.array(z.string().min(1, "--file is empty")).default([]),
  json: flag,
});

function usage(message: string): ToolError {
  return new ToolError("usage", message, { hint: "cilock show --help lists the flags" });
}

function readRecord(name: string, publicKey: string | undefined): Shown {
  const envelope = about(name, () => parseEnvelope(readInput(name, { bytesMax: envelopeBytesMax, code: "input-unreadable" })));
  const signedBy = publicKey === undefined ? undefined : checkedSigner(name, envelope, publicKey);
  const { payloadType, payload } = envelope;
  return about(name, () => {
    const statement = readStatement(envelope);
    if (statement === undefined) return { kind: "other", name, signedBy, payloadType, payloadLength: payload.length };
    const collection = collectionTypes.includes(statement.predicateType) ? parseCollection(statement.predicate) : undefined;
    return {
      kind: "statement",
      name,
      signedBy,
      predicateType: statement.predicateType,
      step: collection?.name,
      subjects: statement.subjects,
      attestations: collection?.attestations.map(({ type }) => type) ?? [],
      completeness: collection && readCompleteness(collection),
      origin: collection && readOrigin(collection),
      run: collection && readRun(collection),
      artifacts: collection && readArtifacts(collection),
    };
  });
}

function checkedSigner(name: string, envelope: Envelope, path: string): string {
  const key = loadPublicKey(readInput(path, { bytesMax: keyBytesMax, code: "key-unreadable" }), inputName(path));
  if (findSignature(envelope, key) !== undefined) return key.keyid;
  throw new ToolError("signature-refused", `${inputName(name)} is not shown: it has no good signature of ${inputName(path)}`);
}
