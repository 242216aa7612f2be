import { describe, expect, test } from "bun:test";
import { compileGlob, compileGlobs, escapeGlob, GlobError } from "../src/glob.ts";
import { seededRandom } from "./seeded.ts";

const rows: [pattern: string, matching: string[], others: string[]][] = [
  ["a", ["a"], ["", "b", "aa", "a/"]],
  ["*", ["a", "", ".hidden"], ["a/b"]],
  ["*.o", ["x.o", ".o"], ["x.oo", "d/x.o"]],
  ["a*b*c", ["abc", "axbxc", "abbcc"], ["ab/c", "acb"]],
  ["**", ["", "a", "a/b/c"], []],
  ["**/x", ["x", "a/x", "a/b/x"], ["ax", "x/a", "a/ax"]],
  ["/tmp/**", ["/tmp/a", "/tmp/a/b", "/tmp/"], ["/tmp", "/tmpx/a", "a/tmp/b"]],
  ["**/.cache/**", [".cache/a", "/home/u/.cache/a/b"], [".cache", "x.cache/a", "/home/.cachex/a"]],
  ["**/go-build*/**", ["/tmp/go-build123/b001/x", "go-build/x"], ["/tmp/gobuild/x", "go-build1"]],
  ["a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["ab", "a/xb", "a/x/bb"]],
  ["a**b", ["ab", "a/b", "ax/yb"], ["a", "b"]],
  ["?", ["a", "/".replace("/", "b")], ["", "/", "ab"]],
  ["**/.tmp_*.[oa]", [".tmp_x.o", "d/.tmp_.a"], [".tmp_x.c", ".tmp_x/y.o"]],
  ["[a-c]x", ["ax", "cx"], ["dx", "x"]],
  ["[!a-c]x", ["dx"], ["ax", "/x"]],
  ["[^a]", ["b"], ["a"]],
  ["[]]", ["]"], ["["]],
  ["[a-]", ["a", "-"], ["b"]],
  ["x{a,b}y", ["xay", "xby"], ["xy", "xaby"]],
  ["{a,b{c,d}}", ["a", "bc", "bd"], ["b", "c"]],
  ["{,a}", ["", "a"], ["b"]],
  ["\\*\\[", ["*["], ["a["]],
  ["a,b}", ["a,b}"], ["a"]],
  ["ä*", ["äx"], ["ax"]],
];

for (const [pattern, matching, others] of rows) {
  test(pattern, () => {
    const matches = compileGlob(pattern);
    expect(matching.filter(path => !matches(path))).toEqual([]);
    expect(others.filter(matches)).toEqual([]);
  });
}

describe("the dialect of the existing tools", () => {
  const rows: [pattern: string, matching: string[], others: string[]][] = [
    ["", [""], ["a"]],
    ["*", ["", "a", "a/b", ".a"], []],
    ["*.go", ["a.go", "d/e/a.go"], ["a.goo"]],
    ["dist/*", ["dist/a", "dist/a/b", "dist/"], ["dist", "x/dist/a"]],
    ["{*.go,**/*.go}", ["a.go", "d/a.go"], ["a.c"]],
    ["**/x", ["a/x", "/x"], ["x"]], // the slash is not left out
    ["a?b", ["a/b", "axb", "a\u{1f600}b"], ["ab"]],
    ["[ab]x", ["ax", "bx"], ["cx", "/x"]],
    ["[!a]x", ["/x", "bx"], ["ax"]],
    ["[^a]x", ["^x", "ax"], ["bx"]], // only ! is a negation
    ["[a-c]", ["b"], ["-", "d"]],
    ["[!a-c]", ["-", "d"], ["b"]],
    ["[ab-]", ["a", "b", "-"], ["c"]],
    ["[\\]a]", ["]", "a"], ["\\"]],
    ["{[,]x,b}", [",x", "b"], ["x"]],
    ["{a,b{c,d}}*", ["a", "bc/x", "bdx"], ["b"]],
    ["a\\*", ["a*"], ["ab"]],
    ["ä*", ["äx"], ["a"]],
  ];
  for (const [pattern, matching, others] of rows) {
    test(pattern, () => {
      const matches = compileGlob(pattern, "gobwas");
      expect(matching.filter(path => !matches(path))).toEqual([]);
      expect(others.filter(matches)).toEqual([]);
    });
  }
  for (const pattern of ["[a-z0-9]", "[c-a]", "[a", "[]", "{a", "a\\"]) {
    test(`${pattern} is none`, () => expect(() => compileGlob(pattern, "gobwas")).toThrow(GlobError));
  }
});

test("several patterns are one of them", () => {
  const matches = compileGlobs(["a*", "*b"]);
  expect(["ax", "xb", "c"].filter(matches)).toEqual(["ax", "xb"]);
  expect(compileGlobs([])("a")).toBe(false);
});

test("an escaped text matches itself alone", () => {
  for (const text of ["a*b", "[x]", "{a,b}", "a\\b", "!x", "?", "plain/path"]) {
    expect(compileGlob(escapeGlob(text))(text)).toBe(true);
    expect(compileGlob(escapeGlob(text))(`${text}x`)).toBe(false);
  }
});

describe("patterns that are none", () => {
  const bad: [name: string, pattern: string][] = [
    ["an open set", "[a"],
    ["an open set that begins with its end", "[]"],
    ["an open brace", "{a,b"],
    ["a backslash at the end", "a\\"],
    ["too long", "a".repeat(5000)],
    ["more alternatives than anybody writes", "{a,b}".repeat(12)],
  ];
  for (const [name, pattern] of bad) test(name, () => expect(() => compileGlob(pattern)).toThrow(GlobError));
});

test("a path that fits nearly everywhere takes no longer than its length times the pattern's", () => {
  const matches = compileGlob(`${"*a".repeat(200)}b`);
  // With one try after the other this would take longer than anybody lives.
  expect(matches("a".repeat(4000))).toBe(false);
  expect(compileGlob(`${"**/a*".repeat(100)}x`)("a/".repeat(2000))).toBe(false);
});

test("random patterns match what the regular expression of the same meaning matches", () => {
  const random = seededRandom("glob");
  const meaning: Record<string, string> = {
    a: "a",
    b: "b",
    "/": "/",
    "*": "[^/]*",
    "**": ".*",
    "?": "[^/]",
    "/**/": "/(?:.*/)?",
  };
  for (let round = 0; round < 3000; round++) {
    const parts = Array.from({ length: 1 + random.below(6) }, () => random.pick(Object.keys(meaning)));
    const pattern = parts.join("");
    // Where pieces make other pieces together the expression would say something else.
    if (
      /\*\*\*|\*\*\/\*\*/.test(pattern) ||
      parts.some((part, i) => part.endsWith("*") && (parts[i + 1]?.startsWith("*") ?? false))
    )
      continue;
    const source = pattern.replace(/(^|\/)\*\*\/|\*\*|\*|\?|[ab/]/g, (text, start?: string) =>
      text.endsWith("**/") ? `${start ?? ""}(?:.*/)?` : (meaning[text] ?? text),
    );
    const path = Array.from({ length: random.below(8) }, () => random.pick(["a", "b", "/"])).join("");
    expect(compileGlob(pattern)(path), `${pattern} over ${path}`).toBe(new RegExp(`^${source}$`).test(path));
  }
});
