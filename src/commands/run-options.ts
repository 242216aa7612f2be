// The flags of `cilock run`: the table that the command line reads and prints as help, and the one typed object that
// comes out of it. Everything that can be said about a value without looking at the machine is said here.
import { z } from "zod";
import { attestorNames, attestors, defaultAttestations } from "../attestors/index.ts";
import { closest } from "../did-you-mean.ts";
import { ToolError } from "../errors.ts";
import { compileGlobs, type Dialect, type Glob, GlobError } from "../glob.ts";
import { gitoid, type HashName, hashNames, sha256Of } from "../hashes.ts";
import type { Option, ParsedOptions } from "./command.ts";
import { passphraseOptions } from "./passphrase-options.ts";

export interface RunOptions {
  readonly step: string;
  readonly signer: SignerChoice;
  /** Undefined: a file named after the step. `-`: stdout. */
  readonly outfile: string | undefined;
  readonly trace: boolean;
  /** `full`: at every call that writes, too. */
  readonly traceDetail: "normal" | "full";
  /** Attestors beside those that always run. */
  readonly attestations: readonly string[];
  readonly workingDirectory: string | undefined;
  readonly hashes: readonly HashName[];
  /** Of the command-run attestation. */
  readonly predicate: PredicateVersion;
  /** Named with --subjects: about what the record is, beside its files. */
  readonly subjects: readonly GivenSubject[];
  readonly graceMs: number;
  readonly captureLimit: number;
  readonly json: boolean;
  readonly allowIoUring: boolean;
  /** Whether to find out who vouches for what the build takes from outside, and how much of the system to compare. */
  readonly vouch: "no" | "quick" | "full";
  readonly products: ProductOptions;
  readonly cache: CacheOptions;
  /** Of a directory by its path below the working directory: whether its files are one entry. */
  readonly isOneEntry: Glob | undefined;
  readonly variables: { add: readonly string[]; allow: readonly string[]; disableDefaults: boolean; remove: boolean };
  readonly warnings: readonly string[];
}

/** Over paths as the record has them; undefined: not asked for. */
export interface ProductOptions {
  readonly include: Glob | undefined;
  readonly exclude: Glob | undefined;
  /** With a trace: products wherever they are. */
  readonly named: Glob | undefined;
}

/** What is called a cache. */
export interface CacheOptions {
  readonly add: readonly string[];
  readonly allow: readonly string[];
  /** Whether the built-in patterns count, and the variables that name caches. */
  readonly defaults: boolean;
  readonly probe: boolean;
}

export const predicateVersions = ["command-run/v0.1", "command-run/v0.2"] as const;
export type PredicateVersion = (typeof predicateVersions)[number];

export interface GivenSubject {
  readonly name: string;
  readonly digest: { readonly [algorithm: string]: string };
}

export type SignerChoice =
  | { kind: "file"; path: string; passphrase: string | undefined; passphrasePath: string | undefined }
  | { kind: "ephemeral" };

export const runOptions: readonly Option[] = [
  { long: "step", short: "s", kind: "string", value: "NAME", help: "name of the step (required)" },
  {
    long: "signer-file-key-path",
    short: "k",
    kind: "string",
    value: "FILE",
    help: "private key, PEM: Ed25519, ECDSA P-256, P-384 or P-521, RSA from 2048 bits (required unless --signer-ephemeral)",
  },
  {
    long: "signer-ephemeral",
    kind: "boolean",
    help: "sign with a key made for this run; its public half is written beside the record",
  },
  ...passphraseOptions("the key"),
  {
    long: "outfile",
    short: "o",
    kind: "string",
    value: "FILE",
    help: "where the record goes, - for stdout (default NAME.attestation.json)",
  },
  { long: "trace", short: "r", kind: "boolean", help: "record every process of the command at the system-call level" },
  {
    long: "trace-detail",
    kind: "string",
    value: "LEVEL",
    help: "with --trace, normal, or full, which stops at every write too: exact bytes in fileOps, slower (default normal)",
  },
  {
    long: "attestations",
    short: "a",
    kind: "strings",
    value: "LIST",
    help: `further attestors, separated by commas (default ${defaultAttestations.join(",")})`,
  },
  { long: "workingdir", short: "d", kind: "string", value: "DIR", help: "where the command runs (default here)" },
  { long: "hashes", kind: "strings", value: "LIST", help: `digest algorithms: ${hashNames.join(", ")} (default sha256)` },
  {
    long: "subjects",
    kind: "strings",
    value: "NAME[=ALGORITHM:HEX]",
    help: "a further subject of the record; without a digest it has that of its name; may be repeated",
  },
  {
    long: "predicate",
    kind: "string",
    value: "TYPE",
    help: "form of the command-run attestation: command-run/v0.1, or command-run/v0.2, which is a quarter of the size for large builds (default command-run/v0.1)",
  },
  {
    long: "grace",
    kind: "string",
    value: "TIME",
    help: "how long processes may outlive the command, as 500ms, 5s or 2m (default 5s)",
  },
  {
    long: "capture-limit",
    kind: "string",
    value: "SIZE",
    help: "how much of stdout and of stderr is kept in the record (default 64MiB)",
  },
  { long: "json", kind: "boolean", help: "print the summary as JSON on stdout; the command's stdout goes to stderr" },
  {
    long: "allow-io-uring",
    kind: "boolean",
    help: "let the command use io_uring, which cannot be watched: the record is then incomplete",
  },
  {
    long: "vouch",
    kind: "string",
    value: "LEVEL",
    help: "with --trace, who vouches for the files that were read: no, quick, or full, which compares all files of system packages (default quick)",
  },
  {
    long: "attestor-product-include-glob",
    kind: "string",
    value: "GLOB",
    help: "record only products whose path matches; here * matches slashes too (default *)",
  },
  { long: "attestor-product-exclude-glob", kind: "string", value: "GLOB", help: "record no product whose path matches" },
  {
    long: "product-glob",
    kind: "strings",
    value: "GLOB",
    help: "with --trace, also record as products what was written outside of the working directory, by absolute path",
  },
  {
    long: "dirhash-glob",
    kind: "strings",
    value: "GLOB",
    help: "record directories whose path matches as one entry each, with a hash over their files",
  },
  {
    long: "cache-add-pattern",
    kind: "strings",
    value: "GLOB",
    help: "label further files as a cache: ** matches slashes, * does not",
  },
  { long: "cache-allow-pattern", kind: "strings", value: "GLOB", help: "do not label these files as a cache" },
  { long: "cache-disable-defaults", kind: "boolean", help: "label as a cache only what --cache-add-pattern and variables name" },
  { long: "cache-disable-env-probe", kind: "boolean", help: "do not look for caches in environment variables such as GOCACHE" },
  { long: "env-add-sensitive-key", kind: "strings", value: "GLOB", help: "hide the values of further environment variables" },
  { long: "env-allow-sensitive-key", kind: "strings", value: "NAME", help: "show a variable that would be hidden" },
  { long: "env-disable-default-sensitive-vars", kind: "boolean", help: "hide only what --env-add-sensitive-key names" },
  { long: "env-filter-sensitive-vars", kind: "boolean", help: "leave sensitive variables out instead of hiding their values" },
];

/** Large enough for any build's output, small enough for one string of JSON. */
const captureLimitMax = 512 << 20;
const graceMaxMs = 24 * 3600 * 1000;

// Each schema takes 0.25 ms to make: those that are alike are one.
const flag = z.boolean().default(false);
const optionalText = z.string().optional();
const optionalName = z.string().min(1, "is empty").optional();
const list = z
  .array(z.string())
  .optional()
  .transform(parts =>
    parts
      ?.flatMap(part => part.split(","))
      .map(part => part.trim())
      .filter(part => part !== ""),
  );
const globs = z.array(z.string()).optional().transform(compiledGlobs);
const glob = z
  .string()
  .optional()
  .transform((pattern, context) => compiledGlobs(pattern === undefined ? undefined : [pattern], context));
const patterns = z
  .array(z.string())
  .default([])
  .transform((given, context) => {
    const parts = given.flatMap(separateGlobs);
    return compiled(parts, "paths", context) === z.NEVER ? z.NEVER : parts;
  });
const nameGlobs = z
  .array(z.string())
  .default([])
  .transform((given, context) => {
    const parts = given
      .flatMap(separateGlobs)
      .map(part => part.trim())
      .filter(part => part !== "");
    return compiled(parts, "gobwas", context) === z.NEVER ? z.NEVER : parts;
  });
const hashName = z.enum(hashNames, {
  error: issue =>
    issue.input === "dirHash"
      ? "dirHash is a digest of directories, not of files"
      : `${String(issue.input)} is not among ${hashNames.join(", ")}: verifiers refuse a record with any other digest`,
});
const predicate = z
  .enum(predicateVersions, { error: issue => `${String(issue.input)} is not among ${predicateVersions.join(", ")}` })
  .default("command-run/v0.1");

const schema = z.object({
  step: z.string({ error: "is required: the name of the step" }).min(1, "is empty"),
  "signer-file-key-path": optionalName,
  "signer-ephemeral": flag,
  "signer-file-key-passphrase": optionalText,
  "signer-file-key-passphrase-path": optionalName,
  outfile: optionalName,
  trace: flag,
  "trace-detail": z.enum(["normal", "full"], { error: "is normal or full" }).optional(),
  attestations: list,
  workingdir: optionalName,
  hashes: list.pipe(
    z
      .array(hashName)
      .refine(names => names.includes("sha256"), "must name sha256: it is what materials and products are compared by")
      .default(["sha256"]),
  ),
  subjects: z.array(z.string()).default([]).transform(parseSubjects),
  predicate,
  grace: z.string().default("5s").transform(parseDuration),
  "capture-limit": z.string().default("64MiB").transform(parseSize),
  json: flag,
  "allow-io-uring": flag,
  vouch: z.enum(["no", "quick", "full"], { error: "is no, quick or full" }).optional(),
  "attestor-product-include-glob": glob,
  "attestor-product-exclude-glob": glob,
  "product-glob": globs,
  "dirhash-glob": globs,
  "cache-add-pattern": patterns,
  "cache-allow-pattern": patterns,
  "cache-disable-defaults": flag,
  "cache-disable-env-probe": flag,
  "env-add-sensitive-key": nameGlobs,
  "env-allow-sensitive-key": list,
  "env-disable-default-sensitive-vars": flag,
  "env-filter-sensitive-vars": flag,
});

/** A word of the command that may have been meant as a flag of ours. */
function lateFlag(command: readonly string[]): string | undefined {
  const required = new Set(["-s", "--step", "-k", "--signer-file-key-path", "--signer-ephemeral"]);
  return command.slice(1).find(word => required.has(word.replace(/=.*$/, "")));
}

export function parseRunOptions(parsed: ParsedOptions, command: readonly string[]): RunOptions {
  const result = schema.safeParse(parsed);
  if (!result.success) {
    const [issue] = result.error.issues;
    const [name] = issue?.path ?? [];
    const late = issue?.code === "invalid_type" ? lateFlag(command) : undefined;
    if (late !== undefined) {
      throw usage(
        `--${String(name)} ${issue?.message ?? "cannot be read"}`,
        `${late} stands behind the command, and so belongs to it: put our flags before ${command[0]}`,
      );
    }
    throw usage(`--${String(name)} ${issue?.message ?? "cannot be read"}`);
  }
  const values = result.data;
  if (command.length === 0) throw usage("no command to run", "put it after --: cilock run --step build -k key.pem -- make");
  if (command[0] === "") throw usage("the command is an empty word");
  if (values.json && values.outfile === "-") throw usage("--json and --outfile - both want stdout");
  if (!values.trace && values.vouch !== undefined && values.vouch !== "no") throw usage("--vouch needs --trace");
  for (const name of tracedOnly) {
    const value = values[name];
    const isGiven = Array.isArray(value) ? value.length > 0 : value !== undefined && value !== false;
    if (!values.trace && isGiven) throw usage(`--${name} needs --trace`);
  }
  const { attestations, warnings } = chosenAttestations(values.attestations ?? [...defaultAttestations]);
  return {
    step: values.step,
    signer: chosenSigner(values),
    outfile: values.outfile,
    trace: values.trace,
    traceDetail: values["trace-detail"] ?? "normal",
    attestations,
    workingDirectory: values.workingdir,
    hashes: [...new Set(values.hashes)],
    predicate: values.predicate,
    subjects: values.subjects,
    graceMs: values.grace,
    captureLimit: values["capture-limit"],
    json: values.json,
    allowIoUring: values["allow-io-uring"],
    vouch: values.vouch ?? "quick",
    products: {
      include: values["attestor-product-include-glob"],
      exclude: values["attestor-product-exclude-glob"],
      named: values["product-glob"],
    },
    cache: {
      add: values["cache-add-pattern"],
      allow: values["cache-allow-pattern"],
      defaults: !values["cache-disable-defaults"],
      probe: !values["cache-disable-env-probe"],
    },
    isOneEntry: values["dirhash-glob"],
    variables: {
      add: values["env-add-sensitive-key"],
      allow: values["env-allow-sensitive-key"] ?? [],
      disableDefaults: values["env-disable-default-sensitive-vars"],
      remove: values["env-filter-sensitive-vars"],
    },
    warnings: [...warnings, ...signerWarnings(values)],
  };
}

/** Without a trace nothing is stopped at, nobody knows what was written elsewhere, and nothing is labelled. */
const tracedOnly = [
  "trace-detail",
  "product-glob",
  "cache-add-pattern",
  "cache-allow-pattern",
  "cache-disable-defaults",
  "cache-disable-env-probe",
] as const;

/** At commas, like other lists, but not at those between braces. */
function separateGlobs(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === "\\") i++;
    else if (text[i] === "{") depth++;
    else if (text[i] === "}") depth--;
    else if (text[i] === "," && depth <= 0) {
      parts.push(text.slice(start, i));
      start = i + 1;
    }
  }
  return [...parts, text.slice(start)].filter(part => part !== "");
}

/** In the dialect of the existing tools. */
function compiledGlobs(texts: readonly string[] | undefined, context: z.RefinementCtx): Glob | undefined {
  const parts = (texts ?? []).flatMap(separateGlobs);
  return parts.length === 0 ? undefined : compiled(parts, "gobwas", context);
}

function compiled(parts: readonly string[], dialect: Dialect, context: z.RefinementCtx): Glob {
  try {
    return compileGlobs(parts, dialect);
  } catch (error) {
    if (!(error instanceof GlobError)) throw error;
    context.addIssue({ code: "custom", message: `is no pattern: ${error.message}` });
    return z.NEVER;
  }
}

function signerWarnings(values: z.infer<typeof schema>): string[] {
  const both = values["signer-file-key-passphrase"] !== undefined && values["signer-file-key-passphrase-path"] !== undefined;
  return both ? ["--signer-file-key-passphrase is given, so --signer-file-key-passphrase-path is not looked at"] : [];
}

function chosenSigner(values: z.infer<typeof schema>): SignerChoice {
  const path = values["signer-file-key-path"];
  const passphrase = values["signer-file-key-passphrase"];
  const passphrasePath = values["signer-file-key-passphrase-path"];
  if (values["signer-ephemeral"]) {
    if (path !== undefined) throw usage("--signer-ephemeral and --signer-file-key-path exclude each other");
    if (passphrase !== undefined || passphrasePath !== undefined) throw usage("--signer-ephemeral takes no passphrase");
    return { kind: "ephemeral" };
  }
  if (path === undefined) {
    throw usage("no key to sign with", "give one with -k key.pem, or --signer-ephemeral for a key that is made for this run");
  }
  return { kind: "file", path, passphrase, passphrasePath };
}

/** Those that always run are no choice, and naming one twice is a slip: both are said and do no harm. */
function chosenAttestations(names: readonly string[]): { attestations: string[]; warnings: string[] } {
  const warnings: string[] = [];
  const attestations: string[] = [];
  for (const name of names) {
    const attestor = attestors.find(candidate => candidate.name === name);
    if (attestor === undefined) {
      const close = closest(name, attestorNames);
      throw usage(
        `unknown attestor ${name}`,
        close === undefined ? `there are ${attestorNames.join(", ")}` : `did you mean ${close}? cilock attestors list shows all`,
      );
    }
    if (attestor.alwaysRuns) warnings.push(`${name} always runs and need not be named with --attestations`);
    else if (attestations.includes(name)) warnings.push(`${name} is named twice with --attestations`);
    else attestations.push(name);
  }
  return { attestations, warnings };
}

/** Lengths in hexadecimal. */
const digestLengths: Readonly<Record<string, number>> = {
  sha256: 64,
  sha1: 40,
  "gitoid:sha256": 64,
  "gitoid:sha1": 40,
  dirHash: 64,
};

/** `name`, or `name=algorithm:hex`, where the name may hold `=` itself. Two digests of one name are one subject. */
function parseSubjects(texts: readonly string[], context: z.RefinementCtx): GivenSubject[] {
  const subjects = new Map<string, Record<string, string>>();
  for (const text of texts) {
    const equals = text.lastIndexOf("=");
    const name = equals < 0 ? text : text.slice(0, equals);
    const digest = equals < 0 ? (["sha256", sha256Of(text)] as const) : parseDigest(text.slice(equals + 1));
    if (name === "" || digest === undefined) {
      const known = Object.keys(digestLengths).join(", ");
      const message = name === "" ? `${text} has no name` : `${text} does not end in =ALGORITHM:HEX, with one of ${known}`;
      context.addIssue({ code: "custom", message });
      return z.NEVER;
    }
    const [algorithm, value] = digest;
    const digests = subjects.get(name) ?? {};
    if ((digests[algorithm] ?? value) !== value) {
      context.addIssue({ code: "custom", message: `${name} is given with two different ${algorithm}` });
      return z.NEVER;
    }
    subjects.set(name, { ...digests, [algorithm]: value });
  }
  return Array.from(subjects, ([name, digest]) => ({ name, digest }));
}

function parseDigest(text: string): readonly [algorithm: string, value: string] | undefined {
  const colon = text.lastIndexOf(":");
  const [algorithm, hex] = [text.slice(0, Math.max(colon, 0)), text.slice(colon + 1).toLowerCase()];
  if (digestLengths[algorithm] !== hex.length || !/^[0-9a-f]+$/.test(hex)) return undefined;
  return [algorithm, algorithm.startsWith("gitoid:") ? gitoid(algorithm.slice("gitoid:".length), hex) : hex];
}

const sizeUnits: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  k: 1 << 10,
  kib: 1 << 10,
  m: 1 << 20,
  mib: 1 << 20,
  g: 1 << 30,
  gib: 1 << 30,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
};

function parseSize(text: string, context: z.RefinementCtx): number {
  return parseQuantity(text, context, {
    units: sizeUnits,
    max: captureLimitMax,
    notOne: `${text} is not a size such as 64MiB or 1000`,
    tooMuch: `${text} is more than 512MiB`,
  });
}

const timeUnits: Readonly<Record<string, number>> = { "": 1000, ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

function parseDuration(text: string, context: z.RefinementCtx): number {
  return parseQuantity(text, context, {
    units: timeUnits,
    max: graceMaxMs,
    notOne: `${text} is not a time such as 500ms, 5s or 2m`,
    tooMuch: `${text} is more than 24h`,
  });
}

interface Quantity {
  units: Readonly<Record<string, number>>;
  max: number;
  notOne: string;
  tooMuch: string;
}

function parseQuantity(text: string, context: z.RefinementCtx, { units, max, notOne, tooMuch }: Quantity): number {
  const [, digits, unit] = /^(\d{1,15})([a-z]*)$/i.exec(text) ?? [];
  const factor = unit === undefined ? undefined : units[unit.toLowerCase()];
  const value = Number(digits) * (factor ?? Number.NaN);
  if (value <= max) return value;
  context.addIssue({ code: "custom", message: value > max ? tooMuch : notOne });
  return z.NEVER;
}

function usage(message: string, hint = "cilock run --help lists the flags"): ToolError {
  return new ToolError("usage", message, { hint });
}
