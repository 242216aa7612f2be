// Places where a build cannot be traced, really made: the run stops before the command, names the cause and says what to do, leaves
// no record; and `cilock doctor` says the same.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chownSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { cilock, commandLine, isRoot, plainEnvironment, recordOf, run, Scratch, tracee, type User, users } from "./harness.ts";
import { gaps } from "./record.ts";
import { Rootfs, runWords, staticBusybox } from "./rootfs.ts";

const report = z.strictObject({
  verdict: z.enum(["works", "slower", "impossible"]),
  obstacle: z.string().optional(),
  cause: z.string().optional(),
  remedy: z.string().optional(),
  probes: z.array(
    z.strictObject({
      id: z.string(),
      state: z.enum(["ok", "slower", "missing", "blocks", "fact"]),
      result: z.string(),
      meaning: z.string(),
      remedy: z.string().optional(),
    }),
  ),
});

interface Row {
  name: string;
  /** Words before those of cilock, that make the place. */
  around: (scratch: Scratch) => string[];
  needsRoot?: boolean;
  /** A program that is not on every machine. */
  needs?: string;
  obstacle: string;
  /** What the sentence on the cause must name. */
  names: RegExp;
  hint: RegExp;
}

/** A directory in place of /proc/sys/kernel, in a mount namespace of its own: there is no Yama where this was written. */
const withYama = (scratch: Scratch, scope: number, more: string[]) => {
  const fake = join(scratch.path, "kernel");
  mkdirSync(join(fake, "yama"), { recursive: true });
  writeFileSync(join(fake, "yama/ptrace_scope"), `${scope}\n`);
  const script = 'mount --bind "$1" /proc/sys/kernel; shift; exec "$@"';
  return ["unshare", "--mount", "sh", "-ec", script, "sh", fake, ...more];
};
const deny = (scratch: Scratch, ...words: string[]) => [tracee("deny", scratch), ...words, "--", "/usr/bin/env"];
/** Only this request, as a security module would: the kernel's own checks of ptrace(2) are reached. */
const seize = "first=0x4206";

const rows: Row[] = [
  {
    name: "under strace -f",
    around: () => ["strace", "-f", "-o", "/dev/null"],
    needs: "strace",
    obstacle: "traced-already",
    names: /traced already, by strace \(process \d+\)/,
    hint: /without the other tracer/,
  },
  {
    // All of it would work: what is known beforehand stops the run.
    name: "an old kernel",
    around: () => ["setarch", "--uname-2.6"],
    needs: "setarch",
    obstacle: "old-kernel",
    names: /Linux 2\.6\.\S+ is too old/,
    hint: /newer kernel/,
  },
  {
    name: "a seccomp profile that refuses ptrace",
    around: scratch => deny(scratch, "PERM", "ptrace"),
    obstacle: "ptrace-refused",
    names: /seccomp profile refuses ptrace \(EPERM\)/,
    hint: /SYS_PTRACE/,
  },
  {
    name: "a seccomp profile that has never heard of ptrace",
    around: scratch => deny(scratch, "NOSYS", "ptrace"),
    obstacle: "ptrace-refused",
    names: /seccomp profile refuses ptrace \(ENOSYS\)/,
    hint: /SYS_PTRACE/,
  },
  {
    name: "a seccomp profile that kills for ptrace",
    around: scratch => deny(scratch, "kill", "ptrace"),
    obstacle: "ptrace-refused",
    names: /seccomp profile refuses ptrace \(killed by SIGSYS\)/,
    hint: /SYS_PTRACE/,
  },
  {
    name: "a seccomp profile that refuses seccomp",
    around: scratch => deny(scratch, "PERM", "seccomp"),
    obstacle: "seccomp-refused",
    names: /refuses seccomp itself \(EPERM\)/,
    hint: /seccomp\(2\)/,
  },
  {
    name: "a kernel without filters",
    around: scratch => deny(scratch, "INVAL", "seccomp", "first=1"),
    obstacle: "no-filter",
    names: /no seccomp filter/,
    hint: /CONFIG_SECCOMP_FILTER/,
  },
  {
    name: "something that refuses to attach",
    around: scratch => deny(scratch, "PERM", "ptrace", seize),
    obstacle: "seize-refused",
    names: /trace our own child \(EPERM/,
    hint: /security module/,
  },
  {
    name: "a sandbox that plays along and never stops anything",
    around: scratch => deny(scratch, "NONE", "ptrace"),
    obstacle: "no-call-info",
    names: /no answer/,
    hint: /use another/,
  },
  {
    name: "Yama 3",
    around: scratch => withYama(scratch, 3, deny(scratch, "PERM", "ptrace", seize)),
    needsRoot: true,
    obstacle: "yama-3",
    names: /ptrace_scope is 3/,
    hint: /boot/,
  },
  {
    name: "a pid namespace with the /proc of another",
    around: () => ["unshare", "--pid", "--fork"],
    needsRoot: true,
    obstacle: "foreign-proc",
    names: /another pid namespace/,
    hint: /mount -t proc/,
  },
];

/** Nothing of the command must have run, and nothing be left of the record. */
async function refuses(scratch: Scratch, { around, obstacle, names, hint }: Row): Promise<void> {
  const command = ["/bin/sh", "-c", "echo ran; touch ran"];
  const words = [...around(scratch), ...commandLine(scratch, command, { trace: true })];
  const child = Bun.spawnSync(words, { cwd: scratch.work, env: plainEnvironment(scratch), timeout: 60_000 });
  const lines = child.stderr.toString().split("\n");
  expect(lines.filter(line => line.startsWith("cilock: error:"))).toEqual([expect.stringMatching(names)]);
  expect(lines.filter(line => line.startsWith("cilock: hint:"))).toEqual([expect.stringMatching(hint)]);
  expect(child.stdout.toString()).toBe("");
  expect(existsSync(join(scratch.work, "ran"))).toBe(false);
  expect(existsSync(scratch.outfile)).toBe(false);
  expect(child.exitCode).toBe(125);

  const doctor = Bun.spawnSync([...around(scratch), ...asUser(scratch), cilock(scratch), "doctor", "--json"], {
    timeout: 60_000,
  });
  const said = report.parse(JSON.parse(doctor.stdout.toString()));
  expect(said.verdict).toBe("impossible");
  expect(said.obstacle).toBe(obstacle);
  expect(said.cause).toMatch(names);
  expect(said.remedy).toMatch(hint);
  expect(doctor.exitCode).toBe(1);
}

const asUser = (scratch: Scratch) =>
  scratch.user === "nobody" ? ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"] : [];

for (const user of users) {
  describe(`as ${user}`, () => {
    for (const row of rows) {
      const impossible = (row.needsRoot === true && !isRoot) || (row.needs !== undefined && Bun.which(row.needs) === null);
      test.skipIf(impossible)(row.name, async () => {
        using scratch = new Scratch(user);
        await refuses(scratch, row);
      });
    }

    for (const trace of [true, false]) {
      test(`a profile older than pidfd_open, ${trace ? "traced" : "untraced"}`, () => {
        using scratch = new Scratch(user);
        const words = [...deny(scratch, "PERM", "pidfd_open"), ...commandLine(scratch, ["/bin/echo", "ran"], { trace })];
        const child = Bun.spawnSync(words, { cwd: scratch.work, env: plainEnvironment(scratch) });
        expect(child.stderr.toString()).toMatch(/^cilock: error: cannot run a command: pidfd_open is refused \(EPERM\)$/m);
        expect(child.stdout.toString()).toBe("");
        expect(existsSync(scratch.outfile)).toBe(false);
        expect(child.exitCode).toBe(125);
      });
    }

    test("without --trace all of that does not matter", async () => {
      using scratch = new Scratch(user);
      const words = [...deny(scratch, "PERM", "ptrace,seccomp"), ...commandLine(scratch, ["/bin/echo", "ran"])];
      const child = Bun.spawnSync(words, { cwd: scratch.work, env: plainEnvironment(scratch) });
      expect(child.stdout.toString()).toBe("ran\n");
      expect(scratch.record()?.commandRun.exitcode).toBe(0);
      expect(child.exitCode).toBe(0);
    });
  });
}

test.skipIf(!isRoot)("Yama 2 stops an ordinary user only", async () => {
  const around = (scratch: Scratch) => withYama(scratch, 2, deny(scratch, "PERM", "ptrace", seize));
  const row = { name: "Yama 2", around, obstacle: "yama-2", names: /ptrace_scope is 2/, hint: /run as root/ };
  using scratch = new Scratch("nobody");
  await refuses(scratch, row);
  // For root, what refuses is something else.
  using own = new Scratch("self");
  await refuses(own, { ...row, obstacle: "seize-refused", names: /trace our own child/, hint: /security module/ });
});

// ---------------------------------------------------------------------------------------------

/** What Docker's default profile refuses of what we use, and what is left then. */
describe("where the quick ways are refused", () => {
  const ways: { calls: string; features: string[]; slower: string[] }[] = [
    { calls: "process_vm_readv", features: ["pidfd_getfd"], slower: ["process-vm-readv"] },
    { calls: "pidfd_getfd", features: ["process_vm_readv"], slower: ["pidfd-getfd"] },
    { calls: "process_vm_readv,pidfd_getfd", features: [], slower: ["process-vm-readv", "pidfd-getfd"] },
  ];
  const all = ["process_vm_readv", "pidfd_getfd"];
  for (const user of users) {
    for (const { calls, features, slower } of ways) {
      test(`${calls}, as ${user}: recorded as completely, and the record says how`, async () => {
        using scratch = new Scratch(user);
        writeFileSync(join(scratch.work, "input"), "read through /proc\n");
        if (user === "nobody") chownSync(join(scratch.work, "input"), 65534, 65534);
        const command = ["/bin/sh", "-c", "/bin/cat input > output; /bin/rm input; exit 3"];
        const plain = recordOf(await run(scratch, command, { trace: true }));
        writeFileSync(join(scratch.work, "input"), "read through /proc\n");
        if (user === "nobody") chownSync(join(scratch.work, "input"), 65534, 65534);
        const words = [...deny(scratch, "PERM", calls), ...commandLine(scratch, command, { trace: true })];
        rmSync(scratch.outfile);
        const child = Bun.spawnSync(words, { cwd: scratch.work, env: plainEnvironment(scratch) });
        const record = scratch.record();
        expect(record, child.stderr.toString()).toBeDefined();
        if (record === undefined) return;
        const files = (of: typeof record) =>
          of.processes.map(({ program, openedfiles, writtenDigests }) => ({ program, openedfiles, writtenDigests }));
        expect(files(record)).toEqual(files(plain));
        expect(gaps(record)).toEqual([]);
        expect(record.commandRun.completeness?.tracer.features.filter(one => all.includes(one))).toEqual(features);
        expect(plain.commandRun.completeness?.tracer.features).toEqual(expect.arrayContaining(all));
        expect(child.exitCode).toBe(3);

        const doctor = Bun.spawnSync([...deny(scratch, "PERM", calls), ...asUser(scratch), cilock(scratch), "doctor", "--json"]);
        const said = report.parse(JSON.parse(doctor.stdout.toString()));
        expect(said.verdict).toBe("slower");
        expect(said.probes.filter(({ state }) => state === "slower").map(({ id }) => id)).toEqual(slower);
        expect(doctor.exitCode).toBe(0);
      });
    }
  }
});

describe("doctor where tracing works", () => {
  const doctor = (user: User, ...words: string[]) => {
    using scratch = new Scratch(user);
    return Bun.spawnSync([...asUser(scratch), cilock(scratch), "doctor", ...words]);
  };
  for (const user of users) {
    test(`says so, as ${user}`, () => {
      const { exitCode, stdout, stderr } = doctor(user, "--json");
      const said = report.parse(JSON.parse(stdout.toString()));
      expect(said.verdict).toBe("works");
      expect(said.probes.filter(({ state }) => state === "blocks" || state === "slower")).toEqual([]);
      const state = (id: string) => said.probes.find(probe => probe.id === id)?.state;
      const capable = said.probes.find(({ id }) => id === "capabilities")?.result.startsWith("CAP_SYS_PTRACE, CAP_SYS_ADMIN");
      expect(state("filter-plain")).toBe(capable ? "ok" : "missing");
      expect(state("set-uid")).toBe(capable ? "ok" : "missing");
      expect(stderr.toString()).toBe("");
      expect(exitCode).toBe(0);
      const text = doctor(user);
      expect(text.stdout.toString()).toMatch(/^tracing works here$/m);
      expect(text.exitCode).toBe(0);
    });
  }

  test("refuses words that it does not know", () => {
    expect(doctor("self", "--jsn").exitCode).toBe(2);
    expect(doctor("self", "here").exitCode).toBe(2);
  });

  test.skipIf(Bun.which("strace") === null)("under a tracer that leaves our children alone", () => {
    const { stdout, exitCode } = Bun.spawnSync(["strace", "-o", "/dev/null", cilock(), "doctor"]);
    expect(stdout.toString()).toMatch(/by strace \(process \d+\), which leaves our children alone/);
    expect(exitCode).toBe(0);
  });
});

// ---------------------------------------------------------------------------------------------

describe.skipIf(!isRoot || staticBusybox === undefined)("in a root directory without /proc", () => {
  let rootfs: Rootfs;
  beforeAll(() => {
    rootfs = new Rootfs();
  });
  afterAll(() => rootfs[Symbol.dispose]());

  test("the run and the doctor say that /proc is missing", () => {
    const words = runWords(rootfs, { trace: true, command: ["/bin/sh", "-c", "echo ran >&2"] });
    const ran = Bun.spawnSync(["chroot", rootfs.path, ...words], { cwd: "/" });
    expect(ran.stderr.toString()).toMatch(/^cilock: error: cannot trace: \/proc is not mounted$/m);
    expect(ran.stderr.toString()).toMatch(/^cilock: hint: mount -t proc proc \/proc/m);
    expect(ran.stderr.toString()).not.toMatch(/^ran$/m);
    expect(ran.exitCode).toBe(125);
    const doctor = Bun.spawnSync(["chroot", rootfs.path, "/bin/cilock", "doctor", "--json"], { cwd: "/" });
    expect(report.parse(JSON.parse(doctor.stdout.toString())).obstacle).toBe("no-proc");
    expect(doctor.exitCode).toBe(1);
  });
});

const qemu = Bun.which("qemu-x86_64") ?? Bun.which("qemu-x86_64-static");
test.skipIf(qemu === null)(
  "under an emulator",
  () => {
    const directory = mkdtempSync(join(tmpdir(), "cilock-emulated-"));
    try {
      const emulated = [qemu ?? "", "-cpu", "Nehalem", cilock()];
      const doctor = Bun.spawnSync([...emulated, "doctor", "--json"]);
      const said = report.parse(JSON.parse(doctor.stdout.toString()));
      expect(said.obstacle).toBe("emulated");
      expect(said.cause).toContain(qemu ?? "");
      expect(doctor.exitCode).toBe(1);
      const words = ["run", "--step", "test", "--signer-ephemeral", "-o", join(directory, "record.json"), "--trace", "--"];
      const ran = Bun.spawnSync([...emulated, ...words, "/bin/echo", "ran"], { cwd: directory });
      expect(ran.stderr.toString()).toContain(`emulated by ${qemu}`);
      expect(ran.stdout.toString()).toBe("");
      expect(existsSync(join(directory, "record.json"))).toBe(false);
      expect(ran.exitCode).toBe(125);
    } finally {
      rmSync(directory, { recursive: true });
    }
  },
  120_000,
);
