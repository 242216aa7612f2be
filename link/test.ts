// usage: bun link/test.ts [FILE…]
//
// Runs all tests: the Zig unit tests, then those of test/ under bun, or only the test files that are
// named. The last line sums up what both runners say of themselves: `N passed, N failed`. A runner
// that fails without having counted anything (a compile error) counts as one failure.
import { type SpawnOptions, spawn } from "node:child_process";
import { resolve } from "node:path";

process.chdir(resolve(import.meta.dir, ".."));
const files = process.argv.slice(2);

interface Counts {
  passed: number;
  failed: number;
  /** What this machine cannot run: no root, no Docker, no qemu … */
  skipped: number;
}

/** Passes on what the command prints as it comes, and returns it. */
async function tee(file: string, argv: string[], options: SpawnOptions = {}): Promise<{ text: string; status: number }> {
  const child = spawn(file, argv, { stdio: ["ignore", "pipe", "pipe"], ...options });
  let text = "";
  const pass = (chunk: Buffer) => {
    text += chunk;
    process.stderr.write(chunk);
  };
  child.stdout?.on("data", pass);
  child.stderr?.on("data", pass);
  const status = await new Promise<number>((done, fail) => {
    child.on("error", fail);
    child.on("close", code => done(code ?? 1));
  });
  return { text, status };
}

const number = (text: string, pattern: RegExp) => Number(text.match(pattern)?.[1] ?? 0);

/** `Build Summary: 9/9 steps succeeded; 25/27 tests passed; 1 skipped; 1 failed` */
async function zigTests(): Promise<Counts> {
  const { text, status } = await tee("link/zig", ["build", "test", "--summary", "all"]);
  const summary = text.match(/^Build Summary:.*$/m)?.[0] ?? "";
  const passed = number(summary, /(\d+)\/\d+ tests passed/);
  const failed = number(summary, /tests passed.* (\d+) failed/);
  return {
    passed,
    failed: status === 0 ? failed : Math.max(failed, 1),
    skipped: number(summary, /tests passed.* (\d+) skipped/),
  };
}

/** ` 12 pass` and ` 0 fail`, each on a line of its own. */
async function bunTests(): Promise<Counts> {
  const { text, status } = await tee("node_modules/.bin/bun", ["test", "--timeout", "120000", ...files]);
  const passed = number(text, /^ *(\d+) pass$/m);
  const failed = number(text, /^ *(\d+) fail$/m);
  if (failed > 0) repeatFailures(text);
  return { passed, failed: status === 0 ? failed : Math.max(failed, 1), skipped: number(text, /^ *(\d+) skip$/m) };
}

/** What was printed between the test before and this one. */
const linesPerFailure = 60;

/** Where a log is cut in its middle, its end still says why a test failed: bun repeats only the names there. */
function repeatFailures(text: string): void {
  let block: string[] = [];
  for (const line of text.split("\n")) {
    if (/^\((pass|skip|todo)\) /.test(line) || line.startsWith("test/")) block = [];
    else if (/^\d+ tests? failed:$/.test(line)) return;
    else block.push(line);
    if (!line.startsWith("(fail) ")) continue;
    console.error(`test: once more: ${block.slice(-linesPerFailure).join("\n")}`);
    block = [];
  }
}

const start = performance.now();
const stages: [name: string, run: () => Promise<Counts>][] = [
  ["Zig unit tests", zigTests],
  ["tests of the program", bunTests],
];
const total: Counts = { passed: 0, failed: 0, skipped: 0 };
// What the tests load and trace: the tracer as a library, and the small programs of test/tracees.
const { status } = await tee("link/zig", ["build", "lib", "tracees", "--release=safe"]);
if (status !== 0) total.failed++;
for (const [name, run] of stages) {
  if (files.length > 0 && run === zigTests) continue;
  console.error(`test: ${name} …`);
  const { passed, failed, skipped } = await run();
  console.error(`test: ${name}: ${passed} passed, ${failed} failed, ${skipped} skipped`);
  total.passed += passed;
  total.failed += failed;
  total.skipped += skipped;
}
if (total.skipped > 0)
  console.error(`test: ${total.skipped} skipped, which need root or programs that are not here (.ci/run names them)`);
console.error(`test: ${((performance.now() - start) / 1000).toFixed(0)} s`);
console.log(`${total.passed} passed, ${total.failed} failed`);
if (total.failed > 0 || total.passed === 0) process.exit(1);
