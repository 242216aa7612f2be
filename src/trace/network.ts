// Observer of sockets: made, connected, bound, listened on, sent to. Equal entries of a process are one: a resolver asks
// the same server 10,000 times.
import type { InheritedEvent, SyscallEvent } from "../native/events.ts";
import { isSocket } from "./file-types.ts";
import { resultName } from "./names.ts";
import type { DnsLookup, NetworkConnection, NetworkSocket } from "./observation.ts";
import { decodeSocketAddress, familyName, type SocketAddress, typeName } from "./socket-address.ts";

export interface NetworkFacts {
  sockets: NetworkSocket[];
  connections: NetworkConnection[];
  dnsLookups: DnsLookup[];
}

interface ProcessNetwork extends NetworkFacts {
  seen: Set<string>;
  /** By descriptor, from bind: what listen is about. */
  bound: Map<number, SocketAddress>;
}

/** Where a call has its sockaddr. */
const addressCalls: Readonly<Record<string, { as: NetworkConnection["syscall"]; argument: number }>> = {
  connect: { as: "connect", argument: 1 },
  bind: { as: "bind", argument: 1 },
  sendto: { as: "sendto", argument: 4 },
  sendmsg: { as: "sendto", argument: 1 },
  sendmmsg: { as: "sendto", argument: 1 },
  accept: { as: "accept", argument: 1 },
  accept4: { as: "accept", argument: 1 },
};

const dnsPort = 53;
/** Entries of one process. */
const entriesMax = 100_000;
const unnamed: SocketAddress = { family: "AF_UNSPEC", address: "" };

export class Network {
  readonly #byProcess = new Map<number, ProcessNetwork>();
  readonly #reportLimit: (process: number, what: string) => void;
  events = 0;

  constructor(options: { reportLimit: (process: number, what: string) => void }) {
    this.#reportLimit = options.reportLimit;
  }

  onInherited(event: InheritedEvent): void {
    if (!isSocket(event.file)) return;
    this.#of(event.process).sockets.push({ family: "unknown", type: "unknown", protocol: 0, fd: event.descriptor });
  }

  onSyscall(event: SyscallEvent): void {
    switch (event.name) {
      case "socket":
        this.#onSocket(event);
        return;
      case "listen":
        this.#onListen(event);
        return;
      default: {
        const call = Object.hasOwn(addressCalls, event.name) ? addressCalls[event.name] : undefined;
        if (call) this.#onAddress(event, call.as, call.argument);
      }
    }
  }

  factsOf(process: number): NetworkFacts {
    const { sockets, connections, dnsLookups } = this.#byProcess.get(process) ?? { sockets: [], connections: [], dnsLookups: [] };
    return { sockets, connections, dnsLookups };
  }

  #onSocket(event: SyscallEvent): void {
    this.events++;
    if (event.result < 0n) return;
    const [family, type, protocol] = [int(event, 0), int(event, 1), int(event, 2)];
    const socket = { family: familyName(family), type: typeName(type), protocol, fd: Number(event.result) };
    this.#add(event.process, "sockets", socket, Object.values(socket).join(" "));
  }

  #onListen(event: SyscallEvent): void {
    const fd = int(event, 0);
    this.#connection(event, "listen", fd, this.#of(event.process).bound.get(fd) ?? unnamed);
  }

  #onAddress(event: SyscallEvent, as: NetworkConnection["syscall"], argument: number): void {
    const fd = int(event, 0);
    let found = false;
    for (const item of event.items) {
      if (item.kind !== "bytes" || item.argument !== argument) continue;
      const address = decodeSocketAddress(item.bytes);
      if (!address) continue;
      found = true;
      if (as === "bind" && event.result === 0n) this.#of(event.process).bound.set(fd, address);
      this.#connection(event, as, fd, address);
    }
    // A connected socket's sendto names no address; for the others its absence is worth an entry.
    if (!found && as !== "sendto") this.#connection(event, as, fd, unnamed);
  }

  #connection(event: SyscallEvent, syscall: NetworkConnection["syscall"], fd: number, address: SocketAddress): void {
    this.events++;
    const result = event.entryOnly ? undefined : resultName(event.result);
    const connection: NetworkConnection = { syscall, ...address, fd, time: event.timeNs };
    if (result !== undefined) connection.result = result;
    this.#add(
      event.process,
      "connections",
      connection,
      `${syscall} ${fd} ${address.family} ${address.address} ${address.port} ${result}`,
    );
    if (address.port !== dnsPort || (syscall !== "connect" && syscall !== "sendto")) return;
    const lookup = { serverAddress: address.address, serverPort: dnsPort };
    this.#add(event.process, "dnsLookups", lookup, `dns ${address.address}`);
  }

  #add<K extends keyof NetworkFacts>(process: number, list: K, entry: NetworkFacts[K][number], key: string): void {
    const network = this.#of(process);
    if (network.seen.has(key)) return;
    if (network.seen.size >= entriesMax) {
      this.#reportLimit(process, "network");
      return;
    }
    network.seen.add(key);
    const entries: NetworkFacts[K][number][] = network[list];
    entries.push(entry);
  }

  #of(process: number): ProcessNetwork {
    let network = this.#byProcess.get(process);
    if (!network) {
      network = { sockets: [], connections: [], dnsLookups: [], seen: new Set(), bound: new Map() };
      this.#byProcess.set(process, network);
    }
    return network;
  }
}

/** Registers hold ints in their lower half. */
const int = (event: SyscallEvent, index: number): number => Number(BigInt.asIntN(32, event.arguments[index] ?? 0n));
