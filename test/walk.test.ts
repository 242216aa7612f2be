// The walk over a working directory: which files it finds, under which names, and what it says about the rest.
import { afterAll, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { emptyWalk, type FoundFile, lookAt, type Unread, type Walk, type WalkOptions, walk } from "../src/facts/walk.ts";
import { holesLeft } from "../src/file-limits.ts";

const root = mkdtempSync(join(tmpdir(), "cilock-walk-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let serial = 0;

type Entry = string | { link: string } | { directory: true } | { fifo: true };

/** Makes a directory with these entries; names are latin-1, so that any byte can be written. */
function tree(entries: Record<string, Entry>): string {
  const directory = join(root, `tree${serial++}`);
  mkdirSync(directory);
  for (const [name, entry] of Object.entries(entries)) {
    const path = Buffer.concat([Buffer.from(`${directory}/`), Buffer.from(name, "latin1")]);
    mkdirSync(path.subarray(0, path.lastIndexOf("/")), { recursive: true });
    if (typeof entry === "string") writeFileSync(path, entry);
    else if ("link" in entry) symlinkSync(entry.link.replace("ROOT", directory), path);
    else if ("directory" in entry) mkdirSync(path);
    else Bun.spawnSync(["mkfifo", path.toString()]);
  }
  return directory;
}

const look = (directory: string, options: Partial<WalkOptions> = {}): Walk =>
  walk(Buffer.from(directory), { hashes: ["sha256"], ...options });
const paths = (found: Walk): string[] => found.files.map(file => file.path);
const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

const cases: { name: string; entries: Record<string, Entry>; paths: string[]; unread?: Unread[] }[] = [
  { name: "empty directory", entries: {}, paths: [] },
  {
    name: "files, sorted, hidden ones and .git too",
    entries: { "b/c": "1", a: "2", ".git/HEAD": "3" },
    paths: [".git/HEAD", "a", "b/c"],
  },
  { name: "sorted by the whole path", entries: { "a/x": "1", "a.b": "2" }, paths: ["a.b", "a/x"] },
  { name: "a FIFO is no file, and does not hold us up", entries: { pipe: { fifo: true }, a: "1" }, paths: ["a"] },
  { name: "link to a file", entries: { a: "1", l: { link: "a" } }, paths: ["a", "l"] },
  { name: "absolute link inside", entries: { a: "1", l: { link: "ROOT/a" } }, paths: ["a", "l"] },
  { name: "link to a directory", entries: { "d/a": "1", l: { link: "d" } }, paths: ["d/a", "l/a"] },
  { name: "link that escapes by ..", entries: { a: "1", l: { link: "../../etc/passwd" } }, paths: ["a"] },
  { name: "absolute link that escapes", entries: { a: "1", l: { link: "/etc" } }, paths: ["a"] },
  { name: "broken link", entries: { a: "1", l: { link: "nothing" } }, paths: ["a"] },
  { name: "link to itself", entries: { l: { link: "l" }, a: "1" }, paths: ["a"] },
  { name: "link to the directory above", entries: { "d/a": "1", "d/up": { link: ".." } }, paths: ["d/a"] },
  {
    name: "two links around",
    entries: { "a/f": "1", "a/b": { link: "../b" }, "b/g": "2", "b/a": { link: "../a" } },
    paths: ["a/b/g", "a/f", "b/a/f", "b/g"],
  },
  { name: "odd bytes and backslashes", entries: { "\xff\xfe": "1", "a\\b": "2" }, paths: ["\\xFF\\xFE", "a\\\\b"] },
  { name: "a newline is a name like any other", entries: { "a\nb": "1" }, paths: ["a\nb"] },
];

for (const row of cases) {
  test(row.name, () => {
    const found = look(tree(row.entries));
    expect(paths(found)).toEqual(row.paths);
    expect(found.unread).toEqual(row.unread ?? []);
  });
}

test("a directory beside the root, with the root's name as its beginning, is outside", () => {
  const directory = tree({ l: { link: "ROOT-other" } });
  mkdirSync(`${directory}-other`);
  writeFileSync(`${directory}-other/secret`, "1");
  expect(paths(look(directory))).toEqual([]);
});

test("digests are of the content, in every algorithm asked for", () => {
  const found = look(tree({ a: "hello\n" }), { hashes: ["sha256", "sha1", "gitoid:sha256", "gitoid:sha1"] });
  expect(found.files[0]?.digest).toEqual({
    sha256: "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
    sha1: "f572d396fae9206628714fb2ce00f72e94f2258f",
    // As git hash-object has them, in a repository of either kind.
    "gitoid:sha256": "gitoid:blob:sha256:2cf8d83d9ee29543b34a87727421fdecb7e3f3a183d337639025de576db9ebb4",
    "gitoid:sha1": "gitoid:blob:sha1:ce013625030ba8dba906f756967f9e9ca394464a",
  });
});

test("a file of several chunks", () => {
  const content = "x".repeat((3 << 20) + 17);
  expect(look(tree({ big: content })).files[0]?.digest.sha256).toBe(sha256(content));
});

test("directories full of links to each other do not multiply", () => {
  // Twelve directories, each with a link to every other: without a bound there are more paths than the test has time for.
  const entries: Record<string, Entry> = {};
  for (let i = 0; i < 12; i++) {
    entries[`d${i}/f`] = String(i);
    for (let j = 0; j < 12; j++) if (i !== j) entries[`d${i}/l${j}`] = { link: `../d${j}` };
  }
  const found = look(tree(entries));
  expect(found.files.length).toBeGreaterThanOrEqual(12);
  expect(found.files.length).toBeLessThanOrEqual(24);
});

test("what cannot be read is listed", () => {
  // Root may read everything: a directory deeper than a path can say stands for what cannot be read.
  const half = "d".repeat(200).concat("/").repeat(12);
  const directory = tree({ a: "1", [`upper/${half}b`]: "2", [`lower/${half}f`]: "3" });
  renameSync(join(directory, "lower"), join(directory, "upper", half, "lower"));
  const found = look(directory);
  expect(paths(found)).toEqual(["a", `upper/${half}b`]);
  expect(found.unread.map(({ reason }) => reason)).toEqual(["ENAMETOOLONG"]);
});

test("a file that changes all the time is listed, and does not hold us up", async () => {
  const directory = tree({ a: "1", log: "x".repeat(32 << 20) });
  // In place, so that the disk does not fill: the size stays, the times move.
  const writer = Bun.spawn([
    "sh",
    "-c",
    'while :; do printf y | dd of="$0" conv=notrunc status=none; done',
    join(directory, "log"),
  ]);
  let found = look(directory);
  while (found.unread.length === 0) found = look(directory);
  writer.kill();
  await writer.exited;
  expect(paths(found)).toEqual(["a"]);
  expect(found.unread).toEqual([{ path: "log", reason: "changed while it was read", what: "content" }]);
});

test("what is not wanted is not read, and what is known neither", () => {
  const directory = tree({ a: "1", b: "2", "d/c": "3" });
  const known = { sha256: "00" };
  const found = look(directory, {
    isWanted: ({ path }) => path !== "b",
    known: ({ path }) => (path === "a" ? known : undefined),
  });
  expect(found.files.map(({ path, digest }) => [path, digest.sha256])).toEqual([
    ["a", "00"],
    ["d/c", sha256("3")],
  ]);
});

test("directories of one entry: their files are read whatever is wanted, those behind links to directories are marked", () => {
  const directory = tree({ "d/a": "1", "d/e/b": "2", "d/l": { link: "e" }, "d/m": { link: "a" }, c: "3" });
  const found = look(directory, { isOneEntry: path => path.startsWith("d"), isWanted: () => false });
  expect(paths(found)).toEqual(["d/a", "d/e/b", "d/l/b", "d/m"]);
  expect(found.directories).toEqual([{ path: "d/", linked: new Set(["d/l/b"]) }]);
  expect(look(directory, { isOneEntry: path => path === "." }).directories[0]?.path).toBe("./");
});

test("files that are looked at by name: regular ones that are there", () => {
  const directory = tree({ a: "1", "d/x": "2", l: { link: "a" } });
  const names = ["a", "d", "l", "nothing", "a/below"].map(name => join(directory, name));
  const found = lookAt(names, { hashes: ["sha256"] });
  expect(found).toMatchObject({ files: [{ path: join(directory, "a"), digest: { sha256: sha256("1") } }], unread: [] });
  expect(lookAt(names, { hashes: ["sha256"], excludePaths: [Buffer.from(join(directory, "a"))] }).files).toEqual([]);
});

test("a directory that is gone is listed, not thrown", () => {
  expect(look(join(root, "never"))).toEqual({ ...emptyWalk, unread: [{ path: ".", reason: "ENOENT", what: "entry" }] });
});

test("pseudo file systems are not read, and that is said", () => {
  const found = look("/proc");
  expect(found).toEqual({ ...emptyWalk, unread: [{ path: ".", reason: "pseudo-filesystem", what: "entry" }] });
});

test("a link into a pseudo file system escapes like any other", () => {
  expect(paths(look(tree({ l: { link: "/proc/self/environ" } })))).toEqual([]);
});

test("excluded by path: also where a link leads to it", () => {
  const directory = tree({ "out.json": "record", alias: { link: "out.json" }, other: "1" });
  expect(paths(look(directory, { excludePaths: [Buffer.from(join(directory, "out.json"))] }))).toEqual(["other"]);
});

test("excluded as a file: also under a second name", () => {
  // A build that links the key to another name must not get its digest signed.
  const directory = tree({ "key.pem": "secret", other: "1" });
  linkSync(join(directory, "key.pem"), join(directory, "innocent"));
  const { dev, ino } = statSync(join(directory, "key.pem"), { bigint: true });
  expect(paths(look(directory, { excludeFiles: [{ device: dev, inode: ino }] }))).toEqual(["other"]);
});

test("a rewrite of the same size with its time set back is seen", () => {
  const directory = tree({ a: "one" });
  utimesSync(join(directory, "a"), 1_000_000, 1_000_000);
  settle(directory);
  const before = look(directory);
  expect(before.files[0]?.settled).toBe(true);
  writeFileSync(join(directory, "a"), "two");
  utimesSync(join(directory, "a"), 1_000_000, 1_000_000);
  const after = look(directory, { earlier: before });
  expect(after.files[0]?.digest.sha256).toBe(sha256("two"));
});

test("a digest is used again only for the very same file", () => {
  const directory = tree({ a: "one", b: "same" });
  settle(directory);
  const before = look(directory);
  // The earlier walk is made to lie: only an entry that is taken over shows the lie.
  const lying: Walk = { ...before, files: before.files.map(file => ({ ...file, digest: { sha256: "lie" } })) };
  renameSync(join(directory, "a"), join(directory, "old"));
  writeFileSync(join(directory, "a"), "one");
  const digests = Object.fromEntries(look(directory, { earlier: lying }).files.map(file => [file.path, file.digest.sha256]));
  // `old` was renamed, which moves its ctime.
  expect(digests).toEqual({ a: sha256("one"), b: "lie", old: sha256("one") });
});

test("a digest of a file that was written a moment ago is never used again", () => {
  const directory = tree({ a: "one" });
  const before = look(directory);
  const unsettled: Walk = {
    ...before,
    files: before.files.map(file => ({ ...file, settled: false, digest: { sha256: "lie" } })),
  };
  expect(look(directory, { earlier: unsettled }).files[0]?.digest.sha256).toBe(sha256("one"));
});

test("sparse files take from what is left for the run; one that does not fit is listed as unread, smaller ones are not", () => {
  const directory = tree({ a: "", b: "", small: "1" });
  for (const name of ["a", "b"]) truncateSync(join(directory, name), 2 ** 30);
  const holes = holesLeft(1023);
  const found = look(directory, { holes });
  expect(paths(found)).toEqual(["small"]);
  expect(found.unread).toEqual(["a", "b"].map(path => ({ path, reason: "too many holes", what: "content" })));
  expect(holes[0]).toBe(1023);
});

test("a large file is read once, however many names and links lead to it", () => {
  const directory = tree({ a: "" });
  truncateSync(join(directory, "a"), 64 << 20);
  const names = Array.from({ length: 2000 }, (_, i) => `l${i}`);
  for (const [i, name] of names.entries()) {
    if (i % 2 === 0) linkSync(join(directory, "a"), join(directory, name));
    else symlinkSync("a", join(directory, name));
  }
  const { ctimeNs } = statSync(join(directory, "a"), { bigint: true });
  while (BigInt(Date.now()) * 1_000_000n - ctimeNs < 30_000_000n) Bun.sleepSync(5);
  // One reading each would be 125 GiB.
  const found = look(directory);
  expect(found.unread).toEqual([]);
  expect(new Set(paths(found))).toEqual(new Set(["a", ...names]));
  expect(new Set(found.files.map(file => file.digest.sha256)).size).toBe(1);
});

/** Waits until what is in the directory is old enough for its ctime to tell. */
function settle(directory: string): void {
  while (look(directory).files.some(file => !file.settled)) Bun.sleepSync(5);
}

test("what cannot count is passed over, and nothing else, whatever it is called", () => {
  // One byte each; the two of "Ã¼" are one character, and a backslash is escaped: as long as before.
  const names = ["a", "d/a", "d/ü", "d/Ã¼\\", "d/Ã¼\\\\", "d/\\", "d/\\\\", "d/\x01", "d/e/f"];
  const directory = tree({ ...Object.fromEntries(names.map(name => [name, name])), l: { link: "d/a" }, m: { link: "d" } });
  const told = (options: Partial<WalkOptions>) => {
    const { files, unread } = look(directory, options);
    return [files.map(({ path, inode, digest }) => ({ path, inode, digest })), unread];
  };
  const all = look(directory).files;
  expect(all.length).toBe(names.length + 1 + 8);
  for (const { path, inode } of all) {
    const wanted = { isWanted: (file: FoundFile) => file.path === path || file.target?.endsWith(`/${path}`) === true };
    const asked: string[] = [];
    const mayCount = (one: string) => {
      asked.push(one);
      return one === path;
    };
    expect(told({ ...wanted, mayCount })).toEqual(told(wanted));
    expect(asked).not.toContain("l");
    const byInode = { isWanted: (file: FoundFile) => file.inode === inode };
    expect(told({ ...byInode, mayCount: (_, number) => number === Number(inode) })).toEqual(told(byInode));
  }
});
