// Another file system as the working directory of a test. What it holds is in memory: on another overlay, which a container's root is, there
// can be no overlay.
import { spawnSync } from "node:child_process";
import { chownSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { isRoot, nobody, Scratch } from "./harness.ts";

/** `ramfs` stands for all whose ctime moves once a tick of the clock. */
export type Kind = "overlay" | "ramfs" | "tmpfs";

/** Until the end of the `using` block, which has to end before the scratch's. Needs root. */
export class Mounted {
  readonly #paths: string[] = [];

  constructor(kind: Kind, scratch: Scratch) {
    try {
      if (kind === "overlay") this.#overlay(scratch);
      else this.#mount(kind, "mode=755", scratch.work);
      if (scratch.user === "nobody") chownSync(scratch.work, nobody, nobody);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  #overlay(scratch: Scratch): void {
    const layers = join(scratch.path, "layers");
    mkdirSync(layers);
    this.#mount("tmpfs", "mode=755", layers);
    const [lower, upper, work] = ["lower", "upper", "work"].map(name => join(layers, name)) as [string, string, string];
    for (const path of [lower, upper, work]) mkdirSync(path);
    this.#mount("overlay", `lowerdir=${lower},upperdir=${upper},workdir=${work}`, scratch.work);
  }

  #mount(type: string, options: string, at: string): void {
    const ran = spawnSync("mount", ["-t", type, "none", "-o", options, at]);
    if (ran.status !== 0) throw new Error(`mount -t ${type}: ${ran.stderr}`);
    this.#paths.push(at);
  }

  [Symbol.dispose](): void {
    for (const path of this.#paths.reverse()) spawnSync("umount", ["-l", path]);
  }
}

/** Why there can be none here; undefined: there can. */
export function whyNotMounted(kind: Kind): string | undefined {
  if (!isRoot) return "not root";
  try {
    using scratch = new Scratch();
    using _ = new Mounted(kind, scratch);
    return undefined;
  } catch (error) {
    return `${error}`;
  }
}
