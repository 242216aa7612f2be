// What `cilock show --network` prints: whom the build talked to, by which process and how much, and the names that it asked for. Pure.
import { type JsonObject, omitUndefined } from "../attestation/json.ts";
import type { RecordEndpoint, RecordProcess, RecordRun } from "../attestation/record-run.ts";
import { endpointName, placeOf } from "./network-text.ts";

export function networkLines({ network, processes }: RecordRun): string[] {
  if (network === undefined) return ["  the record says nothing of it"];
  const lines = network.endpoints.flatMap(endpointLines);
  if (lines.length === 0) lines.push("  none");
  if (network.unlisted > 0) lines.push(`  and ${network.unlisted} endpoints that the record does not list`);
  const asked = lookupsOf(processes ?? []);
  if (asked.length === 0) return lines;
  return [
    ...lines,
    "",
    "  names asked for",
    ...asked.map(({ names, server, process }) => `    ${names.join(", ")}, of ${server}, by ${whoOf(process)}`),
  ];
}

const arrows: Readonly<Record<string, string>> = { out: "to", in: "from", inherited: "inherited" };

function endpointLines(endpoint: RecordEndpoint): string[] {
  const { direction, bytes, count, peer, process } = endpoint;
  const amounts = [
    ...(count !== undefined && count > 1 ? [`${count} times`] : []),
    ...(bytes === undefined ? [] : [`${bytes.sent} bytes sent, ${bytes.received} received`]),
  ];
  const first = `  ${arrows[direction] ?? direction} ${nameOf(endpoint)}${amounts.length === 0 ? "" : `: ${amounts.join(", ")}`}`;
  return [
    first,
    ...(process === undefined ? [] : [`    by ${whoOf(process)}`]),
    ...(peer === undefined
      ? []
      : [
          `    other side: ${[peer.service, peer.program, peer.pid === undefined ? undefined : `process ${peer.pid}`].filter(part => part !== undefined).join(", ")}`,
        ]),
  ];
}

/** Clients on this machine have no name of their own. */
function nameOf(endpoint: RecordEndpoint): string {
  return endpoint.family === "AF_UNIX" && endpoint.address === "" ? "a unix socket without a name" : endpointName(endpoint);
}

function whoOf({ pid, program }: { pid: number; program: string | undefined }): string {
  return program ? `${program} (process ${pid})` : `process ${pid}`;
}

interface Asked {
  readonly names: readonly string[];
  readonly server: string;
  readonly process: { pid: number; program: string };
}

function lookupsOf(processes: readonly RecordProcess[]): Asked[] {
  return processes.flatMap(process =>
    process.lookups
      .filter(({ names }) => names.length > 0)
      .map(({ names, family, address, port }) => ({
        names,
        server: placeOf({ direction: "out", family, address, port }),
        process,
      })),
  );
}

/** `name` is what the text has. */
export function endpointsJson({ endpoints }: { readonly endpoints: readonly RecordEndpoint[] }): JsonObject[] {
  return endpoints.map(endpoint => {
    const { direction, host, family, address, port, protocol, via, result, count, bytes, peer, process } = endpoint;
    return omitUndefined({
      name: nameOf(endpoint),
      direction,
      host,
      family,
      address: address === "" ? undefined : address,
      port,
      protocol,
      via,
      result,
      count,
      bytes: bytes && { ...bytes },
      peer: peer && omitUndefined({ service: peer.service, processid: peer.pid, program: peer.program }),
      process: process && omitUndefined({ processid: process.pid, program: process.program }),
    });
  });
}

export function lookupsJson(processes: readonly RecordProcess[]): JsonObject[] {
  return lookupsOf(processes).map(({ names, server, process }) => ({
    names: [...names],
    server,
    process: { processid: process.pid, program: process.program },
  }));
}
