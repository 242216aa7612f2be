// The observers on made-up events over real files: each test is a story of a few processes, and says what the record
// has to hold at its end.
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import {
  appendFileSync,
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isTooLarge } from "../src/file-limits.ts";
import type { FileIdentity } from "../src/native/events.ts";
import { gapTable } from "../src/trace/gaps.ts";
import type { ProcessObservation, TraceObservation } from "../src/trace/observation.ts";
import { bytesItem, identityOf, noFile, O, pathItem, Script } from "./trace-events.ts";

let directory = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "cilock-observers-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

const at = (name: string): string => join(directory, name);
const write = (name: string, content: string): string => {
  writeFileSync(at(name), content);
  return at(name);
};
const sha256 = (content: string | Uint8Array): string => createHash("sha256").update(content).digest("hex");
const digest = (content: string) => ({ sha256: sha256(content) });

function nth(observation: TraceObservation, serial: number): ProcessObservation {
  const process = observation.processes[serial - 1];
  if (!process) throw new Error(`no process ${serial}`);
  return process;
}

const kinds = (observation: TraceObservation): string[] => observation.completeness.gaps.map(gap => gap.kind);
const createAndWrite = O.O_WRONLY | O.O_CREAT | O.O_TRUNC;

/** Open, write, as a process does it: the file is there when the open's event is made, the content comes after it. */
function writes(script: Script, serial: number, path: string, content: string, flags = createAndWrite): void {
  if ((flags & O.O_APPEND) === 0) writeFileSync(path, "");
  script.open(serial, path, flags);
  if (content !== "") appendFileSync(path, content);
}

/** truncate(2): the tracer records an open for writing, too. */
function truncated(script: Script, serial: number, path: string, length: number): void {
  const sizeBefore = statSync(path, { bigint: true }).size;
  truncateSync(path, length);
  script.call(serial, "truncate", [0, length], [pathItem(0, path), { kind: "file", argument: 0, file: identityOf(path) }]);
  script.open(serial, path, O.O_WRONLY | O.O_TRUNC, { sizeBefore });
}

describe("readers", () => {
  test("each path gets the content that it had at its open, once", async () => {
    const script = new Script();
    script.process(1, 0);
    write("a", "alpha");
    for (let i = 0; i < 3; i++) script.open(1, at("a"), O.O_RDONLY);
    script.open(1, write("b", "beta"), O.O_RDONLY);
    script.open(1, write("empty", ""), O.O_RDONLY);
    const observation = await script.finish();
    expect([...nth(observation, 1).openedFiles]).toEqual([
      [at("a"), digest("alpha")],
      [at("b"), digest("beta")],
      [at("empty"), digest("")],
    ]);
    expect(nth(observation, 1).fileVersions.size).toBe(0);
    expect(observation.completeness).toMatchObject({ verdict: "complete", gaps: [] });
  });

  const afterwards: [name: string, change: (path: string) => void][] = [
    ["renamed over", path => renameSync(write("other", "evil!"), path)],
    ["unlinked", path => unlinkSync(path)],
    ["its mode changed", path => chmodSync(path, 0o600)],
    ["linked", path => linkSync(path, at("second"))],
  ];
  for (const [name, change] of afterwards) {
    test(`a file that is ${name} after the open`, async () => {
      const script = new Script();
      script.process(1, 0);
      const path = write("input", "right");
      script.open(1, path, O.O_RDONLY);
      change(path);
      const observation = await script.finish();
      expect(nth(observation, 1).openedFiles.get(path)).toEqual(digest("right"));
      expect(kinds(observation)).toEqual([]);
    });
  }

  const rewritten: [name: string, change: (path: string) => void][] = [
    ["grown", path => appendFileSync(path, "!")],
    ["truncated", path => truncateSync(path, 1)],
  ];
  for (const [name, change] of rewritten) {
    test(`a file that has ${name} before its digest is no longer known`, async () => {
      const script = new Script();
      script.process(1, 0);
      const path = write("input", "right");
      script.open(1, path, O.O_RDONLY);
      change(path);
      const observation = await script.finish();
      expect(nth(observation, 1).openedFiles.get(path)).toEqual({});
      expect(nth(observation, 1).unhashedOpens).toEqual([{ path, reason: "changed-while-read" }]);
      expect(observation.completeness.verdict).toBe("incomplete");
    });
  }

  test("rewritten to the same size with its old mtime, between open and digest", async () => {
    const script = new Script();
    script.process(1, 0);
    script.process(2, 1);
    const path = write("input", "right");
    utimesSync(path, 1_000_000, 1_000_000);
    script.open(1, path, O.O_RDONLY);
    script.open(2, path, O.O_WRONLY);
    writeFileSync(path, "wrong");
    utimesSync(path, 1_000_000, 1_000_000);
    const observation = await script.finish();
    expect(nth(observation, 1).openedFiles.get(path)).toEqual({});
    expect(kinds(observation)).toContain("changed-while-read");
  });

  test("the same, and our digest was faster than the event of the open for writing", async () => {
    for (const isEarlier of [true, false]) {
      const script = new Script();
      script.process(1, 0);
      script.process(2, 1);
      const path = write("input", "right");
      utimesSync(path, 1_000_000, 1_000_000);
      script.open(1, path, O.O_RDONLY);
      const asFound = identityOf(path);
      writeFileSync(path, "wrong");
      utimesSync(path, 1_000_000, 1_000_000);
      await script.untilOutstanding(0);
      // An open that found the file as we have read it says nothing against our digest.
      script.open(2, path, O.O_WRONLY, { file: isEarlier ? asFound : identityOf(path) });
      const observation = await script.finish();
      expect(nth(observation, 1).openedFiles.get(path)).toEqual(isEarlier ? {} : digest("wrong"));
    }
  });

  test("what its writers could change without a trace is not known, though it looks the same", async () => {
    const script = new Script();
    script.process(1, 0);
    const path = write("input", "content");
    script.open(1, path, O.O_RDONLY, { unsettled: true });
    const observation = await script.finish();
    expect(nth(observation, 1).openedFiles.get(path)).toEqual({});
    expect(kinds(observation)).toEqual(["changed-while-read"]);
  });

  test("a first content that is unknown is not replaced by a later one", async () => {
    const script = new Script();
    script.process(1, 0);
    const path = write("f", "first");
    script.open(1, path, O.O_RDONLY);
    writeFileSync(path, "second!");
    script.open(1, path, O.O_RDONLY);
    const { openedFiles, unhashedOpens } = nth(await script.finish(), 1);
    expect(openedFiles.get(path)).toEqual({});
    expect(unhashedOpens).toEqual([{ path, reason: "changed-while-read" }]);
  });

  test("a reference to an earlier record is its content", async () => {
    const script = new Script();
    script.process(1, 0);
    script.process(2, 1);
    const path = write("header.h", "#define A");
    script.open(1, path, O.O_RDONLY);
    const content = script.sequence;
    script.open(2, path, O.O_RDONLY, { notHeld: "known_content", content });
    const observation = await script.finish();
    expect(nth(observation, 2).openedFiles.get(path)).toEqual(digest("#define A"));
  });

  test("a reference to a record that had no descriptor is a gap, not a wrong digest", async () => {
    const script = new Script();
    script.process(1, 0);
    script.open(1, write("a", "a"), O.O_RDONLY, { notHeld: "known_content", content: 77 });
    const observation = await script.finish();
    expect(nth(observation, 1).unhashedOpens).toEqual([{ path: at("a"), reason: "unreadable" }]);
    expect(kinds(observation)).toEqual(["unreadable-file"]);
  });

  test("a file that may be written and not read is among the writes, once", async () => {
    const script = new Script();
    script.process(1, 0);
    const file = identityOf(write("closed", "x"));
    for (let i = 0; i < 2; i++) script.open(1, at("closed"), O.O_WRONLY, { notHeld: "unreadable", file });
    const observation = await script.finish();
    const { fileOps, writtenDigests, unhashedOpens } = nth(observation, 1);
    expect(fileOps?.writes).toMatchObject([{ path: at("closed"), bytes: 0 }]);
    expect(writtenDigests.size).toBe(0);
    expect(unhashedOpens).toEqual([{ path: at("closed"), reason: "unreadable" }]);
    expect(observation.totals.writes).toBe(1);
    expect(kinds(observation)).toEqual(["unreadable-file"]);
  });

  test("a file that was written a moment ago is read again: its ctime may not have moved with the next write", async () => {
    const script = new Script();
    const path = write("fresh", "fresh");
    script.at(statSync(path, { bigint: true }).ctimeNs + 19_000_000n);
    script.process(1, 0);
    for (let i = 0; i < 2; i++) script.open(1, path, O.O_RDONLY);
    expect(script.outstanding).toBe(2);
    expect(nth(await script.finish(), 1).openedFiles.get(path)).toEqual(digest("fresh"));
  });

  test("a settled file is read once for 100 processes, and again after an open for writing", async () => {
    const script = new Script();
    const path = write("lib.so", "library");
    const later = statSync(path, { bigint: true }).ctimeNs + 1_000_000_000n;
    script.at(later);
    script.process(1, 0);
    script.open(1, path, O.O_RDONLY);
    for (let serial = 2; serial < 100; serial++) {
      script.process(serial, 1);
      script.open(serial, path, O.O_RDONLY);
    }
    expect(script.outstanding).toBe(1);
    script.open(1, path, O.O_RDWR);
    script.open(2, path, O.O_RDONLY);
    expect(script.outstanding).toBe(3);
    const observation = await script.finish();
    expect(observation.outliers.mostOpened).toEqual({ path, count: 99 });
    expect(nth(observation, 99).openedFiles.get(path)).toEqual(digest("library"));
  });

  const mapped: [name: string, writable: boolean, isRead: boolean][] = [
    ["so that it can be written to", true, true],
    ["only to be read or run", false, false],
  ];
  for (const [name, writable, readsAgain] of mapped) {
    test(`a file that is mapped ${name} is${readsAgain ? "" : " not"} read again`, async () => {
      const script = new Script();
      const path = write("db", "pages");
      script.at(statSync(path, { bigint: true }).ctimeNs + 1_000_000_000n);
      script.process(1, 0);
      script.open(1, path, O.O_RDONLY);
      script.call(
        1,
        "mmap",
        [0, 4096, 1, 1, 3, 0],
        [{ kind: "descriptor", argument: 4, file: identityOf(path), link: path, ...(writable ? { writable } : {}) }],
      );
      script.open(1, path, O.O_RDONLY);
      expect(script.outstanding).toBe(readsAgain ? 2 : 1);
      await script.finish();
    });
  }

  test("a swap A, B, A shows as three versions (the attack on SUNSPOT's victims)", async () => {
    const script = new Script();
    script.process(1, 0);
    const path = write("source.c", "good");
    script.open(1, path, O.O_RDONLY);
    renameSync(write("tmp", "evil"), path);
    script.open(1, path, O.O_RDONLY);
    renameSync(write("tmp", "good"), path);
    script.open(1, path, O.O_RDONLY);
    const { openedFiles, fileVersions } = nth(await script.finish(), 1);
    expect(openedFiles.get(path)).toEqual(digest("good"));
    expect(fileVersions.get(path)).toEqual([digest("good"), digest("evil"), digest("good")]);
  });

  const reasons: [reason: string, options: Parameters<Script["open"]>[3], gap: string | undefined][] = [
    ["directory", { notHeld: "not_regular", file: { mode: 0o040755 } }, undefined],
    ["device", { notHeld: "not_regular", file: { mode: 0o020666 } }, undefined],
    ["device", { notHeld: "not_regular", file: { mode: 0o060660 } }, undefined],
    ["fifo", { notHeld: "not_regular", file: { mode: 0o010644 } }, "delegated"],
    ["socket", { notHeld: "not_regular", file: { mode: 0o140644 } }, undefined],
    ["anonymous", { notHeld: "not_regular", file: { mode: 0o600 } }, undefined],
    ["path-only", { notHeld: "path_only", file: { mode: 0o100644 } }, undefined],
    ["gone", { notHeld: "gone" }, undefined],
    ["pseudo-filesystem", { notHeld: "pseudo_file_system", file: { mode: 0o100444 } }, undefined],
    ["pseudo-filesystem", { file: { fileSystem: 0x9fa0 } }, undefined],
    ["unreadable", { notHeld: "unreadable", file: { mode: 0o100200 } }, "unreadable-file"],
    ["too-large", { file: { blocks: (16n << 21n) + 1n } }, "too-large"],
    ["too-large", { file: { size: 17n << 30n } }, "too-large"],
  ];
  for (const [reason, options, gap] of reasons) {
    test(`no digest: ${reason} (${JSON.stringify(options, (_, value) => (typeof value === "bigint" ? String(value) : value))})`, async () => {
      const script = new Script();
      script.process(1, 0);
      script.open(1, write("f", "x"), O.O_RDONLY, options);
      const observation = await script.finish();
      const { openedFiles, unhashedOpens } = nth(observation, 1);
      expect(openedFiles.get(at("f"))).toEqual({});
      expect(unhashedOpens as unknown[]).toEqual([{ path: at("f"), reason }]);
      expect(kinds(observation)).toEqual(gap === undefined ? [] : [gap]);
      expect(observation.diagnostics).toEqual({ unhashedOpensTotal: 1 });
    });
  }

  const sizes: [name: string, gib: { size: bigint; data: bigint }, tooLarge: boolean][] = [
    ["data up to the limit", { size: 16n, data: 16n }, false],
    ["more data", { size: 17n, data: 17n }, true],
    ["more data than length", { size: 1n, data: 17n }, true],
    ["holes up to the limit", { size: 16n, data: 0n }, false],
    ["more holes", { size: 17n, data: 0n }, true],
    ["more holes, beside data", { size: 27n, data: 10n }, true],
    ["data and holes up to their limits", { size: 32n, data: 16n }, false],
  ];
  for (const [name, { size, data }, tooLarge] of sizes) {
    test(`size: ${name}`, () => {
      expect(isTooLarge({ ...noFile, size: size << 30n, blocks: data << 21n })).toBe(tooLarge);
    });
  }

  for (const unlinked of [false, true]) {
    test(`holes that a writer makes after its open${unlinked ? ", in a file that loses its name" : ""}`, async () => {
      const script = new Script();
      script.process(1, 0);
      writes(script, 1, at("sparse"), "");
      truncateSync(at("sparse"), 20 * 2 ** 30);
      if (unlinked) {
        script.call(1, "unlink", [0], [pathItem(0, at("sparse")), { kind: "file", argument: 0, file: identityOf(at("sparse")) }]);
        unlinkSync(at("sparse"));
      }
      expect(kinds(await script.finish())).toEqual(["too-large"]);
    });
  }

  test("paths are those of the process's own root", async () => {
    const script = new Script();
    script.process(1, 0);
    mkdirSync(at("jail"));
    script.open(1, write("jail/inside", "in"), O.O_RDONLY, { root: at("jail") });
    script.open(1, write("outside", "out"), O.O_RDONLY, { root: at("jail") });
    script.open(1, write("jail2", "neighbour"), O.O_RDONLY, { root: at("jail") });
    const { openedFiles } = nth(await script.finish(), 1);
    expect([...openedFiles.keys()]).toEqual(["/inside", at("outside"), at("jail2")]);
  });

  test("failed opens are counted and nothing else", async () => {
    const script = new Script();
    script.process(1, 0);
    script.send({ kind: "exit", ...script.header(1), status: 0, failedOpens: 7 });
    const observation = await script.finish();
    expect(observation.failedOpens).toBe(7);
    expect(nth(observation, 1).openedFiles.size).toBe(0);
  });

  test("an inherited regular file is the first process's from the start; pipes and terminals are nobody's", async () => {
    const script = new Script();
    script.process(1, 0);
    const inherited = (descriptor: number, file: FileIdentity, held: number, path: string) =>
      script.send({
        kind: "inherited",
        ...script.header(1),
        file,
        flags: 0n,
        descriptor,
        held,
        notHeld: held < 0 ? "not_regular" : "none",
        heldErrno: 0,
        content: 0,
        path,
      });
    const { held, file } = script.hold(write("stdin", "input"));
    inherited(0, file, held, at("stdin"));
    inherited(1, { ...noFile, mode: 0o010600 }, -1, "pipe:[7]");
    inherited(2, { ...noFile, mode: 0o140777 }, -1, "socket:[8]");
    const { openedFiles, network, syscallEvents } = nth(await script.finish(), 1);
    expect([...openedFiles]).toEqual([[at("stdin"), digest("input")]]);
    expect(network.sockets).toEqual([{ family: "unknown", type: "unknown", protocol: 0, fd: 2, origin: "inherited" }]);
    expect(syscallEvents).toMatchObject([{ syscall: "inherited-socket", args: [2n], path: "socket:[8]", result: 0 }]);
  });
});

describe("writers", () => {
  test("the content at the writer's end, and how much the file has grown", async () => {
    const script = new Script();
    script.process(1, 0);
    writes(script, 1, at("out"), "hello ");
    appendFileSync(at("out"), "world");
    script.exit(1);
    const { openedFiles, writtenDigests, fileOps } = nth(await script.finish(), 1);
    expect([...writtenDigests]).toEqual([[at("out"), digest("hello world")]]);
    expect([...openedFiles]).toEqual([[at("out"), digest("hello world")]]);
    expect(fileOps.writes).toMatchObject([{ path: at("out"), bytes: 11 }]);
  });

  const flags: [name: string, flags: number, writesIt: boolean][] = [
    ["O_WRONLY", O.O_WRONLY, true],
    ["O_RDWR", O.O_RDWR, true],
    ["O_RDONLY | O_TRUNC", O.O_RDONLY | O.O_TRUNC, true],
    ["O_RDONLY | O_CREAT | O_EXCL", O.O_RDONLY | O.O_CREAT | O.O_EXCL, true],
    ["O_RDONLY | O_CREAT", O.O_RDONLY | O.O_CREAT, false],
    ["O_RDONLY", O.O_RDONLY, false],
    ["O_PATH | O_RDWR", 0o10000000 | O.O_RDWR, false],
  ];
  for (const [name, flag, writesIt] of flags) {
    test(`${name} ${writesIt ? "writes" : "does not write"}`, async () => {
      const script = new Script();
      script.process(1, 0);
      script.open(1, write("f", "x"), flag);
      expect(nth(await script.finish(), 1).writtenDigests.size).toBe(writesIt ? 1 : 0);
    });
  }

  const movements: [name: string, move: (script: Script) => void, finalNames: string[]][] = [
    [
      "renamed into place",
      script => {
        write("out", "old");
        renameSync(at("tmp"), at("out"));
        script.rename(1, at("tmp"), at("out"));
      },
      ["out"],
    ],
    [
      "renamed by a dot path",
      script => {
        renameSync(at("tmp"), at("out"));
        script.call(
          1,
          "renameat",
          [0, 0, 0, 0],
          [
            pathItem(1, `${directory}/./tmp`),
            pathItem(3, `${directory}/x/../out`),
            { kind: "file", argument: 3, file: identityOf(at("out")) },
          ],
        );
      },
      ["out"],
    ],
    [
      "hard linked",
      script => {
        linkSync(at("tmp"), at("second"));
        script.call(
          1,
          "link",
          [0, 0],
          [pathItem(0, at("tmp")), pathItem(1, at("second")), { kind: "file", argument: 1, file: identityOf(at("second")) }],
        );
      },
      ["tmp", "second"],
    ],
    [
      "exchanged with another file",
      script => {
        write("other", "other");
        script.call(1, "renameat2", [0, 0, 0, 0, 2], [pathItem(1, at("tmp")), pathItem(3, at("other"))]);
        renameSync(at("tmp"), at("swap"));
        renameSync(at("other"), at("tmp"));
        renameSync(at("swap"), at("other"));
      },
      ["other"],
    ],
    [
      "moved with its directory",
      script => {
        const inside = { kind: "file", argument: 1, file: { ...identityOf(directory) } } as const;
        script.call(1, "rename", [0, 0], [pathItem(0, directory), pathItem(1, `${directory}-new`), inside]);
      },
      ["../NEW/tmp"],
    ],
    [
      "removed",
      script => {
        script.call(1, "unlink", [0], [pathItem(0, at("tmp")), { kind: "file", argument: 0, file: identityOf(at("tmp")) }]);
        unlinkSync(at("tmp"));
      },
      ["tmp"],
    ],
    [
      "renamed, but the call failed",
      script => script.call(1, "rename", [0, 0], [pathItem(0, at("tmp")), pathItem(1, at("out"))], -18),
      ["tmp"],
    ],
  ];
  for (const [name, move, finalNames] of movements) {
    test(`a file that is ${name} has its digest under ${finalNames.join(" and ")}`, async () => {
      const script = new Script();
      script.process(1, 0);
      writes(script, 1, at("tmp"), "content");
      move(script);
      script.exit(1);
      const observation = await script.finish();
      const expected = finalNames.map(final => (final.startsWith("../NEW") ? `${directory}-new/tmp` : at(final)));
      expect([...nth(observation, 1).writtenDigests]).toEqual(expected.map(path => [path, digest("content")]));
      expect(nth(observation, 1).openedFiles.get(at("tmp"))).toEqual(digest("content"));
      expect(kinds(observation)).toEqual([]);
    });
  }

  test("an O_TMPFILE gets the name that it is linked to", async () => {
    const script = new Script();
    script.process(1, 0);
    const path = write("real", "tmpfile");
    script.open(1, path, 0o20200000 | O.O_RDWR, { name: `${directory}/#123`, deleted: true, file: { links: 0 } });
    const item = { kind: "file", argument: 3, file: identityOf(path) } as const;
    script.call(1, "linkat", [0, 0, 0, 0, 0x400], [pathItem(1, "/proc/self/fd/3"), pathItem(3, path), item]);
    script.exit(1);
    expect([...nth(await script.finish(), 1).writtenDigests]).toEqual([[path, digest("tmpfile")]]);
  });

  test("two files that have had one name, one after the other: the one that has it now counts", async () => {
    const script = new Script();
    script.process(1, 0);
    for (const content of ["first", "second"]) {
      writes(script, 1, at("tmp"), content);
      renameSync(at("tmp"), at("out"));
      script.rename(1, at("tmp"), at("out"));
    }
    script.exit(1);
    const { writtenDigests, fileVersions, fileOps } = nth(await script.finish(), 1);
    expect([...writtenDigests]).toEqual([[at("out"), digest("second")]]);
    expect(fileVersions.get(at("out"))).toEqual([digest("first"), digest("second")]);
    expect(fileOps.renames).toHaveLength(2);
  });

  test("the same, where the file that has the name now was opened first", async () => {
    const script = new Script();
    script.process(1, 0);
    for (const name of ["late", "early"]) writes(script, 1, at(name), name);
    for (const name of ["early", "late"]) {
      renameSync(at(name), at("out"));
      script.rename(1, at(name), at("out"));
    }
    script.exit(1);
    expect([...nth(await script.finish(), 1).writtenDigests]).toEqual([[at("out"), digest("late")]]);
  });

  test("a rename that nobody saw is put right at the next open", async () => {
    const script = new Script();
    script.process(1, 0);
    script.process(2, 1);
    writes(script, 1, at("tmp"), "content");
    renameSync(at("tmp"), at("moved"));
    script.open(2, at("moved"), O.O_WRONLY | O.O_APPEND);
    writes(script, 2, at("tmp"), "another");
    script.exit(2);
    script.exit(1);
    const observation = await script.finish();
    expect([...nth(observation, 1).writtenDigests.keys()]).toEqual([at("moved")]);
    expect([...nth(observation, 2).writtenDigests.keys()]).toEqual([at("moved"), at("tmp")]);
  });

  test("a name that another file has taken, unseen, is only that one's", async () => {
    const script = new Script();
    script.process(1, 0);
    writes(script, 1, at("f"), "first");
    renameSync(at("f"), at("elsewhere"));
    writes(script, 1, at("f"), "second");
    renameSync(at("f"), at("g"));
    script.rename(1, at("f"), at("g"));
    script.exit(1);
    const { writtenDigests } = nth(await script.finish(), 1);
    expect([...writtenDigests]).toEqual([
      [at("f"), digest("first")],
      [at("g"), digest("second")],
    ]);
  });

  test("one of two names removed: the file goes on", async () => {
    const script = new Script();
    script.process(1, 0);
    writes(script, 1, at("f"), "start ");
    linkSync(at("f"), at("unseen"));
    script.call(1, "unlink", [0], [pathItem(0, at("f")), { kind: "file", argument: 0, file: identityOf(at("f")) }]);
    unlinkSync(at("f"));
    script.open(1, write("other", "x"), O.O_RDONLY);
    await script.untilOutstanding(1); // the other one has been digested, so anything asked for before it too
    appendFileSync(at("unseen"), "end");
    script.exit(1);
    expect(nth(await script.finish(), 1).writtenDigests.get(at("f"))).toEqual(digest("start end"));
  });

  test("opened and truncated twice by one process: the last content", async () => {
    const script = new Script();
    script.process(1, 0);
    for (const content of ["one", "two"]) writes(script, 1, at("f"), content);
    script.exit(1);
    const observation = await script.finish();
    expect(nth(observation, 1).writtenDigests.get(at("f"))).toEqual(digest("two"));
    expect(kinds(observation)).toEqual([]);
  });

  test("one process, one file, two names: one writer", async () => {
    const script = new Script();
    script.process(1, 0);
    writes(script, 1, at("a"), "one ");
    renameSync(at("a"), at("b"));
    script.rename(1, at("a"), at("b"));
    writes(script, 1, at("b"), "two", O.O_WRONLY | O.O_APPEND);
    script.exit(1);
    const { writtenDigests, openedFiles, fileOps } = nth(await script.finish(), 1);
    expect([...writtenDigests]).toEqual([[at("b"), digest("one two")]]);
    expect([...openedFiles.values()]).toEqual([digest("one two"), digest("one two")]);
    expect(fileOps.writes).toMatchObject([{ path: at("b"), bytes: 7 }]);
  });

  test("a name whose last content is unknown has no digest, though an earlier file had that name", async () => {
    const script = new Script();
    script.process(1, 0);
    for (const content of ["first", "second"]) {
      writes(script, 1, at("tmp"), content);
      renameSync(at("tmp"), at("out"));
      script.rename(1, at("tmp"), at("out"));
    }
    script.process(2, 1);
    writes(script, 2, at("out"), "another's");
    for (const serial of [2, 1]) script.exit(serial);
    const { writtenDigests, unhashedOpens } = nth(await script.finish(), 1);
    expect(writtenDigests.size).toBe(0);
    expect(unhashedOpens).toEqual([{ path: at("tmp"), reason: "overwritten" }]);
  });

  test("reads and then writes one path: the first content read, the last one left, both in order", async () => {
    const script = new Script();
    script.process(1, 0);
    script.open(1, write("f", "before"), O.O_RDONLY);
    await script.untilOutstanding(0);
    writes(script, 1, at("f"), "after");
    script.exit(1);
    const { openedFiles, writtenDigests, fileVersions } = nth(await script.finish(), 1);
    expect(openedFiles.get(at("f"))).toEqual(digest("before"));
    expect(writtenDigests.get(at("f"))).toEqual(digest("after"));
    expect(fileVersions.get(at("f"))).toEqual([digest("before"), digest("after")]);
  });

  test("truncate(2) by path is writing", async () => {
    const script = new Script();
    script.process(1, 0);
    const path = write("f", "0123456789");
    truncated(script, 1, path, 4);
    script.exit(1);
    const { writtenDigests, fileOps } = nth(await script.finish(), 1);
    expect([...writtenDigests]).toEqual([[path, digest("0123")]]);
    expect(fileOps.truncates).toMatchObject([{ path, length: 4n }]);
  });

  test("an unreadable output has no digest, and the record says so", async () => {
    const script = new Script();
    script.process(1, 0);
    script.open(1, write("secret", "x"), O.O_WRONLY, {
      notHeld: "unreadable",
      file: { ...identityOf(at("secret")), mode: 0o100200 },
    });
    script.exit(1);
    const observation = await script.finish();
    expect(nth(observation, 1).writtenDigests.size).toBe(0);
    expect(nth(observation, 1).unhashedOpens).toEqual([{ path: at("secret"), reason: "unreadable" }]);
    expect(kinds(observation)).toEqual(["unreadable-file"]);
  });

  test("two writers, one after the other: each left its own content", async () => {
    const script = new Script();
    script.process(1, 0);
    script.process(2, 1);
    writes(script, 2, at("f"), "one");
    script.exit(2);
    await script.untilOutstanding(0);
    script.process(3, 1);
    writes(script, 3, at("f"), "three");
    script.exit(3);
    script.exit(1);
    const observation = await script.finish();
    expect(nth(observation, 2).writtenDigests.get(at("f"))).toEqual(digest("one"));
    expect(nth(observation, 3).writtenDigests.get(at("f"))).toEqual(digest("three"));
    expect(kinds(observation)).toEqual([]);
  });

  test("the next writer comes before we have read: unknown, never the next one's content", async () => {
    const script = new Script();
    script.process(1, 0);
    script.process(2, 1);
    writes(script, 2, at("f"), "one");
    script.exit(2);
    script.process(3, 1);
    writes(script, 3, at("f"), "three");
    script.exit(3);
    const observation = await script.finish();
    expect(nth(observation, 2).writtenDigests.size).toBe(0);
    expect(nth(observation, 2).unhashedOpens).toEqual([{ path: at("f"), reason: "changed-while-read" }]);
    expect(nth(observation, 3).writtenDigests.get(at("f"))).toEqual(digest("three"));
    expect(observation.completeness.verdict).toBe("incomplete");
  });

  test("the next writer comes before we have read, but a reader came first: what it found is what was left", async () => {
    const script = new Script();
    for (const [serial, parent] of [
      [1, 0],
      [2, 1],
      [3, 1],
    ] as const)
      script.process(serial, parent);
    script.open(1, write("copy", "one"), O.O_RDONLY);
    const content = script.sequence;
    await script.untilOutstanding(0);
    writes(script, 2, at("f"), "one");
    script.exit(2);
    script.open(1, at("f"), O.O_RDONLY, { notHeld: "known_content", content });
    writes(script, 3, at("f"), "three");
    script.exit(3);
    const observation = await script.finish();
    expect(nth(observation, 2).writtenDigests.get(at("f"))).toEqual(digest("one"));
    expect(nth(observation, 3).writtenDigests.get(at("f"))).toEqual(digest("three"));
    expect(kinds(observation)).toEqual([]);
  });

  test("digests are faster than events: the next writer was there before we knew", async () => {
    const rows: [change: (path: string) => void, flags: number, sizeBefore: bigint | undefined][] = [
      [path => writeFileSync(path, "three"), createAndWrite, 3n],
      [path => writeFileSync(path, "three"), createAndWrite, undefined],
      [path => appendFileSync(path, "three"), O.O_WRONLY | O.O_APPEND, undefined],
    ];
    for (const [change, flags, sizeBefore] of rows) {
      const script = new Script();
      for (const [serial, parent] of [
        [1, 0],
        [2, 1],
        [3, 1],
      ] as const)
        script.process(serial, parent);
      writes(script, 2, at("f"), "one");
      const asFound = identityOf(at("f"));
      change(at("f")); // by process 3, whose open is still in the ring
      script.exit(2);
      await script.untilOutstanding(0);
      const now = identityOf(at("f"));
      const file = (flags & O.O_TRUNC) === 0 ? asFound : { size: 0n, ctimeNs: now.ctimeNs };
      script.open(3, at("f"), flags, { file, ...(sizeBefore === undefined ? {} : { sizeBefore }) });
      script.exit(3);
      const observation = await script.finish();
      expect(nth(observation, 2).writtenDigests.size).toBe(0);
      expect(nth(observation, 2).unhashedOpens).toEqual([{ path: at("f"), reason: "changed-while-read" }]);
      expect(nth(observation, 3).writtenDigests.size).toBe(1);
    }
  });

  test("a file in the middle of its truncation: new size, old times (as ext4 shows it)", async () => {
    const script = new Script();
    for (const [serial, parent] of [
      [1, 0],
      [2, 1],
      [3, 1],
    ] as const)
      script.process(serial, parent);
    writes(script, 2, at("f"), "one");
    truncateSync(at("f"), 0);
    const { ctimeNs } = identityOf(at("f"));
    script.exit(2);
    await script.untilOutstanding(0);
    script.open(3, at("f"), createAndWrite, { file: { ctimeNs: ctimeNs + 1n }, sizeBefore: 3n });
    const observation = await script.finish();
    expect(nth(observation, 2).writtenDigests.size).toBe(0);
  });

  test("an empty file that another process truncates was left empty (a compiler's driver and its temporary files)", async () => {
    const script = new Script();
    for (const [serial, parent] of [
      [1, 0],
      [2, 1],
    ] as const)
      script.process(serial, parent);
    writes(script, 1, at("f.s"), "", O.O_RDWR | O.O_CREAT | O.O_EXCL);
    writeFileSync(at("f.s"), "");
    script.open(2, at("f.s"), createAndWrite, { sizeBefore: 0n });
    appendFileSync(at("f.s"), "code");
    for (const serial of [2, 1]) script.exit(serial);
    const observation = await script.finish();
    expect(nth(observation, 1).writtenDigests.get(at("f.s"))).toEqual(digest(""));
    expect(nth(observation, 2).writtenDigests.get(at("f.s"))).toEqual(digest("code"));
    expect(observation.completeness.verdict).toBe("complete");
  });

  test("what was opened in between counts only if it has the size that the next writer found", async () => {
    const script = new Script();
    for (const [serial, parent] of [
      [1, 0],
      [2, 1],
      [3, 1],
    ] as const)
      script.process(serial, parent);
    writes(script, 1, at("f"), "half");
    script.open(2, at("f"), O.O_RDONLY);
    await script.untilOutstanding(1);
    appendFileSync(at("f"), " and the rest");
    writeFileSync(at("f"), "");
    script.open(3, at("f"), createAndWrite, { sizeBefore: 17n });
    for (const serial of [3, 2, 1]) script.exit(serial);
    const observation = await script.finish();
    expect(nth(observation, 1).unhashedOpens).toEqual([{ path: at("f"), reason: "overwritten" }]);
  });

  test("truncated by name and then removed: what was left in it", async () => {
    const script = new Script();
    script.process(1, 0);
    const path = write("f", "content");
    truncated(script, 1, path, 4);
    script.call(1, "unlink", [0], [pathItem(0, path), { kind: "file", argument: 0, file: identityOf(path) }]);
    unlinkSync(path);
    script.exit(1);
    const observation = await script.finish();
    expect([...nth(observation, 1).writtenDigests]).toEqual([[path, digest("cont")]]);
    expect(kinds(observation)).toEqual([]);
  });

  for (const length of [7, 4]) {
    test(`truncated by name to ${length} of 7 bytes when its writer is gone: what that one left is known`, async () => {
      const script = new Script();
      script.process(1, 0);
      script.process(2, 1);
      const path = at("f");
      writes(script, 1, path, "content");
      script.exit(1);
      await script.untilOutstanding(0); // the tracer waits for this before it lets the call go on
      truncated(script, 2, path, length);
      script.exit(2);
      const observation = await script.finish();
      expect(nth(observation, 1).writtenDigests.get(path)).toEqual(digest("content"));
      expect(nth(observation, 2).writtenDigests.get(path)).toEqual(digest("content".slice(0, length)));
      expect(kinds(observation)).toEqual([]);
    });
  }

  test("truncated by another process while the first writer lives: what was opened in between, else unknown", async () => {
    for (const isRead of [true, false]) {
      const script = new Script();
      for (const [serial, parent] of [
        [1, 0],
        [2, 1],
        [3, 1],
      ] as const)
        script.process(serial, parent);
      writes(script, 1, at("f"), "temporary");
      if (isRead) script.open(2, at("f"), O.O_RDONLY);
      await script.untilOutstanding(1);
      writes(script, 3, at("f"), "final");
      script.exit(3);
      script.exit(1);
      const observation = await script.finish();
      expect(nth(observation, 1).writtenDigests.get(at("f"))).toEqual(isRead ? digest("temporary") : undefined);
      expect(nth(observation, 3).writtenDigests.get(at("f"))).toEqual(digest("final"));
      expect(kinds(observation)).toEqual(isRead ? [] : ["overwritten-unread"]);
      expect(observation.completeness.verdict).toBe(isRead ? "complete" : "complete-with-notes");
    }
  });

  test("what was opened before the writer opened the file again says nothing about what it left", async () => {
    const script = new Script();
    for (const [serial, parent] of [
      [1, 0],
      [2, 1],
      [3, 1],
    ] as const)
      script.process(serial, parent);
    writes(script, 1, at("f"), "first");
    script.open(2, at("f"), O.O_RDONLY);
    await script.untilOutstanding(1);
    writes(script, 1, at("f"), " and more", O.O_WRONLY | O.O_APPEND);
    writes(script, 3, at("f"), "final");
    for (const serial of [3, 2, 1]) script.exit(serial);
    const observation = await script.finish();
    expect(nth(observation, 1).writtenDigests.size).toBe(0);
    expect(nth(observation, 1).unhashedOpens).toEqual([{ path: at("f"), reason: "overwritten" }]);
  });

  test("a later writer's content is not the first one's, though a child of that one is alive", async () => {
    const script = new Script();
    script.process(1, 0);
    script.process(2, 1);
    writes(script, 2, at("log"), "parent ");
    script.process(3, 2);
    script.exit(2);
    await script.untilOutstanding(0);
    writes(script, 1, at("log"), "another", O.O_WRONLY | O.O_APPEND);
    for (const serial of [1, 3]) script.exit(serial);
    const observation = await script.finish();
    expect(nth(observation, 2).writtenDigests.get(at("log"))).toEqual(digest("parent "));
    expect(nth(observation, 1).writtenDigests.get(at("log"))).toEqual(digest("parent another"));
  });

  test("what nobody can have inherited changes after its writer's end: the digest is of what the writer left, and who wrote since is a gap", async () => {
    const script = new Script();
    script.process(1, 0);
    script.process(2, 1);
    writes(script, 1, at("f"), "left");
    script.exit(1);
    await script.untilOutstanding(0);
    appendFileSync(at("f"), " and somebody else's");
    script.exit(2);
    const observation = await script.finish();
    expect(nth(observation, 1).writtenDigests.get(at("f"))).toEqual(digest("left"));
    expect(kinds(observation)).toEqual(["unverified-content"]);
  });

  test("a child that has the descriptor of an ended writer writes before the next one comes", async () => {
    for (const isMapped of [false, true]) {
      const script = new Script();
      script.process(1, 0);
      script.process(2, 1);
      writes(script, 2, at("f"), "left");
      const file = identityOf(at("f"));
      if (isMapped)
        script.call(2, "mmap", [0, 4, 3, 1, 3], [{ kind: "descriptor", argument: 4, file, link: at("f"), writable: true }]);
      script.exit(2, 0, "somebody");
      await script.untilOutstanding(0);
      await Bun.sleep(5); // the clock's tick
      if (!isMapped) appendFileSync(at("f"), " and more");
      script.open(1, at("f"), O.O_WRONLY | O.O_APPEND);
      script.exit(1);
      const observation = await script.finish();
      expect(nth(observation, 2).writtenDigests.get(at("f"))).toEqual(digest("left"));
      expect(nth(observation, 1).writtenDigests.get(at("f"))).toEqual(digest(isMapped ? "left" : "left and more"));
      expect(kinds(observation)).toEqual(["unverified-content"]);
    }
  });

  test("who ends while another has the file open has left what that one leaves", async () => {
    const script = new Script();
    for (const serial of [1, 2]) script.process(serial, 0);
    writes(script, 1, at("f"), "one");
    const file = identityOf(at("f"));
    script.call(1, "mmap", [0, 4, 3, 1, 3], [{ kind: "descriptor", argument: 4, file, link: at("f"), writable: true }]);
    script.open(2, at("f"), O.O_WRONLY);
    script.exit(2, 0, "somebody");
    await script.untilOutstanding(1);
    writeFileSync(at("f"), "two");
    script.exit(1);
    const observation = await script.finish();
    for (const serial of [1, 2]) expect(nth(observation, serial).writtenDigests.get(at("f"))).toEqual(digest("two"));
    expect(kinds(observation)).toEqual([]);
  });

  const lookedAt: [name: string, held: boolean, expected: string | undefined, gaps: string[]][] = [
    ["and it holds still", true, "temporary", []],
    ["and it changes at once", false, undefined, ["overwritten-unread"]],
  ];
  for (const [name, isStill, expected, gaps] of lookedAt) {
    test(`truncated by another process, which waits until we have looked, ${name}`, async () => {
      const script = new Script();
      for (const serial of [1, 2]) script.process(serial, 0);
      writes(script, 1, at("f"), "temporary");
      const { held, file } = script.hold(at("f"));
      if (!isStill) appendFileSync(at("f"), "!");
      script.send({
        kind: "overwrite",
        ...script.header(2),
        file,
        held,
        notHeld: "none",
        heldErrno: 0,
        content: 0,
        path: at("f"),
      });
      await script.untilOutstanding(1);
      writeFileSync(at("f"), "");
      script.open(2, at("f"), createAndWrite, { sizeBefore: file.size });
      for (const serial of [2, 1]) script.exit(serial);
      const observation = await script.finish();
      expect(nth(observation, 1).writtenDigests.get(at("f"))).toEqual(expected === undefined ? undefined : digest(expected));
      expect(kinds(observation)).toEqual(gaps);
    });
  }

  test("an empty file that the next writer truncates was left empty, whatever we have read", async () => {
    const script = new Script();
    for (const serial of [1, 2]) script.process(serial, 0);
    writes(script, 1, at("f"), "");
    script.exit(1);
    writeFileSync(at("f"), "another's");
    script.open(2, at("f"), createAndWrite, { sizeBefore: 0n, file: { size: 0n } });
    script.exit(2);
    const observation = await script.finish();
    expect(nth(observation, 1).writtenDigests.get(at("f"))).toEqual(digest(""));
    expect(kinds(observation)).toEqual([]);
  });

  test("what a child writes through an inherited descriptor after its parent's end is the parent's", async () => {
    const script = new Script();
    script.process(1, 0);
    writes(script, 1, at("log"), "parent ");
    script.process(2, 1);
    script.exit(1, 0, "somebody");
    await script.untilOutstanding(0);
    appendFileSync(at("log"), "child");
    script.exit(2);
    const observation = await script.finish();
    expect(nth(observation, 1).writtenDigests.get(at("log"))).toEqual(digest("parent child"));
    expect(kinds(observation)).toEqual([]);
  });

  test("the bound: 300 open outputs with 8 descriptors, early digests looked at again", async () => {
    const script = new Script({ limits: { keptMax: 8 } });
    script.process(1, 0);
    const names = Array.from({ length: 300 }, (_, i) => `out-${i}`);
    for (const [i, name] of names.entries()) {
      writes(script, 1, at(name), `content ${i}`);
      if (i % 20 === 0) await script.untilOutstanding(20);
    }
    await script.untilOutstanding(8);
    appendFileSync(at("out-3"), " and more"); // long after its early digest
    renameSync(at("out-4"), at("renamed"));
    script.rename(1, at("out-4"), at("renamed"));
    script.call(1, "unlink", [0], [pathItem(0, at("out-5")), { kind: "file", argument: 0, file: identityOf(at("out-5")) }]);
    unlinkSync(at("out-5"));
    renameSync(at("out-6"), at("unseen")); // behind our back
    script.exit(1);
    const observation = await script.finish();
    const { writtenDigests } = nth(observation, 1);
    for (const [i, name] of names.entries()) {
      const final = i === 4 ? "renamed" : name;
      expect(writtenDigests.get(at(final))).toEqual(digest(i === 3 ? "content 3 and more" : `content ${i}`));
    }
    expect(observation.completeness.gaps).toMatchObject([{ kind: "unverified-content", count: 1 }]);
  });

  test("an inode number that comes back is another file", async () => {
    const script = new Script({ limits: { keptMax: 1 } });
    script.process(1, 0);
    writes(script, 1, at("first"), "one");
    const { inode } = identityOf(at("first"));
    writes(script, 1, at("x"), "x");
    await script.untilOutstanding(1); // "first" has been digested early and given up
    script.call(1, "unlink", [0], [pathItem(0, at("first")), { kind: "file", argument: 0, file: identityOf(at("first")) }]);
    unlinkSync(at("first"));
    writeFileSync(at("second"), "");
    script.open(1, at("second"), createAndWrite, { file: { inode } });
    appendFileSync(at("second"), "two");
    script.exit(1);
    const { writtenDigests } = nth(await script.finish(), 1);
    expect(writtenDigests.get(at("first"))).toEqual(digest("one"));
    expect(writtenDigests.get(at("second"))).toEqual(digest("two"));
  });

  test("all descriptors are given back while the writer still runs, but for the bounded ones", async () => {
    const script = new Script();
    script.process(1, 0);
    for (let i = 0; i < 100; i++) script.open(1, write(`r-${i}`, `${i}`), O.O_RDONLY);
    for (let i = 0; i < 10; i++) script.open(1, write("w", "w"), O.O_WRONLY | O.O_APPEND);
    await script.untilOutstanding(1);
    await script.finish();
  });
});

describe("file operations", () => {
  test("a call that we have refused has done nothing", async () => {
    const script = new Script();
    script.process(1, 0);
    script.send({
      kind: "syscall",
      ...script.header(1, { denied: true }),
      number: 0,
      name: "unlink",
      abi: "x86_64",
      arguments: [0n],
      result: 0n,
      entryOnly: false,
      items: [pathItem(0, "/f")],
    });
    expect(nth(await script.finish(), 1).fileOps.deletes).toEqual([]);
  });

  const rows: [call: string, args: number[], items: ReturnType<typeof pathItem>[], list: string, entry: object][] = [
    ["mkdir", [0, 0o755], [pathItem(0, "/d")], "mkdirs", { path: "/d", mode: 0o755 }],
    ["mkdirat", [0, 0, 0o700], [pathItem(1, "/d")], "mkdirs", { path: "/d", mode: 0o700 }],
    ["mknod", [0, 0o010644], [pathItem(0, "/f")], "nodes", { path: "/f", mode: 0o010644 }],
    ["symlink", [0, 0], [bytesItem(0, "../t"), pathItem(1, "/l")], "symlinks", { target: "../t", path: "/l" }],
    ["symlinkat", [0, 0, 0], [pathItem(0, "t"), pathItem(2, "/l")], "symlinks", { target: "t", path: "/l" }],
    ["unlinkat", [0, 0, 0], [pathItem(1, "/f")], "deletes", { path: "/f" }],
    ["rmdir", [0], [pathItem(0, "/d")], "deletes", { path: "/d" }],
    ["chmod", [0, 0o100755], [pathItem(0, "/f")], "permChanges", { path: "/f", mode: 0o100755 }],
    [
      "fchmod",
      [3, 0o644],
      [{ kind: "descriptor", argument: 0, file: noFile, link: "/f" }],
      "permChanges",
      { path: "/f", mode: 0o644 },
    ],
    ["fchmodat2", [0, 0, 0o600], [pathItem(1, "/f")], "permChanges", { path: "/f", mode: 0o600 }],
    ["chown", [0, 0xffffffff, 5], [pathItem(0, "/f")], "ownerChanges", { path: "/f", uid: -1, gid: 5 }],
    ["fchownat", [0, 0, 1, 2], [pathItem(1, "/f")], "ownerChanges", { path: "/f", uid: 1, gid: 2 }],
    ["utimensat", [3, 0], [{ kind: "descriptor", argument: 0, file: noFile, link: "/f" }], "timeChanges", { path: "/f" }],
    ["setxattr", [0, 0], [pathItem(0, "/f"), bytesItem(1, "user.x")], "xattrChanges", { path: "/f", name: "user.x" }],
    [
      "ftruncate",
      [3, 7],
      [{ kind: "descriptor", argument: 0, file: noFile, link: "/f" }],
      "truncates",
      { path: "/f", length: 7n },
    ],
    [
      "rename",
      [0, 0],
      [pathItem(0, "/root/a"), pathItem(1, "/root/b"), { kind: "root", root: "/root" }],
      "renames",
      { oldPath: "/a", newPath: "/b" },
    ],
    ["linkat", [0, 0, 0, 0, 0], [pathItem(1, "/a"), pathItem(3, "/b")], "links", { oldPath: "/a", newPath: "/b" }],
  ];
  for (const [call, args, items, list, entry] of rows) {
    test(`${call} in ${list}, only when it succeeds`, async () => {
      const script = new Script();
      script.process(1, 0);
      script.call(1, call, args, items, -1);
      script.call(1, call, args, items);
      const { fileOps } = nth(await script.finish(), 1);
      const entries = Object.entries(fileOps).filter(([, operations]) => operations.length > 0);
      expect(entries).toMatchObject([[list, [entry]]]);
    });
  }
});

describe("processes", () => {
  test("a fork runs its parent's image until it calls exec; a failed exec is no event", async () => {
    const script = new Script();
    const [shell, tool] = [write("sh", "shell"), write("tool", "tool")];
    script.process(1, 0);
    script.exec(1, shell, { argv: ["sh", "-c", "a b"], environment: ["A=1"] });
    script.process(2, 1);
    script.process(3, 1);
    script.exec(3, tool, { argv: ["tool"] });
    script.exit(3, 7 << 8);
    script.exit(2, 9);
    script.exit(1);
    const observation = await script.finish();
    expect(nth(observation, 1)).toMatchObject({
      pid: 101,
      parentPid: 10,
      program: shell,
      argv: ["sh", "-c", "a b"],
      exitCode: 0,
      images: [],
    });
    expect(nth(observation, 2)).toMatchObject({
      pid: 102,
      parentPid: 101,
      program: shell,
      programDigest: digest("shell"),
      exitCode: 137,
      exitSignal: "SIGKILL",
      images: [],
    });
    expect(nth(observation, 3)).toMatchObject({
      pid: 103,
      parentPid: 101,
      program: tool,
      executableDigest: digest("tool"),
      exitCode: 7,
      images: [],
    });
    expect(observation.totals).toMatchObject({ processes: 3, execs: 2 });
  });

  test("a script and its interpreter have different digests; earlier images stay", async () => {
    const script = new Script();
    const [shell, program] = [write("sh", "shell"), write("script", "#!sh")];
    script.process(1, 0);
    script.exec(1, shell);
    script.exec(1, shell, { program });
    const content = script.sequence;
    script.process(2, 1);
    script.open(2, program, O.O_RDONLY, { notHeld: "known_content", content });
    script.open(2, shell, O.O_RDONLY, { notHeld: "known_content", content });
    const observation = await script.finish();
    expect(nth(observation, 1)).toMatchObject({ program, programDigest: digest("#!sh"), executableDigest: digest("shell") });
    expect(nth(observation, 1).images).toMatchObject([{ program: shell, executableDigest: digest("shell") }]);
    expect([...nth(observation, 2).openedFiles.values()]).toEqual([digest("#!sh"), digest("shell")]);
  });

  test("equal variables are kept once", async () => {
    const script = new Script();
    script.process(1, 0);
    script.process(2, 1);
    for (const serial of [1, 2]) script.exec(serial, write("sh", "shell"), { environment: ["PATH=/bin"] });
    const observation = await script.finish();
    const first = nth(observation, 1).environment?.[0];
    expect(first).toBeDefined();
    expect(nth(observation, 2).environment?.[0]).toBe(first as Uint8Array);
  });
});

describe("single calls", () => {
  const socket = { kind: "descriptor", argument: 0, file: { ...noFile, mode: 0o140777 }, link: "socket:[9]" } as const;
  const pipe = { kind: "descriptor", argument: 0, file: { ...noFile, mode: 0o010600 }, link: "pipe:[9]" } as const;
  const cloneArgs = (flags: bigint) => {
    const bytes = new Uint8Array(88);
    new DataView(bytes.buffer).setBigUint64(0, flags, true);
    return bytesItem(0, bytes);
  };
  type Row = [
    call: string,
    args: (number | bigint)[],
    items: Parameters<Script["call"]>[3],
    result: number,
    event: object | undefined,
  ];
  const rows: Row[] = [
    ["memfd_create", [0, 1], [bytesItem(0, "code")], 3, { detail: "MFD_CLOEXEC", path: "code", args: [0n, 1n], result: 0 }],
    ["ptrace", [16, 55], [], -1, { detail: "PTRACE_ATTACH", args: [16n, 55n, 0n, 0n], result: "EPERM" }],
    [
      "mount",
      [0, 0, 0, 0xc0ed0021n],
      [bytesItem(0, "/dev/sda"), pathItem(1, "/mnt"), bytesItem(2, "ext4")],
      -1,
      { detail: "MS_RDONLY|MS_REMOUNT ext4", path: "/dev/sda", targetPath: "/mnt" },
    ],
    ["mount", [0, 0, 0, 0x44000], [pathItem(1, "/")], 0, { detail: "MS_REC|MS_PRIVATE", targetPath: "/" }],
    ["clone", [0x10000000 | 17], [], 5, { detail: "CLONE_NEWUSER" }],
    ["clone", [0x80 | 17], [], 5, undefined],
    ["clone", [0x1200011], [], 5, undefined],
    ["clone3", [0, 88], [cloneArgs(0x80n)], 5, { detail: "CLONE_NEWTIME" }],
    ["clone3", [0, 88], [cloneArgs(0x100n)], 5, undefined],
    ["unshare", [0x40020000], [], 0, { detail: "CLONE_NEWNS|CLONE_NEWNET" }],
    ["dup2", [3, 1], [socket], 1, { detail: "socket:[9] onto 1" }],
    ["dup2", [3, 3], [socket], 3, undefined],
    ["dup2", [3, 1], [pipe], 1, undefined],
    ["dup3", [3, 0, 0], [socket], 0, { detail: "socket:[9] onto 0" }],
    ["dup", [3], [socket], 0, { detail: "socket:[9] onto 0" }],
    ["dup", [3], [socket], 4, undefined],
    ["fcntl", [3, 0, 0], [socket], 2, { detail: "socket:[9] onto 2" }],
    ["fcntl", [3, 0, 0], [socket], 9, undefined],
    ["mprotect", [0x7fff00000000n, 4096, 5], [], 0, { detail: "PROT_READ|PROT_EXEC", args: [0x7fff00000000n, 4096n, 5n] }],
    ["mprotect", [0, 4096, 3], [], 0, undefined],
    ["mmap", [0, 4096, 7, 0x22, -1n], [], 0, { detail: "PROT_READ|PROT_WRITE|PROT_EXEC" }],
    ["mmap", [0, 4096, 5, 2, 3], [], 0, undefined],
    ["prctl", [15, 0], [bytesItem(1, "worker\0junk")], 0, { detail: "PR_SET_NAME worker" }],
    ["prctl", [4, 0], [], 0, { detail: "PR_SET_DUMPABLE" }],
    ["prctl", [1, 9], [], 0, undefined],
    ["seccomp", [1, 9], [], 3, { detail: "SECCOMP_SET_MODE_FILTER TSYNC|NEW_LISTENER" }],
    ["seccomp", [2, 0], [], 0, undefined],
    ["setsid", [], [], 5, { args: [] }],
    ["finit_module", [3], [{ ...socket, link: "/evil.ko" }], -1, { syscall: "init_module", path: "/evil.ko" }],
    ["keyctl", [11, 7], [], 3, { detail: "READ" }],
    ["process_vm_readv", [42], [], 3, { detail: "process 42" }],
    ["io_uring_setup", [8, 0], [], -38, { result: "ENOSYS" }],
    ["read", [1, 2], [], 3, undefined],
    ["constructor", [], [], 0, undefined],
  ];
  for (const [call, args, items, result, event] of rows) {
    test(`${call} ${args.join(" ")} = ${result} ${event ? "is" : "is not"} an event`, async () => {
      const script = new Script();
      script.process(1, 0);
      script.call(1, call, args, items, result);
      const { syscallEvents } = nth(await script.finish(), 1);
      expect(syscallEvents).toMatchObject(event === undefined ? [] : [{ syscall: call, ...event }]);
    });
  }

  test("the memory of another process, not one's own", async () => {
    const script = new Script();
    script.process(1, 0);
    for (const path of ["/proc/55/mem", "/proc/55/task/56/environ", "/proc/101/mem", "/proc/55/maps"]) {
      script.open(1, path, O.O_RDONLY, { notHeld: "pseudo_file_system" });
    }
    const { syscallEvents } = nth(await script.finish(), 1);
    expect(syscallEvents).toMatchObject([
      { syscall: "openat", path: "/proc/55/mem", detail: "process 55" },
      { syscall: "openat", path: "/proc/55/task/56/environ" },
    ]);
  });
});

describe("network", () => {
  const inet = Buffer.from([2, 0, 1, 187, 93, 184, 216, 34, 0, 0, 0, 0, 0, 0, 0, 0]);
  const inet6 = (text: string, port: number) =>
    Buffer.concat([Buffer.from([10, 0, port >> 8, port & 255, 0, 0, 0, 0]), Buffer.from(text, "hex"), Buffer.alloc(4)]);
  const rows: [name: string, bytes: Uint8Array, address: object][] = [
    ["IPv4", inet, { family: "AF_INET", address: "93.184.216.34", port: 443 }],
    ["IPv6", inet6("20010db8000000000000000000000001", 80), { family: "AF_INET6", address: "2001:db8::1", port: 80 }],
    ["IPv6, two runs", inet6("20010000000000010000000000000001", 80), { address: "2001:0:0:1::1" }],
    ["IPv6, one zero is not shortened", inet6("20010db8000100010000000100010001", 80), { address: "2001:db8:1:1:0:1:1:1" }],
    ["IPv6, nothing", inet6("00000000000000000000000000000000", 80), { address: "::" }],
    ["v4-mapped", inet6("00000000000000000000ffff7f000001", 53), { family: "AF_INET6", address: "127.0.0.1", port: 53 }],
    ["unix", Buffer.from("\x01\0/run/docker.sock\0junk"), { family: "AF_UNIX", address: "/run/docker.sock" }],
    ["unix, abstract", Buffer.from("\x01\0\0dbus"), { family: "AF_UNIX", address: "@dbus" }],
    ["netlink", Buffer.from([16, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0]), { family: "AF_NETLINK", address: "pid 1 groups 0x2" }],
    ["vsock", Buffer.from([40, 0, 0, 0, 1, 4, 0, 0, 2, 0, 0, 0]), { family: "AF_VSOCK", address: "cid 2", port: 1025 }],
    ["vsock, cut", Buffer.from([40, 0, 1]), { family: "AF_VSOCK", address: "raw:280001" }],
    ["packet", Buffer.from([17, 0, 0, 3, 2, 0, 0, 0, 0, 0]), { family: "AF_PACKET", address: "interface 2 protocol 0x3" }],
    [
      "the kernel's ciphers",
      Buffer.concat([Buffer.from("\x26\0hash"), Buffer.alloc(18), Buffer.from("sha256"), Buffer.alloc(58)]),
      { family: "AF_ALG", address: "hash sha256" },
    ],
    ["a family without a name", Buffer.from([29, 0, 1]), { family: "AF_29", address: "raw:1d0001" }],
    ["IPv4, cut", Buffer.from([2, 0, 1]), { family: "AF_INET", address: "raw:020001" }],
  ];
  for (const [name, bytes, address] of rows) {
    test(`connect to ${name}`, async () => {
      const script = new Script();
      script.process(1, 0);
      for (let i = 0; i < 3; i++) script.call(1, "connect", [4, 1, 2], [bytesItem(1, bytes)], -115);
      const { network } = nth(await script.finish(), 1);
      expect(network.connections).toMatchObject([{ syscall: "connect", fd: 4, result: "EINPROGRESS", ...address }]);
      expect(network.dnsLookups).toHaveLength(name === "v4-mapped" ? 1 : 0);
    });
  }

  test("socket, bind, listen, accept, sendto", async () => {
    const script = new Script();
    script.process(1, 0);
    script.call(1, "socket", [2, 0o2000001, 6], [], 4);
    script.call(1, "socket", [2, 1, 6], [], -24);
    script.call(1, "bind", [4, 1, 16], [bytesItem(1, inet)]);
    script.call(1, "listen", [4, 10]);
    script.call(1, "accept4", [4, 1, 2], [bytesItem(1, inet)], 5);
    script.call(1, "sendmsg", [6, 1], [bytesItem(1, Buffer.from([2, 0, 0, 53, 8, 8, 8, 8]))], 30);
    const { network } = nth(await script.finish(), 1);
    expect(network.sockets).toEqual([{ family: "AF_INET", type: "SOCK_STREAM", protocol: 6, fd: 4 }]);
    expect(network.connections.map(({ syscall, address, port }) => [syscall, address, port])).toEqual([
      ["bind", "93.184.216.34", 443],
      ["listen", "93.184.216.34", 443],
      ["accept", "93.184.216.34", 443],
      ["sendto", "8.8.8.8", 53],
    ]);
    expect(network.dnsLookups).toEqual([{ serverAddress: "8.8.8.8", serverPort: 53 }]);
  });
});

describe("completeness", () => {
  test("every kind of the tracer counts, with process and severity", async () => {
    const script = new Script();
    script.process(1, 0);
    script.send({ kind: "gap", ...script.header(1), gap: "io_uring_refused", value: 0n, text: "" });
    let observation = await script.finish({ features: [], survivorsKilled: 0, interrupted: "SIGTERM" });
    expect(observation.completeness).toMatchObject({
      verdict: "complete-with-notes",
      gaps: [
        { kind: "io-uring-refused", severity: "note", count: 1, processIds: [101] },
        { kind: "interrupted", severity: "note", detail: `${gapTable.interrupted.sentence}: SIGTERM` },
      ],
      tracer: { mode: "ptrace", kernel: "6.1.0", privileged: false, features: [], ignoredSyscalls: "00" },
    });

    const next = new Script();
    next.process(1, 0);
    for (let i = 0; i < 1000; i++)
      next.send({ kind: "gap", ...next.header(1), gap: "untraced_child", value: BigInt(i), text: "" });
    next.send({ kind: "gap", ...next.header(1), gap: "survivor_killed", value: 7n, text: "sleep" });
    observation = await next.finish({ features: [], survivorsKilled: 2 });
    expect(observation.completeness.verdict).toBe("incomplete");
    expect(observation.completeness.gaps).toMatchObject([
      { kind: "untraced-child", count: 1000 },
      { kind: "survivor-killed", count: 2 },
    ]);
    expect(observation.completeness.gaps[0]?.detail.length).toBeLessThan(300);
  });

  test("cut or unreadable arguments are never silent", async () => {
    const script = new Script();
    script.process(1, 0);
    script.send({ kind: "exit", ...script.header(1, { truncated: true, unreadable: true }), status: 0 });
    expect(kinds(await script.finish())).toEqual(["unreadable-memory", "truncated"]);
  });

  test("docs/completeness.md has a section for each kind, with its severity, in the table's order", () => {
    const page = readFileSync(join(import.meta.dir, "../docs/completeness.md"), "utf8");
    const sections = [...page.matchAll(/^### `([a-z0-9-]+)` \((gap|note)\)$/gm)].map(([, kind, severity]) => [kind, severity]);
    expect(sections).toEqual(Object.entries(gapTable).map(([kind, { severity }]) => [kind, severity]));
  });
});
