// Observers on records that tests make: names, processes, single calls.
import { describe, expect, test } from "bun:test";
import { digest, nth, scratchDirectory } from "./observed.ts";
import { bytesItem, noFile, O, pathItem, Script } from "./trace-events.ts";

const { write } = scratchDirectory();

describe("file operations", () => {
  test("a call that we have refused has done nothing", async () => {
    const script = new Script();
    script.process(1, 0);
    script.send({
      kind: "syscall",
      ...script.header(1, { denied: true }),
      number: 0,
      name: "unlink",
      abi: "x86_64",
      arguments: [0n],
      result: 0n,
      entryOnly: false,
      items: [pathItem(0, "/f")],
    });
    expect(nth(await script.finish(), 1).fileOps.deletes).toEqual([]);
  });

  const rows: [call: string, args: number[], items: ReturnType<typeof pathItem>[], list: string, entry: object][] = [
    ["mkdir", [0, 0o755], [pathItem(0, "/d")], "mkdirs", { path: "/d", mode: 0o755 }],
    ["mkdirat", [0, 0, 0o700], [pathItem(1, "/d")], "mkdirs", { path: "/d", mode: 0o700 }],
    ["mknod", [0, 0o010644], [pathItem(0, "/f")], "nodes", { path: "/f", mode: 0o010644 }],
    ["symlink", [0, 0], [bytesItem(0, "../t"), pathItem(1, "/l")], "symlinks", { target: "../t", path: "/l" }],
    ["symlinkat", [0, 0, 0], [pathItem(0, "t"), pathItem(2, "/l")], "symlinks", { target: "t", path: "/l" }],
    ["unlinkat", [0, 0, 0], [pathItem(1, "/f")], "deletes", { path: "/f" }],
    ["rmdir", [0], [pathItem(0, "/d")], "deletes", { path: "/d" }],
    ["chmod", [0, 0o100755], [pathItem(0, "/f")], "permChanges", { path: "/f", mode: 0o100755 }],
    [
      "fchmod",
      [3, 0o644],
      [{ kind: "descriptor", argument: 0, file: noFile, link: "/f" }],
      "permChanges",
      { path: "/f", mode: 0o644 },
    ],
    ["fchmodat2", [0, 0, 0o600], [pathItem(1, "/f")], "permChanges", { path: "/f", mode: 0o600 }],
    ["chown", [0, 0xffffffff, 5], [pathItem(0, "/f")], "ownerChanges", { path: "/f", uid: -1, gid: 5 }],
    ["fchownat", [0, 0, 1, 2], [pathItem(1, "/f")], "ownerChanges", { path: "/f", uid: 1, gid: 2 }],
    ["utimensat", [3, 0], [{ kind: "descriptor", argument: 0, file: noFile, link: "/f" }], "timeChanges", { path: "/f" }],
    ["setxattr", [0, 0], [pathItem(0, "/f"), bytesItem(1, "user.x")], "xattrChanges", { path: "/f", name: "user.x" }],
    [
      "ftruncate",
      [3, 7],
      [{ kind: "descriptor", argument: 0, file: noFile, link: "/f" }],
      "truncates",
      { path: "/f", length: 7n },
    ],
    [
      "rename",
      [0, 0],
      [pathItem(0, "/root/a"), pathItem(1, "/root/b"), { kind: "root", root: "/root" }],
      "renames",
      { oldPath: "/a", newPath: "/b" },
    ],
    ["linkat", [0, 0, 0, 0, 0], [pathItem(1, "/a"), pathItem(3, "/b")], "links", { oldPath: "/a", newPath: "/b" }],
  ];
  for (const [call, args, items, list, entry] of rows) {
    test(`${call} in ${list}, only when it succeeds`, async () => {
      const script = new Script();
      script.process(1, 0);
      script.call(1, call, args, items, -1);
      script.call(1, call, args, items);
      const { fileOps } = nth(await script.finish(), 1);
      const entries = Object.entries(fileOps).filter(([, operations]) => operations.length > 0);
      expect(entries).toMatchObject([[list, [entry]]]);
    });
  }
});

describe("processes", () => {
  test("a fork runs its parent's image until it calls exec; a failed exec is no event", async () => {
    const script = new Script();
    const [shell, tool] = [write("sh", "shell"), write("tool", "tool")];
    script.process(1, 0);
    script.exec(1, shell, { argv: ["sh", "-c", "a b"], environment: ["A=1"] });
    script.process(2, 1);
    script.process(3, 1);
    script.exec(3, tool, { argv: ["tool"] });
    script.exit(3, 7 << 8);
    script.exit(2, 9);
    script.exit(1);
    const observation = await script.finish();
    expect(nth(observation, 1)).toMatchObject({
      pid: 101,
      parentPid: 10,
      program: shell,
      argv: ["sh", "-c", "a b"],
      exitCode: 0,
      images: [],
    });
    expect(nth(observation, 2)).toMatchObject({
      pid: 102,
      parentPid: 101,
      program: shell,
      programDigest: digest("shell"),
      exitCode: 137,
      exitSignal: "SIGKILL",
      images: [],
    });
    expect(nth(observation, 3)).toMatchObject({
      pid: 103,
      parentPid: 101,
      program: tool,
      executableDigest: digest("tool"),
      exitCode: 7,
      images: [],
    });
    expect(observation.totals).toMatchObject({ processes: 3, execs: 2 });
  });

  test("a script and its interpreter have different digests; earlier images stay", async () => {
    const script = new Script();
    const [shell, program] = [write("sh", "shell"), write("script", "#!sh")];
    script.process(1, 0);
    script.exec(1, shell);
    script.exec(1, shell, { program });
    const content = script.sequence;
    script.process(2, 1);
    script.open(2, program, O.O_RDONLY, { notHeld: "known_content", content });
    script.open(2, shell, O.O_RDONLY, { notHeld: "known_content", content });
    const observation = await script.finish();
    expect(nth(observation, 1)).toMatchObject({ program, programDigest: digest("#!sh"), executableDigest: digest("shell") });
    expect(nth(observation, 1).images).toMatchObject([{ program: shell, executableDigest: digest("shell") }]);
    expect([...nth(observation, 2).openedFiles.values()]).toEqual([digest("#!sh"), digest("shell")]);
  });

  test("equal variables are kept once", async () => {
    const script = new Script();
    script.process(1, 0);
    script.process(2, 1);
    for (const serial of [1, 2]) script.exec(serial, write("sh", "shell"), { environment: ["PATH=/bin"] });
    const observation = await script.finish();
    const first = nth(observation, 1).environment?.[0];
    expect(first).toBeDefined();
    expect(nth(observation, 2).environment?.[0]).toBe(first as Uint8Array);
  });
});

describe("single calls", () => {
  const socket = { kind: "descriptor", argument: 0, file: { ...noFile, mode: 0o140777 }, link: "socket:[9]" } as const;
  const pipe = { kind: "descriptor", argument: 0, file: { ...noFile, mode: 0o010600 }, link: "pipe:[9]" } as const;
  const cloneArgs = (flags: bigint) => {
    const bytes = new Uint8Array(88);
    new DataView(bytes.buffer).setBigUint64(0, flags, true);
    return bytesItem(0, bytes);
  };
  type Row = [
    call: string,
    args: (number | bigint)[],
    items: Parameters<Script["call"]>[3],
    result: number,
    event: object | undefined,
  ];
  const rows: Row[] = [
    ["memfd_create", [0, 1], [bytesItem(0, "code")], 3, { detail: "MFD_CLOEXEC", path: "code", args: [0n, 1n], result: 0 }],
    ["ptrace", [16, 55], [], -1, { detail: "PTRACE_ATTACH", args: [16n, 55n, 0n, 0n], result: "EPERM" }],
    [
      "mount",
      [0, 0, 0, 0xc0ed0021n],
      [bytesItem(0, "/dev/sda"), pathItem(1, "/mnt"), bytesItem(2, "ext4")],
      -1,
      { detail: "MS_RDONLY|MS_REMOUNT ext4", path: "/dev/sda", targetPath: "/mnt" },
    ],
    ["mount", [0, 0, 0, 0x44000], [pathItem(1, "/")], 0, { detail: "MS_REC|MS_PRIVATE", targetPath: "/" }],
    ["clone", [0x10000000 | 17], [], 5, { detail: "CLONE_NEWUSER" }],
    ["clone", [0x80 | 17], [], 5, undefined],
    ["clone", [0x1200011], [], 5, undefined],
    ["clone3", [0, 88], [cloneArgs(0x80n)], 5, { detail: "CLONE_NEWTIME" }],
    ["clone3", [0, 88], [cloneArgs(0x100n)], 5, undefined],
    ["unshare", [0x40020000], [], 0, { detail: "CLONE_NEWNS|CLONE_NEWNET" }],
    ["dup2", [3, 1], [socket], 1, { detail: "socket:[9] onto 1" }],
    ["dup2", [3, 3], [socket], 3, undefined],
    ["dup2", [3, 1], [pipe], 1, undefined],
    ["dup3", [3, 0, 0], [socket], 0, { detail: "socket:[9] onto 0" }],
    ["dup", [3], [socket], 0, { detail: "socket:[9] onto 0" }],
    ["dup", [3], [socket], 4, undefined],
    ["fcntl", [3, 0, 0], [socket], 2, { detail: "socket:[9] onto 2" }],
    ["fcntl", [3, 0, 0], [socket], 9, undefined],
    ["mprotect", [0x7fff00000000n, 4096, 5], [], 0, { detail: "PROT_READ|PROT_EXEC", args: [0x7fff00000000n, 4096n, 5n] }],
    ["mprotect", [0, 4096, 3], [], 0, undefined],
    ["mmap", [0, 4096, 7, 0x22, -1n], [], 0, { detail: "PROT_READ|PROT_WRITE|PROT_EXEC" }],
    ["mmap", [0, 4096, 5, 2, 3], [], 0, undefined],
    ["prctl", [15, 0], [bytesItem(1, "worker\0junk")], 0, { detail: "PR_SET_NAME worker" }],
    ["prctl", [4, 0], [], 0, { detail: "PR_SET_DUMPABLE" }],
    ["prctl", [1, 9], [], 0, undefined],
    ["seccomp", [1, 9], [], 3, { detail: "SECCOMP_SET_MODE_FILTER TSYNC|NEW_LISTENER" }],
    ["seccomp", [2, 0], [], 0, undefined],
    ["setsid", [], [], 5, { args: [] }],
    ["finit_module", [3], [{ ...socket, link: "/evil.ko" }], -1, { syscall: "init_module", path: "/evil.ko" }],
    ["keyctl", [11, 7], [], 3, { detail: "READ" }],
    ["process_vm_readv", [42], [], 3, { detail: "process 42" }],
    ["io_uring_setup", [8, 0], [], -38, { result: "ENOSYS" }],
    ["read", [1, 2], [], 3, undefined],
    ["constructor", [], [], 0, undefined],
  ];
  for (const [call, args, items, result, event] of rows) {
    test(`${call} ${args.join(" ")} = ${result} ${event ? "is" : "is not"} an event`, async () => {
      const script = new Script();
      script.process(1, 0);
      script.call(1, call, args, items, result);
      const { syscallEvents } = nth(await script.finish(), 1);
      expect(syscallEvents).toMatchObject(event === undefined ? [] : [{ syscall: call, ...event }]);
    });
  }

  test("the memory of another process, not one's own", async () => {
    const script = new Script();
    script.process(1, 0);
    for (const path of ["/proc/55/mem", "/proc/55/task/56/environ", "/proc/101/mem", "/proc/55/maps"]) {
      script.open(1, path, O.O_RDONLY, { notHeld: "pseudo_file_system" });
    }
    const { syscallEvents } = nth(await script.finish(), 1);
    expect(syscallEvents).toMatchObject([
      { syscall: "openat", path: "/proc/55/mem", detail: "process 55" },
      { syscall: "openat", path: "/proc/55/task/56/environ" },
    ]);
  });
});
