// usage: bun bench/network.ts CLIENT [CONNECTIONS [ROUNDS [OTHER-CILOCK…]]]
//
// What it costs that new connections are watched until it is known whom they are for, against a server on loopback. CLIENT is `npm`: an
// `npm ci` of so many packages from a registry that makes them up, each over a TLS connection of its own; or `node`: so many TLS
// connections, eight at a time, each with one request of 20 KB. Bare, and with dist/cilock and each other build that is named: one
// without the watch, say (return at the beginning of `begin` in zig/sockets.zig).
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import { cpus, loadavg, release, tmpdir } from "node:os";
import { join, resolve } from "node:path";

const [client = "", ...words] = process.argv.slice(2);
const [connections = 40, rounds = 10] = words.slice(0, 2).map(Number);
const builds = [resolve(import.meta.dir, "../dist/cilock"), ...words.slice(2).map(path => resolve(path))];
const scratch = mkdtempSync(join(tmpdir(), "cilock-bench-"));
const fixtures = join(import.meta.dir, "../test/fixtures/network");

// ---------------------------------------------------------------------------------------------
// The server

/** npm's form of a package: a tar archive with one file. */
function tarball(number: number): Uint8Array<ArrayBuffer> {
  const text = Buffer.from(JSON.stringify({ name: `made-up-${number}`, version: "1.0.0", description: "x".repeat(4000) }));
  const header = Buffer.alloc(512);
  header.write("package/package.json", 0);
  const size = text.length.toString(8).padStart(11, "0");
  header.write(["0000644", "0000000", "0000000", size, "00000000000", ""].join("\0"), 100);
  header.write("        0", 148);
  header.write("ustar\x0000", 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return Bun.gzipSync(Buffer.concat([header, text, Buffer.alloc(512 - (text.length % 512) + 1024)]));
}

const packages = Array.from({ length: connections }, (_, number) => tarball(number));
const body = "x".repeat(20_000);
let seen = 0;
const server = createServer(
  { key: readFileSync(join(fixtures, "key.pem")), cert: readFileSync(join(fixtures, "cert.pem")) },
  (request, response) => {
    const number = /made-up-(\d+)-1\.0\.0\.tgz$/.exec(request.url ?? "")?.[1];
    response.setHeader("connection", "close");
    response.end(number === undefined ? body : packages[Number(number)]);
  },
);
server.on("secureConnection", () => seen++);
await new Promise<void>(done => server.listen(0, "127.0.0.1", done));
const address = server.address();
const port = typeof address === "object" && address ? address.port : 0;

// ---------------------------------------------------------------------------------------------
// The clients

const project = join(scratch, "project");
mkdirSync(project);

function npmCommand(): string[] {
  const names = packages.map((_, number) => `made-up-${number}`);
  const dependencies = Object.fromEntries(names.map(name => [name, "1.0.0"]));
  const locked = packages.map((bytes, number) => [
    `node_modules/made-up-${number}`,
    {
      version: "1.0.0",
      resolved: `https://127.0.0.1:${port}/made-up-${number}/-/made-up-${number}-1.0.0.tgz`,
      integrity: `sha512-${createHash("sha512").update(bytes).digest("base64")}`,
    },
  ]);
  const root = { name: "bench", version: "1.0.0", dependencies };
  writeFileSync(join(project, "package.json"), JSON.stringify(root));
  const lock = {
    name: "bench",
    version: "1.0.0",
    lockfileVersion: 3,
    requires: true,
    packages: { "": root, ...Object.fromEntries(locked) },
  };
  writeFileSync(join(project, "package-lock.json"), JSON.stringify(lock));
  const flags = "--no-audit --no-fund --ignore-scripts --strict-ssl=false --no-update-notifier --loglevel=error".split(" ");
  return ["npm", "ci", ...flags, `--cache=${join(scratch, "cache")}`, `--registry=https://127.0.0.1:${port}/`];
}

function nodeCommand(): string[] {
  const path = join(project, "client.cjs");
  writeFileSync(
    path,
    `const https=require("https");let left=${connections},running=0;
function next(){while(running<8&&left>0){left--;running++;
https.get({host:"127.0.0.1",port:${port},servername:"registry.example",rejectUnauthorized:false,agent:false},
r=>{r.resume();r.on("end",()=>{running--;next()})})}}
next();`,
  );
  return ["node", path];
}

const clients: Readonly<Record<string, () => string[]>> = { npm: npmCommand, node: nodeCommand };
const command = clients[client]?.();
if (!command) throw new Error("usage: bun bench/network.ts npm|node [CONNECTIONS [ROUNDS [OTHER-CILOCK…]]]");

// ---------------------------------------------------------------------------------------------
// The rounds

const run = (cilock: string) => [
  cilock,
  ...["run", "--step", "bench", "--signer-ephemeral", "--trace", "-a", "environment"],
  ...["-o", join(scratch, "record.json"), "--", ...command],
];
const variants = [{ name: "bare", command }, ...builds.map(path => ({ name: path, command: run(path) }))];
const times = new Map(variants.map(({ name }) => [name, [] as number[]]));
/** Of the processor, for the whole tree. */
const works = new Map(variants.map(({ name }) => [name, [] as number[]]));
for (let round = 0; round < rounds; round++) {
  for (const variant of variants) {
    rmSync(join(scratch, "cache"), { recursive: true, force: true });
    rmSync(join(project, "node_modules"), { recursive: true, force: true });
    seen = 0;
    const start = performance.now();
    const child = Bun.spawn(variant.command, { cwd: project, stdin: "ignore", stdout: "ignore", stderr: "pipe" });
    if ((await child.exited) !== 0) throw new Error(`${variant.name}: ${await new Response(child.stderr).text()}`);
    times.get(variant.name)?.push(performance.now() - start);
    works.get(variant.name)?.push(Number(child.resourceUsage()?.cpuTime.total ?? 0) / 1000);
    if (seen !== connections) throw new Error(`${variant.name}: ${seen} connections, not ${connections}`);
  }
}
const machine = `${cpus().length} x ${cpus()[0]?.model}, Linux ${release()}, load ${loadavg()[0]?.toFixed(1)}`;
console.log(`${client}, ${connections} connections, ${rounds} rounds, ${machine}\n`);
console.log("| | CPU, ms (median) | to bare | wall, ms (fastest) | to bare |\n|---|---|---|---|---|");
const middle = (list: number[]) => list.toSorted((a, b) => a - b)[list.length >> 1] ?? 0;
const [bareWork, bareTime] = [middle(works.get("bare") ?? []), Math.min(...(times.get("bare") ?? []))];
for (const { name } of variants) {
  const [work, time] = [middle(works.get(name) ?? []), Math.min(...(times.get(name) ?? []))];
  console.log(
    `| ${name} | ${work.toFixed(0)} | ${(work / bareWork).toFixed(2)} | ${time.toFixed(0)} | ${(time / bareTime).toFixed(2)} |`,
  );
}
server.close();
rmSync(scratch, { recursive: true });
