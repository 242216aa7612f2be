// Sockets that are rare in builds, and data in the first packet of a connection (TCP fast open): by real calls of a real program. What this
// kernel or user has no socket of says so, and is left out.
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { z } from "zod";
import { recordOf, run, Scratch, users } from "./harness.ts";

const python = existsSync("/usr/bin/python3") ? "/usr/bin/python3" : Bun.which("python3");

const program = `
import socket
def tried(name, act):
    try: act()
    except OSError as error: print("none", name, flush=True)
def alg():
    s = socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET); s.bind(("hash", "sha256"))
def packet():
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW).bind(("lo", 0))
def vsock():
    s = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM); s.setblocking(False)
    try: s.connect((1, 9999))
    except (BlockingIOError, ConnectionResetError, ConnectionRefusedError): pass
def netlink():
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).bind((0, 0))
for name, act in (("AF_ALG", alg), ("AF_PACKET", packet), ("AF_VSOCK", vsock), ("AF_NETLINK", netlink)): tried(name, act)
listener = socket.socket(); listener.bind(("127.0.0.1", 0)); listener.listen()
client = socket.socket()
client.sendto(b"GET / HTTP/1.1\\r\\nHost: fast.example\\r\\n\\r\\n", socket.MSG_FASTOPEN, listener.getsockname())
listener.accept()[0].recv(100)
print("port", listener.getsockname()[1])
`;

const connection = z.looseObject({
  syscall: z.string(),
  family: z.string(),
  address: z.string(),
  port: z.int().optional(),
  hostname: z.string().optional(),
});
const network = z.looseObject({
  sockets: z.array(z.looseObject({ family: z.string() })).default([]),
  connections: z.array(connection).default([]),
});

const addresses: readonly [family: string, address: RegExp][] = [
  ["AF_ALG", /hash.*sha256/],
  ["AF_PACKET", /^interface \d+/],
  ["AF_VSOCK", /^cid 1$/],
  ["AF_NETLINK", /^pid 0/],
];

describe.skipIf(!python)("sockets", () => {
  for (const user of users) {
    test(`of other families, and TCP fast open, as ${user}`, async () => {
      using scratch = new Scratch(user);
      const ran = await run(scratch, [python ?? "", "-c", program], { trace: true });
      expect(ran.status).toBe(0);
      const printed = ran.stdout.toString();
      const { sockets, connections } = network.parse(recordOf(ran).processes[0]?.network);
      for (const [family, address] of addresses) {
        if (printed.includes(`none ${family}`)) continue;
        expect(sockets.map(socket => socket.family)).toContain(family);
        expect(connections.filter(one => one.family === family).map(one => one.address)).toEqual([
          expect.stringMatching(address),
        ]);
      }
      const port = Number(/^port (\d+)$/m.exec(printed)?.[1]);
      expect(connections.find(one => one.syscall === "sendto")).toMatchObject({
        address: "127.0.0.1",
        port,
        hostname: "fast.example",
        result: 0,
      });
    });
  }
});
