// test/pitfalls.ts promises a test for each pitfall of ptrace that is known to us, or a reason: each number has a row, each test is there.
import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Pitfall, pitfalls, type Shown } from "./pitfalls.ts";

const count = 82;
const numbers = [...Array.from({ length: 80 }, (_, index) => `${index + 1}`), "45a", "45b"];

test("every number has a row, and each row a test or a reason", () => {
  expect(numbers.length).toBe(count);
  expect(Object.keys(pitfalls).sort()).toEqual([...numbers].sort());
  const isEmpty = ({ shown = [], because = "" }: Pitfall) => shown.length === 0 && because === "";
  expect(Object.entries(pitfalls).flatMap(([number, pitfall]) => (isEmpty(pitfall) ? [number] : []))).toEqual([]);
});

for (const [number, { what, shown = [] }] of Object.entries(pitfalls)) {
  if (shown.length === 0) continue;
  test(`${number}: ${what}`, () => {
    expect(shown.filter(one => !exists(one))).toEqual([]);
  });
}

/** A title is a text of the file, up to where something is put into it; so are the names of rows that titles are made of. */
function exists([file, title]: Shown): boolean {
  const path = file.endsWith(".zig") ? join(import.meta.dir, "../zig", file) : join(import.meta.dir, `${file}.test.ts`);
  if (!existsSync(path)) return false;
  const source = readFileSync(path, "utf8");
  // The user may stand before it.
  return ['"', "`", ": "].some(before => source.includes(before + title));
}
