// What a person reads of a gap.
import { expect, test } from "bun:test";
import { gapLines, remedies } from "../src/reports/gap-text.ts";
import { gapTable } from "../src/trace/gaps.ts";

test("each kind says what to do, and no other", () => {
  expect(Object.keys(remedies).sort()).toEqual(Object.keys(gapTable).sort());
});

const programs = ["/usr/bin/rustc", "cc1", "/bin/cc1", "ld", "as", "ar"];
const programOf = (id: number) => programs[id];

test("whose it was and what to do", () => {
  const gap = { kind: "tracee-gone", severity: "gap", count: 2, detail: "a process ended: mkdirat" } as const;
  expect(gapLines({ ...gap, processIds: [0, 1, 2] }, programOf)).toEqual([
    "gap: a process ended: mkdirat (2 times), by rustc, cc1",
    `  what to do: ${remedies["tracee-gone"]}`,
  ]);
  expect(gapLines({ ...gap, count: 1, processIds: [0, 1, 3, 4, 5, 9] }, programOf)[0]).toBe(
    "gap: a process ended: mkdirat, by rustc, cc1, ld, as and 1 more",
  );
  expect(gapLines({ ...gap, kind: "of a later version", processIds: [] }, programOf)).toEqual([
    "gap: a process ended: mkdirat (2 times)",
  ]);
});
