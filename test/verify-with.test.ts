// The last line of the summary is a command that can be typed as it stands, however we were called and wherever the key is.
import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";

const cilock = join(dirname(import.meta.dir), "dist/cilock");
const root = mkdtempSync(join(tmpdir(), "cilock-verify-with-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let serial = 0;

const rows: [name: string, run: string, line: RegExp][] = [
  ["by PATH", "cilock run -s s -k key.pem", /^cilock verify s\.attestation\.json -k key\.pub --step s --require-success$/],
  [
    "by a path",
    "'./my tools/cilock' run -s s -k key.pem",
    /^'\.\/my tools\/cilock' verify s\.attestation\.json -k key\.pub --step s --require-success$/,
  ],
  ["by an absolute path", '"$PWD/my tools/cilock" run -s s -k key.pem', /^'\/.*\/my tools\/cilock' verify /],
  ["with the key in another directory", "cilock run -s s -k keys/k", / -k keys\/k\.pub --step s --require-success$/],
  [
    "with names that begin with a dash",
    "cilock run -s s -k=-k.key -o=-o.json",
    / verify \.\/-o\.json -k \.\/-k\.pub --step s --require-success$/,
  ],
  [
    "with a key made for the run",
    "cilock run -s s --signer-ephemeral",
    / -k s\.attestation\.json\.pub --step s --require-success$/,
  ],
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
test("a gate: what it refuses of a failed or incomplete build", () => {
  const directory = workspace();
  const gateOf = (name: string, flags: string, command: string) => {
    const ran = shell(directory, `cilock run --step=${name} -k key.pem ${flags} -- ${command}`);
    return /^ {2}verify with +(.*)$/m.exec(ran.stderr.toString())?.[1] ?? ran.stderr.toString();
  };
  const failed = gateOf("f", "", "false");
  expect(failed).toBe("cilock verify f.attestation.json -k key.pub --step f --require-success");
  expect(shell(directory, failed).exitCode).toBe(6);
  const traced = gateOf("-t", "--trace -o t.json", "true");
  expect(traced).toBe("cilock verify t.json -k key.pub --step=-t --require-success --require-complete");
  expect(shell(directory, traced).exitCode).toBe(0);
});
test("of equal files the subject that is called like the one asked for", () => {
  const directory = workspace();
  const script = "mkdir -p build dest/usr/bin; echo x >build/demo; cp build/demo dest/usr/bin/demo; cp build/demo demo";
  expect(shell(directory, `cilock run -s s -k key.pem --trace -- sh -c '${script}'`).exitCode).toBe(0);
  for (const file of ["dest/usr/bin/demo", "build/demo", "demo", "./dest/../dest/usr/bin/demo"]) {
    const verified = shell(directory, `cilock verify s.attestation.json -k key.pub -f ${file}`);
    const path = file.replace("./dest/../", "");
    expect(verified.stdout.toString()).toMatch(new RegExp(`is the subject \\S*/file:${path}\n`));
  }
});

test("a file that the build wrote elsewhere is refused, and the refusal says so", () => {
  const directory = workspace();
  mkdirSync(join(directory, "w"));
  const run = "cd w && cilock run -s s -k ../key.pem --trace -o ../s.json";
  expect(shell(directory, `${run} -- sh -c 'echo y >../installed; echo z >inside'`).exitCode).toBe(0);
  const verify = (file: string) => shell(directory, `cilock verify s.json -k key.pub -f ${file}`);
  expect(verify("w/inside").exitCode).toBe(0);
  const refused = verify("installed");
  expect([refused.exitCode, refused.stdout.toString()]).toEqual([
    3,
    expect.stringMatching(
      /no product of this record; the build wrote this content to \/\S*\/installed, which was no product \(--product-glob/,
    ),
  ]);
  expect(verify("key.pub").stdout.toString()).toMatch(/is no subject and no product of this record$/m);
  const named = shell(directory, `${run} --product-glob '*/installed' -- sh -c 'echo y >../installed'`);
  expect(named.exitCode, named.stderr.toString()).toBe(0);
  expect(verify("installed").exitCode).toBe(0);
  expect(named.stderr.toString()).not.toContain("--product-glob names no file");
  const missed = shell(directory, `${run} --product-glob 'installed' -- sh -c 'echo y >../installed'`);
  expect(missed.stderr.toString()).toContain("warning: --product-glob names no file that the command has written");
});

test.skipIf(Bun.which("jq") === null)("the page's recipe compares what one step made with what the next one used", () => {
  const page = readFileSync(join(dirname(import.meta.dir), "docs/materials-products.md"), "utf8");
  const section = page.slice(page.indexOf("## Comparing two steps"), page.indexOf("## Directories that are one entry"));
  const lines = section.split("\n").filter(line => line.startsWith("    "));
  expect(lines).toHaveLength(4);
  const recipe = lines.join("\n");
  const directory = workspace();
  const step = (name: string, script: string) => {
    const flags = `-s ${name} -k ../key.pem --trace -o ../${name}.json`;
    const ran = shell(directory, `mkdir -p w && cp key.pub ${name}.pub && cd w && cilock run ${flags} -- sh -c '${script}'`);
    expect(ran.exitCode, ran.stderr.toString()).toBe(0);
  };
  const compared = () => {
    const { exitCode, stderr } = shell(directory, recipe);
    return { exitCode, error: stderr.toString(), lines: readFileSync(join(directory, "compared"), "utf8") };
  };
  step("build", "echo 1 >a; echo 2 >b; echo 3 >c");
  step("package", "cat a b >all");
  expect(compared()).toEqual({ exitCode: 0, error: "", lines: "same a\nsame b\n" });
  expect(shell(directory, "echo swapped >w/b").exitCode).toBe(0);
  step("package", "cat a b >all");
  expect(compared()).toEqual({ exitCode: 1, error: "", lines: "same a\nDIFFERS b\n" });
  step("package", ":");
  expect(compared()).toEqual({ exitCode: 1, error: "", lines: "" });
});

for (const [name, run] of unknown) {
  test(name, () =>
    expect(verifyWith(workspace(), run)).toBe("cilock verify s.attestation.json -k PUBLIC-KEY.pem --step s --require-success"),
  );
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
