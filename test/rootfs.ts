// A root directory that holds dist/cilock, a static busybox, a key, an input, and nothing else: no libraries, no /etc, no /tmp.
import { generateKeyPairSync } from "node:crypto";
import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cilock } from "./harness.ts";
import { openRecord, type Record } from "./record.ts";

/** Hard links, so that the kernel's name for what runs is the one that was called. */
const applets = ["sh", "cat", "true", "wc", "id", "ls"];

/** Types of program headers, elf(5). */
export const PT = { LOAD: 1, DYNAMIC: 2, INTERP: 3 } as const;

export function programHeaderTypes(path: string): number[] {
  const head = Buffer.alloc(4096);
  const file = openSync(path, "r");
  readSync(file, head, 0, head.length, 0);
  closeSync(file);
  if (head.toString("latin1", 0, 4) !== "\x7fELF") throw new Error(`${path}: not an ELF file`);
  const start = Number(head.readBigUInt64LE(32));
  return Array.from({ length: head.readUInt16LE(56) }, (_, i) => head.readUInt32LE(start + i * head.readUInt16LE(54)));
}

/** Undefined where there is none: Debian's `busybox` is dynamic, its `busybox-static` is not. */
export const staticBusybox =
  [Bun.which("busybox")].find(path => path !== null && !programHeaderTypes(path).includes(PT.INTERP)) ?? undefined;

export class Rootfs {
  /** The root directory itself. */
  readonly path: string;
  /** In it; readable for everybody, since it is to be used by several. */
  readonly key = "/key.pem";
  /** What the build reads: a build that reads the key is a gap. */
  readonly input = "/input.txt";
  readonly publicPem: string;
  readonly #parent: string;

  constructor() {
    if (staticBusybox === undefined) throw new Error("these tests need a static busybox (Debian's busybox-static)");
    this.#parent = mkdtempSync(join(tmpdir(), "cilock-rootfs-"));
    chmodSync(this.#parent, 0o755);
    this.path = join(this.#parent, "root");
    for (const directory of ["", "bin", "proc", "dev"]) mkdirSync(join(this.path, directory));
    copyFileSync(cilock(), join(this.path, "bin/cilock"));
    copyFileSync(staticBusybox, join(this.path, "bin/busybox"));
    for (const name of applets) linkSync(join(this.path, "bin/busybox"), join(this.path, "bin", name));
    const pair = generateKeyPairSync("ed25519", {
      privateKeyEncoding: { type: "pkcs8", format: "pem" },
      publicKeyEncoding: { type: "spki", format: "pem" },
    });
    this.publicPem = pair.publicKey;
    writeFileSync(join(this.path, this.key), pair.privateKey, { mode: 0o644 });
    writeFileSync(join(this.path, this.input), "what the build reads\n", { mode: 0o644 });
  }

  /** Reads a record that was written to stdout, and has `cilock verify` look at it too. */
  read(stdout: Uint8Array): Record {
    const file = join(this.#parent, "record.json");
    const keyFile = join(this.#parent, "key.pub");
    writeFileSync(file, stdout);
    writeFileSync(keyFile, this.publicPem);
    const { exitCode, stderr } = Bun.spawnSync([cilock(), "verify", file, "-k", keyFile, "--step", "test"]);
    if (exitCode !== 0) throw new Error(`cilock verify: exit status ${exitCode}: ${stderr}`);
    return openRecord(file, this.publicPem);
  }

  [Symbol.dispose](): void {
    if (existsSync(this.#parent)) rmSync(this.#parent, { recursive: true, force: true });
  }
}

/** Words for `cilock run` in such a root: the record goes to stdout, for there is nowhere else. */
export function runWords(rootfs: Rootfs, { trace, command }: { trace: boolean; command: string[] }): string[] {
  return ["/bin/cilock", "run", "--step", "test", "-k", rootfs.key, "-o", "-", ...(trace ? ["--trace"] : []), "--", ...command];
}

/** Several processes, one of them in a pipe. Absolute paths, since busybox's shell would run its own applets without exec. */
export const severalProcesses = {
  command: ["/bin/sh", "-c", "/bin/true; /bin/cat /input.txt | /bin/wc -c; exit 7"],
  status: 7,
  programs: ["/bin/cat", "/bin/sh", "/bin/true", "/bin/wc"],
} as const;

/** What ran, once each, sorted. */
export function programsOf(record: Record): string[] {
  const programs = record.processes.flatMap(({ program, images }) => [program ?? "", ...images.map(image => image.program)]);
  return [...new Set(programs)].sort();
}
