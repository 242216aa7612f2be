// What the real program puts into a record besides the trace: files before and after, git, environment, secrets; where
// the record goes; which key signs it, and what the command gets to see of that key.
import { afterAll, expect, test } from "bun:test";
import { createHash, generateKeyPairSync } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { openRecord, type Record } from "./record.ts";

const cilock = join(dirname(import.meta.dir), "dist/cilock");
const root = mkdtempSync(join(tmpdir(), "cilock-facts-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let serial = 0;

const isRoot = process.getuid?.() === 0;
const passphrase = "correct horse battery";
const pem = { privateKeyEncoding: { type: "pkcs8", format: "pem" }, publicKeyEncoding: { type: "spki", format: "pem" } } as const;
const pair = generateKeyPairSync("ed25519", pem);
const locked = generateKeyPairSync("ed25519", {
  ...pem,
  privateKeyEncoding: { ...pem.privateKeyEncoding, cipher: "aes-256-cbc", passphrase },
});

interface Ran {
  directory: string;
  status: number | null;
  stdout: string;
  stderr: string;
}

/** `words` is a line for sh, in which $C is the program. */
function shell(line: string, environment: { [name: string]: string } = {}, prepare?: (directory: string) => void): Ran {
  const directory = join(root, `case${serial++}`);
  mkdirSync(directory);
  writeFileSync(join(directory, "key.pem"), pair.privateKey);
  prepare?.(directory);
  const ran = Bun.spawnSync(["bash", "-c", line], {
    cwd: directory,
    env: {
      PATH: process.env.PATH ?? "",
      HOME: root,
      GIT_CEILING_DIRECTORIES: root,
      GIT_CONFIG_NOSYSTEM: "1",
      C: cilock,
      ...environment,
    },
    stdin: "ignore",
  });
  return { directory, status: ran.exitCode, stdout: ran.stdout.toString(), stderr: ran.stderr.toString() };
}

function recordOf(ran: Ran, name = "s.attestation.json", publicPem: string = pair.publicKey): Record {
  if (!existsSync(join(ran.directory, name))) throw new Error(ran.stderr);
  return openRecord(join(ran.directory, name), publicPem);
}

interface Attested {
  [field: string]: unknown;
  leaves?: { path: string; fileDigest: string }[];
  variables?: { [name: string]: string };
  completeness?: { verdict: string; gaps: { kind: string }[] };
}

function attested(record: Record, name: string): Attested | undefined {
  const { predicate } = JSON.parse(Buffer.from(record.payload).toString()) as {
    predicate: { attestations: { type: string; attestation: Attested }[] };
  };
  return predicate.attestations.find(({ type }) => type.includes(`/attestations/${name}/`))?.attestation;
}

const paths = (attestation: Attested | undefined): string[] => (attestation?.leaves ?? []).map(leaf => leaf.path).sort();
const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
const run = '"$C" run -s s -k key.pem';

// ---------------------------------------------------------------------------------------------
// Files

test("materials are what was there, products what was made; record and key are neither", () => {
  const ran = shell(
    `echo old >input; echo stale >changed; echo 1 >s.attestation.json; ${run} -- sh -c 'echo new >output; echo fresh >changed; cp key.pem copy'`,
  );
  expect(ran.status).toBe(0);
  const record = recordOf(ran);
  expect(paths(attested(record, "material"))).toEqual(["changed", "input"]);
  expect(paths(attested(record, "product"))).toEqual(["changed", "copy", "output"]);
  expect(attested(record, "product")?.leaves?.find(leaf => leaf.path === "output")?.fileDigest).toBe(sha256("new\n"));
});

test("a key under a second name is no product", () => {
  const ran = shell(`${run} -- sh -c 'ln key.pem hard; ln -s key.pem soft; echo 1 >x'`);
  expect(paths(attested(recordOf(ran), "product"))).toEqual(["x"]);
});

test("--workingdir is where files are looked for, and paths are relative to it", () => {
  const ran = shell(`mkdir -p w/d; echo 1 >w/in; ${run} -d w -o out.json -- sh -c 'echo 2 >d/out'`);
  const record = recordOf(ran, "out.json");
  expect(paths(attested(record, "material"))).toEqual(["in"]);
  expect(paths(attested(record, "product"))).toEqual(["d/out"]);
});

test("started in a directory whose name is no text", () => {
  const ran = shell(
    `d=$(printf 'x\\377'); mkdir "$d"; cd "$d"; echo 1 >in; "$C" run -s s -k ../key.pem -- touch out; cd ..; mv "$d"/* .`,
  );
  expect(ran.status).toBe(0);
  const record = recordOf(ran);
  expect(paths(attested(record, "material"))).toEqual(["in"]);
  expect(paths(attested(record, "product"))).toEqual(["out"]);
});

test("a working directory that the command removes", () => {
  const ran = shell(`mkdir w; echo 1 >w/in; ${run} -d w -- sh -c 'rm -r "$PWD"'`);
  expect(ran.status).toBe(0);
  expect(ran.stderr).toMatch(/warning: not among the recorded files after the command/);
  expect(paths(attested(recordOf(ran), "material"))).toEqual(["in"]);
});

const unlisted: { name: string; line: string; trace: boolean; warnings: number }[] = [
  { name: "nothing", line: "true", trace: false, warnings: 0 },
  { name: "a file", line: "true", trace: false, warnings: 1 },
  { name: "a file that the command takes away", line: "rm -f ../w/closed", trace: false, warnings: 1 },
  // With a trace only what the build reads and writes needs to be read.
  { name: "a file", line: "true", trace: true, warnings: 0 },
  { name: "a file that the command takes away", line: "rm -f ../w/closed", trace: true, warnings: 0 },
];
for (const row of unlisted) {
  test(`what cannot be read for the materials is told once, ${row.trace ? "with" : "without"} a trace: ${row.name}`, () => {
    // A file that others may not read stops us too, unless we are root.
    const closed = row.name === "nothing" ? ":" : "echo 1 >w/closed; chmod 0 w/closed";
    const nobody = isRoot ? "setpriv --reuid nobody --regid nogroup --clear-groups --" : "";
    const prepare = isRoot ? 'chmod 755 ..; cp "$C" c; chown -R nobody .' : 'cp "$C" c';
    const flags = row.trace ? "--vouch no --trace" : "";
    const line = `chmod 755 .; mkdir w; ${closed}; ${prepare}; ${nobody} ./c run -s s -k key.pem -d w ${flags} -- ${row.line}`;
    const ran = shell(line);
    const completeness = attested(recordOf(ran), "command-run")?.completeness;
    expect(completeness?.verdict).toBe(row.trace ? "complete" : undefined);
    expect(ran.stderr.split("\n").filter(text => text.includes("not among the recorded files"))).toHaveLength(row.warnings);
  });
}

test("no file and no git: there is nothing to verify the record by, and that is said", () => {
  const ran = shell(`mkdir w; ${run} -d w -- true`);
  expect(ran.stderr).toMatch(/warning: the record has no subject/);
  expect(shell(`mkdir w; ${run} -d w -- touch x`).stderr).not.toMatch(/no subject/);
});

// ---------------------------------------------------------------------------------------------
// Where the record goes

test("without --outfile: a file named after the step, beside us and not in the working directory", () => {
  const ran = shell(`mkdir w; "$C" run -s '.a/b ü' -k key.pem -d w -- true`);
  expect(readdirSync(ran.directory).sort()).toEqual(["_a_b___-1f36ebb5.attestation.json", "key.pem", "w"]);
  expect(ran.stdout).toBe("");
  expect(ran.stderr).toMatch(/record +_a_b___-1f36ebb5\.attestation\.json/);
});

test("the step survives byte for byte", () => {
  for (const step of ["007", "1e3", "true", "-", " a "]) {
    const ran = shell('"$C" run --step="$STEP" -k key.pem -o out.json -- true', { STEP: step });
    const { predicate } = JSON.parse(Buffer.from(recordOf(ran, "out.json").payload).toString());
    expect(predicate.name).toBe(step);
  }
});

test("--json: the summary alone on stdout", () => {
  const ran = shell(`${run} --json -- sh -c 'echo out; echo err >&2; exit 3'`);
  expect(ran.status).toBe(3);
  expect(JSON.parse(ran.stdout)).toMatchObject({ step: "s", exitcode: 3, outfile: "s.attestation.json" });
  expect(ran.stderr).toMatch(/^out$/m);
  expect(ran.stderr).toMatch(/^err$/m);
  expect(attested(recordOf(ran), "command-run")).toMatchObject({ stdout: "out\n", stderr: "err\n" });
});

test("a record into a pipe", () => {
  const ran = shell(`${run} -o >(cat >copy.json) -- true; while [ ! -s copy.json ]; do :; done`);
  expect(ran.status).toBe(0);
  expect(JSON.parse(readFileSync(join(ran.directory, "copy.json"), "utf8")).payloadType).toBe("application/vnd.in-toto+json");
});

test("the umask decides who may read the record", () => {
  const ran = shell(`umask 027; ${run} -- true`);
  expect(statSync(join(ran.directory, "s.attestation.json")).mode & 0o777).toBe(0o640);
});

test("a record that is a link is written through it", () => {
  const ran = shell(`${run} -o link -- true`, {}, directory => {
    writeFileSync(join(directory, "real"), "");
    symlinkSync("real", join(directory, "link"));
  });
  expect(recordOf(ran, "real")).toBeDefined();
});

test("an outfile that became a directory during the build: an error, and nothing left over", () => {
  const ran = shell(`${run} -o out.json -- mkdir out.json`);
  expect(ran.status).toBe(125);
  expect(ran.stderr).toMatch(/cannot write out\.json/);
  expect(readdirSync(ran.directory).sort()).toEqual(["key.pem", "out.json"]);
});

// ---------------------------------------------------------------------------------------------
// Keys

test("a throw-away key: its public half is beside the record, and both are no product", () => {
  const ran = shell('"$C" run -s s --signer-ephemeral -o out.json -- touch x');
  expect(readdirSync(ran.directory).sort()).toEqual(["key.pem", "out.json", "out.json.pub", "x"]);
  const again = recordOf(ran, "out.json", readFileSync(join(ran.directory, "out.json.pub"), "utf8"));
  expect(paths(attested(again, "product"))).toEqual(["x"]);
  expect(shell('"$C" run -s s --signer-ephemeral -- true; "$C" verify s.attestation.json -k s.attestation.json.pub').status).toBe(
    0,
  );
});

test("a throw-away key of a record on stdout has the name that the record would have, and is told", () => {
  const ran = shell('"$C" run -s s --signer-ephemeral -o - -- true >record; "$C" verify record -k s.attestation.json.pub >&2');
  expect(ran.status).toBe(0);
  expect(ran.stderr).toMatch(/public key +s\.attestation\.json\.pub\n/);
  expect(readdirSync(ran.directory).sort()).toEqual(["key.pem", "record", "s.attestation.json.pub"]);
});

test("a second run replaces the record and its throw-away key together", () => {
  const line = '"$C" run -s s --signer-ephemeral -- true';
  expect(shell(`${line} && ${line} && "$C" verify s.attestation.json -k s.attestation.json.pub`).status).toBe(0);
});

test("two runs with throw-away keys have two keys", () => {
  const ran = shell('for i in 1 2; do "$C" run -s s --signer-ephemeral -o $i.json -- true; done; cmp -s 1.json.pub 2.json.pub');
  expect(ran.status).toBe(1);
});

test("a key through a pipe signs, and the command does not have it", () => {
  // The command lists its descriptors, and tries to read the one that the key came through.
  const ran = shell(`exec 7< <(cat key.pem); "$C" run -s s -k /dev/fd/7 -- sh -c 'cat <&7 || echo "no 7"'`);
  expect(ran.status).toBe(0);
  expect(ran.stdout).toBe("no 7\n");
  expect(recordOf(ran)).toBeDefined();
});

test("a key on stdin signs, and the command does not read it there", () => {
  const ran = shell('"$C" run -s s -k /dev/stdin -- sh -c "readlink /proc/self/fd/0; cat" <key.pem');
  expect(ran.stdout).toBe("/dev/null\n");
  expect(ran.status).toBe(0);
  expect(recordOf(ran)).toBeDefined();
});

const passphrases: { name: string; line: string; environment?: { [name: string]: string } }[] = [
  { name: "as a flag", line: `--signer-file-key-passphrase "${passphrase}"` },
  { name: "in a file", line: "--signer-file-key-passphrase-path passphrase" },
  {
    name: "in the first variable",
    line: "",
    environment: { AFLOCK_KEY_PASSPHRASE: passphrase, WITNESS_KEY_PASSPHRASE: "wrong" },
  },
  { name: "in the second variable", line: "", environment: { WITNESS_KEY_PASSPHRASE: passphrase } },
];

for (const row of passphrases) {
  test(`an encrypted key, its passphrase ${row.name}`, () => {
    const ran = shell(`"$C" run -s s -k locked.pem ${row.line} -- env`, { ...row.environment }, directory => {
      writeFileSync(join(directory, "locked.pem"), locked.privateKey);
      writeFileSync(join(directory, "passphrase"), `${passphrase}\r\n`);
    });
    expect(ran.status).toBe(0);
    // The command gets neither variable, so neither is among what is recorded of it.
    expect(ran.stdout).not.toMatch(/PASSPHRASE/);
    const record = recordOf(ran, "s.attestation.json", locked.publicKey);
    expect(Object.keys(attested(record, "environment")?.variables ?? {}).join()).not.toMatch(/PASSPHRASE/);
    expect(Buffer.from(record.payload).toString()).not.toContain(passphrase);
  });
}

test("a key that the build replaces does not sign", () => {
  const other = generateKeyPairSync("ed25519", pem).privateKey;
  const ran = shell(`${run} -- cp other.pem key.pem`, {}, directory => writeFileSync(join(directory, "other.pem"), other));
  expect(ran.status).toBe(125);
  expect(ran.stderr).toMatch(/another key/);
  expect(existsSync(join(ran.directory, "s.attestation.json"))).toBe(false);
});

// ---------------------------------------------------------------------------------------------
// Secrets

test("secrets: hidden in the environment, replaced in words and output, counted", () => {
  const environment = { MY_TOKEN: "abcdefgh-secret", API_KEY_ID: "short", NOTE: "abcdefgh" };
  const ran = shell(`${run} -- sh -c 'echo "token $MY_TOKEN"; echo "$MY_TOKEN" >&2' abcdefgh-secret`, environment);
  // Passed on as it is: only the record is edited.
  expect(ran.stdout).toBe("token abcdefgh-secret\n");
  const record = recordOf(ran);
  const commandRun = attested(record, "command-run");
  expect(commandRun).toMatchObject({ stdout: "token [REDACTED]\n", stderr: "[REDACTED]\n", summary: { redactions: 3 } });
  expect(commandRun?.cmd).toEqual(["sh", "-c", 'echo "token $MY_TOKEN"; echo "$MY_TOKEN" >&2', "[REDACTED]"]);
  expect(attested(record, "environment")?.variables).toMatchObject({
    MY_TOKEN: "******",
    API_KEY_ID: "******",
    NOTE: "abcdefgh",
  });
  expect(Buffer.from(record.payload).toString()).not.toContain("abcdefgh-secret");
  // Nor in what we print ourselves.
  expect(ran.stderr.replace(/^abcdefgh-secret$/m, "")).not.toContain("abcdefgh-secret");
});

test("PATH and PWD are shown, and the flags for variables count", () => {
  const environment = { MY_TOKEN: "abcdefgh", PLAIN: "1", OTHER: "2" };
  const flags = "--env-allow-sensitive-key MY_TOKEN --env-add-sensitive-key 'PLA*' --env-filter-sensitive-vars";
  const variables = attested(recordOf(shell(`${run} ${flags} -- true`, environment)), "environment")?.variables;
  expect(variables).toMatchObject({ PATH: process.env.PATH, MY_TOKEN: "abcdefgh", OTHER: "2" });
  expect(variables).not.toHaveProperty("PLAIN");
});

const hiding: { name: string; flags: string; stdout: string; variable: string }[] = [
  { name: "by default", flags: "", stdout: "[REDACTED] plain-value\n", variable: "******" },
  // As the Go tools read it: a set of letters, whatever the case.
  {
    name: "a variable more, by a set",
    flags: "--env-add-sensitive-key 'pl[AX]*,{X,Y}Z'",
    stdout: "[REDACTED] [REDACTED]\n",
    variable: "******",
  },
  { name: "a variable more", flags: "--env-add-sensitive-key 'PLA*'", stdout: "[REDACTED] [REDACTED]\n", variable: "******" },
  {
    name: "one that is allowed",
    flags: "--env-allow-sensitive-key MY_TOKEN",
    stdout: "abcdefgh plain-value\n",
    variable: "abcdefgh",
  },
  { name: "no defaults", flags: "--env-disable-default-sensitive-vars", stdout: "abcdefgh plain-value\n", variable: "abcdefgh" },
];
for (const row of hiding) {
  test(`the flags for variables count for words and output too: ${row.name}`, () => {
    const environment = { MY_TOKEN: "abcdefgh", PLAIN: "plain-value" };
    const record = recordOf(shell(`${run} ${row.flags} -- sh -c 'echo $MY_TOKEN $PLAIN'`, environment));
    expect(attested(record, "command-run")?.stdout).toBe(row.stdout);
    expect(attested(record, "environment")?.variables).toMatchObject({ MY_TOKEN: row.variable });
  });
}

test("a passphrase is replaced whatever the flags say", () => {
  const line = `${run} --env-disable-default-sensitive-vars -- echo hunter22hunter22`;
  const record = recordOf(shell(line, { AFLOCK_KEY_PASSPHRASE: "hunter22hunter22" }));
  expect(attested(record, "command-run")?.stdout).toBe("[REDACTED]\n");
});

/** zig/stub.zig puts it into our own environment, and only there. */
const ourSetting = "BUN_JSC_heapGrowthMaxIncrease";

test.each(["", " --trace"])("our own setting of the runtime is in no record and reaches no command%s", flag => {
  const ran = shell(`${run}${flag} -- env`);
  expect(ran.stdout).toContain("PATH=");
  expect(ran.stdout).not.toContain("BUN_");
  const record = recordOf(ran);
  expect(attested(record, "environment")?.variables).toHaveProperty("PATH");
  expect(JSON.stringify(record.payload)).not.toContain("BUN_");
});

test.each(["", " --trace"])("one that the person has set is the command's, and is recorded%s", flag => {
  const ran = shell(`${run}${flag} -- sh -c 'echo $${ourSetting}'`, { [ourSetting]: "7" });
  expect(ran.stdout).toBe("7\n");
  expect(attested(recordOf(ran), "environment")?.variables).toMatchObject({ [ourSetting]: "7" });
});

test("variables of the runtime are recorded, and do not turn us into something else", () => {
  const ran = shell(`${run} -- sh -c 'echo $BUN_BE_BUN'`, { BUN_BE_BUN: "1", BUN_OPTIONS: "--version" });
  expect(ran.stdout).toBe("1\n");
  expect(attested(recordOf(ran), "environment")?.variables).toMatchObject({ BUN_BE_BUN: "1", BUN_OPTIONS: "--version" });
});

// ---------------------------------------------------------------------------------------------
// Attestors

test.skipIf(Bun.which("git") === null)("git: read where there is a work tree, one line on stderr where there is none", () => {
  const line = `git init -q . && git -c user.name=a -c user.email=a@example.test commit -q --allow-empty -m m && ${run} -- true`;
  const inside = shell(line);
  const hash = attested(recordOf(inside), "git")?.commithash;
  expect(hash).toMatch(/^[0-9a-f]{40}$/);
  expect(inside.stderr).not.toMatch(/no git attestation/);
  const outside = shell(`${run} -- true`);
  expect(attested(recordOf(outside), "git")).toBeUndefined();
  expect(outside.stderr.split("\n").filter(line => line.includes("git attestation"))).toHaveLength(1);
  expect(outside.stderr).toMatch(/cilock: note: no git attestation: not in a git work tree/);
});

test("--attestations: only what was named, and the ones that always run", () => {
  const record = recordOf(shell(`${run} -a '' -- true`));
  const { predicate } = JSON.parse(Buffer.from(record.payload).toString());
  expect(predicate.attestations.map(({ type }: { type: string }) => type)).toEqual([
    "https://aflock.ai/attestations/material/v0.3",
    "https://aflock.ai/attestations/command-run/v0.1",
    "https://aflock.ai/attestations/product/v0.3",
  ]);
  const warned = shell(`${run} -a product,git -- true`);
  expect(warned.stderr).toMatch(/cilock: warning: product always runs/);
  expect(warned.status).toBe(0);
});

test("--hashes: every digest that was asked for, in subjects too", () => {
  const record = recordOf(shell(`${run} --hashes sha256,sha1 -- touch x`));
  const { subject } = JSON.parse(Buffer.from(record.payload).toString());
  const file = subject.find(({ name }: { name: string }) => name.endsWith("/file:x"));
  expect(file.digest).toEqual({ sha256: sha256(""), sha1: "da39a3ee5e6b4b0d3255bfef95601890afd80709" });
});

test("the same run twice signs the same predicate, times and measures apart", () => {
  const once = (): string => {
    const ran = shell(`echo 1 >in; ${run} -- sh -c 'echo 2 >out'`);
    return Buffer.from(recordOf(ran).payload)
      .toString()
      .replace(/"(starttime|endtime)":"[^"]*"|"durationNs":\d+|case\d+/g, "");
  };
  expect(once()).toBe(once());
});
