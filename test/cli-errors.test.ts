// Hostile and mistaken command lines, refused in words by the real program: the right exit status, a sentence that names
// the flag or the file, no command started, nothing left on disk.
import { afterAll, expect, test } from "bun:test";
import { generateKeyPairSync } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { sealEnvelope } from "../src/attestation/envelope.ts";
import { loadPrivateKey } from "../src/attestation/keys.ts";
import { createSigner } from "../src/attestation/signer.ts";

const cilock = join(dirname(import.meta.dir), "dist/cilock");
const isRoot = process.getuid?.() === 0;
const root = mkdtempSync(join(tmpdir(), "cilock-errors-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let serial = 0;

/** Starts the program as a user whom permissions stop; where the program lies, that user may not even look. */
const nobody = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "--", join(root, "cilock")];
chmodSync(root, 0o755);
if (isRoot) copyFileSync(cilock, join(root, "cilock"));

const pem = { privateKeyEncoding: { type: "pkcs8", format: "pem" }, publicKeyEncoding: { type: "spki", format: "pem" } } as const;
const pair = generateKeyPairSync("ed25519", pem);
const passphrase = "correct horse";
const files: Record<string, string> = {
  "key.pem": pair.privateKey,
  "public.pem": pair.publicKey,
  "locked.pem": generateKeyPairSync("ed25519", {
    ...pem,
    privateKeyEncoding: { ...pem.privateKeyEncoding, cipher: "aes-256-cbc", passphrase },
  }).privateKey,
  "x25519.pem": generateKeyPairSync("x25519", pem).privateKey,
  "rsa1024.pem": generateKeyPairSync("rsa", { ...pem, modulusLength: 1024 }).privateKey,
  "openssh.pem": "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n-----END OPENSSH PRIVATE KEY-----\n",
  "text.pem": "no key here\n",
  "empty.pem": "",
  "two-lines": "one\ntwo\n",
  "wrong-passphrase": "wrong\n",
  "data.txt": "data\n",
};
/** A self-signed certificate: openssl is not on every machine, so it stands here. */
files["certificate.pem"] = `-----BEGIN CERTIFICATE-----
MIIBNDCB56ADAgECAhQ2NRUOJyrHHO6FVGDi74fdW0eiODAFBgMrZXAwDzENMAsG
A1UEAwwEdGVzdDAgFw0yNjExMjYyMTA3NDhaGA8yMTI2MTEwMjIxMDc0OFowDzEN
MAsGA1UEAwwEdGVzdDAqMAUGAytlcAMhAL95GFhiKBWy9FFpBf4TQFNbCt9WIcT5
nYHKpVNKSyzEo1MwUTAdBgNVHQ4EFgQUywHGFqLOKO/ejJ0LxHbTcRcxoAgwHwYD
VR0jBBgwFoAUywHGFqLOKO/ejJ0LxHbTcRcxoAgwDwYDVR0TAQH/BAUwAwEB/zAF
BgMrZXADQQAlNfAoa0PHJKRXT8dxexJxSL7tY5cbBtcdxGkskS2dxdm/qfkjlMJW
CB3TQWO1nim8/fMwmqS90xOYPP3JlDcB
-----END CERTIFICATE-----
`;

interface Refusal {
  name: string;
  args: string[];
  status: number;
  error: RegExp;
  hint?: RegExp;
  prepare?: (directory: string) => void;
  environment?: Record<string, string>;
  /** Permissions do not stop root. */
  notAsRoot?: boolean;
}

const RUN = ["run", "--step", "s", "-k", "key.pem"];
const command = ["--", "sh", "-c", "echo started >started"];

const refusals: Refusal[] = [
  // Words
  { name: "unknown command", args: ["rum"], status: 2, error: /unknown command rum/, hint: /cilock run/ },
  { name: "an empty word in the place of a command of ours", args: [""], status: 2, error: /the command is an empty word/ },
  { name: "a word after version", args: ["version", "x"], status: 2, error: /version takes no x/ },
  { name: "a word of 100,000 letters", args: ["x".repeat(100_000)], status: 2, error: /^.{1000,1040} …$/ },
  { name: "unknown flag without a command", args: ["--trace"], status: 2, error: /unknown flag --trace/ },
  { name: "unknown flag", args: [...RUN, "--tarce", ...command], status: 2, error: /unknown flag --tarce/, hint: /--trace/ },
  { name: "no command", args: RUN, status: 2, error: /no command to run/, hint: /--/ },
  { name: "no command after --", args: [...RUN, "--"], status: 2, error: /no command to run/ },
  { name: "an empty word as command", args: [...RUN, "--", ""], status: 2, error: /empty/ },
  { name: "no step", args: ["run", "-k", "key.pem", ...command], status: 2, error: /--step is required/ },
  {
    name: "flags behind the command",
    args: ["run", "make", "-s", "s", "-k", "key.pem"],
    status: 2,
    error: /--step is required/,
    hint: /-s stands behind the command, .* before make/,
  },
  {
    name: "a command in one word",
    args: [...RUN, "--", "make all"],
    status: 127,
    error: /make all: command not found/,
    hint: /without the quotes/,
  },
  {
    name: "a variable before the command",
    args: [...RUN, "--", "CC=gcc", "make"],
    status: 127,
    error: /not found/,
    hint: /env CC=/,
  },
  {
    name: "a builtin of the shell",
    args: [...RUN, "--", "cd", "src"],
    status: 127,
    error: /cd: command not found/,
    hint: /sh -c 'cd/,
  },
  { name: "a command that is not there", args: [...RUN, "--", "no-such-program"], status: 127, error: /not found/, hint: /PATH/ },
  { name: "empty step", args: ["run", "--step=", "-k", "key.pem", ...command], status: 2, error: /--step is empty/ },
  { name: "no key", args: ["run", "--step", "s", ...command], status: 2, error: /no key/, hint: /--signer-ephemeral/ },
  { name: "flag without its value", args: [...RUN, "--outfile", ...command], status: 2, error: /--outfile needs a value/ },
  { name: "two steps", args: [...RUN, "--step", "t", ...command], status: 2, error: /--step is given twice/ },
  { name: "key and throw-away key", args: [...RUN, "--signer-ephemeral", ...command], status: 2, error: /exclude each other/ },
  { name: "stdout wanted twice", args: [...RUN, "--json", "-o", "-", ...command], status: 2, error: /both want stdout/ },
  { name: "unknown attestor", args: [...RUN, "-a", "gti", ...command], status: 2, error: /unknown attestor gti/, hint: /git/ },
  {
    name: "unknown attestor, nothing like it",
    args: [...RUN, "-a", "sbom", ...command],
    status: 2,
    error: /unknown attestor sbom/,
    hint: /environment/,
  },
  { name: "vouching without a trace", args: [...RUN, "--vouch", "full", ...command], status: 2, error: /--vouch needs --trace/ },
  {
    name: "strict as a word of its own",
    args: ["verify", "data.txt", "-k", "public.pem", "--require-complete", "strict"],
    status: 2,
    error: /one record at a time, not also strict/,
    hint: /--require-complete=strict/,
  },
  {
    name: "a pattern of variables that is none",
    args: [...RUN, "--env-add-sensitive-key", "MY[", ...command],
    status: 2,
    error: /--env-add-sensitive-key is no pattern/,
  },
  { name: "the key from -", args: [...RUN, "-k", "-", ...command], status: 2, error: /given twice/ },
  {
    name: "the key from -, alone",
    args: ["run", "--step", "s", "-k", "-", ...command],
    status: 125,
    error: /cannot read -: no such file/,
    hint: /-k \/dev\/stdin/,
  },
  { name: "a schema", args: ["attestors", "schema", "git"], status: 2, error: /unknown action schema git/, hint: /docs\// },
  {
    name: "a flag of the Go tools",
    args: [...RUN, "--enable-archivista=false", ...command],
    status: 2,
    error: /unknown flag --enable-archivista/,
    hint: /flag of the Go tools: leave it out/,
  },
  { name: "a command of the Go tools", args: ["bundle", "create"], status: 2, error: /unknown command bundle/, hint: /one file/ },
  // A record in the key's place would be the end of the key.
  {
    name: "the key as outfile",
    args: [...RUN, "-o", "./key.pem", ...command],
    status: 2,
    error: /--outfile \.\/key\.pem is the file of --signer-file-key-path: it would be lost/,
    hint: /--outfile/,
  },
  {
    name: "the key as outfile, through a link",
    prepare: directory => symlinkSync("key.pem", join(directory, "link")),
    args: [...RUN, "-o", "link", ...command],
    status: 2,
    error: /--signer-file-key-path: it would be lost/,
  },
  {
    name: "the key as default outfile",
    prepare: directory => copyFileSync(join(directory, "key.pem"), join(directory, "s.attestation.json")),
    args: ["run", "--step", "s", "-k", "s.attestation.json", ...command],
    status: 2,
    error: /s\.attestation\.json is the file of --signer-file-key-path: it would be lost/,
  },
  {
    name: "the passphrase as outfile",
    args: [...RUN, "--signer-file-key-passphrase-path", "wrong-passphrase", "-o", "wrong-passphrase", ...command],
    status: 2,
    error: /--signer-file-key-passphrase-path: it would be lost/,
  },
  {
    name: "the key as outfile of sign",
    args: ["sign", "-f", "data.txt", "-k", "key.pem", "-o", "key.pem"],
    status: 2,
    error: /--signer-file-key-path: it would be lost/,
  },
  {
    name: "the passphrase as outfile of sign",
    args: [
      ...["sign", "-f", "data.txt", "-k", "key.pem", "-o", "wrong-passphrase"],
      ...["--signer-file-key-passphrase-path", "wrong-passphrase"],
    ],
    status: 2,
    error: /--signer-file-key-passphrase-path: it would be lost/,
  },
  {
    name: "a record that is none",
    args: ["verify", "empty.pem", "-k", "public.pem"],
    status: 125,
    error: /empty\.pem is not a DSSE envelope/,
  },
  { name: "an empty record", args: ["show", "empty.pem"], status: 125, error: /empty\.pem is not a DSSE envelope: it is empty/ },
  {
    name: "nothing to sign",
    args: ["sign", "-f", "-", "-k", "key.pem", "-o", "out"],
    status: 125,
    error: /nothing came from stdin/,
  },
  {
    name: "a record and a key from stdin",
    args: ["verify", "-", "-k", "-"],
    status: 2,
    error: /two files are to be read from stdin/,
    hint: /name all but one/,
  },
  { name: "the same of show", args: ["show", "-", "-k", "-"], status: 2, error: /two files are to be read from stdin/ },
  { name: "a record on stdin that is none", args: ["show", "-"], status: 125, error: /stdin is not a DSSE envelope/ },
  {
    name: "a file to sign without its flag",
    args: ["sign", "data.txt"],
    status: 2,
    error: /unexpected data\.txt; name the file with -f/,
  },
  {
    name: "a key that is far too large",
    args: ["keyid", "huge.pem"],
    status: 125,
    error: /huge\.pem is larger than 1 MiB/,
    prepare: directory => writeFileSync(join(directory, "huge.pem"), new Uint8Array((1 << 20) + 1)),
  },
  {
    name: "a new key in a directory that is not there",
    args: ["keygen", "-o", "none/key.pem"],
    status: 125,
    error: /cannot write none\/key\.pem: its directory does not exist/,
  },
  {
    name: "unknown hash",
    args: [...RUN, "--hashes", "md5", ...command],
    status: 2,
    error: /--hashes md5 is not among sha256, sha1/,
  },
  {
    name: "a digest of directories",
    args: [...RUN, "--hashes", "sha256,dirHash", ...command],
    status: 2,
    error: /of directories/,
  },
  { name: "unknown predicate", args: [...RUN, "--predicate", "v3", ...command], status: 2, error: /--predicate v3 is not among/ },
  { name: "subject without name", args: [...RUN, "--subjects", "=x", ...command], status: 2, error: /=x has no name/ },
  {
    name: "subject's digest",
    args: [...RUN, "--subjects", "a=sha256:ab", ...command],
    status: 2,
    error: /a=sha256:ab does not end in/,
  },
  {
    name: "subject's algorithm",
    args: [...RUN, "--subjects", "a=md5:ab", ...command],
    status: 2,
    error: /a=md5:ab does not end in/,
  },
  {
    name: "subject with two digests",
    args: [...RUN, "--subjects", `a=sha1:${"ab".repeat(20)}`, "--subjects", `a=sha1:${"cd".repeat(20)}`, ...command],
    status: 2,
    error: /a is given with two different sha1/,
  },
  { name: "hashes without sha256", args: [...RUN, "--hashes", "sha1", ...command], status: 2, error: /must name sha256/ },
  {
    name: "no size",
    args: [...RUN, "--capture-limit", "lots", ...command],
    status: 2,
    error: /--capture-limit lots is not a size/,
  },
  { name: "a negative size", args: [...RUN, "--capture-limit=-1", ...command], status: 2, error: /is not a size/ },
  {
    name: "too large a size",
    args: [...RUN, "--capture-limit", "1TiB", ...command],
    status: 2,
    error: /is not a size|more than/,
  },
  { name: "a size above the limit", args: [...RUN, "--capture-limit", "2GiB", ...command], status: 2, error: /more than 512MiB/ },
  { name: "no time", args: [...RUN, "--grace", "soon", ...command], status: 2, error: /--grace soon is not a time/ },
  { name: "too long a time", args: [...RUN, "--grace", "25h", ...command], status: 2, error: /more than 24h/ },
  { name: "attestors, unknown action", args: ["attestors", "lits"], status: 2, error: /unknown action lits/ },
  { name: "attestors, unknown format", args: ["attestors", "list", "--format", "xml"], status: 2, error: /--format/ },
  { name: "a message with control characters", args: ["\x1b[31mred"], status: 2, error: /\\x1B\[31mred/ },

  // Keys
  {
    name: "key that is not there",
    args: ["run", "--step", "s", "-k", "none.pem", ...command],
    status: 125,
    error: /none\.pem.*no such file/,
  },
  { name: "key that is a directory", args: ["run", "--step", "s", "-k", ".", ...command], status: 125, error: /is a directory/ },
  {
    name: "key that may not be read",
    args: [...RUN, ...command],
    status: 125,
    error: /key\.pem.*permission denied/,
    notAsRoot: true,
    prepare: directory => chmodSync(join(directory, "key.pem"), 0),
  },
  {
    name: "certificate instead of a key",
    args: ["run", "--step", "s", "-k", "certificate.pem", ...command],
    status: 125,
    error: /certificate/,
  },
  { name: "public key", args: ["run", "--step", "s", "-k", "public.pem", ...command], status: 125, error: /public key/ },
  {
    name: "OPENSSH key",
    args: ["run", "--step", "s", "-k", "openssh.pem", ...command],
    status: 125,
    error: /OpenSSH/,
    hint: /ssh-keygen -p -m PKCS8/,
  },
  {
    name: "a key for something else",
    args: ["run", "--step", "s", "-k", "x25519.pem", ...command],
    status: 125,
    error: /x25519\.pem/i,
    hint: /Ed25519/,
  },
  { name: "a short RSA key", args: ["run", "--step", "s", "-k", "rsa1024.pem", ...command], status: 125, error: /1024/ },
  { name: "text instead of a key", args: ["run", "--step", "s", "-k", "text.pem", ...command], status: 125, error: /text\.pem/ },
  {
    name: "an empty file instead of a key",
    args: ["run", "--step", "s", "-k", "empty.pem", ...command],
    status: 125,
    error: /empty\.pem/,
  },
  {
    name: "a device that never ends instead of a key",
    args: ["run", "--step", "s", "-k", "huge.pem", ...command],
    status: 125,
    error: /huge\.pem.*1 MiB/,
    prepare: directory => writeFileSync(join(directory, "huge.pem"), new Uint8Array((1 << 20) + 1)),
  },
  {
    name: "encrypted, no passphrase",
    args: ["run", "--step", "s", "-k", "locked.pem", ...command],
    status: 125,
    error: /encrypted/,
    hint: /--signer-file-key-passphrase/,
  },
  {
    name: "encrypted, wrong passphrase",
    args: ["run", "--step", "s", "-k", "locked.pem", "--signer-file-key-passphrase", "wrong", ...command],
    status: 125,
    error: /passphrase/,
  },
  {
    name: "encrypted, wrong passphrase in a file",
    args: ["run", "--step", "s", "-k", "locked.pem", "--signer-file-key-passphrase-path", "wrong-passphrase", ...command],
    status: 125,
    error: /passphrase/,
  },
  {
    name: "encrypted, wrong passphrase in the environment",
    args: ["run", "--step", "s", "-k", "locked.pem", ...command],
    environment: { AFLOCK_KEY_PASSPHRASE: "wrong" },
    status: 125,
    error: /passphrase/,
  },
  {
    name: "passphrase of two lines",
    args: ["run", "--step", "s", "-k", "locked.pem", "--signer-file-key-passphrase-path", "two-lines", ...command],
    status: 125,
    error: /two-lines.*more than one line/,
  },
  {
    name: "passphrase file that is not there",
    args: ["run", "--step", "s", "-k", "locked.pem", "--signer-file-key-passphrase-path", "none", ...command],
    status: 125,
    error: /none.*no such file/,
  },
  {
    name: "a descriptor that is not open",
    args: ["run", "--step", "s", "-k", "/dev/fd/399", ...command],
    status: 125,
    error: /\/dev\/fd\/399/,
  },

  // Places
  {
    name: "outfile in a directory that is not there",
    args: [...RUN, "-o", "none/out.json", ...command],
    status: 125,
    error: /none\/out\.json.*does not exist/,
    hint: /--outfile/,
  },
  {
    name: "outfile below a file",
    args: [...RUN, "-o", "data.txt/out.json", ...command],
    status: 125,
    error: /data\.txt\/out\.json/,
  },
  {
    name: "outfile with a slash at its end",
    args: [...RUN, "-o", "none/", ...command],
    status: 125,
    error: /none\/: it is a directory/,
  },
  { name: "outfile is a directory", args: [...RUN, "-o", ".", ...command], status: 125, error: /it is a directory/ },
  {
    name: "outfile where no file can be made",
    args: [...RUN, "-o", "/proc/out.json", ...command],
    status: 125,
    error: /\/proc\/out\.json/,
  },
  {
    name: "outfile where we may not write",
    args: [...RUN, "-o", "closed/out.json", ...command],
    status: 125,
    error: /permission denied/,
    notAsRoot: true,
    prepare: directory => mkdirSync(join(directory, "closed"), { mode: 0o555 }),
  },
  { name: "outfile with too long a name", args: [...RUN, "-o", "x".repeat(300), ...command], status: 125, error: /too long/ },
  {
    name: "a step that makes too long a name",
    args: ["run", "--step", "x".repeat(300), "-k", "key.pem", ...command],
    status: 125,
    error: /too long/,
    hint: /--outfile/,
  },
  {
    name: "outfile is a link to nowhere",
    args: [...RUN, "-o", "dangling", ...command],
    status: 125,
    error: /points nowhere/,
    prepare: directory => symlinkSync("nothing", join(directory, "dangling")),
  },
  {
    name: "public key file is a directory",
    args: ["run", "--step", "s", "--signer-ephemeral", "-o", "out", ...command],
    status: 125,
    error: /out\.pub.*directory/,
    prepare: directory => mkdirSync(join(directory, "out.pub")),
  },
  {
    name: "public key file that is another's",
    args: ["run", "--step", "s", "--signer-ephemeral", "-o", "out", ...command],
    status: 125,
    error: /out\.pub exists and is not written over/,
    hint: /--outfile/,
    prepare: directory => writeFileSync(join(directory, "out.pub"), ""),
  },
  {
    name: "public key file that is another's, for a record on stdout",
    args: ["run", "--step", "s", "--signer-ephemeral", "-o", "-", ...command],
    status: 125,
    error: /s\.attestation\.json\.pub exists/,
    prepare: directory => writeFileSync(join(directory, "s.attestation.json.pub"), ""),
  },
  {
    name: "working directory that is not there",
    args: [...RUN, "-d", "none", ...command],
    status: 125,
    error: /none.*does not exist/,
  },
  {
    name: "working directory is a file",
    args: [...RUN, "-d", "data.txt", ...command],
    status: 125,
    error: /data\.txt is not a directory/,
  },
  {
    name: "working directory that may not be entered",
    args: [...RUN, "-d", "closed", ...command],
    status: 125,
    error: /permission denied/,
    notAsRoot: true,
    prepare: directory => mkdirSync(join(directory, "closed"), { mode: 0o600 }),
  },

  // The command itself
  {
    name: "command that is not there",
    args: [...RUN, "--", "no-such-command-anywhere"],
    status: 127,
    error: /no-such-command-anywhere/,
  },
  { name: "command path that is not there", args: [...RUN, "--", "./none"], status: 127, error: /none/ },
  { name: "command that is not executable", args: [...RUN, "--", "./data.txt"], status: 126, error: /data\.txt/ },
  { name: "command that is a directory", args: [...RUN, "--", "/"], status: 126, error: /\// },
];

for (const row of refusals) {
  test(row.name, () => {
    const directory = workspace();
    row.prepare?.(directory);
    const asNobody = row.notAsRoot === true && isRoot;
    if (asNobody) Bun.spawnSync(["chown", "-R", "nobody", directory]);
    const before = readdirSync(directory).sort();
    const modified = statSync(directory, { bigint: true }).mtimeNs;
    const ran = Bun.spawnSync([...(asNobody ? nobody : [cilock]), ...row.args], {
      cwd: directory,
      env: { PATH: process.env.PATH ?? "", ...row.environment },
      stdin: "ignore",
    });
    const lines = ran.stderr.toString().split("\n");
    const error = lines.find(line => line.startsWith("cilock: error: ")) ?? lines.join("\n");
    expect(error).toMatch(row.error);
    if (row.hint !== undefined) expect(lines.find(line => line.startsWith("cilock: hint: ")) ?? "no hint").toMatch(row.hint);
    // One sentence and what to do; never a stack.
    expect(ran.stderr.toString()).not.toMatch(/^\s+at /m);
    expect(ran.stdout.toString()).toBe("");
    expect(existsSync(join(directory, "started"))).toBe(false);
    expect(readdirSync(directory).sort()).toEqual(before);
    expect(statSync(directory, { bigint: true }).mtimeNs).toBe(modified);
    expect(ran.exitCode).toBe(row.status);
  });
}

test("a flag's value that is not UTF-8", () => {
  // The shell makes the bytes: what we start programs with knows only text.
  const script = `exec "$0" run --step "$(printf 'a\\377')" -k key.pem -- true`;
  const ran = Bun.spawnSync(["sh", "-c", script, cilock], { cwd: workspace(), env: { PATH: process.env.PATH ?? "" } });
  expect(ran.stderr.toString()).toMatch(/not UTF-8/);
  expect(ran.exitCode).toBe(2);
});

test("started in a directory that is gone, where the record would have its default place", () => {
  const directory = workspace();
  const script = `mkdir gone && cd gone && rmdir ../gone && exec "$0" run --step s -k ${directory}/key.pem -- true`;
  const ran = Bun.spawnSync(["sh", "-c", script, cilock], { cwd: directory, env: { PATH: process.env.PATH ?? "" } });
  expect(ran.stderr.toString()).toMatch(/cannot write s\.attestation\.json: its directory does not exist/);
  expect(ran.exitCode).toBe(125);
});

const readable: { name: string; args: string[]; status: number; stdout: RegExp[] }[] = [
  { name: "nothing", args: [], status: 2, stdout: [/Usage/, /\n {2}run +run a command/, /cilock run --step/] },
  { name: "--help", args: ["--help"], status: 0, stdout: [/Usage/, /verify/, /keygen/, /cilock <command> --help/] },
  { name: "help", args: ["help"], status: 0, stdout: [/Usage/] },
  {
    name: "run --help",
    args: ["run", "--help"],
    status: 0,
    stdout: [/-s, --step <NAME>/, /Example/, /cilock run --step build/, /-- make/],
  },
  ...["verify", "show", "keygen", "keyid", "sign", "attestors", "doctor", "version"].map(name => ({
    name: `${name} --help`,
    args: ["help", name],
    status: 0,
    stdout: [new RegExp(`^cilock ${name}: `), /Usage/],
  })),
  { name: "help run", args: ["help", "run"], status: 0, stdout: [/-s, --step <NAME>/] },
  { name: "run -h before the command", args: ["run", "-h", "--", "make"], status: 0, stdout: [/Usage/] },
  { name: "version", args: ["version"], status: 0, stdout: [/^cilock \d+\.\d+\.\d+\n$/] },
  { name: "--version", args: ["--version"], status: 0, stdout: [/^cilock \d/] },
  {
    name: "attestors list",
    args: ["attestors", "list"],
    status: 0,
    stdout: [
      /^NAME +TYPE +RUNS/,
      /command-run \(always run\) +https:\/\/aflock\.ai\/attestations\/command-run\/v0\.1 +execute/,
      /git \(default\)/,
    ],
  },
  { name: "attestors", args: ["attestors"], status: 0, stdout: [/^NAME +TYPE +RUNS/] },
  {
    name: "attestors list --format json",
    args: ["attestors", "list", "--format", "json"],
    status: 0,
    stdout: [
      /"name": "product",\n {4}"predicate_type": "https:\/\/aflock\.ai\/attestations\/product\/v0\.3",\n {4}"run_type": "product",\n {4}"always_run": true/,
    ],
  },
];

for (const row of readable) {
  test(`readable: cilock ${row.args.join(" ")}`, () => {
    const ran = Bun.spawnSync([cilock, ...row.args], { cwd: workspace(), stdin: "ignore" });
    for (const pattern of row.stdout) expect(ran.stdout.toString()).toMatch(pattern);
    expect(ran.stderr.toString()).toBe("");
    expect(
      Math.max(
        ...ran.stdout
          .toString()
          .split("\n")
          .map(line => line.length),
      ),
    ).toBeLessThanOrEqual(row.args[0] === "attestors" ? 110 : 80);
    expect(ran.exitCode).toBe(row.status);
  });
}

// A closed descriptor is no empty one, and none that takes everything.
const closed: [words: string, error: RegExp][] = [
  ["version >&-", /cannot write to stdout: it is closed/],
  ["--help >&-", /cannot write to stdout: it is closed/],
  ["verify record -k public.pem >&-", /cannot write to stdout: it is closed/],
  ["sign -f data.txt -k key.pem -o - >&-", /cannot write to stdout: it is closed/],
  ["sign -f - -k key.pem -o out <&-", /cannot read stdin: it is closed/],
  ["show - <&-", /cannot read stdin: it is closed/],
  ["verify - -k public.pem <&-", /cannot read stdin: it is closed/],
  ["verify record -k - <&- >&-", /cannot read stdin: it is closed/],
];
for (const [words, error] of closed) {
  test(`closed: ${words}`, () => {
    const directory = workspace();
    writeFileSync(join(directory, "record"), signedText());
    const ran = Bun.spawnSync(["sh", "-c", `"$0" ${words}`, cilock], { cwd: directory });
    expect(ran.stderr.toString()).toMatch(error);
    expect(ran.exitCode).toBe(125);
    expect(existsSync(join(directory, "out"))).toBe(false);
  });
}

test.each(["run", "sign", "keyid"])("%s --help names the flags and variables of a passphrase", name => {
  const text = Bun.spawnSync([cilock, name, "--help"]).stdout.toString();
  for (const word of ["passphrase <TEXT>", "passphrase-path <FILE>", "AFLOCK_KEY_PASSPHRASE", "WITNESS_KEY_PASSPHRASE"]) {
    expect(text).toContain(word);
  }
});

test.each(["version", "--help", "help run", "attestors"])("a full stdout of %s is an error in words", words => {
  const ran = Bun.spawnSync(["sh", "-c", `exec "$0" ${words} >/dev/full`, cilock], { cwd: workspace() });
  expect(ran.stderr.toString()).toBe("cilock: error: cannot write to stdout: no space left\n");
  expect(ran.exitCode).toBe(125);
});

test.each([
  [["version"], 0],
  [["attestors"], 0],
  [["--help"], 0],
  [["help", "show"], 0],
  [["keyid", "key.pem"], 0],
  [["show", "record"], 0],
  [["verify", "record", "-k", "public.pem"], 0],
  [["verify", "record", "-k", "public.pem", "--require-success"], 6],
])("a reader of %p that is gone is no error, and the status stays", (words, status) => {
  const ran = throughClosedPipe(words);
  expect(ran.stderr.toString()).toMatch(status === 0 ? /^$/ : /^cilock: error: record is refused: .*\n$/);
  expect(ran.exitCode).toBe(status);
});

test("a reader of a record that is gone is an error: the record is lost", () => {
  const ran = throughClosedPipe(["sign", "-f", "data.txt", "-k", "key.pem", "-o", "-"]);
  expect(ran.stderr.toString()).toBe("cilock: error: cannot write to stdout: its reader is gone\n");
  expect(ran.exitCode).toBe(125);
});

/** The reader has ended before we start: the shell opens the FIFO for both, and gives us an end without a reader. */
function throughClosedPipe(words: readonly string[]) {
  const directory = workspace();
  writeFileSync(join(directory, "record"), signedText());
  const script = 'mkfifo fifo && exec 3<>fifo 4>fifo 3<&- && exec "$@" >&4 4>&-';
  return Bun.spawnSync(["sh", "-c", script, "sh", cilock, ...words], { cwd: directory });
}

/** A statement of another tool, under the key of these tests. */
function signedText(): Uint8Array {
  const statement = Buffer.from('{"predicateType":"https://example.org/v1","predicate":{}}');
  const key = loadPrivateKey(Buffer.from(pair.privateKey), undefined, "key.pem");
  return sealEnvelope(statement, "application/vnd.in-toto+json", createSigner(key));
}

function workspace(): string {
  const directory = join(root, `case${serial++}`);
  mkdirSync(directory);
  for (const [name, content] of Object.entries(files)) writeFileSync(join(directory, name), content);
  return directory;
}

// Below these limits the runtime falls over in its own words, with a status that means something else.
const limits: { limit: string; error: RegExp; asStranger?: boolean }[] = [
  { limit: "-n 8", error: /the limit of open files is 8, and 32 is the least/ },
  { limit: "-s 64", error: /the limit of the stack is 65536/ },
  { limit: "-v 400000", error: /the limit of address space is 409600000/ },
  { limit: "-d 100000", error: /the limit of data memory is 102400000/ },
  { limit: "-u 1", error: /the limit of processes is 1/, asStranger: true },
];
/** A user who has no processes: a limit of them counts all that there are. */
const stranger = nobody.with(2, "61234").with(4, "61234");
for (const { limit, error, asStranger } of limits) {
  test.skipIf(asStranger === true && !isRoot)(`ulimit ${limit}`, () => {
    const directory = workspace();
    chmodSync(join(directory, "key.pem"), 0o644);
    const words = [...(asStranger ? stranger : [cilock]), ...RUN, "-o", "/dev/null", ...command];
    const ran = Bun.spawnSync(["bash", "-c", `ulimit ${limit}; exec "$@"`, "bash", ...words], { cwd: directory });
    expect(ran.stderr.toString()).toMatch(error);
    expect(ran.stderr.toString()).toMatch(/^cilock: error: .*\ncilock: hint: ulimit .*\n$/);
    expect(existsSync(join(directory, "started"))).toBe(false);
    expect(ran.exitCode).toBe(125);
  });
}

const lesserLimits = ["-n 5", "-s 16", "-s 128", "-v 200000", "-d 200000"];
for (const limit of lesserLimits) {
  test(`ulimit ${limit}, of a command that starts nothing`, () => {
    const ran = Bun.spawnSync(["bash", "-c", `ulimit ${limit}; exec "$0" keyid key.pem`, cilock], { cwd: workspace() });
    expect(ran.stderr.toString()).toMatch(/^cilock: error: the limit of .*\ncilock: hint: ulimit .*\n$/);
    expect(ran.exitCode).toBe(125);
  });
}

test("limits that are too low for a run are enough for the other commands", () => {
  const script = 'ulimit -n 8; ulimit -s 256; ulimit -v 600000; ulimit -d 600000; exec "$0" keyid key.pem';
  const ran = Bun.spawnSync(["bash", "-c", script, cilock], { cwd: workspace() });
  expect(ran.stderr.toString()).toBe("");
  expect(ran.exitCode).toBe(0);
});

test("soft limits are the command's and do not hinder us", () => {
  const script = `ulimit -S -s 64; ulimit -S -v 400000; exec "$0" "$@"`;
  const words = [cilock, ...RUN, "-o", "/dev/null", "--trace", "--", "sh", "-c", "ulimit -s; ulimit -v"];
  const ran = Bun.spawnSync(["bash", "-c", script, ...words], { cwd: workspace() });
  expect(ran.stdout.toString()).toBe("64\n400000\n");
  expect(ran.exitCode).toBe(0);
});
