// Real Docker containers, with its default seccomp profile: the places where most builds run. There the kernel refuses us
// process_vm_readv and pidfd_getfd unless SYS_PTRACE was added, and the tracer must do with /proc.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { canStartDocker, Docker } from "./docker.ts";
import { programsOf, Rootfs, runWords, severalProcesses, staticBusybox } from "./rootfs.ts";

const canRunDocker = canStartDocker && staticBusybox !== undefined;
const image = "cilock-test:latest";

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
      const digest = new Bun.CryptoHasher("sha256").update(readFileSync(join(rootfs.path, rootfs.input))).digest("hex");
      expect(cat?.openedfiles[rootfs.input]).toEqual({ sha256: digest });
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
