// Real Docker containers, with its default seccomp profile: the places where most builds run. There the kernel refuses us
// process_vm_readv and pidfd_getfd unless SYS_PTRACE was added, and the tracer must do with /proc.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isRoot } from "./harness.ts";
import { programsOf, Rootfs, runWords, severalProcesses, staticBusybox } from "./rootfs.ts";

const canRunDocker = isRoot && staticBusybox !== undefined && Bun.which("dockerd") !== null && Bun.which("docker") !== null;
const image = "cilock-test:latest";

/** A daemon of our own, beside one that may run already: with its own directories and no network. */
class Docker {
  readonly #directory = mkdtempSync(join(tmpdir(), "cilock-docker-"));
  readonly #host = `unix://${join(this.#directory, "docker.sock")}`;
  readonly #daemon;

  constructor() {
    const at = (name: string) => join(this.#directory, name);
    this.#daemon = Bun.spawn(
      [
        ...["dockerd", "--host", this.#host, "--data-root", at("data"), "--exec-root", at("exec"), "--pidfile", at("pid")],
        ...["--iptables=false", "--ip6tables=false", "--bridge=none"],
      ],
      { stdin: "ignore", stdout: "ignore", stderr: Bun.file(at("log")) },
    );
  }

  run(words: string[], stdin?: Uint8Array) {
    const { exitCode, stdout, stderr } = Bun.spawnSync(["docker", "--host", this.#host, ...words], {
      ...(stdin === undefined ? {} : { stdin }),
    });
    return { status: exitCode, stdout, stderr: stderr.toString() };
  }

  /** Waits until it answers. */
  async ready(): Promise<void> {
    while (this.run(["version"]).status !== 0) {
      if (this.#daemon.exitCode !== null)
        throw new Error(`dockerd ended: ${await Bun.file(join(this.#directory, "log")).text()}`);
      await Bun.sleep(100);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#daemon.kill("SIGTERM");
    await this.#daemon.exited;
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

interface Row {
  name: string;
  options: string[];
}

const containers: Row[] = [
  { name: "the default", options: [] },
  { name: "--cap-add=SYS_PTRACE", options: ["--cap-add=SYS_PTRACE"] },
  { name: "--user 1000", options: ["--user", "1000"] },
  { name: "--user 1000 --cap-add=SYS_PTRACE", options: ["--user", "1000", "--cap-add=SYS_PTRACE"] },
  { name: "--read-only", options: ["--read-only"] },
  { name: "--cap-drop=ALL", options: ["--cap-drop=ALL"] },
  { name: "no-new-privileges", options: ["--security-opt", "no-new-privileges"] },
];

describe.skipIf(!canRunDocker)("in Docker", () => {
  let docker: Docker;
  let rootfs: Rootfs;
  beforeAll(async () => {
    rootfs = new Rootfs();
    docker = new Docker();
    await docker.ready();
    const { stdout: tar } = Bun.spawnSync(["tar", "-C", rootfs.path, "-c", "."], { maxBuffer: 2 ** 30 });
    const { status, stderr } = docker.run(["import", "-", image], tar);
    expect(stderr).toBe("");
    expect(status).toBe(0);
  }, 60_000);
  afterAll(async () => {
    await docker?.[Symbol.asyncDispose]();
    rootfs?.[Symbol.dispose]();
  });

  const inContainer = (options: string[], words: string[]) =>
    docker.run(["run", "--rm", "--network", "none", ...options, image, ...words]);

  for (const { name, options } of containers) {
    test(`${name}: traces several processes`, () => {
      const words = runWords(rootfs, { trace: true, command: [...severalProcesses.command] });
      const { status, stdout, stderr } = inContainer(options, words);
      expect(stdout.length, stderr).toBeGreaterThan(0);
      const record = rootfs.read(stdout);
      expect(programsOf(record)).toEqual([...severalProcesses.programs]);
      const cat = record.processes.find(({ program }) => program === "/bin/cat");
      const keyDigest = new Bun.CryptoHasher("sha256").update(readFileSync(join(rootfs.path, rootfs.key))).digest("hex");
      expect(cat?.openedfiles[rootfs.key]).toEqual({ sha256: keyDigest });
      expect(record.commandRun.completeness?.verdict).not.toBe("incomplete");
      expect(record.commandRun.exitcode).toBe(severalProcesses.status);
      expect(status).toBe(severalProcesses.status);
    }, 60_000);
  }

  test("SYS_PTRACE is what the tracer says it has", () => {
    const words = runWords(rootfs, { trace: true, command: ["/bin/true"] });
    const privileged = (options: string[]) =>
      rootfs.read(inContainer(options, words).stdout).commandRun.completeness?.tracer.privileged;
    expect(privileged([])).toBe(false);
    expect(privileged(["--cap-add=SYS_PTRACE"])).toBe(true);
  }, 60_000);
});
