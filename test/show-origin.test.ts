// `cilock show` of records that a real run has made: where they come from, and who did what to a file.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { runCommandLine } from "../src/cli.ts";
import { commands } from "../src/commands/index.ts";

import { dnsQuery } from "./network-bytes.ts";

const cilock = join(dirname(import.meta.dir), "dist/cilock");
const root = realpathSync(mkdtempSync(join(tmpdir(), "cilock-show-origin-")));
const project = join(root, "project");
const at = (name: string) => join(root, name);
let commit = "";

const script = `cat in.txt > out.txt
cp out.txt ${at("elsewhere.txt")}
mv out.txt named.txt
PATH=${at("fake")}:$PATH
cc -c x.c
exec -a innocent cat named.txt
`;

beforeAll(() => {
  mkdirSync(project);
  mkdirSync(at("fake"));
  writeFileSync(at("fake/cc"), "#!/bin/sh\n:\n");
  chmodSync(at("fake/cc"), 0o755);
  writeFileSync(join(project, "build.sh"), script);
  writeFileSync(join(project, "in.txt"), "in\n");
  sh("git init -q -b trunk . && git config user.email a@example.test && git config user.name a && git add . && git commit -qm x");
  commit = sh("git rev-parse HEAD").trim();
  const ephemeral = "--signer-ephemeral -s build";
  sh(`${cilock} run ${ephemeral} -o ../plain.json --trace -- bash build.sh`);
  sh(`${cilock} run ${ephemeral} -o ../short.json --predicate command-run/v0.2 --trace -- bash build.sh`);
  sh(`${cilock} run ${ephemeral} -o ../untraced.json -- true`);
  sh(`${cilock} run ${ephemeral} -o alone.json -a product --trace -d fake -- sh -c 'cd /; :'`, root);
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

function sh(line: string, cwd = project): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(["sh", "-c", line], { cwd, stdin: "ignore" });
  if (exitCode !== 0) throw new Error(`${line}: ${exitCode} ${stderr}`);
  return stdout.toString();
}

async function show(record: string, ...words: string[]): Promise<string> {
  let text = "";
  const stdout = (part: string | Uint8Array) => {
    text += typeof part === "string" ? part : Buffer.from(part).toString();
  };
  await runCommandLine(["show", at(record), ...words], commands, { stdout, stderr: () => {}, environment: {} });
  return text;
}

const time = "\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{9}Z";

test("when, where, as whom, of which commit", async () => {
  const username = sh("id -un").trim();
  const host = `  started +${time}\n  host +${hostname()} \\(linux\\)\n  user +${username}\n`;
  expect(await show("plain.json")).toMatch(
    new RegExp(`${host}  directory +${project}\n  commit +${commit} \\(trunk, clean\\)\n  command `),
  );
  // What the first run has left is not in the commit; without a trace there is no directory.
  expect(await show("untraced.json")).toMatch(
    new RegExp(`${host}  commit +${commit} \\(trunk, 1 path differs from it\\)\n  command `),
  );
  const parsed = JSON.parse(await show("short.json", "--json"));
  expect(parsed).toMatchObject({
    started: expect.stringMatching(new RegExp(`^${time}$`)),
    host: { hostname: hostname(), os: "linux", username },
    workingDirectory: project,
    git: { commit, branch: "trunk", clean: false, changed: ["named.txt"], remotes: [] },
  });
});

test("only what the record says", async () => {
  const text = await show("alone.json");
  expect(text).toMatch(new RegExp(`  directory +${at("fake")}\n  command `));
  expect(text).not.toMatch(/^ {2}(host|user|commit) /m);
});

describe("who did what to a file", () => {
  for (const record of ["plain.json", "short.json"]) {
    test(`${record}: written, read and renamed`, async () => {
      const [file] = JSON.parse(await show(record, "--json", "--file", "named.txt")).file;
      const { contents, names, roles, path, vouched } = file;
      expect([path, roles, vouched]).toEqual([join(project, "named.txt"), ["product"], ["made or changed by the build"]]);
      expect(contents).toHaveLength(1);
      expect(contents[0].sha256).toBe(sha256("in\n"));
      const argvs = (list: { argv: string[] }[]) => list.map(({ argv }) => argv.join(" "));
      expect(argvs(contents[0].writers)).toEqual([expect.stringMatching(/^(cat in\.txt|bash build\.sh)$/)]);
      expect(argvs(contents[0].readers)).toEqual(["innocent named.txt"]);
      expect(names).toMatchObject([
        { kind: "renamed", path: join(project, "out.txt"), to: path, by: { argv: ["mv", "out.txt", "named.txt"] } },
      ]);
    });

    test(`${record}: who wrote and read it under its earlier name`, async () => {
      const [file] = JSON.parse(await show(record, "--json", "--file", "./out.txt")).file;
      expect(file).toMatchObject({
        path: join(project, "out.txt"),
        contents: [
          {
            sha256: sha256("in\n"),
            writers: [{ argv: ["cat", "in.txt"] }],
            readers: [{ argv: ["cp", "out.txt", at("elsewhere.txt")] }],
          },
        ],
        names: [{ kind: "renamed" }],
        roles: [],
        vouched: ["made or changed by the build"],
      });
    });

    test(`${record}: as text, by a glob, with who vouches`, async () => {
      const text = await show(record, "--file", join(project, "*.txt"), "--file", "/etc/nothing/**", "--file", "../fake/cc");
      const sections = text.split("\n\n").slice(1);
      expect(sections).toHaveLength(3);
      expect(sections[0]).toMatch(
        new RegExp(
          `^  ${project}/in\\.txt {2}\\(material\\)\n    sha256:${sha256("in\n")}\n      read by    \\d+ /\\S*/cat: cat in\\.txt\n` +
            "    vouched for, by one of the packages that --undeclared lists$",
          "m",
        ),
      );
      expect(sections[1]).toBe("file /etc/nothing/**\n  the record has no such file");
      expect(sections[2]).toMatch(
        new RegExp(`^  ${at("fake/cc")} {2}\\(material\\)\n    sha256:${sha256("#!/bin/sh\n:\n")}\n`, "m"),
      );
      expect(sections[2]).toMatch(/^ {6}run by {5}\d+ .*\/fake\/cc: .*cc -c x\.c$/m);
      expect(sections[2]).toMatch(/^ {4}nobody vouches for it$/m);
    });

    test(`${record}: a program has its path, whatever it is called`, async () => {
      const text = await show(record, "--processes");
      expect(text).toMatch(new RegExp(`^ +\\d+ \\[${at("fake/cc")}\\] .*cc -c x\\.c$|^ +\\d+ ${at("fake/cc")} -c x\\.c$`, "m"));
      expect(text).toMatch(/^ +\d+ \[\/\S*\/cat\] innocent named\.txt$/m);
      expect(text).toMatch(/^ +\d+ \/\S*\/mv out\.txt named\.txt$/m);
      const processes: { argv: string[]; sha256: string }[] = JSON.parse(await show(record, "--processes", "--json")).processes;
      expect(processes.find(({ argv }) => argv.includes("x.c"))?.sha256).toBe(sha256("#!/bin/sh\n:\n"));
    });
  }

  test("of an untraced run nobody knows", async () => {
    expect(await show("untraced.json", "--file", "in.txt")).toContain("file in.txt\n  the record is of a run without --trace\n");
    expect(show("plain.json", "--file", "{".repeat(5000))).rejects.toThrow("--file");
  });
});

test("what nobody vouches for: a path once, with its contents, and a large tree by directory", async () => {
  const script = "for f in tree/*/*; do read x <$f; done; for i in 1 2; do echo $i >>changed; read x <changed; done";
  for (const part of ["a", "b"]) {
    mkdirSync(at(`tree/${part}`), { recursive: true });
    for (let index = 0; index < 30; index++) writeFileSync(at(`tree/${part}/${index}`), "x\n");
  }
  writeFileSync(at("changed"), "0\n");
  sh(`${cilock} run --signer-ephemeral -s build -o many.json --trace -- sh -c '${script}'`, root);
  const text = await show("many.json", "--undeclared");
  expect(text).toContain(`      ${at("tree/a/")} (30 files)\n      ${at("tree/b/")} (30 files)\n`);
  expect(text).not.toContain(`${at("tree/a/7")}\n`);
  const all = await show("many.json", "--undeclared=all");
  expect(all.split("\n").filter(line => line.startsWith(`      ${at("tree/")}`))).toHaveLength(60);
  const lines = all.split("\n").filter(line => line.startsWith(`      ${at("changed")}`));
  expect(lines).toHaveLength(1);
  expect(show("many.json", "--undeclared=some")).rejects.toThrow("--undeclared takes no value but all");
});

describe("whom it talked to", () => {
  let port = 0;
  const request = "GET / HTTP/1.1\r\nHost: registry.example\r\n\r\n";
  beforeAll(async () => {
    // bash writes line by line: whoever answers the first one kills it by the second.
    const end = (socket: { end(text: string): unknown }, data: Buffer) => {
      if (data.toString().endsWith("\r\n\r\n") || data.toString() === "\r\n") socket.end("0123456789");
    };
    const server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: end } });
    port = server.port;
    const octal = [...dnsQuery(1, "nosuch.example", 1)].map(byte => `\\${byte.toString(8).padStart(3, "0")}`).join("");
    writeFileSync(
      at("talk.sh"),
      `exec 3<>/dev/tcp/127.0.0.1/${port}\nprintf '${request.replaceAll("\r\n", "\\r\\n")}' >&3\ncat <&3\nprintf '${octal}' >/dev/udp/127.0.0.1/53\n`,
    );
    for (const [name, predicate] of [
      ["talk.json", "command-run/v0.1"],
      ["talk2.json", "command-run/v0.2"],
    ]) {
      const words = ["run", "--signer-ephemeral", "-s", "talk", "--trace", "-o", name ?? "", "--predicate", predicate ?? ""];
      const ran = Bun.spawn([cilock, ...words, "--", "bash", "talk.sh"], { cwd: root, stdio: ["ignore", "ignore", "ignore"] });
      expect(await ran.exited).toBe(0);
    }
    server.stop(true);
  });

  for (const record of ["talk.json", "talk2.json"]) {
    test(`${record}: by which process, how much, and which names it asked for`, async () => {
      const text = await show(record, "--network");
      const section = text.split("\n\nnetwork\n")[1] ?? text;
      expect(section).toMatch(
        new RegExp(
          `^  to 127\\.0\\.0\\.1:${port} \\(registry\\.example\\): ${request.length} bytes sent, 1[01] received\n    by /\\S*/bash \\(process \\d+\\)$`,
          "m",
        ),
      );
      expect(section).toMatch(
        /\n {2}names asked for\n {4}nosuch\.example, of 127\.0\.0\.1:53, by \/\S*\/bash \(process \d+\)\n$/,
      );
      const { endpoints, lookups } = JSON.parse(await show(record, "--network", "--json"));
      const program = expect.stringMatching(/\/bash$/);
      expect(endpoints).toContainEqual(
        expect.objectContaining({
          name: `127.0.0.1:${port} (registry.example)`,
          direction: "out",
          host: "registry.example",
          bytes: { sent: request.length, received: expect.any(Number) },
          process: { processid: expect.any(Number), program },
        }),
      );
      expect(lookups).toEqual([
        { names: ["nosuch.example"], server: "127.0.0.1:53", process: { processid: expect.any(Number), program } },
      ]);
    });
  }
});

function sha256(text: string): string {
  return new Bun.CryptoHasher("sha256").update(text).digest("hex");
}
