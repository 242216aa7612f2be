// What strace says happened in a build, what a record says, and what the one has that the other lacks. Names that a build makes up are
// compared by their shape.
import { createHash } from "node:crypto";
import { existsSync, lstatSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";

/** What one of the two says happened. Names are absolute, or what a program gave a call that takes a relative one. */
export interface Seen {
  opens: Set<string>;
  programs: Set<string>;
  renames: Set<string>;
  removals: Set<string>;
  connections: Set<string>;
}
const kinds = ["opens", "programs", "renames", "removals", "connections"] as const;
const nothing = (): Seen => ({
  opens: new Set(),
  programs: new Set(),
  renames: new Set(),
  removals: new Set(),
  connections: new Set(),
});

/** Comes before the words of a command; `logs` is an empty directory. */
export function straceWords(logs: string): string[] {
  const calls = "open,openat,openat2,creat,execve,execveat,rename,renameat,renameat2,unlink,unlinkat,rmdir,connect";
  // One file a thread: no call is split in two by another's.
  return ["strace", "-ff", "-y", "-qq", "-s", "4096", "-e", `trace=${calls}`, "-e", "signal=none", "-o", join(logs, "log")];
}

export function seenByStrace(logs: string): Seen {
  const seen = nothing();
  for (const name of readdirSync(logs)) {
    for (const line of readFileSync(join(logs, name), "latin1").split("\n")) readLine(line, seen);
  }
  return seen;
}

const quoted = /"((?:[^"\\]|\\.)*)"/g;

function readLine(line: string, seen: Seen): void {
  const [, name, words = "", result = ""] = /^(\w+)\((.*)\)\s+= (.*)$/.exec(line) ?? [];
  if (name === undefined) return;
  if (name === "connect") readConnect(words, result, seen);
  if (name === "connect" || result.startsWith("-1") || result.startsWith("?")) return;
  const paths = [...words.matchAll(quoted)].map(match => match[1] ?? "");
  if (name.startsWith("open") || name === "creat") {
    const path = /^\d+<(\/.*?)>(\(deleted\))?$/.exec(result)?.[1];
    if (path !== undefined) seen.opens.add(path);
  } else if (name.startsWith("exec")) seen.programs.add(paths[0] ?? "");
  else if (name.startsWith("rename")) seen.renames.add(`${paths[0]} -> ${paths[1]}`);
  else seen.removals.add(paths[0] ?? "");
}

/** An address of another run may be another of the same host: the port is what can be compared. */
function readConnect(words: string, result: string, seen: Seen): void {
  if (result.startsWith("-1") && !result.includes("EINPROGRESS")) return;
  const port = /sin6?_port=htons\((\d+)\)/.exec(words)?.[1];
  const path = /sun_path="([^"]*)"/.exec(words)?.[1];
  if (port !== undefined && port !== "0") seen.connections.add(`port ${port}`);
  else if (path !== undefined) seen.connections.add(path);
}

const digestSet = z.looseObject({ sha256: z.string().optional() });
const entrySchema = z.looseObject({
  program: z.string().default(""),
  openedfiles: z.record(z.string(), digestSet).default({}),
  writtenDigests: z.record(z.string(), digestSet).default({}),
  fileVersions: z.record(z.string(), z.array(digestSet)).default({}),
  images: z
    .array(z.looseObject({ program: z.string(), executable: z.string().optional(), argv: z.array(z.string()) }))
    .default([]),
  exepath: z.string().optional(),
  network: z
    .looseObject({ connections: z.array(z.looseObject({ address: z.string(), port: z.int().optional() })).default([]) })
    .optional(),
  fileOps: z
    .looseObject({
      renames: z.array(z.looseObject({ oldPath: z.string(), newPath: z.string() })).default([]),
      deletes: z.array(z.looseObject({ path: z.string() })).default([]),
    })
    .default({ renames: [], deletes: [] }),
});
const runSchema = z.looseObject({
  processes: z.array(entrySchema),
  completeness: z.looseObject({
    verdict: z.string(),
    gaps: z.array(z.looseObject({ kind: z.string(), severity: z.string(), detail: z.string() })),
  }),
});
export type Run = z.infer<typeof runSchema>;

/** Of the file that `cilock run -o` writes. */
export function readRecord(file: string): Run {
  const envelope = z.object({ payload: z.string() }).parse(JSON.parse(readFileSync(file, "utf8")));
  const statement = z
    .object({ predicate: z.object({ attestations: z.array(z.object({ type: z.string(), attestation: z.unknown() })) }) })
    .parse(JSON.parse(Buffer.from(envelope.payload, "base64").toString()));
  return runSchema.parse(statement.predicate.attestations.find(one => one.type.includes("/command-run/"))?.attestation);
}

function seenByCilock(run: Run): Seen {
  const seen = nothing();
  for (const entry of run.processes) {
    for (const path of Object.keys(entry.openedfiles)) seen.opens.add(path);
    for (const program of [entry.program, ...entry.images.map(image => image.program)]) seen.programs.add(program);
    for (const { oldPath, newPath } of entry.fileOps.renames) seen.renames.add(`${oldPath} -> ${newPath}`);
    for (const { path } of entry.fileOps.deletes) seen.removals.add(path);
    for (const { address, port } of entry.network?.connections ?? []) {
      seen.connections.add(port === undefined || port === 0 ? address : `port ${port}`);
    }
  }
  return seen;
}

/** What is different in every run: numbers, and the ends of temporary names. */
function shape(name: string): string {
  return name.split(" -> ").map(shapeOfPath).join(" -> ");
}

function shapeOfPath(path: string): string {
  return (
    path
      .replace(/\/cc[A-Za-z0-9]{6}(?=\.|$)/g, "/ccX")
      .replace(/(^|\/)st[A-Za-z0-9]{6}$/, "$1stX")
      .replace(/TryCompile-[A-Za-z0-9_]{6}/g, "TryCompile-X")
      // Python's tempfile.
      .replace(/(\/tmp\/|-|tmp)[a-z0-9_]{8}(?=\/|$)/g, "$1X")
      .replace(/[a-z0-9_]{8}\.tmp$/, "X.tmp")
      .replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "U")
      .replace(/(cmTC_|\.tmp)[0-9a-f]{5}(?![0-9a-f])/g, "$1X")
      .replace(/[0-9a-f]{8,}/g, "H")
      .replace(/\d+/g, "N")
  );
}

/** Those of the first that the second has neither as they are, nor in their shape, nor as the end of an absolute path. */
function absent(expected: ReadonlySet<string>, found: ReadonlySet<string>): string[] {
  const shapes = new Set([...found].map(shape));
  const tails = new Set([...shapes].flatMap(name => name.split(" -> ").map(baseName).join(" -> ")));
  return [...expected].filter(name => {
    if (found.has(name) || shapes.has(shape(name))) return false;
    const isRelative = name.split(" -> ").some(part => !part.startsWith("/"));
    return !(isRelative && tails.has(shape(name).split(" -> ").map(baseName).join(" -> ")));
  });
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function compareWithDisk(paths: ReadonlySet<string>, run: Run): { onDisk: number; without: string[]; other: string[] } {
  let onDisk = 0;
  const without: string[] = [];
  const other: string[] = [];
  for (const path of paths) {
    if (!existsSync(path) || !lstatSync(path).isFile() || /^\/(proc|sys|dev)\//.test(path)) continue;
    const digests = run.processes.flatMap(entry => [
      ...(entry.fileVersions[path] ?? []),
      ...(entry.openedfiles[path] === undefined ? [] : [entry.openedfiles[path]]),
      ...(entry.writtenDigests[path] === undefined ? [] : [entry.writtenDigests[path]]),
    ]);
    // Of a name that this run did not make up, the record has nothing: it is counted among what is missing.
    if (digests.length === 0) continue;
    onDisk++;
    const known = digests.flatMap(digest => digest.sha256 ?? []);
    if (known.length === 0) without.push(path);
    else if (!known.includes(createHash("sha256").update(readFileSync(path)).digest("hex"))) other.push(path);
  }
  return { onDisk, without, other };
}

export const columns = [
  "processes",
  ...["opened: strace, missing", "programs", "renames", "removals", "connections"],
  "on disk, without digest, other digest",
  "verdict",
] as const;

/** The cells of `columns`, and a line for each thing that is wrong, which a gap is as well. */
export function compare(straced: Seen, run: Run): { cells: string[]; wrong: string[] } {
  const found = seenByCilock(run);
  const missing = kinds.map(kind => absent(straced[kind], found[kind]).map(name => `${kind}: ${name} is not in the record`));
  const { onDisk, without, other } = compareWithDisk(straced.opens, run);
  const { verdict, gaps } = run.completeness;
  return {
    cells: [
      `${run.processes.length}`,
      ...kinds.map((kind, index) => `${straced[kind].size}, ${missing[index]?.length}`),
      `${onDisk}, ${without.length}, ${other.length}`,
      verdict,
    ],
    wrong: [
      ...missing.flat(),
      ...without.map(name => `${name}: no digest`),
      ...other.map(name => `${name}: another digest`),
      ...gaps.map(gap => `${gap.severity} ${gap.kind}: ${gap.detail}`),
    ],
  };
}
