// Names of what the kernel's calls take as numbers: flags, options and requests, as the manual pages have them.

export type Names = readonly (readonly [bit: bigint, name: string])[];

/** `A|B|0x80` */
export function flagNames(value: bigint, names: Names): string {
  const parts: string[] = [];
  let rest = value;
  for (const [bit, name] of names) {
    if (bit === 0n || (rest & bit) !== bit) continue;
    parts.push(name);
    rest &= ~bit;
  }
  if (rest !== 0n) parts.push(`0x${rest.toString(16)}`);
  return parts.length === 0 ? "0" : parts.join("|");
}

export const namespaceFlags: Names = [
  [0x80n, "CLONE_NEWTIME"],
  [0x20000n, "CLONE_NEWNS"],
  [0x02000000n, "CLONE_NEWCGROUP"],
  [0x04000000n, "CLONE_NEWUTS"],
  [0x08000000n, "CLONE_NEWIPC"],
  [0x10000000n, "CLONE_NEWUSER"],
  [0x20000000n, "CLONE_NEWPID"],
  [0x40000000n, "CLONE_NEWNET"],
];
export const allNamespaces = namespaceFlags.reduce((all, [bit]) => all | bit, 0n);
/** In clone(2) the low byte is the signal of the child's end, not CLONE_NEWTIME. */
export const exitSignalMask = 0xffn;

export const unshareFlags: Names = [
  ...namespaceFlags,
  [0x100n, "CLONE_VM"],
  [0x200n, "CLONE_FS"],
  [0x400n, "CLONE_FILES"],
  [0x800n, "CLONE_SIGHAND"],
  [0x10000n, "CLONE_THREAD"],
  [0x40000n, "CLONE_SYSVSEM"],
];

export const protections: Names = [
  [1n, "PROT_READ"],
  [2n, "PROT_WRITE"],
  [4n, "PROT_EXEC"],
];

export const mountFlags: Names = [
  [1n, "MS_RDONLY"],
  [2n, "MS_NOSUID"],
  [4n, "MS_NODEV"],
  [8n, "MS_NOEXEC"],
  [0x20n, "MS_REMOUNT"],
  [0x1000n, "MS_BIND"],
  [0x2000n, "MS_MOVE"],
  [0x4000n, "MS_REC"],
  [0x20000n, "MS_UNBINDABLE"],
  [0x40000n, "MS_PRIVATE"],
  [0x80000n, "MS_SLAVE"],
  [0x100000n, "MS_SHARED"],
];

export const memfdFlags: Names = [
  [1n, "MFD_CLOEXEC"],
  [2n, "MFD_ALLOW_SEALING"],
  [4n, "MFD_HUGETLB"],
  [8n, "MFD_NOEXEC_SEAL"],
  [0x10n, "MFD_EXEC"],
];

export const prctlOptions: Readonly<Record<number, string>> = {
  4: "PR_SET_DUMPABLE",
  15: "PR_SET_NAME",
  22: "PR_SET_SECCOMP",
  38: "PR_SET_NO_NEW_PRIVS",
};
export const PR_SET_NAME = 15n;

export const ptraceRequests: ReadonlyMap<number, string> = new Map([
  [0, "PTRACE_TRACEME"],
  [1, "PTRACE_PEEKTEXT"],
  [2, "PTRACE_PEEKDATA"],
  [3, "PTRACE_PEEKUSER"],
  [4, "PTRACE_POKETEXT"],
  [5, "PTRACE_POKEDATA"],
  [6, "PTRACE_POKEUSER"],
  [7, "PTRACE_CONT"],
  [8, "PTRACE_KILL"],
  [9, "PTRACE_SINGLESTEP"],
  [12, "PTRACE_GETREGS"],
  [13, "PTRACE_SETREGS"],
  [16, "PTRACE_ATTACH"],
  [17, "PTRACE_DETACH"],
  [24, "PTRACE_SYSCALL"],
  [0x4200, "PTRACE_SETOPTIONS"],
  [0x4201, "PTRACE_GETEVENTMSG"],
  [0x4202, "PTRACE_GETSIGINFO"],
  [0x4204, "PTRACE_GETREGSET"],
  [0x4205, "PTRACE_SETREGSET"],
  [0x4206, "PTRACE_SEIZE"],
  [0x4207, "PTRACE_INTERRUPT"],
  [0x4208, "PTRACE_LISTEN"],
]);

export const seccompOperations: Readonly<Record<number, string>> = {
  0: "SECCOMP_SET_MODE_STRICT",
  1: "SECCOMP_SET_MODE_FILTER",
  2: "SECCOMP_GET_ACTION_AVAIL",
  3: "SECCOMP_GET_NOTIF_SIZES",
};
export const seccompFlags: Names = [
  [1n, "TSYNC"],
  [2n, "LOG"],
  [4n, "SPEC_ALLOW"],
  [8n, "NEW_LISTENER"],
  [0x10n, "TSYNC_ESRCH"],
];

export const keyctlOperations =
  "GET_KEYRING_ID JOIN_SESSION_KEYRING UPDATE REVOKE CHOWN SETPERM DESCRIBE CLEAR LINK UNLINK SEARCH READ INSTANTIATE NEGATE SET_REQKEY_KEYRING SET_TIMEOUT ASSUME_AUTHORITY GET_SECURITY SESSION_TO_PARENT REJECT".split(
    " ",
  );

export const bpfCommands =
  "MAP_CREATE MAP_LOOKUP_ELEM MAP_UPDATE_ELEM MAP_DELETE_ELEM MAP_GET_NEXT_KEY PROG_LOAD OBJ_PIN OBJ_GET PROG_ATTACH PROG_DETACH PROG_TEST_RUN".split(
    " ",
  );
