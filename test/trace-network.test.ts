// The observer of sockets on made-up events: what a connection is called, what became of it, who answered, and what a record of
// 100,000 connections holds.
import { describe, expect, test } from "bun:test";
import type { SyscallItem } from "../src/native/events.ts";
import type { NetworkConnection, ProcessObservation, TraceObservation } from "../src/trace/observation.ts";
import { dnsQuery, dnsResponse, hello } from "./network-bytes.ts";
import { bytesItem, noFile, Script } from "./trace-events.ts";

const inet = (address: string, port: number) =>
  Buffer.from([2, 0, port >> 8, port & 255, ...address.split(".").map(Number), 0, 0, 0, 0, 0, 0, 0, 0]);
const unix = (path: string) => Buffer.from(`\x01\0${path}\0`);
const socketMode = 0o140777;
const socket = (inode: number, argument = 0): SyscallItem => ({
  kind: "descriptor",
  argument,
  file: { ...noFile, device: 8n, inode: BigInt(inode), mode: socketMode },
  link: `socket:[${inode}]`,
});
const data = (bytes: Uint8Array | string, cut = false): SyscallItem => ({
  kind: "bytes",
  argument: 7,
  bytes: Buffer.from(bytes),
  ...(cut ? { cut: true } : {}),
});
const [stream, datagram] = [1, 2];

function first(observation: TraceObservation, serial = 1): ProcessObservation["network"] {
  const process = observation.processes[serial - 1];
  if (!process) throw new Error(`no process ${serial}`);
  return process.network;
}
const connects = (observation: TraceObservation, serial = 1): NetworkConnection[] =>
  first(observation, serial).connections.filter(({ syscall }) => syscall === "connect");
const names = (observation: TraceObservation) =>
  connects(observation).map(({ hostname, hostnameSource }) => [hostname, hostnameSource]);

/** A run of one process with a socket. */
class Talk extends Script {
  constructor() {
    super();
    this.process(1, 0);
  }
  made(fd: number, inode: number, type = stream, process = 1): void {
    this.call(process, "socket", [2, type, 0], [socket(inode, 6)], fd);
  }
  connect(fd: number, inode: number, address: Uint8Array, result = 0, process = 1): void {
    this.call(process, "connect", [fd, 1, 16], [bytesItem(1, address), socket(inode)], result);
  }
  write(fd: number, inode: number, bytes: Uint8Array | string, process = 1): void {
    this.call(process, "write", [fd, 1, bytes.length], [socket(inode), data(bytes)], bytes.length);
  }
}

describe("what a connection is called", () => {
  const rows: [name: string, writes: (Uint8Array | string)[], hostname: string | undefined, source: string | undefined][] = [
    ["TLS", [hello("registry.example")], "registry.example", "sni"],
    ["TLS, byte by byte", [...hello("registry.example")].map(byte => Buffer.of(byte)), "registry.example", "sni"],
    ["TLS without a name", [hello(undefined)], undefined, undefined],
    ["HTTP", ["GET / HTTP/1.1\r\nHost: plain.example\r\n\r\n"], "plain.example", "http"],
    ["HTTP of an address", ["GET / HTTP/1.1\r\nHost: 192.0.2.7\r\n\r\n"], undefined, undefined],
    ["SSH", ["SSH-2.0-OpenSSH_9.2\r\n"], undefined, undefined],
    ["nothing", [], undefined, undefined],
  ];
  for (const [name, writes, hostname, source] of rows) {
    test(name, async () => {
      const talk = new Talk();
      talk.made(4, 77);
      talk.connect(4, 77, inet("192.0.2.7", 8443));
      for (const bytes of writes) talk.write(4, 77, bytes);
      expect(names(await talk.finish())).toEqual([[hostname, source]]);
    });
  }

  test("through a proxy: the proxy, and whom it was asked for", async () => {
    const talk = new Talk();
    talk.made(4, 77);
    talk.connect(4, 77, inet("192.0.2.7", 3128));
    talk.write(4, 77, "CONNECT registry.example:443 HTTP/1.1\r\nHost: registry.example:443\r\n\r\n");
    talk.write(4, 77, hello("registry.example"));
    const observation = await talk.finish();
    expect(connects(observation)).toMatchObject([
      { address: "192.0.2.7", port: 3128 },
      { address: "192.0.2.7", port: 3128, target: "registry.example:443", hostname: "registry.example", hostnameSource: "sni" },
    ]);
    expect(observation.network?.endpoints).toMatchObject([
      { address: "192.0.2.7", port: 3128, protocol: "tcp" },
      { host: "registry.example", address: "", port: 443, via: "192.0.2.7:3128" },
    ]);
  });

  describe("one connection to a proxy, used for several hosts", () => {
    const request = (host: string, more = "") => `GET http://${host}/file HTTP/1.1\r\nHost: ${host}\r\n${more}\r\n`;
    const rows: [name: string, writes: string[], targets: string[]][] = [
      ["one after the other", [request("a.example"), request("b.example:8080")], ["a.example", "b.example:8080"]],
      [
        "several in one write",
        [request("a.example") + request("b.example") + request("c.example")],
        ["a.example", "b.example", "c.example"],
      ],
      [
        "the same one again",
        [request("a.example"), request("a.example"), request("b.example"), request("a.example")],
        ["a.example 2", "b.example"],
      ],
      ["byte by byte", [...request("a.example"), ...request("b.example")], ["a.example", "b.example"]],
      [
        "with a body, whose text is no request",
        [`POST http://a.example/ HTTP/1.1\r\nContent-Length: 90\r\n\r\nx ${request("no.example")}`, request("b.example")],
        ["a.example", "b.example"],
      ],
      [
        "refused, and asked for a tunnel then",
        [request("a.example"), "CONNECT b.example:443 HTTP/1.1\r\n\r\n"],
        ["a.example", "b.example:443"],
      ],
      ["by address", [request("192.0.2.9"), request("[2001:db8::1]:81")], ["192.0.2.9", "[2001:db8::1]:81"]],
    ];
    for (const [name, writes, targets] of rows) {
      test(name, async () => {
        const talk = new Talk();
        talk.made(4, 77);
        talk.connect(4, 77, inet("192.0.2.7", 3128));
        for (const bytes of writes) talk.write(4, 77, bytes);
        const observation = await talk.finish();
        const found = connects(observation).map(({ target, count }) => (count === undefined ? target : `${target} ${count}`));
        expect(found).toEqual([undefined, ...targets]);
        expect(observation.completeness.verdict).toBe("complete");
      });
    }

    test("a name is not taken over from the host before", async () => {
      const talk = new Talk();
      talk.made(4, 77);
      talk.connect(4, 77, inet("192.0.2.7", 3128));
      talk.write(4, 77, request("a.example") + request("192.0.2.9"));
      expect(names(await talk.finish())).toEqual([
        [undefined, undefined],
        ["a.example", "http"],
        [undefined, undefined],
      ]);
    });

    test("beyond 64 KiB there is a note", async () => {
      const talk = new Talk();
      talk.made(4, 77);
      talk.connect(4, 77, inet("192.0.2.7", 3128));
      for (let i = 0; i < 70; i++) talk.write(4, 77, request(`h${i}.example`, `X: ${"x".repeat(1000)}\r\n`));
      const observation = await talk.finish();
      expect(connects(observation).length).toBeGreaterThan(50);
      expect(observation.completeness.gaps).toMatchObject([{ kind: "names-unwatched", count: 1 }]);
    });
  });

  test("a number that was closed and used again is another socket", async () => {
    const talk = new Talk();
    talk.made(4, 77);
    talk.connect(4, 77, inet("192.0.2.7", 443));
    talk.made(4, 78);
    talk.connect(4, 78, inet("192.0.2.8", 443));
    talk.write(4, 78, hello("second.example"));
    const found = connects(await talk.finish());
    expect(found.map(({ address, hostname }) => [address, hostname])).toEqual([
      ["192.0.2.7", undefined],
      ["192.0.2.8", "second.example"],
    ]);
  });

  test("the same number and place by another protocol is another connection", async () => {
    const talk = new Talk();
    talk.made(4, 77, datagram);
    talk.connect(4, 77, inet("192.0.2.53", 53));
    talk.made(4, 78);
    talk.connect(4, 78, inet("192.0.2.53", 53));
    talk.write(4, 78, dnsQuery(1, "registry.example", 1));
    const { network } = await talk.finish();
    expect(network?.endpoints.map(({ protocol }) => protocol)).toEqual(["tcp"]);
  });

  test("a dup, in a child, says hello", async () => {
    const talk = new Talk();
    talk.made(4, 77);
    talk.connect(4, 77, inet("192.0.2.7", 443));
    talk.process(2, 1);
    talk.write(9, 77, hello("child.example"), 2);
    expect(names(await talk.finish())).toEqual([["child.example", "sni"]]);
  });

  test("a second connect of the same socket, and a second host at the same address", async () => {
    const talk = new Talk();
    for (const [inode, host] of [
      [77, "a.example"],
      [78, "b.example"],
      [79, "a.example"],
    ] as const) {
      talk.made(4, inode);
      talk.connect(4, inode, inet("192.0.2.7", 443), -115);
      talk.write(4, inode, hello(host));
    }
    expect(connects(await talk.finish())).toMatchObject([
      { hostname: "a.example", count: 2, result: 0 },
      { hostname: "b.example", result: 0 },
    ]);
  });

  test("bytes behind a hole are not read as if they followed", async () => {
    const talk = new Talk();
    talk.made(4, 77);
    talk.connect(4, 77, inet("192.0.2.7", 443));
    const bytes = hello("wrong.example");
    talk.call(1, "write", [4, 1, 9999], [socket(77), data(bytes.subarray(0, 40), true)], 9999);
    talk.write(4, 77, bytes.subarray(40));
    expect(names(await talk.finish())).toEqual([[undefined, undefined]]);
  });

  test("only what was sent counts: the rest of a short write comes again", async () => {
    const talk = new Talk();
    talk.made(4, 77);
    talk.connect(4, 77, inet("192.0.2.7", 443));
    const bytes = hello("short.example");
    talk.call(1, "write", [4, 1, bytes.length], [socket(77), data(bytes)], 10);
    talk.call(1, "write", [4, 1, bytes.length], [socket(77), data(bytes.subarray(10))], -11);
    talk.write(4, 77, bytes.subarray(10));
    expect(names(await talk.finish())).toEqual([["short.example", "sni"]]);
  });

  test("after sendfile nothing is known", async () => {
    const talk = new Talk();
    talk.made(4, 77);
    talk.connect(4, 77, inet("192.0.2.7", 443));
    talk.call(1, "sendfile", [4, 5, 0, 100], [socket(77)], 100);
    talk.write(4, 77, hello("late.example"));
    expect(names(await talk.finish())).toEqual([[undefined, undefined]]);
  });

  test("TCP fast open: the first bytes come with the address", async () => {
    const talk = new Talk();
    talk.made(4, 77);
    const bytes = hello("fast.example");
    const items = [bytesItem(1, bytes), bytesItem(4, inet("192.0.2.7", 443)), socket(77)];
    talk.call(1, "sendto", [4, 1, bytes.length, 0x20000000, 5, 16], items, bytes.length);
    const { connections } = first(await talk.finish());
    expect(connections.map(({ syscall, hostname }) => [syscall, hostname])).toEqual([["sendto", "fast.example"]]);
  });
});

describe("name servers", () => {
  const query = dnsQuery(1, "registry.example", 1);
  const answer = dnsResponse(1, "registry.example", "192.0.2.9");

  test("questions to an unconnected server, and the answer names a later connection", async () => {
    const talk = new Talk();
    talk.made(4, 77, datagram);
    talk.call(
      1,
      "sendto",
      [4, 1, query.length, 0, 5, 16],
      [bytesItem(4, inet("192.0.2.53", 53)), bytesItem(1, query), socket(77)],
      query.length,
    );
    talk.call(1, "recvfrom", [4, 1, 1500], [socket(77), data(answer)], answer.length);
    talk.process(2, 1);
    talk.made(4, 78, stream, 2);
    talk.connect(4, 78, inet("192.0.2.9", 22), 0, 2);
    const observation = await talk.finish();
    expect(first(observation).dnsLookups).toEqual([
      { serverAddress: "192.0.2.53", serverPort: 53, names: ["registry.example"], queries: ["registry.example A"] },
    ]);
    expect(connects(observation, 2)).toMatchObject([{ hostname: "registry.example", hostnameSource: "dns" }]);
  });

  test("connected, two questions in one sendmmsg", async () => {
    const talk = new Talk();
    talk.made(4, 77, datagram);
    talk.connect(4, 77, inet("192.0.2.53", 53));
    talk.call(1, "sendmmsg", [4, 1, 2], [data(query), data(dnsQuery(2, "registry.example", 28)), socket(77)], 2);
    const { dnsLookups } = first(await talk.finish());
    expect(dnsLookups).toMatchObject([{ names: ["registry.example"], queries: ["registry.example A", "registry.example AAAA"] }]);
  });

  test("over TCP, the length alone first", async () => {
    const talk = new Talk();
    talk.made(4, 77);
    talk.connect(4, 77, inet("192.0.2.53", 53));
    talk.write(4, 77, Buffer.of(0, query.length));
    talk.write(4, 77, query);
    expect(first(await talk.finish()).dnsLookups).toMatchObject([{ names: ["registry.example"] }]);
  });

  test("an address with two names has none", async () => {
    const talk = new Talk();
    talk.made(4, 77, datagram);
    talk.connect(4, 77, inet("192.0.2.53", 53));
    for (const name of ["a.example", "b.example"]) {
      const bytes = dnsResponse(1, name, "192.0.2.9");
      talk.call(1, "recvfrom", [4, 1, 1500], [socket(77), data(bytes)], bytes.length);
    }
    talk.made(5, 78);
    talk.connect(5, 78, inet("192.0.2.9", 443));
    expect(connects(await talk.finish()).at(-1)?.hostname).toBeUndefined();
  });
});

describe("what became of it", () => {
  const rows: [name: string, errno: number | undefined, result: 0 | string][] = [
    ["nobody asked", undefined, "EINPROGRESS"],
    ["connected", 0, 0],
    ["refused", 111, "ECONNREFUSED"],
  ];
  for (const [name, errno, result] of rows) {
    test(name, async () => {
      const talk = new Talk();
      talk.made(4, 77);
      talk.connect(4, 77, inet("192.0.2.7", 443), -115);
      if (errno !== undefined) talk.call(1, "getsockopt", [4, 1, 4, 1, 1], [socket(77), bytesItem(3, Buffer.of(errno, 0, 0, 0))]);
      expect(connects(await talk.finish())).toMatchObject([{ result }]);
    });
  }
});

describe("how many bytes went through", () => {
  const withCookie = (cookie: bigint): SyscallItem => ({ kind: "socket", argument: 0, domain: 2, type: stream, cookie });
  const ended = (talk: Talk, cookie: bigint, sent: bigint, received: bigint) =>
    talk.send({ kind: "traffic", ...talk.header(0), cookie, sent, received });
  const connectWith = (talk: Talk, inode: number, cookie: bigint) =>
    talk.call(1, "connect", [4, 1, 16], [bytesItem(1, inet("192.0.2.7", 443)), socket(inode), withCookie(cookie)]);

  test("of several to one place together, before and after their names are known; of others nothing", async () => {
    const talk = new Talk();
    for (const [inode, cookie] of [
      [77, 1n],
      [78, 2n],
      [79, 3n],
    ] as const) {
      connectWith(talk, inode, cookie);
      if (cookie === 2n) ended(talk, cookie, 10n, 20n);
      talk.write(4, inode, hello("a.example"));
    }
    ended(talk, 1n, 100n, 200n);
    ended(talk, 1n, 5n, 5n);
    ended(talk, 9n, 7n, 7n);
    const { endpoints } = (await talk.finish()).network ?? {};
    expect(endpoints).toMatchObject([{ count: 3, bytes: { sent: 110, received: 220 } }]);
  });

  test("through a proxy they are the proxy's", async () => {
    const talk = new Talk();
    connectWith(talk, 77, 1n);
    talk.write(4, 77, "CONNECT a.example:443 HTTP/1.1\r\n\r\n");
    ended(talk, 1n, 100n, 200n);
    const { endpoints } = (await talk.finish()).network ?? {};
    expect(endpoints?.map(({ via, bytes }) => [via, bytes])).toEqual([
      [undefined, { sent: 100, received: 200 }],
      ["192.0.2.7:443", undefined],
    ]);
  });
});

describe("bounded", () => {
  test("100,000 connections to one place are one entry", async () => {
    const talk = new Talk();
    for (let i = 0; i < 100_000; i++) talk.connect(4, 1000 + i, inet("192.0.2.7", 443), -115);
    const observation = await talk.finish();
    expect(connects(observation)).toMatchObject([{ count: 100_000 }]);
    expect(observation.network?.endpoints).toMatchObject([{ count: 100_000 }]);
    expect(observation.completeness.verdict).toBe("complete");
  }, 30_000);

  test("100,000 connections to as many places are 10,000 entries and a sum, and a gap says so", async () => {
    const talk = new Talk();
    for (let i = 0; i < 100_000; i++) talk.connect(4, 1000 + i, inet(`192.${i >> 16}.${(i >> 8) & 255}.${i & 255}`, 443), -111);
    const observation = await talk.finish();
    expect(connects(observation)).toHaveLength(10_000);
    expect(first(observation).summed).toEqual([{ syscall: "connect", family: "AF_INET", result: "ECONNREFUSED", count: 90_000 }]);
    expect(observation.network).toMatchObject({ unlisted: 9_000, hermetic: false });
    expect(observation.completeness.gaps).toMatchObject([{ kind: "limit", count: 90_000 }]);
  }, 30_000);
});

describe("hermetic", () => {
  const rows: [name: string, act: (talk: Talk) => void, hermetic: boolean][] = [
    ["nothing", () => {}, true],
    ["a connection", talk => talk.connect(4, 77, inet("192.0.2.7", 443)), false],
    ["a connection that was refused far away", talk => talk.connect(4, 77, inet("192.0.2.7", 443), -111), false],
    ["no route", talk => talk.connect(4, 77, inet("192.0.2.7", 443), -101), true],
    ["a datagram", talk => talk.call(1, "sendto", [4], [bytesItem(4, inet("192.0.2.7", 9)), socket(77)], 3), false],
    ["a raw socket", talk => talk.call(1, "socket", [2, 3, 1], [], 4), false],
    ["a packet socket", talk => talk.call(1, "socket", [17, 3, 1], [], 4), false],
    ["netlink", talk => talk.call(1, "socket", [16, 3, 0], [], 4), true],
    ["a client from elsewhere", talk => talk.call(1, "accept", [4], [bytesItem(1, inet("192.0.2.7", 9)), socket(77)], 5), false],
    [
      "waiting on all addresses for nobody",
      talk => {
        talk.call(1, "bind", [4], [bytesItem(1, inet("0.0.0.0", 80)), socket(77)]);
        talk.call(1, "listen", [4], [socket(77)]);
      },
      false,
    ],
    [
      "waiting on loopback",
      talk => {
        talk.made(4, 77);
        talk.call(1, "bind", [4], [bytesItem(1, inet("127.0.0.1", 80)), socket(77)]);
        talk.call(1, "listen", [4], [socket(77)]);
        talk.connect(5, 78, inet("127.0.0.1", 80));
      },
      true,
    ],
    [
      "waiting on all addresses, by TCP, for ourselves",
      talk => {
        talk.made(4, 77);
        talk.call(1, "bind", [4], [bytesItem(1, inet("0.0.0.0", 80)), socket(77)]);
        talk.call(1, "listen", [4], [socket(77)]);
        talk.connect(5, 78, inet("127.0.0.1", 80));
      },
      true,
    ],
    ["somebody else's daemon", talk => talk.connect(4, 77, unix("/run/docker.sock")), false],
  ];
  for (const [name, act, hermetic] of rows) {
    test(name, async () => {
      const talk = new Talk();
      act(talk);
      expect((await talk.finish()).network?.hermetic).toBe(hermetic);
    });
  }
});

describe("delegation", () => {
  const facts = (peerPid: number | undefined, holder?: bigint): SyscallItem => ({
    kind: "socket",
    argument: 0,
    domain: 1,
    type: stream,
    ...(peerPid === undefined ? {} : { peerPid }),
    ...(holder === undefined ? {} : { holder }),
  });
  const rows: [name: string, address: Uint8Array, item: SyscallItem | undefined, detail: string | undefined][] = [
    [
      "this test, by its credentials",
      unix("/run/docker.sock"),
      facts(process.pid),
      `docker at unix:/run/docker.sock (${process.execPath}, process ${process.pid})`,
    ],
    ["a peer of another pid namespace", unix("/run/docker.sock"), facts(0), "docker at unix:/run/docker.sock"],
    ["a process of the build", unix("/run/docker.sock"), facts(102), undefined],
    ["a receiver of datagrams", unix("/dev/log"), facts(undefined), "system log at unix:/dev/log"],
    ["one of the build's own", unix("/tmp/own"), facts(undefined), undefined],
    ["a port that somebody else holds", inet("127.0.0.1", 4226), facts(undefined, 999_999_999n), "sccache at 127.0.0.1:4226"],
    ["a port that the build holds", inet("127.0.0.1", 4226), facts(undefined, 500n), undefined],
    ["elsewhere", inet("192.0.2.7", 443), facts(undefined), undefined],
  ];
  for (const [name, address, item, detail] of rows) {
    test(name, async () => {
      const talk = new Talk();
      talk.process(2, 1);
      talk.call(2, "bind", [3], [bytesItem(1, unix("/tmp/own")), socket(499)]);
      talk.call(2, "bind", [3], [bytesItem(1, inet("127.0.0.1", 5000)), socket(500)]);
      talk.call(1, "connect", [4], [bytesItem(1, address), socket(77), ...(item ? [item] : [])]);
      const { completeness } = await talk.finish();
      expect(completeness.gaps.map(gap => [gap.kind, gap.detail.split(": ").slice(1).join(": ")])).toEqual(
        detail === undefined ? [] : [["delegated", detail]],
      );
    });
  }

  test("the peer's program is digested", async () => {
    const talk = new Talk();
    talk.call(1, "connect", [4], [bytesItem(1, unix("/run/x")), socket(77), facts(process.pid)]);
    const peer = connects(await talk.finish())[0]?.peer;
    expect(peer).toMatchObject({ pid: process.pid, program: process.execPath });
    expect(peer?.digest?.sha256).toBe(
      new Bun.CryptoHasher("sha256").update(await Bun.file(process.execPath).bytes()).digest("hex"),
    );
  });
});

describe("clients at a port of the build", () => {
  const [server, client] = [inet("127.0.0.1", 8080), inet("127.0.0.1", 40_000)];
  const ends = (argument: number, own: Uint8Array, peer: Uint8Array, holder?: bigint): SyscallItem[] => [
    { kind: "socket", argument, domain: 2, type: stream, ...(holder === undefined ? {} : { holder }) },
    bytesItem(9, peer),
    bytesItem(10, own),
  ];
  const connects = (talk: Talk, inode = 78) => {
    talk.made(5, inode);
    talk.call(1, "connect", [5, 1, 16], [bytesItem(1, server), socket(inode), ...ends(0, client, server, 77n)]);
  };
  const accepts = (talk: Talk, holder: bigint, items = ends(6, server, client, holder)) =>
    talk.call(1, "accept", [4], [socket(77), bytesItem(1, client), ...items], 6);
  const rows: [name: string, act: (talk: Talk) => void, outside: number, hermetic: boolean][] = [
    ["whose socket is the build's", talk => [talk.made(5, 78), accepts(talk, 78n)], 0, true],
    ["whose socket is not", talk => accepts(talk, 99n), 1, false],
    ["that has closed, and was seen to connect", talk => [connects(talk), accepts(talk, 0n)], 0, true],
    ["that has closed, whose connect is told later", talk => [accepts(talk, 0n), connects(talk)], 0, true],
    ["that has closed, and was not seen to connect", talk => accepts(talk, 0n), 1, false],
    ["two, of which one was seen to connect", talk => [accepts(talk, 0n), connects(talk), accepts(talk, 0n)], 1, false],
    ["the same port again, by somebody else", talk => [connects(talk), accepts(talk, 78n), accepts(talk, 0n)], 1, false],
    [
      "the same port again, by somebody else, where the accept came first",
      talk => [talk.made(5, 78), accepts(talk, 78n), connects(talk), accepts(talk, 0n)],
      1,
      false,
    ],
    [
      "on another address of this machine",
      talk => accepts(talk, 99n, ends(6, inet("192.0.2.7", 8080), inet("192.0.2.7", 40_000), 99n)),
      1,
      false,
    ],
    ["of another machine", talk => accepts(talk, 0n, ends(6, inet("192.0.2.7", 8080), inet("192.0.2.8", 40_000))), 0, false],
    ["of whom the kernel could not be asked", talk => accepts(talk, 0n, []), 0, false],
  ];
  for (const [name, act, outside, hermetic] of rows) {
    test(name, async () => {
      const talk = new Talk();
      talk.call(1, "bind", [4], [bytesItem(1, server), socket(77)]);
      act(talk);
      const { completeness, network } = await talk.finish();
      expect(completeness.gaps.find(({ kind }) => kind === "delegated")?.count ?? 0).toBe(outside);
      expect(network?.hermetic).toBe(hermetic);
    });
  }

  test("more than 4096 that are not known yet count as somebody outside", async () => {
    const talk = new Talk();
    talk.call(1, "bind", [4], [bytesItem(1, server), socket(77)]);
    for (let i = 0; i < 4100; i++) accepts(talk, 0n);
    for (let i = 0; i < 4100; i++) connects(talk);
    expect((await talk.finish()).completeness.gaps).toMatchObject([{ kind: "delegated" }]);
  });
});
