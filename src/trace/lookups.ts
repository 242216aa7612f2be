// The lookups of one process: each server once, with the names that it was asked for. Bounded over all servers.
import type { DnsLookup } from "./observation.ts";
import type { DnsQuestion } from "./protocols/dns.ts";
import type { SocketAddress } from "./socket-address.ts";

interface Lookup {
  server: SocketAddress;
  names: Set<string>;
  queries: Set<string>;
}

const serversMax = 1000;
const queriesMax = 20_000;

export class DnsLookups {
  readonly #lookups = new Map<string, Lookup>();
  readonly #onLimit: () => void;
  #queries = 0;

  constructor(onLimit: () => void) {
    this.#onLimit = onLimit;
  }

  add(server: SocketAddress, questions: readonly DnsQuestion[]): void {
    const lookup = this.#of(server);
    if (!lookup) return;
    for (const { name, type } of questions) {
      const query = `${name} ${type}`;
      if (lookup.queries.has(query)) continue;
      if (++this.#queries > queriesMax) {
        this.#onLimit();
        return;
      }
      lookup.names.add(name);
      lookup.queries.add(query);
    }
  }

  #of(server: SocketAddress): Lookup | undefined {
    const key = `${server.address} ${server.port}`;
    const known = this.#lookups.get(key);
    if (known) return known;
    if (this.#lookups.size >= serversMax) {
      this.#onLimit();
      return undefined;
    }
    const lookup = { server, names: new Set<string>(), queries: new Set<string>() };
    this.#lookups.set(key, lookup);
    return lookup;
  }

  list(): DnsLookup[] {
    return [...this.#lookups.values()].map(({ server, names, queries }) => ({
      serverAddress: server.address,
      serverPort: server.port ?? 0,
      ...(names.size > 0 ? { names: [...names], queries: [...queries] } : {}),
    }));
  }
}
