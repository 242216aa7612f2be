// Reads what a command is given: whole and bounded, or as a digest. `-` is stdin.
import { createHash } from "node:crypto";
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { type ErrorCode, ToolError } from "../errors.ts";

export interface InputLimits {
  /** Longer input is refused. */
  bytesMax: number;
  code: ErrorCode;
}

export function readInput(path: string, { bytesMax, code }: InputLimits): Uint8Array {
  const chunks: Uint8Array[] = [];
  let length = 0;
  readChunks(path, code, chunk => {
    length += chunk.length;
    if (length > bytesMax) throw new ToolError(code, `${inputName(path)} is larger than ${bytesMax >> 20} MiB`);
    chunks.push(chunk.slice());
  });
  return Buffer.concat(chunks, length);
}

/** `read` is of what came from `path`: what is wrong with it is said of that file. */
export function about<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof ToolError) || error.code !== "input-malformed") throw error;
    throw new ToolError(error.code, `${inputName(path)} is ${error.message}`, { cause: error });
  }
}

export function inputName(path: string): string {
  return path === "-" ? "stdin" : path;
}

/** What has been read to its end is empty for the next reader. */
export function refuseStdinTwice(paths: readonly (string | undefined)[]): void {
  if (paths.filter(path => path === "-").length < 2) return;
  throw new ToolError("usage", "two files are to be read from stdin (-)", { hint: "name all but one" });
}

/** SHA-256 of a file of any size, in hexadecimal. */
export function digestInput(path: string): string {
  const hash = createHash("sha256");
  readChunks(path, "input-unreadable", chunk => hash.update(chunk));
  return hash.digest("hex");
}

const chunkBytes = 1 << 20;

/** `take` gets a view of one buffer that is used again. */
function readChunks(path: string, code: ErrorCode, take: (chunk: Uint8Array) => void): void {
  let descriptor: number | undefined;
  try {
    descriptor = path === "-" ? 0 : openSync(path, "r");
    if (fstatSync(descriptor).isDirectory()) throw new ToolError(code, `cannot read ${inputName(path)}: it is a directory`);
    const buffer = new Uint8Array(chunkBytes);
    for (;;) {
      const count = readSync(descriptor, buffer, 0, buffer.length, null);
      if (count === 0) return;
      take(buffer.subarray(0, count));
    }
  } catch (error) {
    throw error instanceof ToolError ? error : new ToolError(code, `cannot read ${inputName(path)}: ${reasonOf(error)}`);
  } finally {
    if (descriptor !== undefined && descriptor !== 0) closeSync(descriptor);
  }
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: "no such file",
  EACCES: "permission denied",
  ENOTDIR: "a part of the path is not a directory",
  ELOOP: "too many symbolic links",
  ENAMETOOLONG: "the name is too long",
  ENXIO: "it is a socket, or a device that is not there",
  EBADF: "it is closed",
  EIO: "input/output error",
};

function reasonOf(error: unknown): string {
  const word = error instanceof Error && "code" in error ? String(error.code) : "";
  return reasons[word] ?? (word === "" ? "the file cannot be read" : word);
}
