// The header of an installed package as rpm keeps it: a table of tags over a block of data, big endian. Pure, and total
// on any bytes.
//
//     number of entries, length of the data | entries: tag, type, offset, count | data

export interface RpmPackage {
  readonly name: string;
  /** `epoch:version-release`. */
  readonly version: string;
  readonly files: readonly RpmFile[];
}

export interface RpmFile {
  readonly path: string;
  /** Undefined for directories and links, and where the digest is of an algorithm that we do not compute. */
  readonly digest: { readonly algorithm: "sha256" | "sha1" | "md5"; readonly hex: string } | undefined;
}

const entriesMax = 1 << 16;
const filesMax = 1 << 20;
const pathBytesMax = 4096;

const tags = {
  name: 1000,
  version: 1001,
  release: 1002,
  epoch: 1003,
  fileDigests: 1035,
  fileFlags: 1037,
  directoryIndexes: 1116,
  baseNames: 1117,
  directoryNames: 1118,
  fileDigestAlgorithm: 5011,
} as const;

/** Made by the package's scripts, not brought by it. */
const ghostFlag = 1 << 6;

/** Numbers of RFC 4880, 9.4. A header without the tag has MD5. */
const algorithms: Readonly<Record<number, { algorithm: "sha256" | "sha1" | "md5"; length: number }>> = {
  1: { algorithm: "md5", length: 32 },
  2: { algorithm: "sha1", length: 40 },
  8: { algorithm: "sha256", length: 64 },
};

/** Only files that `wanted` has. Undefined: it is no header. */
export function parseRpmHeader(bytes: Buffer, wanted: { has(path: string): boolean }): RpmPackage | undefined {
  const header = openHeader(bytes);
  if (header === undefined) return undefined;
  const name = header.strings(tags.name, 1)[0];
  const [version = "", release = ""] = [...header.strings(tags.version, 1), ...header.strings(tags.release, 1)];
  if (name === undefined) return undefined;
  const epoch = header.integers(tags.epoch)[0];
  const full = `${epoch === undefined ? "" : `${epoch}:`}${version}-${release}`;
  return { name, version: full, files: filesOf(header, wanted) };
}

function filesOf(header: Header, wanted: { has(path: string): boolean }): RpmFile[] {
  const directories = header.strings(tags.directoryNames, filesMax);
  const indexes = header.integers(tags.directoryIndexes);
  const flags = header.integers(tags.fileFlags);
  const digests = header.strings(tags.fileDigests, filesMax);
  const kept = algorithms[header.integers(tags.fileDigestAlgorithm)[0] ?? 1];
  const files: RpmFile[] = [];
  for (const [i, base] of header.strings(tags.baseNames, filesMax).entries()) {
    const directory = directories[indexes[i] ?? -1];
    if (directory === undefined || directory.length + base.length > pathBytesMax || ((flags[i] ?? 0) & ghostFlag) !== 0) continue;
    const path = directory + base;
    if (!wanted.has(path)) continue;
    const hex = digests[i];
    const isDigest = kept !== undefined && hex?.length === kept.length && /^[0-9a-f]+$/.test(hex);
    files.push({ path, digest: isDigest ? { algorithm: kept.algorithm, hex } : undefined });
  }
  return files;
}

interface Header {
  strings(tag: number, max: number): string[];
  integers(tag: number): number[];
}

const typeInt32 = 4;
const stringTypes: readonly number[] = [6, 8, 9]; // one, an array, one in several languages

function openHeader(bytes: Buffer): Header | undefined {
  if (bytes.length < 8) return undefined;
  const [entries, dataLength] = [bytes.readUInt32BE(0), bytes.readUInt32BE(4)];
  const dataStart = 8 + entries * 16;
  if (entries > entriesMax || dataStart + dataLength > bytes.length) return undefined;
  const data = bytes.subarray(dataStart, dataStart + dataLength);
  const places = new Map<number, { type: number; offset: number; count: number }>();
  for (let at = 8; at < dataStart; at += 16) {
    const [tag, type, offset, count] = [0, 4, 8, 12].map(field => bytes.readUInt32BE(at + field));
    if (tag === undefined || type === undefined || offset === undefined || count === undefined || places.has(tag)) continue;
    places.set(tag, { type, offset, count });
  }
  return {
    strings(tag, max) {
      const place = places.get(tag);
      if (place === undefined || !stringTypes.includes(place.type)) return [];
      const found: string[] = [];
      for (let at = place.offset; found.length < Math.min(place.count, max) && at < data.length; ) {
        const end = data.indexOf(0, at);
        if (end < 0) break;
        found.push(data.toString("latin1", at, end));
        at = end + 1;
      }
      return found;
    },
    integers(tag) {
      const place = places.get(tag);
      if (place === undefined || place.type !== typeInt32 || place.offset + place.count * 4 > data.length) return [];
      return Array.from({ length: Math.min(place.count, filesMax) }, (_, i) => data.readUInt32BE(place.offset + i * 4));
    },
  };
}
