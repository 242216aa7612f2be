// The DSSE envelope (wire-formats 1.1): bytes in, bytes out. What is signed is the PAE of the exact payload bytes;
// nothing is ever printed again before it is verified.
import { z } from "zod";
import { decodeBase64 } from "./base64.ts";
import { malformed, parseDocument, readFields } from "./document.ts";
import { encodeJson, isJsonObject, type JsonObject, type JsonValue } from "./json.ts";
import type { PublicKey } from "./keys.ts";
import { type Signer, verifyBytes } from "./signer.ts";

export const inTotoPayloadType = "application/vnd.in-toto+json";

/** Each one costs a check against each key. */
export const signaturesMax = 100;

/** A record is read as a whole. */
export const envelopeBytesMax = 1 << 30;

export interface Envelope {
  payload: Uint8Array;
  payloadType: string;
  signatures: readonly EnvelopeSignature[];
}

export interface EnvelopeSignature {
  /** A hint of the signer, never used to choose a key. */
  keyid: string;
  bytes: Uint8Array;
}

/** Pre-authentication encoding. Lengths count bytes, so that no two pairs of type and payload share one. */
export function preAuthEncoding(payloadType: string, payload: Uint8Array): Uint8Array {
  const type = Buffer.from(payloadType, "utf8");
  return Buffer.concat([Buffer.from(`DSSEv1 ${type.length} `), type, Buffer.from(` ${payload.length} `), payload]);
}

/** The signed envelope: compact JSON, no newline at its end. */
export function sealEnvelope(payload: Uint8Array, payloadType: string, signer: Signer): Uint8Array {
  const signature = signer.sign(preAuthEncoding(payloadType, payload));
  return printEnvelope({ payload, payloadType, signatures: [{ keyid: signer.keyid, bytes: signature }] });
}

export function printEnvelope(envelope: Envelope): Uint8Array {
  const rest = encodeJson({
    payloadType: envelope.payloadType,
    signatures: envelope.signatures.map(({ keyid, bytes }) => ({ keyid, sig: Buffer.from(bytes).toString("base64") })),
  });
  // The payload can be most of a gigabyte: it is encoded in pieces, straight into its place.
  const head = Buffer.from('{"payload":"');
  const encodedLength = Math.ceil(envelope.payload.length / 3) * 4;
  const out = Buffer.allocUnsafe(head.length + encodedLength + 2 + rest.length - 1);
  let at = head.copy(out);
  for (let start = 0; start < envelope.payload.length; start += pieceLength) {
    at += out.write(Buffer.from(envelope.payload.subarray(start, start + pieceLength)).toString("base64"), at, "latin1");
  }
  at += out.write('",', at, "latin1");
  out.set(rest.subarray(1), at);
  return out;
}

/** A multiple of three, so that pieces join without padding. */
const pieceLength = 3 << 20;

const text = z.string().nullish();
const envelopeSchema = z.object({
  payload: z.string(),
  payloadType: text,
  signatures: z.array(z.custom<JsonObject | null>(isObjectOrNull, "not an object")).max(signaturesMax).nullish(),
});
const signatureSchema = z.object({ keyid: text, sig: text });

/** Go reads null as an object without fields. */
function isObjectOrNull(value: unknown): boolean {
  return value === null || isJsonObject(value as JsonValue);
}

/** Unknown fields are allowed everywhere. An envelope without signatures is one, though nothing verifies it. */
export function parseEnvelope(bytes: Uint8Array): Envelope {
  const fields = readFields(parseDocument(bytes, "a DSSE envelope"), envelopeSchema, "a DSSE envelope");
  const payload = decodeBase64(fields.payload);
  if (payload === undefined) throw malformed("a DSSE envelope", "payload is not standard base64");
  const signatures = (fields.signatures ?? []).map(signature => {
    const { keyid, sig } = readFields(signature ?? {}, signatureSchema, "a DSSE envelope");
    const signatureBytes = decodeBase64(sig ?? "");
    if (signatureBytes === undefined) throw malformed("a DSSE envelope", "a sig is not standard base64");
    return { keyid: keyid ?? "", bytes: signatureBytes };
  });
  return { payload, payloadType: fields.payloadType ?? "", signatures };
}

/** The first signature that is the key's over exactly this payload and type; undefined where there is none. */
export function findSignature(envelope: Envelope, key: PublicKey): number | undefined {
  const signed = preAuthEncoding(envelope.payloadType, envelope.payload);
  const index = envelope.signatures.findIndex(({ bytes }) => verifyBytes(key, signed, bytes));
  return index === -1 ? undefined : index;
}
