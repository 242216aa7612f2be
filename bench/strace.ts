// usage: bun bench/strace.ts [BUILD…]
//
// Real builds, once under `strace -ff -y` and once under `cilock run --trace`, in the same directory with the same fresh caches. What strace
// saw must be in the record: opened paths, programs, renames, removals, connections. And each regular file that is there at the end must have
// a digest in the record, that of what is on disk if nobody has changed it since. Names that a build makes up are compared by their shape.
//
// Needs strace and what the builds need: cc, make, cmake, go, npm, pip, and for the last three their registries.
import { createHash } from "node:crypto";
import { cpSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, release, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { z } from "zod";

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
const cmakeLists = `cmake_minimum_required(VERSION 3.13)
project(several C)
add_library(parts STATIC one.c two.c three.c)
add_library(shared SHARED four.c)
add_executable(several main.c)
target_link_libraries(several parts shared)
install(TARGETS several shared DESTINATION lib)
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

/** What one of the two says happened. Names are absolute, or what a program gave a call that takes a relative one. */
interface Seen {
  opens: Set<string>;
  programs: Set<string>;
  renames: Set<string>;
  removals: Set<string>;
  connections: Set<string>;
}
const kinds = ["opens", "programs", "renames", "removals", "connections"] as const;
const nothing = (): Seen => ({
  opens: new Set(),
  programs: new Set(),
  renames: new Set(),
  removals: new Set(),
  connections: new Set(),
});

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
  const calls = "open,openat,openat2,creat,execve,execveat,rename,renameat,renameat2,unlink,unlinkat,rmdir,connect";
  const words = [
    "strace",
    "-ff",
    "-y",
    "-qq",
    "-s",
    "4096",
    "-e",
    `trace=${calls}`,
    "-e",
    "signal=none",
    "-o",
    join(logs, "log"),
  ];
  call([...words, ...build.command], work, environment(build, kept));
  const seen = nothing();
  // One file a thread: no call is split in two by another's.
  for (const name of readdirSync(logs)) {
    for (const line of readFileSync(join(logs, name), "latin1").split("\n")) readLine(line, seen);
  }
  return seen;
}

const quoted = /"((?:[^"\\]|\\.)*)"/g;

function readLine(line: string, seen: Seen): void {
  const [, name, words = "", result = ""] = /^(\w+)\((.*)\)\s+= (.*)$/.exec(line) ?? [];
  if (name === undefined) return;
  if (name === "connect") readConnect(words, result, seen);
  if (name === "connect" || result.startsWith("-1") || result.startsWith("?")) return;
  const paths = [...words.matchAll(quoted)].map(match => match[1] ?? "");
  if (name.startsWith("open") || name === "creat") {
    const path = /^\d+<(\/.*?)>(\(deleted\))?$/.exec(result)?.[1];
    if (path !== undefined) seen.opens.add(path);
  } else if (name.startsWith("exec")) seen.programs.add(paths[0] ?? "");
  else if (name.startsWith("rename")) seen.renames.add(`${paths[0]} -> ${paths[1]}`);
  else seen.removals.add(paths[0] ?? "");
}

/** An address of another run may be another of the same host: the port is what can be compared. */
function readConnect(words: string, result: string, seen: Seen): void {
  if (result.startsWith("-1") && !result.includes("EINPROGRESS")) return;
  const port = /sin6?_port=htons\((\d+)\)/.exec(words)?.[1];
  const path = /sun_path="([^"]*)"/.exec(words)?.[1];
  if (port !== undefined && port !== "0") seen.connections.add(`port ${port}`);
  else if (path !== undefined) seen.connections.add(path);
}

const digestSet = z.looseObject({ sha256: z.string().optional() });
const entrySchema = z.looseObject({
  program: z.string().default(""),
  openedfiles: z.record(z.string(), digestSet).default({}),
  writtenDigests: z.record(z.string(), digestSet).default({}),
  fileVersions: z.record(z.string(), z.array(digestSet)).default({}),
  images: z
    .array(z.looseObject({ program: z.string(), executable: z.string().optional(), argv: z.array(z.string()) }))
    .default([]),
  exepath: z.string().optional(),
  network: z
    .looseObject({ connections: z.array(z.looseObject({ address: z.string(), port: z.int().optional() })).default([]) })
    .optional(),
  fileOps: z
    .looseObject({
      renames: z.array(z.looseObject({ oldPath: z.string(), newPath: z.string() })).default([]),
      deletes: z.array(z.looseObject({ path: z.string() })).default([]),
    })
    .default({ renames: [], deletes: [] }),
});
const runSchema = z.looseObject({
  processes: z.array(entrySchema),
  completeness: z.looseObject({
    verdict: z.string(),
    gaps: z.array(z.looseObject({ kind: z.string(), severity: z.string(), detail: z.string() })),
  }),
});
type Run = z.infer<typeof runSchema>;

function underCilock(build: Build, kept: string): Run {
  prepare(build, kept);
  const outfile = join(scratch, "record.json");
  const words = [cilock, "run", "--step", "compared", "--signer-ephemeral", "--trace", "-a", "environment", "-o", outfile, "--"];
  call([...words, ...build.command], work, environment(build, kept));
  const envelope = z.object({ payload: z.string() }).parse(JSON.parse(readFileSync(outfile, "utf8")));
  const statement = z
    .object({ predicate: z.object({ attestations: z.array(z.object({ type: z.string(), attestation: z.unknown() })) }) })
    .parse(JSON.parse(Buffer.from(envelope.payload, "base64").toString()));
  return runSchema.parse(statement.predicate.attestations.find(one => one.type.includes("/command-run/"))?.attestation);
}

function seenByCilock(run: Run): Seen {
  const seen = nothing();
  for (const entry of run.processes) {
    for (const path of Object.keys(entry.openedfiles)) seen.opens.add(path);
    for (const program of [entry.program, ...entry.images.map(image => image.program)]) seen.programs.add(program);
    for (const { oldPath, newPath } of entry.fileOps.renames) seen.renames.add(`${oldPath} -> ${newPath}`);
    for (const { path } of entry.fileOps.deletes) seen.removals.add(path);
    for (const { address, port } of entry.network?.connections ?? []) {
      seen.connections.add(port === undefined || port === 0 ? address : `port ${port}`);
    }
  }
  return seen;
}

/** What is different in every run: numbers, and the ends of temporary names. */
function shape(name: string): string {
  return name.split(" -> ").map(shapeOfPath).join(" -> ");
}

function shapeOfPath(path: string): string {
  return (
    path
      .replace(/\/cc[A-Za-z0-9]{6}(?=\.|$)/g, "/ccX")
      .replace(/(^|\/)st[A-Za-z0-9]{6}$/, "$1stX")
      .replace(/TryCompile-[A-Za-z0-9_]{6}/g, "TryCompile-X")
      // Python's tempfile.
      .replace(/(^\/tmp\/|-|tmp)[a-z0-9_]{8}(?=\/|$)/g, "$1X")
      .replace(/[a-z0-9_]{8}\.tmp$/, "X.tmp")
      .replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "U")
      .replace(/(cmTC_|\.tmp)[0-9a-f]{5}(?![0-9a-f])/g, "$1X")
      .replace(/[0-9a-f]{8,}/g, "H")
      .replace(/\d+/g, "N")
  );
}

/** Those of the first that the second has neither as they are, nor in their shape, nor as the end of an absolute path. */
function absent(expected: ReadonlySet<string>, found: ReadonlySet<string>): string[] {
  const shapes = new Set([...found].map(shape));
  const tails = new Set([...shapes].flatMap(name => name.split(" -> ").map(baseName).join(" -> ")));
  return [...expected].filter(name => {
    if (found.has(name) || shapes.has(shape(name))) return false;
    const isRelative = name.split(" -> ").some(part => !part.startsWith("/"));
    return !(isRelative && tails.has(shape(name).split(" -> ").map(baseName).join(" -> ")));
  });
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function compareWithDisk(paths: ReadonlySet<string>, run: Run): { onDisk: number; without: string[]; other: string[] } {
  let onDisk = 0;
  const without: string[] = [];
  const other: string[] = [];
  for (const path of paths) {
    if (!existsSync(path) || !lstatSync(path).isFile() || /^\/(proc|sys|dev)\//.test(path)) continue;
    const digests = run.processes.flatMap(entry => [
      ...(entry.fileVersions[path] ?? []),
      ...(entry.openedfiles[path] === undefined ? [] : [entry.openedfiles[path]]),
      ...(entry.writtenDigests[path] === undefined ? [] : [entry.writtenDigests[path]]),
    ]);
    // Of a name that this run did not make up, the record has nothing: it is counted among what is missing.
    if (digests.length === 0) continue;
    onDisk++;
    const known = digests.flatMap(digest => digest.sha256 ?? []);
    if (known.length === 0) without.push(path);
    else if (!known.includes(createHash("sha256").update(readFileSync(path)).digest("hex"))) other.push(path);
  }
  return { onDisk, without, other };
}

const wanted = process.argv.slice(2);
console.log(`${cpus().length} x ${cpus()[0]?.model}, Linux ${release()}\n`);
console.log(
  "| build | processes | opened: strace, missing | programs | renames | removals | connections | on disk, without digest, other digest | verdict |",
);
console.log("|---|---|---|---|---|---|---|---|---|");
let wrong = 0;
for (const build of builds) {
  if (wanted.length > 0 && !wanted.includes(build.name)) continue;
  const kept = join(scratch, `${build.name}-kept`);
  mkdirSync(kept);
  build.provide?.(kept);
  const straced = underStrace(build, kept);
  const record = underCilock(build, kept);
  const found = seenByCilock(record);
  const missing = kinds.map(kind => absent(straced[kind], found[kind]));
  const { onDisk, without, other } = compareWithDisk(straced.opens, record);
  const cells = kinds.map((kind, index) => `${straced[kind].size}, ${missing[index]?.length}`);
  const { verdict, gaps } = record.completeness;
  console.log(
    `| ${build.name} | ${record.processes.length} | ${cells.join(" | ")} | ${onDisk}, ${without.length}, ${other.length} | ${verdict} |`,
  );
  for (const [index, kind] of kinds.entries())
    for (const name of missing[index] ?? []) console.log(`  ${kind}: ${name} is not in the record`);
  for (const name of without) console.log(`  ${name}: no digest`);
  for (const name of other) console.log(`  ${name}: another digest`);
  for (const gap of gaps) console.log(`  ${gap.severity} ${gap.kind}: ${gap.detail}`);
  wrong += missing.flat().length + without.length + other.length;
}
rmSync(scratch, { recursive: true, force: true });
process.exit(wrong === 0 ? 0 : 1);
