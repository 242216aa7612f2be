// The git facts and the attestation made of them, on real repositories.
import { afterAll, expect, test } from "bun:test";
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import type { Facts } from "../src/attestors/attestor.ts";
import { gitAttestor } from "../src/attestors/git.ts";
import { findInPath, type GitFacts, parseStatus, readGit } from "../src/facts/git.ts";
import { goTime, parseCommit, parseTag, rfc3339, withoutUserInfo } from "../src/facts/git-objects.ts";

const root = mkdtempSync(join(tmpdir(), "cilock-git-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let serial = 0;

/** Not on every machine. */
const hasGit = Bun.which("git") !== null;
const withGit = test.skipIf(!hasGit);

const environment = {
  PATH: process.env.PATH,
  HOME: root,
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_CEILING_DIRECTORIES: root,
};
const identity = {
  GIT_AUTHOR_NAME: "Ada",
  GIT_AUTHOR_EMAIL: "ada@example.test",
  GIT_AUTHOR_DATE: "1767323045 +0200",
  GIT_COMMITTER_NAME: "Carl",
  GIT_COMMITTER_EMAIL: "carl@example.test",
  GIT_COMMITTER_DATE: "1767323045 +0000",
};

function git(directory: string, ...args: string[]): string {
  const answer = Bun.spawnSync(["git", ...args], {
    cwd: directory,
    env: { ...environment, ...identity } as Record<string, string>,
  });
  if (answer.exitCode !== 0) throw new Error(answer.stderr.toString());
  return answer.stdout.toString().trim();
}

function repository(): string {
  const directory = join(root, `repository${serial++}`);
  mkdirSync(directory);
  git(directory, "init", "-q", "-b", "main");
  return directory;
}

function commit(directory: string, message = "hello\n"): string {
  git(directory, "add", "-A");
  git(directory, "commit", "-q", "--allow-empty", "-m", message);
  return git(directory, "rev-parse", "HEAD");
}

function factsOf(directory: string, changes: Record<string, string | undefined> = {}): GitFacts {
  const reading = readGit(directory, { ...environment, ...changes }, ["sha256"]);
  if (reading.kind === "none") throw new Error(reading.reason);
  return reading.facts;
}

function attest(facts: GitFacts | undefined) {
  return gitAttestor.attest({ git: facts, times: { git: [1n, 2n] } } as unknown as Facts);
}

withGit("a commit, in the shape that the existing tools write", () => {
  const directory = repository();
  writeFileSync(join(directory, "a"), "1");
  const hash = commit(directory);
  const facts = factsOf(directory);
  const attestation = attest(facts);
  expect(JSON.stringify(attestation?.predicate)).toBe(
    JSON.stringify({
      gittool: "git-bin",
      gitbinpath: facts.binaryPath,
      gitbinhash: facts.binaryDigest,
      commithash: hash,
      author: "Ada",
      authoremail: "ada@example.test",
      committername: "Carl",
      committeremail: "carl@example.test",
      commitdate: "2026-01-02 05:04:05 +0200 +0200",
      commitmessage: "hello\n",
      commitdigest: { sha1: hash },
      treehash: git(directory, "rev-parse", "HEAD^{tree}"),
      refs: ["refs/heads/main"],
      branch: "main",
    }),
  );
  expect(facts.binaryDigest?.sha256).toMatch(/^[0-9a-f]{64}$/);
  expect(attestation?.subjects).toEqual([
    { name: `commithash:${hash}`, digest: { sha1: hash } },
    { name: "authoremail:ada@example.test", digest: { sha256: sha256("ada@example.test") } },
    { name: "committeremail:carl@example.test", digest: { sha256: sha256("carl@example.test") } },
    { name: "refnameshort:main", digest: { sha256: sha256("main") } },
  ]);
});

withGit("parents, remotes without passwords, refs, annotated tags", () => {
  const directory = repository();
  const parent = commit(directory);
  const hash = commit(directory, "second");
  git(directory, "remote", "add", "origin", "https://user:secret@example.test/x.git");
  git(directory, "tag", "light");
  git(directory, "tag", "-a", "v1", "-m", "first release");
  const predicate = attest(factsOf(directory))?.predicate;
  expect(predicate?.parenthashes).toEqual([parent]);
  expect(predicate?.remotes).toEqual(["https://example.test/x.git"]);
  expect(predicate?.refs).toEqual(["refs/heads/main", "refs/tags/light"]);
  expect(predicate?.tags).toEqual([
    {
      name: "v1",
      taggername: "Carl",
      taggeremail: "carl@example.test",
      when: "2026-01-02T03:04:05Z",
      pgpsignature: "",
      message: "first release\n",
    },
  ]);
  const subjects = attest(factsOf(directory))?.subjects.map(({ name, digest }) => [name, Object.keys(digest)[0]]);
  expect(subjects).toContainEqual([`commithash:${hash}`, "sha1"]);
  expect(subjects).toContainEqual([`parenthash:${parent}`, "sha1"]);
  expect(subjects).toContainEqual(["remote:https://example.test/x.git", "sha256"]);
});

withGit("status: one word for the index, one for the work tree", () => {
  const directory = repository();
  for (const name of ["changed", "gone", "old"]) writeFileSync(join(directory, name), `${name}\n`.repeat(20));
  commit(directory);
  appendFileSync(join(directory, "changed"), "more");
  rmSync(join(directory, "gone"));
  git(directory, "mv", "old", "new");
  writeFileSync(join(directory, "added"), "1");
  git(directory, "add", "added");
  writeFileSync(join(directory, "odd\\name"), "1");
  expect(Object.fromEntries(factsOf(directory).status)).toEqual({
    added: { staging: "added", worktree: "unmodified" },
    changed: { staging: "unmodified", worktree: "modified" },
    gone: { staging: "unmodified", worktree: "deleted" },
    new: { staging: "renamed", worktree: "unmodified" },
    "odd\\\\name": { staging: "untracked", worktree: "untracked" },
  });
});

withGit("detached: the branch is HEAD", () => {
  const directory = repository();
  commit(directory);
  git(directory, "checkout", "-q", "--detach");
  expect(factsOf(directory).branch).toBe("HEAD");
});

withGit("no commit yet: an attestation without subjects, no error", () => {
  const facts = factsOf(repository());
  expect(facts.commit).toBeUndefined();
  expect(facts.branch).toBe("main");
  expect(attest(facts)?.subjects).toEqual([]);
  expect(attest(facts)?.predicate.commithash).toBe("");
});

withGit("a repository in the sha256 format has sha256 commits", () => {
  const directory = join(root, `repository${serial++}`);
  mkdirSync(directory);
  git(directory, "init", "-q", "--object-format=sha256");
  const hash = commit(directory);
  expect(attest(factsOf(directory))?.subjects[0]).toEqual({ name: `commithash:${hash}`, digest: { sha256: hash } });
});

test("no facts, no attestation", () => {
  expect(attest(undefined)).toBeUndefined();
});

withGit("reading changes nothing and starts nothing", () => {
  // A monitor, a hook and a pager that leave a mark when they are started; an index that `git status` would rewrite.
  const directory = repository();
  writeFileSync(join(directory, "a"), "1");
  commit(directory);
  const mark = join(root, "mark");
  const script = join(root, "script.sh");
  writeFileSync(script, `#!/bin/sh\necho started >>${mark}\n`);
  chmodSync(script, 0o755);
  git(directory, "config", "core.fsmonitor", script);
  git(directory, "config", "core.pager", script);
  mkdirSync(join(directory, ".git/hooks"), { recursive: true });
  for (const hook of ["post-index-change", "reference-transaction"])
    Bun.spawnSync(["cp", script, join(directory, ".git/hooks", hook)]);
  rmSync(mark, { force: true });
  // Same content, new time: status would refresh the index.
  Bun.spawnSync(["touch", "-d", "2001-01-01", join(directory, "a")]);
  const index = join(directory, ".git/index");
  const before = { bytes: Bun.hash(readFileSync(index)), names: readdirSync(join(directory, ".git")).sort() };
  factsOf(directory, { GIT_TRACE: mark, GIT_PAGER: script, GIT_EXTERNAL_DIFF: script });
  expect(existsSync(mark)).toBe(false);
  expect({ bytes: Bun.hash(readFileSync(index)), names: readdirSync(join(directory, ".git")).sort() }).toEqual(before);
});

withGit("the caller's GIT_DIR counts", () => {
  const directory = repository();
  const hash = commit(directory);
  const elsewhere = join(root, "elsewhere");
  mkdirSync(elsewhere);
  const facts = factsOf(elsewhere, { GIT_DIR: join(directory, ".git"), GIT_WORK_TREE: elsewhere });
  expect(facts.commit?.hash).toBe(hash);
});

const none: {
  name: string;
  directory: () => string;
  changes: Record<string, string | undefined>;
  reason: RegExp;
  hint?: RegExp;
}[] = [
  { name: "outside of a work tree", directory: () => root, changes: {}, reason: /not in a git work tree/ },
  { name: "inside .git", directory: () => join(repository(), ".git"), changes: {}, reason: /not in a git work tree/ },
  { name: "no git", directory: () => root, changes: { PATH: "/nonexistent" }, reason: /git is not in PATH/ },
  { name: "no PATH", directory: () => root, changes: { PATH: undefined }, reason: /git is not in PATH/ },
  {
    name: "a repository of somebody else",
    directory: () => {
      const directory = repository();
      if (process.getuid?.() !== 0) return directory;
      Bun.spawnSync(["chown", "-R", "12345", directory]);
      return directory;
    },
    changes: {},
    reason: /does not trust the owner/,
    hint: /safe\.directory/,
  },
];

for (const row of none) {
  // Only root can give a repository away.
  test.skipIf(!hasGit || (row.hint !== undefined && process.getuid?.() !== 0))(`none: ${row.name}`, () => {
    const reading = readGit(row.directory(), { ...environment, ...row.changes }, ["sha256"]);
    if (reading.kind === "facts") throw new Error("there are facts");
    expect(reading.reason).toMatch(row.reason);
    if (row.hint !== undefined) expect(reading.hint).toMatch(row.hint);
  });
}

test("a git in a relative part of PATH is not started", () => {
  const directory = join(root, "bin");
  mkdirSync(directory);
  writeFileSync(join(directory, "git"), "#!/bin/sh\n", { mode: 0o755 });
  expect(findInPath("git", `:${relative(process.cwd(), directory)}:.`)).toBeUndefined();
  expect(findInPath("git", directory)).toBe(join(directory, "git"));
});

withGit("a broken index is said, and the rest is there", () => {
  const directory = repository();
  const hash = commit(directory);
  writeFileSync(join(directory, ".git/index"), "this is no index");
  const reading = readGit(directory, environment, ["sha256"]);
  if (reading.kind === "none") throw new Error(reading.reason);
  expect(reading.facts.commit?.hash).toBe(hash);
  expect(reading.notes.join()).toMatch(/git status failed/);
});

const urls: [url: string, without: string][] = [
  ["https://example.test/x", "https://example.test/x"],
  ["https://user@example.test/x", "https://example.test/x"],
  ["https://user:pass@example.test:8443/x", "https://example.test:8443/x"],
  ["https://user:p@ss@example.test/x", "https://example.test/x"],
  ["https://user:pa/ss@example.test/x", "https://example.test/x"],
  ["https://example.test/@scope/x", "https://example.test/@scope/x"],
  ["https://example.test:8443/@scope/x", "https://example.test:8443/@scope/x"],
  ["https://[::1]:80/@x", "https://[::1]:80/@x"],
  ["ssh://git@example.test/x", "ssh://example.test/x"],
  ["git@example.test:x.git", "git@example.test:x.git"],
  ["/srv/x@y", "/srv/x@y"],
  ["file:///srv/x@y", "file:///srv/x@y"],
];

for (const [url, without] of urls) {
  test(`remote ${url}`, () => {
    expect(withoutUserInfo(url)).toBe(without);
  });
}

test("a signed commit: the signature without its continuation spaces", () => {
  const body =
    "tree 4b\nauthor A <a@b> 0 +0000\ncommitter A <a@b> 0 -0130\ngpgsig -----BEGIN X-----\n \n line\n -----END X-----\n\nsubject\n\nbody\n";
  const parsed = parseCommit("00", Buffer.from(body));
  expect(parsed.signature).toBe("-----BEGIN X-----\n\nline\n-----END X-----\n");
  expect(parsed.message).toBe("subject\n\nbody\n");
  expect(goTime(parsed.committer)).toBe("1969-12-31 22:30:00 -0130 -0130");
  expect(rfc3339(parsed.committer)).toBe("1969-12-31T22:30:00-01:30");
});

test("a signed tag: message and signature apart", () => {
  const tag = parseTag(
    Buffer.from(
      "object 00\ntype commit\ntag v1\ntagger A <a@b> 0 +0000\n\nnotes\n-----BEGIN PGP SIGNATURE-----\nx\n-----END PGP SIGNATURE-----\n",
    ),
  );
  expect(tag).toMatchObject({
    name: "v1",
    message: "notes\n",
    signature: "-----BEGIN PGP SIGNATURE-----\nx\n-----END PGP SIGNATURE-----\n",
  });
});

const oddPeople: [line: string, name: string, email: string][] = [
  ["A B <a@b> 1 +0000", "A B", "a@b"],
  ["<a@b> 1 +0000", "", "a@b"],
  ["A <> 1 +0000", "A", ""],
  ["nobody at all", "", ""],
];

for (const [line, name, email] of oddPeople) {
  test(`author ${line}`, () => {
    expect(parseCommit("00", Buffer.from(`author ${line}\n\n`)).author).toMatchObject({ name, email });
  });
}

test("status output that ends early", () => {
  expect([...parseStatus(Buffer.from(""))]).toEqual([]);
  expect([...parseStatus(Buffer.from("R  new\0"))].map(([path]) => path)).toEqual(["new"]);
});

function sha256(text: string): string {
  return new Bun.CryptoHasher("sha256").update(text).digest("hex");
}
