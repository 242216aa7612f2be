// Addresses and authorities as text.

import { expect, test } from "bun:test";
import { authority } from "../src/trace/protocols/host.ts";
import { ipv4Text, ipv6Text } from "../src/trace/protocols/ip.ts";

test("IPv4", () => {
  expect(ipv4Text(Uint8Array.of(192, 0, 2, 1))).toBe("192.0.2.1");
});

// RFC 5952, 4.
test.each([
  ["00000000000000000000000000000000", "::"],
  ["00000000000000000000000000000001", "::1"],
  ["20010db8000000000000000000000000", "2001:db8::"],
  ["20010db8000000010001000100010001", "2001:db8:0:1:1:1:1:1"],
  ["20010000000000010000000000000001", "2001:0:0:1::1"],
  ["20010db8000000000001000000000001", "2001:db8::1:0:0:1"],
  ["ABCD0db8000a000b000c000d000e000f", "abcd:db8:a:b:c:d:e:f"],
  ["00000000000000000000ffffc0000201", "192.0.2.1"],
  ["000000000000000000000000c0000201", "::c000:201"],
])("IPv6 %s is %s", (hex, text) => {
  expect(ipv6Text(Buffer.from(hex, "hex"))).toBe(text);
});

test.each([
  ["a.test", { host: "a.test", address: false }],
  ["A.test:", { host: "a.test", address: false }],
  ["a.test:65535", { host: "a.test", address: false, port: 65535 }],
  ["me:pass@word@a.test:1", { host: "a.test", address: false, port: 1 }],
  ["192.0.2.1:1", { host: "192.0.2.1", address: true, port: 1 }],
  ["[2001:DB8::1]", { host: "2001:db8::1", address: true }],
  ["2001:db8::1", undefined],
  ["[2001:db8::1", undefined],
  ["[fe80::1%eth0]", undefined],
  ["[a.test]", undefined],
  ["a.test:0", undefined],
  ["a.test:65536", undefined],
  ["a.test:+1", undefined],
  ["a.test:1:2", undefined],
  [`${"a".repeat(5000)}@a.test`, undefined],
  ["", undefined],
])("authority %s", (text, expected) => {
  expect<unknown>(authority(text)).toEqual(expected);
});
