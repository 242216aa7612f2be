// What a command inherits under `cilock run`, traced or not, is what it inherits without: the whole list is in tracees/inherit.zig,
// the unavoidable differences are in inherited.ts with the reason of each.
import { describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isRoot, plainEnvironment, type RunOptions, run, Scratch, tracee, type User, users } from "./harness.ts";
import { differences, unavoidable, withheld } from "./inherited.ts";

interface Row {
  name: string;
  launch?: string[];
  arguments?: string[];
  env?: { [name: string]: string };
  options?: RunOptions;
  needsRoot?: boolean;
  /** The key comes through this descriptor. */
  keyDescriptor?: number;
  /** Properties that this row changes in a way that no two runs can share. */
  apart?: string[];
}

const rows: Row[] = [
  { name: "nothing unusual" },
  {
    name: "arguments with spaces, quotes, newlines and dashes",
    arguments: ["two words", "'\"", "a\nb", "--", "--trace", "-o", "-"],
  },
  { name: "an empty argument", launch: [], arguments: ["", "after", ""] },
  { name: "arguments that are not UTF-8", launch: [], arguments: ["@fffe80", "@c3", "@2d2dff"] },
  {
    name: "an environment that is not UTF-8",
    launch: [`env=${hex("ODD=")}ff`, `env=${hex("CAF")}e9${hex("=x")}`],
  },
  { name: "an empty environment", launch: ["clear-environment"] },
  {
    name: "a variable twice, one without =, an empty value",
    launch: [`env=${hex("TWICE=1")}`, `env=${hex("TWICE=2")}`, `env=${hex("NOEQUALS")}`, `env=${hex("EMPTY=")}`],
  },
  {
    name: "variables that Bun would take for its own",
    env: {
      BUN_OPTIONS: "--smol",
      BUN_CONFIG_VERBOSE_FETCH: "1",
      BUN_INSPECT: "",
      NODE_OPTIONS: "--no-such",
      BUN_BE_BUN: "1",
      BUN_JSC_useJIT: "0",
      BUN_JSC_heapGrowthMaxIncrease: "9",
      NODE_ENV: "x",
    },
  },
  { name: "stdin closed", launch: ["close=0"] },
  { name: "stdout closed", launch: ["close=1"] },
  { name: "stderr closed", launch: ["close=2"] },
  { name: "stdin, stdout and stderr closed", launch: ["close=0", "close=1", "close=2"] },
  { name: "stdin from a regular file, in the middle", launch: ["file=0:input"] },
  { name: "stdout and stderr one file, appended to", launch: ["append=1:log", "append=2:log"] },
  { name: "descriptors 3 and 9", launch: ["file=3:input", "append=9:log"] },
  { name: "pipes on 4 and 5", launch: ["pipe=4"] },
  { name: "a socket on 3, one on 0", launch: ["socket=3", "socket=0"] },
  { name: "the key on stdin", launch: ["file=0:key.pem"], options: { args: ["-k", "/dev/stdin"] }, keyDescriptor: 0 },
  { name: "the key on descriptor 5", launch: ["file=5:key.pem"], options: { args: ["-k", "/dev/fd/5"] }, keyDescriptor: 5 },
  { name: "a descriptor in the range where helpers keep theirs", launch: ["file=40:input", "file=63:input"] },
  { name: "ignored SIGPIPE and SIGHUP", launch: ["ignore=13", "ignore=1"] },
  { name: "ignored SIGINT, SIGQUIT and SIGTERM, as in the background of a shell", launch: ["ignore=2", "ignore=3", "ignore=15"] },
  { name: "ignored SIGCHLD", launch: ["ignore=17"] },
  { name: "ignored SIGXFSZ and SIGTSTP", launch: ["ignore=25", "ignore=20"] },
  { name: "blocked SIGUSR1, SIGTERM, SIGCHLD and a real-time signal", launch: ["block=10", "block=15", "block=17", "block=40"] },
  { name: "few descriptors", launch: ["nofile=64"] },
  { name: "no core files, a large stack", launch: ["core=0", "stack=16777216"] },
  { name: "umask 077", launch: ["umask=077"] },
  { name: "umask 000", launch: ["umask=000"] },
  { name: "a nice value", launch: ["nice=7"] },
  { name: "a timer slack", launch: ["slack=1000000"] },
  { name: "a likely victim of the OOM killer", launch: ["oom=500"] },
  { name: "another working directory", launch: ["directory=below"] },
  // We lead the session, so the command does not; and a session has the number of its leader.
  { name: "a session of its own", launch: ["session"], apart: ["session", "process group", "leads its process group"] },
  { name: "a privileged nice value", launch: ["nice=4294967291"], needsRoot: true },
];

for (const user of users) {
  for (const trace of [false, true]) {
    describe(`as ${user}, ${trace ? "traced" : "untraced"}`, () => {
      for (const row of rows) {
        if (row.needsRoot && (!isRoot || user !== "self")) continue;
        test(row.name, async () => {
          expect(await compare(row, user, trace)).toEqual([]);
        });
      }
    });
  }
}

/** Runs both ways in one directory and compares. */
async function compare(row: Row, user: User, trace: boolean): Promise<string[]> {
  using scratch = new Scratch(user);
  writeFileSync(join(scratch.work, "input"), "the input, three words\n");
  writeFileSync(join(scratch.work, "key.pem"), readFileSync(scratch.keyPath), { mode: 0o644 });
  mkdirSync(join(scratch.work, "below"));
  writeFileSync(join(scratch.work, "log"), "");
  chmodSync(join(scratch.work, "log"), 0o666);
  const output = join(scratch.work, "inherited");
  const env = { ...plainEnvironment(scratch), ...row.env };
  const command = [tracee("inherit", scratch), `to=${output}`, ...(row.arguments ?? [])];
  const options: RunOptions = { ...row.options, env, ...(row.launch && { launch: row.launch }) };
  const bare = await run(scratch, command, { ...options, bare: true });
  const expected = await take(output, bare.stderr);
  // The files are as they were at the first run: their size and our offset in them are compared.
  writeFileSync(join(scratch.work, "log"), "");
  const ran = await run(scratch, command, { ...options, trace });
  const how = {
    traced: trace,
    root: isRoot && user === "self",
    ...(row.keyDescriptor !== undefined && { keyDescriptor: row.keyDescriptor }),
  };
  const found = differences(expected, await take(output, ran.stderr), how);
  return found.filter(text => !row.apart?.some(name => text.includes(`"name":"${name}"`)));
}

async function take(output: string, stderr: string): Promise<string> {
  const file = Bun.file(output);
  if (!(await file.exists())) throw new Error(`the command wrote nothing; stderr: ${stderr}`);
  const text = await file.text();
  rmSync(output);
  return text;
}

function hex(text: string): string {
  return Buffer.from(text).toString("hex");
}

test("every difference that is let through has its reason", () => {
  for (const row of [...unavoidable, withheld]) expect(row.why.length).toBeGreaterThan(10);
});

test("a comparison of two bare runs finds nothing, and one of two different runs does", async () => {
  using scratch = new Scratch();
  const command = [tracee("inherit")];
  const [one, same, other] = [
    await run(scratch, command, { bare: true, launch: ["umask=022"] }),
    await run(scratch, command, { bare: true, launch: ["umask=022"] }),
    await run(scratch, command, { bare: true, launch: ["umask=027", "ignore=13"] }),
  ];
  const how = { traced: true, root: true };
  expect(differences(one.stdout.toString(), same.stdout.toString(), how)).toEqual([]);
  expect(
    differences(one.stdout.toString(), other.stdout.toString(), how).filter(text => text.startsWith("+")).length,
  ).toBeGreaterThanOrEqual(4);
});
