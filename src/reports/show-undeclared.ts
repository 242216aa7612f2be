// What `cilock show --undeclared` prints: the inputs that nobody vouches for, and who vouches for the others. Pure.
import { type JsonObject, omitUndefined } from "../attestation/json.ts";
import type { RecordRun, RecordUndeclared, RecordUndeclaredFile } from "../attestation/record-run.ts";

export function undeclaredLines({ undeclared }: RecordRun): string[] {
  if (undeclared === undefined) return ["  the record does not say who vouches for its inputs"];
  const { files, packages, unlistedFiles, unlistedPackages, notes } = undeclared;
  const differing = files.filter(({ kind }) => kind === "differs");
  const others = files.filter(({ kind }) => kind !== "differs");
  const lines: string[] = [];
  if (differing.length > 0) lines.push("  other content than declared", ...groupLines(differing));
  if (others.length > 0) lines.push("  nobody vouches for", ...groupLines(others));
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
function groupLines(files: readonly RecordUndeclaredFile[]): string[] {
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
    .flatMap(([title, members]) => [`    ${title} (${members.length})`, ...members.map(({ path }) => `      ${path}`)]);
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
