// Who connects to a TCP port of the build: the same clients, once from outside, where each is a gap with its process, and once as a process
// of the build, where none is. In all forms of loopback, and also where the client is gone before it is accepted.
import { afterEach, describe, expect, test } from "bun:test";
import { networkInterfaces } from "node:os";
import { z } from "zod";
import { isRoot, type Ran, recordOf, run, Scratch, tracee, users } from "./harness.ts";
import { Outsiders, python } from "./outsiders.ts";

const limitMs = 60_000;
const outsiders = new Outsiders();
afterEach(() => outsiders.end());

const endpoint = z.looseObject({
  direction: z.string(),
  address: z.string().optional(),
  port: z.int().optional(),
  count: z.int(),
  bytes: z.object({ sent: z.int(), received: z.int() }).optional(),
});
const peer = z.looseObject({ processid: z.int().optional(), programdigest: z.looseObject({ sha256: z.string() }).optional() });
const connection = z.looseObject({ syscall: z.string(), peer: peer.optional() });
const network = z.looseObject({ connections: z.array(connection).default([]) });
const summary = z.looseObject({ hermetic: z.boolean(), network: z.array(endpoint).default([]) });
const summaryOf = (ran: Ran) => summary.parse(recordOf(ran).commandRun.summary);
const gapsOf = (ran: Ran) => recordOf(ran).commandRun.completeness?.gaps ?? [];
const verdictOf = (ran: Ran) => recordOf(ran).commandRun.completeness?.verdict;

const hasV6 = Object.values(networkInterfaces()).some(list => list?.some(({ address }) => address === "::1"));
type Way = [name: string, family: string, server: string, client: string, take: string, leave: string];
const all: readonly Way[] = [
  ["IPv4", "AF_INET", "127.0.0.1", "127.0.0.1", "at_once", "later"],
  ["another loopback address", "AF_INET", "127.0.0.1", "127.0.0.1", "at_once", "later_from_other"],
  ["who accepts does not ask whom", "AF_INET", "127.0.0.1", "127.0.0.1", "unasked", "later"],
  ["closed before it is accepted", "AF_INET", "127.0.0.1", "127.0.0.1", "late", "at_once"],
  ["reset before it is accepted", "AF_INET", "127.0.0.1", "127.0.0.1", "late", "reset"],
  ["reset, and not asked whom", "AF_INET", "127.0.0.1", "127.0.0.1", "late_unasked", "reset"],
  ["IPv6", "AF_INET6", "::1", "::1", "at_once", "later"],
  ["IPv4 to a socket of IPv6", "AF_INET6", "::", "127.0.0.1", "at_once", "later"],
];
const ways = all.filter(([, family]) => hasV6 || family === "AF_INET");

const common = `
import ctypes,os,socket,struct,sys,time
libc=ctypes.CDLL(None)
def there(name):
  while not os.path.exists(name): time.sleep(0.01)
  return open(name).read()
def say(name,text=""):
  open(name+".new","w").write(text); os.rename(name+".new",name)
`;
const server = `${common}
class Accept:
  def at_once(s,name): c,_=s.accept(); c.recv(9); say(name+" got")
  def unasked(s,name): n=libc.accept(s.fileno(),None,None); os.read(n,9); say(name+" got")
  def late(s,name): there(name+" closed"); s.accept()
  def late_unasked(s,name): there(name+" closed"); libc.accept(s.fileno(),None,None)
for name,family,address,_,take,_ in ${JSON.stringify(ways)}:
  s=socket.socket(getattr(socket,family)); s.bind((address,0)); s.listen(); say(name,str(s.getsockname()[1])); getattr(Accept,take)(s,name)
`;
const client = `${common}
kept=[]
for name,_,_,address,_,leave in ${JSON.stringify(ways)}:
  port=int(there(name)); c=socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
  if leave=="later_from_other": c.bind(("127.0.0.9",0))
  c.connect((address,port)); c.send(b"x")
  if leave.startswith("later"): there(name+" got"); kept.append(c)
  else:
    if leave=="reset": c.setsockopt(socket.SOL_SOCKET,socket.SO_LINGER,struct.pack("ii",1,0))
    c.close(); say(name+" closed")
sys.stdin.read()
`;

const many = `
import os,socket,threading
s=socket.create_server(("127.0.0.1",0),backlog=400); place=s.getsockname()
def call():
  for _ in range(10): c=socket.socket(); c.connect(place); c.close()
def many():
  t=[threading.Thread(target=call) for _ in range(4)]; [x.start() for x in t]; [x.join() for x in t]
children=[]
for _ in range(3):
  pid=os.fork()
  if pid==0: many(); os._exit(0)
  children.append(pid)
for _ in range(120): s.accept()[0].close()
for pid in children: os.waitpid(pid,0)`;

for (const user of users) {
  describe.skipIf(!python)(`as ${user}: a client at a port of the build`, () => {
    test(
      "from outside",
      async () => {
        using scratch = new Scratch(user);
        const other = outsiders.start(scratch, client);
        const ran = await run(scratch, [python ?? "", "-c", server], { trace: true });
        other.stdin.end();
        expect(ran.status).toBe(0);
        const gap = gapsOf(ran).find(({ kind }) => kind === "delegated");
        expect(gap?.count).toBe(ways.length);
        for (const [name, family, address, , , leave] of ways) {
          const port = await Bun.file(`${scratch.work}/${name}`).text();
          const host = address === "::" ? "127.0.0.1" : family === "AF_INET6" ? `[${address}]` : address;
          // Of a socket that was closed nobody says whose it was.
          const who = leave.startsWith("later") ? " (/" : "";
          expect(gap?.detail).toContain(`a client from outside at ${host}:${port}${who}`);
        }
        const accepts = recordOf(ran).processes.flatMap(process => network.parse(process.network ?? {}).connections);
        const known = accepts.filter(({ syscall, peer }) => syscall === "accept" && peer?.processid !== undefined);
        expect(known.map(found => found.peer?.processid)).toEqual(
          ways.filter(([, , , , , leave]) => leave.startsWith("later")).map(() => other.pid),
        );
        expect(known[0]?.peer?.programdigest?.sha256).toMatch(/^[0-9a-f]{64}$/);
        expect([verdictOf(ran), summaryOf(ran).hermetic]).toEqual(["incomplete", false]);
      },
      limitMs,
    );

    test(
      "from the build is no gap, and all of them are one entry",
      async () => {
        using scratch = new Scratch(user);
        const script = '"$0" -c "$1" </dev/null & "$0" -c "$2"; wait';
        const ran = await run(scratch, ["sh", "-c", script, python ?? "", client, server], { trace: true });
        expect(ran.stderr).not.toContain("Traceback");
        expect(gapsOf(ran)).toEqual([]);
        const incoming = summaryOf(ran).network.filter(({ direction }) => direction === "in");
        expect(incoming.find(({ address }) => address === "127.0.0.1")).toMatchObject({ count: hasV6 ? 6 : 5 });
        expect(incoming.every(({ port }) => port === undefined)).toBe(true);
        expect([verdictOf(ran), summaryOf(ran).hermetic]).toEqual(["complete", true]);
      },
      limitMs,
    );

    test(
      "many at once, from the build, by threads and processes that close at once: none is a gap",
      async () => {
        using scratch = new Scratch(user);
        const ran = await run(scratch, [python ?? "", "-c", many], { trace: true });
        expect(ran.status).toBe(0);
        expect([gapsOf(ran), summaryOf(ran).hermetic]).toEqual([[], true]);
        expect(summaryOf(ran).network.find(({ direction }) => direction === "in")).toMatchObject({ count: 120 });
      },
      limitMs,
    );
  });
}

for (const user of users) {
  test.skipIf(!python)(
    `as ${user}: how many bytes went through, at either end`,
    async () => {
      using scratch = new Scratch(user);
      const program = `
import os,socket
s=socket.create_server(("127.0.0.1",0))
def all(c,count):
  while count>0: count-=len(c.recv(count))
for _ in range(2):
  if os.fork()==0: c=socket.create_connection(s.getsockname()); c.sendall(b"x"*1234); all(c,5000); os._exit(0)
  c,_=s.accept(); all(c,1234); c.sendall(b"y"*5000); c.close(); os.wait()`;
      const ran = await run(scratch, [python ?? "", "-c", program], { trace: true });
      expect(ran.status).toBe(0);
      const found = summaryOf(ran).network.filter(({ direction }) => direction !== "listen");
      expect(found.map(({ direction, count, bytes }) => [direction, count, bytes?.sent])).toEqual([
        ["in", 2, 2 * 5000],
        ["out", 2, 2 * 1234],
      ]);
      // The kernel counts the end of the other side as one.
      for (const [i, sent] of [1234, 5000].entries()) {
        expect(found[i]?.bytes?.received).toBeGreaterThanOrEqual(2 * sent);
        expect(found[i]?.bytes?.received).toBeLessThanOrEqual(2 * (sent + 1));
      }
    },
    limitMs,
  );
}

describe.skipIf(!python)("where sockets cannot be asked, as in Docker by default", () => {
  const before = (scratch: Scratch) => [tracee("deny", scratch), "PERM", "pidfd_getfd", "--"];

  test(
    "many clients from the build: none is a gap",
    async () => {
      using scratch = new Scratch();
      const ran = await run(scratch, [python ?? "", "-c", many], { trace: true, before: before(scratch) });
      expect(ran.status).toBe(0);
      expect([gapsOf(ran), summaryOf(ran).hermetic]).toEqual([[], true]);
    },
    limitMs,
  );

  test(
    "a client from outside",
    async () => {
      using scratch = new Scratch();
      const other = outsiders.start(scratch, client.replace(JSON.stringify(ways), JSON.stringify(ways.slice(0, 3))));
      const words = [python ?? "", "-c", server.replace(JSON.stringify(ways), JSON.stringify(ways.slice(0, 3)))];
      const ran = await run(scratch, words, { trace: true, before: before(scratch) });
      other.stdin.end();
      expect(ran.status).toBe(0);
      const gap = gapsOf(ran).find(({ kind }) => kind === "delegated");
      expect(gap?.count).toBe(3);
      expect(gap?.detail).toContain(`process ${other.pid})`);
      expect(summaryOf(ran).hermetic).toBe(false);
    },
    limitMs,
  );

  test(
    "a client at a unix socket is not known, and the run not hermetic",
    async () => {
      using scratch = new Scratch();
      const program = `import os,socket
s=socket.socket(socket.AF_UNIX); s.bind("own"); s.listen(); c=socket.socket(socket.AF_UNIX); c.connect("own"); s.accept()`;
      const ran = await run(scratch, [python ?? "", "-c", program], { trace: true, before: before(scratch) });
      expect([gapsOf(ran), summaryOf(ran).hermetic]).toEqual([[], false]);
    },
    limitMs,
  );
});

/** As root, in a network of its own with one more address of this machine: not loopback, and not elsewhere either. */
const own = ["unshare", "-n", "sh", "-c", 'ip link set lo up && ip addr add 10.77.9.9/32 dev lo && exec "$@"', "own"];
function whyNoNetwork(): string {
  if (!isRoot) return "not root";
  for (const program of ["ip", "unshare"]) if (!Bun.which(program)) return `no ${program}`;
  const { exitCode, stderr } = Bun.spawnSync([...own, "true"]);
  return exitCode === 0 ? "" : `${stderr}`;
}
const reason = whyNoNetwork();
if (reason !== "") console.log(`network-incoming: other networks skipped, ${reason}`);

describe.skipIf(reason !== "" || !python)("in another network", () => {
  const listen = (address: string) => `
import os,socket
s=socket.create_server(("${address}",8080)); os.fork() and (s.accept()[0].recv(9),os.wait(),os._exit(0))
c=socket.create_connection(("${address}",8080)); c.send(b"x"); c.close(); os._exit(0)`;

  test(
    "of the build's own making: its own clients are no gap",
    async () => {
      using scratch = new Scratch();
      const ran = await run(scratch, [...own, python ?? "", "-c", listen("127.0.0.1")], { trace: true });
      expect(ran.status).toBe(0);
      expect(gapsOf(ran).filter(({ kind }) => kind === "delegated")).toEqual([]);
    },
    limitMs,
  );

  test(
    "of the build's own making: a client from outside, found in that network",
    async () => {
      using scratch = new Scratch();
      const serve = `${common}\ns=socket.create_server(("127.0.0.1",8080)); say("up",str(os.getpid())); c,_=s.accept(); c.recv(9); say("got")`;
      const enter = `${common}
os.setns(os.open(f"/proc/{there('up')}/ns/net",os.O_RDONLY)); c=socket.create_connection(("127.0.0.1",8080)); c.send(b"x"); there("got"); sys.stdin.read()`;
      const other = outsiders.start(scratch, enter.replace("os.setns(", "(lambda fd: libc.setns(fd,0))("));
      const ran = await run(scratch, [...own, python ?? "", "-c", serve], { trace: true });
      other.stdin.end();
      expect(ran.status).toBe(0);
      const gap = gapsOf(ran).find(({ kind }) => kind === "delegated");
      expect(gap?.detail).toContain("a client from outside at 127.0.0.1:8080 (");
      expect(gap?.detail).toContain(`process ${other.pid})`);
      expect(summaryOf(ran).hermetic).toBe(false);
    },
    limitMs,
  );

  test(
    "another address of this machine: the build's own clients are no gap, but the run is not hermetic",
    async () => {
      using scratch = new Scratch();
      const ran = await run(scratch, [python ?? "", "-c", listen("10.77.9.9")], { trace: true, before: own });
      expect(ran.status).toBe(0);
      expect([gapsOf(ran), summaryOf(ran).hermetic]).toEqual([[], false]);
    },
    limitMs,
  );

  test(
    "another address of this machine: a client from outside is a gap",
    async () => {
      using scratch = new Scratch();
      const call = `
import os,socket,sys,time
if os.fork()==0:
  os.close(1); os.close(2); c=socket.socket()
  while c.connect_ex(("10.77.9.9",8080))!=0: c=socket.socket(); time.sleep(0.02)
  c.send(b"x"); time.sleep(60)
os.execvp(sys.argv[1],sys.argv[1:])`;
      const serve = `import socket\ns=socket.create_server(("10.77.9.9",8080)); s.accept()[0].recv(9)`;
      const before = [...own, "setpriv", "--pdeathsig", "KILL", python ?? "", "-c", call];
      const ran = await run(scratch, [python ?? "", "-c", serve], { trace: true, before });
      expect(ran.status).toBe(0);
      expect(gapsOf(ran).find(({ kind }) => kind === "delegated")?.detail).toContain("a client from outside at 10.77.9.9:8080 (");
      expect(summaryOf(ran).hermetic).toBe(false);
    },
    limitMs,
  );
});
