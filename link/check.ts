// usage: bun link/check.ts
//
// Everything that can be said about the code without running it: format and lint, types, the Zig
// formatter, and that src/native/abi.gen.ts is what zig/abi.zig generates. All checks run; one that
// fails makes the exit status 1.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";

process.chdir(resolve(import.meta.dir, ".."));

function command(file: string, ...argv: string[]): () => boolean {
  return () => spawnSync(file, argv, { stdio: ["ignore", "inherit", "inherit"] }).status === 0;
}

/** The reader of the rings is written against the generated file: a stale one would decode nonsense. */
function abiIsCurrent(): boolean {
  if (!command("link/zig", "build", "abi-print")()) return false;
  if (readFileSync("zig-out/abi.gen.ts").equals(readFileSync("src/native/abi.gen.ts"))) return true;
  console.error("src/native/abi.gen.ts is not what zig/abi.zig generates: run `link/zig build abi` and commit the result");
  return false;
}

const checks: [name: string, passes: () => boolean][] = [
  ["biome", command("node_modules/.bin/biome", "check", "--error-on-warnings")],
  ["tsc", command("node_modules/.bin/tsc", "-p", ".")],
  ["zig fmt", command("link/zig", "build", "fmt")],
  ["generated ABI", abiIsCurrent],
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
