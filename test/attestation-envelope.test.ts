// The envelope as bytes, the collection as a shape, and the passphrase's sources.
import { describe, expect, test } from "bun:test";
import { decodeBase64 } from "../src/attestation/base64.ts";
import { buildCollection } from "../src/attestation/collection.ts";
import {
  envelopePieces,
  findSignature,
  parseEnvelope,
  preAuthEncoding,
  sealEnvelope,
  signPayload,
} from "../src/attestation/envelope.ts";
import { encodeJson } from "../src/attestation/json-writer.ts";
import { generateKey } from "../src/attestation/keys.ts";
import { readPassphrase } from "../src/attestation/passphrase.ts";
import { createSigner, verifyBytes } from "../src/attestation/signer.ts";
import { buildStatement, parseStatement } from "../src/attestation/statement.ts";
import { type ByteSource, signSource } from "../src/attestation/streamed-signature.ts";
import { verifyRecord } from "../src/attestation/verification.ts";
import { ToolError } from "../src/errors.ts";

const key = generateKey("ed25519");
const signer = createSigner(key);
const type = "application/vnd.in-toto+json";
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();

describe("PAE", () => {
  // The first row is the example of the DSSE specification.
  const rows: [string, string, string][] = [
    ["http://example.com/HelloWorld", "hello world", "DSSEv1 29 http://example.com/HelloWorld 11 hello world"],
    ["", "", "DSSEv1 0  0 "],
    ["ü", "☃", "DSSEv1 2 ü 3 ☃"],
  ];
  test.each(rows)("%p %p", (payloadType, payload, expected) => {
    expect(text(preAuthEncoding(payloadType, Buffer.from(payload)))).toBe(expected);
  });

  test("no two pairs of type and payload are signed alike", () => {
    expect(text(preAuthEncoding("a 1 b", Buffer.from("c")))).not.toBe(text(preAuthEncoding("a", Buffer.from("b 1 c"))));
  });
});

describe("seal", () => {
  test("the bytes are compact JSON in the order of the format, without a newline", () => {
    const bytes = sealEnvelope(Buffer.from("{}"), type, signer);
    const sig = Buffer.from(signer.sign(preAuthEncoding(type, Buffer.from("{}")))).toString("base64");
    expect(text(bytes)).toBe(
      `{"payload":"e30=","payloadType":"${type}","signatures":[{"keyid":"${signer.keyid}","sig":"${sig}"}]}`,
    );
  });

  test("a payload longer than a piece, of every remainder", () => {
    for (const length of [(3 << 20) - 1, 3 << 20, (3 << 20) + 1, (6 << 20) + 2]) {
      const payload = Buffer.alloc(length, "abcdefg");
      const bytes = sealEnvelope(payload, type, signer);
      expect(JSON.parse(text(bytes)).payload).toBe(payload.toString("base64"));
      const envelope = parseEnvelope(bytes);
      expect(payload.equals(envelope.payload)).toBe(true);
      expect(findSignature(envelope, key.publicKey)).toBe(0);
    }
  });
});

describe("a payload in pieces", () => {
  const pieces = (bytes: Buffer, length: number): ByteSource => ({
    length: bytes.length,
    *pieces() {
      for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
    },
  });
  const kinds = ["ed25519", "p256", "p384", "p521", "rsa"] as const;

  test.each(kinds)("%s: the signature is that of the whole", kind => {
    const signing = generateKey(kind);
    for (const length of [0, 1, 127, 128, 1000]) {
      const bytes = Buffer.alloc(length, "abcdefg");
      const signature = signSource(signing, pieces(bytes, 13));
      expect(verifyBytes(signing.publicKey, bytes, signature)).toBe(true);
      if (kind !== "rsa") expect(text(signature)).toBe(text(createSigner(signing).sign(bytes)));
    }
  });

  test.each(kinds)("%s: a signature that does not verify is never handed out", kind => {
    const faulty = { ...generateKey(kind), publicKey: generateKey(kind).publicKey };
    expect(() => signSource(faulty, pieces(Buffer.from("message"), 3))).toThrow("does not verify");
  });

  test("small and large, the envelope is that of the bytes in one", async () => {
    for (const length of [0, 1, 2, 3, (192 << 10) - 1, 192 << 10, (192 << 10) + 1, (9 << 20) + 1]) {
      const payload = Buffer.alloc(length, "abcdefg");
      const source = pieces(payload, 100_001);
      const printed = Array.from(envelopePieces(source, type, [await signPayload(source, type, key)]), piece => piece.slice());
      expect(Buffer.concat(printed).equals(sealEnvelope(payload, type, signer))).toBe(true);
    }
  });
});

describe("any change of a sealed record", () => {
  const statement = buildCollection({
    step: "build",
    attestations: [
      {
        type: "t",
        predicate: { cmd: ["true"] },
        subjects: [{ name: "n", digest: { sha256: "00" } }],
        startTime: 0n,
        endTime: 1n,
      },
    ],
  }).statement;

  test.each(["ed25519", "p256", "rsa"] as const)("%s: every byte of the payload and of the signature counts", kind => {
    const own = generateKey(kind);
    const bytes = sealEnvelope(encodeJson(statement), type, createSigner(own));
    const envelope = parseEnvelope(bytes);
    const { payload, signatures } = envelope;
    const [signature] = signatures;
    if (signature === undefined) throw new Error("sealed without a signature");
    expect(findSignature(envelope, own.publicKey)).toBe(0);
    const flipped = (from: Uint8Array, at: number, mask: number) =>
      from.map((byte, index) => (index === at ? byte ^ mask : byte));
    for (const mask of [1, 0x80, 0xff]) {
      for (let at = 0; at < payload.length; at++) {
        expect(findSignature({ ...envelope, payload: flipped(payload, at, mask) }, own.publicKey)).toBeUndefined();
      }
      for (let at = 0; at < signature.bytes.length; at++) {
        const changed = { ...signature, bytes: flipped(signature.bytes, at, mask) };
        expect(findSignature({ ...envelope, signatures: [changed] }, own.publicKey)).toBeUndefined();
      }
    }
  });

  test("in the file: every character of payload, type and sig, turned into every other kind of character", () => {
    const bytes = Buffer.from(sealEnvelope(encodeJson(statement), type, signer));
    const file = bytes.toString();
    const payloadRange = [file.indexOf(":") + 2, file.indexOf('","payloadType')] as const;
    const typeRange = [file.indexOf("application"), file.indexOf('","signatures')] as const;
    const sigRange = [file.indexOf('"sig":"') + 7, file.length - 4] as const;
    for (const [from, to] of [payloadRange, typeRange, sigRange]) {
      for (let at = from; at < to; at++) {
        for (const character of 'AZaz09+/=-_ \n\\"') {
          if (file[at] === character) continue;
          const changed = Buffer.from(bytes);
          changed.write(character, at);
          expect(isGood(changed)).toBe(false);
        }
      }
    }
    expect(isGood(bytes)).toBe(true);
  });

  function isGood(bytes: Uint8Array): boolean {
    try {
      const envelope = parseEnvelope(bytes);
      const question = {
        envelope,
        publicKey: key.publicKey,
        artifacts: [],
        step: undefined,
        requireComplete: "no" as const,
        requireSuccess: false,
      };
      return verifyRecord(question).verdict === "good";
    } catch (error) {
      if (error instanceof ToolError) return false;
      throw error;
    }
  }

  const seed = Number(process.env.CILOCK_TEST_SEED ?? Date.now() % 1_000_000_007);
  test(`damaged anywhere: refused, or the very payload that was signed (CILOCK_TEST_SEED=${seed})`, () => {
    const bytes = Buffer.from(sealEnvelope(encodeJson(statement), type, signer));
    const { payload } = parseEnvelope(bytes);
    let state = seed;
    const random = (below: number) => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      return (state >>> 8) % below;
    };
    for (let round = 0; round < 5000; round++) {
      const damaged = Buffer.from(bytes);
      for (let count = random(3); count >= 0; count--) damaged[random(damaged.length)] = random(256);
      const cut = random(10) === 0 ? damaged.subarray(0, random(damaged.length)) : damaged;
      try {
        const envelope = parseEnvelope(cut);
        if (findSignature(envelope, key.publicKey) === undefined) continue;
        expect(payload).toEqual(envelope.payload);
        expect(envelope.payloadType).toBe(type);
      } catch (error) {
        if (!(error instanceof ToolError)) throw error;
        expect(error.code).toBe("input-malformed");
      }
    }
  });
});

describe("base64", () => {
  test.each(["", "QQ==", "QUI=", "QUJD", "+/+/", "Q\nQ\r\n=="])("reads %j", text => {
    expect(decodeBase64(text)).toEqual(new Uint8Array(Buffer.from(text, "base64")) as Buffer);
  });
  test.each(["Q", "QQ", "QQ=", "QQ===", "=", "====", "QR==", "QUJ=", "Q Q=", "-_-_", "QQ==QQ==", "QÜ==", "Q=Q="])(
    "refuses %j",
    text => {
      expect(decodeBase64(text)).toBeUndefined();
    },
  );
});

describe("statement and collection", () => {
  test("the shape and the order of the formats", () => {
    const attestation = { predicate: { a: 1 }, startTime: 1_767_323_045_123_456_789n, endTime: 1_767_323_046_000_000_000n };
    const { statement } = buildCollection({
      step: "007",
      attestations: [
        { ...attestation, type: "https://z", subjects: [{ name: "b", digest: { sha256: "bb" } }] },
        {
          ...attestation,
          type: "https://a",
          subjects: [
            { name: "file:ü", digest: { sha256: "01", sha1: "02" } },
            { name: "no digest", digest: {} },
            { name: "file:a", digest: { "gitoid:sha256": "03" } },
          ],
        },
      ],
    });
    expect(JSON.parse(text(encodeJson(statement)))).toEqual({
      _type: "https://in-toto.io/Statement/v0.1",
      subject: [
        { name: "https://a/file:a", digest: { "gitoid:sha256": "03" } },
        { name: "https://a/file:ü", digest: { sha256: "01", sha1: "02" } },
        { name: "https://z/b", digest: { sha256: "bb" } },
      ],
      predicateType: "https://aflock.ai/attestation-collection/v0.1",
      predicate: {
        name: "007",
        attestations: ["https://z", "https://a"].map(type => ({
          type,
          attestation: { a: 1 },
          starttime: "2026-01-02T03:04:05.123456789Z",
          endtime: "2026-01-02T03:04:06.000000000Z",
        })),
      },
    });
    expect(Object.keys(statement)).toEqual(["_type", "subject", "predicateType", "predicate"]);
  });

  test("a subject that is given keeps its name, and takes the place of one that is found", () => {
    const part = { predicate: {}, startTime: 0n, endTime: 0n };
    const { statement } = buildCollection({
      step: "s",
      attestations: [
        {
          ...part,
          type: "t",
          subjects: [
            { name: "b", digest: { sha256: "00" } },
            { name: "c", digest: { sha256: "01" } },
          ],
        },
      ],
      subjects: [
        { name: "zz", digest: { sha256: "02" } },
        { name: "t/b", digest: { sha1: "03" } },
      ],
    });
    expect(statement.subject).toEqual([
      { name: "t/b", digest: { sha1: "03" } },
      { name: "t/c", digest: { sha256: "01" } },
      { name: "zz", digest: { sha256: "02" } },
    ]);
  });

  test("no subjects are an empty list, never null", () => {
    expect(buildCollection({ step: "s", attestations: [] }).statement.subject).toEqual([]);
  });

  test.each(["sha512", "md5", "gitCommit", "SHA256", "__proto__"])(
    "a digest %s is not written: the verifiers would refuse the whole record",
    name => {
      const digest = Object.fromEntries([[name, "00"]]);
      expect(() => buildStatement({ subjects: [{ name: "n", digest }], predicateType: "t", predicate: {} })).toThrow();
    },
  );

  test("what is built is read", () => {
    const built = { subjects: [{ name: "n", digest: { sha256: "00" } }], predicateType: "t", predicate: { large: 2n ** 64n } };
    const read = parseStatement(encodeJson(buildStatement(built)));
    expect(Bun.deepEquals(read, built)).toBe(true);
  });

  test("a lone surrogate in a step is refused before anything is signed", () => {
    expect(() => encodeJson(buildCollection({ step: "\ud800", attestations: [] }).statement)).toThrow();
  });
});

describe("passphrase", () => {
  const files: Record<string, string> = {
    one: "from file\n",
    windows: "from file\r\n",
    two: "first\nsecond\n",
    empty: "\n",
    none: "",
  };
  const readFile = async (path: string) => Buffer.from(files[path] ?? "");
  const environment = { AFLOCK_KEY_PASSPHRASE: "aflock", WITNESS_KEY_PASSPHRASE: "witness" };
  const rows: [string, { passphrase?: string; passphrasePath?: string }, Record<string, string>, string | undefined][] = [
    ["nothing", {}, {}, undefined],
    ["the flag before all", { passphrase: "flag", passphrasePath: "one" }, environment, "flag"],
    ["the file before the environment", { passphrasePath: "one" }, environment, "from file"],
    ["lines that end as on Windows", { passphrasePath: "windows" }, {}, "from file"],
    ["aflock before witness", {}, environment, "aflock"],
    ["witness alone", {}, { WITNESS_KEY_PASSPHRASE: "witness" }, "witness"],
    ["an empty flag is none", { passphrase: "" }, environment, "aflock"],
    ["an empty file is none", { passphrasePath: "none" }, environment, "aflock"],
    ["an empty line is none", { passphrasePath: "empty" }, {}, undefined],
    ["an empty variable is none", {}, { AFLOCK_KEY_PASSPHRASE: "", WITNESS_KEY_PASSPHRASE: "witness" }, "witness"],
  ];
  test.each(rows)("%s", async (_, options, variables, expected) => {
    const found = await readPassphrase(options, variables, readFile);
    expect(found === undefined ? undefined : text(found)).toBe(expected as string);
  });

  test("a file of two lines is refused, and not quoted", async () => {
    const refusal = await readPassphrase({ passphrasePath: "two" }, {}, readFile).catch((error: unknown) => error);
    expect(refusal).toMatchObject({ code: "key-passphrase" });
    expect(String(refusal)).not.toMatch(/first|second/);
  });
});
