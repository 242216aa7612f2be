// What a person reads of a gap.
import { expect, test } from "bun:test";
import { gapLines, remedies } from "../src/reports/gap-text.ts";
import { programName } from "../src/reports/program-name.ts";
import { gapTable } from "../src/trace/gaps.ts";

test("each kind says what to do, and no other", () => {
  expect(Object.keys(remedies).sort()).toEqual(Object.keys(gapTable).sort());
});

const programs = ["/usr/bin/rustc", "cc1", "/bin/cc1", "ld", "as", "ar"];
const programOf = (id: number) => ({ program: programs[id], calledAs: undefined });

test("whose it was and what to do", () => {
  const gap = { kind: "tracee-gone", severity: "gap", count: 2, detail: "a process ended: mkdirat" } as const;
  expect(gapLines({ ...gap, processIds: [0, 1, 2] }, programOf)).toEqual([
    "gap: a process ended: mkdirat (2 times), by rustc, cc1",
    `  what to do: ${remedies["tracee-gone"]}`,
  ]);
  expect(gapLines({ ...gap, count: 1, processIds: [0, 1, 3, 4, 5, 9] }, programOf)[0]).toBe(
    "gap: a process ended: mkdirat, by rustc, cc1, ld, as and 1 more",
  );
  expect(gapLines({ ...gap, kind: "of a later version", processIds: [] }, programOf)).toEqual([
    "gap: a process ended: mkdirat (2 times)",
  ]);
});

const special: [kind: string, detail: string, program: string | undefined, remedy: RegExp][] = [
  ["changed-while-read", "a file changed: /root/.config/go/telemetry/local/go@1.count", "/usr/bin/go", /go telemetry off/],
  ["unverified-content", "/home/u/.config/go/telemetry/local/upload.token", undefined, /go telemetry off/],
  ["changed-while-read", "a file changed: /src/go/tele.c", "/usr/bin/go", /do not read a file while/],
  ["survivor-killed", "processes outlived the command", "/usr/bin/gpg-agent", /gpgconf --kill/],
  ["delegated", "somebody: /root/.gnupg/S.gpg-agent", undefined, /gpgconf --kill/],
  ["survivor-killed", "processes outlived the command", "/usr/bin/sccache", /sccache --stop-server/],
  ["survivor-killed", "processes outlived the command", "/usr/lib/jvm/bin/java", /--no-daemon/],
  ["survivor-killed", "processes outlived the command", "/usr/share/dotnet/dotnet", /build-server shutdown/],
  ["survivor-killed", "processes outlived the command", "/usr/bin/javascript", /--grace/],
  ["nested-tracer", "a program tried to trace", "/src/test", /ASAN_OPTIONS=detect_leaks=0/],
];
for (const [kind, detail, program, remedy] of special) {
  test(`${kind} of ${program}: ${detail}`, () => {
    const gap = { kind, severity: "gap", count: 1, detail, processIds: [1] } as const;
    expect(gapLines(gap, () => ({ program, calledAs: undefined }))[1]).toMatch(remedy);
  });
}

test("no advice sends in a circle: what is started outside is delegated", () => {
  expect(remedies["survivor-killed"]).toContain("started outside, what it does is not seen");
  expect(remedies.delegated).toContain("end it there");
});

const names: [program: string | undefined, calledAs: string | undefined, name: string | undefined][] = [
  ["/usr/bin/cc", "gcc", "cc"],
  ["make", "make", "make"],
  [undefined, "cat", undefined],
  ["", "cat", undefined],
  ["/proc/self/exe", "cat", "cat (/proc/self/exe)"],
  ["/proc/thread-self/exe", "/bin/cat", "cat (/proc/thread-self/exe)"],
  ["/proc/12/task/13/exe", "cat", "cat (/proc/12/task/13/exe)"],
  ["/dev/fd/3", "tool", "tool (/dev/fd/3)"],
  ["/proc/self/fd/3", undefined, "/proc/self/fd/3"],
  ["/proc/self/exe", "", "/proc/self/exe"],
  ["/proc/self/exe", "/proc/self/exe", "/proc/self/exe"],
  // No links of /proc, whatever they look like.
  ["/src/proc/self/exe", "cat", "exe"],
  ["/proc/self/cwd/exe", "cat", "exe"],
];
for (const [program, calledAs, name] of names) {
  test(`a program ${program} called as ${calledAs} is named ${name}`, () =>
    expect(programName({ program, calledAs })).toBe(name));
}
