// What the build took from outside and what it made, by made-up events over real files.
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { appendFileSync, linkSync, mkdtempSync, renameSync, rmSync, truncateSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TraceFiles } from "../src/trace/observation.ts";
import { identityOf, O, pathItem, Script } from "./trace-events.ts";
import { sha256 } from "./vouching.ts";

let directory = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "cilock-inputs-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

const at = (name: string): string => join(directory, name);
const write = (name: string, content = name): string => {
  writeFileSync(at(name), content);
  return at(name);
};

/** Process 1 with its child 2. */
function script(): Script {
  const made = new Script();
  made.process(1, 0);
  made.process(2, 1);
  return made;
}

async function filesOf(made: Script): Promise<TraceFiles> {
  await made.finish();
  return made.trace.files;
}

/** As [path, content] in the order of the list. */
async function inputsOf(made: Script): Promise<[string, string | undefined][]> {
  return (await filesOf(made)).inputs.map(({ path, digests }) => [path.slice(directory.length + 1), digests.sha256]);
}

function writes(made: Script, serial: number, name: string, content: string): void {
  writeFileSync(at(name), "");
  made.open(serial, at(name), O.O_WRONLY | O.O_CREAT | O.O_TRUNC);
  appendFileSync(at(name), content);
}

const reads = (made: Script, serial: number, name: string): void => made.open(serial, at(name), O.O_RDONLY);

describe("inputs", () => {
  test("what was there before, by all who read it, once", async () => {
    const made = script();
    for (const name of ["b", "a"]) write(name);
    for (const serial of [1, 2, 1]) for (const name of ["b", "a"]) reads(made, serial, name);
    expect(await inputsOf(made)).toEqual([
      ["a", sha256("a")],
      ["b", sha256("b")],
    ]);
  });

  test("not what the build has written, under whatever name it is read", async () => {
    const made = script();
    writes(made, 1, "tmp", "made");
    reads(made, 2, "tmp");
    renameSync(at("tmp"), at("final"));
    made.rename(1, at("tmp"), at("final"));
    reads(made, 2, "final");
    linkSync(at("final"), at("link"));
    reads(made, 2, "link");
    expect(await inputsOf(made)).toEqual([]);
  });

  test("a copy of an input is no input, the original is", async () => {
    const made = script();
    write("original", "same");
    reads(made, 1, "original");
    writes(made, 1, "copy", "same");
    reads(made, 2, "copy");
    expect(await inputsOf(made)).toEqual([["original", sha256("same")]]);
  });

  test("what was read before the build wrote it counts with what it was then", async () => {
    const made = script();
    write("source", "as committed");
    reads(made, 1, "source");
    await made.untilOutstanding(0);
    writes(made, 2, "source", "swapped");
    reads(made, 1, "source");
    expect(await inputsOf(made)).toEqual([["source", sha256("as committed")]]);
  });

  test("each content that somebody outside has put there", async () => {
    const made = script();
    for (const content of ["one", "two", "one"]) {
      write("next", content);
      renameSync(at("next"), at("file"));
      reads(made, 1, "file");
      await made.untilOutstanding(0);
    }
    expect(await inputsOf(made)).toEqual([
      ["file", sha256("one")],
      ["file", sha256("two")],
    ]);
  });

  test("a file in the place of one that the build has removed", async () => {
    const made = script();
    writes(made, 1, "x", "made");
    made.call(1, "unlink", [0], [pathItem(0, at("x")), { kind: "file", argument: 0, file: identityOf(at("x")) }]);
    unlinkSync(at("x"));
    await made.untilOutstanding(0);
    write("x", "from outside");
    reads(made, 2, "x");
    expect(await inputsOf(made)).toEqual([["x", sha256("from outside")]]);
  });

  test("programs that were executed, but not those that were built", async () => {
    const made = script();
    made.exec(1, write("tool"));
    writes(made, 1, "built", "made");
    made.exec(2, at("built"));
    made.exec(2, write("interpreter"), { program: write("script") });
    expect(await inputsOf(made)).toEqual([
      ["interpreter", sha256("interpreter")],
      ["tool", sha256("tool")],
    ]);
  });

  const others: [name: string, open: (made: Script) => void][] = [
    ["of a pseudo file system", made => made.open(1, write("a"), O.O_RDONLY, { file: { fileSystem: 0x9fa0 } })],
    ["a directory", made => made.open(1, directory, O.O_RDONLY, { notHeld: "not_regular", file: { mode: 0o040755 } })],
    [
      "opened by its path alone",
      made => made.open(1, write("a"), 0o10000000, { notHeld: "path_only", file: { mode: 0o100644 } }),
    ],
    ["opened for writing alone", made => made.open(1, write("a"), O.O_WRONLY)],
    ["empty, and opened for writing too", made => made.open(1, write("a", ""), O.O_RDWR)],
    ["truncated when it is opened", made => made.open(1, write("a", ""), O.O_RDWR | O.O_TRUNC)],
  ];
  for (const [name, open] of others) {
    test(`no input: ${name}`, async () => {
      const made = script();
      open(made);
      expect(await inputsOf(made)).toEqual([]);
    });
  }

  const touched: [name: string, open: (made: Script) => void, content: string][] = [
    ["touched", made => made.open(1, at("x"), O.O_WRONLY | O.O_CREAT), "from outside"],
    [
      "changed in its place",
      made => {
        made.open(1, at("x"), O.O_WRONLY | O.O_APPEND);
        appendFileSync(at("x"), "!");
      },
      "from outside!",
    ],
    [
      "cut to a part of it",
      made => {
        truncateSync(at("x"), 4);
        made.call(1, "truncate", [0, 4], [pathItem(0, at("x")), { kind: "file", argument: 0, file: identityOf(at("x")) }]);
      },
      "from",
    ],
  ];
  for (const [name, open, content] of touched) {
    test(`what the build has only ${name} is still from outside`, async () => {
      const made = script();
      write("x", "from outside");
      open(made);
      reads(made, 2, "x");
      expect(await inputsOf(made)).toEqual([["x", sha256(content)]]);
    });
  }

  test("what was truncated is made, also if it was only touched before", async () => {
    const made = script();
    write("x", "from outside");
    made.open(1, at("x"), O.O_WRONLY);
    await made.untilOutstanding(1);
    writes(made, 1, "x", "made");
    reads(made, 2, "x");
    expect(await inputsOf(made)).toEqual([]);
  });

  test("what was opened for reading and writing, with what is there at the end", async () => {
    const made = script();
    made.open(1, write("a"), O.O_RDWR);
    made.open(1, write("b"), O.O_RDWR);
    appendFileSync(at("b"), "!");
    writes(made, 1, "c", "made");
    made.open(2, at("c"), O.O_RDWR);
    expect(await inputsOf(made)).toEqual([
      ["a", sha256("a")],
      ["b", sha256("b!")],
    ]);
  });

  test("an input that could not be read has no digest, and is one", async () => {
    const made = script();
    made.open(1, write("secret"), O.O_RDONLY, { notHeld: "unreadable", file: { ...identityOf(at("secret")) } });
    expect(await inputsOf(made)).toEqual([["secret", undefined]]);
  });

  test("paths are ours, whatever the root of the process is", async () => {
    const made = script();
    made.open(1, write("in"), O.O_RDONLY, { root: directory });
    expect((await filesOf(made)).inputs.map(({ path }) => path)).toEqual([at("in")]);
  });

  test("the inode as it was at the open, and whether it was quiet then", async () => {
    const made = script();
    const { device, inode, size, mtimeNs, ctimeNs } = identityOf(write("a"));
    made.at(ctimeNs + 10_000_000n);
    reads(made, 1, "a");
    made.at(ctimeNs + 30_000_000n);
    made.open(1, write("b"), O.O_RDONLY, { file: { ctimeNs } });
    const { inputs } = await filesOf(made);
    expect(inputs[0]).toMatchObject({ state: { device, inode, size, mtimeNs, ctimeNs }, settled: false, remote: false });
    expect(inputs[1]?.settled).toBe(true);
  });
});

describe("outputs", () => {
  async function outputsOf(made: Script): Promise<[string, boolean][]> {
    return (await filesOf(made)).outputs.map(({ path, present }) => [path.slice(directory.length + 1), present]);
  }

  test("what is there, under its last name, and what is gone", async () => {
    const made = script();
    for (const name of ["stays", "tmp", "gone"]) writes(made, 1, name, "x");
    renameSync(at("tmp"), at("final"));
    made.rename(1, at("tmp"), at("final"));
    made.call(1, "unlink", [0], [pathItem(0, at("gone")), { kind: "file", argument: 0, file: identityOf(at("gone")) }]);
    unlinkSync(at("gone"));
    expect(await outputsOf(made)).toEqual([
      ["stays", true],
      ["final", true],
      ["gone", false],
    ]);
  });

  test("a file that was removed and made again is there, once", async () => {
    const made = script();
    writes(made, 1, "x", "1");
    made.call(1, "unlink", [0], [pathItem(0, at("x")), { kind: "file", argument: 0, file: identityOf(at("x")) }]);
    unlinkSync(at("x"));
    writes(made, 2, "x", "2");
    expect(await outputsOf(made)).toEqual([["x", true]]);
  });

  test("a file that two processes have written, and all names of a linked one", async () => {
    const made = script();
    writes(made, 1, "a", "1");
    made.open(2, at("a"), O.O_WRONLY);
    linkSync(at("a"), at("b"));
    made.call(
      1,
      "link",
      [0, 0],
      [pathItem(0, at("a")), pathItem(1, at("b")), { kind: "file", argument: 1, file: identityOf(at("b")) }],
    );
    expect((await outputsOf(made)).sort()).toEqual([
      ["a", true],
      ["b", true],
    ]);
  });
});
