// Two network namespaces joined by a cable: addresses that are not loopback, and servers on ports of our choice, without touching the
// machine's own network. Needs root, and `ip` of iproute2.
import { spawnSync } from "node:child_process";
import { isRoot, until } from "./harness.ts";

export const python = "/usr/bin/python3";

const has = (program: string) => Bun.which(program) !== null;

function ip(...words: string[]): void {
  const ran = spawnSync("ip", words);
  if (ran.status !== 0) throw new Error(`ip ${words.join(" ")}: ${ran.stderr}`);
}

/** Why there can be no cable here; undefined: there can. */
export function whyNoCable(): string | undefined {
  if (!isRoot) return "not root";
  for (const program of ["ip", "unshare", "nsenter", python]) if (!has(program)) return `no ${program}`;
  try {
    using _ = new Cable();
    return undefined;
  } catch (error) {
    return `${error}`;
  }
}

/** `near` is where the build runs, at 10.77.0.2 and fd77::2; `far` has the servers, at 10.77.0.1 and fd77::1. */
export class Cable {
  readonly #near = Cable.#namespace();
  readonly #far = Cable.#namespace();
  readonly #servers: { kill(signal: "SIGKILL"): void }[] = [];

  constructor() {
    const [near, far] = [`${this.#near.pid}`, `${this.#far.pid}`];
    // Until its program runs, a child is in our own namespace.
    for (const pid of [near, far]) {
      const end = performance.now() + 5000;
      while (isOurs(pid)) if (performance.now() > end) throw new Error("no network namespace");
    }
    ip("link", "add", "cable", "netns", near, "type", "veth", "peer", "name", "cable", "netns", far);
    for (const [pid, end] of [
      [near, "2"],
      [far, "1"],
    ] as const) {
      const inside = (...words: string[]) => {
        const ran = spawnSync("nsenter", ["-t", pid, "-n", "ip", ...words]);
        if (ran.status !== 0) throw new Error(`ip ${words.join(" ")}: ${ran.stderr}`);
      };
      inside("link", "set", "lo", "up");
      inside("addr", "add", `10.77.0.${end}/24`, "dev", "cable");
      inside("-6", "addr", "add", `fd77::${end}/64`, "dev", "cable", "nodad");
      inside("link", "set", "cable", "up");
    }
  }

  static #namespace() {
    return Bun.spawn(["unshare", "-n", "sleep", "600"], { stdout: "ignore", stderr: "ignore" });
  }

  /** Words that come before cilock. */
  get near(): string[] {
    return ["nsenter", "-t", `${this.#near.pid}`, "-n", "--"];
  }

  /** A Python program among the servers; it has started when it has printed something. */
  async serve(program: string): Promise<void> {
    const child = Bun.spawn(["nsenter", "-t", `${this.#far.pid}`, "-n", "--", python, "-c", program], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "inherit",
    });
    this.#servers.push(child);
    let printed = "";
    void (async () => {
      for await (const chunk of child.stdout) printed += Buffer.from(chunk).toString();
    })();
    await until("the server listens", () => printed !== "");
  }

  [Symbol.dispose](): void {
    for (const child of [this.#near, this.#far, ...this.#servers]) child.kill("SIGKILL");
  }
}

function isOurs(pid: string): boolean {
  const link = (of: string) => spawnSync("readlink", [`/proc/${of}/ns/net`]).stdout.toString();
  return link(pid) === link("self");
}

/**
 * TCP on the ports 80 and 443 of both families, which take what comes; UDP 9, the same; and a name server on port 53, UDP and TCP, for
 * which every name is 10.77.0.1 and fd77::1, and `large.example` does not fit into a datagram.
 */
export const servers = `
import socket,threading
def take(s):
  while True:
    c,_=s.accept()
    def talk(c=c):
      try:
        c.settimeout(5); c.recv(4096); c.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\nhi\\n")
      except OSError: pass
      c.close()
    threading.Thread(target=talk,daemon=True).start()
def answer(q,tcp):
  at=12; name=b""
  while q[at]: name+=q[at+1:at+1+q[at]]+b"."; at+=q[at]+1
  kind=int.from_bytes(q[at+1:at+3],"big"); question=q[12:at+5]
  if name==b"large.example." and not tcp: return q[:2]+b"\\x83\\x80\\0\\1\\0\\0\\0\\0\\0\\0"+question
  data={1:b"\\x0a\\x4d\\0\\1",28:b"\\xfd\\x77"+bytes(13)+b"\\1"}.get(kind)
  record=b"\\xc0\\x0c"+kind.to_bytes(2,"big")+b"\\0\\1\\0\\0\\0\\x3c"+len(data).to_bytes(2,"big")+data if data else b""
  return q[:2]+b"\\x81\\x80\\0\\1\\0"+(b"\\1" if data else b"\\0")+b"\\0\\0\\0\\0"+question+record
def names(s):
  while True:
    q,a=s.recvfrom(4096); s.sendto(answer(q,False),a)
def stream(s):
  while True:
    c,_=s.accept(); c.settimeout(5)
    def talk(c=c):
      try:
        q=c.recv(4096)
        while q:
          length=2+int.from_bytes(q[:2],"big")
          if len(q)<max(length,14): q+=c.recv(4096) or exit(); continue
          r=answer(q[2:length],True); c.sendall(len(r).to_bytes(2,"big")+r); q=q[length:] or c.recv(4096)
      except (OSError,SystemExit): pass
      c.close()
    threading.Thread(target=talk,daemon=True).start()
for port in (80,443): threading.Thread(target=take,args=(socket.create_server(("::",port),family=socket.AF_INET6,dualstack_ipv6=True),)).start()
udp=socket.socket(socket.AF_INET6,socket.SOCK_DGRAM); udp.bind(("::",9))
dns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); dns.bind(("10.77.0.1",53)); threading.Thread(target=names,args=(dns,)).start()
threading.Thread(target=stream,args=(socket.create_server(("10.77.0.1",53)),)).start()
print("ready",flush=True)
`;
