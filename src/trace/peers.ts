// Processes outside of the build that it talks to: which program, with what digest. Asked of /proc right after the contact; what is
// another user's, or in another pid namespace, is known by less. Each process is looked up once.
import { closeSync, constants, fstatSync, openSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { escapeBytes } from "../text.ts";
import type { HashName } from "./digest-file.ts";
import type { Digester } from "./digester.ts";
import type { NetworkPeer } from "./observation.ts";

export interface FoundPeer {
  peer: NetworkPeer;
  /** The words of its command line, joined by spaces. Not for the record. */
  commandLine: string;
}

export interface PeerFinder {
  /** By its number in our pid namespace. */
  byPid(pid: number): FoundPeer;
  /** The process that holds a socket. */
  bySocket(inode: bigint): FoundPeer | undefined;
  /** That waits at a unix socket, by its name as in the record, if it has that as its absolute path or abstract name. */
  byUnixName(name: string): FoundPeer | undefined;
  /** The processes that have a FIFO open, none of ours. Empty also when too many were looked for. */
  holdersOf(path: string): number[];
}

/** Processes that are looked up; beyond, a peer is a pid. */
const peersMax = 1000;
/** Searches through all descriptors of all processes. */
const searchesMax = 100;
const commandLineMax = 64 << 10;

export function createPeerFinder(digester: Digester, hashes: readonly HashName[]): PeerFinder {
  const byPid = new Map<number, FoundPeer>();
  const bySocket = new Map<bigint, FoundPeer | undefined>();
  let searches = 0;

  function lookUp(pid: number): FoundPeer {
    const known = byPid.get(pid);
    if (known) return known;
    const found: FoundPeer = { peer: { pid }, commandLine: "" };
    if (byPid.size >= peersMax) return found;
    byPid.set(pid, found);
    const program = programOf(pid);
    if (program !== undefined) found.peer.program = program;
    found.commandLine = commandLineOf(pid);
    digestProgram(pid, digester, hashes, found.peer);
    return found;
  }

  function holderOf(inode: bigint): FoundPeer | undefined {
    if (bySocket.has(inode)) return bySocket.get(inode);
    if (bySocket.size >= searchesMax) return undefined;
    const [pid] = holders(`socket:[${inode}]`);
    const found = pid === undefined ? undefined : lookUp(pid);
    bySocket.set(inode, found);
    return found;
  }

  return {
    byPid: lookUp,
    bySocket: holderOf,
    byUnixName(name) {
      const inode = listenerAt(name);
      return inode === undefined ? undefined : holderOf(inode);
    },
    holdersOf(path) {
      if (searches >= searchesMax) return [];
      searches++;
      // The tracer has a duplicate while it looks at a descriptor.
      return [...holders(path)].filter(pid => pid !== process.pid && parentOf(pid) !== process.pid);
    },
  };
}

/** The path that the kernel runs; of another user's process, whose link may not be read, the short name. */
function programOf(pid: number): string | undefined {
  try {
    return escapeBytes(readlinkSync(`/proc/${pid}/exe`, { encoding: "buffer" })).replace(/ \(deleted\)$/, "");
  } catch {}
  try {
    return escapeBytes(readFileSync(`/proc/${pid}/comm`)).trimEnd();
  } catch {
    return undefined;
  }
}

function commandLineOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`).subarray(0, commandLineMax).toString("latin1").replaceAll("\0", " ").trimEnd();
  } catch {
    return "";
  }
}

function digestProgram(pid: number, digester: Digester, hashes: readonly HashName[], peer: NetworkPeer): void {
  let descriptor: number;
  try {
    descriptor = openSync(`/proc/${pid}/exe`, constants.O_RDONLY);
  } catch {
    return;
  }
  const bytes = fstatSync(descriptor).size;
  digester.digest({ descriptor }, { bytes, remote: false }, result => {
    closeSync(descriptor);
    if (result.kind !== "digest") return;
    peer.digest = Object.fromEntries(hashes.map((name, i) => [name, result.values[i] ?? ""]));
  });
}

/** `Num: RefCount Protocol Flags Type St Inode Path` of /proc/net/unix (proc(5)). */
function listenerAt(name: string): bigint | undefined {
  const listening = "00010000"; // __SO_ACCEPTCON
  try {
    for (const line of readFileSync("/proc/self/net/unix", "latin1").split("\n")) {
      const [, , , flags, , , inode = "", ...path] = line.trim().split(/ +/);
      if (flags === listening && path.join(" ") === name && /^\d+$/.test(inode)) return BigInt(inode);
    }
  } catch {}
  return undefined;
}

/** Processes with a descriptor whose link says this. */
function* holders(link: string): Generator<number> {
  for (const pid of readdirSync("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      for (const fd of readdirSync(`/proc/${pid}/fd`)) {
        if (readlinkSync(`/proc/${pid}/fd/${fd}`) !== link) continue;
        yield Number(pid);
        break;
      }
    } catch {
      // Gone meanwhile, or another user's.
    }
  }
}

function parentOf(pid: number): number {
  try {
    return Number(/\) \S (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, "latin1"))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

/** ` (program, process 1)`, of what is known. */
export function peerText(found: FoundPeer | undefined): string {
  const { program, pid } = found?.peer ?? {};
  const who = [program, pid === undefined ? undefined : `process ${pid}`].filter(part => part !== undefined);
  return who.length === 0 ? "" : ` (${who.join(", ")})`;
}
