// Names that a build makes for files it has not written, through moves of files and directories.
import { expect, test } from "bun:test";
import { MadeNames } from "../src/trace/made-names.ts";

type Step = (names: MadeNames) => void;
const file = { isWritten: false, isDirectory: false };
const directory = { isWritten: false, isDirectory: true };

const rows: { name: string; steps: Step[]; made: string[] }[] = [
  { name: "a node, or a link", steps: [names => names.add("/w/a")], made: ["/w/a"] },
  { name: "and its removal", steps: [names => names.add("/w/a"), names => names.removed("/w/a")], made: [] },
  { name: "a rename", steps: [names => names.renamed("/w/a", "/w/b", file)], made: ["/w/b"] },
  {
    name: "and back",
    steps: [names => names.renamed("/w/a", "/w/b", file), names => names.renamed("/w/b", "/w/a", file)],
    made: [],
  },
  {
    name: "of what was made",
    steps: [names => names.add("/w/a"), names => names.renamed("/w/a", "/w/b", file)],
    made: ["/w/b"],
  },
  {
    name: "over what was made, by a file that was written: it has its names elsewhere",
    steps: [names => names.add("/w/b"), names => names.renamed("/w/a", "/w/b", { ...file, isWritten: true })],
    made: [],
  },
  {
    name: "of a directory: what was made in it goes with it",
    steps: [names => names.add("/w/d/x"), names => names.renamed("/w/d", "/w/e", directory)],
    made: ["/w/e", "/w/e/x"],
  },
  {
    name: "exchanged",
    steps: [names => names.add("/w/a/x"), names => names.exchanged("/w/a", "/w/b")],
    made: ["/w/a", "/w/b", "/w/b/x"],
  },
  { name: "exchanged twice", steps: [names => names.exchanged("/a", "/b"), names => names.exchanged("/a", "/b")], made: [] },
];

for (const { name, steps, made } of rows) {
  test(name, () => {
    const names = new MadeNames(() => {});
    for (const step of steps) step(names);
    expect([...names.paths()].sort()).toEqual(made);
  });
}

test("beyond the limit names are forgotten, and that is said once", () => {
  let limits = 0;
  const names = new MadeNames(() => limits++, 3);
  for (let i = 0; i < 6; i++) names.add(`/${i}`);
  expect([names.paths().size, limits]).toEqual([3, 1]);
});
