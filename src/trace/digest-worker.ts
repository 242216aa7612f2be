// The thread that reads and hashes: a batch of jobs in, a batch of results out. It holds no state between batches but
// its first message: the list of hashes, and what the threads share.
import type { HolesLeft } from "../file-limits.ts";
import { type DigestJob, type DigestResult, digestFile, type HashName } from "./digest-file.ts";

export type ToWorker = { kind: "hashes"; hashes: HashName[]; holes: HolesLeft } | { kind: "jobs"; jobs: DigestJob[] };
export type FromWorker = DigestResult[];

declare const self: Worker;

let hashes: HashName[] = [];
let holes: HolesLeft | undefined;

self.onmessage = (event: MessageEvent<ToWorker>) => {
  const message = event.data;
  switch (message.kind) {
    case "hashes":
      hashes = message.hashes;
      holes = message.holes;
      return;
    case "jobs":
      self.postMessage(message.jobs.map(job => digestFile(job, hashes, holes)) satisfies FromWorker);
  }
};
