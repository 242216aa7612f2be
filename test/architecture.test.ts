// The sentences of ARCHITECTURE.md about who may use what, checked against the source: import lines
// of TypeScript, @imports and calls of Zig. A new file needs no change here; a new direction does.
import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

const root = resolve(import.meta.dir, "..");
const read = (path: string) => readFileSync(join(root, path), "utf8");

function filesBelow(directory: string, extension: string): string[] {
  return readdirSync(join(root, directory), { recursive: true, encoding: "utf8" })
    .filter(name => name.endsWith(extension))
    .map(name => join(directory, name))
    .sort();
}

// ---------------------------------------------------------------------------------------------
// TypeScript

interface Import {
  target: string;
  /** Gone when the program runs: `import type`. */
  typeOnly: boolean;
}

interface Module {
  path: string;
  /** Without comments and types. */
  code: string;
  imports: Import[];
}

const transpiler = new Bun.Transpiler({ loader: "ts" });

function readModule(path: string): Module {
  const source = read(path);
  const named = source.matchAll(
    /^(import|export)\s+(type\s)?[^;"]*?from\s+"([^"]+)"|^import\s+"([^"]+)"|\bimport\("([^"]+)"\)/gm,
  );
  const imports = [...named].map(match => {
    const target = match[3] ?? match[4] ?? match[5] ?? "";
    return {
      target: target.startsWith(".") ? relative(root, resolve(root, dirname(path), target)) : target,
      typeOnly: match[2] !== undefined,
    };
  });
  return { path, code: transpiler.transformSync(source), imports };
}

const modules = [...filesBelow("bin", ".ts"), ...filesBelow("src", ".ts")].map(readModule);
const byPath = new Map(modules.map(module => [module.path, module]));

/** The part of the program that a file belongs to; files of src/ itself that are not named here help everybody. */
function partOf(path: string): string {
  const [top = "", second = ""] = path.split("/");
  if (top !== "src") return top;
  if (path === "src/trace/observation.ts") return "observation";
  if (!second.endsWith(".ts")) return second;
  return second === "main.ts" || second === "cli.ts" ? second.slice(0, -3) : "helpers";
}

/** Which part may import which others (helpers: all may; observation.ts is types, which all may name). `types`: only `import type`. */
const directions: Record<string, { values: string[]; types?: string[] }> = {
  bin: { values: ["main"] },
  main: { values: ["cli", "commands", "reports"] },
  cli: { values: ["commands"] },
  commands: { values: ["trace", "native", "attestors", "attestation", "facts", "reports"] },
  trace: { values: ["native"] },
  native: { values: [] },
  observation: { values: [] },
  facts: { values: [] },
  attestors: { values: ["attestation", "facts"] },
  attestation: { values: [] },
  reports: { values: ["attestation"], types: ["attestors"] },
  helpers: { values: [] },
};

describe("directions between the parts", () => {
  for (const module of modules) {
    test(module.path, () => {
      const part = partOf(module.path);
      const allowed = directions[part];
      expect(allowed, `${part} is a new part: say in the table what it may import`).toBeDefined();
      const wrong = module.imports.filter(({ target, typeOnly }) => {
        if (!byPath.has(target)) return target.startsWith("test") || target.startsWith("link") || target.startsWith("bench");
        const other = partOf(target);
        if (other === part || other === "helpers" || allowed?.values.includes(other)) return false;
        return !(typeOnly && (other === "observation" || allowed?.types?.includes(other)));
      });
      expect(wrong).toEqual([]);
    });
  }
});

test("no two files import each other, directly or around, types included", () => {
  const done = new Set<string>();
  const visit = (path: string, way: string[]): void => {
    if (way.includes(path)) throw new Error(`a circle: ${[...way.slice(way.indexOf(path)), path].join(" -> ")}`);
    if (done.has(path)) return;
    for (const { target } of byPath.get(path)?.imports ?? []) visit(target, [...way, path]);
    done.add(path);
  };
  for (const { path } of modules) visit(path, []);
});

/** Node and Bun modules that are functions of their arguments. */
const pureModules = ["node:crypto", "node:path", "node:util", "node:buffer", "node:zlib"];
const pureParts = ["attestors", "attestation", "reports"];
/** A traced process may be called `process` too: only what the global of that name alone has is meant. */
const world =
  /\bprocess\.((env|stdin|stdout|stderr|platform|versions?|nextTick)\b|(cwd|exit|on|kill|hrtime|uptime|umask|getuid|memoryUsage)\()|\bBun\.|\bDate\.now\b|\bnew Date\(\)|\bMath\.random\b|\bperformance\.|\bsetTimeout\b|\bfetch\(/;

describe("attestors, attestation and reports touch no file, clock, process or native code", () => {
  for (const module of modules.filter(({ path }) => pureParts.includes(partOf(path)))) {
    test(module.path, () => {
      const seen = new Set<string>();
      const reached: string[] = [];
      const visit = (path: string): void => {
        if (seen.has(path)) return;
        seen.add(path);
        for (const { target, typeOnly } of byPath.get(path)?.imports ?? []) {
          if (typeOnly) continue;
          if (byPath.has(target)) visit(target);
          else if (/^(node|bun):/.test(target) && !pureModules.includes(target)) reached.push(`${path} imports ${target}`);
        }
      };
      visit(module.path);
      expect(reached).toEqual([]);
      expect(module.code.match(world)?.[0]).toBeUndefined();
    });
  }
});

/** What only some files may do: a pattern in their code, or a module that they import. */
const reserved: { sentence: string; pattern: RegExp; files: RegExp }[] = [
  { sentence: "only native/library.ts imports bun:ffi", pattern: /"bun:ffi"/, files: /^src\/native\/library\.ts$/ },
  {
    sentence: "only commands write files",
    pattern:
      /^import [^;]*\b((write|writev|writeFile|appendFile|rename|unlink|rm|rmdir|mkdir|mkdtemp|copyFile|chmod|fchmod|chown|fchown|symlink|link|truncate|ftruncate|utimes|futimes|cp)(Sync)?|createWriteStream)\b[^;]*"node:fs(\/promises)?"|^import \w+ from "node:fs|^import \* as \w+ from "node:fs|\bBun\.write\(/m,
    files: /^src\/commands\/|^src\/main\.ts$/,
  },
  {
    sentence: "only main sets the exit status",
    pattern: /\bprocess\.(exit\(|reallyExit|abort\(|kill\()/,
    files: /^src\/main\.ts$/,
  },
  {
    // In src/trace `process` is a traced one.
    sentence: "only the entry sets it without ending the process",
    pattern: /\bprocess\.exitCode\s*=[^=]/,
    files: /^bin\/cilock\.ts$|^src\/trace\//,
  },
  {
    sentence: "only main knows the process's own streams",
    pattern: /\bprocess\.(stdout|stdin|stderr)\b|\bconsole\./,
    // The command line keeps cac from it.
    files: /^src\/(main|cli)\.ts$/,
  },
];

describe("what is reserved to some files", () => {
  for (const { sentence, pattern, files } of reserved) {
    test(sentence, () => {
      const others = modules.filter(({ path, code }) => !files.test(path) && pattern.test(code)).map(({ path }) => path);
      expect(others).toEqual([]);
    });
  }
});

/** The generated file has limits and names for everybody; its tables of offsets begin with a capital. */
test("only src/native knows where in a record a field is", () => {
  const others = modules.filter(({ path, code }) => {
    if (partOf(path) === "native") return false;
    const [, all, named] = code.match(/^import (?:\* as (\w+)|\{([^}]*)\}) from "[./]*native\/abi\.gen\.ts"/m) ?? [];
    return (
      named?.split(",").some(name => /^\s*[A-Z]/.test(name)) || (all !== undefined && new RegExp(`\\b${all}\\.[A-Z]`).test(code))
    );
  });
  expect(others.map(({ path }) => path)).toEqual([]);
});

test("observers do not import each other", () => {
  const observers = ["processes", "files", "network", "syscalls", "completeness"].map(name => `src/trace/${name}.ts`);
  const wrong = modules
    .filter(({ path }) => observers.includes(path))
    .flatMap(({ path, imports }) =>
      imports.filter(({ target }) => observers.includes(target)).map(({ target }) => `${path} -> ${target}`),
    );
  expect(wrong).toEqual([]);
});

// ---------------------------------------------------------------------------------------------
// Zig

interface ZigFile {
  name: string;
  /** Without comments and strings. */
  code: string;
  imports: string[];
}

const zigFiles: ZigFile[] = filesBelow("zig", ".zig").map(path => {
  const source = read(path);
  return {
    name: path.slice("zig/".length, -".zig".length),
    code: source.replace(/"(?:[^"\\\n]|\\.)*"/g, '""').replace(/\/\/.*$|^\s*\\\\.*$/gm, ""),
    imports: [...source.matchAll(/@import\("([^"]+)\.zig"\)/g)].map(match => match[1] ?? ""),
  };
});

/** Functions of std.os.linux that only compute, or that no file could do without. */
const computing = ["errno", "sigemptyset", "sigfillset", "sigaddset", "sigdelset", "sigismember", "gettid", "getpid"];
/** Raw calls; the result of `sys.check(linux.call(…))` has sys's errors and is none. */
const kernelCalls = (code: string) =>
  [...code.matchAll(/(?<!\bsys\.check\()\b(?:linux|posix|std\.c)\.([a-z]\w*)\(/g)]
    .map(match => match[1] ?? "")
    .filter(name => !computing.includes(name));

/** Who makes system calls, and why it does so itself. */
const callers: Record<string, string> = {
  sys: "gives system calls their types and errors",
  ptrace: "gives ptrace's requests theirs",
  start: "runs before main, in what becomes two processes",
  spawn: "runs in the command before its exec",
  seccomp: "runs in the command before its exec",
  thread: "starts a thread that libc knows nothing of",
  signals: "installs the handlers, and is them",
  terminal: "asks whether something is a terminal: every error means no",
  images: "a file without the attribute is an answer, no error",
  paths: "what openat2 refuses is an answer about the path",
  panic: "must not depend on anything",
  stub: "takes the place of libc's loader",
  libstdcxx: "takes the place of libstdc++",
};

describe("Zig", () => {
  test("abi, layout, stop and syscalls make no system calls, nor does what they import", () => {
    const pure = ["abi", "layout", "stop", "syscalls", "not_watched"];
    const wrong = zigFiles
      .filter(({ name }) => pure.includes(name))
      .flatMap(({ name, code, imports }) =>
        [...kernelCalls(code), ...imports.filter(other => !pure.includes(other))].map(what => `${name}: ${what}`),
      );
    expect(wrong).toEqual([]);
  });

  test("system calls are made in sys and ptrace, and where the order before main demands it", () => {
    const wrong = zigFiles
      .filter(({ name }) => !(name in callers))
      .map(({ name, code }) => ({ name, calls: kernelCalls(outsideTests(code)) }))
      .filter(({ calls }) => calls.length > 0);
    expect(wrong).toEqual([]);
  });

  test("only lib exports (with testing, for the development library), and the parts of the stub that stand for libraries", () => {
    const allowed = ["lib", "testing", "stub", "libstdcxx"];
    const wrong = zigFiles
      .filter(({ name, code }) => !allowed.includes(name) && /^\s*(pub )?export |@export\(/m.test(code))
      .map(({ name }) => name);
    expect(wrong).toEqual([]);
  });

  test("only tracer resumes a tracee of the build (probe has a child of its own)", () => {
    const request = /PTRACE\.(CONT|SYSCALL|LISTEN|DETACH|SINGLESTEP|KILL)\b|\bptrace\.goOn\(/;
    const wrong = zigFiles
      .filter(({ name, code }) => !["tracer", "ptrace", "probe"].includes(name) && request.test(outsideTests(code)))
      .map(({ name }) => name);
    expect(wrong).toEqual([]);
  });

  test("every file of zig/ is a root or imported", () => {
    const roots = ["stub", "lib", "abi_ts", "coverage_md"];
    const imported = new Set(zigFiles.flatMap(({ imports }) => imports));
    expect(zigFiles.map(({ name }) => name).filter(name => !roots.includes(name) && !imported.has(name))).toEqual([]);
  });
});

/** Unit tests, and the helpers among them, may ask the kernel directly: they stand at the end of their file. */
function outsideTests(code: string): string {
  return code.replace(/^test\b[\s\S]*/m, "");
}

test("the pages that newcomers are sent to exist", () => {
  const pages = ["README.md", "ARCHITECTURE.md"];
  const missing = pages.flatMap(page =>
    [...read(page).matchAll(/`((?:bin|src|zig|link|test|bench|docs)\/[\w./-]+)`/g)]
      .map(match => match[1] ?? "")
      .filter(path => !existsSync(join(root, path)))
      .map(path => `${page}: ${path}`),
  );
  expect(missing).toEqual([]);
});
