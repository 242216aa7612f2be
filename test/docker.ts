// A Docker daemon of our own, for tests and for bench/docker.ts.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isRoot } from "./harness.ts";

export const canStartDocker = isRoot && Bun.which("dockerd") !== null && Bun.which("docker") !== null;

/** Beside one that may run already: with its own directories and no network. */
export class Docker {
  readonly #directory = mkdtempSync(join(tmpdir(), "cilock-docker-"));
  readonly host = `unix://${join(this.#directory, "docker.sock")}`;
  readonly #daemon;

  constructor() {
    const at = (name: string) => join(this.#directory, name);
    this.#daemon = Bun.spawn(
      [
        ...["dockerd", "--host", this.host, "--data-root", at("data"), "--exec-root", at("exec"), "--pidfile", at("pid")],
        ...["--iptables=false", "--ip6tables=false", "--bridge=none"],
      ],
      { stdin: "ignore", stdout: "ignore", stderr: Bun.file(at("log")) },
    );
  }

  get pid(): number {
    return this.#daemon.pid;
  }

  run(words: string[], stdin?: Uint8Array) {
    const { exitCode, stdout, stderr } = Bun.spawnSync(["docker", "--host", this.host, ...words], {
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
