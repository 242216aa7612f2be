// Runs dist/cilock as a person would, from outside: a scratch directory, a key, a command; back come the exit status, what was
// printed, and the record, whose signature has been checked by node:crypto alone. Nothing here uses our own source.
import { generateKeyPairSync } from "node:crypto";
import {
  accessSync,
  chmodSync,
  chownSync,
  constants,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { openRecord, type Record } from "./record.ts";

const root = dirname(import.meta.dir);

/** Root may do everything, so each of the tests that matter runs as nobody too. */
export type User = "self" | "nobody";
export const nobody = 65534;
export const isRoot = process.getuid?.() === 0;
/** As whom a test can run here: an ordinary user cannot become another one. */
export const users: User[] = isRoot ? ["self", "nobody"] : ["self"];

/** No run takes that long: whoever reaches it hangs. */
const hangMs = 120_000;

/** A directory of its own for one test; gone at the end of the `using` block. */
export class Scratch {
  readonly path: string;
  readonly work: string;
  readonly keyPath: string;
  readonly outfile: string;
  readonly publicPem: string;

  constructor(readonly user: User = "self") {
    this.path = mkdtempSync(join(tmpdir(), "cilock-test-"));
    chmodSync(this.path, 0o755);
    this.work = join(this.path, "work");
    mkdirSync(this.work);
    this.keyPath = join(this.path, "key.pem");
    this.outfile = join(this.path, "record.json");
    const pair = generateKeyPairSync("ed25519", {
      privateKeyEncoding: { type: "pkcs8", format: "pem" },
      publicKeyEncoding: { type: "spki", format: "pem" },
    });
    this.publicPem = pair.publicKey;
    writeFileSync(this.keyPath, pair.privateKey, { mode: 0o600 });
    if (user === "nobody") for (const path of [this.path, this.work, this.keyPath]) chownSync(path, nobody, nobody);
  }

  /** The record that stands there now, its signature checked. Undefined: there is none. */
  record(): Record | undefined {
    return existsSync(this.outfile) ? openRecord(this.outfile, this.publicPem) : undefined;
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

export interface RunOptions {
  trace?: boolean;
  /** Further flags of `cilock run`. */
  args?: string[];
  env?: { [name: string]: string };
  stdin?: "pipe" | "ignore" | Blob | number;
  stdout?: "pipe" | number;
  /** Words for test/tracees/launch.zig, which prepares what is to be inherited. */
  launch?: string[];
  /** Without cilock at all: what the same command does by itself. */
  bare?: boolean;
  /** In a terminal of its own (test/tracees/terminal.zig). */
  terminal?: boolean;
}

export interface Ran {
  /** 128 + n after signal n. */
  status: number;
  stdout: Buffer;
  stderr: string;
  record: Record | undefined;
}

/** Everything up to the command, and the command. */
export function commandLine(scratch: Scratch, command: string[], options: RunOptions = {}): string[] {
  const words: string[] = [];
  if (scratch.user === "nobody") words.push("setpriv", "--reuid", `${nobody}`, "--regid", `${nobody}`, "--clear-groups", "--");
  if (options.terminal) words.push(tracee("terminal", scratch));
  if (options.launch) words.push(tracee("launch", scratch), ...options.launch, "--");
  if (options.bare) return [...words, ...command];
  words.push(cilock(scratch), "run", "--step", "test", "-k", scratch.keyPath, "-o", scratch.outfile);
  if (options.trace) words.push("--trace");
  return [...words, ...(options.args ?? []), "--", ...command];
}

export type Started = ReturnType<typeof start>;

/** Starts and leaves the rest to the caller. stdout and stderr are pipes. */
export function start(scratch: Scratch, command: string[], options: RunOptions = {}) {
  return Bun.spawn(commandLine(scratch, command, options), {
    cwd: scratch.work,
    env: options.env ?? plainEnvironment(scratch),
    stdin: options.stdin ?? "ignore",
    stdout: options.stdout ?? "pipe",
    stderr: "pipe",
  });
}

/** Nothing of the machine's own environment: a test must not depend on it. */
export function plainEnvironment(scratch: Scratch): { [name: string]: string } {
  return { PATH: process.env.PATH ?? "/usr/bin:/bin", HOME: scratch.path, LANG: "C.UTF-8" };
}

/** Runs to the end. */
export async function run(scratch: Scratch, command: string[], options: RunOptions = {}): Promise<Ran> {
  rmSync(scratch.outfile, { force: true });
  const child = start(scratch, command, options);
  return finish(scratch, child);
}

/** Waits for the end of what `start` started. */
export async function finish(scratch: Scratch, child: Started): Promise<Ran> {
  let hung = false;
  const watchdog = setTimeout(() => {
    hung = true;
    child.kill("SIGKILL");
  }, hangMs);
  const [stdout, stderr] = await Promise.all([bytesOf(child.stdout), bytesOf(child.stderr), child.exited]);
  clearTimeout(watchdog);
  if (hung) throw new Error(`did not end within ${hangMs / 1000} s; stderr so far: ${stderr.toString()}`);
  return { status: exitStatus(child), stdout, stderr: stderr.toString(), record: scratch.record() };
}

async function bytesOf(stream: ReadableStream<Uint8Array> | number | undefined): Promise<Buffer> {
  return stream instanceof ReadableStream ? Buffer.from(await new Response(stream).arrayBuffer()) : Buffer.alloc(0);
}

export function exitStatus(child: Started): number {
  if (child.exitCode !== null) return child.exitCode;
  return 128 + (signalNumbers[child.signalCode ?? ""] ?? Number.NaN);
}

const signalNumbers: { [name: string]: number } = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGABRT: 6,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGPIPE: 13,
  SIGTERM: 15,
};

/** The record, or a failure that shows why there is none. */
export function recordOf(ran: Ran): Record {
  if (!ran.record) throw new Error(`no record; exit status ${ran.status}, stderr: ${ran.stderr}`);
  return ran.record;
}

/** What `cilock run` itself said, apart from what the command printed on stderr. */
export function errors(ran: Ran): string[] {
  return ran.stderr.split("\n").filter(line => line.startsWith("cilock: error:"));
}

// ---------------------------------------------------------------------------------------------
// Programs

export function cilock(scratch?: Scratch): string {
  return program("dist/cilock", "npm run build", scratch);
}

/** test/tracees/NAME.zig, built. */
export function tracee(name: string, scratch?: Scratch): string {
  return program(`zig-out/tracees/${name}`, "npm run build (or the step `tracees` of build.zig)", scratch);
}

/** Copies for another user, who may not come into our own directory; made once for all tests of this process. */
let shared: string | undefined;

function program(relative: string, builtBy: string, scratch: Scratch | undefined): string {
  const path = join(root, relative);
  if (!existsSync(path)) throw new Error(`${relative} is not there: it is built by ${builtBy}`);
  if (scratch?.user !== "nobody" || reachable(path)) return path;
  if (!shared) {
    const directory = mkdtempSync(join(tmpdir(), "cilock-test-bin-"));
    chmodSync(directory, 0o755);
    process.on("exit", () => rmSync(directory, { recursive: true, force: true }));
    shared = directory;
  }
  const copy = join(shared, basename(path));
  if (!existsSync(copy)) copyFileSync(path, copy);
  chmodSync(copy, 0o755);
  return copy;
}

/** Whether others may go all the way to a file. */
function reachable(path: string): boolean {
  accessSync(path, constants.X_OK);
  return (
    Bun.spawnSync(["setpriv", "--reuid", `${nobody}`, "--regid", `${nobody}`, "--clear-groups", "--", "test", "-x", path])
      .exitCode === 0
  );
}

// ---------------------------------------------------------------------------------------------
// Waiting and looking

/** Waits for a condition, never for a time. */
export async function until<T>(
  what: string,
  look: () => T | undefined | false | Promise<T | undefined | false>,
  ms = 20_000,
): Promise<T> {
  for (const end = performance.now() + ms; ; await Bun.sleep(5)) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > end) throw new Error(`did not happen: ${what}`);
  }
}
