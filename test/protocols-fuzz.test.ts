// Real hellos and built messages, changed at random: every reader has an answer for any bytes, and the same one however they are cut.
// A run prints its seed; CILOCK_FUZZ_SEED repeats it and CILOCK_FUZZ_ROUNDS makes it longer.

import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { readDnsMessage } from "../src/trace/protocols/dns.ts";
import { createDnsStream } from "../src/trace/protocols/dns-stream.ts";
import { createRecogniser } from "../src/trace/protocols/first-bytes.ts";
import { createProxiedRequests } from "../src/trace/protocols/proxied-requests.ts";
import { createQuicCollector } from "../src/trace/protocols/quic.ts";
import type { FirstBytes } from "../src/trace/protocols/reader.ts";
import {
  bytesOf,
  clientHello,
  cryptoFrame,
  dnsMessage,
  dnsName,
  dnsQuestion,
  dnsRecord,
  initialPacket,
  records,
  serverName,
  sized,
} from "./protocols-bytes.ts";
import { randomOf, rounds, seed } from "./seeded.ts";

console.log(`protocols: CILOCK_FUZZ_SEED=${seed}`);

const randomFrom = (start: number): ((below: number) => number) => randomOf(start).below;

type Random = ReturnType<typeof randomFrom>;

/** A few changes of the kinds that parsers trip over: bits, lengths, pieces gone, twice or foreign. */
function mutate(bytes: Uint8Array, random: Random): Uint8Array {
  let result = Uint8Array.from(bytes);
  for (let count = random(4); count >= 0; count--) {
    const at = random(result.length + 1);
    const length = random(random(8) === 0 ? 300 : 8);
    switch (random(6)) {
      case 0:
        if (at < result.length) result[at] = (result[at] ?? 0) ^ (1 << random(8));
        break;
      case 1:
        if (at < result.length) result[at] = [0, 1, 0x7f, 0x80, 0xc0, 0xff][random(6)] ?? 0;
        break;
      case 2:
        result = result.slice(0, at);
        break;
      case 3:
        result = Uint8Array.from(bytesOf(result.subarray(0, at), result.subarray(at + length)));
        break;
      case 4:
        result = Uint8Array.from(bytesOf(result.subarray(0, at), result.subarray(Math.max(0, at - length))));
        break;
      default:
        result = Uint8Array.from(
          bytesOf(
            result.subarray(0, at),
            Uint8Array.from({ length }, () => random(256)),
            result.subarray(at),
          ),
        );
    }
  }
  return result;
}

/** Up to five pieces, empty ones too. */
function cut(bytes: Uint8Array, random: Random): Uint8Array[] {
  const places = [0, ...Array.from({ length: random(5) }, () => random(bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return places.slice(1).map((place, index) => bytes.subarray(places[index] ?? 0, place));
}

const nameText = /^[a-z0-9_.-]{1,253}$/;
const hostText = /^[a-z0-9_.:-]{1,253}$/;

function checkReading(state: FirstBytes): void {
  switch (state.kind) {
    case "need-more":
      expect(state.atLeast).toBeGreaterThan(0);
      break;
    case "tls":
      if (state.serverName !== undefined) expect(state.serverName).toMatch(nameText);
      for (const protocol of state.alpn) expect(protocol).toMatch(/^[ -~]+$/);
      break;
    case "http":
    case "proxy-connect":
    case "socks":
      if (state.host !== undefined) expect(state.host).toMatch(hostText);
      break;
    case "other":
  }
}

const folder = join(import.meta.dir, "fixtures/hellos");
const captured = (ending: string) =>
  readdirSync(folder)
    .filter(file => file.endsWith(ending))
    .map(file => Uint8Array.from(readFileSync(join(folder, file))));

/** Each corpus entry for `rounds` rounds, with a seed of its own, so that one can be repeated alone. */
function fuzz(corpus: Uint8Array[], check: (bytes: Uint8Array, random: Random) => void): void {
  for (const [index, entry] of corpus.entries()) {
    const random = randomFrom(seed + index);
    for (let round = 0; round < rounds; round++) {
      const bytes = mutate(entry, random);
      try {
        check(bytes, random);
      } catch (error) {
        throw new Error(`seed ${seed}, entry ${index}, round ${round}: ${Buffer.from(bytes).toString("hex")}`, { cause: error });
      }
    }
  }
}

describe("any bytes have an answer", () => {
  test("first bytes of a stream", () => {
    const built = [
      records(clientHello([serverName("a.example.test")]), 1, 0, 3, 40),
      Buffer.from("CONNECT a.example.test:443 HTTP/1.1\r\nA: b\r\n\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n"),
    ];
    fuzz([...captured(".stream"), ...built], (bytes, random) => {
      const whole = createRecogniser();
      const expected = whole.push(bytes);
      checkReading(expected);
      const pieces = createRecogniser();
      let state: FirstBytes = { kind: "need-more", atLeast: 1 };
      for (const piece of cut(bytes, random)) state = pieces.push(piece);
      // How many bytes are still missing is a bound, which may be told sooner or later.
      if (expected.kind === "need-more") expect(state.kind).toBe("need-more");
      else expect(state).toEqual(expected);
      expect(pieces.rest()).toEqual(whole.rest());
      expect(pieces.finish()).toEqual(whole.finish());
      checkReading(pieces.finish());
    });
  });

  test("requests to a proxy", () => {
    const built = [
      Buffer.from(
        "GET http://a.example.test/x HTTP/1.1\r\nHost: a\r\n\r\nPOST http://b.example.test:81/ HTTP/1.1\r\nContent-Length: 4\r\n\r\nGET ",
      ),
      Buffer.from("CONNECT a.example.test:443 HTTP/1.1\n\nGET http://[::1]/ HTTP/1.0\n\n"),
    ];
    fuzz([...captured(".stream"), ...built], (bytes, random) => {
      const requests = createProxiedRequests();
      for (const piece of cut(bytes, random)) {
        for (const { host } of requests.push(piece)) if (host !== undefined) expect(host).toMatch(/^[a-z0-9._:-]{1,253}$/);
      }
    });
  });

  test("QUIC, outside and inside the protection", () => {
    const destinationId = Buffer.from("8394c8f03e515708", "hex");
    const frames = bytesOf(2, 0, 0, 0, 0, 1, cryptoFrame(0, clientHello([serverName("a.example.test")])));
    fuzz([...captured(".datagrams").map(bytes => bytes.subarray(2)), frames], (bytes, random) => {
      for (const datagram of [bytes, initialPacket({ destinationId, frames: bytes.subarray(0, 2000) })]) {
        const collector = createQuicCollector();
        for (const piece of cut(datagram, random)) collector.push(piece);
        const state = createQuicCollector().push(datagram);
        if (state.kind === "quic" && state.serverName !== undefined) expect(state.serverName).toMatch(nameText);
      }
    });
  });

  test("DNS", () => {
    const name = dnsName("a.example.test");
    const pointer = bytesOf(0xc0, 12);
    const messages = [
      dnsMessage({ questions: [dnsQuestion(name), dnsQuestion(pointer, 28)] }),
      dnsMessage({
        flags: 0x8180,
        questions: [dnsQuestion(name)],
        answers: [dnsRecord(pointer, 5, bytesOf(sized(1, "x"), pointer)), dnsRecord(bytesOf(0xc0, 44), 1, Buffer.alloc(4))],
      }),
    ];
    fuzz(messages, bytes => {
      const message = readDnsMessage(bytes);
      for (const question of message?.questions ?? []) expect(question.name).toMatch(/^[!-~]{1,1016}$/);
      for (const { address } of message?.addresses ?? []) expect(address).toMatch(/^[0-9a-f.:]{2,39}$/);
    });
    fuzz([bytesOf(...messages.map(message => sized(2, message)))], (bytes, random) => {
      const pieces = createDnsStream();
      const found = cut(bytes, random).flatMap(piece => pieces.push(piece));
      expect(found).toEqual(createDnsStream().push(bytes));
    });
  });

  test("noise", () => {
    const random = randomFrom(seed);
    for (let round = 0; round < rounds; round++) {
      const bytes = Uint8Array.from({ length: random(200) }, () => random(256));
      for (const first of [0x16, 4, 5, 0x47, 0x80, 0xc0]) {
        bytes[0] = first;
        checkReading(createRecogniser().push(bytes));
        createQuicCollector().push(bytes);
        readDnsMessage(bytes);
      }
    }
  });
});
