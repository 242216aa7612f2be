// What `cilock run` says of the size of a record, beside writing it.
import { expect, test } from "bun:test";
import { envelopeBytesMax, printEnvelope } from "../src/attestation/envelope.ts";
import { sizeRemark } from "../src/commands/run-record.ts";

const mebibyte = 1 << 20;
const rows: [
  predicate: "command-run/v0.1" | "command-run/v0.2",
  mebibytes: number,
  kind: "note" | "warning" | undefined,
  suggests: boolean,
][] = [
  ["command-run/v0.1", 16, undefined, false],
  ["command-run/v0.1", 17, "note", true],
  ["command-run/v0.1", 767, "note", true],
  ["command-run/v0.1", 768, "warning", true],
  ["command-run/v0.2", 767, undefined, false],
  ["command-run/v0.2", 768, "warning", false],
];
for (const [predicate, mebibytes, kind, suggests] of rows) {
  test(`${predicate}, ${mebibytes} MiB of payload: ${kind ?? "nothing"}`, () => {
    const remark = sizeRemark(predicate, mebibytes * mebibyte);
    expect([remark?.kind]).toEqual([kind]);
    expect(remark?.text.includes("--predicate command-run/v0.2") ?? false).toBe(suggests);
  });
}

test("nothing that verify refuses goes without the warning: what is beside the payload fits into what is added for it", () => {
  // The largest payload without a warning, whose base64 is counted and not made.
  let [fits, warned] = [0, 1 << 30];
  while (warned - fits > 1) {
    const middle = Math.floor((fits + warned) / 2);
    if (sizeRemark("command-run/v0.2", middle) === undefined) fits = middle;
    else warned = middle;
  }
  const signatures = [{ keyid: "k".repeat(64), bytes: new Uint8Array(1024) }]; // RSA with 8192 bits
  const empty = printEnvelope({ payload: new Uint8Array(), payloadType: "application/vnd.in-toto+json", signatures });
  expect(Math.ceil(fits / 3) * 4 + empty.length).toBeLessThanOrEqual(envelopeBytesMax);
  expect(fits).toBeGreaterThan(767 * mebibyte);
});
