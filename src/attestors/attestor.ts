// What an attestor is: a pure function from facts to one predicate and its subjects. Everything it may need has been
// read before it is called; it touches no file system, clock or process.
import type { JsonObject } from "../attestation/json.ts";
import type { GitFacts } from "../facts/git.ts";
import type { HostFacts } from "../facts/host.ts";
import type { DigestSet, Observation } from "../trace/observation.ts";
import type { RecordedFile } from "./recorded-files.ts";

/** in-toto ResourceDescriptor as the existing verifiers read it. */
export interface Subject {
  name: string;
  digest: DigestSet;
}

export interface Attestation {
  /** Attestation type URI. */
  type: string;
  predicate: JsonObject;
  /** Names without the `<type>/` prefix, which the collection adds (wire-formats 2.4). */
  subjects: Subject[];
  startTime: bigint;
  endTime: bigint;
}

/** What keeps other processes of our user from the memory that the signing key is in. */
export interface KeyGuard {
  /** The kernel was told to give nobody our memory (PR_SET_DUMPABLE 0). */
  applied: boolean;
  /** What it says when it is asked afterwards. */
  dumpable: boolean;
  /** kernel.yama.ptrace_scope; -1 without Yama. */
  yamaPtraceScope: number;
}

/** All that was read around one run. Times are nanoseconds since the epoch. */
export interface Facts {
  observation: Observation;
  /** What the command found: with a trace what it read, else all that was there. */
  materials: readonly RecordedFile[];
  /** What it left. */
  products: readonly RecordedFile[];
  /** Undefined outside a git work tree or where git could not be read. */
  git: GitFacts | undefined;
  host: HostFacts;
  /** Where the predicate names it. */
  keyGuard?: KeyGuard;
  options: AttestorOptions;
  times: {
    material: [bigint, bigint];
    command: [bigint, bigint];
    product: [bigint, bigint];
    git: [bigint, bigint];
    environment: [bigint, bigint];
  };
}

export interface AttestorOptions {
  /** Names given with --attestations, default environment and git. */
  attestations: string[];
  /** Decides per variable name whether its value is hidden (wire-formats 4.5). */
  isSensitiveVariable: (name: string) => boolean;
  /** What becomes of such a variable; default is the value replaced by asterisks. */
  sensitiveVariables?: "obfuscate" | "remove";
  /** Replaces secret values by [REDACTED] and counts (wire-formats 3.2); identity where there is none. */
  redact: (text: string) => { text: string; count: number };
  /** The same of a text in pieces; left out where there is nothing to replace. */
  redactPieces?: (pieces: Iterable<string>, onReplaced: () => void) => Iterable<string>;
}

export interface Attestor {
  name: string;
  type: string;
  /** prematerial, material, execute, product, postproduct: the order in the collection. */
  stage: "prematerial" | "material" | "execute" | "product" | "postproduct";
  alwaysRuns: boolean;
  runsByDefault: boolean;
  attest(facts: Facts): Attestation | undefined;
}
