// The head of a plain HTTP/1.x request (RFC 9112), as far as it names a host: the Host field, an absolute target, or the authority of
// a CONNECT, behind which the tunnel's own first bytes come. Of everything else in it nothing is kept.

import { authority, plainText } from "./host.ts";
import type { FirstBytes, Reader } from "./reader.ts";

/** Longer than every registered method (`UPDATEREDIRECTREF` has 17). */
const methodLimit = 24;
const lineFeed = 0x0a;
const space = 0x20;

export function httpReader(): Reader {
  let request: RequestLine | undefined;
  /** Before this the request line is known to be fit; later, where the first line begins that has not been judged. */
  let from = 0;

  return (bytes, last) => {
    if (request === undefined) {
      const line = readRequestLine(bytes, from);
      if (line === "need-more") {
        // The last byte may be the CR of a line's end, which the next one tells.
        from = bytes.length - 1;
        return last ? { kind: "other" } : { kind: "need-more", atLeast: bytes.length + 1 };
      }
      if ("kind" in line) return line;
      request = line;
      from = line.next;
    }
    const target = request.method === "CONNECT" ? undefined : absoluteTarget(request.target);
    // RFC 9112, 3.2.2: an absolute target, as a proxy gets it, overrides the Host field.
    if (target !== undefined) return { kind: "http", proxied: true, ...proxied(target) };
    for (const line of lines(bytes, from)) {
      from = line.next;
      const decided = request.method === "CONNECT" ? connectEnd(request.target, line) : hostField(bytes, line);
      if (decided !== undefined) return decided;
    }
    if (!last) return { kind: "need-more", atLeast: bytes.length + 1 };
    return request.method === "CONNECT" ? { kind: "other" } : { kind: "http", proxied: false };
  };
}

interface RequestLine {
  method: string;
  target: string;
  next: number;
}

/** `fit` bytes have been found to hold no line feed and no control byte. */
function readRequestLine(bytes: Uint8Array, fit: number): RequestLine | "need-more" | FirstBytes {
  const methodEnd = endOfMethod(bytes);
  if (methodEnd === "none") return beginsWith(bytes, "SSH-") ? { kind: "other", protocol: "ssh" } : { kind: "other" };
  if (methodEnd === "unknown") return "need-more";
  const lineEnd = bytes.indexOf(lineFeed, fit);
  if (hasControl(bytes.subarray(fit, lineEnd < 0 ? bytes.length : lineEnd))) return { kind: "other" };
  if (lineEnd < 0) return "need-more";
  const parts = /^(\S+) (\S+) HTTP\/([0-9])\.[0-9]$/.exec(plainText(bytes.subarray(0, withoutReturn(bytes, 0, lineEnd))));
  const [method, target, major] = [parts?.[1], parts?.[2], parts?.[3]];
  if (method === undefined || target === undefined) return { kind: "other" };
  if (major === "1") return { method, target, next: lineEnd + 1 };
  // RFC 9113, 3.4: HTTP/2 without TLS. Its host is in HPACK, with a state that we do not keep.
  return method === "PRI" && major === "2" ? { kind: "other", protocol: "http2" } : { kind: "other" };
}

export interface ProxyTarget {
  host?: string;
  port?: number;
}

/** Whom a request line asks a proxy for; undefined: it is none, or one to a server itself. */
export function requestToProxy(line: string): ProxyTarget | undefined {
  const [, method, target = ""] = /^([A-Z]{1,24}) (\S+) HTTP\/1\.[0-9]$/.exec(line) ?? [];
  if (method === undefined) return undefined;
  if (method === "CONNECT") return proxied(target);
  const text = absoluteTarget(target);
  return text === undefined ? undefined : proxied(text);
}

/** The authority of a target with a scheme. */
function absoluteTarget(target: string): string | undefined {
  return /^[A-Za-z][A-Za-z0-9+.-]*:\/\/([^/?#]*)/.exec(target)?.[1];
}

interface Line {
  start: number;
  end: number;
  next: number;
}

/** The tunnel begins behind the empty line; until that is there we do not know where. */
function connectEnd(target: string, line: Line): FirstBytes | undefined {
  return line.start === line.end ? { kind: "proxy-connect", ...proxied(target), consumed: line.next } : undefined;
}

function hostField(bytes: Uint8Array, line: Line): FirstBytes | undefined {
  if (line.start === line.end) return { kind: "http", proxied: false };
  if (!isHostField(bytes, line.start)) return undefined;
  // The first one counts: servers refuse a request with two.
  const found = authority(plainText(bytes.subarray(line.start + hostPrefix.length, line.end)).trim());
  // An address says nothing that the connection's does not.
  return found === undefined || found.address
    ? { kind: "http", proxied: false }
    : { kind: "http", proxied: false, host: found.host };
}

/** Without a space before the colon (RFC 9112, 5.1). */
const hostPrefix = Buffer.from("host:");

function isHostField(bytes: Uint8Array, start: number): boolean {
  // `| 0x20` is lower case for letters and leaves the colon.
  return hostPrefix.every((byte, index) => ((bytes[start + index] ?? 0) | 0x20) === (byte | 0x20));
}

/** The whole lines from `from` on. A lone LF ends a line too (RFC 9112, 2.2). */
function* lines(bytes: Uint8Array, from: number): Generator<Line> {
  for (let start = from; ; ) {
    const lineEnd = bytes.indexOf(lineFeed, start);
    if (lineEnd < 0) return;
    yield { start, end: withoutReturn(bytes, start, lineEnd), next: lineEnd + 1 };
    start = lineEnd + 1;
  }
}

function withoutReturn(bytes: Uint8Array, start: number, end: number): number {
  return end > start && bytes[end - 1] === 0x0d ? end - 1 : end;
}

/** Whom a proxy is asked for, address or name: the connection itself only says where the proxy is. */
function proxied(text: string): ProxyTarget {
  const found = authority(text);
  if (found === undefined) return {};
  return found.port === undefined ? { host: found.host } : { host: found.host, port: found.port };
}

/** Index of the space behind the method; "none" if there can be no method here. Methods are tokens; all that are in use are upper case. */
function endOfMethod(bytes: Uint8Array): number | "none" | "unknown" {
  for (const [index, byte] of bytes.subarray(0, methodLimit + 1).entries()) {
    if (byte === space) return index > 0 ? index : "none";
    const tokenByte = (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x30 && byte <= 0x39) || byte === 0x2d || byte === 0x5f;
    if (!tokenByte) return "none";
  }
  return bytes.length > methodLimit ? "none" : "unknown";
}

/** No request line has one; a binary protocol soon does. The CR before the LF is its own. */
function hasControl(line: Uint8Array): boolean {
  for (let index = 0; index < line.length; index++) {
    const byte = line[index] ?? 0;
    if ((byte < space && !(byte === 0x0d && index === line.length - 1)) || byte === 0x7f) return true;
  }
  return false;
}

function beginsWith(bytes: Uint8Array, text: string): boolean {
  return plainText(bytes.subarray(0, text.length)) === text;
}
