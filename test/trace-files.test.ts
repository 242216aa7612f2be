// Files are inodes: what was opened has the digest of what was in it at that moment, what was written that of what was left.
import { describe, expect, test } from "bun:test";
import { chmodSync, closeSync, openSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { recordOf, Scratch, start, tracee, users } from "./harness.ts";
import { attestation, gaps, processOf } from "./record.ts";
import { inconsistencies, parseLines, sha256, unseen } from "./seen.ts";

for (const user of users) {
  describe(`as ${user}`, () => {
    for (const [name, ...words] of [["opens"], ["swap"], ["swap", "200"], ["writers"]] as const) {
      test([name, ...words].join(" "), async () => {
        using scratch = new Scratch(user);
        const child = start(scratch, [tracee(name, scratch), ...words], { trace: true });
        const ran = await child.end();
        expect(ran.stderr).not.toContain("tracee:");
        const record = recordOf(ran);
        const lines = parseLines(ran.stdout);
        expect(lines.length).toBeGreaterThan(0);
        expect(unseen(record, lines)).toEqual([]);
        expect(inconsistencies(record, child.pid)).toEqual([]);
        expect(gaps(record)).toEqual([]);
        expect(ran.status).toBe(0);
      });
    }

    test("a file that is written and that nobody but root may read back", async () => {
      using scratch = new Scratch(user);
      const { record, ran } = await traced(scratch, [tracee("writers", scratch), "write-only"]);
      const lines = parseLines(ran.stdout);
      expect(unseen(record, lines)).toEqual([]);
      // It is no product either, and that is said as well.
      expect(gaps(record)).toEqual(lines.flatMap(line => (line.see === "gap" ? ["unlisted-files", line.kind] : [])));
    });

    test("the swap's later contents are all there, in the order in which they came", async () => {
      using scratch = new Scratch(user);
      const child = start(scratch, [tracee("swap", scratch)], { trace: true });
      const ran = await child.end();
      const record = recordOf(ran);
      for (const line of parseLines(ran.stdout)) {
        if (line.see !== "reads" || !line.path.endsWith("/back")) continue;
        const versions = processOf(record, line.pid).fileVersions[line.path]?.map(version => version.sha256);
        expect(versions).toEqual([sha256("content A\n"), sha256("content B\n"), sha256("content A\n")]);
      }
    });

    test("a read-only file that another user owns", async () => {
      using scratch = new Scratch(user);
      const { record } = await traced(scratch, ["cat", "/etc/passwd"]);
      expect(opened(record, "/etc/passwd")).toEqual([sha256(readFileSync("/etc/passwd"))]);
    });

    test("stdin from a regular file counts as opened at the start", async () => {
      using scratch = new Scratch(user);
      const input = join(scratch.work, "input");
      writeFileSync(input, "from a file\n");
      const descriptor = openSync(input, "r");
      const { record } = await traced(scratch, ["cat"], descriptor);
      closeSync(descriptor);
      expect(record.processes[0]?.openedfiles[input]?.sha256).toBe(sha256("from a file\n"));
    });

    test("a large sparse file ends the run and is digested or has a reason", async () => {
      using scratch = new Scratch(user);
      const sparse = join(scratch.work, "sparse");
      writeFileSync(sparse, "");
      truncateSync(sparse, 300 * 1024 * 1024);
      const { record } = await traced(scratch, ["head", "-c", "1", "sparse"]);
      const reader = record.processes.find(entry => sparse in entry.openedfiles);
      expect(reader).toBeDefined();
      // Zeroes, hole or not: the digest is over what a reader would see.
      const expected = new Bun.CryptoHasher("sha256");
      const zeroes = new Uint8Array(1024 * 1024);
      for (let i = 0; i < 300; i++) expected.update(zeroes);
      expect(reader?.openedfiles[sparse]?.sha256).toBe(expected.digest("hex"));
    });

    test("a thousand small files, written and read again", async () => {
      using scratch = new Scratch(user);
      const script = 'i=0; while [ $i -lt 1000 ]; do echo "number $i" > f$i; i=$((i+1)); done; cat f* > all';
      const { record } = await traced(scratch, ["/bin/sh", "-c", script]);
      for (const number of [0, 1, 500, 999]) {
        const path = join(scratch.work, `f${number}`);
        const expected = sha256(`number ${number}\n`);
        expect(record.processes.flatMap(entry => entry.writtenDigests[path]?.sha256 ?? [])).toContain(expected);
        expect(record.processes.find(entry => entry.comm === "cat")?.openedfiles[path]?.sha256).toBe(expected);
      }
      expect(Object.keys(record.processes.find(entry => entry.comm === "cat")?.openedfiles ?? {}).length).toBeGreaterThanOrEqual(
        1000,
      );
      expect(gaps(record)).toEqual([]);
    });

    test("what a living process has written and another one truncates is digested before that", async () => {
      using scratch = new Scratch(user);
      writeFileSync(join(scratch.work, "new"), "final\n");
      const { record } = await traced(scratch, ["/bin/sh", "-c", "for i in 1 2 3 4 5; do echo temporary $i > f; cp new f; done"]);
      const path = join(scratch.work, "f");
      const left = (comm: string) =>
        record.processes.filter(entry => entry.comm === comm).map(entry => entry.writtenDigests[path]?.sha256);
      expect(left("sh")).toEqual([sha256("temporary 5\n")]);
      expect(left("cp")).toEqual(Array(5).fill(sha256("final\n")));
      expect(gaps(record)).toEqual([]);
    });

    // As counters and logs are written that many short-lived processes share: one opens it while another one ends.
    test("processes that add to one file at the same time", async () => {
      using scratch = new Scratch(user);
      const rounds = Array.from({ length: 40 }, (_, i) => i).join(" ");
      const { record } = await traced(scratch, [
        "/bin/sh",
        "-c",
        `for w in 1 2 3; do (for i in ${rounds}; do (echo a >> f); done) & done; wait`,
      ]);
      const contents = new Set(Array.from({ length: 120 }, (_, i) => sha256("a\n".repeat(i + 1))));
      const left = record.processes.flatMap(entry => entry.writtenDigests[join(scratch.work, "f")]?.sha256 ?? []);
      expect(left.length).toBe(120);
      expect(left.filter(found => !contents.has(found))).toEqual([]);
      expect(left).toContain(sha256("a\n".repeat(120)));
      expect(gaps(record)).toEqual([]);
    });

    // The one who writes goes on as soon as the reader has ended, or has opened (`read`): its write(2) is not stopped for a digest.
    test("a log that is read while its writer waits has the content of each open", async () => {
      using scratch = new Scratch(user);
      const script = "exec 5>log; for i in 1 2 3 4 5 6 7 8; do echo $i >&5; cat log; echo >&5; read line <log; done";
      const { record } = await traced(scratch, ["/bin/sh", "-c", script]);
      const path = join(scratch.work, "log");
      const readers = record.processes.filter(entry => entry.comm === "cat");
      const contents = [1, 2, 3, 4, 5, 6, 7, 8].map(last => `${Array.from({ length: last }, (_, i) => i + 1).join("\n\n")}\n`);
      expect(readers.map(entry => entry.openedfiles[path]?.sha256)).toEqual(contents.map(content => sha256(content)));
      const shell = record.processes.find(entry => entry.comm === "sh");
      const own = [shell?.openedfiles[path]?.sha256, ...(shell?.fileVersions[path] ?? []).map(version => version.sha256)];
      expect(own).toEqual(expect.arrayContaining(contents.map(content => sha256(`${content}\n`))));
      expect(gaps(record)).toEqual([]);
    });

    test("products are what is left, materials what was read", async () => {
      using scratch = new Scratch(user);
      writeFileSync(join(scratch.work, "before"), "material\n");
      writeFileSync(join(scratch.work, "beside"), "untouched\n");
      chmodSync(join(scratch.work, "before"), 0o644);
      const { record } = await traced(scratch, ["/bin/sh", "-c", "cat before > after; echo x > gone; cat gone; rm gone"]);
      expect(leaves(attestation(record, "material"))).toEqual(["before"]);
      expect(leaves(attestation(record, "product"))).toEqual(["after"]);
    });
  });
}

async function traced(scratch: Scratch, command: string[], stdin: "ignore" | number = "ignore") {
  const child = start(scratch, command, { trace: true, stdin });
  const ran = await child.end();
  const record = recordOf(ran);
  expect(inconsistencies(record, child.pid)).toEqual([]);
  return { record, ran };
}

function opened(record: ReturnType<typeof recordOf>, path: string): string[] {
  return record.processes.flatMap(entry => entry.openedfiles[path]?.sha256 ?? []);
}

function leaves(predicate: { [key: string]: unknown }): string[] {
  const found = predicate.leaves;
  if (!Array.isArray(found)) return [];
  // The shell's own files have absolute paths.
  return found.flatMap((leaf: { path: string }) => (leaf.path.startsWith("/") ? [] : [leaf.path])).sort();
}
