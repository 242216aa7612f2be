// Why a run is not hermetic, from the one boolean of its record and what stands beside it.
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { hermeticText, type NotHermetic, type ShownEndpoint, whyNotHermetic } from "../src/reports/hermetic-text.ts";
import { endpointNames } from "../src/reports/network-text.ts";

const out = (address: string, more: Partial<ShownEndpoint> = {}): ShownEndpoint => ({
  direction: "out",
  family: address.includes(":") ? "AF_INET6" : address.startsWith("/") ? "AF_UNIX" : "AF_INET",
  address,
  ...more,
});
const gap = (kind: string) => ({ kind, severity: "gap" });
const complete = { verdict: "complete", gaps: [] };
const incomplete = (...kinds: string[]) => ({ verdict: "incomplete", gaps: kinds.map(gap) });

const rows: [name: string, endpoints: ShownEndpoint[], completeness: Parameters<typeof whyNotHermetic>[1], why: NotHermetic[]][] =
  [
    ["an address beyond loopback", [out("192.0.2.1")], complete, ["reached"]],
    ["of IPv6", [out("2001:db8::1", { result: "ETIMEDOUT" })], complete, ["reached"]],
    ["a family that is not known here", [out("x", { family: "AF_VSOCK" })], complete, ["reached"]],
    ["refused before anything was sent", [out("192.0.2.1", { result: "ENETUNREACH" })], complete, ["unclear"]],
    ["loopback", [out("127.0.0.1"), out("::1"), out("/run/x")], complete, ["unclear"]],
    ["by a proxy of this machine", [out("", { family: "AF_INET", via: "127.0.0.1:3128" })], complete, ["unclear"]],
    ["by a proxy elsewhere", [out("", { family: "AF_INET6", via: "[2001:db8::1]:3128" })], complete, ["reached"]],
    ["somebody came in", [out("192.0.2.1", { direction: "in" })], complete, ["entered"]],
    ["a socket that listens", [out("192.0.2.1", { direction: "listen" })], complete, ["unclear"]],
    ["a service of this machine", [out("/run/x", { peer: { service: "docker" } })], incomplete("delegated"), ["others"]],
    ["handed over otherwise", [], incomplete("delegated"), ["others"]],
    [
      "files of a server",
      [],
      { verdict: "complete-with-notes", gaps: [{ kind: "remote-file-system", severity: "note" }] },
      ["files"],
    ],
    ["nobody was seen, and something is missing", [], incomplete("limit"), ["incomplete"]],
    ["both", [out("192.0.2.1")], incomplete("limit"), ["reached", "incomplete"]],
    ["incomplete, and no gap says why", [], incomplete(), ["incomplete"]],
    ["a note only", [], { verdict: "complete-with-notes", gaps: [{ kind: "io-uring-refused", severity: "note" }] }, ["unclear"]],
  ];
for (const [name, endpoints, completeness, why] of rows) {
  test(name, () => expect(whyNotHermetic({ hermetic: false, endpoints }, completeness)).toEqual(why));
}

test("a hermetic run has no reasons", () => {
  expect(whyNotHermetic({ hermetic: true, endpoints: [out("/run/x")] }, complete)).toEqual([]);
});

test("what is not known is not called a no", () => {
  expect(hermeticText(["incomplete"])).toBe("not known: the record is incomplete");
  expect(hermeticText(["reached", "incomplete"])).toBe("no: it sent to addresses beyond loopback");
  expect(hermeticText([])).toMatch(/^yes/);
});

test("the page explains every reason", () => {
  const page = readFileSync(join(dirname(import.meta.dir), "docs/network.md"), "utf8");
  const all: Record<NotHermetic, true> = {
    reached: true,
    entered: true,
    others: true,
    files: true,
    incomplete: true,
    unclear: true,
  };
  for (const reason of Object.keys(all)) expect(page).toContain(`| \`${reason}\` |`);
});

test("a client by a unix socket without a name is not named", () => {
  const client = { direction: "in", family: "AF_UNIX", address: "" };
  expect(endpointNames([client, { ...client, address: "/run/x" }])).toEqual(["from unix:/run/x"]);
});
