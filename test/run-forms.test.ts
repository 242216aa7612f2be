// The forms that a record can have: command-run v0.2, further digests and subjects, and what is said when it is large.
import { describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cilock, type RunOptions, run, Scratch } from "./harness.ts";

/** Runs, and has the record verified by the program itself: the reader of the other tests knows v0.1 only. */
async function runV02(scratch: Scratch, command: string[], options: RunOptions = {}) {
  const outfile = join(scratch.path, "v02.json");
  const args = ["--predicate", "command-run/v0.2", "-a", "environment", "-o", outfile];
  const ran = await run(scratch, command, { ...options, args });
  const key = join(scratch.path, "key.pub");
  writeFileSync(key, scratch.publicPem);
  const verified = Bun.spawnSync([cilock(scratch), "verify", outfile, "-k", key, "--step", "test"]);
  expect(verified.exitCode, verified.stderr.toString()).toBe(0);
  return { ...ran, ...payloadOf(outfile) };
}

/** Of the file at `path`, as text and as what it says. */
function payloadOf(path: string) {
  const bytes = Buffer.from(JSON.parse(readFileSync(path, "utf8")).payload, "base64");
  const statement = JSON.parse(bytes.toString());
  // biome-ignore lint/suspicious/noExplicitAny: JSON of many shapes
  const run: any = statement.predicate.attestations.find(({ type }: { type: string }) => type.includes("/command-run/"));
  return { bytes, statement, run };
}

describe("--predicate command-run/v0.2", () => {
  test("traced: type, tables, the key's guard, and ranges over the very bytes", async () => {
    using scratch = new Scratch();
    writeFileSync(join(scratch.work, "in"), "hello\n");
    const command = ["sh", "-c", "cat in in >out; exit 3"];
    const { status, bytes, run: found } = await runV02(scratch, command, { trace: true });
    expect(status).toBe(3);
    expect(found.type).toBe("https://aflock.ai/attestations/command-run/v0.2");
    const predicate = found.attestation;
    expect(predicate._meta).toMatchObject({
      version: "v0.2",
      captureMode: "trace",
      keyGuard: { applied: true, dumpable: false, yamaPtraceScope: expect.any(Number) },
      counts: { processes: 2, uniqueComms: 2 },
    });
    expect(predicate.exitcode).toBe(3);
    const [sh, cat] = predicate.processes;
    expect(predicate.comms[cat.commId]).toBe("cat");
    expect(cat.parentpid).toBe(sh.processid);
    const opened = cat.openedFiles.find((file: { pathId: number }) => predicate.paths[file.pathId] === join(scratch.work, "in"));
    expect(predicate.digests[opened.digestId].digests).toEqual({
      sha256: "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
    });
    const at = bytes.indexOf('{"_meta":');
    const { sections } = predicate._meta;
    expect(Object.keys(sections)).toContain("completeness");
    for (const [name, [first, last]] of Object.entries<[number, number]>(sections)) {
      expect(JSON.parse(bytes.subarray(at + first, at + last + 1).toString())).toEqual(predicate[name]);
    }
  });

  test("untraced", async () => {
    using scratch = new Scratch();
    const { attestation } = (await runV02(scratch, ["echo", "hi"])).run;
    expect(attestation).toMatchObject({
      digests: null,
      paths: null,
      comms: null,
      processes: [],
      cmd: ["echo", "hi"],
      stdout: "hi\n",
    });
    expect(attestation).not.toHaveProperty("exitcode");
  });
});

test("every digest that was asked for, of files before, of products and of what was opened", async () => {
  using scratch = new Scratch();
  writeFileSync(join(scratch.work, "in"), "hello\n");
  const args = ["--hashes", "sha256,sha1,gitoid:sha256,gitoid:sha1", "-a", "environment"];
  await run(scratch, ["cp", "in", "out"], { trace: true, args });
  const digests = {
    sha256: "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
    sha1: "f572d396fae9206628714fb2ce00f72e94f2258f",
    "gitoid:sha256": "gitoid:blob:sha256:2cf8d83d9ee29543b34a87727421fdecb7e3f3a183d337639025de576db9ebb4",
    "gitoid:sha1": "gitoid:blob:sha1:ce013625030ba8dba906f756967f9e9ca394464a",
  };
  const { statement, run: found } = payloadOf(scratch.outfile);
  expect(statement.subject.find(({ name }: { name: string }) => name.endsWith("/file:out")).digest).toEqual(digests);
  const [cp] = found.attestation.processes;
  expect(cp.openedfiles[join(scratch.work, "in")]).toEqual(digests);
  expect(cp.writtenDigests[join(scratch.work, "out")]).toEqual(digests);
});

test("--subjects: with the very name; one that names a found subject takes its place", async () => {
  using scratch = new Scratch();
  const digest = "ab".repeat(32);
  const tree = "https://aflock.ai/attestations/product/v0.3/tree:products";
  const args = ["-a", "environment", "--subjects", "image:1.2", "--subjects", `${tree}=sha256:${digest}`];
  const { stderr } = await run(scratch, ["true"], { args });
  expect(stderr).not.toContain("no subject");
  const { subject } = payloadOf(scratch.outfile).statement;
  expect(subject.filter(({ name }: { name: string }) => name === tree)).toEqual([{ name: tree, digest: { sha256: digest } }]);
  const { digest: ofName } = subject.find(({ name }: { name: string }) => name === "image:1.2");
  expect(ofName).toEqual({ sha256: new Bun.CryptoHasher("sha256").update("image:1.2").digest("hex") });
});

test("a large record: it is right, and the shorter form is suggested; not for that form itself", async () => {
  using scratch = new Scratch();
  const command = ["sh", "-c", "yes 0123456789abcde | head -c 17825792"];
  const { stderr, record } = await run(scratch, command, { args: ["-a", "environment"] });
  expect(stderr).toContain("--predicate command-run/v0.2");
  expect(record).toBeDefined();
  expect(payloadOf(scratch.outfile).run.attestation.stdout).toHaveLength(17825792);
  expect((await runV02(scratch, command)).stderr).not.toContain("--predicate");
  expect((await run(scratch, ["true"], { args: ["-a", "environment"] })).stderr).not.toContain("--predicate");
});
