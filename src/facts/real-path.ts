// realpath(3) that works without /proc. Bun's asks the kernel by /proc/self/fd, and where that is not mounted it says ENOENT for
// everything.
import { existsSync, lstatSync, readlinkSync, realpathSync } from "node:fs";

/** As the kernel gives up: path_resolution(7). */
const linksMax = 40;
const slash = 0x2f;
const root = Buffer.from("/");
const here = Buffer.from(".");
const parent = Buffer.from("..");

export function realPath(path: Uint8Array): Buffer {
  try {
    // Not `realpathSync` itself: it takes `..` away as text, so link/.. would be where the link is.
    return realpathSync.native(Buffer.from(path), { encoding: "buffer" });
  } catch (error) {
    if (existsSync("/proc/self/fd")) throw error;
    return withoutProc(Buffer.from(path));
  }
}

/** Component by component; a symbolic link's target takes its place. */
export function withoutProc(path: Buffer): Buffer {
  let real = root;
  let rest = components(path[0] === slash ? path : Buffer.concat([Buffer.from(`${process.cwd()}/`), path]));
  let links = 0;
  for (let [name] = rest; name !== undefined; [name] = rest) {
    rest = rest.slice(1);
    if (name.equals(here)) continue;
    if (name.equals(parent)) {
      real = real.subarray(0, Math.max(real.lastIndexOf(slash), 1));
      continue;
    }
    const next = Buffer.concat(real.equals(root) ? [root, name] : [real, root, name]);
    const stat = lstatSync(next);
    if (stat.isSymbolicLink()) {
      if (++links > linksMax) throw failure("ELOOP");
      const target = readlinkSync(next, { encoding: "buffer" });
      if (target[0] === slash) real = root;
      rest = [...components(target), ...rest];
    } else {
      if (rest.length > 0 && !stat.isDirectory()) throw failure("ENOTDIR");
      real = next;
    }
  }
  return real;
}

/** Without the empty ones. A slash at the end asks for a directory, as a `.` there would. */
function components(path: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  for (let from = 0; from < path.length; ) {
    const at = path.indexOf(slash, from);
    const to = at < 0 ? path.length : at;
    if (to > from) parts.push(path.subarray(from, to));
    from = to + 1;
  }
  if (path[path.length - 1] === slash) parts.push(here);
  return parts;
}

function failure(code: "ELOOP" | "ENOTDIR"): Error {
  return Object.assign(new Error(code), { code });
}
