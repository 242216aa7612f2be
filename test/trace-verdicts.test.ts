// Observers on records that tests make: the network in the summary, and the verdict.
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gapTable } from "../src/trace/gaps.ts";
import { kinds, nth, scratchDirectory } from "./observed.ts";
import { bytesItem, Script } from "./trace-events.ts";

scratchDirectory();

describe("network", () => {
  const inet = Buffer.from([2, 0, 1, 187, 93, 184, 216, 34, 0, 0, 0, 0, 0, 0, 0, 0]);
  const inet6 = (text: string, port: number) =>
    Buffer.concat([Buffer.from([10, 0, port >> 8, port & 255, 0, 0, 0, 0]), Buffer.from(text, "hex"), Buffer.alloc(4)]);
  const rows: [name: string, bytes: Uint8Array, address: object][] = [
    ["IPv4", inet, { family: "AF_INET", address: "93.184.216.34", port: 443 }],
    ["IPv6", inet6("20010db8000000000000000000000001", 80), { family: "AF_INET6", address: "2001:db8::1", port: 80 }],
    ["IPv6, two runs", inet6("20010000000000010000000000000001", 80), { address: "2001:0:0:1::1" }],
    ["IPv6, one zero is not shortened", inet6("20010db8000100010000000100010001", 80), { address: "2001:db8:1:1:0:1:1:1" }],
    ["IPv6, nothing", inet6("00000000000000000000000000000000", 80), { address: "::" }],
    ["v4-mapped", inet6("00000000000000000000ffff7f000001", 53), { family: "AF_INET6", address: "127.0.0.1", port: 53 }],
    ["unix", Buffer.from("\x01\0/run/docker.sock\0junk"), { family: "AF_UNIX", address: "/run/docker.sock" }],
    ["unix, abstract", Buffer.from("\x01\0\0dbus"), { family: "AF_UNIX", address: "@dbus" }],
    ["netlink", Buffer.from([16, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0]), { family: "AF_NETLINK", address: "pid 1 groups 0x2" }],
    ["vsock", Buffer.from([40, 0, 0, 0, 1, 4, 0, 0, 2, 0, 0, 0]), { family: "AF_VSOCK", address: "cid 2", port: 1025 }],
    ["vsock, cut", Buffer.from([40, 0, 1]), { family: "AF_VSOCK", address: "raw:280001" }],
    ["packet", Buffer.from([17, 0, 0, 3, 2, 0, 0, 0, 0, 0]), { family: "AF_PACKET", address: "interface 2 protocol 0x3" }],
    [
      "the kernel's ciphers",
      Buffer.concat([Buffer.from("\x26\0hash"), Buffer.alloc(18), Buffer.from("sha256"), Buffer.alloc(58)]),
      { family: "AF_ALG", address: "hash sha256" },
    ],
    ["a family without a name", Buffer.from([29, 0, 1]), { family: "AF_29", address: "raw:1d0001" }],
    ["IPv4, cut", Buffer.from([2, 0, 1]), { family: "AF_INET", address: "raw:020001" }],
  ];
  for (const [name, bytes, address] of rows) {
    test(`connect to ${name}`, async () => {
      const script = new Script();
      script.process(1, 0);
      for (let i = 0; i < 3; i++) script.call(1, "connect", [4, 1, 2], [bytesItem(1, bytes)], -115);
      const { network } = nth(await script.finish(), 1);
      expect(network.connections).toMatchObject([{ syscall: "connect", fd: 4, result: "EINPROGRESS", ...address }]);
      expect(network.dnsLookups).toHaveLength(name === "v4-mapped" ? 1 : 0);
    });
  }

  test("socket, bind, listen, accept, sendto", async () => {
    const script = new Script();
    script.process(1, 0);
    script.call(1, "socket", [2, 0o2000001, 6], [], 4);
    script.call(1, "socket", [2, 1, 6], [], -24);
    script.call(1, "bind", [4, 1, 16], [bytesItem(1, inet)]);
    script.call(1, "listen", [4, 10]);
    script.call(1, "accept4", [4, 1, 2], [bytesItem(1, inet)], 5);
    script.call(1, "sendmsg", [6, 1], [bytesItem(1, Buffer.from([2, 0, 0, 53, 8, 8, 8, 8]))], 30);
    const { network } = nth(await script.finish(), 1);
    expect(network.sockets).toEqual([{ family: "AF_INET", type: "SOCK_STREAM", protocol: 6, fd: 4 }]);
    expect(network.connections.map(({ syscall, address, port }) => [syscall, address, port])).toEqual([
      ["bind", "93.184.216.34", 443],
      ["listen", "93.184.216.34", 443],
      ["accept", "93.184.216.34", 443],
      ["sendto", "8.8.8.8", 53],
    ]);
    expect(network.dnsLookups).toEqual([{ serverAddress: "8.8.8.8", serverPort: 53 }]);
  });
});

describe("completeness", () => {
  test("every kind of the tracer counts, with process and severity", async () => {
    const script = new Script();
    script.process(1, 0);
    script.send({ kind: "gap", ...script.header(1), gap: "io_uring_refused", value: 0n, text: "" });
    let observation = await script.finish({ features: [], survivorsKilled: 0, interrupted: "SIGTERM" });
    expect(observation.completeness).toMatchObject({
      verdict: "complete-with-notes",
      gaps: [
        { kind: "io-uring-refused", severity: "note", count: 1, processIds: [101] },
        { kind: "interrupted", severity: "note", detail: `${gapTable.interrupted.sentence}: SIGTERM` },
      ],
      tracer: { mode: "ptrace", kernel: "6.1.0", privileged: false, features: [], ignoredSyscalls: "00" },
    });

    const next = new Script();
    next.process(1, 0);
    for (let i = 0; i < 1000; i++)
      next.send({ kind: "gap", ...next.header(1), gap: "untraced_child", value: BigInt(i), text: "" });
    next.send({ kind: "gap", ...next.header(1), gap: "survivor_killed", value: 7n, text: "sleep" });
    observation = await next.finish({ features: [], survivorsKilled: 2 });
    expect(observation.completeness.verdict).toBe("incomplete");
    expect(observation.completeness.gaps).toMatchObject([
      { kind: "untraced-child", count: 1000 },
      { kind: "survivor-killed", count: 2 },
    ]);
    expect(observation.completeness.gaps[0]?.detail.length).toBeLessThan(300);
  });

  test("cut or unreadable arguments are never silent", async () => {
    const script = new Script();
    script.process(1, 0);
    script.send({ kind: "exit", ...script.header(1, { truncated: true, unreadable: true }), status: 0 });
    expect(kinds(await script.finish())).toEqual(["unreadable-memory", "truncated"]);
  });

  test("docs/completeness.md has a section for each kind, with its severity, in the table's order", () => {
    const page = readFileSync(join(import.meta.dir, "../docs/completeness.md"), "utf8");
    const sections = [...page.matchAll(/^### `([a-z0-9-]+)` \((gap|note)\)$/gm)].map(([, kind, severity]) => [kind, severity]);
    expect(sections).toEqual(Object.entries(gapTable).map(([kind, { severity }]) => [kind, severity]));
  });
});
