// Commits and annotated tags as git stores them: header lines, an empty line, the message. Pure. Names and messages
// need not be UTF-8; what is not becomes U+FFFD, as in the existing tools.

export interface GitCommit {
  readonly hash: string;
  readonly tree: string;
  readonly parents: readonly string[];
  readonly author: GitPerson;
  readonly committer: GitPerson;
  readonly message: string;
  readonly signature: string | undefined;
}

export interface GitPerson {
  readonly name: string;
  readonly email: string;
  readonly seconds: number;
  /** `+0200` */
  readonly zone: string;
}

export interface GitTag {
  readonly name: string;
  readonly tagger: GitPerson;
  readonly message: string;
  readonly signature: string;
}

const nobody: GitPerson = { name: "", email: "", seconds: 0, zone: "+0000" };
const signatureStart = /^-----BEGIN (?:PGP|SSH) (?:SIGNATURE|MESSAGE)-----$/m;

export function parseCommit(hash: string, body: Uint8Array): GitCommit {
  const { headers, message } = splitObject(body);
  return {
    hash,
    tree: first(headers, "tree") ?? "",
    parents: headers.filter(header => header.name === "parent").map(header => header.value),
    author: parsePerson(first(headers, "author")),
    committer: parsePerson(first(headers, "committer")),
    message,
    signature: signatureOf(headers),
  };
}

/** A tag's signature stands at the end of its message. */
export function parseTag(body: Uint8Array): GitTag {
  const { headers, message } = splitObject(body);
  const start = signatureStart.exec(message)?.index ?? message.length;
  return {
    name: first(headers, "tag") ?? "",
    tagger: parsePerson(first(headers, "tagger")),
    message: message.slice(0, start),
    signature: message.slice(start),
  };
}

/** As Go prints a time without a name for its zone, which is what the existing records hold: `2026-01-02 03:04:05 +0000 +0000`. */
export function goTime(person: GitPerson): string {
  const { date, time } = localTime(person);
  return `${date} ${time} ${person.zone} ${person.zone}`;
}

/** `2026-01-02T03:04:05+02:00`, `Z` at no offset. */
export function rfc3339(person: GitPerson): string {
  const { date, time } = localTime(person);
  return `${date}T${time}${offsetSeconds(person.zone) === 0 ? "Z" : `${person.zone.slice(0, 3)}:${person.zone.slice(3)}`}`;
}

/** A remote's URL without the name and password in it. `git@host:path` has no password to lose and stays. */
export function withoutUserInfo(url: string): string {
  const scheme = /^[a-z][a-z0-9+.-]*:\/\//i.exec(url)?.[0];
  if (scheme === undefined) return url;
  const rest = url.slice(scheme.length);
  const authority = /^[^/?#]*/.exec(rest)?.[0] ?? "";
  // A password with an unescaped `/` ends the authority early, at what cannot be a port: then the last `@` is the end.
  const brokenPort = /^[^[\]]*:(?=.*\D)/.test(authority) && !authority.includes("@");
  const at = brokenPort ? rest.lastIndexOf("@") : authority.lastIndexOf("@");
  return scheme + rest.slice(at + 1);
}

interface HeaderLine {
  name: string;
  value: string;
}

function splitObject(body: Uint8Array): { headers: HeaderLine[]; message: string } {
  const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(body);
  const end = text.indexOf("\n\n");
  const head = end < 0 ? text : text.slice(0, end);
  const headers: HeaderLine[] = [];
  for (const line of head.split("\n")) {
    const last = headers.at(-1);
    if (line.startsWith(" ") && last !== undefined) {
      last.value += `\n${line.slice(1)}`;
      continue;
    }
    const space = line.indexOf(" ");
    if (space > 0) headers.push({ name: line.slice(0, space), value: line.slice(space + 1) });
  }
  return { headers, message: end < 0 ? "" : text.slice(end + 2) };
}

function first(headers: readonly HeaderLine[], name: string): string | undefined {
  return headers.find(header => header.name === name)?.value;
}

function signatureOf(headers: readonly HeaderLine[]): string | undefined {
  const value = first(headers, "gpgsig") ?? first(headers, "gpgsig-sha256");
  return value === undefined ? undefined : `${value.trimEnd()}\n`;
}

function parsePerson(line: string | undefined): GitPerson {
  const [, name, email, seconds, zone] = /^(.*?) ?<([^>]*)>(?: (-?\d{1,12}) ([+-]\d{4}))?/.exec(line ?? "") ?? [];
  if (name === undefined || email === undefined) return nobody;
  return { name, email, seconds: Number(seconds ?? 0), zone: zone ?? "+0000" };
}

function localTime(person: GitPerson): { date: string; time: string } {
  const shifted = new Date((person.seconds + offsetSeconds(person.zone)) * 1000);
  // Beyond the year 275760 there is no Date, and no commit either.
  const iso = Number.isNaN(shifted.getTime()) ? new Date(0).toISOString() : shifted.toISOString();
  const [date = "", clock = ""] = iso.split("T");
  return { date, time: clock.slice(0, 8) };
}

function offsetSeconds(zone: string): number {
  const sign = zone.startsWith("-") ? -1 : 1;
  return sign * (Number(zone.slice(1, 3)) * 3600 + Number(zone.slice(3, 5)) * 60);
}
