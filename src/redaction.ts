// Secret values in what gets recorded: the values of environment variables whose names say so are replaced in the
// command's words and output. The tracer's output pump does the same on bytes, with the list made here.
import { escapeBytes } from "./text.ts";

/** Anything shorter would be found in the middle of innocent words. */
const valueLengthMin = 8;
export const replacement = "[REDACTED]";

/** Parts of a variable's upper-cased name (wire-formats 3.2). Shorter than the environment attestor's list on purpose: this one edits text. */
const secretNameParts = [
  "TOKEN",
  "SECRET",
  "PASSWORD",
  "PASSWD",
  "PASSPHRASE",
  "CREDENTIAL",
  "PRIVATE_KEY",
  "ACCESS_KEY",
  "APIKEY",
  "API_KEY",
  "SIGNING_KEY",
  "SSH_KEY",
] as const;

export interface Redaction {
  /** Longest first, each once. */
  readonly secrets: readonly Uint8Array[];
  redact(text: string): { text: string; count: number };
  /** The same of a text that comes in pieces and is too large to be one. Left out where nothing can be found. */
  redactPieces?: (pieces: Iterable<string>, onReplaced: () => void) => Iterable<string>;
}

/** `environment` holds `NAME=VALUE` byte strings. `isSecret` is asked for names; the default is the list above. */
export function createRedaction(environment: readonly Uint8Array[], isSecret = isSecretName): Redaction {
  const secrets = secretValues(environment, isSecret);
  // A text may have been through escapeBytes, which doubles backslashes: there a secret looks as it does after it.
  const forms = new Set(secrets.flatMap(secret => [new TextDecoder().decode(secret), escapeBytes(secret)]));
  if (forms.size === 0) return { secrets, redact: text => ({ text, count: 0 }) };
  // One pass, the longest form first at each place: a replacement is never searched for a shorter secret (`REDACTED`).
  const alternatives = [...forms].sort((a, b) => b.length - a.length || (a < b ? -1 : 1)).map(escapeForPattern);
  const pattern = new RegExp(alternatives.join("|"), "g");
  const longest = Math.max(...[...forms].map(form => form.length));
  return {
    secrets,
    redactPieces: (pieces, onReplaced) => replacedPieces(pieces, { pattern: new RegExp(pattern), longest, onReplaced }),
    redact(text) {
      let count = 0;
      const redacted = text.replace(pattern, () => {
        count++;
        return replacement;
      });
      return { text: redacted, count };
    },
  };
}

interface Search {
  /** Global: it remembers where it is. */
  readonly pattern: RegExp;
  readonly longest: number;
  readonly onReplaced: () => void;
}

/** What could be the beginning of a secret waits for the next piece. */
function* replacedPieces(pieces: Iterable<string>, search: Search): Generator<string> {
  let rest = "";
  for (const piece of pieces) {
    const text = rest + piece;
    const { done, at } = replacedUpTo(text, text.length - search.longest, search);
    yield done;
    rest = text.slice(at);
  }
  yield replacedUpTo(rest, rest.length, search).done;
}

/** Replaces what begins at `last` or before; `at`: where what has not been searched begins. */
function replacedUpTo(text: string, last: number, { pattern, onReplaced }: Search): { done: string; at: number } {
  let [done, at] = ["", 0];
  pattern.lastIndex = 0;
  for (let match = pattern.exec(text); match !== null && match.index <= last; match = pattern.exec(text)) {
    done += text.slice(at, match.index) + replacement;
    at = match.index + match[0].length;
    onReplaced();
  }
  let end = Math.max(at, last + 1);
  if (end > at && isHighSurrogate(text.charCodeAt(end - 1)) && end < text.length) end--;
  return { done: done + text.slice(at, end), at: end };
}

const isHighSurrogate = (unit: number): boolean => unit >= 0xd800 && unit < 0xdc00;

export function isSecretName(name: string): boolean {
  const upper = name.toUpperCase();
  return secretNameParts.some(part => upper.includes(part));
}

function secretValues(environment: readonly Uint8Array[], isSecret: (name: string) => boolean): Uint8Array[] {
  const values = new Map<string, Uint8Array>();
  for (const entry of environment) {
    const equals = entry.indexOf(0x3d);
    if (equals < 0) continue;
    const name = new TextDecoder().decode(entry.subarray(0, equals));
    const value = entry.subarray(equals + 1);
    if (value.length >= valueLengthMin && isSecret(name)) {
      values.set(Buffer.from(value).toString("latin1"), value);
    }
  }
  return [...values.values()].sort((a, b) => b.length - a.length || Buffer.compare(a, b));
}

function escapeForPattern(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");
}
