// Names that a build makes for files it has not written, through moves of files and directories.
import { expect, test } from "bun:test";
import { MadeNames } from "../src/trace/made-names.ts";

type Step = (names: MadeNames) => void;
const file = false;
const directory = true;

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
    name: "over what was made",
    steps: [names => names.add("/w/b"), names => names.renamed("/w/a", "/w/b", file)],
    made: ["/w/b"],
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
  { name: "a link", steps: [names => names.linked("/w/a", "/w/b")], made: ["/w/b"] },
  {
    name: "a link that takes its file's place",
    steps: [names => names.linked("/w/a", "/w/b"), names => names.removed("/w/a"), names => names.renamed("/w/b", "/w/a", file)],
    made: [],
  },
  {
    name: "moved in a moved directory, which is moved back",
    steps: [
      names => names.renamed("/w/d", "/w/e", directory),
      names => names.renamed("/w/e/x", "/w/e/y", file),
      names => names.renamed("/w/e/z", "/w/e/t", file),
      names => names.renamed("/w/e/t", "/w/e/z", file),
      names => names.renamed("/w/e", "/w/d", directory),
    ],
    made: ["/w/d/y"],
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

test("what the file at a path was called when the build came", () => {
  const names = new MadeNames(() => {});
  expect(names.originOf("/w/d/x")).toBe("/w/d/x");
  names.renamed("/w/d", "/w/e", directory);
  names.linked("/w/e/x", "/w/y");
  names.renamed("/w/y", "/w/z", file);
  names.add("/w/node");
  const origins = ["/w/z", "/w/e/f/x", "/w/e", "/w/d/x", "/w/node", "/w/other"].map(path => names.originOf(path));
  expect(origins).toEqual(["/w/d/x", "/w/d/f/x", "/w/d", "/w/d/x", undefined, "/w/other"]);
});

test("beyond the limit names are forgotten, and that is said once", () => {
  let limits = 0;
  const names = new MadeNames(() => limits++, 3);
  for (let i = 0; i < 6; i++) names.add(`/${i}`);
  expect([names.paths().size, limits]).toEqual([3, 1]);
});
