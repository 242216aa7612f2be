// Why a run was not hermetic, as far as a record says: whom it reached, who took part, or that nobody knows. The record has one
// boolean, which is false when in doubt (docs/network.md); the reasons are read from what stands beside it. Pure.
import type { JsonObject } from "../attestation/json.ts";
import { isLoopbackAddress, refusedHere } from "../loopback.ts";

/** What the observation of a run and a record of it both have. */
export interface ShownEndpoint {
  direction: string;
  host?: string | undefined;
  family: string;
  /** Empty behind a proxy. */
  address: string;
  port?: number | undefined;
  via?: string | undefined;
  /** 0 for success. */
  result?: number | string | undefined;
  peer?: { service?: string | undefined; pid?: number | undefined; program?: string | undefined } | undefined;
}

/** Closed list, for programs; docs/network.md explains it. */
export type NotHermetic = "reached" | "entered" | "others" | "files" | "incomplete" | "unclear";

export interface ShownCompleteness {
  readonly verdict: string;
  readonly gaps: readonly { readonly kind: string; readonly severity: string }[];
}

const sentences: Readonly<Record<NotHermetic, string>> = {
  reached: "it sent to addresses beyond loopback",
  entered: "connections came in from beyond loopback",
  others: "somebody outside of the build took part",
  files: "files of a network or FUSE file system were read",
  incomplete: "the record is incomplete",
  unclear: "no address beyond loopback was seen, but there was a socket by which something may have left",
};

/** What others did, or gave, is one of these. */
const others: ReadonlySet<string> = new Set(["delegated", "foreign-descriptor", "outside-reached", "kernel-reached"]);

/** In the order in which they are said; empty for a hermetic run. */
export function whyNotHermetic(
  { hermetic, endpoints }: { readonly hermetic: boolean; readonly endpoints: readonly ShownEndpoint[] },
  { verdict, gaps }: ShownCompleteness,
): NotHermetic[] {
  if (hermetic) return [];
  const reasons: NotHermetic[] = [];
  if (endpoints.some(endpoint => endpoint.direction === "out" && isBeyondLoopback(endpoint))) reasons.push("reached");
  if (endpoints.some(endpoint => endpoint.direction === "in" && isBeyondLoopback(endpoint))) reasons.push("entered");
  if (endpoints.some(({ peer }) => peer) || gaps.some(({ kind }) => others.has(kind))) reasons.push("others");
  if (gaps.some(({ kind }) => kind === "remote-file-system")) reasons.push("files");
  const further = gaps.some(({ kind, severity }) => severity === "gap" && !others.has(kind));
  if (further || (verdict === "incomplete" && reasons.length === 0)) reasons.push("incomplete");
  return reasons.length === 0 ? ["unclear"] : reasons;
}

export function hermeticText(reasons: readonly NotHermetic[]): string {
  if (reasons.length === 0) return "yes: nothing left the machine or went to somebody else";
  const seen = reasons.filter(reason => reason !== "incomplete").map(reason => sentences[reason]);
  return seen.length === 0 ? `not known: ${sentences.incomplete}` : `no: ${seen.join("; ")}`;
}

/** Behind a proxy on this machine the proxy is an endpoint of its own. */
function isBeyondLoopback({ family, address, via, result }: ShownEndpoint): boolean {
  if (family === "AF_UNIX") return false;
  const place = via === undefined ? address : via.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1");
  return !isLoopbackAddress(family, place) && !(typeof result === "string" && refusedHere.has(result));
}

export function hermeticJson(
  network: { readonly hermetic: boolean; readonly endpoints: readonly ShownEndpoint[] },
  completeness: ShownCompleteness,
): JsonObject {
  const reasons = whyNotHermetic(network, completeness);
  return { hermetic: network.hermetic, ...(reasons.length === 0 ? {} : { notHermetic: reasons }) };
}
