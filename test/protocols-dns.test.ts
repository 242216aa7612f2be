// DNS messages: what is asked, which addresses an answer gives a name, and every way in which a message may lie.

import { describe, expect, test } from "bun:test";
import { type DnsMessage, readDnsMessage } from "../src/trace/protocols/dns.ts";
import { createDnsStream } from "../src/trace/protocols/dns-stream.ts";
import { bigEndian, bytesOf, type DnsParts, dnsMessage, dnsName, dnsQuestion, dnsRecord, sized } from "./protocols-bytes.ts";

const name = dnsName("a.example.test");
const asked = (text: string, type = "A") => ({ name: text, type });
/** To a name at this offset: the question's is at 12. */
const pointer = (to: number) => bigEndian(2, 0xc000 + to);
const edns = bytesOf(0, bigEndian(2, 41), bigEndian(2, 1232), bigEndian(4, 0), sized(2));
const v4 = bytesOf(192, 0, 2, 1);
const v6 = bytesOf(0x20, 1, 0xd, 0xb8, new Uint8Array(11), 1);

function read(parts: DnsParts): Partial<DnsMessage> | undefined {
  return readDnsMessage(dnsMessage(parts));
}

describe("questions", () => {
  test.each<[string, DnsParts, DnsMessage["questions"]]>([
    ["A", { questions: [dnsQuestion(name)] }, [asked("a.example.test")]],
    ["with EDNS", { questions: [dnsQuestion(name, 28)], additional: [edns] }, [asked("a.example.test", "AAAA")]],
    [
      "upper case, as some resolvers mix it in",
      { questions: [dnsQuestion(dnsName("A.eXaMpLe.TEST"))] },
      [asked("a.example.test")],
    ],
    ["the root", { questions: [dnsQuestion(dnsName(""), 2)] }, [asked(".", "NS")]],
    [
      "types by name",
      { questions: [5, 6, 12, 15, 16, 33, 65, 255, 257].map(type => dnsQuestion(name, type)) },
      ["CNAME", "SOA", "PTR", "MX", "TXT", "SRV", "HTTPS", "ANY", "CAA"].map(type => asked("a.example.test", type)),
    ],
    ["a type without a name", { questions: [dnsQuestion(name, 65280)] }, [asked("a.example.test", "TYPE65280")]],
    [
      "two, the second by pointer",
      { questions: [dnsQuestion(name), dnsQuestion(bytesOf(sized(1, "b"), pointer(14)), 28)] },
      [asked("a.example.test"), asked("b.example.test", "AAAA")],
    ],
    [
      "mDNS, answer wanted by unicast",
      { flags: 0, questions: [dnsQuestion(dnsName("printer.local"), 255, 0x8001)] },
      [asked("printer.local", "ANY")],
    ],
    [
      "a dot, a space and a backslash in a label",
      { questions: [dnsQuestion(bytesOf(sized(1, "a.b c\\d"), sized(1, "test"), 0))] },
      [asked("a\\x2Eb\\x20c\\\\d.test")],
    ],
    [
      "bytes that are no text",
      { questions: [dnsQuestion(bytesOf(sized(1, 0, 0x1b, 0x7f, 0xff), 0))] },
      [asked("\\x00\\x1B\\x7F\\xFF")],
    ],
    [
      "255 bytes of name",
      { questions: [dnsQuestion(bytesOf(...[63, 63, 63, 61].map(length => sized(1, "a".repeat(length))), 0))] },
      [asked([63, 63, 63, 61].map(length => "a".repeat(length)).join("."))],
    ],
  ])("%s", (_what, parts, questions) => {
    expect(read(parts)).toEqual({ id: 1, response: false, questions, addresses: [], partial: false });
  });
});

describe("questions that lie: what came before them stays", () => {
  test.each<[string, DnsParts, number]>([
    [
      "256 bytes of name",
      { questions: [dnsQuestion(bytesOf(...[63, 63, 63, 62].map(length => sized(1, "a".repeat(length))), 0))] },
      0,
    ],
    [
      "256 bytes of name by pointers",
      {
        questions: [
          dnsQuestion(bytesOf(...[63, 63, 63].map(length => sized(1, "a".repeat(length))), 0)),
          dnsQuestion(bytesOf(sized(1, "b".repeat(62)), pointer(12))),
        ],
      },
      1,
    ],
    ["a pointer to itself", { questions: [dnsQuestion(pointer(12))] }, 0],
    ["a pointer to its own label", { questions: [dnsQuestion(bytesOf(sized(1, "a"), pointer(12)))] }, 0],
    [
      "pointers at each other",
      { questions: [dnsQuestion(bytesOf(sized(1, "a"), pointer(20))), dnsQuestion(bytesOf(sized(1, "b"), pointer(12)))] },
      0,
    ],
    ["a pointer forward", { questions: [dnsQuestion(pointer(18)), dnsQuestion(name)] }, 0],
    ["a pointer into the header", { questions: [dnsQuestion(pointer(4))] }, 0],
    ["a kind of label that never came", { questions: [dnsQuestion(bytesOf(0x41, "a".repeat(65), 0))] }, 0],
    ["a name that does not end", { questions: [sized(1, "a.example")] }, 0],
    ["no type", { questions: [name] }, 0],
    ["more announced than there are", { questions: [dnsQuestion(name)], counts: [2, 0] }, 1],
    ["more than we read", { questions: Array.from({ length: 40 }, () => dnsQuestion(name)) }, 32],
  ])("%s", (_what, parts, count) => {
    const message = read(parts);
    expect(message?.questions?.length).toBe(count);
    expect(message?.partial).toBe(true);
  });
});

describe("no DNS", () => {
  test.each<[string, Uint8Array]>([
    ["nothing", new Uint8Array()],
    ["less than a header", dnsMessage({}).subarray(0, 11)],
    ["an update", dnsMessage({ flags: 0x2800, questions: [dnsQuestion(name)] })],
    ["the bit that must be zero", dnsMessage({ flags: 0x0140, questions: [dnsQuestion(name)] })],
    ["text", Buffer.from("GET / HTTP/1.1\r\n\r\n")],
  ])("%s", (_what, bytes) => {
    expect(readDnsMessage(bytes)).toBeUndefined();
  });
});

describe("answers", () => {
  const question = dnsQuestion(name);
  const answer = (...answers: Uint8Array[]): DnsParts => ({ flags: 0x8180, questions: [question], answers });
  const addresses = (...list: string[]) => list.map(address => ({ name: "a.example.test", address }));
  test.each<[string, DnsParts, DnsMessage["addresses"]]>([
    [
      "A and AAAA, by pointer",
      answer(dnsRecord(pointer(12), 1, v4), dnsRecord(pointer(12), 28, v6)),
      addresses("192.0.2.1", "2001:db8::1"),
    ],
    [
      "an alias: the name that was asked for",
      answer(dnsRecord(pointer(12), 5, dnsName("cdn.test")), dnsRecord(dnsName("cdn.test"), 1, v4)),
      addresses("192.0.2.1"),
    ],
    [
      "an alias of an alias, by pointer",
      answer(
        dnsRecord(pointer(12), 5, bytesOf(sized(1, "x"), pointer(14))),
        dnsRecord(dnsName("x.example.test"), 5, dnsName("cdn.test")),
        dnsRecord(dnsName("CDN.test"), 1, v4),
      ),
      addresses("192.0.2.1"),
    ],
    ["an alias of itself", answer(dnsRecord(pointer(12), 5, pointer(12)), dnsRecord(pointer(12), 1, v4)), addresses("192.0.2.1")],
    ["of somebody else: nobody asked", answer(dnsRecord(dnsName("b.test"), 1, v4)), []],
    ["another class", answer(dnsRecord(pointer(12), 1, v4, 3)), []],
    ["addresses of the wrong length", answer(dnsRecord(pointer(12), 1, v6), dnsRecord(pointer(12), 28, v4)), []],
    [
      "IPv4 mapped into IPv6",
      answer(dnsRecord(pointer(12), 28, bytesOf(new Uint8Array(10), 0xff, 0xff, v4))),
      addresses("192.0.2.1"),
    ],
    [
      "mDNS: no question, cache bit",
      { flags: 0x8400, answers: [dnsRecord(dnsName("printer.local"), 1, v4, 0x8001)] },
      [{ name: "printer.local", address: "192.0.2.1" }],
    ],
    [
      "other records between",
      answer(dnsRecord(pointer(12), 46, new Uint8Array(90)), dnsRecord(pointer(12), 1, v4)),
      addresses("192.0.2.1"),
    ],
  ])("%s", (_what, parts, expected) => {
    expect(read(parts)).toMatchObject({ response: true, addresses: expected, partial: false });
  });
  test.each<[string, DnsParts, number]>([
    ["more announced than there are", { ...answer(dnsRecord(pointer(12), 1, v4)), counts: [1, 2] }, 1],
    ["a record longer than the message", answer(dnsRecord(pointer(12), 1, v4), dnsRecord(pointer(12), 1, v4).subarray(0, 13)), 1],
    ["an owner that loops", answer(dnsRecord(pointer(12), 1, v4), dnsRecord(pointer(48), 1, v4)), 1],
    ["more than we read", answer(...Array.from({ length: 300 }, () => dnsRecord(pointer(12), 1, v4))), 256],
  ])("%s: what came before stays", (_what, parts, count) => {
    const message = read(parts);
    expect(message?.addresses?.length).toBe(count);
    expect(message?.partial).toBe(true);
  });
  test("an alias that leaves its record is not followed", () => {
    // The root as the next owner would end the name.
    const leaving = [dnsRecord(pointer(12), 5, sized(1, "cdn")), dnsRecord(dnsName(""), 1, v4)];
    expect(read(answer(...leaving, dnsRecord(dnsName("cdn"), 1, v4)))?.addresses).toEqual([]);
  });
  test("a name that was asked for keeps it, also as somebody's alias", () => {
    const answers = [dnsRecord(pointer(12), 5, dnsName("b.test")), dnsRecord(dnsName("b.test"), 1, v4)];
    const message = read({ flags: 0x8180, questions: [question, dnsQuestion(dnsName("b.test"))], answers });
    expect(message?.addresses).toEqual([{ name: "b.test", address: "192.0.2.1" }]);
  });
});

describe("over TCP", () => {
  const queries = [
    dnsMessage({ id: 1, questions: [dnsQuestion(name)] }),
    dnsMessage({ id: 2, questions: [dnsQuestion(name, 28)], additional: [edns] }),
  ];
  const stream = bytesOf(...queries.map(query => sized(2, query)));
  test("several messages, however they are cut", () => {
    const expected = queries.map(query => readDnsMessage(query));
    expect(expected).not.toContain(undefined);
    for (let at = 0; at <= stream.length; at++) {
      const reader = createDnsStream();
      const found = [...reader.push(stream.subarray(0, at)), ...reader.push(stream.subarray(at))];
      expect<unknown[]>(found).toEqual(expected);
    }
    const single = createDnsStream();
    expect<unknown[]>(Array.from(stream).flatMap(byte => single.push(Uint8Array.of(byte)))).toEqual(expected);
  });
  test("what is no message is passed over, and so is the end of a long one", () => {
    const long = dnsMessage({
      id: 3,
      questions: [dnsQuestion(name)],
      answers: Array.from({ length: 200 }, () => dnsRecord(name, 16, new Uint8Array(255))),
    });
    expect(long.length).toBeGreaterThan(50_000);
    const found = createDnsStream().push(bytesOf(sized(2), sized(2, "junk"), sized(2, long), stream));
    expect(found.map(message => [message.id, message.partial])).toEqual([
      [3, true],
      [1, false],
      [2, false],
    ]);
  });
});
