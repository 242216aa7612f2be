// usage: bun link/build.ts [OUT ENTRY…]
//
// Makes dist/cilock in four steps, each skipped when nothing that it reads has changed:
//
//     Bun (musl) --imports.ts--> imports.S --zig build stub--> stub ----+
//         |                                                            |
//         +--- bun build --compile bin/cilock.ts --> program --- bind.ts +--> one static file
//
// Workers. A worker is an entry point of its own in the compiled file; `workers` below lists them.
// There the code of all modules is one bundle, whose import.meta.url is file:///$bunfs/root/program:
// a URL relative to the source file does not resolve. What works in both worlds (tried in the static
// binary) is
//
//     const compiled = import.meta.url.startsWith("file:///$bunfs/");
//     new Worker(new URL(compiled ? "./src/trace/digest-worker.js" : "./digest-worker.ts", import.meta.url).href)
//
// where the first is the worker's path from the project's root. (A bare "./src/…" works too, but it
// could find a file of that name in the directory where we were started.)
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

const root = resolve(import.meta.dir, "..");
process.chdir(root);

const workers = ["src/trace/digest-worker.ts", "src/commands/envelope-worker.ts"];
const [out = "dist/cilock", ...entries] = process.argv.slice(2);
const entryPoints = entries.length > 0 ? entries : ["bin/cilock.ts", ...workers.filter(path => existsSync(path))];

const bun = "node_modules/.bin/bun";
const muslBun = "node_modules/@oven/bun-linux-x64-musl/bin/bun";
const work = "out";
const imports = join(work, "imports.S");
const stub = join(work, "bin/stub");
const program = join(work, "program");

interface Step {
  name: string;
  /** Files, or directories with all that is in them. */
  inputs: string[];
  output: string;
  command: string[];
}

const steps: Step[] = [
  {
    name: "list what Bun imports",
    inputs: [muslBun, "link/imports.ts", "link/elf.ts"],
    output: imports,
    command: [bun, "link/imports.ts", muslBun, imports],
  },
  {
    name: "compile the tracer and its libc (the first time: minutes)",
    inputs: [imports, "build.zig", "zig", "link/zig", "zig-requirements.txt"],
    output: stub,
    // An ordinary x86-64 is what build.zig asks for; Bun for musl comes in one form, which needs no AVX either.
    command: ["link/zig", "build", "stub", "--release=safe", `-Dimports=${resolve(imports)}`, "--prefix", work],
  },
  {
    name: "compile the TypeScript",
    inputs: [muslBun, ...entryPoints, "src", "package-lock.json", "tsconfig.json"],
    output: program,
    command: [
      ...[bun, "build", "--compile", "--target=bun-linux-x64-musl", `--compile-executable-path=${muslBun}`],
      // The form that starts fastest: measured at 2.9 ms to the first output, plain 6.5.
      ...["--minify", "--bytecode", "--format=esm"],
      // A file in the directory of the build that is recorded must not change how we run.
      ...["--no-compile-autoload-bunfig", "--no-compile-autoload-dotenv"],
      ...[...entryPoints, "--outfile", program],
    ],
  },
  {
    name: "bind both into one static file",
    inputs: [program, stub, "link/bind.ts", "link/elf.ts", "link/imports.ts"],
    output: out,
    command: [bun, "link/bind.ts", program, stub, out],
  },
];

/** Digest of a step's command and of everything that it reads. */
function fingerprint(step: Step): string {
  const hash = createHash("sha256").update(JSON.stringify(step.command));
  const add = (path: string) => {
    hash.update(`\0${path}\0`);
    if (statSync(path).isDirectory()) {
      for (const name of readdirSync(path).sort()) add(join(path, name));
    } else {
      hash.update(readFileSync(path));
    }
  };
  for (const input of step.inputs) add(input);
  return hash.digest("hex");
}

function run(step: Step, position: string): void {
  const say = (text: string) => console.error(`build: ${position} ${step.name}${text}`);
  const stamp = join(work, `${step.output.replaceAll("/", "_")}.stamp`);
  const wanted = fingerprint(step);
  if (existsSync(step.output) && existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) {
    say(": unchanged");
    return;
  }
  say(" …");
  const start = performance.now();
  const [file = "", ...argv] = step.command;
  const { status, signal } = spawnSync(file, argv, { stdio: ["ignore", 2, 2] });
  if (status !== 0) {
    say(`: failed (${signal ?? `exit status ${status}`})`);
    process.exit(1);
  }
  writeFileSync(stamp, wanted);
  say(`: done in ${((performance.now() - start) / 1000).toFixed(1)} s`);
}

for (const directory of [work, dirname(out)]) mkdirSync(directory, { recursive: true });
steps.forEach((step, i) => {
  run(step, `[${i + 1}/${steps.length}]`);
});
console.error(`build: ${out} is ready (${(statSync(out).size / 2 ** 20).toFixed(0)} MiB)`);
