// Observer of sockets: made, connected, bound, listened on, sent to, and what they are called. A socket is its inode, which neither
// dup nor fork nor a passing over another socket changes; `fd` in an entry is its number in that call.
import type { InheritedEvent, SyscallEvent, TrafficEvent } from "../native/events.ts";
import { itemOf } from "./call-items.ts";
import { Clients, clientAddress } from "./clients.ts";
import { addBytes, type Entry } from "./connections.ts";
import { Delegation, type SocketItem } from "./delegation.ts";
import { summarise } from "./endpoints.ts";
import { fileKey, isSocket } from "./file-types.ts";
import { dnsDatagramSpeaker, dnsStreamSpeaker, firstBytesSpeaker, quicSpeaker, type Speaker } from "./first-sends.ts";
import { ForeignSockets } from "./foreign-sockets.ts";
import type { ReportGap } from "./gaps.ts";
import { dnsPort, Hearing, inProgress } from "./hearing.ts";
import { resultName } from "./names.ts";
import type { Completeness, NetworkConnection, NetworkSummary, ProcessNetwork } from "./observation.ts";
import type { PeerFinder } from "./peers.ts";
import { ProcessNetworks } from "./process-networks.ts";
import { decodeSocketAddress, familyName, type SocketAddress, typeName } from "./socket-address.ts";
import { type Open, type Socket, Sockets } from "./sockets.ts";

type Handler = (network: Network, event: SyscallEvent) => void;
const handlers: Readonly<Record<string, Handler>> = {
  socket: (network, event) => network.onSocket(event),
  socketpair: (network, event) => network.onMade(event),
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
  recvmmsg_time64: (network, event) => network.onReceive(event),
  pidfd_getfd: (network, event) => network.onReceive(event),
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
/** The same: the socket as its facts are for each address of several messages but the first, in the order of the addresses. */
const otherReceiver = 12;
const madeByCall = 6;
const none = -1;
const quicPort = 443;
const fastOpen = 0x2000_0000n;
/** Those that are waited for at the same time; zig/traffic.zig waits for fewer. */
const trafficMax = 65_536;

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
  readonly #processes: ProcessNetworks;
  readonly #sockets: Sockets;
  readonly #hearing: Hearing;
  readonly #delegation: Delegation;
  readonly #foreign: ForeignSockets;
  readonly #clients: Clients<Open>;
  /** Connections whose end has not been told. */
  readonly #byCookie = new Map<bigint, Entry>();
  /** Of some accepted connection the kernel could not be asked whose it is. */
  #anyUnknownClient = false;
  events = 0;

  constructor(options: NetworkOptions) {
    this.#processes = new ProcessNetworks(options.reportGap, options.parentOf);
    this.#hearing = new Hearing({ processes: this.#processes, ...options });
    this.#sockets = new Sockets(socket => this.#hearing.stop(socket));
    this.#delegation = new Delegation(options);
    this.#foreign = new ForeignSockets(this.#processes, options.reportGap);
    this.#clients = new Clients<Open>({
      isOwn: inode => this.#foreign.isOwn(inode),
      onInside: accepted => {
        // Every client has its own: without, those of the build are one entry.
        delete accepted.entry.connection.port;
        this.#hearing.settle(accepted);
      },
      onOutside: (accepted, server, inode) => {
        this.#delegation.onClient(accepted.process, accepted.entry.connection, server, inode);
        this.#hearing.settle(accepted);
      },
    });
  }

  onInherited(event: InheritedEvent): void {
    this.#foreign.onInherited(event);
  }

  onSyscall(event: SyscallEvent): void {
    const handle = Object.hasOwn(handlers, event.name) ? handlers[event.name] : undefined;
    handle?.(this, event);
  }

  factsOf(process: number): ProcessNetwork {
    return this.#processes.factsOf(process);
  }

  /** After the last event and the last digest: what is still waited for will not come. */
  finish(): void {
    this.#hearing.finish();
    this.#clients.finish();
    this.#delegation.finish();
  }

  /** `serials` in the order of creation. */
  summary(serials: Iterable<number>, completeness: Completeness): NetworkSummary {
    const summary = summarise(this.#processes.contacts(serials), completeness);
    return this.#foreign.anyInherited || this.#anyUnknownClient ? { ...summary, hermetic: false } : summary;
  }

  // -------------------------------------------------------------------------------------------
  // Calls

  onSocket(event: SyscallEvent): void {
    this.events++;
    if (event.result < 0n) return;
    const [family, type, protocol] = [int(event, 0), int(event, 1), int(event, 2)];
    const fd = Number(event.result);
    this.#processes.addSocket(event.process, { family: familyName(family), type: typeName(type), protocol, fd });
    const item = itemOf(event, "descriptor", madeByCall);
    const key = item ? fileKey(item.file) : `${event.process} ${fd}`;
    this.#sockets.make(key, item?.file.inode ?? 0n).type = typeName(type);
    this.onMade(event);
  }

  onMade(event: SyscallEvent): void {
    for (const item of event.items) {
      if (item.kind === "descriptor" && item.argument === madeByCall) this.#foreign.onMade(item.file.inode);
    }
  }

  onConnect(event: SyscallEvent): void {
    const socket = this.#socketOf(event);
    const address = addressesIn(event, 1)[0] ?? unnamed;
    const result = resultOf(event);
    // Undoes the last connect.
    if (address.family === "AF_UNSPEC" && result === 0) {
      this.#hearing.stop(socket);
      return;
    }
    const entry = this.#entry(event, "connect", address, socket.type);
    if (address.port === dnsPort) this.#processes.lookupsOf(event.process).add(address, []);
    if (result !== 0 && result !== inProgress) {
      this.#hearing.settle({ process: event.process, entry });
      return;
    }
    this.#hearing.stop(socket);
    this.#delegation.onContact(event, address, entry.connection, itemOf(event, "socket", 0));
    const open = { process: event.process, entry };
    const speaker = speakerFor(socket.type, address);
    // The kernel reports nothing sent on it, so only where the bytes are watched.
    entry.isIdle = socket.type === "SOCK_DGRAM" && (address.port === dnsPort || address.port === quicPort);
    socket.peer = address;
    this.#clients.onConnected(event);
    this.#expectTraffic(event, entry);
    // A name server's own name is not asked for.
    if (!speaker || (address.port === dnsPort && result === 0)) this.#hearing.settle(open);
    if (speaker) this.#hearing.listen(socket, open, speaker);
  }

  #expectTraffic(event: SyscallEvent, entry: Entry): void {
    for (const item of event.items) {
      if (item.kind !== "socket" || item.cookie === undefined) continue;
      if (this.#byCookie.size < trafficMax) this.#byCookie.set(item.cookie, entry);
    }
  }

  onTraffic({ cookie, sent, received }: TrafficEvent): void {
    const entry = this.#byCookie.get(cookie);
    if (!entry) return;
    this.#byCookie.delete(cookie);
    addBytes(entry, { sent: Number(sent), received: Number(received) });
  }

  onBind(event: SyscallEvent): void {
    const socket = this.#socketOf(event);
    const address = addressesIn(event, 1)[0] ?? unnamed;
    const entry = this.#entry(event, "bind", address, socket.type);
    if (event.result === 0n) {
      socket.bound = address;
      this.#delegation.onBound(socket.inode, address);
    }
    this.#hearing.settle({ process: event.process, entry });
  }

  onListen(event: SyscallEvent): void {
    const socket = this.#socketOf(event);
    if (event.result === 0n) this.#delegation.onBound(socket.inode, socket.bound ?? unnamed);
    this.#hearing.settle({ process: event.process, entry: this.#entry(event, "listen", socket.bound ?? unnamed, socket.type) });
  }

  onAccept(event: SyscallEvent): void {
    this.onMade(event);
    // Who accepts need not ask for it.
    const address = clientAddress(event, madeByCall) ?? addressesIn(event, 1)[0] ?? unnamed;
    const entry = this.#entry(event, "accept", address, "SOCK_STREAM");
    const accepted = { process: event.process, entry };
    if (event.result >= 0n && !event.entryOnly) {
      if (!itemOf(event, "socket", madeByCall)) this.#anyUnknownClient = true;
      this.#expectTraffic(event, entry);
      if (this.#clients.onAccepted(event, madeByCall, accepted)) return;
      this.#delegation.onAccepted(event, madeByCall, entry.connection);
    }
    this.#hearing.settle(accepted);
  }

  /** Each datagram of several has its address before its data, if it has one. A single one's may come behind. */
  onSend(event: SyscallEvent, at: { address: number; data: number }): void {
    let address = event.name === "sendto" ? addressesIn(event, at.address)[0] : undefined;
    const first = itemOf(event, "socket", 0);
    if (address) this.#addressed(event, address, first);
    const facts = event.items.filter((item): item is SocketItem => item.kind === "socket" && item.argument === otherReceiver);
    const receivers = new Map<string, SocketItem | undefined>();
    for (const item of event.items) {
      if (item.kind !== "bytes") continue;
      if (item.argument === at.address && event.name !== "sendto") {
        address = decodeSocketAddress(item.bytes);
        if (item.bytes.length === 0) continue;
        const key = Buffer.from(item.bytes).toString("hex");
        if (!receivers.has(key)) receivers.set(key, receivers.size === 0 ? first : facts[receivers.size - 1]);
        if (address) this.#addressed(event, address, receivers.get(key));
      } else if (item.argument === at.data || item.argument === messageData) {
        this.#sent(event, address, item);
        address = undefined;
      }
    }
  }

  #addressed(event: SyscallEvent, address: SocketAddress, facts: SocketItem | undefined): void {
    const socket = this.#socketOf(event);
    const entry = this.#entry(event, "sendto", address, socket.type);
    if (address.port === dnsPort) this.#processes.lookupsOf(event.process).add(address, []);
    const open = { process: event.process, entry };
    if (event.result < 0n && entry.connection.result !== inProgress) {
      this.#hearing.settle(open);
      return;
    }
    this.#delegation.onContact(event, address, entry.connection, facts);
    // TCP fast open: a connect with its first bytes.
    if (socket.type === "SOCK_STREAM" && ((event.arguments[3] ?? 0n) & fastOpen) !== 0n) {
      this.#hearing.stop(socket);
      this.#clients.onConnected(event);
      socket.peer = address;
      const speaker = speakerFor(socket.type, address);
      if (speaker) {
        this.#hearing.listen(socket, open, speaker);
        return;
      }
    }
    this.#hearing.listenTo(socket, address, open);
  }

  #sent(event: SyscallEvent, address: SocketAddress | undefined, item: { bytes: Uint8Array; cut?: true }): void {
    if (event.result < 0n) return;
    // sendmmsg returns how many messages went out, all others how many bytes.
    const isCount = event.name === "sendmmsg";
    const length = isCount ? item.bytes.length : Math.min(Number(event.result), item.bytes.length);
    const cut = isCount ? item.cut === true : Number(event.result) > item.bytes.length;
    const bytes = item.bytes.subarray(0, length);
    this.#hearing.sent(event.process, this.#socketOf(event), { ...(address ? { address } : {}), bytes, cut });
  }

  onReceive(event: SyscallEvent): void {
    if (event.result < 0n) return;
    this.#foreign.onReceived(event);
    if (event.name === "pidfd_getfd" || event.result === 0n) return;
    for (const item of event.items) {
      if (item.kind === "bytes" && item.argument === messageData) {
        this.#hearing.received(event.process, this.#socketOf(event), item.bytes);
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
    if (errno !== 0) this.#hearing.stop(socket);
  }

  /** What is sent from now on is not seen. */
  onEnd(event: SyscallEvent, argument: number): void {
    if (event.result < 0n) return;
    const item = itemOf(event, "descriptor", argument);
    if (!item || !isSocket(item.file)) return;
    const socket = this.#sockets.get(fileKey(item.file));
    if (socket) this.#hearing.stop(socket);
  }

  // -------------------------------------------------------------------------------------------
  // Tables

  #entry(event: SyscallEvent, syscall: NetworkConnection["syscall"], address: SocketAddress, type?: string): Entry {
    this.events++;
    const connection: NetworkConnection = { syscall, ...address, fd: int(event, 0), time: event.timeNs };
    if (!event.entryOnly) connection.result = resultName(event.result);
    const protocol = protocolName(address.family, type);
    return this.#processes.addConnection(event.process, connection, protocol);
  }

  #socketOf(event: SyscallEvent): Socket {
    const item = itemOf(event, "descriptor", 0);
    // Without the inode (the descriptor was bad, say) the number must do.
    const key = item ? fileKey(item.file) : `${event.process} ${int(event, 0)}`;
    const socket = this.#sockets.get(key) ?? this.#sockets.make(key, item?.file.inode ?? 0n);
    const facts = itemOf(event, "socket", 0);
    if (facts) socket.type = typeName(facts.type);
    return socket;
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

const resultOf = (event: SyscallEvent): 0 | string | undefined => (event.entryOnly ? undefined : resultName(event.result));

/** Registers hold ints in their lower half. */
const int = (event: SyscallEvent, index: number): number => Number(BigInt.asIntN(32, event.arguments[index] ?? 0n));
