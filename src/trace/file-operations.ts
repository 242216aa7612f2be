// System calls on names: renames, removals, links, modes, owners … One table says which argument is what.
import type { FileIdentity, SyscallEvent } from "../native/events.ts";
import { escapeBytes } from "../text.ts";
import { belowRoot } from "./file-types.ts";
import type { FileOps } from "./observation.ts";

/** Numbers are positions of arguments. */
type Operation =
  | { op: "rename"; from: number; to: number; flags?: number }
  | { op: "link"; from: number; to: number }
  | { op: "symlink"; target: number; path: number }
  | { op: "delete"; path: number }
  | { op: "mkdir" | "node" | "mode"; path: number; mode: number }
  | { op: "truncate"; path: number; length: number }
  | { op: "owner"; path: number; uid: number; gid: number }
  | { op: "times"; path: number }
  | { op: "xattr"; path: number; name: number };

const operations: Readonly<Record<string, Operation>> = {
  rename: { op: "rename", from: 0, to: 1 },
  renameat: { op: "rename", from: 1, to: 3 },
  renameat2: { op: "rename", from: 1, to: 3, flags: 4 },
  link: { op: "link", from: 0, to: 1 },
  linkat: { op: "link", from: 1, to: 3 },
  symlink: { op: "symlink", target: 0, path: 1 },
  symlinkat: { op: "symlink", target: 0, path: 2 },
  unlink: { op: "delete", path: 0 },
  unlinkat: { op: "delete", path: 1 },
  rmdir: { op: "delete", path: 0 },
  mkdir: { op: "mkdir", path: 0, mode: 1 },
  mkdirat: { op: "mkdir", path: 1, mode: 2 },
  mknod: { op: "node", path: 0, mode: 1 },
  mknodat: { op: "node", path: 1, mode: 2 },
  chmod: { op: "mode", path: 0, mode: 1 },
  fchmod: { op: "mode", path: 0, mode: 1 },
  fchmodat: { op: "mode", path: 1, mode: 2 },
  fchmodat2: { op: "mode", path: 1, mode: 2 },
  truncate: { op: "truncate", path: 0, length: 1 },
  truncate64: { op: "truncate", path: 0, length: 1 },
  ftruncate: { op: "truncate", path: 0, length: 1 },
  ftruncate64: { op: "truncate", path: 0, length: 1 },
  chown: { op: "owner", path: 0, uid: 1, gid: 2 },
  chown32: { op: "owner", path: 0, uid: 1, gid: 2 },
  lchown: { op: "owner", path: 0, uid: 1, gid: 2 },
  lchown32: { op: "owner", path: 0, uid: 1, gid: 2 },
  fchown: { op: "owner", path: 0, uid: 1, gid: 2 },
  fchown32: { op: "owner", path: 0, uid: 1, gid: 2 },
  fchownat: { op: "owner", path: 1, uid: 2, gid: 3 },
  utime: { op: "times", path: 0 },
  utimes: { op: "times", path: 0 },
  futimesat: { op: "times", path: 1 },
  utimensat: { op: "times", path: 1 },
  utimensat_time64: { op: "times", path: 1 },
  setxattr: { op: "xattr", path: 0, name: 1 },
  lsetxattr: { op: "xattr", path: 0, name: 1 },
  fsetxattr: { op: "xattr", path: 0, name: 1 },
  setxattrat: { op: "xattr", path: 1, name: 3 },
  removexattr: { op: "xattr", path: 0, name: 1 },
  lremovexattr: { op: "xattr", path: 0, name: 1 },
  fremovexattr: { op: "xattr", path: 0, name: 1 },
  removexattrat: { op: "xattr", path: 1, name: 3 },
};

const RENAME_EXCHANGE = 2n;

/** What a call has changed about names and contents, for those who follow inodes. Paths as the tracer sees them. */
export interface NameChanges {
  renamed(oldPath: string, newPath: string, file: FileIdentity | undefined): void;
  exchanged(a: string, b: string): void;
  linked(path: string, file: FileIdentity | undefined, oldPath: string): void;
  removed(path: string, file: FileIdentity | undefined): void;
  /** A symbolic link, or a file that is there without having been opened. */
  made(path: string): void;
  timesSet(file: FileIdentity): void;
}

export const isFileOperation = (name: string): boolean => Object.hasOwn(operations, name);

export function emptyFileOps(): FileOps {
  return {
    writes: [],
    renames: [],
    deletes: [],
    permChanges: [],
    links: [],
    symlinks: [],
    mkdirs: [],
    nodes: [],
    truncates: [],
    ownerChanges: [],
    timeChanges: [],
    xattrChanges: [],
  };
}

/** Writes a successful call into `ops`, and tells `changes` what it has done. Others are ignored. */
export function applyFileOperation(event: SyscallEvent, ops: () => FileOps, changes: NameChanges): void {
  const operation = operations[event.name];
  if (!operation || event.result < 0n || event.entryOnly || event.header.denied) return;
  const time = event.timeNs;
  const root = rootOf(event);
  const shown = (path: string) => belowRoot(path, root);
  switch (operation.op) {
    case "rename": {
      const [from, to] = [pathOf(event, operation.from), pathOf(event, operation.to)];
      ops().renames.push({ oldPath: shown(from), newPath: shown(to), time });
      const flags = operation.flags === undefined ? 0n : (event.arguments[operation.flags] ?? 0n);
      if ((flags & RENAME_EXCHANGE) === 0n) {
        changes.renamed(from, to, fileOf(event, operation.to));
        return;
      }
      ops().renames.push({ oldPath: shown(to), newPath: shown(from), time });
      changes.exchanged(from, to);
      return;
    }
    case "link": {
      const [from, to] = [pathOf(event, operation.from), pathOf(event, operation.to)];
      ops().links.push({ oldPath: shown(from), newPath: shown(to), time });
      changes.linked(to, fileOf(event, operation.to) ?? fileOf(event, operation.from), from);
      return;
    }
    case "symlink": {
      const path = pathOf(event, operation.path);
      ops().symlinks.push({ target: textOf(event, operation.target), path: shown(path), time });
      changes.made(path);
      return;
    }
    case "delete": {
      const path = pathOf(event, operation.path);
      ops().deletes.push({ path: shown(path), time });
      changes.removed(path, fileOf(event, operation.path));
      return;
    }
    case "mkdir":
      ops().mkdirs.push({ path: shown(pathOf(event, operation.path)), mode: modeOf(event, operation.mode), time });
      return;
    case "node": {
      const path = pathOf(event, operation.path);
      ops().nodes.push({ path: shown(path), mode: modeOf(event, operation.mode), time });
      changes.made(path);
      return;
    }
    case "mode":
      ops().permChanges.push({ path: shown(pathOf(event, operation.path)), mode: modeOf(event, operation.mode), time });
      return;
    case "truncate": {
      const path = pathOf(event, operation.path);
      const length = event.arguments[operation.length] ?? 0n;
      ops().truncates.push({ path: shown(path), length, time });
      return;
    }
    case "owner": {
      const [uid, gid] = [idOf(event, operation.uid), idOf(event, operation.gid)];
      ops().ownerChanges.push({ path: shown(pathOf(event, operation.path)), uid, gid, time });
      return;
    }
    case "times": {
      ops().timeChanges.push({ path: shown(pathOf(event, operation.path)), time });
      const file = fileOf(event, operation.path);
      if (file) changes.timesSet(file);
      return;
    }
    case "xattr":
      ops().xattrChanges.push({ path: shown(pathOf(event, operation.path)), name: textOf(event, operation.name), time });
  }
}

export function rootOf(event: SyscallEvent): string {
  for (const item of event.items) if (item.kind === "root") return item.root;
  return "";
}

/**
 * The absolute path of an argument: as the tracer has put it together, else what the descriptor refers to (fchmod, or
 * utimensat with a null path and the descriptor before it).
 */
function pathOf(event: SyscallEvent, argument: number): string {
  let link: string | undefined;
  for (const item of event.items) {
    if (item.kind === "path" && item.argument === argument) return plainPath(item.path);
    if (item.kind === "descriptor" && (item.argument === argument || item.argument === argument - 1)) link = item.link;
  }
  return link ?? "";
}

function fileOf(event: SyscallEvent, argument: number): FileIdentity | undefined {
  let behind: FileIdentity | undefined;
  for (const item of event.items) {
    if (item.kind === "file" && item.argument === argument) return item.file;
    if (item.kind === "descriptor" && (item.argument === argument || item.argument === argument - 1)) behind = item.file;
  }
  const hasPath = event.items.some(item => item.kind === "path" && item.argument === argument && item.path !== "");
  return hasPath ? undefined : behind;
}

function textOf(event: SyscallEvent, argument: number): string {
  for (const item of event.items) {
    if (item.kind === "path" && item.argument === argument) return item.path;
    if (item.kind === "bytes" && item.argument === argument) return escapeBytes(item.bytes);
  }
  return "";
}

/** Registers are 64 bits wide, the kernel takes 16 of a mode. */
function modeOf(event: SyscallEvent, argument: number): number {
  return Number((event.arguments[argument] ?? 0n) & 0xffffn);
}

/** -1 means unchanged, whatever the register's upper half says. */
function idOf(event: SyscallEvent, argument: number): number {
  return Number(BigInt.asIntN(32, event.arguments[argument] ?? 0n));
}

/** `/a/./b//c/../d` as `/a/b/d`: the same name must be the same text for names to be followed. */
export function plainPath(path: string): string {
  if (!path.includes("//") && !path.includes("/.") && !(path.length > 1 && path.endsWith("/"))) return path;
  if (!path.startsWith("/")) return path;
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part === "..") parts.pop();
    else parts.push(part);
  }
  return `/${parts.join("/")}`;
}
