// A gap or note as lines for a person (what it is, which programs it was, and what to do about it), and as JSON.
// docs/completeness.md says more.
import type { JsonObject } from "../attestation/json.ts";
import { type NamedProgram, programName } from "./program-name.ts";

export interface ShownGap {
  readonly kind: string;
  readonly severity: "gap" | "note";
  readonly count: number;
  readonly detail: string;
  readonly processIds: readonly number[];
}

/** One sentence for each kind (a test compares them with src/trace/gaps.ts), for whoever wants a complete record. */
export const remedies: Readonly<Record<string, string>> = {
  "untraced-child": "find out whether the work of that process matters to you",
  "survivor-killed": "end it within the build, or give it more time with --grace; started outside, what it does is not seen",
  "unreadable-memory": "run as root, or make the program readable (chmod a+r)",
  "unreadable-descriptor": "run as root, or make the program readable (chmod a+r)",
  "tracee-gone": "run the build again, without children that are killed at work (a timeout, a failing parallel make)",
  "parent-unknown": "run the build again, without children that are killed at work",
  "unknown-syscall": "use a newer cilock",
  "privilege-not-gained": "run as root if the build needs that privilege",
  "io-uring-refused": "nothing: programs do without",
  "io-uring-allowed": "leave --allow-io-uring out",
  "nested-tracer":
    "leave strace, gdb and the like out of the build; a program with LeakSanitizer (-fsanitize=address) needs ASAN_OPTIONS=detect_leaks=0",
  "seccomp-listener": "run that container tool outside of the build",
  "x32-refused": "find out why a program makes x32 calls",
  "dumpable-kept": "nothing: the process only stays visible",
  "own-file-opened": "do not trust the record, and look at that process",
  "attack-refused": "look at that process",
  "program-unknown": "do not replace programs while others start them",
  "arguments-changed": "look at that process: threads of one program do not change each other's arguments by accident",
  "core-file": "find out why the program crashed; `ulimit -c 0` before the build keeps the file from being written",
  "core-handed-over": "find out why the program crashed",
  "group-signal-kept": "nothing: the build got its signal",
  limit: "what was beyond the limit is missing; docs/completeness.md lists the limits",
  truncated: "use response files or fewer variables",
  "output-lost": "make room where stdout and stderr go to, and run the build again",
  interrupted: "run the build again",
  "changed-while-read": "do not read a file while another process writes it, or read it when that one has ended",
  "overwritten-unread": "nothing, if only the last content matters",
  "unverified-content": "let nobody outside of the build write its files; a home directory of its own keeps those of tools apart",
  "unreadable-file": "run as root, or make the file readable",
  "too-large": "keep so large a file out of the build, or compare it yourself",
  "userfault-restricted": "nothing: the program's own faults are answered",
  "names-unwatched": "nothing, if addresses are enough",
  delegated: "start that service within the build and end it there, or do without it",
  "foreign-descriptor": "close what the build does not need before starting it (3<&-)",
  "outside-reached": "find out what the build wants of that process",
  "kernel-reached": "run as an ordinary user, or give the build files in place of devices",
  "remote-file-system": "build on a local file system",
  "detached-mount": "attach the mount (move_mount) before files in it are used",
  "overlay-mounted": "give it an upper directory that has the same name outside of the build's own mounts",
  "unlisted-files": "make them readable, or keep them out of the working directory",
  "key-exposed": "consider the key as given away; keep it out of the working directory, or hand it over by a pipe (-k /dev/fd/3)",
};

/** For what is often met: kinds, and what the detail or a program's name has in it. The first that fits is said in place of the general remedy. */
const known: readonly [kinds: readonly string[], pattern: RegExp, remedy: string][] = [
  [
    ["changed-while-read", "unverified-content"],
    /\/go\/telemetry\//,
    "`go telemetry off` before the build, or a home directory of its own (HOME, or XDG_CONFIG_HOME)",
  ],
  ...Object.entries({
    "gpg-agent|scdaemon|keyboxd":
      "start it within the build, and end it there with `gpgconf --kill all` (a GNUPGHOME of its own keeps it apart)",
    "ssh-agent": "start it within the build, and end it there with `ssh-agent -k`",
    sccache: "`sccache --start-server` and `sccache --stop-server` within the build, or do without it (RUSTC_WRAPPER=)",
    "distccd?|icecc[a-z]*|buildfarm": "compile on this machine, within the build",
    "gradle[a-z-]*|GradleDaemon|java": "`--no-daemon` of gradle, or end the server within the build (`gradle --stop`)",
    "dotnet|VBCSCompiler|MSBuild":
      "`dotnet build-server shutdown` at the build's end, or MSBUILDDISABLENODEREUSE=1 and UseSharedCompilation=false",
    bazel: "`bazel --batch`, or `bazel shutdown` at the build's end",
    adb: "`adb kill-server` at the build's end",
    watchman: "`watchman shutdown-server` at the build's end",
  }).map(([names, remedy]): (typeof known)[number] => [
    ["survivor-killed", "delegated"],
    new RegExp(`(?<![A-Za-z0-9-])(?:${names})(?![A-Za-z0-9-])`),
    remedy,
  ]),
];

const programsShown = 4;

/** `programOf`: of a process id. */
export function gapLines(gap: ShownGap, programOf: (processId: number) => NamedProgram | undefined): string[] {
  const { kind, severity, detail, count, processIds } = gap;
  const programs = new Set<string>();
  for (const id of processIds) {
    const program = programOf(id);
    const name = program && programName(program);
    if (name !== undefined) programs.add(name);
  }
  const shown = [...programs].slice(0, programsShown).join(", ");
  const by =
    programs.size === 0
      ? ""
      : `, by ${shown}${programs.size > programsShown ? ` and ${programs.size - programsShown} more` : ""}`;
  const times = count > 1 ? ` (${count} times)` : "";
  const remedy = remedyOf(kind, [detail, ...programs].join(" "));
  return [`${severity}: ${detail}${times}${by}`, ...(remedy === undefined ? [] : [`  what to do: ${remedy}`])];
}

function remedyOf(kind: string, text: string): string | undefined {
  const special = known.find(([kinds, pattern]) => kinds.includes(kind) && pattern.test(text))?.[2];
  return special ?? Object.entries(remedies).find(([name]) => name === kind)?.[1];
}

export function gapJson({ kind, severity, count, detail }: ShownGap): JsonObject {
  return { kind, severity, count, detail };
}
