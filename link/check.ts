// usage: bun link/check.ts
//
// Everything that can be said about the code without running it: format and lint, types, the Zig
// formatter, and that the generated files are what their sources generate. All checks run; one that
// fails makes the exit status 1.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { basename, resolve } from "node:path";

process.chdir(resolve(import.meta.dir, ".."));

function command(file: string, ...argv: string[]): () => boolean {
  return () => spawnSync(file, argv, { stdio: ["ignore", "inherit", "inherit"] }).status === 0;
}

/** A committed file is what `link/zig build STEP` would write. */
function isCurrent(step: string, path: string): () => boolean {
  return () => {
    if (!command("link/zig", "build", `${step}-print`)()) return false;
    if (readFileSync(`zig-out/${basename(path)}`).equals(readFileSync(path))) return true;
    console.error(`${path} is not what its source generates: run \`link/zig build ${step}\` and commit the result`);
    return false;
  };
}

const checks: [name: string, passes: () => boolean][] = [
  ["biome", command("node_modules/.bin/biome", "check", "--error-on-warnings")],
  ["tsc", command("node_modules/.bin/tsc", "-p", ".")],
  ["zig fmt", command("link/zig", "build", "fmt")],
  // The reader of the rings is written against the first: a stale one would decode nonsense.
  ["generated ABI", isCurrent("abi", "src/native/abi.gen.ts")],
  ["generated list of system calls", isCurrent("coverage", "docs/coverage.md")],
];

let failed = 0;
for (const [name, passes] of checks) {
  console.error(`check: ${name} …`);
  if (passes()) continue;
  failed++;
  console.error(`check: ${name} failed`);
}
if (failed > 0) process.exit(1);
console.error(`check: all ${checks.length} passed`);
