// Observer of what could not be seen. Collects gaps of the tracer and of the other observers, and gives the verdict.
import type { Event, GapEvent } from "../native/events.ts";
import { type GapName, gapOfTracer, gapTable } from "./gaps.ts";
import { signalName } from "./names.ts";
import type { Completeness, Gap, Verdict } from "./observation.ts";

interface Found {
  count: number;
  processes: Set<number>;
  examples: string[];
}

const badAddress = -14n; // EFAULT

/** What is listed of each kind; `count` counts on. */
const processesMax = 100;
const examplesMax = 8;
const exampleLengthMax = 256;

export class Gaps {
  readonly #found = new Map<GapName, Found>();
  /** Records whose arguments the tracer could not read, without a gap of their own. */
  readonly #unreadable = new Map<number, number>();

  readonly report = (kind: GapName, process: number, example?: string): void => {
    let found = this.#found.get(kind);
    if (!found) {
      found = { count: 0, processes: new Set(), examples: [] };
      this.#found.set(kind, found);
    }
    found.count++;
    if (process > 0 && found.processes.size < processesMax) found.processes.add(process);
    if (example === undefined || example === "" || found.examples.length >= examplesMax) return;
    const short = example.length > exampleLengthMax ? `${example.slice(0, exampleLengthMax).toWellFormed()}…` : example;
    if (!found.examples.includes(short)) found.examples.push(short);
  };

  onGap(event: GapEvent): void {
    this.report(gapOfTracer[event.gap], event.process, exampleOf(event));
  }

  /** Flags of any record. */
  onFlags(event: Event): void {
    if (event.header.truncated) this.report("truncated", event.process, event.kind === "syscall" ? event.name : event.kind);
    // A bad pointer is the process's own affair: the kernel could not read it either.
    if (event.kind === "syscall" && event.result === badAddress) return;
    if (event.header.unreadable) this.#unreadable.set(event.process, (this.#unreadable.get(event.process) ?? 0) + 1);
  }

  /** `kindOrder` is the table's, so that the same build gives the same list. */
  finish(tracer: Completeness["tracer"], pidOf: (process: number) => number | undefined): Completeness {
    // The tracer reports unreadable memory as a gap and flags the record: once is enough, but never not at all.
    if (!this.#found.has("unreadable-memory")) {
      for (const [process, count] of this.#unreadable) for (let i = 0; i < count; i++) this.report("unreadable-memory", process);
    }
    const gaps: Gap[] = [];
    for (const [name, row] of Object.entries(gapTable)) {
      const found = this.#found.get(name as GapName); // Object.entries of the table itself
      if (!found) continue;
      const processIds = [...found.processes].map(pidOf).filter(pid => pid !== undefined);
      const detail = found.examples.length === 0 ? row.sentence : `${row.sentence}: ${found.examples.join(", ")}`;
      gaps.push({ kind: name, severity: row.severity, count: found.count, processIds, detail });
    }
    return { verdict: verdictOf(gaps), gaps, tracer };
  }
}

/** For what is found out when the trace is over. Each example counts once. */
export function withGap(completeness: Completeness, name: GapName, examples: readonly string[]): Completeness {
  if (examples.length === 0) return completeness;
  const gaps = new Gaps();
  for (const example of examples) gaps.report(name, 0, example);
  const all = [...completeness.gaps, ...gaps.finish(completeness.tracer, () => undefined).gaps];
  return { ...completeness, verdict: verdictOf(all), gaps: all };
}

function verdictOf(gaps: readonly Gap[]): Verdict {
  if (gaps.some(gap => gap.severity === "gap")) return "incomplete";
  return gaps.length > 0 ? "complete-with-notes" : "complete";
}

/** What `value` and `text` mean depends on the kind; see zig/abi.zig. */
function exampleOf(event: GapEvent): string {
  switch (event.gap) {
    case "untraced_child":
    case "parent_unknown":
      return `process ${event.value}`;
    case "survivor_killed":
      return event.text === "" ? `process ${event.value}` : `${event.text} (process ${event.value})`;
    case "unreadable_memory":
    case "x32_refused":
    case "tracee_gone":
    case "unknown_syscall":
    case "attack_refused":
    case "own_file_opened":
      return event.text === "" ? `system call ${event.value}` : event.text;
    case "outside_reached":
      return event.value === 0n ? `${event.text} (all processes)` : `${event.text} (process ${event.value})`;
    case "group_signal_kept":
      return `${event.text} of ${signalName(Number(event.value))}`;
    case "kernel_delegated":
      return `the kernel, by ${event.text}`;
    case "unreadable_descriptor":
      return `descriptor ${BigInt.asIntN(32, event.value)}`;
    case "privilege_not_gained":
    case "limit":
    case "names_unwatched":
    case "io_uring_refused":
    case "io_uring_allowed":
    case "nested_tracer":
    case "seccomp_listener":
    case "dumpable_kept":
    case "userfault_restricted":
    case "program_unknown":
    case "kernel_reached":
    case "outside_met":
    case "arguments_changed":
      return event.text;
  }
}
