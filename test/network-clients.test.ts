// Real clients against servers of this test, on loopback: whom each connection is for, as the record has it. What is not installed
// here is skipped, by name.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { generateKeyPairSync } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server, connect as tcpConnect } from "node:net";
import { join } from "node:path";
import { z } from "zod";
import { isRoot, plainEnvironment, type Ran, run, Scratch, tracee, users } from "./harness.ts";
import { dnsQuery } from "./network-bytes.ts";
import { clientHello, cryptoFrame, initialPacket, serverName } from "./protocols-bytes.ts";

const fixtures = join(import.meta.dir, "fixtures/network");
const limitMs = 60_000;

let tlsPort = 0;
let plainPort = 0;
let proxyPort = 0;
let socksPort = 0;
const stops: (() => void)[] = [];

beforeAll(async () => {
  const tls = { key: readFileSync(join(fixtures, "key.pem"), "utf8"), cert: readFileSync(join(fixtures, "cert.pem"), "utf8") };
  const answer = { hostname: "127.0.0.1", port: 0, fetch: () => new Response("hi\n") };
  const secure = Bun.serve({ ...answer, tls });
  const plain = Bun.serve(answer);
  [tlsPort, plainPort] = [secure.port ?? 0, plain.port ?? 0];
  proxyPort = await tunnels(request => {
    const end = request.indexOf("\r\n\r\n");
    return end < 0 ? undefined : { consumed: end + 4, reply: Buffer.from("HTTP/1.1 200 OK\r\n\r\n") };
  });
  let greeted = false;
  socksPort = await tunnels(request => {
    if (!greeted && request.length >= 2) {
      greeted = true;
      return { consumed: 2 + (request[1] ?? 0), reply: Buffer.of(5, 0), more: true };
    }
    const length = request[3] === 3 ? 7 + (request[4] ?? 0) : 10;
    return request.length < length ? undefined : { consumed: length, reply: Buffer.of(5, 0, 0, 1, 0, 0, 0, 0, 0, 0) };
  });
  stops.push(
    () => void secure.stop(true),
    () => void plain.stop(true),
  );
});
afterAll(() => {
  for (const stop of stops) stop();
});

type Judge = (request: Buffer) => { consumed: number; reply: Buffer; more?: boolean } | undefined;

/** A proxy that leads everybody to the TLS server. */
async function tunnels(judge: Judge): Promise<number> {
  const server: Server = createServer(client => {
    let request: Buffer = Buffer.alloc(0);
    let upstream: ReturnType<typeof tcpConnect> | undefined;
    client.on("error", () => {});
    client.on("data", data => {
      if (upstream) return void upstream.write(data);
      request = Buffer.concat([request, Buffer.from(data)]);
      for (let step = judge(request); step; step = judge(request)) {
        request = request.subarray(step.consumed);
        client.write(step.reply);
        if (step.more) continue;
        upstream = tcpConnect(tlsPort, "127.0.0.1");
        upstream.on("error", () => {});
        upstream.write(request);
        upstream.pipe(client);
        return;
      }
    });
    client.on("end", () => upstream?.end());
  });
  await new Promise<void>(resolve => server.listen(0, "127.0.0.1", resolve));
  stops.push(() => server.close());
  const address = server.address();
  return typeof address === "object" && address ? address.port : 0;
}

const connection = z.looseObject({
  syscall: z.string(),
  family: z.string(),
  address: z.string(),
  port: z.int().optional(),
  result: z.union([z.literal(0), z.string()]).optional(),
  hostname: z.string().optional(),
  hostnamesource: z.string().optional(),
  target: z.string().optional(),
});
const network = z.looseObject({
  connections: z.array(connection).default([]),
  dnsLookups: z
    .array(
      z.looseObject({
        serverAddress: z.string(),
        names: z.array(z.string()).default([]),
        queries: z.array(z.string()).default([]),
      }),
    )
    .default([]),
});
type Network = z.infer<typeof network>;

function networks(ran: Ran): Network[] {
  return (ran.record?.processes ?? []).flatMap(process =>
    process.network === undefined ? [] : [network.parse(process.network)],
  );
}
/** Who was connected to at a port, by name. */
const namesAt = (ran: Ran, port: number) =>
  networks(ran)
    .flatMap(({ connections }) => connections)
    .filter(found => found.port === port && found.syscall === "connect")
    .map(({ hostname, hostnamesource }) => (hostname === undefined ? "none" : `${hostname} by ${hostnamesource}`));

const python = (lines: string) => ["python3", "-c", lines];
const pythonTls = `
import os,socket,ssl,sys,threading
context=ssl._create_unverified_context()
port=int(sys.argv[1])
def dial(): return socket.create_connection(("127.0.0.1",port))
def hello(name):
  incoming,outgoing=ssl.MemoryBIO(),ssl.MemoryBIO(); client=context.wrap_bio(incoming,outgoing,server_hostname=name)
  try: client.do_handshake()
  except ssl.SSLWantReadError: pass
  return outgoing.read()
`;

interface Client {
  name: string;
  /** Program that must be there. */
  needs: string;
  command: () => string[];
  port?: () => number;
  /** Further flags of `cilock run`. */
  args?: string[];
  expected: string[];
}

const clients: Client[] = [
  {
    name: "openssl s_client: write",
    needs: "openssl",
    command: () => ["openssl", "s_client", "-connect", `127.0.0.1:${tlsPort}`, "-servername", "registry.example"],
    expected: ["registry.example by sni"],
  },
  {
    // The same calls stop for the sake of the bytes that go into files.
    name: "openssl s_client: write, with full detail",
    needs: "openssl",
    command: () => ["openssl", "s_client", "-connect", `127.0.0.1:${tlsPort}`, "-servername", "registry.example"],
    args: ["--trace-detail", "full"],
    expected: ["registry.example by sni"],
  },
  {
    name: "curl: send",
    needs: "curl",
    command: () => ["curl", "-sk", "--resolve", `registry.example:${tlsPort}:127.0.0.1`, `https://registry.example:${tlsPort}/`],
    expected: ["registry.example by sni"],
  },
  {
    name: "curl: a connection for each host, at one address",
    needs: "curl",
    command: () => [
      ..."curl -sk --resolve".split(" "),
      `registry.example:${tlsPort}:127.0.0.1`,
      "--resolve",
      `other.example:${tlsPort}:127.0.0.1`,
      `https://registry.example:${tlsPort}/`,
      `https://other.example:${tlsPort}/`,
    ],
    expected: ["registry.example by sni", "other.example by sni"],
  },
  {
    name: "curl: plain HTTP",
    needs: "curl",
    command: () => ["curl", "-s", "-H", "Host: plain.example", `http://127.0.0.1:${plainPort}/`],
    port: () => plainPort,
    expected: ["plain.example by http"],
  },
  {
    name: "curl: plain HTTP through a proxy, whose connection is used again for another host",
    needs: "curl",
    command: () => ["curl", "-s", "-x", `http://127.0.0.1:${plainPort}`, "http://first.example/", "http://second.example/"],
    port: () => plainPort,
    expected: ["none", "first.example by http", "second.example by http"],
  },
  {
    name: "curl: through an HTTP proxy",
    needs: "curl",
    command: () => ["curl", "-sk", "-x", `http://127.0.0.1:${proxyPort}`, "https://registry.example/"],
    port: () => proxyPort,
    expected: ["none", "registry.example by sni"],
  },
  {
    name: "curl: through a SOCKS proxy",
    needs: "curl",
    command: () => ["curl", "-sk", "-x", `socks5h://127.0.0.1:${socksPort}`, "https://registry.example/"],
    port: () => socksPort,
    expected: ["none", "registry.example by sni"],
  },
  {
    name: "wget, by address: no name is made up",
    needs: "wget",
    command: () => ["wget", "-qO-", "--no-check-certificate", `https://127.0.0.1:${tlsPort}/`],
    expected: ["none"],
  },
  {
    name: "Node",
    needs: "node",
    command: () => [
      "node",
      "-e",
      `const c=require("tls").connect({host:"127.0.0.1",port:${tlsPort},servername:"registry.example",rejectUnauthorized:false},()=>c.end())`,
    ],
    expected: ["registry.example by sni"],
  },
  {
    name: "Bun",
    needs: process.execPath,
    command: () => [
      process.execPath,
      "-e",
      `await fetch("https://127.0.0.1:${tlsPort}/",{tls:{rejectUnauthorized:false,serverName:"registry.example"}})`,
    ],
    expected: ["registry.example by sni"],
  },
  {
    name: "Python",
    needs: "python3",
    command: () => [
      ...python(`${pythonTls}\ncontext.wrap_socket(dial(),server_hostname="registry.example").close()`),
      `${tlsPort}`,
    ],
    expected: ["registry.example by sni"],
  },
  {
    name: "Python: another thread says hello than the one that connected, while one sleeps",
    needs: "python3",
    command: () => [
      ...python(`${pythonTls}
import select
slept=[]
sleeper=threading.Thread(target=lambda: slept.append(select.epoll().poll(1)))
sleeper.start()
raw=dial()
speaker=threading.Thread(target=lambda: context.wrap_socket(raw,server_hostname="thread.example").close())
speaker.start(); speaker.join(); sleeper.join()
sys.exit(0 if slept==[[]] else 1)`),
      `${tlsPort}`,
    ],
    expected: ["thread.example by sni"],
  },
  {
    name: "Python: calls that a tracer's interruption would end with EINTR sleep on",
    needs: "python3",
    command: () => [
      ...python(`${pythonTls}
import ctypes,select,signal,struct
libc=ctypes.CDLL(None,use_errno=True); results={}
left,right=socket.socketpair(); left.setsockopt(socket.SOL_SOCKET,socket.SO_RCVTIMEO,struct.pack("ll",1,0))
signal.pthread_sigmask(signal.SIG_BLOCK,[signal.SIGUSR1])
mask=ctypes.c_ulong(1<<(signal.SIGUSR1-1)); limit=(ctypes.c_long*2)(1,0); queue=libc.epoll_create1(0); buffer=ctypes.create_string_buffer(64)
calls={"epoll_wait":lambda: libc.epoll_wait(queue,buffer,1,1000),"recv":lambda: libc.recv(left.fileno(),buffer,1,0),
  "sigtimedwait":lambda: libc.sigtimedwait(ctypes.byref(mask),None,limit)}
def sleep(name):
  result=calls[name](); results[name]=(result,ctypes.get_errno() if result<0 else 0)
sleepers=[threading.Thread(target=sleep,args=(name,)) for name in calls]
for sleeper in sleepers: sleeper.start()
import time; time.sleep(0.3)
dial().sendall(hello("awake.example"))
for sleeper in sleepers: sleeper.join()
expected={"epoll_wait":(0,0),"recv":(-1,11),"sigtimedwait":(-1,11)}
print(results); sys.exit(0 if results==expected else 1)`),
      `${tlsPort}`,
    ],
    expected: ["awake.example by sni"],
  },
  {
    name: "Python: a child with a dup says hello, and what comes after is seen too",
    needs: "python3",
    command: () => [
      ...python(`${pythonTls}
raw=dial(); number=os.dup(raw.fileno()); raw.close()
if os.fork()==0:
  context.wrap_socket(socket.socket(fileno=number),server_hostname="child.example"); os._exit(0)
os.wait(); os.close(number)
import time; time.sleep(0.2)
dial().sendall(hello("next.example"))`),
      `${tlsPort}`,
    ],
    expected: ["child.example by sni", "next.example by sni"],
  },
  {
    name: "Python: a dup that was made before the connect",
    needs: "python3",
    command: () => [
      ...python(`${pythonTls}
raw=socket.socket(); other=os.dup(raw.fileno()); raw.connect(("127.0.0.1",port)); os.write(other,hello("dup.example"))`),
      `${tlsPort}`,
    ],
    expected: ["dup.example by sni"],
  },
  {
    name: "Python: a socket that a child has since before the connect, and the child's, connected by it, here",
    needs: "python3",
    command: () => [
      ...python(`${pythonTls}
raw,second=socket.socket(),socket.socket(); r,w=os.pipe(); back,done=os.pipe()
if os.fork()==0:
  os.read(r,1); raw.sendall(hello("child.example")); second.connect(("127.0.0.1",port)); os.write(done,b"x"); os.read(r,1); os._exit(0)
raw.connect(("127.0.0.1",port)); os.write(w,b"x"); os.read(back,1); second.sendall(hello("parent.example")); os.write(w,b"x"); os.wait()`),
      `${tlsPort}`,
    ],
    expected: ["child.example by sni", "parent.example by sni"],
  },
  {
    name: "Python: a socket that was sent to another process before it was connected, and is closed before that reads the message",
    needs: "python3",
    command: () => [
      ...python(`${pythonTls}
left,right=socket.socketpair(); r,w=os.pipe()
if os.fork()==0:
  os.read(r,1); _,numbers,_,_=socket.recv_fds(right,1,1); socket.socket(fileno=numbers[0]).sendall(hello("sent.example")); os._exit(0)
raw=socket.socket(); socket.send_fds(left,[b"x"],[raw.fileno()]); raw.connect(("127.0.0.1",port)); raw.close(); os.write(w,b"x"); os.wait()`),
      `${tlsPort}`,
    ],
    expected: ["sent.example by sni"],
  },
  {
    name: "Python: a socket that another process has taken before it was connected",
    needs: "python3",
    command: () => [
      ...python(`${pythonTls}
import ctypes
libc=ctypes.CDLL(None,use_errno=True); libc.prctl(0x59616d61,ctypes.c_ulong(2**64-1),0,0,0); parent=os.getpid()
r,w=os.pipe(); back,got=os.pipe(); go,made=os.pipe()
if os.fork()==0:
  number=int(os.read(go,9)); taken=libc.syscall(438,os.pidfd_open(parent),number,0); os.write(got,b"x")
  os.read(r,1); socket.socket(fileno=taken).sendall(hello("taken.example")); os._exit(0)
raw=socket.socket(); os.write(made,str(raw.fileno()).encode()); os.read(back,1); raw.connect(("127.0.0.1",port)); os.write(w,b"x"); os.wait()`),
      `${tlsPort}`,
    ],
    expected: ["taken.example by sni"],
  },
  {
    name: "Python: byte by byte",
    needs: "python3",
    command: () => [
      ...python(`${pythonTls}\nraw=dial()\nfor byte in hello("bytes.example"): raw.send(bytes([byte]))`),
      `${tlsPort}`,
    ],
    expected: ["bytes.example by sni"],
  },
  {
    name: "Python: writev and sendmsg of several parts",
    needs: "python3",
    command: () => [
      ...python(`${pythonTls}
for name,send in (("writev.example",lambda s,parts: os.writev(s.fileno(),parts)),("sendmsg.example",lambda s,parts: s.sendmsg(parts))):
  raw=dial(); data=hello(name); send(raw,[data[:3],data[3:90],data[90:]]); raw.close()`),
      `${tlsPort}`,
    ],
    expected: ["writev.example by sni", "sendmsg.example by sni"],
  },
  {
    name: "Python: a number that is closed and used again",
    needs: "python3",
    command: () => [
      ...python(`${pythonTls}
first=dial(); first.close()
second=dial(); second.sendall(hello("second.example"))`),
      `${tlsPort}`,
    ],
    expected: ["none", "second.example by sni"],
  },
];

describe("whom a connection is for", () => {
  for (const { name, needs, command, port, args, expected } of clients) {
    test.skipIf(!Bun.which(needs))(
      name,
      async () => {
        using scratch = new Scratch();
        const ran = await run(scratch, command(), { trace: true, ...(args ? { args } : {}) });
        expect(namesAt(ran, port?.() ?? tlsPort)).toEqual(expected);
        expect(ran.status).toBe(0);
      },
      limitMs,
    );
  }

  for (const user of users) {
    test.skipIf(!Bun.which("curl"))(
      `as ${user}, who may or may not trace with privilege`,
      async () => {
        using scratch = new Scratch(user);
        const ran = await run(scratch, ["curl", "-s", "-H", "Host: plain.example", `http://127.0.0.1:${plainPort}/`], {
          trace: true,
        });
        expect(namesAt(ran, plainPort)).toEqual(["plain.example by http"]);
      },
      limitMs,
    );
  }

  test(
    "a 32-bit program that does everything by socketcall",
    async () => {
      using scratch = new Scratch();
      const ran = await run(scratch, [tracee("socketcall", scratch), `${plainPort}`], { trace: true });
      expect(ran.status).toBe(0);
      expect(namesAt(ran, plainPort)).toEqual(["send.example by http", "sendmsg.example by http", "dup.example by http"]);
    },
    limitMs,
  );

  test.skipIf(!Bun.which("python3"))(
    "a socket that another process of the build takes by pidfd_getfd, and one among several messages",
    async () => {
      using scratch = new Scratch();
      const program = `${pythonTls}
import ctypes,struct
libc=ctypes.CDLL(None,use_errno=True)
raw=dial(); left,right=socket.socketpair(socket.AF_UNIX,socket.SOCK_DGRAM); parent=os.getpid()
libc.prctl(0x59616d61,ctypes.c_ulong(2**64-1),0,0,0)
if os.fork()==0:
  taken=libc.syscall(438,os.pidfd_open(parent),raw.fileno(),0); os.close(raw.fileno())
  socket.socket(fileno=taken).sendall(hello("taken.example"))
  class part(ctypes.Structure): _fields_=[("base",ctypes.c_void_p),("size",ctypes.c_size_t)]
  class message(ctypes.Structure): _fields_=[("name",ctypes.c_void_p),("length",ctypes.c_uint),("parts",ctypes.c_void_p),("count",ctypes.c_size_t),
    ("control",ctypes.c_void_p),("size",ctypes.c_size_t),("flags",ctypes.c_int),("pad",ctypes.c_int),("got",ctypes.c_uint)]
  data=ctypes.create_string_buffer(8); control=ctypes.create_string_buffer(64); parts=part(ctypes.addressof(data),8); both=(message*2)()
  for i in range(2): both[i].parts=ctypes.addressof(parts); both[i].count=1
  both[1].control=ctypes.addressof(control); both[1].size=64
  if libc.recvmmsg(right.fileno(),both,2,0,None)!=2: os._exit(1)
  socket.socket(fileno=struct.unpack_from("i",control.raw,16)[0]).sendall(hello("several.example")); os._exit(0)
second=dial(); left.send(b"x"); socket.send_fds(left,[b"y"],[second.fileno()]); second.close()
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))`;
      const ran = await run(scratch, [...python(program), `${tlsPort}`], { trace: true });
      expect(ran.status).toBe(0);
      expect(namesAt(ran, tlsPort)).toEqual(["taken.example by sni", "several.example by sni"]);
      expect(ran.record?.commandRun.completeness?.gaps.map(gap => gap.kind)).toEqual(["delegated"]);
    },
    limitMs,
  );

  test.skipIf(!Bun.which("python3"))(
    "a socket that was passed to another process, and closed before that has it",
    async () => {
      using scratch = new Scratch();
      const program = `${pythonTls}
left,right=socket.socketpair()
if os.fork()==0:
  left.close(); data,numbers,_,_=socket.recv_fds(right,1,1)
  peer=socket.socket(fileno=numbers[0]); peer.sendall(hello("passed.example")); os._exit(0)
right.close(); raw=dial(); socket.send_fds(left,[b"x"],[raw.fileno()]); raw.close()
again=dial(); again.sendall(hello("again.example")); os.wait()`;
      const ran = await run(scratch, [...python(program), `${tlsPort}`], { trace: true });
      expect(namesAt(ran, tlsPort)).toEqual(["passed.example by sni", "again.example by sni"]);
      expect(ran.status).toBe(0);
    },
    limitMs,
  );

  describe.skipIf(!Bun.which("go"))("Go", () => {
    let programs: Scratch;
    let binary = "";
    beforeAll(() => {
      programs = new Scratch();
      const source = join(programs.path, "main.go");
      writeFileSync(source, goProgram);
      binary = join(programs.path, "client");
      const env = {
        ...plainEnvironment(programs),
        GOCACHE: join(programs.path, "cache"),
        GOTOOLCHAIN: "local",
        GO111MODULE: "off",
      };
      const built = Bun.spawnSync(["go", "build", "-o", binary, source], { env });
      expect(built.stderr.toString()).toBe("");
    }, 180_000);
    afterAll(() => programs?.[Symbol.dispose]());

    test(
      "several connections at once, from several threads",
      async () => {
        using scratch = new Scratch();
        const ran = await run(scratch, [binary, `127.0.0.1:${tlsPort}`], { trace: true });
        expect(namesAt(ran, tlsPort).sort()).toEqual([0, 1, 2, 3].map(n => `go${n}.example by sni`));
      },
      limitMs,
    );

    test(
      "an encrypted hello: the outer name, marked",
      async () => {
        using scratch = new Scratch();
        const key = generateKeyPairSync("x25519").publicKey.export({ type: "spki", format: "der" }).subarray(-32);
        const ran = await run(scratch, [binary, `127.0.0.1:${tlsPort}`, echConfigs("outer.example", key)], { trace: true });
        const found = networks(ran).flatMap(({ connections }) => connections.filter(({ port }) => port === tlsPort));
        // Go has asked for ECH, and then checks the certificate of who has refused it.
        expect(ran.stdout.toString()).toContain("not outer.example");
        expect(found).toMatchObject([{ hostname: "outer.example", hostnamesource: "sni", ech: true }]);
        expect(JSON.stringify(networks(ran))).not.toContain("inner.example");
      },
      limitMs,
    );
  });
});

/** ECHConfigList of RFC 9849, in hex: one with X25519, HKDF-SHA256 and AES-128-GCM. */
function echConfigs(publicName: string, key: Uint8Array): string {
  const short = (value: number) => [value >> 8, value & 255];
  const name = Buffer.from(publicName);
  const contents = [
    7,
    ...short(0x20),
    ...short(key.length),
    ...key,
    ...short(4),
    ...short(1),
    ...short(1),
    0,
    name.length,
    ...name,
    0,
    0,
  ];
  const config = [...short(0xfe0d), ...short(contents.length), ...contents];
  return Buffer.from([...short(config.length), ...config]).toString("hex");
}

/** With a list of ECH configurations it makes one connection, which our server does not understand (Go 1.23). */
const goProgram = `package main
import ("crypto/tls"; "encoding/hex"; "fmt"; "os"; "sync")
func main() {
  if len(os.Args) > 2 {
    list, _ := hex.DecodeString(os.Args[2])
    _, err := tls.Dial("tcp", os.Args[1], &tls.Config{ServerName: "inner.example", EncryptedClientHelloConfigList: list})
    fmt.Println(err)
    return
  }
  var group sync.WaitGroup
  for i := 0; i < 4; i++ {
    group.Add(1)
    go func(i int) {
      defer group.Done()
      client, err := tls.Dial("tcp", os.Args[1], &tls.Config{InsecureSkipVerify: true, ServerName: fmt.Sprintf("go%d.example", i)})
      if err != nil { fmt.Println(err); os.Exit(1) }
      client.Close()
    }(i)
  }
  group.Wait()
}
`;

const javaProgram = `
import javax.net.ssl.*;
public class Client {
  public static void main(String[] arguments) throws Exception {
    SSLSocket client = (SSLSocket) SSLContext.getDefault().getSocketFactory().createSocket("127.0.0.1", Integer.parseInt(arguments[0]));
    SSLParameters parameters = client.getSSLParameters();
    parameters.setServerNames(java.util.List.of(new SNIHostName("java.example")));
    client.setSSLParameters(parameters);
    try { client.startHandshake(); } catch (SSLException unknownAuthority) {}
  }
}`;

describe("Java", () => {
  test.skipIf(!Bun.which("java") || !Bun.which("javac"))(
    "a thread of a JVM",
    async () => {
      using scratch = new Scratch();
      const source = join(scratch.work, "Client.java");
      writeFileSync(source, javaProgram);
      expect(Bun.spawnSync(["javac", source]).exitCode).toBe(0);
      const ran = await run(scratch, ["java", "-cp", ".", "Client", `${tlsPort}`], { trace: true });
      expect(namesAt(ran, tlsPort)).toEqual(["java.example by sni"]);
    },
    limitMs,
  );
});

describe("QUIC", () => {
  test.skipIf(!Bun.which("python3"))(
    "connected to port 443 and sent, or sent to an address",
    async () => {
      using scratch = new Scratch();
      const packet = (name: string) => {
        const message = clientHello([serverName(name)]);
        return Buffer.from(
          initialPacket({ destinationId: new Uint8Array(8), frames: cryptoFrame(0, message), payload: 1162 }),
        ).toString("hex");
      };
      const program = `
import socket
bound=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); bound.bind(("127.0.0.1",0))
connected=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); connected.connect(("127.0.0.1",443)); connected.send(bytes.fromhex("${packet("connected.example")}"))
bound.sendto(bytes.fromhex("${packet("sendto.example")}"),("127.0.0.1",4433))
bound.sendmsg([bytes.fromhex("${packet("sendmsg.example")}")],[],0,("127.0.0.1",4434))`;
      const ran = await run(scratch, python(program), { trace: true });
      const found = networks(ran)
        .flatMap(({ connections }) => connections)
        .filter(({ hostname }) => hostname !== undefined);
      expect(found.map(({ hostname, port, hostnamesource }) => `${hostname} ${port} ${hostnamesource}`)).toEqual([
        "connected.example 443 sni",
        "sendto.example 4433 sni",
        "sendmsg.example 4434 sni",
      ]);
    },
    limitMs,
  );
});

describe("what became of a connect", () => {
  const program = `
import select,socket
def later(port):
  s=socket.socket(); s.setblocking(False); s.connect_ex(("127.0.0.1",port)); select.select([],[s],[]); s.getsockopt(socket.SOL_SOCKET,socket.SO_ERROR)
try: socket.socket().connect(("127.0.0.1",1))
except OSError: pass
later(1)
`;
  test.skipIf(!Bun.which("python3"))(
    "refused at once, and refused later",
    async () => {
      using scratch = new Scratch();
      const ran = await run(scratch, python(program), { trace: true });
      const results = networks(ran)
        .flatMap(({ connections }) => connections)
        .filter(({ port }) => port === 1)
        .map(({ result }) => result);
      expect(new Set(results)).toEqual(new Set(["ECONNREFUSED"]));
    },
    limitMs,
  );
});

describe("how many bytes went through", () => {
  const bytes = z.looseObject({
    port: z.int().optional(),
    count: z.int(),
    bytes: z.object({ sent: z.int(), received: z.int() }).optional(),
  });
  const summary = z.looseObject({ network: z.array(bytes) });
  for (const user of users) {
    test.skipIf(!existsSync("/usr/bin/python3"))(
      `as ${user}: of connections that were closed, of one that was open at the end, and of one in another process`,
      async () => {
        using scratch = new Scratch(user);
        const server = createServer(client => client.on("error", () => {}).once("data", () => client.end("y".repeat(5000))));
        await new Promise<void>(resolve => server.listen(0, "127.0.0.1", resolve));
        const address = server.address();
        const port = typeof address === "object" && address ? address.port : 0;
        const program = `
import os,socket
def talk():
  s=socket.create_connection(("127.0.0.1",${port})); s.sendall(b"x"*1234)
  while s.recv(9999): pass
  return s
for i in range(2): talk().close()
if os.fork()==0: talk(); os._exit(0)
os.wait(); last=talk(); os._exit(0)`;
        const ran = await run(scratch, ["/usr/bin/python3", "-c", program], { trace: true });
        server.close();
        expect(ran.status).toBe(0);
        const found = summary.parse(ran.record?.commandRun.summary).network.find(endpoint => endpoint.port === port);
        expect(found).toMatchObject({ count: 4, bytes: { sent: 4 * 1234 } });
        // The kernel counts the end of the other side as one.
        expect(found?.bytes?.received).toBeGreaterThanOrEqual(4 * 5000);
        expect(found?.bytes?.received).toBeLessThanOrEqual(4 * 5001);
      },
      limitMs,
    );
  }
});

describe("who answers on this machine", () => {
  test.skipIf(!Bun.which("python3"))(
    "this test is no part of the build; a process of the build is",
    async () => {
      using scratch = new Scratch();
      const program = `${pythonTls}
server=socket.create_server(("127.0.0.1",0)); own=server.getsockname()[1]
named=socket.socket(socket.AF_UNIX); named.bind("own.sock"); named.listen()
if os.fork()==0:
  socket.create_connection(("127.0.0.1",own)); socket.socket(socket.AF_UNIX).connect("own.sock"); dial(); os._exit(0)
os.wait()`;
      const ran = await run(scratch, [...python(program), `${plainPort}`], { trace: true });
      const gaps = ran.record?.commandRun.completeness?.gaps.filter(gap => gap.kind === "delegated") ?? [];
      expect(gaps).toMatchObject([{ count: 1, severity: "gap" }]);
      expect(gaps[0]?.detail).toContain(`127.0.0.1:${plainPort} (`);
      expect(gaps[0]?.detail).toContain(`process ${process.pid})`);
    },
    limitMs,
  );
});

describe("name servers", () => {
  test.skipIf(!isRoot || !Bun.which("getent") || !Bun.which("python3"))(
    "the questions of getent, and the name of a connection that says none",
    async () => {
      using scratch = new Scratch();
      await using server = await nameServer();
      const resolver = join(scratch.path, "resolv.conf");
      writeFileSync(resolver, "nameserver 127.0.0.77\n");
      const before = ["unshare", "-m", "sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec "$@"`, resolver];
      const script = `getent ahosts registry.example; python3 -c 'import socket; socket.create_connection(("registry.example",${plainPort})).send(bytes(3))'`;
      const ran = await run(scratch, ["sh", "-c", script], { trace: true, before });
      const lookups = networks(ran).flatMap(({ dnsLookups }) => dnsLookups);
      expect(lookups.length).toBe(2);
      for (const lookup of lookups) {
        expect(lookup).toMatchObject({ serverAddress: "127.0.0.77", names: ["registry.example"] });
        expect(lookup.queries.toSorted()).toEqual(["registry.example A", "registry.example AAAA"]);
      }
      expect(namesAt(ran, plainPort)).toEqual(["registry.example by dns"]);
      expect(server.asked).toBeGreaterThan(0);
    },
    limitMs,
  );
});

describe("questions", () => {
  test.skipIf(!isRoot || !Bun.which("python3"))(
    "connected and written, sent to an address, and over TCP in two parts",
    async () => {
      using scratch = new Scratch();
      await using _ = await nameServer();
      const server = createServer(client => client.on("error", () => {}));
      await new Promise<void>(resolve => server.listen(53, "127.0.0.77", resolve));
      const query = (name: string) => `bytes.fromhex("${Buffer.from(dnsQuery(1, name, 1)).toString("hex")}")`;
      const program = `
import os,socket
place=("127.0.0.77",53)
udp=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); udp.connect(place); os.write(udp.fileno(),${query("write.example")}); udp.recv(1500)
udp=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); udp.sendto(${query("sendto.example")},place); udp.recv(1500)
tcp=socket.create_connection(place); data=${query("tcp.example")}; tcp.send(len(data).to_bytes(2,"big")); tcp.send(data)`;
      const ran = await run(scratch, python(program), { trace: true });
      server.close();
      expect(networks(ran).flatMap(({ dnsLookups }) => dnsLookups)).toMatchObject([
        { serverAddress: "127.0.0.77", names: ["write.example", "sendto.example", "tcp.example"] },
      ]);
    },
    limitMs,
  );
});

/** Every name is 127.0.0.1. */
async function nameServer(): Promise<AsyncDisposable & { asked: number }> {
  const server = { asked: 0, [Symbol.asyncDispose]: async () => void socket.close() };
  const socket = await Bun.udpSocket({
    hostname: "127.0.0.77",
    port: 53,
    socket: {
      data(from, message, port, address) {
        server.asked++;
        let at = 12;
        while (message[at] !== 0 && at < message.length) at += (message[at] ?? 0) + 1;
        const isAddress = message.readUInt16BE(at + 1) === 1;
        const answer = isAddress ? Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]) : Buffer.alloc(0);
        const reply = Buffer.concat([message.subarray(0, at + 5), answer]);
        reply.set([0x81, 0x80, 0, 1, 0, isAddress ? 1 : 0, 0, 0, 0, 0], 2);
        from.send(reply, port, address);
      },
    },
  });
  return server;
}
