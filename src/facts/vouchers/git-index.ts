// The git index, versions 2 to 4, with SHA-1 or SHA-256 names of objects (gitformat-index(5)). Pure, and total on any
// bytes: it gives the entries that are asked for, or says why the file cannot be read as a whole.
//
//     DIRC version count | entries, sorted | extensions | checksum of all that
//
// How long the names of objects are stands in the repository's configuration; here it follows from the checksum.
import { createHash } from "node:crypto";

export interface IndexEntry {
  /** 0100644, 0100755 a file; 0120000 a symbolic link; 0160000 a submodule. */
  readonly mode: number;
  readonly id: string;
}

export type GitIndex =
  | {
      kind: "index";
      objectHash: "sha1" | "sha256";
      /** Those of the paths asked for, without conflicts. */
      entries: ReadonlyMap<string, IndexEntry>;
      /** Paths asked for that a merge has left in conflict. */
      conflicts: ReadonlySet<string>;
      /** Paths of all submodules. */
      submodules: readonly string[];
    }
  | { kind: "refused"; reason: string };

/** Of an index that is read. Linux has 8 MB. */
export const indexBytesMax = 256 << 20;
/** Names of version 4 share what they begin with: a small file can stand for long ones. */
const namesBytesMax = 256 << 20;
const nameBytesMax = 4096;
const submodulesMax = 10_000;

const headerBytes = 12;
/** ctime, mtime, device, inode, mode, user, group, size: four bytes each, the times twice that. */
const statBytes = 40;
const modeOffset = 24;
const extendedFlag = 0x4000;
const intentToAdd = 0x2000;
const submoduleMode = 0o160000;

class Damaged extends Error {}

/** `wanted`: paths below the top of the work tree, one character a byte. */
export function parseGitIndex(bytes: Buffer, wanted: ReadonlySet<string>): GitIndex {
  if (bytes.length < headerBytes || bytes.toString("latin1", 0, 4) !== "DIRC")
    return { kind: "refused", reason: "it is no git index" };
  const version = bytes.readUInt32BE(4);
  if (version < 2 || version > 4) return { kind: "refused", reason: `version ${version} of the index is not known` };
  let reason = "its checksum is wrong";
  for (const objectHash of objectHashesOf(bytes)) {
    try {
      return new IndexReader(bytes, version, objectHash, wanted).read();
    } catch (error) {
      if (!(error instanceof Damaged)) throw error;
      reason = error.message;
    }
  }
  return { kind: "refused", reason };
}

const idBytes = { sha1: 20, sha256: 32 } as const;

/** With index.skipHash the checksum is all zeros: then both may fit, and the longer one is tried first. */
function objectHashesOf(bytes: Buffer): ("sha1" | "sha256")[] {
  const fitting = (["sha256", "sha1"] as const).filter(hash => bytes.length - idBytes[hash] >= headerBytes);
  const sumOf = (hash: "sha1" | "sha256") => bytes.subarray(bytes.length - idBytes[hash]);
  const isRight = (hash: "sha1" | "sha256") =>
    createHash(hash).update(bytes.subarray(0, -idBytes[hash])).digest().equals(sumOf(hash));
  const right = fitting.toReversed().find(isRight);
  return right === undefined ? fitting.filter(hash => sumOf(hash).every(byte => byte === 0)) : [right];
}

class IndexReader {
  readonly #entries = new Map<string, IndexEntry>();
  readonly #conflicts = new Set<string>();
  readonly #submodules: string[] = [];
  #at = headerBytes;
  #name: Buffer = Buffer.alloc(0);
  #namesBytes = 0;
  readonly #end: number;

  constructor(
    readonly bytes: Buffer,
    readonly version: number,
    readonly objectHash: "sha1" | "sha256",
    readonly wanted: ReadonlySet<string>,
  ) {
    this.#end = bytes.length - idBytes[objectHash];
  }

  read(): GitIndex {
    const count = this.bytes.readUInt32BE(8);
    for (let i = 0; i < count; i++) this.#entry();
    while (this.#at < this.#end) this.#extension();
    return {
      kind: "index",
      objectHash: this.objectHash,
      entries: this.#entries,
      conflicts: this.#conflicts,
      submodules: this.#submodules,
    };
  }

  #entry(): void {
    const start = this.#at;
    const idEnd = start + statBytes + idBytes[this.objectHash];
    this.#need(idEnd + 2);
    const mode = this.bytes.readUInt32BE(start + modeOffset);
    const flags = this.bytes.readUInt16BE(idEnd);
    let nameStart = idEnd + 2;
    let later = 0;
    if ((flags & extendedFlag) !== 0) {
      if (this.version < 3) throw new Damaged("an entry has flags that its version does not have");
      this.#need(nameStart + 2);
      later = this.bytes.readUInt16BE(nameStart);
      nameStart += 2;
    }
    if (this.version === 4) this.#compressedName(nameStart);
    else this.#plainName(start, nameStart);
    this.#namesBytes += this.#name.length;
    if (this.#name.length > nameBytesMax || this.#namesBytes > namesBytesMax) throw new Damaged("its names are too long");

    const name = this.#name.toString("latin1");
    if (mode === submoduleMode && this.#submodules.length < submodulesMax) this.#submodules.push(name);
    // What is only going to be added has no content yet.
    if (!this.wanted.has(name) || (later & intentToAdd) !== 0) return;
    const stage = (flags >> 12) & 3;
    if (stage !== 0) this.#conflicts.add(name);
    else if (this.#entries.has(name)) throw new Damaged("a path occurs twice");
    else this.#entries.set(name, { mode, id: this.bytes.toString("hex", start + statBytes, idEnd) });
  }

  /** Ended by NUL, and the entry is filled up with NULs to a multiple of eight. */
  #plainName(start: number, nameStart: number): void {
    const end = this.#nul(nameStart);
    this.#name = this.bytes.subarray(nameStart, end);
    this.#at = start + ((end - start + 8) & ~7);
    this.#need(this.#at);
  }

  /** How many bytes of the name before are taken away, and what takes their place. */
  #compressedName(nameStart: number): void {
    let at = nameStart;
    let strip = 0;
    for (let shifts = 0; ; shifts++) {
      this.#need(at + 1);
      const byte = this.bytes[at++] ?? 0;
      // The encoding of offsets in packs: each continuation adds one, so that no number has two forms.
      strip = shifts === 0 ? byte & 0x7f : ((strip + 1) << 7) | (byte & 0x7f);
      if ((byte & 0x80) === 0) break;
      if (shifts > 2) throw new Damaged("a name is damaged");
    }
    if (strip > this.#name.length) throw new Damaged("a name is damaged");
    const end = this.#nul(at);
    this.#name = Buffer.concat([this.#name.subarray(0, this.#name.length - strip), this.bytes.subarray(at, end)]);
    this.#at = end + 1;
  }

  #nul(from: number): number {
    const end = this.bytes.indexOf(0, from);
    if (end < 0 || end >= this.#end) throw new Damaged("it ends in the middle of an entry");
    return end;
  }

  /** Those whose name begins with a capital may be passed over; all others change what the entries mean. */
  #extension(): void {
    this.#need(this.#at + 8);
    const name = this.bytes.toString("latin1", this.#at, this.#at + 4);
    const size = this.bytes.readUInt32BE(this.#at + 4);
    if (name === "link") throw new Damaged("it is a split index");
    // A directory stands for its files: none of them is in the work tree, so none is asked for.
    if (!/^[A-Z]/.test(name) && name !== "sdir") throw new Damaged("it has an extension that is not known");
    this.#at += 8 + size;
    this.#need(this.#at);
  }

  #need(end: number): void {
    if (end > this.#end) throw new Damaged("it ends in the middle of an entry");
  }
}
