// After a traced build: what class its files have, and who vouches for what it took from outside.
import type { DigestAnswer, DigestOrder } from "../facts/compared-contents.ts";
import { findUndeclared, type InputsBefore, readInputsBefore } from "../facts/undeclared.ts";
import { compileGlobs, type Glob } from "../glob.ts";
import { escapeBytes } from "../text.ts";
import { cachePatterns, cachePatternsOf } from "../trace/cache-patterns.ts";
import { classify, classTotals } from "../trace/classes.ts";
import type { Digester } from "../trace/digester.ts";
import type { TraceObservation } from "../trace/observation.ts";
import type { Trace } from "../trace/trace.ts";
import type { CacheOptions } from "./run-options.ts";

export interface InputOptions {
  /** Absolute, escaped. */
  readonly workingDirectory: string;
  /** Of the command. */
  readonly environment: readonly Uint8Array[];
  /** Undefined: nobody is asked to vouch. */
  readonly before: InputsBefore | undefined;
  /** All files of system packages, and not only some. */
  readonly compareAll: boolean;
  readonly isCache: Glob;
  /** Of --product-glob. */
  readonly isProduct: Glob | undefined;
}

export { type InputsBefore, readInputsBefore };

/** Adds to the observation what can be said of its files as a whole. The trace's digest threads are still there. */
export async function judgeFiles(observed: TraceObservation, trace: Trace, options: InputOptions): Promise<void> {
  const { files, digester } = trace;
  const { workingDirectory, isCache, isProduct } = options;
  const variables = variablesOf(options.environment);
  const classes = classify(files, { workingDirectory, isCache, ...(isProduct === undefined ? {} : { isProduct }) });
  Object.assign(observed.totals, classTotals(classes));
  if (options.before === undefined) return;
  observed.undeclared = await findUndeclared(files, {
    before: options.before,
    roots: ["/", ...observed.processes.flatMap(({ root }) => root ?? [])],
    processes: options.compareAll ? Number.POSITIVE_INFINITY : observed.processes.length,
    digest: orders => digestFiles(digester, orders),
    goModuleCache: variables.get("GOMODCACHE"),
    npmCache: npmCacheOf(variables),
  });
}

/** What is a cache, by the flags and by the environment of the command. */
export function cacheTest(environment: readonly Uint8Array[], { add, allow, defaults, probe }: CacheOptions): Glob {
  const found = probe ? cachePatternsOf(variablesOf(environment)) : [];
  const isListed = compileGlobs([...(defaults ? cachePatterns : []), ...found, ...add]);
  const isAllowed = compileGlobs(allow);
  return path => isListed(path) && !isAllowed(path);
}

/** Where npm keeps what it has downloaded. */
function npmCacheOf(variables: ReadonlyMap<string, string>): string | undefined {
  const set = variables.get("npm_config_cache") ?? variables.get("NPM_CONFIG_CACHE");
  const home = variables.get("HOME");
  const directory = set ?? (home === undefined ? undefined : `${home}/.npm`);
  return directory?.startsWith("/") ? `${directory}/_cacache` : undefined;
}

function variablesOf(environment: readonly Uint8Array[]): Map<string, string> {
  return new Map(
    environment.map(entry => {
      const text = escapeBytes(entry);
      const equals = text.indexOf("=");
      return [text.slice(0, Math.max(equals, 0)), text.slice(equals + 1)];
    }),
  );
}

/** Only what is there under its name with the same inode. */
async function digestFiles(digester: Digester, orders: readonly DigestOrder[]): Promise<(DigestAnswer | undefined)[]> {
  const answers: (DigestAnswer | undefined)[] = orders.map(() => undefined);
  for (const [index, { path, device, inode, bytes, remote, hashes }] of orders.entries()) {
    digester.digest({ descriptor: -1, path, device, inode, hashes }, { bytes, remote }, result => {
      // A git object's name comes as gitoid:blob:sha1:HEX.
      if (result.kind !== "digest") return;
      answers[index] = { values: result.values.map(value => value.slice(value.lastIndexOf(":") + 1)), state: result.state };
    });
  }
  await digester.idle();
  return answers;
}
