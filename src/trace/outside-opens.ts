// Opens by which a process of the build meets one outside of it: a FIFO whose other end nobody of the build has opened, or that somebody
// else holds too; a pipe or memory that belongs to somebody else; another process's memory.
import { constants, statSync } from "node:fs";
import type { FileIdentity, InheritedEvent, OpenEvent } from "../native/events.ts";
import { fileKey, isFifo, isPathOnly, isPipe, opensForWriting, readsToo } from "./file-types.ts";
import type { ReportGap } from "./gaps.ts";
import { type FoundPeer, type PeerFinder, peerText } from "./peers.ts";

export interface OutsideOpensOptions {
  reportGap: ReportGap;
  /** Of a pid in our namespace, if it is or was a process of the build. */
  isTraced: (pid: number) => boolean;
  findPeer: PeerFinder;
  /** MAKEFLAGS of the command: a make around us may let its jobs share its turns (GNU make manual, POSIX Jobserver). */
  makeFlags?: string | undefined;
}

interface Fifo {
  path: string;
  /** Of its first open. */
  process: number;
  /** By processes of the build. */
  isRead: boolean;
  isWritten: boolean;
  /** Somebody else was or may have been at its other end: an open waited for one, or it is older than the build. */
  hadOtherEnd: boolean;
  outsiders: Map<number, FoundPeer>;
}

/** Different ones; a build that makes more is told so. */
const fifosMax = 10_000;

export class OutsideOpens {
  readonly #options: OutsideOpensOptions;
  readonly #procDevice = statSync("/proc", { bigint: true }).dev;
  readonly #fifos = new Map<string, Fifo>();
  /** Birth times go by the clock's last tick. */
  readonly #startNs = BigInt(Date.now()) * 1_000_000n - 20_000_000n;

  readonly #jobserver: string | undefined;

  constructor(options: OutsideOpensOptions) {
    this.#options = options;
    this.#jobserver = /--jobserver-auth=fifo:(\S+)/.exec(options.makeFlags ?? "")?.[1];
  }

  onOpen(event: OpenEvent): void {
    if (event.descriptor < 0 || isPathOnly(Number(event.flags))) return;
    if (isFifo(event.file)) {
      if (isPipe(event.file)) this.#onDescriptor(event, "a pipe");
      else this.#onFifo(event, event.path);
      return;
    }
    if (event.path.startsWith("/memfd:")) this.#onDescriptor(event, "memory");
    const memory = /^\/proc\/(\d+)\/(?:task\/\d+\/)?mem$/.exec(event.path);
    // In another proc, of a pid namespace of the build's own, the number means somebody else.
    if (memory && event.file.device === this.#procDevice)
      this.#onReached(event.process, Number(memory[1]), `${event.name} of mem`);
  }

  onInherited(event: InheritedEvent): void {
    if (isFifo(event.file) && !isPipe(event.file)) this.#onFifo(event, event.path);
  }

  /** After the last event. */
  finish(): void {
    for (const fifo of this.#fifos.values()) {
      this.#look(fifo);
      // Turns are bytes, and bytes can be anything.
      const place = `FIFO ${fifo.path}${fifo.path === this.#jobserver ? ", the jobserver of a make outside" : ""}`;
      if (fifo.outsiders.size > 0) {
        for (const found of fifo.outsiders.values())
          this.#options.reportGap("delegated", fifo.process, `${place}${peerText(found)}`);
      } else if (fifo.hadOtherEnd && !(fifo.isRead && fifo.isWritten)) {
        this.#options.reportGap("delegated", fifo.process, place);
      }
    }
  }

  #onFifo({ file, flags, process }: { file: FileIdentity; flags: bigint; process: number }, path: string): void {
    const key = fileKey(file);
    let fifo = this.#fifos.get(key);
    if (!fifo) {
      if (this.#fifos.size >= fifosMax) {
        this.#options.reportGap("limit", process, "FIFOs");
        return;
      }
      const hadOtherEnd = file.birthNs < this.#startNs;
      fifo = { path, process, isRead: false, isWritten: false, hadOtherEnd, outsiders: new Map() };
      this.#fifos.set(key, fifo);
    }
    const isWriting = opensForWriting(Number(flags));
    fifo.hadOtherEnd ||= (Number(flags) & constants.O_NONBLOCK) === 0;
    fifo.isWritten ||= isWriting;
    fifo.isRead ||= !isWriting || readsToo(Number(flags));
    this.#look(fifo);
  }

  /** Who holds it now. An open waits for the other end, so that its holder is there when the open is done. */
  #look(fifo: Fifo): void {
    for (const pid of this.#options.findPeer.holdersOf(fifo.path)) {
      if (!this.#options.isTraced(pid) && !fifo.outsiders.has(pid)) fifo.outsiders.set(pid, this.#options.findPeer.byPid(pid));
    }
  }

  /** Its own are everybody's standard input; somebody else's are reached through /proc only. */
  #onDescriptor({ process, argument, name }: OpenEvent, what: string): void {
    const owner = /^\/proc\/(\d+)\/(?:task\/\d+\/)?fd\//.exec(argument);
    if (owner) this.#onReached(process, Number(owner[1]), `${name} of ${what}`);
  }

  #onReached(process: number, pid: number, how: string): void {
    if (this.#options.isTraced(pid)) return;
    this.#options.reportGap("outside-reached", process, `${how}${peerText(this.#options.findPeer.byPid(pid))}`);
  }
}
