// The predicate as the contract lists it: order of fields, what is left out when empty, secrets, exact integers.
import { describe, expect, test } from "bun:test";
import { encodeJson } from "../src/attestation/json-writer.ts";
import type { AttestorOptions } from "../src/attestors/attestor.ts";
import { commandRunPredicate } from "../src/attestors/command-run.ts";
import { createRedaction } from "../src/redaction.ts";
import { formatTime } from "../src/time.ts";
import { emptyFileOps } from "../src/trace/file-operations.ts";
import type { CapturedStream, Observation, ProcessObservation, TraceObservation } from "../src/trace/observation.ts";

const second = 1_000_000_000n;
const start = 1_700_000_000n * second;

const stream = (text: string | Uint8Array, redactions = 0): CapturedStream => {
  const bytes = Buffer.from(text);
  return { bytes, sha256: "ab", length: bytes.length + 5, redactions };
};

const observation = (changes: Partial<Observation> = {}): Observation => ({
  argv: ["make", "-j2"].map(word => Buffer.from(word)),
  environment: [],
  workingDirectory: "/src",
  startTime: start,
  endTime: start + 3n * second + 7n,
  exitCode: 0,
  stdout: stream("out\n"),
  stderr: stream(""),
  survivorsKilled: 0,
  ...changes,
});

const process = (changes: Partial<ProcessObservation> = {}): ProcessObservation => ({
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

const trace = (...processes: ProcessObservation[]): TraceObservation => ({
  processes,
  completeness: {
    verdict: "complete",
    gaps: [],
    tracer: {
      mode: "ptrace",
      detail: "normal",
      kernel: "6.1",
      privileged: true,
      features: ["pidfd_getfd"],
      ignoredSyscalls: "cd",
    },
  },
  totals: { processes: processes.length, writes: 0 },
  outliers: { suspiciousOps: {} },
  diagnostics: { unhashedOpensTotal: 0 },
  failedOpens: 0,
});

const options = (changes: Partial<AttestorOptions> = {}): AttestorOptions => ({
  attestations: ["environment", "git"],
  isSensitiveVariable: name => name.includes("TOKEN"),
  redact: text => ({ text, count: 0 }),
  ...changes,
});

const encoded = (of: Observation, with_: AttestorOptions = options()): string =>
  new TextDecoder().decode(encodeJson(commandRunPredicate(of, with_)));
const parsed = (of: Observation, with_?: AttestorOptions) => JSON.parse(encoded(of, with_));
const traced = (changes: Partial<ProcessObservation>, with_?: AttestorOptions) =>
  parsed(observation({ trace: trace(process(changes)) }), with_).processes[0];

describe("without --trace", () => {
  test("the whole predicate, byte for byte", () => {
    expect(encoded(observation())).toBe(
      '{"cmd":["make","-j2"],"exitcode":0,"summary":{"durationNs":3000000007,"totals":{},"outliers":{},"diagnostics":{}},' +
        '"stdout":"out\\n","stderr":"","stdoutDigest":{"sha256":"ab","bytes":9,"captured":4},' +
        '"stderrDigest":{"sha256":"ab","bytes":5,"captured":0}}',
    );
  });

  test("a signal to us and a failing command", () => {
    const { exitcode, interrupted } = parsed(observation({ exitCode: 143, signal: "SIGTERM", interrupted: "SIGTERM" }));
    expect({ exitcode, interrupted }).toEqual({ exitcode: 143, interrupted: "SIGTERM" });
  });

  test("output that is not UTF-8 becomes U+FFFD; a byte order mark stays", () => {
    const bytes = Buffer.concat([Buffer.from("\ufeffa"), Buffer.from([0xff, 0xc3])]);
    expect(parsed(observation({ stdout: stream(bytes) })).stdout).toBe("\ufeffa\ufffd\ufffd");
  });

  test("a long output is the same text in pieces: bytes that are no UTF-8, characters and secrets that pieces would cut", () => {
    const unit = "abcdefgh☃😀ä";
    const bytes = Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from(unit.repeat(1 << 17)), Buffer.from([0xf0, 0x9f])]);
    const long = stream(bytes);
    const { redact, redactPieces } = createRedaction([Buffer.from("MY_TOKEN=abcdefgh")]);
    if (redactPieces === undefined) throw new Error("there is a secret");
    const plain = parsed(observation({ stdout: long }));
    expect(plain.stdout === `\ufeff${unit.repeat(1 << 17)}\ufffd`).toBe(true);
    const hidden = parsed(observation({ stdout: long }), options({ redact, redactPieces }));
    expect(hidden.stdout === `\ufeff${"[REDACTED]☃😀ä".repeat(1 << 17)}\ufffd`).toBe(true);
    expect(hidden.summary.redactions).toBe(1 << 17);
  });

  test("words keep their backslashes; only those that are not UTF-8 are escaped", () => {
    const argv = ["a\\n", "ä", "7"].map(word => Buffer.from(word));
    argv.push(Buffer.from([0x5c, 0xff]));
    expect(parsed(observation({ argv })).cmd).toEqual(["a\\n", "ä", "7", "\\\\\\xFF"]);
  });
});

describe("with --trace", () => {
  test("one process with everything: the order of the fields is the contract's", () => {
    const ops = emptyFileOps();
    for (const list of Object.values(ops)) {
      list.push({
        path: "/p",
        oldPath: "/o",
        newPath: "/n",
        target: "t",
        bytes: 1,
        mode: 0o755,
        length: 2n,
        uid: 3,
        gid: 4,
        name: "user.x",
        time: start,
      } as never);
    }
    const full = traced({
      program: "/bin/sh",
      programDigest: { sha256: "01" },
      comm: "sh",
      argv: ["sh", "-c", "true"],
      executableDigest: { sha256: "02" },
      cwd: "/src",
      root: "/jail",
      environment: [Buffer.from("B=2"), Buffer.from("A=1")],
      speculationVulnerable: true,
      images: [{ program: "/bin/env", argv: ["env"], executableDigest: { sha256: "03" }, time: start }],
      endTime: start + second,
      exitCode: 137,
      exitSignal: "SIGKILL",
      openedFiles: new Map([
        ["/a", { sha256: "04" }],
        ["/b", {}],
      ]),
      writtenDigests: new Map([["/c", { sha256: "05" }]]),
      fileVersions: new Map([["/a", [{ sha256: "04" }, { sha256: "06" }]]]),
      unhashedOpens: [{ path: "/b", reason: "directory" }],
      fileOps: ops,
      network: {
        sockets: [{ family: "AF_INET", type: "SOCK_STREAM", protocol: 0, fd: 3 }],
        connections: [
          {
            syscall: "connect",
            family: "AF_INET",
            address: "1.2.3.4",
            port: 443,
            fd: 3,
            time: start,
            result: 0,
            hostname: "h",
            hostnameSource: "sni",
          },
        ],
        dnsLookups: [{ serverAddress: "8.8.8.8", serverPort: 53, names: ["h"] }],
      },
      syscallEvents: [{ syscall: "setsid", args: [], result: 0, time: start }],
    });
    expect(Object.keys(full)).toEqual(
      (
        "program processid parentpid programdigest comm cmdline argv exedigest openedfiles writtenDigests fileVersions unhashedOpens environ env " +
        "specbypassisvuln root images starttime endtime cwd network fileOps syscallEvents exitcode exitsignal"
      ).split(" "),
    );
    expect(full).toMatchObject({
      cmdline: "sh -c true",
      openedfiles: { "/a": { sha256: "04" }, "/b": {} },
      environ: "A=1 B=2",
      env: { A: "1", B: "2" },
      images: [{ program: "/bin/env", argv: ["env"], exedigest: { sha256: "03" }, time: "2023-11-14T22:13:20.000000000Z" }],
      starttime: "2023-11-14T22:13:20.000000000Z",
      endtime: "2023-11-14T22:13:21.000000000Z",
    });
    expect(Object.keys(full.network.connections[0])).toEqual(
      "syscall family address port fd timestamp hostname result hostnamesource".split(" "),
    );
    const stamp = { timestamp: "2023-11-14T22:13:20.000000000Z" };
    expect(full.fileOps).toEqual({
      writes: [{ path: "/p", bytes: 1, ...stamp }],
      renames: [{ oldPath: "/o", newPath: "/n", ...stamp }],
      deletes: [{ path: "/p", ...stamp }],
      permChanges: [{ path: "/p", mode: 0o755, setExec: true, ...stamp }],
      links: [{ oldPath: "/o", newPath: "/n", ...stamp }],
      symlinks: [{ target: "t", path: "/p", ...stamp }],
      mkdirs: [{ path: "/p", mode: 0o755, ...stamp }],
      nodes: [{ path: "/p", mode: 0o755, ...stamp }],
      truncates: [{ path: "/p", length: 2, ...stamp }],
      ownerChanges: [{ path: "/p", uid: 3, gid: 4, ...stamp }],
      timeChanges: [{ path: "/p", ...stamp }],
      xattrChanges: [{ path: "/p", name: "user.x", ...stamp }],
    });
  });

  test("a process of which nothing is known has only its ids and its start", () => {
    expect(traced({})).toEqual({ processid: 101, parentpid: 100, starttime: "2023-11-14T22:13:20.000000000Z" });
  });

  test("completeness stands at the end, with its tracer", () => {
    const of = trace();
    of.completeness.verdict = "incomplete";
    of.completeness.gaps.push({ kind: "limit", severity: "gap", count: 2, processIds: [5], detail: "d" });
    const predicate = parsed(observation({ trace: of }));
    expect(Object.keys(predicate).at(-1)).toBe("completeness");
    expect(predicate.processes).toEqual([]);
    expect(predicate.completeness).toEqual({
      verdict: "incomplete",
      gaps: [{ kind: "limit", severity: "gap", count: 2, processids: [5], detail: "d" }],
      tracer: {
        mode: "ptrace",
        detail: "normal",
        kernel: "6.1",
        privileged: true,
        features: ["pidfd_getfd"],
        ignoredSyscalls: "cd",
      },
    });
  });

  test("arguments of calls are exact beyond 2^53", () => {
    const event = { syscall: "mprotect", args: [0x7fff_ffff_ffff_f001n, -1n], time: start };
    expect(encoded(observation({ trace: trace(process({ syscallEvents: [event] })) }))).toContain(
      '"args":[9223372036854771713,-1]',
    );
  });

  test("keys from outside keep order and spelling", () => {
    const openedFiles = new Map([
      ["/z", {}],
      ["7", {}],
      ["__proto__", {}],
      ["/a", {}],
    ]);
    const text = encoded(
      observation({ trace: trace(process({ openedFiles, environment: ["__proto__=x", "9=y"].map(v => Buffer.from(v)) })) }),
    );
    expect(text).toContain('"openedfiles":{"/z":{},"7":{},"__proto__":{},"/a":{}}');
    expect(text).toContain('"env":{"9":"y","__proto__":"x"}');
  });

  test("argv with a backslash is what the program got", () => {
    expect(traced({ argv: ["printf", "a\\\\n", "\\xFF"] })).toMatchObject({
      argv: ["printf", "a\\n", "\\xFF"],
      cmdline: "printf a\\n \\xFF",
    });
  });

  test("figures: totals and diagnostics without zeros, outliers where there are any", () => {
    const of = trace(process());
    of.outliers = {
      largestRead: { path: "/big", bytes: 1n << 40n },
      mostOpened: { path: "/h", count: 3 },
      suspiciousOps: { ptrace: 1 },
    };
    of.diagnostics = { unhashedOpensTotal: 4 };
    of.failedOpens = 9;
    expect(parsed(observation({ trace: of })).summary).toEqual({
      durationNs: 3_000_000_007,
      totals: { processes: 1 },
      outliers: {
        largestRead: { path: "/big", bytes: 2 ** 40 },
        mostOpened: { path: "/h", count: 3 },
        suspiciousOps: { ptrace: 1 },
      },
      diagnostics: { unhashedOpensTotal: 4 },
      failedOpens: 9,
    });
  });
});

describe("secrets", () => {
  const redact = (text: string) => {
    const parts = text.split("hunter2222");
    return { text: parts.join("[REDACTED]"), count: parts.length - 1 };
  };

  test("values are replaced in cmd, argv, cmdline, stdout and stderr, and counted", () => {
    const of = observation({
      argv: [Buffer.from("login"), Buffer.from("--p=hunter2222")],
      stdout: stream("hunter2222 hunter2222"),
      stderr: stream("x", 3),
      trace: trace(
        process({
          argv: ["sh", "hunter2222"],
          images: [{ program: "/e", argv: ["hunter2222"], executableDigest: {}, time: start }],
        }),
      ),
    });
    const text = encoded(of, options({ redact }));
    expect(text).not.toContain("hunter2222");
    expect(JSON.parse(text)).toMatchObject({
      cmd: ["login", "--p=[REDACTED]"],
      stdout: "[REDACTED] [REDACTED]",
      summary: { redactions: 1 + 2 + 3 + 1 + 1 },
      processes: [{ argv: ["sh", "[REDACTED]"], cmdline: "sh [REDACTED]" }],
    });
  });

  test("variables that look secret are hidden in environ and env", () => {
    const environment = ["PATH=/bin", "API_TOKEN=abc", "EMPTY="].map(variable => Buffer.from(variable));
    expect(traced({ environment })).toMatchObject({
      environ: "API_TOKEN=****** EMPTY= PATH=/bin",
      env: { API_TOKEN: "******", EMPTY: "", PATH: "/bin" },
    });
  });

  test("each name is judged once, not once per process", () => {
    let asked = 0;
    const environment = [Buffer.from("A=1"), Buffer.from("B=2")];
    const processes = Array.from({ length: 50 }, () => process({ environment }));
    const isSensitiveVariable = () => {
      asked++;
      return false;
    };
    encoded(observation({ trace: trace(...processes) }), options({ isSensitiveVariable }));
    expect(asked).toBe(2);
  });

  test("without the environment attestor there is no environment", () => {
    const { environ, env } = traced({ environment: [Buffer.from("A=1")] }, options({ attestations: ["git"] }));
    expect([environ, env]).toEqual([undefined, undefined]);
  });
});

describe("times", () => {
  const rows: [ns: bigint, text: string][] = [
    [0n, "1970-01-01T00:00:00.000000000Z"],
    [1n, "1970-01-01T00:00:00.000000001Z"],
    [1_795_725_248_883_486_388n, "2026-11-26T20:34:08.883486388Z"],
    [-1n, "1969-12-31T23:59:59.999999999Z"],
  ];
  for (const [ns, text] of rows) test(text, () => expect(formatTime(ns)).toBe(text));
});
