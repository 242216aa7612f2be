// The Zig half as TypeScript sees it: one list of functions, answered inside the static binary by our own
// dlopen (zig/stub.zig), and by a shared library in development (`zig build lib`). The only file that knows
// addresses.
import { dlopen, type Pointer, FFIType as T, toArrayBuffer } from "bun:ffi";
import { join } from "node:path";

const signatures = {
  cilock_layout_hash: { args: [], returns: T.u64 },
  cilock_open: { args: [T.ptr, T.u64, T.ptr, T.u64], returns: T.i32 },
  cilock_mapping: { args: [], returns: T.ptr },
  cilock_mapping_size: { args: [], returns: T.u64 },
  cilock_strings: { args: [T.u32, T.ptr, T.u64], returns: T.u64 },
  cilock_add_secret: { args: [T.ptr, T.u64], returns: T.i32 },
  cilock_start: { args: [T.u64, T.u32], returns: T.i32 },
  cilock_cancel: { args: [], returns: T.void },
  cilock_wake_writer: { args: [T.u32], returns: T.void },
  cilock_close: { args: [T.i32], returns: T.void },
  cilock_kill_all: { args: [], returns: T.void },
  cilock_finish: { args: [], returns: T.void },
  cilock_stream: { args: [T.u32, T.ptr], returns: T.void },
  cilock_probe: { args: [T.ptr, T.u64], returns: T.i64 },
} as const;

const load = () => {
  try {
    return { symbols: dlopen("builtin:cilock", signatures).symbols, builtin: true };
  } catch {
    // An ordinary Bun, which has no such library: the development build.
    return { symbols: dlopen(developmentLibrary(), signatures).symbols, builtin: false };
  }
};

export function developmentLibrary(): string {
  return process.env.CILOCK_LIBRARY ?? join(import.meta.dir, "../../zig-out/lib/libcilock.so");
}

/** Captured output of one stream; see `Summary` in zig/pump.zig. */
export interface StreamSummary {
  captured: Uint8Array;
  length: bigint;
  redactions: bigint;
  sha256: Uint8Array;
  /** Bytes that could not be passed on, at least. */
  lost: bigint;
  /** Why; 0: nothing was lost. */
  errno: number;
}

export class Library {
  readonly #symbols: ReturnType<typeof load>["symbols"];
  /** Inside the static binary: tracer and command were made before main. */
  readonly builtin: boolean;

  constructor() {
    const { symbols, builtin } = load();
    this.#symbols = symbols;
    this.builtin = builtin;
  }

  layoutHash(): bigint {
    return this.#symbols.cilock_layout_hash();
  }

  /** 0, or a negative errno. The strings, NUL after each, are for development; before main they came from the kernel. */
  open(argv: Uint8Array, environment: Uint8Array): number {
    return this.#symbols.cilock_open(orNull(argv), argv.length, orNull(environment), environment.length);
  }

  /** Control block and rings, shared with the tracer. */
  mapping(): ArrayBuffer {
    return view(this.#symbols.cilock_mapping(), this.#symbols.cilock_mapping_size());
  }

  argv(): Uint8Array[] {
    return this.#strings(0);
  }

  environment(): Uint8Array[] {
    return this.#strings(1);
  }

  #strings(which: number): Uint8Array[] {
    const size = Number(this.#symbols.cilock_strings(which, new Uint8Array(1), 0));
    const bytes = new Uint8Array(Math.max(size, 1));
    this.#symbols.cilock_strings(which, bytes, size);
    return splitStrings(bytes.subarray(0, size));
  }

  /** False if there are too many, or it is too short or too long to be looked for. */
  addSecret(secret: Uint8Array): boolean {
    return secret.length > 0 && this.#symbols.cilock_add_secret(secret, secret.length) === 0;
  }

  start(captureLimit: number, stdoutToStderr: boolean): boolean {
    return this.#symbols.cilock_start(captureLimit, stdoutToStderr ? 1 : 0) === 0;
  }

  cancel(): void {
    this.#symbols.cilock_cancel();
  }

  wakeWriter(ring: number): void {
    this.#symbols.cilock_wake_writer(ring);
  }

  close(descriptor: number): void {
    this.#symbols.cilock_close(descriptor);
  }

  killAll(): void {
    this.#symbols.cilock_kill_all();
  }

  finish(): void {
    this.#symbols.cilock_finish();
  }

  /** See src/native/probe.ts. Numbers of capabilities have 41 bits. */
  probe(name: string): number {
    const bytes = Buffer.from(name);
    return Number(this.#symbols.cilock_probe(bytes, bytes.length));
  }

  /** What was captured stays where it is, in memory that nobody gives back. */
  stream(index: 0 | 1): StreamSummary {
    const summary = new Uint8Array(80);
    this.#symbols.cilock_stream(index, summary);
    const words = new BigUint64Array(summary.buffer);
    const [address = 0n, captured = 0n, length = 0n, redactions = 0n] = words;
    const [lost = 0n, errno = 0n] = words.subarray(8);
    const bytes = captured === 0n ? new Uint8Array(0) : new Uint8Array(view(Number(address) as Pointer, captured));
    return { captured: bytes, length, redactions, sha256: summary.slice(32, 64), lost, errno: Number(errno) };
  }
}

/** NUL after each string. */
export function splitStrings(bytes: Uint8Array): Uint8Array[] {
  const result: Uint8Array[] = [];
  for (let from = 0; from < bytes.length; ) {
    const nul = bytes.indexOf(0, from);
    const to = nul < 0 ? bytes.length : nul;
    result.push(bytes.slice(from, to));
    from = to + 1;
  }
  return result;
}

function view(address: Pointer | bigint | null, size: bigint): ArrayBuffer {
  if (address === null) throw new Error("the library has no memory to share");
  return toArrayBuffer(Number(address) as Pointer, 0, Number(size));
}

/** bun:ffi refuses the address of an empty array. */
const orNull = (bytes: Uint8Array): Uint8Array | null => (bytes.length === 0 ? null : bytes);
