// Patterns over paths: `*` is any text without a slash, `**` any text, `**/` also nothing, `?` one character but a slash,
// `[ab]` `[a-z]` `[!a]` one of a set, `{a,b}` one of several, `\` takes a character for itself. The whole path must match.
// Matching takes time that grows with path times pattern, never more: paths come from the build.

export type Glob = (path: string) => boolean;

type Token =
  | { kind: "text"; character: string }
  | { kind: "one"; matches: (character: string) => boolean }
  /** Any number of characters; `slashes`: also those. `orNothing`: it may be left out together with the slash behind it. */
  | { kind: "many"; slashes: boolean; orNothing: boolean };

/** `{…}` multiply: what a pattern of reason has is far below. */
const alternativesMax = 1000;
const patternLengthMax = 4096;

export class GlobError extends Error {}

export function compileGlob(pattern: string): Glob {
  if (pattern.length > patternLengthMax) throw new GlobError(`a pattern is longer than ${patternLengthMax} characters`);
  const matchers = alternativesOf(pattern).map(alternative => matcherOf(tokensOf(alternative)));
  return path => matchers.some(matches => matches(path));
}

/** Whether any of them matches. */
export function compileGlobs(patterns: readonly string[]): Glob {
  const globs = patterns.map(compileGlob);
  return path => globs.some(matches => matches(path));
}

/** A pattern that matches this text alone. */
export function escapeGlob(text: string): string {
  return text.replace(/[*?[\]{},\\!]/g, "\\$&");
}

// ---------------------------------------------------------------------------------------------

/** Takes the first `{…}` apart, and then those of what comes of it. */
function alternativesOf(pattern: string): string[] {
  const done: string[] = [];
  const pending = [pattern];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const braces = bracesOf(next);
    if (braces === undefined) done.push(next);
    else for (const part of braces.parts) pending.push(braces.before + part + braces.after);
    if (done.length + pending.length > alternativesMax) throw new GlobError(`a pattern stands for more than ${alternativesMax}`);
  }
  return done;
}

function bracesOf(pattern: string): { before: string; parts: string[]; after: string } | undefined {
  let depth = 0;
  let start = 0;
  const parts: string[] = [];
  let part = 0;
  for (let i = 0; i < pattern.length; i++) {
    const character = pattern[i];
    if (character === "\\") i++;
    else if (character === "{") {
      if (depth++ === 0) [start, part] = [i, i + 1];
    } else if (character === "," && depth === 1) {
      parts.push(pattern.slice(part, i));
      part = i + 1;
    } else if (character === "}" && depth > 0 && --depth === 0) {
      return { before: pattern.slice(0, start), parts: [...parts, pattern.slice(part, i)], after: pattern.slice(i + 1) };
    }
  }
  if (depth > 0) throw new GlobError("a { is not closed");
  return undefined;
}

function tokensOf(pattern: string): Token[] {
  const tokens: Token[] = [];
  for (let i = 0; i < pattern.length; ) {
    const character = pattern[i] ?? "";
    if (character === "*") {
      const isDouble = pattern[i + 1] === "*";
      const startsPart = i === 0 || pattern[i - 1] === "/";
      tokens.push({ kind: "many", slashes: isDouble, orNothing: isDouble && startsPart && pattern[i + 2] === "/" });
      i += isDouble ? 2 : 1;
    } else if (character === "?") {
      tokens.push({ kind: "one", matches: other => other !== "/" });
      i++;
    } else if (character === "[") {
      const end = setEnd(pattern, i);
      tokens.push({ kind: "one", matches: setOf(pattern.slice(i + 1, end)) });
      i = end + 1;
    } else {
      const isEscape = character === "\\";
      if (isEscape && i + 1 === pattern.length) throw new GlobError("a pattern ends in a backslash");
      tokens.push({ kind: "text", character: isEscape ? (pattern[i + 1] ?? "") : character });
      i += isEscape ? 2 : 1;
    }
  }
  return tokens;
}

/** A `]` right after the `[` stands for itself. */
function setEnd(pattern: string, start: number): number {
  const first = pattern[start + 1] === "!" || pattern[start + 1] === "^" ? start + 2 : start + 1;
  const end = pattern.indexOf("]", first + 1);
  if (end < 0) throw new GlobError("a [ is not closed");
  return end;
}

function setOf(body: string): (character: string) => boolean {
  const isNegated = body.startsWith("!") || body.startsWith("^");
  const members = isNegated ? body.slice(1) : body;
  const ranges: [first: string, last: string][] = [];
  for (let i = 0; i < members.length; i++) {
    const first = members[i] ?? "";
    const last = members[i + 1] === "-" ? members[i + 2] : undefined;
    ranges.push([first, last ?? first]);
    if (last !== undefined) i += 2;
  }
  return character => character !== "/" && isNegated !== ranges.some(([first, last]) => character >= first && character <= last);
}

/** All places in the pattern where we can be, after each character: no way is tried twice. */
function matcherOf(tokens: readonly Token[]): Glob {
  const needed = longestText(tokens);
  const end = tokens.length;
  return path => {
    // Nearly all patterns match nearly no path.
    if (!path.includes(needed)) return false;
    let here = new Set<number>();
    enter(tokens, 0, here);
    for (let i = 0; i < path.length; i++) {
      const next = new Set<number>();
      for (const at of here) step(tokens, at, path[i] ?? "", next);
      if (next.size === 0) return false;
      here = next;
    }
    return here.has(end);
  };
}

/** With `at` all that can be reached without a character. */
function enter(tokens: readonly Token[], at: number, places: Set<number>): void {
  const token = tokens[at];
  // Also where we are inside of it already: only whoever comes to it anew may leave it out.
  if (token?.kind === "many" && token.orNothing) enter(tokens, at + 2, places);
  if (places.has(at)) return;
  places.add(at);
  if (token?.kind === "many") enter(tokens, at + 1, places);
}

function step(tokens: readonly Token[], at: number, character: string, next: Set<number>): void {
  const token = tokens[at];
  if (token === undefined) return;
  switch (token.kind) {
    case "text":
      if (token.character === character) enter(tokens, at + 1, next);
      return;
    case "one":
      if (token.matches(character)) enter(tokens, at + 1, next);
      return;
    case "many":
      if (!token.slashes && character === "/") return;
      next.add(at);
      enter(tokens, at + 1, next);
  }
}

/** A text that every match has in it. */
function longestText(tokens: readonly Token[]): string {
  let longest = "";
  let text = "";
  for (const [at, token] of tokens.entries()) {
    const before = tokens[at - 1];
    // The slash after `**/` can be left out.
    const isFree = before?.kind === "many" && before.orNothing;
    text = token.kind === "text" && !isFree ? text + token.character : "";
    if (text.length > longest.length) longest = text;
  }
  return longest;
}
