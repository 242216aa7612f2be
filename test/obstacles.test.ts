// Why tracing is impossible, as a pure table: what was read and tried on the left, the one cause that is named on the right. Places
// that no test can make here (Yama, gVisor, SELinux, an old kernel) are rows too; test/tracing-impossible.test.ts makes the others.
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import { examine } from "../src/commands/doctor.ts";
import { Library } from "../src/native/library.ts";
import { knownObstacle, obstacleTo } from "../src/native/obstacles.ts";
import { type Ask, askLibrary, type ProbeAnswer, type ProbeName, probeNames } from "../src/native/probe.ts";
import { findGvisor, isOlderThan, type Surroundings } from "../src/native/surroundings.ts";
import { doctorText } from "../src/reports/doctor.ts";

type Answers = Partial<Record<ProbeName, ProbeAnswer>>;

const plain: Surroundings = { kernel: "6.8.0-45-generic", isRoot: false, denyPtrace: false };
const no = (errno: keyof typeof constants.errno): ProbeAnswer => ({ kind: "refused", errno: constants.errno[errno] });
const none: ProbeAnswer = { kind: "no-answer" };
const privileged: ProbeAnswer = { kind: "works", value: 2 ** 19 + 2 ** 21 };

/** An ordinary user for whom all works but what the row says. */
const answering =
  (answers: Answers): Ask =>
  probe =>
    answers[probe] ?? { kind: "works", value: probe === "descriptor_limit" ? 524288 : 0 };

interface Row {
  name: string;
  place?: Partial<Surroundings>;
  answers?: Answers;
  obstacle: string | undefined;
}

const seizeRefused: Answers = { seize: no("EPERM"), call_info: no("EPERM"), filter_stop: no("EPERM") };
const rows: Row[] = [
  { name: "all works", obstacle: undefined },
  {
    name: "Docker's profile without SYS_PTRACE",
    answers: { process_vm_readv: no("EPERM"), pidfd_getfd: no("EPERM") },
    obstacle: undefined,
  },
  { name: "an ordinary user", answers: { filter_plain: no("EACCES") }, obstacle: undefined },
  {
    name: "no user namespaces, no PTRACE_SET_SYSCALL_INFO",
    answers: { user_namespace: no("EPERM"), set_call_info: no("EIO") },
    obstacle: undefined,
  },
  {
    name: "gVisor",
    place: { gvisor: "it says so", kernel: "4.19.0-gvisor" },
    answers: { seize: no("EINVAL") },
    obstacle: "gvisor",
  },
  {
    name: "qemu-user",
    place: { emulator: "/usr/bin/qemu-x86_64" },
    answers: { seize: { kind: "not-tried" } },
    obstacle: "emulated",
  },
  { name: "an emulator that has ptrace", place: { emulator: "/x" }, obstacle: undefined },
  { name: "an old kernel", place: { kernel: "4.18.0-553.el8" }, obstacle: "old-kernel" },
  { name: "no /proc", answers: { proc_self: no("ENOENT") }, obstacle: "no-proc" },
  { name: "another namespace's /proc", answers: { proc_self: no("EXDEV") }, obstacle: "foreign-proc" },
  {
    name: "traced by strace -f",
    place: { tracer: { pid: 7, name: "strace" } },
    answers: seizeRefused,
    obstacle: "traced-already",
  },
  { name: "traced by a debugger that leaves children alone", place: { tracer: { pid: 7, name: "gdb" } }, obstacle: undefined },
  { name: "a profile that refuses ptrace", answers: { ...seizeRefused, ptrace_call: no("EPERM") }, obstacle: "ptrace-refused" },
  {
    name: "a profile that kills for ptrace",
    answers: { ptrace_call: { kind: "killed", signal: 31 } },
    obstacle: "ptrace-refused",
  },
  { name: "Yama 3", place: { yama: 3 }, answers: { ...seizeRefused, capabilities: privileged }, obstacle: "yama-3" },
  { name: "Yama 2", place: { yama: 2 }, answers: seizeRefused, obstacle: "yama-2" },
  { name: "Yama 2 for root", place: { yama: 2 }, answers: { capabilities: privileged }, obstacle: undefined },
  {
    name: "Yama 2 for root, but something else refuses",
    place: { yama: 2 },
    answers: { ...seizeRefused, capabilities: privileged },
    obstacle: "seize-refused",
  },
  { name: "Yama 1", place: { yama: 1 }, obstacle: undefined },
  { name: "Yama 1, but something else refuses", place: { yama: 1 }, answers: seizeRefused, obstacle: "seize-refused" },
  { name: "SELinux's deny_ptrace", place: { denyPtrace: true }, answers: seizeRefused, obstacle: "selinux" },
  { name: "deny_ptrace that does not reach us", place: { denyPtrace: true }, obstacle: undefined },
  { name: "AppArmor", place: { label: "docker-default (enforce)" }, answers: seizeRefused, obstacle: "seize-refused" },
  { name: "no GET_SYSCALL_INFO", answers: { call_info: no("EIO") }, obstacle: "no-call-info" },
  { name: "a sandbox where nothing ever stops", answers: { call_info: none }, obstacle: "no-call-info" },
  {
    name: "a profile that refuses seccomp",
    answers: { seccomp_call: no("EPERM"), filter_plain: no("EPERM"), filter_no_new_privs: no("EPERM"), filter_stop: no("EPERM") },
    obstacle: "seccomp-refused",
  },
  {
    name: "a kernel without filters",
    answers: { filter_plain: no("EINVAL"), filter_no_new_privs: no("EINVAL"), filter_stop: no("EINVAL") },
    obstacle: "no-filter",
  },
  { name: "filters that stop nothing", answers: { filter_stop: no("ENOSYS") }, obstacle: "no-stop" },
  { name: "memory by neither way", answers: { process_vm_readv: no("EPERM"), proc_mem: no("EPERM") }, obstacle: "no-memory" },
  {
    name: "descriptors by neither way",
    answers: { pidfd_getfd: no("EPERM"), proc_fd: no("EACCES") },
    obstacle: "no-descriptors",
  },
  {
    name: "a profile older than pidfd_open",
    answers: { pidfd_open: no("EPERM"), pidfd_getfd: no("EPERM") },
    obstacle: "no-pidfd",
  },
];

describe("the obstacle that is named", () => {
  for (const { name, place, answers, obstacle } of rows) {
    test(name, () => {
      const surroundings = { ...plain, ...place };
      const ask = answering(answers ?? {});
      const found = obstacleTo(surroundings, ask);
      expect(found?.id).toBe(obstacle);
      // One sentence on the cause, one on what to do, as they are printed.
      if (found !== undefined) {
        expect(found.cause).toMatch(/^[a-zA-Z/][^\n]*[^.\n]$/);
        expect(found.remedy).toMatch(/^[a-z][^\n]*[^.\n]$/);
      }
      // The table of probes does not contradict it: a row blocks exactly where there is an obstacle.
      const report = examine(surroundings, ask);
      expect(report.verdict === "impossible").toBe(obstacle !== undefined);
      expect(report.obstacle).toBe(obstacle);
      if (obstacle === undefined) expect(report.rows.filter(row => row.state === "blocks").map(row => row.id)).toEqual([]);
    });
  }
});

test("what is known before a run without trying", () => {
  const code = (place: Partial<Surroundings>) => knownObstacle({ ...plain, ...place })?.code;
  expect(code({})).toBeUndefined();
  expect(code({ kernel: "5.3.18" })).toBe("tracing-impossible");
  expect(code({ gvisor: "it says so" })).toBe("tracing-impossible");
  // Known only by trying.
  expect(code({ yama: 3, tracer: { pid: 7, name: "strace" }, denyPtrace: true })).toBeUndefined();
});

test("releases of kernels", () => {
  const rows: [release: string, older: boolean][] = [
    ["5.4.0", false],
    ["5.4", false],
    ["5.3.18-lp152", true],
    ["4.19.0-gvisor", true],
    ["5.10.0-28-amd64", false],
    ["6.1.0", false],
    ["10.0.0", false],
    ["3.10.0-1160.el7", true],
    ["something", false],
  ];
  for (const [release, older] of rows) expect([release, isOlderThan(release, [5, 4])]).toEqual([release, older]);
});

test("gVisor, by what its kernel says of itself", () => {
  const version = "#1 SMP Sun Jan 10 15:06:54 PST 2016";
  expect(findGvisor("4.4.0", version)).toBeDefined();
  expect(findGvisor("4.19.0-gvisor", version)).toBeDefined();
  expect(findGvisor("4.4.0", "#1 SMP Mon Feb 1 10:00:00 UTC 2016")).toBeUndefined();
});

test("the verdict: slower, and by what", () => {
  const report = examine(plain, answering({ process_vm_readv: no("EPERM"), pidfd_getfd: no("EPERM") }));
  expect(report.verdict).toBe("slower");
  expect(report.rows.filter(row => row.state === "slower").map(row => row.id)).toEqual(["process-vm-readv", "pidfd-getfd"]);
  expect(doctorText(report, { colour: false })).toContain("tracing works here, slower: process_vm_readv: EPERM");
  expect(examine(plain, answering({ descriptor_limit: { kind: "works", value: 1024 } })).verdict).toBe("slower");
  expect(examine(plain, answering({ filter_plain: no("EACCES") })).verdict).toBe("works");
});

test("what to do where root has no CAP_SYS_ADMIN, as in Docker, is no advice to be root", () => {
  const advice = (isRoot: boolean, answers: Answers) =>
    examine({ ...plain, isRoot }, answering(answers)).rows.flatMap(({ id, remedy }) =>
      ["filter-plain", "set-uid"].includes(id) ? [remedy ?? "none"] : [],
    );
  for (const text of advice(true, { filter_plain: no("EACCES") })) {
    expect(text).toContain("--cap-add=SYS_ADMIN");
    expect(text).not.toContain("run as root");
  }
  for (const text of advice(false, { filter_plain: no("EACCES") })) expect(text).toContain("run as root");
  expect(advice(true, {})).toEqual(["none", expect.stringContaining("--cap-add=SYS_PTRACE")]);
  expect(advice(true, { capabilities: privileged })).toEqual(["none", "none"]);
});

test("every name is a probe of the library, and every probe answers", () => {
  const ask = askLibrary(new Library());
  for (const name of probeNames) expect([name, ask(name).kind]).not.toEqual([name, "no-answer"]);
  const source = readFileSync(`${import.meta.dir}/../zig/probe.zig`, "utf8");
  const declared = /pub const Probe = enum \{([\s\S]*?)\};/
    .exec(source)?.[1]
    ?.match(/^ {4}\w+(?=,)/gm)
    ?.map(name => name.trim());
  expect(declared).toEqual([...probeNames]);
});
