// The git attestor, v0.1: the commit that the work tree is at, and how it differs from it.
import { createHash } from "node:crypto";
import { type JsonObject, omitUndefined } from "../attestation/json.ts";
import type { GitFacts } from "../facts/git.ts";
import { type GitTag, goTime, rfc3339 } from "../facts/git-objects.ts";
import type { DigestSet } from "../trace/observation.ts";
import type { Attestor, Subject } from "./attestor.ts";

export const gitAttestor: Attestor = {
  name: "git",
  type: "https://aflock.ai/attestations/git/v0.1",
  stage: "prematerial",
  alwaysRuns: false,
  runsByDefault: true,
  attest(facts) {
    if (facts.git === undefined) return undefined;
    const [startTime, endTime] = facts.times.git;
    return { type: this.type, predicate: predicateOf(facts.git), subjects: subjectsOf(facts.git), startTime, endTime };
  },
};

function predicateOf(git: GitFacts): JsonObject {
  const { commit } = git;
  return omitUndefined({
    gittool: "git-bin",
    gitbinpath: git.binaryPath,
    gitbinhash: git.binaryDigest,
    commithash: commit?.hash ?? "",
    author: commit?.author.name ?? "",
    authoremail: commit?.author.email ?? "",
    committername: commit?.committer.name ?? "",
    committeremail: commit?.committer.email ?? "",
    commitdate: commit === undefined ? "" : goTime(commit.author),
    commitmessage: commit?.message ?? "",
    status: git.status.size === 0 ? undefined : git.status,
    commitdigest: commit === undefined ? undefined : objectDigest(commit.hash),
    signature: commit?.signature,
    parenthashes: nonEmpty(commit?.parents ?? []),
    treehash: commit?.tree,
    refs: nonEmpty(git.refs),
    remotes: nonEmpty(git.remotes),
    tags: nonEmpty(git.tags.map(tagJson)),
    branch: git.branch,
  });
}

function tagJson(tag: GitTag): JsonObject {
  return {
    name: tag.name,
    taggername: tag.tagger.name,
    taggeremail: tag.tagger.email,
    when: rfc3339(tag.tagger),
    pgpsignature: tag.signature,
    message: tag.message,
  };
}

function subjectsOf(git: GitFacts): Subject[] {
  const { commit } = git;
  if (commit === undefined) return [];
  return [
    { name: `commithash:${commit.hash}`, digest: objectDigest(commit.hash) },
    textSubject("authoremail", commit.author.email),
    textSubject("committeremail", commit.committer.email),
    textSubject("refnameshort", git.branch),
    ...commit.parents.map(parent => ({ name: `parenthash:${parent}`, digest: objectDigest(parent) })),
    ...git.remotes.map(url => textSubject("remote", url)),
  ];
}

function textSubject(kind: string, text: string): Subject {
  return { name: `${kind}:${text}`, digest: { sha256: createHash("sha256").update(text).digest("hex") } };
}

/** Objects of a repository in the sha256 format have names of 64 digits. */
function objectDigest(hash: string): DigestSet {
  return hash.length === 64 ? { sha256: hash } : { sha1: hash };
}

function nonEmpty<T>(list: readonly T[]): readonly T[] | undefined {
  return list.length === 0 ? undefined : list;
}
