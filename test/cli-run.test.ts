// The pieces of `cilock run` that stand alone: its flags as one typed object, the file that the record goes to, the key
// that signs it, and the summary.
import { afterAll, expect, test } from "bun:test";
import { generateKeyPairSync } from "node:crypto";
import {
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkOutfile, safeFileName, writeOutfile } from "../src/commands/outfile.ts";
import { parseRunOptions } from "../src/commands/run-options.ts";
import { checkKey, descriptorNamed } from "../src/commands/signing-key.ts";
import { ToolError } from "../src/errors.ts";
import { type RunReport, summaryJson, summaryText } from "../src/reports/summary.ts";
import type { ProcessObservation, TraceObservation } from "../src/trace/observation.ts";

const root = mkdtempSync(join(tmpdir(), "cilock-cli-run-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let serial = 0;

function scratch(): string {
  const directory = join(root, `d${serial++}`);
  mkdirSync(directory);
  return directory;
}

// ---------------------------------------------------------------------------------------------
// Flags

const needed = { step: "s", "signer-file-key-path": "k" };
const parse = (options: Record<string, string | string[] | boolean>) => parseRunOptions({ ...needed, ...options }, ["make"]);

test("flags: what is there without any", () => {
  expect(parse({})).toEqual({
    step: "s",
    signer: { kind: "file", path: "k", passphrase: undefined, passphrasePath: undefined },
    outfile: undefined,
    trace: false,
    traceDetail: "normal",
    attestations: ["environment", "git"],
    workingDirectory: undefined,
    hashes: ["sha256"],
    predicate: "command-run/v0.1",
    subjects: [],
    graceMs: 5000,
    captureLimit: 64 << 20,
    json: false,
    allowIoUring: false,
    vouch: "quick",
    products: { include: undefined, exclude: undefined, named: undefined },
    cache: { add: [], allow: [], defaults: true, probe: true },
    isOneEntry: undefined,
    variables: { add: [], allow: [], disableDefaults: false, remove: false },
    warnings: [],
  });
});

const sizes: [text: string, bytes: number][] = [
  ["0", 0],
  ["1000", 1000],
  ["1k", 1024],
  ["64MiB", 64 << 20],
  ["64mib", 64 << 20],
  ["10MB", 10_000_000],
  ["512MiB", 512 << 20],
];
for (const [text, bytes] of sizes) test(`size ${text}`, () => expect(parse({ "capture-limit": text }).captureLimit).toBe(bytes));

const times: [text: string, ms: number][] = [
  ["0", 0],
  ["5", 5000],
  ["5s", 5000],
  ["500ms", 500],
  ["2m", 120_000],
  ["24h", 86_400_000],
];
for (const [text, ms] of times) test(`time ${text}`, () => expect(parse({ grace: text }).graceMs).toBe(ms));

const lists: { given: string[]; attestations: string[]; warnings: RegExp[] }[] = [
  { given: ["git"], attestations: ["git"], warnings: [] },
  { given: ["git,environment"], attestations: ["git", "environment"], warnings: [] },
  { given: ["git", "environment"], attestations: ["git", "environment"], warnings: [] },
  { given: [""], attestations: [], warnings: [] },
  { given: ["git, git"], attestations: ["git"], warnings: [/git is named twice/] },
  { given: ["command-run,product"], attestations: [], warnings: [/command-run always runs/, /product always runs/] },
];
for (const row of lists) {
  test(`attestations ${row.given.join(" ")}`, () => {
    const { attestations, warnings } = parse({ attestations: row.given });
    expect(attestations).toEqual(row.attestations);
    expect(warnings).toHaveLength(row.warnings.length);
    for (const [index, warning] of row.warnings.entries()) expect(warnings[index]).toMatch(warning);
  });
}

test("two passphrases: the file is not looked at, and that is said", () => {
  const { warnings } = parse({ "signer-file-key-passphrase": "a", "signer-file-key-passphrase-path": "b" });
  expect(warnings).toEqual([expect.stringMatching(/passphrase-path is not looked at/)]);
});

test("vouching: nobody is asked without a trace, which may be said", () => {
  expect(parse({ vouch: "no" }).vouch).toBe("no");
  expect(parse({ vouch: "full", trace: true }).vouch).toBe("full");
});

test("hashes: repeated and joined", () => {
  expect(parse({ hashes: ["sha1,sha256", "sha256"] }).hashes).toEqual(["sha1", "sha256"]);
  const all = ["sha256", "sha1", "gitoid:sha256", "gitoid:sha1"];
  expect(parse({ hashes: [all.join(",")] }).hashes as string[]).toEqual(all);
});

const [hex256, hex1] = ["ab".repeat(32), "cd".repeat(20)];
const subjects: { given: string[]; subjects: { name: string; digest: Record<string, string> }[] }[] = [
  {
    // printf %s 'registry/app:1.2' | sha256sum
    given: ["registry/app:1.2"],
    subjects: [
      { name: "registry/app:1.2", digest: { sha256: "0f6803ce3849b7077d892751b041b05a826d37d898e80b0faf736f963dbf4eb5" } },
    ],
  },
  { given: [`a=sha256:${hex256.toUpperCase()}`], subjects: [{ name: "a", digest: { sha256: hex256 } }] },
  { given: [`k=v=sha1:${hex1}`], subjects: [{ name: "k=v", digest: { sha1: hex1 } }] },
  {
    given: [`a=gitoid:sha1:${hex1}`, `a=dirHash:${hex256}`, `a=gitoid:sha1:${hex1}`],
    subjects: [{ name: "a", digest: { "gitoid:sha1": `gitoid:blob:sha1:${hex1}`, dirHash: hex256 } }],
  },
  { given: [`a,b=sha256:${hex256}`], subjects: [{ name: "a,b", digest: { sha256: hex256 } }] },
];
for (const row of subjects) {
  test(`subjects ${row.given.join(" ")}`, () => {
    expect(parse({ subjects: row.given }).subjects as unknown).toEqual(row.subjects);
  });
}

test("a step survives byte for byte", () => {
  for (const step of ["007", "1e3", "true", "-", " a ", "ä\n", "a/b"]) expect(parse({ step }).step).toBe(step);
});

// ---------------------------------------------------------------------------------------------
// The outfile

const names: [step: string, file: string][] = [
  ["build", "build"],
  ["a.b_c-d", "a.b_c-d"],
  ["a/b", "a_b-c14cddc0"],
  ["../x", "_._x-d6b96a97"],
  [".hidden", "_hidden-16924190"],
  ["ä", "__-33e6d73f"],
  ["a b", "a_b-c8687a08"],
  ["a_b", "a_b"],
  ["a b\n", "a_b_-01186fcf"],
];
for (const [step, file] of names)
  test(`file name of the step ${JSON.stringify(step)}`, () => expect(safeFileName(step)).toBe(file));

test("outfile: written beside and renamed, with the mode of any new file", () => {
  const path = join(scratch(), "out.json");
  const outfile = checkOutfile(path);
  if (outfile.kind !== "file") throw new Error(outfile.kind);
  expect(existsSync(path)).toBe(false);
  writeOutfile(outfile, Buffer.from("one"));
  expect(readFileSync(path, "utf8")).toBe("one");
  expect(statSync(path).mode & 0o777).toBe(0o666 & ~process.umask());
  const first = statSync(path).ino;
  writeOutfile(outfile, Buffer.from("two"));
  expect(readFileSync(path, "utf8")).toBe("two");
  // Another file under the name: whoever has the first one open keeps a whole record.
  expect(statSync(path).ino).not.toBe(first);
  expect(readdirSync(join(path, ".."))).toEqual(["out.json"]);
});

test("outfile: a link stays a link", () => {
  const directory = scratch();
  writeFileSync(join(directory, "real"), "old");
  symlinkSync("real", join(directory, "link"));
  const outfile = checkOutfile(join(directory, "link"));
  if (outfile.kind !== "file") throw new Error(outfile.kind);
  writeOutfile(outfile, Buffer.from("new"));
  expect(lstatSync(join(directory, "link")).isSymbolicLink()).toBe(true);
  expect(readFileSync(join(directory, "real"), "utf8")).toBe("new");
});

test("outfile: a device is written to, never replaced", () => {
  // As root a rename onto /dev/null would take it from the whole machine.
  const outfile = checkOutfile("/dev/null");
  if (outfile.kind !== "stream") throw new Error(outfile.kind);
  writeOutfile(outfile, Buffer.from("gone"));
  expect(statSync("/dev/null").isCharacterDevice()).toBe(true);
});

test("outfile: a failure leaves no temporary behind", () => {
  const directory = scratch();
  const outfile = checkOutfile(join(directory, "out"));
  if (outfile.kind !== "file") throw new Error(outfile.kind);
  // The build has put a directory there meanwhile.
  mkdirSync(join(directory, "out"));
  expect(() => writeOutfile(outfile, Buffer.from("x"))).toThrow(ToolError);
  expect(readdirSync(directory)).toEqual(["out"]);
});

// ---------------------------------------------------------------------------------------------
// The key

const pem = { privateKeyEncoding: { type: "pkcs8", format: "pem" }, publicKeyEncoding: { type: "spki", format: "pem" } } as const;
const newKey = () => generateKeyPairSync("ed25519", pem).privateKey;
const keyOf = (path: string, environment = {}) =>
  checkKey({ path, passphrase: undefined, passphrasePath: undefined, environment });

test("key: another one in its place after the build is refused", async () => {
  // A build that may write the key file could have its own key sign the record.
  const path = join(scratch(), "key.pem");
  writeFileSync(path, newKey());
  const key = await keyOf(path);
  await key.read();
  writeFileSync(path, newKey());
  await expect(key.read()).rejects.toThrow(/another key/);
});

const otherKinds: [name: string, replace: (path: string) => void][] = [
  ["a pipe, which nobody writes to", path => Bun.spawnSync(["mkfifo", path])],
  ["a link to an endless device", path => symlinkSync("/dev/zero", path)],
  ["a directory", path => mkdirSync(path)],
];
for (const [name, replace] of otherKinds) {
  for (const place of ["key.pem", "passphrase"]) {
    test(`key: ${name}, in place of ${place} after the build is refused and never waited for`, async () => {
      const directory = scratch();
      const [path, passphrasePath] = [join(directory, "key.pem"), join(directory, "passphrase")];
      writeFileSync(path, newKey());
      writeFileSync(passphrasePath, "secret");
      const key = await checkKey({ path, passphrase: undefined, passphrasePath, environment: {} });
      rmSync(join(directory, place));
      replace(join(directory, place));
      await expect(key.read()).rejects.toThrow(/was a file when the command started, and is none any more/);
    });
  }
}

test("key: a pipe is read once, when it is needed", async () => {
  const directory = scratch();
  const path = join(directory, "pipe");
  Bun.spawnSync(["mkfifo", path]);
  const key = await keyOf(path);
  expect(key.files).toEqual([]);
  writeFileSync(join(directory, "key.pem"), newKey());
  const writer = Bun.spawn(["sh", "-c", 'cat "$0" >"$1"', join(directory, "key.pem"), path]);
  expect((await key.read()).kind).toBe("private");
  await writer.exited;
});

test("key: through a descriptor it is read, and withheld from the command", async () => {
  const path = join(scratch(), "key.pem");
  writeFileSync(path, newKey());
  const descriptor = openSync(path, "r");
  const key = await keyOf(`/dev/fd/${descriptor}`);
  expect(key.withheldDescriptors).toEqual([descriptor]);
  expect(key.files).toHaveLength(1);
  // Twice: the position of the descriptor does not count.
  expect((await key.read()).publicKey.keyid).toBe((await key.read()).publicKey.keyid);
  closeSync(descriptor);
});

const descriptors: [path: string, descriptor: number | undefined][] = [
  ["/dev/stdin", 0],
  ["/dev/fd/0", 0],
  ["/dev//fd/63", 63],
  ["/proc/self/fd/7", 7],
  ["/proc/thread-self/fd/7", 7],
  [`/proc/${process.pid}/fd/7`, 7],
  ["/proc/1/fd/7", undefined],
  ["/dev/fd/x", undefined],
  ["/dev/fd/7/x", undefined],
  ["dev/fd/7", undefined],
  ["key.pem", undefined],
];
for (const [path, descriptor] of descriptors) test(`descriptor of ${path}`, () => expect(descriptorNamed(path)).toBe(descriptor));

// ---------------------------------------------------------------------------------------------
// The summary

function process1(changes: Partial<ProcessObservation>): ProcessObservation {
  return {
    serial: 1,
    pid: 1,
    parentPid: 1,
    images: [],
    startTime: 0n,
    exitCode: 0,
    openedFiles: new Map(),
    writtenDigests: new Map(),
    fileVersions: new Map(),
    unhashedOpens: [],
    network: { sockets: [], connections: [], dnsLookups: [] },
    syscallEvents: [],
    ...changes,
  } as ProcessObservation;
}

const endpoint = {
  direction: "out",
  family: "AF_INET",
  address: "192.0.2.1",
  port: 443,
  protocol: "tcp",
  count: 1,
  process: 1,
  ancestors: [],
};
const trace = {
  totals: { writtenElsewhere: 4 },
  processes: [
    process1({
      program: "/usr/bin/make",
      openedFiles: new Map([
        ["/etc/ld.so.cache", {}],
        ["/src/Makefile", {}],
      ]),
    }),
    process1({
      program: "/usr/bin/cc\x1b[31m",
      images: [{ program: "/bin/sh", argv: ["sh"], executableDigest: {}, time: 0n }],
      openedFiles: new Map([["/etc/ld.so.cache", {}]]),
      writtenDigests: new Map([["/src/app", {}]]),
    }),
  ],
  network: {
    endpoints: [
      { ...endpoint, host: "example.test", result: 0 },
      { ...endpoint, family: "AF_INET6", address: "2001:db8::1", result: "ENETUNREACH" },
      {
        ...endpoint,
        family: "AF_UNIX",
        address: "/run/x",
        port: undefined,
        peer: { service: "docker", pid: 7, program: "/bin/d\x1b[31m" },
      },
      { ...endpoint, address: "", host: "inner.test", via: "192.0.2.9:3128" },
      { ...endpoint, direction: "in", address: "192.0.2.2" },
      { ...endpoint, direction: "listen", address: "0.0.0.0" },
    ],
    unlisted: 0,
    hermetic: false,
  },
  completeness: {
    verdict: "incomplete",
    gaps: [{ kind: "limit", severity: "gap", count: 3, processIds: [], detail: "a limit was hit" }],
    tracer: { mode: "ptrace", kernel: "6.1", privileged: true, features: [], ignoredSyscalls: "" },
  },
} as unknown as TraceObservation;

const report: RunReport = {
  step: "build",
  command: ["make", "a b"],
  exitCode: 0,
  signal: undefined,
  interrupted: undefined,
  durationNs: 1_234_000_000n,
  attestors: ["material"],
  materials: 29,
  products: 1,
  trace: undefined,
  survivorsKilled: 0,
  hidden: 0,
  cutStreams: [],
  record: { path: "out.json", keyid: "ab12", publicKeyPath: undefined, verify: { program: "cilock", publicKey: undefined } },
  warnings: [],
};

test("summary: untraced", () => {
  expect(summaryText(report, { colour: false })).toBe(`cilock: step build
  command      make 'a b'
  exit status  0
  time         1.23 s
  trace        none: run with --trace to record processes, files and network
  materials    29 files
  products     1 file
  record       out.json
  signed by    ab12
  verify with  cilock verify out.json -k PUBLIC-KEY.pem --step build --require-success
`);
});

test("summary: traced, killed, with a key of its own, and a program that would colour the terminal", () => {
  const all: RunReport = {
    ...report,
    exitCode: 143,
    signal: "SIGTERM",
    interrupted: "SIGTERM",
    trace,
    record: {
      ...{ path: "out.json", keyid: "ab12", publicKeyPath: "out.json.pub" },
      verify: { program: "cilock", publicKey: "out.json.pub" },
    },
  };
  expect(summaryText(all, { colour: false })).toBe(`cilock: step build
  command      make 'a b'
  exit status  143, killed by SIGTERM, after we were sent SIGTERM
  time         1.23 s
  processes    2
  programs     make, sh, cc\\x1B[31m
  files        2 opened, 1 written
  network      192.0.2.1:443 (example.test), [2001:db8::1]:443: ENETUNREACH, unix:/run/x, inner.test:443 via 192.0.2.9:3128, from 192.0.2.2:443
  outside      docker at unix:/run/x (/bin/d\\x1B[31m, process 7)
  hermetic     no: it sent to addresses beyond loopback; connections came in from beyond loopback; somebody outside of the build took part
  trace        incomplete
               gap: a limit was hit (3 times)
                 what to do: what was beyond the limit is missing; docs/completeness.md lists the limits
  materials    29 files
  products     1 file
  elsewhere    4 files written outside of the working directory, no products (--product-glob names some)
  record       out.json
  signed by    ab12
  public key   out.json.pub
  verify with  cilock verify out.json -k out.json.pub --step build --require-success --require-complete
`);
});

test("summary: a command that nobody would read to its end", () => {
  const [, command = ""] = summaryText({ ...report, command: ["x".repeat(100_000)] }, { colour: false }).split("\n");
  expect(command).toBe(`  command      ${"x".repeat(300)} …`);
});

test("summary: words that a shell takes as they were meant", () => {
  const verify = { program: "/opt/my tools/cilock", publicKey: "-my key.pub" };
  expect(
    summaryText({ ...report, step: "-b", record: { ...report.record, path: "-o.json", verify } }, { colour: false }),
  ).toContain("  verify with  '/opt/my tools/cilock' verify ./-o.json -k './-my key.pub' --step=-b --require-success\n");
});

test("summary: what was killed, hidden and cut", () => {
  const text = summaryText({ ...report, survivorsKilled: 2, hidden: 1, cutStreams: ["stdout", "stderr"] }, { colour: false });
  expect(text).toContain("killed       2 processes that outlived the command\n");
  expect(text).toContain("hidden       1 secret value in words and output\n");
  expect(text).toContain("cut          stdout and stderr, at the capture limit\n");
  expect(summaryJson({ ...report, survivorsKilled: 2, hidden: 1, cutStreams: ["stdout"] })).toMatchObject({
    survivorsKilled: 2,
    redactions: 1,
    cut: ["stdout"],
  });
});

test("summary: a build that talked to nobody, and one to too many", () => {
  const network = { endpoints: [], unlisted: 0, hermetic: true };
  expect(summaryText({ ...report, trace: { ...trace, network } }, { colour: false })).toContain(
    "  hermetic     yes: nothing left the machine or went to somebody else\n",
  );
  const endpoints = Array.from({ length: 20 }, (_, i) => ({ ...endpoint, address: `192.0.2.${i}`, peer: { pid: i } }));
  const text = summaryText(
    { ...report, trace: { ...trace, network: { ...network, endpoints, unlisted: 5 } } as typeof trace },
    { colour: false },
  );
  expect(text).toContain("network      25: 192.0.2.0:443, ");
  expect(text).toContain("192.0.2.5:443 and 19 more\n");
  expect(text).toContain("outside      192.0.2.0:443 (process 0)\n");
  expect(text).toContain("               and 12 more\n");
});

test("summary: colours only when asked for", () => {
  expect(summaryText({ ...report, trace }, { colour: true })).toContain("\x1b[31mincomplete\x1b[0m");
});

test("summary: a record on stdout has no path and no command to verify it", () => {
  const text = summaryText({ ...report, record: { ...report.record, path: undefined } }, { colour: false });
  expect(text).toContain("record       on stdout");
  expect(text).not.toContain("verify with");
});

test("summary as JSON", () => {
  expect(summaryJson({ ...report, trace })).toEqual({
    step: "build",
    command: ["make", "a b"],
    exitcode: 0,
    durationNs: 1_234_000_000n,
    attestors: ["material"],
    materials: 29,
    products: 1,
    writtenElsewhere: 4,
    processes: 2,
    programs: ["make", "sh", "cc\x1b[31m"],
    filesOpened: 2,
    filesWritten: 1,
    endpoints: [
      "192.0.2.1:443 (example.test)",
      "[2001:db8::1]:443: ENETUNREACH",
      "unix:/run/x",
      "inner.test:443 via 192.0.2.9:3128",
      "from 192.0.2.2:443",
    ],
    hermetic: false,
    notHermetic: ["reached", "entered", "others", "incomplete"],
    completeness: { verdict: "incomplete", gaps: [{ kind: "limit", severity: "gap", count: 3, detail: "a limit was hit" }] },
    outfile: "out.json",
    keyid: "ab12",
    warnings: [],
  });
});

const durations: [ns: bigint, text: string][] = [
  [0n, "0 ms"],
  [999_999_999n, "999 ms"],
  [59_999_999_999n, "59.99 s"],
  [3_661_000_000_000n, "61 min 1 s"],
];
for (const [durationNs, text] of durations) {
  test(`summary: ${durationNs} ns`, () =>
    expect(summaryText({ ...report, durationNs }, { colour: false })).toContain(`time         ${text}\n`));
}
