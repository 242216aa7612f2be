// Descriptors that came from outside of the build: a socket that none of its processes has made (inherited, handed over with a message,
// taken by pidfd_getfd), and whatever came over such a socket. What was said on it before, and by whom, is not seen.
import type { InheritedEvent, SyscallEvent, SyscallItem } from "../native/events.ts";
import { isSocket } from "./file-types.ts";
import type { ReportGap } from "./gaps.ts";
import type { NetworkSocket } from "./observation.ts";
import { OldestFirst } from "./oldest-first.ts";
import type { ProcessNetworks } from "./process-networks.ts";
import { decodeSocketAddress, familyName, type SocketAddress, typeName } from "./socket-address.ts";

/** Sockets of the build that are known to be its own. One that is forgotten and then handed over counts as foreign: never the other way round. */
const ownMax = 262_144;

/** abi.zig's Item.argument. */
const returned = 6;
const received = 8;
const peerAddress = 9;

/** Standard input, output and error: that they lead to somebody outside is what they are for. */
const lastStandard = 2;

export class ForeignSockets {
  readonly #own = new OldestFirst<bigint>();
  /** Bounded by what a process can inherit, and by `ownMax`. */
  readonly #foreign = new OldestFirst<bigint>();
  readonly #processes: ProcessNetworks;
  readonly #reportGap: ReportGap;
  /** The command was given a socket of whatever kind. */
  anyInherited = false;

  constructor(processes: ProcessNetworks, reportGap: ReportGap) {
    this.#processes = processes;
    this.#reportGap = reportGap;
  }

  /** By a process of the build. */
  onMade(inode: bigint): void {
    this.#remember(this.#own, inode);
  }

  /** Made by a process of the build. */
  isOwn(inode: bigint): boolean {
    return this.#own.has(inode);
  }

  onInherited(event: InheritedEvent): void {
    if (!isSocket(event.file)) return;
    this.anyInherited = true;
    const { process, descriptor, socket: facts } = event;
    const peer = facts && decodeSocketAddress(facts.peer);
    this.#remember(this.#foreign, event.file.inode);
    const socket = this.#add(process, { fd: descriptor, origin: "inherited", ...facts, peer });
    // Without facts nobody knows.
    const isConnected = facts === undefined || isTalk(socket.family, peer);
    if (isConnected && (descriptor > lastStandard || peer?.port !== undefined)) this.#report(process, socket);
  }

  /** recvmsg, recvmmsg, pidfd_getfd. */
  onReceived(event: SyscallEvent): void {
    const origin = event.name === "pidfd_getfd" ? "pidfd_getfd" : "recvmsg";
    const argument = origin === "pidfd_getfd" ? returned : received;
    const carrier = event.items.find(item => item.kind === "descriptor" && item.argument === 0);
    const isForeignCarrier = carrier?.kind === "descriptor" && this.#foreign.has(carrier.file.inode);
    for (const [i, item] of event.items.entries()) {
      if (item.kind !== "descriptor" || item.argument !== argument) continue;
      const { inode } = item.file;
      if (!isSocket(item.file)) {
        if (isForeignCarrier) this.#reportGap("foreign-descriptor", event.process, item.link);
        continue;
      }
      if (this.#own.has(inode) || this.#foreign.has(inode)) continue;
      this.#remember(this.#foreign, inode);
      const [facts, address] = [event.items[i + 1], event.items[i + 2]];
      const known = facts?.kind === "socket" && facts.argument === argument ? { domain: facts.domain, type: facts.type } : {};
      const hasPeer = facts?.kind === "socket" && address?.kind === "bytes" && address.argument === peerAddress;
      const peer = hasPeer ? decodeSocketAddress(address.bytes) : undefined;
      this.#report(event.process, this.#add(event.process, { fd: numberOf(event, event.items[i - 1]), origin, ...known, peer }));
    }
  }

  #add(
    process: number,
    {
      fd,
      origin,
      domain,
      type,
      peer,
    }: Pick<NetworkSocket, "fd" | "origin"> & { domain?: number; type?: number; peer?: SocketAddress | undefined },
  ): NetworkSocket {
    const socket: NetworkSocket = {
      family: domain === undefined ? "unknown" : familyName(domain),
      type: type === undefined ? "unknown" : typeName(type),
      protocol: 0,
      fd,
      ...(origin === undefined ? {} : { origin }),
      ...(peer === undefined ? {} : { address: peer.address }),
      ...(peer?.port === undefined ? {} : { port: peer.port }),
    };
    this.#processes.addSocket(process, socket);
    return socket;
  }

  #report(process: number, { family, address, port, origin, fd }: NetworkSocket): void {
    const host = address?.includes(":") ? `[${address}]` : address;
    const to = address === undefined || address === "" ? "" : ` to ${host}${port === undefined ? "" : `:${port}`}`;
    this.#reportGap("foreign-descriptor", process, `${family}${to} (${origin}${fd < 0 ? "" : `, descriptor ${fd}`})`);
  }

  #remember(inodes: OldestFirst<bigint>, inode: bigint): void {
    if (inodes.size >= ownMax) {
      const oldest = inodes.oldest();
      if (oldest !== undefined) inodes.delete(oldest);
    }
    inodes.add(inode);
  }
}

/** Connected, and not to the kernel. */
const isTalk = (family: string, peer: SocketAddress | undefined): boolean =>
  peer !== undefined && family !== "AF_NETLINK" && family !== "AF_ALG";

/** With a message the number comes before its item. */
function numberOf(event: SyscallEvent, before: SyscallItem | undefined): number {
  if (event.name === "pidfd_getfd") return Number(event.result);
  if (before?.kind !== "bytes" || before.bytes.length < 4) return -1;
  return new DataView(before.bytes.buffer, before.bytes.byteOffset, 4).getInt32(0, true);
}
