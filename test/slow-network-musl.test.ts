// musl's resolver, in a small static program that the project's Zig compiles: the first time it compiles musl as well.
import { expect, test } from "bun:test";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { plainEnvironment, recordOf, run, Scratch } from "./harness.ts";
import { Cable, servers, whyNoCable } from "./namespaces.ts";

const reason = whyNoCable();
if (reason !== undefined) console.log(`slow-network-musl: skipped, ${reason}`);

const cProgram = `#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
int main(int count, char **words) {
  struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found;
  int result = getaddrinfo(words[1], "80", &hints, &found);
  if (result) { puts(gai_strerror(result)); return 1; }
  int socket_ = socket(found->ai_family, found->ai_socktype, 0);
  return connect(socket_, found->ai_addr, found->ai_addrlen) ? 2 : 0;
}`;

const lookups = z.looseObject({
  dnsLookups: z.array(z.looseObject({ serverAddress: z.string(), names: z.array(z.string()), queries: z.array(z.string()) })),
});
const summary = z.looseObject({ network: z.array(z.looseObject({ port: z.int().optional(), host: z.string().optional() })) });

test.skipIf(reason !== undefined)(
  "both questions are seen, and its connection gets the name",
  async () => {
    using scratch = new Scratch();
    using cable = new Cable();
    await cable.serve(servers);
    const project = join(import.meta.dir, "..");
    const zig = join(project, "tools/zig/ziglang/zig");
    expect(existsSync(zig)).toBe(true);
    const at = (name: string) => join(scratch.path, name);
    writeFileSync(at("main.c"), cProgram);
    writeFileSync(at("resolv.conf"), "nameserver 10.77.0.1\n");
    const env = { ...plainEnvironment(scratch), ZIG_GLOBAL_CACHE_DIR: join(project, ".zig-cache/global") };
    const words = [zig, "cc", "-static", "-target", "x86_64-linux-musl", "-o", at("musl"), at("main.c")];
    const built = Bun.spawnSync(words, { env });
    expect([built.exitCode, built.exitCode === 0 ? "" : built.stderr.toString()]).toEqual([0, ""]);
    const mount = `mount --bind "$0" /etc/resolv.conf && exec "$@"`;
    const before = [...cable.near, "unshare", "-m", "sh", "-c", mount, at("resolv.conf")];
    const ran = await run(scratch, [at("musl"), "registry.example"], { trace: true, before });
    expect(ran.status).toBe(0);
    const found = lookups.parse(recordOf(ran).processes[0]?.network).dnsLookups;
    expect(found).toMatchObject([{ serverAddress: "10.77.0.1", names: ["registry.example"] }]);
    expect(found[0]?.queries.toSorted()).toEqual(["registry.example A", "registry.example AAAA"]);
    const { network } = summary.parse(recordOf(ran).commandRun.summary);
    expect(network.find(({ port }) => port === 80)?.host).toBe("registry.example");
  },
  300_000,
);
