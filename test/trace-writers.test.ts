// Observers on records that tests make: what writers left, under which names.
import { describe, expect, test } from "bun:test";
import { appendFileSync, linkSync, renameSync, truncateSync, unlinkSync, writeFileSync } from "node:fs";
import { createAndWrite, digest, kinds, nth, scratchDirectory, truncated, writes } from "./observed.ts";
import { identityOf, O, pathItem, Script } from "./trace-events.ts";

const { at, write } = scratchDirectory();

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
            pathItem(1, `${at("")}/./tmp`),
            pathItem(3, `${at("")}/x/../out`),
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
        const inside = { kind: "file", argument: 1, file: { ...identityOf(at("")) } } as const;
        script.call(1, "rename", [0, 0], [pathItem(0, at("")), pathItem(1, `${at("")}-new`), inside]);
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
      const expected = finalNames.map(final => (final.startsWith("../NEW") ? `${at("")}-new/tmp` : at(final)));
      expect([...nth(observation, 1).writtenDigests]).toEqual(expected.map(path => [path, digest("content")]));
      expect(nth(observation, 1).openedFiles.get(at("tmp"))).toEqual(digest("content"));
      expect(kinds(observation)).toEqual([]);
    });
  }

  test("an O_TMPFILE gets the name that it is linked to", async () => {
    const script = new Script();
    script.process(1, 0);
    const path = write("real", "tmpfile");
    script.open(1, path, 0o20200000 | O.O_RDWR, { name: `${at("")}/#123`, deleted: true, file: { links: 0 } });
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

  test("another file that somebody outside has put in a written file's place is a gap, one that the build puts there is none", async () => {
    for (const isSeen of [false, true]) {
      const script = new Script();
      script.process(1, 0);
      writes(script, 1, at("f"), "left");
      writeFileSync(at("aside"), "another");
      renameSync(at("aside"), at("f"));
      if (isSeen) script.rename(1, at("aside"), at("f"));
      script.exit(1);
      const observation = await script.finish();
      expect(nth(observation, 1).writtenDigests.get(at("f"))).toEqual(digest("left"));
      expect(kinds(observation)).toEqual(isSeen ? [] : ["unverified-content"]);
    }
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
