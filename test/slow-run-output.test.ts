// 200 MB of output: neither lost nor in memory.
import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { run, Scratch, start, tracee } from "./harness.ts";

const bytes = 200 * 1024 * 1024;
const limit = 64 * 1024 * 1024;

for (const trace of [false, true]) {
  test(`200 MB of output, ${trace ? "traced" : "untraced"}`, async () => {
    using scratch = new Scratch();
    const expected = await digest(start(scratch, [tracee("noisy"), `${bytes}`], { bare: true, stdout: "stream" }).stdout);
    const child = start(scratch, [tracee("noisy"), `${bytes}`], { trace, stdout: "stream" });
    const [peak, found] = await Promise.all([child.peakBytes(), digest(child.stdout)]);
    expect(await child.exited()).toBe(0);
    expect(found).toEqual(expected);
    const commandRun = scratch.record()?.commandRun;
    expect(commandRun?.stdoutDigest).toMatchObject({ sha256: expected.sha256, bytes, captured: limit });
    // The capture as text, as JSON and as base64 (1.7 GB measured for bytes that are not UTF-8), not the whole output.
    expect(peak / 1024 / 1024).toBeLessThan(2048);
  }, 120_000);
}

test("200 MB on stderr, of which the record keeps a little", async () => {
  using scratch = new Scratch();
  const ran = await run(scratch, ["/bin/sh", "-c", `${tracee("noisy")} ${bytes} 2`], { args: ["--capture-limit", "100"] });
  expect(ran.record?.commandRun.stderrDigest).toMatchObject({ bytes, captured: 100 });
}, 120_000);

async function digest(stream: ReadableStream<Uint8Array>): Promise<{ sha256: string; length: number }> {
  const hash = createHash("sha256");
  let length = 0;
  for await (const chunk of stream) {
    hash.update(chunk);
    length += chunk.length;
  }
  return { sha256: hash.digest("hex"), length };
}
