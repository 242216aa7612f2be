// `cilock verify RECORD -k pub.pem`: is this record what its signer signed, and is it about these files?
import { z } from "zod";
import { envelopeBytesMax, parseEnvelope } from "../attestation/envelope.ts";
import { keyBytesMax, loadPublicKey } from "../attestation/keys.ts";
import { type Check, type Question, type Report, verifyRecord } from "../attestation/verification.ts";
import { ToolError } from "../errors.ts";
import { jsonLine } from "../reports/json-line.ts";
import { verifyJson } from "../reports/verify-json.ts";
import { verifyText } from "../reports/verify-text.ts";
import type { Command, ParsedOptions } from "./command.ts";
import { about, digestInput, inputName, readInput, refuseStdinTwice } from "./input.ts";
import { print } from "./print.ts";

export const verifyCommand: Command = {
  name: "verify",
  usage: [
    "verify RECORD -k pub.pem [-f FILE]... [-s sha256:DIGEST]... [--step NAME] [--require-success] [--require-complete[=strict]]",
  ],
  details: [
    "  Exit status: 0 good, 1 bad signature, 3 a file or digest is no subject,",
    "  4 incomplete, 5 wrong step or wrong tree, 6 the command failed, 2 wrong usage,",
    "  125 something cannot be read. The first refusal decides.",
  ].join("\n"),
  options: [
    { long: "publickey", short: "k", kind: "string", value: "FILE", help: "public key of the signer, PEM (required)" },
    { long: "artifactfile", short: "f", kind: "strings", value: "FILE", help: "a file that must be a subject or a product" },
    { long: "subjects", short: "s", kind: "strings", value: "DIGEST", help: "a digest that must be one, as sha256:HEX" },
    { long: "step", kind: "string", value: "NAME", help: "the step that it must be a record of" },
    { long: "require-success", kind: "boolean", help: "refuse a record of a command that failed" },
    {
      long: "require-complete",
      kind: "optional-string",
      value: "strict",
      help: "refuse a record in which something may be missing; strict: one with notes too",
    },
    { long: "format", kind: "string", value: "FORMAT", help: "text or json (default text)" },
  ],
  example: "  cilock verify build.attestation.json -k key.pub -f build/app \\\n    --require-success --require-complete",
  async run(parsed, positionals, io) {
    const options = parseOptions(parsed);
    const record = onlyRecord(positionals);
    refuseStdinTwice([record, options.publickey, ...options.artifactfile]);
    const question: Question = {
      publicKey: loadPublicKey(
        readInput(options.publickey, { bytesMax: keyBytesMax, code: "key-unreadable" }),
        inputName(options.publickey),
      ),
      envelope: about(record, () => parseEnvelope(readInput(record, { bytesMax: envelopeBytesMax, code: "input-unreadable" }))),
      artifacts: [
        ...options.artifactfile.map(name => ({ kind: "file" as const, name, sha256: digestInput(name) })),
        ...options.subjects.map(sha256 => ({ kind: "digest" as const, name: sha256, sha256 })),
      ],
      step: options.step,
      requireComplete: options["require-complete"],
      requireSuccess: options["require-success"],
    };
    const report = about(record, () => verifyRecord(question));
    const refusal = refusalOf(report, record);
    const status = refusal?.exitStatus ?? 0;
    if (options.format === "json") await print(io, jsonLine(verifyJson(report, record, status)));
    else await print(io, verifyText(report, record, { colour: io.colour?.("stdout") === true }));
    if (refusal !== undefined) throw refusal;
    return 0;
  },
};

const sha256Digest = z
  .string()
  .regex(/^(?:sha256:)?[0-9a-fA-F]{64}$/, "--subjects takes sha256:HEX, with 64 hexadecimal digits")
  .transform(text => text.replace(/^sha256:/, "").toLowerCase());

const schema = z.object({
  publickey: z.string({ error: "--publickey (-k) is required: the signer's public key" }).min(1, "--publickey is empty"),
  artifactfile: z.array(z.string().min(1, "--artifactfile is empty")).default([]),
  subjects: z.array(sha256Digest).default([]),
  step: z.string().optional(),
  "require-success": z.boolean().default(false),
  "require-complete": z
    .union([z.literal(true), z.enum(["strict", "true", "false"])], { error: "--require-complete takes no value but strict" })
    .default("false")
    .transform((value): Question["requireComplete"] => (value === "strict" ? value : value === "false" ? "no" : "yes")),
  format: z.enum(["text", "json"], { error: "--format is text or json" }).default("text"),
});

function parseOptions(parsed: ParsedOptions): z.infer<typeof schema> {
  const result = schema.safeParse(parsed);
  if (result.success) return result.data;
  throw new ToolError("usage", result.error.issues[0]?.message ?? "wrong flags", {
    hint: "cilock verify --help lists the flags",
  });
}

function onlyRecord(positionals: readonly string[]): string {
  const [record, ...others] = positionals;
  if (record !== undefined && others.length === 0) return record;
  const message = record === undefined ? "no record to verify" : `one record at a time, not also ${others.join(" ")}`;
  const hint = others.includes("strict")
    ? "write --require-complete=strict, with the sign"
    : "cilock verify RECORD -k pub.pem; name artifacts with -f";
  throw new ToolError("usage", message, { hint });
}

/** The first refused check, as the error that the exit status comes from. */
function refusalOf(report: Report, record: string): ToolError | undefined {
  const refused = report.checks.find((check): check is Check & { code: NonNullable<Check["code"]> } => check.code !== undefined);
  return refused && new ToolError(refused.code, `${inputName(record)} is refused: ${refused.name}: ${refused.detail}`);
}
