// usage: bun bench/docker.ts [ROUNDS]
//
// The same build by itself, recorded and traced, in containers of several kinds side by side: what Docker's default profile costs,
// where process_vm_readv and pidfd_getfd are refused and /proc takes their place. Prints the table of bench/RESULTS.md. All containers
// live at the same time and take turns, so that a slow moment of the machine hits all of them. Needs root, dockerd, bash, gcc and make:
// the containers see the programs of this machine, read-only.
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { cpus, release, tmpdir, totalmem } from "node:os";
import { join, resolve } from "node:path";
import { canStartDocker, Docker } from "../test/docker.ts";

const rounds = Number(process.argv[2] ?? 9);
const cilock = resolve(import.meta.dir, "../dist/cilock");
const image = "cilock-bench:latest";

interface Place {
  name: string;
  options: string[];
}

const places: Place[] = [
  { name: "seccomp=unconfined", options: ["--security-opt", "seccomp=unconfined"] },
  { name: "default", options: [] },
  { name: "--cap-add=SYS_PTRACE", options: ["--cap-add=SYS_PTRACE"] },
  { name: "--user 1000", options: ["--user", "1000"] },
  { name: "--read-only", options: ["--read-only"] },
];

/** 40 compilations of small files, a link, and a few hundred processes of shell: what a build does. */
const prepare = `set -e
mkdir -p src && cd src
for i in $(seq 40); do
  echo "#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int f$i(int x) { char b[64]; snprintf(b, sizeof b, \\"%d\\", x); return atoi(b) + (int)strlen(b); }" > f$i.c
done
{ for i in $(seq 40); do echo "int f$i(int);"; done; echo "int main(void) { int s = 0;"; for i in $(seq 40); do echo "s += f$i(s);"; done; echo "return s == 0; }"; } > main.c
printf 'OBJS := $(patsubst %%.c,%%.o,$(wildcard *.c))\\nprog: $(OBJS)\\n\\tgcc -o $@ $^\\n\\tfor i in $$(seq 200); do /bin/true; done\\n%%.o: %%.c\\n\\tgcc -O1 -c -o $@ $<\\n' > Makefile
/cilock keygen -o ../key.pem >/dev/null`;

const flags = "run --step bench -k ../key.pem -o ../record.json -a environment";
const variants: { name: string; command: string }[] = [
  { name: "bare", command: "make -s" },
  { name: "recorded", command: `/cilock ${flags} -- make -s` },
  { name: "traced", command: `/cilock ${flags} --trace -- make -s` },
];

/** By the container's own clock: starting a process in it from outside costs as much as a small build. Prints real, user and system seconds. */
const timed = (command: string) =>
  `cd /work/src && rm -f *.o prog; TIMEFORMAT='%R %U %S'; { time ${command} >/dev/null 2>/work/said; } 2>&1 || cat /work/said`;

interface Time {
  wall: number;
  /** Of the whole tree: the others on a busy machine do not count. */
  cpu: number;
}

if (!canStartDocker) throw new Error("needs root, dockerd and docker");

const scratch = mkdtempSync(join(tmpdir(), "cilock-bench-"));
await using docker = new Docker();
try {
  await docker.ready();
  importImage();
  for (const place of places) startContainer(place);
  const times = await measure();
  const [cpu] = cpus();
  console.log(
    `${new Date().toISOString().slice(0, 10)}, ${cpus().length} x ${cpu?.model}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB, Linux ${release()}, ${rounds} rounds\n`,
  );
  console.log(
    "CPU: seconds of processor time, median. Wall: of the fastest round. Ratios are to the bare build of the same container.\n",
  );
  console.log(
    "| container | bare, CPU s | recorded, CPU | traced, CPU | traced, wall | reads memory by | takes descriptors by | verdict |",
  );
  console.log("|---|---|---|---|---|---|---|---|");
  for (const place of places) console.log(row(place, times.get(place.name) ?? new Map()));
} finally {
  for (const place of places) docker.run(["rm", "-f", containerOf(place)]);
  rmSync(scratch, { recursive: true, force: true });
}

// ---------------------------------------------------------------------------------------------

/** Only the places where things are mounted. */
function importImage(): void {
  const root = join(scratch, "root");
  for (const name of ["usr", "bin", "sbin", "lib", "lib64", "etc", "proc", "dev", "sys", "tmp", "work"]) {
    mkdirSync(join(root, name), { recursive: true });
    // What is mounted there takes the directory's mode.
    if (name === "tmp" || name === "work") chmodSync(join(root, name), 0o1777);
  }
  const { stdout: tar } = Bun.spawnSync(["tar", "-C", root, "-c", ...readdirSync(root)]);
  must(docker.run(["import", "-", image], tar), "import");
}

function containerOf({ name }: Place): string {
  return `bench-${name.replaceAll(/[^a-zA-Z0-9]+/g, "-")}`;
}

function startContainer(place: Place): void {
  const mounts = ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc"].flatMap(path => ["-v", `${path}:${path}:ro`]);
  must(
    docker.run([
      ...["run", "--detach", "--init=false", "--network", "none", "--name", containerOf(place), ...place.options, ...mounts],
      ...["-v", `${cilock}:/cilock:ro`, "--tmpfs", "/work:exec", "--tmpfs", "/tmp:exec", "--workdir", "/work"],
      ...["-e", "PATH=/usr/bin:/bin", image, "/bin/sleep", "infinity"],
    ]),
    `start of ${place.name}`,
  );
  inside(place, prepare);
}

function inside(place: Place, script: string): string {
  return must(docker.run(["exec", containerOf(place), "/bin/bash", "-c", script]), place.name);
}

function must({ status, stdout, stderr }: ReturnType<Docker["run"]>, what: string): string {
  if (status !== 0) throw new Error(`${what}: exit status ${status}: ${stderr}${stdout}`);
  return stdout.toString();
}

type Times = Map<string, Time[]>;

async function measure(): Promise<Map<string, Times>> {
  const times = new Map(places.map(place => [place.name, new Map(variants.map(({ name }): [string, Time[]] => [name, []]))]));
  for (let round = 0; round <= rounds; round++) {
    for (const { name, command } of variants) {
      for (const place of places) {
        const [wall = Number.NaN, user = Number.NaN, system = Number.NaN] = inside(place, timed(command)).split(" ").map(Number);
        if (Number.isNaN(system)) throw new Error(`${place.name}, ${name}: ${inside(place, "cat /work/said")}`);
        if (round > 0)
          times
            .get(place.name)
            ?.get(name)
            ?.push({ wall, cpu: user + system }); // the first one fills the page cache
      }
    }
  }
  return times;
}

function row(place: Place, times: Times): string {
  const sorted = (name: string, what: keyof Time) => (times.get(name) ?? []).map(time => time[what]).sort((a, b) => a - b);
  const median = (name: string) => sorted(name, "cpu")[rounds >> 1] ?? Number.NaN;
  const fastest = (name: string) => sorted(name, "wall")[0] ?? Number.NaN;
  const ratio = (a: number, b: number) => (a / b).toFixed(2);
  const { verdict, features } = completenessIn(place);
  const way = (feature: string, otherwise: string) => (features.includes(feature) ? feature : otherwise);
  return `| ${[
    place.name,
    median("bare").toFixed(2),
    ratio(median("recorded"), median("bare")),
    ratio(median("traced"), median("bare")),
    ratio(fastest("traced"), fastest("bare")),
    way("process_vm_readv", "/proc/PID/mem"),
    way("pidfd_getfd", "/proc/PID/fd"),
    verdict,
  ].join(" | ")} |`;
}

function completenessIn(place: Place): { verdict: string; features: string[] } {
  const envelope = JSON.parse(inside(place, "cat /work/record.json"));
  const statement = JSON.parse(Buffer.from(envelope.payload, "base64").toString());
  const run = statement.predicate.attestations.find((one: { type: string }) => one.type.includes("/command-run/"));
  const { verdict, gaps, tracer } = run.attestation.completeness;
  const kinds = gaps.map((gap: { kind: string }) => gap.kind).join(", ");
  return { verdict: kinds === "" ? verdict : `${verdict} (${kinds})`, features: tracer.features };
}
