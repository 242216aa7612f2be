// The boundary between Zig and TypeScript: what one writes the other reads, and the generated file is what its source says.
import { expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as abi from "../src/native/abi.gen.ts";
import type { Event } from "../src/native/events.ts";
import { Library } from "../src/native/library.ts";
import { TestRings } from "./native.ts";

const root = join(import.meta.dir, "..");

test("abi.gen.ts is what zig/abi_ts.zig prints", () => {
  const printed = execFileSync(join(root, "link/zig"), ["run", "zig/abi_ts.zig"], { cwd: root, encoding: "utf8" });
  expect(printed).toBe(readFileSync(join(root, "src/native/abi.gen.ts"), "utf8"));
}, 120_000);

test("the library has the layout of the generated file", () => {
  expect(new Library().layoutHash()).toBe(abi.layoutHash);
});

test("every kind of record comes across with every field", () => {
  const rings = new TestRings(1);
  rings.writeSamples();
  const events: Event[] = [];
  rings.rings.drain(event => events.push(event));
  expect(rings.rings.finished).toBe(true);
  // In each kind every field has another number, every part another text: two that are swapped show.
  expect(events.map(event => event.kind)).toEqual(Object.keys(abi.Kind) as Event["kind"][]);
  expect(events).toMatchSnapshot();
});
