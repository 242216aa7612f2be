// The plain data around a run, read before and after the command, each with the time it took.
import { type GitFacts, readGit } from "../facts/git.ts";
import { type HostFacts, readHost } from "../facts/host.ts";
import { realPath } from "../facts/real-path.ts";
import { pseudoFileSystem, type Unread, type Walk, walk } from "../facts/walk.ts";
import { escapeBytes } from "../text.ts";
import { ownPaths, type RunPlan } from "./run-plan.ts";

type Span = [start: bigint, end: bigint];

export interface FactsBefore {
  /** Absolute, odd bytes escaped. */
  readonly directory: string;
  /** The same as bytes: the walk afterwards is of this very directory, wherever a link leads by then. */
  readonly root: Uint8Array;
  readonly walk: Walk;
  readonly git: GitFacts | undefined;
  readonly host: HostFacts;
  readonly times: { git: Span; environment: Span; material: Span };
}

/** What a person should hear, and the JSON summary repeats. */
export type Warn = (kind: "warning" | "note", text: string) => void;

export function readBefore(plan: RunPlan, environment: Readonly<Record<string, string | undefined>>, warn: Warn): FactsBefore {
  const [host, hostTime] = timed(readHost);
  const [git, gitTime] = timed(() => gitFacts(plan, environment, warn));
  const root = realPath(Buffer.from(plan.workingDirectory));
  const [before, materialTime] = timed(() => walkNow(plan, root, undefined));
  reportUnread(before.unread, "", warn);
  return {
    directory: escapeBytes(root),
    root,
    walk: before,
    git,
    host,
    times: { git: gitTime, environment: hostTime, material: materialTime },
  };
}

export function readAfter(plan: RunPlan, before: FactsBefore, warn: Warn): { walk: Walk; time: Span } {
  const [after, time] = timed(() => walkNow(plan, before.root, before.walk));
  const known = new Set(before.walk.unread.map(({ path }) => path));
  reportUnread(
    after.unread.filter(({ path }) => !known.has(path)),
    " after the command",
    warn,
  );
  return { walk: after, time };
}

function walkNow(plan: RunPlan, root: Uint8Array, earlier: Walk | undefined): Walk {
  const excludeFiles = plan.signer.kind === "file" ? plan.signer.key.files : [];
  return walk(root, {
    hashes: plan.options.hashes,
    excludePaths: ownPaths(plan),
    excludeFiles,
    ...(earlier === undefined ? {} : { earlier }),
  });
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

function reportUnread(unread: readonly Unread[], when: string, warn: Warn): void {
  for (const { path, reason } of unread.slice(0, unreadShown)) {
    warn("warning", `not among the recorded files${when}: ${path} (${reason})`);
  }
  const more = unread.length - unreadShown;
  if (more > 0) warn("warning", `not among the recorded files${when}: ${more} more`);
}

/** No file of the build, or no file any more. */
const notMissing: readonly string[] = [pseudoFileSystem, "ENOENT"];

/** Paths that one of the walks should have listed. */
export function unlistedPaths(before: Walk, after: Walk): string[] {
  const unread = [...before.unread, ...after.unread].filter(({ reason }) => !notMissing.includes(reason));
  return [...new Set(unread.map(({ path }) => path))];
}

function timed<T>(action: () => T): [T, Span] {
  const start = nowNs();
  const result = action();
  return [result, [start, nowNs()]];
}

/** Nanoseconds since the epoch, by the clock that the process started with: it does not jump during a run. */
export function nowNs(): bigint {
  return BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000)) * 1000n;
}
