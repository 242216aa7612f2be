// What the bytes on sockets say about whom connections are for. A socket is listened to from its connect (or its first datagram to an
// address) until its bytes are understood, or nothing more can come; then its entry is settled.
import { AddressNames } from "./address-names.ts";
import { dnsDatagramSpeaker, type Learned, mayBeQuic, quicSpeaker, type Speaker } from "./first-sends.ts";
import type { ReportGap } from "./gaps.ts";
import type { NetworkConnection } from "./observation.ts";
import { OldestFirst } from "./oldest-first.ts";
import type { ProcessNetworks } from "./process-networks.ts";
import { hostName } from "./protocols/host.ts";
import type { SocketAddress } from "./socket-address.ts";
import type { Open, Socket } from "./sockets.ts";

export const dnsPort = 53;
/** Result of a connect of which it is not known yet what becomes of it. */
export const inProgress = "EINPROGRESS";

/** Sockets whose bytes are waited for at the same time; beyond, the oldest is what it is. */
const undecidedMax = 4096;
/** Datagram peers of one socket. */
const peersMax = 256;

export interface HearingOptions {
  processes: ProcessNetworks;
  reportGap: ReportGap;
  /** 0 for the command. */
  parentOf: (process: number) => number;
  /** Nothing more is expected of this socket's bytes. */
  onUnderstood?: (inode: bigint) => void;
}

export class Hearing {
  readonly #undecided = new OldestFirst<Socket>();
  readonly #names: AddressNames;
  readonly #processes: ProcessNetworks;
  readonly #reportGap: ReportGap;
  readonly #onUnderstood: ((inode: bigint) => void) | undefined;

  constructor({ processes, reportGap, parentOf, onUnderstood }: HearingOptions) {
    this.#processes = processes;
    this.#reportGap = reportGap;
    this.#names = new AddressNames(parentOf);
    this.#onUnderstood = onUnderstood;
  }

  /** From now on, for what it is connected to. */
  listen(socket: Socket, open: Open, speaker: Speaker): void {
    socket.open = open;
    socket.speaker = speaker;
    this.#wait(socket);
  }

  /** An unconnected socket may talk to many at once. */
  listenTo(socket: Socket, address: SocketAddress, open: Open): void {
    const key = keyOf(address);
    if (socket.speakers?.has(key) || address.port === undefined) {
      this.settle(open);
      return;
    }
    socket.speakers ??= new Map();
    if (socket.speakers.size >= peersMax) {
      const oldest = socket.speakers.entries().next();
      if (!oldest.done) {
        this.settle(oldest.value[1].open);
        socket.speakers.delete(oldest.value[0]);
      }
    }
    const speaker = address.port === dnsPort ? dnsDatagramSpeaker() : quicSpeaker();
    if (address.port === dnsPort) this.settle(open);
    socket.speakers.set(key, { speaker, open });
    this.#wait(socket);
  }

  /** `cut`: more was sent than is here. */
  sent(
    process: number,
    socket: Socket,
    { address, bytes, cut }: { address?: SocketAddress; bytes: Uint8Array; cut: boolean },
  ): void {
    const addressed = address && socket.speakers?.get(keyOf(address));
    if (addressed) {
      const { speaker, open } = addressed;
      // Of what is no QUIC there is nothing to wait for.
      const learned = address.port === dnsPort || mayBeQuic(bytes) ? speaker.sent(bytes, cut) : speaker.finish();
      for (const one of learned) this.#learn(process, open, one, address);
      if (speaker.done) this.settle(open);
      return;
    }
    if (!socket.speaker || !socket.open) return;
    const { entry } = socket.open;
    entry.isIdle = false;
    if (entry.connection.result === inProgress) entry.connection.result = 0;
    this.#hear(process, socket, socket.speaker.sent(bytes, cut));
  }

  received(process: number, socket: Socket, bytes: Uint8Array): void {
    if (socket.speaker) {
      this.#hear(process, socket, socket.speaker.received(bytes));
      return;
    }
    // Whichever server it is that answers here.
    for (const { speaker, open } of socket.speakers?.values() ?? []) {
      const learned = speaker.received(bytes);
      for (const one of learned) this.#learn(process, open, one, undefined);
      if (learned.length > 0) break;
    }
  }

  /** What is sent from now on is not seen, or is about something else. */
  stop(socket: Socket): void {
    if (!this.#undecided.delete(socket)) return;
    const { speaker, speakers } = socket;
    socket.speaker = undefined;
    socket.speakers = undefined;
    for (const one of speaker?.finish() ?? []) {
      if (socket.open) socket.open = this.#learn(socket.open.process, socket.open, one, socket.peer);
    }
    if (socket.open) this.settle(socket.open);
    socket.open = undefined;
    for (const { speaker: other, open } of speakers?.values() ?? []) {
      for (const one of other.finish()) this.#learn(open.process, open, one, undefined);
      this.settle(open);
    }
    if (socket.inode !== 0n) this.#onUnderstood?.(socket.inode);
  }

  /** After the last event. */
  finish(): void {
    for (const socket of this.#undecided.values()) this.stop(socket);
  }

  settle({ process, entry }: Open): void {
    const { connection } = entry;
    const { family, address, port, syscall } = connection;
    const isOutgoing = syscall === "connect" || syscall === "sendto";
    const isInet = family === "AF_INET" || family === "AF_INET6";
    if (!entry.settled && isOutgoing && isInet && port !== dnsPort && connection.hostname === undefined && !connection.target) {
      const name = this.#names.nameOf(process, address);
      if (name !== undefined) Object.assign(connection, { hostname: name, hostnameSource: "dns" });
    }
    this.#processes.settle(process, entry);
  }

  #wait(socket: Socket): void {
    if (this.#undecided.has(socket)) return;
    if (this.#undecided.size >= undecidedMax) {
      const oldest = this.#undecided.oldest();
      if (oldest) this.stop(oldest);
    }
    this.#undecided.add(socket);
  }

  #hear(process: number, socket: Socket, learned: Learned[]): void {
    for (const one of learned) {
      if (!socket.open) return;
      socket.open = this.#learn(process, socket.open, one, socket.peer);
    }
    if (socket.speaker?.done) this.stop(socket);
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
        const { hostname: _name, hostnameSource: _source, ech: _ech, bytes: _bytes, ...way } = connection;
        const inner: NetworkConnection = { ...way, target: learned.target };
        if (learned.hostname !== undefined) Object.assign(inner, { hostname: learned.hostname, hostnameSource: learned.source });
        this.settle(open);
        const entry = this.#processes.addConnection(open.process, inner, open.entry.protocol);
        return { process: open.process, entry };
      }
      case "limit":
        this.#reportGap("names-unwatched", open.process, learned.what);
        return open;
      case "dns": {
        const { message } = learned;
        if (!message.response) {
          const at = server ?? { family: connection.family, address: connection.address, port: dnsPort };
          this.#processes.lookupsOf(process).add(at, message.questions);
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
}

const keyOf = ({ address, port }: SocketAddress): string => `${address} ${port}`;
