// Who has connected to a TCP port of the build: a process of the build, or somebody outside. Its socket says so as long as it is open. When it
// is closed by the time that it was accepted, the two ends of the connection say it: those of the build's own connects are known, each once.
// A connect may be reported after its accept, so that an end without a connect is waited for until the last event.
import type { SyscallEvent } from "../native/events.ts";
import { itemOf } from "./call-items.ts";
import { OldestFirst } from "./oldest-first.ts";
import { decodeSocketAddress, isLoopback, type SocketAddress } from "./socket-address.ts";

/** abi.zig's Item.argument. */
const peerAddress = 9;
const ownAddress = 10;

/** Connects of the build that nobody of it has accepted: those to somebody else, above all. Forgotten, a client counts as somebody outside. */
const connectsMax = 65_536;
/** Accepted ones whose client is not known yet: for each, a process stands at the end of its connect. */
const waitingMax = 4096;

export interface ClientsOptions<T> {
  /** Whether a process of the build has made the socket. */
  isOwn: (inode: bigint) => boolean;
  onInside: (accepted: T) => void;
  /** `inode` of the client's socket; 0: it was closed already. */
  onOutside: (accepted: T, server: SocketAddress, inode: bigint) => void;
}

export class Clients<T> {
  readonly #options: ClientsOptions<T>;
  /** By both ends: connects without their accept, or below 0 accepts without their connect. */
  readonly #connects = new Map<string, number>();
  readonly #order = new OldestFirst<string>();
  readonly #waiting = new Map<string, { server: SocketAddress; accepted: T[] }>();
  #waitingCount = 0;

  constructor(options: ClientsOptions<T>) {
    this.#options = options;
  }

  onConnected(event: SyscallEvent): void {
    const ends = endsOf(event, 0);
    if (!ends) return;
    const key = keyOf(ends.own, ends.peer);
    const waiting = this.#waiting.get(key);
    const accepted = waiting?.accepted.shift();
    if (accepted === undefined) {
      this.#count(key, 1);
      return;
    }
    this.#forgetWaiting(key);
    this.#options.onInside(accepted);
  }

  /** False: the other end is not on this machine, or cannot be known. */
  onAccepted(event: SyscallEvent, made: number, accepted: T): boolean {
    const ends = endsOf(event, made);
    const inode = itemOf(event, "socket", made)?.holder;
    if (!ends || inode === undefined) return false;
    const { own: server, peer: client } = ends;
    const key = keyOf(client, server);
    if ((this.#connects.get(key) ?? 0) > 0 || (inode !== 0n && this.#options.isOwn(inode))) {
      this.#count(key, -1);
      this.#options.onInside(accepted);
    } else if (inode !== 0n) {
      this.#options.onOutside(accepted, server, inode);
    } else {
      this.#wait(key, server, accepted);
    }
    return true;
  }

  /** After the last event. */
  finish(): void {
    for (const { server, accepted } of this.#waiting.values()) {
      for (const one of accepted) this.#options.onOutside(one, server, 0n);
    }
    this.#waiting.clear();
  }

  #count(key: string, change: 1 | -1): void {
    const count = (this.#connects.get(key) ?? 0) + change;
    if (count === 0) {
      this.#connects.delete(key);
      this.#order.delete(key);
      return;
    }
    if (this.#connects.size >= connectsMax && !this.#connects.has(key)) {
      const oldest = this.#order.oldest();
      if (oldest !== undefined) {
        this.#connects.delete(oldest);
        this.#order.delete(oldest);
      }
    }
    this.#connects.set(key, count);
    this.#order.add(key);
  }

  #wait(key: string, server: SocketAddress, accepted: T): void {
    if (this.#waitingCount >= waitingMax) {
      this.#options.onOutside(accepted, server, 0n);
      return;
    }
    this.#waitingCount++;
    const known = this.#waiting.get(key);
    if (known) known.accepted.push(accepted);
    else this.#waiting.set(key, { server, accepted: [accepted] });
  }

  #forgetWaiting(key: string): void {
    this.#waitingCount--;
    if (this.#waiting.get(key)?.accepted.length === 0) this.#waiting.delete(key);
  }
}

/** Of whom an accepted connection is; undefined where the kernel was not asked. */
export function clientAddress(event: SyscallEvent, made: number): SocketAddress | undefined {
  return addressBehind(event, made, peerAddress);
}

/** Undefined unless both are on this machine. */
function endsOf(event: SyscallEvent, argument: number): { own: SocketAddress; peer: SocketAddress } | undefined {
  const own = addressBehind(event, argument, ownAddress);
  const peer = addressBehind(event, argument, peerAddress);
  if (!own || !peer || !(isLoopback(peer) || own.address === peer.address)) return undefined;
  return { own, peer };
}

/** The addresses of a socket follow its facts. */
function addressBehind(event: SyscallEvent, argument: number, which: number): SocketAddress | undefined {
  const facts = itemOf(event, "socket", argument);
  if (!facts) return undefined;
  const at = event.items.indexOf(facts);
  for (const item of event.items.slice(at + 1, at + 3)) {
    if (item.kind === "bytes" && item.argument === which) return decodeSocketAddress(item.bytes);
  }
  return undefined;
}

const placeOf = ({ address, port }: SocketAddress): string => `${address} ${port}`;
const keyOf = (client: SocketAddress, server: SocketAddress): string => `${placeOf(client)} ${placeOf(server)}`;
