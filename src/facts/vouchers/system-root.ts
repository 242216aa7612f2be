// What package databases have in common: their names of files are older than the merger of /bin, /sbin and /lib into
// /usr, while the kernel tells the names of today.
import { linkTarget } from "./sources.ts";
import { type Candidate, joined } from "./voucher.ts";

const mergedDirectories = ["bin", "sbin", "lib", "lib32", "lib64", "libx32", "libo32"];

/** A function from a path below the root to all names that a package may have for it, the path itself first. */
export function mergedAliases(root: string): (path: string) => string[] {
  const aliases: [real: string, alias: string][] = [];
  for (const name of mergedDirectories) {
    const target = linkTarget(joined(root, name))?.replace(/^\/+|\/+$/g, "");
    // `bin -> usr/bin`; on some systems `lib64 -> usr/lib` and `/usr/sbin -> bin`.
    if (target?.startsWith("usr/")) aliases.push([`/${target}/`, `/${name}/`]);
  }
  for (const name of ["bin", "sbin"]) {
    const target = linkTarget(joined(root, `usr/${name}`));
    if (target === "bin" || target === "sbin") aliases.push([`/usr/${target}/`, `/usr/${name}/`]);
  }
  return path => [
    path,
    ...aliases.filter(([real]) => path.startsWith(real)).map(([real, alias]) => alias + path.slice(real.length)),
  ];
}

/** Every name that a package below the root may have for one of the files, with the numbers of the files that it can mean. */
export function packageNames(files: readonly Candidate[], root: string): Map<string, number[]> {
  const aliases = mergedAliases(root);
  const names = new Map<string, number[]>();
  for (const [index, { name }] of files.entries()) {
    for (const path of aliases(root === "/" ? name : name.slice(root.length))) {
      const known = names.get(path);
      if (known) known.push(index);
      else names.set(path, [index]);
    }
  }
  return names;
}
