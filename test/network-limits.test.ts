// What a build can make as much as it likes of while the tracer waits for the first bytes of its connections. Beyond each limit there is a
// note, and nothing else changes.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createServer, type Server } from "node:net";
import { recordOf, run, Scratch } from "./harness.ts";
import { python } from "./outsiders.ts";

const limitMs = 60_000;

let server: Server;
let port = 0;
beforeAll(async () => {
  server = createServer(client => client.on("error", () => {}).resume());
  await new Promise<void>(resolve => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  port = typeof address === "object" && address ? address.port : 0;
});
afterAll(() => void server.close());

const rows: [name: string, program: string, detail: string][] = [
  ["who says nothing for 40,000 calls is not waited for", "c=dial()\nfor _ in range(40_100): os.getppid()", "calls of a process"],
  [
    // A hello of 4000 bytes that never comes to its end.
    "a hello in more than 1024 calls",
    `c=dial(); c.setsockopt(6,1,1); c.send(bytes.fromhex("1603010fa001000f9c0303"))\nfor _ in range(1030): c.send(b"x")`,
    "calls of a connection",
  ],
  [
    "more than 4096 sockets at once, by children that inherit them",
    `kept=[dial() for _ in range(300)]; r,w=os.pipe()
for _ in range(14):
  if os.fork()==0: os.read(r,1); os._exit(0)
os.write(w,b"x"*14); [os.wait() for _ in range(14)]`,
    "sockets at once",
  ],
  [
    "more than 4096 sockets at once, by duplicates",
    `import resource
most=resource.getrlimit(resource.RLIMIT_NOFILE)[1]; resource.setrlimit(resource.RLIMIT_NOFILE,(most,most))
c=dial(); kept=[os.dup(c.fileno()) for _ in range(min(4100,most-50))]
for _ in range(3 if most<4200 else 0):
  if os.fork()==0: os._exit(0)
  os.wait()`,
    "sockets at once",
  ],
];

describe.skipIf(!python)("what is waited for is limited", () => {
  for (const [name, program, detail] of rows) {
    test(
      name,
      async () => {
        using scratch = new Scratch();
        const prelude = `import os,socket\ndial=lambda: socket.create_connection(("127.0.0.1",${port}))\n`;
        const ran = await run(scratch, [python ?? "", "-c", prelude + program], { trace: true });
        expect(ran.stderr).not.toContain("Traceback");
        const gaps = recordOf(ran).commandRun.completeness?.gaps.filter(({ kind }) => kind !== "delegated") ?? [];
        expect(gaps).toMatchObject([{ kind: "names-unwatched", severity: "note" }]);
        expect(gaps[0]?.detail).toContain(detail);
      },
      limitMs,
    );
  }
});
