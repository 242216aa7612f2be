// Reading past the end: nothing, and it is remembered.

import { expect, test } from "bun:test";
import { cursorOn, integer, more, take, takeUpTo, vector } from "../src/trace/protocols/cursor.ts";

test("in order", () => {
  const cursor = cursorOn(Uint8Array.of(1, 2, 3, 0xff, 0xff, 0xff, 0xff, 2, 8, 9));
  expect([integer(cursor, 1), integer(cursor, 2), integer(cursor, 4)]).toEqual([1, 0x0203, 0xffffffff]);
  expect(vector(cursor, 1)).toEqual(Uint8Array.of(8, 9));
  expect([cursor.overrun, more(cursor)]).toEqual([false, false]);
});

test.each<[string, (cursor: ReturnType<typeof cursorOn>) => unknown, unknown]>([
  ["an integer", cursor => integer(cursor, 4), 0],
  ["bytes", cursor => take(cursor, 4), new Uint8Array()],
  ["a vector", cursor => vector(cursor, 1), new Uint8Array()],
])("%s past the end ends the reading", (_what, read, nothing) => {
  const cursor = cursorOn(Uint8Array.of(9, 9, 9));
  expect(read(cursor)).toEqual(nothing);
  expect([cursor.overrun, more(cursor)]).toEqual([true, false]);
  expect([integer(cursor, 1), take(cursor, 1).length, takeUpTo(cursor, 1).length]).toEqual([0, 0, 0]);
});

test("as far as it goes is not past the end", () => {
  const cursor = cursorOn(Uint8Array.of(9, 9, 9));
  expect(takeUpTo(cursor, 4).length).toBe(3);
  expect(cursor.overrun).toBe(false);
});
