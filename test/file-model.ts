// A file system in memory, and random programs for it (test/tracees/filework.zig runs them): knows what was in each file at each
// open, what each process left, and where nobody can know.
import { createHash } from "node:crypto";
import type { Random } from "./seeded.ts";

const sha256 = (content: Buffer): string => createHash("sha256").update(content).digest("hex");

/** What has which digest, at any moment: for whoever reads a failure. */
const known = new Map<string, string>();

function note(content: Buffer): void {
  known.set(sha256(content), `"${content.toString("latin1").slice(0, 60).replaceAll("\0", ".")}" (${content.length} bytes)`);
}

const shown = (digest: string | undefined): string => (digest === undefined ? "nothing" : (known.get(digest) ?? digest));

interface Inode {
  content: Buffer;
  readonly names: Set<string>;
  /** Its last one, of those that are gone. */
  last: string | undefined;
  readonly sessions: Set<Session>;
}

/** An open file description: forks and messages share it. */
interface Description {
  readonly inode: Inode;
  readonly access: "r" | "w" | "b";
  readonly append: boolean;
  position: number;
}

/** A process that has opened a file for writing. */
interface Session {
  readonly process: Process;
  readonly inode: Inode;
  readonly openedAs: Set<string>;
  /** Its end is still to come. */
  live: boolean;
  openAtRemoval: boolean;
  /** Others had the file open for writing at its end. */
  lingers: boolean;
  /** What it may have left. */
  allowed: Set<string>;
  /** Others were at it: the content can be gone before anybody could look. */
  mayBeUnknown: boolean;
}

interface Process {
  readonly number: number;
  alive: boolean;
  readonly descriptors: Map<number, Description>;
  readonly maps: Map<number, Inode>;
  /** By path, in order. */
  readonly reads: Map<string, { digest: string; mayBeUnknown: boolean }[]>;
  readonly sessions: Set<Session>;
}

/** What a record has of one process: its digests, by name. */
export interface Found {
  process: number;
  opened: Map<string, string | undefined>;
  written: Map<string, string>;
  versions: Map<string, string[]>;
}

const processesMax = 6;
const slots = 16;

export class FileModel {
  readonly steps: string[] = [];
  /** Somewhere a content may be unknown: then the record may be incomplete. */
  mayBeIncomplete = false;
  readonly #random: Random;
  readonly #names = ["a", "b", "c", "d", "e", "f"];
  readonly #files = new Map<string, Inode>();
  readonly #inodes = new Set<Inode>();
  readonly #processes: Process[] = [];
  #texts = 0;

  /** `before`: what is there at the start. */
  constructor(random: Random, before: ReadonlyMap<string, Buffer>) {
    this.#random = random;
    for (const [name, content] of before) this.#name(this.#make(content), name);
    this.#processes.push(newProcess(0));
  }

  /** One step that will succeed; now and then none. */
  step(): void {
    for (const { content, names, sessions } of this.#inodes) {
      note(content);
      // Of a file that is gone any content from then on is as good: nobody can open it.
      if (names.size === 0) for (const session of sessions) if (session.openAtRemoval) add(session);
    }
    const random = this.#random;
    const process = random.pick(this.#processes.filter(({ alive }) => alive));
    const [name, other] = [random.pick(this.#names), random.pick(this.#names)];
    const there = this.#files.get(name);
    const descriptors = [...process.descriptors];
    const [slot, held] = descriptors.length > 0 ? random.pick(descriptors) : [0, undefined];
    const writable = held && held.access !== "r" ? held : undefined;
    const say = (...words: (string | number)[]) => this.steps.push([process.number, ...words].join(" "));
    switch (random.pick(kinds)) {
      case "read":
        if (there) this.#open(process, name, "r", say);
        return;
      case "open":
        this.#open(process, name, this.#flags(there !== undefined), say);
        return;
      case "tmpfile": {
        const inode = this.#make(Buffer.alloc(0));
        const into = freeSlot(process);
        if (into === undefined) return;
        this.#openForWriting(process, inode, { truncates: false });
        process.descriptors.set(into, { inode, access: "b", append: false, position: 0 });
        say("tmpfile", into);
        return;
      }
      case "linkfd": {
        // Of those that have a name link(2) works too; what had one once cannot get another.
        if (!held || there || (held.inode.names.size === 0 && held.inode.last !== undefined)) return;
        this.#name(held.inode, name);
        say("linkfd", slot, name);
        return;
      }
      case "write": {
        if (!writable) return;
        const [text, count] = [this.#text(), random.below(8) === 0 ? 2000 + random.below(20_000) : 1 + random.below(3)];
        const at = writable.append ? writable.inode.content.length : writable.position;
        put(writable.inode, at, Buffer.from(text.repeat(count)));
        writable.position = at + text.length * count;
        say("write", slot, text, count);
        return;
      }
      case "pwrite": {
        if (!writable) return;
        const [offset, text] = [random.below(40), this.#text()];
        put(writable.inode, writable.append ? writable.inode.content.length : offset, Buffer.from(text));
        say("pwrite", slot, offset, text);
        return;
      }
      case "copy":
      case "sendfile": {
        const [from, source] = descriptors.length > 0 ? random.pick(descriptors) : [0, undefined];
        if (!source || source.access === "w" || !writable || writable.append || source.inode === writable.inode) return;
        const length = Math.min(source.inode.content.length - source.position, 1 + random.below(3000));
        if (length <= 0) return;
        put(writable.inode, writable.position, source.inode.content.subarray(source.position, source.position + length));
        source.position += length;
        writable.position += length;
        say(random.below(2) === 0 ? "copy" : "sendfile", from, slot, length);
        return;
      }
      case "ftruncate": {
        if (!writable) return;
        const length = random.below(50);
        cut(writable.inode, length);
        say("ftruncate", slot, length);
        return;
      }
      case "truncate": {
        if (!there) return;
        const length = random.below(20);
        this.#openForWriting(process, there, { truncates: true, name });
        cut(there, length);
        say("truncate", name, length);
        return;
      }
      case "map": {
        const into = random.below(slots);
        if (held?.access !== "b" || process.maps.has(into)) return;
        process.maps.set(into, held.inode);
        // No random number: the seeds that were once wrong stay what they were.
        say(into % 2 === 0 ? "map" : "mapread", into, slot);
        return;
      }
      case "store": {
        const maps = [...process.maps];
        if (maps.length === 0) return;
        const [map, inode] = random.pick(maps);
        const text = this.#text();
        const room = Math.min(inode.content.length, 4096) - text.length;
        if (room < 0) return;
        const offset = random.below(room + 1);
        put(inode, offset, Buffer.from(text));
        say("store", map, offset, text);
        return;
      }
      case "unmap": {
        const map = [...process.maps.keys()][0];
        if (map === undefined) return;
        process.maps.delete(map);
        say("unmap", map);
        return;
      }
      case "close":
        if (!held) return;
        process.descriptors.delete(slot);
        say("close", slot);
        return;
      case "send": {
        const to = random.pick(this.#processes.filter(({ alive }) => alive));
        const into = freeSlot(to);
        if (!held || to === process || into === undefined) return;
        to.descriptors.set(into, held);
        say("send", to.number, slot);
        this.steps.push(`${to.number} recv ${into}`);
        return;
      }
      case "rename": {
        if (!there || name === other || this.#files.get(other) === there) return;
        this.#unname(other);
        this.#move(there, name, other);
        say("rename", name, other);
        return;
      }
      case "exchange": {
        const second = this.#files.get(other);
        if (!there || !second || name === other) return;
        if (there !== second) this.#exchange(there, name, second, other);
        say("exchange", name, other);
        return;
      }
      case "link":
        if (!there || this.#files.has(other)) return;
        this.#name(there, other);
        say("link", name, other);
        return;
      case "unlink":
        if (!there) return;
        this.#unname(name);
        say("unlink", name);
        return;
      case "oldtime":
        if (there) say("oldtime", name);
        return;
      case "sleep":
        say("sleep", random.pick([1, 5, 25]));
        return;
      case "fork":
        if (this.#processes.length < processesMax) this.#fork(process, say);
        return;
      case "exit":
        if (process.number === 0) return;
        say("exit");
        this.#end(process);
    }
  }

  /** What is there when all have ended. */
  finish(): Map<string, string> {
    for (const { content, sessions } of this.#inodes) {
      note(content);
      for (const session of sessions) if (session.openAtRemoval) add(session);
    }
    for (const inode of this.#inodes) for (const session of inode.sessions) if (session.live || session.lingers) add(session);
    return new Map([...this.#files].map(([name, { content }]) => [name, sha256(content)]));
  }

  /** What of a record is not so: one sentence each. After `finish`. */
  wrong(found: readonly Found[]): string[] {
    const problems: string[] = [];
    for (const process of this.#processes) {
      const entry = found.find(({ process: number }) => number === process.number);
      if (entry) problems.push(...checkReads(process, entry), ...checkWritten(process, entry));
      else problems.push(`process ${process.number} is missing`);
    }
    for (const [name, inode] of this.#files) {
      if (inode.sessions.size === 0 || this.mayBeIncomplete) continue;
      const expected = sha256(inode.content);
      const digests = found.flatMap(({ written }) => written.get(name) ?? []);
      if (!digests.includes(expected)) problems.push(`nobody has left what ${name} has at the end`);
    }
    return problems;
  }

  #open(process: Process, name: string, flags: string, say: (...words: (string | number)[]) => void): void {
    const slot = freeSlot(process);
    if (slot === undefined) return;
    const access = accessOf(flags);
    let inode = this.#files.get(name);
    if (!inode) {
      inode = this.#make(Buffer.alloc(0));
      this.#name(inode, name);
    }
    if (access === "r") this.#read(process, name, inode);
    else this.#openForWriting(process, inode, { truncates: flags.includes("t"), name });
    if (flags.includes("t")) cut(inode, 0);
    process.descriptors.set(slot, { inode, access, append: flags.includes("a"), position: 0 });
    say("open", slot, name, flags);
  }

  #read(process: Process, name: string, inode: Inode): void {
    const mayBeUnknown = this.#hasWriter(inode);
    if (mayBeUnknown) this.mayBeIncomplete = true;
    const reads = process.reads.get(name) ?? [];
    process.reads.set(name, reads);
    reads.push({ digest: sha256(inode.content), mayBeUnknown });
  }

  #openForWriting(process: Process, inode: Inode, { truncates, name }: { truncates: boolean; name?: string }): void {
    for (const session of inode.sessions) {
      if (session.process === process) continue;
      // Whoever holds a descriptor can have written in the same moment; whoever does not is known.
      if (session.lingers) this.#mayBeUnknown(session);
      if ((session.live && truncates) || session.lingers) add(session);
      if (session.live && truncates) {
        session.live = false;
      }
    }
    let session = [...process.sessions].find(one => one.inode === inode);
    if (!session) {
      session = {
        process,
        inode,
        openedAs: new Set(),
        live: true,
        lingers: false,
        openAtRemoval: false,
        allowed: new Set(),
        mayBeUnknown: false,
      };
      process.sessions.add(session);
      inode.sessions.add(session);
    }
    Object.assign(session, { live: true, lingers: false, allowed: new Set(), mayBeUnknown: false });
    if (name !== undefined) session.openedAs.add(name);
  }

  #end(process: Process): void {
    process.alive = false;
    process.descriptors.clear();
    process.maps.clear();
    for (const inode of this.#inodes) {
      for (const session of inode.sessions) {
        if (session.lingers) add(session);
        if (session.process !== process || !session.live) continue;
        add(session);
        session.live = false;
        session.lingers = this.#hasWriter(inode);
        if (session.lingers) this.#mayBeUnknown(session);
      }
    }
  }

  #mayBeUnknown(session: Session): void {
    session.mayBeUnknown = true;
    this.mayBeIncomplete = true;
  }

  #fork(process: Process, say: (...words: (string | number)[]) => void): void {
    const child = newProcess(this.#processes.length);
    for (const [slot, description] of process.descriptors) child.descriptors.set(slot, description);
    for (const [slot, inode] of process.maps) child.maps.set(slot, inode);
    this.#processes.push(child);
    say("fork", child.number);
  }

  #hasWriter(inode: Inode): boolean {
    return this.#processes.some(
      ({ descriptors, maps }) =>
        [...descriptors.values()].some(one => one.inode === inode && one.access !== "r") || [...maps.values()].includes(inode),
    );
  }

  #flags(exists: boolean): string {
    const random = this.#random;
    const access = random.pick(["w", "b"]);
    const truncate = random.pick(["t", "", ""]);
    return access + truncate + random.pick(["a", "", ""]) + (exists ? random.pick(["c", ""]) : "c");
  }

  #text(): string {
    return `t${this.#texts++}.`;
  }

  #make(content: Buffer): Inode {
    const inode: Inode = { content, names: new Set(), last: undefined, sessions: new Set() };
    this.#inodes.add(inode);
    return inode;
  }

  #name(inode: Inode, name: string): void {
    this.#files.set(name, inode);
    inode.names.add(name);
  }

  #unname(name: string): void {
    const inode = this.#files.get(name);
    if (!inode) return;
    this.#files.delete(name);
    inode.names.delete(name);
    inode.last = name;
    if (inode.names.size > 0) return;
    for (const session of inode.sessions) {
      if (session.live || session.lingers) add(session);
      if (session.lingers) this.#mayBeUnknown(session);
      session.openAtRemoval = session.live || session.lingers;
      session.live = false;
    }
  }

  #move(inode: Inode, from: string, to: string): void {
    this.#files.delete(from);
    inode.names.delete(from);
    this.#name(inode, to);
  }

  #exchange(a: Inode, nameOfA: string, b: Inode, nameOfB: string): void {
    a.names.delete(nameOfA);
    b.names.delete(nameOfB);
    this.#name(a, nameOfB);
    this.#name(b, nameOfA);
  }
}

const kinds = [
  ..."read read read open open open open write write write pwrite copy sendfile ftruncate truncate map store store".split(" "),
  ..."tmpfile linkfd unmap close close send rename rename exchange link unlink oldtime sleep fork fork exit exit".split(" "),
];

function newProcess(number: number): Process {
  return { number, alive: true, descriptors: new Map(), maps: new Map(), reads: new Map(), sessions: new Set() };
}

function accessOf(flags: string): Description["access"] {
  return flags.startsWith("r") ? "r" : flags.startsWith("w") ? "w" : "b";
}

function freeSlot({ descriptors }: Process): number | undefined {
  for (let slot = 0; slot < slots; slot++) if (!descriptors.has(slot)) return slot;
  return undefined;
}

function put(inode: Inode, at: number, bytes: Buffer): void {
  const grown = Buffer.alloc(Math.max(inode.content.length, at + bytes.length));
  inode.content.copy(grown);
  bytes.copy(grown, at);
  inode.content = grown;
}

function cut(inode: Inode, length: number): void {
  const result = Buffer.alloc(length);
  inode.content.copy(result);
  inode.content = result;
}

function add(session: Session): void {
  session.allowed.add(sha256(session.inode.content));
}

function checkReads(process: Process, entry: Found): string[] {
  const problems: string[] = [];
  for (const [name, reads] of process.reads) {
    const [first] = reads;
    const digest = entry.opened.get(name);
    const mayBeUnknown = first?.mayBeUnknown ?? false;
    if (digest === undefined ? !mayBeUnknown : digest !== first?.digest) {
      problems.push(`process ${process.number} has read ${shown(first?.digest)} from ${name}, not ${shown(digest)}`);
    }
    const openedAs = [...process.sessions].flatMap(session => (session.openedAs.has(name) ? [...session.allowed] : []));
    const possible = new Set([...reads.map(read => read.digest), ...leftUnder(process, name), ...openedAs]);
    for (const version of entry.versions.get(name) ?? []) {
      if (!possible.has(version)) problems.push(`process ${process.number} never met ${shown(version)} in ${name}`);
    }
  }
  return problems;
}

function checkWritten(process: Process, entry: Found): string[] {
  const problems: string[] = [];
  for (const [name, digest] of entry.written) {
    // O_TMPFILE calls a file by its number until it has a name.
    if (!name.startsWith("#") && !leftUnder(process, name).includes(digest))
      problems.push(
        `process ${process.number} cannot have left ${shown(digest)} in ${name}, but ${leftUnder(process, name).map(shown)}`,
      );
  }
  for (const { inode, mayBeUnknown } of process.sessions) {
    for (const name of inode.names) {
      if (!mayBeUnknown && !entry.written.has(name)) problems.push(`process ${process.number} has left something in ${name}`);
    }
  }
  return problems;
}

/** Under its last name too: what a file has that is gone. */
function leftUnder(process: Process, name: string): string[] {
  return [...process.sessions].flatMap(({ inode, allowed }) =>
    inode.names.has(name) || (inode.names.size === 0 && inode.last === name) ? [...allowed] : [],
  );
}
