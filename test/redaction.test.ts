// Secret values in recorded text: what is replaced, what is not, and the list that the output pump works by.
import { expect, test } from "bun:test";
import { createRedaction } from "../src/redaction.ts";
import { escapeBytes } from "../src/text.ts";
import { seededRandom } from "./seeded.ts";

const bytesOf = (text: string): Uint8Array => Buffer.from(text);
const bytes = (text: string): Uint8Array => Buffer.from(text, "latin1");

const cases: { name: string; environment: string[]; text: string; expected: string; count: number }[] = [
  {
    name: "no secrets",
    environment: ["HOME=/home/somebody"],
    text: "in /home/somebody",
    expected: "in /home/somebody",
    count: 0,
  },
  {
    name: "every occurrence",
    environment: ["MY_TOKEN=abcdefgh"],
    text: "abcdefgh x abcdefgh",
    expected: "[REDACTED] x [REDACTED]",
    count: 2,
  },
  { name: "seven bytes are too few", environment: ["MY_TOKEN=abcdefg"], text: "abcdefg", expected: "abcdefg", count: 0 },
  { name: "a name in lower case", environment: ["my_password_old=abcdefgh"], text: "abcdefgh", expected: "[REDACTED]", count: 1 },
  {
    name: "a name that only the longer list has",
    environment: ["SSH_AUTH_SOCK=/tmp/agent.1"],
    text: "/tmp/agent.1",
    expected: "/tmp/agent.1",
    count: 0,
  },
  {
    name: "the longer of two that begin alike",
    environment: ["A_TOKEN=abcdefgh", "B_TOKEN=abcdefghij"],
    text: "abcdefghij",
    expected: "[REDACTED]",
    count: 1,
  },
  {
    name: "a replacement is not searched again",
    environment: ["A_TOKEN=REDACTED", "B_TOKEN=abcdefgh"],
    text: "abcdefgh",
    expected: "[REDACTED]",
    count: 1,
  },
  {
    name: "one value under two names",
    environment: ["A_TOKEN=abcdefgh", "B_SECRET=abcdefgh"],
    text: "abcdefgh",
    expected: "[REDACTED]",
    count: 1,
  },
  {
    name: "signs that mean something in a pattern",
    environment: ["A_TOKEN=a.c*(e)[g]|$^"],
    text: "a.c*(e)[g]|$^ abcdefgh",
    expected: "[REDACTED] abcdefgh",
    count: 1,
  },
  {
    name: "a backslash, in text that was escaped",
    environment: ["A_TOKEN=abc\\defgh"],
    text: "--x=abc\\\\defgh",
    expected: "--x=[REDACTED]",
    count: 1,
  },
  {
    name: "a backslash, in text that was not",
    environment: ["A_TOKEN=abc\\defgh"],
    text: "abc\\defgh",
    expected: "[REDACTED]",
    count: 1,
  },
  { name: "a value with `=`", environment: ["A_TOKEN=abc=defgh=="], text: "abc=defgh==", expected: "[REDACTED]", count: 1 },
  {
    name: "the escaped form of one begins like another",
    environment: ["A_TOKEN=a\\bcdefgh", "B_TOKEN=a\\\\bcdefg"],
    text: "a\\\\bcdefgh",
    expected: "[REDACTED]",
    count: 1,
  },
  {
    name: "an entry that is no variable",
    environment: ["TOKENabcdefgh"],
    text: "TOKENabcdefgh",
    expected: "TOKENabcdefgh",
    count: 0,
  },
];

for (const row of cases) {
  test(row.name, () => {
    expect(createRedaction(row.environment.map(bytes)).redact(row.text)).toEqual({ text: row.expected, count: row.count });
  });
}

test("bytes that are no text, where the text was escaped", () => {
  const redaction = createRedaction([bytes("A_TOKEN=\xff\xfe234567")]);
  expect(redaction.redact(escapeBytes(bytes("x\xff\xfe234567y")))).toEqual({ text: "x[REDACTED]y", count: 1 });
});

for (const part of [
  "TOKEN",
  "SECRET",
  "PASSWORD",
  "PASSWD",
  "PASSPHRASE",
  "CREDENTIAL",
  "PRIVATE_KEY",
  "ACCESS_KEY",
  "APIKEY",
  "API_KEY",
  "SIGNING_KEY",
  "SSH_KEY",
]) {
  test(`a name with ${part} in it`, () => {
    expect(createRedaction([bytes(`X${part}Y=abcdefgh`)]).secrets).toHaveLength(1);
  });
}

test("the list for the output pump: longest first, each once, exact bytes", () => {
  const { secrets } = createRedaction(
    ["A_TOKEN=abcdefgh", "B_TOKEN=abcdefghij", "C_TOKEN=abcdefgh", "D_TOKEN=\xff2345678"].map(bytes),
  );
  expect(secrets.map(secret => Buffer.from(secret).toString("latin1"))).toEqual(["abcdefghij", "abcdefgh", "\xff2345678"]);
});

test("a text in pieces is replaced as it is in one, wherever it is cut", () => {
  const random = seededRandom("redaction in pieces");
  const { redact, redactPieces } = createRedaction(
    ["MY_TOKEN=abababab", "MY_SECRET=abababababcab", "MY_PASSWORD=a😀bababa"].map(bytesOf),
  );
  if (redactPieces === undefined) throw new Error("there are secrets");
  for (let round = 0; round < 2000; round++) {
    const characters = Array.from({ length: random.below(60) }, () => random.pick(["a", "b", "a", "b", "c", "😀"]));
    const pieces: string[] = [""];
    for (const character of characters) {
      if (random.below(6) === 0) pieces.push("");
      pieces.push((pieces.pop() ?? "") + character);
    }
    let count = 0;
    const replaced = [...redactPieces(pieces, () => count++)];
    expect({ text: replaced.join(""), count }).toEqual(redact(characters.join("")));
    expect(replaced.every(piece => piece.isWellFormed())).toBe(true);
  }
});

test("without secrets there is nothing to replace in pieces", () => {
  expect(createRedaction([bytesOf("A=b")]).redactPieces).toBeUndefined();
});
