// Compares what `inherit` printed in two runs of it, but for what cannot be the same.
import { z } from "zod";

const line = z.looseObject({ see: z.literal("inherited"), name: z.string(), index: z.int().optional() });
type Line = z.infer<typeof line>;

/** A property that differs between a bare run and one under `cilock run` by nature, and why that cannot be otherwise. */
interface Unavoidable {
  name: string;
  when: "always" | "traced";
  why: string;
}

export const unavoidable: Unavoidable[] = [
  {
    name: "parent",
    when: "always",
    why: "the command is the tracer's child: Yama 1 lets an ordinary user trace descendants only",
  },
  { name: "TracerPid", when: "traced", why: "this is what tracing is" },
  { name: "Seccomp", when: "traced", why: "the filter that stops only at watched calls" },
  { name: "Seccomp_filters", when: "traced", why: "the same filter, counted" },
  { name: "seccomp", when: "traced", why: "the same filter, as prctl says it" },
  { name: "NoNewPrivs", when: "traced", why: "without CAP_SYS_ADMIN the kernel takes a filter only together with no_new_privs" },
  { name: "no new privileges", when: "traced", why: "the same, as prctl says it" },
];

/** What the key comes through is kept from the command: /dev/null in the place of stdin, nothing in that of another descriptor. */
export const withheld = {
  why: "the build must not have the key; and without any stdin the first file that a program opens would be its stdin",
  isInPlace: (one: Line): boolean => one.index !== undefined && one.index <= 2 && one.link === "/dev/null",
};

/** Of root, who has CAP_SYS_ADMIN, the filter is taken without no_new_privs: sudo must go on working. */
const needsNoPrivilege = new Set(["NoNewPrivs", "no new privileges"]);

const O_CLOEXEC = 0o2000000;
const O_LARGEFILE = 0o100000;

/** stdout and stderr are pipes of ours where they were not terminals: they are passed on and captured. Closed ones stay closed. */
const ownPipes = new Set([1, 2]);

export interface Compared {
  traced: boolean;
  root: boolean;
  /** N of `-k /dev/fd/N`, of the second output only. */
  keyDescriptor?: number;
}

/** Lines of the bare run that are missing (`-`), and lines that it did not have (`+`). Empty: nothing differs. */
export function differences(bare: string, other: string, how: Compared): string[] {
  const isKey = (one: Line) => one.name === "descriptor" && one.index === how.keyDescriptor;
  const left = normalized(bare, how, one => !isKey(one));
  const right = normalized(other, how, one => !(isKey(one) && withheld.isInPlace(one)));
  const missing = left.filter(text => !right.includes(text)).map(text => `- ${text}`);
  const added = right.filter(text => !left.includes(text)).map(text => `+ ${text}`);
  return [...missing, ...added];
}

function normalized(output: string, how: Compared, isCompared: (one: Line) => boolean): string[] {
  const lines = output.split("\n").filter(text => text !== "");
  const compared = lines.map(text => line.parse(JSON.parse(text))).filter(isCompared);
  return compared.map(one => JSON.stringify(normalize(one))).filter(text => !isUnavoidable(text, how));
}

function isUnavoidable(text: string, how: Compared): boolean {
  const { name } = line.parse(JSON.parse(text));
  return unavoidable.some(
    row => row.name === name && (row.when === "always" || how.traced) && !(how.root && needsNoPrivilege.has(row.name)),
  );
}

function normalize(one: Line): Line {
  if (one.name !== "descriptor") return one;
  const terminal = one.terminal === true;
  if (one.index !== undefined && ownPipes.has(one.index) && !terminal) {
    return { see: one.see, name: one.name, index: one.index, descriptorFlags: one.descriptorFlags, terminal };
  }
  // stdout and stderr are a terminal of ours then, which the kernel opened for us by TIOCGPTPEER: the flags say so, to no effect.
  if (terminal)
    return {
      ...one,
      link: "terminal",
      inode: undefined,
      represents: undefined,
      flags: Number(one.flags) & ~(O_CLOEXEC | O_LARGEFILE),
    };
  // Numbers that the kernel gives to each pipe, socket and terminal anew.
  const link = String(one.link).replace(/^(pipe|socket):\[\d+\]$/, "$1");
  return link === one.link ? one : { ...one, link, inode: undefined, represents: undefined };
}
