// usage: npm run soak -- [RUNS] [SEED]
//
// Runs of a small hostile mix (test/tracees), 10,000 unless it is said otherwise, each with a seed that decides what it does, as
// whom, and who of the build is stopped, continued or killed from outside meanwhile. What must hold: the run ends, no process is
// lost, none has a wrong parent, and there is no gap but those that a kill provokes. The first run that breaks this is shown, with
// its seed, which can be given again (RUNS 1); of one that hangs also where each of its processes waits. At the end: what
// the machine has more of than before.
import { readdirSync, readFileSync } from "node:fs";
import { errors, type Ran, type Running, Scratch, start, tracee, users } from "../test/harness.ts";
import { gaps } from "../test/record.ts";
import { type Random, randomOf } from "../test/seeded.ts";
import { inconsistencies, parseLines, unseen } from "../test/seen.ts";

interface Row {
  name: string;
  words(random: Random): string[];
  /** Its processes can be stopped and killed from outside: it says nothing that would be wrong then. */
  disturbed?: boolean;
}

const rows: readonly Row[] = [
  { name: "killstorm", words: random => ["20", `${random.below(1 << 20)}`] },
  { name: "forkstorm", words: random => [`${1 + random.below(40)}`] },
  { name: "generations", words: random => [`${1 + random.below(30)}`, random.below(2) === 0 ? "wait" : "orphan"] },
  { name: "threads", words: random => [`${1 + random.below(60)}`] },
  { name: "children", words: () => [] },
  { name: "thread-exec", words: () => [] },
  { name: "exec-kinds", words: () => [] },
  { name: "stop", words: () => [] },
  { name: "generations", words: random => [`${1 + random.below(30)}`, "wait"], disturbed: true },
  { name: "killstorm", words: random => ["10", `${random.below(1 << 20)}`], disturbed: true },
  { name: "threads", words: random => [`${1 + random.below(60)}`], disturbed: true },
];

/** Of a kill in the middle of a call, or of a creator before its event. */
const provoked = new Set(["tracee-gone", "parent-unknown", "unreadable-descriptor", "unreadable-memory", "survivor-killed"]);
const hangMs = 50_000;

const runs = Number(process.argv[2] ?? 10_000);
const first = Number(process.argv[3] ?? Date.now() % 1_000_000_000);
console.log(`soak: ${runs} runs, seeds from ${first}`);
const before = stateOfMachine();
for (let run = 0; run < runs; run++) {
  const problems = await once(first + run);
  if (problems.length > 0) {
    console.log(`soak: seed ${first + run}\n${problems.join("\n")}`);
    process.exit(1);
  }
  if ((run + 1) % 100 === 0) console.log(`soak: ${run + 1} runs, ${difference(before, stateOfMachine())}`);
}
console.log(`soak: ${runs} runs are as they should be; the machine has ${difference(before, stateOfMachine())}`);

async function once(seed: number): Promise<string[]> {
  const random = randomOf(seed);
  const row = rows[random.below(rows.length)] ?? rows[0];
  const user = users[random.below(users.length)] ?? "self";
  if (!row) return [];
  using scratch = new Scratch(user);
  const words = row.words(random);
  const child = start(scratch, [tracee(row.name, scratch), ...words], {
    trace: true,
    // What was killed where it waits to be continued would be waited for; the others end by themselves, however busy the machine is.
    args: row.disturbed ? ["--grace", "300ms"] : [],
  });
  const watchdog = setTimeout(() => {
    console.log(
      `soak: seed ${seed} (${row.name} ${words.join(" ")}, as ${user}) hangs:\n${tree(child.pid).map(describe).join("\n")}`,
    );
    child.kill("SIGKILL");
  }, hangMs);
  const ended = { now: false };
  const disturbing = row.disturbed ? disturb(child, row.name, random, ended) : undefined;
  const ran = await child.end().finally(() => {
    clearTimeout(watchdog);
    ended.now = true;
  });
  await disturbing;
  return problemsOf(ran, child.pid, row).map(problem => `  ${row.name} ${words.join(" ")}, as ${user}: ${problem}`);
}

function problemsOf(ran: Ran, frontEnd: number, row: Row): string[] {
  const { record } = ran;
  // It has its program's name a moment before the exec is over.
  if (row.disturbed && ran.status === 137 && ran.stderr.includes("killed by SIGKILL before it was executed")) return [];
  if (!record) return [`no record, exit status ${ran.status}: ${ran.stderr}`];
  const problems = [...errors(ran), ...inconsistencies(record, frontEnd)];
  const wanted = row.disturbed ? provoked : new Set(row.name === "killstorm" ? ["tracee-gone", "parent-unknown"] : []);
  for (const kind of gaps(record)) if (!wanted.has(kind)) problems.push(`gap ${kind}`);
  const { exitcode } = record.commandRun;
  if (ran.status !== exitcode) problems.push(`our exit status is ${ran.status}, the command's ${exitcode}`);
  if (row.disturbed) {
    // Who was killed may not have had the time to be anything; what was said before holds.
    // A name that was given from its directory stays so where its process is gone before that can be asked, which is a gap.
    const early =
      gaps(record).length > 0 ? /no exedigest|no absolute program|is not absolute/ : /no exedigest|no absolute program/;
    const kept = problems.filter(problem => !early.test(problem));
    const created = parseLines(ran.stdout).filter(line => line.see === "process" || line.see === "thread");
    // Whoever is killed in the middle of a fork cannot say any more whose the child is; the record then says that it guesses.
    const isGuess = gaps(record).includes("parent-unknown");
    return [...kept, ...unseen(record, created).filter(problem => !(isGuess && problem.startsWith("parent is")))];
  }
  if (ran.status !== 0) problems.push(`exit status ${ran.status}`);
  return [...problems, ...unseen(record, parseLines(ran.stdout))];
}

/** Stops, continues and kills processes of the build wherever they are, until the run is over. */
async function disturb(child: Running, name: string, random: Random, ended: { now: boolean }): Promise<void> {
  // Before its first image the command is still our own doing.
  while (
    !ended.now &&
    !tree(child.pid)
      .slice(2)
      .some(pid => text(`/proc/${pid}/comm`).startsWith(name))
  )
    await Bun.sleep(1);
  for (let turn = 0; turn < 40 && !ended.now; turn++) {
    await Bun.sleep(random.below(15));
    // Neither us, nor the tracer.
    const build = tree(child.pid).slice(2);
    const victim = build[random.below(build.length)];
    if (victim === undefined) continue;
    const signal = (["SIGSTOP", "SIGCONT", "SIGKILL", "SIGCONT"] as const)[random.below(4)] ?? "SIGCONT";
    send(victim, signal);
  }
  // Whoever is stopped would be waited for by its parent, in a bare run too.
  while (!ended.now) {
    for (const pid of tree(child.pid).slice(2)) send(pid, "SIGCONT");
    await Bun.sleep(20);
  }
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // gone
  }
}

// ---------------------------------------------------------------------------------------------
// Looking

/** A process and its descendants, from the top. */
function tree(pid: number): number[] {
  const found = [pid];
  for (const one of found) {
    for (const thread of list(`/proc/${one}/task`)) {
      found.push(...text(`/proc/${one}/task/${thread}/children`).split(" ").filter(Boolean).map(Number));
    }
  }
  return found;
}

function describe(pid: number): string {
  const threads = list(`/proc/${pid}/task`).map(thread => {
    const at = `/proc/${pid}/task/${thread}`;
    const status = text(`${at}/status`);
    const lines = ["Name", "State", "PPid", "TracerPid", "SigPnd"].map(key => new RegExp(`^${key}:.*`, "m").exec(status)?.[0]);
    return `  ${thread}: ${lines.join(", ").replaceAll("\t", " ")}; ${text(`${at}/wchan`)}; ${text(`${at}/syscall`).trim()}`;
  });
  return threads.join("\n");
}

function text(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return ""; // gone
  }
}

function list(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

interface Machine {
  /** Of this process. */
  descriptors: number;
  files: number;
  processes: number;
  availableMiB: number;
}

function stateOfMachine(): Machine {
  return {
    descriptors: list("/proc/self/fd").length,
    files: Number(text("/proc/sys/fs/file-nr").split("\t")[0]),
    processes: list("/proc").filter(name => /^\d+$/.test(name)).length,
    availableMiB: Math.round(Number(/^MemAvailable:\s+(\d+)/m.exec(text("/proc/meminfo"))?.[1]) / 1024),
  };
}

function difference(from: Machine, to: Machine): string {
  const descriptors = `${to.descriptors - from.descriptors} descriptors, ${to.files - from.files} open files`;
  return `${descriptors}, ${to.processes - from.processes} processes, ${from.availableMiB - to.availableMiB} MiB of used memory more`;
}
