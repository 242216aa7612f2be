// docs/evasions.md promises a test for each row: it is there, under that name, in that file.
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gapTable } from "../src/trace/gaps.ts";

const page = readFileSync(join(import.meta.dir, "../docs/evasions.md"), "utf8");
const rows = page.split("\n").filter(line => line.startsWith("| ") && !line.startsWith("| the build …"));

test("each row names a test that exists", () => {
  expect(rows.length).toBeGreaterThan(20);
  const missing = rows.filter(row => {
    const [, file = "", name = ""] = /`([\w-]+)`: (.*) \|$/.exec(row) ?? [];
    if (file === "") return true;
    const source = readFileSync(join(import.meta.dir, `${file}.test.ts`), "utf8");
    return !source.includes(name) && !source.includes(`["${name}"]`);
  });
  expect(missing).toEqual([]);
});

test("the kinds that it names are kinds of a record", () => {
  const named = [...page.matchAll(/(?:refused|flagged|note|;|,) `([a-z]+(?:-[a-z0-9]+)+)`/g)].map(match => match[1] ?? "");
  expect(named.length).toBeGreaterThan(10);
  expect(named.filter(kind => !(kind in gapTable))).toEqual([]);
});
