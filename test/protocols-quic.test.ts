// QUIC's Initial packets: the examples of RFC 9001 (appendix A) and RFC 9369 (appendix A), and hellos in pieces, out of order, over
// packets, datagrams and connections.

import { describe, expect, test } from "bun:test";
import { createQuicCollector, type QuicState } from "../src/trace/protocols/quic.ts";
import { clientInitialKeys, type QuicVersion, quicVersions } from "../src/trace/protocols/quic-keys.ts";
import {
  alpn,
  bigEndian,
  bytesOf,
  clientHello,
  cryptoFrame,
  extension,
  initialPacket,
  serverName,
  sized,
  variable,
} from "./protocols-bytes.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const destinationId = Buffer.from("8394c8f03e515708", "hex");

function versionOf(number: number): QuicVersion {
  const version = quicVersions.get(number);
  if (version === undefined) throw new Error("no such version");
  return version;
}

describe("keys", () => {
  test.each([
    ["RFC 9001, A.1", 1, "1f369613dd76d5467730efcbe3b1a22d", "fa044b2f42a3fd3b46fb255c", "9f50449e04a0e810283a1e9933adedd2"],
    [
      "RFC 9369, A.1",
      0x6b3343cf,
      "8b1a0bc121284290a29e0971b5cd045d",
      "91f73e2351d8fa91660e909f",
      "45b95e15235d6f45a6b19cbcb0294ba9",
    ],
    // Not in the RFC, which later drafts became; the values of draft-ietf-quic-tls-29, A.1.
    [
      "draft-29, A.1",
      0xff00001d,
      "175257a31eb09dea9366d8bb79ad80ba",
      "6b26114b9cba2b63a9e8dd4f",
      "9ddd12c994c0698b89374a9c077a3077",
    ],
  ])("%s", (_where, version, key, iv, headerProtection) => {
    const keys = clientInitialKeys(versionOf(version), destinationId);
    expect([hex(keys.key), hex(keys.iv), hex(keys.headerProtection)]).toEqual([key, iv, headerProtection]);
  });
});

/** The CRYPTO frame of RFC 9001, A.2. */
const exampleFrame = Buffer.from(
  "060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e86804fe3a47f06a2b69484c00000413011302010000c000000010000e00000b6578" +
    "616d706c652e636f6dff01000100000a00080006001d0017001800100007000504616c706e000500050100000000003300260024001d00209370b2c9caa47fba" +
    "baf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b0003020304000d0010000e0403050306030203080408050806002d00020101001c0002400100" +
    "3900320408ffffffffffffffff05048000ffff07048000ffff0801100104800075300901100f088394c8f03e51570806048000ffff",
  "hex",
);

// The RFCs' packet begins and ends so, and its end is the tag over all of it.
test.each([
  [
    "RFC 9001, A.2",
    1,
    "v1",
    "c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11",
    "e221af44860018ab0856972e194cd934",
  ],
  [
    "RFC 9369, A.2",
    0x6b3343cf,
    "v2",
    "d76b3343cf088394c8f03e5157080000449ea0c95e82ffe67b6abcdb4298b485",
    "a18b2faa745b6fe189cf772a9f84cbfc",
  ],
] satisfies [string, number, QuicVersion["name"], string, string][])("%s", (_where, version, versionName, start, end) => {
  const packet = initialPacket({ version, destinationId, number: 2, frames: exampleFrame, payload: 1162 });
  expect(packet.length).toBe(1200);
  expect(hex(packet).startsWith(start)).toBe(true);
  expect(hex(packet).endsWith(end)).toBe(true);
  const state = createQuicCollector().push(packet);
  expect(state).toEqual({
    kind: "quic",
    version: versionName,
    serverName: "example.com",
    ech: false,
    alpn: ["alpn"],
    state: "whole",
  });
});

const message = clientHello([alpn("h3"), extension(51, new Uint8Array(1216)), serverName("a.example.test")]);
const named: QuicState = { kind: "quic", version: "v1", serverName: "a.example.test", ech: false, alpn: ["h3"], state: "whole" };
const piece = (from: number, to: number) => cryptoFrame(from, message.subarray(from, to));
const packet = (frames: Uint8Array, more: object = {}) => initialPacket({ destinationId, frames, ...more });
const ack = (type: number, ...after: number[]) => bytesOf(type, variable(9), variable(300), 1, 0, 0, 0, ...after);

describe("hello in pieces", () => {
  test.each<[string, Uint8Array[]]>([
    ["two packets", [packet(piece(0, 700)), packet(piece(700, 2000), { number: 1 })]],
    ["the last piece first", [packet(piece(700, 2000)), packet(piece(0, 700), { number: 1 })]],
    ["two packets in one datagram", [bytesOf(packet(piece(0, 700)), packet(piece(700, 2000), { number: 1 }))]],
    [
      "shuffled frames between PING and PADDING",
      [packet(bytesOf(piece(900, 2000), 1, 0, 0, piece(0, 3), 1, piece(400, 900), 0, piece(3, 400)))],
    ],
    [
      "overlapping, and twice",
      [packet(bytesOf(piece(0, 800), piece(0, 800), piece(500, 1000))), packet(piece(990, 2000), { number: 1 })],
    ],
    ["behind an ACK", [packet(piece(0, 700)), packet(bytesOf(ack(2), piece(700, 2000)), { number: 1 })]],
    ["behind an ACK with counts", [packet(piece(0, 700)), packet(bytesOf(ack(3, 1, 2, 3), piece(700, 2000)), { number: 1 })]],
    ["with a token", [packet(piece(0, 2000), { token: new Uint8Array(70) })]],
    [
      "packet numbers of one byte",
      [packet(piece(0, 700), { numberLength: 1 }), packet(piece(700, 2000), { number: 1, numberLength: 1 })],
    ],
    [
      "packet numbers over 256, in one byte",
      [packet(piece(0, 700), { number: 250, numberLength: 2 }), packet(piece(700, 2000), { number: 257, numberLength: 1 })],
    ],
    [
      "packet numbers in one byte, the earlier one later",
      [packet(piece(0, 700), { number: 256, numberLength: 2 }), packet(piece(700, 2000), { number: 255, numberLength: 1 })],
    ],
    [
      "sent again, changed: what came first stays",
      [packet(bytesOf(piece(0, 700), cryptoFrame(0, new Uint8Array(700)), piece(700, 2000)))],
    ],
    [
      "an id that the server chose, with the keys of the first",
      [packet(piece(0, 700)), packet(piece(700, 2000), { destinationId: Buffer.from("abcd"), keysOf: destinationId, number: 1 })],
    ],
    [
      "behind a 0-RTT packet",
      [
        bytesOf(
          0xd0,
          bigEndian(4, 1),
          sized(1, destinationId),
          sized(1),
          variable(30),
          new Uint8Array(30),
          packet(piece(0, 2000)),
        ),
      ],
    ],
    ["and zeros behind the packet", [bytesOf(packet(piece(0, 2000)), new Uint8Array(100))]],
    [
      "after a Retry: from the start, with a new id",
      [
        packet(piece(0, 700)),
        packet(piece(0, 2000), { destinationId: Buffer.from("retry-id"), token: new Uint8Array(9), number: 1 }),
      ],
    ],
    [
      "a packet that was changed on the way is as lost",
      [packet(piece(0, 700)).fill(1, 200, 201), packet(piece(0, 2000), { number: 1 })],
    ],
  ])("%s", (_what, datagrams) => {
    const collector = createQuicCollector();
    expect(datagrams.map(datagram => collector.push(datagram)).at(-1)).toEqual(named);
  });
});

test("two connections of one socket to one peer, mixed", () => {
  const other = Buffer.from("another!");
  const second = clientHello([serverName("b.example.test"), extension(51, new Uint8Array(1216))]);
  const collector = createQuicCollector();
  expect(collector.push(packet(piece(0, 700)))).toEqual({ kind: "need-more" });
  expect(collector.push(initialPacket({ destinationId: other, frames: cryptoFrame(0, second.subarray(0, 500)) }))).toEqual({
    kind: "need-more",
  });
  expect(collector.push(packet(piece(700, 2000), { number: 1 }))).toEqual(named);
  expect(
    collector.push(initialPacket({ destinationId: other, number: 1, frames: cryptoFrame(500, second.subarray(500)) })),
  ).toMatchObject({ kind: "quic", serverName: "b.example.test" });
  // A later packet of the first one, and then one that nobody can read.
  expect(collector.push(packet(bytesOf(1), { number: 2 }))).toEqual(named);
  expect(collector.push(bytesOf(0x40, new Uint8Array(50)))).toMatchObject({ kind: "quic", serverName: "b.example.test" });
});

const truncated = { kind: "quic", serverName: "a.example.test", state: "truncated" };
describe("limits", () => {
  test("a hello over 16 KiB is read as far as it goes", () => {
    const long = clientHello([serverName("a.example.test"), extension(21, new Uint8Array(20000))]);
    const collector = createQuicCollector();
    const states = Array.from({ length: 20 }, (_, index) =>
      collector.push(packet(cryptoFrame(index * 1000, long.subarray(index * 1000, index * 1000 + 1000)), { number: index })),
    );
    expect(states.at(15)).toEqual({ kind: "need-more" });
    expect(states.at(16)).toMatchObject(truncated);
    expect(states.at(19)).toMatchObject(truncated);
  });
  test("a client that never comes to the point", () => {
    const collector = createQuicCollector();
    const early = clientHello([serverName("a.example.test"), extension(21, new Uint8Array(2000))]).subarray(0, 200);
    const states = Array.from({ length: 64 }, (_, number) => collector.push(packet(cryptoFrame(0, early), { number })));
    expect(states.at(62)).toEqual({ kind: "need-more" });
    expect(states.at(63)).toMatchObject(truncated);
  });
  test("what there is when nothing more comes", () => {
    const collector = createQuicCollector();
    collector.push(packet(piece(0, 200)));
    expect(collector.finish()).toEqual({ kind: "quic", version: "v1", ech: false, alpn: ["h3"], state: "truncated" });
    expect(createQuicCollector().finish()).toEqual({ kind: "other" });
  });
  test("packets of one datagram", () => {
    const many = Array.from({ length: 31 }, (_, number) => packet(bytesOf(1), { number }));
    expect(createQuicCollector().push(bytesOf(...many, packet(piece(0, 2000))))).toEqual(named);
    expect(createQuicCollector().push(bytesOf(...many, many[0] ?? "", packet(piece(0, 2000))))).toEqual({ kind: "need-more" });
  });
  test("the oldest of five connections gives way", () => {
    const collector = createQuicCollector();
    const start = (index: number) =>
      collector.push(initialPacket({ destinationId: bytesOf("number", index), frames: piece(0, 700) }));
    for (let index = 0; index < 5; index++) expect(start(index)).toEqual({ kind: "need-more" });
    const end = (index: number) =>
      collector.push(initialPacket({ destinationId: bytesOf("number", index), number: 1, frames: piece(700, 2000) }));
    expect(end(0)).toEqual({ kind: "need-more" });
    expect(end(4)).toEqual(named);
  });
});

describe("no hello", () => {
  const wrongKeys = packet(piece(0, 700), { keysOf: Buffer.from("somebody") });
  test.each<[string, Uint8Array, QuicState]>([
    ["nothing", new Uint8Array(), { kind: "other" }],
    ["a DNS query", bytesOf(0, 1, 1, 0, 0, 1, new Uint8Array(20)), { kind: "other" }],
    ["DTLS", bytesOf(22, 0xfe, 0xfd, new Uint8Array(50)), { kind: "other" }],
    ["a short header", bytesOf(0x40, new Uint8Array(50)), { kind: "other" }],
    ["top bit set, fixed bit not", bytesOf(0x80, bigEndian(4, 7), new Uint8Array(50)), { kind: "other" }],
    [
      "a version that we do not know",
      bytesOf(0xc0, bigEndian(4, 0x1a2a3a4a), sized(1, destinationId), sized(1), new Uint8Array(50)),
      { kind: "other", version: 0x1a2a3a4a },
    ],
    [
      "a server's list of versions",
      bytesOf(0xc0, bigEndian(4, 0), sized(1, destinationId), sized(1), bigEndian(4, 1)),
      { kind: "other" },
    ],
    ["a Retry", bytesOf(0xf0, bigEndian(4, 1), sized(1, destinationId), sized(1), new Uint8Array(40)), { kind: "other" }],
    [
      "a Retry of version 2",
      bytesOf(0xc0, bigEndian(4, 0x6b3343cf), sized(1, destinationId), sized(1), new Uint8Array(40)),
      { kind: "other" },
    ],
    ["an id of 21 bytes", initialPacket({ destinationId: new Uint8Array(21), frames: piece(0, 700) }), { kind: "other" }],
    ["a length over the end", packet(piece(0, 700)).subarray(0, 500), { kind: "other" }],
    ["keys of somebody else", wrongKeys, { kind: "other" }],
    [
      "no room for a sample",
      bytesOf(0xc0, bigEndian(4, 1), sized(1, destinationId), sized(1), 0, variable(10), new Uint8Array(10)),
      { kind: "other" },
    ],
    [
      "another handshake message",
      packet(cryptoFrame(0, bytesOf(2, sized(3, "xx")))),
      { kind: "quic", version: "v1", ech: false, alpn: [], state: "malformed" },
    ],
    ["a frame that may not be there", packet(bytesOf(0x1f, piece(0, 2000))), { kind: "need-more" }],
    ["a frame that breaks off", packet(piece(0, 700).subarray(0, 100)), { kind: "need-more" }],
    [
      "an offset beyond everything",
      packet(bytesOf(6, 0xff, new Uint8Array(7).fill(0xff), variable(3000), new Uint8Array(3000))),
      { kind: "need-more" },
    ],
    ["an ACK of more ranges than there are", packet(bytesOf(2, 0, 0, 0xbf, 0xff, 0xff, 0xff, 0, 0, 0)), { kind: "need-more" }],
  ])("%s", (_what, datagram, expected) => {
    expect(createQuicCollector().push(datagram)).toEqual(expected);
  });
});
