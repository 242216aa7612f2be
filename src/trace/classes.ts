// What the files of a build are to it (docs/undeclared.md): material, product, intermediate, cache. Pure.
//
//     read, not written by the build before ──────────── material
//     written ─┬─ gone at the end ────────────────────── intermediate
//              └─ there ─┬─ named by --product-glob ──── product
//                        ├─ matches a cache pattern ──── cache
//                        ├─ in the working directory ─── product
//                        └─ elsewhere ────────────────── elsewhere: of no class, but counted
//
// In the working directory patterns are over paths relative to it, so that a build below /tmp is no cache as a whole.
import type { Glob } from "../glob.ts";
import type { TraceFiles } from "./observation.ts";

export type WrittenClass = "product" | "intermediate" | "cache" | "elsewhere";

export interface ClassOptions {
  /** Absolute, escaped. */
  readonly workingDirectory: string;
  readonly isCache: Glob;
  /** Of --product-glob; also the way to make a product of what looks like a cache. */
  readonly isProduct?: Glob;
}

export interface Classes {
  /** Paths, each once. */
  readonly materials: readonly string[];
  readonly written: Readonly<Record<WrittenClass, readonly string[]>>;
}

export function classify(files: Pick<TraceFiles, "inputs" | "outputs">, options: ClassOptions): Classes {
  const written: Record<WrittenClass, string[]> = { product: [], intermediate: [], cache: [], elsewhere: [] };
  for (const output of files.outputs) written[classOf(output, options)].push(output.path);
  return { materials: [...new Set(files.inputs.map(({ path }) => path))], written };
}

/** By the names of `summary.totals`; the last one is an addition. */
export function classTotals({ materials, written }: Classes): Record<string, number> {
  return {
    materials: materials.length,
    intermediates: written.intermediate.length,
    products: written.product.length,
    cacheArtifacts: written.cache.length,
    writtenElsewhere: written.elsewhere.length,
  };
}

function classOf({ path, present }: TraceFiles["outputs"][number], options: ClassOptions): WrittenClass {
  if (!present) return "intermediate";
  const inside = relativeTo(options.workingDirectory, path);
  if (options.isProduct?.(inside ?? path)) return "product";
  if (options.isCache(inside ?? path)) return "cache";
  return inside === undefined ? "elsewhere" : "product";
}

/** Undefined: it is not in the directory. */
export function relativeTo(directory: string, path: string): string | undefined {
  const prefix = directory === "/" ? "/" : `${directory}/`;
  return path.startsWith(prefix) ? path.slice(prefix.length) : undefined;
}
