// What the bytes on one socket say, whoever sends them: a recogniser for a stream's beginning and for the tunnels in it, DNS in both
// directions, QUIC per peer. Bytes go in, what was learned comes out; nothing here knows of processes or entries.
import { type DnsMessage, readDnsMessage } from "./protocols/dns.ts";
import { createDnsStream } from "./protocols/dns-stream.ts";
import { createRecogniser } from "./protocols/first-bytes.ts";
import type { ProxyTarget } from "./protocols/http.ts";
import { createProxiedRequests } from "./protocols/proxied-requests.ts";
import { createQuicCollector, type QuicState } from "./protocols/quic.ts";
import type { FirstBytes } from "./protocols/reader.ts";

export type Learned =
  | { kind: "name"; hostname: string; source: "sni" | "http"; ech: boolean }
  /** A proxy was asked for somebody: what follows on the socket is the talk with that one. */
  | { kind: "target"; target: string; hostname?: string; source: "http" | "socks" }
  | { kind: "dns"; message: DnsMessage }
  /** More was sent than is read. */
  | { kind: "limit"; what: string };

export interface Speaker {
  /** `cut`: more was sent than is here. */
  sent(bytes: Uint8Array, cut: boolean): Learned[];
  received(bytes: Uint8Array): Learned[];
  /** Nothing more will be seen. */
  finish(): Learned[];
  /** Whatever comes, nothing will be learned from it. */
  readonly done: boolean;
}

/** A tunnel in a tunnel in a tunnel … */
const tunnelsMax = 8;

/** Of the requests on one connection to a proxy; watch.zig stops there too. */
const requestBytesMax = 64 << 10;

export function firstBytesSpeaker(): Speaker {
  let recogniser = createRecogniser();
  let tunnels = 0;
  let done = false;
  const requests = createProxiedRequests();
  /** Of a proxy, whom the last request was for: then every request counts. */
  let asked: string | undefined;
  let requestBytes = 0;

  function follow(bytes: Uint8Array, learned: Learned[]): Learned[] {
    requestBytes += bytes.length;
    for (const request of requests.push(bytes)) {
      if (asked === undefined || request.host === undefined) continue;
      const one = targetOf(request, "http");
      if (one.target !== asked) learned.push(one);
      asked = one.target;
    }
    if (asked === undefined || requestBytes < requestBytesMax) return learned;
    done = true;
    learned.push({ kind: "limit", what: "requests through a proxy" });
    return learned;
  }

  function accept(first: FirstBytes, learned: Learned[]): Learned[] {
    let state = first;
    while (state.kind === "proxy-connect" || state.kind === "socks") {
      learned.push(targetOf(state, state.kind === "socks" ? "socks" : "http"));
      const rest = recogniser.rest();
      tunnels += 1;
      if (tunnels > tunnelsMax) {
        done = true;
        return learned;
      }
      recogniser = createRecogniser();
      state = recogniser.push(rest);
    }
    if (state.kind === "need-more") return learned;
    done = true;
    if (state.kind === "tls" && state.serverName !== undefined && state.state !== "malformed") {
      learned.push({ kind: "name", hostname: state.serverName, source: "sni", ech: state.ech });
    } else if (state.kind === "http" && state.proxied) {
      const first = targetOf(state, "http");
      if (state.host !== undefined) learned.push(first);
      asked = first.target;
      done = false;
    } else if (state.kind === "http" && state.host !== undefined) {
      learned.push({ kind: "name", hostname: state.host, source: "http", ech: false });
    }
    return learned;
  }

  return {
    sent(bytes, cut) {
      if (done) return [];
      if (asked !== undefined) return follow(bytes, []);
      const learned = accept(recogniser.push(bytes), []);
      if (!done) follow(bytes, learned);
      // What comes behind a hole is not the continuation of what came before it.
      if (cut && !done && asked === undefined) {
        accept(recogniser.finish(), learned);
        done = true;
      }
      return learned;
    },
    received: () => [],
    finish() {
      if (done || asked !== undefined) return [];
      const learned = accept(recogniser.finish(), []);
      done = true;
      return learned;
    },
    get done() {
      return done;
    },
  };
}

function targetOf({ host, port }: ProxyTarget, source: "http" | "socks"): Learned & { kind: "target" } {
  const place = host?.includes(":") ? `[${host}]` : (host ?? "");
  const target = port === undefined ? place : `${place}:${port}`;
  // An address is no name.
  const isName = host !== undefined && !host.includes(":") && !/^[0-9.]+$/.test(host);
  return { kind: "target", target, source, ...(isName ? { hostname: host } : {}) };
}

/** Of one connection by TCP. Answers are messages too, in a stream of their own. */
export function dnsStreamSpeaker(): Speaker {
  const [queries, answers] = [createDnsStream(), createDnsStream()];
  let done = false;
  const learned = (messages: DnsMessage[]): Learned[] => messages.map(message => ({ kind: "dns", message }));
  return {
    sent(bytes, cut) {
      if (done) return [];
      done = cut;
      return learned(queries.push(bytes));
    },
    received: bytes => (done ? [] : learned(answers.push(bytes))),
    finish() {
      done = true;
      return [];
    },
    get done() {
      return done;
    },
  };
}

/** Each datagram is one message. */
export function dnsDatagramSpeaker(): Speaker {
  const read = (bytes: Uint8Array): Learned[] => {
    const message = readDnsMessage(bytes);
    return message === undefined ? [] : [{ kind: "dns", message }];
  };
  return { sent: read, received: read, finish: () => [], done: false };
}

/** Datagrams from one socket to one peer. */
export function quicSpeaker(): Speaker {
  const collector = createQuicCollector();
  let done = false;
  let datagrams = 0;
  const accept = (state: QuicState): Learned[] => {
    if (state.kind === "need-more" && datagrams < datagramsMax) return [];
    done = true;
    if (state.kind !== "quic" || state.serverName === undefined || state.state === "malformed") return [];
    return [{ kind: "name", hostname: state.serverName, source: "sni", ech: state.ech }];
  };
  return {
    sent(bytes) {
      if (done) return [];
      datagrams += 1;
      return accept(collector.push(bytes));
    },
    received: () => [],
    finish() {
      if (done) return [];
      datagrams = datagramsMax;
      return accept(collector.finish());
    },
    get done() {
      return done;
    },
  };
}

/** A hello takes one to three; a client repeats them while nobody answers. */
const datagramsMax = 64;

/** Whether a datagram can be the first of a QUIC connection (RFC 9000, 14.1 and 17.2): long header, fixed bit, at least 1200 bytes. */
export function mayBeQuic(bytes: Uint8Array): boolean {
  return bytes.length >= 1200 && ((bytes[0] ?? 0) & 0xc0) === 0xc0;
}
