// JSON for programs, as one line that may also end up on a terminal: what a terminal acts on, or what turns the reading
// direction, is escaped. To a parser it is the same text.
import type { JsonValue } from "../attestation/json.ts";
import { encodeJson } from "../attestation/json-writer.ts";
import { unprintable } from "./printable.ts";

export function jsonLine(value: JsonValue): string {
  const text = Buffer.from(encodeJson(value)).toString();
  // Outside of strings JSON has none of them, and within all below U+0020 are escaped already.
  return `${text.replace(unprintable, escaped)}\n`;
}

function escaped(character: string): string {
  const units = Array.from({ length: character.length }, (_, i) => character.charCodeAt(i));
  return units.map(unit => `\\u${unit.toString(16).padStart(4, "0")}`).join("");
}
