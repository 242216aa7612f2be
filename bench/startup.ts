// usage: bun bench/startup.ts [ROUNDS]
//
// What cilock costs before and around a command that does nothing: from exec to the first byte of output, and a run of `true`
// bare, untraced and traced. Prints the tables of bench/RESULTS.md. The variants take turns, so that a slow moment of the
// machine hits all of them; a median and the fastest of all rounds are given.
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { cpus, release, tmpdir, totalmem } from "node:os";
import { join, resolve } from "node:path";
import { zstdCompressSync } from "node:zlib";

const rounds = Number(process.argv[2] ?? 40);
const cilock = resolve(import.meta.dir, "../dist/cilock");
const scratch = mkdtempSync(join(tmpdir(), "cilock-bench-"));
const key = join(scratch, "key.pem");
const record = join(scratch, "record.json");

interface Variant {
  name: string;
  command: string[];
}

const run = (...flags: string[]) => [
  cilock,
  "run",
  "--step",
  "bench",
  "-k",
  key,
  "-o",
  record,
  "-a",
  "environment",
  ...flags,
  "--",
  "true",
];

const firstOutput: Variant[] = [
  { name: "echo", command: ["/bin/echo"] },
  { name: "cilock version", command: [cilock, "version"] },
];
const runsOfTrue: Variant[] = [
  { name: "bare", command: ["true"] },
  { name: "cilock run", command: run() },
  { name: "cilock run --trace", command: run("--trace") },
];

/** Milliseconds from just before the spawn to the first byte of output. */
async function toFirstByte(command: string[]): Promise<number> {
  const start = performance.now();
  const child = Bun.spawn(command, { cwd: scratch, stdin: "ignore", stdout: "pipe", stderr: "ignore" });
  await child.stdout.getReader().read();
  const elapsed = performance.now() - start;
  await child.exited;
  return elapsed;
}

/** Milliseconds from just before the spawn to the end. */
async function toEnd(command: string[]): Promise<number> {
  const start = performance.now();
  const { exitCode } = Bun.spawnSync(command, { cwd: scratch, stdin: "ignore", stdout: "ignore", stderr: "ignore" });
  if (exitCode !== 0) throw new Error(`${command.join(" ")}: exit status ${exitCode}`);
  return performance.now() - start;
}

async function compare(title: string, variants: Variant[], measure: (command: string[]) => Promise<number>): Promise<void> {
  const times: number[][] = variants.map(() => []);
  for (let round = 0; round <= rounds; round++) {
    for (const [i, { command }] of variants.entries()) {
      const elapsed = await measure(command);
      if (round > 0) times[i]?.push(elapsed); // the first one fills the page cache
    }
  }
  const medians = times.map(list => [...list].sort((a, b) => a - b)[list.length >> 1] ?? Number.NaN);
  const base = medians[0] ?? Number.NaN;
  console.log(`| ${title} | median, ms | fastest, ms | median over the first row's | ratio |\n|---|---|---|---|---|`);
  for (const [i, { name }] of variants.entries()) {
    const median = medians[i] ?? Number.NaN;
    const fastest = Math.min(...(times[i] ?? []));
    console.log(
      `| ${name} | ${median.toFixed(2)} | ${fastest.toFixed(2)} | +${(median - base).toFixed(2)} | ${(median / base).toFixed(1)} |`,
    );
  }
  console.log();
}

function sizes(): void {
  const bytes = statSync(cilock).size;
  const packed = zstdCompressSync(readFileSync(cilock)).length;
  const mebibytes = (n: number) => (n / 2 ** 20).toFixed(1);
  console.log(`| size | MiB |\n|---|---|\n| dist/cilock | ${mebibytes(bytes)} |\n| with zstd -3 | ${mebibytes(packed)} |\n`);
}

try {
  const { exitCode, stderr } = Bun.spawnSync([cilock, "keygen", "-o", key]);
  if (exitCode !== 0) throw new Error(`keygen: ${stderr}`);
  const [cpu] = cpus();
  console.log(
    `${new Date().toISOString().slice(0, 10)}, ${cpus().length} x ${cpu?.model}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB, Linux ${release()}, ${rounds} rounds\n`,
  );
  await compare("exec to the first byte", firstOutput, toFirstByte);
  await compare("run of `true`", runsOfTrue, toEnd);
  sizes();
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
