// The key that signs a record, as `cilock run` handles it: looked at before the build and dropped, read for good only
// when nothing of the build is alive. A key that comes through a descriptor is kept from the command.
import { closeSync, constants, fstatSync, openSync, readSync, statSync } from "node:fs";
import { keyBytesMax, loadPrivateKey, loadPublicKey, type PrivateKey } from "../attestation/keys.ts";
import { readPassphrase } from "../attestation/passphrase.ts";
import { ToolError } from "../errors.ts";
import { sha256Of } from "../hashes.ts";
import type { KeyFile } from "../trace/key-files.ts";
import { publicFileOf } from "./public-file.ts";

export interface KeySource {
  readonly path: string;
  readonly passphrase: string | undefined;
  readonly passphrasePath: string | undefined;
  readonly environment: { readonly [name: string]: string | undefined };
}

export interface CheckedKey {
  /** Our descriptors that the key or its passphrase come through: the command must not have them. */
  readonly withheldDescriptors: readonly number[];
  /** Key and passphrase files: no material under any name. Pipes are not in it. */
  readonly files: readonly KeyFile[];
  /** Reads the key for signing. */
  read(): Promise<PrivateKey>;
}

/** Finds out now whether the key can be used, and drops it again. What can be read only once (a pipe) is left alone. */
export async function checkKey(source: KeySource): Promise<CheckedKey> {
  const places = [source.path, source.passphrasePath].filter(path => path !== undefined);
  const found = places.map(identify);
  const areFiles = new Set(places.filter((_, i) => found[i] !== undefined));
  const checked = areFiles.size < places.length ? undefined : (await readKey(source, areFiles)).publicKey.keyid;
  return {
    withheldDescriptors: places.map(descriptorNamed).filter(descriptor => descriptor !== undefined),
    files: places.flatMap((path, i) => {
      const file = found[i];
      return file === undefined ? [] : [{ ...file, sha256: digestOf(path) }];
    }),
    async read() {
      const key = await readKey(source, areFiles);
      if (checked !== undefined && key.publicKey.keyid !== checked) {
        // The build could write the file: a record signed by its key would look like one of ours.
        throw new ToolError("key-unreadable", `${source.path} held another key when the command started`);
      }
      return key;
    },
  };
}

/** Name of the file with the public half of a private key, if it lies beside it as `cilock keygen` puts it there. */
export function publicHalfBeside(path: string, keyid: string): string | undefined {
  if (descriptorNamed(path) !== undefined) return undefined;
  const beside = publicFileOf(path);
  try {
    return loadPublicKey(readSmallFile(beside, true), beside).keyid === keyid ? beside : undefined;
  } catch {
    // There is none, or it is something else: nobody has asked for it.
    return undefined;
  }
}

/** `areFiles`: the paths that regular files were found at. */
async function readKey(source: KeySource, areFiles: ReadonlySet<string>): Promise<PrivateKey> {
  const read = (path: string) => readSmallFile(path, areFiles.has(path));
  const passphrase = await readPassphrase(source, source.environment, async path => read(path));
  return loadPrivateKey(read(source.path), passphrase, source.path);
}

/** N of /dev/fd/N and its like, where they mean this process. */
export function descriptorNamed(path: string): number | undefined {
  const plain = path.replace(/\/{2,}/g, "/");
  if (plain === "/dev/stdin") return 0;
  const [, pid, digits] = /^\/(?:dev\/fd|proc\/(self|thread-self|\d+)\/fd)\/(\d{1,9})$/.exec(plain) ?? [];
  if (digits === undefined || (pid !== undefined && /^\d/.test(pid) && pid !== String(process.pid))) return undefined;
  return Number(digits);
}

/** Undefined: whoever needs the content will say why it cannot be read. */
function digestOf(path: string): string | undefined {
  try {
    return sha256Of(readSmallFile(path, true));
  } catch {
    return undefined;
  }
}

function identify(path: string): Omit<KeyFile, "sha256"> | undefined {
  try {
    const descriptor = descriptorNamed(path);
    const stat = descriptor === undefined ? statSync(path, { bigint: true }) : fstatSync(descriptor, { bigint: true });
    if (stat.isDirectory()) throw new ToolError("key-unreadable", `cannot read ${path}: it is a directory`);
    return stat.isFile() ? { device: stat.dev, inode: stat.ino, size: stat.size } : undefined;
  } catch (error) {
    throw error instanceof ToolError ? error : unreadable(path, error);
  }
}

/** A pipe that the build has put in the place of the key would hold up the end of the run for ever. */
const withoutWaiting = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;

/** Bounded, and from the start also where the descriptor has been read before. `wasFile`: it was a regular file, and has to be one. */
function readSmallFile(path: string, wasFile: boolean): Uint8Array {
  const given = descriptorNamed(path);
  let descriptor: number | undefined;
  try {
    // Without /proc there is no /dev/fd either: the descriptor itself is there.
    descriptor = given ?? openSync(path, wasFile ? withoutWaiting : constants.O_RDONLY);
    const stat = fstatSync(descriptor);
    if (wasFile && !stat.isFile()) {
      throw new ToolError("key-unreadable", `${path} was a file when the command started, and is none any more`);
    }
    if (stat.isDirectory()) throw new ToolError("key-unreadable", `cannot read ${path}: it is a directory`);
    const bytes = new Uint8Array(keyBytesMax + 1);
    let length = 0;
    for (;;) {
      const count = readSync(descriptor, bytes, length, bytes.length - length, stat.isFile() ? length : null);
      length += count;
      if (count === 0 || length === bytes.length) break;
    }
    if (length > keyBytesMax) throw new ToolError("key-unsupported", `${path} is larger than 1 MiB, that is no key`);
    return bytes.slice(0, length);
  } catch (error) {
    throw error instanceof ToolError ? error : unreadable(path, error);
  } finally {
    if (descriptor !== undefined && descriptor !== given) closeSync(descriptor);
  }
}

const sentences: Readonly<Record<string, string>> = {
  ENOENT: "no such file",
  EACCES: "permission denied",
  ENOTDIR: "a part of the path is not a directory",
  ELOOP: "too many symbolic links",
  EBADF: "there is no such descriptor",
  ENAMETOOLONG: "the name is too long",
};

function unreadable(path: string, error: unknown): ToolError {
  const word = error instanceof Error && "code" in error ? String(error.code) : "";
  const reason = sentences[word] ?? (error instanceof Error ? error.message : word);
  const hint = { hint: "a key from a pipe is -k /dev/stdin (the command then reads nothing there), or -k /dev/fd/3 with 3<" };
  return new ToolError("key-unreadable", `cannot read ${path}: ${reason}`, path === "-" ? hint : {});
}
