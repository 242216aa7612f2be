// Archives of packages (.tgz of npm, .crate of Cargo): the digest of each file in them. Pure, and total on any bytes.
// Only archives whose own digest stands in a lock file are opened.
//
//     gzip( header of 512 bytes | content, filled up to 512 | … | two empty headers )
import { createHash } from "node:crypto";
import { gunzipSync } from "node:zlib";

export const archiveBytesMax = 64 << 20;
const unpackedBytesMax = 512 << 20;
const filesMax = 200_000;
const blockBytes = 512;
const longNameBytesMax = 64 << 10;

/** By path below the archive's one directory (`package/`, `name-1.0.0/`). Undefined: it is no such archive. */
export function digestArchive(bytes: Buffer, wanted: { has(path: string): boolean }): Map<string, string> | undefined {
  let unpacked: Buffer;
  try {
    unpacked = gunzipSync(bytes, { maxOutputLength: unpackedBytesMax });
  } catch {
    return undefined;
  }
  const digests = new Map<string, string>();
  for (const { path, content } of tarFiles(unpacked)) {
    const slash = path.indexOf("/");
    const inside = path.slice(slash + 1);
    // Of a path that occurs twice the last one is what is there after unpacking.
    if (slash >= 0 && wanted.has(inside)) digests.set(inside, createHash("sha256").update(content).digest("hex"));
  }
  return digests;
}

function* tarFiles(tar: Buffer): Generator<{ path: string; content: Buffer }> {
  let longName: string | undefined;
  let count = 0;
  for (let at = 0; at + blockBytes <= tar.length && count < filesMax; count++) {
    const header = tar.subarray(at, at + blockBytes);
    if (header[0] === 0) return;
    const size = sizeOf(header);
    const start = at + blockBytes;
    if (size === undefined || start + size > tar.length) return;
    const content = tar.subarray(start, start + size);
    const type = String.fromCharCode(header[156] ?? 0);
    at = start + Math.ceil(size / blockBytes) * blockBytes;
    // What comes next has a name that its own header has no room for.
    if (type === "L" && size <= longNameBytesMax) longName = textField(content, 0, size);
    else if (type === "x" && size <= longNameBytesMax) longName = paxPath(content) ?? longName;
    else if (type === "0" || type === "\0") {
      yield { path: longName ?? nameOf(header), content };
      longName = undefined;
    } else if (type !== "g") longName = undefined;
  }
}

/** Octal text, or a number of base 256 where the first bit is set. */
function sizeOf(header: Buffer): number | undefined {
  const field = header.subarray(124, 136);
  if (((field[0] ?? 0) & 0x80) !== 0) return undefined; // beyond 8 GiB
  const text = textField(field, 0, field.length).trim();
  return /^[0-7]{1,12}$/.test(text) ? Number.parseInt(text, 8) : undefined;
}

function nameOf(header: Buffer): string {
  const name = textField(header, 0, 100);
  const isUstar = header.toString("latin1", 257, 262) === "ustar";
  const prefix = isUstar ? textField(header, 345, 155) : "";
  return prefix === "" ? name : `${prefix}/${name}`;
}

function textField(bytes: Buffer, start: number, length: number): string {
  const end = bytes.indexOf(0, start);
  return bytes.toString("latin1", start, end < 0 ? start + length : Math.min(end, start + length));
}

/** Records `LENGTH KEY=VALUE\n`; the length counts the whole record. */
function paxPath(content: Buffer): string | undefined {
  let path: string | undefined;
  for (let at = 0; at < content.length; ) {
    const space = content.indexOf(0x20, at);
    if (space < 0) break;
    const length = Number(content.toString("latin1", at, space));
    if (!Number.isInteger(length) || length <= space - at || at + length > content.length) break;
    const record = content.toString("latin1", space + 1, at + length - 1);
    if (record.startsWith("path=")) path = record.slice("path=".length);
    at += length;
  }
  return path;
}
