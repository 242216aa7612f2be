// usage: bun bench/assemble.ts [PROCESSES [PREDICATE]]
//
// The front end's part of a large build without the build: made-up events of 5,000 processes that open 200 of 40,000 files
// each go through the trace, and the record is assembled and signed. Prints how long each part took and the memory then.

import { heapStats } from "bun:jsc";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { closeSync, fstatSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildCollection } from "../src/attestation/collection.ts";
import { envelopePieces, inTotoPayloadType, signPayload } from "../src/attestation/envelope.ts";
import { writeJson } from "../src/attestation/json-writer.ts";
import { generateKey } from "../src/attestation/keys.ts";
import { commandRunAttestor } from "../src/attestors/command-run.ts";
import { commandRunV02Attestor } from "../src/attestors/command-run-v02.ts";
import { materialAttestor } from "../src/attestors/material.ts";
import { productAttestor } from "../src/attestors/product.ts";
import { fileTree } from "../src/attestors/tree-attestation.ts";
import { HeapRoom } from "../src/commands/heap-room.ts";
import { judgeFiles } from "../src/commands/run-inputs.ts";
import { Spool } from "../src/commands/spool.ts";
import type { Event, EventHeader, FileIdentity } from "../src/native/events.ts";
import { Trace } from "../src/trace/trace.ts";
import { environmentBytes, execEvent, noFlags } from "../test/trace-events.ts";

const [processCount = "5000", predicate = "command-run/v0.1"] = process.argv.slice(2);
const directories = 200;
const filesEach = 200;
const scratch = mkdtempSync(join(tmpdir(), "cilock-assemble-"));
const one = join(scratch, "one");
const text = Array.from({ length: 20 }, (_, i) => `content ${i}\n`).join("");
writeFileSync(one, text);
const stat = fstatSync(openSync(one, "r"), { bigint: true });
const key = generateKey("ed25519");

let last = performance.now();
let cpu = process.cpuUsage();
function mark(name: string): void {
  const now = performance.now();
  const roll = readFileSync("/proc/self/smaps_rollup", "latin1");
  const mebibytes = (n: string) => Math.round(Number(new RegExp(`^${n}:\\s+(\\d+)`, "m").exec(roll)?.[1]) / 1024);
  const used = process.cpuUsage(cpu);
  let line = `${name.padEnd(12)} ${(now - last).toFixed(0).padStart(6)} ms, cpu ${((used.user + used.system) / 1000).toFixed(0).padStart(6)}, anonymous ${mebibytes("Anonymous")} MiB`;
  if (process.env.HEAP) {
    Bun.gc(true);
    const h = heapStats();
    line += `, heap ${Math.round(h.heapSize / 1048576)} cap ${Math.round(h.heapCapacity / 1048576)} extra ${Math.round(h.extraMemorySize / 1048576)}\n   `;
    line += Object.entries(h.objectTypeCounts)
      .sort((a, b) => b[1] - a[1])
      .slice(0, 9)
      .map(([k, v]) => `${k}=${v}`)
      .join(" ");
  }
  console.log(line);
  last = performance.now();
  cpu = process.cpuUsage();
}

const files = Array.from({ length: directories * filesEach }, (_, i) => ({
  path: `include/module${Math.floor(i / filesEach)}/header-${i % filesEach}.h`,
  digest: { sha256: new Bun.CryptoHasher("sha256").update(`${i}`).digest("hex") },
  device: stat.dev + 0n,
  inode: 1000n + BigInt(i),
  size: stat.size + 0n,
  mtimeNs: stat.mtimeNs + 0n,
  ctimeNs: stat.ctimeNs + 0n,
  settled: true,
}));
const walk = { files };
mark("start");

let out = 0;
const trace = new Trace({
  hashes: ["sha256"],
  closeDescriptor: d => {
    closeSync(d);
    out--;
  },
  kernelRelease: "6",
  ignoredSyscalls: "00",
  frontEndPid: 10,
  keepThreads: true,
  keepEnvironments: true,
});
let sequence = 0;
const hold = () => {
  out++;
  return openSync(one, "r");
};
const startNs = 1_800_000_000_000_000_000n;
function header(process: number): EventHeader {
  return {
    header: noFlags,
    sequence: sequence,
    timeNs: startNs + BigInt(sequence++) * 1000n,
    tid: 100 + process,
    process,
  };
}
const texts = new Map<string, string>();
const fresh = (text: string) => {
  let known = texts.get(text);
  if (known === undefined) {
    known = Buffer.from(text).toString("latin1");
    texts.set(known, known);
  }
  return known;
};
const identities: FileIdentity[] = [];
const identity = (inode: number): FileIdentity =>
  (identities[inode] ??= {
    device: BigInt.asUintN(64, stat.dev + 0n),
    inode: BigInt(inode),
    size: stat.size + 0n,
    blocks: stat.blocks + 0n,
    mtimeNs: stat.mtimeNs + 0n,
    ctimeNs: stat.ctimeNs + 0n,
    birthNs: stat.birthtimeNs + 0n,
    mode: 0o100644,
    links: 1,
    fileSystem: 0xef53,
    uid: 0,
  });
const handed = new Map<number, number>();
const send = (event: Event) => trace.onEvent(event);
const environment = Array.from({ length: 30 }, (_, i) => `VARIABLE_${i}=value of this variable ${i}`);
for (let p = 1; p <= Number(processCount); p++) {
  send({ kind: "process", ...header(p), parent: p === 1 ? 0 : 1, pid: 100 + p, parentPid: 101, event: 1, cloneFlags: 0n });
  const image = identity(99);
  const known = handed.get(99);
  handed.set(99, sequence);
  send(
    execEvent(header(p), {
      executable: image,
      executableHeld: known === undefined ? hold() : -1,
      executableNotHeld: known === undefined ? "none" : "known_content",
      executableContent: known ?? 0,
      executablePath: fresh("/usr/bin/dash"),
      programPath: fresh("/usr/bin/sh"),
      cwd: fresh("/tmp/scratch/work"),
      argv: ["sh", "open.sh", fresh(`include/module${p % directories}`)],
      environment: environmentBytes(environment),
    }),
  );
  handed.set(99, known ?? handed.get(99) ?? 0);
  const d = p % directories;
  for (let f = 0; f < filesEach; f++) {
    const i = d * filesEach + f;
    const known = handed.get(1000 + i);
    if (known === undefined) handed.set(1000 + i, sequence);
    send({
      kind: "open",
      ...header(p),
      file: identity(1000 + i),
      flags: 0n,
      mode: 0,
      descriptor: 3,
      held: known === undefined ? hold() : -1,
      notHeld: known === undefined ? "none" : "known_content",
      heldErrno: 0,
      number: 257,
      name: "openat",
      abi: "x86_64",
      content: known ?? 0,
      root: "",
      argument: "",
      path: fresh(`/build/work/include/module${d}/header-${f}.h`),
    });
  }
  if (p > 1) send({ kind: "exit", ...header(p), status: 0, failedOpens: 3 });
  while (p % 5 === 0 && out > 500) await Bun.sleep(1);
  if (p % 5 === 0) await new Promise<void>(resolve => setImmediate(resolve));
}
send({ kind: "command_end", ...header(1), status: 0 });
send({ kind: "exit", ...header(1), status: 0 });
fileTree(walk.files);
mark("events");
const traced = await trace.finish({ features: ["privileged"], survivorsKilled: 0 });
mark("finish");
using room = new HeapRoom();
room.make({ paths: traced.paths?.opened ?? 0, processes: traced.processes.length });
mark("room");
await judgeFiles(traced, trace, {
  workingDirectory: "/build/work",
  environment: [],
  before: { workingDirectory: "/build/work", repository: undefined, snapshot: new Map() },
  compareAll: false,
  isCache: () => false,
  isProduct: undefined,
});
mark("judged");
const stream = { bytes: new Uint8Array(0), sha256: "", length: 0, redactions: 0 };
const now = startNs;
const span: [bigint, bigint] = [now, now];
const facts = {
  observation: {
    argv: [Buffer.from("sh")],
    environment: [],
    workingDirectory: "/tmp",
    startTime: now,
    endTime: now,
    exitCode: 0,
    stdout: stream,
    stderr: stream,
    survivorsKilled: 0,
    trace: traced,
  },
  materials: walk.files,
  products: [],
  directories: [],

  git: undefined,
  host: {} as never,
  options: { attestations: ["environment"], isSensitiveVariable: () => false, redact: (text: string) => ({ text, count: 0 }) },
  times: { material: span, command: span, product: span, git: span, environment: span },
};
const run = predicate === "command-run/v0.2" ? commandRunV02Attestor : commandRunAttestor;
const attestations = [materialAttestor, run, productAttestor].flatMap(attestor => attestor.attest(facts) ?? []);
mark("attested");
using spool = new Spool(Buffer.from(scratch));
const { statement } = buildCollection({ step: "s", attestations });
const payload = createHash("sha256");
writeJson(statement, piece => spool.write(piece));
mark("json");
const signature = await signPayload(spool, inTotoPayloadType, key);
mark("signed");
let length = 0;
const outfile = openSync(join(scratch, "out"), "w");
const { writeSync } = await import("node:fs");
for (const piece of envelopePieces(spool, inTotoPayloadType, [signature])) {
  length += piece.length;
  writeSync(outfile, piece);
}
mark("written");
for (const piece of spool.pieces()) payload.update(piece);
console.log(
  `payload sha256:${payload.digest("hex")}; record ${Math.round(length / 2 ** 20)} MiB; most memory ${Math.round(Number(/VmHWM:\s+(\d+)/.exec(readFileSync("/proc/self/status", "latin1"))?.[1]) / 1024)} MiB`,
);
rmSync(scratch, { recursive: true, force: true });
process.exit(0);
