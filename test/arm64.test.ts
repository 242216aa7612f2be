// There is no product for arm64 yet. What is written for it is compiled, and the one piece of machine code that is our own is run.
import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dir, "..");
const qemu = Bun.which("qemu-aarch64") ?? Bun.which("qemu-aarch64-static");

/** An archive needs no libc of that architecture, which would take a minute to compile. */
test("the library compiles", () => {
  using scratch = new Directory();
  const archive = join(scratch.path, "lib.a");
  const words = ["build-lib", "zig/lib.zig", "-static", "-target", "aarch64-linux-musl", "-lc", "-Osafe", "-fstrip"];
  expect(zig([...words, `-femit-bin=${archive}`])).toBe("");
  expect(statSync(archive).size).toBeGreaterThan(100_000);
}, 120_000);

/** Optimized: otherwise little of what is to be kept is in registers. */
test.skipIf(qemu === null)(
  "stacks take turns",
  () => {
    using scratch = new Directory();
    const program = join(scratch.path, "fiber");
    const words = ["test", "zig/fiber.zig", "-target", "aarch64-linux-none", "-Ofast", "-fstrip", "--test-no-exec"];
    words.push("--test-runner", "test/fixtures/test-runner.zig", "--test-filter", "two fibers");
    expect(zig([...words, `-femit-bin=${program}`])).toBe("");
    const { status, stderr } = spawnSync(qemu ?? "", [program], { encoding: "utf8" });
    expect(stderr).toBe("passed\n");
    expect(status).toBe(0);
  },
  120_000,
);

/** What the compiler says; nothing, if all is well. */
function zig(words: string[]): string {
  const { status, stderr } = spawnSync(join(root, "link/zig"), words, { cwd: root, encoding: "utf8" });
  return status === 0 ? stderr : `status ${status}: ${stderr}`;
}

class Directory {
  readonly path = mkdtempSync(join(tmpdir(), "cilock-arm64-"));
  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
