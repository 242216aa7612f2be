// The sockets of the run, by inode: what each is, where it is bound, and who waits for its bytes. Bounded: the oldest is forgotten.
import type { Entry } from "./connections.ts";
import type { Speaker } from "./first-sends.ts";
import { OldestFirst } from "./oldest-first.ts";
import type { SocketAddress } from "./socket-address.ts";

/** A process's entry that waits for what its socket's bytes say. */
export interface Open {
  process: number;
  entry: Entry;
}

export interface Socket {
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

const socketsMax = 65_536;

export class Sockets {
  readonly #sockets = new Map<string, Socket>();
  readonly #keys = new OldestFirst<string>();
  readonly #onForgotten: (socket: Socket) => void;

  constructor(onForgotten: (socket: Socket) => void) {
    this.#onForgotten = onForgotten;
  }

  get(key: string): Socket | undefined {
    return this.#sockets.get(key);
  }

  /** A new one, whatever was known of one with that key. */
  make(key: string, inode: bigint): Socket {
    this.#forget(key);
    if (this.#sockets.size >= socketsMax) {
      const oldest = this.#keys.oldest();
      if (oldest !== undefined) this.#forget(oldest);
    }
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
    this.#sockets.set(key, socket);
    this.#keys.add(key);
    return socket;
  }

  #forget(key: string): void {
    const socket = this.#sockets.get(key);
    if (!socket) return;
    this.#onForgotten(socket);
    this.#sockets.delete(key);
    this.#keys.delete(key);
  }
}
