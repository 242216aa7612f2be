// usage: bun bench/network.ts [CONNECTIONS [ROUNDS [OTHER-CILOCK…]]]
//
// What it costs that new connections are watched until it is known whom they are for: Node makes so many TLS connections to a server
// on loopback, eight at a time, each with one request of 20 KB; as a package manager does it. Bare, and with dist/cilock and each other
// build that is named: one without the watch, say (return at the beginning of `begin` in zig/sockets.zig).
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, release, tmpdir } from "node:os";
import { join, resolve } from "node:path";

const [connections = 40, rounds = 10] = process.argv.slice(2, 4).map(Number);
const builds = [resolve(import.meta.dir, "../dist/cilock"), ...process.argv.slice(4).map(path => resolve(path))];
const scratch = mkdtempSync(join(tmpdir(), "cilock-bench-"));
const fixtures = join(import.meta.dir, "../test/fixtures/network");

const body = "x".repeat(20_000);
const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  tls: { key: readFileSync(join(fixtures, "key.pem"), "utf8"), cert: readFileSync(join(fixtures, "cert.pem"), "utf8") },
  fetch: () => new Response(body),
});

const client = join(scratch, "client.cjs");
writeFileSync(
  client,
  `const https=require("https");let left=${connections},running=0;
function next(){while(running<8&&left>0){left--;running++;
https.get({host:"127.0.0.1",port:${server.port},servername:"registry.example",rejectUnauthorized:false,agent:false},
r=>{r.resume();r.on("end",()=>{running--;next()})})}}
next();`,
);

const run = (cilock: string) => [
  cilock,
  ...["run", "--step", "bench", "--signer-ephemeral", "--trace", "-a", "environment"],
  ...["-o", join(scratch, "record.json"), "--", "node", client],
];
const variants = [{ name: "bare", command: ["node", client] }, ...builds.map(path => ({ name: path, command: run(path) }))];
const times = new Map(variants.map(({ name }) => [name, [] as number[]]));
for (let round = 0; round < rounds; round++) {
  for (const { name, command } of variants) {
    const start = performance.now();
    const child = Bun.spawn(command, { cwd: scratch, stdin: "ignore", stdout: "ignore", stderr: "pipe" });
    if ((await child.exited) !== 0) throw new Error(`${name}: ${await new Response(child.stderr).text()}`);
    times.get(name)?.push(performance.now() - start);
  }
}
console.log(`${connections} connections, ${rounds} rounds, ${cpus().length} x ${cpus()[0]?.model}, Linux ${release()}\n`);
console.log("| | median, ms | fastest, ms | a connection over bare, ms |\n|---|---|---|---|");
const middle = (list: number[]) => list.toSorted((a, b) => a - b)[list.length >> 1] ?? 0;
const bare = Math.min(...(times.get("bare") ?? []));
for (const [name, list] of times) {
  const fastest = Math.min(...list);
  console.log(
    `| ${name} | ${middle(list).toFixed(1)} | ${fastest.toFixed(1)} | ${((fastest - bare) / connections).toFixed(2)} |`,
  );
}
await server.stop(true);
rmSync(scratch, { recursive: true });
