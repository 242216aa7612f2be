// The thread that writes a large record's payload into the outfile, as base64, while it is still being made and then signed:
// all three take as long, and of two processors one would be idle. What it reads is the spool; both files are descriptors, which
// threads share.
import { fdatasyncSync, readSync } from "node:fs";
import { base64Pieces } from "../attestation/base64.ts";
import { writeAll } from "./write-all.ts";

/** `more`: the spool has so many bytes now. `end`: and no more will come. */
export type ToEnvelopeWorker = { kind: "begin"; spool: number; outfile: number } | { kind: "more" | "end"; length: number };

/** After the end; or what the file system says, of a full disk for instance. */
export type FromEnvelopeWorker = { kind: "done" } | { kind: "failed"; code: string; message: string };

declare const self: Worker;

/** A multiple of three: what is encoded piece by piece joins without padding. */
const encodedAtATime = 768 << 10;

let spool = -1;
let outfile = -1;
let encoded = 0;
let failed = false;
const buffer = Buffer.allocUnsafe(encodedAtATime);

self.onmessage = ({ data: message }: MessageEvent<ToEnvelopeWorker>) => {
  if (failed) return;
  try {
    switch (message.kind) {
      case "begin":
        ({ spool, outfile } = message);
        return;
      case "more":
        encode(message.length - ((message.length - encoded) % encodedAtATime));
        return;
      case "end":
        encode(message.length);
        // The disk has most of it by the time that the signature is there.
        fdatasyncSync(outfile);
        answer({ kind: "done" });
    }
  } catch (error) {
    failed = true;
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    answer({ kind: "failed", code, message: String(error) });
  }
};

function answer(message: FromEnvelopeWorker): void {
  self.postMessage(message);
}

function encode(end: number): void {
  for (const piece of base64Pieces(spooled(end))) writeAll(outfile, piece);
}

function* spooled(end: number): Generator<Uint8Array> {
  while (encoded < end) {
    const count = readSync(spool, buffer, 0, Math.min(encodedAtATime, end - encoded), encoded);
    if (count === 0) throw new Error("the record that waits to be signed has lost its end");
    encoded += count;
    yield buffer.subarray(0, count);
  }
}
