// usage: bun bench/opens.ts [OPENS [ROUNDS [OTHER]...]]
//
// What a stop costs: one shell opens so many times one of 200 files and does nothing else. Bare, under strace if it is here, under
// dist/cilock and under other builds of cilock, in turns. Processor time is that of the whole tree, the tracer's too.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release, tmpdir } from "node:os";
import { join, resolve } from "node:path";

const [opens = 20_000, rounds = 5] = process.argv.slice(2, 4).map(Number);
const others = process.argv.slice(4).map(path => resolve(path));
const files = 200;
const scratch = mkdtempSync(join(tmpdir(), "cilock-bench-"));
mkdirSync(join(scratch, "include"));
for (let i = 0; i < files; i++) writeFileSync(join(scratch, "include", `${i}.h`), `content ${i}\n`);
writeFileSync(
  join(scratch, "build.sh"),
  `i=0; while [ $i -lt ${Math.ceil(opens / files)} ]; do for f in include/*; do : <"$f"; done; i=$((i + 1)); done\n`,
);

const traced = (cilock: string) => [
  cilock,
  ...["run", "--step", "bench", "--signer-ephemeral", "--trace", "--vouch", "no", "-a", "environment"],
  ...["-o", join(scratch, "record.json"), "--"],
];
const strace = Bun.which("strace");
const variants: [string, string[]][] = [
  ["bare", []],
  ...(strace === null
    ? []
    : [["strace", [strace, "-f", "-y", "--seccomp-bpf", "-e", "openat,dup2", "-o", "/dev/null"]] as [string, string[]]]),
  ...[resolve(import.meta.dir, "../dist/cilock"), ...others].map(path => [path, traced(path)] as [string, string[]]),
];

const middle = (list: number[]) => list.toSorted((a, b) => a - b)[list.length >> 1] ?? 0;
const found = variants.map(() => ({ cpu: [] as number[], wall: [] as number[] }));
for (let round = 0; round < rounds; round++) {
  for (const [index, [name, words]] of variants.entries()) {
    const start = performance.now();
    const child = Bun.spawn([...words, "sh", "build.sh"], { cwd: scratch, stdin: "ignore", stdout: "ignore", stderr: "pipe" });
    if ((await child.exited) !== 0) throw new Error(`${name}: ${await new Response(child.stderr).text()}`);
    const { user = 0, system = 0 } = child.resourceUsage()?.cpuTime ?? {};
    found[index]?.wall.push((performance.now() - start) / 1000);
    found[index]?.cpu.push((Number(user) + Number(system)) / 1e6);
  }
}
console.log(
  `${opens} opens, ${rounds} rounds, ${cpus().length} x ${cpus()[0]?.model}, Linux ${release()}, load ${loadavg()[0]?.toFixed(0)}\n\n` +
    "| | wall, median, s | wall, fastest, s | CPU, median, s | microseconds an open |\n|---|---|---|---|---|",
);
const bare = middle(found[0]?.wall ?? []);
for (const [index, [name]] of variants.entries()) {
  const { cpu = [], wall = [] } = found[index] ?? {};
  const each = ((middle(wall) - bare) / opens) * 1e6;
  console.log(
    `| ${name} | ${middle(wall).toFixed(2)} | ${Math.min(...wall).toFixed(2)} | ${middle(cpu).toFixed(2)} | ${each.toFixed(0)} |`,
  );
}
rmSync(scratch, { recursive: true });
