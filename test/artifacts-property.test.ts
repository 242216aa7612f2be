// Random shell scripts over a small tree: what they leave is the same set of products whether it comes from the trace or from
// walking, and what the trace calls a material was there before with that content. Contents are all different: without a trace
// a file that is put in the place of an equal one cannot be told from it.
import { expect, test } from "bun:test";
import { recordOf, run, Scratch } from "./harness.ts";
import { attestation, type Record } from "./record.ts";
import { seededRandom } from "./seeded.ts";

const names = ["a", "b", "c", "d/x", "d/y", "e/x", "e/f/z"];
const directories = ["d", "e", "e/f", "g"];
const prepare =
  "mkdir -p d e/f h; for f in a b d/x d/y e/f/z h/kept; do echo before $f >$f; done; ln -s b link; ln -s d dirlink; ln a hard; touch -d 2001-01-01 a b d/x";

type Random = ReturnType<typeof seededRandom>;

/** One line of the script; it may fail. */
function operation(random: Random, serial: number): string {
  const name = () => names[random.below(names.length)] ?? "a";
  const directory = () => directories[random.below(directories.length)] ?? "d";
  const operations = [
    () => `echo ${serial} >${name()}`,
    () => `echo ${serial} >>${name()}`,
    () => `mv -f ${name()} ${name()}`,
    () => `mv -fT ${directory()} ${directory()}`,
    () => `ln -f ${name()} ${name()}`,
    () => `ln -sfn ${name()} s${random.below(3)}`,
    () => `ln -sfn ${directory()} t${random.below(2)}`,
    () => `rm -f ${name()}`,
    () => `rm -rf ${directory()}`,
    () => `mkdir -p ${directory()}`,
    () => `cat ${name()} link >/dev/null`,
    () => `{ cat ${name()}; echo ${serial}; } >tmp${serial} && mv -f tmp${serial} ${name()}`,
    () => `chmod 6${random.below(2) * 4}0 ${name()}`,
    () => `: <>${name()}`,
    () => `(echo ${serial}; (echo ${serial}b) & wait) >${name()}`,
    () => `truncate -s ${serial} ${name()}`,
  ];
  return operations[random.below(operations.length)]?.() ?? ":";
}

function leaves(record: Record, attestor: string): Map<string, string> {
  const found = (attestation(record, attestor).leaves ?? []) as { path: string; fileDigest: string }[];
  const inside = found.filter(({ path }) => !path.startsWith("/"));
  return new Map(inside.map(({ path, fileDigest }) => [path, fileDigest] as const).sort(([a], [b]) => (a < b ? -1 : 1)));
}

test("random scripts have the same products with and without a trace", async () => {
  const random = seededRandom("artifacts");
  for (let round = 0; round < 25; round++) {
    const script = Array.from({ length: 12 }, (_, i) => operation(random, round * 100 + i)).join("\n");
    const found: { [way: string]: { materials: Map<string, string>; products: Map<string, string> } } = {};
    for (const trace of [true, false]) {
      using scratch = new Scratch();
      const made = Bun.spawnSync(["sh", "-ec", prepare], { cwd: scratch.work });
      expect(made.exitCode).toBe(0);
      const args = trace ? ["--vouch", "no"] : [];
      const record = recordOf(await run(scratch, ["sh", "-c", `(${script}\n) 2>/dev/null; true`], { trace, args }));
      const missing = record.commandRun.completeness?.gaps.filter(({ severity }) => severity === "gap") ?? [];
      expect({ script, missing }).toEqual({ script, missing: [] });
      found[`${trace}`] = { materials: leaves(record, "material"), products: leaves(record, "product") };
    }
    const [traced, walked] = [found.true, found.false];
    expect({ script, products: traced?.products }).toEqual({ script, products: walked?.products });
    for (const [path, digest] of traced?.materials ?? []) {
      expect([script, path, walked?.materials.get(path)]).toEqual([script, path, digest]);
    }
  }
}, 120_000);
