// An overlayfs that the build mounts for writing gives each file that is written through it a second identity and a second name, in its upper
// directory, which no other call tells. So that directory is remembered, under the name that it has at the end, and whoever looks for products
// looks in it: whatever has changed in there since the mount the build has made. And what is read there, of which the build has left the very
// content through an overlay, is not from outside.
import { lstatSync, readFileSync } from "node:fs";
import { memoryFileSystems } from "../file-systems.ts";
import type { FileIdentity, SyscallEvent } from "../native/events.ts";
import { escapeBytes, unescapeText } from "../text.ts";
import { itemOf } from "./call-items.ts";
import type { ReportGap } from "./gaps.ts";
import type { UpperDirectory } from "./observation.ts";

/** As zig/decode.zig has it. */
const upperArgument = 11;
/** Mounts of a run that are remembered: a builder of images has one for each step. */
const uppersMax = 1_000;

interface Upper {
  path: string;
  readonly directory: FileIdentity;
  readonly sinceNs: bigint;
  readonly process: number;
}

export class Overlays {
  readonly #reportGap: ReportGap;
  #uppers: Upper[] = [];

  constructor(reportGap: ReportGap) {
    this.#reportGap = reportGap;
  }

  onSyscall(event: SyscallEvent): void {
    const named = upperDirectory(event);
    if (named === undefined) return;
    const found = itemOf(event, "descriptor", upperArgument);
    if (!found?.link.startsWith("/")) {
      this.#reportGap("overlay-mounted", event.process, named);
      return;
    }
    const { file, link } = found;
    // Again, by the next step of a builder, say.
    if (this.#uppers.some(upper => upper.path === link && isSame(upper.directory, file))) return;
    if (this.#uppers.length >= uppersMax) this.#reportGap("overlay-mounted", event.process, link);
    else this.#uppers.push({ path: link, directory: file, sinceNs: event.timeNs, process: event.process });
  }

  renamed(oldPath: string, newPath: string): void {
    for (const upper of this.#uppers) upper.path = moved(upper.path, oldPath, newPath);
  }

  exchanged(a: string, b: string): void {
    for (const upper of this.#uppers) {
      const there = moved(upper.path, a, b);
      upper.path = there === upper.path ? moved(upper.path, b, a) : there;
    }
  }

  /** A directory goes when nothing is in it any more. */
  removed(path: string): void {
    if (this.#uppers.length > 0) this.#uppers = this.#uppers.filter(upper => upper.path !== path);
  }

  /** Whether a file may have been written through an overlay: it is in an upper directory, and younger than the mount. */
  mayHold(path: string, file: { ctimeNs: bigint }): boolean {
    return this.#uppers.some(upper => path.startsWith(`${upper.path}/`) && file.ctimeNs >= upper.sinceNs - clockLagNs);
  }

  /** After the last event: those that are there. */
  finish(): UpperDirectory[] {
    return this.#uppers.flatMap(({ path, directory, sinceNs, process }) => {
      if (isThere(path, directory)) return [{ path, sinceNs: sinceNs - clockLagNs }];
      // In memory that only the build's own mounts showed: it went with them.
      if (!memoryFileSystems.has(directory.fileSystem) || isMounted(directory.device)) {
        this.#reportGap("overlay-mounted", process, path);
      }
      return [];
    });
  }
}

/** Before Linux 6.13 the clock of file systems is up to 10 ms behind. */
const clockLagNs = 20_000_000n;

/** The upper directory as the call names it; undefined: it mounts no such thing. */
function upperDirectory(event: SyscallEvent): string | undefined {
  if (event.result < 0n) return undefined;
  switch (event.name) {
    case "mount":
      return textOf(event, 2) === "overlay" ? upperIn(event) : undefined;
    case "fsconfig":
      return textOf(event, 2) === "upperdir" ? (textOf(event, 3) ?? "") : undefined;
    default:
      return undefined;
  }
}

function upperIn(event: SyscallEvent): string | undefined {
  const data = itemOf(event, "bytes", 4);
  if (data === undefined) return undefined;
  const named = /(?:^|,)upperdir=((?:\\\\,|[^,])*)/.exec(escapeBytes(data.bytes))?.[1];
  // There can be one behind what was read.
  return named ?? (data.cut ? "" : undefined);
}

function textOf(event: SyscallEvent, argument: number): string | undefined {
  const item = itemOf(event, "bytes", argument);
  return item && escapeBytes(item.bytes);
}

/** `path` after what is at `from`, or above it, was renamed. */
function moved(path: string, from: string, to: string): string {
  return path === from || path.startsWith(`${from}/`) ? to + path.slice(from.length) : path;
}

interface Inode {
  readonly device: bigint;
  readonly inode: bigint;
}

const isSame = (a: Inode, b: Inode): boolean => a.device === b.device && a.inode === b.inode;

function isThere(path: string, directory: Inode): boolean {
  try {
    const { dev: device, ino: inode } = lstatSync(Buffer.from(unescapeText(path)), { bigint: true });
    return isSame({ device, inode }, directory);
  } catch {
    return false;
  }
}

/** Whether a mount of ours shows this device. True also if that is not known. */
function isMounted(device: bigint): boolean {
  const major = (device >> 8n) & 0xfffn;
  const minor = (device & 0xffn) | ((device >> 12n) & 0xfff00n);
  try {
    return readFileSync("/proc/self/mountinfo", "latin1")
      .split("\n")
      .some(line => line.split(" ")[2] === `${major}:${minor}`);
  } catch {
    return true;
  }
}
