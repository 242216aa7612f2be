// Work that a build hands to somebody else over a socket of this machine: what that process does for it is not seen. A peer that is
// itself a process of the build is seen like any other, and none of this.
import type { SyscallEvent, SyscallItem } from "../native/events.ts";
import { itemOf } from "./call-items.ts";
import type { ReportGap } from "./gaps.ts";
import type { NetworkConnection, NetworkPeer } from "./observation.ts";
import { type FoundPeer, type PeerFinder, peerText } from "./peers.ts";
import { serviceName } from "./services.ts";
import { isLoopback, type SocketAddress } from "./socket-address.ts";

export type SocketItem = SyscallItem & { kind: "socket" };

export interface DelegationOptions {
  reportGap: ReportGap;
  isTraced: (pid: number) => boolean;
  findPeer: PeerFinder;
}

/** Places where a process of the build waits for others, and contacts that were reported. */
const placesMax = 100_000;

export class Delegation {
  readonly #options: DelegationOptions;
  /** Of sockets that processes of the build have bound or listen on. */
  readonly #inodes = new Set<bigint>();
  /** The same by name, for where the kernel does not tell us the peer. */
  readonly #places = new Set<string>();
  readonly #reported = new Map<string, { peer: NetworkPeer; found: FoundPeer | undefined }>();

  constructor(options: DelegationOptions) {
    this.#options = options;
  }

  onBound(inode: bigint, address: SocketAddress): void {
    if (inode !== 0n && this.#inodes.size < placesMax) this.#inodes.add(inode);
    if (this.#places.size < placesMax) this.#places.add(placeOf(address));
  }

  /** A connect that succeeded or is under way, or data that was sent to an address. */
  onContact(event: SyscallEvent, address: SocketAddress, connection: NetworkConnection, facts: SocketItem | undefined): void {
    const isUnix = address.family === "AF_UNIX";
    // Of another address of this machine the tracer knows that it is one.
    if (!(isUnix && address.address !== "") && !isLoopback(address) && facts?.holder === undefined) return;
    const outside = isUnix ? this.#unixPeer(facts, address) : this.#portPeer(facts, address, connection);
    if (!outside) return;
    const { found } = outside;
    const program = {
      ...(found?.peer.program === undefined ? {} : { program: found.peer.program }),
      commandLine: found?.commandLine ?? "",
    };
    const service = serviceName(
      isUnix
        ? { socket: address.address, ...program }
        : { ...(address.port === undefined ? {} : { port: address.port }), ...program },
    );
    const place = placeOf(address);
    const key = `${event.process} ${place} ${found?.peer.pid}`;
    const known = this.#reported.get(key);
    if (known) {
      connection.peer = known.peer;
      return;
    }
    const peer: NetworkPeer = { ...(service === undefined ? {} : { service }), ...found?.peer };
    connection.peer = peer;
    if (this.#reported.size < placesMax) this.#reported.set(key, { peer, found });
    const detail = `${service === undefined ? "" : `${service} at `}${place}${peerText(found)}`;
    this.#options.reportGap("delegated", event.process, detail);
  }

  /** Who has connected to a unix socket of the build: work can come in that way, and go out with the answer. */
  onAccepted(event: SyscallEvent, argument: number, connection: NetworkConnection): void {
    const facts = itemOf(event, "socket", argument);
    const pid = facts?.peerPid;
    if (pid === undefined || (pid > 0 && this.#options.isTraced(pid))) return;
    this.#onClient(event.process, connection, pid > 0 ? this.#options.findPeer.byPid(pid) : undefined, "");
  }

  /** Somebody outside has connected to a port of the build, by the socket that has this inode; 0: it was closed since. */
  onClient(process: number, connection: NetworkConnection, server: SocketAddress, inode: bigint): void {
    const found = inode === 0n ? undefined : this.#options.findPeer.bySocket(inode);
    this.#onClient(process, connection, found, ` at ${placeOf(server)}`);
  }

  #onClient(process: number, connection: NetworkConnection, found: FoundPeer | undefined, place: string): void {
    const key = `${process} in ${place} ${found?.peer.pid}`;
    const known = this.#reported.get(key);
    connection.peer = known?.peer ?? { ...found?.peer };
    if (known) return;
    if (this.#reported.size < placesMax) this.#reported.set(key, { peer: connection.peer, found });
    this.#options.reportGap("delegated", process, `a client from outside${place}${peerText(found)}`);
  }

  /** When all digests are there. */
  finish(): void {
    for (const { peer, found } of this.#reported.values()) if (found?.peer.digest) peer.digest = found.peer.digest;
  }

  #unixPeer(facts: SocketItem | undefined, address: SocketAddress): { found: FoundPeer | undefined } | undefined {
    const pid = facts?.peerPid ?? 0;
    if (pid > 0) return this.#options.isTraced(pid) ? undefined : { found: this.#listenerAt(pid, address) };
    // Datagrams have no credentials of their receiver; and 0 is a process that our pid namespace does not have.
    const isInside = facts?.peerPid === undefined && this.#places.has(placeOf(address));
    return isInside ? undefined : { found: undefined };
  }

  /** The kernel tells who has called listen. A daemon's parent does that, and is gone. */
  #listenerAt(pid: number, { address }: SocketAddress): FoundPeer {
    const { findPeer } = this.#options;
    const found = findPeer.byPid(pid);
    return found.peer.program === undefined ? (findPeer.byUnixName(address) ?? found) : found;
  }

  #portPeer(
    facts: SocketItem | undefined,
    address: SocketAddress,
    connection: NetworkConnection,
  ): { found: FoundPeer | undefined } | undefined {
    if (facts?.holder === undefined)
      return this.#places.has(placeOf(address)) || this.#isAnyPlace(address) ? undefined : { found: undefined };
    // Nobody waits there: it will be refused, or nobody reads it.
    if (facts.holder === 0n)
      return connection.syscall === "connect" && connection.result === 0 && isStream(facts) ? { found: undefined } : undefined;
    if (this.#inodes.has(facts.holder)) return undefined;
    return { found: this.#options.findPeer.bySocket(facts.holder) };
  }

  /** Bound to all addresses. */
  #isAnyPlace({ port }: SocketAddress): boolean {
    return this.#places.has(`0.0.0.0:${port}`) || this.#places.has(`[::]:${port}`);
  }
}

const sockStream = 1;
const isStream = (facts: SocketItem): boolean => facts.type === sockStream;

function placeOf({ family, address, port }: SocketAddress): string {
  if (family === "AF_UNIX") return `unix:${address}`;
  return `${address.includes(":") ? `[${address}]` : address}${port === undefined ? "" : `:${port}`}`;
}
