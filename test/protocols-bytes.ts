// Builds hellos, records, packets and messages for the tests of src/trace/protocols, field by field, so that a test can bend one.

import { ecb, gcm } from "@noble/ciphers/aes.js";
import { clientInitialKeys, packetNonce, quicVersions } from "../src/trace/protocols/quic-keys.ts";

export type Part = Uint8Array | string | number;

/** Numbers are single bytes, text is Latin-1. */
export function bytesOf(...parts: Part[]): Uint8Array {
  return Buffer.concat(
    parts.map(part =>
      typeof part === "number" ? Uint8Array.of(part) : typeof part === "string" ? Buffer.from(part, "latin1") : part,
    ),
  );
}

export function bigEndian(width: number, value: number): Uint8Array {
  return Uint8Array.from({ length: width }, (_, index) => Math.floor(value / 256 ** (width - 1 - index)) % 256);
}

/** `parts` behind their length. */
export function sized(width: number, ...parts: Part[]): Uint8Array {
  const content = bytesOf(...parts);
  return bytesOf(bigEndian(width, content.length), content);
}

export function extension(type: number, ...parts: Part[]): Uint8Array {
  return bytesOf(bigEndian(2, type), sized(2, ...parts));
}

export function serverName(...names: (string | [type: number, name: string])[]): Uint8Array {
  const entries = names.map(name =>
    typeof name === "string" ? bytesOf(0, sized(2, name)) : bytesOf(name[0], sized(2, name[1])),
  );
  return extension(0, sized(2, ...entries));
}

export function alpn(...protocols: string[]): Uint8Array {
  return extension(16, sized(2, ...protocols.map(protocol => sized(1, protocol))));
}

/** The handshake message. `extensions: undefined` leaves the block out, as very old clients did. */
export function clientHello(extensions: Uint8Array[] | undefined, session = new Uint8Array(32)): Uint8Array {
  const block = extensions === undefined ? new Uint8Array() : sized(2, ...extensions);
  const body = bytesOf(3, 3, new Uint8Array(32).fill(7), sized(1, session), sized(2, 0x13, 1), sized(1, 0), block);
  return bytesOf(1, sized(3, body));
}

/** The message in TLS records of the given sizes, the last one repeated. Size 0 is an empty record. */
export function records(message: Uint8Array, ...sizes: number[]): Uint8Array {
  const parts: Uint8Array[] = [];
  let index = 0;
  for (let at = 0; at < message.length; index++) {
    const size = sizes[Math.min(index, sizes.length - 1)] ?? message.length;
    const fragment = message.subarray(at, at + size);
    parts.push(bytesOf(22, 3, 1, sized(2, fragment)));
    at += fragment.length;
  }
  return bytesOf(...parts);
}

export function variable(value: number): Uint8Array {
  if (value < 64) return Uint8Array.of(value);
  const bytes = bigEndian(value < 16384 ? 2 : 4, value);
  bytes[0] = (bytes[0] ?? 0) | (value < 16384 ? 0x40 : 0x80);
  return bytes;
}

export function cryptoFrame(offset: number, data: Uint8Array): Uint8Array {
  return bytesOf(6, variable(offset), variable(data.length), data);
}

export interface InitialOptions {
  version?: number;
  destinationId: Uint8Array;
  /** Whose keys: those of the connection's first destination id. */
  keysOf?: Uint8Array;
  number?: number;
  numberLength?: number;
  token?: Uint8Array;
  frames: Uint8Array;
  /** Filled with PADDING up to this. */
  payload?: number;
}

/** An Initial packet as a client protects it (RFC 9001, 5.3 and 5.4): the inverse of what quic.ts does. */
export function initialPacket(options: InitialOptions): Uint8Array {
  const number = options.number ?? 0;
  const numberLength = options.numberLength ?? 4;
  const versionNumber = options.version ?? 1;
  const version = quicVersions.get(versionNumber);
  if (version === undefined) throw new Error("no such version");
  const keys = clientInitialKeys(version, options.keysOf ?? options.destinationId);
  const plain = new Uint8Array(Math.max(options.payload ?? 0, options.frames.length, 4));
  plain.set(options.frames);
  const length = numberLength + plain.length + 16;
  const before = bytesOf(
    0xc0 | (version.initialType << 4) | (numberLength - 1),
    bigEndian(4, versionNumber),
    sized(1, options.destinationId),
    sized(1),
    variable(options.token?.length ?? 0),
    options.token ?? new Uint8Array(),
    bigEndian(2, 0x4000 | length),
  );
  const header = bytesOf(before, bigEndian(numberLength, number % 256 ** numberLength));
  const sealed = gcm(keys.key, packetNonce(keys.iv, number), header).encrypt(plain);
  const packet = bytesOf(header, sealed);
  const sample = packet.slice(before.length + 4, before.length + 20);
  const mask = ecb(keys.headerProtection, { disablePadding: true }).encrypt(sample);
  packet[0] = (packet[0] ?? 0) ^ ((mask[0] ?? 0) & 0x0f);
  for (let index = 0; index < numberLength; index++) {
    const at = before.length + index;
    packet[at] = (packet[at] ?? 0) ^ (mask[index + 1] ?? 0);
  }
  return packet;
}

/** `a.b` as labels; a part that is bytes already stays. */
export function dnsName(name: string): Uint8Array {
  return bytesOf(
    ...name
      .split(".")
      .filter(label => label !== "")
      .map(label => sized(1, label)),
    0,
  );
}

export function dnsQuestion(name: Uint8Array, type = 1, recordClass = 1): Uint8Array {
  return bytesOf(name, bigEndian(2, type), bigEndian(2, recordClass));
}

export function dnsRecord(name: Uint8Array, type: number, data: Uint8Array, recordClass = 1): Uint8Array {
  return bytesOf(dnsQuestion(name, type, recordClass), bigEndian(4, 60), sized(2, data));
}

export interface DnsParts {
  id?: number;
  flags?: number;
  questions?: Uint8Array[];
  answers?: Uint8Array[];
  additional?: Uint8Array[];
  /** Where the header shall lie. */
  counts?: [questions: number, answers: number];
}

export function dnsMessage(parts: DnsParts): Uint8Array {
  const { questions = [], answers = [], additional = [] } = parts;
  const [questionCount, answerCount] = parts.counts ?? [questions.length, answers.length];
  const counts = [questionCount, answerCount, 0, additional.length].map(count => bigEndian(2, count));
  return bytesOf(
    bigEndian(2, parts.id ?? 1),
    bigEndian(2, parts.flags ?? 0x0100),
    ...counts,
    ...questions,
    ...answers,
    ...additional,
  );
}
