// Reads the vectors of test/vectors (see its README.md).
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export interface Vector {
  name: string;
  expect: string;
  about: string;
  header: ReadonlyMap<string, string>;
  body: Uint8Array;
}

export function readVectors(folder: string): Vector[] {
  const directory = join(import.meta.dir, "vectors", folder);
  return readdirSync(directory)
    .sort()
    .map(file => parseVector(file, readFileSync(join(directory, file))));
}

function parseVector(file: string, bytes: Buffer): Vector {
  const end = bytes.indexOf("\n\n");
  if (end === -1) throw new Error(`${file}: no empty line behind the header`);
  const header = new Map<string, string>();
  for (const line of bytes.toString("utf8", 0, end).split("\n")) {
    const colon = line.indexOf(": ");
    // `passphrase: ` with nothing behind it is an empty passphrase.
    if (colon === -1) throw new Error(`${file}: not a header: ${line}`);
    header.set(line.slice(0, colon), line.slice(colon + 2));
  }
  const [expect, about] = ["expect", "about"].map(name => header.get(name));
  if (expect === undefined || about === undefined) throw new Error(`${file}: expect and about are needed`);
  return { name: file.replace(/\.txt$/, ""), expect, about, header, body: bytes.subarray(end + 2) };
}
