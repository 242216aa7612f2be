// dist/cilock needs nothing but a Linux kernel: no interpreter, no library, no /tmp, no writable directory, and /proc only to trace.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cilock, isRoot, nobody } from "./harness.ts";
import { PT, programHeaderTypes, programsOf, Rootfs, runWords, severalProcesses, staticBusybox } from "./rootfs.ts";

test("the file has no interpreter and no dynamic section", () => {
  const types = programHeaderTypes(cilock());
  expect(types).toContain(PT.LOAD);
  expect(types).not.toContain(PT.INTERP);
  expect(types).not.toContain(PT.DYNAMIC);
});

/** Debian's qemu-user, or its static form. */
const qemu = Bun.which("qemu-x86_64") ?? Bun.which("qemu-x86_64-static");

/** Processors by what they lack. Bun itself needs SSE4.2, so the oldest is Nehalem, of 2008. */
for (const processor of ["Nehalem", "SandyBridge"]) {
  test.skipIf(qemu === null)(
    `runs on a processor without AVX2: ${processor}`,
    () => {
      const { exitCode, stdout } = Bun.spawnSync([qemu ?? "", "-cpu", processor, cilock(), "version"]);
      expect(stdout.toString()).toMatch(/\d+\.\d+\.\d+/);
      expect(exitCode).toBe(0);
    },
    60_000,
  );
}

interface Row {
  name: string;
  user: "root" | "nobody";
  proc: boolean;
  words: (rootfs: Rootfs) => string[];
}

/** In a mount namespace of its own: the root directory read-only, with /proc where the row wants it. */
function runIn(rootfs: Rootfs, { user, proc, words }: Row) {
  const script = [
    'mount --bind "$1" "$1"',
    proc ? 'mount -t proc proc "$1/proc"' : "",
    'mount -o remount,ro,bind "$1"',
    'root=$1; shift; exec chroot $OPTIONS "$root" "$@"',
  ];
  const ids = user === "nobody" ? `--userspec=${nobody}:${nobody} --groups=` : "";
  const { exitCode, stdout, stderr } = Bun.spawnSync(
    ["unshare", "--mount", "--fork", "--pid", "sh", "-ec", script.join("\n"), "sh", rootfs.path, ...words(rootfs)],
    { env: { PATH: process.env.PATH ?? "", OPTIONS: ids } },
  );
  return { status: exitCode, stdout, stderr: stderr.toString() };
}

describe.skipIf(!isRoot || staticBusybox === undefined)("in an empty, read-only root directory", () => {
  let rootfs: Rootfs;
  beforeAll(() => {
    rootfs = new Rootfs();
  });
  afterAll(() => rootfs[Symbol.dispose]());

  for (const user of ["root", "nobody"] as const) {
    for (const proc of [true, false]) {
      const where = `${user}, ${proc ? "with" : "without"} /proc`;

      test(`${where}: says its version`, () => {
        const row: Row = { name: "version", user, proc, words: () => ["/bin/cilock", "version"] };
        const { status, stdout, stderr } = runIn(rootfs, row);
        expect(stderr).toBe("");
        expect(stdout.toString()).toMatch(/\d+\.\d+\.\d+/);
        expect(status).toBe(0);
      });

      test(`${where}: records a command`, () => {
        const words = (root: Rootfs) => runWords(root, { trace: false, command: [...severalProcesses.command] });
        const { status, stdout, stderr } = runIn(rootfs, { name: "untraced", user, proc, words });
        expect(stdout.length, stderr).toBeGreaterThan(0);
        expect(rootfs.read(stdout).commandRun.exitcode).toBe(severalProcesses.status);
        expect(status).toBe(severalProcesses.status);
      });
    }

    test(`${user}, with /proc: traces a command`, () => {
      const words = (root: Rootfs) => runWords(root, { trace: true, command: [...severalProcesses.command] });
      const { status, stdout, stderr } = runIn(rootfs, { name: "traced", user, proc: true, words });
      expect(stdout.length, stderr).toBeGreaterThan(0);
      const record = rootfs.read(stdout);
      expect(programsOf(record)).toEqual([...severalProcesses.programs]);
      expect(record.commandRun.completeness?.verdict).not.toBe("incomplete");
      expect(record.commandRun.exitcode).toBe(severalProcesses.status);
      expect(status).toBe(severalProcesses.status);
    });

    test(`${user}, without /proc: refuses to trace, and runs nothing`, () => {
      const words = (root: Rootfs) => runWords(root, { trace: true, command: ["/bin/sh", "-c", "echo ran >&2"] });
      const { status, stdout, stderr } = runIn(rootfs, { name: "refused", user, proc: false, words });
      expect(stderr).not.toMatch(/^ran$/m);
      expect(stderr).toMatch(/^cilock: error: .*\/proc/m);
      expect(stdout.length).toBe(0);
      expect(status).toBe(125);
    });
  }
});
