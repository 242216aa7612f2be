// Random programs that do everything to files that can be done to files, in several processes: whatever the record says of them must
// be what a model of the file system says. A failure prints its seed and its steps.
//
// CILOCK_FILES_SEED=n begins there, CILOCK_FILES_ROUNDS=n takes so many.
import { expect, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { FileModel, type Found } from "./file-model.ts";
import { recordOf, run, Scratch, tracee } from "./harness.ts";
import { processOf, type Record } from "./record.ts";
import { randomOf } from "./seeded.ts";
import { parseLines, sha256 } from "./seen.ts";

const first = Number(process.env.CILOCK_FILES_SEED ?? 1);
const rounds = Number(process.env.CILOCK_FILES_ROUNDS ?? 20);
const seeds = Array.from({ length: rounds }, (_, i) => first + i);
/** Links that were made before a file was written; a content between two writers; cut by name to the length that it had. */
const onceWrong = [130, 175, 187, 349];
if (process.env.CILOCK_FILES_SEED === undefined) seeds.push(...onceWrong);

for (const seed of seeds) {
  test(`CILOCK_FILES_SEED=${seed} CILOCK_FILES_ROUNDS=1`, async () => {
    using scratch = new Scratch();
    const random = randomOf(seed);
    const before = new Map(["a", "b", "c"].map(name => [name, Buffer.from(`${name} was there\n`.repeat(1 + random.below(20)))]));
    for (const [name, content] of before) writeFileSync(join(scratch.work, name), content);
    const model = new FileModel(random, before);
    const length = 15 + random.below(60);
    while (model.steps.length < length) model.step();
    const ran = await run(scratch, [tracee("filework", scratch), model.steps.join("\n")], { trace: true });
    expect(ran.stderr).not.toContain("tracee:");
    const record = recordOf(ran);

    // First the model itself.
    const onDisk = readdirSync(scratch.work).map(name => [name, sha256(readFileSync(join(scratch.work, name)))] as const);
    expect(new Map(onDisk.sort())).toEqual(new Map([...model.finish()].sort()));

    const problems = model.wrong(found(record, ran.stdout, scratch.work));
    const { gaps = [], verdict } = record.commandRun.completeness ?? {};
    if (verdict === "incomplete" && !model.mayBeIncomplete) problems.push("incomplete without a reason");
    if (problems.length > 0) problems.push(...model.steps, JSON.stringify(gaps));
    expect(problems).toEqual([]);
  });
}

function found(record: Record, stdout: Buffer, directory: string): Found[] {
  const result: Found[] = [];
  for (const line of parseLines(stdout)) {
    if (line.see !== "answer" || line.what !== "process") continue;
    const entry = processOf(record, line.value % 2 ** 32);
    result.push({
      process: Math.floor(line.value / 2 ** 32),
      opened: new Map(below(entry.openedfiles, directory).map(([name, digest]) => [name, digest.sha256])),
      written: new Map(below(entry.writtenDigests, directory).map(([name, digest]) => [name, digest.sha256 ?? ""])),
      versions: new Map(below(entry.fileVersions, directory).map(([name, all]) => [name, all.map(({ sha256 }) => sha256 ?? "")])),
    });
  }
  return result;
}

const below = <T>(entries: { [path: string]: T }, directory: string): [string, T][] =>
  Object.entries(entries).flatMap(([path, value]) =>
    path.startsWith(`${directory}/`) ? [[path.slice(directory.length + 1), value] as [string, T]] : [],
  );
