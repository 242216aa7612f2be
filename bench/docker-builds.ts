// usage: bun bench/docker-builds.ts [BUILD…]
//
// Builds of `go`, `npm`, `pip` and `cmake` in containers of several kinds, and outside of any, each once under `strace -ff -y` and once under
// `cilock run --trace`, in the same directory and with the same caches: what strace saw must be in the record, as bench/strace.ts has it. The
// containers have no network and see the programs of this machine, read-only. Needs root, dockerd, strace, go, npm, cmake, cc, and Debian's
// python3 with pip, setuptools and headers; and registries once, to fill the caches.
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { canStartDocker, Docker } from "../test/docker.ts";
import { cmakeLists } from "./cmake-project.ts";
import { columns, compare, readRecord, seenByStrace, straceWords } from "./straced.ts";

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
  {
    name: "cmake",
    provide: `for name in one two three four; do echo "int $name(void) { return 1; }" > $name.c; done
      { for name in one two three four; do echo "int $name(void);"; done; echo 'int main(void) { return one() + two() + three() + four() == 0; }'; } > main.c
      echo '${cmakeLists}' > CMakeLists.txt`,
    command: `cp $KEPT/*.c $KEPT/CMakeLists.txt .
      cmake -S . -B build -DCMAKE_INSTALL_PREFIX=$PWD/installed && cmake --build build -j2 --target install`,
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
  { name: "--read-only", options: ["--read-only"] },
  { name: "seccomp=unconfined", options: ["--security-opt", "seccomp=unconfined"] },
];

const cilock = resolve(import.meta.dir, "../dist/cilock");
const image = "cilock-bench:latest";
const scratch = mkdtempSync(join(tmpdir(), "cilock-docker-builds-"));
const work = join(scratch, "work");
/** Of the two that watch. */
const outside = join(scratch, "seen");
const path = "/usr/local/go/bin:/usr/bin:/bin";
/** Of the machine, for those in the containers; the rest of it is not there. */
const system = ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc"];

if (!canStartDocker) throw new Error("needs root, dockerd and docker");
let isWrong = false;
await using docker = new Docker();
try {
  await docker.ready();
  importImage();
  const wanted = process.argv.slice(2);
  console.log(`| build | where | ${columns.join(" | ")} |`);
  console.log(`|---|---${"|---".repeat(columns.length)}|`);
  for (const build of builds) {
    if (wanted.length > 0 && !wanted.includes(build.name)) continue;
    const kept = join(scratch, build.name);
    mkdirSync(kept);
    call(["/bin/sh", "-ec", build.provide], kept, kept);
    for (const place of places) {
      const { cells, wrong } = compared(build, place, kept);
      console.log(`| ${build.name} | ${place.name} | ${cells.join(" | ")} |`);
      for (const line of wrong) console.log(`  ${line}`);
      isWrong ||= wrong.length > 0;
    }
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
// Not at once: the daemon has to end.
if (isWrong) process.exitCode = 1;

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

/** `outer` takes the words of the build's command. */
function run({ name: build, command }: Build, { name, options, user }: Place, kept: string, outer: readonly string[]): void {
  rmSync(work, { recursive: true, force: true });
  mkdirSync(join(work, "tmp"), { recursive: true });
  Bun.spawnSync(["chown", "-R", `${user ?? 0}`, scratch]);
  const words = [...outer, "/bin/sh", "-ec", command];
  if (options === undefined) {
    call(words, work, kept);
    return;
  }
  const real = system.filter(at => !lstatSync(at).isSymbolicLink());
  const mounts = [
    ...real.map(at => `${at}:${at}:ro`),
    `${cilock}:${cilock}:ro`,
    ...[kept, work, outside].map(at => `${at}:${at}`),
  ];
  const variables = Object.entries(environmentOf(kept)).map(([key, value]) => `${key}=${value}`);
  const { status, stdout, stderr } = docker.run([
    ...["run", "--rm", "--init=false", "--network", "none", "--workdir", work, ...options],
    ...mounts.flatMap(mount => ["-v", mount]),
    ...variables.flatMap(variable => ["-e", variable]),
    ...[image, ...words],
  ]);
  if (status !== 0) throw new Error(`${build}, ${name}: exit status ${status}: ${stderr}${stdout}`);
}

function compared(build: Build, place: Place, kept: string) {
  rmSync(outside, { recursive: true, force: true });
  const logs = join(outside, "logs");
  mkdirSync(logs, { recursive: true });
  run(build, place, kept, straceWords(logs));
  const straced = seenByStrace(logs);
  const record = join(outside, "record.json");
  const flags = ["run", "--step", "built", "--signer-ephemeral", "--trace", "-a", "environment", "-o", record];
  run(build, place, kept, [cilock, ...flags, "--"]);
  return compare(straced, readRecord(record));
}
