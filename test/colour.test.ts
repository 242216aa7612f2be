// Colours of what is printed for a person: only on a terminal, only without NO_COLOR, and nothing of the text is lost by them.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

const cilock = join(dirname(import.meta.dir), "dist/cilock");
const directory = mkdtempSync(join(tmpdir(), "cilock-colour-"));
afterAll(() => rmSync(directory, { recursive: true }));

beforeAll(() => {
  for (const words of ["keygen", "run -s s -k key.pem -- sh -c 'exit 3'"]) shell(`"$0" ${words}`);
});

function shell(script: string, environment: Record<string, string> = {}) {
  const env = { PATH: process.env.PATH ?? "", TERM: "xterm", ...environment };
  return Bun.spawnSync(["sh", "-c", script, cilock], { cwd: directory, env, stdin: "ignore" });
}

/** In a terminal; what it shows. */
function inTerminal(script: string, environment: Record<string, string> = {}): string {
  const python = `import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(["sh", "-c", sys.argv[1], sys.argv[2]])))`;
  const env = { PATH: process.env.PATH ?? "", TERM: "xterm", ...environment };
  const ran = Bun.spawnSync(["python3", "-c", python, script, cilock], { cwd: directory, env, stdin: "ignore" });
  return ran.stdout.toString().replaceAll("\r\n", "\n");
}

const esc = "\x1b";
const rows: [words: string, coloured: string[]][] = [
  ["show s.attestation.json", [`signature     ${esc}[33mnot checked`, `exit status   ${esc}[31m3${esc}[0m`]],
  ["show s.attestation.json -k key.pub", [`signature     ${esc}[32mgood, by `]],
  [
    "verify s.attestation.json -k key.pub",
    [`${esc}[32mok${esc}[0m       signature`, `${esc}[33mwarn`, `${esc}[32mgood${esc}[0m     s.att`],
  ],
  [
    "verify s.attestation.json -k key.pub --require-success",
    [`${esc}[31mREFUSED${esc}[0m  command`, `${esc}[31mrefused${esc}[0m  s.att`],
  ],
  ["doctor", [`     ${esc}[32mok${esc}[0m  `]],
];

for (const [words, coloured] of rows) {
  test(`on a terminal: ${words}`, () => {
    const script = `"$0" ${words} 2>/dev/null`;
    const [shown, piped] = [inTerminal(script), shell(script).stdout.toString()];
    for (const part of coloured) expect(shown).toContain(part);
    expect(Bun.stripANSI(shown)).toBe(piped);
    expect(piped).not.toContain(esc);
  });
}

const all = rows.map(([words]) => `"$0" ${words}`).join("; ");
test("not with NO_COLOR", () => expect(inTerminal(all, { NO_COLOR: "1" })).not.toContain(esc));
test("not on a dumb terminal", () => expect(inTerminal(all, { TERM: "dumb" })).not.toContain(esc));
test("not in a file, whatever stderr is", () => {
  inTerminal(`{ ${all}; } >out`);
  expect(readFileSync(join(directory, "out"), "utf8")).toMatch(/^ +signature/m);
  expect(readFileSync(join(directory, "out"), "utf8")).not.toContain(esc);
});

test("not in JSON", () => {
  expect(
    inTerminal(
      '"$0" show s.attestation.json --json; "$0" verify s.attestation.json -k key.pub --format json; "$0" doctor --json',
    ),
  ).not.toContain(esc);
});
