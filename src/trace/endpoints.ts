// The network of a run in one list: whom the build talked to, each once, with the process that did so first; and whether it talked to
// nobody at all. Pure.
import { refusedHere } from "../loopback.ts";
import type { Completeness, Endpoint, NetworkConnection, NetworkSummary, ProcessNetwork } from "./observation.ts";
import { isLoopback } from "./socket-address.ts";

/** Endpoints of the summary; what is beyond is counted. Each process has its own list. */
const endpointsMax = 1000;

export interface ProcessContacts {
  process: number;
  /** Its ancestors' serials, the command last. */
  ancestors: number[];
  network: ProcessNetwork;
  /** `tcp`, `udp` … of a connection. */
  protocolOf: (connection: NetworkConnection) => string;
  /** A datagram socket that was connected and never used, as resolvers do to learn about routes. */
  isIdle: (connection: NetworkConnection) => boolean;
}

const directions: Readonly<Record<NetworkConnection["syscall"], Endpoint["direction"] | undefined>> = {
  connect: "out",
  sendto: "out",
  accept: "in",
  listen: "listen",
  bind: undefined,
};

/** Nobody is reached by these: they are questions to the kernel. */
const kernelFamilies: ReadonlySet<string> = new Set(["AF_NETLINK", "AF_ALG", "AF_UNSPEC"]);

export function summarise(contacts: Iterable<ProcessContacts>, { verdict, gaps }: Completeness): NetworkSummary {
  const endpoints = new Map<string, Endpoint>();
  let unlisted = 0;
  let hermetic = verdict !== "incomplete" && !gaps.some(gap => gap.kind === "remote-file-system");
  for (const contact of contacts) {
    const { network, protocolOf, isIdle, process, ancestors } = contact;
    if (network.summed || network.sockets.some(socket => reachesOut(socket.family, socket.type))) hermetic = false;
    for (const connection of network.connections) {
      if (leavesMachine(connection, protocolOf(connection))) hermetic = false;
      const direction = directions[connection.syscall];
      if (direction === undefined || kernelFamilies.has(connection.family) || isIdle(connection)) continue;
      // Every lookup of a name or user asks for a cache that hardly a machine has.
      if (connection.family === "AF_UNIX" && typeof connection.result === "string") continue;
      const endpoint = endpointOf(connection, direction, protocolOf(connection), process, ancestors);
      const key = [direction, endpoint.protocol, endpoint.address, endpoint.port, endpoint.host, endpoint.via].join("\n");
      const known = endpoints.get(key);
      if (known) add(known, endpoint);
      else if (endpoints.size < endpointsMax) endpoints.set(key, endpoint);
      else unlisted++;
    }
  }
  return { endpoints: [...endpoints.values()], unlisted, hermetic };
}

function endpointOf(
  connection: NetworkConnection,
  direction: Endpoint["direction"],
  protocol: string,
  process: number,
  ancestors: number[],
): Endpoint {
  const { family, address, port, hostname, target, result, count = 1, bytes, peer } = connection;
  const endpoint: Endpoint = { direction, family, address, protocol, count, process, ancestors };
  if (hostname !== undefined) endpoint.host = hostname;
  if (port !== undefined) endpoint.port = port;
  if (result !== undefined) endpoint.result = result;
  if (peer !== undefined) endpoint.peer = peer;
  // Through the proxy, whose endpoint has them, for whomever it was.
  if (bytes !== undefined && target === undefined) endpoint.bytes = bytes;
  if (target === undefined) return endpoint;
  // What the proxy was asked for is the endpoint, and the proxy the way to it.
  endpoint.via = `${address.includes(":") ? `[${address}]` : address}:${port}`;
  const [, host = target, number] = /^\[?(.*?)\]?(?::(\d+))?$/.exec(target) ?? [];
  endpoint.host ??= host;
  endpoint.address = "";
  if (number === undefined) delete endpoint.port;
  else endpoint.port = Number(number);
  return endpoint;
}

function add(known: Endpoint, other: Endpoint): void {
  known.count += other.count;
  if (other.result === 0) known.result = 0;
  if (other.bytes) {
    const { sent, received } = known.bytes ?? { sent: 0, received: 0 };
    known.bytes = { sent: sent + other.bytes.sent, received: received + other.bytes.received };
  }
  if (other.peer) known.peer ??= other.peer;
}

/** Made, such a socket may carry anything, by calls that name no address. */
function reachesOut(family: string, type: string): boolean {
  if (family === "AF_UNIX" || kernelFamilies.has(family)) return false;
  const isInet = family === "AF_INET" || family === "AF_INET6";
  return !isInet || (type !== "SOCK_STREAM" && type !== "SOCK_DGRAM");
}

function leavesMachine(connection: NetworkConnection, protocol: string): boolean {
  const { syscall, family, result } = connection;
  if (family === "AF_UNIX" || kernelFamilies.has(family) || isLoopback(connection)) {
    // Everybody's datagrams arrive at 0.0.0.0.
    return syscall === "bind" && protocol !== "tcp" && isAny(connection.address) && result === 0;
  }
  switch (syscall) {
    case "connect":
    case "sendto":
      return !(typeof result === "string" && refusedHere.has(result));
    case "accept":
      return result === 0;
    case "bind":
      return result === 0 && protocol !== "tcp";
    case "listen":
      return false;
  }
}

const isAny = (address: string): boolean => address === "0.0.0.0" || address === "::";
