// Observer of sockets: made, connected, bound, listened on, sent to, and what they are called. A socket is its inode, which neither
// dup nor fork nor a passing over another socket changes; `fd` in an entry is its number in that call.
import type { FileIdentity, InheritedEvent, SyscallEvent, SyscallItem } from "../native/events.ts";
import { AddressNames } from "./address-names.ts";
import { Connections, type Entry } from "./connections.ts";
import { Delegation } from "./delegation.ts";
import { type ProcessContacts, summarise } from "./endpoints.ts";
import { fileKey, isSocket } from "./file-types.ts";
import {
  dnsDatagramSpeaker,
  dnsStreamSpeaker,
  firstBytesSpeaker,
  type Learned,
  mayBeQuic,
  quicSpeaker,
  type Speaker,
} from "./first-sends.ts";
import type { ReportGap } from "./gaps.ts";
import { DnsLookups } from "./lookups.ts";
import { resultName } from "./names.ts";
import type { Completeness, NetworkConnection, NetworkSocket, NetworkSummary, ProcessNetwork } from "./observation.ts";
import { OldestFirst } from "./oldest-first.ts";
import type { PeerFinder } from "./peers.ts";
import { hostName } from "./protocols/host.ts";
import { decodeSocketAddress, familyName, type SocketAddress, typeName } from "./socket-address.ts";

interface Facts {
  sockets: Map<string, NetworkSocket>;
  connections: Connections;
  lookups: DnsLookups;
}

/** A process's entry that waits for what its socket's bytes say. */
interface Open {
  process: number;
  entry: Entry;
}

interface Socket {
  key: string;
  inode: bigint;
  type: string | undefined;
  bound: SocketAddress | undefined;
  peer: SocketAddress | undefined;
  open: Open | undefined;
  /** Of what it is connected to. */
  speaker: Speaker | undefined;
  /** Of a datagram socket: by the address that each datagram has. */
  speakers: Map<string, { speaker: Speaker; open: Open }> | undefined;
}

type Handler = (network: Network, event: SyscallEvent) => void;
const handlers: Readonly<Record<string, Handler>> = {
  socket: (network, event) => network.onSocket(event),
  connect: (network, event) => network.onConnect(event),
  bind: (network, event) => network.onBind(event),
  listen: (network, event) => network.onListen(event),
  accept: (network, event) => network.onAccept(event),
  accept4: (network, event) => network.onAccept(event),
  sendto: (network, event) => network.onSend(event, { address: 4, data: 1 }),
  sendmsg: (network, event) => network.onSend(event, { address: 1, data: messageData }),
  sendmmsg: (network, event) => network.onSend(event, { address: 1, data: messageData }),
  write: (network, event) => network.onSend(event, { address: none, data: messageData }),
  writev: (network, event) => network.onSend(event, { address: none, data: messageData }),
  read: (network, event) => network.onReceive(event),
  readv: (network, event) => network.onReceive(event),
  recvfrom: (network, event) => network.onReceive(event),
  recvmsg: (network, event) => network.onReceive(event),
  recvmmsg: (network, event) => network.onReceive(event),
  getsockopt: (network, event) => network.onOutcome(event),
  shutdown: (network, event) => network.onEnd(event, 0),
  // Data that the caller has never seen, and so have not we.
  sendfile: (network, event) => network.onEnd(event, 0),
  sendfile64: (network, event) => network.onEnd(event, 0),
  splice: (network, event) => network.onEnd(event, 2),
  vmsplice: (network, event) => network.onEnd(event, 0),
};

/** abi.zig's Item.argument of what a message points at. */
const messageData = 7;
const madeByCall = 6;
const none = -1;
const dnsPort = 53;
const quicPort = 443;
const inProgress = "EINPROGRESS";
const fastOpen = 0x2000_0000n;

const socketsMax = 65_536;
/** Sockets whose bytes are waited for at the same time; beyond, the oldest is what it is. */
const undecidedMax = 4096;
/** Datagram peers of one socket. */
const peersMax = 256;
const socketEntriesMax = 10_000;

export interface NetworkOptions {
  reportGap: ReportGap;
  /** 0 for the command. */
  parentOf: (process: number) => number;
  /** Of a pid in our namespace, if it is or was a process of the build. */
  isTraced: (pid: number) => boolean;
  findPeer: PeerFinder;
  /** Nothing more is expected of this socket's bytes. */
  onUnderstood?: (inode: bigint) => void;
}

export class Network {
  readonly #byProcess = new Map<number, Facts>();
  readonly #sockets = new Map<string, Socket>();
  readonly #undecided = new OldestFirst<Socket>();
  readonly #keys = new OldestFirst<string>();
  readonly #names: AddressNames;
  readonly #delegation: Delegation;
  readonly #options: NetworkOptions;
  events = 0;

  constructor(options: NetworkOptions) {
    this.#options = options;
    this.#names = new AddressNames(options.parentOf);
    this.#delegation = new Delegation(options);
  }

  onInherited(event: InheritedEvent): void {
    if (!isSocket(event.file)) return;
    const socket = { family: "unknown", type: "unknown", protocol: 0, fd: event.descriptor };
    this.#addSocket(event.process, socket);
  }

  onSyscall(event: SyscallEvent): void {
    const handle = Object.hasOwn(handlers, event.name) ? handlers[event.name] : undefined;
    handle?.(this, event);
  }

  factsOf(process: number): ProcessNetwork {
    const facts = this.#byProcess.get(process);
    if (!facts) return { sockets: [], connections: [], dnsLookups: [] };
    const summed = facts.connections.summed();
    return {
      sockets: [...facts.sockets.values()],
      connections: facts.connections.list().map(entry => entry.connection),
      dnsLookups: facts.lookups.list(),
      ...(summed.length > 0 ? { summed } : {}),
    };
  }

  /** After the last event and the last digest: what is still waited for will not come. */
  finish(): void {
    for (const socket of this.#undecided.values()) this.#finishSocket(socket);
    this.#delegation.finish();
  }

  /** `serials` in the order of creation. */
  summary(serials: Iterable<number>, completeness: Completeness): NetworkSummary {
    return summarise(this.#contacts(serials), completeness);
  }

  *#contacts(serials: Iterable<number>): Generator<ProcessContacts> {
    for (const process of serials) {
      const facts = this.#byProcess.get(process);
      if (!facts) continue;
      const entries = new Map(facts.connections.list().map(entry => [entry.connection, entry]));
      const ancestors: number[] = [];
      for (let at = this.#options.parentOf(process); at > 0; at = this.#options.parentOf(at)) ancestors.push(at);
      yield {
        process,
        ancestors,
        network: this.factsOf(process),
        protocolOf: connection => entries.get(connection)?.protocol ?? "unknown",
        isIdle: connection => entries.get(connection)?.isIdle ?? false,
      };
    }
  }

  // -------------------------------------------------------------------------------------------
  // Calls

  onSocket(event: SyscallEvent): void {
    this.events++;
    if (event.result < 0n) return;
    const [family, type, protocol] = [int(event, 0), int(event, 1), int(event, 2)];
    const fd = Number(event.result);
    const made = { family: familyName(family), type: typeName(type), protocol, fd };
    this.#addSocket(event.process, made);
    const item = descriptorItem(event, madeByCall);
    const key = item ? fileKey(item.file) : `${event.process} ${fd}`;
    this.#forget(key);
    this.#remember(key, item?.file.inode ?? 0n).type = made.type;
  }

  onConnect(event: SyscallEvent): void {
    const socket = this.#socketOf(event);
    const address = addressesIn(event, 1)[0] ?? unnamed;
    const result = resultOf(event);
    // Undoes the last connect.
    if (address.family === "AF_UNSPEC" && result === 0) {
      this.#finishSocket(socket);
      return;
    }
    const entry = this.#entry(event, "connect", address, socket.type);
    if (address.port === dnsPort) this.#factsFor(event.process).lookups.add(address, []);
    if (result !== 0 && result !== inProgress) {
      this.#settle({ process: event.process, entry });
      return;
    }
    this.#finishSocket(socket);
    this.#delegation.onContact(event, address, entry.connection);
    const open = { process: event.process, entry };
    const speaker = speakerFor(socket.type, address);
    // The kernel reports nothing sent on it, so only where the bytes are watched.
    entry.isIdle = socket.type === "SOCK_DGRAM" && (address.port === dnsPort || address.port === quicPort);
    socket.peer = address;
    // A name server's own name is not asked for.
    if (!speaker || (address.port === dnsPort && result === 0)) this.#settle(open);
    if (speaker) this.#await(socket, open, speaker);
  }

  onBind(event: SyscallEvent): void {
    const socket = this.#socketOf(event);
    const address = addressesIn(event, 1)[0] ?? unnamed;
    const entry = this.#entry(event, "bind", address, socket.type);
    if (event.result === 0n) {
      socket.bound = address;
      this.#delegation.onBound(socket.inode, address);
    }
    this.#settle({ process: event.process, entry });
  }

  onListen(event: SyscallEvent): void {
    const socket = this.#socketOf(event);
    if (event.result === 0n) this.#delegation.onBound(socket.inode, socket.bound ?? unnamed);
    this.#settle({ process: event.process, entry: this.#entry(event, "listen", socket.bound ?? unnamed, socket.type) });
  }

  onAccept(event: SyscallEvent): void {
    const address = addressesIn(event, 1)[0] ?? unnamed;
    this.#settle({ process: event.process, entry: this.#entry(event, "accept", address, "SOCK_STREAM") });
  }

  /** Each datagram of several has its address before its data, if it has one. A single one's may come behind. */
  onSend(event: SyscallEvent, at: { address: number; data: number }): void {
    let address = event.name === "sendto" ? addressesIn(event, at.address)[0] : undefined;
    if (address) this.#addressed(event, address);
    for (const item of event.items) {
      if (item.kind !== "bytes") continue;
      if (item.argument === at.address && event.name !== "sendto") {
        address = decodeSocketAddress(item.bytes);
        if (address) this.#addressed(event, address);
      } else if (item.argument === at.data || item.argument === messageData) {
        this.#sent(event, address, item);
        address = undefined;
      }
    }
  }

  #addressed(event: SyscallEvent, address: SocketAddress): void {
    const socket = this.#socketOf(event);
    const entry = this.#entry(event, "sendto", address, socket.type);
    if (address.port === dnsPort) this.#factsFor(event.process).lookups.add(address, []);
    const open = { process: event.process, entry };
    if (event.result < 0n && entry.connection.result !== inProgress) {
      this.#settle(open);
      return;
    }
    this.#delegation.onContact(event, address, entry.connection);
    // TCP fast open: a connect with its first bytes.
    if (socket.type === "SOCK_STREAM" && ((event.arguments[3] ?? 0n) & fastOpen) !== 0n) {
      this.#finishSocket(socket);
      socket.peer = address;
      const speaker = speakerFor(socket.type, address);
      if (speaker) {
        this.#await(socket, open, speaker);
        return;
      }
    }
    this.#datagramTo(socket, address, open);
  }

  /** An unconnected socket may talk to many at once. */
  #datagramTo(socket: Socket, address: SocketAddress, open: Open): void {
    const key = `${address.address} ${address.port}`;
    const known = socket.speakers?.get(key);
    if (known || address.port === undefined) {
      this.#settle(open);
      return;
    }
    socket.speakers ??= new Map();
    if (socket.speakers.size >= peersMax) {
      const oldest = socket.speakers.entries().next();
      if (!oldest.done) {
        this.#settle(oldest.value[1].open);
        socket.speakers.delete(oldest.value[0]);
      }
    }
    const speaker = address.port === dnsPort ? dnsDatagramSpeaker() : quicSpeaker();
    if (address.port === dnsPort) this.#settle(open);
    socket.speakers.set(key, { speaker, open });
    this.#wait(socket);
  }

  #sent(event: SyscallEvent, address: SocketAddress | undefined, item: SyscallItem & { kind: "bytes" }): void {
    if (event.result < 0n) return;
    const socket = this.#socketOf(event);
    // sendmmsg returns how many messages went out, all others how many bytes.
    const length = event.name === "sendmmsg" ? item.bytes.length : Math.min(Number(event.result), item.bytes.length);
    const cut = event.name === "sendmmsg" ? item.cut === true : Number(event.result) > item.bytes.length;
    const bytes = item.bytes.subarray(0, length);
    const addressed = address && socket.speakers?.get(`${address.address} ${address.port}`);
    if (addressed) {
      const { speaker, open } = addressed;
      // Of what is no QUIC there is nothing to wait for.
      const learned = address.port === dnsPort || mayBeQuic(bytes) ? speaker.sent(bytes, cut) : speaker.finish();
      for (const one of learned) this.#learn(event.process, open, one, address);
      if (speaker.done) this.#settle(open);
      return;
    }
    if (!socket.speaker || !socket.open) return;
    socket.open.entry.isIdle = false;
    if (socket.open.entry.connection.result === inProgress) socket.open.entry.connection.result = 0;
    this.#hear(event.process, socket, socket.speaker.sent(bytes, cut));
  }

  onReceive(event: SyscallEvent): void {
    if (event.result <= 0n) return;
    const socket = this.#socketOf(event);
    for (const item of event.items) {
      if (item.kind !== "bytes" || item.argument !== messageData) continue;
      if (socket.speaker) {
        this.#hear(event.process, socket, socket.speaker.received(item.bytes));
        continue;
      }
      // Whichever server it is that answers here.
      for (const { speaker, open } of socket.speakers?.values() ?? []) {
        const learned = speaker.received(item.bytes);
        for (const one of learned) this.#learn(event.process, open, one, undefined);
        if (learned.length > 0) break;
      }
    }
  }

  /** getsockopt(SO_ERROR): what became of a connect that took its time. */
  onOutcome(event: SyscallEvent): void {
    const socket = this.#socketOf(event);
    const value = event.items.find(item => item.kind === "bytes" && item.argument === 3);
    if (!socket.open || value?.kind !== "bytes" || value.bytes.length < 4 || event.result !== 0n) return;
    const { connection } = socket.open.entry;
    if (connection.result !== inProgress) return;
    const view = new DataView(value.bytes.buffer, value.bytes.byteOffset, 4);
    const errno = view.getInt32(0, true);
    connection.result = resultName(BigInt(-errno));
    if (errno !== 0) this.#finishSocket(socket);
  }

  /** What is sent from now on is not seen. */
  onEnd(event: SyscallEvent, argument: number): void {
    if (event.result < 0n) return;
    const item = descriptorItem(event, argument);
    if (!item || !isSocket(item.file)) return;
    const socket = this.#sockets.get(fileKey(item.file));
    if (socket) this.#finishSocket(socket);
  }

  // -------------------------------------------------------------------------------------------
  // What bytes say

  #hear(process: number, socket: Socket, learned: Learned[]): void {
    for (const one of learned) {
      if (!socket.open) return;
      socket.open = this.#learn(process, socket.open, one, socket.peer);
    }
    if (socket.speaker?.done) this.#finishSocket(socket);
  }

  /** Returns what later bytes are about. */
  #learn(process: number, open: Open, learned: Learned, server: SocketAddress | undefined): Open {
    const { connection } = open.entry;
    switch (learned.kind) {
      case "name":
        connection.hostname = learned.hostname;
        connection.hostnameSource = learned.source;
        if (learned.ech) connection.ech = true;
        return open;
      case "target": {
        const inner: NetworkConnection = { ...connection, target: learned.target };
        if (learned.hostname !== undefined) Object.assign(inner, { hostname: learned.hostname, hostnameSource: learned.source });
        this.#settle(open);
        const entry = this.#factsFor(open.process).connections.add(inner, open.entry.protocol);
        return { process: open.process, entry };
      }
      case "dns": {
        const { message } = learned;
        if (!message.response) {
          const at = server ?? { family: connection.family, address: connection.address, port: dnsPort };
          const lookups = this.#factsFor(process).lookups;
          lookups.add(at, message.questions);
          return open;
        }
        for (const { name, address } of message.addresses) {
          const host = hostName(name);
          if (host !== undefined) this.#names.learn(process, address, host);
        }
        return open;
      }
    }
  }

  // -------------------------------------------------------------------------------------------
  // Waiting for bytes

  #await(socket: Socket, open: Open, speaker: Speaker): void {
    socket.open = open;
    socket.speaker = speaker;
    this.#wait(socket);
  }

  #wait(socket: Socket): void {
    if (this.#undecided.has(socket)) return;
    if (this.#undecided.size >= undecidedMax) {
      const oldest = this.#undecided.oldest();
      if (oldest) this.#finishSocket(oldest);
    }
    this.#undecided.add(socket);
  }

  #finishSocket(socket: Socket): void {
    if (!this.#undecided.delete(socket)) return;
    const { speaker, speakers } = socket;
    socket.speaker = undefined;
    socket.speakers = undefined;
    for (const one of speaker?.finish() ?? []) {
      if (socket.open) socket.open = this.#learn(socket.open.process, socket.open, one, socket.peer);
    }
    if (socket.open) this.#settle(socket.open);
    socket.open = undefined;
    for (const { speaker: other, open } of speakers?.values() ?? []) {
      for (const one of other.finish()) this.#learn(open.process, open, one, undefined);
      this.#settle(open);
    }
    if (socket.inode !== 0n) this.#options.onUnderstood?.(socket.inode);
  }

  #settle({ process, entry }: Open): void {
    const { connection } = entry;
    const { family, address, port, syscall } = connection;
    const isOutgoing = syscall === "connect" || syscall === "sendto";
    const isInet = family === "AF_INET" || family === "AF_INET6";
    if (!entry.settled && isOutgoing && isInet && port !== dnsPort && connection.hostname === undefined && !connection.target) {
      const name = this.#names.nameOf(process, address);
      if (name !== undefined) Object.assign(connection, { hostname: name, hostnameSource: "dns" });
    }
    this.#factsFor(process).connections.settle(entry);
  }

  // -------------------------------------------------------------------------------------------
  // Tables

  #entry(event: SyscallEvent, syscall: NetworkConnection["syscall"], address: SocketAddress, type?: string): Entry {
    this.events++;
    const connection: NetworkConnection = { syscall, ...address, fd: int(event, 0), time: event.timeNs };
    if (!event.entryOnly) connection.result = resultName(event.result);
    const protocol = protocolName(address.family, type);
    return this.#factsFor(event.process).connections.add(connection, protocol);
  }

  #addSocket(process: number, socket: NetworkSocket): void {
    const { sockets } = this.#factsFor(process);
    const key = Object.values(socket).join(" ");
    if (sockets.has(key)) return;
    if (sockets.size < socketEntriesMax) sockets.set(key, socket);
    else this.#options.reportGap("limit", process, "sockets");
  }

  #socketOf(event: SyscallEvent): Socket {
    const item = descriptorItem(event, 0);
    // Without the inode (the descriptor was bad, say) the number must do.
    const key = item ? fileKey(item.file) : `${event.process} ${int(event, 0)}`;
    const socket = this.#sockets.get(key) ?? this.#remember(key, item?.file.inode ?? 0n);
    for (const facts of event.items) if (facts.kind === "socket" && facts.argument === 0) socket.type = typeName(facts.type);
    return socket;
  }

  #remember(key: string, inode: bigint): Socket {
    const socket: Socket = {
      key,
      inode,
      type: undefined,
      bound: undefined,
      peer: undefined,
      open: undefined,
      speaker: undefined,
      speakers: undefined,
    };
    if (this.#sockets.size >= socketsMax) {
      const oldest = this.#keys.oldest();
      if (oldest !== undefined) this.#forget(oldest);
    }
    this.#sockets.set(key, socket);
    this.#keys.add(key);
    return socket;
  }

  #forget(key: string): void {
    const socket = this.#sockets.get(key);
    if (!socket) return;
    this.#finishSocket(socket);
    this.#sockets.delete(key);
    this.#keys.delete(key);
  }

  #factsFor(process: number): Facts {
    let facts = this.#byProcess.get(process);
    if (!facts) {
      const report = (what: string) => () => this.#options.reportGap("limit", process, what);
      facts = {
        sockets: new Map(),
        connections: new Connections(report("connections")),
        lookups: new DnsLookups(report("dnsLookups")),
      };
      this.#byProcess.set(process, facts);
    }
    return facts;
  }
}

function protocolName(family: string, type: string | undefined): string {
  if (family !== "AF_INET" && family !== "AF_INET6") return family.replace(/^AF_/, "").toLowerCase();
  switch (type) {
    case "SOCK_STREAM":
      return "tcp";
    case "SOCK_DGRAM":
      return "udp";
    case "SOCK_RAW":
      return "raw";
    default:
      return "ip";
  }
}

const unnamed: SocketAddress = { family: "AF_UNSPEC", address: "" };

/** Undefined where bytes name nobody. */
function speakerFor(type: string | undefined, { family, port }: SocketAddress): Speaker | undefined {
  if ((family !== "AF_INET" && family !== "AF_INET6") || port === undefined) return undefined;
  if (type === "SOCK_DGRAM") return port === dnsPort ? dnsDatagramSpeaker() : quicSpeaker();
  if (type !== undefined && type !== "SOCK_STREAM") return undefined;
  return port === dnsPort ? dnsStreamSpeaker() : firstBytesSpeaker();
}

function addressesIn(event: SyscallEvent, argument: number): SocketAddress[] {
  const found: SocketAddress[] = [];
  for (const item of event.items) {
    if (item.kind !== "bytes" || item.argument !== argument) continue;
    const address = decodeSocketAddress(item.bytes);
    if (address) found.push(address);
  }
  return found;
}

function descriptorItem(event: SyscallEvent, argument: number): { file: FileIdentity } | undefined {
  for (const item of event.items) if (item.kind === "descriptor" && item.argument === argument) return item;
  return undefined;
}

const resultOf = (event: SyscallEvent): 0 | string | undefined => (event.entryOnly ? undefined : resultName(event.result));

/** Registers hold ints in their lower half. */
const int = (event: SyscallEvent, index: number): number => Number(BigInt.asIntN(32, event.arguments[index] ?? 0n));
