// What real clients sent (test/fixtures/hellos, written by capture.ts there): whom each of them talked to, by our reading, however their
// bytes are cut.

import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createRecogniser } from "../src/trace/protocols/first-bytes.ts";
import { createQuicCollector, type QuicState } from "../src/trace/protocols/quic.ts";
import type { FirstBytes } from "../src/trace/protocols/reader.ts";

const folder = join(import.meta.dir, "fixtures/hellos");
const name = "hello.example.test";
const tls = (serverName: string | undefined, alpn: string[] = [], ech = false): FirstBytes => ({
  kind: "tls",
  ...(serverName === undefined ? {} : { serverName }),
  ech,
  alpn,
  state: "whole",
});
const web = ["h2", "http/1.1"];

/** One reading after the other: behind a proxy's request comes the tunnel's. */
const streams: [file: string, ...readings: FirstBytes[]][] = [
  ["bun-1.4.5", tls("localhost", ["http/1.1"])],
  ["cargo-1.95.0", tls("localhost", web)],
  ["chrome131-as-curl_cffi-0.17.0", tls(name, web, true)],
  ["curl-7.88.1", tls(name, web)],
  ["curl-http-7.88.1", { kind: "http", proxied: false, host: name }],
  ["curl-http-address-7.88.1", { kind: "http", proxied: false }],
  ["curl-http2-7.88.1", { kind: "other", protocol: "http2" }],
  ["curl-proxy-http-7.88.1", { kind: "http", proxied: true, host: name, port: 8080 }],
  ["curl-proxy-https-7.88.1", { kind: "proxy-connect", host: name, port: 443, consumed: 173 }, tls(name, web)],
  ["curl-socks4a-7.88.1", { kind: "socks", version: 4, host: name, port: 443, consumed: 32 }, tls(name, web)],
  ["curl-socks5-7.88.1", { kind: "socks", version: 5, host: name, port: 443, consumed: 43 }, tls(name, web)],
  ["firefox147-as-curl_cffi-0.17.0", tls(name, web, true)],
  ["git-gnutls-2.39.5", tls(name, web)],
  ["go-1.26.8", tls(name, web)],
  ["java-17.0.15", tls(name)],
  ["node-20.20.2", tls(name)],
  ["openssl-3.0.19", tls(name)],
  ["openssl-alpn-3.0.19", tls(name, web)],
  ["openssl-noname-3.0.19", tls(undefined)],
  ["openssl-tls1.2-3.0.19", tls(name)],
  ["python-3.11.7", tls(name)],
  ["safari260-as-curl_cffi-0.17.0", tls(name, web)],
  ["uv-rustls-0.13.9", tls("localhost", web)],
  ["wget-gnutls-1.21.3", tls("localhost")],
];

const quic = (version: "v1" | "v2", ech = false): QuicState => ({
  kind: "quic",
  version,
  serverName: name,
  ech,
  alpn: ["h3"],
  state: "whole",
});
const datagrams: [file: string, state: QuicState][] = [
  ["quic-ngtcp2-as-curl_cffi-0.17.0", quic("v1", true)],
  ["quic-v1-aioquic-1.7.2", quic("v1")],
  ["quic-v1-quic-go-0.65.0", quic("v1")],
  ["quic-v2-aioquic-1.7.2", quic("v2")],
  ["quic-v2-quic-go-0.65.0", quic("v2")],
];

test("every capture has a row", () => {
  const rows = [...streams.map(([file]) => `${file}.stream`), ...datagrams.map(([file]) => `${file}.datagrams`)];
  expect(readdirSync(folder).sort()).toEqual([...rows, "capture.ts"].sort());
});

/** The readings of a stream that comes in these pieces. */
function readings(pieces: Uint8Array[]): FirstBytes[] {
  const found: FirstBytes[] = [];
  let recogniser = createRecogniser();
  let state: FirstBytes = { kind: "need-more", atLeast: 1 };
  for (const piece of pieces) {
    state = recogniser.push(piece);
    while (state.kind !== "need-more" && "consumed" in state) {
      found.push(state);
      const rest = recogniser.rest();
      recogniser = createRecogniser();
      state = recogniser.push(rest);
    }
  }
  return [...found, state];
}

describe("streams", () => {
  test.each(streams)("%s", (file, ...expected) => {
    const bytes = readFileSync(join(folder, `${file}.stream`));
    expect(readings([bytes])).toEqual(expected);
    expect(readings(Array.from(bytes, byte => Uint8Array.of(byte)))).toEqual(expected);
    for (let at = 1; at < bytes.length; at++) expect(readings([bytes.subarray(0, at), bytes.subarray(at)])).toEqual(expected);
  });
});

describe("datagrams", () => {
  test.each(datagrams)("%s", (file, expected) => {
    const parts = readDatagrams(join(folder, `${file}.datagrams`));
    for (const order of [parts, parts.toReversed()]) {
      const collector = createQuicCollector();
      const states = order.map(datagram => collector.push(datagram));
      expect(states.pop()).toEqual(expected);
      expect(states.every(state => state.kind === "need-more")).toBe(true);
    }
    // One send of a segmented burst (UDP_SEGMENT) holds them one behind the other.
    expect(createQuicCollector().push(Buffer.concat(parts))).toEqual(expected);
  });
});

function readDatagrams(file: string): Uint8Array[] {
  const bytes = readFileSync(file);
  const parts: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + 2 + bytes.readUInt16BE(at);
    parts.push(bytes.subarray(at + 2, end));
    at = end;
  }
  return parts;
}
