// Networks that are not loopback: what a build reaches on another machine, what it cannot reach, and how it finds out names. Another
// machine is a network namespace at the other end of a virtual cable.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { plainEnvironment, type Ran, recordOf, run, Scratch } from "./harness.ts";
import { Cable, python, servers, whyNoCable } from "./namespaces.ts";

const reason = whyNoCable();
if (reason !== undefined) console.log(`network-namespaces: skipped, ${reason}`);
const limitMs = 60_000;

let cable: Cable;
beforeAll(async () => {
  if (reason !== undefined) return;
  cable = new Cable();
  await cable.serve(servers);
});
afterAll(() => cable?.[Symbol.dispose]());

const endpoint = z.looseObject({
  direction: z.string(),
  host: z.string().optional(),
  address: z.string().optional(),
  port: z.int().optional(),
  protocol: z.string(),
  result: z.union([z.literal(0), z.string()]).optional(),
  count: z.int(),
});
const summary = z.looseObject({ hermetic: z.boolean(), network: z.array(endpoint).default([]) });
const lookups = z.looseObject({
  dnsLookups: z
    .array(
      z.looseObject({
        serverAddress: z.string(),
        serverPort: z.int(),
        names: z.array(z.string()).default([]),
        queries: z.array(z.string()).default([]),
      }),
    )
    .default([]),
});

const summaryOf = (ran: Ran) => summary.parse(recordOf(ran).commandRun.summary);
/** `DIRECTION PROTOCOL ADDRESS PORT RESULT NAME` of each endpoint. */
const endpointsOf = (ran: Ran) =>
  summaryOf(ran).network.map(({ direction, protocol, address, port, result, host }) =>
    [direction, protocol, address, port, result, host].filter(part => part !== undefined).join(" "),
  );
const lookupsOf = (ran: Ran) =>
  recordOf(ran).processes.flatMap(process => (process.network === undefined ? [] : lookups.parse(process.network).dnsLookups));
const verdictOf = (ran: Ran) => recordOf(ran).commandRun.completeness?.verdict;

const inPython = (scratch: Scratch, program: string) =>
  run(scratch, [python, "-c", program], { trace: true, before: cable.near });

describe.skipIf(reason !== undefined)("what a build reaches elsewhere", () => {
  const connect = (address: string, port: number, family = "AF_INET") => `
import errno,socket
s=socket.socket(socket.${family}); print(errno.errorcode.get(s.connect_ex(("${address}",${port})),0))`;
  const datagram = (address: string, family: string) =>
    `import socket\nsocket.socket(socket.${family},socket.SOCK_DGRAM).sendto(b"x",("${address}",9))`;
  const rows: [name: string, program: string, endpoint: string, hermetic: boolean][] = [
    ["IPv4", connect("10.77.0.1", 80), "out tcp 10.77.0.1 80 0", false],
    ["IPv6", connect("fd77::1", 80, "AF_INET6"), "out tcp fd77::1 80 0", false],
    ["IPv4 by a socket of IPv6", connect("::ffff:10.77.0.1", 80, "AF_INET6"), "out tcp 10.77.0.1 80 0", false],
    ["refused by the other machine", connect("10.77.0.1", 81), "out tcp 10.77.0.1 81 ECONNREFUSED", false],
    ["refused by the other machine, IPv6", connect("fd77::1", 81, "AF_INET6"), "out tcp fd77::1 81 ECONNREFUSED", false],
    ["no way there", connect("192.0.2.1", 80), "out tcp 192.0.2.1 80 ENETUNREACH", true],
    ["no way there, IPv6", connect("2001:db8::1", 80, "AF_INET6"), "out tcp 2001:db8::1 80 ENETUNREACH", true],
    ["nobody at that address", connect("10.77.0.99", 80), "out tcp 10.77.0.99 80 EHOSTUNREACH", false],
    ["UDP", datagram("10.77.0.1", "AF_INET"), "out udp 10.77.0.1 9 0", false],
    ["UDP, IPv6", datagram("fd77::1", "AF_INET6"), "out udp fd77::1 9 0", false],
    [
      "a connection that takes its time",
      `${connect("10.77.0.1", 80).replace("; print", "; s.setblocking(False); print")}
import select
select.select([],[s],[]); print(s.getsockopt(socket.SOL_SOCKET,socket.SO_ERROR))`.replace(
        "s=socket.socket(socket.AF_INET); s",
        "s=socket.socket(socket.AF_INET); s.setblocking(False); s",
      ),
      "out tcp 10.77.0.1 80 0",
      false,
    ],
  ];
  for (const [name, program, expected, hermetic] of rows) {
    test(
      name,
      async () => {
        using scratch = new Scratch();
        const ran = await inPython(scratch, program);
        expect(ran.stderr).not.toContain("Traceback");
        expect(endpointsOf(ran)).toEqual([expected]);
        expect([summaryOf(ran).hermetic, verdictOf(ran)]).toEqual([hermetic, "complete"]);
      },
      limitMs,
    );
  }

  test(
    "a client from elsewhere comes in",
    async () => {
      using scratch = new Scratch();
      const program = `
import os,socket
s=socket.create_server(("10.77.0.2",8080)); open("ready","w").close(); c,_=s.accept(); print(c.recv(9).decode())`;
      const [ran] = await Promise.all([
        inPython(scratch, program),
        cable.serve(`
import socket,time
print("ready",flush=True)
for i in range(600):
  try: socket.create_connection(("10.77.0.2",8080)).send(b"hi"); break
  except OSError: time.sleep(0.05)`),
      ]);
      expect(ran.stdout.toString()).toBe("hi\n");
      expect(endpointsOf(ran)).toMatchObject([
        "listen tcp 10.77.0.2 8080 0",
        expect.stringMatching(/^in tcp 10\.77\.0\.1 \d+ 0$/),
      ]);
      expect([summaryOf(ran).hermetic, verdictOf(ran)]).toEqual([false, "complete"]);
    },
    limitMs,
  );

  test.skipIf(!Bun.which("curl"))(
    "TLS on port 443",
    async () => {
      using scratch = new Scratch();
      const words = ["curl", "-sk", "--resolve", "registry.example:443:10.77.0.1", "https://registry.example/"];
      const ran = await run(scratch, words, { trace: true, before: cable.near });
      expect(endpointsOf(ran)).toEqual(["out tcp 10.77.0.1 443 0 registry.example"]);
    },
    limitMs,
  );
});

const goProgram = `package main
import ("fmt"; "net"; "os")
func main() {
  found, err := net.LookupHost(os.Args[1])
  if err != nil { fmt.Println(err); os.Exit(1) }
  fmt.Println(found)
}`;

describe.skipIf(reason !== undefined)("how names are found out", () => {
  let programs: Scratch;
  beforeAll(() => {
    programs = new Scratch();
    writeFileSync(join(programs.path, "resolv.conf"), "nameserver 10.77.0.1\n");
    writeFileSync(join(programs.path, "main.go"), goProgram);
    writeFileSync(join(programs.path, "nsswitch.conf"), "hosts: dns\n");
  });
  afterAll(() => programs?.[Symbol.dispose]());
  const at = (name: string) => join(programs.path, name);
  /** The build's own /etc/resolv.conf and /etc/nsswitch.conf. */
  const resolving = () => [
    ...cable.near,
    ...["unshare", "-m", "sh", "-c"],
    `mount --bind "$0/resolv.conf" /etc/resolv.conf && { mount --bind "$0/nsswitch.conf" /etc/nsswitch.conf || :; } && exec "$@"`,
    programs.path,
  ];
  const both = ["registry.example A", "registry.example AAAA"];

  function check(ran: Ran, names = ["registry.example"], queries = both): void {
    expect(ran.status).toBe(0);
    // Without a name: Go connects sockets to port 53 of what it has found, in order to sort it, and sends nothing.
    const found = lookupsOf(ran).filter(lookup => lookup.names.length > 0);
    expect(found).toMatchObject([{ serverAddress: "10.77.0.1", serverPort: 53, names }]);
    expect(found[0]?.queries.toSorted()).toEqual(queries);
    expect(summaryOf(ran).hermetic).toBe(false);
  }

  test.skipIf(!Bun.which("getent"))(
    "glibc, by getent: the pair of questions in one sendmmsg",
    async () => {
      using scratch = new Scratch();
      check(await run(scratch, ["getent", "ahosts", "registry.example"], { trace: true, before: resolving() }));
    },
    limitMs,
  );

  test.skipIf(!Bun.which("getent"))(
    "glibc, by TCP where the answer is too large",
    async () => {
      using scratch = new Scratch();
      const ran = await run(scratch, ["getent", "ahosts", "large.example"], { trace: true, before: resolving() });
      check(ran, ["large.example"], ["large.example A", "large.example AAAA"]);
      expect(endpointsOf(ran)).toContain("out tcp 10.77.0.1 53 0");
    },
    limitMs,
  );

  test.skipIf(!Bun.which("go"))(
    "Go's own resolver",
    async () => {
      using scratch = new Scratch();
      const env = {
        ...plainEnvironment(scratch),
        GOCACHE: at("go-cache"),
        GOTOOLCHAIN: "local",
        GO111MODULE: "off",
        CGO_ENABLED: "0",
      };
      const built = Bun.spawnSync(["go", "build", "-o", at("go"), at("main.go")], { env });
      expect(built.stderr.toString()).toBe("");
      const options = { trace: true, before: resolving(), env: { ...plainEnvironment(scratch), GODEBUG: "netdns=go" } };
      check(await run(scratch, [at("go"), "registry.example"], options));
    },
    180_000,
  );

  test(
    "glibc, by a program that is linked with it; Python's connection gets the name",
    async () => {
      using scratch = new Scratch();
      const program = `import socket\nsocket.create_connection(("registry.example",80)).send(b"x")`;
      const ran = await run(scratch, [python, "-c", program], { trace: true, before: resolving() });
      check(ran);
      expect(endpointsOf(ran)).toContainEqual(expect.stringMatching(/^out tcp (10\.77\.0\.1|fd77::1) 80 0 registry\.example$/));
    },
    limitMs,
  );

  /** Somebody outside of the build listens at a well-known path, of which the build's mount namespace has its own. */
  const service = (path: string) => [
    ...["unshare", "-m", python, "-c"],
    `
import ctypes,os,socket,subprocess,sys
subprocess.check_call(["mount","-t","tmpfs","none","/run"]); os.makedirs(os.path.dirname("${path}"),exist_ok=True); r,w=os.pipe()
if os.fork()==0:
  ctypes.CDLL(None).prctl(1,9,0,0,0); [os.close(fd) for fd in range(3)]
  s=socket.socket(socket.AF_UNIX); s.bind("${path}"); s.listen(); os.write(w,b"x")
  while True: c,_=s.accept(); c.close()
os.read(r,1); os.execvp(sys.argv[1],sys.argv[1:])`,
  ];
  const delegates: [name: string, path: string, command: string[], service: string][] = [
    ["nscd, asked by getent", "/run/nscd/socket", ["getent", "passwd", "root"], "name service cache"],
    [
      "systemd-resolved, by its varlink socket",
      "/run/systemd/resolve/io.systemd.Resolve",
      [python, "-c", `import socket\ns=socket.socket(socket.AF_UNIX); s.connect("/run/systemd/resolve/io.systemd.Resolve")`],
      "systemd-resolved",
    ],
  ];
  for (const [name, path, command, known] of delegates) {
    test(
      name,
      async () => {
        using scratch = new Scratch();
        const ran = await run(scratch, command, { trace: true, before: service(path) });
        const gap = recordOf(ran).commandRun.completeness?.gaps.find(({ kind }) => kind === "delegated");
        expect(gap?.detail).toContain(`${known} at unix:`);
        expect(gap?.detail).toContain(`/python3`);
        expect([verdictOf(ran), summaryOf(ran).hermetic]).toEqual(["incomplete", false]);
      },
      limitMs,
    );
  }
});
