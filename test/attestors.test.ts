// The attestors as pure functions: facts in, predicate and subjects out.
import { expect, test } from "bun:test";
import { encodeJson } from "../src/attestation/json-writer.ts";
import type { AttestorOptions, Facts } from "../src/attestors/attestor.ts";
import { environmentAttestor, recordedVariables, sensitiveVariableTest } from "../src/attestors/environment.ts";
import { materialAttestor } from "../src/attestors/material.ts";
import { fileSubjectsMax, productAttestor, productKind, productsOf } from "../src/attestors/product.ts";
import type { RecordedFile } from "../src/attestors/recorded-files.ts";
import { nameInPasswd, readHost } from "../src/facts/host.ts";
import { emptyWalk, type Walk, type WalkedFile } from "../src/facts/walk.ts";

const startTime = 1_000_000_000n;
const emptyRoot = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/** The worked check of the format: one file with the content `hello\n`. */
const hello = {
  fileDigest: "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
  leafHash: "ecb65bb98f9d905b70458986c39fcbad7715e5f2fcc3b1f07767d7c83e2438cc",
  root: "e659830b4d09818ad43764cb4b1039ff92e163dbcd6092c60309b63f7bff7c63",
};
const other = "00".repeat(32);

function file(path: string, sha256: string, changes: Partial<WalkedFile> = {}): WalkedFile {
  return { path, digest: { sha256 }, device: 1n, inode: 1n, size: 6n, mtimeNs: 10n, ctimeNs: 10n, settled: true, ...changes };
}

const walkOf = (...files: WalkedFile[]): Walk => ({ ...emptyWalk, files });

/** Only what the attestor under test looks at. */
function factsOf(parts: {
  materials?: RecordedFile[];
  products?: RecordedFile[];
  environment?: string[];
  options?: Partial<AttestorOptions>;
}): Facts {
  return {
    observation: { startTime, environment: (parts.environment ?? []).map(entry => Buffer.from(entry, "latin1")) },
    materials: parts.materials ?? [],
    products: parts.products ?? [],
    host: { os: "linux", hostname: "host", username: "user", kernelRelease: "6.1" },
    options: { isSensitiveVariable: () => false, ...parts.options },
    times: { material: [1n, 2n], product: [3n, 4n], environment: [5n, 6n] },
  } as unknown as Facts;
}

const json = (value: unknown): string => Buffer.from(encodeJson(value as never)).toString();

// ---------------------------------------------------------------------------------------------

test("material: the worked check of the format, byte for byte", () => {
  const attestation = materialAttestor.attest(factsOf({ materials: [file("a", hello.fileDigest)] }));
  expect(json(attestation?.predicate)).toBe(
    `{"merkleRoot":"${hello.root}","treeSize":1,"hashAlgorithm":"sha256","construction":"RFC6962",` +
      `"leaves":[{"path":"a","fileDigest":"${hello.fileDigest}","leafHash":"${hello.leafHash}"}]}`,
  );
  expect(attestation?.subjects).toEqual([{ name: "tree:materials", digest: { sha256: hello.root } }]);
  expect([attestation?.startTime, attestation?.endTime]).toEqual([1n, 2n]);
});

test("material: equal contents under every path, the tree over the distinct ones", () => {
  const materials = [file("a", hello.fileDigest), file("b", other), file("c", hello.fileDigest)];
  const predicate = materialAttestor.attest(factsOf({ materials }))?.predicate;
  expect(predicate?.treeSize).toBe(2);
  expect(predicate?.leaves).toMatchObject([{ path: "b" }, { path: "a" }, { path: "c" }]);
});

test("material: nothing there is an empty list, not a missing one", () => {
  const attestation = materialAttestor.attest(factsOf({}));
  expect(attestation?.predicate).toMatchObject({ merkleRoot: emptyRoot, treeSize: 0, leaves: [] });
  expect(attestation?.subjects).toEqual([{ name: "tree:materials", digest: { sha256: emptyRoot } }]);
});

test("product: nothing made leaves the leaves out, the root stays", () => {
  const attestation = productAttestor.attest(factsOf({}));
  expect(json(attestation?.predicate)).toBe(
    `{"merkleRoot":"${emptyRoot}","treeSize":0,"hashAlgorithm":"sha256","construction":"RFC6962"}`,
  );
  expect(attestation?.subjects).toEqual([{ name: "tree:products", digest: { sha256: emptyRoot } }]);
});

const products: { name: string; before?: WalkedFile; after?: WalkedFile; product: boolean }[] = [
  { name: "new", after: file("a", other), product: true },
  { name: "new, with an old time (unpacked)", after: file("a", other, { mtimeNs: 1n }), product: true },
  { name: "changed", before: file("a", hello.fileDigest), after: file("a", other), product: true },
  {
    name: "changed, its time set back",
    before: file("a", hello.fileDigest, { mtimeNs: 5n }),
    after: file("a", other, { mtimeNs: 5n }),
    product: true,
  },
  { name: "untouched", before: file("a", other), after: file("a", other), product: false },
  {
    name: "untouched, with a time in the future",
    before: file("a", other, { mtimeNs: 9_999_000_000n }),
    after: file("a", other, { mtimeNs: 9_999_000_000n }),
    product: false,
  },
  {
    name: "same content written again, by the clock of the last tick",
    before: file("a", other),
    after: file("a", other, { mtimeNs: 990_000_000n }),
    product: true,
  },
  {
    name: "same content written again",
    before: file("a", other),
    after: file("a", other, { mtimeNs: 2_000_000_000n }),
    product: true,
  },
  {
    name: "same content in a new file",
    before: file("a", other),
    after: file("a", other, { mtimeNs: 2_000_000_000n, inode: 2n }),
    product: true,
  },
  {
    name: "an older copy put back",
    before: file("a", other, { mtimeNs: 500n }),
    after: file("a", other, { mtimeNs: 400n }),
    product: false,
  },
  {
    name: "only its mode changed",
    before: file("a", other),
    after: file("a", other, { ctimeNs: 2_000_000_000n }),
    product: false,
  },
  { name: "deleted", before: file("a", other), product: false },
];

for (const row of products) {
  test(`product: ${row.name}`, () => {
    const before = row.before === undefined ? walkOf() : walkOf(row.before);
    const after = row.after === undefined ? walkOf() : walkOf(row.after);
    const attestation = productAttestor.attest(factsOf({ products: productsOf(before, after, startTime) }));
    expect(attestation?.subjects.map(subject => subject.name)).toEqual(
      row.product ? ["tree:products", "file:a"] : ["tree:products"],
    );
    expect(attestation?.predicate.treeSize).toBe(row.product ? 1 : 0);
  });
}

test("product: subjects for at most a thousand files, leaves for all", () => {
  const files = Array.from({ length: fileSubjectsMax + 5 }, (_, index) =>
    file(`f${index}`, index.toString(16).padStart(64, "0")),
  );
  const attestation = productAttestor.attest(factsOf({ products: files }));
  expect(attestation?.subjects).toHaveLength(fileSubjectsMax + 1);
  expect(attestation?.predicate.leaves).toHaveLength(files.length);
});

test("product: every digest of a file is in its subject", () => {
  const made = { ...file("a", other), digest: { sha256: other, sha1: "11" } };
  expect(productAttestor.attest(factsOf({ products: [made] }))?.subjects[1]).toEqual({
    name: "file:a",
    digest: { sha256: other, sha1: "11" },
  });
});

const kinds: [path: string, kind: string | undefined][] = [
  ["sbom.spdx.json", "spdx"],
  ["x.SPDX", "spdx"],
  ["out/app.cdx.json", "cyclonedx"],
  ["bom.xml", "cyclonedx"],
  ["scan.sarif", "sarif"],
  ["a.openvex.json", "vex"],
  ["a.intoto.jsonl", "intoto"],
  ["a.intoto.dsse.json", "intoto-dsse"],
  ["provenance.json", "slsa-provenance"],
  ["app", undefined],
  ["spdx", undefined],
];

for (const [path, kind] of kinds) {
  test(`product kind of ${path}`, () => {
    expect(productKind(path)).toBe(kind);
  });
}

// ---------------------------------------------------------------------------------------------

const defaults = sensitiveVariableTest({ add: [], allow: [], disableDefaults: false });
const hidden = [
  "GITHUB_TOKEN",
  "github_token",
  "MY_PASSWORD_FILE",
  "KEYBOARD",
  "DATABASE_URL",
  "AZURE_CLIENT_ID",
  "sshKeyPath",
  "SSH_AUTH_SOCK",
  "CPATH",
  "AWS_ACCESS_KEY_ID",
];
const shown = ["PATH", "PWD", "OLDPWD", "HOME", "LANG", "AZURE_CLIENT_IDS", "SHELL", ""];

for (const name of hidden) test(`variable ${name} is hidden`, () => expect(defaults(name)).toBe(true));
for (const name of shown) test(`variable ${JSON.stringify(name)} is shown`, () => expect(defaults(name)).toBe(false));

test("what was asked for by name wins", () => {
  const chosen = sensitiveVariableTest({ add: ["PATH", "build_*", "a.c"], allow: ["GITHUB_TOKEN"], disableDefaults: false });
  expect(["PATH", "BUILD_ID", "GITHUB_TOKEN", "github_token", "abc", "A.C"].map(chosen)).toEqual([
    true,
    true,
    false,
    true,
    false,
    true,
  ]);
  const alone = sensitiveVariableTest({ add: ["X*"], allow: [], disableDefaults: true });
  expect(["GITHUB_TOKEN", "XY"].map(alone)).toEqual([false, true]);
});

test("environment: shape, order and hidden values", () => {
  const environment = ["B=2", "A_TOKEN=secret", "A=x=y\nz", "__proto__=p", "10=ten", "9=nine"];
  const attestation = environmentAttestor.attest(factsOf({ environment, options: { isSensitiveVariable: defaults } }));
  expect(json(attestation?.predicate)).toBe(
    '{"os":"linux","hostname":"host","username":"user",' +
      '"variables":{"10":"ten","9":"nine","A":"x=y\\nz","A_TOKEN":"******","B":"2","__proto__":"p"}}',
  );
  expect(attestation?.subjects).toEqual([]);
});

test("environment: no variables", () => {
  expect(json(environmentAttestor.attest(factsOf({}))?.predicate)).toBe('{"os":"linux","hostname":"host","username":"user"}');
});

const variables: { name: string; environment: string[]; expected: Record<string, string>; remove?: boolean }[] = [
  { name: "the first of a repeated name, as for getenv", environment: ["A=1", "A=2"], expected: { A: "1" } },
  { name: "no name or no value sign", environment: ["=x", "plain", "A="], expected: { A: "" } },
  { name: "backslashes stay", environment: ["PS1=\\u@\\h"], expected: { PS1: "\\u@\\h" } },
  { name: "bytes that are no text are escaped", environment: ["A=\xff\\"], expected: { A: "\\xFF\\\\" } },
  { name: "left out when asked for", environment: ["A=1", "TOKEN=2"], expected: { A: "1" }, remove: true },
];

for (const row of variables) {
  test(`variables: ${row.name}`, () => {
    const options: AttestorOptions = {
      attestations: [],
      isSensitiveVariable: defaults,
      redact: text => ({ text, count: 0 }),
      ...(row.remove ? { sensitiveVariables: "remove" } : {}),
    };
    const bytes = row.environment.map(entry => Buffer.from(entry, "latin1"));
    expect(Object.fromEntries(recordedVariables(bytes, options))).toEqual(row.expected);
  });
}

// ---------------------------------------------------------------------------------------------

test("host: what there is", () => {
  const host = readHost();
  expect(host.os).toBe("linux");
  expect(host.kernelRelease).toMatch(/^\d+\.\d+/);
  expect(host.username).not.toBe("");
});

test("user names come from passwd by number", () => {
  const passwd = "root:x:0:0::/root:/bin/sh\n:x:7::::\nada:x:1000:1000::/:/bin/sh\n";
  expect(["0", "1000", "7", "100"].map(uid => nameInPasswd(passwd, uid))).toEqual(["root", "ada", undefined, undefined]);
});
