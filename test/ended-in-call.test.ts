// A process that ends by itself while one of its threads is in a call: only what may have been left behind is a gap.
import { expect, test } from "bun:test";
import { recordOf, Scratch, start, tracee } from "./harness.ts";
import { gaps } from "./record.ts";

async function ended(count: string, what: string) {
  using scratch = new Scratch("self");
  const ran = await start(scratch, [tracee("ended-in-call", scratch), count, what], { trace: true }).end();
  expect(ran.stderr).not.toContain("tracee:");
  expect(ran.status).toBe(0);
  return recordOf(ran);
}

test("in one that changes nothing but itself: no gap", async () => {
  expect(gaps(await ended("300", "own"))).toEqual([]);
});

test("in one that makes a file: a gap that names the call", async () => {
  const { commandRun } = await ended("300", "file");
  const gap = commandRun.completeness?.gaps.find(one => one.kind === "tracee-gone");
  expect(gap?.detail).toContain("mkdirat");
});
