// What git says about the work tree that the command starts in, read with the git program of PATH. git is started with
// an environment of our own choosing, takes no locks and runs no hook, monitor or pager: to be recorded must not change
// a repository.
import { spawnSync } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { escapeBytes } from "../text.ts";
import type { DigestSet } from "../trace/observation.ts";
import { digestFile } from "./file-contents.ts";
import { type GitCommit, type GitTag, parseCommit, parseTag, withoutUserInfo } from "./git-objects.ts";
import type { HashName } from "./walk.ts";

export type GitStatusWord = "unmodified" | "untracked" | "modified" | "added" | "deleted" | "renamed" | "copied" | "updated";

export interface GitFacts {
  readonly binaryPath: string;
  readonly binaryDigest: DigestSet | undefined;
  /** Undefined in a repository without commits. */
  readonly commit: GitCommit | undefined;
  /** By path, only what differs. */
  readonly status: ReadonlyMap<string, { staging: GitStatusWord; worktree: GitStatusWord }>;
  /** Full names of the references that are this very commit. */
  readonly refs: readonly string[];
  readonly remotes: readonly string[];
  /** Annotated tags of this commit. */
  readonly tags: readonly GitTag[];
  /** `HEAD` when detached. */
  readonly branch: string;
}

/** Why there are no facts is for the person; it is no error, builds run outside of git too. */
export type GitReading =
  | { kind: "facts"; facts: GitFacts; notes: readonly string[] }
  | { kind: "none"; reason: string; hint?: string };

/** A repository on a dead network file system must not keep the build from starting. */
const gitTimeoutMs = 30_000;
const outputMax = 64 << 20;
/** Annotated tags of one commit that are read; no release has as many. */
const tagsMax = 1000;

/** Variables that say where the repository and the user's configuration are; all others stay away from git. */
const passedOn = [
  "PATH",
  "HOME",
  "USER",
  "LOGNAME",
  "XDG_CONFIG_HOME",
  "GIT_DIR",
  "GIT_WORK_TREE",
  "GIT_COMMON_DIR",
  "GIT_CEILING_DIRECTORIES",
  "GIT_DISCOVERY_ACROSS_FILESYSTEM",
  "GIT_CONFIG_NOSYSTEM",
  "GIT_CONFIG_SYSTEM",
  "GIT_CONFIG_GLOBAL",
  "GIT_CONFIG_COUNT",
] as const;
const passedOnPattern = /^GIT_CONFIG_(KEY|VALUE)_\d+$/;

const safeArguments = [
  "--no-pager",
  "--no-replace-objects",
  "-c",
  "core.fsmonitor=false",
  "-c",
  "core.hooksPath=/dev/null",
  "-c",
  "gc.auto=0",
  "-c",
  "maintenance.auto=false",
];

const statusWords: Readonly<Record<string, GitStatusWord>> = {
  " ": "unmodified",
  "?": "untracked",
  M: "modified",
  T: "modified",
  A: "added",
  D: "deleted",
  R: "renamed",
  C: "copied",
  U: "updated",
};

export type Environment = Readonly<Record<string, string | undefined>>;

/** One git, one directory. */
interface Git {
  run(args: readonly string[], input?: string): GitAnswer;
}

interface GitAnswer {
  readonly ok: boolean;
  readonly output: Buffer;
  readonly complaint: string;
}

export function readGit(directory: string, environment: Environment, hashes: readonly HashName[]): GitReading {
  const binaryPath = findInPath("git", environment.PATH);
  if (binaryPath === undefined) return { kind: "none", reason: "git is not in PATH" };
  const git = openGit(binaryPath, directory, environment);

  const inside = git.run(["rev-parse", "--is-inside-work-tree"]);
  if (!inside.ok) return refusal(inside.complaint);
  if (inside.output.toString().trim() !== "true") return { kind: "none", reason: "not in a git work tree" };

  const notes: string[] = [];
  const commit = readCommit(git);
  const refs = commit === undefined ? [] : readRefs(git, commit.hash);
  const status = git.run(["status", "--porcelain=v1", "-z", "--untracked-files=normal"]);
  if (!status.ok) notes.push(`git status failed: ${firstLine(status.complaint)}`);
  const branch = git.run(["symbolic-ref", "--quiet", "HEAD"]);
  const facts: GitFacts = {
    binaryPath,
    binaryDigest: digestFile(Buffer.from(binaryPath), hashes),
    commit,
    status: status.ok ? parseStatus(status.output) : new Map(),
    refs: refs.filter(ref => ref.object === commit?.hash).map(ref => ref.name),
    remotes: readRemotes(git),
    tags: readTags(
      git,
      refs.filter(ref => ref.type === "tag").map(ref => ref.object),
    ),
    branch: branch.ok
      ? branch.output
          .toString()
          .trim()
          .replace(/^refs\/heads\//, "")
      : "HEAD",
  };
  return { kind: "facts", facts, notes };
}

function openGit(binaryPath: string, directory: string, environment: Environment): Git {
  const env = gitEnvironment(environment);
  return {
    run(args, input) {
      const answer = spawnSync(binaryPath, [...safeArguments, ...args], {
        // Where we are has perhaps a name that is no text: "." is not spelled out for the child.
        ...(directory === "." ? {} : { cwd: directory }),
        env,
        input: input ?? "",
        timeout: gitTimeoutMs,
        maxBuffer: outputMax,
      });
      const { status, stdout, stderr, error } = answer;
      if (error !== undefined) return { ok: false, output: Buffer.alloc(0), complaint: complaintOf(error) };
      return { ok: status === 0, output: stdout, complaint: stderr.toString() };
    },
  };
}

function complaintOf(error: Error): string {
  const code = "code" in error ? error.code : undefined;
  if (code === "ETIMEDOUT") return `no answer within ${gitTimeoutMs / 1000} s`;
  return code === "ENOBUFS" ? `more than ${outputMax >> 20} MiB of output` : error.message;
}

function gitEnvironment(environment: Environment): Record<string, string> {
  // LC_ALL: the complaints that we tell apart below are matched in English.
  const env: Record<string, string> = { LC_ALL: "C", GIT_OPTIONAL_LOCKS: "0", GIT_TERMINAL_PROMPT: "0", GIT_NO_LAZY_FETCH: "1" };
  for (const name of [...passedOn, ...Object.keys(environment).filter(name => passedOnPattern.test(name))]) {
    const value = environment[name];
    if (value !== undefined) env[name] = value;
  }
  return env;
}

function refusal(complaint: string): GitReading {
  if (/dubious ownership/.test(complaint)) {
    return {
      kind: "none",
      reason: "git does not trust the owner of this repository",
      hint: "git config --global --add safe.directory DIRECTORY",
    };
  }
  if (/not a git repository/i.test(complaint)) return { kind: "none", reason: "not in a git work tree" };
  return { kind: "none", reason: `git failed: ${firstLine(complaint)}` };
}

function readCommit(git: Git): GitCommit | undefined {
  const [object] = readObjects(git, ["HEAD^{commit}"]);
  return object === undefined ? undefined : parseCommit(object.hash, object.body);
}

function readRefs(git: Git, commit: string): { type: string; object: string; name: string }[] {
  const answer = git.run(["for-each-ref", `--points-at=${commit}`, "--format=%(objecttype) %(objectname) %(refname)"]);
  if (!answer.ok) return [];
  const refs = [];
  for (const line of splitBytes(answer.output, 0x0a)) {
    const text = escapeBytes(line);
    const [type, object] = text.split(" ", 2);
    if (type !== undefined && object !== undefined)
      refs.push({ type, object, name: text.slice(type.length + object.length + 2) });
  }
  return refs;
}

function readTags(git: Git, objects: readonly string[]): GitTag[] {
  return readObjects(git, objects.slice(0, tagsMax)).map(object => parseTag(object.body));
}

function readRemotes(git: Git): string[] {
  const answer = git.run(["config", "-z", "--get-regexp", "^remote\\..*\\.url$"]);
  if (!answer.ok) return [];
  const urls = splitBytes(answer.output, 0).map(entry => {
    const text = escapeBytes(entry);
    return withoutUserInfo(text.slice(text.indexOf("\n") + 1));
  });
  return [...new Set(urls)];
}

/** Raw objects by one `cat-file --batch`; those that do not exist are left out. */
function readObjects(git: Git, names: readonly string[]): { hash: string; body: Buffer }[] {
  if (names.length === 0) return [];
  const answer = git.run(["cat-file", "--batch"], names.map(name => `${name}\n`).join(""));
  const objects = [];
  for (let rest = answer.output; rest.length > 0; ) {
    const end = rest.indexOf(0x0a);
    if (end < 0) break;
    const header = /^([0-9a-f]{40,64}) [a-z]+ (\d+)$/.exec(rest.subarray(0, end).toString());
    const [, hash, size] = header ?? [];
    const start = end + 1;
    if (hash === undefined || size === undefined) {
      // `NAME missing` has no body.
      rest = rest.subarray(start);
      continue;
    }
    objects.push({ hash, body: rest.subarray(start, start + Number(size)) });
    rest = rest.subarray(start + Number(size) + 1);
  }
  return objects;
}

/** `XY PATH` entries ended by NUL; after a rename or copy the old path follows as an entry of its own. */
export function parseStatus(output: Uint8Array): Map<string, { staging: GitStatusWord; worktree: GitStatusWord }> {
  const status = new Map<string, { staging: GitStatusWord; worktree: GitStatusWord }>();
  const entries = splitBytes(Buffer.from(output), 0);
  for (let index = 0; index < entries.length; index++) {
    const entry = entries[index];
    if (entry === undefined) break;
    const [x = " ", y = " "] = entry.subarray(0, 2).toString("latin1");
    const staging = statusWords[x] ?? "modified";
    const worktree = statusWords[y] ?? "modified";
    status.set(escapeBytes(entry.subarray(3)), { staging, worktree });
    if (staging === "renamed" || staging === "copied" || worktree === "renamed" || worktree === "copied") index++;
  }
  return status;
}

/** Relative entries of PATH are passed over: what they name depends on where we happen to be. */
export function findInPath(name: string, path: string | undefined): string | undefined {
  for (const directory of (path ?? "").split(":")) {
    if (!isAbsolute(directory)) continue;
    const candidate = join(directory, name);
    try {
      accessSync(candidate, constants.X_OK);
      if (statSync(candidate).isFile()) return candidate;
    } catch {
      // Not here: the next directory may have it.
    }
  }
  return undefined;
}

function splitBytes(bytes: Buffer, separator: number): Buffer[] {
  const parts = [];
  for (let start = 0; start < bytes.length; ) {
    const found = bytes.indexOf(separator, start);
    const end = found < 0 ? bytes.length : found;
    parts.push(bytes.subarray(start, end));
    start = end + 1;
  }
  return parts;
}

function firstLine(text: string): string {
  return text.trim().split("\n")[0] ?? "";
}
