// Where a record comes from: when, on which machine, as whom, in which directory, of which commit, as far as its attestations say.
// Lenient, as what a person is shown of a run is.
import type { Collection } from "./collection.ts";
import { objectOf, objectsOf, textOf } from "./lenient.ts";

/** Undefined is what no attestation says. */
export interface RecordOrigin {
  /** RFC 3339, of the command. */
  started: string | undefined;
  /** Of the command as it was started; only with a trace. */
  workingDirectory: string | undefined;
  host: { hostname: string | undefined; os: string | undefined; username: string | undefined } | undefined;
  git: RecordGit | undefined;
}

/** Before the command. */
export interface RecordGit {
  /** Undefined: there was none yet. */
  commit: string | undefined;
  branch: string | undefined;
  remotes: string[];
  /** Paths that differ from the commit. */
  changed: string[];
}

export function readOrigin({ attestations }: Collection): RecordOrigin {
  const named = (name: string) => attestations.find(({ type }) => new RegExp(`/${name}/v[0-9.]+$`).test(type));
  const run = named("command-run");
  const environment = named("environment");
  const git = named("git");
  const { hostname, os, username } = objectOf(environment?.attestation);
  return {
    started: run?.startTime,
    workingDirectory: run && workingDirectoryOf(objectOf(run.attestation)),
    host: environment && { hostname: textOf(hostname), os: textOf(os), username: textOf(username) },
    git: git && gitOf(objectOf(git.attestation)),
  };
}

function workingDirectoryOf({ processes, paths }: ReturnType<typeof objectOf>): string | undefined {
  const [first] = objectsOf(processes);
  if (first === undefined) return undefined;
  if (Array.isArray(paths) && typeof first.cwdId === "number") return textOf(paths[first.cwdId]);
  return textOf(first.cwd);
}

function gitOf({ commithash, branch, remotes, status }: ReturnType<typeof objectOf>): RecordGit {
  return {
    commit: textOf(commithash) || undefined,
    branch: textOf(branch) || undefined,
    remotes: Array.isArray(remotes) ? remotes.flatMap(remote => textOf(remote) ?? []) : [],
    changed: Object.keys(objectOf(status)),
  };
}
