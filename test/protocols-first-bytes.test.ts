// What the first bytes of a stream say: built hellos, each bent in one place, requests to servers and to proxies. Every row is also
// given byte by byte: how a client cuts its writes must not matter.

import { describe, expect, test } from "bun:test";
import { createRecogniser, firstBytesLimit } from "../src/trace/protocols/first-bytes.ts";
import type { FirstBytes } from "../src/trace/protocols/reader.ts";
import { alpn, bigEndian, bytesOf, clientHello, extension, records, serverName, sized } from "./protocols-bytes.ts";

type Row = [what: string, bytes: Uint8Array | string, expected: FirstBytes];

const asBytes = (input: Uint8Array | string) => (typeof input === "string" ? Buffer.from(input, "latin1") : input);

/** One decision however it is cut: at once, in two at every place (of short inputs), byte by byte. */
function recognise(bytes: Uint8Array): FirstBytes {
  const whole = createRecogniser().push(bytes);
  const single = createRecogniser();
  let last: FirstBytes = single.push(new Uint8Array());
  for (const byte of bytes) last = single.push(Uint8Array.of(byte));
  if (whole.kind === "need-more") expect(last.kind).toBe("need-more");
  else expect(last).toEqual(whole);
  for (let at = 1; at < Math.min(bytes.length, bytes.length > 4000 ? 40 : 600); at++) {
    const recogniser = createRecogniser();
    recogniser.push(bytes.subarray(0, at));
    expect(recogniser.push(bytes.subarray(at))).toEqual(whole);
  }
  return whole;
}

function table(title: string, rows: Row[]): void {
  describe(title, () => {
    test.each(rows)("%s", (_what, input, expected) => {
      expect(recognise(asBytes(input))).toEqual(expected);
    });
  });
}

type Tls = Extract<FirstBytes, { kind: "tls" }>;
const tls = (more: Partial<Tls> = {}): Tls => ({
  kind: "tls",
  ech: false,
  alpn: [],
  state: "whole",
  ...more,
});
const named = tls({ serverName: "a.example.test" });
const malformed = tls({ state: "malformed" });
const hello = clientHello([serverName("a.example.test")]);
const grease = extension(0x0a0a);
/** X25519MLKEM768: 1216 bytes of key share, beside a classic one. */
const postQuantum = extension(
  51,
  sized(2, bigEndian(2, 0x11ec), sized(2, new Uint8Array(1216)), bigEndian(2, 29), sized(2, new Uint8Array(32))),
);
const ech = extension(0xfe0d, 0, new Uint8Array(200));

table("hello", [
  ["in one record", records(hello), named],
  ["in records of one byte", records(hello, 1), named],
  ["header of the message in a record of its own", records(hello, 4, 100), named],
  ["with empty records between", records(hello, 3, 0, 1, 0, 50), named],
  ["with the start of another message behind", records(bytesOf(hello, 99)), named],
  ["without extensions", records(clientHello(undefined)), tls()],
  ["with no extension in the block", records(clientHello([])), tls()],
  ["without a session id", records(clientHello([serverName("a.example.test")], new Uint8Array())), named],
  [
    "name last, behind a post-quantum share",
    records(clientHello([grease, postQuantum, grease, serverName("a.example.test")])),
    named,
  ],
  ["post-quantum in records of 500", records(clientHello([postQuantum, serverName("a.example.test")]), 500), named],
  ["protocols", records(clientHello([alpn("h2", "http/1.1", "a\\b\xff")])), tls({ alpn: ["h2", "http/1.1", "a\\\\b\\xFF"] })],
  [
    "more protocols than anyone offers",
    records(clientHello([alpn(...Array.from({ length: 40 }, () => "x"))])),
    tls({ alpn: Array.from({ length: 16 }, () => "x") }),
  ],
  [
    "encrypted hello",
    records(clientHello([ech, serverName("a.example.test")])),
    tls({ serverName: "a.example.test", ech: true }),
  ],
  [
    "encrypted hello before its RFC",
    records(clientHello([extension(0xffce, 1), serverName("a.example.test")])),
    tls({ serverName: "a.example.test", ech: true }),
  ],
  ["record version of SSL 3", bytesOf(22, 3, 0, records(hello).subarray(3)), named],
  ["record version of nobody", bytesOf(22, 3, 99, records(hello).subarray(3)), named],
]);

const withName = (...names: (string | [number, string])[]) => records(clientHello([serverName(...names)]));
const long = `${"a".repeat(63)}.`.repeat(4);
table("server_name", [
  ["upper case", withName("A.Example.TEST"), named],
  ["dot at the end", withName("a.example.test."), named],
  ["one label", withName("localhost"), tls({ serverName: "localhost" })],
  ["underscore and hyphens", withName("_a--b-.example.test"), tls({ serverName: "_a--b-.example.test" })],
  ["a number first", withName("1.example.test"), tls({ serverName: "1.example.test" })],
  ["several: the first", withName("a.example.test", "b.example.test"), named],
  ["another type first", withName([7, "xyz"], "a.example.test"), named],
  ["only another type", withName([7, "a.example.test"]), tls()],
  ["empty list", withName(), tls()],
  ["empty name", withName(""), tls()],
  ["a dot", withName("."), tls()],
  ["empty label", withName("a..example.test"), tls()],
  ["IPv4 address", withName("192.0.2.1"), tls()],
  ["IPv4 address as one number", withName("3221225985"), tls()],
  ["IPv4 address in hexadecimal", withName("0xC0000201"), tls()],
  ["IPv6 address", withName("2001:db8::1"), tls()],
  ["IPv6 address in brackets", withName("[2001:db8::1]"), tls()],
  [
    "253 bytes",
    withName(`${long.slice(0, 192)}${"b".repeat(61)}`),
    tls({ serverName: `${long.slice(0, 192)}${"b".repeat(61)}` }),
  ],
  ["254 bytes", withName(`${long.slice(0, 192)}${"b".repeat(62)}`), tls()],
  ["label of 64", withName("a".repeat(64)), tls()],
  ["space", withName("a b.test"), tls()],
  ["NUL behind", withName("a.example.test\0"), tls()],
  ["escape sequence", withName("\x1b[31m.test"), tls()],
  ["UTF-8", withName("b\xc3\xbccher.test"), tls()],
  ["slash", withName("a/b.test"), tls()],
  ["colon and port", withName("a.example.test:443"), tls()],
]);

const bent = (change: (bytes: Uint8Array) => void) => {
  const copy = Uint8Array.from(hello);
  change(copy);
  return records(copy);
};
// Offsets in `hello`: 4 header, 34 version and random, 33 session, 4 suites, 2 compression, then the block's length at 77.
table("malformed hello: nothing in it is believed", [
  ["block of extensions ends early", bent(bytes => bytes.set([0, 5], 77)), malformed],
  ["block of extensions is longer than the hello", bent(bytes => bytes.set([1, 0], 77)), malformed],
  ["extension longer than the block", bent(bytes => bytes.set([0, 60], 81)), malformed],
  ["list of names longer than its extension", bent(bytes => bytes.set([0, 60], 83)), malformed],
  ["name longer than its list", bent(bytes => bytes.set([0, 60], 86)), malformed],
  ["bytes behind the list of names", records(clientHello([extension(0, sized(2, 0, sized(2, "a.example.test")), 0)])), malformed],
  ["bytes behind the list of protocols", records(clientHello([extension(16, sized(2, sized(1, "h2")), 0)])), malformed],
  ["session id of 33", records(clientHello([serverName("a.example.test")], new Uint8Array(33))), malformed],
  ["too short for its fields", records(bytesOf(1, sized(3, new Uint8Array(20)))), malformed],
  ["empty", records(bytesOf(1, sized(3))), malformed],
  ["two lists of names", records(clientHello([serverName("a.example.test"), serverName("b.example.test")])), malformed],
  ["two lists of protocols", records(clientHello([alpn("h2"), alpn("h3")])), malformed],
  ["empty protocol", records(clientHello([alpn("")])), malformed],
  ["bytes behind the extensions", records(bytesOf(1, sized(3, hello.subarray(4), 0))), malformed],
  ["GREASE twice is fine", records(clientHello([grease, grease])), tls()],
]);

table("no hello", [
  ["another handshake message", records(bytesOf(2, sized(3, "xx"))), { kind: "other" }],
  ["a record of data", bytesOf(23, 3, 3, sized(2, "xx")), { kind: "other" }],
  ["an alert in the middle", bytesOf(records(hello.subarray(0, 20)), 21, 3, 3, sized(2, 1, 0)), { kind: "other" }],
  ["a record that is too long", bytesOf(22, 3, 1, 0x40, 1), { kind: "other" }],
  ["major version 2", bytesOf(22, 2, 0), { kind: "other" }],
  ["in the clothes of SSL 2", bytesOf(0x80, 46, 1, 3, 1, new Uint8Array(43)), { kind: "other", protocol: "sslv2" }],
  ["too short for SSL 2", bytesOf(0x80, 8, 1, 3, 1), { kind: "other" }],
  ["top bit set, not SSL 2", bytesOf(0x80, 46, 2), { kind: "other" }],
]);

table("HTTP", [
  ["Host", "GET / HTTP/1.1\r\nAccept: */*\r\nHost: a.example.test\r\n", { kind: "http", proxied: false, host: "a.example.test" }],
  [
    "before the rest of the head",
    "GET / HTTP/1.1\r\nHost: a.example.test\r\nX",
    { kind: "http", proxied: false, host: "a.example.test" },
  ],
  [
    "hOsT, tabs, port, upper case, dot",
    "POST /x HTTP/1.0\r\nhOsT:\t A.example.TEST.:8080 \t\r\n",
    { kind: "http", proxied: false, host: "a.example.test" },
  ],
  ["lone line feeds", "GET / HTTP/1.1\nHost: a.example.test\n", { kind: "http", proxied: false, host: "a.example.test" }],
  [
    "two Hosts: the first",
    "GET / HTTP/1.1\r\nHost: a.example.test\r\nHost: b.example.test\r\n\r\n",
    { kind: "http", proxied: false, host: "a.example.test" },
  ],
  ["no Host", "GET / HTTP/1.0\r\nAccept: */*\r\n\r\n", { kind: "http", proxied: false }],
  ["Host in the body", "GET / HTTP/1.1\r\n\r\nHost: a.example.test\r\n", { kind: "http", proxied: false }],
  ["space before the colon", "GET / HTTP/1.1\r\nHost : a.example.test\r\n\r\n", { kind: "http", proxied: false }],
  ["another field that ends so", "GET / HTTP/1.1\r\nX-Host: a.example.test\r\n\r\n", { kind: "http", proxied: false }],
  ["empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", { kind: "http", proxied: false }],
  ["an address", "GET / HTTP/1.1\r\nHost: 192.0.2.1:80\r\n", { kind: "http", proxied: false }],
  ["an address of IPv6", "GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n", { kind: "http", proxied: false }],
  ["a Host that is none", "GET / HTTP/1.1\r\nHost: <a>\r\n", { kind: "http", proxied: false }],
  ["a port that is none", "GET / HTTP/1.1\r\nHost: a.example.test:99999\r\n", { kind: "http", proxied: false }],
  ["asked of a proxy", "GET http://a.example.test/x HTTP/1.1\r\n", { kind: "http", proxied: true, host: "a.example.test" }],
  [
    "asked of a proxy, against the Host",
    "GET HTTP://a.example.test:81?x HTTP/1.1\r\nHost: b.example.test\r\n",
    { kind: "http", proxied: true, host: "a.example.test", port: 81 },
  ],
  [
    "asked of a proxy, with a password",
    "GET http://me:secret@a.example.test/ HTTP/1.1\r\n",
    { kind: "http", proxied: true, host: "a.example.test" },
  ],
  [
    "asked of a proxy, for an address",
    "GET http://[2001:DB8::1]:81/ HTTP/1.1\r\n",
    { kind: "http", proxied: true, host: "2001:db8::1", port: 81 },
  ],
  ["asked of a proxy, for nobody", "GET http:/// HTTP/1.1\r\n", { kind: "http", proxied: true }],
  ["HTTP/2 at once", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", { kind: "other", protocol: "http2" }],
  ["HTTP/0.9", "GET /\r\n", { kind: "other" }],
  ["SSH", "SSH-2.0-x\r\n", { kind: "other", protocol: "ssh" }],
  ["SMTP", "EHLO a.example.test\r\n", { kind: "other" }],
  ["lower case", "get / HTTP/1.1\r\nHost: a.example.test\r\n", { kind: "other" }],
  ["a control byte in the request line", "GET /\0 HTTP/1.1\r\n", { kind: "other" }],
  ["a method that does not end", "A".repeat(25), { kind: "other" }],
  ["a space, and already it is clear", " ", { kind: "other" }],
  ["a CR in the request line, and already it is clear", "GET /\ra", { kind: "other" }],
  ["space first", " GET / HTTP/1.1\r\n", { kind: "other" }],
  ["a request line so far", "GET /aaa", { kind: "need-more", atLeast: 9 }],
]);

table("proxies", [
  [
    "CONNECT",
    "CONNECT a.example.test:443 HTTP/1.1\r\nHost: a.example.test:443\r\n\r\n",
    { kind: "proxy-connect", host: "a.example.test", port: 443, consumed: 65 },
  ],
  [
    "CONNECT to an address",
    "CONNECT [2001:db8::1]:443 HTTP/1.1\r\n\r\n",
    { kind: "proxy-connect", host: "2001:db8::1", port: 443, consumed: 38 },
  ],
  ["CONNECT to nobody", "CONNECT <>:443 HTTP/1.1\r\n\r\n", { kind: "proxy-connect", consumed: 27 }],
  ["CONNECT, head not over", "CONNECT a.example.test:443 HTTP/1.1\r\nHost: x\r\n", { kind: "need-more", atLeast: 47 }],
  [
    "SOCKS 4",
    bytesOf(4, 1, 1, 187, 192, 0, 2, 1, "me\0"),
    { kind: "socks", version: 4, host: "192.0.2.1", port: 443, consumed: 11 },
  ],
  [
    "SOCKS 4a",
    bytesOf(4, 1, 1, 187, 0, 0, 0, 9, "me\0a.example.test\0"),
    { kind: "socks", version: 4, host: "a.example.test", port: 443, consumed: 26 },
  ],
  [
    "SOCKS 4, no address",
    bytesOf(4, 1, 1, 187, 0, 0, 0, 0, 0),
    { kind: "socks", version: 4, host: "0.0.0.0", port: 443, consumed: 9 },
  ],
  [
    "SOCKS 4a, a name that is none",
    bytesOf(4, 1, 1, 187, 0, 0, 0, 9, "\0a b\0"),
    { kind: "socks", version: 4, port: 443, consumed: 13 },
  ],
  ["SOCKS 4, to be called", bytesOf(4, 2, 1, 187, 192, 0, 2, 1, 0), { kind: "other" }],
  ["SOCKS 4, a user that does not end", bytesOf(4, 1, 1, 187, 192, 0, 2, 1, "a".repeat(256)), { kind: "other" }],
  [
    "SOCKS 5, a name",
    bytesOf(5, 1, 0, 5, 1, 0, 3, sized(1, "a.example.test"), 1, 187),
    { kind: "socks", version: 5, host: "a.example.test", port: 443, consumed: 24 },
  ],
  [
    "SOCKS 5, with a password",
    bytesOf(5, 2, 0, 2, 1, sized(1, "me"), sized(1, "secret"), 5, 1, 0, 3, sized(1, "a.example.test"), 1, 187),
    { kind: "socks", version: 5, host: "a.example.test", port: 443, consumed: 36 },
  ],
  [
    "SOCKS 5, IPv4",
    bytesOf(5, 1, 0, 5, 1, 0, 1, 192, 0, 2, 1, 1, 187),
    { kind: "socks", version: 5, host: "192.0.2.1", port: 443, consumed: 13 },
  ],
  [
    "SOCKS 5, IPv6",
    bytesOf(5, 1, 0, 5, 1, 0, 4, 0x20, 1, 0xd, 0xb8, new Uint8Array(11), 1, 1, 187),
    { kind: "socks", version: 5, host: "2001:db8::1", port: 443, consumed: 25 },
  ],
  ["SOCKS 5, greeting only", bytesOf(5, 1, 0), { kind: "need-more", atLeast: 4 }],
  ["SOCKS 5, no methods", bytesOf(5, 0), { kind: "other" }],
  ["SOCKS 5, UDP", bytesOf(5, 1, 0, 5, 3, 0, 1, 0, 0, 0, 0, 0, 0), { kind: "other" }],
  ["SOCKS 5, a kind of address of nobody", bytesOf(5, 1, 0, 5, 1, 0, 2), { kind: "other" }],
]);

test("behind a proxy's request a fresh recogniser goes on, whether the client waited or not", () => {
  const request = asBytes("CONNECT a.example.test:443 HTTP/1.1\r\n\r\n");
  const stream = bytesOf(request, records(clientHello([serverName("inner.example.test")])));
  for (const cut of [10, request.length, request.length + 1, stream.length - 1, stream.length]) {
    const outer = createRecogniser();
    outer.push(stream.subarray(0, cut));
    const found = outer.push(stream.subarray(cut));
    expect(found).toMatchObject({ kind: "proxy-connect", host: "a.example.test" });
    expect(createRecogniser().push(outer.rest())).toEqual(tls({ serverName: "inner.example.test" }));
  }
});

describe("limit", () => {
  const padding = extension(21, new Uint8Array(20000));
  const truncated = tls({ serverName: "a.example.test", state: "truncated" });
  test("a hello that is longer is read as far as it goes", () => {
    expect(recognise(records(clientHello([serverName("a.example.test"), padding]), 16000))).toEqual(truncated);
    expect(recognise(records(clientHello([padding, serverName("a.example.test")]), 16000))).toEqual(tls({ state: "truncated" }));
  });
  test("a hello that fits to the byte is whole", () => {
    const bare = records(clientHello([extension(21), serverName("a.example.test")])).length;
    const filled = records(clientHello([extension(21, new Uint8Array(firstBytesLimit - bare)), serverName("a.example.test")]));
    expect(filled.length).toBe(firstBytesLimit);
    expect(recognise(filled)).toEqual(named);
  });
  const endless: Row[] = [
    ["a request line", `GET /${"a".repeat(20000)}`, { kind: "other" }],
    ["a head without Host", `GET / HTTP/1.1\r\n${"A: b\r\n".repeat(4000)}`, { kind: "http", proxied: false }],
    ["a CONNECT whose head does not end", `CONNECT a:1 HTTP/1.1\r\n${"A: b\r\n".repeat(4000)}`, { kind: "other" }],
    ["empty records", bytesOf(...Array.from({ length: 4000 }, () => bytesOf(22, 3, 1, 0, 0))), { kind: "other" }],
  ];
  test.each(endless)("%s that goes on and on", (_what, input, expected) => {
    expect(recognise(asBytes(input))).toEqual(expected);
  });
  test("a stream that ends is judged by what there is", () => {
    const cut = createRecogniser();
    cut.push(records(clientHello([serverName("a.example.test"), padding]), 16000).subarray(0, 300));
    expect(cut.finish()).toEqual(truncated);
    expect(cut.push(records(hello))).toEqual(truncated);
    expect(createRecogniser().finish()).toEqual({ kind: "other" });
    const request = createRecogniser();
    request.push(asBytes("GET / HTTP/1.1\r\nAcc"));
    expect(request.finish()).toEqual({ kind: "http", proxied: false });
  });
});

test("no caller's memory is kept: it is written again", () => {
  const recogniser = createRecogniser();
  const bytes = Uint8Array.from(records(hello));
  const part = bytes.slice(0, 60);
  recogniser.push(part);
  part.fill(0);
  expect(recogniser.push(bytes.subarray(60))).toEqual(named);
});

test("below atLeast nothing is decided", () => {
  const stream = records(hello, 7, 1, 30);
  const states = Array.from(stream, (_, index) => createRecogniser().push(stream.subarray(0, index + 1)));
  for (const [index, state] of states.entries()) {
    if (state.kind !== "need-more") continue;
    expect(state.atLeast).toBeGreaterThan(index + 1);
    for (const later of states.slice(index + 1, state.atLeast - 1)) expect(later.kind).toBe("need-more");
  }
});
