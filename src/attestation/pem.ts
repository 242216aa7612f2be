// Reads the first PEM block of a file, as the existing tools do: what stands before it is skipped, what follows is not
// looked at, its label is only a hint (RFC 7468; the headers of RFC 1421 for keys in the old encrypted form).

export interface PemBlock {
  /** What stands between `-----BEGIN ` and `-----`. */
  label: string;
  /** RFC 1421 headers: `Proc-Type`, `DEK-Info`. */
  headers: ReadonlyMap<string, string>;
  body: Uint8Array;
  /** The block alone, boundary lines included. */
  text: string;
  /** Whether another block follows. */
  more: boolean;
}

/** `none`: no BEGIN line. `malformed`: a BEGIN line, but no END line that fits, or a body that is no base64. */
export type PemResult = { kind: "block"; block: PemBlock } | { kind: "none" } | { kind: "malformed" };

const begin = /^-----BEGIN ([^\r\n]*)-----[ \t]*$/;
const header = /^([A-Za-z0-9-]+):[ \t]*(.*)$/;

export function readFirstPemBlock(bytes: Uint8Array): PemResult {
  const lines = Buffer.from(bytes).toString("latin1").split(/\r?\n/);
  const first = lines.findIndex(line => begin.test(line));
  if (first === -1) return { kind: "none" };
  const label = begin.exec(lines[first] ?? "")?.[1] ?? "";
  const last = lines.findIndex((line, index) => index > first && line.trimEnd() === `-----END ${label}-----`);
  if (last === -1) return { kind: "malformed" };

  const headers = new Map<string, string>();
  let at = first + 1;
  for (; at < last; at++) {
    const match = header.exec(lines[at] ?? "");
    if (match === null) break;
    headers.set(match[1] ?? "", match[2] ?? "");
  }
  const body = decodeBody(lines.slice(at, last).join(""));
  if (body === undefined) return { kind: "malformed" };
  const block = {
    label,
    headers,
    body,
    text: `${lines.slice(first, last + 1).join("\n")}\n`,
    more: lines.some((line, index) => index > last && begin.test(line)),
  };
  return { kind: "block", block };
}

/** Node's decoder skips what is no base64; a damaged key must not become another one. */
function decodeBody(text: string): Uint8Array | undefined {
  const compact = text.replace(/[ \t]/g, "");
  if (compact.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(compact)) return undefined;
  return Buffer.from(compact, "base64");
}

/** The block as the keyid is computed over it: 64 columns, LF, a final newline (wire-formats 1.2). */
export function writePem(label: string, body: Uint8Array): string {
  const lines = Buffer.from(body)
    .toString("base64")
    .match(/.{1,64}/g);
  return `-----BEGIN ${label}-----\n${(lines ?? []).join("\n")}\n-----END ${label}-----\n`;
}
