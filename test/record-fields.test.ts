// The pages name the fields of a record that really occur, and their jq lines work. One real record is read both ways.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { z } from "zod";
import { recordOf, run, Scratch } from "./harness.ts";
import { attestation } from "./record.ts";

const pages = ["command-run.md", "network.md"].map(name => readFileSync(join(dirname(import.meta.dir), "docs", name), "utf8"));

/** Of each kind one, as far as every user and file system can. */
const script = `
import ctypes, os, socket
libc = ctypes.CDLL(None)
os.mkdir("d"); open("f", "w").write("text"); os.rename("f", "codes.txt"); os.link("codes.txt", "l"); os.symlink("codes.txt", "s")
os.chmod("codes.txt", 0o755); os.truncate("codes.txt", 2); os.utime("codes.txt"); os.chown("codes.txt", os.getuid(), os.getgid())
os.mkfifo("p"); os.remove("l"); open("codes.txt").read(); open("/dev/null").read()
try: os.setxattr("codes.txt", "user.x", b"1")
except OSError: pass
libc.mount(b"none", b"d", b"no-such-type", 0, None)
server = socket.socket(); server.bind(("127.0.0.1", 0)); server.listen()
client = socket.socket(); client.connect(server.getsockname()); server.accept()
question = b"\\0\\1\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\7example\\4test\\0\\0\\1\\0\\1"
socket.socket(type=socket.SOCK_DGRAM).sendto(question, ("127.0.0.1", 53))
`;
/** What not every file system can, and what takes thousands of connections. */
const notMade = new Set(["fileOps.xattrChanges", "network.summed"]);

const json = z.record(z.string(), z.unknown());
let scratch: Scratch;
let found: z.infer<typeof json>;

beforeAll(async () => {
  scratch = new Scratch("self");
  const program = join(scratch.path, "script.py");
  writeFileSync(program, script);
  const command = ["sh", "-c", 'exec python3 "$1"', "sh", program];
  const record = recordOf(await run(scratch, command, { trace: true }));
  found = attestation(record, "command-run");
  writeFileSync(join(scratch.work, "run.json"), JSON.stringify(found));
});
afterAll(() => scratch[Symbol.dispose]());

interface Row {
  list: string;
  always: string[];
  known: string[];
}

const quoted = (text: string): string[] => [...text.matchAll(/`([A-Za-z.]+)`/g)].map(([, name = ""]) => name);

/** Of the tables that are about entries of lists. */
const rows: Row[] = pages.flatMap(page =>
  page.split("\n\n").flatMap(part => {
    if (!part.startsWith("| list | fields of an entry |")) return [];
    return part
      .split("\n")
      .slice(2)
      .flatMap(line => {
        const [, lists = "", fields = ""] = line.split("|");
        const [always = "", known = ""] = fields.split(";");
        return quoted(lists).map(list => ({ list, always: quoted(always), known: quoted(known) }));
      });
  }),
);

function entriesOf(list: string): Record<string, unknown>[] {
  const places = list.startsWith("summary.") ? [found] : z.array(json).parse(found.processes);
  return places.flatMap(place => {
    const value = list.split(".").reduce<unknown>((at, name) => json.safeParse(at).data?.[name], place);
    return z.array(json).default([]).parse(value);
  });
}

describe("entries have the fields that the page names", () => {
  test("the tables are found", () => expect(rows.length).toBeGreaterThanOrEqual(18));
  for (const { list, always, known } of rows) {
    test(list, () => {
      const entries = entriesOf(list);
      if (!notMade.has(list)) expect(entries.length).toBeGreaterThan(0);
      for (const entry of entries) {
        expect(Object.keys(entry)).toEqual(expect.arrayContaining(always));
        expect([...always, ...known]).toEqual(expect.arrayContaining(Object.keys(entry)));
      }
    });
  }

  test("no list is left out", () => {
    const processes = z.array(json).parse(found.processes);
    const named = new Set(rows.map(({ list }) => list));
    for (const [group, process] of processes.flatMap(one =>
      ["fileOps", "network"].map(name => [name, json.safeParse(one[name]).data ?? {}] as const),
    )) {
      for (const name of Object.keys(process)) expect(named).toContain(`${group}.${name}`);
    }
  });
});

describe.skipIf(Bun.which("jq") === null)("the jq lines", () => {
  const lines = pages.flatMap(page => page.split("\n").filter(line => line.startsWith("    jq ")));
  test("are found", () => expect(lines.length).toBeGreaterThanOrEqual(8));
  for (const line of lines) {
    test(line.trim(), () => {
      // The one that makes run.json prints nothing.
      const words = line.replaceAll("att.json", '"$1"').replace(">run.json", "");
      const ran = Bun.spawnSync(["sh", "-c", words, "sh", scratch.outfile], { cwd: scratch.work });
      const text = ran.stdout.toString();
      expect(ran.stderr.toString()).toBe("");
      expect(text.trim()).not.toBe("");
      // What a name that does not occur is printed as; a record itself may have the word.
      if (!line.includes("att.json")) expect(/\bnull\b/.test(text)).toBe(false);
    });
  }
});
