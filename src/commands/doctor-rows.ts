// The rows of `cilock doctor`: from what was read and tried to what it means for a run. Pure.
import { handedOverMax } from "../native/abi.gen.ts";
import { answerText } from "../native/obstacles.ts";
import { type Ask, capability, hasCapability, numberOf, type ProbeName, works } from "../native/probe.ts";
import { isOlderThan, oldestKernel, type Surroundings } from "../native/surroundings.ts";
import type { DoctorRow, DoctorState } from "../reports/doctor.ts";

export function doctorRows(place: Surroundings, ask: Ask): DoctorRow[] {
  return [...placeRows(place, ask), ...tried.map(row => triedRow(row, place, ask)), ...processRows(place, ask)];
}

// ---------------------------------------------------------------------------------------------
// Read

function placeRows(place: Surroundings, ask: Ask): DoctorRow[] {
  const needed = oldestKernel.join(".");
  const proc = ask("proc_self");
  return [
    {
      id: "kernel",
      name: "kernel",
      state: isOlderThan(place.kernel, oldestKernel) ? "blocks" : "ok",
      result: `Linux ${place.kernel}`,
      meaning: `Linux ${needed} and later have what the tracer cannot do without`,
    },
    {
      id: "gvisor",
      name: "gVisor",
      state: place.gvisor === undefined ? "ok" : "blocks",
      result: place.gvisor ?? "no",
      meaning: "gVisor's own kernel answers system calls, and cannot stop a process at them for us",
      ...(place.gvisor === undefined ? {} : { remedy: "use another container runtime (docker run --runtime=runc)" }),
    },
    {
      id: "emulation",
      name: "emulation",
      state: place.emulator === undefined ? "ok" : works(ask("seize")) ? "fact" : "blocks",
      result: place.emulator === undefined ? "no" : `by ${place.emulator}: what the kernel runs is not what /proc/self/exe says`,
      meaning: "emulators of single programs have no ptrace",
    },
    {
      id: "container",
      name: "container",
      state: "fact",
      result: place.container === undefined ? "no sign of one" : `${place.container.name}: ${place.container.knownBy}`,
      meaning: "a container may have a seccomp profile; what it allows is tried below",
    },
    {
      id: "proc",
      name: "/proc",
      state: works(proc) ? "ok" : "blocks",
      result: works(proc) ? "mounted, of our pid namespace" : answerText(proc),
      meaning: "programs, working directories and open files of processes are read there",
      ...(works(proc) ? {} : { remedy: "mount -t proc proc /proc" }),
    },
    tracerRow(place, ask),
    yamaRow(place, ask),
  ];
}

function tracerRow({ tracer }: Surroundings, ask: Ask): DoctorRow {
  const blocks = tracer !== undefined && !works(ask("seize"));
  return {
    id: "tracer",
    name: "traced already",
    state: blocks ? "blocks" : "ok",
    result:
      tracer === undefined
        ? "no"
        : `by ${tracer.name} (process ${tracer.pid})${blocks ? "" : ", which leaves our children alone"}`,
    meaning: "a process has one tracer",
    ...(blocks ? { remedy: `run this without ${tracer.name} around it` } : {}),
  };
}

const scopes = [
  "every process of the same user may be traced",
  "only descendants may be traced, which ours are",
  "only CAP_SYS_PTRACE may trace",
  "nobody may trace until the next boot",
];

function yamaRow({ yama }: Surroundings, ask: Ask): DoctorRow {
  const blocks = (yama === 3 || (yama === 2 && !hasCapability(ask, capability.sysPtrace))) && !works(ask("seize"));
  return {
    id: "yama",
    name: "kernel.yama.ptrace_scope",
    state: blocks ? "blocks" : "ok",
    result: yama === undefined ? "not there" : `${yama}: ${scopes[yama] ?? "not known"}`,
    meaning: "0 and 1 are enough; 2 needs root; 3 forbids ptrace",
    ...(blocks
      ? {
          remedy:
            "set kernel.yama.ptrace_scope=1 (sysctl; from 3 only a boot leads back), or, where it is 2, run as root with CAP_SYS_PTRACE",
        }
      : {}),
  };
}

// ---------------------------------------------------------------------------------------------
// Tried

interface Tried {
  probe: ProbeName;
  name: string;
  /** Where it does not work. */
  without: DoctorState;
  meaning: string;
  remedy?: string;
  /** Where user 0 lacks what root has elsewhere. */
  remedyAsRoot?: string;
}

const addCapability = (name: string) => `add it (docker run --cap-add=${name})`;
const profile = "a seccomp profile may refuse it: docker run --cap-add=SYS_PTRACE";

const tried: readonly Tried[] = [
  {
    probe: "ptrace_call",
    name: "ptrace",
    without: "blocks",
    meaning: "the call itself is let through; a seccomp profile can refuse it",
    remedy: profile,
  },
  {
    probe: "seize",
    name: "trace a child",
    without: "blocks",
    meaning: "PTRACE_SEIZE of a child that waits for its exec, as a run does it",
    remedy: `${profile}; Yama and security modules may forbid it too`,
  },
  { probe: "call_info", name: "read its system call", without: "blocks", meaning: "PTRACE_GET_SYSCALL_INFO, Linux 5.3" },
  {
    probe: "filter_plain",
    name: "filter, privileged",
    without: "missing",
    meaning: "a seccomp filter without no_new_privs: without it no set-uid program of the build gains its privilege",
    remedy: "run as root (it needs CAP_SYS_ADMIN), if the build uses sudo or the like",
    remedyAsRoot: `root has no CAP_SYS_ADMIN here: ${addCapability("SYS_ADMIN")}, if the build uses sudo or the like`,
  },
  {
    probe: "filter_no_new_privs",
    name: "filter",
    without: "blocks",
    meaning: "a seccomp filter with no_new_privs: what anybody may install",
    remedy: "the kernel needs CONFIG_SECCOMP_FILTER, and a seccomp profile must allow seccomp(2)",
  },
  {
    probe: "filter_stop",
    name: "stop at a system call",
    without: "blocks",
    meaning: "a call that the filter chose stops the child, is read, and is refused: the whole way of the tracer",
  },
  {
    probe: "set_call_info",
    name: "change a system call",
    without: "fact",
    meaning: "PTRACE_SET_SYSCALL_INFO, Linux 6.16; registers do as well",
  },
  {
    probe: "process_vm_readv",
    name: "process_vm_readv",
    without: "slower",
    meaning: "arguments are read by process_vm_readv, else through /proc/PID/mem: as complete, slower",
    remedy: profile,
  },
  { probe: "proc_mem", name: "/proc/PID/mem", without: "missing", meaning: "the other way to read arguments" },
  {
    probe: "pidfd_open",
    name: "pidfd_open",
    without: "blocks",
    meaning: "signals reach the command by a descriptor of it, Linux 5.3",
    remedy: "a seccomp profile of an old container engine may refuse it: update it, or --security-opt seccomp=unconfined",
  },
  {
    probe: "pidfd_getfd",
    name: "pidfd_getfd",
    without: "slower",
    meaning: "opened files are taken by pidfd_getfd (Linux 5.6), else through /proc/PID/fd: as complete, slower",
    remedy: profile,
  },
  { probe: "proc_fd", name: "/proc/PID/fd", without: "missing", meaning: "the other way to opened files" },
  {
    probe: "user_namespace",
    name: "user namespaces",
    without: "fact",
    meaning: "nothing that tracing needs; builds with sandboxes of their own may",
  },
];

function triedRow({ probe, name, without, meaning, ...remedies }: Tried, { isRoot }: Surroundings, ask: Ask): DoctorRow {
  const remedy = isRoot ? (remedies.remedyAsRoot ?? remedies.remedy) : remedies.remedy;
  const answer = ask(probe);
  const state = works(answer) ? "ok" : without;
  return {
    id: probe.replaceAll("_", "-"),
    name,
    state,
    result: answerText(answer),
    meaning,
    ...(state === "ok" || remedy === undefined ? {} : { remedy }),
  };
}

// ---------------------------------------------------------------------------------------------
// Of this process

/** What the tracer raises its limit to, where it may (zig/start.zig): files wait there for their digest. */
const descriptorsWanted = 4 * handedOverMax;

function processRows({ isRoot }: Surroundings, ask: Ask): DoctorRow[] {
  const has = (name: string, bit: number) => `${hasCapability(ask, bit) ? "" : "no "}${name}`;
  const limit = numberOf(ask("descriptor_limit"));
  const enough = limit >= descriptorsWanted || hasCapability(ask, capability.sysResource);
  const mode = numberOf(ask("seccomp_mode"));
  const noNewPrivileges = numberOf(ask("no_new_privs")) !== 0;
  const setUid = keepsPrivilege(ask);
  return [
    {
      id: "capabilities",
      name: "capabilities",
      state: "fact",
      result: `${has("CAP_SYS_PTRACE", capability.sysPtrace)}, ${has("CAP_SYS_ADMIN", capability.sysAdmin)}`,
      meaning:
        "with the first nothing that a process hides from its user is hidden from us, with the second set-uid programs work",
    },
    {
      id: "descriptor-limit",
      name: "RLIMIT_NOFILE",
      state: enough ? "ok" : "slower",
      result: limit >= 2 ** 32 - 1 ? "unlimited" : `${limit}`,
      meaning: `opened files wait for their digest as descriptors; below ${descriptorsWanted} the build may wait for us`,
      ...(enough ? {} : { remedy: `raise the hard limit (ulimit -Hn, docker run --ulimit nofile=${descriptorsWanted})` }),
    },
    {
      id: "seccomp",
      name: "own seccomp mode",
      state: "fact",
      result: mode === 2 ? "a filter is on us" : mode === 0 ? "none" : `mode ${mode}`,
      meaning: "a filter around us applies to the build as well; what it refuses is refused with and without us",
    },
    {
      id: "no-new-privs",
      name: "no_new_privs",
      state: "fact",
      result: noNewPrivileges ? "set" : "not set",
      meaning: "where it is set, no set-uid program gains its privilege, with and without us",
    },
    {
      id: "set-uid",
      name: "set-uid programs",
      state: setUid || noNewPrivileges ? "ok" : "missing",
      result: setUid
        ? "keep their privilege"
        : noNewPrivileges
          ? "have no privilege here, traced or not"
          : "lose their privilege when traced",
      meaning: "sudo, su, mount, ping and the like in a build; the record notes each that lost its privilege",
      ...(setUid || noNewPrivileges
        ? {}
        : { remedy: `${isRoot ? missingCapability(ask) : "run as root"}, if the build uses them` }),
    },
  ];
}

function missingCapability(ask: Ask): string {
  const name = works(ask("filter_plain")) ? "SYS_PTRACE" : "SYS_ADMIN";
  return `root has no CAP_${name} here: ${addCapability(name)}`;
}

/** The kernel's conditions: a filter without no_new_privs, and a tracer with CAP_SYS_PTRACE (or a process that may change ids anyway). */
function keepsPrivilege(ask: Ask): boolean {
  return (
    works(ask("filter_plain")) &&
    numberOf(ask("no_new_privs")) === 0 &&
    (hasCapability(ask, capability.sysPtrace) || hasCapability(ask, capability.setUid))
  );
}
