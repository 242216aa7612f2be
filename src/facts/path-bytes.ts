// Paths as bytes, as the kernel has them.
import { escapeBytes } from "../text.ts";

const slash = 0x2f;

/** Whether `path` is `root` or below it. */
export function isInside(root: Buffer, path: Buffer): boolean {
  if (root.equals(path) || root.length === 1) return true;
  return path.length > root.length && path[root.length] === slash && path.subarray(0, root.length).equals(root);
}

export function join(directory: Buffer, name: Buffer): Buffer {
  if (directory.length === 1 && directory[0] === slash) return Buffer.concat([directory, name]);
  return Buffer.concat([directory, Buffer.of(slash), name]);
}

/** The bytes as text, if they are printable ASCII without a backslash: then escaped or not it is the same. */
export function plainText(bytes: Buffer): string | undefined {
  const text = escapeBytes(bytes);
  return /^[\x20-\x5b\x5d-\x7e]*$/.test(text) ? text : undefined;
}

/** One character per byte: lets a Set hold paths of any bytes. */
export function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("latin1");
}
