// What the command prints comes through as it comes, byte for byte, and is captured.
import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { closeSync, constants, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { recordOf, run, Scratch, start, tracee, until, users } from "./harness.ts";
import { sha256 } from "./seen.ts";

for (const trace of [false, true]) {
  describe(trace ? "traced" : "untraced", () => {
    for (const user of users) {
      test(`every byte value, on both streams, as ${user}`, async () => {
        using scratch = new Scratch(user);
        const bytes = 1_000_003; // no multiple of any buffer
        const script = `${tracee("noisy", scratch)} ${bytes} 1 4093 & ${tracee("noisy", scratch)} ${bytes - 7} 2 17777 & wait`;
        const ran = await run(scratch, ["/bin/sh", "-c", script], { trace });
        const expected = noise(bytes);
        expect(sha256(ran.stdout)).toBe(sha256(expected));
        expect(ran.stdout.length).toBe(bytes);
        const { stdoutDigest, stderrDigest, stdout } = recordOf(ran).commandRun;
        expect(stdoutDigest).toMatchObject({ sha256: sha256(expected), bytes, captured: bytes });
        expect(stderrDigest).toMatchObject({ sha256: sha256(expected.subarray(0, bytes - 7)), bytes: bytes - 7 });
        expect(stdout).toBe(new TextDecoder("utf-8", { ignoreBOM: true }).decode(expected));
      });
    }

    test("a command that makes one of its streams has them in its order, here and in the record", async () => {
      using scratch = new Scratch();
      const script = "exec 2>&1; for i in 1 2 3 4 5 6 7 8 9; do echo o$i; echo e$i >&2; done";
      const ran = await run(scratch, ["/bin/sh", "-c", script], { trace });
      const expected = Array.from({ length: 9 }, (_, i) => `o${i + 1}\ne${i + 1}\n`).join("");
      expect(ran.stdout.toString()).toBe(expected);
      expect(recordOf(ran).commandRun).toMatchObject({ stdout: expected, stderr: "" });
    });

    test("a line is there before the command goes on", async () => {
      using scratch = new Scratch();
      const child = start(scratch, ["/bin/sh", "-c", "echo first; read answer; echo got $answer"], { trace, stdin: "pipe" });
      await until("the first line", () => child.printed === "first\n");
      child.type("this\n");
      child.closeInput();
      const ran = await child.end();
      expect(ran.stdout.toString()).toBe("first\ngot this\n");
      expect(recordOf(ran).commandRun.stdout).toBe("first\ngot this\n");
    });

    test("the limit of the capture cuts the record and nothing else", async () => {
      using scratch = new Scratch();
      const ran = await run(scratch, [tracee("noisy"), "300000"], { trace, args: ["--capture-limit", "1000"] });
      const expected = noise(300_000);
      expect(sha256(ran.stdout)).toBe(sha256(expected));
      const { stdoutDigest, stdout } = recordOf(ran).commandRun;
      expect(stdoutDigest).toMatchObject({ sha256: sha256(expected), bytes: 300_000, captured: 1000 });
      expect(stdout.length).toBeLessThanOrEqual(1000);
    });

    test("a reader that goes away ends the command as in a bare run", async () => {
      using scratch = new Scratch();
      const yes = start(scratch, ["yes"], { trace, stdout: "stream" });
      const reader = yes.stdout.getReader();
      await reader.read();
      await reader.cancel();
      expect(await yes.exited()).toBe(128 + 13);
      expect(scratch.record()?.commandRun.exitcode).toBe(128 + 13);
    });

    test("a slow reader of stdout does not hold up stderr", async () => {
      using scratch = new Scratch();
      // A fifo that nobody reads yet: 64 KiB fit, the command writes a megabyte.
      const fifo = join(scratch.path, "fifo");
      Bun.spawnSync(["mkfifo", fifo]);
      const reading = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
      const writing = openSync(fifo, constants.O_WRONLY);
      const script = `${tracee("noisy")} 1000000 1 & ${tracee("noisy")} 1000000 2; wait`;
      const child = start(scratch, ["/bin/sh", "-c", script], { trace, stdout: writing });
      closeSync(writing);
      await until("all of stderr, though stdout is full", () => child.stderrBytes >= 1_000_000);
      const hash = createHash("sha256");
      const buffer = Buffer.alloc(65536);
      let total = 0;
      await until("all of stdout", () => {
        try {
          const length = readSync(reading, buffer);
          hash.update(buffer.subarray(0, length));
          total += length;
          return length === 0;
        } catch (error) {
          if (error instanceof Error && "code" in error && error.code === "EAGAIN") return false;
          throw error;
        }
      });
      closeSync(reading);
      await child.exited();
      expect(total).toBe(1_000_000);
      expect(hash.digest("hex")).toBe(sha256(noise(1_000_000)));
      expect(scratch.record()?.commandRun.stdoutDigest.bytes).toBe(1_000_000);
    });

    test("a command without output has empty streams in the record", async () => {
      using scratch = new Scratch();
      const { commandRun } = recordOf(await run(scratch, ["true"], { trace }));
      expect(commandRun.stdout).toBe("");
      expect(commandRun.stderr).toBe("");
      expect(commandRun.stdoutDigest).toMatchObject({ sha256: sha256(""), bytes: 0, captured: 0 });
    });

    test("stdin reaches the command", async () => {
      using scratch = new Scratch();
      const bytes = noise(300_000);
      const ran = await run(scratch, ["cat"], { trace, stdin: new Blob([new Uint8Array(bytes)]) });
      expect(sha256(ran.stdout)).toBe(sha256(bytes));
      expect(recordOf(ran).commandRun.stdoutDigest.sha256).toBe(sha256(bytes));
    });
  });
}

/** The bytes of test/tracees/noisy.zig. */
export function noise(length: number): Buffer {
  const bytes = Buffer.alloc(length + 8);
  const mask = (1n << 64n) - 1n;
  for (let position = 0; position < length; position += 8) {
    bytes.writeBigUInt64LE((BigInt((position >> 3) + 1) * 0x9e3779b97f4a7c15n) & mask, position);
  }
  return bytes.subarray(0, length);
}
