// The connections of one process, each once. What a connection is called shows only after it was made, so an entry has its place from
// the beginning, and becomes one with its equal when it is settled. Bounded: past the limit, connections are counted by kind.
import type { NetworkConnection, SummedConnections, Traffic } from "./observation.ts";

export interface Entry {
  readonly connection: NetworkConnection;
  readonly protocol: string;
  settled: boolean;
  /** The equal one that stands for it. */
  equal: Entry | undefined;
  /** Nothing has been sent: a connect of a datagram socket is silent. */
  isIdle: boolean;
}

/** Different entries of one process; 100,000 equal ones are one with a count. */
export const connectionsMax = 10_000;

export class Connections {
  readonly #entries = new Set<Entry>();
  readonly #settled = new Map<string, Entry>();
  readonly #summed = new Map<string, SummedConnections>();
  readonly #onLimit: () => void;

  constructor(onLimit: () => void) {
    this.#onLimit = onLimit;
  }

  /** Not settled yet. */
  add(connection: NetworkConnection, protocol: string): Entry {
    const entry: Entry = { connection, protocol, settled: false, equal: undefined, isIdle: false };
    this.#entries.add(entry);
    return entry;
  }

  /** Nothing more will be known about it. Returns the entry that stands for it: an earlier equal one, or itself. */
  settle(entry: Entry): Entry {
    if (entry.settled) return entry;
    entry.settled = true;
    const key = keyOf(entry);
    const earlier = this.#settled.get(key);
    if (earlier) {
      earlier.connection.count = (earlier.connection.count ?? 1) + 1;
      earlier.isIdle &&= entry.isIdle;
      entry.equal = earlier;
      if (entry.connection.bytes) addBytes(earlier, entry.connection.bytes);
      this.#entries.delete(entry);
      return earlier;
    }
    if (this.#settled.size < connectionsMax) {
      this.#settled.set(key, entry);
      return entry;
    }
    this.#entries.delete(entry);
    this.#sum(entry.connection);
    this.#onLimit();
    return entry;
  }

  #sum({ syscall, family, result }: NetworkConnection): void {
    const key = `${syscall} ${family} ${result}`;
    const summed = this.#summed.get(key);
    if (summed) summed.count++;
    else this.#summed.set(key, { syscall, family, ...(result === undefined ? {} : { result }), count: 1 });
  }

  /** In the order of the first of each; all settled by now. */
  list(): Entry[] {
    for (const entry of this.#entries) this.settle(entry);
    return [...this.#entries];
  }

  summed(): SummedConnections[] {
    return [...this.#summed.values()];
  }
}

/** To the one in the list. */
export function addBytes(entry: Entry, { sent, received }: Traffic): void {
  const { connection } = entry.equal ?? entry;
  const before = connection.bytes ?? { sent: 0, received: 0 };
  connection.bytes = { sent: before.sent + sent, received: before.received + received };
}

function keyOf({ connection, protocol }: Entry): string {
  const { syscall, fd, family, address, port, result, hostname, hostnameSource, target, peer } = connection;
  return [protocol, syscall, fd, family, address, port, result, hostname, hostnameSource, target, peer?.pid].join("\n");
}
