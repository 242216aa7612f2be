// Whom a build talked to, in lines for a person: of a run that has just ended, and of a record. Pure.
import { hermeticText, type ShownCompleteness, type ShownEndpoint, whyNotHermetic } from "./hermetic-text.ts";

export interface ShownNetwork {
  endpoints: readonly ShownEndpoint[];
  unlisted: number;
  hermetic: boolean;
}

const endpointsShown = 6;
const outsidersShown = 8;

/** Labels with their lines. */
export function networkRows(network: ShownNetwork, completeness: ShownCompleteness): [label: string, ...lines: string[]][] {
  const { endpoints, unlisted } = network;
  const names = endpointNames(endpoints);
  const outsiders = outsiderNames(endpoints);
  const rows: [string, ...string[]][] = [];
  if (names.length > 0) rows.push(["network", counted(names, endpointsShown, unlisted)]);
  if (outsiders.length > 0) {
    const more = outsiders.length > outsidersShown ? [`and ${outsiders.length - outsidersShown} more`] : [];
    rows.push(["outside", ...outsiders.slice(0, outsidersShown), ...more]);
  }
  rows.push(["hermetic", hermeticText(whyNotHermetic(network, completeness))]);
  return rows;
}

/** Whom the build spoke to, and who came in. */
export function endpointNames(endpoints: readonly ShownEndpoint[]): string[] {
  const names = endpoints.flatMap(endpoint => {
    if (endpoint.direction === "out") return [endpointName(endpoint)];
    // A client by a unix socket without a name: there is nothing to say.
    if (endpoint.family === "AF_UNIX" && endpoint.address === "") return [];
    return endpoint.direction === "in" ? [`from ${endpointName(endpoint)}`] : [];
  });
  return [...new Set(names)];
}

/** Processes of this machine that are no part of the build. */
function outsiderNames(endpoints: readonly ShownEndpoint[]): string[] {
  const names = endpoints.flatMap(({ peer, ...endpoint }) => {
    if (!peer) return [];
    const who = [peer.program, peer.pid === undefined ? undefined : `process ${peer.pid}`].filter(part => part !== undefined);
    const named = peer.service === undefined ? "" : `${peer.service} at `;
    return [`${named}${placeOf(endpoint)}${who.length === 0 ? "" : ` (${who.join(", ")})`}`];
  });
  return [...new Set(names)];
}

export function endpointName(endpoint: ShownEndpoint): string {
  const { host, via, result } = endpoint;
  const failed = typeof result === "string" && result !== "EINPROGRESS" ? `: ${result}` : "";
  if (via !== undefined) return `${host ?? ""}${endpoint.port === undefined ? "" : `:${endpoint.port}`} via ${via}${failed}`;
  return `${placeOf(endpoint)}${host === undefined ? "" : ` (${host})`}${failed}`;
}

export function placeOf({ family, address, port }: ShownEndpoint): string {
  if (family === "AF_UNIX") return `unix:${address}`;
  return `${address.includes(":") ? `[${address}]` : address}${port === undefined ? "" : `:${port}`}`;
}

function counted(names: readonly string[], shown: number, unlisted: number): string {
  const some = names.slice(0, shown).join(", ");
  const all = names.length + unlisted;
  const more = all - Math.min(shown, names.length);
  return more > 0 ? `${all}: ${some} and ${more} more` : some;
}
