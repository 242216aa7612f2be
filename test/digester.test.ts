// Digests in threads: every algorithm in one pass, files that change, descriptors that nobody may move or forget.
import { afterAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import {
  appendFileSync,
  closeSync,
  mkdtempSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { holesLeft, holesTaken } from "../src/file-limits.ts";
import { attemptsMax, type DigestJob, type DigestResult, digestFile, type HashName } from "../src/trace/digest-file.ts";
import { Digester } from "../src/trace/digester.ts";

const directory = mkdtempSync(join(tmpdir(), "cilock-digester-"));
afterAll(() => rmSync(directory, { recursive: true }));

const file = (name: string, content: string | Uint8Array = ""): string => {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
};
const hex = (algorithm: string, ...parts: (string | Uint8Array)[]) =>
  parts.reduce((hash, part) => hash.update(part), createHash(algorithm)).digest("hex");

function digestAll(
  digester: Digester,
  orders: Omit<DigestJob, "id">[],
  options = { bytes: 1, remote: false },
): Promise<DigestResult[]> {
  return Promise.all(orders.map(order => new Promise<DigestResult>(resolve => digester.digest(order, options, resolve))));
}

const withDescriptor = <T>(path: string, run: (descriptor: number) => T): T => {
  const descriptor = openSync(path, "r");
  try {
    return run(descriptor);
  } finally {
    closeSync(descriptor);
  }
};

describe("one file", () => {
  const all: HashName[] = ["sha256", "sha1", "gitoid:sha256", "gitoid:sha1"];
  const contents: [name: string, content: Uint8Array][] = [
    ["empty", new Uint8Array()],
    ["one byte", Buffer.from("a")],
    ["exactly one chunk", Buffer.alloc(1 << 20, 7)],
    ["one chunk and a byte", Buffer.alloc((1 << 20) + 1, 8)],
    ["three chunks", Buffer.alloc(3 << 20, 9)],
  ];
  for (const [name, content] of contents) {
    test(`every hash of a file with ${name}`, () => {
      const path = file("content", content);
      const result = withDescriptor(path, descriptor => digestFile({ id: 1, descriptor }, all));
      const header = `blob ${content.length}\0`;
      expect(result).toMatchObject({
        kind: "digest",
        values: [
          hex("sha256", content),
          hex("sha1", content),
          `gitoid:blob:sha256:${hex("sha256", header, content)}`,
          `gitoid:blob:sha1:${hex("sha1", header, content)}`,
        ],
      });
    });
  }

  test("reading moves nobody's offset", () => {
    withDescriptor(file("offset", "0123456789"), descriptor => {
      readSync(descriptor, Buffer.alloc(4));
      digestFile({ id: 1, descriptor }, ["sha256"]);
      const rest = Buffer.alloc(10);
      expect(rest.toString("latin1", 0, readSync(descriptor, rest))).toBe("456789");
    });
  });

  test("another content than the expected one is not read", () => {
    const path = file("expected", "before");
    const { size, mtimeNs } = statSync(path, { bigint: true });
    const rows: [name: string, change: () => void, kind: string][] = [
      ["unchanged", () => {}, "digest"],
      ["grown", () => appendFileSync(path, "!"), "changed"],
      ["cut", () => truncateSync(path, 2), "changed"],
    ];
    for (const [, change, kind] of rows) {
      change();
      const result = withDescriptor(path, descriptor =>
        digestFile({ id: 1, descriptor, expected: { size, mtimeNs } }, ["sha256"]),
      );
      expect(result.kind).toBe(kind as typeof result.kind);
    }
  });

  test("a file whose state is known already is not read", () => {
    const path = file("known", "content");
    const { size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
    withDescriptor(path, descriptor => {
      expect(digestFile({ id: 1, descriptor, unless: { size, mtimeNs, ctimeNs } }, ["sha256"]).kind).toBe("unchanged");
      expect(digestFile({ id: 1, descriptor, unless: { size, mtimeNs, ctimeNs: ctimeNs - 1n } }, ["sha256"]).kind).toBe("digest");
    });
  });

  test("by name: only the inode that is meant, never through a link", () => {
    const path = file("by-name", "one");
    const { dev: device, ino: inode } = statSync(path, { bigint: true });
    const look = (): string => digestFile({ id: 1, descriptor: -1, path: Buffer.from(path), device, inode }, ["sha256"]).kind;
    expect(look()).toBe("digest");
    renameSync(path, `${path}.moved`);
    expect(look()).toBe("gone");
    writeFileSync(path, "two");
    expect(look()).toBe("gone");
    unlinkSync(path);
    symlinkSync(`${path}.moved`, path);
    expect(look()).toBe("gone");
  });

  test("what cannot be read says why", () => {
    expect(digestFile({ id: 1, descriptor: 99_999 }, ["sha256"])).toEqual({ id: 1, kind: "unreadable", code: "EBADF" });
  });
});

describe("threads", () => {
  test("1,000 files of all sizes come out as they went in", async () => {
    using digester = new Digester({ hashes: ["sha256"] });
    const files = Array.from({ length: 1000 }, (_, i) => file(`many-${i}`, Buffer.alloc(i % 50 === 0 ? 300_000 : i, i)));
    const descriptors = files.map(path => openSync(path, "r"));
    const results = await digestAll(
      digester,
      descriptors.map(descriptor => ({ descriptor })),
    );
    for (const descriptor of descriptors) closeSync(descriptor);
    const found = results.map(result => (result.kind === "digest" ? result.values[0] : result.kind));
    expect(found).toEqual(files.map((_, i) => hex("sha256", Buffer.alloc(i % 50 === 0 ? 300_000 : i, i))));
  });

  test("idle waits for what is asked for meanwhile", async () => {
    using digester = new Digester({ hashes: ["sha256"] });
    const descriptor = openSync(file("idle", "x"), "r");
    const kinds: string[] = [];
    digester.digest({ descriptor }, { bytes: 1, remote: false }, first => {
      kinds.push(first.kind);
      digester.digest({ descriptor }, { bytes: 1, remote: false }, second => kinds.push(second.kind));
    });
    await digester.idle();
    closeSync(descriptor);
    expect(kinds).toEqual(["digest", "digest"]);
    expect(digester.outstanding).toBe(0);
  });

  test("a file that never holds still is given up", async () => {
    using digester = new Digester({ hashes: ["sha256"] });
    const path = file("restless", Buffer.alloc(48 << 20));
    const writer = openSync(path, "r+");
    const descriptor = openSync(path, "r");
    let done: DigestResult | undefined;
    digester.digest({ descriptor }, { bytes: 48 << 20, remote: false }, result => {
      done = result;
    });
    let position = 0;
    while (done === undefined) {
      writeSync(writer, Buffer.from([position & 0xff]), 0, 1, position++ % 1000);
      await new Promise(resolve => setTimeout(resolve, 1));
    }
    closeSync(writer);
    closeSync(descriptor);
    expect(attemptsMax).toBeGreaterThan(1);
    expect(done.kind).toBe("changed");
  });

  test("a remote file that takes for ever is unreadable, and the next one is read", async () => {
    using digester = new Digester({ hashes: ["sha256"], remoteLimitMs: 1500 });
    // Holes stand for a server that never comes to an end.
    const endless = file("endless");
    truncateSync(endless, 15 * 2 ** 30);
    const [stuck, descriptor] = [openSync(endless, "r"), openSync(file("after", "fine"), "r")];
    const results = await digestAll(digester, [{ descriptor: stuck }, { descriptor }], { bytes: 1, remote: true });
    expect(results[0]).toMatchObject({ kind: "unreadable", code: "ETIMEDOUT" });
    expect(results[1]?.kind).toBe("digest");
    closeSync(stuck);
    closeSync(descriptor);
  });
});

describe("holes of all files together are bounded, where a file has a GiB of them", () => {
  const sparse = (size: number): string => {
    const path = file(`sparse${size}`);
    truncateSync(path, size);
    return path;
  };
  const rows: [name: string, size: bigint, blocks: bigint, taken: number][] = [
    ["just below", (1n << 30n) - 1n, 0n, 0],
    ["a GiB", 1n << 30n, 0n, 1024],
    ["a GiB of data", 1n << 30n, 1n << 21n, 0],
    ["both", 3n << 30n, 1n << 21n, 2048],
    ["more blocks than its size, as with preallocation", 1n, 1n << 30n, 0],
  ];
  test.each(rows)("%s", (_, size, blocks, taken) => expect(holesTaken({ size, blocks })).toBe(taken));

  test("what is left stays for smaller files", () => {
    const left = holesLeft(1023);
    withDescriptor(sparse(1 << 30), descriptor => {
      expect(digestFile({ id: 1, descriptor }, ["sha256"], left)).toEqual({ id: 1, kind: "too-large" });
    });
    expect(left[0]).toBe(1023);
  });

  test("the threads know", async () => {
    using digester = new Digester({ hashes: ["sha256"], holes: holesLeft(100) });
    const descriptors = [sparse(1 << 30), sparse(1 << 20)].map(path => openSync(path, "r"));
    const results = await digestAll(
      digester,
      descriptors.map(descriptor => ({ descriptor })),
    );
    for (const descriptor of descriptors) closeSync(descriptor);
    expect(results.map(({ kind }) => kind)).toEqual(["too-large", "digest"]);
  });
});
