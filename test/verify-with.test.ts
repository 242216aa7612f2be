// The last line of the summary is a command that can be typed as it stands, however we were called and wherever the key is.
import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";

const cilock = join(dirname(import.meta.dir), "dist/cilock");
const root = mkdtempSync(join(tmpdir(), "cilock-verify-with-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let serial = 0;

const rows: [name: string, run: string, line: RegExp][] = [
  ["by PATH", "cilock run -s s -k key.pem", /^cilock verify s\.attestation\.json -k key\.pub$/],
  ["by a path", "'./my tools/cilock' run -s s -k key.pem", /^'\.\/my tools\/cilock' verify s\.attestation\.json -k key\.pub$/],
  ["by an absolute path", '"$PWD/my tools/cilock" run -s s -k key.pem', /^'\/.*\/my tools\/cilock' verify /],
  ["with the key in another directory", "cilock run -s s -k keys/k", / -k keys\/k\.pub$/],
  ["with names that begin with a dash", "cilock run -s s -k=-k.key -o=-o.json", / verify \.\/-o\.json -k \.\/-k\.pub$/],
  ["with a key made for the run", "cilock run -s s --signer-ephemeral", / -k s\.attestation\.json\.pub$/],
];
const unknown: [name: string, run: string][] = [
  ["the public half of another key lies there", "cp keys/k.pub key.pub; cilock run -s s -k key.pem"],
  ["nothing lies there", "rm key.pub; cilock run -s s -k key.pem"],
  ["a pipe lies there", "rm key.pub; mkfifo key.pub; cilock run -s s -k key.pem"],
  ["the key comes by a descriptor", "exec 3<key.pem; cilock run -s s -k /dev/fd/3"],
];

for (const [name, run, line] of rows) {
  test(name, () => {
    const directory = workspace();
    const command = verifyWith(directory, run);
    expect(command).toMatch(line);
    const verified = shell(directory, command);
    expect(verified.stdout.toString()).toMatch(/^good /m);
    expect(verified.exitCode).toBe(0);
  });
}
for (const [name, run] of unknown) {
  test(name, () => expect(verifyWith(workspace(), run)).toBe("cilock verify s.attestation.json -k PUBLIC-KEY.pem"));
}

function verifyWith(directory: string, run: string): string {
  const ran = shell(directory, `${run} -- true`);
  expect(ran.exitCode, ran.stderr.toString()).toBe(0);
  return /^ {2}verify with +(.*)$/m.exec(ran.stderr.toString())?.[1] ?? ran.stderr.toString();
}

function workspace(): string {
  const directory = join(root, String(serial++));
  mkdirSync(join(directory, "my tools"), { recursive: true });
  mkdirSync(join(directory, "keys"));
  symlinkSync(cilock, join(directory, "my tools/cilock"));
  const made = shell(directory, "cilock keygen && cilock keygen -o keys/k && cilock keygen -o=-k.key");
  expect(made.exitCode).toBe(0);
  return directory;
}

function shell(directory: string, script: string) {
  const PATH = `${join(directory, "my tools")}${delimiter}${process.env.PATH ?? ""}`;
  return Bun.spawnSync(["sh", "-c", script], { cwd: directory, env: { PATH }, stdin: "ignore" });
}
