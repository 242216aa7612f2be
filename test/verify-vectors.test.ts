// Every vector of test/vectors, and what follows from it: a good envelope prints back, a refused key does not leak.
import { describe, expect, test } from "bun:test";
import { parseEnvelope, printEnvelope, sealEnvelope } from "../src/attestation/envelope.ts";
import { describeAlgorithm } from "../src/attestation/key-algorithm.ts";
import { generateKey, loadKey, loadPublicKey } from "../src/attestation/keys.ts";
import { writePem } from "../src/attestation/pem.ts";
import { createSigner } from "../src/attestation/signer.ts";
import { type Question, type Report, verifyRecord } from "../src/attestation/verification.ts";
import { ToolError } from "../src/errors.ts";
import { readVectors, type Vector } from "./vectors.ts";

/** `good`, or the code of the refusal. */
function outcome(verify: () => Report): string {
  try {
    const report = verify();
    return report.verdict === "good"
      ? "good"
      : (report.checks.find(check => check.code !== undefined)?.code ?? "refused without a code");
  } catch (error) {
    if (error instanceof ToolError) return error.code;
    throw error;
  }
}

function question(vector: Vector, bytes: Uint8Array, publicPem: string): Question {
  const artifact = vector.header.get("artifact");
  const required = vector.header.get("require-complete");
  return {
    envelope: parseEnvelope(bytes),
    publicKey: loadPublicKey(Buffer.from(publicPem)),
    artifacts: artifact === undefined ? [] : [{ kind: "digest" as const, name: artifact, sha256: artifact }],
    step: vector.header.get("step"),
    requireComplete: required === "yes" || required === "strict" ? required : "no",
    requireSuccess: false,
  };
}

const rows = (folder: string) => readVectors(folder).map(vector => [vector.name, vector.expect, vector.about, vector] as const);

describe("envelopes", () => {
  test.each(rows("envelopes"))("%s: %s (%s)", (_, expected, __, vector) => {
    const pem = writePem("PUBLIC KEY", Buffer.from(vector.header.get("key") ?? "", "base64"));
    expect(outcome(() => verifyRecord(question(vector, vector.body, pem)))).toBe(expected);
  });

  test.each(rows("envelopes").filter(([name]) => /^(good-|go-cilock|go-witness)/.test(name)))(
    "%s prints back (%s, %s)",
    (_, __, ___, vector) => {
      expect(Buffer.from(printEnvelope(parseEnvelope(vector.body))).toString()).toBe(Buffer.from(vector.body).toString());
    },
  );
});

describe("statements", () => {
  const key = generateKey("ed25519");
  const signer = createSigner(key);
  test.each(rows("statements"))("%s: %s (%s)", (_, expected, __, vector) => {
    const sealed = sealEnvelope(vector.body, "application/vnd.in-toto+json", signer);
    expect(outcome(() => verifyRecord(question(vector, sealed, signer.publicPem)))).toBe(expected);
  });

  test.each(rows("statements"))("%s with a stranger's key: nothing of it is looked at (%s, %s)", (_, __, ___, vector) => {
    const sealed = sealEnvelope(vector.body, "application/vnd.in-toto+json", createSigner(generateKey("ed25519")));
    expect(outcome(() => verifyRecord(question(vector, sealed, signer.publicPem)))).toBe("signature-refused");
  });
});

describe("keys", () => {
  test.each(rows("keys"))("%s: %s (%s)", (_, expected, __, vector) => {
    const passphrase = vector.header.get("passphrase");
    let found: string;
    try {
      const key = loadKey(vector.body, passphrase, "the file");
      const half = key.kind === "public" ? key : key.publicKey;
      found = `${key.kind} ${describeAlgorithm(half.algorithm)} ${half.keyid}`;
    } catch (error) {
      if (!(error instanceof ToolError)) throw error;
      expectNoLeak(error, vector, passphrase);
      found = error.code;
    }
    expect(found).toBe(expected);
  });
});

/** Errors go to terminals and logs of CI: nothing of the file or the passphrase may be in them, nor in what they carry. */
function expectNoLeak(error: ToolError, vector: Vector, passphrase: string | undefined): void {
  const said = `${error.message}\n${error.hint ?? ""}\n${Bun.inspect(error.cause)}`;
  const text = Buffer.from(vector.body).toString("latin1");
  for (const word of text.split(/[\s-]+/).filter(word => word.length >= 12)) expect(said).not.toContain(word.slice(0, 12));
  if (text.startsWith("correct horse")) expect(said).not.toContain("horse");
  if (passphrase) expect(said).not.toContain(passphrase);
}
