// The network of a process, and of a run, as the record has them; see docs/network.md.
import type { JsonArray, JsonObject, JsonValue } from "../attestation/json.ts";
import { omitUndefined } from "../attestation/json.ts";
import { formatTime } from "../time.ts";
import type {
  Endpoint,
  NetworkConnection,
  NetworkPeer,
  NetworkSummary,
  ProcessNetwork,
  ProcessObservation,
} from "../trace/observation.ts";

/** Undefined if the process had nothing to do with sockets. */
export function networkJson({ sockets, connections, dnsLookups, summed = [] }: ProcessNetwork): JsonObject | undefined {
  const lists = omitUndefined({
    sockets: list(sockets, ({ family, type, protocol, fd, origin, address, port }) =>
      omitUndefined({ family, type, protocol, fd, origin, address, port }),
    ),
    connections: list(connections, connectionJson),
    dnsLookups: list(dnsLookups, ({ serverAddress, serverPort, names, queries }) =>
      omitUndefined({ serverAddress, serverPort, names, queries }),
    ),
    summed: list(summed, ({ syscall, family, result, count }) => omitUndefined({ syscall, family, result, count })),
  });
  return Object.keys(lists).length === 0 ? undefined : lists;
}

function connectionJson(connection: NetworkConnection): JsonObject {
  const { syscall, family, address, port, fd, time, hostname, result, hostnameSource, ech, target, count, peer } = connection;
  return omitUndefined({
    syscall,
    family,
    address,
    port,
    fd,
    timestamp: formatTime(time),
    hostname,
    result,
    hostnamesource: hostnameSource,
    ech,
    target,
    count,
    peer: peer && peerJson(peer),
  });
}

/** Of the summary: each endpoint once, with the process that used it first and where that came from. */
export function endpointsJson({ endpoints }: NetworkSummary, processes: readonly ProcessObservation[]): JsonArray {
  const bySerial = new Map(processes.map(process => [process.serial, process]));
  const named = (serial: number) => {
    const process = bySerial.get(serial);
    return omitUndefined({ processid: process?.pid ?? 0, program: process?.program });
  };
  return endpoints.map(endpoint => endpointJson(endpoint, named));
}

function endpointJson(endpoint: Endpoint, named: (serial: number) => JsonObject): JsonObject {
  const { direction, host, family, address, port, protocol, via, result, count, bytes, peer, process, ancestors } = endpoint;
  return omitUndefined({
    direction,
    host,
    family,
    address: address === "" ? undefined : address,
    port,
    protocol,
    via,
    result,
    count,
    bytes: bytes && { sent: bytes.sent, received: bytes.received },
    peer: peer && peerJson(peer),
    process: named(process),
    ancestors: list(ancestors, named),
  });
}

function peerJson({ service, pid, program, digest }: NetworkPeer): JsonObject {
  return omitUndefined({ service, processid: pid, program, programdigest: digest });
}

function list<T>(items: readonly T[], each: (item: T) => JsonValue): JsonArray | undefined {
  return items.length === 0 ? undefined : items.map(each);
}
