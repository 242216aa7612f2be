// The harness itself must be able to say no: a test that cannot fail shows nothing.
import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { recordOf, run, Scratch, tracee } from "./harness.ts";
import { openRecord } from "./record.ts";
import { inconsistencies, type Line, parseLines, unseen } from "./seen.ts";

test("a record with one changed byte is not opened", async () => {
  using scratch = new Scratch();
  recordOf(await run(scratch, ["true"]));
  const envelope = JSON.parse(readFileSync(scratch.outfile, "utf8"));
  const payload = Buffer.from(envelope.payload, "base64").toString("latin1").replace('"exitcode":0', '"exitcode":1');
  writeFileSync(scratch.outfile, JSON.stringify({ ...envelope, payload: Buffer.from(payload, "latin1").toString("base64") }));
  expect(() => openRecord(scratch.outfile, scratch.publicPem)).toThrow("signature");
});

test("each thing that a tracee says and that is not so is found", async () => {
  using scratch = new Scratch();
  const ran = await run(scratch, [tracee("opens")], { trace: true });
  const record = recordOf(ran);
  const lines = parseLines(ran.stdout);
  expect(unseen(record, lines)).toEqual([]);
  const pid = record.processes[0]?.processid ?? 0;
  const wrong: Line[] = [
    { see: "process", pid, parent: 1 },
    { see: "program", pid, path: "/bin/true" },
    { see: "program", pid, argv: ["x"] },
    { see: "earlier-image", pid, executable: "/bin/true", argv: [] },
    { see: "open", pid, path: "/nowhere", access: "read" },
    { see: "open", pid, path: "/dev/null", access: "read" },
    { see: "no-open", pid, path: `${scratch.work}/input` },
    { see: "unhashed", pid, path: `${scratch.work}/input`, reason: "device" },
    { see: "written", pid, path: "/etc/passwd" },
    { see: "no-written", pid, path: `${scratch.work}/created` },
    { see: "deleted", pid, path: `${scratch.work}/input`, content: "" },
    { see: "renamed", pid, from: "/nowhere" },
    { see: "reads", pid, path: `${scratch.work}/input`, contents: ["other\n"] },
    { see: "exit", pid, status: 9 },
    { see: "gap", kind: "limit" },
    { see: "event", pid, syscall: "setns" },
    { see: "open-or-gap", pid, path: "/nowhere", kinds: ["limit"] },
    { see: "attack", what: "kill", victim: 1, result: 0, done: true },
  ];
  for (const line of wrong) expect([line.see, unseen(record, [line]).length]).toEqual([line.see, 1]);
  expect(() => unseen(record, [{ see: "exit", pid: 1, status: 0 }])).toThrow("0 processes 1");
  expect(inconsistencies(record, 1).length).toBeGreaterThan(0);
});
