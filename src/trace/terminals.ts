// Pseudoterminals (pts(4)) that a process of the build opens by name: somebody outside may hold the other end, who reads what is written
// there and answers. The terminal that we were started on is everybody's, and those that the build has made are its own.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { terminalFileSystem } from "../file-systems.ts";
import type { FileIdentity, InheritedEvent, OpenEvent } from "../native/events.ts";
import { fileKey, isCharacterDevice, isPathOnly } from "./file-types.ts";
import type { ReportGap } from "./gaps.ts";

const directory = "/dev/pts";
/** Major number of the terminals there: the kernel uses the first of eight. */
const slaves = 136;
/** devpts gives terminal N the inode N + 3. */
const firstInode = 3n;

export class Terminals {
  readonly #reportGap: ReportGap;
  /** Of ours, not of one that the build mounts. */
  readonly #device = numberOfDevice();
  /** Inodes of those that were there before the build. */
  readonly #older = new Set(namesIn(directory).flatMap(name => (/^\d+$/.test(name) ? [BigInt(name) + firstInode] : [])));
  readonly #own = new Set<string>();
  readonly #reported = new Set<string>();
  #hasMade = false;

  constructor(reportGap: ReportGap) {
    this.#reportGap = reportGap;
    const number = controllingTerminal();
    if (number !== undefined) this.#older.delete(number + firstInode);
  }

  onInherited({ file }: InheritedEvent): void {
    if (isTerminal(file)) this.#own.add(fileKey(file));
  }

  onOpen(event: OpenEvent): void {
    const { file, path, process } = event;
    if (!isCharacterDevice(file) || isPathOnly(Number(event.flags))) return;
    if (path.endsWith("/ptmx")) {
      this.#hasMade = true;
      return;
    }
    if (!isTerminal(file) || file.device !== this.#device) return;
    const isOutside = this.#older.has(file.inode) || !this.#hasMade;
    const key = fileKey(file);
    if (!isOutside || this.#own.has(key) || this.#reported.has(key)) return;
    this.#reported.add(key);
    this.#reportGap("delegated", process, `terminal ${path}`);
  }
}

const isTerminal = (file: FileIdentity): boolean => isCharacterDevice(file) && file.fileSystem === terminalFileSystem;

function numberOfDevice(): bigint | undefined {
  return statSync(directory, { bigint: true, throwIfNoEntry: false })?.dev;
}

function namesIn(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return []; // no such directory: nobody has one
  }
}

function ownStat(): string {
  try {
    return readFileSync("/proc/self/stat", "latin1");
  } catch {
    return ""; // without /proc nothing is traced, which is said elsewhere
  }
}

/** The number of our own, which /dev/tty means; proc_pid_stat(5), tty_nr. */
function controllingTerminal(): bigint | undefined {
  const stat = ownStat();
  const device = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[4]);
  const major = (device >> 8) & 0xfff;
  return major === slaves ? BigInt((device & 0xff) | ((device >> 12) & ~0xff)) : undefined;
}
