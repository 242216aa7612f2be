// usage: bun bench/docker-builds.ts [BUILD…]
//
// Builds of `go`, `npm` and `pip` in containers of several kinds, and outside of any, from the same directory and with the same caches: each
// record must have the same programs as often, the same opened files, and the same verdict as that of the build outside. The containers
// have no network and see the programs of this machine, read-only. Needs root, dockerd, go, npm, cc, and Debian's python3 with pip, setuptools
// and headers; and registries once, to fill the caches.
import {
  chownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { z } from "zod";
import { canStartDocker, Docker } from "../test/docker.ts";

interface Build {
  name: string;
  /** Fills `kept`, with the network. */
  provide: string;
  /** In an empty directory, `$KEPT` beside it. */
  command: string;
}

const goMain = `package main
import ("fmt"; "github.com/google/uuid")
func main() { fmt.Println(uuid.New()) }
`;

const builds: readonly Build[] = [
  {
    name: "go",
    provide: `cat > main.go <<'END'\n${goMain}END\nexport GOMODCACHE=$KEPT/modules GOFLAGS=-modcacherw GOTOOLCHAIN=local
      go mod init example.org/built && go get github.com/google/uuid@v1.6.0`,
    command: `export GOMODCACHE=$KEPT/modules GOCACHE=$PWD/cache GOPROXY=off GOFLAGS=-mod=mod GOTOOLCHAIN=local CGO_ENABLED=0
      # Otherwise all of its processes count in one file that they have mapped: true gaps, and luck.
      mkdir -p .config/go/telemetry && echo off > .config/go/telemetry/mode
      cp $KEPT/main.go $KEPT/go.mod $KEPT/go.sum . && go build -p 2 -o built .`,
  },
  {
    name: "npm",
    provide: `echo '{"name":"x","version":"1.0.0","dependencies":{"express":"4.18.2"}}' > package.json
      npm install --no-audit --no-fund --cache $KEPT/cache`,
    command: `cp $KEPT/package.json $KEPT/package-lock.json . && cp -r $KEPT/cache .
      npm ci --offline --no-audit --no-fund --no-update-notifier --cache $PWD/cache`,
  },
  {
    name: "pip",
    provide: "python3 -m pip download --no-deps --no-build-isolation --no-binary :all: markupsafe==2.1.5",
    command: `python3 -m pip install --no-index --no-build-isolation --no-deps --no-cache-dir --disable-pip-version-check \\
      --target installed $KEPT/MarkupSafe-2.1.5.tar.gz`,
  },
];

/** Where a build runs; without options: outside. */
interface Place {
  name: string;
  options?: readonly string[];
  user?: number;
}

const places: readonly Place[] = [
  { name: "outside" },
  { name: "default", options: [] },
  { name: "--cap-add=SYS_PTRACE", options: ["--cap-add=SYS_PTRACE"] },
  { name: "--user 1000", options: ["--user", "1000"], user: 1000 },
];

const recordSchema = z.looseObject({
  processes: z.array(
    z.looseObject({
      program: z.string().default(""),
      openedfiles: z.record(z.string(), z.looseObject({ sha256: z.string().optional() })).default({}),
      images: z.array(z.looseObject({ program: z.string() })).default([]),
    }),
  ),
  completeness: z.looseObject({
    verdict: z.string(),
    gaps: z.array(z.looseObject({ kind: z.string(), detail: z.string() })),
  }),
});
type Run = z.infer<typeof recordSchema>;

const cilock = resolve(import.meta.dir, "../dist/cilock");
const image = "cilock-bench:latest";
const scratch = mkdtempSync(join(tmpdir(), "cilock-docker-builds-"));
const work = join(scratch, "work");
const path = "/usr/local/go/bin:/usr/bin:/bin";
/** Of the machine, for those in the containers; the rest of it is not there. */
const system = ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc"];

if (!canStartDocker) throw new Error("needs root, dockerd and docker");
let wrong = 0;
await using docker = new Docker();
try {
  await docker.ready();
  importImage();
  const wanted = process.argv.slice(2);
  console.log("| build | where | processes | programs: other | opened: other | without digest | verdict |");
  console.log("|---|---|---|---|---|---|---|");
  for (const build of builds) {
    if (wanted.length > 0 && !wanted.includes(build.name)) continue;
    const kept = join(scratch, build.name);
    mkdirSync(kept);
    call(["/bin/sh", "-ec", build.provide], kept, kept);
    let outside: Run | undefined;
    for (const place of places) {
      const run = recorded(build, place, kept);
      outside ??= run;
      report(build, place, run, outside);
    }
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
if (wrong > 0) process.exit(1);

// ---------------------------------------------------------------------------------------------

/** Only the places where things are mounted. */
function importImage(): void {
  const root = join(scratch, "root");
  for (const name of [...system, "/proc", "/dev", "/sys", "/tmp"]) {
    const isLink = lstatSync(name).isSymbolicLink();
    if (isLink) symlinkSync(readlinkSync(name), join(root, name));
    else mkdirSync(join(root, name), { recursive: true });
  }
  const { stdout: tar } = Bun.spawnSync(["tar", "-C", root, "-c", ...readdirSync(root)]);
  const { status, stderr } = docker.run(["import", "-", image], tar);
  if (status !== 0) throw new Error(stderr);
}

function environmentOf(kept: string): { [name: string]: string } {
  return { PATH: path, HOME: work, KEPT: kept, LANG: "C.UTF-8", TMPDIR: join(work, "tmp") };
}

function call(words: readonly string[], cwd: string, kept: string): void {
  const child = Bun.spawnSync([...words], { cwd, env: environmentOf(kept), stdin: "ignore" });
  if (child.exitCode !== 0) throw new Error(`${words.join(" ")}: ${child.stderr}${child.stdout}`);
}

function recorded(build: Build, { name, options, user }: Place, kept: string): Run {
  rmSync(work, { recursive: true, force: true });
  mkdirSync(join(work, "tmp"), { recursive: true });
  for (const directory of [scratch, work, join(work, "tmp")]) chownSync(directory, user ?? 0, user ?? 0);
  Bun.spawnSync(["chown", "-R", `${user ?? 0}`, kept]);
  const outfile = join(work, "record.json");
  const flags = ["run", "--step", "built", "--signer-ephemeral", "--trace", "-a", "environment", "-o", outfile];
  const words = [cilock, ...flags, "--", "/bin/sh", "-ec", build.command];
  if (options === undefined) {
    call(words, work, kept);
  } else {
    const real = system.filter(at => !lstatSync(at).isSymbolicLink());
    const mounts = [...real.map(at => `${at}:${at}:ro`), `${cilock}:${cilock}:ro`, `${kept}:${kept}`, `${work}:${work}`];
    const variables = Object.entries(environmentOf(kept)).map(([key, value]) => `${key}=${value}`);
    const { status, stdout, stderr } = docker.run([
      ...["run", "--rm", "--init=false", "--network", "none", "--workdir", work, ...options],
      ...mounts.flatMap(mount => ["-v", mount]),
      ...variables.flatMap(variable => ["-e", variable]),
      ...[image, ...words],
    ]);
    if (status !== 0) throw new Error(`${build.name}, ${name}: exit status ${status}: ${stderr}${stdout}`);
  }
  const envelope = z.object({ payload: z.string() }).parse(JSON.parse(readFileSync(outfile, "utf8")));
  const statement = z
    .object({ predicate: z.object({ attestations: z.array(z.object({ type: z.string(), attestation: z.unknown() })) }) })
    .parse(JSON.parse(Buffer.from(envelope.payload, "base64").toString()));
  return recordSchema.parse(statement.predicate.attestations.find(one => one.type.includes("/command-run/"))?.attestation);
}

/** What is different in every run: numbers, and the ends of temporary names. */
function shape(name: string): string {
  return name
    .replace(/(\/tmp\/|-|tmp|\.)[a-z0-9_]{8}(?=[-./]|$)/gi, "$1X")
    .replace(/[a-z0-9_]{8}\.tmp$/, "X.tmp")
    .replace(/\/cc[A-Za-z0-9]{6}(?=\.|$)/g, "/ccX")
    .replace(/[0-9a-f]{8,}/g, "H")
    .replace(/\d+/g, "N");
}

function programsOf(run: Run): string[] {
  return run.processes.flatMap(entry => [entry.program, ...entry.images.map(one => one.program)].map(shape)).sort();
}

function openedOf(run: Run): Set<string> {
  const paths = run.processes.flatMap(entry => Object.keys(entry.openedfiles));
  return new Set(paths.filter(name => !/^\/(proc|sys|dev)\//.test(name)).map(shape));
}

/** Those of one that the other has not, with their number. */
function differences(one: readonly string[], other: readonly string[]): string[] {
  const rest = [...other];
  return one.filter(name => {
    const at = rest.indexOf(name);
    if (at >= 0) rest.splice(at, 1);
    return at < 0;
  });
}

function report(build: Build, place: Place, run: Run, outside: Run): void {
  const [programs, opened] = [programsOf, (one: Run) => [...openedOf(one)]].map(of => [
    ...differences(of(outside), of(run)).map(name => `- ${name}`),
    ...differences(of(run), of(outside)).map(name => `+ ${name}`),
  ]) as [string[], string[]];
  const without = run.processes.flatMap(entry => Object.values(entry.openedfiles).filter(digest => digest.sha256 === undefined));
  const { verdict, gaps } = run.completeness;
  const counts = [run.processes.length, programs.length, opened.length, without.length];
  console.log(`| ${build.name} | ${place.name} | ${counts.join(" | ")} | ${verdict} |`);
  for (const name of [...programs, ...opened].slice(0, 20)) console.log(`  ${name}`);
  for (const gap of gaps) console.log(`  ${gap.kind}: ${gap.detail}`);
  if (programs.length > 0 || opened.length > 0 || verdict !== "complete") wrong++;
}
