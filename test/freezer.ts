// A cgroup whose processes can be frozen, where the machine lets us make one: by version 2 (freezing is one of the stops of a process, and
// SIGKILL ends it) or by the freezer of version 1 (a frozen process does nothing until it is thawed, not even die).
import { mkdirSync, mkdtempSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { until } from "./harness.ts";

export type FreezerVersion = 1 | 2;

interface Way {
  file: string;
  freeze: string;
  thaw: string;
  /** What says that all are frozen, in which file. */
  state: string;
  frozen: RegExp;
}

const ways: { [version in FreezerVersion]: Way } = {
  1: { file: "freezer.state", freeze: "FROZEN", thaw: "THAWED", state: "freezer.state", frozen: /^FROZEN$/m },
  2: { file: "cgroup.freeze", freeze: "1", thaw: "0", state: "cgroup.events", frozen: /^frozen 1$/m },
};

/** Where groups of that version can be made; undefined: not here. */
export function freezerOf(version: FreezerVersion): string | undefined {
  for (const line of readFileSync("/proc/self/mounts", "latin1").split("\n")) {
    const [, mountPoint = "", type, options = ""] = line.split(" ");
    const fits = version === 2 ? type === "cgroup2" : type === "cgroup" && options.split(",").includes("freezer");
    if (!fits) continue;
    try {
      const probe = mkdtempSync(join(mountPoint, "cilock-test-"));
      readFileSync(join(probe, ways[version].file));
      rmdirSync(probe);
      return mountPoint;
    } catch {}
  }
  return undefined;
}

/** A group of its own, gone at the end of the `using` block. */
export class Freezer {
  readonly path: string;
  readonly #way: Way;

  constructor(version: FreezerVersion) {
    const mountPoint = freezerOf(version);
    if (mountPoint === undefined) throw new Error("no group can be made");
    this.#way = ways[version];
    this.path = join(mountPoint, `cilock-test-${crypto.randomUUID()}`);
    mkdirSync(this.path);
  }

  /** Its children that are to come are in it as well. */
  add(...pids: number[]): void {
    for (const pid of pids) writeFileSync(join(this.path, "cgroup.procs"), `${pid}`);
  }

  freeze(): void {
    writeFileSync(join(this.path, this.#way.file), this.#way.freeze);
  }

  thaw(): void {
    writeFileSync(join(this.path, this.#way.file), this.#way.thaw);
  }

  get isFrozen(): boolean {
    return this.#way.frozen.test(readFileSync(join(this.path, this.#way.state), "latin1"));
  }

  get isEmpty(): boolean {
    return readFileSync(join(this.path, "cgroup.procs"), "latin1") === "";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.thaw();
    for (const pid of readFileSync(join(this.path, "cgroup.procs"), "latin1").split("\n").filter(Boolean)) {
      try {
        process.kill(Number(pid), "SIGKILL");
      } catch {}
    }
    await until("all of the group are gone", () => this.isEmpty);
    await until("the group is gone", () => {
      try {
        rmdirSync(this.path);
        return true;
      } catch {
        return false;
      }
    });
  }
}
