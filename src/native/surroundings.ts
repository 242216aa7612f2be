// Where we run, as far as files say it: /proc, and what container runtimes leave behind. Nothing is tried here
// (src/native/probe.ts does that); what cannot be read is not known, and each finding says how it is known.
import { existsSync, readFileSync, readlinkSync } from "node:fs";
import { release, version } from "node:os";

export interface Surroundings {
  /** uname -r */
  kernel: string;
  /** Of user 0, here: what it may is another question. */
  isRoot: boolean;
  /** What says that this is gVisor's kernel. */
  gvisor?: string;
  /** The program that executes us in place of the processor. */
  emulator?: string;
  container?: { name: string; knownBy: string };
  /** Of this process. */
  tracer?: { pid: number; name: string };
  /** kernel.yama.ptrace_scope; absent without Yama. */
  yama?: number;
  /** Of SELinux or AppArmor. */
  label?: string;
  /** SELinux's boolean that forbids ptrace to everybody. */
  denyPtrace: boolean;
}

export function readSurroundings(): Surroundings {
  const gvisor = findGvisor(release(), version());
  const emulator = findEmulator();
  const container = findContainer();
  const tracer = findTracer();
  const yama = readYama();
  const label = text("/proc/self/attr/current")?.replace(/\0.*$/s, "");
  return {
    kernel: release(),
    isRoot: process.geteuid?.() === 0,
    ...(gvisor === undefined ? {} : { gvisor }),
    ...(emulator === undefined ? {} : { emulator }),
    ...(container === undefined ? {} : { container }),
    ...(tracer === undefined ? {} : { tracer }),
    ...(yama === undefined ? {} : { yama }),
    ...(label === undefined || label === "" ? {} : { label }),
    denyPtrace: text("/sys/fs/selinux/booleans/deny_ptrace")?.startsWith("1") === true,
  };
}

/** Undefined without Yama. */
export function readYama(): number | undefined {
  const scope = text("/proc/sys/kernel/yama/ptrace_scope");
  return scope === undefined || !/^\d$/.test(scope) ? undefined : Number(scope);
}

/** Without those that only wait for their status to be read. Where the kernel does not list them: none. */
export function hasChildren(): boolean {
  const numbers = text(`/proc/self/task/${process.pid}/children`)?.trim().split(" ") ?? [];
  return numbers.some(number => /^\d+ \(.*\) [^ZX] /s.test(text(`/proc/${number}/stat`) ?? ""));
}

/** Major and minor number; a release without them counts as new. */
export function isOlderThan(kernel: string, [major, minor]: readonly [number, number]): boolean {
  const numbers = /^(\d+)\.(\d+)/.exec(kernel);
  if (numbers === null) return false;
  const [own, ownMinor] = [Number(numbers[1]), Number(numbers[2])];
  return own < major || (own === major && ownMinor < minor);
}

/** The oldest kernel with all that the tracer cannot do without (PTRACE_GET_SYSCALL_INFO and pidfd_open came in 5.3). */
export const oldestKernel = [5, 4] as const;

/** gVisor reports the build time of Linux 4.4, whatever release it claims to be. */
export function findGvisor(kernel: string, kernelText: string): string | undefined {
  if (kernel.includes("gvisor")) return `its kernel calls itself ${kernel}`;
  return kernelText.includes("Sun Jan 10 15:06:54 PST 2016") ? `its kernel's version is gVisor's, "${kernelText}"` : undefined;
}

/** An emulator answers for /proc/self/exe itself, but not for the same link of a thread (tried: qemu-user). */
function findEmulator(): string | undefined {
  const shown = link("/proc/self/exe");
  const real = link(`/proc/self/task/${process.pid}/exe`);
  return shown !== undefined && real !== undefined && shown !== real ? real : undefined;
}

/** Left behind by the runtime for whoever asks. */
const containerMarks: [path: string, name: string][] = [
  ["/.dockerenv", "Docker"],
  ["/run/.containerenv", "Podman"],
  ["/var/run/secrets/kubernetes.io", "Kubernetes"],
];
const containerGroups: [pattern: RegExp, name: string][] = [
  [/kubepods/, "Kubernetes"],
  [/docker/, "Docker"],
  [/libpod/, "Podman"],
  [/\/lxc/, "LXC"],
];

/** The number of the machine's first pid namespace: PROC_PID_INIT_INO. */
const firstPidNamespace = "pid:[4026531836]";

function findContainer(): Surroundings["container"] {
  for (const [path, name] of containerMarks) if (existsSync(path)) return { name, knownBy: `${path} is there` };
  const groups = text("/proc/1/cgroup") ?? "";
  for (const [pattern, name] of containerGroups)
    if (pattern.test(groups)) return { name, knownBy: `/proc/1/cgroup says ${groups.split("\n")[0]}` };
  const declared = process.env.container;
  if (declared !== undefined && declared !== "") return { name: declared, knownBy: `the variable "container" says ${declared}` };
  const namespace = link("/proc/self/ns/pid");
  if (namespace !== undefined && namespace !== firstPidNamespace)
    return { name: "a container or sandbox", knownBy: "the pid namespace is not the machine's first" };
  return undefined;
}

function findTracer(): Surroundings["tracer"] {
  const pid = Number(/^TracerPid:\s*(\d+)/m.exec(text("/proc/self/status") ?? "")?.[1] ?? 0);
  // 0 of a process of another pid namespace: not seen from here, and so no matter.
  return pid === 0 ? undefined : { pid, name: text(`/proc/${pid}/comm`) ?? "an unknown program" };
}

function text(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return undefined;
  }
}

function link(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}
