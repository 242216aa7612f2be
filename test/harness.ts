// Runs dist/cilock as a person would, from outside: a scratch directory, a key, a command; back come the exit status, what was
// printed, and the record, whose signature has been checked by node:crypto alone. Nothing here uses our own source.
import { generateKeyPairSync } from "node:crypto";
import {
  accessSync,
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  constants as modes,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { readFile } from "node:fs/promises";
import { constants, tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { openRecord, type Record } from "./record.ts";

const root = dirname(import.meta.dir);

/** Root may do everything, so each of the tests that matter runs as nobody too. */
export type User = "self" | "nobody";
export const nobody = 65534;
export const isRoot = process.getuid?.() === 0;
/** As whom a test can run here: an ordinary user cannot become another one. */
export const users: User[] = isRoot ? ["self", "nobody"] : ["self"];

/** No run takes that long: whoever reaches it hangs. */
const hangMs = 60_000;

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
  /** Further flags of `cilock run`; -k and -o take the place of the scratch's own. */
  args?: string[];
  env?: { [name: string]: string };
  stdin?: "pipe" | "ignore" | Blob | number;
  stdout?: "collect" | "stream" | number;
  /** Words for test/tracees/launch.zig, which prepares what is to be inherited. */
  launch?: string[];
  /** A program that starts cilock, with its arguments. */
  before?: string[];
  /** Without cilock at all: what the same command does by itself. */
  bare?: boolean;
  /** How long a run takes that hangs, where that is longer than for others. */
  hangMs?: number;
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
  words.push(...(options.before ?? []));
  if (options.bare) return [...words, ...command];
  const args = options.args ?? [];
  words.push(cilock(scratch), "run", "--step", "test");
  if (!args.includes("-k")) words.push("-k", scratch.keyPath);
  if (!args.includes("-o")) words.push("-o", scratch.outfile);
  if (options.trace) words.push("--trace");
  return [...words, ...args, "--", ...command];
}

/** Starts and leaves the rest to the caller. */
export function start(scratch: Scratch, command: string[], options: RunOptions = {}): Running {
  return new Running(scratch, command, options);
}

/** The program that a dynamic one is loaded by (PT_INTERP), its symbolic links resolved. Undefined: it is static. */
export function loaderOf(program: string): string | undefined {
  const file = readFileSync(program);
  const ptInterp = 3;
  for (let i = 0; i < file.readUInt16LE(56); i++) {
    const header = Number(file.readBigUInt64LE(32)) + i * file.readUInt16LE(54);
    if (file.readUInt32LE(header) !== ptInterp) continue;
    const [offset, size] = [8, 32].map(at => Number(file.readBigUInt64LE(header + at))) as [number, number];
    return realpathSync(file.toString("latin1", offset, offset + size - 1));
  }
  return undefined;
}

/** Nothing of the machine's own environment: a test must not depend on it. */
export function plainEnvironment(scratch: Scratch): { [name: string]: string } {
  return { PATH: process.env.PATH ?? "/usr/bin:/bin", HOME: scratch.path, LANG: "C.UTF-8" };
}

/** Runs to the end. */
export async function run(scratch: Scratch, command: string[], options: RunOptions = {}): Promise<Ran> {
  rmSync(scratch.outfile, { force: true });
  return start(scratch, command, options).end();
}

/** A run under way. Its output is collected as it comes, so that it never waits for us; with `stdout: "stream"` the test reads it. */
export class Running {
  readonly #child;
  readonly #hangMs: number;
  readonly #stdout: Buffer[] = [];
  readonly #stderr: Buffer[] = [];
  readonly #collected: Promise<unknown>;

  constructor(
    readonly scratch: Scratch,
    command: string[],
    options: RunOptions,
  ) {
    const stdout = options.stdout ?? "collect";
    this.#hangMs = options.hangMs ?? hangMs;
    this.#child = Bun.spawn(commandLine(scratch, command, options), {
      cwd: scratch.work,
      env: options.env ?? plainEnvironment(scratch),
      stdin: options.stdin ?? "ignore",
      stdout: typeof stdout === "number" ? stdout : "pipe",
      stderr: "pipe",
    });
    this.#collected = Promise.all([
      collect(this.#child.stderr, this.#stderr),
      stdout === "collect" && collect(this.stdout, this.#stdout),
    ]);
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Only for those who asked for it by `stdout: "stream"`. */
  get stdout(): ReadableStream<Uint8Array> {
    const stream = this.#child.stdout;
    if (!(stream instanceof ReadableStream)) throw new Error("stdout is no pipe of ours");
    return stream;
  }

  /** What has come so far. */
  get printed(): string {
    return Buffer.concat(this.#stdout).toString();
  }

  get printedErrors(): string {
    return Buffer.concat(this.#stderr).toString();
  }

  get stderrBytes(): number {
    return this.#stderr.reduce((sum, chunk) => sum + chunk.length, 0);
  }

  type(text: string): void {
    const stdin = this.#child.stdin;
    if (typeof stdin !== "object") throw new Error('stdin is no pipe: say `stdin: "pipe"`');
    stdin.write(text);
    stdin.flush();
  }

  closeInput(): void {
    if (typeof this.#child.stdin === "object") this.#child.stdin.end();
  }

  kill(signal: NodeJS.Signals | number): void {
    this.#child.kill(signal);
  }

  /**
   * The most memory that cilock's front end had, in bytes, as far as we looked. Not by getrusage(2): its maxrss of a child goes back to
   * before the exec, when the child was a copy of the test runner.
   */
  async peakBytes(): Promise<number> {
    const status = `/proc/${this.pid}/status`;
    let peak = 0;
    let ended = false;
    void this.#child.exited.then(() => {
      ended = true;
    });
    while (!ended) {
      const [, kibibytes] = /^VmHWM:\s+(\d+) kB$/m.exec(await readFile(status, "utf8").catch(() => "")) ?? [];
      peak = Math.max(peak, Number(kibibytes ?? 0) * 1024);
      await Bun.sleep(10);
    }
    return peak;
  }

  /** The exit status, 128 + n after signal n. Throws when the end does not come. */
  async exited(): Promise<number> {
    const { promise, reject } = Promise.withResolvers<never>();
    const watchdog = setTimeout(() => {
      this.#child.kill("SIGKILL");
      reject(new Error(`did not end within ${this.#hangMs / 1000} s; stderr so far: ${this.printedErrors}`));
    }, this.#hangMs);
    try {
      await Promise.race([this.#child.exited, promise]);
    } finally {
      clearTimeout(watchdog);
    }
    const { exitCode, signalCode } = this.#child;
    if (exitCode !== null) return exitCode;
    return 128 + (typeof signalCode === "string" ? constants.signals[signalCode] : Number.NaN);
  }

  /** Waits for the end and for all output. */
  async end(): Promise<Ran> {
    const status = await this.exited();
    await this.#collected;
    return { status, stdout: Buffer.concat(this.#stdout), stderr: this.printedErrors, record: this.scratch.record() };
  }
}

async function collect(stream: ReadableStream<Uint8Array>, into: Buffer[]): Promise<void> {
  for await (const chunk of stream) into.push(Buffer.from(chunk));
}

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

/** dist/cilock; CILOCK_UNDER_TEST names another build. */
export function cilock(scratch?: Scratch): string {
  return program(process.env.CILOCK_UNDER_TEST ?? "dist/cilock", "npm run build", scratch);
}

/** test/tracees/NAME.zig, built. */
export function tracee(name: string, scratch?: Scratch): string {
  return program(`zig-out/tracees/${name}`, "npm run build (or the step `tracees` of build.zig)", scratch);
}

/** Copies for another user, who may not come into our own directory; made once for all tests of this process. */
let shared: string | undefined;

function program(relative: string, builtBy: string, scratch: Scratch | undefined): string {
  const path = resolve(root, relative);
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
  accessSync(path, modes.X_OK);
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
