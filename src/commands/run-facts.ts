// The plain data around a run, read before and after the command, each with the time it took.
import { type RecordedFile, withDirectories } from "../attestors/recorded-files.ts";
import { errorWord } from "../facts/file-contents.ts";
import { type GitFacts, readGit } from "../facts/git.ts";
import { type HostFacts, readHost } from "../facts/host.ts";
import { realPath } from "../facts/real-path.ts";
import { emptyWalk, pseudoFileSystem, type Unread, type Walk, type WalkOptions, walk } from "../facts/walk.ts";
import { escapeBytes } from "../text.ts";
import { ownPaths, type RunPlan } from "./run-plan.ts";

export type Span = [start: bigint, end: bigint];

export interface FactsBefore {
  /** Absolute, odd bytes escaped. */
  readonly directory: string;
  /** The same as bytes: the walk afterwards is of this very directory, wherever a link leads by then. */
  readonly root: Uint8Array;
  /** It has no name any more: `root` was its last one. */
  readonly isGone: boolean;
  /** With a trace only of directories that are one entry each. */
  readonly walk: Walk;
  /** What should have been read. */
  readonly unread: readonly Unread[];
  /** With a trace they are known at the end only. */
  readonly materials: readonly RecordedFile[];
  readonly git: GitFacts | undefined;
  readonly host: HostFacts;
  readonly times: { git: Span; environment: Span; material: Span };
}

/** What a person should hear, and the JSON summary repeats. */
export type Warn = (kind: "warning" | "note", text: string) => void;

export function readBefore(plan: RunPlan, environment: Readonly<Record<string, string | undefined>>, warn: Warn): FactsBefore {
  const [host, hostTime] = timed(readHost);
  const [git, gitTime] = timed(() => gitFacts(plan, environment, warn));
  const { root, isGone } = workingDirectory(plan);
  const [before, materialTime] = timed(() => walkBefore(plan, { root, isGone }));
  const unread = plan.options.trace ? missedContents(before) : before.unread;
  reportUnread(unread, "", warn);
  return {
    directory: escapeBytes(root),
    root,
    isGone,
    walk: before,
    unread,
    materials: plan.options.trace ? [] : withDirectories(before.files, before, () => true),
    git,
    host,
    times: { git: gitTime, environment: hostTime, material: materialTime },
  };
}

/** How the working directory is looked at, before and after. */
export function walkOptions(plan: RunPlan): WalkOptions {
  const { hashes, isOneEntry } = plan.options;
  return {
    hashes,
    holes: plan.holes,
    excludePaths: ownPaths(plan),
    excludeFiles: plan.signer.kind === "file" ? plan.signer.key.files : [],
    ...(isOneEntry === undefined ? {} : { isOneEntry }),
  };
}

/** With a trace nothing is needed but the hashes of directories: what is read in them is not known yet. */
function walkBefore(plan: RunPlan, directory: Pick<FactsBefore, "root" | "isGone">): Walk {
  const { trace, isOneEntry } = plan.options;
  if (!trace) return walkIn(directory, walkOptions(plan));
  return isOneEntry === undefined ? emptyWalk : walkIn(directory, { ...walkOptions(plan), isWanted: () => false });
}

/** Nothing is or comes into a directory that was removed, and under its last name there may be another one. */
export function walkIn({ root, isGone }: Pick<FactsBefore, "root" | "isGone">, options: WalkOptions): Walk {
  return isGone ? emptyWalk : walk(root, options);
}

function workingDirectory({ options, workingDirectory }: RunPlan): Pick<FactsBefore, "root" | "isGone"> {
  try {
    return { root: realPath(Buffer.from(workingDirectory)), isGone: false };
  } catch (error) {
    if (options.workingDirectory !== undefined || errorWord(error) !== "ENOENT") throw error;
    return { root: Buffer.from(process.cwd()), isGone: true };
  }
}

/** Of a walk in which only some files count: those that do, and what is in a directory of one entry. */
export function missedContents({ unread, directories }: Walk): Unread[] {
  return unread.filter(({ path, what }) => what === "content" || directories.some(one => path.startsWith(one.path)));
}

function gitFacts(plan: RunPlan, environment: Readonly<Record<string, string | undefined>>, warn: Warn): GitFacts | undefined {
  if (!plan.options.attestations.includes("git")) return undefined;
  const reading = readGit(plan.workingDirectory, environment, plan.options.hashes);
  switch (reading.kind) {
    case "none":
      warn("note", `no git attestation: ${reading.reason}${reading.hint === undefined ? "" : ` (${reading.hint})`}`);
      return undefined;
    case "facts":
      for (const note of reading.notes) warn("warning", note);
      return reading.facts;
  }
}

const unreadShown = 5;

export function reportUnread(unread: readonly Unread[], when: string, warn: Warn): void {
  for (const { path, reason } of unread.slice(0, unreadShown)) {
    warn("warning", `not among the recorded files${when}: ${path} (${reason})`);
  }
  const more = unread.length - unreadShown;
  if (more > 0) warn("warning", `not among the recorded files${when}: ${more} more`);
}

/** No file of the build, or no file any more. */
const notMissing: readonly string[] = [pseudoFileSystem, "ENOENT"];

/** Paths that should have been listed. */
export function unlistedPaths(unread: readonly Unread[]): string[] {
  return [...new Set(unread.filter(({ reason }) => !notMissing.includes(reason)).map(({ path }) => path))];
}

export function timed<T>(action: () => T): [T, Span] {
  const start = nowNs();
  const result = action();
  return [result, [start, nowNs()]];
}

/** Nanoseconds since the epoch, by the clock that the process started with: it does not jump during a run. */
export function nowNs(): bigint {
  return BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000)) * 1000n;
}
