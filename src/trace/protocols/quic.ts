// The server_name in the first datagrams of a QUIC client: its Initial packets (RFC 9000, 17.2.2) carry the ClientHello in CRYPTO frames,
// in pieces, out of order, over several packets and datagrams when it is post-quantum. Pushed are the datagrams that one socket
// sends to one peer, among which there may be several connections.

import { type ClientHello, readHandshake } from "./client-hello.ts";
import { type CryptoStream, createCryptoStream } from "./crypto-stream.ts";
import { type Cursor, cursorOn, integer, more, take, vector } from "./cursor.ts";
import { clientInitialKeys, headerMask, type InitialKeys, openPayload, type QuicVersion, quicVersions } from "./quic-keys.ts";

/** Of one connection; a hello that is longer is read up to here. */
const helloLimit = 16 * 1024;
/** A client that was not understood after this many Initial packets will not be. */
const packetLimit = 64;
/** A datagram has one to three; one send of a segmented burst (UDP_SEGMENT) has as many as fit into what is captured. */
const packetsPerDatagram = 32;
/** At once, of one socket with one peer. The oldest gives way. */
const connectionLimit = 4;

export type QuicState =
  | { kind: "need-more" }
  /** What the connection said that this datagram belongs to. */
  | ({ kind: "quic"; version: QuicVersion["name"] } & ClientHello)
  /** No Initial packet that we can open, and none before it. `version`: it looks like QUIC, of a version that we do not know. */
  | { kind: "other"; version?: number };

export interface QuicCollector {
  push(datagram: Uint8Array): QuicState;
  /** Nothing more will be pushed: what the newest connection's pieces say. */
  finish(): QuicState;
}

interface Connection {
  version: QuicVersion;
  keys: InitialKeys;
  largest: number;
  packets: number;
  /** Given up once the hello is known. */
  stream: CryptoStream | undefined;
  hello: ClientHello | undefined;
}

export function createQuicCollector(): QuicCollector {
  const connections: Connection[] = [];
  return {
    push(datagram) {
      let touched: Connection | undefined;
      let unknownVersion: number | undefined;
      const cursor = cursorOn(datagram);
      for (let count = 0; count < packetsPerDatagram && more(cursor); count++) {
        const packet = readLongHeader(cursor);
        if (packet === undefined) break;
        if (packet.version === undefined) {
          unknownVersion = packet.versionNumber;
          break;
        }
        if (packet.initial) touched = acceptInitial(connections, packet.version, packet.initial) ?? touched;
      }
      const state = describe(touched ?? connections.at(-1));
      return state.kind === "other" && unknownVersion !== undefined ? { kind: "other", version: unknownVersion } : state;
    },
    finish() {
      const newest = connections.at(-1);
      if (newest !== undefined) readHello(newest, true);
      return describe(newest);
    },
  };
}

function describe(connection: Connection | undefined): QuicState {
  if (connection === undefined) return { kind: "other" };
  if (connection.hello === undefined) return { kind: "need-more" };
  return { kind: "quic", version: connection.version.name, ...connection.hello };
}

interface InitialPacket {
  destinationId: Uint8Array;
  /** From the first byte to the end that Length gives. */
  bytes: Uint8Array;
  numberOffset: number;
}

interface LongHeader {
  versionNumber: number;
  /** Undefined: one that we do not know; what follows cannot be read. */
  version: QuicVersion | undefined;
  initial?: InitialPacket;
}

/** Moves behind one packet. Undefined where there is none with a long header and a length: a short header, padding. (Retry has no length, but servers send it.) */
function readLongHeader(cursor: Cursor): LongHeader | undefined {
  const start = cursor.offset;
  const first = integer(cursor, 1);
  if ((first & 0x80) === 0) return undefined;
  const versionNumber = integer(cursor, 4);
  const version = quicVersions.get(versionNumber);
  const destinationId = vector(cursor, 1);
  const sourceId = vector(cursor, 1);
  // Version 0 is a server's negotiation. The fixed bit keeps other protocols' datagrams (DTLS, STUN) from looking like QUIC.
  if (cursor.overrun || versionNumber === 0 || (first & 0x40) === 0) return undefined;
  if (version === undefined) return { versionNumber, version };
  if (destinationId.length > 20 || sourceId.length > 20) return undefined;
  const isInitial = ((first >> 4) & 3) === version.initialType;
  if (isInitial) take(cursor, variableInteger(cursor)); // token
  const length = variableInteger(cursor);
  const numberOffset = cursor.offset - start;
  take(cursor, length);
  if (cursor.overrun) return undefined;
  if (!isInitial) return { versionNumber, version };
  const bytes = cursor.bytes.subarray(start, cursor.offset);
  return { versionNumber, version, initial: { destinationId, bytes, numberOffset } };
}

/** The connection that it belongs to, which may be new; undefined if no keys open it. */
function acceptInitial(connections: Connection[], version: QuicVersion, packet: InitialPacket): Connection | undefined {
  // A client's later Initial packets have an id that the server chose, and still the keys of the first one.
  for (const connection of connections.toReversed()) {
    const opened = openInitial(connection.keys, connection.largest, packet);
    if (opened !== undefined) return acceptFrames(connection, opened);
  }
  // A new connection; or the old one after a Retry, or after a change of version, from its first byte again.
  const keys = clientInitialKeys(version, packet.destinationId);
  const opened = openInitial(keys, -1, packet);
  if (opened === undefined) return undefined;
  const stream = createCryptoStream(helloLimit);
  const connection: Connection = { version, keys, largest: -1, packets: 0, stream, hello: undefined };
  connections.push(connection);
  if (connections.length > connectionLimit) connections.shift();
  return acceptFrames(connection, opened);
}

interface Opened {
  number: number;
  frames: Uint8Array;
}

/** Removes header protection (RFC 9001, 5.4) and opens the payload. */
function openInitial(keys: InitialKeys, largest: number, packet: InitialPacket): Opened | undefined {
  const { bytes, numberOffset } = packet;
  const sample = bytes.subarray(numberOffset + 4, numberOffset + 20);
  if (sample.length < 16) return undefined;
  const mask = headerMask(keys, sample);
  const first = (bytes[0] ?? 0) ^ ((mask[0] ?? 0) & 0x0f);
  const numberLength = (first & 3) + 1;
  // Not `slice`: of a Buffer that is no copy.
  const header = Uint8Array.from(bytes.subarray(0, numberOffset + numberLength));
  header[0] = first;
  let truncated = 0;
  for (let index = 0; index < numberLength; index++) {
    const byte = (header[numberOffset + index] ?? 0) ^ (mask[1 + index] ?? 0);
    header[numberOffset + index] = byte;
    truncated = truncated * 256 + byte;
  }
  const number = fullNumber(truncated, numberLength, largest);
  const frames = openPayload(keys, number, header, bytes.subarray(header.length));
  return frames === undefined ? undefined : { number, frames };
}

/** RFC 9000, A.3. Four bytes never wrap: a client's Initial packets are a handful. */
function fullNumber(truncated: number, length: number, largest: number): number {
  const window = 256 ** length;
  if (length === 4) return truncated;
  const expected = largest + 1;
  const candidate = expected - (expected % window) + truncated;
  if (candidate <= expected - window / 2) return candidate + window;
  return candidate > expected + window / 2 && candidate >= window ? candidate - window : candidate;
}

function acceptFrames(connection: Connection, opened: Opened): Connection {
  connection.largest = Math.max(connection.largest, opened.number);
  connection.packets += 1;
  if (connection.stream === undefined) return connection;
  readFrames(connection.stream, opened.frames);
  readHello(connection, connection.packets >= packetLimit);
  return connection;
}

/** The frames that an Initial packet may hold (RFC 9000, 12.4). Behind any other one nothing can be read. */
function readFrames(stream: CryptoStream, frames: Uint8Array): void {
  const cursor = cursorOn(frames);
  while (more(cursor)) {
    const type = variableInteger(cursor);
    switch (type) {
      case 0x00: // PADDING, of which there are a thousand
        while (frames[cursor.offset] === 0) cursor.offset += 1;
        break;
      case 0x01: // PING
        break;
      case 0x02:
      case 0x03:
        skipAck(cursor, type === 0x03);
        break;
      case 0x06: {
        const offset = variableInteger(cursor);
        stream.add(offset, take(cursor, variableInteger(cursor)));
        break;
      }
      default: // CONNECTION_CLOSE, or what may not be here
        return;
    }
  }
}

function skipAck(cursor: Cursor, withCounts: boolean): void {
  variableInteger(cursor); // largest
  variableInteger(cursor); // delay
  const ranges = variableInteger(cursor);
  variableInteger(cursor); // first range
  for (let count = 0; count < ranges && more(cursor); count++) {
    variableInteger(cursor);
    variableInteger(cursor);
  }
  for (let count = 0; withCounts && count < 3; count++) variableInteger(cursor);
}

function readHello(connection: Connection, last: boolean): void {
  const prefix = connection.stream?.prefix();
  if (prefix === undefined) return;
  const start = readHandshake(prefix, last || prefix.length === helloLimit);
  if (start.kind === "need-more") return;
  connection.hello = start.kind === "hello" ? start.hello : { ech: false, alpn: [], state: "malformed" };
  connection.stream = undefined;
}

/** RFC 9000, 16: the first two bits say 1, 2, 4 or 8 bytes. Above 2^53 it is no longer exact, and longer than anything that follows. */
function variableInteger(cursor: Cursor): number {
  const first = integer(cursor, 1);
  const rest = take(cursor, 2 ** (first >> 6) - 1);
  let value = first & 0x3f;
  for (const byte of rest) value = value * 256 + byte;
  return value;
}
