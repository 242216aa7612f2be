// A set that knows its oldest member. A Set's own order does too, but an engine's iterator walks over what was deleted at its front:
// taking the oldest of 65,536 again and again took 60 µs each.

export class OldestFirst<T> {
  readonly #members = new Set<T>();
  /** With members that are gone since, and some twice: those that came back. */
  #queue: T[] = [];
  #head = 0;

  get size(): number {
    return this.#members.size;
  }

  has(member: T): boolean {
    return this.#members.has(member);
  }

  add(member: T): void {
    if (this.#members.has(member)) return;
    this.#members.add(member);
    this.#queue.push(member);
    // Of 4096 members that come and go the queue would keep every one.
    if (this.#queue.length - this.#head > 2 * this.#members.size + 64) this.#compact();
  }

  delete(member: T): boolean {
    return this.#members.delete(member);
  }

  oldest(): T | undefined {
    while (this.#head < this.#queue.length) {
      const member = this.#queue[this.#head];
      if (member !== undefined && this.#members.has(member)) return member;
      this.#head++;
    }
    return undefined;
  }

  values(): T[] {
    return [...this.#members];
  }

  #compact(): void {
    this.#queue = [...this.#members];
    this.#head = 0;
  }
}
