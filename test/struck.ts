// Something happens to a build in the very moment in which its tracer looks at one of its stops: test/tracees/hold.zig holds the
// tracer there, test/tracees/struck.zig makes the stop.
import { readdirSync, readFileSync } from "node:fs";
import { type Running, type Scratch, start, tracee, until } from "./harness.ts";
import { parseLines } from "./seen.ts";

/** A build under way that will do one thing, and its tracer under our control. */
export class Struck {
  readonly child: Running;
  #hold: ReturnType<typeof spawnHold> | undefined;
  #said = "";
  worker = 0;

  constructor(
    readonly scratch: Scratch,
    readonly what: string,
  ) {
    this.child = start(scratch, [tracee("struck", scratch), what], { trace: true, stdin: "pipe" });
  }

  get tracer(): number {
    const [only = ""] = readFileSync(`/proc/${this.child.pid}/task/${this.child.pid}/children`, "latin1").trim().split(" ");
    return Number(only);
  }

  /** The worker, which waits for `holdAt`. */
  async ready(): Promise<number> {
    this.worker = await until("the worker is there", () => {
      const line = this.child.printed.includes("\n") ? parseLines(Buffer.from(this.child.printed))[0] : undefined;
      return line?.see === "answer" && line.value;
    });
    return this.worker;
  }

  /** Lets the build do it, and answers the thread that stands in the last of these moments. */
  async holdAt(moments: string[]): Promise<number> {
    const hold = spawnHold(this.tracer, moments);
    this.#hold = hold;
    void this.#collect(hold.stdout);
    await this.#until("attached\n");
    // It waits already, so that this moment comes at once. Then what the build does stands still before any of it is looked at.
    const letPileUp = moments[0] === "wait";
    if (!letPileUp) this.child.type("\n");
    let thread = 0;
    for (const [index, moment] of moments.entries()) {
      if (moments[index - 1] === "group" && moment === "trap") process.kill(this.worker, "SIGCONT");
      if (index > 0) this.#goOn();
      const held = await this.#until(new RegExp(`^held ${moment} `), index);
      thread = Number(held);
      if (moment !== "wait") continue;
      this.child.type("\n");
      await until("creator and created stand still", () => {
        const stopped = this.#threads().filter(tid => statusOf(tid)?.State?.startsWith("t"));
        return stopped.length >= 2;
      });
    }
    return thread;
  }

  /** The tracer goes on, and nobody holds it any more. */
  async letGo(): Promise<void> {
    this.#goOn();
    if ((await this.#hold?.exited) !== 0) throw new Error("the tracer was not let go");
  }

  /** Of the worker, and of its children. */
  #threads(): number[] {
    const children = readFileSync(`/proc/${this.worker}/task/${this.worker}/children`, "latin1").trim().split(" ");
    return [...readdirSync(`/proc/${this.worker}/task`), ...children.filter(Boolean)].map(Number);
  }

  #goOn(): void {
    this.#hold?.stdin.write("\n");
    this.#hold?.stdin.flush();
  }

  async #collect(stream: ReadableStream<Uint8Array>): Promise<void> {
    for await (const chunk of stream) this.#said += Buffer.from(chunk).toString();
  }

  async #until(what: string | RegExp, index = 0): Promise<string> {
    return until(`the tracer is held: ${what} (${this.what}); so far: ${this.#said}`, () => {
      if (typeof what === "string") return this.#said.includes(what) && what;
      const [line = "", thread] = [...this.#said.matchAll(/^held [\w-]+ (\d+)\n/gm)][index] ?? [];
      return what.test(line) && thread;
    });
  }

  [Symbol.dispose](): void {
    this.#hold?.kill("SIGKILL");
    this.child.kill("SIGKILL");
  }
}

function spawnHold(tracer: number, moments: string[]) {
  return Bun.spawn([tracee("hold"), `${tracer}`, ...moments], { stdin: "pipe", stdout: "pipe", stderr: "inherit" });
}

/** Fields of /proc/PID/status; undefined: there is no such thread. */
export function statusOf(thread: number): { [name: string]: string } | undefined {
  try {
    const text = readFileSync(`/proc/${thread}/status`, "latin1");
    return Object.fromEntries(text.split("\n").map(line => line.split(":\t") as [string, string]));
  } catch {
    return undefined;
  }
}
