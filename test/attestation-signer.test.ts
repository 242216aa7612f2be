// Signatures and keyids, each against a second implementation: @noble/curves, node:crypto, and openssl(1) where it is.
import { describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { constants, createHash, createPrivateKey, generateKeyPairSync, sign, verify } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ed25519 } from "@noble/curves/ed25519.js";
import { p256, p384, p521 } from "@noble/curves/nist.js";
import {
  generateKey,
  isGeneratedKeyType,
  loadPrivateKey,
  loadPublicKey,
  type PrivateKey,
  privatePem,
} from "../src/attestation/keys.ts";
import { createSigner, verifyBytes } from "../src/attestation/signer.ts";
import { ToolError } from "../src/errors.ts";

const types = ["ed25519", "p256", "p384", "p521", "rsa"] as const;
const keys = new Map(types.map(type => [type, generateKey(type)] as const));
const keyOf = (type: (typeof types)[number]): PrivateKey => keys.get(type) ?? generateKey(type);
const message = Buffer.from("DSSEv1 4 type 7 payload");
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

describe("ECDSA is that of RFC 6979", () => {
  // Appendix A.2.5 to A.2.7: message "sample", SHA-256 on each curve.
  const rows = [
    [
      "P-256",
      p256,
      "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721",
      "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716" +
        "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
    ],
    [
      "P-384",
      p384,
      "6b9d3dad2e1b8c1c05b19875b6659f4de23c3b667bf297ba9aa47740787137d896d5724e4c70a825f872c9ea60d2edf5",
      "21b13d1e013c7fa1392d03c5f99af8b30c570c6f98d4ea8e354b63a21d3daa33bde1e888e63355d92fa2b3c36d8fb2cd" +
        "f3aa443fb107745bf4bd77cb3891674632068a10ca67e3d45db2266fa7d1feebefdc63eccd1ac42ec0cb8668a4fa0ab0",
    ],
    [
      "P-521",
      p521,
      "00fad06daa62ba3b25d2fb40133da757205de67f5bb0018fee8c86e1b68c7e75caa896eb32f1f47c70855836a6d16fcc1466f6d8fbec67db89ec0c08b0e996b83538",
      "01511bb4d675114fe266fc4372b87682baecc01d3cc62cf2303c92b3526012659d16876e25c7c1e57648f23b73564d67f61c6f14d527d54972810421e7d87589e1a7" +
        "004a171143a83163d6df460aaf61522695f207a58b95c0644d87e52aa1a347916e4f7a72930b1bc06dbe22ce3f58264afd23704cbb63b29b931f7de6c9d949a7ecfc",
    ],
  ] as const;
  test.each(rows)("%s", (name, curve, scalar, expected) => {
    const point = curve.getPublicKey(Buffer.from(scalar, "hex"), false);
    const half = (point.length - 1) / 2;
    const url = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64url");
    const jwk = {
      kty: "EC",
      crv: name,
      d: url(Buffer.from(scalar, "hex")),
      x: url(point.subarray(1, 1 + half)),
      y: url(point.subarray(1 + half)),
    };
    const pem = createPrivateKey({ key: jwk, format: "jwk" }).export({ type: "pkcs8", format: "pem" });
    const signature = createSigner(loadPrivateKey(Buffer.from(pem))).sign(Buffer.from("sample"));
    expect(hex(curve.Signature.fromBytes(signature, "der").toBytes("compact"))).toBe(expected);
  });
});

describe("signing", () => {
  test.each(types.filter(type => type !== "rsa"))("%s: the same bytes give the same signature", type => {
    const signer = createSigner(keyOf(type));
    expect(hex(signer.sign(message))).toBe(hex(signer.sign(message)));
  });

  test("a signature that does not verify is never handed out", () => {
    const faulty = { ...keyOf("p256"), publicKey: generateKey("p256").publicKey };
    expect(() => createSigner(faulty).sign(message)).toThrow();
  });

  test("rsa: a random salt each time, 32 bytes long", () => {
    const signer = createSigner(keyOf("rsa"));
    const [first, second] = [signer.sign(message), signer.sign(message)];
    expect(hex(first)).not.toBe(hex(second));
    const key = { key: keyOf("rsa").publicKey.key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 };
    expect(verify("sha256", message, key, first)).toBe(true);
  });

  test("ed25519 equals @noble", () => {
    const key = keyOf("ed25519");
    const seed = Buffer.from(key.key.export({ format: "jwk" }).d ?? "", "base64url");
    expect(hex(createSigner(key).sign(message))).toBe(hex(ed25519.sign(message, seed)));
  });

  test.each([
    ["p256", p256],
    ["p384", p384],
    ["p521", p521],
  ] as const)("%s: @noble accepts ours, we accept node's, over SHA-256", (type, curve) => {
    const key = keyOf(type);
    const { x, y } = key.publicKey.key.export({ format: "jwk" });
    const point = Buffer.concat([Buffer.from([4]), Buffer.from(x ?? "", "base64url"), Buffer.from(y ?? "", "base64url")]);
    const digest = createHash("sha256").update(message).digest();
    expect(curve.verify(createSigner(key).sign(message), digest, point, { prehash: false, lowS: false, format: "der" })).toBe(
      true,
    );
    expect(verifyBytes(key.publicKey, message, sign("sha256", message, key.key))).toBe(true);
  });

  test.each(types)("%s: nothing but the signature over these bytes verifies", type => {
    const { publicKey } = keyOf(type);
    const signature = createSigner(keyOf(type)).sign(message);
    expect(verifyBytes(publicKey, message, signature)).toBe(true);
    expect(verifyBytes(publicKey, message.subarray(1), signature)).toBe(false);
    expect(verifyBytes(generateKey(type).publicKey, message, signature)).toBe(false);
    for (const wrong of [new Uint8Array(0), new Uint8Array(64), signature.subarray(1), Buffer.concat([signature, signature])]) {
      expect(verifyBytes(publicKey, message, wrong)).toBe(false);
    }
    // Every byte of a signature counts; in DER also those that only say how long the numbers are.
    for (let index = 0; index < signature.length; index++) {
      const changed = Buffer.from(signature);
      changed.writeUInt8((changed.readUInt8(index) + 1 + (index % 255)) % 256, index);
      if (!changed.equals(signature)) expect(verifyBytes(publicKey, message, changed)).toBe(false);
    }
  });
});

describe("keys", () => {
  test.each(types)("%s: what is written is read back", type => {
    const key = keyOf(type);
    expect(loadPrivateKey(Buffer.from(privatePem(key))).publicKey.keyid).toBe(key.publicKey.keyid);
    expect(loadPublicKey(Buffer.from(key.publicKey.pem))).toMatchObject({ keyid: key.publicKey.keyid, algorithm: key.algorithm });
    expect(isGeneratedKeyType(type)).toBe(true);
  });

  const codeOf = (load: () => unknown): string => {
    try {
      load();
      return "read";
    } catch (error) {
      return error instanceof ToolError ? error.code : "not a ToolError";
    }
  };

  test("the public half does not sign, the private half is not needed to verify", () => {
    const key = keyOf("ed25519");
    expect(codeOf(() => loadPrivateKey(Buffer.from(key.publicKey.pem)))).toBe("key-unsupported");
    expect(codeOf(() => loadPublicKey(Buffer.from(privatePem(key))))).toBe("key-unsupported");
  });

  test("an encrypted private key is no key to verify with, and its passphrase is not asked for", () => {
    const pem = keyOf("p256").key.export({ type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase: "hunter22" });
    expect(codeOf(() => loadPublicKey(Buffer.from(pem)))).toBe("key-passphrase");
    expect(codeOf(() => loadPrivateKey(Buffer.from(pem), Buffer.from("hunter22")))).toBe("read");
  });

  test("P-224 does not sign", () => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-224" });
    expect(codeOf(() => loadPrivateKey(Buffer.from(privateKey.export({ type: "pkcs8", format: "pem" }))))).toBe(
      "key-unsupported",
    );
  });

  test("a file larger than a key can be", () => {
    const pem = `${" ".repeat(1 << 20)}\n${keyOf("p256").publicKey.pem}`;
    expect(codeOf(() => loadPublicKey(Buffer.from(pem)))).toBe("key-unreadable");
    expect(codeOf(() => loadPublicKey(Buffer.from(pem.slice(1000))))).toBe("read");
  });
});

const openssl = spawnSync("openssl", ["version"]).status === 0;

describe.if(openssl)("openssl(1)", () => {
  test.each(types)("%s: computes our keyid and accepts our signature", type => {
    const directory = mkdtempSync(join(tmpdir(), "cilock-signer-"));
    try {
      const path = (name: string) => join(directory, name);
      const key = keyOf(type);
      writeFileSync(path("key.pem"), privatePem(key), { mode: 0o600 });
      writeFileSync(path("key.pub"), key.publicKey.pem);
      writeFileSync(path("message"), message);
      writeFileSync(path("signature"), createSigner(key).sign(message));
      const run = (...args: string[]) => spawnSync("openssl", args, { cwd: directory });
      const text = run("pkey", "-in", "key.pem", "-pubout").stdout;
      expect(createHash("sha256").update(text).digest("hex")).toBe(key.publicKey.keyid);
      const pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32", "-sigopt", "rsa_mgf1_md:sha256"];
      const checked =
        type === "ed25519"
          ? run("pkeyutl", "-verify", "-pubin", "-inkey", "key.pub", "-rawin", "-in", "message", "-sigfile", "signature")
          : run("dgst", "-sha256", "-verify", "key.pub", "-signature", "signature", ...(type === "rsa" ? pss : []), "message");
      expect(checked.stdout.toString()).toMatch(/verified successfully|Verified OK/i);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
