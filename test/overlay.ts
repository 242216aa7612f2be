// An overlayfs as the working directory of a test. Its layers are in memory: on another overlay, which a container's root is, there can be none.
import { spawnSync } from "node:child_process";
import { chownSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { isRoot, nobody, Scratch } from "./harness.ts";

/** Mounted until the end of the `using` block, which has to end before the scratch's. Needs root. */
export class Overlay {
  readonly #mounted: string[] = [];

  constructor(scratch: Scratch) {
    const layers = join(scratch.path, "layers");
    mkdirSync(layers);
    try {
      this.#mount("tmpfs", "mode=755", layers);
      const [lower, upper, work] = ["lower", "upper", "work"].map(name => join(layers, name)) as [string, string, string];
      for (const path of [lower, upper, work]) mkdirSync(path);
      if (scratch.user === "nobody") chownSync(upper, nobody, nobody);
      this.#mount("overlay", `lowerdir=${lower},upperdir=${upper},workdir=${work}`, scratch.work);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  #mount(type: string, options: string, at: string): void {
    const ran = spawnSync("mount", ["-t", type, "none", "-o", options, at]);
    if (ran.status !== 0) throw new Error(`mount -t ${type}: ${ran.stderr}`);
    this.#mounted.push(at);
  }

  [Symbol.dispose](): void {
    for (const path of this.#mounted.reverse()) spawnSync("umount", ["-l", path]);
  }
}

/** Why there can be none here; undefined: there can. */
export function whyNoOverlay(): string | undefined {
  if (!isRoot) return "not root";
  try {
    using scratch = new Scratch();
    using _ = new Overlay(scratch);
    return undefined;
  } catch (error) {
    return `${error}`;
  }
}
