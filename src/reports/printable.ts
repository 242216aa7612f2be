// Text from outside, as it may go to a terminal: file names and arguments must neither move the cursor nor turn the
// reading direction of what stands around them.

/** Controls, format characters (those of bidirectional text are among them), line and paragraph separators. */
export const unprintable = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

const named: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** One line of text with nothing in it that a terminal acts on. */
export function printable(text: string): string {
  return text.replace(unprintable, character => named[character] ?? escapeOf(character));
}

/** The same, and no longer than a person reads: names and words of others have no bound. */
export function printableStart(text: string, lengthMax: number): string {
  const shown = printable(text);
  return shown.length <= lengthMax ? shown : `${shown.slice(0, lengthMax).toWellFormed()} …`;
}

function escapeOf(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  if (code < 0x100) return `\\x${hex(code, 2)}`;
  return code < 0x10000 ? `\\u${hex(code, 4)}` : `\\U${hex(code, 8)}`;
}

function hex(code: number, digits: number): string {
  return code.toString(16).toUpperCase().padStart(digits, "0");
}

/** A word as a shell would need it, for commands that a person may copy. */
export function shellWord(text: string): string {
  if (/^[A-Za-z0-9_./:=@%+,-]+$/.test(text)) return text;
  // What cannot be printed is written in the form of $'…'; the rest of such a word keeps its meaning there.
  if (printable(text) !== text) return `$'${printable(text.replace(/[\\']/g, "\\$&"))}'`;
  return `'${text.replaceAll("'", "'\\''")}'`;
}
