// The interned predicate, decoded by nothing but the rules of its format, says the same as v0.1 of the same run, field by field.
import { describe, expect, test } from "bun:test";
import { encodeJson } from "../src/attestation/json-writer.ts";
import type { AttestorOptions } from "../src/attestors/attestor.ts";
import { commandRunPredicate } from "../src/attestors/command-run.ts";
import { commandRunV02Predicate } from "../src/attestors/command-run-v02.ts";
import { emptyFileOps } from "../src/trace/file-operations.ts";
import type { Observation, ProcessObservation, TraceObservation } from "../src/trace/observation.ts";

const start = 1_700_000_000_000_000_000n;
const sha = (n: number) => n.toString(16).padStart(64, "0");

const options: AttestorOptions = {
  attestations: ["environment"],
  isSensitiveVariable: name => name.includes("TOKEN"),
  redact: text => ({ text: text.replaceAll("hunter22", "[REDACTED]"), count: text.split("hunter22").length - 1 }),
};

const stream = (text: string) => ({ bytes: Buffer.from(text), sha256: sha(1), length: text.length, redactions: 0 });

const plain = (changes: Partial<ProcessObservation>): ProcessObservation => ({
  serial: 1,
  pid: 101,
  parentPid: 100,
  images: [],
  startTime: start,
  exitCode: 0,
  openedFiles: new Map(),
  writtenDigests: new Map(),
  fileVersions: new Map(),
  unhashedOpens: [],
  fileOps: emptyFileOps(),
  network: { sockets: [], connections: [], dnsLookups: [] },
  syscallEvents: [],
  ...changes,
});

const full = plain({
  program: "/usr/bin/cc",
  programDigest: { sha256: sha(2) },
  comm: "cc",
  argv: ["cc", "-Dp=hunter22", "ä"],
  executableDigest: { sha256: sha(3) },
  cwd: "/src",
  root: "/jail",
  environment: ["PATH=/bin", "TOKEN=x"].map(variable => Buffer.from(variable)),
  speculationVulnerable: true,
  images: [{ program: "/bin/env", argv: ["env", "cc"], executableDigest: { sha256: sha(2) }, time: start }],
  endTime: start + 5n,
  exitCode: 137,
  exitSignal: "SIGKILL",
  openedFiles: new Map([
    ["/usr/include/stdio.h", { sha256: sha(4) }],
    ["/dev/null", {}],
    ["/a", { sha256: sha(2) }],
  ]),
  writtenDigests: new Map([["/src/a.o", { sha256: sha(5) }]]),
  fileVersions: new Map([["/a", [{ sha256: sha(2) }, { sha256: sha(6) }]]]),
  unhashedOpens: [{ path: "/dev/null", reason: "device" }],
  fileOps: { ...emptyFileOps(), deletes: [{ path: "/tmp/x", time: start }] },
  network: { sockets: [{ family: "AF_UNIX", type: "SOCK_STREAM", protocol: 0, fd: 3 }], connections: [], dnsLookups: [] },
  syscallEvents: [{ syscall: "mprotect", args: [0x7fff_ffff_ffff_f001n], result: 0, time: start }],
});

const trace = (...processes: ProcessObservation[]): TraceObservation => ({
  processes,
  completeness: {
    verdict: "complete",
    gaps: [],
    tracer: { mode: "ptrace", detail: "normal", kernel: "6.1", privileged: true, features: [], ignoredSyscalls: "cd" },
  },
  totals: { processes: processes.length, materials: 3, products: 1, intermediates: 0 },
  outliers: { suspiciousOps: {} },
  diagnostics: {},
  failedOpens: 2,
});

const observation = (changes: Partial<Observation> = {}): Observation => ({
  argv: ["make", "--p=hunter22"].map(word => Buffer.from(word)),
  environment: [],
  workingDirectory: "/src",
  startTime: start,
  endTime: start + 9n,
  exitCode: 0,
  stdout: stream("out\n"),
  stderr: stream(""),
  survivorsKilled: 0,
  ...changes,
});

const sameAgain = plain({
  ...full,
  serial: 2,
  pid: 102,
  parentPid: 101,
  exitCode: 0,
  images: [],
  openedFiles: new Map(full.openedFiles),
});
const samples: Record<string, Observation> = {
  untraced: observation(),
  "untraced, failed, with errors": observation({
    exitCode: 143,
    stderr: stream("no\n"),
    stdout: stream(""),
    interrupted: "SIGTERM",
  }),
  "no process": observation({ trace: trace() }),
  "one of which nothing is known": observation({ trace: trace(plain({})) }),
  "one with everything": observation({ trace: trace(full) }),
  several: observation({ trace: trace(full, plain({ serial: 3, pid: 103 }), sameAgain), exitCode: 2 }),
};

const guard = { applied: true, dumpable: false, yamaPtraceScope: -1 };
// biome-ignore lint/suspicious/noExplicitAny: a decoder of foreign JSON
type Json = any;
const bytesOf = (of: Observation) => Buffer.from(encodeJson(commandRunV02Predicate(of, options, guard)));
const parsed = (of: Observation): Json => JSON.parse(bytesOf(of).toString());

/** What a reader of the tables makes of it: the shape of v0.1. */
function decoded(v02: Json): Json {
  const at = (table: Json, id: number | undefined) => (id === undefined ? undefined : table?.[id]);
  const set = (id: number | undefined) => at(v02.digests, id)?.digests;
  const files = (list: Json) => list && Object.fromEntries(list.map((f: Json) => [v02.paths[f.pathId], set(f.digestId) ?? {}]));
  const variables = (id: number | undefined) => at(v02.environments, id);
  const one = (p: Json) => ({
    program: at(v02.paths, p.execPathId),
    processid: p.processid,
    parentpid: p.parentpid,
    programdigest: set(p.programDigestId),
    comm: at(v02.comms, p.commId),
    cmdline: at(v02.cmdlines, p.cmdlineId),
    argv: at(v02.argvs, p.argvId),
    exedigest: set(p.exeDigestId),
    openedfiles: files(p.openedFiles),
    writtenDigests: files(p.writtenFiles),
    fileVersions:
      p.fileVersions && Object.fromEntries(p.fileVersions.map((f: Json) => [v02.paths[f.pathId], f.digestIds.map(set)])),
    unhashedOpens: p.unhashedOpens?.map((f: Json) => ({ path: v02.paths[f.pathId], reason: f.reason })),
    env: variables(p.envId),
    environ:
      variables(p.envId) &&
      Object.entries(variables(p.envId))
        .map(entry => entry.join("="))
        .join(" "),
    specbypassisvuln: p.specbypassisvuln,
    root: at(v02.paths, p.rootId),
    images: p.images?.map((image: Json) => ({
      program: v02.paths[image.execPathId],
      argv: v02.argvs[image.argvId],
      exedigest: set(image.exeDigestId),
      time: image.time,
    })),
    starttime: p.starttime,
    endtime: p.endtime,
    cwd: at(v02.paths, p.cwdId),
    network: p.network,
    fileOps: p.fileOps,
    syscallEvents: p.syscalls,
    exitcode: p.exitcode,
    exitsignal: p.exitsignal,
  });
  const { cmd, summary, stdoutDigest, stderrDigest, interrupted, completeness, undeclared } = v02;
  return {
    cmd,
    exitcode: v02.exitcode ?? 0,
    summary,
    stdout: v02.stdout ?? "",
    stderr: v02.stderr ?? "",
    stdoutDigest,
    stderrDigest,
    interrupted,
    processes: v02.paths === null ? undefined : v02.processes.map(one),
    completeness,
    undeclared,
  };
}

describe.each(Object.entries(samples))("%s", (_, of) => {
  test("says the same as v0.1", () => {
    const v01 = JSON.parse(Buffer.from(encodeJson(commandRunPredicate(of, options))).toString());
    expect(decoded(parsed(of))).toEqual(v01);
  });

  test("each section stands where `_meta` says, `_meta` first", () => {
    const bytes = bytesOf(of);
    const predicate = parsed(of);
    expect(Object.keys(predicate)[0]).toBe("_meta");
    const { sections } = predicate._meta;
    expect(Object.keys(sections)).toEqual(Object.keys(predicate).slice(1).sort());
    for (const [name, [first, last]] of Object.entries<[number, number]>(sections)) {
      expect(JSON.parse(bytes.subarray(first, last + 1).toString())).toEqual(JSON.parse(JSON.stringify(predicate[name])));
    }
  });
});

test("the order of the keys is the format's", () => {
  const predicate = parsed(samples.several ?? observation());
  expect(Object.keys(predicate)).toEqual(
    "_meta summary digests paths comms cmdlines processes cmd exitcode stdout stdoutDigest stderrDigest completeness argvs environments".split(
      " ",
    ),
  );
  expect(Object.keys(predicate._meta)).toEqual("version captureMode traceBackend keyGuard counts sections".split(" "));
  expect(Object.keys(predicate.processes[0]).slice(0, 13)).toEqual(
    "processid parentpid commId execPathId cmdlineId programDigestId exeDigestId openedFiles writtenFiles unhashedOpens network fileOps syscalls".split(
      " ",
    ),
  );
});

test("numbers come in the order of first use; files are sorted by path; absent is -1", () => {
  const { processes, paths, digests, _meta } = parsed(samples.several ?? observation());
  expect(paths.slice(0, 4)).toEqual(["/usr/bin/cc", "/a", "/dev/null", "/usr/include/stdio.h"]);
  expect(digests.map((entry: Json) => entry.digests.sha256)).toEqual([2, 3, 4, 5, 6].map(sha));
  expect(processes[0]).toMatchObject({
    programDigestId: 0,
    exeDigestId: 1,
    openedFiles: [
      { pathId: 1, digestId: 0 },
      { pathId: 2, digestId: -1 },
      { pathId: 3, digestId: 2 },
    ],
  });
  expect(processes[1]).toMatchObject({ commId: -1, execPathId: -1, cmdlineId: -1, programDigestId: -1, exeDigestId: -1 });
  expect(_meta.counts).toEqual({
    processes: 3,
    uniquePaths: paths.length,
    uniqueDigests: 5,
    uniqueComms: 1,
    uniqueCmdlines: 1,
    materials: 3,
    products: 1,
  });
});

test("untraced: the tables are null, there are no processes, exit status 0 and empty output are left out", () => {
  const predicate = parsed(observation({ stdout: stream("") }));
  expect(predicate).toMatchObject({ digests: null, paths: null, comms: null, processes: [] });
  for (const name of ["cmdlines", "exitcode", "stdout", "stderr"]) expect(predicate).not.toHaveProperty(name);
  expect(predicate._meta).toMatchObject({ version: "v0.2", keyGuard: guard });
  expect(predicate._meta).not.toHaveProperty("captureMode");
});

test("a record in which a range gets a digit more", () => {
  for (let length = 0; length < 1200; length += 7) {
    const bytes = bytesOf(observation({ stdout: stream("x".repeat(length)) }));
    const [first, last] = JSON.parse(bytes.toString())._meta.sections.stderrDigest;
    expect(JSON.parse(bytes.subarray(first, last + 1).toString())).toMatchObject({ sha256: sha(1) });
  }
});
