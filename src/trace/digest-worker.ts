// The thread that reads and hashes: a batch of jobs in, a batch of results out. It holds no state between batches but
// the list of hashes, which is its first message.
import { type DigestJob, type DigestResult, digestFile, type HashName } from "./digest-file.ts";

export type ToWorker = { kind: "hashes"; hashes: HashName[] } | { kind: "jobs"; jobs: DigestJob[] };
export type FromWorker = DigestResult[];

declare const self: Worker;

let hashes: HashName[] = [];

self.onmessage = (event: MessageEvent<ToWorker>) => {
  const message = event.data;
  switch (message.kind) {
    case "hashes":
      hashes = message.hashes;
      return;
    case "jobs":
      self.postMessage(message.jobs.map(job => digestFile(job, hashes)) satisfies FromWorker);
  }
};
