// The tracer and the front end have the same lists of kinds of file systems.
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pseudoFileSystems, remoteFileSystems } from "../src/file-systems.ts";

const source = readFileSync(join(import.meta.dir, "../zig/file_systems.zig"), "utf8");

/** The numbers in a function's switch. */
function numbersOf(name: string): Set<number> {
  const [, body = ""] = source.split(`pub fn ${name}(`);
  const [cases = ""] = body.split("\n}\n");
  return new Set([...cases.matchAll(/^ +(0x[0-9a-f_]+), /gm)].map(([, number = ""]) => Number(number.replaceAll("_", ""))));
}

test("those of the kernel", () => {
  expect(pseudoFileSystems.size).toBeGreaterThan(20);
  expect(numbersOf("isPseudo")).toEqual(new Set(pseudoFileSystems));
});

test("those that somebody serves", () => {
  expect(remoteFileSystems.size).toBeGreaterThan(10);
  expect(numbersOf("isServed")).toEqual(new Set(remoteFileSystems));
});
