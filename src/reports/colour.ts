// Colours of a word that decides: good, bad, doubtful. Whoever paints makes the text printable first, since this is what acts on a terminal.

export type Style = "good" | "bad" | "doubtful";
export type Paint = (text: string, style: Style | undefined) => string;

const starts: Readonly<Record<Style, string>> = { good: "\x1b[32m", bad: "\x1b[31m", doubtful: "\x1b[33m" };
const end = "\x1b[0m";

export function painter(colour: boolean): Paint {
  return (text, style) => (colour && style !== undefined ? `${starts[style]}${text}${end}` : text);
}

export const verdictStyle: Readonly<Record<"complete" | "complete-with-notes" | "incomplete", Style>> = {
  complete: "good",
  "complete-with-notes": "doubtful",
  incomplete: "bad",
};
