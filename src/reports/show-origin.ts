// The first questions to a record: when, where, as whom, of which commit. Pure.
import { type JsonObject, omitUndefined } from "../attestation/json.ts";
import type { RecordGit, RecordOrigin } from "../attestation/record-origin.ts";

export function originRows({ started, workingDirectory, host, git }: RecordOrigin): [label: string, ...lines: string[]][] {
  const rows: [string, ...string[]][] = [];
  if (started !== undefined) rows.push(["started", started]);
  if (host !== undefined) {
    const { hostname, os, username } = host;
    rows.push(["host", [hostname ?? "unnamed", ...(os === undefined ? [] : [`(${os})`])].join(" ")]);
    if (username) rows.push(["user", username]);
  }
  if (workingDirectory !== undefined) rows.push(["directory", workingDirectory]);
  if (git !== undefined) rows.push(["commit", gitText(git)]);
  return rows;
}

function gitText({ commit, branch, changed }: RecordGit): string {
  const state =
    changed.length === 0 ? "clean" : `${changed.length} ${changed.length === 1 ? "path differs" : "paths differ"} from it`;
  const where = branch === undefined || branch === "HEAD" ? "no branch" : branch;
  return `${commit ?? "none yet"} (${where}, ${commit === undefined ? `${changed.length} paths not committed` : state})`;
}

export function originJson({ started, workingDirectory, host, git }: RecordOrigin): JsonObject {
  return omitUndefined({
    started,
    host: host && omitUndefined({ ...host }),
    workingDirectory,
    git:
      git &&
      omitUndefined({
        commit: git.commit,
        branch: git.branch,
        clean: git.changed.length === 0,
        changed: git.changed,
        remotes: git.remotes,
      }),
  });
}
