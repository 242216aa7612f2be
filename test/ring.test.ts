// The rings under stress, with real writer processes: nothing is lost, nobody sleeps for ever, and a record that is
// not what zig/abi.zig says is refused by name.
import { describe, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { once } from "node:events";
import * as abi from "../src/native/abi.gen.ts";
import { RecordError, type RecordFault } from "../src/native/decoder.ts";
import type { Event } from "../src/native/events.ts";
import { TestRings, type WriterOptions } from "./native.ts";

/** Reads until every ring has ended, sleeping as the session does; `stall` is called after each drain. */
async function readAll(rings: TestRings, stall: () => Promise<void> = async () => {}): Promise<Event[]> {
  const events: Event[] = [];
  const wakeups = rings.wakeups();
  try {
    while (true) {
      rings.rings.drain(event => events.push(event));
      if (rings.rings.finished) return events;
      await stall();
      if (rings.rings.arm()) await wakeups.next();
      rings.rings.disarm();
    }
  } finally {
    wakeups.close();
  }
}

/** Each writer's records in its own order, and all in the order of their sequence numbers. */
function expectAll(events: Event[], writers: WriterOptions[]): void {
  expect(events.length).toBe(writers.reduce((sum, { count }) => sum + count, 0));
  const seen = new Map<number, number>();
  let wrong: unknown;
  events.forEach((event, i) => {
    if (event.kind !== "gap") throw new Error(event.kind);
    const count = seen.get(event.process) ?? 0;
    const letter = String.fromCharCode(97 + (count % 26));
    if (event.sequence !== i || Number(event.value) !== count || event.text !== letter.repeat(event.text.length)) wrong ??= event;
    seen.set(event.process, count + 1);
  });
  expect(wrong).toBeUndefined();
  for (const { ring, count } of writers) expect(seen.get(ring) ?? 0).toBe(count);
}

const pause = (ms: number) => new Promise<void>(resolve => setTimeout(resolve, ms));

const writersTable: [name: string, writers: WriterOptions[]][] = [
  ["no record at all", [{ ring: 0, count: 0 }]],
  ["one record", [{ ring: 0, count: 1, textMax: 10 }]],
  ["unpaced, small", [{ ring: 0, count: 300_000 }]],
  ["unpaced, up to 4 KiB", [{ ring: 0, count: 20_000, textMax: 4096 }]],
  // Two of them do not fit the ring with the padding between them: each waits for the one before.
  ["unpaced, half a ring each", [{ ring: 0, count: 20, textMax: abi.ringDataSize / 2 - 48 }]],
  // Slower than the reader: it sleeps before nearly every record, so a lost wake-up shows as a hang.
  ["a record every millisecond", [{ ring: 0, count: 300, textMax: 100, burst: 1, pauseMs: 1 }]],
  // The next record comes while the reader makes ready to sleep, and no other would wake it.
  ["in lock-step", [{ ring: 0, count: 5000, burst: 1 }]],
  ["bursts", [{ ring: 0, count: 5000, textMax: 500, burst: 100, pauseMs: 3 }]],
  [
    "four writers, one sequence",
    [
      { ring: 0, count: 60_000, textMax: 60 },
      { ring: 1, count: 60_000, textMax: 200 },
      { ring: 2, count: 2000, textMax: 2000, burst: 20, pauseMs: 1 },
      { ring: 3, count: 50, burst: 1, pauseMs: 2 },
    ],
  ],
];

describe("nothing is lost", () => {
  test.each(writersTable)("%s", async (_name, writers) => {
    const rings = new TestRings(writers.length);
    for (const writer of writers) rings.write(writer);
    expectAll(await readAll(rings), writers);
  });

  test("wrap-around: of the 32-bit counters, and of the ring many times", async () => {
    const rings = new TestRings(1);
    const before = rings.header(0)[0] ?? 0;
    const writers = [{ ring: 0, count: 40_000, textMax: 2000 }];
    for (const writer of writers) rings.write(writer);
    expectAll(await readAll(rings), writers);
    const after = rings.header(0)[0] ?? 0;
    expect(before).toBe(abi.initialPosition);
    expect(after).toBeLessThan(before);
    expect(after).toBeGreaterThan(abi.ringDataSize);
  });

  test("a reader that stalls: the writer waits", async () => {
    const rings = new TestRings(1);
    const writers = [{ ring: 0, count: 30_000, textMax: 2000 }];
    for (const writer of writers) rings.write(writer);
    let stalled = 0;
    const events = await readAll(rings, async () => {
      if (stalled++ < 3) while (rings.stalls < stalled) await pause(5);
    });
    expectAll(events, writers);
    expect(rings.stalls).toBeGreaterThan(2);
  });

  test("a writer without an end: what it wrote is read, and the ring is not finished", async () => {
    const rings = new TestRings(1);
    const pid = rings.write({ ring: 0, count: 100, end: false });
    while (rings.alive(pid)) await pause(2);
    const events: Event[] = [];
    rings.rings.drain(event => events.push(event));
    expect(events.length).toBe(100);
    expect(rings.rings.finished).toBe(false);
  });
});

test("a reader that dies takes a waiting writer with it", async () => {
  // A process of its own that starts a writer on a ring which nobody reads, tells its pid, and is killed.
  const script = `
    const { TestRings } = await import(${JSON.stringify(`${import.meta.dir}/native.ts`)});
    const rings = new TestRings(1);
    const pid = rings.write({ ring: 0, count: 1e9, textMax: 4000 });
    while (rings.stalls === 0) await new Promise(resolve => setTimeout(resolve, 5));
    console.log(pid);
    setInterval(() => {}, 1000);
  `;
  const reader = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  const [output] = (await once(reader.stdout, "data")) as [Buffer];
  const writer = Number(String(output));
  expect(isAlive(writer)).toBe(true);
  reader.kill("SIGKILL");
  await once(reader, "exit");
  while (isAlive(writer)) await pause(10);
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

// ---------------------------------------------------------------------------------------------
// Refusals: a good record, one thing about it changed

const dataMask = abi.ringDataSize - 1;

/** Offsets count from the first record, a gap record with a text of 3 bytes. */
const faults: [name: string, change: (data: DataView, at: number) => void, fault: RecordFault][] = [
  ["unknown kind", (data, at) => data.setUint16(at + abi.Header.kind, 99, true), "unknown-kind"],
  ["kind 0", (data, at) => data.setUint16(at + abi.Header.kind, 0, true), "unknown-kind"],
  ["size past the end", (data, at) => data.setUint32(at, 4096, true), "size-past-end"],
  ["size past the ring", (data, at) => data.setUint32(at, abi.ringDataSize, true), "size-past-end"],
  ["size not a multiple of 8", (data, at) => data.setUint32(at, 57, true), "size-not-aligned"],
  ["size 0", (data, at) => data.setUint32(at, 0, true), "size-too-small"],
  ["size below a header", (data, at) => data.setUint32(at, 24, true), "size-too-small"],
  ["size below the kind's", (data, at) => data.setUint32(at, 40, true), "size-too-small"],
  ["padding past the end", (data, at) => data.setUint32(at, abi.paddingBit + 4096, true), "size-past-end"],
  ["padding of nothing", (data, at) => data.setUint32(at, abi.paddingBit, true), "size-too-small"],
  ["part past the record", (data, at) => data.setUint32(at + abi.Gap.textLength, 9, true), "part-past-record"],
  ["part of 4 GiB", (data, at) => data.setUint32(at + abi.Gap.textLength, 0xffff_ffff, true), "part-past-record"],
  ["parts that do not fill the record", (data, at) => data.setUint32(at + abi.Gap.textLength, 0, true), "record-not-filled"],
  ["unknown kind of gap", (data, at) => data.setUint32(at + abi.Gap.gap, 0xffff, true), "unknown-value"],
  ["a sequence number that was left out", (data, at) => data.setUint32(at + abi.Header.sequence, 1, true), "sequence-gap"],
  ["a sequence number beyond 32 bits", (data, at) => data.setUint32(at + abi.Header.sequence + 4, 1, true), "sequence-gap"],
];

describe("a record is refused", () => {
  test.each(faults)("%s", async (_name, change, fault) => {
    const rings = new TestRings(1);
    const data = rings.data(0);
    const at = abi.initialPosition & dataMask;
    // By hand: 48 bytes, a text of 3, filled up to 56.
    data.setUint32(at + abi.Header.size, 56, true);
    data.setUint16(at + abi.Header.kind, abi.Kind.gap, true);
    data.setUint32(at + abi.Gap.gap, abi.GapKind.limit, true);
    data.setUint32(at + abi.Gap.textLength, 3, true);
    const publish = () =>
      Atomics.store(new Int32Array(rings.header(0).buffer, rings.header(0).byteOffset, 1), 0, (abi.initialPosition + 56) | 0);

    change(data, at);
    publish();
    expect(faultOf(() => rings.rings.drain(() => {}))).toBe(fault);
  });

  test("of a call: items past the record, unknown items, bytes behind the last", () => {
    const rows: [change: (data: DataView, item: number, record: number) => void, fault: RecordFault][] = [
      [(data, item) => data.setUint32(item + abi.Item.length, 0xffff, true), "item-past-record"],
      [(data, item) => data.setUint16(item + abi.Item.kind, 77, true), "unknown-item"],
      [(data, item) => data.setUint16(item + abi.Item.kind, abi.ItemKind.file, true), "item-past-record"],
      [(data, _item, record) => data.setUint32(record + abi.Syscall.itemCount, 1000, true), "item-past-record"],
      [(data, _item, record) => data.setUint32(record + abi.Syscall.itemCount, 0, true), "record-not-filled"],
      [(data, _item, record) => data.setUint32(record + abi.Syscall.abi, 9, true), "unknown-value"],
    ];
    for (const [change, fault] of rows) {
      const rings = new TestRings(1);
      rings.writeSamples();
      const data = rings.data(0);
      let at = abi.initialPosition & dataMask;
      while (data.getUint16(at + abi.Header.kind, true) !== abi.Kind.syscall) at += data.getUint32(at + abi.Header.size, true);
      change(data, at + abi.Syscall.sizeOf, at);
      expect(faultOf(() => rings.rings.drain(() => {}))).toBe(fault);
    }
  });

  test("a ring that misses a number while another has not ended is waited for; once it ends, it is an error", async () => {
    const rings = new TestRings(2);
    const pid = rings.write({ ring: 0, count: 2 });
    while (rings.alive(pid)) await pause(2);
    const data = rings.data(0);
    const at = abi.initialPosition & dataMask;
    // As if another ring had taken numbers 0 and 1.
    for (const [i, sequence] of [2, 3].entries()) data.setUint32(at + i * 48 + abi.Header.sequence, sequence, true);
    const events: Event[] = [];
    rings.rings.drain(event => events.push(event));
    expect(events).toEqual([]);
    rings.write({ ring: 1, count: 0 });
    while (!rings.header(1)[1]) await pause(2);
    expect(faultOf(() => rings.rings.drain(() => {}))).toBe("sequence-gap");
  });

  test("a total that is not what was written", () => {
    const rings = new TestRings(1);
    expect(faultOf(() => rings.rings.checkTotal(1))).toBe("sequence-gap");
  });
});

function faultOf(read: () => void): RecordFault | undefined {
  try {
    read();
  } catch (error) {
    if (error instanceof RecordError) return error.fault;
    throw error;
  }
  return undefined;
}
