// `cilock sign -f in -o out -k key`: any file as the payload of a signed envelope, a policy for example.
import { z } from "zod";
import { sealEnvelope } from "../attestation/envelope.ts";
import { createSigner } from "../attestation/signer.ts";
import { ToolError } from "../errors.ts";
import type { Command } from "./command.ts";
import { readInput } from "./input.ts";
import { checkOutfile, refuseInputs, writeOutfile } from "./outfile.ts";
import { passphraseOptions } from "./passphrase-options.ts";
import { checkKey } from "./signing-key.ts";

/** What the existing verifiers expect of a policy (wire-formats 6.4). */
const defaultDatatype = "https://witness.testifysec.com/policy/v0.1";

/** With base64 and the envelope's own fields this stays below what `verify` reads. */
const payloadBytesMax = 700 << 20;

export const signCommand: Command = {
  name: "sign",
  usage: ["sign -f FILE -o FILE -k key.pem [-t TYPE]"],
  options: [
    { long: "infile", short: "f", kind: "string", value: "FILE", help: "what to sign, - for stdin (required)" },
    { long: "outfile", short: "o", kind: "string", value: "FILE", help: "where the envelope goes, - for stdout (required)" },
    { long: "datatype", short: "t", kind: "string", value: "TYPE", help: `payload type (default ${defaultDatatype})` },
    { long: "signer-file-key-path", short: "k", kind: "string", value: "FILE", help: "private key, PEM (required)" },
    ...passphraseOptions("the key"),
  ],
  example: "  cilock sign -f policy.json -o policy.signed.json -k key.pem",
  async run(parsed, positionals, io) {
    if (positionals.length > 0) throw usage(`unexpected ${positionals.join(" ")}; name the file with -f`);
    const result = schema.safeParse(parsed);
    if (!result.success) throw usage(result.error.issues[0]?.message ?? "wrong flags");
    const options = result.data;
    const outfile = checkOutfile(options.outfile);
    refuseInputs(
      outfile,
      options.outfile,
      (["infile", "signer-file-key-path", "signer-file-key-passphrase-path"] as const).map(flag => ({
        flag,
        path: options[flag],
      })),
    );
    const payload = readInput(options.infile, { bytesMax: payloadBytesMax, code: "input-unreadable" });
    // More likely the end of a pipe whose beginning has failed than something to sign.
    if (options.infile === "-" && payload.length === 0) {
      throw new ToolError("input-unreadable", "nothing came from stdin", { hint: "an empty file can be signed by its name" });
    }
    const key = await checkKey({
      path: options["signer-file-key-path"],
      passphrase: options["signer-file-key-passphrase"],
      passphrasePath: options["signer-file-key-passphrase-path"],
      environment: io.environment,
    });
    const envelope = sealEnvelope(payload, options.datatype, createSigner(await key.read()));
    // The existing tool ends this one with a newline, and its records without.
    const line = Buffer.concat([envelope, Buffer.from("\n")]);
    if (outfile.kind === "stdout") await io.stdout(line);
    else writeOutfile(outfile, line);
    return 0;
  },
};

const schema = z.object({
  infile: z.string({ error: "--infile (-f) is required" }).min(1, "--infile is empty"),
  outfile: z.string({ error: "--outfile (-o) is required" }).min(1, "--outfile is empty"),
  datatype: z
    .string()
    .refine(text => text.isWellFormed(), "--datatype is not text")
    .default(defaultDatatype),
  "signer-file-key-path": z
    .string({ error: "--signer-file-key-path (-k) is required" })
    .min(1, "--signer-file-key-path is empty"),
  "signer-file-key-passphrase": z.string().optional(),
  "signer-file-key-passphrase-path": z.string().min(1, "--signer-file-key-passphrase-path is empty").optional(),
});

function usage(message: string): ToolError {
  return new ToolError("usage", message, { hint: "cilock sign --help lists the flags" });
}
