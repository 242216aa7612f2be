// What the Go tools said about the cases of ../shared/fixtures, where that folder lies beside the checkout. They were
// asked with a policy, which is not read here: its keys stand for the functionaries, and cases in which the policy alone
// decides are left out by name. A good handful of the cases is in test/vectors for those who have no such folder.
import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { parseEnvelope, printEnvelope } from "../src/attestation/envelope.ts";
import { loadPublicKey, type PublicKey } from "../src/attestation/keys.ts";
import { type Question, verifyRecord } from "../src/attestation/verification.ts";
import { digestInput } from "../src/commands/input.ts";
import { ToolError } from "../src/errors.ts";

const fixtures = join(import.meta.dir, "../../shared/fixtures");
const cases = join(fixtures, "verify");

const caseSchema = z.object({ cilock: z.enum(["accept", "refuse"]), args: z.array(z.string()) });
const policySchema = z.object({ publickeys: z.record(z.string(), z.object({ key: z.string() })) });

/** Area to names (without the number) that only a policy decides. */
const decidedByPolicy: Readonly<Record<string, RegExp>> = {
  keys: /policy|pem-(der|two-blocks)/,
  keyid: /policy|functionary/,
  signatures: /functionaries|threshold|strangers|policy|certificate/,
  envelope: /one-good|twice/,
  payload: /null|duplicate-exitcode|exitcode/,
  // Asked with -s the Go tools want one of several digests, we want all; 190 is a tree of one leaf without its leaves.
  statement: /asked|one-leaf/,
  // 279: accepted for the policy's other evidence, though the file matched nothing. 316: a material is an input; we ask for products.
  trees: /leafless|artifact-in-materials/,
};

describe.if(existsSync(cases))("the Go tools' verdicts", () => {
  const names = existsSync(cases) ? readdirSync(cases).sort() : [];
  const rows = names.flatMap(name => {
    const [, area, rest] = /^[0-9]+-([a-z]+)-(.*)$/.exec(name) ?? [];
    const left = area === undefined ? undefined : decidedByPolicy[area];
    return left === undefined || left.test(rest ?? "") ? [] : [name];
  });

  test("there are cases", () => {
    expect(rows.length).toBeGreaterThan(80);
  });

  test.each(rows)("%s", name => {
    const directory = join(cases, name);
    const { cilock, args } = caseSchema.parse(JSON.parse(readFileSync(join(directory, "expect.json"), "utf8")));
    expect(verdict(directory, args)).toBe(cilock);
  });
});

describe.if(existsSync(fixtures))("records of the Go tools", () => {
  const records = existsSync(fixtures) ? readdirSync(join(fixtures, "records")).filter(file => file.endsWith(".json")) : [];
  test.each(records)("%s is good and prints back", file => {
    const bytes = readFileSync(join(fixtures, "records", file));
    const envelope = parseEnvelope(bytes);
    const publicKey = loadPublicKey(readFileSync(join(fixtures, "records/signer.pub")));
    expect(
      verifyRecord({ envelope, publicKey, artifacts: [], step: "build", requireComplete: "no", requireSuccess: false }).verdict,
    ).toBe("good");
    expect(Buffer.compare(printEnvelope(envelope), bytes)).toBe(0);
  });
});

/** Accepted when one of the policy's keys accepts one of the records, artifacts and step included. */
function verdict(directory: string, args: readonly string[]): "accept" | "refuse" {
  const policy = policySchema.parse(
    JSON.parse(Buffer.from(parseEnvelope(readFileSync(join(directory, "policy.json"))).payload).toString()),
  );
  const keys = Object.values(policy.publickeys).map(({ key }) => loadPublicKey(Buffer.from(key, "base64")));
  const files = valuesOf(args, "-f");
  if (!files.every(file => existsSync(join(directory, file)))) return "refuse";
  const artifacts = files.map(name => ({ kind: "file" as const, name, sha256: digestInput(join(directory, name)) }));
  const records = valuesOf(args, "-a").map(file => readFileSync(join(directory, file)));
  return records.some(record => keys.some(key => accepts(record, key, artifacts))) ? "accept" : "refuse";
}

function accepts(record: Uint8Array, publicKey: PublicKey, artifacts: Question["artifacts"]): boolean {
  try {
    const envelope = parseEnvelope(record);
    return (
      verifyRecord({ envelope, publicKey, artifacts, step: "build", requireComplete: "no", requireSuccess: false }).verdict ===
      "good"
    );
  } catch (error) {
    if (error instanceof ToolError) return false;
    throw error;
  }
}

function valuesOf(args: readonly string[], flag: string): string[] {
  return args.flatMap((arg, index) => (args[index - 1] === flag ? [arg] : []));
}
