// Where a thread's module is.

/** `module`: its path below src. In the compiled binary it is an entry point of its own, below the root of Bun's embedded file system. */
export function workerUrl(module: string): string {
  const compiled = import.meta.url.startsWith("file:///$bunfs/");
  return compiled ? `/$bunfs/root/src/${module}.js` : new URL(`./${module}.ts`, import.meta.url).href;
}
