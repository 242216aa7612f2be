// Why tracing is impossible in a place, in one sentence each, and what to do about it. `cilock doctor` and a run that
// could not begin ask the same table, so that they never disagree.
import { constants } from "node:os";
import { ToolError } from "../errors.ts";
import type { Library } from "./library.ts";
import { errnoName, errnoText, signalName } from "./names.ts";
import { type Ask, askLibrary, capability, hasCapability, type ProbeAnswer, works } from "./probe.ts";
import { isOlderThan, oldestKernel, readSurroundings, type Surroundings } from "./surroundings.ts";

export interface Obstacle {
  /** For programs that read the JSON; a closed list, one per row below. */
  id: string;
  /** Completes "cannot trace: …". */
  cause: string;
  remedy: string;
}

const pidfdRemedy =
  "the seccomp profile is older than Linux 5.3: update the container engine, or docker run --security-opt seccomp=unconfined";

interface Row {
  id: string;
  cause: (place: Surroundings, ask: Ask) => string | undefined;
  remedy: string;
}

const unobserved = "without --trace the command runs unobserved";
const allowPtrace =
  "use a seccomp profile that allows it (docker run --cap-add=SYS_PTRACE, or --security-opt seccomp=unconfined)";

/** What is known without trying comes first, and a cause before its consequences. */
const rows: readonly Row[] = [
  {
    id: "gvisor",
    cause: ({ gvisor }) =>
      gvisor === undefined ? undefined : "this is gVisor, whose kernel cannot stop a process at a system call for us",
    remedy: "use another container runtime (docker run --runtime=runc)",
  },
  {
    id: "emulated",
    cause: ({ emulator }, ask) =>
      emulator === undefined || works(ask("seize")) ? undefined : `this program is emulated by ${emulator}, which has no ptrace`,
    remedy:
      "run it on a machine with an x86-64 processor (docker run --platform chooses the image's), or emulate a whole machine",
  },
  {
    id: "old-kernel",
    cause: ({ kernel }) =>
      isOlderThan(kernel, oldestKernel) ? `Linux ${kernel} is too old, ${oldestKernel.join(".")} is needed` : undefined,
    remedy: "use a newer kernel",
  },
  {
    id: "no-proc",
    cause: (_, ask) => (refusedWith(ask("proc_self"), "ENOENT") ? "/proc is not mounted" : undefined),
    remedy: `mount -t proc proc /proc; ${unobserved}`,
  },
  {
    id: "foreign-proc",
    cause: (_, ask) => (works(ask("proc_self")) ? undefined : "/proc is that of another pid namespace"),
    remedy: `mount -t proc proc /proc in this namespace (unshare has --mount-proc); ${unobserved}`,
  },
  {
    id: "traced-already",
    cause: ({ tracer }, ask) =>
      tracer === undefined || works(ask("seize"))
        ? undefined
        : `we are traced already, by ${tracer.name} (process ${tracer.pid}), and a process has one tracer`,
    remedy: `run this without the other tracer around it; ${unobserved}`,
  },
  {
    id: "ptrace-refused",
    cause: (_, ask) =>
      works(ask("ptrace_call")) ? undefined : `a seccomp profile refuses ptrace (${answerName(ask("ptrace_call"))})`,
    remedy: `${allowPtrace}; ${unobserved}`,
  },
  {
    id: "yama-3",
    cause: ({ yama }, ask) =>
      yama === 3 && !works(ask("seize"))
        ? "kernel.yama.ptrace_scope is 3, which forbids ptrace to everybody until the next boot"
        : undefined,
    remedy: `set kernel.yama.ptrace_scope=1 in /etc/sysctl.d and boot again; ${unobserved}`,
  },
  {
    id: "yama-2",
    cause: ({ yama }, ask) =>
      yama === 2 && !works(ask("seize")) && !hasCapability(ask, capability.sysPtrace)
        ? "kernel.yama.ptrace_scope is 2, which allows ptrace only with CAP_SYS_PTRACE"
        : undefined,
    remedy: `run as root with CAP_SYS_PTRACE, or sysctl -w kernel.yama.ptrace_scope=1; ${unobserved}`,
  },
  {
    id: "selinux",
    cause: ({ denyPtrace }, ask) => (denyPtrace && !works(ask("seize")) ? "SELinux's boolean deny_ptrace is on" : undefined),
    remedy: `setsebool deny_ptrace off; ${unobserved}`,
  },
  {
    id: "seize-refused",
    cause: ({ label }, ask) =>
      works(ask("seize"))
        ? undefined
        : `the kernel does not let us trace our own child (${answerName(ask("seize"))})${label === undefined ? "" : `; our security label is ${label}`}`,
    remedy: `a security module (AppArmor, SELinux) or the sandbox that we are in forbids it: look into its log; ${unobserved}`,
  },
  {
    id: "no-call-info",
    cause: (_, ask) =>
      works(ask("call_info")) ? undefined : `system calls of a stopped process cannot be read (${answerName(ask("call_info"))})`,
    remedy: `this kernel or sandbox lacks PTRACE_GET_SYSCALL_INFO of Linux 5.3: use another; ${unobserved}`,
  },
  {
    id: "seccomp-refused",
    cause: (_, ask) =>
      works(ask("seccomp_call")) ? undefined : `a seccomp profile refuses seccomp itself (${answerName(ask("seccomp_call"))})`,
    remedy: `use a profile that allows seccomp(2), as Docker's own does (--security-opt seccomp=unconfined allows everything); ${unobserved}`,
  },
  {
    id: "no-filter",
    cause: (_, ask) =>
      works(ask("filter_plain")) || works(ask("filter_no_new_privs"))
        ? undefined
        : `the kernel takes no seccomp filter (${answerName(ask("filter_no_new_privs"))})`,
    remedy: `the kernel needs CONFIG_SECCOMP_FILTER; ${unobserved}`,
  },
  {
    id: "no-stop",
    cause: (_, ask) =>
      works(ask("filter_stop")) ? undefined : `system calls do not stop for us (${answerName(ask("filter_stop"))})`,
    remedy: `the kernel or sandbox that we are in lacks PTRACE_EVENT_SECCOMP: use another; ${unobserved}`,
  },
  {
    id: "no-memory",
    cause: (_, ask) =>
      works(ask("process_vm_readv")) || works(ask("proc_mem"))
        ? undefined
        : `the memory of our own child cannot be read (${answerName(ask("proc_mem"))})`,
    remedy: `allow process_vm_readv, or the use of /proc/PID/mem; ${unobserved}`,
  },
  {
    id: "no-descriptors",
    cause: (_, ask) =>
      works(ask("pidfd_getfd")) || works(ask("proc_fd"))
        ? undefined
        : `the open files of our own child cannot be seen (${answerName(ask("proc_fd"))})`,
    remedy: `allow pidfd_getfd, or the use of /proc/PID/fd; ${unobserved}`,
  },
  {
    id: "no-pidfd",
    cause: (_, ask) => (works(ask("pidfd_open")) ? undefined : `pidfd_open is refused (${answerName(ask("pidfd_open"))})`),
    remedy: pidfdRemedy,
  },
];

export function obstacleTo(place: Surroundings, ask: Ask): Obstacle | undefined {
  for (const { id, cause, remedy } of rows) {
    const found = cause(place, ask);
    if (found !== undefined) return { id, cause: found, remedy };
  }
  return undefined;
}

/** After a run that could not begin. Undefined: all that we know to try works here. */
export function tracingImpossible(library: Library): ToolError | undefined {
  return asError(obstacleTo(readSurroundings(), askLibrary(library)));
}

/** Before a run, by what is known without trying: a kernel without what we need may fail in ways that look like the command's. */
export function knownObstacle(place: Surroundings = readSurroundings()): ToolError | undefined {
  return asError(obstacleTo(place, () => ({ kind: "works", value: 0 })));
}

/** The command's output could not be connected: traced or not, a run needs pidfd_open. */
export function cannotStart(library: Library): ToolError {
  const answer = askLibrary(library)("pidfd_open");
  if (works(answer)) {
    return new ToolError("command-not-started", "cannot connect the command's output", {
      hint: "look at ulimit -n and ulimit -u",
    });
  }
  return new ToolError("command-not-started", `cannot run a command: pidfd_open is refused (${answerName(answer)})`, {
    hint: pidfdRemedy,
  });
}

function asError(obstacle: Obstacle | undefined): ToolError | undefined {
  if (obstacle === undefined) return undefined;
  return new ToolError("tracing-impossible", `cannot trace: ${obstacle.cause}`, { hint: obstacle.remedy });
}

/** For people who look for it: the error's name and its words. */
export function answerText(answer: ProbeAnswer): string {
  if (answer.kind !== "refused") return answerName(answer);
  const [name, text] = [errnoName(answer.errno), errnoText(answer.errno)];
  return name === text ? name : `${name}, ${text}`;
}

/** A filter answers with any error it likes: its words would mislead. */
function answerName(answer: ProbeAnswer): string {
  switch (answer.kind) {
    case "works":
      return "works";
    case "refused":
      return errnoName(answer.errno);
    case "killed":
      return `killed by ${signalName(answer.signal)}`;
    case "no-answer":
      return "no answer";
    case "not-tried":
      return "could not be tried, for want of a process";
  }
}

function refusedWith(answer: ProbeAnswer, errno: keyof typeof constants.errno): boolean {
  return answer.kind === "refused" && answer.errno === constants.errno[errno];
}
