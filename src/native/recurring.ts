// What comes in record after record: the same few paths and the same few files. Each is decoded once and then found by its
// bytes, so that equal ones are one object: a build that opens 40,000 files a million times leaves a third of the garbage,
// and whoever looks a path up later has a text whose hash is known. Both tables forget: a slot has room for the newest one.
import { escapeRange } from "../text.ts";
import * as abi from "./abi.gen.ts";
import type { FileIdentity } from "./events.ts";

const textSlots = 1 << 17;
/** Longer ones are rare, and so many of them would be too much to keep. */
const textLengthMax = 192;
const fileSlots = 1 << 16;
const fileWords = abi.FileIdentity.sizeOf / 4;
const inodeWord = abi.FileIdentity.inode / 4;
const backslash = 0x5c;

export class Recurring {
  readonly #bytes: Buffer;
  readonly #words: Uint32Array;
  readonly #view: DataView;
  readonly #texts: string[] = new Array<string>(textSlots).fill("");
  readonly #files: (FileIdentity | undefined)[] = new Array<FileIdentity | undefined>(fileSlots).fill(undefined);
  /** As they came, by slot. */
  readonly #filesWords = new Uint32Array(fileSlots * fileWords);

  /** `bytes`: a ring's data. */
  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >>> 2);
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** `escapeRange` of the ring's bytes. */
  text(from: number, to: number): string {
    const bytes = this.#bytes;
    const length = to - from;
    if (length === 0) return "";
    if (length > textLengthMax) return escapeRange(bytes, from, to);
    let hash = length;
    for (let i = from; i < to; i++) {
      const byte = bytes[i] ?? 0;
      if (byte >= 0x80 || byte === backslash) return escapeRange(bytes, from, to);
      hash = Math.imul(hash ^ byte, 0x0100_0193); // FNV-1a
    }
    const slot = (hash ^ (hash >>> 16)) & (textSlots - 1);
    const known = this.#texts[slot] ?? "";
    if (known.length === length && this.#isAt(from, known)) return known;
    const text = bytes.toString("latin1", from, to);
    this.#texts[slot] = text;
    return text;
  }

  #isAt(from: number, text: string): boolean {
    for (let i = 0; i < text.length; i++) if (this.#bytes[from + i] !== text.charCodeAt(i)) return false;
    return true;
  }

  /** The file that is described at `at`. Nobody may change what is returned. */
  file(at: number): FileIdentity {
    if (at % 4 !== 0) return this.#decoded(at);
    const first = at / 4;
    const inode = this.#words[first + inodeWord] ?? 0;
    const slot = (inode ^ (inode >>> 16)) & (fileSlots - 1);
    const known = this.#files[slot];
    if (known !== undefined && this.#isFileAt(first, slot)) return known;
    const file = this.#decoded(at);
    this.#files[slot] = file;
    this.#filesWords.set(this.#words.subarray(first, first + fileWords), slot * fileWords);
    return file;
  }

  #isFileAt(first: number, slot: number): boolean {
    for (let i = 0, own = slot * fileWords; i < fileWords; i++, own++) {
      if (this.#words[first + i] !== this.#filesWords[own]) return false;
    }
    return true;
  }

  #decoded(at: number): FileIdentity {
    const view = this.#view;
    return {
      device: view.getBigUint64(at + abi.FileIdentity.device, true),
      inode: view.getBigUint64(at + abi.FileIdentity.inode, true),
      size: view.getBigUint64(at + abi.FileIdentity.size, true),
      blocks: view.getBigUint64(at + abi.FileIdentity.blocks, true),
      mtimeNs: view.getBigInt64(at + abi.FileIdentity.mtimeNs, true),
      ctimeNs: view.getBigInt64(at + abi.FileIdentity.ctimeNs, true),
      birthNs: view.getBigInt64(at + abi.FileIdentity.birthNs, true),
      mode: view.getUint32(at + abi.FileIdentity.mode, true),
      links: view.getUint32(at + abi.FileIdentity.links, true),
      fileSystem: view.getUint32(at + abi.FileIdentity.fileSystem, true),
      uid: view.getUint32(at + abi.FileIdentity.uid, true),
    };
  }
}
