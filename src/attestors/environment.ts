// The environment attestor, v0.1: the machine, the user and the variables that the command got. Values of variables
// whose names look secret are hidden.
import type { JsonMap } from "../attestation/json.ts";
import { passphraseVariables } from "../attestation/passphrase.ts";
import { compileGlobs } from "../glob.ts";
import { isSecretName } from "../redaction.ts";
import { escapeBytes } from "../text.ts";
import type { Attestor, AttestorOptions } from "./attestor.ts";
import { sensitiveVariables } from "./sensitive-variables.ts";

export const obfuscated = "******";

export const environmentAttestor: Attestor = {
  name: "environment",
  type: "https://aflock.ai/attestations/environment/v0.1",
  stage: "prematerial",
  alwaysRuns: false,
  runsByDefault: true,
  attest(facts) {
    const variables = recordedVariables(facts.observation.environment, facts.options);
    const { os, hostname, username } = facts.host;
    const [startTime, endTime] = facts.times.environment;
    return {
      type: this.type,
      predicate:
        variables.size === 0 ? { os, hostname, username } : { os, hostname, username, variables: variables satisfies JsonMap },
      subjects: [],
      startTime,
      endTime,
    };
  },
};

/** The variables as they may be recorded, sorted by name; the first of a repeated name counts, as it does for getenv. */
export function recordedVariables(environment: readonly Uint8Array[], options: AttestorOptions): Map<string, string> {
  const variables = new Map<string, string>();
  for (const entry of environment) {
    const equals = entry.indexOf(0x3d);
    if (equals <= 0) continue;
    const name = variableText(entry.subarray(0, equals));
    if (!variables.has(name)) variables.set(name, variableText(entry.subarray(equals + 1)));
  }
  const recorded = new Map<string, string>();
  for (const name of [...variables.keys()].sort()) {
    const sensitive = options.isSensitiveVariable(name);
    if (sensitive && options.sensitiveVariables === "remove") continue;
    recorded.set(name, sensitive ? obfuscated : (variables.get(name) ?? ""));
  }
  return recorded;
}

/** Backslashes stay as they are (they are ordinary in values); only what is not UTF-8 is escaped. */
function variableText(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return escapeBytes(bytes);
  }
}

export interface SensitiveVariableOptions {
  /** Globs in the dialect of the existing tools, whatever the case. */
  readonly add: readonly string[];
  /** Exact names. */
  readonly allow: readonly string[];
  readonly disableDefaults: boolean;
}

/** Never hidden by the default list, though `*PAT*` and `*PWD*` match them: without them a record cannot be read. */
const neverHidden: ReadonlySet<string> = new Set(["PATH", "PWD", "OLDPWD"]);

/** Whose values are hidden in lists of variables. */
export function sensitiveVariableTest(options: SensitiveVariableOptions): (name: string) => boolean {
  const defaults = sensitiveVariables.map(nameGlob);
  return chosenTest(options, name => !neverHidden.has(name) && defaults.some(glob => glob.test(name)));
}

/** Whose values are replaced in words and output too: by default fewer, since this edits text; the flags count for both. */
export function secretVariableTest(options: SensitiveVariableOptions): (name: string) => boolean {
  const chosen = chosenTest(options, isSecretName);
  return name => passphraseVariables.some(variable => variable === name) || chosen(name);
}

/** What was asked for by name wins over the defaults. */
function chosenTest(options: SensitiveVariableOptions, isDefault: (name: string) => boolean): (name: string) => boolean {
  const allowed = new Set(options.allow);
  const isAdded = compileGlobs(
    options.add.map(pattern => pattern.toLowerCase()),
    "gobwas",
  );
  return name => {
    if (allowed.has(name)) return false;
    return isAdded(name.toLowerCase()) || (!options.disableDefaults && isDefault(name));
  };
}

function nameGlob(glob: string): RegExp {
  const pattern = glob
    .split("*")
    .map(part => part.replace(/[\\^$.+?()[\]{}|]/g, "\\$&"))
    .join(".*");
  return new RegExp(`^${pattern}$`, "is");
}
