// `cilock run`: everything that can fail is checked before the command starts; then facts, the command, facts again; and
// only when nothing of the build is alive the key is read and the record signed. What not every run needs, and what is
// needed only after the command, is imported late (in the compiled program that cannot fail).

import { isJsonObject } from "../attestation/json.ts";
import { passphraseVariables } from "../attestation/passphrase.ts";
import type { Attestation, Facts, KeyGuard } from "../attestors/attestor.ts";
import { sensitiveVariableTest } from "../attestors/environment.ts";
import { ToolError } from "../errors.ts";
import { Session } from "../native/session.ts";
import { jsonLine } from "../reports/json-line.ts";
import { printable } from "../reports/printable.ts";
import { type RunReport, summaryJson, summaryText } from "../reports/summary.ts";
import type { Observation } from "../trace/observation.ts";
import type { Trace } from "../trace/trace.ts";
import type { Command, CommandIo, ParsedOptions } from "./command.ts";
import { HeapRoom } from "./heap-room.ts";
import { statusOf } from "./lost-output.ts";
import { spoolDirectory } from "./outfile.ts";
import { type Artifacts, artifactsOf, type TracedFiles } from "./run-artifacts.ts";
import { type FactsBefore, readBefore, type Warn } from "./run-facts.ts";
import { parseRunOptions, type RunOptions, runOptions } from "./run-options.ts";
import { makePlan, type RunPlan, shownPath } from "./run-plan.ts";
import type { SignedRecord, WrittenRecord } from "./run-record.ts";
import { descriptorNamed, publicHalfBeside } from "./signing-key.ts";
import { Spool } from "./spool.ts";

export const runCommand: Command = {
  name: "run",
  usage: [
    "run --step NAME -k KEY.pem [flags] -- COMMAND [ARGUMENT]...",
    "run --step NAME --signer-ephemeral [flags] -- COMMAND [ARGUMENT]...",
  ],
  details:
    "  The command gets stdin, stdout, stderr, environment and signals as without\n" +
    "  cilock, and its exit status is ours. A failing command is recorded and signed\n" +
    "  like any other (cilock verify --require-success refuses it). Our own failures\n" +
    "  have status 125; 126 is a command that cannot be executed, 127 one that is not\n" +
    "  found, 2 wrong usage.",
  options: runOptions,
  example:
    "  cilock run --step build --signer-ephemeral -o build.json --trace -- make\n" +
    "  cilock verify build.json -k build.json.pub",
  restIsCommand: true,
  release: cancelPrepared,
  async run(parsed, positionals, io) {
    const options = optionsOf(parsed, positionals);
    using session = Session.open();
    const warnings: string[] = [];
    const warn: Warn = (kind, text) => {
      warnings.push(text);
      io.stderr(`cilock: ${kind}: ${printable(text)}\n`);
    };
    for (const text of options.warnings) warn("warning", text);
    const plan = await makePlan({
      options,
      argv: session.argv,
      environmentBytes: session.environment,
      commandLength: positionals.length,
      environment: io.environment,
    });

    refuseClosedOutput(plan, session);

    const before = readBefore(plan, io.environment, warn);
    using room = new HeapRoom();
    const { observation, traced } = await observe(plan, session, { before, room });
    const status = await statusOf(observation, io);
    const artifacts = artifactsOf(plan, { before, traced, startTime: observation.startTime }, warn);
    await addUnlisted(observation, artifacts);
    const { EnvelopeAhead, attestAll, hasMatchableSubject, signRecord, sizeRemark, writeRecord } = await loadRecording();

    const keyGuard = options.predicate === "command-run/v0.2" ? session.keyGuard() : undefined;
    const facts = gather(plan, before, artifacts, observation, keyGuard);
    const { names, attestations } = attestAll(facts, options);
    if (!hasMatchableSubject([...attestations, { subjects: options.subjects }])) {
      warn("warning", "the record has no subject to verify it by: no file was there or was made, and git says nothing");
    }
    using spool = new Spool(spoolDirectory(plan.outfile));
    using ahead = new EnvelopeAhead(spool, plan.outfile);
    const record = await signRecord(plan, attestations, { spool, ahead });
    const written = await writeRecord(plan, record, { ahead, io });
    for (const file of [written.publicKey, written.record]) if (file?.warning !== undefined) warn("warning", file.warning);
    const remark = sizeRemark(options.predicate, record.payloadLength);
    if (remark !== undefined) warn(remark.kind, remark.text);
    const invokedAs = invokedWord(session.argv[0]);
    await report(plan, io, { facts, attestors: names, record, written, warnings, hidden: hiddenValues(attestations), invokedAs });
    return status;
  },
};

const loadRecording = () => import("./run-record.ts");

function optionsOf(parsed: ParsedOptions, positionals: readonly string[]): RunOptions {
  try {
    return parseRunOptions(parsed, positionals);
  } catch (error) {
    cancelPrepared();
    throw error;
  }
}

/** The runtime opens something else in the place of a closed one, and what is written there is gone. */
function refuseClosedOutput({ outfile, options }: RunPlan, session: Session): void {
  const named = outfile.kind === "stream" ? outputNamed(outfile.shown) : undefined;
  const wanted = outfile.kind === "stdout" || options.json ? 1 : named;
  if (wanted === undefined || session.wasOpen(wanted)) return;
  const hint = options.json && outfile.kind !== "stdout" ? "leave out --json" : "name a file with --outfile";
  throw new ToolError("outfile-unwritable", `cannot write to std${wanted === 1 ? "out" : "err"}: it is closed`, { hint });
}

/** Descriptor of /dev/stdout and its like. */
function outputNamed(path: string): 1 | 2 | undefined {
  const descriptor = path === "/dev/stdout" ? 1 : path === "/dev/stderr" ? 2 : descriptorNamed(path);
  return descriptor === 1 || descriptor === 2 ? descriptor : undefined;
}

/** Ends the processes that were made before main for a command that will not be started. */
function cancelPrepared(): void {
  try {
    using session = Session.open();
    session.cancel();
  } catch {
    // There are none: without a command the start hook makes none.
  }
}

interface Observed {
  observation: Observation;
  traced: TracedFiles | undefined;
}

interface ObserveInput {
  before: FactsBefore;
  room: HeapRoom;
}

/** Runs the command to the end of its last process. */
async function observe(plan: RunPlan, session: Session, { before, room }: ObserveInput): Promise<Observed> {
  const { options } = plan;
  const inputs = options.trace ? await import("./run-inputs.ts") : undefined;
  const inputsBefore = options.vouch !== "no" ? inputs?.readInputsBefore(before.root) : undefined;
  using trace = options.trace ? await createTrace(plan, session, before) : undefined;
  session.start({
    trace: options.trace,
    traceDetail: options.traceDetail,
    argvIndex: plan.argvIndex,
    workingDirectory: options.workingDirectory === undefined ? undefined : Buffer.from(options.workingDirectory),
    graceMs: options.graceMs,
    captureLimit: options.captureLimit,
    secrets: [...plan.redaction.secrets],
    stdoutToStderr: plan.stdoutToStderr,
    withheldDescriptors: plan.signer.kind === "file" ? [...plan.signer.key.withheldDescriptors] : [],
    allowIoUring: options.allowIoUring,
  });
  // Other processors are busy with the command now.
  void loadRecording().then(({ prepareRecord }) => prepareRecord(before.materials));
  const outcome = await session.run(event => trace?.onEvent(event));
  const environment = session.environment.filter(entry => !isWithheldVariable(entry));
  const traced = await trace?.finish(outcome);
  // v0.2 keeps its tables meanwhile, and would have more than 300 MB then.
  if (traced && options.predicate === "command-run/v0.1")
    room.make({ paths: traced.paths?.opened ?? 0, processes: traced.processes.length });
  const isCache = inputs?.cacheTest(environment, options.cache);
  if (inputs && trace && traced && isCache) {
    const compareAll = options.vouch === "full";
    await inputs.judgeFiles(traced, trace, {
      workingDirectory: before.directory,
      environment,
      before: inputsBefore,
      compareAll,
      isCache,
      isProduct: options.products.named,
    });
  }
  const observation: Observation = {
    argv: session.argv.slice(plan.argvIndex),
    environment,
    workingDirectory: before.directory,
    startTime: outcome.startTime,
    endTime: outcome.endTime,
    exitCode: outcome.exitCode,
    ...(outcome.signal === undefined ? {} : { signal: outcome.signal }),
    ...(outcome.interrupted === undefined ? {} : { interrupted: outcome.interrupted }),
    stdout: outcome.stdout,
    stderr: outcome.stderr,
    survivorsKilled: outcome.survivorsKilled,
    ...(traced === undefined ? {} : { trace: traced }),
  };
  return { observation, traced: trace && isCache && { files: trace.files, isCache } };
}

async function createTrace({ options, signer, holes }: RunPlan, session: Session, before: FactsBefore): Promise<Trace> {
  const { Trace } = await import("../trace/trace.ts");
  return new Trace({
    hashes: options.hashes,
    closeDescriptor: descriptor => session.closeDescriptor(descriptor),
    onUnderstood: inode => session.understood(inode),
    kernelRelease: before.host.kernelRelease,
    detail: options.traceDetail,
    frontEndPid: process.pid,
    keepEnvironments: options.attestations.includes("environment"),
    repeatsEnvironments: options.predicate === "command-run/v0.1",
    keepThreads: true,
    holes,
    keyFiles: signer.kind === "file" ? signer.key.files : [],
    makeFlags: session.environment.map(entry => Buffer.from(entry).toString()).find(entry => entry.startsWith("MAKEFLAGS=")),
  });
}

/** The passphrases of the signing key do not reach the command, so they are not in what is recorded of it. */
function isWithheldVariable(entry: Uint8Array): boolean {
  return passphraseVariables.some(name => Buffer.from(entry.subarray(0, name.length + 1)).equals(Buffer.from(`${name}=`)));
}

function gather(
  plan: RunPlan,
  before: FactsBefore,
  artifacts: Artifacts,
  observation: Observation,
  keyGuard: KeyGuard | undefined,
): Facts {
  const { variables } = plan.options;
  return {
    observation,
    materials: artifacts.materials,
    products: artifacts.products,
    git: before.git,
    host: before.host,
    ...(keyGuard === undefined ? {} : { keyGuard }),
    options: {
      attestations: [...plan.options.attestations],
      isSensitiveVariable: sensitiveVariableTest(variables),
      sensitiveVariables: variables.remove ? "remove" : "obfuscate",
      redact: plan.redaction.redact,
      ...(plan.redaction.redactPieces === undefined ? {} : { redactPieces: plan.redaction.redactPieces }),
    },
    times: { ...before.times, product: artifacts.time, command: [observation.startTime, observation.endTime] },
  };
}

/** What could not be read for materials and products is no fact of the tracer, and the record would say that it is complete. */
async function addUnlisted({ trace }: Observation, { unlisted: paths }: Artifacts): Promise<void> {
  if (trace === undefined || paths.length === 0) return;
  const { withGap } = await import("../trace/completeness.ts");
  trace.completeness = withGap(trace.completeness, "unlisted-files", paths);
}

function cutStreams({ stdout, stderr }: Observation): string[] {
  const streams = Object.entries({ stdout, stderr });
  return streams.filter(([, { bytes, length }]) => bytes.length < length).map(([name]) => name);
}

/** As the record counts them. */
function hiddenValues(attestations: readonly Attestation[]): number {
  for (const { predicate } of attestations) {
    const { summary } = predicate;
    if (isJsonObject(summary) && typeof summary.redactions === "number") return summary.redactions;
  }
  return 0;
}

/** By a path, we may not be in PATH. What no shell would take is our usual name. */
function invokedWord(word: Uint8Array | undefined): string {
  const text = new TextDecoder().decode(word);
  return text === "" || text.startsWith("-") || text.includes("\uFFFD") ? "cilock" : text;
}

interface ReportInput {
  invokedAs: string;
  hidden: number;
  facts: Facts;
  attestors: readonly string[];
  record: SignedRecord;
  written: WrittenRecord;
  warnings: readonly string[];
}

async function report(
  plan: RunPlan,
  io: CommandIo,
  { facts, attestors, record, written, warnings, hidden, invokedAs }: ReportInput,
): Promise<void> {
  const { observation } = facts;
  const { signer } = plan.options;
  const publicKey = signer.kind === "file" ? publicHalfBeside(signer.path, record.keyid) : written.publicKey?.shown;
  const result: RunReport = {
    step: plan.options.step,
    command: observation.argv.map(word => plan.redaction.redact(new TextDecoder().decode(word)).text),
    exitCode: observation.exitCode,
    signal: observation.signal,
    interrupted: observation.interrupted,
    durationNs: observation.endTime - observation.startTime,
    attestors,
    materials: facts.materials.length,
    products: facts.products.length,
    trace: observation.trace,
    survivorsKilled: observation.survivorsKilled,
    hidden,
    cutStreams: cutStreams(observation),
    record: {
      path: written.record?.warning === undefined ? shownPath(plan) : written.record.shown,
      keyid: record.keyid,
      publicKeyPath: written.publicKey?.shown,
      verify: { program: invokedAs, publicKey },
    },
    warnings,
  };
  await io.stderr(summaryText(result, { colour: io.colour?.("stderr") === true }));
  if (plan.options.json) await io.stdout(jsonLine(summaryJson(result)));
}
