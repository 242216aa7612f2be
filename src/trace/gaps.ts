// Each way in which a record can be less than the truth: a closed table. docs/completeness.md explains every row, and a
// test compares the two.
import type { GapKind } from "../native/abi.gen.ts";

/** A note: something was refused or changed, nothing that happened is missing. A gap: something may be missing. */
export type Severity = "gap" | "note";

interface GapRow {
  severity: Severity;
  /** One sentence for the record. Examples are put behind it. */
  sentence: string;
}

export const gapTable = {
  "untraced-child": { severity: "gap", sentence: "a process was created that could not be traced" },
  "survivor-killed": { severity: "gap", sentence: "processes outlived the command and its grace period and were killed" },
  "unreadable-memory": { severity: "gap", sentence: "arguments of a call could not be read from the memory of the process" },
  "unreadable-descriptor": { severity: "gap", sentence: "what a descriptor refers to could not be found out" },
  "tracee-gone": { severity: "gap", sentence: "a process ended between a call and our look at its result" },
  "parent-unknown": { severity: "gap", sentence: "the creator of a process died before it was known" },
  "unknown-syscall": { severity: "gap", sentence: "a system call was made that this version does not know" },
  "privilege-not-gained": {
    severity: "note",
    sentence: "a set-uid, set-gid or file-capability program ran without its privilege",
  },
  "io-uring-refused": { severity: "note", sentence: "io_uring was refused (ENOSYS), since its operations cannot be seen" },
  "io-uring-allowed": { severity: "gap", sentence: "io_uring was allowed, and its operations cannot be seen" },
  "nested-tracer": {
    severity: "note",
    sentence: "a ptrace request of the build was refused, since its processes are traced already",
  },
  "seccomp-listener": {
    severity: "gap",
    sentence: "the build answers system calls of its own processes (seccomp listener), unseen",
  },
  "x32-refused": { severity: "note", sentence: "an x32 system call was refused (ENOSYS)" },
  "dumpable-kept": { severity: "note", sentence: "PR_SET_DUMPABLE 0 was answered without being done" },
  "own-file-opened": {
    severity: "gap",
    sentence: "a process had a file of the tracer open (its memory, say) until it was closed again, and may have used it",
  },
  "attack-refused": { severity: "note", sentence: "a process reached for the tracer and was refused" },
  "program-unknown": {
    severity: "gap",
    sentence:
      "the file of a program, or of its interpreter, may have been exchanged while it was executed: which one ran is not known",
  },
  "arguments-changed": {
    severity: "gap",
    sentence:
      "a path was changed by another thread while a call was made with it: what was renamed or deleted is not what the record says",
  },
  "core-file": {
    severity: "gap",
    sentence: "the kernel wrote the memory of a crashed process into a file, which is not among the files that were written",
  },
  "core-handed-over": {
    severity: "note",
    sentence: "the kernel handed the memory of a crashed process to the machine's own handler",
  },
  "group-signal-kept": {
    severity: "note",
    sentence: "a signal that would have ended or stopped the tracer too was sent to the processes of the build alone",
  },
  limit: { severity: "gap", sentence: "a limit was hit" },
  truncated: {
    severity: "gap",
    sentence: "arguments or environment of a program, or a path, were longer than the limit and were cut",
  },
  "output-lost": {
    severity: "gap",
    sentence: "output of the command could not be written to where it was to go, though the command was told that it is written",
  },
  interrupted: { severity: "note", sentence: "a signal was sent to us, and to the command, while it ran" },
  "changed-while-read": { severity: "gap", sentence: "a file changed before its digest was done" },
  "overwritten-unread": {
    severity: "note",
    sentence:
      "a file was truncated by another process while its first writer was still alive, and no process had opened it in between",
  },
  "unverified-content": {
    severity: "gap",
    sentence: "a written file could not be looked at again at its writer's end: its digest is of an earlier moment",
  },
  "unreadable-file": { severity: "gap", sentence: "an opened file could not be read" },
  "too-large": { severity: "gap", sentence: "an opened file holds more data than the limit for digests" },
  "userfault-restricted": {
    severity: "note",
    sentence: "userfaultfd was given for faults of the program's own code only: the kernel's would hold up our reading too",
  },
  "names-unwatched": {
    severity: "note",
    sentence: "what a connection sends was not watched until it said whom it is for, so its host name may be missing",
  },
  delegated: {
    severity: "gap",
    sentence:
      "a process outside of the build was given work over a socket, FIFO, queue, shared memory or terminal, or gave some, and what it does is not seen",
  },
  "foreign-descriptor": {
    severity: "gap",
    sentence: "a process of the build was given a descriptor from outside: what was said or read through it before is not seen",
  },
  "outside-reached": {
    severity: "gap",
    sentence: "a process of the build reached into one outside of it, whose doings are not seen",
  },
  "kernel-reached": {
    severity: "gap",
    sentence:
      "the kernel was given code by the build, or its memory, ports or a disk were opened: what is done that way passes by every tracer",
  },
  "remote-file-system": {
    severity: "note",
    sentence: "files on a FUSE or network file system were read: its server decides what each reader gets",
  },
  "detached-mount": {
    severity: "gap",
    sentence:
      "a process of the build worked in a mount that is attached nowhere: the names of what it opened and changed there are not known",
  },
  "overlay-mounted": {
    severity: "gap",
    sentence:
      "the build mounted an overlayfs whose upper directory was not found at the end: what was written through it is there too, unknown to the products",
  },
  "unlisted-files": {
    severity: "gap",
    sentence:
      "products, or files of a directory that counts as one entry, could not be read and are not among the products or materials",
  },
  "key-exposed": {
    severity: "gap",
    sentence:
      "a process of the build opened the file of the signing key, or of its passphrase, for reading: it can sign as we do",
  },
} as const satisfies Record<string, GapRow>;

export type GapName = keyof typeof gapTable;

/** Counts one occurrence. `process`: our serial number, 0 for none. `example`: at most a few are kept. */
export type ReportGap = (kind: GapName, process: number, example?: string) => void;

/** What the tracer calls it: exhaustive, so that a new kind in zig/abi.zig does not compile until it has a row here. */
export const gapOfTracer: Readonly<Record<GapKind, GapName>> = {
  untraced_child: "untraced-child",
  survivor_killed: "survivor-killed",
  unreadable_memory: "unreadable-memory",
  privilege_not_gained: "privilege-not-gained",
  io_uring_refused: "io-uring-refused",
  io_uring_allowed: "io-uring-allowed",
  nested_tracer: "nested-tracer",
  seccomp_listener: "seccomp-listener",
  x32_refused: "x32-refused",
  limit: "limit",
  tracee_gone: "tracee-gone",
  unknown_syscall: "unknown-syscall",
  dumpable_kept: "dumpable-kept",
  unreadable_descriptor: "unreadable-descriptor",
  parent_unknown: "parent-unknown",
  attack_refused: "attack-refused",
  names_unwatched: "names-unwatched",
  userfault_restricted: "userfault-restricted",
  outside_reached: "outside-reached",
  program_unknown: "program-unknown",
  own_file_opened: "own-file-opened",
  kernel_delegated: "delegated",
  outside_met: "delegated",
  group_signal_kept: "group-signal-kept",
  kernel_reached: "kernel-reached",
  arguments_changed: "arguments-changed",
};
