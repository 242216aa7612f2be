// What `cilock show --undeclared` prints: the inputs that nobody vouches for, and who vouches for the others. Pure.
import { type JsonObject, omitUndefined } from "../attestation/json.ts";
import type { RecordRun, RecordUndeclared, RecordUndeclaredFile } from "../attestation/record-run.ts";

/** `isWhole`: no directory stands for the files in it. */
export function undeclaredLines({ undeclared }: RecordRun, isWhole: boolean): string[] {
  if (undeclared === undefined) return ["  the record does not say who vouches for its inputs"];
  const { files, packages, unlistedFiles, unlistedPackages, notes } = undeclared;
  const differing = files.filter(({ kind }) => kind === "differs");
  const others = files.filter(({ kind }) => kind !== "differs");
  const lines: string[] = [];
  if (differing.length > 0) lines.push("  other content than declared", ...groupLines(differing, isWhole));
  if (others.length > 0) lines.push("  nobody vouches for", ...groupLines(others, isWhole));
  if (lines.length === 0) lines.push("  none");
  if (unlistedFiles > 0) lines.push(`  and ${unlistedFiles} files that the record does not list`);
  lines.push("", "  vouched for");
  for (const { by, package: name, version, match, files: count } of packages) {
    const what = match === "digest" ? "" : " (the package owns them; their content was not compared)";
    lines.push(`    ${by} ${nameOf(name, version)}: ${count} ${count === 1 ? "file" : "files"}${what}`);
  }
  if (packages.length === 0) lines.push("    none");
  if (unlistedPackages > 0) lines.push(`    and ${unlistedPackages} packages that the record does not list`);
  return [...lines, ...notes.map(note => `  note: ${note}`)];
}

/** By the package that the file belongs to, else by where it is. */
function groupLines(files: readonly RecordUndeclaredFile[], isWhole: boolean): string[] {
  const groups = new Map<string, RecordUndeclaredFile[]>();
  for (const file of files) {
    const { by, package: name, version, note } = file;
    const owner = name === undefined ? undefined : `${by ?? ""} ${nameOf(name, version)}${note === undefined ? "" : `: ${note}`}`;
    const title = owner ?? placeOf(file.path);
    const known = groups.get(title);
    if (known) known.push(file);
    else groups.set(title, [file]);
  }
  return [...groups]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([title, members]) => [`    ${title} (${members.length})`, ...memberLines(members, isWhole)]);
}

/** More paths of a group than these are shown by directory, and no more directories than these. */
const pathsShown = 50;

/** A path has one line, with the number of its contents: each of them is an input. */
function memberLines(members: readonly RecordUndeclaredFile[], isWhole: boolean): string[] {
  const contents = new Map<string, number>();
  for (const { path } of members) contents.set(path, (contents.get(path) ?? 0) + 1);
  const paths = [...contents.keys()];
  if (isWhole || paths.length <= pathsShown) {
    return [...contents].map(([path, number]) => `      ${path}${number === 1 ? "" : ` (${number} contents)`}`);
  }
  const directories = new Map<string, number>();
  const depth = commonDepth(paths) + 1;
  for (const path of paths) {
    const directory = `${path.split("/").slice(0, -1).slice(0, depth).join("/")}/`;
    directories.set(directory, (directories.get(directory) ?? 0) + 1);
  }
  const lines = [...directories].map(
    ([directory, number]) => `      ${directory} (${number} ${number === 1 ? "file" : "files"})`,
  );
  const more = lines.length > pathsShown ? [`      and ${lines.length - pathsShown} more directories`] : [];
  return [...lines.slice(0, pathsShown), ...more, "      (--undeclared=all lists each file)"];
}

/** Parts that the directories of all paths have in common. */
function commonDepth(paths: readonly string[]): number {
  const [first = [], ...others] = paths.map(path => path.split("/").slice(0, -1));
  return others.reduce((depth, parts) => {
    let same = 0;
    while (same < depth && parts[same] === first[same]) same++;
    return same;
  }, first.length);
}

/** The first parts of a path: a toolchain or a cache is one group, whatever directories it has. */
function placeOf(path: string): string {
  const parts = path.split("/").slice(0, -1);
  return parts.slice(0, placeParts + 1).join("/") || "/";
}

const placeParts = 3;

function nameOf(name: string, version: string | undefined): string {
  return version === undefined ? name : `${name} ${version}`;
}

export function undeclaredJson({ packages, files, unlistedPackages, unlistedFiles, notes }: RecordUndeclared): JsonObject {
  return {
    packages: packages.map(found => omitUndefined({ ...found })),
    files: files.map(found => omitUndefined({ ...found })),
    unlistedPackages,
    unlistedFiles,
    notes,
  };
}
