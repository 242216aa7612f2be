// A million writes, each of which stops: one entry in the record, and no memory for each.
import { expect, test } from "bun:test";
import { recordOf, Scratch, start, tracee } from "./harness.ts";
import { gaps } from "./record.ts";
import { parseLines, unseen } from "./seen.ts";

/** A stop takes 10 to 100 µs on a busy machine. */
const hangMs = 600_000;
/** Of the front end, which needs 80 MiB without any writes, and has 3,001 files to record here. */
const peakMax = 200 * 2 ** 20;

test(
  "1,000,000 writes of a byte are one entry",
  async () => {
    using scratch = new Scratch();
    const args = ["--trace-detail", "full", "--vouch", "no"];
    const child = start(scratch, [tracee("amounts", scratch), "flood", "1000000"], { trace: true, args, hangMs });
    const [peak, ran] = await Promise.all([child.peakBytes(), child.end()]);
    const record = recordOf(ran);
    expect(unseen(record, parseLines(ran.stdout))).toEqual([]);
    expect(record.processes[0]?.fileOps.writes.filter(({ path }) => path.endsWith("/flood"))).toHaveLength(1);
    expect(gaps(record)).toEqual([]);
    expect(peak).toBeGreaterThan(2 ** 25);
    expect(peak).toBeLessThan(peakMax);
  },
  hangMs,
);
