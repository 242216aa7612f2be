// The DSSE envelope (wire-formats 1.1): bytes in, bytes out. What is signed is the PAE of the exact payload bytes;
// nothing is ever printed again before it is verified.
import { z } from "zod";
import { lazy } from "../lazy.ts";
import { base64Pieces, decodeBase64 } from "./base64.ts";
import { malformed, parseDocument, readFields } from "./document.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "./json.ts";
import { encodeJson } from "./json-writer.ts";
import type { PrivateKey, PublicKey } from "./keys.ts";
import { createSigner, type Signer, verifyBytes } from "./signer.ts";
import type { ByteSource } from "./streamed-signature.ts";

export const inTotoPayloadType = "application/vnd.in-toto+json";

/** Each one costs a check against each key. */
export const signaturesMax = 100;

/** A record is read as a whole. `cilock run` warns of one that is larger. */
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
  return Buffer.concat([preAuthHead(payloadType, payload.length), payload]);
}

function preAuthHead(payloadType: string, length: number): Uint8Array {
  return Buffer.from(`DSSEv1 ${Buffer.byteLength(payloadType)} ${payloadType} ${length} `);
}

/** The signed envelope: compact JSON, no newline at its end. */
export function sealEnvelope(payload: Uint8Array, payloadType: string, signer: Signer): Uint8Array {
  const signature = signer.sign(preAuthEncoding(payloadType, payload));
  return printEnvelope({ payload, payloadType, signatures: [{ keyid: signer.keyid, bytes: signature }] });
}

export function printEnvelope({ payload, payloadType, signatures }: Envelope): Uint8Array {
  const source = { length: payload.length, pieces: () => [payload] };
  return Buffer.concat(Array.from(envelopePieces(source, payloadType, signatures), piece => piece.slice()));
}

/** From here on a payload is not put into one buffer to be signed. */
const streamedFrom = 8 << 20;

export async function signPayload(payload: ByteSource, payloadType: string, key: PrivateKey): Promise<EnvelopeSignature> {
  const { keyid } = key.publicKey;
  if (payload.length < streamedFrom) {
    return { keyid, bytes: createSigner(key).sign(preAuthEncoding(payloadType, Buffer.concat([...payload.pieces()]))) };
  }
  // Rare, and the curve's tables take 10 ms to make.
  const { signSource } = await import("./streamed-signature.ts");
  const head = preAuthHead(payloadType, payload.length);
  const signed: ByteSource = {
    length: head.length + payload.length,
    *pieces() {
      yield head;
      yield* payload.pieces();
    },
  };
  return { keyid, bytes: signSource(key, signed) };
}

/** What `printEnvelope` prints, in pieces: a payload can be most of a gigabyte. A piece is good until the next one. */
export function* envelopePieces(
  payload: ByteSource,
  payloadType: string,
  signatures: readonly EnvelopeSignature[],
): Generator<Uint8Array> {
  yield envelopeStart;
  yield* base64Pieces(payload.pieces());
  yield envelopeEnd(payloadType, signatures);
}

/** What stands before the payload's base64, and behind it. */
export const envelopeStart: Uint8Array = Buffer.from('{"payload":"');

export function envelopeEnd(payloadType: string, signatures: readonly EnvelopeSignature[]): Uint8Array {
  const rest = encodeJson({
    payloadType,
    signatures: signatures.map(({ keyid, bytes }) => ({ keyid, sig: Buffer.from(bytes).toString("base64") })),
  });
  return Buffer.concat([Buffer.from('",'), rest.subarray(1)]);
}

const schemas = lazy(() => {
  const text = z.string().nullish();
  return {
    envelope: z.object({
      payload: z.string(),
      payloadType: text,
      signatures: z.array(z.custom<JsonObject | null>(isObjectOrNull, "not an object")).max(signaturesMax).nullish(),
    }),
    signature: z.object({ keyid: text, sig: text }),
  };
});

/** Go reads null as an object without fields. */
function isObjectOrNull(value: unknown): boolean {
  return value === null || isJsonObject(value as JsonValue);
}

/** Unknown fields are allowed everywhere. An envelope without signatures is one, though nothing verifies it. */
export function parseEnvelope(bytes: Uint8Array): Envelope {
  const document = parseDocument(bytes, "a DSSE envelope");
  if (document.payload === undefined && typeof document.predicateType === "string") {
    throw malformed("a record", "it is an in-toto statement without a signature; a record is that in a signed DSSE envelope");
  }
  const fields = readFields(document, schemas().envelope, "a DSSE envelope");
  const payload = decodeBase64(fields.payload);
  if (payload === undefined) throw malformed("a DSSE envelope", "payload is not standard base64");
  const signatures = (fields.signatures ?? []).map(signature => {
    const { keyid, sig } = readFields(signature ?? {}, schemas().signature, "a DSSE envelope");
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
