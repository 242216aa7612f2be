// The tracees print what must be seen of them, one JSON object a line; this compares a record with that. A program that prints
// its own expected trace cannot drift from what the test expects of it.
import { createHash } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import { z } from "zod";
import { escapeBytes } from "../src/text.ts";
import { type ProcessEntry, processOf, type Record } from "./record.ts";

const pid = z.int();
const how = z.string().optional();
const path = z.string();

const line = z.discriminatedUnion("see", [
  z.object({ see: z.literal("process"), pid, parent: z.int(), how }),
  z.object({ see: z.literal("thread"), tid: z.int(), pid }),
  z.object({
    see: z.literal("program"),
    pid,
    path: path.optional(),
    executable: path.optional(),
    argv: z.array(z.string()).optional(),
    how,
  }),
  z.object({ see: z.literal("earlier-image"), pid, executable: path, argv: z.array(z.string()) }),
  z.object({ see: z.literal("open"), pid, path: path.optional(), pathHex: z.string().optional(), access: z.string(), how }),
  z.object({ see: z.literal("no-open"), pid, path, how }),
  z.object({ see: z.literal("unhashed"), pid, path, reason: z.string() }),
  // What it found, with zeros up to that size, or that it is not known.
  z.object({ see: z.literal("read-or-unhashed"), pid, path, content: z.string(), size: z.int(), reason: z.string() }),
  z.object({ see: z.literal("written"), pid, path, how }),
  z.object({ see: z.literal("no-written"), pid, path }),
  // With --trace-detail full.
  z.object({ see: z.literal("amount"), pid, path, bytes: z.int(), how }),
  z.object({ see: z.literal("deleted"), pid, path, content: z.string().optional() }),
  z.object({ see: z.literal("renamed"), pid, from: path }),
  z.object({ see: z.literal("reads"), pid, path, contents: z.array(z.string()) }),
  z.object({ see: z.literal("exit"), pid, status: z.int() }),
  z.object({ see: z.literal("gap"), kind: z.string() }),
  z.object({ see: z.literal("event"), pid, syscall: z.string(), result: z.union([z.literal(0), z.string()]).optional() }),
  z.object({ see: z.literal("daemon"), pid }),
  // Evasions: the open, or the kind of gap that says why it may be missing.
  z.object({ see: z.literal("open-or-gap"), pid, path, kinds: z.array(z.string()), how }),
  // What a call answered to one who tried: for the test to look at.
  z.object({ see: z.literal("answer"), what: z.string(), value: z.int() }),
  z.object({ see: z.literal("refused"), what: z.string(), result: z.int() }),
  z.object({ see: z.literal("attack"), what: z.string(), victim: z.int(), result: z.int(), done: z.boolean() }),
]);
export type Line = z.infer<typeof line>;

export function parseLines(output: Buffer): Line[] {
  return output
    .toString("utf8")
    .split("\n")
    .filter(text => text !== "")
    .map(text => line.parse(JSON.parse(text)));
}

/** What of these lines is not so in the record: one sentence each, empty when all is well. */
export function unseen(record: Record, lines: Line[]): string[] {
  const problems: string[] = [];
  for (const one of lines) {
    const wrong = check(record, one);
    if (wrong) problems.push(`${wrong} (${JSON.stringify(one)})`);
  }
  return problems;
}

function check(record: Record, one: Line): string | undefined {
  switch (one.see) {
    case "process": {
      const parent = processOf(record, one.pid).parentpid;
      return parent === one.parent ? undefined : `parent is ${parent}`;
    }
    case "thread":
      return one.tid !== one.pid && record.processes.some(entry => entry.processid === one.tid)
        ? "a thread is listed as a process"
        : undefined;
    case "program":
      return checkProgram(processOf(record, one.pid), one);
    case "earlier-image": {
      const digest = sha256(readFileSync(one.executable));
      const image = processOf(record, one.pid).images.find(found => found.exedigest?.sha256 === digest);
      if (!image) return "no such earlier image";
      return differs("argv", image.argv, one.argv);
    }
    case "open":
      return checkOpen(processOf(record, one.pid), one.path ?? escapeBytes(Buffer.from(one.pathHex ?? "", "hex")), one);
    case "no-open": {
      const entry = processOf(record, one.pid);
      return one.path in entry.openedfiles ? "a failed open is listed" : undefined;
    }
    case "unhashed":
      return checkUnhashed(processOf(record, one.pid), one);
    case "read-or-unhashed": {
      const entry = processOf(record, one.pid);
      const content = Buffer.alloc(one.size);
      content.write(one.content);
      return entry.openedfiles[one.path]?.sha256 === sha256(content) ? undefined : checkUnhashed(entry, one);
    }
    case "written": {
      const expected = sha256(readFileSync(one.path));
      const found = record.processes.flatMap(entry => entry.writtenDigests[one.path]?.sha256 ?? []);
      return found.includes(expected)
        ? undefined
        : `the file on disk has ${expected}, writtenDigests ${found.join(", ") || "nothing"}`;
    }
    case "amount": {
      const found = processOf(record, one.pid).fileOps.writes.filter(write => write.path === one.path);
      // Files that had the name before have entries too.
      const bytes = found.map(write => write.bytes);
      return bytes.at(-1) === one.bytes ? undefined : `fileOps.writes has ${bytes.join(", ") || "nothing"}`;
    }
    case "no-written":
      return one.path in processOf(record, one.pid).writtenDigests ? "a name that is gone is listed as written" : undefined;
    case "deleted": {
      const entry = processOf(record, one.pid);
      if (!entry.fileOps.deletes.some(found => found.path === one.path)) return "not among the deletes";
      if (one.content === undefined) return undefined;
      const found = entry.openedfiles[one.path]?.sha256;
      return found === sha256(one.content) ? undefined : `openedfiles has ${found}`;
    }
    case "reads":
      return checkReads(processOf(record, one.pid), one.path, one.contents);
    case "exit": {
      const status = processOf(record, one.pid).exitcode;
      return status === one.status ? undefined : `exit code is ${status}`;
    }
    case "gap":
      return record.commandRun.completeness?.gaps.some(gap => gap.kind === one.kind) ? undefined : "no such gap";
    case "event": {
      const events = processOf(record, one.pid).syscallEvents.filter(event => event.syscall === one.syscall);
      if (events.length === 0) return "no such event";
      return one.result === undefined || events.some(event => event.result === one.result)
        ? undefined
        : `results are ${events.map(event => event.result).join(", ")}`;
    }
    case "renamed": {
      const renames = processOf(record, one.pid).fileOps.renames.map(found => found.oldPath);
      return renames.includes(one.from) ? undefined : `renames are of ${renames.join(" ") || "nothing"}`;
    }
    case "open-or-gap": {
      if (record.commandRun.completeness?.gaps.some(gap => one.kinds.includes(gap.kind))) return undefined;
      const found = record.processes.find(entry => entry.processid === one.pid);
      return found && one.path in found.openedfiles ? undefined : "neither seen nor flagged";
    }
    case "attack":
      return one.done ? "the attack went through" : undefined;
    case "daemon":
    case "answer":
    case "refused":
      return undefined; // the test looks at it itself
  }
}

function checkProgram(entry: ProcessEntry, one: Line & { see: "program" }): string | undefined {
  if (one.path !== undefined && entry.program !== one.path) return `program is ${entry.program}`;
  if (one.argv !== undefined) {
    const wrong = differs("argv", entry.argv, one.argv) ?? differs("cmdline", entry.cmdline, one.argv.join(" "));
    if (wrong) return wrong;
  }
  const executable = one.executable ?? one.path;
  if (executable === undefined) return undefined;
  const expected = sha256(readFileSync(executable));
  if (entry.exedigest?.sha256 !== expected) return `exedigest is ${entry.exedigest?.sha256}, ${executable} has ${expected}`;
  const program = sha256(readFileSync(one.path ?? executable));
  return entry.programdigest?.sha256 === program ? undefined : `programdigest is ${entry.programdigest?.sha256}, not ${program}`;
}

function checkOpen(entry: ProcessEntry, key: string, one: Line & { see: "open" }): string | undefined {
  const digest = entry.openedfiles[key];
  if (!digest) return `not in openedfiles, which has ${Object.keys(entry.openedfiles).join(" ")}`;
  const reasons = entry.unhashedOpens.filter(found => found.path === key).map(found => found.reason);
  switch (one.access) {
    case "path-only":
      return reasons.includes("path-only") ? undefined : `reasons are ${reasons.join(", ") || "none"}`;
    case "directory":
      return reasons.includes("directory") ? undefined : `reasons are ${reasons.join(", ") || "none"}`;
    case "deleted":
      return digest.sha256 ? undefined : "no digest";
    default:
      return digest.sha256 ? undefined : `no digest; reasons are ${reasons.join(", ") || "none"}`;
  }
}

function checkUnhashed(entry: ProcessEntry, one: { path: string; reason: string }): string | undefined {
  const digest = JSON.stringify(entry.openedfiles[one.path]);
  if (digest !== "{}") return `openedfiles has ${digest}`;
  const reasons = entry.unhashedOpens.filter(found => found.path === one.path).map(found => found.reason);
  return reasons.includes(one.reason) ? undefined : `reasons are ${reasons.join(", ") || "none"}`;
}

/** The first content under the path, and every other one in fileVersions, in order. */
function checkReads(entry: ProcessEntry, key: string, contents: string[]): string | undefined {
  const expected = contents.map(content => sha256(content));
  if (entry.openedfiles[key]?.sha256 === undefined) return "not in openedfiles";
  const versions = (entry.fileVersions[key] ?? []).map(version => version.sha256);
  // The versions may hold more (what this process itself wrote there), never less and never in another order.
  let position = 0;
  for (const version of versions) if (version === expected[position]) position++;
  return position === expected.length
    ? undefined
    : `content ${position + 1} of ${expected.length} is missing in fileVersions, which has ${versions.length}`;
}

function differs(what: string, found: unknown, expected: unknown): string | undefined {
  return JSON.stringify(found) === JSON.stringify(expected) ? undefined : `${what} is ${JSON.stringify(found)}`;
}

export function sha256(bytes: Uint8Array | string): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Undefined where there is no regular file. */
export function sha256OfFile(file: string): string | undefined {
  return existsSync(file) && statSync(file).isFile() ? sha256(readFileSync(file)) : undefined;
}

/** What must hold of every traced record, whatever ran. One sentence for each thing that does not. */
export function inconsistencies(record: Record, frontEnd: number): string[] {
  const problems: string[] = [];
  const known = new Set([frontEnd]);
  for (const entry of record.processes) {
    const name = `process ${entry.processid} (${entry.program})`;
    if (!known.has(entry.parentpid)) problems.push(`${name}: its parent ${entry.parentpid} is not listed before it`);
    known.add(entry.processid);
    if (entry.program === undefined || !entry.program.startsWith("/")) problems.push(`${name}: no absolute program`);
    if (entry.exedigest?.sha256 === undefined) problems.push(`${name}: no exedigest`);
    if (entry.argv !== undefined && entry.cmdline !== entry.argv.join(" "))
      problems.push(`${name}: cmdline ${entry.cmdline} is not ${entry.argv.join(" ")}`);
    if (entry.starttime === undefined || entry.endtime === undefined) problems.push(`${name}: no times`);
    else if (compareTimes(entry.starttime, entry.endtime) > 0) problems.push(`${name}: ends before it starts`);
    for (const [opened, digest] of Object.entries(entry.openedfiles)) {
      if (!opened.startsWith("/")) problems.push(`${name}: ${opened} is not absolute`);
      const unhashed = entry.unhashedOpens.some(found => found.path === opened);
      if (digest.sha256 === undefined && !unhashed) problems.push(`${name}: ${opened} has neither digest nor reason`);
    }
    for (const found of entry.unhashedOpens) {
      if (!(found.path in entry.openedfiles)) problems.push(`${name}: ${found.path} (${found.reason}) is not in openedfiles`);
    }
  }
  const [first] = record.processes;
  if (first?.parentpid !== frontEnd) problems.push(`the command's parent is ${first?.parentpid}, not the front end ${frontEnd}`);
  return problems;
}

/** RFC 3339 in UTC with any number of fractional digits. */
function compareTimes(left: string, right: string): number {
  const digits = (time: string) =>
    time.replace("Z", "").replace(/\.(\d+)$/, (_, fraction: string) => `.${fraction.padEnd(9, "0")}`);
  return digits(left).padEnd(29, ".") < digits(right).padEnd(29, ".") ? -1 : digits(left) === digits(right) ? 0 : 1;
}
