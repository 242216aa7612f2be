// What a build can do to the key that signs its record: read it, which the record says, or put something else in its place.
import { describe, expect, test } from "bun:test";
import { generateKeyPairSync } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isRoot, recordOf, run, Scratch, users } from "./harness.ts";
import { gaps } from "./record.ts";

const pem = { privateKeyEncoding: { type: "pkcs8", format: "pem" }, publicKeyEncoding: { type: "spki", format: "pem" } } as const;
const script = (text: string, key: string) => ["sh", "-c", text, "sh", key];

const exposing: [name: string, script: string, exposed: boolean][] = [
  ["by its name", 'cat "$1" >/dev/null', true],
  ["by another name", 'ln "$1" other && cat other >/dev/null', true],
  ["through a link", 'ln -s "$1" other && cat other >/dev/null', true],
  ["and writes to it", 'exec 3<>"$1"', true],
  ["as its own input", 'cat <"$1" >/dev/null', true],
  ["but only for its name", 'ls -l "$1" >/dev/null', false],
  ["but only for appending", 'exec 3>>"$1"', false],
  ["in a copy", 'cat "$(dirname "$1")/copy.pem" >/dev/null', true],
  ["not, but its public half", 'cat "$(dirname "$1")/key.pub" >/dev/null', false],
  ["not, but a key of the same length", 'cat "$(dirname "$1")/other.pem" >/dev/null', false],
  ["not, but a file beside it", "echo x >other && cat other >/dev/null", false],
];

for (const user of users) {
  describe(`as ${user}`, () => {
    for (const [name, text, exposed] of exposing) {
      test(`a build that reads the key ${name}: ${exposed ? "a gap" : "no gap"}`, async () => {
        using scratch = new Scratch(user);
        writeFileSync(join(scratch.path, "copy.pem"), readFileSync(scratch.keyPath));
        const other = generateKeyPairSync("ed25519", pem);
        writeFileSync(join(scratch.path, "other.pem"), other.privateKey);
        writeFileSync(join(scratch.path, "key.pub"), other.publicKey);
        const record = recordOf(await run(scratch, script(text, scratch.keyPath), { trace: true }));
        expect(gaps(record).includes("key-exposed")).toBe(exposed);
        if (exposed) expect(record.commandRun.completeness?.verdict).toBe("incomplete");
      });
    }

    test("a build that reads the passphrase of the key", async () => {
      using scratch = new Scratch(user);
      const passphrase = join(scratch.path, "passphrase");
      writeFileSync(passphrase, "none is needed\n");
      const args = ["--signer-file-key-passphrase-path", passphrase];
      const record = recordOf(await run(scratch, script('cat "$1"', passphrase), { trace: true, args }));
      expect(gaps(record)).toContain("key-exposed");
    });

    test("a pipe in the key's place ends the run, without a record", async () => {
      using scratch = new Scratch(user);
      const ran = await run(scratch, script('rm "$1" && mkfifo "$1"', scratch.keyPath));
      expect(ran.status).toBe(125);
      expect(ran.stderr).toContain("was a file when the command started, and is none any more");
      expect(ran.record).toBeUndefined();
    });
  });
}

test.skipIf(!isRoot || Bun.which("unshare") === null)("through an overlay that the build mounts over its directory", async () => {
  using scratch = new Scratch("self");
  const keys = join(scratch.path, "keys");
  mkdirSync(keys);
  for (const name of ["key.pem", "passphrase"]) {
    writeFileSync(join(keys, name), name === "key.pem" ? readFileSync(scratch.keyPath) : "correct horse\n");
  }
  const mount = `mkdir m t && mount -t tmpfs none t && mkdir t/u t/w &&
    mount -t overlay none -o lowerdir=${keys},upperdir=t/u,workdir=t/w m || exit 77`;
  for (const [read, exposed] of [
    ["cat m/key.pem >/dev/null", true],
    ["cat m/passphrase >/dev/null", true],
    ["ls -l m", false],
  ] as const) {
    const args = ["-k", join(keys, "key.pem"), "--signer-file-key-passphrase-path", join(keys, "passphrase")];
    const ran = await run(scratch, ["unshare", "-m", "sh", "-c", `rm -rf m t; ${mount}; ${read}`], { trace: true, args });
    if (ran.status === 77) return; // no overlay of such a directory here
    expect(gaps(recordOf(ran)).includes("key-exposed")).toBe(exposed);
  }
});
