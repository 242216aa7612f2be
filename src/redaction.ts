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
}

/** `environment` holds `NAME=VALUE` byte strings. */
export function createRedaction(environment: readonly Uint8Array[]): Redaction {
  const secrets = secretValues(environment);
  // A text may have been through escapeBytes, which doubles backslashes: there a secret looks as it does after it.
  const forms = new Set(secrets.flatMap(secret => [new TextDecoder().decode(secret), escapeBytes(secret)]));
  if (forms.size === 0) return { secrets, redact: text => ({ text, count: 0 }) };
  // One pass, the longest form first at each place: a replacement is never searched for a shorter secret (`REDACTED`).
  const alternatives = [...forms].sort((a, b) => b.length - a.length || (a < b ? -1 : 1)).map(escapeForPattern);
  const pattern = new RegExp(alternatives.join("|"), "g");
  return {
    secrets,
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

function secretValues(environment: readonly Uint8Array[]): Uint8Array[] {
  const values = new Map<string, Uint8Array>();
  for (const entry of environment) {
    const equals = entry.indexOf(0x3d);
    if (equals < 0) continue;
    const name = Buffer.from(entry.subarray(0, equals)).toString("latin1").toUpperCase();
    const value = entry.subarray(equals + 1);
    if (value.length >= valueLengthMin && secretNameParts.some(part => name.includes(part))) {
      values.set(Buffer.from(value).toString("latin1"), value);
    }
  }
  return [...values.values()].sort((a, b) => b.length - a.length || Buffer.compare(a, b));
}

function escapeForPattern(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");
}
