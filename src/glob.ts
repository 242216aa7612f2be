// Patterns over paths: `*` is any text without a slash, `**` any text, `**/` also nothing, `?` one character but a slash,
// `[ab]` `[a-z]` `[!a]` one of a set, `{a,b}` one of several, `\` takes a character for itself. The whole path must match.
// Matching takes time that grows with path times pattern, never more: paths come from the build.
//
// The second dialect is that of the existing tools (Go's gobwas/glob without a separator): there a slash is a character like
// any other, so that `*` is any text, and a set is one range `[a-z]`, `[!a-z]` or plain characters `[ab]`, `[!ab]`.

/** `paths`: a slash is matched by itself and by `**` only. */
export type Dialect = "paths" | "gobwas";

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

export function compileGlob(pattern: string, dialect: Dialect = "paths"): Glob {
  if (pattern.length > patternLengthMax) throw new GlobError(`a pattern is longer than ${patternLengthMax} characters`);
  const matchers = alternativesOf(pattern).map(alternative => matcherOf(tokensOf(alternative, dialect)));
  return path => matchers.some(matches => matches(path));
}

/** Whether any of them matches. */
export function compileGlobs(patterns: readonly string[], dialect: Dialect = "paths"): Glob {
  const globs = patterns.map(pattern => compileGlob(pattern, dialect));
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
    else if (character === "[") i = closingOf(pattern, i) ?? i;
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

function tokensOf(pattern: string, dialect: Dialect): Token[] {
  const tokens: Token[] = [];
  const isPath = dialect === "paths";
  for (let i = 0; i < pattern.length; ) {
    const character = pattern[i] ?? "";
    if (character === "*") {
      const isDouble = pattern[i + 1] === "*";
      const startsPart = i === 0 || pattern[i - 1] === "/";
      const orNothing = isPath && isDouble && startsPart && pattern[i + 2] === "/";
      tokens.push({ kind: "many", slashes: isDouble || !isPath, orNothing });
      i += isDouble ? 2 : 1;
    } else if (character === "?") {
      tokens.push({ kind: "one", matches: other => !isPath || other !== "/" });
      i++;
    } else if (character === "[") {
      const end = closingOf(pattern, i);
      if (end === undefined) throw new GlobError("a [ is not closed");
      const body = pattern.slice(i + 1, end);
      tokens.push({ kind: "one", matches: isPath ? setOf(body) : simpleSetOf(body) });
      i = end + 1;
    } else {
      const isEscape = character === "\\";
      if (isEscape && i + 1 === pattern.length) throw new GlobError("a pattern ends in a backslash");
      const text = characterAt(pattern, isEscape ? i + 1 : i);
      tokens.push({ kind: "text", character: text });
      i += text.length + (isEscape ? 1 : 0);
    }
  }
  return tokens;
}

/** Of a set's `[`. A `]` right after it stands for itself. */
function closingOf(pattern: string, start: number): number | undefined {
  let i = pattern[start + 1] === "!" || pattern[start + 1] === "^" ? start + 2 : start + 1;
  for (i++; i < pattern.length; i++) {
    if (pattern[i - 1] === "\\") i++;
    if (pattern[i] === "]") return i;
  }
  return undefined;
}

function characterAt(text: string, at: number): string {
  return String.fromCodePoint(text.codePointAt(at) ?? 0);
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

/** One range, or characters; anything else would mean something else to the tools that have this dialect. */
function simpleSetOf(body: string): (character: string) => boolean {
  const isNegated = body.startsWith("!");
  const members = [...(isNegated ? body.slice(1) : body)];
  const [first = "", dash, last] = members;
  if (members.length === 3 && dash === "-" && last !== undefined) {
    if (last < first) throw new GlobError(`the range ${members.join("")} has no member`);
    return character => isNegated !== (character >= first && character <= last);
  }
  const listed = new Set(body.replace(/^!/, "").replace(/\\(.)/gsu, "$1"));
  if (listed.size === 0 || dash === "-") throw new GlobError(`[${body}] is neither a range nor characters`);
  return character => isNegated !== listed.has(character);
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
    for (const character of path) {
      const next = new Set<number>();
      for (const at of here) step(tokens, at, character, next);
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
