// `cilock show`: words in; text or JSON out. The record is made here, so that every line of the text is known.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildCollection } from "../src/attestation/collection.ts";
import { sealEnvelope } from "../src/attestation/envelope.ts";
import type { JsonObject } from "../src/attestation/json.ts";
import { encodeJson } from "../src/attestation/json-writer.ts";
import { generateKey } from "../src/attestation/keys.ts";
import { createSigner } from "../src/attestation/signer.ts";
import { runCommandLine } from "../src/cli.ts";
import type { CommandIo } from "../src/commands/command.ts";
import { commands } from "../src/commands/index.ts";
import { ToolError } from "../src/errors.ts";

let directory = "";
const at = (name: string): string => join(directory, name);
let keyid = "";

const digest = (letter: string) => ({ sha256: letter.repeat(64) });
const run: JsonObject = {
  cmd: ["make", "a b"],
  exitcode: 2,
  summary: {
    durationNs: 1_234_567_890,
    undeclaredInputs: { total: 9, git: 2, lockfile: 1, system: 1, nobody: 4, differs: 1 },
    network: [
      { direction: "out", host: "example.test", family: "AF_INET", address: "192.0.2.1", port: 443, result: 0 },
      {
        direction: "out",
        family: "AF_UNIX",
        address: "/run/x",
        result: 0,
        peer: { service: "docker", processid: 7, program: "/bin/d" },
      },
    ],
    networkUnlisted: 2,
    hermetic: false,
  },
  processes: [
    {
      processid: 10,
      parentpid: 1,
      program: "/usr/bin/make",
      cmdline: "make a b",
      openedfiles: { "/p/Makefile": digest("a"), "/p": {} },
      exitcode: 2,
    },
    {
      processid: 11,
      parentpid: 10,
      program: "/bin/sh",
      cmdline: "sh -c x",
      openedfiles: { "/p/out": digest("b"), "/p/out2": digest("d") },
      writtenDigests: { "/p/out": digest("c"), "/p/out2": digest("d") },
      fileOps: {
        writes: [
          { path: "/p/out", bytes: 1 },
          { path: "/p/unreadable", bytes: 5 },
        ],
      },
    },
    { processid: 12, parentpid: 11, program: "/bin/x", exitsignal: "SIGKILL" },
    { processid: 13, parentpid: 10, cmdline: "late" },
    { processid: 11, parentpid: 10, cmdline: "an id that came again" },
    { processid: 14, parentpid: 11, program: "/proc/self/exe", argv: ["cat", "x"], cmdline: "its child" },
  ],
  completeness: {
    verdict: "incomplete",
    gaps: [{ kind: "x", severity: "gap", count: 2, processids: [14], detail: "something" }],
  },
  undeclared: {
    packages: [
      { kind: "git", by: "git", source: "/p/.git/index", package: "/p", match: "digest", files: 2 },
      { kind: "lockfile", by: "npm", source: "/p/package-lock.json", package: "a", version: "1.0.0", match: "owner", files: 1 },
    ],
    files: [
      { path: "/etc/ld.so.cache", kind: "nobody" },
      { path: "/etc/ld.so.cache", kind: "nobody" },
      { path: "/p/swapped.c", kind: "differs", by: "git", source: "/p/.git/index", package: "/p" },
      { path: "/usr/local/go/src/a.go", kind: "nobody" },
      { path: "/usr/local/go/pkg/b", kind: "nobody" },
      {
        path: "/p/node_modules/e/x.js",
        kind: "nobody",
        by: "npm",
        package: "e",
        version: "2.0.0",
        note: "no lock file names it",
      },
    ],
    unlistedFiles: 3,
    notes: ["a database is not read"],
  },
};

/** The same in v0.2, as far as it is shown. */
const { processes: _plain, ...rest } = run;
const interned: JsonObject = {
  ...rest,
  digests: ["a", "b", "c", "d"].map(letter => ({ digests: digest(letter) })),
  paths: ["/usr/bin/make", "/p/Makefile", "/p", "/bin/sh", "/p/out", "/bin/x", "/p/out2", "/proc/self/exe"],
  argvs: [["cat", "x"]],
  comms: [],
  cmdlines: ["make a b", "sh -c x", "late", "an id that came again", "its child"],
  processes: [
    { processid: 10, parentpid: 1, execPathId: 0, cmdlineId: 0, openedFiles: files([1, 0], [2, -1]), exitcode: 2 },
    {
      processid: 11,
      parentpid: 10,
      execPathId: 3,
      cmdlineId: 1,
      openedFiles: files([4, 1], [6, 3]),
      writtenFiles: files([4, 2], [6, 3]),
      fileOps: {
        writes: [
          { path: "/p/out", bytes: 1 },
          { path: "/p/unreadable", bytes: 5 },
        ],
      },
    },
    { processid: 12, parentpid: 11, execPathId: 5, cmdlineId: -1, exitsignal: "SIGKILL" },
    { processid: 13, parentpid: 10, execPathId: -1, cmdlineId: 2 },
    { processid: 11, parentpid: 10, execPathId: 99, cmdlineId: 3 },
    { processid: 14, parentpid: 11, execPathId: 7, argvId: 0, cmdlineId: 4 },
  ],
};

function files(...list: [pathId: number, digestId: number][]): JsonObject[] {
  return list.map(([pathId, digestId]) => ({ pathId, digestId }));
}

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "cilock-show-"));
  const key = generateKey("ed25519");
  const signer = createSigner(key);
  keyid = signer.keyid;
  writeFileSync(at("key.pub"), key.publicKey.pem);
  writeFileSync(at("stranger.pub"), generateKey("ed25519").publicKey.pem);
  const write = (name: string, predicate: JsonObject, type = "https://aflock.ai/attestations/command-run/v0.1") => {
    const part = { type, predicate, subjects: [{ name: "file:x", digest: digest("e") }], startTime: 0n, endTime: 1n };
    const { statement } = buildCollection({ step: "build", attestations: [part] });
    writeFileSync(at(name), sealEnvelope(encodeJson(statement), "application/vnd.in-toto+json", signer));
  };
  write("record.json", run);
  const { processes: _, completeness: __, undeclared: ___, ...untraced } = run;
  write("untraced.json", untraced);
  write("odd.json", {
    cmd: 7,
    exitcode: "x",
    summary: [],
    processes: [null, { openedfiles: [] }],
    undeclared: { files: {}, packages: [1] },
  });
  write("hostile.json", {
    cmd: ["\u001b[31m", "x".repeat(1000)],
    exitcode: 0,
    summary: {},
    processes: [{ cmdline: "a\nb\u202e" }],
  });
  write("interned.json", interned, "https://aflock.ai/attestations/command-run/v0.2");
  write(
    "interned-untraced.json",
    { processes: [], paths: null, digests: null },
    "https://aflock.ai/attestations/command-run/v0.2",
  );
  write("later.json", {}, "https://aflock.ai/attestations/command-run/v0.3");
  writeArtifacts();
  const provenance = encodeJson({ predicateType: "https://slsa.dev/provenance/v1", predicate: {} });
  writeFileSync(at("provenance.json"), sealEnvelope(provenance, "application/vnd.in-toto+json", signer));
  writeFileSync(at("untyped.json"), sealEnvelope(provenance, "text/plain", signer));
  writeFileSync(at("policy.json"), sealEnvelope(Buffer.from("no\u001b[31m."), "https://example.org/policy/v1", signer));
  writeFileSync(at("no-statement.json"), sealEnvelope(Buffer.from("{}"), "application/vnd.in-toto+json", signer));
  write("other.json", {}, "https://example.org/other/v1");
  writeFileSync(at("broken.json"), "{}");

  /** Trees of v0.3, and what came before them. */
  function writeArtifacts(): void {
    const leaf = (path: string, letter: string) => ({ path, fileDigest: letter.repeat(64), leafHash: "" });
    const part = (type: string, predicate: JsonObject, subjects: { name: string; digest: Record<string, string> }[] = []) => ({
      ...{ type: `https://aflock.ai/attestations/${type}`, predicate, subjects, startTime: 0n, endTime: 1n },
    });
    const product = {
      merkleRoot: "f".repeat(64),
      treeSize: 2,
      leaves: [leaf("out", "b"), { ...leaf("cache", "c"), cache: true }],
    };
    const records = {
      "artifacts.json": [
        part("material/v0.3", { merkleRoot: "0", treeSize: 1, leaves: [leaf("a b.c", "a")] }),
        part("product/v0.3", product, [{ name: "file:out", digest: { sha256: "b".repeat(64), sha1: "b".repeat(40) } }]),
      ],
      "no-leaves.json": [
        part("material/v0.3", { merkleRoot: "0", treeSize: 3 }),
        part("product/v0.3", { merkleRoot: "0", treeSize: 0 }),
      ],
      "earlier.json": [
        part("material/v0.1", { "m.c": digest("a") }),
        part("product/v0.1", { out: { mime_type: "x", digest: digest("b") }, odd: 7 }),
      ],
    };
    for (const [name, attestations] of Object.entries(records)) {
      const { statement } = buildCollection({ step: "build", attestations });
      writeFileSync(at(name), sealEnvelope(encodeJson(statement), "application/vnd.in-toto+json", signer));
    }
  }
});
afterAll(() => rmSync(directory, { recursive: true }));

async function show(...words: string[]): Promise<{ status: number; text: string; error: string }> {
  let text = "";
  const io: CommandIo = {
    stdout: part => {
      text += typeof part === "string" ? part : Buffer.from(part).toString();
    },
    stderr: () => {},
    environment: {},
  };
  try {
    const named = words.map(word => (/\.(json|pub)$/.test(word) ? at(word) : word));
    return { status: await runCommandLine(["show", ...named], commands, io), text, error: "" };
  } catch (error) {
    if (!(error instanceof ToolError)) throw error;
    return { status: error.exitStatus, text, error: error.code };
  }
}

const overview = (signature: string) => `${at("record.json")}
  signature     ${signature}
  step          build
  subjects      1
  attestations  https://aflock.ai/attestations/command-run/v0.1
  started       1970-01-01T00:00:00.000000000Z
  command       make 'a b'
  exit status   2
  time          1.23 s
  processes     6
  files         4 opened, 3 written
  network       4: 192.0.2.1:443 (example.test), unix:/run/x and 2 more
  outside       docker at unix:/run/x (/bin/d, process 7)
  hermetic      no: it sent to addresses beyond loopback; somebody outside of the build took part
  inputs        9: 2 git, 1 lock files, 1 system packages, 4 nobody vouches for, 1 differs from what is declared
  trace         incomplete
                gap: something (2 times), by cat (/proc/self/exe)
`;
const unchecked = "not checked (-k KEY checks it): nothing below is certain";

test("an overview, and that nobody has checked the signature", async () => {
  expect((await show("record.json")).text).toBe(overview(unchecked));
});

test("with the key of its signer", async () => {
  expect((await show("record.json", "-k", "key.pub")).text).toBe(overview(`good, by ${keyid}`));
});

test("the processes as a tree", async () => {
  const { text } = await show("record.json", "--processes");
  expect(text).toBe(`${overview(unchecked)}
processes
  10 /usr/bin/make a b  exit 2
    11 /bin/sh -c x
      12 /bin/x  SIGKILL
    13 late
    11 an id that came again
      14 [/proc/self/exe] its child
`);
});

test("the files, with what was left of those that were written", async () => {
  const { text } = await show("record.json", "--files");
  expect(text).toBe(`${overview(unchecked)}
files
  r  ${"-".repeat(64)}  /p
  r  ${"a".repeat(64)}  /p/Makefile
  rw ${"c".repeat(64)}  /p/out
  w  ${"d".repeat(64)}  /p/out2
  w  ${"-".repeat(64)}  /p/unreadable
`);
});

describe("materials, products and subjects", () => {
  const [a, b, c, e, none] = ["a", "b", "c", "e", "-"].map(letter => letter.repeat(64));
  const rows: [record: string, text: string][] = [
    [
      "artifacts.json",
      `materials\n  ${a}  a b.c\n\nproducts\n  ${c}  cache  (cache)\n  ${b}  out\n\nsubjects\n` +
        ["sha256", "sha1"]
          .map(
            name => `  ${name}:${"b".repeat(name === "sha1" ? 40 : 64)}  https://aflock.ai/attestations/product/v0.3/file:out\n`,
          )
          .join(""),
    ],
    ["no-leaves.json", "materials\n  the record has no such list\n\nproducts\n  none\n\nsubjects\n  none\n"],
    ["earlier.json", `materials\n  ${a}  m.c\n\nproducts\n  ${none}  odd\n  ${b}  out\n\nsubjects\n  none\n`],
    [
      "other.json",
      "materials\n  the record has no such list\n\nproducts\n  the record has no such list\n\n" +
        `subjects\n  sha256:${e}  https://example.org/other/v1/file:x\n`,
    ],
  ];
  for (const [record, text] of rows) {
    test(record, async () => {
      const shown = (await show(record, "--artifacts")).text;
      expect(shown.slice(shown.indexOf("\n\n") + 2)).toBe(text);
    });
  }

  test("as JSON", async () => {
    const { artifacts, subjects } = JSON.parse((await show("artifacts.json", "--artifacts", "--json")).text);
    expect(artifacts).toEqual({
      materials: [{ path: "a b.c", sha256: a }],
      products: [
        { path: "cache", sha256: c, cache: true },
        { path: "out", sha256: b },
      ],
      subjects: [{ name: "https://aflock.ai/attestations/product/v0.3/file:out", digest: { sha256: b, sha1: "b".repeat(40) } }],
    });
    expect(subjects).toBe(1);
    expect(JSON.parse((await show("artifacts.json", "--json")).text).artifacts).toBeUndefined();
  });
});

test("the undeclared inputs, by package or place", async () => {
  const { text } = await show("record.json", "--undeclared");
  expect(text).toBe(`${overview(unchecked)}
undeclared inputs
  other content than declared
    git /p (1)
      /p/swapped.c
  nobody vouches for
    /etc (2)
      /etc/ld.so.cache (2 contents)
    /usr/local/go (2)
      /usr/local/go/src/a.go
      /usr/local/go/pkg/b
    npm e 2.0.0: no lock file names it (1)
      /p/node_modules/e/x.js
  and 3 files that the record does not list

  vouched for
    git /p: 2 files
    npm a 1.0.0: 1 file (the package owns them; their content was not compared)
  note: a database is not read
`);
});

test("a record in the interned form shows the same", async () => {
  for (const words of [
    ["--processes", "--files", "--undeclared"],
    ["--json", "--processes", "--files", "--undeclared"],
  ]) {
    const [plain, short] = [await show("record.json", ...words), await show("interned.json", ...words)];
    const same = short.text.replaceAll("interned.json", "record.json").replaceAll("command-run/v0.2", "command-run/v0.1");
    expect(same).toBe(plain.text);
  }
  expect((await show("interned-untraced.json", "--processes")).text).toContain("the record is of a run without --trace");
});

test("the same as JSON", async () => {
  const parsed = JSON.parse(
    (await show("record.json", "--json", "--undeclared", "--processes", "--files", "-k", "key.pub")).text,
  );
  expect(parsed).toMatchObject({
    signature: "good",
    signedBy: keyid,
    step: "build",
    command: ["make", "a b"],
    exitcode: 2,
    completeness: { verdict: "incomplete", gaps: [{ count: 2 }] },
    undeclaredInputs: { total: 9, nobody: 4 },
    endpoints: [
      { name: "192.0.2.1:443 (example.test)", direction: "out", host: "example.test", port: 443, result: 0 },
      { name: "unix:/run/x", peer: { service: "docker", processid: 7, program: "/bin/d" } },
    ],
    traced: true,
    hermetic: false,
    notHermetic: ["reached", "others", "incomplete"],
    totals: { processes: 6, filesOpened: 4, filesWritten: 3 },
  });
  expect(parsed.processes).toHaveLength(6);
  expect(parsed.processes[0]).toEqual({
    processid: 10,
    parentpid: 1,
    program: "/usr/bin/make",
    cmdline: "make a b",
    exitcode: 2,
  });
  expect(parsed.files).toEqual([
    { path: "/p", read: true, written: false },
    { path: "/p/Makefile", read: true, written: false, sha256: "a".repeat(64) },
    { path: "/p/out", read: true, written: true, sha256: "c".repeat(64) },
    { path: "/p/out2", read: false, written: true, sha256: "d".repeat(64) },
    { path: "/p/unreadable", read: false, written: true },
  ]);
  expect(parsed.undeclared.files[2]).toEqual({ path: "/p/swapped.c", kind: "differs", by: "git", package: "/p" });
  expect(parsed.undeclared.unlistedFiles).toBe(3);
  const bare = JSON.parse((await show("record.json", "--json")).text);
  expect([bare.signature, bare.processes, bare.files, bare.undeclared]).toEqual(["not checked", undefined, undefined, undefined]);
});

describe("records that say less", () => {
  const rows: [name: string, words: string[], expected: string[]][] = [
    [
      "untraced",
      ["untraced.json", "--processes", "--files", "--undeclared"],
      [
        "command       make 'a b'",
        "trace         none: the record is of a run without --trace\n\nprocesses\n  the record is of a run without --trace\n",
      ],
    ],
    [
      "of another kind",
      ["other.json", "--undeclared"],
      [
        "attestations  https://example.org/other/v1",
        "trace         none: the record has no command-run attestation\n\nundeclared inputs\n  the record has no",
      ],
    ],
    [
      "that is no collection",
      ["provenance.json", "--processes"],
      [
        "step          none: the statement is https://slsa.dev/provenance/v1\n",
        "trace         none: the statement is https://slsa.dev/provenance/v1, no record of a run\n\nprocesses\n  the statement is",
      ],
    ],
    [
      "a statement under another payload type",
      ["untyped.json"],
      ["step          none: the statement is https://slsa.dev/provenance/v1\n"],
    ],
    [
      "with fields that are not what they should be",
      ["odd.json", "--processes", "--files", "--undeclared"],
      ["processes     2", "exit status   0"],
    ],
  ];
  for (const [name, words, expected] of rows) {
    test(name, async () => {
      const { status, text } = await show(...words);
      expect(status).toBe(0);
      for (const part of expected) expect(text).toContain(part);
    });
  }
});

test("what is signed and no statement: who has signed how much of what", async () => {
  const { status, text } = await show("policy.json", "-k", "key.pub", "--processes");
  expect(text).toBe(`${at("policy.json")}
  signature  good, by ${keyid}
  payload    8 bytes of type https://example.org/policy/v1, not an in-toto statement: nothing of it is shown
`);
  expect(status).toBe(0);
  expect(JSON.parse((await show("policy.json", "--json")).text)).toEqual({
    record: at("policy.json"),
    signature: "not checked",
    payloadType: "https://example.org/policy/v1",
    payloadBytes: 8,
  });
});

test("nothing in a record acts on the terminal, and no line is endless", async () => {
  const { text } = await show("hostile.json", "--processes");
  expect(text.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\p{Cf}]/u);
  expect(text).toContain("a\\nb\\u202E");
  expect(Math.max(...text.split("\n").map(line => line.length))).toBeLessThan(310);
});

describe("refusals", () => {
  const rows: [name: string, words: string[], status: number, code: string][] = [
    ["no record", [], 2, "usage"],
    ["two records", ["record.json", "odd.json"], 2, "usage"],
    ["an empty key", ["record.json", "--publickey="], 2, "usage"],
    ["a record that is not there", ["missing.json"], 125, "input-unreadable"],
    ["what says that it is a statement, and is none", ["no-statement.json"], 125, "input-malformed"],
    ["what is no record", ["broken.json"], 125, "input-malformed"],
    ["a form that is not known", ["later.json"], 125, "input-malformed"],
    ["the key of somebody else", ["record.json", "-k", "stranger.pub"], 1, "signature-refused"],
    ["a key that is not there", ["record.json", "-k", "missing.pub"], 125, "key-unreadable"],
  ];
  for (const [name, words, status, code] of rows) {
    test(name, async () => {
      const result = await show(...words);
      expect([result.error, result.status, result.text]).toEqual([code, status, ""]);
    });
  }

  test("a record that was changed after it was signed is not shown under its key", async () => {
    const envelope = JSON.parse(readFileSync(at("record.json"), "utf8"));
    const payload = Buffer.from(envelope.payload, "base64").toString().replace('"build"', '"built"');
    writeFileSync(at("changed.json"), JSON.stringify({ ...envelope, payload: Buffer.from(payload).toString("base64") }));
    expect((await show("changed.json", "-k", "key.pub")).error).toBe("signature-refused");
    expect((await show("changed.json")).text).toContain(unchecked);
  });
});
