// What lets the heap grow while a large record is made takes no memory itself.
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { HeapRoom } from "../src/commands/heap-room.ts";

const mebibyte = 1 << 20;
const anonymous = () => Number(/^RssAnon:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "latin1"))?.[1] ?? 0) * 1024;

test("a small build needs none", () => {
  using room = new HeapRoom();
  room.make({ paths: 300, processes: 20 });
  expect(room.bytes).toBe(0);
});

test("one that has much in memory already gets none", () => {
  using room = new HeapRoom();
  room.make({ paths: 40_000, processes: 1 }, 300 * mebibyte);
  expect(room.bytes).toBe(0);
});

test("a large one has it until the end, and nothing of it is in memory", () => {
  using room = new HeapRoom();
  const before = anonymous();
  room.make({ paths: 40_000, processes: 1 }, 160 * mebibyte);
  expect(room.bytes).toBeGreaterThan(100 * mebibyte);
  expect(anonymous() - before).toBeLessThan(32 * mebibyte);
  room[Symbol.dispose]();
  expect(room.bytes).toBe(0);
});
