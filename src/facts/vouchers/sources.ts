// Reads what vouches: whole files of bounded size. A source that this very build has written vouches for nothing, since
// the build could say there what it likes. Whatever is not read is noted: it is a reason why nobody vouches.
import { closeSync, constants, fstatSync, lstatSync, openSync, readdirSync, readlinkSync, readSync } from "node:fs";
import { shownName } from "./voucher.ts";

/** Notes of one run; more say nothing new. */
const notesMax = 50;

export interface SourcesOptions {
  /** Whether the build has written the file of this name. */
  readonly isWritten: (name: string) => boolean;
  /** Whether what is there now is what the build has read before it wrote. */
  readonly wasRead?: (name: string, bytes: Uint8Array) => boolean;
  /** What was read before the build: it counts whatever became of the file. */
  readonly before?: ReadonlyMap<string, Buffer>;
}

export class Sources {
  readonly #options: SourcesOptions;
  readonly #notes = new Set<string>();

  constructor(options: SourcesOptions) {
    this.#options = options;
  }

  get notes(): readonly string[] {
    return [...this.#notes];
  }

  note(text: string): void {
    if (this.#notes.size < notesMax) this.#notes.add(text);
  }

  /** Undefined: there is none, or it is not to be trusted; the latter is noted. `room`: what is read there is good until it is used again. */
  read(name: string, bytesMax: number, room?: Room): Buffer | undefined {
    const before = this.#options.before?.get(name);
    if (before !== undefined) return before;
    const reading = readBounded(name, bytesMax, room);
    switch (reading.kind) {
      case "none":
        return undefined;
      case "unread":
        this.note(`${shownName(name)} is not read: ${reading.reason}`);
        return undefined;
      case "bytes":
        if (!this.#options.isWritten(name) || this.#options.wasRead?.(name, reading.bytes)) return reading.bytes;
        this.note(`${shownName(name)} vouches for nothing: the build has written it`);
        return undefined;
    }
  }

  /** Names in a directory, in the order of their bytes. */
  list(directory: string, namesMax: number): string[] {
    let names: string[];
    try {
      names = readdirSync(Buffer.from(directory, "latin1"), { encoding: "latin1" }).sort();
    } catch {
      return [];
    }
    if (names.length <= namesMax) return names;
    this.note(`${shownName(directory)}: only the first ${namesMax} of ${names.length} names are looked at`);
    return names.slice(0, namesMax);
  }
}

export type BoundedReading = { kind: "bytes"; bytes: Buffer } | { kind: "none" } | { kind: "unread"; reason: string };

/** For files that are looked at one after the other; a larger one takes its place. */
export interface Room {
  buffer: Buffer;
}

/** Only regular files; a fifo does not hold us up. */
export function readBounded(name: string, bytesMax: number, room?: Room): BoundedReading {
  let descriptor: number;
  try {
    descriptor = openSync(Buffer.from(name, "latin1"), constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (error) {
    const code = errorCode(error);
    return code === "ENOENT" || code === "ENOTDIR" ? { kind: "none" } : { kind: "unread", reason: code };
  }
  try {
    const stat = fstatSync(descriptor);
    if (stat.isDirectory()) return { kind: "none" };
    if (!stat.isFile()) return { kind: "unread", reason: "no regular file" };
    if (stat.size > bytesMax) return { kind: "unread", reason: `more than ${bytesMax} bytes` };
    const bytes = room === undefined ? Buffer.allocUnsafe(stat.size) : roomFor(stat.size, room);
    let length = 0;
    while (length < bytes.length) {
      const count = readSync(descriptor, bytes, length, bytes.length - length, length);
      if (count === 0) break;
      length += count;
    }
    return { kind: "bytes", bytes: bytes.subarray(0, length) };
  } catch (error) {
    return { kind: "unread", reason: errorCode(error) };
  } finally {
    closeSync(descriptor);
  }
}

function roomFor(length: number, room: Room): Buffer {
  if (room.buffer.length < length) room.buffer = Buffer.allocUnsafe(length);
  return room.buffer.subarray(0, length);
}

export type EntryType = "file" | "directory" | "link" | "other" | undefined;

/** Undefined: there is nothing, or nothing that can be seen. */
export function entryType(name: string): EntryType {
  try {
    const stat = lstatSync(Buffer.from(name, "latin1"));
    if (stat.isFile()) return "file";
    if (stat.isDirectory()) return "directory";
    return stat.isSymbolicLink() ? "link" : "other";
  } catch {
    return undefined;
  }
}

/** Where a symbolic link leads, as it is written; undefined for what is none. */
export function linkTarget(name: string): string | undefined {
  try {
    return readlinkSync(Buffer.from(name, "latin1"), { encoding: "latin1" });
  } catch {
    return undefined;
  }
}

function errorCode(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : String(error);
}
