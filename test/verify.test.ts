// The commands verify, sign, keygen and keyid as the command line runs them: words in; output, files and exit status out.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildCollection } from "../src/attestation/collection.ts";
import { parseEnvelope, sealEnvelope } from "../src/attestation/envelope.ts";
import type { JsonObject } from "../src/attestation/json.ts";
import { encodeJson } from "../src/attestation/json-writer.ts";
import { generateKey, loadPrivateKey, privatePem } from "../src/attestation/keys.ts";
import { createSigner } from "../src/attestation/signer.ts";
import { leafHash, treeRoot } from "../src/attestation/tree.ts";
import { runCommandLine } from "../src/cli.ts";
import type { CommandIo } from "../src/commands/command.ts";
import { commands } from "../src/commands/index.ts";
import { digestInput } from "../src/commands/input.ts";
import { ToolError } from "../src/errors.ts";

interface Result {
  status: number;
  stdout: string;
  /** Of the refusal; with code and hint. */
  error: string;
}

async function cilock(words: readonly string[], environment: Record<string, string> = {}): Promise<Result> {
  let stdout = "";
  const io: CommandIo = {
    stdout: text => {
      stdout += typeof text === "string" ? text : Buffer.from(text).toString();
    },
    stderr: () => {},
    environment,
  };
  try {
    return {
      status: await runCommandLine(words, commands, io),
      stdout,
      error: "",
    };
  } catch (error) {
    if (!(error instanceof ToolError)) throw error;
    return { status: error.exitStatus, stdout, error: `${error.code}: ${error.message}\n${error.hint ?? ""}` };
  }
}

let directory = "";
const at = (name: string) => join(directory, name);
/** In the tables `@app` is the file app of the directory. */
const inDirectory = (word: string) => (word.startsWith("@") ? at(word.slice(1)) : word);

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "cilock-verify-"));
  const key = generateKey("ed25519");
  const signer = createSigner(key);
  writeFileSync(at("key.pub"), key.publicKey.pem);
  writeFileSync(at("key.pem"), privatePem(key), { mode: 0o600 });
  writeFileSync(at("stranger.pub"), generateKey("p256").publicKey.pem);
  writeFileSync(at("app"), "the program\n");
  writeFileSync(at("twin"), "the program\n");
  writeFileSync(at("lib"), "a library\n");
  writeFileSync(at("other"), "something else\n");
  writeFileSync(at("empty"), "");
  mkdirSync(at("folder"));
  const write = (name: string, statement: JsonObject) =>
    writeFileSync(at(name), sealEnvelope(encodeJson(statement), "application/vnd.in-toto+json", signer));
  const gaps = { gap: { kind: "escaped", severity: "gap", count: 2 }, note: { kind: "io-uring", severity: "note", count: 1 } };
  write("good.json", record("build", { verdict: "complete", gaps: [] }));
  write("notes.json", record("build", { verdict: "complete-with-notes", gaps: [gaps.note] }));
  write("incomplete.json", record("build", { verdict: "incomplete", gaps: [gaps.gap, gaps.note] }));
  writeFileSync(at("policy.json"), sealEnvelope(Buffer.from("any"), "text/plain", signer));
  const untyped = encodeJson(record("build", { verdict: "complete", gaps: [] }));
  writeFileSync(at("untyped.json"), sealEnvelope(untyped, "text/plain", signer));
  write("untraced.json", record("build", undefined));
  const complete = { verdict: "complete", gaps: [] };
  write("failed.json", record("build", complete, { run: { exitcode: 3 } }));
  write("failed-untraced.json", record("build", undefined, { run: { exitcode: 143, interrupted: "SIGTERM" } }));
  write("failed-interned.json", record("build", complete, { run: { exitcode: 1 }, version: "v0.2" }));
  write("interned.json", record("build", complete, { run: {}, version: "v0.2" }));
  write("silent.json", record("build", complete, { run: {} }));
  write("odd.json", record("build", complete, { run: { exitcode: "0" } }));
  write("provenance.json", { ...record("build", complete), predicateType: "https://slsa.dev/provenance/v1" });
  write("hostile.json", record("\u001b[31mbuild\u202e\nok", { verdict: "complete", gaps: [] }));
  write("bad-tree.json", record("build", { verdict: "complete", gaps: [] }, { root: "00".repeat(32) }));
  const good = JSON.parse(readFileSync(at("good.json"), "utf8"));
  const payload = Buffer.from(good.payload, "base64").toString().replace("build", "built");
  writeFileSync(at("changed.json"), JSON.stringify({ ...good, payload: Buffer.from(payload).toString("base64") }));
  writeFileSync(at("garbage.json"), "no record\n");
});

afterAll(() => rmSync(directory, { recursive: true }));

interface RecordParts {
  root?: string;
  /** Over those of the command-run attestation. */
  run?: JsonObject;
  version?: "v0.1" | "v0.2";
}

function record(step: string, completeness: JsonObject | undefined, { root, run, version }: RecordParts = {}): JsonObject {
  const digests = ["app", "lib"].map(name => ({ path: `out/${name}`, fileDigest: digestInput(at(name)) }));
  const leaves = digests.map(leaf => ({ ...leaf, leafHash: leafHash(leaf.fileDigest) }));
  const tree = treeRoot(digests.map(leaf => leaf.fileDigest));
  const times = { startTime: 0n, endTime: 1n };
  return buildCollection({
    step,
    attestations: [
      {
        ...times,
        type: `https://aflock.ai/attestations/command-run/${version ?? "v0.1"}`,
        predicate: { cmd: ["make"], ...(run ?? { exitcode: 0 }), ...(completeness === undefined ? {} : { completeness }) },
        subjects: [],
      },
      {
        ...times,
        type: "https://aflock.ai/attestations/product/v0.3",
        predicate: { merkleRoot: root ?? tree.root, treeSize: tree.size, leaves },
        subjects: [
          { name: "tree:products", digest: { sha256: tree.root } },
          { name: "file:out/app", digest: { sha256: digestInput(at("app")) } },
          { name: "file:twin", digest: { sha256: digestInput(at("app")) } },
        ],
      },
    ],
  }).statement;
}

describe("verify: exit status and code", () => {
  const rows: [string, string[], number, string][] = [
    ["good", ["@good.json", "-k", "@key.pub"], 0, ""],
    [
      "good, and asked everything",
      ["@good.json", "-k", "@key.pub", "-f", "@app", "-f", "@lib", "--step", "build", "--require-complete=strict"],
      0,
      "",
    ],
    ["a product that is only a leaf", ["@good.json", "-k", "@key.pub", "-f", "@lib"], 0, ""],
    ["another key", ["@good.json", "-k", "@stranger.pub"], 1, "signature-refused"],
    ["a changed payload", ["@changed.json", "-k", "@key.pub"], 1, "signature-refused"],
    [
      "a bad signature comes before all else",
      ["@changed.json", "-k", "@key.pub", "-f", "@other", "--step", "x", "--require-complete"],
      1,
      "signature-refused",
    ],
    ["another file", ["@good.json", "-k", "@key.pub", "-f", "@other"], 3, "subject-missing"],
    ["one right file and one wrong", ["@good.json", "-k", "@key.pub", "-f", "@app", "-f", "@other"], 3, "subject-missing"],
    ["an empty file", ["@good.json", "-k", "@key.pub", "-f", "@empty"], 3, "subject-missing"],
    ["a digest that is none of its", ["@good.json", "-k", "@key.pub", "-s", `sha256:${"0".repeat(64)}`], 3, "subject-missing"],
    ["notes", ["@notes.json", "-k", "@key.pub", "--require-complete"], 0, ""],
    ["notes, strictly", ["@notes.json", "-k", "@key.pub", "--require-complete=strict"], 4, "record-incomplete"],
    ["gaps", ["@incomplete.json", "-k", "@key.pub", "--require-complete"], 4, "record-incomplete"],
    ["gaps, and nobody asked", ["@incomplete.json", "-k", "@key.pub"], 0, ""],
    ["untraced", ["@untraced.json", "-k", "@key.pub", "--require-complete"], 4, "record-incomplete"],
    [
      "a missing file before a gap",
      ["@incomplete.json", "-k", "@key.pub", "-f", "@other", "--require-complete"],
      3,
      "subject-missing",
    ],
    ["another step", ["@good.json", "-k", "@key.pub", "--step", "test"], 5, "policy-refused"],
    ["an empty step", ["@good.json", "-k", "@key.pub", "--step", ""], 5, "policy-refused"],
    ["a tree with a wrong root", ["@bad-tree.json", "-k", "@key.pub"], 5, "policy-refused"],
    [
      "a tree with a wrong root, though the file is a subject",
      ["@bad-tree.json", "-k", "@key.pub", "-f", "@app"],
      5,
      "policy-refused",
    ],
    ["a failed command, and nobody asked", ["@failed.json", "-k", "@key.pub", "-f", "@app", "--require-complete=strict"], 0, ""],
    ["a command that succeeded", ["@good.json", "-k", "@key.pub", "--require-success"], 0, ""],
    ["a failed command", ["@failed.json", "-k", "@key.pub", "-f", "@app", "--require-success"], 6, "command-failed"],
    ["a failed command, untraced", ["@failed-untraced.json", "-k", "@key.pub", "--require-success"], 6, "command-failed"],
    ["a failed command, interned", ["@failed-interned.json", "-k", "@key.pub", "--require-success"], 6, "command-failed"],
    ["a command that succeeded, interned", ["@interned.json", "-k", "@key.pub", "--require-success"], 0, ""],
    ["a record without exit status", ["@silent.json", "-k", "@key.pub", "--require-success"], 6, "command-failed"],
    ["an exit status that is no number", ["@odd.json", "-k", "@key.pub", "--require-success"], 6, "command-failed"],
    ["a statement about no command", ["@provenance.json", "-k", "@key.pub", "--require-success"], 6, "command-failed"],
    ["a signed file about no command", ["@policy.json", "-k", "@key.pub", "--require-success"], 6, "command-failed"],
    [
      "a failed command before a gap",
      ["@failed-untraced.json", "-k", "@key.pub", "--require-success", "--require-complete"],
      6,
      "command-failed",
    ],
    ["a signed file that is no statement", ["@policy.json", "-k", "@key.pub"], 0, ""],
    ["a signed file of another key", ["@policy.json", "-k", "@stranger.pub"], 1, "signature-refused"],
    ["a signed file has no subjects", ["@policy.json", "-k", "@key.pub", "-f", "@app"], 3, "subject-missing"],
    ["a signed file has no digests", ["@policy.json", "-k", "@key.pub", "-s", "0".repeat(64)], 3, "subject-missing"],
    ["a signed file has no step", ["@policy.json", "-k", "@key.pub", "--step", "build"], 5, "policy-refused"],
    ["a signed file is not complete", ["@policy.json", "-k", "@key.pub", "--require-complete"], 4, "record-incomplete"],
    ["no record", ["-k", "@key.pub"], 2, "usage"],
    ["two records", ["@good.json", "@notes.json", "-k", "@key.pub"], 2, "usage"],
    ["no key", ["@good.json"], 2, "usage"],
    ["an unknown flag", ["@good.json", "-k", "@key.pub", "--polcy", "x"], 2, "usage"],
    ["a digest that is too short", ["@good.json", "-k", "@key.pub", "-s", "sha256:00"], 2, "usage"],
    ["a digest of another kind", ["@good.json", "-k", "@key.pub", "-s", `sha1:${"0".repeat(40)}`], 2, "usage"],
    ["a word for --require-complete", ["@good.json", "-k", "@key.pub", "--require-complete=mostly"], 2, "usage"],
    ["an unknown format", ["@good.json", "-k", "@key.pub", "--format", "yaml"], 2, "usage"],
    ["no such record", ["@absent.json", "-k", "@key.pub"], 125, "input-unreadable"],
    ["a directory as record", ["@folder", "-k", "@key.pub"], 125, "input-unreadable"],
    ["no such file", ["@good.json", "-k", "@key.pub", "-f", "@absent"], 125, "input-unreadable"],
    ["a directory as file", ["@good.json", "-k", "@key.pub", "-f", "@folder"], 125, "input-unreadable"],
    ["a record that is none", ["@garbage.json", "-k", "@key.pub"], 125, "input-malformed"],
    ["no such key", ["@good.json", "-k", "@absent.pub"], 125, "key-unreadable"],
    ["a key that is none", ["@good.json", "-k", "@app"], 125, "key-unreadable"],
    ["the private key", ["@good.json", "-k", "@key.pem"], 125, "key-unsupported"],
  ];
  test.each(rows)("%s", async (_, words, status, code) => {
    const result = await cilock(["verify", ...words.map(inDirectory)]);
    expect(result.error.split(":")[0] ?? "").toBe(code);
    expect(result.status).toBe(status);
  });
});

describe("verify: what it says", () => {
  const normal = (text: string) => text.replaceAll(directory, "DIR").replace(/[0-9a-f]{64}/g, "HEX");

  test("text: a line for each check, the verdict last", async () => {
    const result = await cilock([
      "verify",
      at("notes.json"),
      "-k",
      at("key.pub"),
      "-f",
      at("app"),
      "-f",
      at("lib"),
      "--step",
      "build",
      "--require-complete",
    ]);
    expect(normal(result.stdout)).toBe(
      [
        "ok       signature     Ed25519 HEX",
        "ok       step          build",
        "ok       tree          product tree of 2 files",
        "ok       artifact      DIR/app (sha256:HEX) is the subject https://aflock.ai/attestations/product/v0.3/file:out/app",
        "ok       artifact      DIR/lib (sha256:HEX) is the product out/lib",
        "-        command       exit status 0",
        "ok       completeness  complete-with-notes: note io-uring (1)",
        "good     DIR/notes.json",
        "",
      ].join("\n"),
    );
  });

  test("text: a refusal is on stdout in its place, and is the error", async () => {
    const result = await cilock(["verify", at("incomplete.json"), "-k", at("key.pub"), "-f", at("other"), "--require-complete"]);
    expect(normal(result.stdout)).toBe(
      [
        "ok       signature     Ed25519 HEX",
        "-        step          build",
        "ok       tree          product tree of 2 files",
        "REFUSED  artifact      DIR/other (sha256:HEX) is no subject and no product of this record",
        "-        command       exit status 0",
        "REFUSED  completeness  incomplete: gap escaped (2), note io-uring (1)",
        "refused  DIR/incomplete.json",
        "",
      ].join("\n"),
    );
    expect(normal(result.error)).toContain("DIR/incomplete.json is refused: artifact: DIR/other");
  });

  test("json: one object on one line, also when it is refused", async () => {
    const result = await cilock(["verify", at("incomplete.json"), "-k", at("key.pub"), "--require-complete", "--format", "json"]);
    expect(result.stdout.endsWith("}\n")).toBe(true);
    expect(JSON.parse(normal(result.stdout))).toEqual({
      verdict: "refused",
      exitStatus: 4,
      record: "DIR/incomplete.json",
      payloadType: "application/vnd.in-toto+json",
      signer: { keyid: "HEX", algorithm: "Ed25519" },
      predicateType: "https://aflock.ai/attestation-collection/v0.1",
      step: "build",
      subjects: 3,
      command: { exitcode: 0 },
      completeness: {
        verdict: "incomplete",
        gaps: [
          { kind: "escaped", severity: "gap", count: 2, detail: "" },
          { kind: "io-uring", severity: "note", count: 1, detail: "" },
        ],
      },
      checks: [
        { check: "signature", status: "passed", detail: "Ed25519 HEX" },
        { check: "step", status: "noted", detail: "build" },
        { check: "tree", status: "passed", detail: "product tree of 2 files" },
        { check: "command", status: "noted", detail: "exit status 0" },
        { check: "completeness", status: "refused", detail: "incomplete: gap escaped (2), note io-uring (1)" },
      ],
    });
  });

  test.each([
    ["failed.json", "warn     command       exit status 3"],
    [
      "failed-untraced.json",
      "warn     command       exit status 143 (what a death by SIGTERM is recorded as), after cilock was sent SIGTERM",
    ],
    ["silent.json", "warn     command       exit status not recorded"],
  ])("text: that the command failed: %s", async (name, line) => {
    const result = await cilock(["verify", at(name), "-k", at("key.pub")]);
    expect(result.stdout.split("\n")).toContain(line);
    expect(result.stdout).toContain("\ngood ");
  });

  test("json: that the command failed", async () => {
    const { command, checks } = JSON.parse(
      (await cilock(["verify", at("failed-untraced.json"), "-k", at("key.pub"), "--format", "json"])).stdout,
    );
    expect(command).toEqual({ exitcode: 143, interrupted: "SIGTERM" });
    expect(checks.find((entry: { check: string }) => entry.check === "command").status).toBe("warned");
  });

  test("text: of a signed file that is no statement only who signed it", async () => {
    const result = await cilock(["verify", at("policy.json"), "-k", at("key.pub")]);
    expect(normal(result.stdout)).toBe(
      [
        "ok       signature     Ed25519 HEX",
        "-        payload       payload type text/plain is not an in-toto statement",
        "good     DIR/policy.json",
        "",
      ].join("\n"),
    );
  });

  test("text: a record under another payload type", async () => {
    const result = await cilock(["verify", at("untyped.json"), "-k", at("key.pub"), "-f", at("app"), "--step", "build"]);
    expect(normal(result.stdout).split("\n").slice(0, 3)).toEqual([
      "ok       signature     Ed25519 HEX",
      '-        payload       payload type "text/plain", read as the in-toto statement that it is',
      "ok       step          build",
    ]);
    expect(result.status).toBe(0);
  });

  test("of equal subjects the one that is called like the file", async () => {
    const result = await cilock(["verify", at("good.json"), "-k", at("key.pub"), "-f", at("twin")]);
    expect(result.stdout).toContain("product/v0.3/file:twin\n");
    expect((await cilock(["verify", at("good.json"), "-k", at("key.pub"), "-f", at("app")])).stdout).toContain("file:out/app\n");
  });

  test("a record cannot speak to the terminal", async () => {
    const result = await cilock(["verify", at("hostile.json"), "-k", at("key.pub")]);
    expect(result.status).toBe(0);
    expect(result.stdout).not.toContain("\u001b");
    expect(result.stdout).not.toContain("\u202e");
    expect(result.stdout.split("\n").filter(line => line.startsWith("ok"))).toHaveLength(2);
  });

  test("json: nor with a payload type that nobody has signed", async () => {
    const evil = "\u009b31m\u202e\u2028\u2069\u{e0001}\u007fä";
    const envelope = { ...JSON.parse(readFileSync(at("good.json"), "utf8")), payloadType: evil };
    writeFileSync(at("evil.json"), JSON.stringify(envelope));
    const { stdout } = await cilock(["verify", at("evil.json"), "-k", at("key.pub"), "--format", "json"]);
    expect(stdout.replace(/ä/, "")).toMatch(/^[\x20-\x7e]*\n$/);
    expect(JSON.parse(stdout).payloadType).toBe(evil);
  });

  test("a bad signature: nothing of the payload is reported", async () => {
    const result = await cilock(["verify", at("good.json"), "-k", at("stranger.pub"), "--format", "json"]);
    expect(Object.keys(JSON.parse(result.stdout))).toEqual([
      "verdict",
      "exitStatus",
      "record",
      "payloadType",
      "signer",
      "checks",
    ]);
  });
});

describe("keygen", () => {
  test.each([
    ["ed25519", "Ed25519"],
    ["p256", "ECDSA P-256"],
    ["p384", "ECDSA P-384"],
    ["p521", "ECDSA P-521"],
    ["rsa", "RSA 3072"],
  ])("%s: a private key for its owner alone, the public half beside it", async (type, algorithm) => {
    const result = await cilock(["keygen", "--type", type, "-o", at(`new-${type}.pem`)]);
    expect(result.error).toBe("");
    expect(statSync(at(`new-${type}.pem`)).mode & 0o777).toBe(0o600);
    const listed = await cilock(["keyid", at(`new-${type}.pem`), at(`new-${type}.pub`), "--format", "json"]);
    const [id] = result.stdout.split("  ");
    expect(JSON.parse(listed.stdout)).toEqual([
      { keyid: id, file: at(`new-${type}.pem`), algorithm },
      { keyid: id, file: at(`new-${type}.pub`), algorithm },
    ]);
  });

  const rows: [string, string[], number, string][] = [
    ["an existing key", ["-o", "@key.pem"], 125, "outfile-unwritable"],
    ["an existing public half", ["-o", "@stranger.pem"], 125, "outfile-unwritable"],
    ["a link that leads nowhere", ["-o", "@dangling.pem"], 125, "outfile-unwritable"],
    ["no such directory", ["-o", "@absent/key.pem"], 125, "outfile-unwritable"],
    ["stdout", ["-o", "-"], 2, "usage"],
    ["the name of a public half", ["-o", "@x.pub"], 2, "usage"],
    ["an unknown type", ["--type", "dsa", "-o", "@x.pem"], 2, "usage"],
    ["a word too many", ["-o", "@x.pem", "more"], 2, "usage"],
  ];
  test.each(rows)("refuses %s, and writes nothing", async (_, words, status, code) => {
    symlinkSync("nowhere", at("dangling.pem"));
    const before = readdirSync(directory).sort();
    const keyBefore = readFileSync(at("key.pem"), "utf8");
    const result = await cilock(["keygen", ...words.map(inDirectory)]);
    rmSync(at("dangling.pem"));
    expect(result.error.split(":")[0] ?? "").toBe(code);
    expect(result.status).toBe(status);
    expect(readdirSync(directory).sort()).toEqual(before.filter(name => name !== "dangling.pem"));
    expect(readFileSync(at("key.pem"), "utf8")).toBe(keyBefore);
  });
});

describe("keyid", () => {
  test("text: as sha256sum prints, for either half", async () => {
    const { publicKey } = loadPrivateKey(readFileSync(at("key.pem")));
    const result = await cilock(["keyid", at("key.pem"), at("key.pub")]);
    expect(result.stdout).toBe(`${publicKey.keyid}  ${at("key.pem")}\n${publicKey.keyid}  ${at("key.pub")}\n`);
  });

  test("an encrypted key with its passphrase in the environment", async () => {
    const key = generateKey("p256");
    writeFileSync(
      at("locked.pem"),
      key.key.export({ type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase: "hunter22" }),
    );
    expect((await cilock(["keyid", at("locked.pem")])).error).toStartWith("key-passphrase");
    const result = await cilock(["keyid", at("locked.pem")], { WITNESS_KEY_PASSPHRASE: "hunter22" });
    expect(result.stdout).toStartWith(key.publicKey.keyid);
  });

  test.each([
    ["no file", [], 2],
    ["no such file", ["absent"], 125],
    ["a file that is no key", ["app"], 125],
  ] as const)("refuses %s", async (_, files, status) => {
    const result = await cilock(["keyid", ...files.map(at)]);
    expect(result.status).toBe(status);
    expect(result.stdout).toBe("");
  });
});

describe("sign", () => {
  test("any file, with a newline behind the envelope", async () => {
    const result = await cilock(["sign", "-f", at("app"), "-o", at("signed.json"), "-k", at("key.pem"), "-t", "text/plain"]);
    expect(result.error).toBe("");
    const bytes = readFileSync(at("signed.json"));
    const { publicKey } = loadPrivateKey(readFileSync(at("key.pem")));
    const envelope = parseEnvelope(bytes);
    expect(Buffer.from(envelope.payload).toString()).toBe("the program\n");
    expect(envelope.payloadType).toBe("text/plain");
    expect(
      bytes.equals(
        Buffer.concat([
          sealEnvelope(envelope.payload, "text/plain", createSigner(loadPrivateKey(readFileSync(at("key.pem"))))),
          Buffer.from("\n"),
        ]),
      ),
    ).toBe(true);
    expect(envelope.signatures[0]?.keyid).toBe(publicKey.keyid);
    expect(readdirSync(directory).filter(name => name.includes(".tmp"))).toEqual([]);
  });

  test("a policy by default, to stdout with -", async () => {
    const result = await cilock(["sign", "-f", at("app"), "-o", "-", "-k", at("key.pem")]);
    expect(JSON.parse(result.stdout).payloadType).toBe("https://witness.testifysec.com/policy/v0.1");
  });

  test("what was there is replaced as a whole", async () => {
    writeFileSync(at("old.json"), "x".repeat(10_000));
    chmodSync(at("old.json"), 0o644);
    await cilock(["sign", "-f", at("app"), "-o", at("old.json"), "-k", at("key.pem")]);
    expect(parseEnvelope(readFileSync(at("old.json"))).signatures).toHaveLength(1);
  });

  const rows: [string, string[], number, string][] = [
    ["no file", ["-o", "@x.json", "-k", "@key.pem"], 2, "usage"],
    ["no outfile", ["-f", "@app", "-k", "@key.pem"], 2, "usage"],
    ["no key", ["-f", "@app", "-o", "@x.json"], 2, "usage"],
    ["a word too many", ["-f", "@app", "-o", "@x.json", "-k", "@key.pem", "more"], 2, "usage"],
    ["no such file", ["-f", "@absent", "-o", "@x.json", "-k", "@key.pem"], 125, "input-unreadable"],
    ["the public half", ["-f", "@app", "-o", "@x.json", "-k", "@key.pub"], 125, "key-unsupported"],
    ["a directory as outfile", ["-f", "@app", "-o", "@folder", "-k", "@key.pem"], 125, "outfile-unwritable"],
    ["to write over what is signed", ["-f", "@app", "-o", "@app", "-k", "@key.pem"], 2, "usage"],
    ["an outfile in no directory", ["-f", "@app", "-o", "@absent/x.json", "-k", "@key.pem"], 125, "outfile-unwritable"],
  ];
  test.each(rows)("refuses %s, and writes nothing", async (_, words, status, code) => {
    const result = await cilock(["sign", ...words.map(inDirectory)]);
    expect(result.error.split(":")[0] ?? "").toBe(code);
    expect(result.status).toBe(status);
    expect(existsSync(at("x.json"))).toBe(false);
  });
});
