// usage: [KEY=p256] bun bench/large.ts [CILOCK [PROCESSES [FLAG]...]]
//
// A large build, made up: 5,000 processes that open 40,000 files, a million opens. Prints the row of bench/RESULTS.md: the
// most memory that our processes had at a time, and how long after the build's end the record was there.
import { mkdirSync, mkdtempSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { cpus, release, tmpdir } from "node:os";
import { join, resolve } from "node:path";

const [cilock = resolve(import.meta.dir, "../dist/cilock"), processCount = "5000", ...flags] = process.argv.slice(2);
const directories = 200;
const filesEach = 200;
const samplePauseMs = 20;
const ticksPerSecond = 100;

const scratch = mkdtempSync(join(tmpdir(), "cilock-large-"));
const key = join(scratch, "key.pem");
const record = join(scratch, "record.json");
const work = join(scratch, "work");

/** Each process opens every file of one directory; only the shell's own words, so that an open costs as little as it can. */
const openAll = 'for f in "$1"/*; do : <"$f"; done\n';
const driver = `i=0; while [ $i -lt ${processCount} ]; do sh open.sh include/module$((i % ${directories})); i=$((i + 1)); done; date +%s.%N >../ended\n`;

function makeTree(): void {
  mkdirSync(work);
  writeFileSync(join(work, "open.sh"), openAll);
  writeFileSync(join(work, "build.sh"), driver);
  for (let d = 0; d < directories; d++) {
    const directory = join(work, "include", `module${d}`);
    mkdirSync(directory, { recursive: true });
    for (let f = 0; f < filesEach; f++) writeFileSync(join(directory, `header-${f}.h`), `content ${d} ${f}\n`.repeat(20));
  }
}

interface Memory {
  /** Proportional: a page that two of them share counts once. */
  pss: number;
  anonymous: number;
}

/** Of the front end and of the tracer, which is its child and runs the same file. */
function memoryOf(pid: number): Memory | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/smaps_rollup`, "latin1");
    const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? 0) * 1024;
    return { pss: field("Pss"), anonymous: field("Anonymous") };
  } catch {
    return undefined;
  }
}

function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").trim().split(" ").filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

/** Processor time of all its threads so far, in seconds. */
function processorTimeOf(pid: number): number | undefined {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "latin1")
      .replace(/^.*\) /, "")
      .split(" ");
    return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
  } catch {
    return undefined;
  }
}

function isThere(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

async function measure(): Promise<void> {
  const started = performance.now();
  const command = [cilock, "run", "--step", "large", "-k", key, "-o", record, "--trace", ...flags, "--", "sh", "build.sh"];
  const child = Bun.spawn(command, { cwd: work, stdin: "ignore", stdout: "ignore", stderr: "pipe" });
  const peak: Memory = { pss: 0, anonymous: 0 };
  let peakAfter = 0;
  let recordMs: number | undefined;
  /** Of the front end: when the build ended, and when it was last seen. */
  let usedByBuild: number | undefined;
  let used = 0;
  let alive = true;
  const ended = child.exited.then(status => {
    alive = false;
    return status;
  });
  while (alive) {
    const parts = [child.pid, ...childrenOf(child.pid)].flatMap(pid => memoryOf(pid) ?? []);
    const pss = parts.reduce((sum, part) => sum + part.pss, 0);
    if (pss > peak.pss) Object.assign(peak, { pss, anonymous: parts.reduce((sum, part) => sum + part.anonymous, 0) });
    if (isThere(join(scratch, "ended")) && pss > peakAfter) peakAfter = pss;
    if (process.env.TIMELINE)
      console.error(
        ((performance.now() - started) / 1000).toFixed(2),
        isThere(join(scratch, "ended")) ? "after" : "",
        parts.map(p => `${Math.round(p.pss / 1048576)}/${Math.round(p.anonymous / 1048576)}`).join(" "),
      );
    used = processorTimeOf(child.pid) ?? used;
    if (isThere(join(scratch, "ended"))) usedByBuild ??= used;
    if (recordMs === undefined && isThere(record)) recordMs = Date.now();
    await Bun.sleep(samplePauseMs);
  }
  const status = await ended;
  const stderr = await new Response(child.stderr).text();
  if (status !== 0) throw new Error(`exit status ${status}: ${stderr}`);
  if (process.env.VERBOSE) console.error(stderr);
  const seconds = (performance.now() - started) / 1000;
  const endMs = Number(readFileSync(join(scratch, "ended"), "latin1")) * 1000;
  const written = statSync(record).mtimeMs;
  const mebibytes = (bytes: number) => Math.round(bytes / 2 ** 20);
  console.log(
    `| ${flags.join(" ") || "(defaults)"} | ${seconds.toFixed(1)} | ${mebibytes(peak.pss)} | ${mebibytes(peakAfter)} | ` +
      `${(((recordMs ?? written) - endMs) / 1000).toFixed(2)} | ${(used - (usedByBuild ?? used)).toFixed(2)} | ${mebibytes(statSync(record).size)} |`,
  );
}

try {
  Bun.spawnSync([cilock, "keygen", "--type", process.env.KEY ?? "ed25519", "-o", key]);
  makeTree();
  console.log(`${new Date().toISOString().slice(0, 10)}, ${cpus().length} CPUs, Linux ${release()}\n`);
  console.log(
    "| flags | whole run, s | most memory, MiB | after the build's end, MiB | record after the build's end, s | its processor time, s | record, MiB |",
  );
  console.log("|---|---|---|---|---|---|---|");
  await measure();
} finally {
  // Two minutes of processor time by rmSync.
  Bun.spawnSync(["rm", "-rf", scratch]);
}
