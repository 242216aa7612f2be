// Observers on records that tests make: what readers of files found.
import { describe, expect, test } from "bun:test";
import {
  appendFileSync,
  chmodSync,
  linkSync,
  mkdirSync,
  renameSync,
  statSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { isTooLarge } from "../src/file-limits.ts";
import type { FileIdentity } from "../src/native/events.ts";
import { digest, kinds, nth, scratchDirectory, writes } from "./observed.ts";
import { identityOf, noFile, O, pathItem, Script } from "./trace-events.ts";

const { at, write } = scratchDirectory();

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
