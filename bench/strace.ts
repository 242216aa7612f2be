// usage: bun bench/strace.ts [BUILD…]
//
// Real builds, once under `strace -ff -y` and once under `cilock run --trace`, in the same directory with the same fresh caches. What strace
// saw must be in the record: opened paths, programs, renames, removals, connections. And each regular file that is there at the end must have
// a digest in the record, that of what is on disk if nobody has changed it since.
//
// Needs strace and what the builds need: cc, make, cmake, go, npm, pip, and for the last three their registries.
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, release, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { cmakeLists } from "./cmake-project.ts";
import { columns, compare, type Run, readRecord, type Seen, seenByStrace, straceWords } from "./straced.ts";

interface Build {
  name: string;
  /** Once, before both runs; what it leaves in `kept` stays. */
  provide?: (kept: string) => void;
  /** Before each run, in an empty directory. */
  prepare: (work: string, kept: string) => void;
  command: readonly string[];
  environment?: (work: string, kept: string) => { [name: string]: string };
}

const goMain = `package main
import ("fmt"; "github.com/google/uuid"; "golang.org/x/text/cases"; "golang.org/x/text/language")
func main() { fmt.Println(uuid.New(), cases.Title(language.English).String("built")) }
`;

const builds: readonly Build[] = [
  {
    name: "make",
    prepare: work => cpSync(join(import.meta.dir, "../test/fixtures/project"), work, { recursive: true }),
    command: ["make", "-j2"],
  },
  {
    name: "cmake",
    prepare: work => {
      const names = ["one", "two", "three", "four"];
      for (const name of names) writeFileSync(join(work, `${name}.c`), `int ${name}(void) { return ${name.length}; }\n`);
      writeFileSync(
        join(work, "main.c"),
        `${names.map(name => `int ${name}(void);`).join("")}\nint main(void) { return ${names.map(name => `${name}()`).join("+")} == 0; }\n`,
      );
      writeFileSync(join(work, "CMakeLists.txt"), cmakeLists);
    },
    command: [
      "/bin/sh",
      "-c",
      "cmake -S . -B build -DCMAKE_INSTALL_PREFIX=$PWD/installed && cmake --build build -j2 --target install",
    ],
  },
  {
    name: "go",
    provide: kept => {
      goFiles(kept);
      call(["go", "mod", "init", "example.org/built"], kept, goEnvironment(kept, kept));
      call(["go", "get", "github.com/google/uuid@v1.6.0", "golang.org/x/text@v0.14.0"], kept, goEnvironment(kept, kept));
    },
    prepare: (work, kept) => {
      goFiles(work);
      for (const name of ["go.mod", "go.sum"]) cpSync(join(kept, name), join(work, name));
    },
    command: ["go", "build", "-o", "built", "."],
    environment: goEnvironment,
  },
  {
    name: "npm",
    provide: kept => {
      writeFileSync(
        join(kept, "package.json"),
        JSON.stringify({ name: "x", version: "1.0.0", dependencies: { express: "4.18.2" } }),
      );
      call(["npm", "install", "--package-lock-only", "--no-audit", "--no-fund"], kept, { HOME: kept });
    },
    prepare: (work, kept) => {
      for (const name of ["package.json", "package-lock.json"]) cpSync(join(kept, name), join(work, name));
    },
    command: ["npm", "ci", "--no-audit", "--no-fund"],
  },
  {
    name: "pip",
    prepare: () => undefined,
    command: [
      ...["python3", "-m", "pip", "install", "--no-binary", "markupsafe", "--no-deps"],
      ...["--target", "installed", "markupsafe==2.1.5"],
    ],
  },
];

function goFiles(directory: string): void {
  writeFileSync(join(directory, "main.go"), goMain);
}

function goEnvironment(work: string, kept: string): { [name: string]: string } {
  return { GOMODCACHE: join(kept, "modules"), GOCACHE: join(work, "cache"), GOFLAGS: "-mod=mod -modcacherw" };
}

const scratch = mkdtempSync(join(tmpdir(), "cilock-strace-"));
const work = join(scratch, "work");
const cilock = resolve(import.meta.dir, "../dist/cilock");

function environment(build: Build, kept: string): { [name: string]: string } {
  const inherited = Object.entries(process.env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]));
  return { ...Object.fromEntries(inherited), HOME: join(work, "home"), ...build.environment?.(work, kept) };
}

function prepare(build: Build, kept: string): void {
  // The Go module cache is made without write permission for its directories.
  rmSync(work, { recursive: true, force: true });
  mkdirSync(join(work, "home"), { recursive: true });
  build.prepare(work, kept);
}

function call(words: readonly string[], cwd: string, env: { [name: string]: string }): void {
  const child = Bun.spawnSync([...words], { cwd, env: { ...process.env, ...env }, stdin: "ignore" });
  if (child.exitCode !== 0) throw new Error(`${words.join(" ")}: ${child.stderr}${child.stdout}`);
}

function underStrace(build: Build, kept: string): Seen {
  prepare(build, kept);
  const logs = join(scratch, "logs");
  rmSync(logs, { recursive: true, force: true });
  mkdirSync(logs);
  call([...straceWords(logs), ...build.command], work, environment(build, kept));
  return seenByStrace(logs);
}

function underCilock(build: Build, kept: string): Run {
  prepare(build, kept);
  const outfile = join(scratch, "record.json");
  const words = [cilock, "run", "--step", "compared", "--signer-ephemeral", "--trace", "-a", "environment", "-o", outfile, "--"];
  call([...words, ...build.command], work, environment(build, kept));
  return readRecord(outfile);
}

const wanted = process.argv.slice(2);
console.log(`${cpus().length} x ${cpus()[0]?.model}, Linux ${release()}\n`);
console.log(`| build | ${columns.join(" | ")} |`);
console.log(`|---${"|---".repeat(columns.length)}|`);
let isWrong = false;
for (const build of builds) {
  if (wanted.length > 0 && !wanted.includes(build.name)) continue;
  const kept = join(scratch, `${build.name}-kept`);
  mkdirSync(kept);
  build.provide?.(kept);
  const straced = underStrace(build, kept);
  const { cells, wrong } = compare(straced, underCilock(build, kept));
  console.log(`| ${build.name} | ${cells.join(" | ")} |`);
  for (const line of wrong) console.log(`  ${line}`);
  isWrong ||= wrong.length > 0;
}
rmSync(scratch, { recursive: true, force: true });
process.exit(isWrong ? 1 : 0);
