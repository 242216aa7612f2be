// What each process of the run has done with sockets, as it will be in the record: its tables, each with a limit.
import { Connections, type Entry } from "./connections.ts";
import type { ProcessContacts } from "./endpoints.ts";
import type { ReportGap } from "./gaps.ts";
import { DnsLookups } from "./lookups.ts";
import type { NetworkConnection, NetworkSocket, ProcessNetwork } from "./observation.ts";

interface Facts {
  sockets: Map<string, NetworkSocket>;
  connections: Connections;
  lookups: DnsLookups;
}

const socketEntriesMax = 10_000;

export class ProcessNetworks {
  readonly #byProcess = new Map<number, Facts>();
  readonly #reportGap: ReportGap;
  /** Gives 0 for the command. */
  readonly #parentOf: (process: number) => number;

  constructor(reportGap: ReportGap, parentOf: (process: number) => number) {
    this.#reportGap = reportGap;
    this.#parentOf = parentOf;
  }

  addSocket(process: number, socket: NetworkSocket): void {
    const { sockets } = this.#of(process);
    const key = Object.values(socket).join(" ");
    if (sockets.has(key)) return;
    if (sockets.size < socketEntriesMax) sockets.set(key, socket);
    else this.#reportGap("limit", process, "sockets");
  }

  /** Not settled yet. */
  addConnection(process: number, connection: NetworkConnection, protocol: string): Entry {
    return this.#of(process).connections.add(connection, protocol);
  }

  /** Nothing more will be known about it. */
  settle(process: number, entry: Entry): void {
    this.#of(process).connections.settle(entry);
  }

  lookupsOf(process: number): DnsLookups {
    return this.#of(process).lookups;
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

  /** `serials` in the order of creation. */
  *contacts(serials: Iterable<number>): Generator<ProcessContacts> {
    for (const process of serials) {
      const facts = this.#byProcess.get(process);
      if (!facts) continue;
      const entries = new Map(facts.connections.list().map(entry => [entry.connection, entry]));
      const ancestors: number[] = [];
      for (let at = this.#parentOf(process); at > 0; at = this.#parentOf(at)) ancestors.push(at);
      yield {
        process,
        ancestors,
        network: this.factsOf(process),
        protocolOf: connection => entries.get(connection)?.protocol ?? "unknown",
        isIdle: connection => entries.get(connection)?.isIdle ?? false,
      };
    }
  }

  #of(process: number): Facts {
    let facts = this.#byProcess.get(process);
    if (!facts) {
      const report = (what: string) => () => this.#reportGap("limit", process, what);
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
