// The eventfd that tracer, pump and signal handlers write to, as the event loop sees it. A file's stream is the
// one way in which Bun waits for a descriptor without a thread of ours: sockets made of an eventfd never fire.

export class Wakeups {
  readonly #reader: { read(): Promise<unknown>; cancel(): Promise<void> };
  #pending: Promise<unknown> | undefined;

  constructor(eventDescriptor: number) {
    this.#reader = Bun.file(eventDescriptor).stream().getReader();
  }

  /** Resolves at the next wake-up, or at once for one that has come since the last. */
  async next(): Promise<void> {
    this.#pending ??= this.#reader.read();
    await this.#pending;
    this.#pending = undefined;
  }

  close(): void {
    void this.#reader.cancel();
  }
}
