// What `cilock show --file PATH` prints: of each content of a file who wrote, read and ran it, what became of its name, and who
// vouches for it. Pure.
import { type JsonObject, omitUndefined } from "../attestation/json.ts";
import type { RecordArtifacts } from "../attestation/record-artifacts.ts";
import type { RecordOrigin } from "../attestation/record-origin.ts";
import type { RecordNameChange, RecordProcess, RecordRun } from "../attestation/record-run.ts";
import { ToolError } from "../errors.ts";
import { compileGlob, GlobError } from "../glob.ts";
import { shellWord } from "./printable.ts";

export interface FileHistory {
  readonly path: string;
  /** In the order in which they were met first. */
  readonly contents: readonly FileContent[];
  readonly names: readonly NamedBy[];
  /** One sentence each; of the path, since the record does not say it of a content. */
  readonly vouched: readonly string[];
  /** What the record as a whole takes it for. */
  readonly roles: readonly ("material" | "product")[];
}

export interface NamedBy {
  readonly change: RecordNameChange;
  readonly by: RecordProcess;
}

type Part = "writers" | "readers" | "either" | "runners";

export interface FileContent {
  /** Empty where it is not known. */
  readonly sha256: string;
  readonly writers: RecordProcess[];
  readonly readers: RecordProcess[];
  /** Who has written the path, and met this content of it before: the record does not say whether it was its own. */
  readonly either: RecordProcess[];
  /** Whose program it is or was. */
  readonly runners: RecordProcess[];
}

export interface FileSource {
  readonly run: RecordRun | undefined;
  readonly origin: RecordOrigin | undefined;
  readonly artifacts: RecordArtifacts | undefined;
}

/** A relative path or glob is below the directory in which the command ran. Throws ToolError usage for a glob that is none. */
export function fileHistories({ run, origin, artifacts }: FileSource, pattern: string): FileHistory[] {
  const directory = origin?.workingDirectory;
  const absolute = pattern.startsWith("/") || directory === undefined ? pattern : joined(directory, pattern);
  const matches = globOf(absolute);
  const files = new Map<string, { contents: Map<string, FileContent>; names: NamedBy[] }>();
  const historyOf = (path: string) => {
    if (path !== absolute && !matches(path)) return undefined;
    const known = files.get(path) ?? { contents: new Map<string, FileContent>(), names: [] };
    files.set(path, known);
    return known;
  };
  const add = (path: string, sha256: string, as: Part, process: RecordProcess) => {
    const contents = historyOf(path)?.contents;
    if (contents === undefined) return;
    const content = contents.get(sha256) ?? { sha256, writers: [], readers: [], either: [], runners: [] };
    contents.set(sha256, content);
    if (!content[as].includes(process)) content[as].push(process);
  };
  const laterNames = renamesOf(run?.processes ?? []);
  for (const actor of run?.processes ?? []) {
    for (const [path, sha256] of actor.opened) {
      // A writer's own open is among those, with what it has left if it read nothing before, and under the name of then.
      if (actor.written.has(path)) {
        if (sha256 !== "" && actor.written.get(path) !== sha256) add(path, sha256, "readers", actor);
      } else {
        const isOwn = sha256 !== "" && laterNames(path).some(name => actor.written.get(name) === sha256);
        add(path, sha256, isOwn ? "writers" : "readers", actor);
      }
    }
    for (const [path, sha256] of actor.written) add(path, sha256, "writers", actor);
    for (const [path, versions] of actor.versions) {
      for (const sha256 of versions) {
        if (sha256 === actor.written.get(path) || sha256 === actor.opened.get(path)) continue;
        add(path, sha256, actor.written.has(path) ? "either" : "readers", actor);
      }
    }
    for (const { program, digest } of [...actor.images, { program: actor.program, digest: actor.programDigest }]) {
      if (program !== "") add(program, digest ?? "", "runners", actor);
    }
    for (const change of actor.names) {
      for (const path of new Set([change.path, change.to ?? change.path])) historyOf(path)?.names.push({ change, by: actor });
    }
  }
  return [...files]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([path, { contents: met, names }]) => {
      const contents = [...met.values()];
      const roles = rolesOf(artifacts, path, directory);
      return { path, contents, names, roles, vouched: vouchedOf(run, { path, contents, roles }) };
    });
}

/** The names that a path may have got by renames, at whatever time. */
function renamesOf(processes: readonly RecordProcess[]): (path: string) => string[] {
  const next = new Map<string, Set<string>>();
  for (const { names } of processes) {
    for (const { kind, path, to } of names) {
      if (kind === "renamed" && to !== undefined) next.set(path, (next.get(path) ?? new Set()).add(to));
    }
  }
  return path => {
    const found = new Set<string>();
    const pending = [path];
    for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
      for (const to of next.get(name) ?? []) {
        if (!found.has(to)) pending.push(to);
        found.add(to);
      }
    }
    return [...found];
  };
}

function globOf(pattern: string): (path: string) => boolean {
  try {
    return compileGlob(pattern);
  } catch (error) {
    if (!(error instanceof GlobError)) throw error;
    throw new ToolError("usage", `--file ${pattern}: ${error.message}`);
  }
}

/** Without looking at any file system: `.` and `..` by their text. */
function joined(directory: string, path: string): string {
  const parts = directory.split("/").filter(part => part !== "");
  for (const part of path.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "." && part !== "") parts.push(part);
  }
  return `/${parts.join("/")}`;
}

function vouchedOf(
  run: RecordRun | undefined,
  { path, contents, roles }: Pick<FileHistory, "path" | "contents" | "roles">,
): string[] {
  const undeclared = run?.undeclared;
  if (undeclared === undefined) return [];
  const sentences = undeclared.files
    .filter(file => file.path === path)
    .map(({ kind, by, package: name, version, note }) => {
      const owner = [by, name, version].filter(part => part !== undefined).join(" ");
      const why = note === undefined ? "" : `: ${note}`;
      if (kind === "differs") return `it differs from what ${owner || "somebody"} declares${why}`;
      return `nobody vouches for it${owner === "" ? "" : ` (${owner})`}${why}`;
    });
  if (sentences.length > 0) return [...new Set(sentences)];
  if (contents.every(({ writers }) => writers.length > 0)) return ["made or changed by the build"];
  // What the build read and made itself, under another name, is no input, and nobody is asked.
  if (!roles.includes("material") || contents.some(({ writers }) => writers.length > 0)) return [];
  if (undeclared.unlistedFiles > 0) return ["not known: the record does not list all that nobody vouches for"];
  return ["vouched for, by one of the packages that --undeclared lists"];
}

function rolesOf(artifacts: RecordArtifacts | undefined, path: string, directory: string | undefined): FileHistory["roles"] {
  const below = directory === undefined || directory === "/" ? "/" : `${directory}/`;
  const short = path.startsWith(below) ? path.slice(below.length) : path;
  const has = (list: RecordArtifacts["products"]) => list?.some(file => file.path === path || file.path === short) === true;
  return [...(has(artifacts?.materials) ? ["material" as const] : []), ...(has(artifacts?.products) ? ["product" as const] : [])];
}

// ---------------------------------------------------------------------------------------------

export function historyLines(histories: readonly FileHistory[]): string[] {
  if (histories.length === 0) return ["  the record has no such file"];
  return histories.flatMap(({ path, contents, names, vouched, roles }) => [
    `  ${path}${roles.length === 0 ? "" : `  (${roles.join(", ")})`}`,
    ...contents.flatMap(({ sha256, writers, readers, either, runners }) => [
      `    ${sha256 === "" ? "of unknown digest" : `sha256:${sha256}`}`,
      ...whoLines("written by", writers),
      ...whoLines("read by", readers),
      ...whoLines("read or written by", either),
      ...whoLines("run by", runners),
    ]),
    ...names.map(({ change, by }) => `    ${changeText(change)} by ${whoText(by)}`),
    ...vouched.map(text => `    ${text}`),
  ]);
}

function whoLines(how: string, processes: readonly RecordProcess[]): string[] {
  return processes.map(process => `      ${how.padEnd(10)} ${whoText(process)}`);
}

function whoText({ pid, program, argv, commandLine }: RecordProcess): string {
  const words = argv.length === 0 ? commandLine : argv.map(shellWord).join(" ");
  return `${pid} ${program || "unknown program"}: ${words}`;
}

function changeText({ kind, path, to }: RecordNameChange): string {
  return to === undefined ? kind : `${path} ${kind} to ${to}`;
}

export function historiesJson(histories: readonly FileHistory[]): JsonObject[] {
  return histories.map(({ path, contents, names, vouched, roles }) => ({
    path,
    roles,
    contents: contents.map(({ sha256, writers, readers, either, runners }) =>
      omitUndefined({
        sha256: sha256 === "" ? undefined : sha256,
        writers: writers.map(whoJson),
        readers: readers.map(whoJson),
        readersOrWriters: either.map(whoJson),
        runners: runners.map(whoJson),
      }),
    ),
    names: names.map(({ change, by }) => omitUndefined({ ...change, by: whoJson(by) })),
    vouched,
  }));
}

function whoJson({ pid, program, programDigest, argv }: RecordProcess): JsonObject {
  return omitUndefined({ processid: pid, program, sha256: programDigest, argv });
}
