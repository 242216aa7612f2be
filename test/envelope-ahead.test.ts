// The outfile of a large record, written while the record is made and signed: the same bytes, and nothing left behind.
import { afterEach, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { envelopeEnd, inTotoPayloadType, printEnvelope } from "../src/attestation/envelope.ts";
import { EnvelopeAhead } from "../src/commands/envelope-ahead.ts";
import { checkOutfile } from "../src/commands/outfile.ts";
import { Spool } from "../src/commands/spool.ts";
import { ToolError } from "../src/errors.ts";

const mebibyte = 1 << 20;
const signatures = [{ keyid: "a", bytes: Buffer.from("signature") }];
const directories: string[] = [];

function scratch(): string {
  const directory = mkdtempSync(join(tmpdir(), "cilock-ahead-"));
  directories.push(directory);
  return directory;
}

afterEach(() => {
  for (const directory of directories.splice(0)) {
    spawnSync("umount", ["-l", directory], { stdio: "ignore" });
    rmSync(directory, { recursive: true, force: true });
  }
});

/** In pieces of no particular length. */
function fill(spool: Spool, ahead: EnvelopeAhead, length: number): Buffer {
  const payload = Buffer.alloc(length);
  for (let i = 0; i < length; i++) payload[i] = (i * 2654435761) >>> 24;
  for (let at = 0; at < length; at += 1_100_002) {
    spool.write(payload.subarray(at, at + 1_100_002));
    ahead.advance();
  }
  ahead.end();
  return payload;
}

const end = () => envelopeEnd(inTotoPayloadType, signatures);

describe("an outfile that is written ahead", () => {
  test.each([0, 1, 2])(
    "has the bytes of the envelope, whatever the payload's length (%d more than a multiple of three)",
    async more => {
      const directory = scratch();
      const path = join(directory, "record.json");
      using spool = new Spool(Buffer.from(directory));
      using ahead = new EnvelopeAhead(spool, checkOutfile(path));
      const payload = fill(spool, ahead, 12 * mebibyte + more);
      expect(ahead.isBegun).toBe(true);
      expect(readdirSync(directory)).toEqual([expect.stringMatching(/^\.cilock-/)]);
      expect(await ahead.finish(end())).toEqual({ shown: path });
      expect(readdirSync(directory)).toEqual(["record.json"]);
      const expected = printEnvelope({ payload, payloadType: inTotoPayloadType, signatures });
      expect(readFileSync(path).equals(expected)).toBe(true);
    },
  );

  test("of a small payload nothing is written", () => {
    const directory = scratch();
    using spool = new Spool(Buffer.from(directory));
    using ahead = new EnvelopeAhead(spool, checkOutfile(join(directory, "record.json")));
    fill(spool, ahead, 3 * mebibyte);
    expect(ahead.isBegun).toBe(false);
    expect(readdirSync(directory)).toEqual([]);
  });

  test("a stream gets nothing before the signature is there", () => {
    using spool = new Spool(Buffer.from(scratch()));
    using ahead = new EnvelopeAhead(spool, checkOutfile("/dev/null"));
    fill(spool, ahead, 12 * mebibyte);
    expect(ahead.isBegun).toBe(false);
  });

  test("nothing is left where there is no signature in the end", () => {
    const directory = scratch();
    using spool = new Spool(Buffer.from(directory));
    {
      using ahead = new EnvelopeAhead(spool, checkOutfile(join(directory, "record.json")));
      fill(spool, ahead, 12 * mebibyte);
      expect(ahead.isBegun).toBe(true);
    }
    expect(readdirSync(directory)).toEqual([]);
  });

  test("what cannot be put in its place leaves nothing either", async () => {
    const directory = scratch();
    const path = join(directory, "record.json");
    using spool = new Spool(Buffer.from(directory));
    {
      using ahead = new EnvelopeAhead(spool, checkOutfile(path));
      fill(spool, ahead, 12 * mebibyte);
      mkdirSync(path);
      await expect(ahead.finish(end())).rejects.toThrow(ToolError);
    }
    expect(readdirSync(directory)).toEqual(["record.json"]);
  });

  const mayMount = spawnSync("unshare", ["-m", "true"]).status === 0 && process.geteuid?.() === 0;
  test.skipIf(!mayMount)("a full disk is an error with its name", async () => {
    const directory = scratch();
    const elsewhere = scratch();
    expect(spawnSync("mount", ["-t", "tmpfs", "-o", "size=6m", "none", directory]).status).toBe(0);
    using spool = new Spool(Buffer.from(elsewhere));
    {
      using ahead = new EnvelopeAhead(spool, checkOutfile(join(directory, "record.json")));
      fill(spool, ahead, 12 * mebibyte);
      await expect(ahead.finish(end())).rejects.toThrow(/record\.json: no space left/);
    }
    expect(readdirSync(directory)).toEqual([]);
  });

  test("its directory may be moved meanwhile", async () => {
    const directory = scratch();
    const [before, after] = [join(directory, "before"), join(directory, "after")];
    mkdirSync(before);
    using spool = new Spool(Buffer.from(directory));
    using ahead = new EnvelopeAhead(spool, checkOutfile(join(before, "record.json")));
    const payload = fill(spool, ahead, 12 * mebibyte);
    renameSync(before, after);
    expect((await ahead.finish(end())).shown).toBe(join(after, "record.json"));
    const expected = printEnvelope({ payload, payloadType: inTotoPayloadType, signatures });
    expect(readFileSync(join(after, "record.json")).equals(expected)).toBe(true);
  });
});
