// docs/coverage.md: the list whose digest every record carries, and whether what it says of a call is so. That it is what its
// source generates is checked by link/check.ts.
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as abi from "../src/native/abi.gen.ts";
import { recordOf, run, Scratch } from "./harness.ts";
import { sha256 } from "./seen.ts";

const page = readFileSync(join(import.meta.dir, "../docs/coverage.md"), "utf8");
const list = page.split(/^```$/m)[1]?.slice(1) ?? "";

interface Ignored {
  abi: string;
  number: number;
  name: string;
}
const ignored: Ignored[] = list
  .split("\n")
  .filter(line => line !== "")
  .map(line => /^(\w+) (\d+) (\w+): \S/.exec(line))
  .map(match => ({ abi: match?.[1] ?? "", number: Number(match?.[2]), name: match?.[3] ?? "" }));

/** Name and the three numbers of each row. */
const watched = [...page.matchAll(/^\| `(\w+)` \| ?(\d*) ?\| ?(\d*) ?\| ?(\d*) ?\| (before|both) \|/gm)].map(match => ({
  name: match[1] ?? "",
  numbers: { x86_64: match[2], i386: match[3], aarch64: match[4] },
}));

test("the digest in a record is that of the list", async () => {
  using scratch = new Scratch();
  const record = recordOf(await run(scratch, ["/bin/true"], { trace: true }));
  expect(record.commandRun.completeness?.tracer.ignoredSyscalls).toBe(sha256(Buffer.from(list)));
});

test("the commands on the page print the digests, and full detail ignores only what is in no table of watched calls", () => {
  const commands = [...page.matchAll(/^ {4}(sed .*)$/gm)].map(match => match[1] ?? "false");
  const printed = commands.map(command => {
    const { stdout } = Bun.spawnSync(["sh", "-c", command], { cwd: join(import.meta.dir, "..") });
    return stdout.toString().split(" ")[0];
  });
  expect(printed).toEqual([sha256(Buffer.from(list)), abi.ignoredSyscalls.full]);
  expect(abi.ignoredSyscalls.normal).toBe(sha256(Buffer.from(list)));
  const withFull = [...page.matchAll(/^\| `(\w+)` \| ?\d* ?\| ?\d* ?\| ?\d* ?\|$/gm)].map(match => match[1] ?? "");
  expect(withFull).toEqual(["write", "writev", "pwrite64", "pwritev", "pwritev2", "io_submit"]);
  const lines = list.split("\n").filter(line => !withFull.includes(/^\w+ \d+ (\w+):/.exec(line)?.[1] ?? ""));
  expect(abi.ignoredSyscalls.full).toBe(sha256(Buffer.from(lines.join("\n"))));
});

test("every call of every table is in exactly one of the two", () => {
  for (const of of ["x86_64", "i386", "aarch64"] as const) {
    const numbers = [
      ...ignored.filter(row => row.abi === of).map(row => row.number),
      ...watched.flatMap(row => (row.numbers[of] ? [Number(row.numbers[of])] : [])),
    ].sort((a, b) => a - b);
    const known = Object.keys(abi.syscallNames[of] ?? {}).map(Number);
    expect(numbers).toEqual(known.sort((a, b) => a - b));
  }
});

test("names are those of their numbers", () => {
  for (const { abi: of, number, name } of ignored) {
    expect(`${of} ${number} ${name}`).toBe(`${of} ${number} ${abi.syscallNames[of as abi.Abi]?.[number]}`);
  }
  expect(watched.length).toBeGreaterThan(100);
  for (const { name, numbers } of watched) {
    for (const [of, number] of Object.entries(numbers)) {
      if (number) expect(`${of} ${number} ${name}`).toBe(`${of} ${number} ${abi.syscallNames[of as abi.Abi]?.[Number(number)]}`);
    }
  }
});
