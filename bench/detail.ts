// usage: bun bench/detail.ts [FILES [ROUNDS]]
//
// What --trace-detail full costs: make -j2 compiles so many tiny C files and links them, and dd writes 20,000 single bytes; bare,
// traced, and traced with full detail, in turns. Processor time is that of the whole tree, the tracer's too.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release, tmpdir } from "node:os";
import { join, resolve } from "node:path";

const [files = 60, rounds = 7] = process.argv.slice(2, 4).map(Number);
const cilock = resolve(import.meta.dir, "../dist/cilock");
const scratch = mkdtempSync(join(tmpdir(), "cilock-bench-"));
const work = join(scratch, "work");
mkdirSync(work);
for (let i = 0; i < files; i++) writeFileSync(join(work, `f${i}.c`), `int f${i}(int x) { return x + ${i}; }\n`);
writeFileSync(join(work, "main.c"), "int main(void) { return 0; }\n");
writeFileSync(
  join(work, "Makefile"),
  `app: ${Array.from({ length: files }, (_, i) => `f${i}.o`).join(" ")} main.o\n\tcc -o $@ $^\n%.o: %.c\n\tcc -c -o $@ $<\n`,
);

const workloads = {
  [`make -j2 of ${files} files`]: ["sh", "-c", "rm -f *.o app && make -s -j2"],
  "20,000 writes of a byte": ["dd", "if=/dev/zero", "of=bytes", "bs=1", "count=20000", "status=none"],
};
const traced = (...flags: string[]) => [
  cilock,
  ...["run", "--step", "bench", "--signer-ephemeral", "--trace", "--vouch", "no", "-a", "environment"],
  ...["-o", join(scratch, "record.json"), ...flags, "--"],
];
const variants = { bare: [], traced: traced(), "traced, full detail": traced("--trace-detail", "full") };

const middle = (list: number[]) => list.toSorted((a, b) => a - b)[list.length >> 1] ?? 0;
const ratio = (a: number, b: number) => (a / b).toFixed(2);
console.log(
  `${rounds} rounds, ${cpus().length} x ${cpus()[0]?.model}, Linux ${release()}, load ${loadavg()[0]?.toFixed(0)}\n\n` +
    "| | CPU, s | wall, fastest, s | CPU over traced | wall over traced |\n|---|---|---|---|---|",
);
for (const [workload, command] of Object.entries(workloads)) {
  const found = new Map(Object.keys(variants).map(name => [name, { cpu: [] as number[], wall: [] as number[] }]));
  for (let round = 0; round < rounds; round++) {
    for (const [name, words] of Object.entries(variants)) {
      const start = performance.now();
      const child = Bun.spawn([...words, ...command], { cwd: work, stdin: "ignore", stdout: "ignore", stderr: "pipe" });
      if ((await child.exited) !== 0) throw new Error(`${name}: ${await new Response(child.stderr).text()}`);
      const { user = 0, system = 0 } = child.resourceUsage()?.cpuTime ?? {};
      found.get(name)?.wall.push((performance.now() - start) / 1000);
      found.get(name)?.cpu.push((Number(user) + Number(system)) / 1e6);
    }
  }
  const base = found.get("traced") ?? { cpu: [], wall: [] };
  for (const [name, { cpu, wall }] of found) {
    const figures = [middle(cpu).toFixed(2), Math.min(...wall).toFixed(2)];
    const ratios = [ratio(middle(cpu), middle(base.cpu)), ratio(Math.min(...wall), Math.min(...base.wall))];
    console.log(`| ${workload}, ${name} | ${[...figures, ...ratios].join(" | ")} |`);
  }
}
rmSync(scratch, { recursive: true });
